"""The one engine that reads verified claims by the table of a dialect.

Sources: RFC 9068 section 2.2 and 4, RFC 8725 section 3.11 (explicit types), OpenID Connect Core section 2 (ID tokens).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar, cast

from .._jose import UnverifiedToken, VerifiedClaims
from ..errors import Code, InvalidToken, Reason
from ..token import OIDC_SCOPES, AccessToken, IssuerTrust
from .effective import ClientClasses, effective_grants
from .model import Dialect
from .readers import (
    missing,
    read_actor,
    read_audience,
    read_optional_string,
    read_required_date,
    read_scope,
    read_string,
    read_tenant,
    read_values,
)

V = TypeVar("V", bound=frozenset[str] | None)

__all__ = ["Identity", "check_type", "looks_like_id_token", "read_identity", "read_token", "select_dialect"]


def check_type(token: UnverifiedToken, dialects: Collection[Dialect]) -> None:
    """Refuse a header `typ` that none of the dialects uses (RFC 8725 section 3.11)."""
    if not _of_type(_header_type(token), dialects):
        raise InvalidToken(Code.WRONG_TYPE, Reason.TYPE_NOT_ALLOWED)


def select_dialect(token: UnverifiedToken, claims: VerifiedClaims, dialects: Collection[Dialect]) -> Dialect:
    """Return the one dialect a verified token is written in.

    The type decides; where it leaves several, the claim that names the client; between siblings, whether the
    permissions claim is there.

    Raises:
        InvalidToken: no dialect fits, or more than one does.
    """
    fitting = _of_type(_header_type(token), dialects)
    if len(fitting) > 1:
        fitting = [d for d in fitting if d.client_claim in claims] or fitting
    if len(fitting) > 1:
        carries = any(read_values(claims, d.permissions_claims) is not None for d in fitting)
        fitting = [d for d in fitting if d.has_permissions == carries]
    if len(fitting) != 1:
        raise InvalidToken(Code.WRONG_TYPE, Reason.DIALECT_AMBIGUOUS if fitting else Reason.TYPE_NOT_ALLOWED)
    return fitting[0]


def looks_like_id_token(claims: Mapping[str, object], dialects: Collection[Dialect]) -> bool:
    """Tell whether claims, verified or not, carry marks of an ID token. Used to refuse, never to accept."""
    return any(
        dialect.id_token_marks & claims.keys()
        or (dialect.client_is_no_audience and _is_for_its_client(claims, dialect))
        for dialect in dialects
    )


def _is_for_its_client(claims: Mapping[str, object], dialect: Dialect) -> bool:
    """Tell whether `aud` names the client: an ID token is for who asked for it, an access token is for the API."""
    audience = claims.get("aud")
    values = audience if isinstance(audience, list) else [audience]
    clients = (claims.get(name) for name in (dialect.client_claim, *dialect.other_client_claims))
    return any(client in values for client in clients if isinstance(client, str))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified token speaks for, before anything about rights is read."""

    subject: str
    client_id: str
    is_machine: bool


def read_identity(claims: VerifiedClaims, dialect: Dialect) -> Identity:
    """Read whom the token speaks for, and insist on every claim the dialect requires.

    Raises:
        InvalidToken: the token is an ID token, or a required claim is missing or has the wrong form.
    """
    if looks_like_id_token(claims, [dialect]):
        raise InvalidToken(Code.ID_TOKEN, Reason.ID_TOKEN_MARK)
    for name in sorted(dialect.required_claims - claims.keys()):
        raise missing(name)
    subject = read_string(claims, "sub")
    client_id = _read_client(claims, dialect)
    return Identity(subject, client_id, _is_machine(claims, dialect, subject, client_id))


def read_token(
    claims: VerifiedClaims,
    dialect: Dialect,
    identity: Identity,
    clients: ClientClasses,
    *,
    rbac_enforced: bool | None,
    trust: IssuerTrust,
) -> AccessToken:
    """Read everything else, the grants last. Compares neither issuer, audience nor times with anything.

    `trust` says which grants the issuer may assert; what else a claim holds counts for nothing.

    Raises:
        InvalidToken: a claim is missing or has the wrong form.
    """
    client_id, is_machine, grants = identity.client_id, identity.is_machine, trust.grantable
    return AccessToken(
        issuer=read_string(claims, "iss"),
        subject=identity.subject,
        client_id=client_id,
        audience=read_audience(claims),
        expires_at=read_required_date(claims, "exp"),
        issued_at=read_required_date(claims, "iat"),
        token_id=read_optional_string(claims, "jti"),
        tenant=read_tenant(claims, dialect.tenant_claims),
        actor=read_actor(claims),
        dialect=dialect.name,
        is_machine=is_machine,
        claims=_freeze_object(claims),
        grants=effective_grants(
            has_permissions=dialect.has_permissions,
            scopes=_limited(read_scope(claims, dialect.scope_claim), grants and grants | OIDC_SCOPES),
            permissions=_limited(read_values(claims, dialect.permissions_claims), grants),
            roles=_limited(read_values(claims, dialect.roles_claims) or frozenset(), grants),
            groups=_limited(read_values(claims, dialect.groups_claims) or frozenset(), grants),
            is_machine=is_machine,
            is_delegated="act" in claims,
            restriction=clients.restriction(client_id, dialect.third_party_prefixes, is_machine=is_machine),
            rbac_enforced=rbac_enforced,
        ),
        trust=replace(
            trust,
            grant_claims=dialect.grant_claims,
            unread=dialect.unread,
            permissions_setting=dialect.permissions_setting,
            permissions_dialect=dialect.permissions_dialect,
        ),
    )


def _limited(values: V, grants: frozenset[str] | None) -> V:
    """Return the values an issuer may assert. An absent claim stays absent."""
    return values if values is None or grants is None else cast("V", values & grants)


def _header_type(token: UnverifiedToken) -> str | None:
    typ = token.header.get("typ")
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else None  # RFC 7515 section 4.1.9


def _of_type(typ: str | None, dialects: Collection[Dialect]) -> list[Dialect]:
    return [dialect for dialect in dialects if typ in dialect.types]


def _read_client(claims: VerifiedClaims, dialect: Dialect) -> str:
    client_id = read_string(claims, dialect.client_claim)
    for name in dialect.other_client_claims:
        if read_optional_string(claims, name) not in {None, client_id}:
            raise InvalidToken(Code.INVALID_CLAIM, Reason.CLIENTS_DIFFER, name)
    return client_id


def _is_machine(claims: VerifiedClaims, dialect: Dialect, subject: str, client_id: str) -> bool:
    """Tell whether an application acts for itself. What cannot be told counts as a user: users get fewer rights."""
    grant_type = read_optional_string(claims, "gty") if dialect.machine_grant_type else None
    profile = read_optional_string(claims, "sub_profile") if dialect.machine_profiles else None
    if any(subject == client_id + suffix for suffix in dialect.machine_subject_suffixes):
        return True
    if grant_type is not None:
        return grant_type == dialect.machine_grant_type
    # `sub_profile` is no reserved name at Auth0: an Action may be able to write it into a user's token, so it only
    # speaks where the subject does not look like a user's (`connection|id`).
    return profile in dialect.machine_profiles and "|" not in subject


def _freeze_object(value: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType({name: _freeze(item) for name, item in value.items()})


def _freeze(value: object) -> object:
    if isinstance(value, dict):
        return _freeze_object(value)
    if isinstance(value, list):
        return tuple(_freeze(item) for item in value)
    return value
