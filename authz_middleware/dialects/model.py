"""What a dialect is: a frozen table saying where a provider writes what. No code of a provider lives anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from ..token import Source

__all__ = ["ClaimPath", "Dialect"]

ClaimPath = tuple[str, ...]
"""Member names from the top of the payload down to a claim. A literal name, dots and all, is a path of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where one kind of access token carries what, and what tells it from its neighbours.

    Attributes:
        name: what `AccessToken.dialect` will say.
        types: allowed header `typ`, lower case, without the `application/` prefix (RFC 7515 section 4.1.9).
        client_claim: the required claim that names the client.
        other_client_claims: claims that, where present, must name the same client.
        scope_claim: the claim with the scopes, a string or an array of strings.
        permissions_claims: claims with the permissions, arrays of strings; empty: the dialect has none.
        roles_claims: claims with roles, arrays of strings. groups_claims: claims with groups, the same.
        tenant_claims: claims with the tenant, a string; the first found counts.
        required_claims: claims without which a token is refused, besides those the engine reads anyway.
        machine_subject_suffixes: a token whose `sub` is the client id and one of these is a machine's.
        machine_grant_type: the value of `gty` that means a machine; None: `gty` is not read.
        machine_profiles: values of `sub_profile` that mean a machine where nothing else speaks; empty: not read.
        third_party_prefixes: client ids that begin so are always third-party.
        id_token_marks: claims that no access token of this dialect carries and ID tokens do.
        client_is_no_audience: whether `aud` naming the client marks an ID token, too.
        algorithms: the algorithms the provider can sign this dialect with.
        permissions_setting: for people, what is to be switched on so that the provider writes permissions.
        permissions_dialect: the name of the dialect that is like this one, but has permissions.
    """

    name: str
    types: frozenset[str]
    client_claim: str
    other_client_claims: tuple[str, ...] = ()
    scope_claim: str = "scope"
    permissions_claims: tuple[ClaimPath, ...] = ()
    roles_claims: tuple[ClaimPath, ...] = ()
    groups_claims: tuple[ClaimPath, ...] = ()
    tenant_claims: tuple[ClaimPath, ...] = ()
    required_claims: frozenset[str] = frozenset()
    machine_subject_suffixes: tuple[str, ...] = ("",)
    machine_grant_type: str | None = None
    machine_profiles: frozenset[str] = frozenset()
    third_party_prefixes: tuple[str, ...] = ()
    id_token_marks: frozenset[str] = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
    client_is_no_audience: bool = True
    algorithms: frozenset[str] | None = None
    permissions_setting: str | None = None
    permissions_dialect: str | None = None

    @property
    def has_permissions(self) -> bool:
        """Whether tokens of this dialect carry permissions at all."""
        return bool(self.permissions_claims)

    @property
    def unread(self) -> frozenset[Source]:
        """The kinds of grants that no claim is read for. Scopes are always read."""
        read = {
            Source.PERMISSION: self.permissions_claims,
            Source.ROLE: self.roles_claims,
            Source.GROUP: self.groups_claims,
        }
        return frozenset(source for source, claims in read.items() if not claims)

    @property
    def grant_claims(self) -> frozenset[ClaimPath]:
        """Every claim that grants are read from."""
        own = ((self.scope_claim,), *self.permissions_claims, *self.roles_claims, *self.groups_claims)
        return frozenset(own)
