"""The keys an authorization server publishes at a JWKS endpoint, and the promises about having them.

The words are the field's. A set is *fresh* for its lifetime, then *stale*. Shortly before that it is refreshed in the
background (*refresh-ahead*). At most one fetch is under way (*single flight*). When fetches fail, the *last known
good* set goes on serving for a while, and retries *back off*. Unknown key ids may cause a fetch as long as a *token
bucket* allows; those a fetch did not turn up are remembered until the next document (*negative cache*).

Nothing here is bound to an event loop before the first request, and no state changes across an `await` but in the
flight itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
import re
import time
from collections.abc import Callable

from .._jose import VerificationKey
from ..errors import Code, ConfigurationError, InvalidToken, KeysUnavailable, Reason
from .discovery import discover_jwks_uri
from .fetch import NOT_MODIFIED, Fetch, Fetched, FetchFailed, HTTPXFetch, fetch_document
from .jwks import BrokenJWKS, KeySet, parse_jwks

__all__ = ["RemoteJWKS"]

DEFAULT_LIFETIME = 600.0
LIFETIME_BOUNDS = (60.0, 3600.0)
REFRESH_AHEAD = (0.7, 0.9)
"""A fresh set is refreshed in the background at a random point in this part of its lifetime."""
DISCOVERY_LIFETIME = 3600.0
OUTAGE_TOLERANCE = 3600.0
BACKOFF_BOUNDS = (1.0, 30.0)
BACKOFF_JITTER = (0.75, 1.25)
BUCKET_BURST = 2
BUCKET_SECONDS = 15.0
MAX_ABSENT = 1024

_MAX_AGE = re.compile(r'(?:^|[,\s])max-age="?(\d{1,9})', re.IGNORECASE)
_log = logging.getLogger("authz_middleware")


class _TokenBucket:
    """Allows a burst of fetches for unknown key ids, then one each `BUCKET_SECONDS`."""

    def __init__(self) -> None:
        self._level = float(BUCKET_BURST)
        self._filled_at = -math.inf

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._level = min(BUCKET_BURST, self._level + max(0.0, now - self._filled_at) / BUCKET_SECONDS)
        self._filled_at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class RemoteJWKS:
    """The key source of one issuer: found by discovery, or at `jwks_uri`.

    Args:
        issuer: the issuer, for discovery and for logs.
        algorithms: what the issuer may sign with; keys for anything else are skipped.
        jwks_uri: the endpoint; None finds it through the issuer's metadata.
        fetch: how documents are fetched.
        outage_tolerance: seconds after the last successful contact during which known keys go on working while
            fetches fail; 0 ends them with their lifetime.
        clock: monotonic seconds. jitter: a number within two bounds.
    """

    def __init__(
        self,
        issuer: str,
        algorithms: frozenset[str],
        *,
        jwks_uri: str | None = None,
        fetch: Fetch | None = None,
        outage_tolerance: float = OUTAGE_TOLERANCE,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._configured_uri = jwks_uri
        self._fetch = fetch if fetch is not None else HTTPXFetch()
        self._outage_tolerance = outage_tolerance
        self._clock = clock
        self._jitter = jitter
        # the last known good set and when it is due
        self._keys: KeySet | None = None
        self._etag: tuple[str, str] | None = None  # of which endpoint, and the tag
        self._fresh_until = -math.inf
        self._usable_until = -math.inf
        self._refresh_at = -math.inf
        # the endpoint, where it was discovered
        self._discovered: tuple[str, float] | None = None
        # attempts
        self._flight: asyncio.Task[None] | None = None
        self._flights = 0
        self._last_flight_ended = 0
        self._last_good_flight = 0
        self._failures = 0
        self._retry_at = -math.inf
        # key ids nobody published
        self._bucket = _TokenBucket()
        self._absent: dict[tuple[str | None, str], float] = {}  # until when

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a published key. A known key never waits while the set is fresh, or stale after a failed refresh.

        Raises:
            InvalidToken: the issuer publishes no such key (`unknown_key`).
            KeysUnavailable: it cannot be said: there are no usable keys, or the latest fetch failed.
        """
        flights_before = self._flights
        keys = await self._usable_keys()
        key = keys.find(kid, algorithm)
        if key is None and self._clock() >= self._absent.get((kid, algorithm), -math.inf):
            key = await self._search(kid, algorithm, flights_before)
        if key is not None:
            return key
        if self._failures:
            raise KeysUnavailable(Reason.UNKNOWN_KEY_AND_FETCH_FAILED, self._seconds_to_retry())
        raise InvalidToken(Code.UNKNOWN_KEY, Reason.KEY_NOT_PUBLISHED)

    # --- having a set -------------------------------------------------------------------------------------------------

    async def _usable_keys(self) -> KeySet:
        now = self._clock()
        is_fresh = now < self._fresh_until
        is_last_known_good = self._failures > 0 and now < self._usable_until
        if is_fresh or is_last_known_good:
            if now >= self._refresh_at and self._may_retry(now):
                self._take_off()  # in the background: nobody waits for it
        elif self._may_retry(now):  # as it does while a flight is under way
            await self._land()
        if self._keys is None or self._clock() >= self._usable_until:
            reason = Reason.NEVER_FETCHED if self._keys is None else Reason.TOO_LONG_WITHOUT_CONTACT
            raise KeysUnavailable(reason, self._seconds_to_retry())
        return self._keys

    async def _search(self, kid: str | None, algorithm: str, flights_before: int) -> VerificationKey | None:
        """Look for a key that the set at hand does not have, until a flight that began after its token arrived ended.

        A flight that began before may have asked the server too early. To join one is free, to start one costs a token
        of the bucket: so there are two rounds at most.
        """
        while self._last_flight_ended <= flights_before:
            if self._current_flight() is None and not self._may_ask(self._clock()):
                return None
            await self._land()
            if self._keys is not None and (key := self._keys.find(kid, algorithm)) is not None:
                return key
        if self._last_good_flight > flights_before:
            self._remember_absent(kid, algorithm)
        return None

    def _remember_absent(self, kid: str | None, algorithm: str) -> None:
        """Remember what a fetch did not turn up, until the next document or for as long as a new token of the bucket.

        A key may be in use before it is published everywhere: were it remembered longer, its tokens would be refused
        although the server names it by now.
        """
        now = self._clock()
        self._absent.pop((kid, algorithm), None)  # entries stand in the order in which they end
        while self._absent and now >= next(iter(self._absent.values())):
            del self._absent[next(iter(self._absent))]
        if len(self._absent) < MAX_ABSENT:
            self._absent[kid, algorithm] = now + BUCKET_SECONDS

    # --- flights ------------------------------------------------------------------------------------------------------

    def _may_retry(self, now: float) -> bool:
        return now >= self._retry_at

    def _may_ask(self, now: float) -> bool:
        """Whether a flight may start for the sake of an unknown key. Takes from the bucket if so."""
        return self._may_retry(now) and self._bucket.take(now)

    def _seconds_to_retry(self) -> int:
        wait = self._retry_at - self._clock()
        return max(1, math.ceil(wait)) if math.isfinite(wait) else 1

    def _current_flight(self) -> asyncio.Task[None] | None:
        """Return the flight under way on this event loop, if there is one."""
        flight = self._flight
        if flight is None or flight.done() or flight.get_loop() is not _running_loop():
            return None
        return flight

    def _take_off(self) -> asyncio.Task[None]:
        """Start the flight, or return the one under way."""
        flight = self._current_flight()
        if flight is None:
            loop = _running_loop()
            self._flights += 1
            # In a context of its own: the flight belongs to everybody and may outlive the request that started it.
            flight = contextvars.Context().run(loop.create_task, self._fly(self._flights))
            self._flight = flight  # a task nobody refers to may be collected
        return flight

    async def _land(self) -> None:
        """Wait for the flight. `asyncio.wait` neither passes on its failure nor cancels it with a caller."""
        await asyncio.wait({self._take_off()})

    async def _fly(self, number: int) -> None:
        """Fetch once and record the outcome. Raises nothing: it concerns all who wait, and perhaps nobody does."""
        try:
            await self._refresh(number)
        except FetchFailed as failure:
            self._record_failure(failure.kind)
        except BrokenJWKS as broken:
            self._record_failure(str(broken))
        except Exception as error:  # noqa: BLE001 - a response of an odd type, from a `Fetch` of the application's own
            self._record_failure(type(error).__name__)
        finally:
            self._last_flight_ended = max(self._last_flight_ended, number)

    async def _refresh(self, number: int) -> None:
        uri = await self._locate()
        # An ETag holds for the endpoint that gave it (RFC 9110 section 8.8.3).
        conditional = {"If-None-Match": self._etag[1]} if self._etag is not None and self._etag[0] == uri else {}
        response = await fetch_document(self._fetch, uri, conditional)
        if number < self._last_good_flight:
            return  # a later flight, on another event loop, has brought a newer document
        lifetime = _lifetime(response)
        if response.status != NOT_MODIFIED:
            self._replace(response, uri)
        elif not conditional:
            raise FetchFailed("not_modified_unasked")
        self._record_success(lifetime, number)

    def _replace(self, response: Fetched, uri: str) -> None:
        self._keys = parse_jwks(response.body, self._algorithms)
        etag = response.headers.get("etag")
        self._etag = (uri, etag) if etag and etag.isascii() else None  # what cannot be sent back is not kept
        self._absent.clear()

    async def _locate(self) -> str:
        if self._configured_uri is not None:
            return self._configured_uri
        if self._discovered is None or self._clock() >= self._discovered[1]:
            uri = await discover_jwks_uri(self._issuer, self._fetch)
            self._discovered = (uri, self._clock() + DISCOVERY_LIFETIME)
        return self._discovered[0]

    def _record_success(self, lifetime: float, number: int) -> None:
        if self._failures:
            _log.info("keys of issuer %s: fetched again", self._issuer)
        now = self._clock()
        self._fresh_until = now + lifetime
        self._usable_until = now + max(lifetime, self._outage_tolerance)
        self._refresh_at = now + lifetime * self._jitter(*REFRESH_AHEAD)
        self._failures = 0
        self._retry_at = now
        self._last_good_flight = number

    def _record_failure(self, kind: str) -> None:
        shortest, longest = BACKOFF_BOUNDS
        delay = min(longest, shortest * 2 ** min(self._failures, 10))
        self._failures += 1
        self._retry_at = self._clock() + delay * self._jitter(*BACKOFF_JITTER)
        self._discovered = None  # perhaps the endpoint moved
        if self._failures == 1:
            _log.warning("keys of issuer %s: fetch failed (%s)", self._issuer, kind)


def _lifetime(response: Fetched) -> float:
    shortest, longest = LIFETIME_BOUNDS
    max_age = _MAX_AGE.search(response.headers.get("cache-control", ""))
    return DEFAULT_LIFETIME if max_age is None else min(longest, max(shortest, float(max_age[1])))


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "keys are fetched under asyncio only; run the application on asyncio, not trio"
        ) from None
