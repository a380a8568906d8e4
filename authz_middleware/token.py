"""What a verified token says, as plain immutable data. Nothing in here decides anything but `value in grants`.

Sources: RFC 9068 section 2.2 (claims), RFC 6749 section 3.3 (scope), RFC 8693 section 4.1 (`act`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["OIDC_SCOPES", "AccessToken", "Grant", "GrantRule", "GrantSet", "IssuerTrust", "Source"]

OIDC_SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""Scopes that ask for identity data, not for rights on an API (OpenID Connect Core sections 3.1.2.1, 5.4, 11)."""


class Source(StrEnum):
    """The kind of claim a grant came from."""

    SCOPE = "scope"
    PERMISSION = "permission"
    ROLE = "role"
    GROUP = "group"

    @property
    def claim(self) -> str:
        """What a claim of the kind is called, for people."""
        return self.value if self is Source.SCOPE else f"{self.value}s"


class GrantRule(StrEnum):
    """The row of the table of effective grants that was applied to a token, and why."""

    SCOPES = "scopes"
    """The scope claim alone: the dialect has no permissions, or a machine's token does not carry them."""
    SCOPES_RBAC_UNSTATED = "scopes_rbac_unstated"
    """As `SCOPES`, for a user, while the application has not said whether the issuer enforces RBAC."""
    NONE_RBAC_OFF = "none_rbac_off"
    """Nothing: a user's scope merely echoes the request, says `rbac_enforced=False`."""
    NONE_PERMISSIONS_ABSENT = "none_permissions_absent"
    """Nothing: a user's token in a dialect with permissions does not carry that claim."""
    BOTH_THIRD_PARTY = "both_third_party"
    """Values that stand in both claims: the client is third-party."""
    BOTH_CLIENT_UNSTATED = "both_client_unstated"
    """Values that stand in both claims: the application has not said which clients are third-party."""
    BOTH_CLIENT_UNNAMED = "both_client_unnamed"
    """Values that stand in both claims: the token names no client."""
    BOTH_DELEGATED = "both_delegated"
    """Values that stand in both claims: the token was delegated on (`act`)."""
    EITHER = "either"
    """Values of either claim: a first-party client's user, or a machine."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One value and the kind of claim it came from."""

    value: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantSet:
    """Everything a token was granted, each value with its source, and what of it is effective.

    `scopes`, `permissions`, `roles` and `groups` report the claims and decide nothing. `effective` is what counts;
    `value in grants` asks it, and so answers as `requires(value)` does. `entitlements` are the values that also count
    as permissions: the permissions claim, and a scope where it is an entitlement (a machine's; a user's under RBAC).
    """

    scopes: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    effective: frozenset[str] = frozenset()
    entitlements: frozenset[str] = frozenset()
    rule: GrantRule

    @property
    def is_void(self) -> bool:
        """Whether the row that was applied lets nothing count, whatever the scopes."""
        return self.rule in {GrantRule.NONE_PERMISSIONS_ABSENT, GrantRule.NONE_RBAC_OFF}

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and value in self.effective

    def __iter__(self) -> Iterator[Grant]:
        """Yield every grant of every claim, effective or not, in a stable order."""
        for source, values in (
            (Source.SCOPE, self.scopes),
            (Source.PERMISSION, self.permissions),
            (Source.ROLE, self.roles),
            (Source.GROUP, self.groups),
        ):
            for value in sorted(values):
                yield Grant(value, source)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerTrust:
    """What the application trusted a token's issuer with when it was accepted. Policies ask it, and say why by it.

    Attributes:
        among_several: whether other issuers are trusted, too: then each of them may give the same names.
        tenants_listed: whether it is trusted for certain tenants only (`tenants=`), for which no other issuer is.
        grantable: the grants it may assert (`grants=`); None: any.
        grant_claims: the claims that grants were read from, as paths.
        unread: the kinds of grants that no claim is read for.
        permissions_setting: what makes the issuer write permissions, for people; None: that is not known.
        permissions_dialect: the dialect that is like the token's, but has permissions; None: there is none.
    """

    among_several: bool = False
    tenants_listed: bool = False
    grantable: frozenset[str] | None = None
    grant_claims: frozenset[tuple[str, ...]] = frozenset()
    unread: frozenset[Source] = frozenset()
    permissions_setting: str | None = None
    permissions_dialect: str | None = None

    def may_grant(self, value: str) -> bool:
        """Tell whether the issuer may assert a grant."""
        return self.grantable is None or value in self.grantable


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A validated access token. Times are epoch seconds; `claims` is the whole payload, deeply read-only.

    Attributes:
        issuer: `iss`, exactly as configured.
        subject: `sub`. Unique only together with the issuer: see `identity`.
        client_id: the client the token was issued to; None where the dialect names none.
        audience: every value of `aud`.
        expires_at: `exp`. issued_at: `iat`. Both in seconds since the epoch.
        token_id: `jti`, if any.
        tenant: the organization the token was issued in, if any.
        actor: outermost `act.sub` of a delegated token, if any (RFC 8693 section 4.1).
        dialect: name of the table the token was read with.
        is_machine: whether the token belongs to an application instead of a user. Unknown counts as user.
        grants: the grants with their sources.
        trust: what its issuer was trusted with; a token made by hand is its only issuer's. Says nothing of who it is.
    """

    issuer: str
    subject: str
    client_id: str | None
    audience: tuple[str, ...]
    expires_at: float
    issued_at: float
    token_id: str | None
    tenant: str | None
    actor: str | None
    dialect: str
    is_machine: bool
    claims: Mapping[str, object] = field(repr=False, hash=False)
    grants: GrantSet
    trust: IssuerTrust = field(default=IssuerTrust(), repr=False, compare=False)

    @property
    def identity(self) -> tuple[str, str]:
        """The pair (issuer, subject): the only thing that tells two callers apart (RFC 9068 section 5)."""
        return (self.issuer, self.subject)
