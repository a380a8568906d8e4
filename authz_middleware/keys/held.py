"""The last known good set of keys: what it is, which response it came with, and until when it counts for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .jwks import KeySet
from .settings import KeySettings

__all__ = ["HeldKeys", "Jitter", "Times"]

MOST_ETAG = 1024
"""Characters of an ETag that is sent back: servers refuse header fields that are too long."""

Jitter = Callable[[float, float], float]
"""Returns a number between two."""


@dataclass(frozen=True, slots=True)
class Times:
    """When a set counts for what, in monotonic seconds.

    Attributes:
        lifetime: for how long it is fresh.
        contact: when the response that brought or confirmed it was asked for.
        fresh_until: when it is stale. usable_until: when it ends, whatever happens.
        refresh_at: when it is refreshed in the background.
    """

    lifetime: float
    contact: float
    fresh_until: float
    usable_until: float
    refresh_at: float

    @classmethod
    def since(cls, contact: float, lifetime: float, settings: KeySettings, jitter: Jitter) -> Times:
        """Return the times of a set that is fresh for so long, counted from the contact."""
        ahead, spread = settings.refresh_ahead, settings.refresh_spread
        if settings.outage_tolerance:  # 0: none beyond the lifetime
            lifetime = min(lifetime, settings.outage_tolerance)
        return cls(
            lifetime=lifetime,
            contact=contact,
            fresh_until=contact + lifetime,
            usable_until=contact + max(lifetime, settings.outage_tolerance),
            refresh_at=contact + lifetime * jitter(ahead - spread, ahead + spread),
        )


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """A set of keys. It is replaced whole, so that nobody sees half of a change.

    Attributes:
        uri: the endpoint that gave it. etag: the tag that came with it, if there was one.
        flight: the number of the fetch that brought or confirmed it.
    """

    keys: KeySet
    uri: str
    etag: str | None
    flight: int
    times: Times

    def condition(self, uri: str) -> Mapping[str, str]:
        """Return the request headers that ask for a document only if it is another one.

        An ETag holds for the endpoint that gave it (RFC 9110 section 8.8.3).
        """
        etag = self.etag
        sendable = isinstance(etag, str) and 0 < len(etag) <= MOST_ETAG and etag.isascii() and etag.isprintable()
        return {"If-None-Match": etag} if etag and sendable and self.uri == uri else {}
