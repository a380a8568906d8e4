"""The protocol of key sources, and the two that need no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from .._jose import ALGORITHMS, VerificationKey, secret_key
from ..errors import Code, ConfigurationError, InvalidToken, Reason
from .jwks import BrokenJWKS, parse_jwks_document

__all__ = ["KeySource", "SecretKey", "StaticJWKS"]


@runtime_checkable
class KeySource(Protocol):
    """Gives the key a token says it was signed with."""

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return the key with this `kid` (None: the token names none) and algorithm.

        Raises:
            InvalidToken: there is no such key (`unknown_key`).
            KeysUnavailable: it cannot be said whether there is.
        """
        ...


class StaticJWKS:
    """A fixed JWKS document, for issuers without an endpoint and for tests. Read at construction, never again."""

    def __init__(self, document: Mapping[str, object], algorithms: frozenset[str] = ALGORITHMS) -> None:
        try:
            self._keys = parse_jwks_document(document, algorithms)
        except BrokenJWKS as broken:
            raise ConfigurationError(
                f"keys= holds no usable key ({broken}); pass a JWKS document such as "
                '{"keys": [{"kty": "RSA", "kid": "…", "n": "…", "e": "AQAB"}]} with public keys'
            ) from None

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return the key, at once."""
        key = self._keys.find(kid, algorithm)
        if key is None:
            raise InvalidToken(Code.UNKNOWN_KEY, Reason.KEY_NOT_PUBLISHED)
        return key


class SecretKey:
    """The HS256 secret an API shares with its issuer. The token's `kid` says nothing: there is one key."""

    def __init__(self, secret: bytes) -> None:
        self._key = secret_key(secret)

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:  # noqa: ARG002 - the protocol's shape
        """Return the key, at once."""
        return self._key
