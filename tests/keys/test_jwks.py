"""JWKS documents: which keys are taken, which are skipped, which documents are refused. Every key is a real one."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authz_middleware._jose import ALGORITHMS
from authz_middleware.errors import Code, InvalidToken, Reason
from authz_middleware.keys import BrokenJWKS, KeySet, parse_jwks
from authz_middleware.keys.jwks import parse_jwks_document
from authz_middleware.testing import SigningKey, encode_segment

GOOD = SigningKey("ES256", kid="good").jwk()
RSA = SigningKey("RS256", kid="rsa").jwk()
EDDSA = SigningKey("EdDSA", kid="ed").jwk()


def public_rsa(bits: int) -> dict[str, object]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return dict(RSAAlgorithm.to_jwk(private.public_key(), as_dict=True))


def rsa_of_size(bits: int) -> dict[str, object]:
    """Return a public key of any size at once: nobody need know its factors."""
    public = RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key()
    return dict(RSAAlgorithm.to_jwk(public, as_dict=True))


def parse(*keys: object, algorithms: frozenset[str] = ALGORITHMS) -> KeySet:
    return parse_jwks(json.dumps({"keys": keys}).encode(), algorithms)


def ids(keys: KeySet) -> set[tuple[str, str]]:
    return set(keys.by_id)


def without(jwk: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in jwk.items() if name not in names}


# --- documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_key_of_every_algorithm_is_taken(algorithm: str) -> None:
    assert ids(parse(SigningKey(algorithm, kid="key").jwk())) == {("key", algorithm)}


def test_an_empty_set_is_valid() -> None:
    keys = parse()
    assert keys.find("good", "ES256") is None
    assert keys.find(None, "ES256") is None


def test_a_hundred_keys_are_taken() -> None:
    assert len(parse(*({**GOOD, "kid": str(number)} for number in range(100))).by_id) == 100


def test_members_nobody_knows_are_ignored() -> None:
    text = json.dumps({"keys": [{**GOOD, "x5c": ["…"], "x5u": "https://evil.test/", "ext": True}], "more": 1})
    assert ids(parse_jwks(text.encode(), ALGORITHMS)) == {("good", "ES256")}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "not_json"),
        (b"<html></html>", "not_json"),
        (b'{"keys": [', "not_json"),
        (b'{"keys": []} {"keys": []}', "not_json"),
        (b'{"keys": [], "keys": []}', "not_json"),
        (b'{"keys": [], "n": NaN}', "not_json"),
        (b'{"keys": [], "n": 1e999}', "not_json"),
        (b'{"keys": [], "n": "\\ud800"}', "not_json"),
        (b'{"keys": [], "n": "\xff"}', "not_json"),
        ('{"keys": []}'.encode("utf-16"), "not_json"),
        (b'{"keys": ' + b"[" * 40 + b"]" * 40 + b"}", "not_json"),
        (b"[" * 200_000, "not_json"),
        (b"null", "not_a_jwks"),
        (b"[]", "not_a_jwks"),
        (b'"keys"', "not_a_jwks"),
        (b"{}", "not_a_jwks"),
        (b'{"Keys": []}', "not_a_jwks"),
        (b'{"keys": null}', "not_a_jwks"),
        (b'{"keys": {}}', "not_a_jwks"),
        (b'{"keys": "[]"}', "not_a_jwks"),
        (json.dumps({"keys": [GOOD] * 101}).encode(), "too_many_keys"),
        (b'{"keys": [' + b"0," * 100 + b"0]}", "too_many_keys"),
        (b'{"keys": [null]}', "no_usable_key"),
    ],
)
def test_a_document_that_is_no_jwks_is_broken(text: bytes, fault: str) -> None:
    with pytest.raises(BrokenJWKS) as broken:
        parse_jwks(text, ALGORITHMS)
    assert str(broken.value) == fault


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_set_or_broken(data: bytes) -> None:
    try:
        parse_jwks(data, ALGORITHMS)
    except BrokenJWKS:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(st.sampled_from([GOOD, RSA, EDDSA]), st.dictionaries(st.sampled_from([*RSA, *GOOD, *EDDSA]), json_values))
def test_a_key_with_any_member_replaced_never_harms_its_neighbour(jwk: dict[str, object], changes: Any) -> None:
    neighbour = {**GOOD, "kid": "a neighbour of its own"}
    keys = parse_jwks_document({"keys": [{**jwk, **changes}, neighbour]}, ALGORITHMS)
    assert ("a neighbour of its own", "ES256") in keys.by_id or changes.get("kid") == "a neighbour of its own"


# --- keys that are skipped --------------------------------------------------------------------------------------------

SECP256K1 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True)
ED448 = OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True)
PRIVATE_EC = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
PRIVATE_RSA = RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True)
SHORT_EXPONENT = {**RSA, "e": encode_segment(b"\x01")}

UNUSABLE: dict[str, object] = {
    "null": None,
    "string": "key",
    "array": [GOOD],
    "empty": {},
    "oct": {"kty": "oct", "k": encode_segment(b"k" * 32), "alg": "HS256"},
    "oct without k": {"kty": "oct", "alg": "HS256"},
    "private EC": PRIVATE_EC,
    "private RSA": PRIVATE_RSA,
    "public with a private member": {**RSA, "p": "AQ"},
    "public with k": {**GOOD, "k": "AQ"},
    "RSA of 1024 bits": public_rsa(1024),
    "RSA of 2047 bits": rsa_of_size(2047),
    "RSA of 8193 bits": rsa_of_size(8193),
    "RSA of 16384 bits": rsa_of_size(16384),
    "huge n": {**RSA, "n": "A" * 100_000},
    "huge e": {**RSA, "e": "AQAB" * 100},
    "e of 1": SHORT_EXPONENT,
    "e absent": without(RSA, "e"),
    "n absent": without(RSA, "n"),
    "n of the wrong type": {**RSA, "n": 5},
    "n not base64url": {**RSA, "n": "!" * 342},
    "n empty": {**RSA, "n": ""},
    "use enc": {**GOOD, "use": "enc"},
    "use null": {**GOOD, "use": None},
    "use in capitals": {**GOOD, "use": "SIG"},
    "key_ops without verify": {**GOOD, "key_ops": ["sign"]},
    "key_ops empty": {**GOOD, "key_ops": []},
    "key_ops a string": {**GOOD, "key_ops": "verify"},
    "kty absent": without(GOOD, "kty"),
    "kty unknown": {**GOOD, "kty": "AKP"},
    "kty of the wrong type": {**GOOD, "kty": ["EC"]},
    "kty of another family": {**GOOD, "kty": "RSA"},
    "crv absent": without(GOOD, "crv"),
    "crv unknown": {**GOOD, "crv": "P-192"},
    "crv of the wrong type": {**GOOD, "crv": 256},
    "crv of another size": {**without(GOOD, "alg"), "crv": "P-384"},
    "secp256k1": SECP256K1,
    "secp256k1 under ES256": {**SECP256K1, "crv": "P-256", "alg": "ES256"},
    "Ed448": ED448,
    "Ed448 under Ed25519": {**ED448, "crv": "Ed25519"},
    "X25519": {**without(EDDSA, "alg"), "crv": "X25519"},
    "x absent": without(GOOD, "x"),
    "y absent": without(GOOD, "y"),
    "x huge": {**GOOD, "x": "A" * 1000},
    "point not on the curve": {**GOOD, "x": encode_segment(b"\x01" * 32)},
    "alg of another key type": {**GOOD, "alg": "RS256"},
    "alg of another curve": {**GOOD, "alg": "ES384"},
    "RSA with alg ES256": {**RSA, "alg": "ES256"},
    "RSA with alg HS256": {**RSA, "alg": "HS256"},
    "RSA with alg none": {**RSA, "alg": "none"},
    "RSA with alg RSA-OAEP": {**RSA, "alg": "RSA-OAEP"},
    "alg in lower case": {**RSA, "alg": "rs256"},
    "alg of the wrong type": {**GOOD, "alg": 256},
    "alg an array": {**RSA, "alg": ["RS256"]},
    "kid of the wrong type": {**GOOD, "kid": 7},
    "kid an object": {**GOOD, "kid": {}},
}


@pytest.mark.parametrize("jwk", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_key_among_good_ones_is_skipped(jwk: object) -> None:
    keys = parse(EDDSA, jwk, RSA)
    assert ids(keys) == {("ed", "EdDSA"), ("rsa", "RS256")}
    assert {len(fitting) for fitting in keys.by_algorithm.values()} == {1}


@pytest.mark.parametrize("jwk", UNUSABLE.values(), ids=UNUSABLE)
def test_a_set_of_unusable_keys_only_is_broken(jwk: object) -> None:
    with pytest.raises(BrokenJWKS) as broken:
        parse(jwk)
    assert str(broken.value) == "no_usable_key"


@pytest.mark.parametrize("bits", [2048, 8192])
def test_rsa_keys_at_the_limits_are_taken(bits: int) -> None:
    assert len(parse(rsa_of_size(bits)).by_algorithm["RS256"]) == 1


@pytest.mark.parametrize("operations", [["verify"], ["sign", "verify"]])
def test_a_key_for_verification_is_taken(operations: list[str]) -> None:
    assert ids(parse({**without(GOOD, "use"), "key_ops": operations})) == {("good", "ES256")}


# --- the one algorithm of a key ---------------------------------------------------------------------------------------

BARE_RSA = without(RSA, "alg", "use")


@pytest.mark.parametrize(
    ("jwk", "algorithms", "bound"),
    [
        ({**RSA, "alg": "PS384"}, ALGORITHMS, "PS384"),
        ({**RSA, "alg": "RS512"}, frozenset({"RS256", "RS512"}), "RS512"),
        ({**EDDSA, "alg": "Ed25519"}, ALGORITHMS, "EdDSA"),
        (without(EDDSA, "alg"), ALGORITHMS, "EdDSA"),
        (without(GOOD, "alg"), ALGORITHMS, "ES256"),
        (without(SigningKey("ES384", kid="k").jwk(), "alg"), ALGORITHMS, "ES384"),
        (without(SigningKey("ES512", kid="k").jwk(), "alg"), ALGORITHMS, "ES512"),
        (BARE_RSA, ALGORITHMS, "RS256"),
        (BARE_RSA, frozenset({"RS256", "PS256"}), "RS256"),
        (BARE_RSA, frozenset({"PS256"}), "PS256"),
        (BARE_RSA, frozenset({"RS384", "ES256", "EdDSA"}), "RS384"),
        ({**BARE_RSA, "alg": None}, ALGORITHMS, "RS256"),
    ],
)
def test_a_key_is_bound_to_one_algorithm(jwk: dict[str, object], algorithms: frozenset[str], bound: str) -> None:
    keys = parse(jwk, algorithms=algorithms)
    assert set(keys.by_algorithm) == {bound}
    assert [key.algorithm for key in keys.by_algorithm[bound]] == [bound]


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (RSA, {"PS256"}),
        (RSA, {"ES256"}),
        (BARE_RSA, {"RS384", "RS512"}),
        (BARE_RSA, {"ES256"}),
        (GOOD, {"RS256", "PS256"}),
        (EDDSA, {"ES256"}),
    ],
)
def test_a_key_for_an_algorithm_the_issuer_may_not_use_is_skipped(jwk: object, algorithms: set[str]) -> None:
    other = SigningKey("ES384", kid="other").jwk()
    assert ids(parse(jwk, other, algorithms=frozenset({*algorithms, "ES384"}))) == {("other", "ES384")}
    with pytest.raises(BrokenJWKS):
        parse(jwk, algorithms=frozenset(algorithms))


# --- finding ----------------------------------------------------------------------------------------------------------


def test_two_keys_of_one_id_and_algorithm_are_both_dropped() -> None:
    keys = parse(GOOD, SigningKey("ES256", kid="good").jwk(), RSA)
    assert ids(keys) == {("rsa", "RS256")}
    assert keys.find(None, "ES256") is None


def test_the_same_key_twice_is_one_key() -> None:
    without_alg = {name: value for name, value in GOOD.items() if name != "alg"}
    keys = parse(GOOD, GOOD, without_alg, RSA)
    assert ids(keys) == {("good", "ES256"), ("rsa", "RS256")}
    assert keys.find(None, "ES256") == keys.find("good", "ES256")


def test_the_order_of_keys_says_nothing() -> None:
    assert parse(GOOD, RSA) == parse(RSA, GOOD)


def test_a_set_in_which_duplicates_drop_each_other_is_broken() -> None:
    with pytest.raises(BrokenJWKS) as broken:
        parse(GOOD, SigningKey("ES256", kid="good").jwk())
    assert str(broken.value) == "no_usable_key"


def test_one_id_with_two_algorithms_is_two_keys() -> None:
    keys = parse({**RSA, "alg": "RS256"}, {**RSA, "alg": "PS256"}, {**GOOD, "kid": "rsa"})
    assert ids(keys) == {("rsa", "RS256"), ("rsa", "PS256"), ("rsa", "ES256")}


def test_an_unusable_namesake_does_no_harm() -> None:
    assert ids(parse(GOOD, {**GOOD, "use": "enc"})) == {("good", "ES256")}


def test_keys_without_id_are_kept_beside_each_other() -> None:
    keys = parse(without(GOOD, "kid"), without(SigningKey("ES256").jwk(), "kid"))
    assert ids(keys) == set()
    assert len(keys.by_algorithm["ES256"]) == 2


@pytest.mark.parametrize("kid", ["Good", "good ", "", "rsa", "ed", "None"])
def test_an_id_is_matched_exactly(kid: str) -> None:
    assert parse(GOOD, RSA, EDDSA).find(kid, "ES256") is None


def test_a_key_is_found_by_id_and_algorithm_together() -> None:
    keys = parse(GOOD, RSA)
    found = keys.find("good", "ES256")
    assert found is not None
    assert (found.kid, found.algorithm) == ("good", "ES256")
    assert keys.find("good", "RS256") is None
    assert keys.find("rsa", "ES256") is None


def test_without_an_id_the_only_key_of_the_algorithm_fits() -> None:
    keys = parse(GOOD, RSA)
    found = keys.find(None, "ES256")
    assert found is not None
    assert found.kid == "good"
    assert keys.find(None, "EdDSA") is None


def test_without_an_id_several_fitting_keys_are_ambiguous() -> None:
    keys = parse(GOOD, SigningKey("ES256", kid="other").jwk())
    with pytest.raises(InvalidToken) as refused:
        keys.find(None, "ES256")
    assert (refused.value.code, refused.value.reason) == (Code.UNKNOWN_KEY, Reason.KEY_AMBIGUOUS)


def test_a_key_without_id_is_not_found_by_one() -> None:
    keys = parse(without(GOOD, "kid"))
    assert keys.find("good", "ES256") is None
    assert keys.find(None, "ES256") is not None
