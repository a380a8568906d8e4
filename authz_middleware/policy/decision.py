"""Decisions: the answer to one policy for one request, and what it rests on."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from anyio import to_thread

from ..errors import ConfigurationError
from ..token import Source
from .core import GRANT_KINDS, NOTHING_CHECKED, Access, AccessRequest, Policy, Term
from .terms import CheckTerm
from .words import why_met, why_not

__all__ = [
    "Decision",
    "conclude",
    "decide",
    "is_scope_token",
    "requestable",
    "run_checks",
    "run_checks_now",
    "suggest",
]

_log = logging.getLogger("authz_middleware")


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one policy for one request, and what it rests on.

    Attributes:
        allowed: whether the policy is met.
        policy: what was asked.
        held: terms that hold, each with the kinds of claim that carry it.
        missing: terms that do not hold, in the alternative that lacks fewest.
        required: the alternatives as grant names; what no client can request is left out.
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


async def decide(policy: Policy, request: AccessRequest) -> Decision:
    """Decide one policy for one request, with reasons. Runs its checks, each at most once."""
    return conclude(policy, request, await run_checks(policy, request))


def conclude(policy: Policy, request: AccessRequest, checked: frozenset[Term] = NOTHING_CHECKED) -> Decision:
    """Decide with the checks that are known to hold. None is run."""
    held = tuple(term for term in policy.terms if term in checked or term.holds(request))
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
        why=why_met(request, held) if allowed else why_not(lacking[0], request),
    )


# --- checks -----------------------------------------------------------------------------------------------------------


async def run_checks(policy: Policy, request: AccessRequest) -> frozenset[Term]:
    """Return the checks that hold. Asked last, where all else in their alternative holds, until one is met."""
    if not policy.has_checks:
        return NOTHING_CHECKED
    answers: dict[Term, bool] = {}
    for terms in policy.alternatives:
        checks = [term for term in terms if isinstance(term, CheckTerm)]
        if not all(isinstance(term, CheckTerm) or term.holds(request) for term in terms):
            continue
        for check in checks:
            if check not in answers:
                answers[check] = await _run(check, request)
            if not answers[check]:
                break
        else:
            break  # this alternative is met: nothing further can matter
    return frozenset(term for term, holds in answers.items() if holds)


def run_checks_now(policy: Policy, request: AccessRequest) -> frozenset[Term]:
    """Return the sync checks that hold, run on this very thread."""
    if not policy.has_checks:
        return NOTHING_CHECKED
    sync = [term for term in policy.terms if isinstance(term, CheckTerm) and not term.is_async]
    return frozenset(term for term in sync if _is_true(term, _call(term, request)))


async def _run(check: CheckTerm, request: AccessRequest) -> bool:
    """Run one check within its time. A sync one runs in a worker thread: it may well ask a database."""
    try:
        async with asyncio.timeout(check.seconds):
            if check.is_async:
                answer: object = check.function(request)
                return _is_true(check, await answer if inspect.isawaitable(answer) else answer)
            call = partial(check.function, request)
            return _is_true(check, await to_thread.run_sync(call, abandon_on_cancel=True))
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - fail closed, whatever an application's function does
        _log.warning("check %s failed with %s", check.value, type(error).__name__)
        return False


def _call(check: CheckTerm, request: AccessRequest) -> object:
    try:
        return check.function(request)
    except Exception as error:  # noqa: BLE001 - as above
        _log.warning("check %s failed with %s", check.value, type(error).__name__)
        return False


def _is_true(check: CheckTerm, answer: object) -> bool:
    if not isinstance(answer, bool):
        if inspect.iscoroutine(answer):
            answer.close()
        _log.warning("check %s returned a %s where a bool is due", check.value, type(answer).__name__)
        return False
    return answer


# --- what would do ----------------------------------------------------------------------------------------------------


def requestable(accesses: Iterable[Access]) -> frozenset[str]:
    """Return every scope a client could usefully request for any of these (RFC 9728, `scopes_supported`)."""
    policies = [access for access in accesses if isinstance(access, Policy)]
    names = (name for policy in policies for terms in policy.alternatives for name in _names(terms))
    return frozenset(name for name in names if is_scope_token(name))


def suggest(policy: Policy, held: Iterable[Term] = ()) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return what would do, as lists of grant names, and the names a client can usefully request.

    The latter are those of the alternative that lacks fewest terms, the first on ties, given the terms that are `held`.
    Only grants are named: roles, claims and the like no client can request.
    """
    alternatives = policy.alternatives
    required = [_names(terms) for terms in alternatives]
    held = frozenset(held)
    nearest = min(alternatives, key=lambda terms: len(_lacking(terms, held)))
    wanted = tuple(name for name in _names(nearest) if is_scope_token(name))
    return tuple(dict.fromkeys(names for names in required if names)), wanted


def _lacking(terms: tuple[Term, ...], held: Iterable[Term]) -> tuple[Term, ...]:
    return tuple(term for term in terms if term not in held)


def _names(terms: tuple[Term, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(term.value for term in terms if term.kind in GRANT_KINDS))


def is_scope_token(value: str) -> bool:
    """Tell whether a value can stand in a `scope` parameter: RFC 6749 section 3.3, scope-token."""
    return all("!" <= char <= "~" and char not in '"\\' for char in value)
