"""What an issuer in this process publishes, and whether it can be had just now: a key source that remembers nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum

from .._jose import ALGORITHMS, VerificationKey
from ..errors import KeysUnavailable, Reason
from ..keys import KeyState, KeyStatus, StaticJWKS

__all__ = ["Availability", "LiveKeys", "StandInKeys"]

RETRY_AFTER_SECONDS = 1


class Availability(StrEnum):
    """What happens to whoever asks for a key."""

    PUBLISHED = "published"
    FAILING = "failing"
    HANGING = "hanging"


class LiveKeys:
    """A key source that asks an issuer anew for every token, and fails or hangs when the issuer is told to.

    `is_local` has an application say at start that it trusts such keys: in production it must not. May be asked from
    any number of event loops and threads at once: a test client runs one loop for each request.

    Args:
        document: returns the JWKS document as it is published at this moment.
    """

    is_local = True

    def __init__(self, document: Callable[[], Mapping[str, object]]) -> None:
        self._document = document
        self._availability = Availability.PUBLISHED
        self._waiting: set[asyncio.Future[None]] = set()
        self._changing = threading.Lock()

    def become(self, availability: Availability) -> None:
        """Change what happens to whoever asks, also to those who wait: they look again."""
        with self._changing:
            self._availability = availability
            released, self._waiting = self._waiting, set()
        for waiter in released:
            with suppress(RuntimeError):  # its loop was closed: nobody waits there any more
                waiter.get_loop().call_soon_threadsafe(_release, waiter)

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a key that is published now.

        Raises:
            InvalidToken: it is not published (`unknown_key`).
            KeysUnavailable: the issuer was told to fail.
        """
        while (waiter := self._waiter()) is not None:
            try:
                await waiter
            finally:  # also when the request is given up
                self._forget(waiter)
        if self._availability is Availability.FAILING:
            raise KeysUnavailable(Reason.KEY_SOURCE_FAILED, RETRY_AFTER_SECONDS)
        return await StaticJWKS(self._document(), ALGORITHMS).get(kid, algorithm)

    def status(self) -> KeyStatus:
        """Return whether a key can be had at this moment."""
        is_published = self._availability is Availability.PUBLISHED
        return KeyStatus(state=KeyState.FRESH if is_published else KeyState.UNAVAILABLE)

    def _waiter(self) -> asyncio.Future[None] | None:
        """Return what to wait for on this event loop, or None if nobody needs to wait."""
        with self._changing:
            if self._availability is not Availability.HANGING:
                return None
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            return waiter

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        with self._changing:
            self._waiting.discard(waiter)


class StandInKeys:
    """The same keys, in the place of those an application configured: what is meant for a test needs no warning."""

    def __init__(self, keys: LiveKeys) -> None:
        self._keys = keys

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a key that is published now; raises as `LiveKeys` does."""
        return await self._keys.get(kid, algorithm)

    def status(self) -> KeyStatus:
        """Return whether a key can be had at this moment."""
        return self._keys.status()


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # given up by the request meanwhile
        waiter.set_result(None)
