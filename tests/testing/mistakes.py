"""Mistakes that let attackers in: each stands before a guarded application and gives what it falls for a good token.

A mistake is one that somebody could make, written as a question about the request; `MISTAKES` says which attacks of the
suite profit by it, and so must report it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from authz_middleware import AccessTokenValidator
from authz_middleware.errors import Refused
from authz_middleware.testing import LocalIssuer, encode_segment
from authz_middleware.token import AccessToken
from tests.keys.helpers import at_once


@dataclass(frozen=True)
class Seen:
    """A request as a careless gateway sees it."""

    values: list[str]
    extras: Mapping[str, str]
    issuer: LocalIssuer
    parts: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, scope: Scope, issuer: LocalIssuer) -> Seen:
        pairs = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        values = [value for name, value in pairs if name == "authorization"]
        extras = {name: value for name, value in pairs if name not in {"authorization", "host"}}
        if scope["query_string"]:
            extras["query"] = scope["query_string"].decode()
        token = values[0].partition(" ")[2] if values else ""
        return cls(values, extras, issuer, token.split("."))

    @property
    def scheme(self) -> str:
        return self.values[0].partition(" ")[0] if self.values else ""

    @property
    def is_bearer(self) -> bool:
        return len(self.values) == 1 and re.fullmatch(r"Bearer [^ ,]+", self.values[0]) is not None

    def json(self, part: int) -> dict[str, Any]:
        """Return a part of the token, leniently: the last of two members counts."""
        try:
            return dict(json.loads(self.raw(part)))
        except (ValueError, TypeError):
            return {}

    def raw(self, part: int) -> bytes:
        try:
            return base64.urlsafe_b64decode(self.parts[part] + "==") if self.is_bearer else b""
        except (IndexError, binascii.Error):
            return b""

    @property
    def header(self) -> dict[str, Any]:
        return self.json(0)

    @property
    def claims(self) -> dict[str, Any]:
        return self.json(1)

    @property
    def is_signed_by_us(self) -> bool:
        """Whether the signature holds: signatures of EdDSA are always the same for the same message."""
        message, _, signature = ".".join(self.parts).rpartition(".")
        return encode_segment(self.issuer.key.sign(message.encode())) == signature

    @property
    def good(self) -> AccessToken | None:
        """The token if nothing is wrong with it."""
        if not self.is_bearer:
            return None
        trusted = self.issuer.trusted(third_party_clients=(), algorithms=["EdDSA"])
        try:
            return validated(AccessTokenValidator([trusted]), ".".join(self.parts))
        except Refused:
            return None


def validated(by: AccessTokenValidator, token: str) -> AccessToken:
    validation: Any = by.validate(token)
    result: Any = at_once(validation)
    return result  # type: ignore[no-any-return]


@dataclass
class Mistaken:
    """A gateway in front of an application."""

    app: ASGIApp
    issuer: LocalIssuer
    falls_for: Callable[[Seen], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.falls_for(Seen.of(scope, self.issuer)):
            token = self.issuer.token(permissions=["read:orders", "write:orders"])
            scope = {**scope, "headers": [(b"authorization", f"Bearer {token}".encode())]}
        await self.app(scope, receive, send)


def _repeats_a_member(seen: Seen) -> bool:
    counts: list[bool] = []

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        counts.append(len(dict(pairs)) < len(pairs))
        return dict(pairs)

    for part in (0, 1):
        if seen.raw(part).startswith(b"{") and seen.raw(part).endswith(b"}"):
            json.loads(seen.raw(part), object_pairs_hook=note)
    return any(counts)


def _only(predicate: Callable[[Seen], object]) -> Callable[[Seen], bool]:
    """Return the mistake of not asking something about a token that our key has signed."""
    return lambda seen: seen.is_bearer and seen.is_signed_by_us and bool(predicate(seen))


def _entitled_by(predicate: Callable[[AccessToken], object]) -> Callable[[Seen], bool]:
    """Return the mistake of reading rights out of a good token that are not there."""

    def falls_for(seen: Seen) -> bool:
        token = seen.good
        return token is not None and bool(predicate(token))

    return falls_for


EMBEDDED = {"embedded-jwk", "embedded-jku", "embedded-x5u", "embedded-x5c"}
NONE = {"alg-none", "alg-None", "alg-NONE", "alg-nOnE", "alg-none-signed"}
FORGED = {"tampered-payload", "tampered-signature", "stripped-signature", "stranger-under-our-kid"}
STRANGERS = {"stranger-without-kid", "unknown-kid"}
OTHER_KINDS = {"refresh-token", "logout-token", "proof-of-possession", "client-assertion"}
GRANTS = {
    "no-grants",
    "openid-scopes",
    "wildcards",
    "lookalike-grants",
    "delegated-without-scope",
    "grants-in-other-claims",
}


def _is_ours(token: AccessToken) -> bool:
    return not token.grants.scopes | token.grants.permissions and "scp" not in token.claims


def _is_past(seen: Seen) -> bool:
    exp = seen.claims["exp"]
    return isinstance(exp, int) and exp < seen.issuer.clock()


def _is_future(seen: Seen) -> bool:
    iat = seen.claims.get("iat")
    return isinstance(iat, int) and iat > seen.issuer.clock()


MISTAKES: dict[str, tuple[Callable[[Seen], bool], set[str]]] = {
    "the anonymous are somebody": (lambda seen: not seen.values and not seen.extras, {"no-token"}),
    "any scheme will do": (lambda seen: seen.scheme in {"Basic", "Token"}, {"basic-scheme", "unknown-scheme"}),
    "the query is read": (lambda seen: "query" in seen.extras, {"token-in-query"}),
    "the body is read": (lambda seen: "content-type" in seen.extras, {"token-in-body"}),
    "cookies are read": (lambda seen: "cookie" in seen.extras, {"token-in-cookie"}),
    "a proxy is believed": (lambda seen: "x-access-token" in seen.extras, {"token-in-other-headers"}),
    "the first header counts": (lambda seen: len(seen.values) == 2, {"two-authorization-headers"}),
    "the first of a list counts": (lambda seen: "," in "".join(seen.values), {"two-tokens-in-one-header"}),
    "spaces are stripped": (lambda seen: "  " in "".join(seen.values), {"two-spaces"}),
    "an empty token is somebody": (lambda seen: seen.values == ["Bearer"], {"scheme-alone"}),
    "DPoP is Bearer": (lambda seen: seen.scheme == "DPoP", {"dpop-scheme"}),
    "what is opaque will be right": (
        lambda seen: seen.is_bearer and len(seen.parts) == 1 and seen.parts != [""],
        {"opaque-token"},
    ),
    "what is encrypted will be right": (
        lambda seen: seen.is_bearer and len(seen.parts) == 5,
        {"opaque-encrypted-token", "encrypted-token"},
    ),
    "a signature may be missing": (lambda seen: seen.is_bearer and len(seen.parts) == 2, {"two-parts"}),
    "the last member counts": (_repeats_a_member, {"duplicate-claim", "duplicate-header-member"}),
    "size does not matter": (lambda seen: seen.is_bearer and len("".join(seen.values)) > 100_000, {"too-large"}),
    "critical is not so critical": (lambda seen: "crit" in seen.header, {"crit"}),
    "b64 is nothing": (lambda seen: "b64" in seen.header, {"unencoded-payload"}),
    "nothing is verified": (
        lambda seen: seen.header.get("alg") == "EdDSA" and len(seen.parts) == 3 and not seen.is_signed_by_us,
        FORGED | STRANGERS | EMBEDDED,
    ),
    "an embedded key is believed": (lambda seen: "jwk" in seen.header, {"embedded-jwk"}),
    "a key is fetched from anywhere": (lambda seen: "jku" in seen.header, {"embedded-jku"}),
    "a certificate is fetched from anywhere": (lambda seen: "x5u" in seen.header, {"embedded-x5u"}),
    "an embedded certificate is believed": (lambda seen: "x5c" in seen.header, {"embedded-x5c"}),
    "an unknown kid is nobody's business": (lambda seen: seen.header.get("kid") == "nobody's", {"unknown-kid"}),
    "none is an algorithm": (lambda seen: seen.header.get("alg", "").lower() == "none", NONE),
    "none is refused by its name": (
        lambda seen: seen.header.get("alg", "").lower() == "none" != seen.header["alg"],
        NONE - {"alg-none", "alg-none-signed"},
    ),
    "an algorithm may be missing": (lambda seen: bool(seen.header) and "alg" not in seen.header, {"alg-missing"}),
    "a key is good for any algorithm": (
        lambda seen: seen.header.get("alg") == "HS256",
        {"confused-with-pem", "confused-with-jwk", "confused-with-nothing"},
    ),
    "exp is not compared": (_only(lambda seen: seen.claims.get("exp", "") != "" and _is_past(seen)), {"expired"}),
    "exp may be missing": (_only(lambda seen: "exp" not in seen.claims), {"never-expires"}),
    "exp may be text": (_only(lambda seen: isinstance(seen.claims.get("exp"), str)), {"expires-as-text"}),
    "nbf is not compared": (_only(lambda seen: "nbf" in seen.claims), {"not-yet-valid"}),
    "iat is not compared": (_only(_is_future), {"issued-in-the-future"}),
    "iss is not compared": (
        _only(lambda seen: seen.claims.get("iss", seen.issuer.issuer) != seen.issuer.issuer),
        {"foreign-issuer", "respelt-issuer"},
    ),
    "iss is compared without its slash": (
        _only(lambda seen: seen.claims.get("iss", "") + "/" == seen.issuer.issuer),
        {"respelt-issuer"},
    ),
    "iss may be missing": (_only(lambda seen: "iss" not in seen.claims), {"no-issuer"}),
    "aud is not compared": (
        _only(lambda seen: "aud" in seen.claims and seen.issuer.audience not in seen.claims["aud"]),
        {"foreign-audience", "id-token"},
    ),
    "aud may be missing": (_only(lambda seen: "aud" not in seen.claims), {"no-audience"}),
    "sub may be missing": (_only(lambda seen: "sub" not in seen.claims), {"no-subject"}),
    "a scope is an object": (_only(lambda seen: isinstance(seen.claims.get("scope"), dict)), {"scope-of-another-type"}),
    "cnf is not asked for": (_only(lambda seen: "cnf" in seen.claims), {"bound-to-a-key", "bound-to-a-certificate"}),
    "ID tokens are access tokens": (_only(lambda seen: "nonce" in seen.claims), {"id-token", "id-token-for-this-api"}),
    "a type may be missing": (_only(lambda seen: "typ" not in seen.header), {"untyped"}),
    "any type will do": (
        _only(lambda seen: seen.header.get("typ", "JWT") not in {"JWT", "at+jwt", "not this"}),
        OTHER_KINDS,
    ),
    "whoever has a token may": (_entitled_by(lambda token: True), GRANTS),
    "who was granted nothing may": (_entitled_by(_is_ours), {"no-grants"}),
    "openid is a right": (_entitled_by(lambda token: "openid" in token.grants.permissions), {"openid-scopes"}),
    "a star is a right": (_entitled_by(lambda token: "*" in token.grants.permissions), {"wildcards"}),
    "rights have prefixes": (_entitled_by(lambda token: "read:*" in token.grants.permissions), {"lookalike-grants"}),
    "what was delegated is not limited": (
        _entitled_by(lambda token: token.actor is not None and bool(token.grants.permissions)),
        {"delegated-without-scope"},
    ),
    "other providers' claims are read": (_entitled_by(lambda token: "scp" in token.claims), {"grants-in-other-claims"}),
}
