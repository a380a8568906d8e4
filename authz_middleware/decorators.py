"""`requires` and its family: what a route states about who may call it.

A decorator does two things. It marks its target, so that the middleware can decide *early*, before body, validation
and dependencies. And it wraps its target, so that the decision is *certain*, however the target is reached.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from types import MethodType, new_class
from typing import Any, NoReturn, TypeVar, cast, overload
from weakref import WeakKeyDictionary, WeakSet

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp

from .binding import context_of
from .errors import ConfigurationError
from .guard import Guard, Stated
from .handlers import access_token
from .policy import AUTHENTICATED, PUBLIC, Access, AllOf, Kind, Policy, Public
from .policy.core import compose, join, make_term
from .token import AccessToken
from .wrapping import wrap

__all__ = [
    "Requirement",
    "authenticated",
    "combine",
    "decorated_too_late",
    "guarded_await",
    "public",
    "requires",
    "requires_permissions",
    "requires_scopes",
    "stated_access",
]

T = TypeVar("T")
ACCESS = "__authz_access__"
_DEPENDENCY_SIGNATURE = inspect.Signature(
    [inspect.Parameter("connection", inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection)]
)

_wrappers: WeakSet[Callable[..., Any]] = WeakSet()
"""Our wrappers. A registry and no attribute: `functools.wraps` would copy that to strangers. It keeps none alive."""
_originals: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
"""Functions as they were before a decorator wrapped them: a route that has one of these was decorated too late."""


@dataclass(frozen=True)
class Requirement:
    """What a decorator call returns: apply it to a function, an endpoint class or method, or an ASGI application.

    As a FastAPI dependency, `Security(requires("x"))`, it gives the caller's token. Two that require the same are
    equal, so that FastAPI runs one of them, and `dependency_overrides` finds either.
    """

    access: Access
    name: str = field(compare=False)

    def __post_init__(self) -> None:
        # What FastAPI looks at: the parameters it is to fill, and whether to await the call instead of using a thread.
        object.__setattr__(self, "__signature__", _DEPENDENCY_SIGNATURE)
        object.__setattr__(self, "__wrapped__", access_token)

    @overload
    def __call__(self, target: Starlette | Router, /) -> ASGIApp: ...
    @overload
    def __call__(self, target: T, /) -> T: ...
    @overload
    def __call__(self, /, *, connection: HTTPConnection) -> Coroutine[Any, Any, AccessToken | None]: ...
    def __call__(self, target: Any = None, /, *, connection: HTTPConnection | None = None) -> Any:
        """Return the guarded target; called by FastAPI with a connection, decide and return the caller's token.

        Raises:
            ConfigurationError: the target cannot be guarded, or states something contradictory.
        """
        if connection is not None:
            return self._decide(connection)
        if target is None:
            raise ConfigurationError(
                f"@{self.name}() guards nothing; write @{self.name}"
                + (", without parentheses" if self.name in {"public", "authenticated"} else "(…) above a function")
            )
        return self._guard(target)

    @property
    def dependency(self) -> NoReturn:
        """Refuse to stand in a list of dependencies by itself, where FastAPI asks for this.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            f"dependencies=[{self.name}(…)] lacks FastAPI's word; write dependencies=[Security({self.name}(…))]"
        )

    def __bool__(self) -> bool:
        """Refuse `and`, `or` and `not`, which would keep one requirement and forget the other; FastAPI may ask.

        Raises:
            ConfigurationError: anybody else asks.
        """
        if not _is_asked_by("fastapi"):
            raise ConfigurationError(
                f"{self.name}(…): `and`, `or` and `not` do not compose requirements; "
                'write requires("a", "b") or requires(policy.any_of("a", "b"))'
            )
        return True

    async def _decide(self, connection: HTTPConnection) -> AccessToken | None:
        context = context_of(connection.scope)
        await context.enforce_checked(self.access, connection.scope)
        return context.token_for_parameter(self.access)

    def _guard(self, target: object) -> object:
        if isinstance(target, type) and issubclass(target, HTTPEndpoint | WebSocketEndpoint):
            return self._guard_class(target)
        if isinstance(target, type | BaseRoute | staticmethod | Policy) or not callable(target):
            raise self._unguardable(target)
        if _is_asgi(target):
            access = combine(self.access, stated_access(target), self.name)
            return Guard(cast("ASGIApp", target), Stated(access), covers=True)
        if inspect.isroutine(target) or isinstance(target, functools.partial):
            return self._guard_function(target)
        raise self._unguardable(target)

    def _guard_function(self, target: Callable[..., Any]) -> Callable[..., Any]:
        original = _original_of(target)  # one wrapper, however many of our decorators are stacked
        access = combine(self.access, stated_access(target), _name_of(original))
        wrapper = wrap(original, access)
        setattr(wrapper, ACCESS, access)
        _wrappers.add(wrapper)
        for function in _chain_of(original):
            _originals[function] = self.name
        return wrapper

    def _guard_class(self, target: type[HTTPEndpoint | WebSocketEndpoint]) -> type:
        """Return a guarded subclass; the class itself stays as it was, as functions do."""
        access = combine(self.access, stated_access(target), target.__name__)
        for method in vars(target).values():  # a contradiction is an error at start, not at the first request
            combine(access, stated_access(method), target.__name__)
        _check_super(target, self.name)
        names = {name: getattr(target, name) for name in ("__module__", "__qualname__", "__doc__")}
        members = {**names, ACCESS: access, "__await__": guarded_await}
        _originals[target] = self.name
        return new_class(target.__name__, (target,), exec_body=lambda namespace: namespace.update(members))

    def _unguardable(self, target: object) -> ConfigurationError:
        return ConfigurationError(
            f"@{self.name} cannot guard {_name_of(target)}; put it on a function, on a class or method of HTTPEndpoint "
            "or WebSocketEndpoint, or around an ASGI application, below the route decorator"
        )


def _is_asked_by(package: str) -> bool:
    """Tell whether the caller's caller is a module of this package. Where nobody can tell: yes."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = None if frame is None else frame.f_back
    return frame is None or str(frame.f_globals.get("__name__")).partition(".")[0] == package


def requires(*parts: str | Policy) -> Requirement:
    """Require every one of these grants, whichever claim the token's dialect writes them in.

    A string is one dialect-neutral grant; policies compose with `&` and `|`. Put it below the route decorator.

    Raises:
        ConfigurationError: nothing required, a string with a space, or something that is no policy.
    """
    return Requirement(compose(AllOf, "requires", parts), "requires")


def requires_scopes(*values: str) -> Requirement:
    """Require every one of these to be effective and in the scope claim.

    Raises:
        ConfigurationError: as `requires`.
    """
    return _requires_terms(Kind.SCOPE, values, "requires_scopes")


def requires_permissions(*values: str) -> Requirement:
    """Require every one of these to be effective and an entitlement: see `policy.permission`.

    Raises:
        ConfigurationError: as `requires`.
    """
    return _requires_terms(Kind.PERMISSION, values, "requires_permissions")


def _requires_terms(kind: Kind, values: tuple[str, ...], name: str) -> Requirement:
    return Requirement(compose(AllOf, name, [make_term(kind, value, name) for value in values]), name)


authenticated = Requirement(AUTHENTICATED, "authenticated")
"""Any valid token, whatever it grants. Write `@authenticated`, without parentheses."""
public = Requirement(PUBLIC, "public")
"""Anybody, with or without a token; a bad token is still refused. Write `@public`, without parentheses."""


# --- what a target states ---------------------------------------------------------------------------------------------


def stated_access(target: object) -> Access | None:
    """Return what a function, class, method, partial or application was decorated with, or None.

    A restriction counts wherever it was copied or inherited to. That something is public counts only where it was said.
    """
    if isinstance(target, Guard):
        return target.stated.access
    if isinstance(target, type):
        return _stated_by_class(target)
    target = _function_of(target)
    access = getattr(target, ACCESS, None)
    if isinstance(access, Public):
        return access if target in _wrappers else None
    return access if isinstance(access, Policy) else None


def _stated_by_class(target: type) -> Access | None:
    """Return what a class states: its own word, and every restriction of the classes it inherits from."""
    access: Access | None = vars(target).get(ACCESS)
    for base in target.__mro__[1:]:
        inherited = vars(base).get(ACCESS)
        if isinstance(inherited, Policy):
            access = inherited if access is None else combine(access, inherited, target.__name__)
    return access


def _function_of(target: object) -> object:
    """Return the function behind partials and bound methods."""
    while isinstance(target, functools.partial) and not hasattr(target, ACCESS):
        target = target.func
    return target.__func__ if isinstance(target, MethodType) else target


def combine(one: Access, other: Access | None, where: str) -> Access:
    """Return what two statements about one target say together: both.

    Raises:
        ConfigurationError: one says public and the other does not, or they add up to too many alternatives.
    """
    if other is None or (isinstance(one, Public) and isinstance(other, Public)):
        return one
    if isinstance(one, Public) or isinstance(other, Public):
        raise ConfigurationError(
            f"{where} is both @public and guarded; keep one of the two. What a router or an application requires holds "
            "for all its routes and mounts: put the dependencies on an APIRouter that holds the guarded ones alone"
        )
    try:
        return join(AllOf, (one, other))
    except ConfigurationError as error:
        raise ConfigurationError(*(f"{where}: {fault}" for fault in error.faults)) from None


def decorated_too_late(endpoint: object) -> str | None:
    """Return the name of the decorator that was put above the route decorator, where it guards nothing."""
    if stated_access(endpoint) is not None:
        return None
    try:
        return _originals.get(cast("Callable[..., Any]", endpoint))
    except TypeError:  # what cannot be referred to weakly was never registered
        return None


def _original_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what one of our wrappers wraps, as `functools.wraps` leaves it; any other function is its own original."""
    original: Callable[..., Any] = getattr(function, "__wrapped__", function) if function in _wrappers else function
    return original


def _chain_of(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield a function and all that it wraps, by the trace `functools.wraps` leaves."""
    link: object = function
    while callable(link):
        yield link
        link = getattr(link, "__wrapped__", None)


def _name_of(target: object) -> str:
    return getattr(target, "__qualname__", None) or type(target).__name__


def _check_super(target: type, decorator: str) -> None:
    """Refuse `super(Name, self)`: once decorated, the name means the guarded subclass, and the call would not end."""
    for member in vars(target).values():
        method = _original_of(member) if inspect.isfunction(member) else None
        loaded = [] if method is None else [instruction.argval for instruction in dis.get_instructions(method)]
        if ("super", target.__name__) in pairwise(loaded):
            raise ConfigurationError(
                f"@{decorator} on {target.__name__}: write super() without arguments in its methods; "
                f"{target.__name__} names the guarded class, not the one the method stands in"
            )


def _is_asgi(target: Callable[..., Any]) -> bool:
    try:
        return list(inspect.signature(target).parameters) == ["scope", "receive", "send"]
    except (TypeError, ValueError):
        return False


# --- endpoint classes -------------------------------------------------------------------------------------------------


def guarded_await(endpoint: HTTPEndpoint | WebSocketEndpoint) -> Generator[Any, None, None]:
    """Decide before an endpoint dispatches. Routes await an instance; nothing else starts one."""
    return _decide_and_dispatch(endpoint).__await__()


async def _decide_and_dispatch(endpoint: HTTPEndpoint | WebSocketEndpoint) -> None:
    access = stated_access(type(endpoint))
    if access is not None:
        await context_of(endpoint.scope).enforce_checked(access, endpoint.scope)
    await endpoint.dispatch()
