"""Failed attempts since the last good one, and when the next may be made: the *back-off*."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .fetch import FetchFailed
from .held import Jitter
from .settings import KeySettings

__all__ = ["Outage"]

MOST_DOUBLINGS = 20
"""More make no difference, and would make an endless number of it."""


@dataclass(frozen=True, slots=True)
class Outage:
    """How often fetching failed in a row, why the last time, and when it may be tried again (monotonic seconds)."""

    failures: int = 0
    kind: str | None = None
    retry_at: float = -math.inf

    def after(self, failure: FetchFailed, now: float, settings: KeySettings, jitter: Jitter) -> Outage:
        """Return the state after one more failure."""
        longest, spread = settings.longest_backoff, settings.backoff_spread
        delay = min(longest, settings.shortest_backoff * 2 ** min(self.failures, MOST_DOUBLINGS))
        delay *= jitter(1 - spread, min(1 + spread, longest / delay))  # spread at the longest as well, but downwards
        if failure.retry_after is not None:  # a server that says when to come back is not asked before
            delay = max(delay, min(settings.longest_retry_after, failure.retry_after))
        return Outage(self.failures + 1, failure.kind, now + delay)

    def allows_attempt(self, now: float) -> bool:
        """Tell whether it is time to try again."""
        return now >= self.retry_at

    def goes_on(self, now: float, settings: KeySettings) -> bool:
        """Tell whether fetching fails and is tried again and again: where no event loop runs between requests, not."""
        return self.failures > 0 and now < self.retry_at + settings.longest_backoff + settings.fetch_seconds

    def seconds_left(self, now: float) -> int:
        """Return the whole seconds after which to ask again, for `Retry-After`: at least one."""
        return max(1, math.ceil(self.retry_at - now)) if now < self.retry_at else 1
