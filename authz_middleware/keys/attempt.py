"""One attempt at a fetch: it ends in time whatever it does, and it knows whether its outcome says anything.

An event loop may stand still between requests, as in a serverless function that is frozen. Then a fetch runs into its
deadline although the server is well, or ends with an answer that has been waiting since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .fetch import FetchFailed
from .jwks import BrokenJWKS

__all__ = ["Attempt", "attempt"]

TICK = 1.0
"""Seconds after which it is looked whether the event loop still runs."""
STANDSTILL = 1.0
"""Seconds that a loop which is only busy may be late by then."""
GRACE = 1.0
"""Seconds that a fetch which is ended has for closing what it opened. One that goes on even so is left to itself."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """What came of an attempt: a result, or why there is none. `counts`: whether it says how the server is now."""

    outcome: T | FetchFailed
    counts: bool


async def attempt(work: Coroutine[Any, Any, T], seconds: float, clock: Callable[[], float]) -> Attempt[T]:
    """Run `work` for so many seconds at most. Raises nothing but a cancellation of the caller's.

    A failure counts if the event loop did not stand still meanwhile. A result counts if it took no longer than twice
    the time allowed: on a busy loop it may be late, and is welcome.
    """
    loop = asyncio.get_running_loop()
    began, deadline, stood_still = clock(), loop.time() + seconds, False
    task = loop.create_task(work)
    try:
        while not task.done() and (left := deadline - loop.time()) > 0:
            ticked, pause = clock(), min(TICK, left)
            await asyncio.wait({task}, timeout=pause)
            stood_still |= clock() - ticked - pause > STANDSTILL
    finally:
        await _end(task)
    took = clock() - began
    outcome = _outcome(task)
    is_failure = isinstance(outcome, FetchFailed)
    return Attempt(outcome, not stood_still if is_failure else took <= 2 * seconds)


async def _end(task: asyncio.Task[T]) -> None:
    task.add_done_callback(_outcome)  # whatever comes of it yet is nobody's business, nor asyncio's log's
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=GRACE)


def _outcome(task: asyncio.Task[T]) -> T | FetchFailed:
    if not task.done() or task.cancelled():
        return FetchFailed("timeout")
    try:
        return task.result()
    except FetchFailed as failure:
        return failure
    except BrokenJWKS as broken:
        return FetchFailed(str(broken))
    except BaseException as error:  # noqa: BLE001 - a user's `Fetch` may raise anything. What ends the process, has
        return FetchFailed(type(error).__name__)  # by now: asyncio lets KeyboardInterrupt and SystemExit through
