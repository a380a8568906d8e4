"""Why a request was refused before any policy was asked, in words for people who never read an RFC.

A sentence says what is wrong and who can change it; it names nothing of the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .errors import ANSWERS, Code, Reason

__all__ = ["explain_refusal"]

_ASK_FOR_THIS_API = "the client must name this API when it asks for a token (audience= at Auth0, resource= elsewhere)"

EXPLANATIONS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.OPAQUE: (
            "the token is opaque: only the authorization server can read it, because it was asked for without naming "
            f"an API; {_ASK_FOR_THIS_API}"
        ),
        Reason.ID_TOKEN_MARK: (
            "the token is an ID token: it tells the client who logged in, and lets nobody call an API; the client must "
            "send the access token that came with it"
        ),
        Reason.AUDIENCE_OF_ISSUER: (
            "the token is for an API of the authorization server itself (the Management API, or /userinfo); "
            f"{_ASK_FOR_THIS_API}, and send its token for the authorization server to nobody else"
        ),
        Reason.AUDIENCE_NOT_OURS: (
            f"the token is for another API; {_ASK_FOR_THIS_API}, or audience= here is not this API's identifier"
        ),
        Reason.ISSUER_NOT_TRUSTED: (
            "the token names an issuer that is not trusted here; compare its iss with issuer= to the letter, the slash "
            "at the end included"
        ),
        Reason.TYPE_NOT_ALLOWED: (
            "the token's type (typ) is not one that the allowed dialects write; set dialects= to what this API is "
            "issued, or let the client send an access token"
        ),
        Reason.DIALECT_AMBIGUOUS: (
            "the token could be read as more than one of the allowed dialects; pin dialects= to what this API is issued"
        ),
        Reason.TENANT_NOT_ALLOWED: (
            "the token was issued in an organization that is not let in, or in none; add it to tenants=, or let the "
            "user log in to one of those"
        ),
        Reason.CONFIRMATION_CLAIM: (
            "the token is bound to a key of its client, and the proof of that cannot be verified here; switch "
            "sender-constraining (DPoP, mTLS) off for this API at the authorization server"
        ),
        Reason.ROUTE_UNDECORATED: (
            "the route states no policy, so nobody may call it; write @requires, @authenticated or @public below the "
            "route decorator"
        ),
    }
)
"""What is worth more words than the client gets."""


def explain_refusal(code: Code, reason: Reason | None) -> str:
    """Say why a request was refused and what to change; in the answer's own words where there is no more to say."""
    explanation = None if reason is None else EXPLANATIONS.get(reason)
    return ANSWERS[code].detail if explanation is None else explanation
