"""Why a grant does not count, in one sentence for people. A sentence names what was asked, nothing of the token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .token import GrantRule, GrantSet, Source

__all__ = ["explain_met", "explain_missing"]

_CAUSES: Mapping[GrantRule, str] = {
    GrantRule.BOTH_THIRD_PARTY: "this client is third-party",
    GrantRule.BOTH_CLIENT_UNSTATED: (
        "this client is read as third-party, because neither third_party_clients= nor first_party_clients= is given"
    ),
    GrantRule.BOTH_CLIENT_UNNAMED: "the token names no client and is read as a third party's",
    GrantRule.BOTH_DELEGATED: "the token was delegated on",
    GrantRule.NONE_PERMISSIONS_ABSENT: (
        "the user's token carries no permissions claim; switch on RBAC and “Add Permissions in the Access Token”"
    ),
    GrantRule.NONE_RBAC_OFF: "the issuer does not enforce RBAC, so a user's scope is no entitlement",
}


def explain_met(grants: GrantSet, held: Sequence[str]) -> str:
    """Say that a policy is met by the values `held`, and what was taken for granted with it."""
    if grants.rule is GrantRule.SCOPES_RBAC_UNSTATED and not grants.effective.isdisjoint(held):
        return "the policy is met, by a user's scope: whether that is an entitlement is not said (rbac_enforced=)"
    return "the policy is met"


def explain_missing(asked: str, value: str, sources: Sequence[Source], grants: GrantSet) -> str:
    """Say why `value` does not satisfy what was asked, although `sources` carry it (or because none does)."""
    cause = _CAUSES.get(grants.rule)
    if not sources and grants.rule is GrantRule.NONE_PERMISSIONS_ABSENT:
        return f"{asked} is not granted: {cause}"
    if not sources:
        return f"{asked} is in none of the token's claims"
    if value in grants.effective:
        return f"{asked} is granted, but in {sources[0]} alone"
    if len(sources) == 1 and cause is not None and grants.rule.startswith("both"):
        other = Source.SCOPE if sources[0] is Source.PERMISSION else Source.PERMISSION
        return f"{asked} is in {sources[0]} but not in {other}, and {cause}"
    return f"{asked} is in {sources[0]} but does not count: {cause or 'it grants nothing on an API'}"
