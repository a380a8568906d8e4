"""The private half: keys that sign, and the public form in which an issuer publishes them.

Sources: RFC 7515 section 2 (base64url), RFC 7517 (JWK), RFC 7518 (algorithms).
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from .._jose import ALGORITHMS, MIN_SECRET_BYTES, RSA_ALGORITHMS
from ..errors import ConfigurationError

__all__ = ["SYMMETRIC", "SigningKey", "encode_segment"]

SYMMETRIC = "HS256"
"""The one algorithm whose key is no pair: signer and verifier share it, and nobody publishes it."""
_ENGINES = get_default_algorithms()
_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_key_numbers = count(1)


def encode_segment(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class SigningKey:
    """A private key of one algorithm, and the JWK that publishes its other half.

    Args:
        algorithm: what it signs with: an algorithm this package verifies, or HS256, whose key is a shared secret.
        kid: its key id; a new one if left out.
        private: a private key of the cryptography library, or the bytes of a secret; generated if left out.

    Raises:
        ConfigurationError: no key can be generated for the algorithm.
    """

    algorithm: str = "RS256"
    kid: str = field(default_factory=lambda: f"key-{next(_key_numbers)}")
    private: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.private is None:
            object.__setattr__(self, "private", _generate(self.algorithm))

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        return _ENGINES[self.algorithm].sign(message, self.private)

    def jwk(self) -> dict[str, object]:
        """Return the public JWK.

        Raises:
            ConfigurationError: the key is a shared secret.
        """
        if self.algorithm == SYMMETRIC:
            raise ConfigurationError(
                "an HS256 key is a secret and is never published; pass it as TrustedIssuer(secret=)"
            )
        engine: Any = _ENGINES[self.algorithm]
        public = engine.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}


def _generate(algorithm: str) -> object:
    if algorithm == SYMMETRIC:
        return secrets.token_bytes(MIN_SECRET_BYTES)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm in RSA_ALGORITHMS:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    known = ", ".join(sorted({*ALGORITHMS, SYMMETRIC}))
    raise ConfigurationError(f"algorithm= is {algorithm!r}, which no key can be made for; write one of {known}")
