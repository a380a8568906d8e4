"""The keys an authorization server publishes at a JWKS endpoint, and the promises about having them.

The words are the field's. A set is *fresh* for its lifetime, then *stale*. Shortly before that it is refreshed in the
background (*refresh-ahead*). At most one fetch is under way (*single flight*). When fetches fail, the *last known
good* set goes on serving for a while, and retries *back off*. Unknown key ids may cause a fetch as long as a *token
bucket* allows; those a fetch did not turn up are remembered until the next document (*negative cache*).

What is known is replaced whole, at the end of a flight: no request sees half of a change, on any event loop.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from functools import partial

from .._jose import ALGORITHMS, VerificationKey
from .._locks import new_lock
from ..errors import Code, ConfigurationError, InvalidToken, KeysUnavailable, Reason
from .absent import AbsentKeys, Name, TokenBucket
from .attempt import attempt
from .clients import FETCH_FAULT, AsyncClient, as_fetch, is_fetch
from .discovery import JWKSEndpoint
from .fetch import NOT_MODIFIED, Fetch, FetchFailed, fetch_document, parse_document
from .flights import Flights
from .freshness import read_lifetime
from .held import HeldKeys, Jitter, Times
from .jwks import KeySet, parse_jwks
from .outage import Outage
from .settings import KeySettings
from .status import KeyState, KeyStatus
from .urls import check_url

__all__ = ["RemoteJWKS"]

_log = logging.getLogger("authz_middleware")


class RemoteJWKS:
    """The key source of one issuer: found by discovery, or at `jwks_uri`.

    Args:
        issuer: the issuer, for discovery and for logs.
        algorithms: what the issuer may sign with; keys for anything else are skipped.
        jwks_uri: the endpoint; None finds it through the issuer's metadata.
        fetch: how documents are fetched: an async callable, an `httpx.AsyncClient` or an `httpx2.AsyncClient`.
        settings: the numbers; None: the defaults.
        clock: monotonic seconds. jitter: a number within two bounds.

    Raises:
        ConfigurationError: an argument that cannot be meant; with every fault found.
    """

    def __init__(
        self,
        issuer: str,
        algorithms: frozenset[str],
        *,
        jwks_uri: str | None = None,
        fetch: Fetch | AsyncClient | None = None,
        settings: KeySettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Jitter = random.uniform,
    ) -> None:
        settings = settings or KeySettings()
        faults = check_url(issuer, "issuer") + ([] if jwks_uri is None else check_url(jwks_uri, "jwks_uri"))
        if not faults and jwks_uri is not None and not settings.allows_host_of(jwks_uri):
            faults.append("jwks_uri is on a host that allowed_hosts= does not list; add it there")
        if fetch is not None and not is_fetch(fetch):
            faults.append(FETCH_FAULT)
        if not algorithms or not ALGORITHMS.issuperset(algorithms):
            faults.append(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
        if faults:
            raise ConfigurationError(*(f"RemoteJWKS: {fault}" for fault in faults))
        self._issuer = issuer
        self._algorithms = algorithms
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._fetch = as_fetch(fetch, seconds=settings.fetch_seconds, max_bytes=settings.max_bytes)
        self._endpoint = JWKSEndpoint(issuer, jwks_uri, self._fetch, settings, clock)
        self._flights = Flights(self._fly, 2 * settings.fetch_seconds + 1)  # the rest of an attempt, and one more
        self._held: HeldKeys | None = None  # the last known good set
        self._outage = Outage()
        self._bucket = TokenBucket(settings.unknown_key_burst, settings.unknown_key_interval)
        self._absent = AbsentKeys(settings.max_absent, settings.unknown_key_interval)
        self._recording = new_lock()  # flights of several event loops may end at once

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a published key. A known key never waits while the set is fresh, or stale after a failed refresh.

        Raises:
            InvalidToken: the issuer publishes no such key (`unknown_key`).
            KeysUnavailable: it cannot be said: there are no usable keys, or the latest fetch failed.
        """
        held = self._held
        if held is not None and self._clock() < held.times.refresh_at and not self._outage.failures:  # the usual case
            key = held.keys.find(kid, algorithm)
            if key is not None:
                return key
        begun_before = self._flights.begun
        key = (await self._usable_keys()).find(kid, algorithm)
        if key is None and not self._absent.has((kid, algorithm), self._clock()):
            key = await self._search(kid, algorithm, begun_before)
        if key is not None:
            return key
        if self._outage.failures:
            raise self._unavailable(Reason.UNKNOWN_KEY_AND_FETCH_FAILED)
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
        await self._flights.aclose()

    def status(self) -> KeyStatus:
        """Return how the keys are, without asking for anything."""
        now, held, outage = self._clock(), self._held, self._outage
        if held is None:
            next_attempt = outage.retry_at
            state = KeyState.UNAVAILABLE
        else:
            next_attempt = outage.retry_at if outage.failures else held.times.refresh_at
            usable = KeyState.STALE if now < held.times.usable_until else KeyState.UNAVAILABLE
            state = KeyState.FRESH if now < held.times.fresh_until else usable
        return KeyStatus(
            state=state,
            age=None if held is None else max(0.0, now - held.times.contact),
            last_error=outage.kind,
            next_refresh=max(0.0, next_attempt - now) if math.isfinite(next_attempt) else None,
            key_ids=() if held is None else held.keys.key_ids,
        )

    # --- having a key -------------------------------------------------------------------------------------------------

    async def _usable_keys(self) -> KeySet:
        """Return the set at hand, refreshed first where nobody may go on without.

        Raises:
            KeysUnavailable: there is none, or none that may be used any more.
        """
        now, held, outage = self._clock(), self._held, self._outage
        may_attempt = outage.allows_attempt(now)  # also while a flight is under way
        is_failing = outage.goes_on(now, self._settings)
        if held is not None and now < (held.times.usable_until if is_failing else held.times.fresh_until):
            if (now >= held.times.refresh_at or outage.failures) and may_attempt:
                self._flights.take_off()  # in the background: nobody waits for it
        elif may_attempt:
            await self._flights.take_off().landed()
        held = self._held
        if held is None:
            raise self._unavailable(Reason.NEVER_FETCHED)
        if self._clock() >= held.times.usable_until:
            raise self._unavailable(Reason.TOO_LONG_WITHOUT_CONTACT)
        return held.keys

    async def _search(self, kid: str | None, algorithm: str, begun_before: int) -> VerificationKey | None:
        """Look for a key that the set at hand does not have, until a flight that began after its token arrived ended.

        A flight that began before may have asked the server too early. To join one is free, to begin one costs a token
        of the bucket: so there are two rounds at most.

        Raises:
            KeysUnavailable: enough requests wait for such a flight already.
        """
        for _ in range(2):
            if self._flights.ended > begun_before:
                break
            if self._flights.current() is None and not self._may_begin_search((kid, algorithm)):
                return None
            await self._land_searching()
            held = self._held
            if held is not None and (key := held.keys.find(kid, algorithm)) is not None:
                return key
        if self._held is None or self._held.flight <= begun_before or self._outage.failures:  # no answer, or an old one
            raise self._unavailable(Reason.UNKNOWN_KEY_AND_FETCH_FAILED)
        self._absent.remember((kid, algorithm), self._clock())
        return None

    def _may_begin_search(self, name: Name) -> bool:
        """Take a token of the bucket for a search. A key that was not found before leaves one for a rotation."""
        now = self._clock()
        leave = 1 if self._absent.knows(name) else 0
        if not self._outage.allows_attempt(now) or not self._bucket.take(now, leave):
            return False
        self._endpoint.doubt(self._settings.shortest_lifetime)  # perhaps the keys have moved
        return True

    async def _land_searching(self) -> None:
        """Wait for the flight, as one of so many: anybody can name a key, and each who waits holds a request open."""
        flight = self._flights.take_off()
        if flight.searching >= self._settings.max_waiting:
            raise KeysUnavailable(Reason.TOO_MANY_WAITING, 1)
        flight.searching += 1
        try:
            await flight.landed()
        finally:
            flight.searching -= 1

    def _unavailable(self, reason: Reason) -> KeysUnavailable:
        return KeysUnavailable(reason, self._outage.seconds_left(self._clock()))

    # --- fetching -----------------------------------------------------------------------------------------------------

    async def _fly(self, number: int) -> None:
        """Fetch and record the outcome. Raises nothing: it concerns all who wait, and perhaps nobody does.

        What does not count is made anew. That is seldom: where an event loop stands still, it does so for long.
        """
        counts = False
        while not counts:
            made = await attempt(self._refresh(number), self._settings.fetch_seconds, self._clock)
            counts = made.counts
            if not isinstance(made.outcome, FetchFailed):
                self._record_success(made.outcome)  # if only for the moment: it is newer than what is at hand
            elif counts:
                self._record_failure(number, made.outcome)

    async def _refresh(self, number: int) -> HeldKeys:
        """Return the set that the server has now.

        Raises:
            FetchFailed, BrokenJWKS: it cannot be had.
        """
        settings, asked_at = self._settings, self._clock()
        uri = await self._endpoint.locate()
        known = self._held
        condition = {} if known is None else known.condition(uri)
        get = partial(fetch_document, self._fetch, uri, seconds=settings.fetch_seconds, max_bytes=settings.max_bytes)
        try:
            response = await get(condition)
        except FetchFailed as failure:
            if not (condition and failure.refused):
                raise
            condition = {}  # perhaps it is the condition that something on the way does not like
            response = await get(condition)
        lifetime = read_lifetime(response.headers, settings)
        if response.status != NOT_MODIFIED:
            keys, etag = await self._read_keys(response.body, known), response.headers.get("etag")
            lifetime = settings.lifetime if lifetime is None else lifetime
        elif known is None or not condition:
            raise FetchFailed("not_modified_unasked")
        else:  # what a 304 leaves out stays as it was (RFC 9111 section 4.3.4)
            keys, etag = known.keys, known.etag
            lifetime = known.times.lifetime if lifetime is None else lifetime
        return HeldKeys(keys, uri, etag, number, Times.since(asked_at, lifetime, settings, self._jitter))

    async def _read_keys(self, document: bytes, known: HeldKeys | None) -> KeySet:
        parse = partial(parse_jwks, algorithms=self._algorithms, max_keys=self._settings.max_keys)
        keys = await parse_document(parse, document)
        return keys if known is None else keys.keeping(known.keys)

    def _record_success(self, held: HeldKeys) -> None:
        with self._recording:
            known, outage = self._held, self._outage
            if known is not None and held.flight < known.flight:
                return  # a later flight, on another event loop, has brought a newer document
            self._held, self._outage = held, Outage()
        if known is None or held.keys != known.keys:
            self._absent.clear()  # a new document may name any of them
        if outage.failures:
            _log.info("keys of issuer %s: fetched again", self._issuer)

    def _record_failure(self, number: int, failure: FetchFailed) -> None:
        with self._recording:
            if self._held is not None and number < self._held.flight:
                return  # a later flight, on another event loop, did better
            outage = self._outage.after(failure, self._clock(), self._settings, self._jitter)
            self._outage = outage
        self._endpoint.doubt()
        if outage.failures == 1:
            what = failure.kind if failure.cause is None else f"{failure.kind}: {failure.cause}"
            _log.warning("keys of issuer %s: fetch failed (%s)", self._issuer, what)
