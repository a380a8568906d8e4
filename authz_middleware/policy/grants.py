"""Making terms that ask for grants. A dialect-neutral one is a string: `requires("x")`, `any_of("x", "y")`."""

from __future__ import annotations

from .core import Kind, Policy, make_term

__all__ = ["group", "permission", "role", "scope"]


def scope(value: str) -> Policy:
    """Require `value` to be effective and in the scope claim. An OIDC scope such as `openid`: in the claim."""
    return make_term(Kind.SCOPE, value, "policy.scope")


def permission(value: str) -> Policy:
    """Require `value` to be effective and an entitlement: in permissions, or a scope that counts as one.

    A machine's scopes count as entitlements, and a user's where the issuer enforces RBAC. May contain spaces.
    """
    return make_term(Kind.PERMISSION, value, "policy.permission")


def role(value: str, *, issuer: str | None = None) -> Policy:
    """Require a role, from the claims that `TrustedIssuer(roles_claims=…)` names. May contain spaces.

    With several trusted issuers, `issuer` says whose roles are meant.
    """
    return make_term(Kind.ROLE, value, "policy.role", issuer)


def group(value: str, *, issuer: str | None = None) -> Policy:
    """Require a group, from the claims that `TrustedIssuer(groups_claims=…)` names; as `role` in all else."""
    return make_term(Kind.GROUP, value, "policy.group", issuer)
