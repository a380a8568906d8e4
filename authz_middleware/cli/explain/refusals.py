"""Why a token is refused, and what to do about it, for people who never read an RFC.

The table of explanations says it in general. Where the token or the settings tell more, that is added: this is shown to
whoever holds the token already, never to a client and never in a log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ...dialects import Dialect
from ...errors import InvalidToken, Reason, Refused
from ...explanations import Explanation, explanation_of
from ...issuers import TrustedIssuer
from ..failures import FAILURES
from ..harmless import json_text
from .times import is_date, moment

__all__ = ["Case", "change_of", "why_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A refusal and all that is known about it: the settings it fell under, the dialects tried, why keys failed."""

    refused: Refused
    header: Mapping[str, object]
    claims: Mapping[str, object]
    issuers: tuple[TrustedIssuer, ...]
    trusted: TrustedIssuer | None
    dialects: tuple[Dialect, ...]
    now: float
    failure: str | None = None


def why_of(case: Case) -> str:
    """Return what is wrong with a token, and what it and the settings tell beyond that."""
    fact = _FACTS[case.refused.reason](case) if case.refused.reason in _FACTS else ""
    return f"{_sentence(_explained(case).what)} {fact}".rstrip()


def change_of(case: Case) -> str:
    """Return what to do about it."""
    return _sentence(_explained(case).change)


_NEW_KEYS = (
    "the application trusts a LocalIssuer, which has new keys in each process; sign a token in this process, or give "
    "it a fixed key="
)


def _explained(case: Case) -> Explanation:
    explanation = explanation_of(case.refused.reason, _claim_of(case))
    is_signed_elsewhere = case.refused.reason in {Reason.SIGNATURE_INVALID, Reason.KEY_NOT_PUBLISHED}
    if is_signed_elsewhere and case.trusted is not None and case.trusted.is_local:
        return replace(explanation, change=_NEW_KEYS)
    return explanation


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


# --- what the token and the settings add ------------------------------------------------------------------------------


def _issuer(case: Case) -> str:
    return _compared(case.claims.get("iss"), [issuer.issuer for issuer in case.issuers], "trusted is")


def _audience(case: Case) -> str:
    ours = [audience for issuer in case.issuers for audience in sorted(issuer.settings.audiences)]
    return _compared(case.claims.get("aud"), ours, "this API is")


def _compared(theirs: object, ours: Collection[str], what_ours_is: str) -> str:
    """Quote what a token says and what it should, and a difference that is easily overlooked."""
    said = f"It says {json_text(theirs)}; {what_ours_is} {_listed(map(json_text, dict.fromkeys(ours)))}."
    names = theirs if isinstance(theirs, list) else [theirs]
    bare = {name.rstrip("/") for name in names if isinstance(name, str)}
    if any(name not in names and name.rstrip("/") in bare for name in ours):
        return f"{said} They differ in the slash at the end alone, and that counts."
    return said


def _algorithm(case: Case) -> str:
    said = f"It says {_header(case, 'alg')}"
    return (
        f"{said}."
        if case.trusted is None
        else f"{said}; allowed is {_listed(sorted(case.trusted.settings.algorithms))}."
    )


def _type(case: Case) -> str:
    allowed = _listed(f"{'/'.join(sorted(dialect.types))} ({dialect.name})" for dialect in case.dialects)
    return f"It says {_header(case, 'typ')}; allowed is {allowed}."


def _key(case: Case) -> str:
    return f"It names the key {_header(case, 'kid')}." if "kid" in case.header else "It names no key."


def _header(case: Case, name: str) -> str:
    return json_text(case.header[name]) if name in case.header else "nothing"


def _claim(case: Case) -> str:
    claim = _claim_of(case)
    return "" if claim is None else f"The claim is {claim}."


def _claim_of(case: Case) -> str | None:
    return case.refused.claim if isinstance(case.refused, InvalidToken) else None


def _date(name: str) -> Callable[[Case], str]:
    def fact(case: Case) -> str:
        value = case.claims.get(name)
        return f"The claim {name} says {moment(value, case.now)}." if is_date(value) else ""

    return fact


def _organization(case: Case) -> str:
    tenants = None if case.trusted is None else case.trusted.settings.tenants
    return "" if tenants is None else f"Let in is {_listed(sorted(tenants))}."


def _failure(case: Case) -> str:
    return "" if case.failure is None else f"About the issuer: {FAILURES.get(case.failure, case.failure)}."


def _listed(names: Iterable[str]) -> str:
    return " or ".join(names)


_FACTS: Mapping[Reason, Callable[[Case], str]] = MappingProxyType(
    {
        Reason.ISSUER_NOT_TRUSTED: _issuer,
        Reason.AUDIENCE_NOT_OURS: _audience,
        Reason.AUDIENCE_OF_ISSUER: _audience,
        Reason.AUDIENCE_AMBIGUOUS: _audience,
        Reason.ALGORITHM_NOT_ALLOWED: _algorithm,
        Reason.TYPE_NOT_ALLOWED: _type,
        Reason.KEY_NOT_PUBLISHED: _key,
        Reason.CLAIM_MISSING: _claim,
        Reason.CLAIM_WRONG_FORM: _claim,
        Reason.EXPIRED: _date("exp"),
        Reason.NOT_BEFORE_IN_FUTURE: _date("nbf"),
        Reason.ISSUED_IN_FUTURE: _date("iat"),
        Reason.TENANT_NOT_ALLOWED: _organization,
        Reason.KEY_SOURCE_FAILED: _failure,
        Reason.NEVER_FETCHED: _failure,
        Reason.UNKNOWN_KEY_AND_FETCH_FAILED: _failure,
    }
)
