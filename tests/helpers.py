"""What several test modules need: a fixed present, an issuer with real keys, and the two outcomes of a validation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from authz_middleware import AccessToken, AccessTokenValidator
from authz_middleware._jose import ALGORITHMS, VerificationKey
from authz_middleware.errors import Refused
from authz_middleware.keys import KeySource, StaticJWKS
from authz_middleware.testing import LocalIssuer, SigningKey, encode_segment

NOW = 1_790_000_000
VECTORS = Path(__file__).parent / "vectors"
ISSUER = LocalIssuer(clock=lambda: NOW)
"""The authorization server of most tests. Nobody changes its keys; a test that does makes its own."""


def validator(**options: Any) -> AccessTokenValidator:
    """Return a validator that trusts `ISSUER` and lives at `NOW`."""
    return AccessTokenValidator([ISSUER.trusted(**options)], clock=lambda: NOW)


DEFAULT = validator(third_party_clients=set())


def accepted(token: str, by: AccessTokenValidator = DEFAULT) -> AccessToken:
    """Return what a good token says."""
    return asyncio.run(by.validate(token))


def refused(token: str, by: AccessTokenValidator = DEFAULT) -> tuple[str, str]:
    """Return code and reason of a refusal; any other outcome is an error."""
    try:
        asyncio.run(by.validate(token))
    except Refused as refusal:
        return str(refusal.code), str(refusal.reason)
    raise AssertionError("the token was accepted")


class RecordingKeys:
    """A key source that notes what it is asked for."""

    def __init__(self, inner: KeySource) -> None:
        self.inner = inner
        self.asked: list[tuple[str | None, str]] = []

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        self.asked.append((kid, algorithm))
        return await self.inner.get(kid, algorithm)


def recording_keys(*keys: SigningKey, algorithms: frozenset[str] = ALGORITHMS) -> RecordingKeys:
    """Return a recording source of these keys."""
    return RecordingKeys(StaticJWKS({"keys": [key.jwk() for key in keys]}, algorithms))


def compact(header: object, payload: object, signature: bytes = b"\0" * 256) -> str:
    """Return a three-part token with any header, any payload and any signature; bytes are taken as they are."""
    return ".".join(encode_segment(part) for part in (_as_bytes(header), _as_bytes(payload), signature))


def sign_raw(header: object, payload: object, key: SigningKey | None = None) -> str:
    """Return a token whose signature holds, whatever its header and payload are."""
    signer = key or ISSUER.key
    message = ".".join(encode_segment(_as_bytes(part)) for part in (header, payload))
    return f"{message}.{encode_segment(signer.sign(message.encode()))}"


def header_of(key: SigningKey | None = None, **members: object) -> dict[str, object]:
    """Return the usual header with some members replaced; None removes one."""
    signer = key or ISSUER.key
    header = {"alg": signer.algorithm, "kid": signer.kid, "typ": "JWT", **members}
    return {name: value for name, value in header.items() if value is not None}


def token_with(claims: Mapping[str, object], dialect: str = "access_token_authz") -> str:
    """Return a token whose payload has these claims instead of the usual ones; unlike elsewhere, None is JSON null."""
    typ = "JWT" if dialect.startswith("access_token") else "at+jwt"
    return sign_raw(header_of(typ=typ), {**ISSUER.claims(dialect), **claims})


def five_parts(header: Mapping[str, object], encrypted_key: bytes = b"wrapped key") -> str:
    """Return a JWE with this header (RFC 7516 section 7.1); nobody is going to decrypt it."""
    parts = (_as_bytes(header), encrypted_key, b"twelve bytes", b"ciphertext", b"sixteen byte tag")
    return ".".join(encode_segment(part) for part in parts)


def load_vectors(name: str) -> dict[str, Any]:
    """Return one file of vectors."""
    document: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return document


def _as_bytes(part: object) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part).encode()
