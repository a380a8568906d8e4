"""The authorization server's other half: keys that sign, and tokens that every contender accepts (RFC 9068, RS256)."""

from __future__ import annotations

import json
import secrets
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_encode

AUDIENCE = "https://orders.example.com"
YEARS = 10 * 365 * 24 * 3600
"""Tokens outlive every scenario, so that no wall clock decides anything."""


class SigningKey:
    """An RSA key and its published form."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._tokens: list[str] = []

    def jwk(self) -> dict[str, object]:
        public: dict[str, Any] = RSAAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": "RS256"}

    def tokens(self, issuer: str, count: int) -> list[str]:
        """Return that many different good tokens; the same ones for every contender."""
        while len(self._tokens) < count:
            claims = _claims(issuer, f"user-{len(self._tokens)}")
            headers = {"kid": self.kid, "typ": "at+jwt"}
            self._tokens.append(jwt.encode(claims, self._private, algorithm="RS256", headers=headers))
        return self._tokens[:count]


@cache
def unknown_key_tokens(issuer: str, count: int) -> tuple[str, ...]:
    """Return well-formed tokens, each naming another key that nobody publishes. Their signatures are noise."""
    payload = base64url_encode(json.dumps(_claims(issuer, "attacker")).encode()).decode()
    signature = base64url_encode(secrets.token_bytes(256)).decode()
    heads = ({"alg": "RS256", "kid": f"unknown-{number:06}", "typ": "at+jwt"} for number in range(count))
    return tuple(f"{base64url_encode(json.dumps(head).encode()).decode()}.{payload}.{signature}" for head in heads)


def _claims(issuer: str, subject: str) -> dict[str, object]:
    now = int(time.time())
    return {
        "iss": issuer,
        "sub": subject,
        "aud": AUDIENCE,
        "client_id": "benchmark",
        "iat": now,
        "exp": now + YEARS,
        "jti": subject,
        "scope": "read:orders",
    }
