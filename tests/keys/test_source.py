"""Key sources that need no network."""

import asyncio
import json
from pathlib import Path

import pytest

from authz_middleware import AccessTokenValidator, TrustedIssuer
from authz_middleware._jose import ALGORITHMS, VerificationKey
from authz_middleware.errors import ConfigurationError
from authz_middleware.keys import KeySource, SecretKey, StaticJWKS, is_key_source
from authz_middleware.testing import LocalIssuer, SigningKey

from ..helpers import accepted
from .helpers import AMBIGUOUS, NEW, OLD, UNKNOWN, at_once, jwks, refusal


def test_a_static_document_gives_its_keys_at_once() -> None:
    source = StaticJWKS(jwks(OLD, NEW))
    assert is_key_source(source)
    assert at_once(source.get("new", "ES256")).kid == "new"


def test_a_static_document_is_read_once() -> None:
    document = jwks(OLD)
    source = StaticJWKS(document)
    document["keys"] = []
    assert at_once(source.get("old", "ES256")).kid == "old"


@pytest.mark.parametrize(("kid", "algorithm"), [("unknown", "ES256"), ("old", "RS256"), (None, "RS256"), ("", "ES256")])
def test_a_key_that_is_not_there_is_unknown(kid: str | None, algorithm: str) -> None:
    assert asyncio.run(refusal(StaticJWKS(jwks(OLD)), kid, algorithm)) == UNKNOWN


def test_a_token_without_kid_must_fit_one_key() -> None:
    assert at_once(StaticJWKS(jwks(OLD)).get(None, "ES256")).kid == "old"
    assert asyncio.run(refusal(StaticJWKS(jwks(OLD, NEW)), None)) == AMBIGUOUS


def test_an_empty_document_knows_no_key() -> None:
    assert asyncio.run(refusal(StaticJWKS({"keys": []}), "old")) == UNKNOWN


def test_keys_the_issuer_may_not_use_are_skipped() -> None:
    source = StaticJWKS({"keys": [OLD.jwk(), SigningKey("EdDSA", kid="ed").jwk()]}, frozenset({"EdDSA"}))
    assert asyncio.run(refusal(source, "old")) == UNKNOWN


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"keys": OLD.jwk()},
        OLD.jwk(),
        {"keys": [{**OLD.jwk(), "use": "enc"}]},
        {"keys": [OLD.jwk(), {**NEW.jwk(), "kid": "old"}]},
        {"keys": [OLD.jwk()] * 101},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
    ],
)
def test_a_document_without_usable_keys_is_a_mistake_that_says_what_to_write(document: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="pass a JWKS document such as"):
        StaticJWKS(document)


def test_a_document_of_keys_for_other_algorithms_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="holds no usable key"):
        StaticJWKS(jwks(OLD), ALGORITHMS - {"ES256"})


# --- a document in a file ---------------------------------------------------------------------------------------------


def test_a_document_can_be_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks(OLD, NEW)), encoding="utf-8")
    for path in (file, str(file)):
        source = StaticJWKS.from_file(path)
        assert at_once(source.get("new", "ES256")).kid == "new"
    assert isinstance(source, StaticJWKS)


def test_a_file_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks(OLD)), encoding="utf-8")
    source = StaticJWKS.from_file(file)
    file.unlink()
    assert at_once(source.get("old", "ES256")).kid == "old"


def test_a_file_is_read_for_the_algorithms_of_its_issuer(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [OLD.jwk(), SigningKey("EdDSA", kid="ed").jwk()]}), encoding="utf-8")
    source = StaticJWKS.from_file(file, frozenset({"EdDSA"}))
    assert source.status().key_ids == ("ed",)


def test_a_source_is_read_for_the_issuer_it_is_given_to(tmp_path: Path) -> None:
    key = SigningKey("PS256", kid="ps")
    file = tmp_path / "jwks.json"
    jwk = {name: value for name, value in key.jwk().items() if name != "alg"}
    file.write_text(json.dumps({"keys": [jwk]}), encoding="utf-8")
    source = StaticJWKS.from_file(file)
    assert at_once(source.get("ps", "RS256")).algorithm == "RS256"
    issuer = LocalIssuer(algorithm="PS256", key=key)
    trusted = issuer.trusted(keys=source, algorithms=["PS256"], third_party_clients=set())
    assert accepted(issuer.token(), AccessTokenValidator([trusted])).issuer == issuer.issuer
    bound = StaticJWKS.from_file(file, frozenset({"RS256"}))
    assert bound.bound_to(frozenset({"PS256"})) is bound  # the application has said what it is for


def test_a_source_without_a_key_for_its_issuer_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="holds no usable key"):
        TrustedIssuer("https://issuer.test/", "api", keys=StaticJWKS(jwks(OLD)), algorithms=["RS256"])


def test_what_is_read_for_an_issuer_later_is_what_was_given() -> None:
    document = jwks(OLD)
    source = StaticJWKS(document)
    document["keys"].clear()  # type: ignore[attr-defined]
    assert source.bound_to(frozenset({"ES256"})).status().key_ids == ("old",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read as JSON (JSONFault); name a file that holds a JWKS document"),
        (b"<html>", "cannot be read as JSON (JSONFault); name a file that holds a JWKS document"),
        (b'{"keys": [], "keys": []}', "cannot be read as JSON (JSONFault); name a file that holds a JWKS document"),
        (b"\xff", "cannot be read as JSON (JSONFault); name a file that holds a JWKS document"),
        (b"[]", "holds no JWKS document, but other JSON"),
        (b"null", "holds no JWKS document, but other JSON"),
    ],
)
def test_a_file_that_is_no_jwks_is_a_mistake_that_says_what_to_write(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        StaticJWKS.from_file(file)
    assert caught.value.faults == (f"StaticJWKS.from_file: {str(file)!r} {says}",)


def test_a_file_without_usable_keys_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="holds no usable key"):
        StaticJWKS.from_file(file)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ConfigurationError, match=r"cannot be read as JSON \(\w+Error\)"):
            StaticJWKS.from_file(path)


# --- secrets and sources of one's own ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", [None, "any"])
def test_a_secret_is_the_key_of_every_token(kid: str | None) -> None:
    source = SecretKey(b"s" * 32)
    assert is_key_source(source)
    key = at_once(source.get(kid, "HS256"))
    assert (key.kid, key.algorithm, key.material) == (None, "HS256", b"s" * 32)


def test_secrets_never_show() -> None:
    key = at_once(SecretKey(b"hush" * 8).get(None, "HS256"))
    assert "hush" not in repr(key)


def test_an_application_may_bring_a_source_of_its_own() -> None:
    class Own:
        async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
            return await StaticJWKS(jwks(OLD)).get("old", algorithm)

    source: KeySource = Own()
    assert is_key_source(source)
    assert at_once(source.get(None, "ES256")).kid == "old"
    assert not is_key_source(object())
