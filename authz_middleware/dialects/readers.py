"""Turn claims into values. A claim of the wrong JSON type refuses the token; nothing is ever coerced.

Sources: RFC 7519 section 2 (NumericDate), RFC 8693 section 4.2 (`scope`), RFC 7519 section 4.1.3 (`aud`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._jose import VerifiedClaims
from ..errors import Code, InvalidToken, Reason
from .model import ClaimPath

__all__ = [
    "missing",
    "read_actor",
    "read_audience",
    "read_date",
    "read_optional_string",
    "read_required_date",
    "read_scope",
    "read_string",
    "read_tenant",
    "read_values",
]

MAX_DATE = 2**53
"""Above this a JSON number is no longer exact, and no clock will ever show it."""


def wrong_form(claim: str) -> InvalidToken:
    """Return the refusal of a claim with the wrong form."""
    return InvalidToken(Code.INVALID_CLAIM, Reason.CLAIM_WRONG_FORM, claim)


def missing(claim: str) -> InvalidToken:
    """Return the refusal of a token without a required claim."""
    return InvalidToken(Code.INVALID_CLAIM, Reason.CLAIM_MISSING, claim)


def read_string(claims: Mapping[str, object], name: str) -> str:
    """Return a required, non-empty string."""
    if name not in claims:
        raise missing(name)
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise wrong_form(name)
    return value


def read_optional_string(claims: Mapping[str, object], name: str) -> str | None:
    """Return a non-empty string, or None if the claim is absent."""
    return read_string(claims, name) if name in claims else None


def read_date(claims: Mapping[str, object], name: str) -> float | None:
    """Return a NumericDate in epoch seconds, or None if the claim is absent. Strings and booleans are no dates."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_DATE:
        raise wrong_form(name)
    return value


def read_required_date(claims: Mapping[str, object], name: str) -> float:
    """Return a NumericDate that must be there, in epoch seconds."""
    date = read_date(claims, name)
    if date is None:
        raise missing(name)
    return date


def read_audience(claims: Mapping[str, object]) -> tuple[str, ...]:
    """Return every value of `aud`: one string, or an array of strings."""
    if "aud" not in claims:
        raise missing("aud")
    value = claims["aud"]
    return (value,) if isinstance(value, str) else _strings(value, "aud")


def read_scope(claims: VerifiedClaims, name: str) -> frozenset[str]:
    """Return the scopes in claim `name`; none if it is absent.

    Accepts the space-delimited string of RFC 8693 section 4.2 and the array some servers send instead. Only U+0020
    separates; an array element with a space could be read in two ways, so it refuses the token.
    """
    if name not in claims:
        return frozenset()
    value = claims[name]
    if isinstance(value, str):
        return _non_empty(value.split(" "))
    scopes = _strings(value, name)
    if any(" " in scope for scope in scopes):
        raise wrong_form(name)
    return _non_empty(scopes)


def read_strings(claims: VerifiedClaims, path: ClaimPath) -> frozenset[str] | None:
    """Return an array of strings as a set, or None if the claim is absent."""
    present, value = _find(claims, path)
    return _non_empty(_strings(value, path[-1])) if present else None


def read_values(claims: VerifiedClaims, paths: Iterable[ClaimPath]) -> frozenset[str] | None:
    """Return the union of several arrays of strings, or None if every one of the claims is absent."""
    found = [values for path in paths if (values := read_strings(claims, path)) is not None]
    return frozenset().union(*found) if found else None


def read_tenant(claims: VerifiedClaims, paths: Iterable[ClaimPath]) -> str | None:
    """Return the tenant of the first claim that is present, a non-empty string; None if there is none."""
    for path in paths:
        present, value = _find(claims, path)
        if present:
            if not isinstance(value, str) or not value:
                raise wrong_form(path[-1])
            return value
    return None


def read_actor(claims: VerifiedClaims) -> str | None:
    """Return the outermost `act.sub` (RFC 8693 section 4.1), or None. Nothing else inside `act` is ever read."""
    if "act" not in claims:
        return None
    actor = claims["act"]
    if not isinstance(actor, dict):
        raise wrong_form("act")
    subject = actor.get("sub")
    if "sub" in actor and (not isinstance(subject, str) or not subject):
        raise wrong_form("act")
    return subject


def _find(claims: Mapping[str, object], path: ClaimPath) -> tuple[bool, object]:
    """Walk down to a claim. A member on the way that is no object cannot be walked through: the token is refused."""
    value: object = claims
    for name in path:
        if not isinstance(value, Mapping):
            raise wrong_form(path[0])
        if name not in value:
            return False, None
        value = value[name]
    return True, value


def _strings(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong_form(name)
    return tuple(value)


def _non_empty(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value for value in values if value)
