"""Policies: what a route requires, as immutable values; and decisions, which say why.

`policy.scope("a") & (policy.permission("b") | policy.role("c"))`: terms compose with `&`, `|` and `any_of`. There is no
negation, so more grants never mean less access; what is absent satisfies nothing. Knows `token.py` only.
"""

from __future__ import annotations

from .callers import CallerTerm, IdentityTerm, client, machine, subject, tenant, user
from .checks import CheckTerm, check
from .claims import ClaimTerm, PathParam, claim, path_param
from .core import (
    AUTHENTICATED,
    NOTHING_CHECKED,
    PUBLIC,
    Access,
    AllOf,
    Answers,
    AnyOf,
    GrantTerm,
    Kind,
    Policy,
    Public,
    Term,
    all_of,
    any_of,
    make_term,
)
from .decision import Decision, conclude, decide, is_scope_token, requestable, suggest
from .grants import group, permission, role, scope
from .request import AccessRequest, TokenRequest
from .running import run_checks, run_checks_now

__all__ = [
    "AUTHENTICATED",
    "NOTHING_CHECKED",
    "PUBLIC",
    "Access",
    "AccessRequest",
    "AllOf",
    "Answers",
    "AnyOf",
    "CallerTerm",
    "CheckTerm",
    "ClaimTerm",
    "Decision",
    "GrantTerm",
    "IdentityTerm",
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
    "conclude",
    "decide",
    "group",
    "is_scope_token",
    "machine",
    "make_term",
    "path_param",
    "permission",
    "requestable",
    "role",
    "run_checks",
    "run_checks_now",
    "scope",
    "subject",
    "suggest",
    "tenant",
    "user",
]
