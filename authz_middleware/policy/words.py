"""Why a term is met or not, in one sentence for people who never read an RFC.

A sentence names what was asked, which is the application's own text; nothing of the token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..token import OIDC_SCOPES, AccessToken, GrantRule, Source
from .callers import IdentityTerm
from .claims import ClaimTerm
from .core import GRANT_KINDS, Answers, Kind, Term
from .mismatches import why_no_match
from .request import AccessRequest

__all__ = ["why_met", "why_not"]

RESTRICTED: Mapping[GrantRule, str] = {
    GrantRule.BOTH_THIRD_PARTY: "this client is third-party, so only what stands in both counts",
    GrantRule.BOTH_CLIENT_UNSTATED: (
        "this client is read as third-party, because nobody said that it is not (if it is your own, say so with "
        "third_party_clients=, an empty set if there are none)"
    ),
    GrantRule.BOTH_DELEGATED: ("the token was passed on to another service (act), so only what stands in both counts"),
}
"""Why a value must stand in both claims."""
LIMITED = frozenset({GrantRule.BOTH_THIRD_PARTY, GrantRule.BOTH_DELEGATED})
"""Where that is meant so, and a scope that is no permission is one that the user does not have."""


def why_met(request: AccessRequest, held: Iterable[Term]) -> str:
    """Say that a policy is met by what is `held`, and what was taken for granted with it."""
    grants = request.token.grants
    values = [term.value for term in held if term.kind in GRANT_KINDS]
    if grants.rule is GrantRule.SCOPES_RBAC_UNSTATED and not grants.effective.isdisjoint(values):
        return "the policy is met, by a user's scope: whether that is an entitlement is not said (rbac_enforced=)"
    return "the policy is met"


def why_not(term: Term, request: AccessRequest, checked: Answers) -> str:
    """Say why a term is not met. `checked` is what checks answered."""
    token = request.token
    if term.issuer is not None and term.issuer != token.issuer:
        return f"{term!r} asks about another issuer's tokens"
    if term.lacks_issuer(token.trust):
        more = ", or limit each issuer to tenants of its own with tenants=" if term.kind is Kind.TENANT else ""
        return f"{term!r} does not say whose: several issuers are trusted, so write issuer={more}"
    match term.kind:
        case Kind.ROLE | Kind.GROUP:
            return _why_no_name(term, token)
        case Kind.CHECK:
            return _why_no_answer(term, checked)
        case Kind.MACHINE:
            return "the caller is a user, not a machine"
        case Kind.USER:
            return "the caller is a machine, not a user"
    if isinstance(term, ClaimTerm) and term.path in token.trust.grant_claims:
        return (
            f"{term!r} reads a claim that carries grants, and not every value there counts; write requires(…), "
            "policy.permission(…), policy.role(…) or policy.group(…)"
        )
    if isinstance(term, ClaimTerm | IdentityTerm):
        return f"{term!r} does not hold: {why_no_match(term, request)}"
    if term.value in OIDC_SCOPES:
        return f"{term!r} is not in scope: the client did not ask for it"
    return _why_no_grant(term, token)


def _why_no_answer(term: Term, checked: Answers) -> str:
    if term not in checked:
        return f"{term!r} was not asked"
    if checked[term] is None:
        return f"{term!r} has to be awaited, and was asked where nothing can be: in a sync function, or by allows(…)"
    return f"{term!r} did not return True"


def _why_no_name(term: Term, token: AccessToken) -> str:
    """Say why a role or a group is not there."""
    if Source(term.kind) in token.trust.unread:
        return f"{term!r} is not granted: no claim is read for {term.kind}s; name it in {term.kind}s_claims="
    if not token.trust.may_grant(term.value):
        return _barred(term)
    return f"{term!r} is not among the token's {term.kind}s"


# --- grants -----------------------------------------------------------------------------------------------------------


def _why_no_grant(term: Term, token: AccessToken) -> str:
    """Say who left a value out, or why it does not count although a claim carries it."""
    sources = term.sources(token)
    if not token.trust.may_grant(term.value):
        return _barred(term)
    if token.grants.is_void:
        is_there = "is in scope but does not count" if sources else "is not granted"
        return f"{term!r} {is_there}: {_why_void(token)}"
    if not sources:
        return _why_absent(term, token)
    if term.value in token.grants.effective:
        return _why_elsewhere(term, token)
    return _why_restricted(term, sources[0], token)


def _why_absent(term: Term, token: AccessToken) -> str:
    """Say who did not grant a value."""
    if token.is_machine:
        return f"{term!r} is not granted: the authorization server did not give it to this machine"
    if token.grants.rule in {GrantRule.SCOPES, GrantRule.SCOPES_RBAC_UNSTATED}:
        return (
            f"{term!r} is not in scope: the client did not ask for it, or the user does not have it; "
            f"{_how_permissions_count(token)}"
        )
    return f"{term!r} is neither in scope nor in permissions: the user does not have it"


def _why_elsewhere(term: Term, token: AccessToken) -> str:
    """Say why a value counts, but not as what was asked."""
    if term.kind is Kind.SCOPE and token.is_machine:
        return f"{term!r} is in permissions alone: the machine has it, but not as a scope"
    if term.kind is Kind.SCOPE:
        return f"{term!r} is in permissions alone: the user has it, but the client did not ask for this scope"
    if token.grants.rule is GrantRule.SCOPES_RBAC_UNSTATED:
        return f"{term!r} is in scope, and whether a user's scope is an entitlement is not said (rbac_enforced=)"
    return f"{term!r} is in scope alone: the client asked for it, but the user does not have this permission"


def _why_restricted(term: Term, source: Source, token: AccessToken) -> str:
    """Say which of the two claims a value is missing from, and why it must stand in both."""
    rule = token.grants.rule
    is_delegated = "act" in token.claims
    if source is Source.SCOPE and not token.is_machine and (is_delegated or rule in LIMITED):
        return f"{term!r} is in scope but not in permissions: the client asked for it, but the user does not have it"
    why = RESTRICTED.get(rule, "only what stands in both counts")
    if is_delegated and rule is GrantRule.BOTH_CLIENT_UNSTATED:
        why = f"{RESTRICTED[GrantRule.BOTH_DELEGATED]}; third_party_clients= alone would not change that"
    other = Source.SCOPE if source is Source.PERMISSION else Source.PERMISSION
    return f"{term!r} is in {source.claim} but not in {other.claim}, and {why}"


def _how_permissions_count(token: AccessToken) -> str:
    """Say what to change where the dialect a token is read by has no permissions."""
    dialect, setting = token.trust.permissions_dialect, token.trust.permissions_setting
    if "permissions" in token.claims and dialect is not None:
        return (
            f"the token carries permissions, but dialects= says not to read them; if they should count, allow {dialect}"
        )
    turn = "name their claim in permissions_claims=" if setting is None else f"switch on {setting}"
    if "permissions" in token.claims:
        return f"the token carries permissions, but no claim is read for them; if they should count, {turn}"
    return f"tokens of this dialect have no permissions, so if those should count, {turn}"


def _why_void(token: AccessToken) -> str:
    """Say why nothing of a user's token counts."""
    if token.grants.rule is GrantRule.NONE_PERMISSIONS_ABSENT:
        setting = token.trust.permissions_setting
        write = "let the authorization server write the claim that permissions_claims= names"
        turn = write if setting is None else f"switch on {setting}"
        return f"the user's token carries no permissions, though its dialect has them; {turn}"
    more = f"; {_how_permissions_count(token)}" if "permissions" in token.claims else ""
    return f"rbac_enforced=False says that a client gets whatever scope it asks for, so it proves no right{more}"


def _barred(term: Term) -> str:
    """Say that an issuer may not assert a value."""
    return f"{term!r} does not count in this issuer's tokens: it is not among its grants="
