"""Auth0's four token dialects (a setting of each API, `token_dialect`).

Source: Auth0 documentation, "Access token profiles", "Enable Role-Based Access Control for APIs", "Organizations:
using tokens", "Third-party applications", "Agent identity in tokens".
"""

from __future__ import annotations

from dataclasses import replace

from .model import Dialect

__all__ = ["ACCESS_TOKEN", "ACCESS_TOKEN_AUTHZ", "AUTH0", "RFC9068_PROFILE", "RFC9068_PROFILE_AUTHZ"]

ACCESS_TOKEN = Dialect(
    name="access_token",
    types=frozenset({"jwt"}),
    client_claim="azp",
    other_client_claims=("client_id",),
    tenant_claims=(("org_id",),),
    machine_subject_suffixes=("@clients", ""),
    machine_grant_type="client-credentials",
    machine_profiles=frozenset({"service", "ai_agent"}),
    third_party_prefixes=("tpc_",),
    algorithms=frozenset({"RS256", "PS256"}),
    permissions_setting="RBAC and “Add Permissions in the Access Token” for this API at the authorization server",
    permissions_dialect="access_token_authz",
)

RFC9068_PROFILE = replace(
    ACCESS_TOKEN,
    name="rfc9068_profile",
    types=frozenset({"at+jwt"}),
    client_claim="client_id",
    other_client_claims=("azp",),
    required_claims=frozenset({"jti"}),
    machine_grant_type=None,  # this profile writes no `gty`
    permissions_dialect="rfc9068_profile_authz",
)

_PERMISSIONS = (("permissions",),)

ACCESS_TOKEN_AUTHZ = replace(ACCESS_TOKEN, name="access_token_authz", permissions_claims=_PERMISSIONS)
RFC9068_PROFILE_AUTHZ = replace(RFC9068_PROFILE, name="rfc9068_profile_authz", permissions_claims=_PERMISSIONS)

AUTH0 = (ACCESS_TOKEN, ACCESS_TOKEN_AUTHZ, RFC9068_PROFILE, RFC9068_PROFILE_AUTHZ)
"""All four: one tenant can write each of them, one API writes one at a time."""
