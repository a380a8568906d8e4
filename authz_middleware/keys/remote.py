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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from .._jose import VerificationKey
from ..errors import Code, ConfigurationError, InvalidToken, KeysUnavailable, Reason
from .clients import as_fetch
from .discovery import discover_jwks_uri
from .fetch import NOT_MODIFIED, Fetched, FetchFailed, fetch_document
from .freshness import read_lifetime
from .jwks import BrokenJWKS, KeySet, parse_jwks
from .settings import KeySettings
from .status import KeyState, KeyStatus

__all__ = ["RemoteJWKS"]

DEFAULTS = KeySettings()

_log = logging.getLogger("authz_middleware")


class _TokenBucket:
    """Allows a burst of fetches for unknown key ids, then one each `interval` seconds."""

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        self._level = float(burst)
        self._filled_at = -math.inf

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._level = min(self._burst, self._level + max(0.0, now - self._filled_at) / self._interval)
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
        fetch: how documents are fetched: an async callable, an `httpx.AsyncClient` or an `httpx2.AsyncClient`.
        settings: the numbers.
        clock: monotonic seconds. jitter: a number within two bounds.
    """

    def __init__(
        self,
        issuer: str,
        algorithms: frozenset[str],
        *,
        jwks_uri: str | None = None,
        fetch: Any = None,
        settings: KeySettings = DEFAULTS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._configured_uri = jwks_uri
        self._settings = settings
        self._fetch = as_fetch(fetch, seconds=settings.fetch_seconds, max_bytes=settings.max_bytes)
        self._clock = clock
        self._jitter = jitter
        # the last known good set and when it is due
        self._keys: KeySet | None = None
        self._etag: tuple[str, str] | None = None  # of which endpoint, and the tag
        self._lifetime = settings.lifetime
        self._fetched_at: float | None = None
        self._fresh_until = -math.inf
        self._usable_until = -math.inf
        self._refresh_at = -math.inf
        # the endpoint, where it was discovered
        self._discovered_uri: str | None = None
        self._discover_at = -math.inf
        # attempts
        self._flight: asyncio.Task[None] | None = None
        self._flights = 0
        self._last_flight_ended = 0
        self._last_good_flight = 0
        self._failures = 0
        self._last_error: str | None = None
        self._retry_at = -math.inf
        # key ids nobody published, and who waits to hear of them
        self._bucket = _TokenBucket(settings.unknown_key_burst, settings.unknown_key_interval)
        self._absent: dict[tuple[str | None, str], float] = {}  # until when
        self._searching = 0

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a published key. A known key never waits while the set is fresh, or stale after a failed refresh.

        Raises:
            InvalidToken: the issuer publishes no such key (`unknown_key`).
            KeysUnavailable: it cannot be said: there are no usable keys, or the latest fetch failed.
        """
        if self._keys is not None and self._clock() < self._refresh_at:  # the usual case, at the least cost
            key = self._keys.find(kid, algorithm)
            if key is not None:
                return key
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

    async def warm_up(self) -> bool:
        """Have a set of keys before the first token needs one. Tell whether there is one that can be used."""
        try:
            await self._usable_keys()
        except KeysUnavailable:
            return False
        return True

    async def aclose(self) -> None:
        """End the fetch under way on this event loop. The source goes on working if it is asked again."""
        flight = self._current_flight()
        if flight is not None:
            flight.cancel()
            await asyncio.wait({flight})

    def status(self) -> KeyStatus:
        """Return how the keys are, without asking for anything."""
        now = self._clock()
        usable = self._keys is not None and now < self._usable_until
        state = KeyState.FRESH if now < self._fresh_until else KeyState.STALE if usable else KeyState.UNAVAILABLE
        next_attempt = max(self._refresh_at, self._retry_at)
        return KeyStatus(
            state=state,
            age=None if self._fetched_at is None else max(0.0, now - self._fetched_at),
            last_error=self._last_error,
            next_refresh=None if not math.isfinite(next_attempt) else max(0.0, next_attempt - now),
            key_ids=() if self._keys is None else self._keys.key_ids,
        )

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
            with self._waiting():
                await self._land()
            if self._keys is not None and (key := self._keys.find(kid, algorithm)) is not None:
                return key
        if self._last_good_flight > flights_before:
            self._remember_absent(kid, algorithm)
        return None

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Count whoever waits to hear of an unknown key: anybody can name one, and each of them holds a request open.

        Raises:
            KeysUnavailable: enough of them wait already.
        """
        if self._searching >= self._settings.max_waiting:
            raise KeysUnavailable(Reason.TOO_MANY_WAITING, 1)
        self._searching += 1
        try:
            yield
        finally:
            self._searching -= 1

    def _remember_absent(self, kid: str | None, algorithm: str) -> None:
        """Remember what a fetch did not turn up, until the next document or for as long as a new token of the bucket.

        A key may be in use before it is published everywhere: were it remembered longer, its tokens would be refused
        although the server names it by now.
        """
        now = self._clock()
        self._absent.pop((kid, algorithm), None)  # entries stand in the order in which they end
        while self._absent and now >= next(iter(self._absent.values())):
            del self._absent[next(iter(self._absent))]
        if len(self._absent) < self._settings.max_absent:
            self._absent[kid, algorithm] = now + self._settings.unknown_key_interval

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
            async with asyncio.timeout(self._settings.fetch_seconds):  # discovery included: somebody may be waiting
                await self._refresh(number)
        except FetchFailed as failure:
            self._record_failure(failure.kind, failure.retry_after)
        except TimeoutError:
            self._record_failure("timeout")
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
        settings = self._settings
        response = await fetch_document(
            self._fetch, uri, conditional, seconds=settings.fetch_seconds, max_bytes=settings.max_bytes
        )
        if number < self._last_good_flight:
            return  # a later flight, on another event loop, has brought a newer document
        lifetime = read_lifetime(response.headers, settings)
        if response.status != NOT_MODIFIED:
            self._replace(response, uri)
            self._lifetime = settings.lifetime if lifetime is None else lifetime
        elif not conditional:
            raise FetchFailed("not_modified_unasked")
        elif lifetime is not None:  # what a 304 leaves out stays as it was (RFC 9111 section 4.3.4)
            self._lifetime = lifetime
        self._record_success(number)

    def _replace(self, response: Fetched, uri: str) -> None:
        keys = parse_jwks(response.body, self._algorithms, max_keys=self._settings.max_keys)
        self._keys = keys if self._keys is None else keys.keeping(self._keys)
        etag = response.headers.get("etag")
        self._etag = (uri, etag) if etag and etag.isascii() else None  # what cannot be sent back is not kept
        self._absent.clear()

    async def _locate(self) -> str:
        if self._configured_uri is not None:
            return self._configured_uri
        if self._discovered_uri is None or self._clock() >= self._discover_at:
            await self._discover()
        return cast("str", self._discovered_uri)

    async def _discover(self) -> None:
        """Read the metadata. If it cannot be had, the last known good endpoint is asked all the same."""
        try:
            self._discovered_uri = await discover_jwks_uri(self._issuer, self._fetch, self._settings)
        except FetchFailed:
            if self._discovered_uri is None:
                raise
        else:
            self._discover_at = self._clock() + self._settings.discovery_lifetime

    def _record_success(self, number: int) -> None:
        if self._failures:
            _log.info("keys of issuer %s: fetched again", self._issuer)
        now, settings = self._clock(), self._settings
        ahead, spread = settings.refresh_ahead, settings.refresh_spread
        self._fetched_at = now
        self._fresh_until = now + self._lifetime
        self._usable_until = now + max(self._lifetime, settings.outage_tolerance)
        self._refresh_at = now + self._lifetime * self._jitter(ahead - spread, ahead + spread)
        self._failures = 0
        self._last_error = None
        self._retry_at = now
        self._last_good_flight = number

    def _record_failure(self, kind: str, retry_after: float | None = None) -> None:
        settings = self._settings
        now, spread = self._clock(), settings.backoff_spread
        delay = settings.shortest_backoff * 2 ** min(self._failures, 20) * self._jitter(1 - spread, 1 + spread)
        delay = min(settings.longest_backoff, delay)
        if retry_after is not None:  # a server that says when to come back is not asked before
            delay = max(delay, min(settings.longest_retry_after, retry_after))
        self._failures += 1
        self._last_error = kind
        self._retry_at = now + delay
        self._discover_at = -math.inf  # perhaps the endpoint moved
        if self._failures == 1:
            _log.warning("keys of issuer %s: fetch failed (%s)", self._issuer, kind)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "keys are fetched under asyncio only; run the application on asyncio, not trio"
        ) from None
