"""Terms about caller and request: claims, identity, what kind of caller, functions of the application's own.

Nothing absent is ever met: no claim, no parameter, no tenant satisfies nothing.

Sources: RFC 7519 section 4 (claims), RFC 9068 sections 2.2 and 5 (identity), RFC 8693 section 4.1 (`act`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import final
from uuid import UUID

from ..errors import ConfigurationError
from .core import AccessRequest, Kind, Policy, Term, check_issuer

__all__ = [
    "CallerTerm",
    "CheckFunction",
    "CheckTerm",
    "ClaimTerm",
    "IdentityTerm",
    "PathParam",
    "check",
    "claim",
    "client",
    "machine",
    "path_param",
    "subject",
    "tenant",
    "user",
]

MAX_MATCHED_LENGTH = 1024
"""Longer strings match no pattern: how long a pattern takes must not be up to whoever writes the claim."""
MAX_CHECK_SECONDS = 60.0
GRANT_CLAIMS = {"scope": "scope", "scp": "scope", "permissions": "permission"}
"""Claims that carry grants, and the term that reads them by the rule for effective grants."""

CheckFunction = Callable[[AccessRequest], bool | Awaitable[bool]]
"""A function of the application's own; sync ones run in a worker thread where the decision can wait for one."""


@final
@dataclass(frozen=True, slots=True)
class PathParam:
    """The value of a parameter of the route's path, to compare with: see `path_param`."""

    name: str

    def __repr__(self) -> str:
        return f"path_param({self.name!r})"

    def value_in(self, request: AccessRequest) -> object:
        """Return the value, as JSON would have it; None where the route has no such parameter."""
        value = request.path_params.get(self.name)
        return str(value) if isinstance(value, UUID) else value


Scalar = str | int | float | bool


@final
@dataclass(frozen=True, slots=True)
class ClaimTerm(Term):
    """A claim with a certain value: `operator` is `equals`, `contains` or `matches`."""

    path: tuple[str, ...]
    operator: str
    operand: Scalar | PathParam | re.Pattern[str]
    issuer: str | None = None
    kind: Kind = field(default=Kind.CLAIM, init=False)

    def __hash__(self) -> int:
        return hash((self.path, self.operator, type(self.operand), self.operand, self.issuer))

    def __eq__(self, other: object) -> bool:
        """Compare by value, where True is not 1."""
        if not isinstance(other, ClaimTerm):
            return NotImplemented
        mine = (self.path, self.operator, type(self.operand), self.operand, self.issuer)
        return mine == (other.path, other.operator, type(other.operand), other.operand, other.issuer)

    def __repr__(self) -> str:
        name = self.path[0] if len(self.path) == 1 else self.path
        return f"claim({name!r}, {self.operator}={_operand_words(self.operand)}{_issuer_words(self.issuer)})"

    @property
    def value(self) -> str:  # type: ignore[override]
        """What the policy's author wrote."""
        return repr(self)

    @property
    def asks_request(self) -> bool:
        """Whether the claim is compared with a path parameter."""
        return isinstance(self.operand, PathParam)

    @property
    def needs_issuer(self) -> bool:
        """Claims mean what their issuer means by them."""
        return True

    def holds(self, request: AccessRequest) -> bool:
        """Tell whether the claim is there and has the value."""
        if not self.is_about(request):
            return False
        value = _claim_at(request.token.claims, self.path)
        operand = self.operand.value_in(request) if isinstance(self.operand, PathParam) else self.operand
        if value is None or operand is None:
            return False
        if isinstance(operand, re.Pattern):
            return isinstance(value, str) and len(value) <= MAX_MATCHED_LENGTH and operand.fullmatch(value) is not None
        if self.operator == "contains":
            return isinstance(value, tuple) and any(_equal_as_json(item, operand) for item in value)
        return _equal_as_json(value, operand)


@final
@dataclass(frozen=True, slots=True)
class IdentityTerm(Term):
    """Who calls: a certain subject, client or tenant."""

    kind: Kind
    operand: str | PathParam
    issuer: str | None = None

    def __repr__(self) -> str:
        return f"{self.kind}({self.operand!r}{_issuer_words(self.issuer)})"

    @property
    def value(self) -> str:  # type: ignore[override]
        """What the policy's author wrote."""
        return repr(self)

    @property
    def asks_request(self) -> bool:
        """Whether the identity is compared with a path parameter."""
        return isinstance(self.operand, PathParam)

    @property
    def needs_issuer(self) -> bool:
        """Identity is the pair of issuer and name. Tenants are let in issuer by issuer already (`tenants=`)."""
        return self.kind is not Kind.TENANT

    def holds(self, request: AccessRequest) -> bool:
        """Tell whether the token is this one's."""
        token = request.token
        actual = {Kind.SUBJECT: token.subject, Kind.CLIENT: token.client_id}.get(self.kind, token.tenant)
        wanted = self.operand.value_in(request) if isinstance(self.operand, PathParam) else self.operand
        return actual is not None and isinstance(wanted, str) and actual == wanted and self.is_about(request)


@final
@dataclass(frozen=True, slots=True)
class CallerTerm(Term):
    """What kind of caller it is: a machine, or a user. What cannot be told is a user."""

    kind: Kind
    issuer: None = field(default=None, init=False)

    def __repr__(self) -> str:
        return self.kind.value

    @property
    def value(self) -> str:  # type: ignore[override]
        """The kind."""
        return self.kind.value

    def holds(self, request: AccessRequest) -> bool:
        """Tell whether the caller is of this kind."""
        return request.token.is_machine is (self.kind is Kind.MACHINE)


@final
@dataclass(frozen=True, slots=True)
class CheckTerm(Term):
    """A function of the application's own. It holds only where it was run: see `decide`."""

    function: CheckFunction
    seconds: float
    kind: Kind = field(default=Kind.CHECK, init=False)
    issuer: None = field(default=None, init=False)

    def __repr__(self) -> str:
        return f"check({self.value})"

    @property
    def value(self) -> str:  # type: ignore[override]
        """The name of the function."""
        return getattr(self.function, "__qualname__", None) or type(self.function).__qualname__

    @property
    def asks_request(self) -> bool:
        """A function may look at anything."""
        return True

    @property
    def is_async(self) -> bool:
        """Whether the function must be awaited."""
        call = getattr(self.function, "__call__", None)  # noqa: B004 - an object whose call is async
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)

    def holds(self, request: AccessRequest) -> bool:  # noqa: ARG002 - the shape of every term
        """Tell that nothing was found out: nobody has run the function."""
        return False


# --- making them ------------------------------------------------------------------------------------------------------

machine: Policy = CallerTerm(Kind.MACHINE)
"""The caller is an application that acts for itself."""
user: Policy = CallerTerm(Kind.USER)
"""The caller is a user; so is what cannot be told."""


def path_param(name: str) -> PathParam:
    """Return the value of a path parameter, to compare with: `claim("org_id", equals=path_param("org"))`."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError('path_param takes the name of a path parameter; write path_param("org")')
    return PathParam(name)


def claim(
    name: str | tuple[str, ...],
    *,
    equals: Scalar | PathParam | None = None,
    contains: Scalar | PathParam | None = None,
    matches: str | re.Pattern[str] | None = None,
    issuer: str | None = None,
) -> Policy:
    """Require a claim with a certain value. `name` is one literal name, or a tuple as a path into objects.

    `equals` compares JSON type and value, `contains` asks an array for such an element, `matches` is a full match of a
    string of at most 1024 characters. With several trusted issuers, `issuer` says whose claim is meant.

    Raises:
        ConfigurationError: a claim that carries grants, anything inside `act` but the actor's `sub`, not exactly one
            of the three, or something that is no JSON scalar.
    """
    path = (name,) if isinstance(name, str) else name
    if not isinstance(path, tuple) or not path or not all(isinstance(part, str) and part for part in path):
        raise ConfigurationError('claim takes a name or a tuple as path; write claim("org_id", equals="acme")')
    if path[0] in GRANT_CLAIMS:
        raise ConfigurationError(
            f"claim({path[0]!r}): not every value there counts; write policy.{GRANT_CLAIMS[path[0]]}(…) or requires(…)"
        )
    if path[0] == "act" and path != ("act", "sub"):  # RFC 8693 section 4.1: prior actors are for information only
        raise ConfigurationError('claim("act"): only the current actor counts; write claim(("act", "sub"), equals=…)')
    given = {"equals": equals, "contains": contains, "matches": matches}
    operators = [(operator, operand) for operator, operand in given.items() if operand is not None]
    if len(operators) != 1:
        raise ConfigurationError(f"claim({name!r}) takes exactly one of equals=, contains= and matches=")
    operator, operand = operators[0]
    return ClaimTerm(path, operator, _check_operand(operator, operand), check_issuer(issuer, "claim"))


def subject(value: str | PathParam, *, issuer: str | None = None) -> Policy:
    """Require a certain subject. With several trusted issuers, `issuer` says whose."""
    return _identity(Kind.SUBJECT, value, issuer)


def client(value: str | PathParam, *, issuer: str | None = None) -> Policy:
    """Require the token to have been issued to a certain client. With several issuers, `issuer` says whose."""
    return _identity(Kind.CLIENT, value, issuer)


def tenant(value: str | PathParam, *, issuer: str | None = None) -> Policy:
    """Require a certain tenant (organization), from the dialect's tenant claim."""
    return _identity(Kind.TENANT, value, issuer)


def check(function: CheckFunction, *, seconds: float = 5.0) -> Policy:
    """Require a function of the application's own to return True: an ownership query, a policy engine.

    It gets an `AccessRequest`. What raises, takes longer than `seconds` (up to 60) or returns no bool refuses. It is
    asked last, and only where all else in its alternative holds.
    """
    if not callable(function):
        raise ConfigurationError("check takes a function of one AccessRequest; write policy.check(owns_order)")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_CHECK_SECONDS:
        raise ConfigurationError(f"check: seconds is above 0 and at most {MAX_CHECK_SECONDS:g}")
    return CheckTerm(function, seconds)


def _identity(kind: Kind, value: object, issuer: object) -> Policy:
    if not isinstance(value, PathParam) and (not isinstance(value, str) or not value):
        raise ConfigurationError(f'{kind} takes a string or path_param(…); write {kind}("…")')
    return IdentityTerm(kind, value, check_issuer(issuer, kind.value))


def _check_operand(operator: str, operand: object) -> Scalar | PathParam | re.Pattern[str]:
    if operator == "matches":
        if not isinstance(operand, str | re.Pattern) or not isinstance(getattr(operand, "pattern", operand), str):
            raise ConfigurationError('claim: matches takes a regular expression; write matches="acme-.*"')
        try:
            return re.compile(operand)
        except re.error as error:
            raise ConfigurationError(f"claim: matches is no regular expression ({error.msg})") from None
    if not isinstance(operand, str | int | float | PathParam):
        raise ConfigurationError(f"claim: {operator} takes a string, a number, a boolean or path_param(…)")
    return operand


def _claim_at(claims: Mapping[str, object], path: tuple[str, ...]) -> object:
    value: object = claims
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _equal_as_json(one: object, other: object) -> bool:
    """Compare two JSON scalars: a boolean is no number, a string nothing but a string."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return isinstance(one, str) and isinstance(other, str) and one == other


def _operand_words(operand: Scalar | PathParam | re.Pattern[str]) -> str:
    """Return an operand as it was written; of a pattern, whatever changes what it matches."""
    if not isinstance(operand, re.Pattern):
        return repr(operand)
    flags = re.RegexFlag(operand.flags) & ~re.UNICODE
    return f"re.compile({operand.pattern!r}, {flags!r})" if flags else repr(operand.pattern)


def _issuer_words(issuer: str | None) -> str:
    return "" if issuer is None else f", issuer={issuer!r}"
