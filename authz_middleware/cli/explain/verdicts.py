"""Whether a token meets a policy: yes, no, or what only the application and the request can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ...policy import Decision, Policy, Term, TokenRequest
from ...policy.callers import IdentityTerm
from ...policy.checks import CheckTerm
from ...policy.claims import ClaimTerm, PathParam
from ...policy.decision import conclude

__all__ = ["PolicyOutcome", "Verdict", "judge"]


class PolicyOutcome(StrEnum):
    """The answer to one policy."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, why, and the terms it depends on where it is not known."""

    answer: PolicyOutcome
    why: str
    depends_on: tuple[Term, ...] = ()


def judge(policy: Policy, request: TokenRequest) -> Verdict:
    """Decide a policy by the token alone. No check of the application's is run.

    Policies are monotone. What is met without the terms that ask the request is met; what is not met even if they all
    held is not; between the two, they decide.
    """
    decision = conclude(policy, request)
    if decision.allowed:
        return Verdict(PolicyOutcome.ALLOWED, _why_met(decision))
    open_terms = frozenset(term for term in policy.terms if _is_open(term, request))
    at_best = conclude(policy, request, dict.fromkeys(open_terms, True))
    if not at_best.allowed:
        return Verdict(PolicyOutcome.REFUSED, at_best.why)
    needed = _needed(policy, request, open_terms)
    words = " and ".join(repr(term) for term in needed)
    return Verdict(PolicyOutcome.UNKNOWN, f"only the request can tell whether {words} holds", needed)


def _is_open(term: Term, request: TokenRequest) -> bool:
    """Tell whether a term might hold for this token in some request: by a path parameter that is what it says."""
    token = request.token
    match term:
        case CheckTerm():
            return True
        case IdentityTerm(operand=PathParam(name=name)):
            values: Iterable[object] = (token.subject, token.client_id, token.tenant)
        case ClaimTerm(path=path, operand=PathParam(name=name)):
            values = _values_at(token.claims, path)
        case _:
            return False
    return any(term.holds(TokenRequest(token, {name: value})) for value in values)


def _values_at(claims: Mapping[str, object], path: Iterable[str]) -> Iterable[object]:
    """Return a claim's value, or the elements of an array; None where there is none."""
    value: object = claims
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, tuple | list) else (value,)


def _needed(policy: Policy, request: TokenRequest, open_terms: frozenset[Term]) -> tuple[Term, ...]:
    """Return the open terms of the alternative that leaves fewest of them."""
    possible = (
        tuple(term for term in terms if term in open_terms)
        for terms in policy.alternatives
        if all(term in open_terms or term.holds(request) for term in terms)
    )
    return min(possible, key=len)


def _why_met(decision: Decision) -> str:
    carried = [
        f"{term!r} is in {' and '.join(source.claim for source in sources)}"
        for term, sources in decision.held
        if sources
    ]
    return f"{decision.why} ({', '.join(carried)})" if carried else decision.why
