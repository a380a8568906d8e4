"""`requires` and its family: what a route states about who may call it.

A decorator does two things. It marks its target, so that the middleware can decide *early*, before body, validation
and dependencies. And it wraps its target, so that the decision is *certain*, however the target is reached.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from .context import context_of, current_context, refuse
from .errors import ConfigurationError, Refused
from .policy import AUTHENTICATED, PUBLIC, Access, Kind, Policy, Public, all_of, make_term

__all__ = [
    "Guard",
    "Requirement",
    "Stated",
    "authenticated",
    "combine",
    "decorated_too_late",
    "public",
    "requires",
    "requires_permissions",
    "requires_scopes",
    "stated_access",
]

T = TypeVar("T")
ACCESS = "__authz_access__"

_wrapped: WeakKeyDictionary[Callable[..., Any], Callable[..., Any]] = WeakKeyDictionary()
"""Our wrappers and what they wrap. A registry and no attribute: `functools.wraps` would copy that to strangers."""
_originals: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
"""Functions as they were before a decorator wrapped them: a route that has one of these was decorated too late."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a route states: `access` altogether (None: nothing), `pieces` what its wrappers will ask for again."""

    access: Access | None
    pieces: tuple[Access, ...] = ()


class Guard:
    """An ASGI application behind a decision. A refusal is answered here, before anything behind it has run."""

    __slots__ = ("answers_405", "app", "by_method", "stated")

    def __init__(
        self,
        app: ASGIApp,
        stated: Stated,
        by_method: Mapping[str, Stated] | None = None,
        *,
        answers_405: bool = False,
    ) -> None:
        self.app = app
        self.stated = stated
        self.by_method = by_method or {}
        self.answers_405 = answers_405

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of the application behind, as `Mount` looks for them."""
        return cast("list[BaseRoute]", getattr(self.app, "routes", []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide, then serve."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        context = context_of(scope)
        try:
            stated = self.stated_for(scope)
            if stated is not None:
                context.enforce_route(stated.access, stated.pieces)
            await self.app(scope, receive, send)
        except Refused as refused:
            await refuse(context, refused, scope, send)

    def stated_for(self, scope: Scope) -> Stated | None:
        """Return what is stated for this request; class-based endpoints state it method by method.

        None: a class-based endpoint has no such method and will answer 405.
        """
        stated = self.by_method.get(scope.get("method", ""), self.stated)
        is_405 = self.answers_405 and stated is self.stated and stated.access is None
        return None if is_405 else stated


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a decorator call returns: apply it to a function, an endpoint class or method, or an ASGI application."""

    access: Access
    name: str

    def __call__(self, target: T) -> T:
        """Return the guarded target.

        Raises:
            ConfigurationError: the target cannot be guarded, or states something contradictory.
        """
        return cast("T", self._guard(target))

    def _guard(self, target: object) -> object:
        if isinstance(target, type) and issubclass(target, HTTPEndpoint | WebSocketEndpoint):
            return self._guard_class(target)
        if isinstance(target, type | BaseRoute | staticmethod) or not callable(target):
            raise self._unguardable(target)
        if _is_asgi(target):
            access = combine(self.access, stated_access(target), self.name)
            return Guard(cast("ASGIApp", target), Stated(access))
        if inspect.isroutine(target) or isinstance(target, functools.partial):
            return self._guard_function(target)
        raise self._unguardable(target)

    def _guard_function(self, target: Callable[..., Any]) -> Callable[..., Any]:
        original = _wrapped.get(target, target)  # one wrapper, however many of our decorators are stacked
        access = combine(self.access, stated_access(target), _name_of(original))
        wrapper = _wrap(original, access)
        setattr(wrapper, ACCESS, access)
        _wrapped[wrapper] = original
        _originals[original] = self.name
        return wrapper

    def _guard_class(self, target: type[HTTPEndpoint | WebSocketEndpoint]) -> type:
        access = combine(self.access, stated_access(target), target.__name__)
        for method in vars(target).values():  # a contradiction is an error at start, not at the first request
            combine(access, stated_access(method), target.__name__)
        setattr(target, ACCESS, access)
        _guard_dispatch(target, access)
        return target

    def _unguardable(self, target: object) -> ConfigurationError:
        return ConfigurationError(
            f"@{self.name} cannot guard {_name_of(target)}; put it on a function, on a class or method of HTTPEndpoint "
            "or WebSocketEndpoint, or around an ASGI application, below the route decorator"
        )


def requires(*parts: str | Policy) -> Requirement:
    """Require every one of these grants, whichever claim the token's dialect writes them in.

    A string is one dialect-neutral grant; policies compose with `&` and `|`. Put it below the route decorator.

    Raises:
        ConfigurationError: nothing required, a string with a space, or something that is no policy.
    """
    return Requirement(all_of(*parts, name="requires"), "requires")


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
    return Requirement(all_of(*(make_term(kind, value, name) for value in values), name=name), name)


authenticated = Requirement(AUTHENTICATED, "authenticated")
"""Any valid token, whatever it grants. Write `@authenticated`, without parentheses."""
public = Requirement(PUBLIC, "public")
"""Anybody, with or without a token; a bad token is still refused. Write `@public`, without parentheses."""


# --- what a target states ---------------------------------------------------------------------------------------------


def stated_access(target: object) -> Access | None:
    """Return what a function, class, method, partial or application was decorated with, or None."""
    while isinstance(target, functools.partial) and not hasattr(target, ACCESS):
        target = target.func
    access = target.stated.access if isinstance(target, Guard) else getattr(target, ACCESS, None)
    return access if isinstance(access, Policy | Public) else None


def combine(one: Access, other: Access | None, where: str) -> Access:
    """Return what two statements about one target say together: both.

    Raises:
        ConfigurationError: one says public and the other does not.
    """
    if other is None or (isinstance(one, Public) and isinstance(other, Public)):
        return one
    if isinstance(one, Public) or isinstance(other, Public):
        raise ConfigurationError(f"{where} is both @public and guarded; keep one of the two")
    return all_of(one, other)


def decorated_too_late(endpoint: object) -> str | None:
    """Return the name of the decorator that was put above the route decorator, where it guards nothing."""
    if not inspect.isroutine(endpoint) and not isinstance(endpoint, functools.partial):
        return None
    return _originals.get(endpoint) if stated_access(endpoint) is None else None


def _name_of(target: object) -> str:
    return getattr(target, "__qualname__", None) or type(target).__name__


def _is_asgi(target: Callable[..., Any]) -> bool:
    try:
        return list(inspect.signature(target).parameters) == ["scope", "receive", "send"]
    except (TypeError, ValueError):
        return False


# --- wrapping ---------------------------------------------------------------------------------------------------------


def _wrap(function: Callable[..., Any], access: Access) -> Callable[..., Any]:
    """Return a function of the same kind and signature that decides first, unless that was done for this request."""
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def guarded_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
            current_context().enforce(access)
            async with aclosing(function(*args, **kwargs)) as items:
                async for item in items:
                    yield item

        return guarded_async_generator

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def guarded_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            current_context().enforce(access)
            return (yield from function(*args, **kwargs))

        return guarded_generator

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
            current_context().enforce(access)
            return await function(*args, **kwargs)

        return guarded_coroutine

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        current_context().enforce(access)
        return function(*args, **kwargs)

    return guarded


def _guard_dispatch(endpoint: type[HTTPEndpoint | WebSocketEndpoint], access: Access) -> None:
    """Make every instance decide before it dispatches. Routes await an instance; nothing else starts one."""

    async def decide_and_dispatch(self: HTTPEndpoint | WebSocketEndpoint) -> None:
        context_of(self.scope).enforce(access)
        await self.dispatch()

    def __await__(self: HTTPEndpoint | WebSocketEndpoint) -> Generator[Any, None, None]:  # noqa: N807
        return decide_and_dispatch(self).__await__()

    endpoint.__await__ = __await__  # type: ignore[method-assign]
