"""The refusals a client can see, and the mistakes an application can make.

Every refusal has a `Code`; `ANSWERS` is the closed table of what each code says on the wire. What went wrong in
detail is a `Reason`: it is for logs and metrics and never leaves the server. No text here contains token material.

Sources: RFC 6750 section 3.1 (error codes), RFC 9457 (problem details).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = [
    "ANSWERS",
    "Answer",
    "Code",
    "ConfigurationError",
    "InsufficientScope",
    "InvalidRequest",
    "InvalidToken",
    "KeysUnavailable",
    "MissingToken",
    "NoPolicy",
    "Reason",
    "Refused",
    "RevocationUnknown",
    "Unavailable",
]


class ConfigurationError(ValueError):
    """The application is configured in a way that makes no sense; raised at start, never by a request's content.

    `faults` lists every fault found, each a sentence that says what to write instead.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


class Code(StrEnum):
    """The machine-readable outcome of a refusal: member `code` of the problem body."""

    MISSING_TOKEN = "missing_token"
    MALFORMED_HEADER = "malformed_header"
    MALFORMED_TOKEN = "malformed_token"
    OPAQUE_TOKEN = "opaque_token"
    ENCRYPTED_TOKEN = "encrypted_token"
    ID_TOKEN = "id_token"
    UNTRUSTED_ISSUER = "untrusted_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_TYPE = "wrong_type"
    WRONG_ALGORITHM = "wrong_algorithm"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    INVALID_CLAIM = "invalid_claim"
    WRONG_TENANT = "wrong_tenant"
    PROOF_REQUIRED = "proof_required"
    REVOKED = "revoked"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    NO_POLICY = "no_policy"
    KEYS_UNAVAILABLE = "keys_unavailable"
    REVOCATION_UNKNOWN = "revocation_unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a code says on the wire: HTTP status, RFC 6750 error code (None: no error attribute) and one sentence."""

    status: int
    error: str | None
    detail: str


def _invalid(detail: str) -> Answer:
    return Answer(401, "invalid_token", detail)


ANSWERS: Mapping[Code, Answer] = MappingProxyType(
    {
        Code.MISSING_TOKEN: Answer(
            401, None, "An access token is needed here; send it as: Authorization: Bearer, one space, the token."
        ),
        Code.MALFORMED_HEADER: Answer(
            400, "invalid_request", "Send exactly one Authorization header: Bearer, one space, the token."
        ),
        Code.MALFORMED_TOKEN: _invalid("The access token is not a well-formed signed JWT."),
        Code.OPAQUE_TOKEN: _invalid(
            "The access token is opaque; the client must request a token for the audience of this API."
        ),
        Code.ENCRYPTED_TOKEN: _invalid("The access token is encrypted (JWE); this API accepts signed tokens only."),
        Code.ID_TOKEN: _invalid("This is an ID token; send an access token issued for this API."),
        Code.UNTRUSTED_ISSUER: _invalid("The access token comes from an issuer this API does not trust."),
        Code.WRONG_AUDIENCE: _invalid("The access token was issued for another audience than this API."),
        Code.WRONG_TYPE: _invalid("The access token is of a type this API does not accept."),
        Code.WRONG_ALGORITHM: _invalid("The access token is signed with an algorithm this API does not accept."),
        Code.UNKNOWN_KEY: _invalid("The access token is signed with a key its issuer does not publish."),
        Code.BAD_SIGNATURE: _invalid("The signature of the access token is not valid."),
        Code.EXPIRED: _invalid("The access token has expired."),
        Code.NOT_YET_VALID: _invalid("The access token is not valid yet."),
        Code.INVALID_CLAIM: _invalid("A claim of the access token is missing or has the wrong form."),
        Code.WRONG_TENANT: _invalid("The access token belongs to an organization this API does not serve."),
        Code.PROOF_REQUIRED: _invalid("The access token is bound to a key whose proof this API cannot verify."),
        Code.REVOKED: _invalid("The access token has been revoked."),
        Code.INSUFFICIENT_SCOPE: Answer(
            403, "insufficient_scope", "The access token does not meet the requirements of this route."
        ),
        Code.NO_POLICY: Answer(403, None, "This route states no access policy, so nobody may call it."),
        Code.KEYS_UNAVAILABLE: Answer(
            503, None, "The keys that verify access tokens are unavailable; try again later."
        ),
        Code.REVOCATION_UNKNOWN: Answer(
            503, None, "Whether the access token was revoked cannot be found out; try again later."
        ),
    }
)
"""What each code says on the wire: the closed table."""


class Reason(StrEnum):
    """Why a token was refused, in more detail than a client is told. For logs and metrics."""

    # size, shape, parsing
    TOO_LARGE = "too_large"
    NOT_THREE_PARTS = "not_three_parts"
    NOT_CANONICAL_BASE64URL = "not_canonical_base64url"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_MEMBER = "duplicate_member"
    TOO_DEEP = "too_deep"
    # header
    CRITICAL_HEADER = "critical_header"
    KID_NOT_USABLE = "kid_not_usable"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    TYPE_NOT_ALLOWED = "type_not_allowed"
    # issuer, audience, keys
    ISSUER_NOT_TRUSTED = "issuer_not_trusted"
    AUDIENCE_NOT_OURS = "audience_not_ours"
    AUDIENCE_OF_ISSUER = "audience_of_issuer"
    AUDIENCE_AMBIGUOUS = "audience_ambiguous"
    KEY_NOT_PUBLISHED = "key_not_published"
    KEY_AMBIGUOUS = "key_ambiguous"
    SIGNATURE_INVALID = "signature_invalid"
    # claims
    CLAIM_MISSING = "claim_missing"
    CLAIM_WRONG_FORM = "claim_wrong_form"
    CLIENTS_DIFFER = "clients_differ"
    DIALECT_AMBIGUOUS = "dialect_ambiguous"
    EXPIRED = "expired"
    NOT_BEFORE_IN_FUTURE = "not_before_in_future"
    ISSUED_IN_FUTURE = "issued_in_future"
    TENANT_NOT_ALLOWED = "tenant_not_allowed"
    REVOKED = "revoked"
    # kinds of token that are not ours to accept
    OPAQUE = "opaque"
    ENCRYPTED = "encrypted"
    ID_TOKEN_MARK = "id_token_mark"
    CONFIRMATION_CLAIM = "confirmation_claim"
    DPOP_SCHEME = "dpop_scheme"
    # the request, the policy, the keys
    NO_CREDENTIALS = "no_credentials"
    HEADER_SYNTAX = "header_syntax"
    GRANT_MISSING = "grant_missing"
    ROUTE_UNDECORATED = "route_undecorated"
    KEY_SOURCE_FAILED = "key_source_failed"
    NEVER_FETCHED = "never_fetched"
    TOO_LONG_WITHOUT_CONTACT = "too_long_without_contact"
    UNKNOWN_KEY_AND_FETCH_FAILED = "unknown_key_and_fetch_failed"
    TOO_MANY_WAITING = "too_many_waiting"
    REVOCATION_CHECK_FAILED = "revocation_check_failed"


class Refused(Exception):
    """Base of every refusal. `code` is what the client is told, `reason` why, `answer` the row of the closed table.

    `scope`: what the client should request, where the route is known. `issuer` and `dialect`: the configured issuer and
    the name of the table under which a token was refused, as far as validation came; for logs.
    """

    def __init__(self, code: Code, reason: Reason, scope: Sequence[str] = ()) -> None:
        self.code = code
        self.reason = reason
        self.scope = tuple(scope)
        self.issuer: str | None = None
        self.dialect: str | None = None
        super().__init__(code.value)

    @property
    def answer(self) -> Answer:
        """The row of the closed table for this code."""
        return ANSWERS[self.code]


class MissingToken(Refused):
    """No credentials where some are needed."""

    def __init__(self, scope: Sequence[str] = ()) -> None:
        super().__init__(Code.MISSING_TOKEN, Reason.NO_CREDENTIALS, scope)


class InvalidRequest(Refused):
    """The Authorization header itself is malformed (RFC 6750 section 3.1, `invalid_request`)."""

    def __init__(self) -> None:
        super().__init__(Code.MALFORMED_HEADER, Reason.HEADER_SYNTAX)


class InvalidToken(Refused):
    """The token must not be accepted. `claim` names the claim at fault (a name of our tables, never token text)."""

    def __init__(self, code: Code, reason: Reason, claim: str | None = None) -> None:
        self.claim = claim
        super().__init__(code, reason)


class InsufficientScope(Refused):
    """The token is good and does not allow this.

    `required` holds the alternatives that would do, each a tuple of grant names; `scope` the names a client can
    usefully request.
    """

    def __init__(self, required: Sequence[Sequence[str]], scope: Sequence[str]) -> None:
        self.required = tuple(tuple(alternative) for alternative in required)
        super().__init__(Code.INSUFFICIENT_SCOPE, Reason.GRANT_MISSING, scope)


class NoPolicy(Refused):
    """The route says nothing about who may call it."""

    def __init__(self) -> None:
        super().__init__(Code.NO_POLICY, Reason.ROUTE_UNDECORATED)


class Unavailable(Refused):
    """Our outage, not the caller's fault. `retry_after` is in whole seconds."""

    def __init__(self, code: Code, reason: Reason, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(code, reason)


class KeysUnavailable(Unavailable):
    """The issuer's keys cannot be fetched."""

    def __init__(self, reason: Reason, retry_after: int) -> None:
        super().__init__(Code.KEYS_UNAVAILABLE, reason, retry_after)


class RevocationUnknown(Unavailable):
    """Whether the token was revoked cannot be found out."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(Code.REVOCATION_UNKNOWN, Reason.REVOCATION_CHECK_FAILED, retry_after)
