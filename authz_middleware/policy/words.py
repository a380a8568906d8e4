"""Why a term is met or not, in one sentence for people who never read an RFC.

A sentence names what was asked, which is the application's own text; nothing of the token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..token import OIDC_SCOPES, AccessToken, GrantRule, GrantSet, Source
from .core import GRANT_KINDS, AccessRequest, Kind, Term

__all__ = ["why_met", "why_not"]

_CAUSES: Mapping[GrantRule, str] = {
    GrantRule.BOTH_THIRD_PARTY: "this client is third-party",
    GrantRule.BOTH_CLIENT_UNSTATED: (
        "this client is read as third-party, because neither third_party_clients= nor first_party_clients= is given "
        "(if it is your own: say third_party_clients=…, an empty set if there are none)"
    ),
    GrantRule.BOTH_CLIENT_UNNAMED: "the token names no client and is read as a third party's",
    GrantRule.BOTH_DELEGATED: "the token was delegated on",
    GrantRule.NONE_PERMISSIONS_ABSENT: (
        "the user's token carries no permissions claim, though its dialect has one; switch on RBAC and “Add "
        "Permissions in the Access Token” at the authorization server"
    ),
    GrantRule.NONE_RBAC_OFF: "the issuer does not enforce RBAC, so a user's scope is no entitlement",
}


def why_met(request: AccessRequest, held: Iterable[Term]) -> str:
    """Say that a policy is met by what is `held`, and what was taken for granted with it."""
    grants = request.token.grants
    values = [term.value for term in held if term.kind in GRANT_KINDS]
    if grants.rule is GrantRule.SCOPES_RBAC_UNSTATED and not grants.effective.isdisjoint(values):
        return "the policy is met, by a user's scope: whether that is an entitlement is not said (rbac_enforced=)"
    return "the policy is met"


def why_not(term: Term, request: AccessRequest) -> str:
    """Say why a term is not met."""
    if term.issuer is not None and term.issuer != request.token.issuer:
        return f"{term!r} asks about tokens of another issuer than this one's"
    if term.needs_issuer and term.issuer is None and request.trusts_several:
        return f"{term!r} does not say whose: several issuers are trusted, so write issuer="
    match term.kind:
        case Kind.ROLE | Kind.GROUP:
            return f"{term!r} is not among the token's {term.kind}s"
        case Kind.CHECK:
            return f"{term!r} did not return True"
        case Kind.MACHINE:
            return "the caller is a user, and only machines may call this"
        case Kind.USER:
            return "the caller is a machine, and only users may call this"
        case Kind.CLAIM | Kind.SUBJECT | Kind.CLIENT | Kind.TENANT:
            return f"{term!r} does not hold for this token"
    if term.value in OIDC_SCOPES:
        return f"{term!r} is not in the scope claim"
    return _why_no_grant(term, request.token)


def _why_no_grant(term: Term, token: AccessToken) -> str:
    """Say why a value does not count although claims carry it, or that none does and who left it out."""
    grants, sources = token.grants, term.sources(token)
    asked, cause = repr(term), _CAUSES.get(grants.rule)
    if not sources:
        return _why_absent(asked, token, cause)
    if term.value in grants.effective:
        return f"{asked} is granted, but in {sources[0]} alone{_hint_on_entitlement(term, grants)}"
    if len(sources) == 1 and cause is not None and grants.rule.startswith("both"):
        other = Source.SCOPE if sources[0] is Source.PERMISSION else Source.PERMISSION
        return f"{asked} is in {sources[0]} but not in {other}, and {cause}"
    return f"{asked} is in {sources[0]} but does not count: {cause or 'it grants nothing on an API'}"


def _why_absent(asked: str, token: AccessToken, cause: str | None) -> str:
    rule = token.grants.rule
    if rule is GrantRule.NONE_PERMISSIONS_ABSENT:
        return f"{asked} is not granted: {cause}"
    if rule in {GrantRule.SCOPES, GrantRule.SCOPES_RBAC_UNSTATED} and not token.is_machine:
        return (
            f"{asked} is not in scope: the client did not request it, or RBAC did not grant it to the user; this "
            "dialect has no permissions claim, so if the user's permissions should count, switch on “Add Permissions "
            "in the Access Token” at the authorization server"
        )
    return f"{asked} is in none of the token's claims"


def _hint_on_entitlement(term: Term, grants: GrantSet) -> str:
    if term.kind is Kind.PERMISSION and grants.rule is GrantRule.SCOPES_RBAC_UNSTATED:
        return "; whether a user's scope is an entitlement is not said (rbac_enforced=)"
    return ""
