"""What an argument may be: small questions that the checks of `issuers.py` ask at start."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ._jose import MIN_SECRET_BYTES
from .dialects import ClaimPath

__all__ = [
    "ClaimNames",
    "as_bytes",
    "claim_paths",
    "collection_faults",
    "is_long_secret",
    "is_number",
]

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
