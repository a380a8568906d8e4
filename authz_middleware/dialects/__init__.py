"""Access-token dialects: tables of facts, one engine that reads them, and the rule for effective grants."""

from __future__ import annotations

from .auth0 import ACCESS_TOKEN, ACCESS_TOKEN_AUTHZ, AUTH0, RFC9068_PROFILE, RFC9068_PROFILE_AUTHZ
from .effective import ClientClasses, effective_grants
from .engine import check_type, looks_like_id_token, read_identity, read_token, select_dialect
from .model import ClaimPath, Dialect
from .rfc9068 import RFC9068

__all__ = [
    "ACCESS_TOKEN",
    "ACCESS_TOKEN_AUTHZ",
    "AUTH0",
    "DIALECTS",
    "RFC9068",
    "RFC9068_PROFILE",
    "RFC9068_PROFILE_AUTHZ",
    "ClaimPath",
    "ClientClasses",
    "Dialect",
    "check_type",
    "effective_grants",
    "looks_like_id_token",
    "read_identity",
    "read_token",
    "select_dialect",
]

DIALECTS = {dialect.name: dialect for dialect in (*AUTH0, RFC9068)}
"""Every dialect that can be named by a string."""
