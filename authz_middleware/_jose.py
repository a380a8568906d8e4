"""JOSE: strict parsing of a compact JWS, keys from JWKs, signature verification.

With `testing/` the only room that imports `jwt` and `cryptography`; PyJWT's algorithm objects do the cryptography,
everything around them is ours because it decides what is accepted.

Sources: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 (JWA), RFC 8037 and RFC 9864 (EdDSA), RFC 8725 (best practice).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NewType, cast

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import Algorithm, get_default_algorithms

from ._json import JSONFault, parse_json
from .errors import Code, InvalidToken, Reason

__all__ = [
    "ALGORITHMS",
    "DEFAULT_MAX_TOKEN_BYTES",
    "MAX_TOKEN_BYTES",
    "MIN_SECRET_BYTES",
    "UnusableKey",
    "UnverifiedToken",
    "VerificationKey",
    "VerifiedClaims",
    "canonical_algorithm",
    "parse",
    "parse_jwk",
    "secret_key",
    "verify",
]

DEFAULT_MAX_TOKEN_BYTES = 16 * 1024
MAX_TOKEN_BYTES = 128 * 1024
MAX_KID_LENGTH = 256
MIN_SECRET_BYTES = 32
JWS_DOTS, JWE_DOTS = 2, 4  # RFC 7515 section 7.1, RFC 7516 section 7.1
RSA_BITS = range(2048, 8192 + 1)

RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVE_ALGORITHMS: Mapping[tuple[str, str], str] = {
    ("EC", "P-256"): "ES256",  # RFC 7518 section 3.4 ties each ES algorithm to one curve
    ("EC", "P-384"): "ES384",
    ("EC", "P-521"): "ES512",
    ("OKP", "Ed25519"): "EdDSA",
}
ALGORITHMS = RSA_ALGORITHMS | frozenset(CURVE_ALGORITHMS.values())
"""Every asymmetric algorithm this package verifies, by its canonical name."""

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

VerifiedClaims = NewType("VerifiedClaims", Mapping[str, object])
"""The payload of a token whose signature held under a key of its issuer. Nothing else may be read for grants."""

_COMPACT_JWS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)", re.ASCII)
_ENGINES: Mapping[str, Algorithm] = get_default_algorithms()
_MATERIAL: Mapping[str, type[Any]] = {
    "RS": RSAPublicKey, "PS": RSAPublicKey, "ES": EllipticCurvePublicKey, "Ed": Ed25519PublicKey, "HS": bytes
}  # fmt: skip
_ENCODING = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class UnusableKey(ValueError):
    """A JWK that cannot verify access tokens: skipped, never fatal to its neighbours."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A well-formed compact JWS whose signature nobody has checked. Good for choosing an issuer, for nothing else."""

    header: Mapping[str, object] = field(repr=False)
    claims: Mapping[str, object] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def algorithm(self) -> str | None:
        """Header `alg` by its canonical name; None when it is absent or no string."""
        alg = self.header.get("alg")
        return canonical_algorithm(alg) if isinstance(alg, str) else None

    @property
    def kid(self) -> str | None:
        """Header `kid`; None when absent. `parse` has refused every other form."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else None


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key (or shared secret) bound to exactly one algorithm (RFC 8725 section 3.1). Made by `from_jwk`.

    Two are equal if they have one id, one algorithm and one `fingerprint`, a digest of the key itself.
    """

    kid: str | None
    algorithm: str
    material: object = field(repr=False, compare=False)
    fingerprint: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        material = self.material
        if not isinstance(material, _MATERIAL.get(self.algorithm[:2], ())):
            raise UnusableKey("no key of the algorithm")
        encoded = material if isinstance(material, bytes) else cast("Any", material).public_bytes(*_ENCODING)
        # Computed, never taken from anybody: a token is remembered as long as its key has this fingerprint.
        object.__setattr__(self, "fingerprint", hashlib.sha256(encoded).digest())

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object], rsa_algorithm: str = "RS256") -> VerificationKey:
        """Return the key in a JWK, bound to its `alg`, else its curve's algorithm, else `rsa_algorithm`.

        Raises:
            ValueError: symmetric, private, weak, for another use, of an unknown kind, or broken.
        """
        return parse_jwk(dict(jwk), rsa_algorithm)


def canonical_algorithm(name: str) -> str:
    """Return `EdDSA` for its RFC 9864 name `Ed25519`, any other name unchanged. Case is significant."""
    return "EdDSA" if name == "Ed25519" else name


# --- compact JWS ----------------------------------------------------------------------------------------------------


def parse(token: str, max_bytes: int = DEFAULT_MAX_TOKEN_BYTES) -> UnverifiedToken:
    """Parse a compact JWS (RFC 7515 section 7.1). Checks form only: no signature, no claim.

    Raises:
        InvalidToken: too large, opaque, encrypted or malformed.
    """
    if len(token) > max_bytes:
        raise InvalidToken(Code.MALFORMED_TOKEN, Reason.TOO_LARGE)
    parts = _COMPACT_JWS.fullmatch(token)
    if parts is None:
        raise _not_a_jws(token)
    header = _parse_object(_decode(parts[1]))
    _check_header_form(header)
    return UnverifiedToken(
        header=header,
        claims=_parse_object(_decode(parts[2])),
        signing_input=token[: parts.end(2)].encode("ascii"),
        signature=_decode(parts[3]),
    )


def _not_a_jws(token: str) -> InvalidToken:
    """Say what the credential is instead: opaque, encrypted, or nothing we know."""
    dots = token.count(".")
    if dots == 0:
        return InvalidToken(Code.OPAQUE_TOKEN, Reason.OPAQUE)
    if dots == JWS_DOTS:
        return InvalidToken(Code.MALFORMED_TOKEN, Reason.NOT_CANONICAL_BASE64URL)
    if dots != JWE_DOTS:
        return InvalidToken(Code.MALFORMED_TOKEN, Reason.NOT_THREE_PARTS)
    head, key, *_ = token.split(".")
    try:
        header = _parse_object(_decode(head))
    except InvalidToken:
        header = {}
    # Direct encryption and no key part: the shape Auth0 gives tokens that only its own /userinfo can read.
    if header.get("alg") == "dir" and not key:
        return InvalidToken(Code.OPAQUE_TOKEN, Reason.OPAQUE)
    return InvalidToken(Code.ENCRYPTED_TOKEN, Reason.ENCRYPTED)


def _decode(segment: str) -> bytes:
    """Decode base64url without padding (RFC 7515 section 2); any second spelling of the same bytes is refused."""
    raw = segment.encode("ascii", "replace")
    try:
        data = b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = None
    if data is None or urlsafe_b64encode(data).rstrip(b"=") != raw:
        raise InvalidToken(Code.MALFORMED_TOKEN, Reason.NOT_CANONICAL_BASE64URL)
    return data


def _parse_object(data: bytes) -> Mapping[str, object]:
    try:
        value = parse_json(data)
    except JSONFault as fault:
        raise InvalidToken(Code.MALFORMED_TOKEN, fault.reason) from None
    if not isinstance(value, dict):
        raise InvalidToken(Code.MALFORMED_TOKEN, Reason.NOT_AN_OBJECT)
    return value


def _check_header_form(header: Mapping[str, object]) -> None:
    kid = header.get("kid", "-")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_LENGTH:
        raise InvalidToken(Code.MALFORMED_TOKEN, Reason.KID_NOT_USABLE)


# --- keys -----------------------------------------------------------------------------------------------------------


def parse_jwk(jwk: object, rsa_algorithm: str = "RS256") -> VerificationKey:
    """Make a key of one JWK, bound to one algorithm: its `alg`, else its curve, else `rsa_algorithm`.

    Raises:
        UnusableKey: symmetric, private, weak, for another use, of an unknown kind, or broken.
    """
    if not isinstance(jwk, dict):
        raise UnusableKey("not an object")
    _check_jwk_purpose(jwk)
    algorithm = _bound_algorithm(jwk, rsa_algorithm)
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise UnusableKey("kid is no string")
    public = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}
    _check_jwk_size(public)
    try:
        material = type(_ENGINES[algorithm]).from_jwk(public)
    except Exception:  # noqa: BLE001 - whatever a hostile JWK makes the library raise, the key is unusable
        raise UnusableKey("broken") from None
    if public["kty"] == "RSA" and material.key_size not in RSA_BITS:
        raise UnusableKey("RSA key of a size that is too small or too large")
    return VerificationKey(kid, algorithm, material)


def _check_jwk_purpose(jwk: Mapping[str, object]) -> None:
    if PRIVATE_MEMBERS & jwk.keys():
        raise UnusableKey("private or symmetric")  # a published private key proves nothing about the signer
    if jwk.get("use", "sig") != "sig":  # RFC 7517 section 4.2
        raise UnusableKey("not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:  # RFC 7517 section 4.3
        raise UnusableKey("not for verification")


def _bound_algorithm(jwk: Mapping[str, object], rsa_algorithm: str) -> str:
    """Return the one algorithm of a JWK. `alg` and key type must agree (RFC 8725 section 3.1)."""
    kty, crv, alg = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if alg is not None and not isinstance(alg, str):
        raise UnusableKey("alg is no string")
    stated = None if alg is None else canonical_algorithm(alg)
    if kty == "RSA":
        bound = rsa_algorithm if stated is None else stated
        if bound not in RSA_ALGORITHMS:
            raise UnusableKey("alg does not fit the key type")
        return bound
    natural = CURVE_ALGORITHMS.get((kty, crv)) if isinstance(kty, str) and isinstance(crv, str) else None
    if natural is None or stated not in {None, natural}:
        raise UnusableKey("unknown key type or curve, or alg does not fit it")
    return natural


def _check_jwk_size(public: Mapping[str, object]) -> None:
    """Bound every number before the library computes with it."""
    limits = {"n": 1400, "e": 12, "x": 96, "y": 96}  # characters of base64url; 8192 bits are 1366 of them
    for name, limit in limits.items():
        value = public.get(name, "")
        if not isinstance(value, str) or len(value) > limit:
            raise UnusableKey("a number of unreasonable size")


def secret_key(secret: bytes) -> VerificationKey:
    """Make the HS256 key of an issuer that shares a secret with this API. It has no `kid` and matches any."""
    return VerificationKey(None, "HS256", secret)


def verify(token: UnverifiedToken, key: VerificationKey) -> VerifiedClaims:
    """Verify the signature and return the claims. The key's algorithm is used, the header's is only compared.

    Raises:
        InvalidToken: the signature does not hold, or header and key name different algorithms.
    """
    if token.algorithm != key.algorithm:
        raise InvalidToken(Code.WRONG_ALGORITHM, Reason.ALGORITHM_NOT_ALLOWED)
    if not _ENGINES[key.algorithm].verify(token.signing_input, key.material, token.signature):
        raise InvalidToken(Code.BAD_SIGNATURE, Reason.SIGNATURE_INVALID)
    return VerifiedClaims(token.claims)
