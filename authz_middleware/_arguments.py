"""What arguments of an issuer may be: small questions, and sentences that say what to write instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from ._jose import MIN_SECRET_BYTES
from .dialects import ClaimPath
from .keys.urls import check_url

__all__ = [
    "ClaimNames",
    "as_bytes",
    "audience_faults",
    "claim_paths",
    "collection_faults",
    "is_long_secret",
    "is_number",
    "issuer_faults",
    "own_apis",
]

FOREIGN_AUDIENCES = ("userinfo", "api/v2/", "api/v2")

ClaimNames = str | ClaimPath | list[str | ClaimPath]
"""Claims whose name the application chooses: a string is one literal name, a tuple a path, a list several of either."""


def collection_faults(name: str, value: object, *, may_be_empty: bool = True) -> list[str]:
    """Return the faults of a collection of strings: empty, or sentences that say what to write. None is no fault."""
    if value is None:
        return []
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        return [f"{name} is a collection of strings; write {name}=[…], with brackets"]
    if not all(isinstance(item, str) and item for item in value):
        return [f"{name} must hold non-empty strings only"]
    return [] if value or may_be_empty else [f"{name} must not be empty; name one or leave {name} out"]


def own_apis(issuer: str) -> frozenset[str]:
    """Return the audiences that are APIs of an authorization server itself."""
    return frozenset(issuer.rstrip("/") + "/" + path for path in FOREIGN_AUDIENCES)


def issuer_faults(issuer: str) -> list[str]:
    """Return what is wrong with the `iss` of an issuer."""
    if not isinstance(issuer, str) or not issuer:
        return ["issuer is missing; write the `iss` of your tokens, such as https://acme.eu.auth0.com/"]
    faults = check_url(issuer, "issuer")
    if not faults and urlsplit(issuer).query:
        faults.append("issuer must not contain a query (RFC 8414 section 2); write it without")
    return faults


def audience_faults(issuer: str, audience: str | Collection[str]) -> list[str]:
    """Return what is wrong with the audience of an API, given its issuer."""
    if audience is None or (isinstance(audience, Collection) and not audience):
        return ["audience is missing; write the identifier of this API, such as https://orders.acme.example/"]
    if isinstance(audience, str):
        audience = [audience]
    faults = collection_faults("audience", audience)
    if not faults and isinstance(issuer, str) and own_apis(issuer) & set(audience):
        faults.append(
            "audience is an API of the authorization server itself (/userinfo or the Management API), whose "
            "tokens are not meant for you; write the identifier of this API"
        )
    return faults


def claim_paths(names: ClaimNames) -> tuple[ClaimPath, ...]:
    """Return the paths an application wrote: a string is one literal name, a tuple is a path."""
    return tuple((name,) if isinstance(name, str) else name for name in (names if isinstance(names, list) else [names]))


def is_number(value: object) -> bool:
    """Tell whether this is a number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_long_secret(secret: object) -> bool:
    """Tell whether this is a secret long enough for HS256 (RFC 7518 section 3.2)."""
    return isinstance(secret, str | bytes) and len(as_bytes(secret)) >= MIN_SECRET_BYTES


def as_bytes(secret: str | bytes) -> bytes:
    """Return the bytes of a secret; issuers print theirs as text."""
    return secret.encode() if isinstance(secret, str) else secret
