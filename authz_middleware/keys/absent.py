"""Key ids that nobody publishes: how often they may cause a fetch, and which of them did so in vain.

A *token bucket* allows a burst of fetches and then one each interval. A *negative cache* remembers what a fetch did not
turn up, so that the same id takes no other token of the bucket. Both may be asked from several threads.
"""

from __future__ import annotations

import math

from .._locks import new_lock

__all__ = ["AbsentKeys", "Name", "TokenBucket"]

Name = tuple[str | None, str]
"""Key id and algorithm."""


class TokenBucket:
    """Allows a burst, then one each `interval` seconds."""

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        self._level = float(burst)
        self._filled_at = -math.inf
        self._changing = new_lock()

    def take(self, now: float, leave: int = 0) -> bool:
        """Take a token if that leaves so many, as far as the bucket holds more than one."""
        with self._changing:
            self._level = min(self._burst, self._level + max(0.0, now - self._filled_at) / self._interval)
            self._filled_at = now
            if self._level < 1 + min(leave, self._burst - 1):
                return False
            self._level -= 1
            return True


class AbsentKeys:
    """At most `limit` keys that were looked for and not found. For `seconds` each is not looked for again.

    A key may be in use before it is published everywhere: were that time longer, its tokens would be refused although
    the server names it by now. That it was not found is known beyond that time: what takes the last token of the
    bucket should be a key that nobody has looked for yet.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._until: dict[Name, float] = {}  # in the order in which their time ends
        self._changing = new_lock()

    def __len__(self) -> int:
        return len(self._until)

    def has(self, name: Name, now: float) -> bool:
        """Tell whether a key was looked for and not found shortly before."""
        return now < self._until.get(name, -math.inf)

    def knows(self, name: Name) -> bool:
        """Tell whether a key was looked for and not found in this document, however long ago."""
        return name in self._until

    def remember(self, name: Name, now: float) -> None:
        """Remember a key that a fetch did not turn up; while there is no room, it is not. One whose time ended goes."""
        with self._changing:
            self._until.pop(name, None)
            oldest = next(iter(self._until), None)
            if oldest is not None and len(self._until) >= self._limit and now >= self._until[oldest]:
                del self._until[oldest]
            if len(self._until) < self._limit:
                self._until[name] = now + self._seconds

    def clear(self) -> None:
        """Forget all: a new document may hold any of them."""
        with self._changing:
            self._until.clear()
