"""One scenario's surroundings: the clock, the server, and how requests are driven until they are answered.

Time passes only in two ways. A scenario moves the clock between requests. While a request cannot go on because the
server holds its answer, the driver moves it: by a second at a time, or by one round trip where it lets the answer go.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .clock import Clock, InjectedLoop
from .server import JWKS_PATH, METADATA_PATH, Fault, Server
from .tokens import SigningKey, unknown_key_tokens

ROUND_TRIP = 0.1
"""Injected seconds a gated answer takes."""
STEP = 1.0
SETTLING = 30
PAUSE = 0.003
"""Real seconds after which the set of held answers must be unchanged before time passes."""
PATIENCE = 240
"""Real seconds after which a scenario is stuck, which is an error of this program."""

Api = Callable[[str], Awaitable[int]]
"""An API that answers a request with this access token: the HTTP status."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, how long it took on the injected clock, and whether nothing else could run meanwhile."""

    status: int
    waited: float
    has_blocked: bool


@dataclass(frozen=True, slots=True)
class Fetches:
    """How often the server was asked."""

    discovery: int
    jwks: int
    not_modified: int = 0


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of the authorization server, made once for all scenarios."""

    old: SigningKey
    new: tuple[SigningKey, ...]

    @classmethod
    def make(cls, rotations: int = 3) -> Keyring:
        return cls(SigningKey("key-0"), tuple(SigningKey(f"key-{number + 1}") for number in range(rotations)))


class World:
    """What a scenario acts on."""

    def __init__(self, server: Server, keyring: Keyring, clock: Clock, api: Api, *, moves_time: bool) -> None:
        self.server = server
        self.keyring = keyring
        self.clock = clock
        self._api = api
        self._moves_time = moves_time
        self._held = asyncio.Event()
        self._is_over = False
        self._settled_at = 0  # how many answers were held when no more requests arrived
        loop = asyncio.get_running_loop()
        if not isinstance(loop, InjectedLoop):
            raise TypeError("scenarios run on an InjectedLoop")
        self._loop = loop
        server.on_hold = lambda: _wake(loop, self._held)

    # --- requests -----------------------------------------------------------------------------------------------------

    def good(self, count: int = 1, key: SigningKey | None = None, *, skip: int = 0) -> list[str]:
        """Return good tokens of a key, the old one if none is named."""
        return (key or self.keyring.old).tokens(self.server.issuer, count + skip)[skip:]

    def unknown(self, count: int, *, skip: int = 0) -> Sequence[str]:
        """Return tokens of that many unknown keys."""
        return unknown_key_tokens(self.server.issuer, 10_000)[skip : skip + count]

    async def ask(self, tokens: Iterable[str]) -> list[Answer]:
        """Send a request with each token, all at once, and return the answers in the same order."""
        self._settled_at = 0
        began = self.clock.now
        tasks = [asyncio.create_task(self._ask(token, began)) for token in tokens]
        everything = asyncio.gather(*tasks)
        while not everything.done():
            await self._settle()
            if everything.done():
                break
            if self._moves_time and self.server.held():
                await self._pass_time()
            else:
                await self._wait(everything)
        return await everything

    async def ask_one(self, token: str) -> Answer:
        return (await self.ask([token]))[0]

    async def _ask(self, token: str, began: float) -> Answer:
        turns = self._loop.turns
        status = await self._api(token)
        waited = self.clock.now - began
        return Answer(status, waited, waited > 0 and self._loop.turns == turns)

    async def finish(self) -> None:
        """Let background work end before the loop does: HTTP clients leave sockets open where they are cut off."""
        self.server.fault = Fault.NONE
        self.server.is_paced = False
        while len(asyncio.all_tasks()) > 1:
            self.server.let_go()
            await _pause()

    # --- time ---------------------------------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Let time pass between requests: at once if nothing goes on in the background, else second by second."""
        until = self.clock.now + seconds
        while await self._is_held_in_background() and self.clock.now < until:
            self.clock.advance(min(STEP, until - self.clock.now))
            if self.server.fault is Fault.DRIP:
                self.server.let_go()
        self.clock.advance(max(0.0, until - self.clock.now))

    async def _is_held_in_background(self) -> bool:
        """Let background work go on until it has ended, or waits for an answer that does not come at once."""
        await self._settle()
        while self._moves_time and len(asyncio.all_tasks()) > 1:
            if not self.server.held():
                await _pause()
            elif self.server.fault is Fault.GATED:
                self.server.let_go()
            else:
                return True
            await self._settle()
        return False

    async def _settle(self) -> None:
        for _ in range(SETTLING):
            await asyncio.sleep(0)

    async def _wait(self, everything: asyncio.Future[list[Answer]]) -> None:
        """Wait until all is answered, or the server holds an answer."""
        self._held.clear()
        if self._moves_time and self.server.held():
            return
        holding = asyncio.create_task(self._held.wait())
        either: list[asyncio.Future[Any]] = [everything, holding]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        holding.cancel()
        if self._is_over:
            raise RuntimeError("a scenario is stuck")

    async def _pass_time(self) -> None:
        held = self.server.held()
        if held != self._settled_at:
            await _pause()
            self._settled_at = held
            if self.server.held() != held:
                return  # more requests are still arriving
        gated = self.server.fault is Fault.GATED
        self.clock.advance(ROUND_TRIP if gated else STEP)
        if self.server.fault is not Fault.HANG:
            self.server.let_go()

    @contextmanager
    def deadline(self) -> Iterator[None]:
        """End a wait that lasts too long in real time; the loop's own timers stand still."""

        def expire() -> None:
            self._is_over = True
            _wake(self._loop, self._held)

        timer = threading.Timer(PATIENCE, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    # --- what the server saw ------------------------------------------------------------------------------------------

    @contextmanager
    def counting(self) -> Iterator[Callable[[], Fetches]]:
        """Count the fetches from here on."""
        since = len(self.server.seen)
        yield lambda: self._fetches(since)

    def _fetches(self, since: int) -> Fetches:
        return Fetches(
            discovery=self.server.count(METADATA_PATH, since),
            jwks=self.server.count(JWKS_PATH, since),
            not_modified=sum(seen.not_modified for seen in self.server.seen[since:]),
        )


def statuses(answers: Iterable[Answer]) -> Counter[int]:
    """Count answers by status."""
    return Counter(answer.status for answer in answers)


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)


async def _pause() -> None:
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, PAUSE)
