"""Time that passes when a scenario says so, for event loops and for modules that ask the `time` module."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

START = 1_000_000.0


class Clock:
    """Monotonic seconds. Moved by one thread at a time, read by any."""

    def __init__(self) -> None:
        self.now = START
        self._began = time.time()
        self._moving = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def epoch(self) -> float:
        """Return the seconds since 1970, which pass with the others."""
        return self._began + self.now - START

    def advance(self, seconds: float) -> None:
        with self._moving:
            self.now += seconds


class InjectedLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers, and so all timeouts of asyncio and anyio, follow an injected clock.

    Sockets stay real: the loop waits for them as long as they take, and no time passes meanwhile.
    """

    def __init__(self, clock: Clock) -> None:
        self._injected = clock
        self.turns = 0  # asyncio asks for the time in every turn of the loop
        super().__init__()

    def time(self) -> float:
        self.turns += 1
        return self._injected.now


@contextmanager
def injected_into(clock: Clock, *modules: ModuleType) -> Iterator[None]:
    """Replace the name `time` in modules that say `import time` by an object that answers from the clock."""
    stand_in: Any = SimpleNamespace(monotonic=clock, time=clock.epoch)
    patches = [mock.patch.object(module, "time", stand_in) for module in modules]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
