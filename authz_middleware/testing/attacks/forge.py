"""What an attacker makes tokens with: a good token to begin with, other people's keys, and any header.

Sources: RFC 7515 (JWS), RFC 7516 section 7.1 (JWE), RFC 8725 section 2 (what goes wrong with JWTs).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from ...dialects import Dialect
from ...issuers import TrustedIssuer
from ..claims import nest, type_of, without_none
from ..issuer import LocalIssuer
from ..signing import SYMMETRIC, SigningKey, encode_segment

__all__ = ["Forge", "twice"]

CLEARLY_SECONDS = 600
"""How far beyond the leeway a date is that shall be wrong."""
OTHER_CLAIMS = ("scp", "scopes", "grants", "authorities", "entitlements", "roles", "groups", "rights")
"""Claims in which other providers write rights, and this application's does not."""


@dataclass(frozen=True)
class Forge:
    """Makes the tokens of attacks. Each is a good token of the application's issuer with one thing changed.

    Args:
        issuer: the issuer the application trusts while it is attacked.
        trusted: the settings it does so under.
        dialect: the dialect of the tokens.
        own: claims that a token needs to be good here, beside those of the dialect.
        wanted: the grants the attacked route asks for.
    """

    issuer: LocalIssuer
    trusted: TrustedIssuer
    dialect: Dialect
    own: Mapping[str, object]
    wanted: tuple[str, ...] = ()

    # --- tokens our issuer signs --------------------------------------------------------------------------------------

    def claims(self, **changes: object) -> dict[str, object]:
        """Return a good payload that grants nothing, some claims replaced; None removes one."""
        return without_none({**self.issuer.claims(self.dialect), **self._tenant(), **self.own, **changes})

    def token(self, **changes: object) -> str:
        """Return a token that holds but for the claims that are changed."""
        return self.signed(self.claims(**changes))

    def with_header(self, **header: object) -> str:
        """Return a token that holds but for header members; None removes one."""
        return self.signed(self.claims(), **header)

    def signed(self, claims: Mapping[str, object] | bytes, **header: object) -> str:
        """Sign anything with the issuer's key, by default under the usual header."""
        return self._sign(claims, self.issuer.key, header)

    def _sign(self, claims: Mapping[str, object] | bytes, key: SigningKey, header: Mapping[str, object]) -> str:
        members: dict[str, object] = {"typ": type_of(self.dialect), **header}
        return self.issuer.sign(claims, key=key, **members)

    def signed_twice_named(self, name: str) -> str:
        """Return a token whose header names a member twice, and whose signature holds."""
        key = self.issuer.key
        header = twice({"alg": key.algorithm, "kid": key.kid, "typ": type_of(self.dialect)}, name)
        message = f"{encode_segment(header)}.{self.token().split('.')[1]}"
        return f"{message}.{encode_segment(key.sign(message.encode()))}"

    def later(self, steps: int) -> int:
        """Return a time so far ahead, or behind, that no leeway makes up for it."""
        return int(self.issuer.clock() + steps * (self.trusted.leeway + CLEARLY_SECONDS))

    def _tenant(self) -> Mapping[str, object]:
        """Return the claim of an organization that is let in, where they are limited."""
        tenants = self.trusted.settings.tenants
        return {} if tenants is None else nest(self.dialect.tenant_claims[0], min(tenants))

    # --- tokens of users who are not entitled -------------------------------------------------------------------------

    def granting(self, values: Iterable[str]) -> str:
        """Return a good token with these grants, in every claim the dialect has for them."""
        values = [value for value in values if value not in self.wanted]
        scope = " ".join(value for value in values if " " not in value)
        permissions = values if self.dialect.has_permissions else None
        grants = self.issuer.claims(self.dialect, scope=scope, permissions=permissions)
        return self.token(**{name: grants[name] for name in self._granting_claims() if name in grants})

    def granting_lookalikes(self) -> str:
        """Return a good token with grants that are easily taken for those the route asks for."""
        alike = {other for value in self.wanted for other in _lookalikes(value)}
        return self.granting(sorted(alike - set(self.wanted)))

    def delegated(self) -> str:
        """Return a good token of a user who has the very rights, through a client that was delegated none of them."""
        permissions = list(self.wanted) if self.dialect.has_permissions else None
        grants = self.issuer.claims(self.dialect, permissions=permissions)
        names = {path[0] for path in self.dialect.permissions_claims}
        return self.token(act={"sub": "another service"}, **{name: grants[name] for name in names if name in grants})

    def granting_elsewhere(self) -> str:
        """Return a good token with the very grants the route asks for, in claims that mean nothing here."""
        rights: dict[str, object] = {"scope": " ".join(self.wanted), "permissions": list(self.wanted)}
        claims: dict[str, object] = {name: list(self.wanted) for name in OTHER_CLAIMS}
        claims |= {"user_metadata": rights, "act": {"sub": "somebody else", **rights}}
        return self.token(**{name: value for name, value in claims.items() if name not in self._claims_that_are_read()})

    def _granting_claims(self) -> set[str]:
        return {self.dialect.scope_claim, *(path[0] for path in self.dialect.permissions_claims)}

    def _claims_that_are_read(self) -> set[str]:
        table = self.dialect
        return self._granting_claims() | {path[0] for path in (*table.roles_claims, *table.tenant_claims)} | {*self.own}

    def is_given(self, wanted: Iterable[str]) -> bool:
        """Tell whether claims that every good token needs here name one of these grants."""
        return not set(wanted).isdisjoint(_strings_in(self.own))

    # --- tokens somebody else signs -----------------------------------------------------------------------------------

    @property
    def stranger(self) -> SigningKey:
        """A key of the issuer's kind, and under its key id, that the issuer knows nothing of."""
        key = self.issuer.key
        return SigningKey(key.algorithm, kid=key.kid, private=_stranger(key.algorithm).private)

    def by_stranger(self, **header: object) -> str:
        """Return a token that a stranger signed, by default under our key id."""
        return self._sign(self.claims(), self.stranger, header)

    def unsigned(self, algorithm: str) -> str:
        """Return a token whose algorithm signs nothing."""
        return self.with_header(alg=algorithm).rpartition(".")[0] + "."

    def confused(self, secret: bytes) -> str:
        """Return a token whose HS256 secret is something everybody knows."""
        message = self.with_header(alg=SYMMETRIC).rpartition(".")[0]
        return f"{message}.{encode_segment(hmac.digest(secret, message.encode(), hashlib.sha256))}"

    @property
    def known(self) -> SigningKey:
        """The key whose public half everybody knows; where the issuer's is a secret, one that nobody uses."""
        return _stranger("RS256") if self.issuer.key.algorithm == SYMMETRIC else self.issuer.key

    def public_pem(self) -> bytes:
        """Return the public key as PEM."""
        public: Any = self.known.private.public_key()
        pem: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return pem

    def public_jwk(self) -> bytes:
        """Return the public key as the text of a JWK."""
        return json.dumps(self.known.jwk()).encode()

    def stranger_jwk(self) -> dict[str, object]:
        """Return the stranger's public key, as a header embeds it (RFC 7515 section 4.1.3)."""
        return (_stranger("RS256") if self.issuer.key.algorithm == SYMMETRIC else self.stranger).jwk()

    def stranger_chain(self) -> list[str]:
        """Return a certificate of a stranger's key, as a header embeds it (RFC 7515 section 4.1.6)."""
        return [b64encode(_certificate()).decode()]

    # --- tokens of another kind ---------------------------------------------------------------------------------------

    def id_token(self, **changes: object) -> str:
        """Return an ID token: it tells the client who has logged in (OpenID Connect Core section 2)."""
        marks = {"nonce": "n-0S6_WzA2Mj", "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "auth_time": self.later(0)}
        claims = {"aud": self.claims()[self.dialect.client_claim], **marks, **changes}
        return self.signed(self.claims(**claims), typ="JWT")

    def id_token_for_this_api(self) -> str:
        """Return an ID token whose audience is the API as well; a plain one where the dialect cannot tell by that."""
        table = self.dialect
        if not table.client_is_no_audience and not table.id_token_marks & {"nonce", "at_hash"}:
            return self.id_token()
        return self.id_token(aud=[self.issuer.audience, self.claims()[table.client_claim]])

    def encrypted(self, key: bytes, **header: object) -> str:
        """Return five parts that nobody is going to decrypt (RFC 7516 section 7.1)."""
        parts = (json.dumps(header).encode(), key, b"twelve bytes", b"ciphertext", b"sixteen byte tag")
        return ".".join(encode_segment(part) for part in parts)


def twice(document: Mapping[str, object], name: str) -> bytes:
    """Return a JSON object that names a member twice: parsers disagree on which one counts."""
    first, rest = json.dumps({name: "not this"}), json.dumps(dict(document))
    return f"{first[:-1]}, {rest[1:]}".encode()


@cache
def _stranger(algorithm: str) -> SigningKey:
    """Return a key that no issuer publishes; made once."""
    return SigningKey(algorithm, kid="stranger")


@cache
def _certificate() -> bytes:
    """Return a certificate that the stranger issued to itself."""
    key = _stranger("RS256").private
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(
        subject_name=name,
        issuer_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=begin,
        not_valid_after=begin + timedelta(days=365),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _lookalikes(value: str) -> tuple[str, ...]:
    """Return values that are not this one to anybody who compares exactly."""
    fullwidth = "".join(chr(ord(char) + 0xFEE0) if char.isalpha() else char for char in value if char.isascii())
    stem = value.rpartition(":")[0]
    return (value.upper(), value[:-1], f"{value}s", f"{value}:all", f"{stem}:*", stem, f"{value}\t", fullwidth)


def _strings_in(value: object) -> Iterator[str]:
    """Yield every string in a claim, and every word of it."""
    if isinstance(value, str):
        yield from (value, *value.split(" "))
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _strings_in(item)
