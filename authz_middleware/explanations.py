"""Why a request was refused before any policy was asked, in words for people who never read an RFC.

A sentence says what is wrong and who can change it; it names nothing of the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .errors import ANSWERS, Code, Reason

__all__ = ["EXPLANATIONS", "Explanation", "explain_refusal", "explanation_of"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is wrong, and what to change: two halves of one sentence, without its full stop."""

    what: str
    change: str


_ASK_FOR_THIS_API = "the client must name this API when it asks for a token (audience= at Auth0, resource= elsewhere)"
_GET_ANOTHER = "get a new token"
_DAMAGED = "it was probably damaged on its way; copy it whole, and nothing around it"
_ASK_ISSUER = "no authorization server should write this; ask whoever runs it"
_NOT_NOW = "this is no fault of the token; see what `authz doctor` says about the issuer, and try again"

EXPLANATIONS: Mapping[Reason, Explanation] = MappingProxyType(
    {
        # size, shape, parsing
        Reason.TOO_LARGE: Explanation(
            "the token is longer than this API reads",
            "put less into it at the authorization server, or raise max_token_bytes=",
        ),
        Reason.NOT_THREE_PARTS: Explanation(
            "the token is not three parts with dots between them, as a signed one is", _DAMAGED
        ),
        Reason.NOT_CANONICAL_BASE64URL: Explanation(
            "the token has a part that is not what a signed token is made of: something is missing, or spaces, line "
            "breaks or other signs came in",
            _DAMAGED,
        ),
        Reason.NOT_UTF8: Explanation("the token's header or its claims are no text", _DAMAGED),
        Reason.NOT_JSON: Explanation("the token's header or its claims are no JSON", _DAMAGED),
        Reason.NOT_AN_OBJECT: Explanation(
            "the token's header or its claims are JSON, but no object with names", _ASK_ISSUER
        ),
        Reason.DUPLICATE_MEMBER: Explanation(
            "the token says something twice under one name, and two readers could believe two different things",
            _ASK_ISSUER,
        ),
        Reason.TOO_DEEP: Explanation("the token's claims are nested deeper than any sensible token's", _ASK_ISSUER),
        # header
        Reason.CRITICAL_HEADER: Explanation(
            "the token's header demands an extension that is not understood here", _ASK_ISSUER
        ),
        Reason.KID_NOT_USABLE: Explanation(
            "the token's header names its key (kid) in a form that no key has", _ASK_ISSUER
        ),
        Reason.ALGORITHM_NOT_ALLOWED: Explanation(
            "the token is signed in a way that is not allowed for this issuer",
            "choose an allowed algorithm for this API at the authorization server, or state another in algorithms=",
        ),
        Reason.TYPE_NOT_ALLOWED: Explanation(
            "the token's type (typ) is not one that the allowed dialects write",
            "set dialects= to what this API is issued, or let the client send an access token",
        ),
        # issuer, audience, keys
        Reason.ISSUER_NOT_TRUSTED: Explanation(
            "the token names an issuer that is not trusted here",
            "compare its iss with issuer= to the letter, the slash at the end included",
        ),
        Reason.AUDIENCE_NOT_OURS: Explanation(
            "the token is for another API", f"{_ASK_FOR_THIS_API}, or audience= here is not this API's identifier"
        ),
        Reason.AUDIENCE_OF_ISSUER: Explanation(
            "the token is for an API of the authorization server itself (the Management API, or /userinfo)",
            f"{_ASK_FOR_THIS_API}, and send its token for the authorization server to nobody else",
        ),
        Reason.AUDIENCE_AMBIGUOUS: Explanation(
            "the token is meant for several APIs whose settings differ here, so it cannot be said which ones count",
            "let the client ask for one of them",
        ),
        Reason.KEY_NOT_PUBLISHED: Explanation(
            "the token was signed with a key that its issuer does not publish",
            "the issuer has withdrawn the key, or somebody else signed the token; get a new one",
        ),
        Reason.KEY_AMBIGUOUS: Explanation(
            "the token does not name its key, and the issuer publishes several that would fit",
            "let the authorization server write kid into its tokens",
        ),
        Reason.SIGNATURE_INVALID: Explanation(
            "the token's signature does not hold: somebody changed it, or it was cut off",
            f"{_DAMAGED}; else do not trust it",
        ),
        # claims
        Reason.CLAIM_MISSING: Explanation(
            "the token lacks a claim that every token of its dialect has",
            "set dialects= to what this API is issued, or let the authorization server write that claim",
        ),
        Reason.CLAIM_WRONG_FORM: Explanation("the token has a claim of a form that cannot be meant", _ASK_ISSUER),
        Reason.CLIENTS_DIFFER: Explanation(
            "the token names two different clients, in azp and in client_id", _ASK_ISSUER
        ),
        Reason.DIALECT_AMBIGUOUS: Explanation(
            "the token could be read as more than one of the allowed dialects",
            "pin dialects= to what this API is issued",
        ),
        Reason.EXPIRED: Explanation("the token has expired", _GET_ANOTHER),
        Reason.NOT_BEFORE_IN_FUTURE: Explanation(
            "the token does not hold yet",
            "wait, or set the clocks right: of this machine, or of the authorization server",
        ),
        Reason.ISSUED_IN_FUTURE: Explanation(
            "the token says that it was issued in the future",
            "set the clocks right: of this machine, or of the authorization server",
        ),
        Reason.TENANT_NOT_ALLOWED: Explanation(
            "the token was issued in an organization that is not let in, or in none",
            "add it to tenants=, or let the user log in to one of those",
        ),
        Reason.REVOKED: Explanation("the token is revoked, as the application says", _GET_ANOTHER),
        # kinds of token that are not ours to accept
        Reason.OPAQUE: Explanation(
            "the token is opaque: only the authorization server can read it, because it was asked for without naming "
            "an API",
            _ASK_FOR_THIS_API,
        ),
        Reason.ENCRYPTED: Explanation(
            "the token is encrypted, and only whoever has the key can read it",
            "switch encryption of access tokens off for this API at the authorization server; signed ones are read",
        ),
        Reason.ID_TOKEN_MARK: Explanation(
            "the token is an ID token: it tells the client who logged in, and lets nobody call an API",
            "the client must send the access token that came with it",
        ),
        Reason.CONFIRMATION_CLAIM: Explanation(
            "the token is bound to a key of its client, and the proof of that cannot be verified here",
            "switch sender-constraining (DPoP, mTLS) off for this API at the authorization server",
        ),
        Reason.DPOP_SCHEME: Explanation(
            "the token is sent with the scheme DPoP, whose proofs cannot be verified here yet",
            "let the client request a token that is not bound to a key, and send it as Bearer",
        ),
        # the route, the keys
        Reason.ROUTE_UNDECORATED: Explanation(
            "the route states no policy, so nobody may call it",
            "write @requires, @authenticated or @public below the route decorator",
        ),
        Reason.KEY_SOURCE_FAILED: Explanation("the issuer's keys are unavailable: their source failed", _NOT_NOW),
        Reason.NEVER_FETCHED: Explanation("the issuer's keys are unavailable", _NOT_NOW),
        Reason.TOO_LONG_WITHOUT_CONTACT: Explanation(
            "the issuer's keys are too old to be used, and new ones cannot be fetched", _NOT_NOW
        ),
        Reason.UNKNOWN_KEY_AND_FETCH_FAILED: Explanation(
            "the token's key is not known, and asking the issuer failed", _NOT_NOW
        ),
        Reason.TOO_MANY_WAITING: Explanation("too many requests wait for the issuer's keys", _NOT_NOW),
        Reason.REVOCATION_CHECK_FAILED: Explanation("whether the token was revoked cannot be found out", _NOT_NOW),
    }
)
"""What is worth more words than the client gets: every reason that is about a token, its keys or a route."""
_NO_AUDIENCE = Explanation("the token does not say which API it is for", _ASK_FOR_THIS_API)


def explanation_of(reason: Reason, claim: str | None = None) -> Explanation:
    """Return what a reason means that is about a token; `claim`: the claim at fault, if it is one's."""
    return _NO_AUDIENCE if (reason, claim) == (Reason.CLAIM_MISSING, "aud") else EXPLANATIONS[reason]


def explain_refusal(code: Code, reason: Reason | None) -> str:
    """Say why a request was refused and what to change; in the answer's own words where there is no more to say."""
    explanation = None if reason is None else EXPLANATIONS.get(reason)
    return ANSWERS[code].detail if explanation is None else f"{explanation.what}; {explanation.change}"
