"""Why a token is refused, and what to do about it, for people who never read an RFC.

The closed table says it in general. Where the token or the settings tell more, `facts` adds it: this is shown to
whoever holds the token already, never to a client and never in a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...errors import InvalidToken, Reason, Refused
from ...explanations import EXPLANATIONS
from ...issuers import TrustedIssuer
from ..terminal import json_text
from .times import is_date, moment

__all__ = ["OWN", "Case", "Words", "facts", "words_of"]


@dataclass(frozen=True, slots=True)
class Words:
    """What is wrong, and what to change."""

    what: str
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A refusal and all that is known about it: the settings it fell under, and why keys were not had."""

    refused: Refused
    header: Mapping[str, object]
    claims: Mapping[str, object]
    issuers: tuple[TrustedIssuer, ...]
    trusted: TrustedIssuer | None
    now: float
    failure: str | None = None


GET_ANOTHER = "Get a new token."
DAMAGED = "It was probably damaged on its way; copy it whole, and nothing around it."
ASK_ISSUER = "No authorization server should write this; ask whoever runs it."
NOT_NOW = "This is no fault of the token. See what `authz doctor` says about the issuer, and try again."

OWN: Mapping[Reason, Words] = MappingProxyType(
    {
        Reason.DPOP_SCHEME: Words(
            "It is sent with the scheme DPoP, whose proofs cannot be verified here yet.",
            "Let the client request a token that is not bound to a key, and send it as Bearer.",
        ),
        Reason.TOO_LARGE: Words(
            "It is longer than this API reads.",
            "Put less into it at the authorization server, or raise max_token_bytes=.",
        ),
        Reason.ENCRYPTED: Words(
            "It is encrypted, and only whoever has the key can read it.",
            "Switch encryption of access tokens off for this API at the authorization server; signed ones are read.",
        ),
        Reason.NOT_THREE_PARTS: Words(
            "A signed token is three parts with dots between them, and this is not.", DAMAGED
        ),
        Reason.NOT_CANONICAL_BASE64URL: Words(
            "One of its parts is not what a signed token is made of: something is missing, or spaces, line breaks or "
            "other signs came in.",
            DAMAGED,
        ),
        Reason.NOT_UTF8: Words("Its header or its claims are no text.", DAMAGED),
        Reason.NOT_JSON: Words("Its header or its claims are no JSON.", DAMAGED),
        Reason.NOT_AN_OBJECT: Words("Its header or its claims are JSON, but no object with names.", ASK_ISSUER),
        Reason.DUPLICATE_MEMBER: Words(
            "It says something twice under one name, and two readers could believe two different things.", ASK_ISSUER
        ),
        Reason.TOO_DEEP: Words("Its claims are nested deeper than any sensible token's.", ASK_ISSUER),
        Reason.KID_NOT_USABLE: Words("Its header names its key (kid) in a form that no key has.", ASK_ISSUER),
        Reason.AUDIENCE_AMBIGUOUS: Words(
            "It is meant for several APIs whose settings differ here, so it cannot be said which ones count.",
            "Let the client ask for one of them.",
        ),
        Reason.ALGORITHM_NOT_ALLOWED: Words(
            "It is signed in a way that is not allowed for this issuer.",
            "Choose an allowed algorithm for this API at the authorization server, or state another in algorithms=.",
        ),
        Reason.CRITICAL_HEADER: Words("Its header demands an extension that is not understood here.", ASK_ISSUER),
        Reason.KEY_NOT_PUBLISHED: Words(
            "It was signed with a key that its issuer does not publish.",
            "The issuer has withdrawn the key, or somebody else signed the token. Get a new one.",
        ),
        Reason.KEY_AMBIGUOUS: Words(
            "It does not name its key, and the issuer publishes several that would fit.",
            "Let the authorization server write kid into its tokens.",
        ),
        Reason.KEY_SOURCE_FAILED: Words("The issuer's keys cannot be had: their source failed.", NOT_NOW),
        Reason.NEVER_FETCHED: Words("The issuer's keys cannot be had.", NOT_NOW),
        Reason.TOO_LONG_WITHOUT_CONTACT: Words("The issuer's keys are too old to be used, and new ones fail.", NOT_NOW),
        Reason.UNKNOWN_KEY_AND_FETCH_FAILED: Words("Its key is not known, and asking the issuer failed.", NOT_NOW),
        Reason.TOO_MANY_WAITING: Words("Too many requests wait for the issuer's keys.", NOT_NOW),
        Reason.SIGNATURE_INVALID: Words(
            "Its signature does not hold: somebody changed it, or it was cut off.", f"{DAMAGED} Else do not trust it."
        ),
        Reason.CLAIM_MISSING: Words("It lacks a claim that every token of its dialect has.", ASK_ISSUER),
        Reason.CLAIM_WRONG_FORM: Words("One of its claims has a form that cannot be meant.", ASK_ISSUER),
        Reason.CLIENTS_DIFFER: Words("It names two different clients, in azp and in client_id.", ASK_ISSUER),
        Reason.EXPIRED: Words("It has expired.", GET_ANOTHER),
        Reason.NOT_BEFORE_IN_FUTURE: Words(
            "It does not hold yet.", "Wait, or set the clocks right: of this machine, or of the authorization server."
        ),
        Reason.ISSUED_IN_FUTURE: Words(
            "It says that it was issued in the future.",
            "Set the clocks right: of this machine, or of the authorization server.",
        ),
        Reason.REVOKED: Words("The application calls it revoked.", GET_ANOTHER),
        Reason.REVOCATION_CHECK_FAILED: Words("Whether it was revoked cannot be found out.", NOT_NOW),
    }
)
"""The reasons for which a token can be refused that operators are told nothing more about than the answer says."""


def words_of(reason: Reason) -> Words:
    """Return what is wrong and what to change; where operators are told it, in the very same words."""
    if reason in OWN:
        return OWN[reason]
    what, _, change = EXPLANATIONS[reason].partition("; ")
    return Words(_sentence(what), _sentence(change))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


# --- what the token and the settings add ------------------------------------------------------------------------------


def facts(case: Case) -> str:
    """Return what is known beyond the reason, as a sentence; empty if nothing is."""
    return _FACTS[case.refused.reason](case) if case.refused.reason in _FACTS else ""


def _issuer(case: Case) -> str:
    theirs, ours = case.claims.get("iss"), _listed(issuer.issuer for issuer in case.issuers)
    said = f"It says {json_text(theirs)}; trusted is {ours}."
    if any(isinstance(theirs, str) and theirs.rstrip("/") == issuer.issuer.rstrip("/") for issuer in case.issuers):
        return f"{said} They differ in the slash at the end alone, and that counts."
    return said


def _audience(case: Case) -> str:
    ours = _listed(audience for issuer in case.issuers for audience in sorted(issuer.settings.audiences))
    return f"It says {json_text(case.claims.get('aud'))}; this API is {ours}."


def _algorithm(case: Case) -> str:
    allowed = () if case.trusted is None else sorted(case.trusted.settings.algorithms)
    return f"It says {json_text(case.header.get('alg'))}; allowed is {_listed(allowed)}."


def _type(case: Case) -> str:
    dialects = () if case.trusted is None else case.trusted.settings.dialects
    allowed = _listed(f"{'/'.join(sorted(d.types))} ({d.name})" for d in dialects)
    said = json_text(case.header["typ"]) if "typ" in case.header else "nothing"
    return f"It says {said}; allowed is {allowed}, and here --dialect or --auth0 allows more."


def _key(case: Case) -> str:
    if "kid" not in case.header:
        return "It names no key."
    return f"It names the key {json_text(case.header['kid'])}."


def _claim(case: Case) -> str:
    claim = case.refused.claim if isinstance(case.refused, InvalidToken) else None
    return "" if claim is None else f"The claim is {claim}."


def _date(name: str) -> Callable[[Case], str]:
    def fact(case: Case) -> str:
        value = case.claims.get(name)
        return f"The claim {name} says {moment(value, case.now)}." if is_date(value) else ""

    return fact


def _organization(case: Case) -> str:
    allowed = case.trusted.settings.tenants if case.trusted else None
    return f"Let in is {_listed(sorted(allowed or ()))}."


def _failure(case: Case) -> str:
    return "" if case.failure is None else f"What went wrong, in a word: {case.failure}."


def _listed(names: Iterable[str]) -> str:
    return " or ".join(names) or "nothing"


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
