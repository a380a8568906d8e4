"""Running checks: awaited where that is possible, each within its time, so that nobody waits for ever.

A sync function runs in a thread, an async one in a task. One that hangs keeps its thread, or the task that does not
heed its cancellation, until it ends, so there are only so many of them: beyond that, checks refuse.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from concurrent.futures import Future
from typing import Any

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from .checks import CheckTerm, next_check
from .core import NOTHING_CHECKED, Answers, Policy, Term
from .request import AccessRequest

__all__ = ["run_checks", "run_checks_now"]

MAX_THREADS = 40
"""How many checks of one event loop run in threads at a time; others wait, within their time."""
MAX_HANGING = 80
"""How many threads checks of all loops may hold, those included that nobody waits for any more; and how many tasks that
nobody waits for may go on."""
UNAWAITED = "check %s is async, and nothing can be awaited where it is asked"

_limiter: RunVar[CapacityLimiter] = RunVar("authz_middleware.checks")
_threads = threading.BoundedSemaphore(MAX_HANGING)
_abandoned: set[asyncio.Future[Any]] = set()
"""Tasks that nobody waits for any more. An event loop alone would not keep them alive."""
_log = logging.getLogger("authz_middleware")


class TooManyHanging(Exception):
    """Checks that nobody waits for any more hold every thread there is for checks, or go on in as many tasks."""


async def run_checks(policy: Policy, request: AccessRequest) -> Answers:
    """Return what its checks answered, as far as they had to be asked."""
    if not policy.has_checks:
        return NOTHING_CHECKED
    answers: dict[Term, bool | None] = {}
    while (check := next_check(policy, request, answers)) is not None:
        answers[check] = await _run(check, request)
    return answers


def run_checks_now(policy: Policy, request: AccessRequest) -> Answers:
    """Return what its checks answered, where nothing can be awaited. What has to be is answered with None."""
    if not policy.has_checks:
        return NOTHING_CHECKED
    answers: dict[Term, bool | None] = {}
    while (check := next_check(policy, request, answers)) is not None:
        answers[check] = _run_now(check, request)
    return answers


async def _run(check: CheckTerm, request: AccessRequest) -> bool:
    now = asyncio.get_running_loop().time
    deadline = now() + check.seconds
    asked = asyncio.ensure_future(_answer(check, request))
    try:
        await asyncio.wait({asked}, timeout=check.seconds)  # asyncio.timeout would wait for who does not heed it
    except asyncio.CancelledError:  # somebody ends this request, and the check with it
        _abandon(asked)
        await asyncio.wait({asked}, timeout=max(deadline - now(), 0))  # what is left of its time, to clean up
        raise
    if not asked.done():
        _abandon(asked)
        return _failed(check, TimeoutError())
    try:
        answer = asked.result()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - fail closed, whatever a function does
        return _failed(check, error)
    return _accepted(check, answer, is_late=now() >= deadline)


def _abandon(asked: asyncio.Future[Any]) -> None:
    """Cancel a check that nobody waits for any more, and keep it until it has ended."""
    _abandoned.add(asked)
    asked.add_done_callback(_forget)
    asked.cancel()


def _forget(ended: asyncio.Future[Any]) -> None:
    _abandoned.discard(ended)
    if not ended.cancelled():
        ended.exception()  # nobody else will look at it, and asyncio would log its text


def _run_now(check: CheckTerm, request: AccessRequest) -> bool | None:
    if check.is_async:
        _log.warning(UNAWAITED, check.value)
        return None
    deadline = time.monotonic() + check.seconds
    asked: Future[object] = Future()
    context = contextvars.copy_context()
    try:
        threading.Thread(target=context.run, args=(_call_for, asked, check, request), daemon=True).start()
        answer = asked.result(check.seconds)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - as above
        return _failed(check, error)
    if inspect.isawaitable(answer):
        _close(answer)
        _log.warning(UNAWAITED, check.value)
        return None
    return _accepted(check, answer, is_late=time.monotonic() >= deadline)


async def _answer(check: CheckTerm, request: AccessRequest) -> object:
    """Return what a check answers, awaited where it has to be: a lambda around an async function is a sync one."""
    if len(_abandoned) >= MAX_HANGING:
        raise TooManyHanging
    answer = check.function(request) if check.is_async else await _threaded(check, request)
    return await answer if inspect.isawaitable(answer) else answer


async def _threaded(check: CheckTerm, request: AccessRequest) -> object:
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    return await to_thread.run_sync(_called_in_thread, check, request, abandon_on_cancel=True, limiter=limiter)


def _call_for(asked: Future[object], check: CheckTerm, request: AccessRequest) -> None:
    """Call a check in a thread for whoever waits for `asked`."""
    try:
        asked.set_result(_called_in_thread(check, request))
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        asked.set_exception(error)


def _called_in_thread(check: CheckTerm, request: AccessRequest) -> object:
    threads = _threads
    if not threads.acquire(blocking=False):
        raise TooManyHanging
    try:
        return check.function(request)
    finally:
        threads.release()


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
    _close(answer)
    return answer is True and not is_late


def _close(answer: object) -> None:
    """End a coroutine that nobody will await, so that Python does not complain of it."""
    if inspect.iscoroutine(answer):
        answer.close()
