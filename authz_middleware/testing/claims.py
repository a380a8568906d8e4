"""Payloads as the authorization server of each dialect writes them. Source: RFC 9068 section 2.2, and the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from uuid import uuid4

from ..dialects import DIALECTS, ClaimPath, Dialect
from ..errors import ConfigurationError

__all__ = ["check_names", "dates", "grants", "identity", "nest", "table_of", "type_of", "without_none"]

DEFAULT_USER = "auth0|jo"
ARGUMENTS = ("scope", "permissions", "subject", "client_id", "machine", "expires_in", "dialect")
OTHER_WORDS = {"audience": "aud", "issuer": "iss", "expires": "expires_in", "is_machine": "machine"}
"""Words that are used elsewhere for what is an argument or a claim here."""
NEAR = 0.9
"""How alike two words are of which one is a slip of the other: `scopes`, `permission`, and not `subject_type`."""


def table_of(dialect: str | Dialect) -> Dialect:
    """Return the table of a dialect.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if isinstance(dialect, Dialect):
        return dialect
    if dialect not in DIALECTS:
        raise ConfigurationError(f"no dialect is called {dialect!r}; write one of {', '.join(DIALECTS)}")
    return DIALECTS[dialect]


def check_names(names: Iterable[str], table: Dialect) -> None:
    """Refuse what is nearly the name of an argument: as a claim, nobody would read it, and the token would grant less.

    Raises:
        ConfigurationError: one is, and the dialect has no claim of this name.
    """
    read = {table.scope_claim, *(path[0] for path in (*table.permissions_claims, *table.roles_claims))}
    for name in sorted(set(names) - read):
        meant = OTHER_WORDS.get(name) or next(iter(get_close_matches(name, ARGUMENTS, n=1, cutoff=NEAR)), None)
        if meant is not None:
            raise ConfigurationError(
                f"{name}= is no argument, and would become a claim of that name; write {meant}=…, or, if you mean such "
                f'a claim, issuer.sign({{**issuer.claims(…), "{name}": …}})'
            )


def type_of(dialect: Dialect) -> str:
    """Return the header `typ` of a dialect, in the case its tokens write it in."""
    return {"jwt": "JWT"}.get(name := min(dialect.types), name)


def dates(now: float, expires_in: float) -> dict[str, object]:
    """Return the claims that say how long a token holds; also an expired one was issued before it expired."""
    return {"iat": int(now) - 1 + min(0, int(expires_in) - 60), "exp": int(now) + int(expires_in)}


def identity(dialect: Dialect, subject: str | None, client_id: str, *, is_machine: bool) -> dict[str, object]:
    """Return the claims that say whose token it is, and which one."""
    own = client_id + dialect.machine_subject_suffixes[0]
    claims: dict[str, object] = {
        "sub": subject or (own if is_machine else DEFAULT_USER),
        dialect.client_claim: client_id,
    }
    if is_machine and dialect.machine_grant_type is not None:
        claims["gty"] = dialect.machine_grant_type
    if "jti" in dialect.required_claims:
        claims["jti"] = uuid4().hex
    return claims


def grants(
    dialect: Dialect, scope: str | None, permissions: Collection[str] | None, *, is_machine: bool
) -> dict[str, object]:
    """Return the claims that say what the token is good for.

    A dialect with permissions writes the claim also where it is empty; a machine's repeats the scopes.

    Raises:
        ConfigurationError: one string where several belong, or the other way round; permissions that the dialect has
            no claim for.
    """
    if isinstance(permissions, str) or not isinstance(scope, str | None):
        raise ConfigurationError("scope= is one space-joined string, permissions= a collection of strings")
    if permissions and not dialect.has_permissions:
        raise ConfigurationError(f"{dialect.name} has no permissions; write scope=…, or name another dialect")
    claims: dict[str, object] = {} if scope is None else {dialect.scope_claim: scope}
    if permissions is not None and dialect.has_permissions:
        is_unsaid = is_machine and permissions == ()
        granted = (scope or "").split() if is_unsaid else list(permissions)
        claims.update(nest(dialect.permissions_claims[0], granted))
    return claims


def nest(path: ClaimPath, value: object) -> dict[str, object]:
    """Return a claim inside the objects its path leads through."""
    *parents, name = path
    claims: dict[str, object] = {name: value}
    for parent in reversed(parents):
        claims = {parent: claims}
    return claims


def without_none(claims: Mapping[str, object]) -> dict[str, object]:
    """Return the claims that have a value: None stands for "not there"."""
    return {name: value for name, value in claims.items() if value is not None}
