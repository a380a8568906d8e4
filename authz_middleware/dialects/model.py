"""What a dialect is: a frozen table saying where a provider writes what. No code of a provider lives anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import combinations

from ..errors import ConfigurationError
from ..token import Source

__all__ = ["ClaimPath", "Dialect", "is_claim_path"]

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

    Raises:
        ConfigurationError: with every fault found: a field of another form, or a claim that is read as two things.
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

    def __post_init__(self) -> None:
        faults = [*_form_faults(self)] or [*_claim_faults(self)]
        if faults:
            raise ConfigurationError(*(f"Dialect: {fault}" for fault in faults))

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


# --- what a table may hold --------------------------------------------------------------------------------------------


def is_claim_path(path: object) -> bool:
    """Tell whether this is a path of member names."""
    return isinstance(path, tuple) and bool(path) and all(isinstance(name, str) and name for name in path)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_text_or_none(value: object) -> bool:
    return value is None or _is_text(value)


def _are_paths(value: object) -> bool:
    return isinstance(value, tuple) and all(map(is_claim_path, value))


def _are_strings(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _is_set(value: object) -> bool:
    return isinstance(value, frozenset) and all(map(_is_text, value))


TEXT, SET, PATHS, STRINGS = "a string that is not empty", 'frozenset({"a", …})', '(("a",), ("b", "c"), …)', '("a", …)'
FORMS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "str": (_is_text, TEXT),
    "str | None": (_is_text_or_none, f"{TEXT}, or None"),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "frozenset[str]": (_is_set, SET),
    "frozenset[str] | None": (lambda value: value is None or _is_set(value), f"{SET}, or None"),
    "tuple[str, ...]": (_are_strings, STRINGS),
    "tuple[ClaimPath, ...]": (_are_paths, f"a tuple of paths, {PATHS}"),
}
"""What a field may hold, by its annotation; and how that is written."""


def _form_faults(dialect: Dialect) -> Iterator[str]:
    for field in fields(dialect):
        is_good, written = FORMS[str(field.type)]
        if not is_good(getattr(dialect, field.name)):
            yield f"{field.name} is {written}"
    if _is_set(dialect.types) and any(typ != typ.lower().removeprefix("application/") for typ in dialect.types):
        yield 'types are lower case and without application/, such as frozenset({"at+jwt"})'


def _claim_faults(dialect: Dialect) -> Iterator[str]:
    """Yield which claims are read that never are a grant, or as two kinds of grants."""
    read: dict[str, set[ClaimPath]] = {
        "scopes": {(dialect.scope_claim,)},
        "permissions": {*dialect.permissions_claims},
        "roles": {*dialect.roles_claims},
        "groups": {*dialect.groups_claims},
    }
    if any(path[0] == "act" for paths in (*read.values(), dialect.tenant_claims) for path in paths):
        yield "nothing inside act is ever a grant or a tenant (RFC 8693 section 4.1); name another claim"
    for (one, its), (other, others) in combinations(read.items(), 2):
        for path in sorted(its & others):
            yield f"the claim {'.'.join(path)} cannot hold {one} and {other} at once; name another one for either"
