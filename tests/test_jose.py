"""Strict JSON, compact JWS, JWKs: what is taken apart before anything is believed, and what is refused on the way."""

from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from authz_middleware._jose import (
    ALGORITHMS,
    DEFAULT_MAX_TOKEN_BYTES,
    UnusableKey,
    VerificationKey,
    canonical_algorithm,
    parse,
    parse_jwk,
    secret_key,
    verify,
)
from authz_middleware._json import MAX_JSON_DEPTH, JSONFault, parse_json
from authz_middleware.errors import InvalidToken
from authz_middleware.testing import SigningKey, encode_segment

from .helpers import ISSUER, compact, five_parts, header_of, sign_raw

KEYS = {algorithm: SigningKey(algorithm) for algorithm in sorted(ALGORITHMS)}


def json_fault(data: bytes) -> str:
    with pytest.raises(JSONFault) as caught:
        parse_json(data)
    return str(caught.value.reason)


def parse_refusal(token: str, max_bytes: int = DEFAULT_MAX_TOKEN_BYTES) -> tuple[str, str]:
    with pytest.raises(InvalidToken) as caught:
        parse(token, max_bytes)
    return str(caught.value.code), str(caught.value.reason)


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * levels + "1" + closing * levels).encode()


# --- strict JSON ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.5, -3e2, true, null, "x"]}', {"a": [1, 2.5, -300.0, True, None, "x"]}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        ('"é\U0001f600"'.encode(), "é\U0001f600"),
        (b'"a\\u0000b"', "a\0b"),
        (b'"\\\\ud800"', "\\ud800"),
        (b" \t\r\n1 ", 1),
        (b"1" * 400, int("1" * 400)),
        (b"1e308", 1e308),
        (b"{}", {}),
    ],
)
def test_strict_json_is_read(text: bytes, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"{} {}", "not_json"),
        (b"{'a': 1}", "not_json"),
        (b'{"a": 1,}', "not_json"),
        (b"{a: 1}", "not_json"),
        (b"// x\n1", "not_json"),
        (b"NaN", "not_json"),
        (b"Infinity", "not_json"),
        (b"-Infinity", "not_json"),
        (b'{"exp": NaN}', "not_json"),
        (b"1e400", "not_json"),
        (b"-1e400", "not_json"),
        (b"1" * 5000, "not_json"),
        (b"0x10", "not_json"),
        (b"01", "not_json"),
        (b"+1", "not_json"),
        (b".5", "not_json"),
        (b'"a\nb"', "not_json"),
        (b'"a\0b"', "not_json"),
        (b'"\\x41"', "not_json"),
        (b"\0", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (json.dumps({"a": 1}).encode("utf-16-le"), "not_json"),
        (json.dumps({"a": 1}).encode("utf-16"), "not_utf8"),
        (json.dumps({"a": 1}).encode("utf-32-be"), "not_json"),
        (b'"\xff"', "not_utf8"),
        (b'"\xc0\xaf"', "not_utf8"),
        (b'"\xed\xa0\x80"', "not_utf8"),
        (b'"\xf4\x90\x80\x80"', "not_utf8"),
        (b'"\\ud800"', "not_utf8"),
        (b'"\\udc00\\ud800"', "not_utf8"),
        (b'{"\\ud800": 1}', "not_utf8"),
        (b'[[["\\uDFFF"]]]', "not_utf8"),
        (b'{"a": 1, "a": 1}', "duplicate_member"),
        (b'{"a": 1, "\\u0061": 2}', "duplicate_member"),
        (b'{"x": [{"a": 1, "a": 2}]}', "duplicate_member"),
    ],
)
def test_anything_else_is_not(text: bytes, reason: str) -> None:
    assert json_fault(text) == reason


def test_similar_members_are_not_duplicates() -> None:
    assert parse_json('{"é": 1, "e\u0301": 2, "É": 3}'.encode()) == {"é": 1, "e\u0301": 2, "É": 3}


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_nesting_ends_at_its_limit(opening: str, closing: str) -> None:
    step = sum(opening.count(bracket) for bracket in "[{")
    deepest = MAX_JSON_DEPTH // step
    assert parse_json(nested(deepest, opening, closing)) is not None
    assert json_fault(nested(deepest + 1, opening, closing)) == "too_deep"


@pytest.mark.parametrize("levels", [1_000, 100_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_nesting_bomb_is_too_deep(levels: int, opening: str, closing: str) -> None:
    assert json_fault(nested(levels, opening, closing)) == "too_deep"


@pytest.mark.parametrize("levels", [100_000, 1_000_000])
def test_a_nesting_bomb_without_its_end_is_refused(levels: int) -> None:
    assert json_fault(b"[" * levels) in {"too_deep", "not_json"}


def test_a_bomb_with_an_escape_is_too_deep() -> None:
    levels = sys.getrecursionlimit() * 3 // 4
    assert json_fault(b"[" * levels + b'"\\u0041"' + b"]" * levels) == "too_deep"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert parse_json(b"[" + b"[]," * 1000 + b"{}]") == [*([[]] * 1000), {}]


def test_brackets_in_a_string_are_not_deep() -> None:
    assert parse_json(b'"' + b"[" * 1000 + b'"') == "[" * 1000


# --- compact JWS ----------------------------------------------------------------------------------------------------


def test_a_token_is_taken_apart() -> None:
    token = ISSUER.token()
    parsed = parse(token)
    assert (parsed.algorithm, parsed.kid) == ("RS256", ISSUER.key.kid)
    assert parsed.claims["iss"] == ISSUER.issuer
    assert parsed.signing_input.decode() == token.rpartition(".")[0]
    assert encode_segment(parsed.signature) == token.rpartition(".")[2]


def test_an_unverified_token_shows_nothing_of_itself() -> None:
    token = sign_raw({**header_of(), "kid": "secret-key", "hint": "secret"}, ISSUER.claims(subject="secret-person"))
    assert repr(parse(token)) == "UnverifiedToken()"


@pytest.mark.parametrize("length", [1, 2, 16, 512])
def test_the_limit_of_size_counts_every_character(length: int) -> None:
    token = compact(header_of(), {"x": "y" * length})
    assert parse(token, len(token)).claims == {"x": "y" * length}
    assert parse_refusal(token, len(token) - 1) == ("malformed_token", "too_large")


@pytest.mark.parametrize("character", ["a", ".", "é", "\0", "\ud800", "["])
def test_a_mebibyte_of_anything_is_too_large(character: str) -> None:
    assert parse_refusal(character * 2**20) == ("malformed_token", "too_large")


@pytest.mark.parametrize("token", ["", "opaque", "2YotnFZFEjr1zCsicMWpAA", "a" * 16384, "é", "\0", " ", "\ud800"])
def test_without_dots_it_is_opaque(token: str) -> None:
    assert parse_refusal(token) == ("opaque_token", "opaque")


HEAD, BODY, SIGNATURE = ISSUER.token().split(".")


@pytest.mark.parametrize(
    "token",
    [
        ".",
        "..",
        "...",
        ".....",
        f"{HEAD}.{BODY}",
        f".{HEAD}.{BODY}",
        f"{HEAD}..{SIGNATURE}",
        f".{BODY}.{SIGNATURE}",
        f"{HEAD}.{BODY}.{SIGNATURE}.",
        f"{HEAD}.{BODY}.{SIGNATURE}.x",
        f"{HEAD}.{BODY}.{SIGNATURE}.x.y.z",
        f"{HEAD}=.{BODY}.{SIGNATURE}",
        f"{HEAD}.{BODY}.{SIGNATURE}=",
        f"{HEAD}.{BODY}.{SIGNATURE}==",
        f"{HEAD}.{BODY}.{SIGNATURE}\n",
        f"\n{HEAD}.{BODY}.{SIGNATURE}",
        f"{HEAD}.{BODY} .{SIGNATURE}",
        f"{HEAD}.{BODY}.{SIGNATURE}\0",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}+",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}/",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}é",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}\uff21",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}\u0660",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}\ud800",
        f"{HEAD}.{BODY}.{SIGNATURE[:-1]}%41",
    ],
)
def test_what_is_not_three_parts_of_base64url_is_malformed(token: str) -> None:
    reason = "not_canonical_base64url" if token.count(".") == 2 else "not_three_parts"
    assert parse_refusal(token) == ("malformed_token", reason)


@pytest.mark.parametrize("segment", ["A", "AAAAA", "AB", "AAB", "e31", "e3_"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_second_spelling_of_the_same_bytes_is_refused(segment: str, position: int) -> None:
    parts = [HEAD, BODY, SIGNATURE]
    parts[position] = segment
    assert parse_refusal(".".join(parts)) == ("malformed_token", "not_canonical_base64url")


def test_the_canonical_spellings_pass() -> None:
    assert parse(f"{HEAD}.e30.AA").claims == {}
    assert parse(f"{HEAD}.e30.").signature == b""


@pytest.mark.parametrize("part", [b"[]", b"1", b"null", b"true", b'"text"', b'[{"alg": "RS256"}]', b"1.5"])
@pytest.mark.parametrize("is_header", [True, False])
def test_header_and_payload_are_objects(part: bytes, is_header: bool) -> None:
    token = sign_raw(part, {}) if is_header else sign_raw(header_of(), part)
    assert parse_refusal(token) == ("malformed_token", "not_an_object")


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (b"\0", "not_json"),
        (b"{", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        ('{"a": 1}'.encode("utf-16"), "not_utf8"),
        (b'{"a": "\xff"}', "not_utf8"),
        (b'{"a": "\\ud800"}', "not_utf8"),
        (b'{"alg": "RS256", "alg": "none"}', "duplicate_member"),
        (b'{"scope": "a", "scop\\u0065": "admin"}', "duplicate_member"),
        (b'{"a": ' + nested(32) + b"}", "too_deep"),
        (b'{"exp": NaN}', "not_json"),
        (b'{"exp": 1e400}', "not_json"),
    ],
)
@pytest.mark.parametrize("is_header", [True, False])
def test_header_and_payload_are_strict_json(part: bytes, reason: str, is_header: bool) -> None:
    token = sign_raw(part, {}) if is_header else sign_raw(header_of(), part)
    assert parse_refusal(token) == ("malformed_token", reason)


@pytest.mark.parametrize("kid", [None, 1, 1.5, True, [], ["key"], {}, "", "k" * 257])
def test_a_key_id_is_a_short_string(kid: object) -> None:
    token = sign_raw({**header_of(), "kid": kid}, {})
    assert parse_refusal(token) == ("malformed_token", "kid_not_usable")


@pytest.mark.parametrize("kid", ["k", "k" * 256, "../../etc/passwd", "' OR 1=1 --", "\0", "*"])
def test_any_short_string_is_a_key_id(kid: str) -> None:
    assert parse(sign_raw(header_of(kid=kid), {})).kid == kid


def test_a_token_need_not_name_its_key() -> None:
    assert parse(sign_raw(header_of(kid=None), {})).kid is None


@pytest.mark.parametrize("alg", [1, True, [], {}, ["RS256"]])
def test_an_algorithm_that_is_no_string_is_none(alg: object) -> None:
    assert parse(sign_raw(header_of(alg=alg), {})).algorithm is None


def test_the_names_of_edwards_curves() -> None:
    assert canonical_algorithm("Ed25519") == canonical_algorithm("EdDSA") == "EdDSA"
    assert {name: canonical_algorithm(name) for name in ("ed25519", "Ed448", "RS256")} == {
        "ed25519": "ed25519",
        "Ed448": "Ed448",
        "RS256": "RS256",
    }


# --- five parts -----------------------------------------------------------------------------------------------------

JWE = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT"}
DIRECT = {"alg": "dir", "enc": "A256GCM"}


def test_an_encrypted_token_is_called_so() -> None:
    assert parse_refusal(five_parts(JWE)) == ("encrypted_token", "encrypted")


def test_direct_encryption_without_a_key_part_is_opaque() -> None:
    assert parse_refusal(five_parts(DIRECT, b"")) == ("opaque_token", "opaque")


@pytest.mark.parametrize(
    "token",
    [
        five_parts(DIRECT, b"a key after all"),
        five_parts({**DIRECT, "alg": "DIR"}, b""),
        five_parts({**DIRECT, "alg": ["dir"]}, b""),
        five_parts({"enc": "A256GCM"}, b""),
        five_parts(JWE, b""),
        five_parts(JWE).replace(".", "=.", 1),
        "a.b.c.d.e",
        "....",
        f"{encode_segment(b'[]')}....",
        f"{encode_segment(b'{')}....",
        f"{encode_segment(nested(1000))}....",
        "é....",
        "\ud800....",
    ],
)
def test_other_five_parts_are_encrypted(token: str) -> None:
    assert parse_refusal(token) == ("encrypted_token", "encrypted")


# --- keys -----------------------------------------------------------------------------------------------------------


def without(jwk: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in jwk.items() if name not in names}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_key_is_bound_to_its_algorithm(algorithm: str) -> None:
    key = parse_jwk(KEYS[algorithm].jwk())
    assert (key.kid, key.algorithm) == (KEYS[algorithm].kid, algorithm)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "EdDSA"])
def test_without_alg_the_curve_binds(algorithm: str) -> None:
    assert parse_jwk(without(KEYS[algorithm].jwk(), "alg")).algorithm == algorithm


@pytest.mark.parametrize("algorithm", ["RS256", "PS384"])
def test_without_alg_the_issuers_algorithm_binds_an_rsa_key(algorithm: str) -> None:
    assert parse_jwk(without(KEYS["RS256"].jwk(), "alg"), algorithm).algorithm == algorithm


@pytest.mark.parametrize(
    "members", [{"alg": "Ed25519"}, {"use": "sig"}, {"key_ops": ["verify"]}, {"x5c": ["MII"]}, {"n": "x"}]
)
def test_members_that_do_no_harm(members: dict[str, object]) -> None:
    assert parse_jwk({**KEYS["EdDSA"].jwk(), **members}).algorithm == "EdDSA"


@pytest.mark.parametrize("names", [["use"], ["kid"], ["alg"], ["use", "kid", "alg"]])
def test_members_a_key_need_not_have(names: list[str]) -> None:
    key = parse_jwk(without(KEYS["RS256"].jwk(), *names))
    assert key.kid == (None if "kid" in names else KEYS["RS256"].kid)


@pytest.mark.parametrize("jwk", [None, 1, "key", [], [KEYS["RS256"].jwk()], True, {}])
def test_a_jwk_is_an_object_of_a_known_kind(jwk: object) -> None:
    with pytest.raises(UnusableKey):
        parse_jwk(jwk)


BROKEN = [
    ("RS256", {"d": "AQAB"}),
    ("RS256", {"k": "c2VjcmV0"}),
    ("RS256", {"p": "AQAB"}),
    ("RS256", {"use": "enc"}),
    ("RS256", {"use": None}),
    ("RS256", {"use": ["sig"]}),
    ("RS256", {"key_ops": ["sign"]}),
    ("RS256", {"key_ops": []}),
    ("RS256", {"key_ops": "verify"}),
    ("RS256", {"key_ops": None}),
    ("RS256", {"alg": "HS256"}),
    ("RS256", {"alg": "none"}),
    ("RS256", {"alg": "ES256"}),
    ("RS256", {"alg": "RSA-OAEP"}),
    ("RS256", {"alg": "rs256"}),
    ("RS256", {"alg": ""}),
    ("RS256", {"alg": 1}),
    ("RS256", {"alg": ["RS256"]}),
    ("RS256", {"kid": 1}),
    ("RS256", {"kid": ["k"]}),
    ("RS256", {"kty": "oct"}),
    ("RS256", {"kty": "EC"}),
    ("RS256", {"kty": "rsa"}),
    ("RS256", {"kty": 1}),
    ("RS256", {"kty": None}),
    ("RS256", {"n": ""}),
    ("RS256", {"n": 1}),
    ("RS256", {"n": None}),
    ("RS256", {"n": "A" * 1401}),
    ("RS256", {"n": "not base64url!"}),
    ("RS256", {"e": ""}),
    ("RS256", {"e": 65537}),
    ("RS256", {"e": "A" * 13}),
    ("RS256", {"e": "AA"}),
    ("RS256", {"e": "AQ"}),
    ("RS256", {"e": "Ag"}),
    ("ES256", {"crv": "P-384"}),
    ("ES256", {"crv": "secp256k1"}),
    ("ES256", {"crv": 1}),
    ("ES256", {"crv": None}),
    ("ES256", {"alg": "ES384"}),
    ("ES256", {"alg": "RS256"}),
    ("ES256", {"alg": ""}),
    ("ES256", {"x": "AAAA"}),
    ("ES256", {"x": "A" * 97}),
    ("ES256", {"x": KEYS["ES384"].jwk()["x"]}),
    ("ES256", {"y": encode_segment(b"\0" * 32)}),
    ("ES256", {"y": []}),
    ("EdDSA", {"crv": "X25519"}),
    ("EdDSA", {"crv": "Ed448"}),
    ("EdDSA", {"alg": "ES256"}),
    ("EdDSA", {"alg": ""}),
    ("EdDSA", {"x": "AAAA"}),
    ("EdDSA", {"x": {}}),
    ("EdDSA", {"d": KEYS["EdDSA"].jwk()["x"]}),
]


@pytest.mark.parametrize(("algorithm", "change"), BROKEN)
def test_a_key_with_one_broken_member_is_unusable(algorithm: str, change: dict[str, object]) -> None:
    jwk = KEYS[algorithm].jwk()
    assert parse_jwk(jwk).algorithm == algorithm
    with pytest.raises(UnusableKey):
        parse_jwk({**jwk, **change})


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [("RS256", "n"), ("RS256", "e"), ("RS256", "kty"), ("ES256", "crv"), ("ES256", "y"), ("EdDSA", "x")],
)
def test_a_key_without_one_of_its_members_is_unusable(algorithm: str, name: str) -> None:
    with pytest.raises(UnusableKey):
        parse_jwk(without(KEYS[algorithm].jwk(), name))


def test_other_curves_are_unusable() -> None:
    jwk = OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True)
    with pytest.raises(UnusableKey):
        parse_jwk(jwk)


def rsa_jwk(bits: int) -> dict[str, object]:
    return {"kty": "RSA", "n": encode_segment((2 ** (bits - 1) + 1).to_bytes((bits + 7) // 8, "big")), "e": "AQAB"}


@pytest.mark.parametrize("bits", [512, 1024, 2040, 2047, 8193, 8200])
def test_a_weak_or_giant_rsa_key_is_unusable(bits: int) -> None:
    with pytest.raises(UnusableKey):
        parse_jwk(rsa_jwk(bits))


@pytest.mark.parametrize("bits", [2048, 8192])
def test_an_rsa_key_at_the_limits_is_usable(bits: int) -> None:
    assert parse_jwk(rsa_jwk(bits)).algorithm == "RS256"


def test_the_exponent_of_an_rsa_key_has_a_reasonable_size() -> None:
    assert parse_jwk({**rsa_jwk(2048), "e": encode_segment((2**62 + 1).to_bytes(8, "big"))}).algorithm == "RS256"
    with pytest.raises(UnusableKey):
        parse_jwk({**rsa_jwk(2048), "e": encode_segment((2**76 + 1).to_bytes(10, "big"))})


def test_a_really_weak_rsa_key_is_unusable() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(UnusableKey):
        parse_jwk(RSAAlgorithm.to_jwk(private.public_key(), as_dict=True))


def test_a_key_shows_nothing_of_its_material() -> None:
    assert "secret" not in repr(secret_key(b"secret" * 8))


# --- signatures -----------------------------------------------------------------------------------------------------


def verify_refusal(token: str, key: VerificationKey) -> tuple[str, str]:
    with pytest.raises(InvalidToken) as caught:
        verify(parse(token), key)
    return str(caught.value.code), str(caught.value.reason)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_signature_holds_under_its_key_alone(algorithm: str) -> None:
    key, other = KEYS[algorithm], SigningKey(algorithm)
    token = sign_raw(header_of(key), {"sub": "jo"}, key)
    assert verify(parse(token), parse_jwk(key.jwk())) == {"sub": "jo"}
    assert verify_refusal(token, parse_jwk(other.jwk())) == ("bad_signature", "signature_invalid")


@pytest.mark.parametrize("signed", sorted(ALGORITHMS))
def test_no_algorithm_passes_for_another(signed: str) -> None:
    token = sign_raw(header_of(KEYS[signed]), {}, KEYS[signed])
    for other in ALGORITHMS - {signed}:
        assert verify_refusal(token, parse_jwk(KEYS[other].jwk())) == ("wrong_algorithm", "algorithm_not_allowed")


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_no_signature_at_all_never_holds(algorithm: str) -> None:
    key = KEYS[algorithm]
    for signature in (b"", b"\0", b"\0" * 64, b"\0" * 96, b"\0" * 132, b"\0" * 256, b"\xff" * 64, b"\0" * 4096):
        token = compact(header_of(key), {}, signature)
        assert verify_refusal(token, parse_jwk(key.jwk())) == ("bad_signature", "signature_invalid")


def test_a_shared_secret_verifies_hs256() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    signer = SigningKey("HS256", private=secret)
    token = sign_raw(header_of(signer), {"sub": "jo"}, signer)
    assert verify(parse(token), secret_key(secret)) == {"sub": "jo"}
    assert verify_refusal(token, secret_key(secret[:-1] + b"!")) == ("bad_signature", "signature_invalid")
    assert verify_refusal(token[:-43], secret_key(secret)) == ("bad_signature", "signature_invalid")


def test_the_signature_covers_header_and_payload() -> None:
    key = parse_jwk(ISSUER.key.jwk())
    header, payload, signature = sign_raw(header_of(), {"sub": "jo"}).split(".")
    other_header, other_payload, _ = sign_raw(header_of(typ="at+jwt"), {"sub": "ko"}).split(".")
    assert verify(parse(f"{header}.{payload}.{signature}"), key) == {"sub": "jo"}
    for forged in (f"{other_header}.{payload}.{signature}", f"{header}.{other_payload}.{signature}"):
        assert verify_refusal(forged, key) == ("bad_signature", "signature_invalid")


def test_a_respelt_header_is_another_header() -> None:
    header, payload, signature = sign_raw(header_of(), {"sub": "jo"}).split(".")
    respelt = urlsafe_b64encode(json.dumps(header_of(), indent=1).encode()).rstrip(b"=").decode()
    assert respelt != header
    key = parse_jwk(ISSUER.key.jwk())
    assert verify_refusal(f"{respelt}.{payload}.{signature}", key) == ("bad_signature", "signature_invalid")


def test_the_curve_of_a_key_decides_its_algorithm() -> None:
    assert isinstance(parse_jwk(KEYS["ES512"].jwk()).material, ec.EllipticCurvePublicKey)
