"""Policies as immutable values: terms, those that ask for grants, and composition with `&`, `|` and `any_of`.

There is no negation, so more grants never mean less access. Every grant term asks the effective grants first:
`scope("x")` and `permission("x")` narrow what `requires("x")` admits, they never widen it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import final

from ..errors import ConfigurationError
from ..token import OIDC_SCOPES, AccessToken, IssuerTrust, Source
from .alternatives import MAX_ALTERNATIVES, simplify
from .kinds import GRANT_KINDS, NAMED_BY_ISSUER, Kind, issuer_words
from .request import AccessRequest
from .slips import PlainValue, check_grant, check_issuer, check_some

__all__ = [
    "AUTHENTICATED",
    "GRANT_KINDS",
    "NOTHING_CHECKED",
    "AllOf",
    "Answers",
    "AnyOf",
    "GrantTerm",
    "Kind",
    "Policy",
    "Term",
    "all_of",
    "any_of",
    "as_policy",
    "compose",
    "join",
    "make_term",
]


Answers = Mapping["Term", bool | None]
"""What checks answered that were asked; None: it could not be, since it has to be awaited where nothing can."""
NOTHING_CHECKED: Answers = MappingProxyType({})
"""The answers where no check was asked."""


class Policy(PlainValue):
    """Base of every policy. Compose with `&` and `|`; Python's `and` and `or` cannot be overloaded and are refused.

    Two policies are equal if they are written alike; the order of parts decides nothing but which of several ways is
    told first.

    Attributes:
        alternatives: the policy as a choice of term lists: it is met when every term of one list holds.
    """

    __slots__ = ()
    alternatives: tuple[tuple[Term, ...], ...]

    def __and__(self, other: object) -> Policy:
        return compose(AllOf, "&", (self, other))

    def __or__(self, other: object) -> Policy:
        return compose(AnyOf, "|", (self, other))

    def __rand__(self, other: object) -> Policy:
        return compose(AllOf, "&", (other, self))

    def __ror__(self, other: object) -> Policy:
        return compose(AnyOf, "|", (other, self))

    @property
    def terms(self) -> tuple[Term, ...]:
        """Every term, once, in the order in which they were written."""
        return tuple(dict.fromkeys(term for terms in self.alternatives for term in terms))

    @property
    @abstractmethod
    def asks_request(self) -> bool:
        """Whether the answer depends on more than the token: on path parameters, or on what a check looks at."""
        ...

    @property
    @abstractmethod
    def has_checks(self) -> bool:
        """Whether part of it is decided by a function of the application's own."""
        ...

    @abstractmethod
    def allows(self, request: AccessRequest, checked: Answers = NOTHING_CHECKED) -> bool:
        """Tell whether it is met. A `check` holds only if it was `checked`, and answered True."""
        ...


class Term(Policy):
    """One requirement. Compared by value.

    Attributes:
        kind: what it asks about.
        value: what for, as text: a grant's name, or what the policy's author wrote.
        issuer: whose tokens it is about; None: any trusted issuer's.
    """

    __slots__ = ()
    kind: Kind
    value: str
    issuer: str | None

    @property
    def alternatives(self) -> tuple[tuple[Term, ...], ...]:  # type: ignore[override]
        """The one alternative: this term."""
        return ((self,),)

    @property
    def terms(self) -> tuple[Term, ...]:
        """This term."""
        return (self,)

    @property
    def asks_request(self) -> bool:
        """Whether the answer depends on more than the token."""
        return False

    @property
    def has_checks(self) -> bool:
        """Whether it is decided by a function of the application's own."""
        return False

    def lacks_issuer(self, trust: IssuerTrust) -> bool:
        """Tell whether it does not say whose tokens it is about, and several issuers could give the name.

        What an issuer limited to certain tenants says of a tenant, it was trusted with.
        """
        if self.issuer is not None or not trust.among_several or self.kind not in NAMED_BY_ISSUER:
            return False
        return not (self.kind is Kind.TENANT and trust.tenants_listed)

    def allows(self, request: AccessRequest, checked: Answers = NOTHING_CHECKED) -> bool:
        """Tell whether it holds. A `check` holds only if it was `checked`, and answered True."""
        return self.holds(request) or checked.get(self) is True

    @abstractmethod
    def holds(self, request: AccessRequest) -> bool:
        """Tell whether a request meets this term."""
        ...

    def is_about(self, request: AccessRequest) -> bool:
        """Tell whether the token's issuer is the one this term is about."""
        token = request.token
        return self.issuer in {None, token.issuer} and not self.lacks_issuer(token.trust)

    def sources(self, token: AccessToken) -> tuple[Source, ...]:  # noqa: ARG002 - most terms are no claim of rights
        """Return the kinds of claim that carry the value, whether or not it is effective."""
        return ()


@final
@dataclass(frozen=True, slots=True)
class GrantTerm(Term):
    """A grant that a claim carries: scope, permission, role or group."""

    kind: Kind
    value: str
    issuer: str | None = None

    def __repr__(self) -> str:
        if self.kind is Kind.GRANT:
            return repr(self.value)
        return f"{self.kind}({self.value!r}{issuer_words(self.issuer)})"

    def holds(self, request: AccessRequest) -> bool:
        """Tell whether the token's grants meet this term."""
        value, grants = self.value, request.token.grants
        match self.kind:
            case Kind.GRANT:
                return value in grants.effective
            case Kind.SCOPE:
                # OIDC scopes are never effective; they ask for identity data, and the claim says if they were granted
                return value in grants.scopes and (value in grants.effective or value in OIDC_SCOPES)
            case Kind.PERMISSION:
                return value in grants.effective and value in grants.entitlements
            case Kind.ROLE:
                return value in grants.roles and self.is_about(request)
            case _:
                return value in grants.groups and self.is_about(request)

    def sources(self, token: AccessToken) -> tuple[Source, ...]:
        """Return the kinds of claim that carry the value, whether or not it is effective."""
        grants = token.grants
        claims = {
            Source.SCOPE: grants.scopes,
            Source.PERMISSION: grants.permissions,
            Source.ROLE: grants.roles,
            Source.GROUP: grants.groups,
        }
        own = {Kind.ROLE: (Source.ROLE,), Kind.GROUP: (Source.GROUP,)}
        asked = own.get(self.kind, (Source.SCOPE, Source.PERMISSION))
        return tuple(source for source in asked if self.value in claims[source])


@dataclass(frozen=True, slots=True)
class Composed(Policy):
    """What is made of parts. What every decision would ask of them is found out once."""

    parts: tuple[Policy, ...]
    alternatives: tuple[tuple[Term, ...], ...] = field(init=False, repr=False, compare=False)
    asks_request: bool = field(init=False, repr=False, compare=False)
    has_checks: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.parts, tuple) or not all(isinstance(part, Policy) for part in self.parts):
            raise ConfigurationError(
                f"{type(self).__name__} takes a tuple of policies; write policy.all_of(…) or policy.any_of(…)"
            )
        object.__setattr__(self, "alternatives", self._combine())
        for name in ("asks_request", "has_checks"):
            object.__setattr__(self, name, any(getattr(part, name) for part in self.parts))

    @abstractmethod
    def _combine(self) -> tuple[tuple[Term, ...], ...]:
        """Return the alternatives, from those of the parts."""
        ...


@final
@dataclass(frozen=True, slots=True)
class AllOf(Composed):
    """Every part must hold. Without parts: any valid token."""

    def __repr__(self) -> str:
        return " & ".join(f"({p!r})" if isinstance(p, AnyOf) else repr(p) for p in self.parts) or "authenticated"

    def allows(self, request: AccessRequest, checked: Answers = NOTHING_CHECKED) -> bool:
        """Tell whether every part is met."""
        for part in self.parts:  # noqa: SIM110 - no generator: this is asked with every request
            if not part.allows(request, checked):
                return False
        return True

    def _combine(self) -> tuple[tuple[Term, ...], ...]:
        alternatives: tuple[tuple[Term, ...], ...] = ((),)
        for part in self.parts:  # simplified at every step, so that the product is refused before it explodes
            alternatives = simplify(terms + more for terms in alternatives for more in part.alternatives)
        return alternatives


@final
@dataclass(frozen=True, slots=True)
class AnyOf(Composed):
    """One part must hold."""

    def __repr__(self) -> str:
        return " | ".join(f"({p!r})" if isinstance(p, AllOf) else repr(p) for p in self.parts)

    def allows(self, request: AccessRequest, checked: Answers = NOTHING_CHECKED) -> bool:
        """Tell whether one part is met."""
        for part in self.parts:  # noqa: SIM110 - as above
            if part.allows(request, checked):
                return True
        return False

    def _combine(self) -> tuple[tuple[Term, ...], ...]:
        if not self.parts:
            raise ConfigurationError("AnyOf without parts would refuse everybody; write policy.any_of(…)")
        return simplify(terms for part in self.parts for terms in part.alternatives)


AUTHENTICATED: Policy = AllOf(())
"""Any valid token, whatever it grants."""


# --- making policies --------------------------------------------------------------------------------------------------


def any_of(*parts: object) -> Policy:
    """Require one of several policies; a string stands for a dialect-neutral grant, as in `requires("x")`.

    Raises:
        ConfigurationError: nothing required, what is no policy, or more than 64 alternatives.
    """
    return compose(AnyOf, "policy.any_of", parts)


def all_of(*parts: object) -> Policy:
    """Require every one of several policies; a string stands for a dialect-neutral grant.

    Raises:
        ConfigurationError: as `any_of`.
    """
    return compose(AllOf, "policy.all_of", parts)


def compose(kind: type[AllOf | AnyOf], name: str, parts: Iterable[object]) -> Policy:
    """Make one policy of what is written in one place. `name` is what the application wrote, for messages.

    Raises:
        ConfigurationError: as `any_of`.
    """
    composed = join(kind, _as_policies(name, tuple(parts)))
    if len(composed.alternatives) > MAX_ALTERNATIVES:
        raise ConfigurationError(
            f"the policy has more than {MAX_ALTERNATIVES} alternatives; state part of it on the router or mount around "
            "the route, which adds to it, or decide part of it in policy.check(…)"
        )
    return composed


def as_policy(given: object, name: str) -> Policy:
    """Return the policy that stands by itself: a string is a dialect-neutral grant. `name` as in `compose`.

    Raises:
        ConfigurationError: it is none.
    """
    return given if isinstance(given, Policy) else make_term(Kind.GRANT, given, name)


def join(kind: type[AllOf | AnyOf], policies: Iterable[Policy]) -> Policy:
    """Make one policy of several that are written in different places.

    Raises:
        ConfigurationError: more than 4,096 alternatives.
    """
    flat = _flatten(policies, kind)
    return flat[0] if len(flat) == 1 else kind(flat)


def make_term(kind: Kind, value: object, name: str, issuer: object = None) -> GrantTerm:
    """Return a term, or refuse a value that cannot be meant. `name` is what the application wrote, for messages.

    Raises:
        ConfigurationError: see `check_grant`; or `issuer` is none.
    """
    return GrantTerm(kind, check_grant(kind, value, name), check_issuer(issuer, name))


def _as_policies(name: str, parts: tuple[object, ...]) -> list[Policy]:
    check_some(name, parts)
    return [as_policy(part, name) for part in parts]


def _flatten(policies: Iterable[Policy], kind: type[AllOf | AnyOf]) -> tuple[Policy, ...]:
    """Take nested compositions of one kind apart and drop repetitions, keeping the order."""
    flat: dict[Policy, None] = {}
    for policy in policies:
        parts = policy.parts if isinstance(policy, kind) else (policy,)
        flat.update(dict.fromkeys(parts))
    return tuple(flat)
