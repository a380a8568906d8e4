"""Policies: what a route requires, as immutable values; and decisions, which say why.

`policy.scope("a") & (policy.permission("b") | policy.role("c"))`: terms compose with `&`, `|` and `any_of`. There is no
negation, so more grants never mean less access; what is absent satisfies nothing. Knows `token.py` only.
"""

from __future__ import annotations

from .access import PUBLIC, Access, Public
from .callers import client, machine, subject, tenant, user
from .checks import check
from .claims import PathParam, claim, path_param
from .core import AUTHENTICATED, AllOf, AnyOf, Kind, Policy, Term, all_of, any_of
from .decision import Decision, decide, requestable
from .grants import group, permission, role, scope
from .request import AccessRequest, TokenRequest

__all__ = [
    "AUTHENTICATED",
    "PUBLIC",
    "Access",
    "AccessRequest",
    "AllOf",
    "AnyOf",
    "Decision",
    "Kind",
    "PathParam",
    "Policy",
    "Public",
    "Term",
    "TokenRequest",
    "all_of",
    "any_of",
    "check",
    "claim",
    "client",
    "decide",
    "group",
    "machine",
    "path_param",
    "permission",
    "requestable",
    "role",
    "scope",
    "subject",
    "tenant",
    "user",
]
