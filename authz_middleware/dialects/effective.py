"""Effective grants: what of a token's scopes and permissions counts.

A scope limits what an application may do on a user's behalf (RFC 6749 section 3.3); a permission is what the user is
entitled to. A union would let a third-party client use rights it was never granted, one claim alone breaks half of
the tokens. The table, first row that fits; in (b) and (c) an absent claim counts as empty:

    (0) the dialect has permissions, the token is a user's, the claim is absent      none
    (a) the dialect has no permissions, or a machine's token does not carry them     scopes
    (b) third-party client, or the token was delegated on                            values in both claims
    (c) everything else                                                              values in either claim
"""

from __future__ import annotations

from dataclasses import dataclass

from ..token import OIDC_SCOPES, GrantRule, GrantSet

__all__ = ["ClientClasses", "effective_grants"]


@dataclass(frozen=True, slots=True)
class ClientClasses:
    """Which clients are third-party. No token says so, hence the application does; unsaid fails closed.

    `third_party` lists them (an empty set: there are none), `first_party` lists all others; at most one is given.
    `third_party_prefixes` begin the ids of clients that are third-party whatever the lists say.
    """

    third_party: frozenset[str] | None = None
    first_party: frozenset[str] | None = None

    def restriction(self, client_id: str | None, prefixes: tuple[str, ...], *, is_machine: bool) -> GrantRule | None:
        """Return why a client's tokens are limited to values in both claims, or None if they are not."""
        if client_id is None:
            return GrantRule.BOTH_CLIENT_UNNAMED
        if client_id.startswith(prefixes):
            return GrantRule.BOTH_THIRD_PARTY
        if self.third_party is not None:
            return GrantRule.BOTH_THIRD_PARTY if client_id in self.third_party else None
        if self.first_party is not None:
            return None if client_id in self.first_party else GrantRule.BOTH_THIRD_PARTY
        return None if is_machine else GrantRule.BOTH_CLIENT_UNSTATED


def effective_grants(
    *,
    has_permissions: bool,
    scopes: frozenset[str],
    permissions: frozenset[str] | None,
    roles: frozenset[str],
    groups: frozenset[str] = frozenset(),
    is_machine: bool,
    is_delegated: bool,
    restriction: GrantRule | None,
    rbac_enforced: bool | None,
) -> GrantSet:
    """Apply the table to one token. `permissions` is None where the claim is absent, `restriction` a reason for (b)."""
    rule = _choose_rule(
        has_permissions=has_permissions,
        claim_absent=permissions is None,
        is_machine=is_machine,
        is_delegated=is_delegated,
        restriction=restriction,
        rbac_enforced=rbac_enforced,
    )
    held = permissions or frozenset()
    return GrantSet(
        scopes=scopes,
        permissions=held,
        roles=roles,
        groups=groups,
        effective=_apply(rule, scopes, held) - OIDC_SCOPES,
        entitlements=held | scopes if is_machine or (not has_permissions and rbac_enforced) else held,
        rule=rule,
    )


def _choose_rule(
    *,
    has_permissions: bool,
    claim_absent: bool,
    is_machine: bool,
    is_delegated: bool,
    restriction: GrantRule | None,
    rbac_enforced: bool | None,
) -> GrantRule:
    if has_permissions and claim_absent and not is_machine:  # (0)
        return GrantRule.NONE_PERMISSIONS_ABSENT
    if not has_permissions or claim_absent:  # (a)
        if is_machine or rbac_enforced:
            return GrantRule.SCOPES
        return GrantRule.SCOPES_RBAC_UNSTATED if rbac_enforced is None else GrantRule.NONE_RBAC_OFF
    if restriction is not None:  # (b)
        return restriction
    return GrantRule.BOTH_DELEGATED if is_delegated else GrantRule.EITHER  # (b), (c)


def _apply(rule: GrantRule, scopes: frozenset[str], permissions: frozenset[str]) -> frozenset[str]:
    match rule:
        case GrantRule.NONE_PERMISSIONS_ABSENT | GrantRule.NONE_RBAC_OFF:
            return frozenset()
        case GrantRule.SCOPES | GrantRule.SCOPES_RBAC_UNSTATED:
            return scopes
        case GrantRule.EITHER:
            return scopes | permissions
        case _:
            return scopes & permissions
