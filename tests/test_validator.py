"""`AccessTokenValidator` end to end: the order of its steps, and every kind of bad input that can reach it."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz_middleware import AccessToken, AccessTokenValidator, ConfigurationError, TrustedIssuer
from authz_middleware._jose import ALGORITHMS, VerificationKey, parse_jwk
from authz_middleware.dialects import AUTH0
from authz_middleware.errors import Code, InvalidToken, KeysUnavailable, Reason, Refused
from authz_middleware.keys import Fetched
from authz_middleware.testing import LocalIssuer, SigningKey, encode_segment

from .helpers import (
    DEFAULT,
    ISSUER,
    NOW,
    accepted,
    compact,
    five_parts,
    header_of,
    recording_keys,
    refused,
    sign_raw,
    token_with,
    validator,
)
from .keys.helpers import World, settle

MALFORMED = "malformed_token"
KEYS = {algorithm: SigningKey(algorithm) for algorithm in sorted(ALGORITHMS)}
ANY_JSON: list[object] = [None, True, False, 0, 1, 1.5, "", "x", [], ["x"], [1], [None], [[]], {}, {"x": 1}]


# --- the order ------------------------------------------------------------------------------------------------------

LIMIT = 4096
STRANGER = SigningKey()
Change = dict[str, Any]
# Each step: what makes it fail, and the outcome. A token with several faults is refused for the first of them.
STEPS: list[tuple[str, Change, Change, tuple[str, str]]] = [
    ("size", {}, {"filler": "x" * LIMIT}, (MALFORMED, "too_large")),
    ("shape", {"kid": 1}, {}, (MALFORMED, "kid_not_usable")),
    ("issuer", {}, {"iss": "https://evil.test/"}, ("untrusted_issuer", "issuer_not_trusted")),
    ("audience", {}, {"aud": "another"}, ("wrong_audience", "audience_not_ours")),
    ("algorithm", {"alg": "none"}, {}, ("wrong_algorithm", "algorithm_not_allowed")),
    ("type", {"typ": "logout+jwt"}, {}, ("wrong_type", "type_not_allowed")),
    ("critical header", {"crit": ["exp"]}, {}, (MALFORMED, "critical_header")),
    ("key", {"kid": "nobody's"}, {}, ("unknown_key", "key_not_published")),
    ("signature", {"forged": True}, {}, ("bad_signature", "signature_invalid")),
    ("dialect", {}, {"permissions": None}, ("invalid_claim", "claim_wrong_form")),
    ("ID token", {}, {"at_hash": "x"}, ("id_token", "id_token_mark")),
    ("identity", {}, {"sub": 1}, ("invalid_claim", "claim_wrong_form")),
    ("form of times", {}, {"nbf": "now"}, ("invalid_claim", "claim_wrong_form")),
    ("expiry", {}, {"exp": NOW - 3600}, ("expired", "expired")),
    ("issue", {}, {"iat": NOW + 3600}, ("not_yet_valid", "issued_in_future")),
    ("tenant", {}, {"org_id": "org_2"}, ("wrong_tenant", "tenant_not_allowed")),
    ("binding", {}, {"cnf": {"jkt": "x"}}, ("proof_required", "confirmation_claim")),
    ("grants", {}, {"scope": {}}, ("invalid_claim", "claim_wrong_form")),
]
BEFORE_THE_KEY = [name for name, *_ in STEPS[: [name for name, *_ in STEPS].index("key")]]
# With marks of an ID token a wrong audience has another code: the one exception to the order.
GIVES_WAY = {"ID token": "audience"}


def faulty(steps: list[tuple[str, Change, Change, tuple[str, str]]]) -> str:
    """Return a token with the faults of several steps."""
    names = {name for name, *_ in steps}
    header: Change = header_of()
    payload: Change = {**ISSUER.claims(), "org_id": "org_1"}
    for name, header_change, payload_change, _ in reversed(steps):
        if GIVES_WAY.get(name) not in names:
            header.update(header_change)
            payload.update(payload_change)
    key = STRANGER if header.pop("forged", False) else ISSUER.key
    return sign_raw(header, payload, key)


def strict_validator(keys: object) -> AccessTokenValidator:
    trusted = ISSUER.trusted(keys=keys, tenants=["org_1"])  # type: ignore[arg-type]  # a key source
    return AccessTokenValidator([trusted], clock=lambda: NOW, max_token_bytes=LIMIT)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[name for name, *_ in STEPS])
def test_the_first_failing_step_names_the_code(number: int) -> None:
    outcome = STEPS[number][3]
    by = strict_validator(recording_keys(ISSUER.key))
    assert refused(faulty([STEPS[number]]), by) == outcome
    assert refused(faulty(STEPS[number:]), by) == outcome


def test_the_token_of_the_ladder_is_good_without_faults() -> None:
    assert accepted(faulty([]), strict_validator(recording_keys(ISSUER.key))).tenant == "org_1"


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[name for name, *_ in STEPS])
def test_a_key_is_asked_for_only_when_everything_before_it_held(number: int) -> None:
    keys = recording_keys(ISSUER.key)
    refused(faulty([STEPS[number]]), strict_validator(keys))
    names = [name for name, *_ in STEPS]
    kid = "nobody's" if names[number] == "key" else ISSUER.key.kid
    assert keys.asked == ([] if number < names.index("key") else [(kid, "RS256")])


@pytest.mark.parametrize(
    "issuer",
    [
        "https://evil.test/",
        "https://issuer.test",
        "https://issuer.test//",
        "https://ISSUER.test/",
        "HTTPS://issuer.test/",
        "http://issuer.test/",
        "https://issuer.test/ ",
        "https://issuer.test/\0",
        "https://issuer.test:443/",
        "https://user@issuer.test/",
        "https://issuer.test/?",
        "https://\u0131ssuer.test/",
    ],
)
def test_an_issuer_is_trusted_to_the_character_and_no_other_is_asked_for_keys(issuer: str) -> None:
    keys = recording_keys(ISSUER.key)
    by = validator(keys=keys)
    assert refused(token_with({"iss": issuer}), by) == ("untrusted_issuer", "issuer_not_trusted")
    assert keys.asked == []


@pytest.mark.parametrize("missing", ["jwks_uri", "jku", "x5u"])
def test_a_token_names_no_place_for_keys(missing: str) -> None:
    keys = recording_keys(ISSUER.key)
    token = sign_raw({**header_of(STRANGER), missing: "https://evil.test/jwks"}, ISSUER.claims(), STRANGER)
    assert refused(token, validator(keys=keys)) == ("unknown_key", "key_not_published")
    assert keys.asked == [(STRANGER.kid, "RS256")]


# --- failing keys ---------------------------------------------------------------------------------------------------


class FailingKeys:
    """A key source that raises what it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [RuntimeError("secret"), OSError(), KeyError("k"), TimeoutError(), ValueError(), asyncio.CancelledError()],
)
def test_a_failing_key_source_is_an_outage_of_ours(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeysUnavailable) as caught:
        accepted(ISSUER.token(), validator(keys=FailingKeys(error)))
    assert (caught.value.reason, caught.value.retry_after) == (Reason.KEY_SOURCE_FAILED, 5)
    assert caught.value.answer.status == 503
    assert type(error).__name__ in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        InvalidToken(Code.UNKNOWN_KEY, Reason.KEY_NOT_PUBLISHED),
        KeysUnavailable(Reason.NEVER_FETCHED, 7),
    ],
)
def test_what_a_key_source_says_on_purpose_is_passed_on(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        accepted(ISSUER.token(), validator(keys=FailingKeys(error)))
    assert caught.value is error


def test_a_key_of_another_algorithm_than_asked_for_verifies_nothing() -> None:
    class Confused:
        async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
            return parse_jwk(KEYS["PS256"].jwk())

    assert refused(ISSUER.token(), validator(keys=Confused())) == ("unknown_key", "key_not_published")


# --- what causes a fetch --------------------------------------------------------------------------------------------


class Fetching:
    """A validator whose keys are fetched, and the network that counts."""

    def __init__(self) -> None:
        self.world = World(ISSUER.key)
        self.by = validator(keys=self.world.source)

    def refuse(self, *tokens: str) -> set[tuple[str, str]]:
        """Return how tokens are refused after a good one has fetched the keys."""

        async def run() -> set[tuple[str, str]]:
            await self.by.validate(ISSUER.token())
            outcomes = set()
            for token in tokens:
                with pytest.raises(Refused) as caught:
                    await self.by.validate(token)
                outcomes.add((str(caught.value.code), str(caught.value.reason)))
            await settle()
            return outcomes

        return asyncio.run(run())


@pytest.mark.parametrize("kid", ["", "x" * 257, "x" * 10_000, 1, True, [], ["kid"], {}, {"kid": "kid"}], ids=repr)
def test_a_kid_of_absurd_shape_causes_no_fetch(kid: object) -> None:
    fetching = Fetching()
    token = sign_raw({**header_of(), "kid": kid}, ISSUER.claims())
    assert fetching.refuse(token) == {(MALFORMED, "kid_not_usable")}
    assert fetching.world.network.fetches == 1


def test_a_kid_of_the_longest_shape_causes_one() -> None:
    fetching = Fetching()
    token = sign_raw({**header_of(), "kid": "x" * 256}, ISSUER.claims())
    assert fetching.refuse(token, token, token) == {("unknown_key", "key_not_published")}
    assert fetching.world.network.fetches == 2


def test_bad_signatures_under_a_known_key_cause_no_fetch() -> None:
    fetching = Fetching()
    forged = [ISSUER.sign(ISSUER.claims(jti=str(number)), key=STRANGER, kid=ISSUER.key.kid) for number in range(20)]
    assert fetching.refuse(*forged) == {("bad_signature", "signature_invalid")}
    assert fetching.world.network.fetches == 1


@pytest.mark.parametrize("number", [n for n, step in enumerate(STEPS) if step[0] in BEFORE_THE_KEY])
def test_nothing_that_is_refused_before_causes_a_fetch(number: int) -> None:
    world = World(ISSUER.key)
    refused(faulty([STEPS[number]]), strict_validator(world.source))
    assert world.network.urls == []


# --- claims of wrong types ------------------------------------------------------------------------------------------

STRINGS = ["iss", "sub", "azp", "client_id", "jti", "org_id", "gty", "sub_profile"]


def is_string(value: object) -> bool:
    return isinstance(value, str) and value != ""


def is_array_of_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_scope(value: object) -> bool:
    return isinstance(value, str) or is_array_of_strings(value)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


FORMS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(STRINGS, is_string),
    "aud": is_scope,
    "scope": is_scope,
    "permissions": is_array_of_strings,
    "exp": is_number,
    "iat": is_number,
    "nbf": is_number,
    "act": lambda value: isinstance(value, dict),
}
WRONG = [(claim, value) for claim, fits in FORMS.items() for value in ANY_JSON if not fits(value)]


@pytest.mark.parametrize(("claim", "value"), WRONG, ids=json.dumps)
def test_a_claim_of_the_wrong_json_type_refuses(claim: str, value: object) -> None:
    assert refused(token_with({claim: value})) == ("invalid_claim", "claim_wrong_form")


@pytest.mark.parametrize(("claim", "value"), WRONG, ids=json.dumps)
def test_the_refusal_names_the_claim_for_logs_alone(claim: str, value: object) -> None:
    with pytest.raises(InvalidToken) as caught:
        accepted(token_with({claim: value}))
    assert caught.value.claim == claim
    assert claim not in str(caught.value)


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "azp"])
def test_a_required_claim_must_be_there(claim: str) -> None:
    claims = {name: value for name, value in ISSUER.claims().items() if name != claim}
    assert refused(ISSUER.sign(claims)) == ("invalid_claim", "claim_missing")


@pytest.mark.parametrize("claim", ["client_id", "jti"])
@pytest.mark.parametrize("dialect", ["rfc9068", "rfc9068_profile", "rfc9068_profile_authz"])
def test_a_required_claim_of_rfc9068_must_be_there(dialect: str, claim: str) -> None:
    claims = {name: value for name, value in ISSUER.claims(dialect).items() if name != claim}
    by = validator(dialects=[dialect])
    assert refused(ISSUER.sign(claims, typ="at+jwt"), by) == ("invalid_claim", "claim_missing")


@pytest.mark.parametrize("value", [*ANY_JSON, {"jkt": "x"}, {"x5t#S256": "x"}, {"jwk": {}}], ids=json.dumps)
def test_whatever_cnf_is_a_proof_is_required(value: object) -> None:
    assert refused(token_with({"cnf": value})) == ("proof_required", "confirmation_claim")


@pytest.mark.parametrize("value", ANY_JSON, ids=json.dumps)
@pytest.mark.parametrize(
    "claim", ["scp", "roles", "groups", "authorization_details", "events", "token_use", "toString"]
)
def test_a_claim_nobody_defines_is_never_read(claim: str, value: object) -> None:
    token = accepted(token_with({claim: value, "scope": "read", "permissions": []}))
    assert {grant.value for grant in token.grants} == {"read"}


# --- times ----------------------------------------------------------------------------------------------------------


def payload_text(**claims: str) -> bytes:
    """Return a payload some of whose claims are literal text, JSON or not."""
    usual = {name: json.dumps(value) for name, value in ISSUER.claims().items()}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in {**usual, **claims}.items()) + "}").encode()


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "text",
    [
        "true",
        "false",
        "null",
        f'"{NOW}"',
        '""',
        "[]",
        f"[{NOW}]",
        "{}",
        "-1",
        "-0.5",
        "-1e300",
        "1e300",
        "9" * 20,
        "1" + "0" * 400,
        str(2**53 + 1),
        str(2**64),
        "-" + "9" * 400,
    ],
)
def test_a_date_is_a_number_of_seconds(claim: str, text: str) -> None:
    assert refused(sign_raw(header_of(), payload_text(**{claim: text}))) == ("invalid_claim", "claim_wrong_form")


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf", "anything"])
@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" + "0" * 4400, "0x7f", "1_000", "٣"]
)
def test_a_number_json_does_not_know_is_malformed(claim: str, text: str) -> None:
    assert refused(sign_raw(header_of(), payload_text(**{claim: text}))) == (MALFORMED, "not_json")


@pytest.mark.parametrize("text", [f"{NOW + 60}", f"{NOW + 60}.5", "1790000060.0", "1.79000006e9", str(2**53)])
def test_a_date_may_have_a_fraction_or_an_exponent(text: str) -> None:
    assert accepted(sign_raw(header_of(), payload_text(exp=text))).expires_at == float(text)


AT: list[tuple[float, float, Change, tuple[str, str] | None]] = [
    # leeway, seconds from now, claims → refusal
    (30, 0, {"exp": NOW - 29.99}, None),
    (30, 0, {"exp": NOW - 30}, ("expired", "expired")),
    (0, 0, {"exp": NOW + 0.01}, None),
    (0, 0, {"exp": NOW}, ("expired", "expired")),
    (300, 0, {"exp": NOW - 299}, None),
    (300, 0, {"exp": NOW - 300}, ("expired", "expired")),
    (30, 3629.9, {}, None),
    (30, 3630, {}, ("expired", "expired")),
    (30, 0, {"nbf": NOW + 30}, None),
    (30, 0, {"nbf": NOW + 30.01}, ("not_yet_valid", "not_before_in_future")),
    (0, 0, {"nbf": NOW}, None),
    (0, 0, {"nbf": NOW + 1}, ("not_yet_valid", "not_before_in_future")),
    (30, 0, {"iat": NOW + 30}, None),
    (30, 0, {"iat": NOW + 30.01}, ("not_yet_valid", "issued_in_future")),
    (0, 0, {"iat": NOW}, None),
    (0, 0, {"iat": NOW + 1}, ("not_yet_valid", "issued_in_future")),
    (0, -1, {"iat": NOW, "nbf": NOW}, ("not_yet_valid", "not_before_in_future")),
    (0, -3600, {}, ("not_yet_valid", "issued_in_future")),
    (30, 0, {"exp": 0, "iat": 0}, ("expired", "expired")),
    (30, 0, {"iat": 0}, None),
]


@pytest.mark.parametrize(("leeway", "later", "claims", "outcome"), AT)
def test_the_edges_of_the_leeway(leeway: float, later: float, claims: Change, outcome: tuple[str, str] | None) -> None:
    by = AccessTokenValidator([ISSUER.trusted(leeway=leeway)], clock=lambda: NOW + later)
    token = token_with({**claims})
    if outcome is None:
        assert accepted(token, by).subject == "auth0|jo"
    else:
        assert refused(token, by) == outcome


def test_without_a_clock_the_present_counts() -> None:
    local = LocalIssuer()
    by = AccessTokenValidator([local.trusted()])
    assert accepted(local.token(), by).issuer == local.issuer
    assert refused(local.token(expires_in=-3600), by) == ("expired", "expired")


# --- shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [b"[]", b"[1]", b"1", b"null", b"true", b'"x"', b""])
def test_header_and_payload_are_objects(part: bytes) -> None:
    expected = (MALFORMED, "not_an_object" if part else "not_canonical_base64url")
    assert refused(sign_raw(part, ISSUER.claims())) == expected
    assert refused(sign_raw(header_of(), part)) == expected


def duplicated(members: Mapping[str, object], name: str, spelling: str, value: object) -> bytes:
    """Return an object with a second member of a name it has already."""
    text = json.dumps(members)
    if name not in members:
        raise LookupError(name)
    return f'{text[:-1]}, "{spelling}": {json.dumps(value)}}}'.encode()


@pytest.mark.parametrize(("name", "value"), [("alg", "none"), ("alg", "RS256"), ("kid", "other"), ("typ", "at+jwt")])
def test_duplicate_members_in_the_header_refuse(name: str, value: str) -> None:
    token = sign_raw(duplicated(header_of(), name, name, value), ISSUER.claims())
    assert refused(token) == (MALFORMED, "duplicate_member")


@pytest.mark.parametrize(
    ("name", "spelling", "value"),
    [
        ("scope", "scope", "admin"),
        ("scope", "sc\\u006fpe", "admin"),
        ("exp", "exp", NOW + 10**6),
        ("aud", "aud", "another"),
        ("iss", "iss", ISSUER.issuer),
        ("permissions", "permissions", ["admin"]),
    ],
)
def test_duplicate_members_in_the_payload_refuse(name: str, spelling: str, value: object) -> None:
    claims = ISSUER.claims(scope="read", permissions=["read"])
    assert refused(sign_raw(header_of(), duplicated(claims, name, spelling, value))) == (MALFORMED, "duplicate_member")


def test_duplicate_members_deep_inside_refuse() -> None:
    token = sign_raw(header_of(), payload_text(act='{"sub": "a", "x": [{"y": 1, "y": 2}]}'))
    assert refused(token) == (MALFORMED, "duplicate_member")


@pytest.mark.parametrize("depth", [32, 100, 3000])
def test_nesting_bombs_refuse(depth: int) -> None:
    bomb = "[" * depth + "]" * depth
    assert refused(sign_raw(header_of(), payload_text(x=bomb))) == (MALFORMED, "too_deep")
    assert refused(sign_raw(f'{{"alg": "RS256", "x": {bomb}}}'.encode(), ISSUER.claims())) == (MALFORMED, "too_deep")


def test_nesting_within_the_limit_passes() -> None:
    assert accepted(sign_raw(header_of(), payload_text(x="[" * 31 + "]" * 31))).subject == "auth0|jo"


def test_a_nesting_bomb_of_the_largest_allowed_size_refuses() -> None:
    by = AccessTokenValidator([ISSUER.trusted()], clock=lambda: NOW, max_token_bytes=131072)
    bomb = "[" * 45_000 + "]" * 45_000
    assert refused(sign_raw(header_of(), payload_text(x=bomb)), by) == (MALFORMED, "too_deep")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (json.dumps(ISSUER.claims()).encode("utf-16"), "not_utf8"),
        (json.dumps(ISSUER.claims()).encode("utf-16-le"), "not_json"),
        (json.dumps(ISSUER.claims()).encode("utf-16-be"), "not_json"),
        (json.dumps(ISSUER.claims()).encode("utf-32"), "not_utf8"),
        (json.dumps(ISSUER.claims()).encode("utf-8-sig"), "not_json"),
        (payload_text(sub='"\\ud800"'), "not_utf8"),
        (payload_text(sub='"\\udfff\\ud800"'), "not_utf8"),
        (payload_text(sub='"\x00"'), "not_json"),
        (payload_text(sub='"\t"'), "not_json"),
        (payload_text().replace(b"auth0", b"auth\xff"), "not_utf8"),
        (payload_text().replace(b"auth0", b"\xed\xa0\x80"), "not_utf8"),
        (payload_text().replace(b"auth0", b"\xc1\x81"), "not_utf8"),
        (payload_text() + b"\0", "not_json"),
        (payload_text() + b"{}", "not_json"),
    ],
)
def test_a_payload_is_strict_utf8_json(payload: bytes, reason: str) -> None:
    assert refused(sign_raw(header_of(), payload)) == (MALFORMED, reason)


@pytest.mark.parametrize(
    "subject", ["a\0b", "\U0001f600", "caf\u00e9", "\u202e", "x" * 5000, "\\", '"', "auth0|jo\r\nX: y"]
)
def test_a_subject_is_an_opaque_string(subject: str) -> None:
    assert accepted(token_with({"sub": subject})).subject == subject


PARTS = ISSUER.token().split(".")


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        ("", ("opaque_token", "opaque")),
        ("v2.local", (MALFORMED, "not_three_parts")),
        (PARTS[0], ("opaque_token", "opaque")),
        (".".join(PARTS[:2]), (MALFORMED, "not_three_parts")),
        (".".join([*PARTS, "x"]), (MALFORMED, "not_three_parts")),
        (".".join([*PARTS, "x", "y", "z"]), (MALFORMED, "not_three_parts")),
        (".".join([*PARTS, "x", "y"]), ("encrypted_token", "encrypted")),
        (five_parts({"alg": "RSA-OAEP", "enc": "A256GCM"}), ("encrypted_token", "encrypted")),
        (five_parts({"alg": "dir", "enc": "A256GCM"}, b""), ("opaque_token", "opaque")),
        (five_parts({"alg": "dir", "enc": "A256GCM"}), ("encrypted_token", "encrypted")),
    ],
)
def test_other_numbers_of_parts_say_what_they_are(token: str, outcome: tuple[str, str]) -> None:
    assert refused(token) == outcome


@pytest.mark.parametrize("filler", ["x", ".", "é", "\0", "{", "e30."])
def test_a_mebibyte_is_refused_unread(filler: str) -> None:
    assert refused(filler * 2**20) == (MALFORMED, "too_large")


def test_the_limit_of_size_can_be_moved() -> None:
    token = token_with({"filler": "x" * 20_000})
    assert refused(token) == (MALFORMED, "too_large")
    wide = AccessTokenValidator([ISSUER.trusted()], clock=lambda: NOW, max_token_bytes=131072)
    assert accepted(token, wide).subject == "auth0|jo"
    exact = AccessTokenValidator([ISSUER.trusted()], clock=lambda: NOW, max_token_bytes=len(token))
    assert accepted(token, exact).subject == "auth0|jo"
    short = AccessTokenValidator([ISSUER.trusted()], clock=lambda: NOW, max_token_bytes=len(token) - 1)
    assert refused(token, short) == (MALFORMED, "too_large")


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("suffix", ["=", "==", "===", "\n", " ", "+", "/", "%3D", "\u00e9", "\u0000"])
def test_padding_and_foreign_characters_refuse(position: int, suffix: str) -> None:
    parts = list(PARTS)
    parts[position] += suffix
    assert refused(".".join(parts)) == (MALFORMED, "not_canonical_base64url")


def test_a_non_canonical_signature_refuses() -> None:
    """The last character of a 256-byte signature holds four unused bits: flip one and a lax decoder sees no change."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = ISSUER.token()
    respelt = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    assert accepted(token).subject == "auth0|jo"
    assert refused(respelt) == (MALFORMED, "not_canonical_base64url")


# --- algorithms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_end_to_end(algorithm: str) -> None:
    local = LocalIssuer(algorithm=algorithm, clock=lambda: NOW)
    by = AccessTokenValidator([local.trusted(dialects=["rfc9068"])], clock=lambda: NOW)
    token = local.token("rfc9068", scope="read")
    assert "read" in accepted(token, by).grants
    head, body, signature = token.split(".")
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    assert refused(f"{head}.{body}.{flipped}", by) == ("bad_signature", "signature_invalid")


@pytest.mark.parametrize("allowed", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("in_header", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("in_jwk", ["EdDSA", "Ed25519", None])
def test_ed25519_under_both_its_names(allowed: str, in_header: str, in_jwk: str | None) -> None:
    key = KEYS["EdDSA"]
    jwk = {name: value for name, value in {**key.jwk(), "alg": in_jwk}.items() if value is not None}
    by = validator(dialects=["rfc9068"], keys={"keys": [jwk]}, algorithms=[allowed])
    token = sign_raw(header_of(key, alg=in_header, typ="at+jwt"), ISSUER.claims("rfc9068"), key)
    assert accepted(token, by).subject == "auth0|jo"


EVIL = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "none ",
    "",
    "HS256",
    "HS384",
    "HS512",
    "hs256",
    "rs256",
    "RS1",
    "RS256 ",
    " RS256",
]
EVIL += [
    "RS512",
    "ES256",
    "EdDSA",
    "Ed25519",
    "ed25519",
    "Ed448",
    "ES256K",
    "RSA-OAEP",
    "dir",
    "A256GCM",
    "RS256\0",
    "R\uff33256",
]


@pytest.mark.parametrize("alg", EVIL)
@pytest.mark.parametrize("signature", [b"", b"\0" * 256, None])
def test_an_algorithm_the_issuer_may_not_use(alg: str, signature: bytes | None) -> None:
    keys = recording_keys(ISSUER.key)
    header, claims = header_of(alg=alg), ISSUER.claims(scope="admin")
    token = sign_raw(header, claims) if signature is None else compact(header, claims, signature)
    assert refused(token, validator(keys=keys)) == ("wrong_algorithm", "algorithm_not_allowed")
    assert keys.asked == []


@pytest.mark.parametrize("alg", [None, 1, True, [], ["RS256"], {}, {"alg": "RS256"}])
def test_an_algorithm_is_a_string(alg: object) -> None:
    token = sign_raw({**header_of(), "alg": alg}, ISSUER.claims())
    assert refused(token) == ("wrong_algorithm", "algorithm_not_allowed")


def test_a_header_without_an_algorithm() -> None:
    assert refused(sign_raw(header_of(alg=None), ISSUER.claims())) == ("wrong_algorithm", "algorithm_not_allowed")


def public_key_bytes() -> dict[str, bytes]:
    """Return the public key in every form somebody might take for a secret."""
    public, jwk = ISSUER.key.private.public_key(), ISSUER.key.jwk()
    pem, der, spki, pkcs1 = Encoding.PEM, Encoding.DER, PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1
    return {
        "pem": public.public_bytes(pem, spki),
        "pem-stripped": public.public_bytes(pem, spki).strip(),
        "pem-pkcs1": public.public_bytes(pem, pkcs1),
        "der": public.public_bytes(der, spki),
        "der-pkcs1": public.public_bytes(der, pkcs1),
        "jwk": json.dumps(jwk).encode(),
        "jwks": json.dumps(ISSUER.jwks()).encode(),
        "modulus": str(jwk["n"]).encode(),
        "kid": ISSUER.key.kid.encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("form", public_key_bytes())
@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_the_public_key_is_no_secret(form: str, alg: str) -> None:
    forger = SigningKey("HS256", kid=ISSUER.key.kid, private=public_key_bytes()[form])
    token = sign_raw(header_of(alg=alg), ISSUER.claims(scope="admin"), forger)
    code = ("wrong_algorithm", "algorithm_not_allowed") if alg == "HS256" else ("bad_signature", "signature_invalid")
    assert refused(token) == code


def test_where_a_secret_is_trusted_a_key_pair_is_not() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    by = validator(keys=None, secret=secret)
    good = SigningKey("HS256", private=secret)
    assert accepted(sign_raw(header_of(good), ISSUER.claims(), good), by).subject == "auth0|jo"
    assert refused(ISSUER.token(), by) == ("wrong_algorithm", "algorithm_not_allowed")
    assert refused(ISSUER.sign(ISSUER.claims(), alg="HS256"), by) == ("bad_signature", "signature_invalid")
    other = SigningKey("HS256", private=secret[::-1])
    assert refused(sign_raw(header_of(other), ISSUER.claims(), other), by) == ("bad_signature", "signature_invalid")


def test_the_kid_says_nothing_where_there_is_one_secret() -> None:
    secret = "0123456789abcdef0123456789abcdef"
    good = SigningKey("HS256", kid="whatever", private=secret.encode())
    by = validator(keys=None, secret=secret)
    assert accepted(sign_raw(header_of(good), ISSUER.claims(), good), by).subject == "auth0|jo"
    assert accepted(sign_raw(header_of(good, kid=None), ISSUER.claims(), good), by).subject == "auth0|jo"


@pytest.mark.parametrize("alg", ["PS256", "RS256"])
def test_a_key_published_for_one_algorithm_serves_no_other(alg: str) -> None:
    published = SigningKey("RS256" if alg == "PS256" else "PS256")
    forger = SigningKey(alg, kid=published.kid, private=published.private)
    token = sign_raw(header_of(forger), ISSUER.claims(), forger)
    by = validator(keys={"keys": [published.jwk()]})
    assert refused(token, by) == ("unknown_key", "key_not_published")


def test_a_key_without_alg_is_bound_to_rs256_unless_the_issuer_has_one_rsa_algorithm() -> None:
    key = SigningKey("PS256")
    jwk = {name: value for name, value in key.jwk().items() if name != "alg"}
    token = sign_raw(header_of(key), ISSUER.claims(), key)
    assert refused(token, validator(keys={"keys": [jwk]})) == ("unknown_key", "key_not_published")
    assert accepted(token, validator(keys={"keys": [jwk]}, algorithms=["PS256"])).subject == "auth0|jo"


# --- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["jwk", "x5c", "jku", "x5u", "x5t", "x5t#S256"])
def test_keys_in_the_header_are_never_used(member: str) -> None:
    embedded: dict[str, object] = {"jwk": STRANGER.jwk(), "x5c": ["MIIB"], "jku": "https://evil.test/jwks"}
    value = embedded.get(member, "https://evil.test/cert.pem")
    forged = sign_raw({**header_of(STRANGER, kid=ISSUER.key.kid), member: value}, ISSUER.claims(), STRANGER)
    assert refused(forged) == ("bad_signature", "signature_invalid")
    unnamed = sign_raw({**header_of(STRANGER, kid=None), member: value}, ISSUER.claims(), STRANGER)
    assert refused(unnamed) == ("bad_signature", "signature_invalid")
    assert accepted(sign_raw({**header_of(), member: value}, ISSUER.claims())).subject == "auth0|jo"


@pytest.mark.parametrize("value", [["exp"], ["b64"], [], None, "exp", {}, False])
def test_any_crit_refuses(value: object) -> None:
    assert refused(sign_raw({**header_of(), "crit": value}, ISSUER.claims())) == (MALFORMED, "critical_header")


@pytest.mark.parametrize("value", [True, False, None, "false"])
def test_any_b64_refuses(value: object) -> None:
    assert refused(sign_raw({**header_of(), "b64": value}, ISSUER.claims())) == (MALFORMED, "critical_header")


@pytest.mark.parametrize("kid", [None, 1, True, 1.5, [], {}, "", ["key"], "k" * 257])
def test_a_key_id_of_the_wrong_form_refuses(kid: object) -> None:
    assert refused(sign_raw({**header_of(), "kid": kid}, ISSUER.claims())) == (MALFORMED, "kid_not_usable")


@pytest.mark.parametrize("kid", ["KEY", "key", "../key", "' OR '1'='1", "\0", "*", "é", "k" * 256])
def test_an_unknown_key_id_refuses(kid: str) -> None:
    assert refused(sign_raw(header_of(kid=kid), ISSUER.claims())) == ("unknown_key", "key_not_published")


def test_a_token_that_names_no_key_may_mean_the_only_one() -> None:
    token = sign_raw(header_of(kid=None), ISSUER.claims())
    assert accepted(token).subject == "auth0|jo"
    two = validator(keys={"keys": [ISSUER.key.jwk(), STRANGER.jwk()]})
    assert refused(token, two) == ("unknown_key", "key_ambiguous")


# --- ECDSA ----------------------------------------------------------------------------------------------------------


def ecdsa_signatures(raw: bytes) -> dict[str, bytes]:
    """Return what an ES256 signature must not look like."""
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return {
        "DER": encode_dss_signature(r, s),
        "empty": b"",
        "one byte": raw[:1],
        "short": raw[:63],
        "long": raw + b"\0",
        "half": raw[:32],
        "all zero": b"\0" * 64,
        "r zero": b"\0" * 32 + raw[32:],
        "s zero": raw[:32] + b"\0" * 32,
        "order": order.to_bytes(32, "big") * 2,
        "all ones": b"\xff" * 64,
        "swapped": raw[32:] + raw[:32],
    }


@pytest.mark.parametrize("form", ecdsa_signatures(b"\1" * 64))
def test_an_ecdsa_signature_has_one_form(form: str) -> None:
    key = KEYS["ES256"]
    by = validator(dialects=["rfc9068"], keys={"keys": [key.jwk()]})
    token = sign_raw(header_of(key, typ="at+jwt"), ISSUER.claims("rfc9068"), key)
    assert accepted(token, by).subject == "auth0|jo"
    message, _, signature = token.rpartition(".")
    forged = ecdsa_signatures(decode_segment(signature))[form]
    assert refused(f"{message}.{encode_segment(forged)}", by) == ("bad_signature", "signature_invalid")


def decode_segment(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


# --- scopes and permissions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("a b", {"a", "b"}),
        ("", set()),
        (" ", set()),
        ("  a   b  ", {"a", "b"}),
        ("a a", {"a"}),
        ("a\tb", {"a\tb"}),
        ("a\nb", {"a\nb"}),
        ("a\r\nb", {"a\r\nb"}),
        ("a\u00a0b", {"a\u00a0b"}),
        ("a\u2028b", {"a\u2028b"}),
        ("a\u3000b", {"a\u3000b"}),
        ("a\0b", {"a\0b"}),
        ("a,b", {"a,b"}),
        ("a+b", {"a+b"}),
        ("a%20b", {"a%20b"}),
        ("*", {"*"}),
        ("read:*", {"read:*"}),
        ("READ read", {"READ", "read"}),
        ("caf\u00e9 cafe\u0301", {"caf\u00e9", "cafe\u0301"}),
        ([], set()),
        (["a", "b"], {"a", "b"}),
        (["a", "a", ""], {"a"}),
        (["a\tb"], {"a\tb"}),
        (["a\u00a0b"], {"a\u00a0b"}),
    ],
)
def test_only_a_space_separates_scopes(scope: object, scopes: set[str]) -> None:
    grants = accepted(token_with({"scope": scope}, "access_token")).grants
    assert grants.scopes == grants.effective == scopes
    assert all(value in grants for value in scopes)
    assert "a" in scopes or "a" not in grants


@pytest.mark.parametrize(
    "scope", [["a b"], [" "], ["a", "b c"], [" a"], ["a "], ["a", 1], ["a", None], [["a"]], {"a": True}]
)
def test_an_array_of_scopes_holds_scopes(scope: object) -> None:
    assert refused(token_with({"scope": scope}, "access_token")) == ("invalid_claim", "claim_wrong_form")


@pytest.mark.parametrize(
    ("permissions", "values"),
    [
        ([], set()),
        (["read:orders"], {"read:orders"}),
        (["read orders", "a"], {"read orders", "a"}),
        (["", "a", ""], {"a"}),
        ([" "], {" "}),
        (["a\u2028b", "a\tb"], {"a\u2028b", "a\tb"}),
        (["*"], {"*"}),
    ],
)
def test_a_permission_is_one_element(permissions: object, values: set[str]) -> None:
    grants = accepted(token_with({"permissions": permissions})).grants
    assert grants.permissions == grants.effective == values
    assert "orders" not in grants


@pytest.mark.parametrize(
    "permissions", ["read:orders", "", {"read:orders": True}, {}, None, 1, True, [1], [None], [["a"]], [{}]]
)
def test_permissions_of_another_form_satisfy_nothing(permissions: object) -> None:
    assert refused(token_with({"permissions": permissions})) == ("invalid_claim", "claim_wrong_form")


def test_empty_pieces_count_for_nothing() -> None:
    grants = accepted(token_with({"scope": ["", "a"], "permissions": ["", "b"]})).grants
    assert "" not in grants
    assert grants.effective == {"a", "b"}


# --- issuers and audiences ------------------------------------------------------------------------------------------


def trust(audience: str | list[str], **options: Any) -> TrustedIssuer:
    options.setdefault("keys", ISSUER.jwks())
    options.setdefault("dialects", AUTH0)
    return TrustedIssuer(ISSUER.issuer, audience, **options)


@pytest.mark.parametrize(
    "audience",
    [
        "another",
        "",
        [],
        ["another"],
        ["", "another"],
        "https://api.test",
        "https://API.test/",
        "https://api.test/ ",
        ["https://api.test/x"],
    ],
)
def test_a_token_for_somebody_else(audience: object) -> None:
    assert refused(token_with({"aud": audience})) == ("wrong_audience", "audience_not_ours")


def test_one_audience_of_several_is_enough() -> None:
    audience = ["https://issuer.test/userinfo", ISSUER.audience, ISSUER.audience]
    assert accepted(token_with({"aud": audience})).audience == tuple(audience)


def test_an_issuer_may_have_several_audiences() -> None:
    by = AccessTokenValidator([trust(["one", "two"])], clock=lambda: NOW)
    assert accepted(token_with({"aud": "two"}), by).audience == ("two",)
    assert accepted(token_with({"aud": ["two", "one"]}), by).audience == ("two", "one")
    assert refused(token_with({"aud": "one two"}), by) == ("wrong_audience", "audience_not_ours")


def test_two_settings_of_one_issuer_hold_for_their_audiences() -> None:
    one = trust("one", dialects=["access_token"], leeway=0)
    two = trust("two", keys={"keys": [STRANGER.jwk()]}, dialects=["rfc9068"])
    by = AccessTokenValidator([one, two], clock=lambda: NOW)
    first = token_with({"aud": "one"}, "access_token")
    second = sign_raw(header_of(STRANGER, typ="at+jwt"), {**ISSUER.claims("rfc9068"), "aud": "two"}, STRANGER)
    assert accepted(first, by).dialect == "access_token"
    assert accepted(second, by).dialect == "rfc9068"
    assert refused(token_with({"aud": "two"}, "access_token"), by) == ("wrong_type", "type_not_allowed")
    assert refused(token_with({"aud": "two"}, "rfc9068_profile"), by) == ("unknown_key", "key_not_published")
    assert refused(token_with({"aud": "one", "exp": NOW}, "access_token"), by) == ("expired", "expired")
    assert refused(token_with({"aud": ["one", "two"]}), by) == ("wrong_audience", "audience_ambiguous")
    assert refused(token_with({"aud": "three"}), by) == ("wrong_audience", "audience_not_ours")


def test_an_ambiguous_audience_asks_nobody_for_keys() -> None:
    keys = recording_keys(ISSUER.key)
    by = AccessTokenValidator([trust("one", keys=keys), trust("two", keys=keys)], clock=lambda: NOW)
    assert refused(token_with({"aud": ["two", "one"]}), by) == ("wrong_audience", "audience_ambiguous")
    assert keys.asked == []


def test_the_keys_of_one_issuer_open_nothing_at_another() -> None:
    other = LocalIssuer("https://other.test/", ISSUER.audience, clock=lambda: NOW)
    by = AccessTokenValidator([ISSUER.trusted(), other.trusted()], clock=lambda: NOW)
    assert accepted(ISSUER.token(), by).issuer == ISSUER.issuer
    assert accepted(other.token(), by).issuer == other.issuer
    crossed = ISSUER.sign({**ISSUER.claims(), "iss": other.issuer})
    assert refused(crossed, by) == ("unknown_key", "key_not_published")
    named = ISSUER.sign({**ISSUER.claims(), "iss": other.issuer}, kid=other.key.kid)
    assert refused(named, by) == ("bad_signature", "signature_invalid")


def test_the_same_subject_of_two_issuers_is_two_people() -> None:
    other = LocalIssuer("https://other.test/", ISSUER.audience, clock=lambda: NOW)
    by = AccessTokenValidator([ISSUER.trusted(), other.trusted()], clock=lambda: NOW)
    one, two = accepted(ISSUER.token(), by), accepted(other.token(), by)
    assert one.subject == two.subject
    assert one.identity != two.identity


# --- what comes out -------------------------------------------------------------------------------------------------


def test_everything_a_good_token_says() -> None:
    token = accepted(
        ISSUER.token(
            "access_token_authz", scope="read", permissions=["write"], org_id="org_1", jti="j1", act={"sub": "agent"}
        )
    )
    assert token == AccessToken(
        issuer=ISSUER.issuer,
        subject="auth0|jo",
        client_id="first-party-app",
        audience=(ISSUER.audience,),
        expires_at=NOW + 3600,
        issued_at=NOW - 1,
        token_id="j1",
        tenant="org_1",
        actor="agent",
        dialect="access_token_authz",
        is_machine=False,
        claims=token.claims,
        grants=token.grants,
    )


def test_one_validator_validates_many_tokens_at_once() -> None:
    tokens = [ISSUER.token("access_token", scope=f"s{n}", subject=f"auth0|{n}") for n in range(20)]

    async def validate_all() -> list[AccessToken]:
        return await asyncio.gather(*(DEFAULT.validate(token) for token in tokens))

    read = asyncio.run(validate_all())
    assert [token.subject for token in read] == [f"auth0|{n}" for n in range(20)]
    assert [token.grants.effective for token in read] == [{f"s{n}"} for n in range(20)]


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuers", ["https://issuer.test/", b"x", ISSUER.trusted(), 5, None])
def test_issuers_is_a_collection(issuers: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AccessTokenValidator(issuers)
    assert "write issuers=[TrustedIssuer(…)], with brackets" in str(caught.value)


@pytest.mark.parametrize("issuers", [[], (), [None], ["https://issuer.test/"], [ISSUER.trusted(), "x"]])
def test_issuers_holds_trusted_issuers(issuers: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AccessTokenValidator(issuers)
    assert "write issuers=[TrustedIssuer(…)]" in str(caught.value)


@pytest.mark.parametrize("audiences", [("one", "one"), (["one", "two"], "two"), ("one", ["zero", "one"])])
def test_two_settings_of_one_issuer_share_no_audience(audiences: tuple[Any, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AccessTokenValidator([trust(audience) for audience in audiences])
    assert "give each audience to one TrustedIssuer" in str(caught.value)


def test_two_issuers_may_share_an_audience() -> None:
    other = LocalIssuer("https://other.test/", ISSUER.audience)
    assert len(AccessTokenValidator(iter([ISSUER.trusted(), other.trusted()])).issuers) == 2


@pytest.mark.parametrize("limit", [0, -1, 131073, 1.5, "16384", None, True])
def test_the_limit_of_size_has_limits(limit: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AccessTokenValidator([ISSUER.trusted()], max_token_bytes=limit)
    assert "a number of bytes from 1 to 131072" in str(caught.value)


# --- key sources ----------------------------------------------------------------------------------------------------


class Nothing:
    """A key source that breaks its promise."""

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        return None  # type: ignore[return-value]


def test_a_key_source_that_gives_no_key_is_an_outage_of_ours() -> None:
    by = AccessTokenValidator([ISSUER.trusted(keys=Nothing())], clock=lambda: NOW)
    with pytest.raises(KeysUnavailable) as caught:
        asyncio.run(by.validate(ISSUER.token()))
    assert caught.value.reason == "key_source_failed"


def test_settings_of_one_issuer_fetch_its_keys_once() -> None:
    fetched: list[str] = []

    async def fetch(url: str, headers: Mapping[str, str]) -> Fetched:
        fetched.append(url)
        document = ISSUER.metadata() if "openid" in url else ISSUER.jwks()
        return Fetched(200, {}, json.dumps(document).encode())

    audiences = ["https://one.test/", "https://two.test/"]
    settings = [TrustedIssuer(ISSUER.issuer, audience, dialects=AUTH0, fetch=fetch) for audience in audiences]
    by = AccessTokenValidator(settings, clock=lambda: NOW)
    for audience in audiences:
        assert accepted(ISSUER.token(aud=audience), by).audience == (audience,)
    assert len(fetched) == 2
