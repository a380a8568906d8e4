"""How a token reads by the tables of dialects, whether or not it was accepted; and what its grants come to.

A token that nobody verified is read here as if it had been, so that people can look at it. Such a reading is marked as
claimed, and nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..._jose import UnverifiedToken, VerifiedClaims
from ...dialects import AUTH0, RFC9068, Dialect, read_identity, read_token, select_dialect
from ...errors import InvalidToken, Reason
from ...issuers import TrustedIssuer
from ...token import OIDC_SCOPES, AccessToken, GrantRule, GrantSet, IssuerTrust, Source
from ..harmless import json_text

__all__ = [
    "ROWS",
    "GrantLine",
    "Reading",
    "grant_lines",
    "read_claimed",
    "read_verified",
    "why_dialect",
]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of effective grants, by its letter, and why it applies; `machine`: why to a machine."""

    letter: str
    why: str
    machine: str | None = None


ROWS: Mapping[GrantRule, Row] = MappingProxyType(
    {
        GrantRule.NONE_PERMISSIONS_ABSENT: Row(
            "0",
            "In this dialect the user's rights stand in a permissions claim, and this token has none. So it grants "
            "nothing. Switch on RBAC and “Add Permissions in the Access Token” at the authorization server.",
        ),
        GrantRule.SCOPES: Row(
            "a",
            "This dialect has no permissions claim, and the issuer gives a user only the scopes that were assigned "
            "(rbac_enforced=True). So the scopes count.",
            "It belongs to a machine and carries no permissions. Its scopes are what the machine may do, so they "
            "count.",
        ),
        GrantRule.SCOPES_RBAC_UNSTATED: Row(
            "a",
            "This dialect has no permissions claim, so the scopes count. Whether the issuer gives a user only the "
            "scopes that were assigned, nobody has said: state rbac_enforced=True or False.",
        ),
        GrantRule.NONE_RBAC_OFF: Row(
            "a",
            "This dialect has no permissions claim, and the issuer gives a user whatever scopes the client asks for "
            "(rbac_enforced=False). They say nothing about the user, so nothing counts.",
        ),
        GrantRule.BOTH_THIRD_PARTY: Row(
            "b",
            "The client is somebody else's (third-party). So a right counts only where the user has it (permissions) "
            "and the client was granted it, too (scope).",
        ),
        GrantRule.BOTH_CLIENT_UNSTATED: Row(
            "b",
            "Nobody has said whether this client is your own, so it is read as somebody else's: a right counts only "
            "where the user has it (permissions) and the client was granted it, too (scope). If the client is your "
            "own, state first_party_clients= or third_party_clients=.",
        ),
        GrantRule.BOTH_CLIENT_UNNAMED: Row(
            "b", "The token names no client. So a right counts only where it stands in permissions and in scope."
        ),
        GrantRule.BOTH_DELEGATED: Row(
            "b",
            "Somebody acts for the user (act). So a right counts only where the user has it (permissions) and the "
            "client was granted it, too (scope).",
        ),
        GrantRule.EITHER: Row(
            "c",
            "The client is your own (first-party). So what its user may do counts (permissions), and what the client "
            "was granted (scope).",
            "It belongs to a machine, and both claims say what the machine may do. So both count.",
        ),
    }
)
"""Every rule by which grants are made effective."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A token as a dialect reads it. `is_verified`: whether it was accepted; if not, `token` is what it claims to be.

    `others`: dialects that would read it as well, where it is open which one its API is issued.
    """

    token: AccessToken
    dialect: Dialect
    is_verified: bool
    others: tuple[Dialect, ...] = ()

    @property
    def grants(self) -> GrantSet:
        """Every grant, with its source."""
        return self.token.grants

    @property
    def row(self) -> Row:
        """The row that made them effective, or would."""
        return ROWS[self.grants.rule]

    @property
    def why(self) -> str:
        """Why that row applies, for people."""
        return (self.token.is_machine and self.row.machine) or self.row.why


def read_verified(token: AccessToken, trusted: TrustedIssuer) -> Reading:
    """Return the reading of a token that was accepted."""
    dialect = next(dialect for dialect in trusted.settings.dialects if dialect.name == token.dialect)
    return Reading(token, dialect, is_verified=True)


def read_claimed(
    unverified: UnverifiedToken, trusted: TrustedIssuer, *, is_pinned: bool, issuers: Collection[TrustedIssuer]
) -> Reading | InvalidToken:
    """Return how a token would read if it were accepted, or the refusal if no dialect reads it.

    `is_pinned`: whether `trusted` says which dialects are allowed; else every table is tried. `issuers`: all
    that are trusted.
    """
    allowed = [trusted.settings.dialects] if is_pinned else [AUTH0, (RFC9068,)]
    trust = trusted.trust(issuers)
    readings, refusals = [], []
    for dialects in allowed:
        try:
            readings.append(_claimed(unverified, trusted, dialects, trust))
        except InvalidToken as refused:
            refusals.append(refused)
    if not readings:  # what is wrong with a dialect's own token says more than that it is of another type
        return min(refusals, key=lambda refused: refused.reason is Reason.TYPE_NOT_ALLOWED)
    first, *others = readings
    return replace(first, others=tuple(other.dialect for other in others))


def _claimed(
    unverified: UnverifiedToken, trusted: TrustedIssuer, dialects: Collection[Dialect], trust: IssuerTrust
) -> Reading:
    claims = VerifiedClaims(unverified.claims)  # they are not: what comes of it is shown as claimed, and nothing else
    dialect = select_dialect(unverified, claims, dialects)
    token = read_token(
        claims,
        dialect,
        read_identity(claims, dialect),
        trusted.settings.clients,
        rbac_enforced=trusted.rbac_enforced,
        trust=trust,
    )
    return Reading(token, dialect, is_verified=False)


# --- which dialect, and why -------------------------------------------------------------------------------------------


def why_dialect(reading: Reading, header: Mapping[str, object], allowed: Collection[Dialect]) -> Iterator[str]:
    """Yield the facts that tell a token's dialect: its type, the claim that names its client, its permissions."""
    dialect, claims = reading.dialect, reading.token.claims
    yield f"its type (typ) is {json_text(header.get('typ'))}, which this dialect writes"
    yield f"its client is named in {dialect.client_claim}, where this dialect names it"
    yield _about_permissions(dialect, claims)
    if reading.others:
        names = " or ".join(other.name for other in reading.others)
        yield f"it could be {names} as well; which one, is a setting of the API that it is for (say it with --dialect)"
    elif len(allowed) == 1:
        yield "no other dialect is allowed here"


def _about_permissions(dialect: Dialect, claims: Mapping[str, object]) -> str:
    names = " or ".join(".".join(path) for path in dialect.permissions_claims) or "permissions"
    roots = [path[0] for path in dialect.permissions_claims] or ["permissions"]
    is_there = any(name in claims for name in roots)
    if dialect.has_permissions:
        return f"it carries {names}, as this dialect does" if is_there else f"it lacks {names}, which this dialect has"
    return (
        f"it carries {names}, which this dialect does not read"
        if is_there
        else f"it carries no {names}, and needs none"
    )


# --- grants -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GrantLine:
    """One value, the kinds of claim that carry it, whether it is effective (or would be), and a word on why not."""

    value: str
    sources: tuple[Source, ...]
    is_effective: bool
    note: str = ""


def grant_lines(grants: GrantSet) -> Iterator[GrantLine]:
    """Yield every value once, those that count first."""
    sources: dict[str, list[Source]] = {}
    for grant in grants:
        sources.setdefault(grant.value, []).append(grant.source)
    for value in sorted(sources, key=lambda value: (value not in grants, value)):
        yield GrantLine(value, tuple(sources[value]), value in grants, _note(value, sources[value], grants))


def _note(value: str, sources: list[Source], grants: GrantSet) -> str:
    if value in grants:
        return ""
    if not {Source.SCOPE, Source.PERMISSION} & set(sources):
        return "a policy asks for it by role(…) or group(…)"
    if value in OIDC_SCOPES:
        return "asks for identity data, and grants nothing on an API"
    if grants.rule.startswith("both"):
        return f"not in {(Source.PERMISSION if Source.SCOPE in sources else Source.SCOPE).claim}"
    return "does not count, see below"
