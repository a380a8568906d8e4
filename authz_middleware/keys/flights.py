"""Single flight: whoever asks while a fetch is under way waits for that one, and whoever gives up ends it for nobody.

A task belongs to one event loop, so each loop has a flight of its own; they are numbered in one row. Nothing here is
bound to a loop before the first request, and what a loop that has ended left behind is dropped.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from .._locks import new_lock
from ..errors import ConfigurationError

__all__ = ["Flight", "Flights", "NoEventLoop", "running_loop"]


class NoEventLoop(ConfigurationError):
    """There is no event loop of asyncio."""


@dataclass(slots=True, eq=False)
class Flight:
    """One fetch under way. `searching`: how many requests wait to hear of a key that nobody knows yet."""

    task: asyncio.Task[None]
    longest: float
    searching: int = 0

    async def landed(self) -> None:
        """Wait for its end, or as long as anybody does. Neither passes on its failure nor cancels it with a caller."""
        await asyncio.wait({self.task}, timeout=self.longest)


class Flights:
    """Runs `fly`, once at a time on each event loop, in a task that belongs to no request.

    Args:
        fly: fetches, given the flight's number; records the outcome and raises nothing.
        longest: seconds for which anybody waits for one.

    Attributes:
        begun: the number of the latest flight that began. ended: the same of those that ended.
    """

    def __init__(self, fly: Callable[[int], Coroutine[Any, Any, None]], longest: float) -> None:
        self._fly = fly
        self._longest = longest
        self._by_loop: dict[asyncio.AbstractEventLoop, Flight] = {}
        self._changing = new_lock()
        self.begun = 0
        self.ended = 0

    def current(self) -> Flight | None:
        """Return the flight under way on this event loop, if there is one.

        Raises:
            NoEventLoop: there is no event loop of asyncio.
        """
        flight = self._by_loop.get(running_loop())
        return None if flight is None or flight.task.done() else flight

    def take_off(self) -> Flight:
        """Begin the flight, or return the one under way."""
        flight = self.current()
        if flight is None:
            loop = asyncio.get_running_loop()
            # In a context of its own: the flight belongs to everybody and may outlive the request that began it.
            flight = Flight(contextvars.Context().run(loop.create_task, self._run()), self._longest)
            with self._changing:  # a task nobody refers to may be collected
                open_loops = {known: latest for known, latest in self._by_loop.items() if not known.is_closed()}
                self._by_loop = {**open_loops, loop: flight}
        return flight

    async def aclose(self) -> None:
        """End the flight of this event loop."""
        flight = self.current() if self._by_loop else None
        if flight is not None:
            flight.task.cancel()
            await flight.landed()

    async def _run(self) -> None:
        with self._changing:  # numbered when it begins to ask: who came until then is told what was so after they came
            self.begun = number = self.begun + 1
        try:
            await self._fly(number)
        finally:
            with self._changing:
                self.ended = max(self.ended, number)


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs.

    Raises:
        NoEventLoop: there is none, or one of another library.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise NoEventLoop("keys are fetched under asyncio only; run the application on asyncio, not trio") from None
