"""Running checks: awaited where that is possible, each within its time, so that nobody waits for ever.

A sync function runs in a worker thread. One that hangs keeps its thread until it ends, so there are only so many of
them: beyond that, a check that would need another one refuses.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable
from typing import cast

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from .checks import CheckTerm, next_check
from .core import NOTHING_CHECKED, Policy, Term
from .request import AccessRequest

__all__ = ["run_checks", "run_checks_now"]

MAX_THREADS = 40
"""How many checks of one event loop run in threads at a time; others wait, within their time."""
MAX_HANGING = 80
"""How many threads checks of all loops may hold, those included that nobody waits for any more."""

_limiter: RunVar[CapacityLimiter] = RunVar("authz_middleware.checks")
_threads = threading.BoundedSemaphore(MAX_HANGING)
_log = logging.getLogger("authz_middleware")


class TooManyThreads(Exception):
    """Checks that nobody waits for any more hold every thread there is for checks."""


async def run_checks(policy: Policy, request: AccessRequest) -> frozenset[Term]:
    """Return the checks that hold, as far as they had to be asked."""
    if not policy.has_checks:
        return NOTHING_CHECKED
    answers: dict[Term, bool] = {}
    while (check := next_check(policy, request, answers)) is not None:
        answers[check] = await _run(check, request)
    return _those_that_hold(answers)


def run_checks_now(policy: Policy, request: AccessRequest) -> frozenset[Term]:
    """Return the checks that hold, run on this very thread. What has to be awaited does not."""
    if not policy.has_checks:
        return NOTHING_CHECKED
    answers: dict[Term, bool] = {}
    while (check := next_check(policy, request, answers)) is not None:
        answers[check] = _run_now(check, request)
    return _those_that_hold(answers)


def _those_that_hold(answers: dict[Term, bool]) -> frozenset[Term]:
    return frozenset(check for check, holds in answers.items() if holds)


async def _run(check: CheckTerm, request: AccessRequest) -> bool:
    now = asyncio.get_running_loop().time
    deadline = now() + check.seconds
    try:
        async with asyncio.timeout_at(deadline):
            answer = await (_awaited if check.is_async else _threaded)(check, request)
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise  # somebody ends this request
        return _failed(check, error)  # something it waited for was ended: one more way to fail
    except Exception as error:  # noqa: BLE001 - fail closed, whatever an application's function does
        return _failed(check, error)
    return _accepted(check, answer, is_late=now() >= deadline)


def _run_now(check: CheckTerm, request: AccessRequest) -> bool:
    if check.is_async:
        _log.warning("check %s is async, and nothing can be awaited where it is asked", check.value)
        return False
    deadline = time.monotonic() + check.seconds
    try:
        answer: object = check.function(request)
    except Exception as error:  # noqa: BLE001 - as above
        return _failed(check, error)
    return _accepted(check, answer, is_late=time.monotonic() >= deadline)


async def _awaited(check: CheckTerm, request: AccessRequest) -> object:
    return await cast("Awaitable[object]", check.function(request))


async def _threaded(check: CheckTerm, request: AccessRequest) -> object:
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await to_thread.run_sync(_called_in_thread, check, request, abandon_on_cancel=True, limiter=limiter)


def _called_in_thread(check: CheckTerm, request: AccessRequest) -> object:
    if not _threads.acquire(blocking=False):
        raise TooManyThreads
    try:
        return check.function(request)
    finally:
        _threads.release()


def _failed(check: CheckTerm, error: BaseException) -> bool:
    """Say what happened, by type: the text of an error may hold anything."""
    _log.warning("check %s failed with %s", check.value, type(error).__name__)
    return False


def _accepted(check: CheckTerm, answer: object, *, is_late: bool) -> bool:
    """Tell whether an answer is True, and came in time."""
    if is_late:
        _log.warning("check %s took longer than its time", check.value)
    elif not isinstance(answer, bool):
        _log.warning("check %s returned a %s where a bool is due", check.value, type(answer).__name__)
    if inspect.iscoroutine(answer):
        answer.close()
    return answer is True and not is_late
