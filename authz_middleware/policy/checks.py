"""`check`: what is decided by a function of the application's own, an ownership query or a policy engine.

A function is asked last, where all else in its alternative holds, and once for one decision. Whatever it does but
return True refuses.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, final

from ..errors import ConfigurationError
from .core import Answers, Kind, Policy, Term
from .request import AccessRequest

__all__ = ["CheckFunction", "CheckTerm", "check", "next_check"]

DEFAULT_SECONDS = 5.0
MAX_SECONDS = 60.0

CheckFunction = Callable[[AccessRequest], bool | Awaitable[bool]]
"""A function of the application's own. A sync one runs in a thread; what it returns to be awaited, is."""


@final
@dataclass(frozen=True, slots=True)
class CheckTerm(Term):
    """A function of the application's own. It holds only where it was run: see `decide`."""

    function: CheckFunction
    seconds: float
    is_async: bool = field(init=False, repr=False, compare=False)
    kind: Kind = field(default=Kind.CHECK, init=False)
    issuer: None = field(default=None, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", _is_async(self.function))

    def __repr__(self) -> str:
        seconds = int(self.seconds) if self.seconds.is_integer() else self.seconds
        limit = "" if self.seconds == DEFAULT_SECONDS else f", seconds={seconds!r}"
        return f"check({_written(self.function)}{limit})"

    @property
    def value(self) -> str:  # type: ignore[override]
        """Module and name of the function, with the plain arguments of a partial: what tells two checks apart."""
        return f"{_named(self.function).__module__}:{_written(self.function)}"

    @property
    def asks_request(self) -> bool:
        """A function may look at anything."""
        return True

    @property
    def has_checks(self) -> bool:
        """It is one."""
        return True

    def holds(self, request: AccessRequest) -> bool:  # noqa: ARG002 - the shape of every term
        """Tell that nothing was found out: nobody has run the function."""
        return False


def check(function: CheckFunction, *, seconds: float = DEFAULT_SECONDS) -> Policy:
    """Require a function of the application's own to return True: an ownership query, a policy engine.

    It gets an `AccessRequest`, and is asked last: only where all else in its alternative holds. What raises, takes
    longer than `seconds` (up to 60) or returns anything but a bool refuses. A sync function runs in a worker thread.

    Raises:
        ConfigurationError: it is no function of one argument, or cannot return a bool.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_SECONDS:
        raise ConfigurationError(f"check: seconds is above 0 and at most {MAX_SECONDS:g}")
    if isinstance(function, Policy) or not _takes_one(function):
        raise ConfigurationError(
            "check takes a function of one AccessRequest, plain or async, that returns a bool; "
            "write policy.check(owns_order)"
        )
    return CheckTerm(function, float(seconds))


def next_check(policy: Policy, request: AccessRequest, answers: Answers) -> CheckTerm | None:
    """Return the check whose answer is needed next; None if what is known decides."""
    if policy.allows(request, answers):
        return None
    for terms in policy.alternatives:
        checks = [term for term in terms if isinstance(term, CheckTerm)]
        is_open = all(answers.get(check, True) for check in checks)
        if is_open and all(isinstance(term, CheckTerm) or term.holds(request) for term in terms):
            return next(check for check in checks if check not in answers)
    return None


def _without_partials(function: object) -> object:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _named(function: object) -> Any:
    """Return what names a function: itself, or the class of an object that is called."""
    bare = _without_partials(function)
    return bare if getattr(bare, "__qualname__", None) else type(bare)


def _written(function: object) -> str:
    """Return a function as it is written: its name, and of a partial the arguments."""
    arguments: list[str] = []
    inner = function
    while isinstance(inner, functools.partial):
        named = (f"{name}={_plain(value)}" for name, value in inner.keywords.items())
        arguments = [*map(_plain, inner.args), *named, *arguments]
        inner = inner.func
    name = str(_named(function).__qualname__)
    return f"partial({', '.join([name, *arguments])})" if arguments else name


def _plain(value: object) -> str:
    """Return an argument as it is written, if that is short and says all; else an ellipsis."""
    match value:
        case None | bool():
            return repr(value)
        case str():
            return str.__repr__(value)  # of an enumeration's member, the string it is
        case int():
            return int.__repr__(value)
    return "…"


def _is_async(function: CheckFunction) -> bool:
    """Tell whether a function, or the call of an object, has to be awaited."""
    return any(map(inspect.iscoroutinefunction, _called(function)))


def _called(function: object) -> tuple[object, object]:
    bare = _without_partials(function)
    return bare, getattr(bare, "__call__", None)  # noqa: B004 - an object whose call is the function


def _takes_one(function: object) -> bool:
    """Tell whether something can be called with one argument, and does its work when it is called."""
    if isinstance(function, type) or not callable(function):
        return False
    if any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in _called(function)):
        return False
    try:
        hash(function)
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True
