"""What terms can ask about."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["GRANT_KINDS", "NAMED_BY_ISSUER", "Kind", "issuer_words"]


class Kind(StrEnum):
    """What a term asks about."""

    GRANT = "grant"
    """Dialect-neutral: the value is effective."""
    SCOPE = "scope"
    PERMISSION = "permission"
    ROLE = "role"
    GROUP = "group"
    CLAIM = "claim"
    SUBJECT = "subject"
    CLIENT = "client"
    TENANT = "tenant"
    MACHINE = "machine"
    USER = "user"
    CHECK = "check"


GRANT_KINDS = frozenset({Kind.GRANT, Kind.SCOPE, Kind.PERMISSION})
"""What a client can request a scope for."""
NAMED_BY_ISSUER = frozenset({Kind.ROLE, Kind.GROUP, Kind.CLAIM, Kind.SUBJECT, Kind.CLIENT, Kind.TENANT})
"""Names that each issuer gives as it likes: the same one means something else at another."""


def issuer_words(issuer: str | None) -> str:
    """Return the argument of a term that names its issuer."""
    return "" if issuer is None else f", issuer={issuer!r}"
