"""Policies: what a route requires, as immutable values; and decisions, which say why.

A policy is a term or a composition of terms with `&`, `|` and `any_of`. There is no negation, so more grants never
mean less access. Every term asks the effective grants first: `scope("x")` and `permission("x")` narrow what
`requires("x")` admits, they never widen it.

Knows `token.py` only, and `explain.py` for the sentences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, final

from .errors import ConfigurationError
from .explain import explain_met, explain_missing
from .token import OIDC_SCOPES, AccessToken, GrantSet, Source

__all__ = [
    "AUTHENTICATED",
    "PUBLIC",
    "Access",
    "Decision",
    "Kind",
    "Policy",
    "Public",
    "Term",
    "all_of",
    "any_of",
    "decide",
    "is_scope_token",
    "make_term",
    "permission",
    "requestable",
    "role",
    "scope",
    "suggest",
]

MAX_ALTERNATIVES = 64


class Kind(StrEnum):
    """What a term asks about."""

    GRANT = "grant"
    """Dialect-neutral: the value is effective."""
    SCOPE = "scope"
    PERMISSION = "permission"
    ROLE = "role"


class Policy:
    """Base of every policy. Compose with `&` and `|`; Python's `and` and `or` cannot be overloaded and are refused.

    `alternatives` is the policy as a choice of term lists: it is met when every term of one list holds.
    """

    __slots__ = ()
    alternatives: tuple[tuple[Term, ...], ...]

    def __and__(self, other: object) -> Policy:
        return all_of(self, other)

    def __or__(self, other: object) -> Policy:
        return any_of(self, other)

    def __rand__(self, other: object) -> Policy:
        return all_of(other, self)

    def __ror__(self, other: object) -> Policy:
        return any_of(other, self)

    def __bool__(self) -> NoReturn:
        raise ConfigurationError(f"{self!r}: `and`, `or` and `not` do not compose policies; write & or |")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> NoReturn:
        """Refuse to be read from a request, which `Depends(requires)`, without its call, asks FastAPI for."""
        raise ConfigurationError(
            'a policy is no part of a request; write Security(requires("read:orders")), with the grants in the call'
        )

    def allows(self, grants: GrantSet) -> bool:
        """Tell whether one alternative holds entirely."""
        return any(all(term.holds(grants) for term in terms) for terms in self.alternatives)


@final
@dataclass(frozen=True, slots=True)
class Term(Policy):
    """One requirement: a value, and the kind of claim it must be in. Compared by value."""

    kind: Kind
    value: str

    @property
    def alternatives(self) -> tuple[tuple[Term, ...], ...]:  # type: ignore[override]
        """The one alternative: this term."""
        return ((self,),)

    def __repr__(self) -> str:
        return repr(self.value) if self.kind is Kind.GRANT else f"{self.kind}({self.value!r})"

    def holds(self, grants: GrantSet) -> bool:
        """Tell whether the grants meet this term."""
        value = self.value
        match self.kind:
            case Kind.GRANT:
                return value in grants.effective
            case Kind.SCOPE:
                # OIDC scopes are never effective; they ask for identity data, and the claim says if they were granted
                return value in grants.scopes and (value in grants.effective or value in OIDC_SCOPES)
            case Kind.PERMISSION:
                return value in grants.effective and value in grants.entitlements
            case Kind.ROLE:  # pragma: no branch - mypy proves that there is no other kind
                return value in grants.roles

    def sources(self, grants: GrantSet) -> tuple[Source, ...]:
        """Return the kinds of claim that carry the value, whether or not it is effective."""
        claims = {
            Source.SCOPE: grants.scopes,
            Source.PERMISSION: grants.permissions,
            Source.ROLE: grants.roles,
        }
        asked = {Kind.ROLE: (Source.ROLE,)}.get(self.kind, (Source.SCOPE, Source.PERMISSION))
        return tuple(source for source in asked if self.value in claims[source])


@final
@dataclass(frozen=True, slots=True)
class AllOf(Policy):
    """Every part must hold. Without parts: any valid token."""

    parts: tuple[Policy, ...]
    alternatives: tuple[tuple[Term, ...], ...]

    def __repr__(self) -> str:
        return " & ".join(f"({p!r})" if isinstance(p, AnyOf) else repr(p) for p in self.parts) or "authenticated"


@final
@dataclass(frozen=True, slots=True)
class AnyOf(Policy):
    """One part must hold."""

    parts: tuple[Policy, ...]
    alternatives: tuple[tuple[Term, ...], ...]

    def __repr__(self) -> str:
        return " | ".join(f"({p!r})" if isinstance(p, AllOf) else repr(p) for p in self.parts)


@final
class Public:
    """The access of a route that anybody may call; a value of its own, so that no policy can become it by mistake."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "public"


AUTHENTICATED: Policy = AllOf((), ((),))
"""Any valid token, whatever it grants."""
PUBLIC = Public()
Access = Policy | Public
"""What a route states: a policy, or that it is public."""


# --- making policies --------------------------------------------------------------------------------------------------


def scope(value: str) -> Policy:
    """Require `value` to be effective and in the scope claim. An OIDC scope such as `openid`: in the claim."""
    return make_term(Kind.SCOPE, value, "scope")


def permission(value: str) -> Policy:
    """Require `value` to be effective and an entitlement: in permissions, or a scope that counts as one.

    A machine's scopes count as entitlements, and a user's where the issuer enforces RBAC. May contain spaces.
    """
    return make_term(Kind.PERMISSION, value, "permission")


def role(value: str) -> Policy:
    """Require a role, from the claims that `TrustedIssuer(roles_claims=…)` names. May contain spaces."""
    return make_term(Kind.ROLE, value, "role")


def any_of(*parts: object) -> Policy:
    """Require one of several policies; a string stands for a dialect-neutral grant, as in `requires("x")`."""
    flat = _flatten(_as_policies("any_of", parts), AnyOf)
    if len(flat) == 1:
        return flat[0]
    return AnyOf(flat, _simplify(terms for part in flat for terms in part.alternatives))


def all_of(*parts: object, name: str = "all_of") -> Policy:
    """Require every one of several policies; a string stands for a dialect-neutral grant. `name` is for messages."""
    flat = _flatten(_as_policies(name, parts), AllOf)
    if len(flat) == 1:
        return flat[0]
    alternatives: tuple[tuple[Term, ...], ...] = ((),)
    for part in flat:  # simplified at every step, so that the product is refused before it explodes
        alternatives = _simplify(terms + more for terms in alternatives for more in part.alternatives)
    return AllOf(flat, alternatives)


def make_term(kind: Kind, value: object, name: str) -> Term:
    """Return a term, or refuse a value that cannot be meant. `name` is what the application wrote, for messages.

    Raises:
        ConfigurationError: not a string, empty, a list of scopes in one string, or an OIDC scope that grants nothing.
    """
    if isinstance(value, bool):
        raise ConfigurationError(f"{name}: a comparison or `not` is no policy; compose with & and |")
    if not isinstance(value, str):
        raise ConfigurationError(f'{name} takes strings, not a {type(value).__name__}; write {name}("a", "b")')
    if not value.strip():
        raise ConfigurationError(f'{name} was given an empty string; write {name}("read:orders")')
    if " " in value and kind in {Kind.GRANT, Kind.SCOPE}:
        raise ConfigurationError(
            f"{name}({value!r}): no scope contains a space; write {name}({', '.join(map(repr, value.split()))}), "
            f"or policy.permission({value!r}) for one permission with a space"
        )
    if value in OIDC_SCOPES and kind in {Kind.GRANT, Kind.PERMISSION}:
        raise ConfigurationError(
            f"{name}({value!r}): an OpenID Connect scope grants nothing on an API; "
            f"write policy.scope({value!r}) to ask the scope claim alone"
        )
    return Term(kind, value)


def _as_policies(name: str, parts: tuple[object, ...]) -> list[Policy]:
    if not parts:
        raise ConfigurationError(f'{name}() is empty and would decide nothing; write {name}("read:orders")')
    return [part if isinstance(part, Policy) else make_term(Kind.GRANT, part, name) for part in parts]


def _flatten(policies: Iterable[Policy], kind: type[AllOf | AnyOf]) -> tuple[Policy, ...]:
    """Take nested compositions of one kind apart and drop repetitions, keeping the order."""
    flat: dict[Policy, None] = {}
    for policy in policies:
        parts = policy.parts if isinstance(policy, kind) else (policy,)
        flat.update(dict.fromkeys(parts))
    return tuple(flat)


def _simplify(alternatives: Iterable[tuple[Term, ...]]) -> tuple[tuple[Term, ...], ...]:
    """Drop repeated terms and every alternative that contains another: meeting the smaller one is enough."""
    unique = list(dict.fromkeys(tuple(dict.fromkeys(terms)) for terms in alternatives))
    kept: list[tuple[Term, ...]] = []
    smaller: list[frozenset[Term]] = []
    for terms in sorted(unique, key=len):  # an alternative can only contain a shorter one
        held = frozenset(terms)
        if any(other <= held for other in smaller):
            continue
        smaller.append(held)
        kept.append(terms)
        if len(kept) > MAX_ALTERNATIVES:  # said at once: a product of alternatives can be long
            raise ConfigurationError(
                f"the policy has more than {MAX_ALTERNATIVES} alternatives; "
                "state part of it on a router or mount around the route"
            )
    return tuple(sorted(kept, key=unique.index))


# --- deciding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one policy for one token, and what it rests on.

    Attributes:
        allowed: whether the policy is met.
        policy: what was asked.
        held: terms that hold, each with the kinds of claim that carry it.
        missing: terms that do not hold, in the alternative that lacks fewest.
        required: the alternatives as grant names, roles left out.
        scope: what a client can usefully request.
        why: one sentence for people; it names no value of the token.
    """

    allowed: bool
    policy: Policy
    held: tuple[tuple[Term, tuple[Source, ...]], ...]
    missing: tuple[Term, ...]
    required: tuple[tuple[str, ...], ...]
    scope: tuple[str, ...]
    why: str


def decide(policy: Policy, token: AccessToken) -> Decision:
    """Decide one policy for one token, with reasons."""
    grants = token.grants
    terms = dict.fromkeys(term for alternative in policy.alternatives for term in alternative)
    held = tuple((term, term.sources(grants)) for term in terms if term.holds(grants))
    allowed = policy.allows(grants)
    lacking = () if allowed else _lacking(min(policy.alternatives, key=lambda a: len(_lacking(a, grants))), grants)
    required, wanted = suggest(policy, grants)
    return Decision(
        allowed=allowed,
        policy=policy,
        held=held,
        missing=lacking,
        required=required,
        scope=wanted,
        why=explain_met(grants, [term.value for term, _ in held]) if allowed else _why(lacking[0], grants),
    )


def _why(term: Term, grants: GrantSet) -> str:
    if term.kind is Kind.ROLE:
        return f"{term!r} is not among the token's roles"
    if term.value in OIDC_SCOPES:
        return f"{term!r} is not in the scope claim"
    return explain_missing(repr(term), term.value, term.sources(grants), grants)


def requestable(accesses: Iterable[Access]) -> frozenset[str]:
    """Return every scope a client could usefully request for any of these (RFC 9728, `scopes_supported`)."""
    policies = [access for access in accesses if isinstance(access, Policy)]
    names = (name for policy in policies for terms in policy.alternatives for name in _names(terms))
    return frozenset(name for name in names if is_scope_token(name))


def suggest(policy: Policy, grants: GrantSet | None = None) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return what would do, as lists of grant names, and the names a client can usefully request.

    The latter are those of the alternative that lacks fewest terms, the first on ties; without grants, all terms are
    lacking. Roles are never named: no client can request one.
    """
    alternatives = policy.alternatives
    required = [_names(terms) for terms in alternatives]
    nearest = min(alternatives, key=lambda terms: len(terms if grants is None else _lacking(terms, grants)))
    wanted = tuple(name for name in _names(nearest) if is_scope_token(name))
    return tuple(dict.fromkeys(names for names in required if names)), wanted


def _lacking(terms: tuple[Term, ...], grants: GrantSet) -> tuple[Term, ...]:
    return tuple(term for term in terms if not term.holds(grants))


def _names(terms: tuple[Term, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term.value for term in terms if term.kind is not Kind.ROLE))


def is_scope_token(value: str) -> bool:
    """Tell whether a value can stand in a `scope` parameter: RFC 6749 section 3.3, scope-token."""
    return all("!" <= char <= "~" and char not in '"\\' for char in value)
