"""`LocalIssuer`: real keys and really signed tokens of every dialect this package has a table for.

Sources: RFC 7515 section 3.1 (compact serialization), RFC 7517 (JWK), RFC 8414 section 2 (metadata).
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Unpack
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from ..dialects import AUTH0, DIALECTS, Dialect
from ..errors import ConfigurationError
from ..issuers import IssuerOptions, TrustedIssuer

__all__ = ["LocalIssuer", "SigningKey", "encode_segment"]

_ENGINES = get_default_algorithms()
_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_key_numbers = count(1)


def encode_segment(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class SigningKey:
    """A private key of one algorithm, and the JWK that publishes its other half."""

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
        """Return the public JWK."""
        engine: Any = _ENGINES[self.algorithm]
        public = engine.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}


def _generate(algorithm: str) -> object:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _table(dialect: str | Dialect) -> Dialect:
    if isinstance(dialect, Dialect):
        return dialect
    if dialect not in DIALECTS:
        raise ConfigurationError(f"no dialect is called {dialect!r}; write one of {', '.join(DIALECTS)}")
    return DIALECTS[dialect]


class LocalIssuer:
    """An authorization server's half that signs: keys, metadata, tokens.

    Args:
        issuer: its `iss`. audience: the API its tokens are for.
        algorithm: what it signs with.
        clock: epoch seconds.
    """

    def __init__(
        self,
        issuer: str = "https://issuer.test/",
        audience: str = "https://api.test/",
        *,
        algorithm: str = "RS256",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.key = SigningKey(algorithm)
        self.published = [self.key]
        self._clock = clock

    # --- what it publishes --------------------------------------------------------------------------------------------

    def jwks(self) -> dict[str, object]:
        """Return the JWKS document."""
        return {"keys": [key.jwk() for key in self.published]}

    def metadata(self) -> dict[str, object]:
        """Return the metadata document."""
        return {"issuer": self.issuer, "jwks_uri": self.issuer.rstrip("/") + "/.well-known/jwks.json"}

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on, and publish it beside the old ones."""
        self.key = SigningKey(self.key.algorithm)
        self.published.append(self.key)
        return self.key

    def withdraw(self, key: SigningKey) -> None:
        """Publish a key no longer."""
        self.published.remove(key)

    def trusted(self, **options: Unpack[IssuerOptions]) -> TrustedIssuer:
        """Return settings that trust this issuer's present keys, without network; Auth0's dialects by default."""
        options.setdefault("dialects", AUTH0)
        if options.get("secret") is None and options.get("jwks_uri") is None:
            options.setdefault("keys", self.jwks())
        return TrustedIssuer(self.issuer, self.audience, **options)

    # --- what it issues -----------------------------------------------------------------------------------------------

    def claims(
        self,
        dialect: str | Dialect = "access_token_authz",
        *,
        scope: str | None = None,
        permissions: Collection[str] | None = None,
        subject: str | None = None,
        client_id: str = "first-party-app",
        machine: bool = False,
        expires_in: float = 3600,
        **more: object,
    ) -> dict[str, object]:
        """Return a payload as the dialect writes it.

        `scope` is the space-joined string, `permissions` go into the token only where the dialect has them;
        `expires_in` is in seconds from now and may be negative; `more` are further claims, None removes one.
        """
        table = _table(dialect)
        if isinstance(permissions, str) or not isinstance(scope, str | None):
            raise ConfigurationError("scope= is one space-joined string, permissions= a collection of strings")
        now = int(self._clock())
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": (client_id + table.machine_subject_suffixes[0]) if machine else subject or "auth0|jo",
            "aud": self.audience,
            "iat": now - 1 + min(0, int(expires_in) - 60),
            "exp": now + int(expires_in),
            table.client_claim: client_id,
        }
        if "jti" in table.required_claims:
            claims["jti"] = uuid4().hex
        if machine and table.machine_grant_type is not None:
            claims["gty"] = table.machine_grant_type
        if scope is not None:
            claims["scope"] = scope
        if permissions is not None and table.has_permissions:
            claims["permissions"] = list(permissions)
        claims.update(more)
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, dialect: str | Dialect = "access_token_authz", **claims: Any) -> str:
        """Return a signed token; arguments as for `claims`."""
        table = _table(dialect)
        typ = {"jwt": "JWT"}.get(name := min(table.types), name)
        return self.sign(self.claims(table, **claims), typ=typ)

    def headers(self, dialect: str | Dialect = "access_token_authz", **claims: Any) -> dict[str, str]:
        """Return request headers that carry a signed token; arguments as for `claims`."""
        return {"Authorization": f"Bearer {self.token(dialect, **claims)}"}

    def sign(self, claims: Mapping[str, object] | bytes, *, key: SigningKey | None = None, **header: object) -> str:
        """Sign any payload, an object or raw bytes; `header` members replace the usual ones, None removes one."""
        signer = key or self.key
        members = {"alg": signer.algorithm, "kid": signer.kid, "typ": "JWT", **header}
        head = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
        body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        message = f"{encode_segment(head)}.{encode_segment(body)}"
        return f"{message}.{encode_segment(signer.sign(message.encode()))}"
