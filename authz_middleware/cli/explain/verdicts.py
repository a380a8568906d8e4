"""Whether a token meets a policy: yes, no, or what only the application and the request can tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...policy import Decision, Kind, Policy, Term, TokenRequest
from ...policy.decision import conclude
from .reading import CLAIMS

__all__ = ["Answer", "Verdict", "judge"]


class Answer(StrEnum):
    """The answer to one policy."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, why, and the terms it depends on where it is not known."""

    answer: Answer
    why: str
    depends_on: tuple[Term, ...] = ()


def judge(policy: Policy, request: TokenRequest) -> Verdict:
    """Decide a policy by the token alone. No check of the application's is run.

    Policies are monotone. What is met without the terms that ask the request is met; what is not met even if they all
    held is not; between the two, they decide.
    """
    decision = conclude(policy, request)
    if decision.allowed:
        return Verdict(Answer.ALLOWED, _why_met(decision))
    open_terms = frozenset(term for term in policy.terms if _is_open(term, request))
    at_best = conclude(policy, request, dict.fromkeys(open_terms, True))
    if not at_best.allowed:
        return Verdict(Answer.REFUSED, at_best.why)
    needed = _needed(policy, request, open_terms)
    words = " and ".join(repr(term) for term in needed)
    return Verdict(Answer.UNKNOWN, f"that depends on {words}, which only the request can tell", needed)


def _is_open(term: Term, request: TokenRequest) -> bool:
    """Tell whether a term might hold for this token in some request."""
    return term.asks_request and (term.kind is Kind.CHECK or term.is_about(request))


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
        f"{term!r} is in {' and '.join(CLAIMS[s] for s in sources)}" for term, sources in decision.held if sources
    ]
    return f"{decision.why} ({', '.join(carried)})" if carried else decision.why
