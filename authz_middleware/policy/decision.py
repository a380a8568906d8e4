"""Decisions: the answer to one policy for one request, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..token import Source
from .access import Access
from .alternatives import MAX_ALTERNATIVES
from .core import GRANT_KINDS, NOTHING_CHECKED, Answers, Kind, Policy, Term, as_policy
from .request import AccessRequest
from .running import run_checks
from .words import why_met, why_not

__all__ = [
    "Decision",
    "conclude",
    "decide",
    "is_scope_token",
    "requestable",
    "suggest",
]


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one policy for one request, and what it rests on.

    Attributes:
        allowed: whether the policy is met.
        policy: what was asked.
        held: terms that hold, each with the kinds of claim that carry it.
        missing: terms that do not hold, in the alternative that lacks fewest.
        required: the alternatives as grant names, 64 at most; what no client can request is left out.
        scope: what a client can usefully request; empty where nothing is missing that one can request.
        why: one sentence for people; it names no value of the token.
    """

    allowed: bool
    policy: Policy
    held: tuple[tuple[Term, tuple[Source, ...]], ...]
    missing: tuple[Term, ...]
    required: tuple[tuple[str, ...], ...]
    scope: tuple[str, ...]
    why: str


async def decide(policy: Policy | str, request: AccessRequest) -> Decision:
    """Decide one policy for one request, with reasons. Runs its checks, each at most once.

    A string is one dialect-neutral grant, as in `requires("x")`.

    Raises:
        ConfigurationError: it is no policy.
    """
    wanted = as_policy(policy, "decide")
    return conclude(wanted, request, await run_checks(wanted, request))


def conclude(policy: Policy, request: AccessRequest, checked: Answers = NOTHING_CHECKED) -> Decision:
    """Decide with what checks are known to answer. None is run."""
    held = tuple(term for term in policy.terms if checked.get(term) or term.holds(request))
    lacking = min((_lacking(terms, held) for terms in policy.alternatives), key=len)
    required, wanted = suggest(policy, held)
    allowed = not lacking
    return Decision(
        allowed=allowed,
        policy=policy,
        held=tuple((term, term.sources(request.token)) for term in held),
        missing=lacking,
        required=required,
        scope=wanted,
        why=why_met(request, held) if allowed else why_not(_first_to_name(lacking, checked), request, checked),
    )


def _first_to_name(lacking: tuple[Term, ...], checked: Answers) -> Term:
    """Return the term to explain: a check is asked last, so that beside what else is lacking it may not have been."""
    return next((term for term in lacking if term.kind is not Kind.CHECK or term in checked), lacking[0])


# --- what would do ----------------------------------------------------------------------------------------------------


def requestable(accesses: Iterable[Access]) -> frozenset[str]:
    """Return every scope a client could usefully request for any of these (RFC 9728, `scopes_supported`)."""
    policies = [access for access in accesses if isinstance(access, Policy)]
    return frozenset(name for policy in policies for terms in policy.alternatives for name in _scopes(terms))


def suggest(policy: Policy, held: Iterable[Term] = ()) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return what would do, as lists of grant names, 64 at most, and the names a client can usefully request.

    The latter are those of the alternative that lacks fewest terms, the first on ties, among those that lack one a
    client can request, given the terms that are `held`. All its names, since the next token is asked for in place of
    this one. Only grants are named: roles, claims and the like no client can request.
    """
    held = frozenset(held)
    wanting = [terms for terms in policy.alternatives if _scopes(_lacking(terms, held))]
    nearest = min(wanting, key=lambda terms: len(_lacking(terms, held)), default=())
    required = tuple(dict.fromkeys(names for names in map(_names, policy.alternatives) if names))
    return required[:MAX_ALTERNATIVES], _scopes(nearest)


def _lacking(terms: tuple[Term, ...], held: Iterable[Term]) -> tuple[Term, ...]:
    return tuple(term for term in terms if term not in held)


def _names(terms: tuple[Term, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term.value for term in terms if term.kind in GRANT_KINDS))


def _scopes(terms: tuple[Term, ...]) -> tuple[str, ...]:
    return tuple(name for name in _names(terms) if is_scope_token(name))


def is_scope_token(value: str) -> bool:
    """Tell whether a value can stand in a `scope` parameter: RFC 6749 section 3.3, scope-token."""
    return all("!" <= char <= "~" and char not in '"\\' for char in value)
