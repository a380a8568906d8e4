"""Terms about claims, and path parameters to compare them with.

Nothing absent is ever met: no claim and no parameter satisfies nothing, and neither does null.

Sources: RFC 7519 section 4 (claims), RFC 8259 section 3 (JSON values), RFC 8693 section 4.1 (`act`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import final
from uuid import UUID

from ..errors import ConfigurationError
from .core import Kind, Policy, Term
from .kinds import issuer_words
from .patterns import MAX_MATCHED_LENGTH, compile_pattern
from .request import AccessRequest
from .slips import check_issuer

__all__ = ["ClaimTerm", "PathParam", "claim", "claim_at", "is_yet_unknown", "operand_in", "path_param"]

GRANT_CLAIMS = {"scope": "scope", "scp": "scope", "permissions": "permission"}
"""Claims that carry grants, and the term that reads them by the rule for effective grants."""


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


def operand_in(request: AccessRequest, operand: object) -> object:
    """Return what a term compares with: the operand itself, or the path parameter it names."""
    return operand.value_in(request) if isinstance(operand, PathParam) else operand


def is_yet_unknown(operand: object, request: AccessRequest) -> bool:
    """Tell whether a term compares with a path parameter that the path, as far as it was routed, does not have."""
    return isinstance(operand, PathParam) and operand.name not in request.path_params


Scalar = str | int | float | bool
Operand = Scalar | PathParam | re.Pattern[str]


@final
@dataclass(frozen=True, slots=True, eq=False)
class ClaimTerm(Term):
    """A claim with a certain value: `operator` is `equals`, `contains` or `matches`."""

    path: tuple[str, ...]
    operator: str
    operand: Operand
    issuer: str | None = None
    kind: Kind = field(default=Kind.CLAIM, init=False)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, ClaimTerm) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        name = self.path[0] if len(self.path) == 1 else self.path
        return f"claim({name!r}, {self.operator}={_operand_words(self.operand)}{issuer_words(self.issuer)})"

    @property
    def _key(self) -> tuple[object, ...]:
        """What two equal terms have in common. To Python True is 1, to JSON it is not."""
        return (self.path, self.operator, type(self.operand), self.operand, self.issuer)

    @property
    def value(self) -> str:  # type: ignore[override]
        """What the policy's author wrote."""
        return repr(self)

    @property
    def asks_request(self) -> bool:
        """Whether the claim is compared with a path parameter."""
        return isinstance(self.operand, PathParam)

    def holds(self, request: AccessRequest) -> bool:
        """Tell whether the claim is there and has the value. A claim that carries grants is read by their terms."""
        token = request.token
        if not self.is_about(request) or self.path in token.trust.grant_claims:
            return False
        value = claim_at(token.claims, self.path)
        operand = operand_in(request, self.operand)
        if isinstance(operand, re.Pattern):
            return isinstance(value, str) and len(value) <= MAX_MATCHED_LENGTH and operand.fullmatch(value) is not None
        if self.operator == "contains":
            return isinstance(value, tuple | list) and any(_equal_as_json(item, operand) for item in value)
        return _equal_as_json(value, operand)


def path_param(name: str) -> PathParam:
    """Return the value of a path parameter, to compare with: `claim("org_id", equals=path_param("org"))`.

    It is what the route's convertor reads: a string, unless the path says otherwise, as `/{number:int}` does. A UUID
    is compared as the string that JSON has for it.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError('path_param takes the name of a path parameter; write path_param("org")')
    return PathParam(str.__str__(name))  # of an enumeration's member, the string it is


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
    string of at most 256 characters. With several trusted issuers, `issuer` says whose claim is meant.

    Raises:
        ConfigurationError: a claim that carries grants, anything inside `act` but the actor's `sub`, not exactly one
            of the three, something that is no JSON scalar, or a pattern that may take long.
    """
    path = _check_path(name)
    given = {"equals": equals, "contains": contains, "matches": matches}
    operators = [(operator, operand) for operator, operand in given.items() if operand is not None]
    if len(operators) != 1:
        raise ConfigurationError(f"claim({name!r}) takes exactly one of equals=, contains= and matches=")
    operator, operand = operators[0]
    checked = compile_pattern(operand) if operator == "matches" else _check_operand(operator, operand)
    return ClaimTerm(path, operator, checked, check_issuer(issuer, "claim"))


def _check_path(name: object) -> tuple[str, ...]:
    path = (name,) if isinstance(name, str) else name
    if not isinstance(path, tuple) or not path or not all(isinstance(part, str) and part for part in path):
        raise ConfigurationError('claim takes a name or a tuple as path; write claim("org_id", equals="acme")')
    if path[0] in GRANT_CLAIMS:
        raise ConfigurationError(
            f"claim({path[0]!r}): not every value there counts; write policy.{GRANT_CLAIMS[path[0]]}(…) or requires(…)"
        )
    if path[0] == "act" and path != ("act", "sub"):  # RFC 8693 section 4.1: prior actors are for information only
        raise ConfigurationError('claim("act"): only the current actor counts; write claim(("act", "sub"), equals=…)')
    return tuple(map(str.__str__, path))


def _check_operand(operator: str, operand: object) -> Scalar | PathParam:
    match operand:
        case bool() | PathParam():
            return operand
        case str():
            return str.__str__(operand)  # of an enumeration's member, the string it is
        case int():
            return int(operand)
        case float() if isfinite(operand):
            return float(operand) + 0.0  # to JSON and to Python, -0.0 is 0.0
    raise ConfigurationError(
        f"claim: {operator} takes a string, a number, a boolean or path_param(…), not a {type(operand).__name__}"
    )


def claim_at(claims: Mapping[str, object], path: tuple[str, ...]) -> object:
    """Return the value at a path; None if there is none."""
    value: object = claims
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _equal_as_json(one: object, other: object) -> bool:
    """Compare two JSON scalars: a boolean is no number, a string nothing but a string, and null equals nothing."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return isinstance(one, str) and isinstance(other, str) and one == other


def _operand_words(operand: Operand) -> str:
    """Return an operand as it was written; of a pattern, whatever changes what it matches."""
    if not isinstance(operand, re.Pattern):
        return repr(operand)
    if operand == re.compile(operand.pattern):
        return repr(operand.pattern)
    return f"re.compile({operand.pattern!r}, {re.RegexFlag(operand.flags) & ~re.UNICODE!r})"
