"""`TrustedIssuer`: everything an application says about one authorization server and the API's audience there.

Sources: RFC 8725 sections 3.8 and 3.9 (issuer, audience), RFC 8414 section 2 (issuer syntax).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from itertools import combinations
from typing import Self, TypedDict, Unpack

from ._arguments import (
    ClaimNames,
    as_bytes,
    audience_faults,
    collection_faults,
    is_long_secret,
    is_number,
    issuer_faults,
)
from ._claims import named_claim_faults, with_named_claims
from ._jose import ALGORITHMS, MIN_SECRET_BYTES, canonical_algorithm
from .dialects import AUTH0, DIALECTS, ClientClasses, Dialect
from .errors import ConfigurationError
from .keys import Fetch, KeySettings, KeySource, RemoteJWKS, SecretKey, StaticJWKS, check_url, is_key_source
from .keys.clients import FETCH_FAULT, AsyncClient, is_fetch
from .token import IssuerTrust

__all__ = ["ClaimNames", "TrustedIssuer"]

MAX_LEEWAY = 300
"""Paths below an issuer that are APIs of the authorization server itself: /userinfo, and Auth0's Management API."""


class IssuerOptions(TypedDict, total=False):
    """The keyword arguments that presets pass on to `TrustedIssuer`."""

    dialects: Collection[str | Dialect]
    jwks_uri: str | None
    keys: Mapping[str, object] | KeySource | None
    secret: str | bytes | None
    algorithms: Collection[str] | None
    leeway: float
    third_party_clients: Collection[str] | None
    first_party_clients: Collection[str] | None
    rbac_enforced: bool | None
    tenants: Collection[str] | None
    roles_claims: ClaimNames | None
    permissions_claims: ClaimNames | None
    tenant_claims: ClaimNames | None
    groups_claims: ClaimNames | None
    grants: Collection[str] | None
    fetch: Fetch | AsyncClient | None
    key_settings: KeySettings | None


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of a `TrustedIssuer` in the one form validation reads."""

    audiences: frozenset[str]
    dialects: tuple[Dialect, ...]
    algorithms: frozenset[str]
    clients: ClientClasses
    tenants: frozenset[str] | None
    grants: frozenset[str] | None


@dataclass(frozen=True, eq=False)
class TrustedIssuer:
    """One authorization server this API accepts access tokens from, and for which audience.

    Two of them may share `issuer` if their audiences are disjoint. Every fault is reported at once.

    Args:
        issuer: compared with `iss` character by character: mind the slash at its end.
        audience: this API's identifier, or a collection of them.
        dialects: the dialects tokens may be written in: names or `Dialect` tables. Pin them to what the API issues.
        jwks_uri: the key endpoint; without it, it is discovered through the issuer's metadata.
        keys: a JWKS document or a `KeySource`, in place of an endpoint.
        secret: the HS256 signing secret, at least 32 bytes; then there are no other keys and no other algorithm.
        algorithms: what the issuer may sign with; default: what the dialects allow.
        leeway: seconds of clock difference allowed, 0 to 300.
        third_party_clients: client ids that are third-party; an empty set states that there are none.
        first_party_clients: client ids that are first-party; every other client is third-party.
        rbac_enforced: whether, in dialects without permissions, the issuer limits a user's scope to what the user was
            assigned. False: a user's token then grants nothing. None: accepted, with a warning at start.
        tenants: the organizations let in; None: all, and tokens without one.
        roles_claims: claims with roles, see `ClaimNames`. permissions_claims: claims with permissions, in place of the
            dialect's. tenant_claims: claims with the tenant, in place of the dialect's. groups_claims: claims with
            groups.
        grants: the scopes, permissions, roles and groups this issuer may assert; what else it writes counts for
            nothing. None: any.
        fetch: how keys and metadata are fetched: an `httpx.AsyncClient`, an `httpx2.AsyncClient`, or an async callable
            `(url, headers) -> keys.Fetched`. A client is not closed, and serves the event loop it was made for.
        key_settings: the numbers of key sourcing, see `keys.KeySettings`.

    Raises:
        ConfigurationError: with every fault found.
    """

    issuer: str
    audience: str | Collection[str]
    _: KW_ONLY
    dialects: Collection[str | Dialect] = ("rfc9068",)
    jwks_uri: str | None = None
    keys: Mapping[str, object] | KeySource | None = field(default=None, repr=False)
    secret: str | bytes | None = field(default=None, repr=False)
    algorithms: Collection[str] | None = None
    leeway: float = 30
    third_party_clients: Collection[str] | None = None
    first_party_clients: Collection[str] | None = None
    rbac_enforced: bool | None = None
    tenants: Collection[str] | None = None
    roles_claims: ClaimNames | None = None
    permissions_claims: ClaimNames | None = None
    tenant_claims: ClaimNames | None = None
    groups_claims: ClaimNames | None = None
    grants: Collection[str] | None = None
    fetch: Fetch | AsyncClient | None = field(default=None, repr=False)
    key_settings: KeySettings | None = None
    settings: Settings = field(init=False, repr=False)

    def __post_init__(self) -> None:
        faults = [
            *issuer_faults(self.issuer),
            *audience_faults(self.issuer, self.audience),
            *_key_faults(self),
            *_number_faults(self),
            *_client_faults(self),
            *named_claim_faults(_named_claims(self)),
            *collection_faults("tenants", self.tenants, may_be_empty=False),
            *collection_faults("grants", self.grants, may_be_empty=False),
        ]
        dialects, dialect_faults = _resolve_dialects(self)
        algorithms, algorithm_faults = _resolve_algorithms(self, dialects)
        faults += [*dialect_faults, *algorithm_faults]
        keys, document_faults = _resolve_keys(self, algorithms)
        faults += document_faults
        if faults:
            raise ConfigurationError(*(f"TrustedIssuer: {fault}" for fault in faults))
        settings = Settings(
            audiences=frozenset([self.audience] if isinstance(self.audience, str) else self.audience),
            dialects=dialects,
            algorithms=algorithms,
            clients=ClientClasses(_frozen(self.third_party_clients), _frozen(self.first_party_clients)),
            tenants=_frozen(self.tenants),
            grants=_frozen(self.grants),
        )
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "keys", keys)

    @classmethod
    def auth0(cls, domain: str, audience: str | Collection[str], **options: Unpack[IssuerOptions]) -> Self:
        """Trust an Auth0 tenant (or its custom domain), such as `acme.eu.auth0.com`.

        All four dialects are accepted unless `dialects=` pins them; RS256 and PS256, or HS256 with `secret=`.
        """
        if not isinstance(domain, str) or not domain or any(mark in domain for mark in "/:@?# "):
            raise ConfigurationError(
                "TrustedIssuer.auth0: domain is a bare host name; write acme.eu.auth0.com, without https:// or slashes"
            )
        options.setdefault("dialects", AUTH0)
        return cls(f"https://{domain}/", audience, **options)

    def trust(self, issuers: Collection[Self]) -> IssuerTrust:
        """Return what this issuer is trusted with, among all `issuers` that are trusted."""
        settings = self.settings
        return IssuerTrust(
            among_several=len({issuer.issuer for issuer in issuers}) > 1,
            tenants_listed=settings.tenants is not None
            and all(
                issuer.issuer == self.issuer or settings.tenants.isdisjoint(issuer.settings.tenants or ())
                for issuer in issuers
            ),
            grantable=settings.grants,
        )

    @property
    def leaves_clients_unsaid(self) -> bool:
        """Whether its dialects have permissions, and nobody has said which clients are third-party."""
        is_said = self.third_party_clients is not None or self.first_party_clients is not None
        return not is_said and any(dialect.has_permissions for dialect in self.settings.dialects)

    @property
    def leaves_rbac_unsaid(self) -> bool:
        """Whether a dialect of its has no permissions, and nobody has said if a user's scope is an entitlement."""
        return self.rbac_enforced is None and not all(dialect.has_permissions for dialect in self.settings.dialects)

    @property
    def is_local(self) -> bool:
        """Whether it is a `LocalIssuer`, for tests and development."""
        return getattr(self.keys, "is_local", False) is True

    @property
    def key_identity(self) -> object:
        """What two settings must have in common to share one source of keys, and with it one fetch."""
        if self.secret is not None or self.keys is not None:
            return self
        settings = self.key_settings or KeySettings()
        return (self.issuer, self.jwks_uri, self.settings.algorithms, id(self.fetch), settings)

    def key_source(self) -> KeySource:
        """Return a source of this issuer's keys. Nothing is fetched before the first token needs it."""
        if self.secret is not None:
            return SecretKey(as_bytes(self.secret))
        if self.keys is not None and not isinstance(self.keys, Mapping):
            return self.keys
        return RemoteJWKS(
            self.issuer,
            self.settings.algorithms,
            jwks_uri=self.jwks_uri,
            fetch=self.fetch,
            settings=self.key_settings or KeySettings(),
        )


# --- what each argument may be: functions that return faults ----------------------------------------------------------


def _key_faults(trusted: TrustedIssuer) -> list[str]:
    faults = []
    given = [name for name in ("jwks_uri", "keys", "secret") if getattr(trusted, name) is not None]
    if len(given) > 1:
        faults.append(f"{' and '.join(given)} contradict each other; give one of them")
    if trusted.jwks_uri is not None:
        is_text = isinstance(trusted.jwks_uri, str)
        faults += check_url(trusted.jwks_uri, "jwks_uri") if is_text else ["jwks_uri is no URL; write an https URL"]
    if trusted.keys is not None and not isinstance(trusted.keys, Mapping) and not is_key_source(trusted.keys):
        faults.append('keys= takes a JWKS document such as {"keys": […]} or a KeySource, an object with an async get')
    if trusted.secret is not None and not is_long_secret(trusted.secret):
        faults.append(
            f"secret must be at least {MIN_SECRET_BYTES} bytes; use the API's signing secret as it was generated"
        )
    return [*faults, *_sourcing_faults(trusted)]


def _sourcing_faults(trusted: TrustedIssuer) -> Iterator[str]:
    fetch, settings = trusted.fetch, trusted.key_settings
    if fetch is not None and not is_fetch(fetch):
        yield FETCH_FAULT
    if settings is not None and not isinstance(settings, KeySettings):
        yield "key_settings= takes KeySettings(…)"
    elif settings is not None and not _is_on_allowed_host(trusted.jwks_uri, settings):
        yield "jwks_uri is on none of the allowed_hosts of key_settings; add its host, or leave allowed_hosts out"
    for name in ("fetch", "key_settings"):
        if getattr(trusted, name) is not None and (trusted.keys is not None or trusted.secret is not None):
            yield f"{name} is for keys that are fetched, and keys= or secret= says they are not; leave one out"


def _is_on_allowed_host(jwks_uri: str | None, settings: KeySettings) -> bool:
    if not isinstance(jwks_uri, str) or check_url(jwks_uri, "jwks_uri"):
        return True  # nothing to compare, or a fault of its own
    return settings.allows_host_of(jwks_uri)


def _number_faults(trusted: TrustedIssuer) -> Iterator[str]:
    if not is_number(trusted.leeway) or not 0 <= trusted.leeway <= MAX_LEEWAY:
        yield f"leeway is in seconds, from 0 to {MAX_LEEWAY}"


def _client_faults(trusted: TrustedIssuer) -> list[str]:
    faults = collection_faults("third_party_clients", trusted.third_party_clients)
    faults += collection_faults("first_party_clients", trusted.first_party_clients)
    if trusted.third_party_clients is not None and trusted.first_party_clients is not None:
        faults.append(
            "third_party_clients and first_party_clients contradict each other; list the smaller group and leave out "
            "the other"
        )
    if trusted.rbac_enforced is not None and not isinstance(trusted.rbac_enforced, bool):
        faults.append("rbac_enforced is True, False or left out")
    return faults


def _named_claims(trusted: TrustedIssuer) -> dict[str, ClaimNames | None]:
    names = ("roles_claims", "groups_claims", "permissions_claims", "tenant_claims")
    return {name: getattr(trusted, name) for name in names}


def _resolve_dialects(trusted: TrustedIssuer) -> tuple[tuple[Dialect, ...], list[str]]:
    given = trusted.dialects
    if isinstance(given, str | Dialect) or not isinstance(given, Collection):
        return (), [f"dialects is a collection; write dialects=[{given!r}]"]
    unknown = [d for d in given if not isinstance(d, Dialect) and not (isinstance(d, str) and d in DIALECTS)]
    if unknown or not given:
        return (), [f"dialects must be some of {', '.join(DIALECTS)}, or Dialect tables"]
    tables = [d if isinstance(d, Dialect) else DIALECTS[d] for d in given]
    tables, claim_faults = with_named_claims(tables, _named_claims(trusted))
    faults = list(claim_faults)
    faults += [
        f"tenants= needs a tenant, and dialect {table.name} has none; name its claim in tenant_claims="
        for table in tables
        if trusted.tenants and not table.tenant_claims
    ]
    faults += [
        f"dialects {one.name} and {other.name} cannot be told apart; allow one of them"
        for one, other in combinations(tables, 2)
        if one.types & other.types
        and one.client_claim == other.client_claim
        and one.has_permissions == other.has_permissions
    ]
    return tuple(tables), faults


def _resolve_algorithms(trusted: TrustedIssuer, dialects: tuple[Dialect, ...]) -> tuple[frozenset[str], list[str]]:
    if trusted.algorithms is None:
        if trusted.secret is not None:
            return frozenset({"HS256"}), []
        return frozenset().union(*(ALGORITHMS if d.algorithms is None else d.algorithms for d in dialects)), []
    faults = collection_faults("algorithms", trusted.algorithms, may_be_empty=False)
    if faults:
        return frozenset(), faults
    named = frozenset(canonical_algorithm(name) for name in trusted.algorithms)
    if trusted.secret is not None:
        return named, [] if named == {"HS256"} else ["with secret= the only algorithm is HS256; leave algorithms out"]
    if any(name.startswith("HS") for name in named):
        return named, ["HS algorithms need secret= and allow no other key; give secret=, or leave them out"]
    if named - ALGORITHMS:
        return named, [f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}; `none` is never one"]
    return named, []


def _resolve_keys(
    trusted: TrustedIssuer, algorithms: frozenset[str]
) -> tuple[Mapping[str, object] | KeySource | None, list[str]]:
    """Read a JWKS document once, here, so that it cannot change afterwards."""
    given = trusted.keys
    if not isinstance(given, Mapping | StaticJWKS) or trusted.secret is not None or not algorithms:
        return given, []
    if isinstance(given, Mapping) and given.get("keys") == []:
        return given, ["keys= holds no key, so every token would be refused; put the issuer's public keys in"]
    try:
        return given.bound_to(algorithms) if isinstance(given, StaticJWKS) else StaticJWKS(given, algorithms), []
    except ConfigurationError as error:
        return trusted.keys, list(error.faults)


def _frozen(values: Collection[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
