"""The closed table of answers, byte for byte, and the exceptions that carry its codes."""

from __future__ import annotations

import pytest

from authz_middleware.errors import (
    ANSWERS,
    Answer,
    Code,
    ConfigurationError,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    KeysUnavailable,
    MissingToken,
    NoPolicy,
    Reason,
    Refused,
    RevocationUnknown,
    Unavailable,
)

TOKEN = (401, "invalid_token")
TABLE: dict[str, tuple[int, str | None, str]] = {
    "missing_token": (
        401,
        None,
        "An access token is needed here; send it as: Authorization: Bearer, one space, the token.",
    ),
    "malformed_header": (
        400,
        "invalid_request",
        "Send exactly one Authorization header: Bearer, one space, the token.",
    ),
    "malformed_token": (*TOKEN, "The access token is not a well-formed signed JWT."),
    "opaque_token": (
        *TOKEN,
        "The access token is opaque; the client must request a token for the audience of this API.",
    ),
    "encrypted_token": (*TOKEN, "The access token is encrypted (JWE); this API accepts signed tokens only."),
    "id_token": (*TOKEN, "This is an ID token; send an access token issued for this API."),
    "untrusted_issuer": (*TOKEN, "The access token comes from an issuer this API does not trust."),
    "wrong_audience": (*TOKEN, "The access token was issued for another audience than this API."),
    "wrong_type": (*TOKEN, "The access token is of a type this API does not accept."),
    "wrong_algorithm": (*TOKEN, "The access token is signed with an algorithm this API does not accept."),
    "unknown_key": (*TOKEN, "The access token is signed with a key its issuer does not publish."),
    "bad_signature": (*TOKEN, "The signature of the access token is not valid."),
    "expired": (*TOKEN, "The access token has expired."),
    "not_yet_valid": (*TOKEN, "The access token is not valid yet."),
    "invalid_claim": (*TOKEN, "A claim of the access token is missing or has the wrong form."),
    "wrong_tenant": (*TOKEN, "The access token belongs to an organization this API does not serve."),
    "proof_required": (*TOKEN, "The access token is bound to a key whose proof this API cannot verify."),
    "revoked": (*TOKEN, "The access token has been revoked."),
    "insufficient_scope": (
        403,
        "insufficient_scope",
        "The access token does not meet the requirements of this route.",
    ),
    "no_policy": (403, None, "This route states no access policy, so nobody may call it."),
    "keys_unavailable": (503, None, "The keys that verify access tokens are unavailable; try again later."),
    "revocation_unknown": (503, None, "Whether the access token was revoked cannot be found out; try again later."),
}


def test_the_table_is_closed() -> None:
    assert {str(code) for code in Code} == set(TABLE)
    assert set(ANSWERS) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_every_answer_byte_for_byte(code: Code) -> None:
    assert ANSWERS[code] == Answer(*TABLE[code.value])


@pytest.mark.parametrize("code", Code)
def test_every_detail_fits_into_a_quoted_string(code: Code) -> None:
    """RFC 6750 section 3 leaves out the quotation mark and the backslash, and everything beyond ASCII."""
    detail = ANSWERS[code].detail
    assert detail.isascii()
    assert detail.isprintable()
    assert not set(detail) & set('"\\')


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ANSWERS[Code.EXPIRED] = Answer(200, None, "")  # type: ignore[index]  # that is the test
    with pytest.raises(AttributeError):
        ANSWERS[Code.EXPIRED].status = 200  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize(
    ("refusal", "code", "reason"),
    [
        (MissingToken(), Code.MISSING_TOKEN, Reason.NO_CREDENTIALS),
        (InvalidRequest(), Code.MALFORMED_HEADER, Reason.HEADER_SYNTAX),
        (InvalidToken(Code.EXPIRED, Reason.EXPIRED), Code.EXPIRED, Reason.EXPIRED),
        (InsufficientScope([["a"]], ["a"]), Code.INSUFFICIENT_SCOPE, Reason.GRANT_MISSING),
        (NoPolicy(), Code.NO_POLICY, Reason.ROUTE_UNDECORATED),
        (KeysUnavailable(Reason.NEVER_FETCHED, 3), Code.KEYS_UNAVAILABLE, Reason.NEVER_FETCHED),
        (RevocationUnknown(3), Code.REVOCATION_UNKNOWN, Reason.REVOCATION_CHECK_FAILED),
    ],
)
def test_a_refusal_knows_its_answer(refusal: Refused, code: Code, reason: Reason) -> None:
    assert (refusal.code, refusal.reason) == (code, reason)
    assert refusal.answer is ANSWERS[code]
    assert str(refusal) == code.value


def test_what_refusals_carry_beside_their_code() -> None:
    assert MissingToken(["a", "b"]).scope == ("a", "b")
    insufficient = InsufficientScope([["a", "b"], ["c"]], ["c"])
    assert (insufficient.required, insufficient.scope) == ((("a", "b"), ("c",)), ("c",))
    for unavailable in (KeysUnavailable(Reason.NEVER_FETCHED, 3), RevocationUnknown(3)):
        assert isinstance(unavailable, Unavailable)
        assert unavailable.retry_after == 3
    assert InvalidToken(Code.INVALID_CLAIM, Reason.CLAIM_MISSING, "sub").claim == "sub"
    assert InvalidToken(Code.EXPIRED, Reason.EXPIRED).claim is None


def test_a_configuration_error_lists_every_fault() -> None:
    error = ConfigurationError("write this", "write that")
    assert error.faults == ("write this", "write that")
    assert str(error) == "write this; write that"
    assert isinstance(error, ValueError)
    assert not isinstance(error, Refused)


def test_reasons_and_codes_are_words() -> None:
    for word in (*Code, *Reason):
        assert word.value.replace("_", "").isalnum()
        assert word.value == word.name.lower()
