"""The issuer's endpoints for the code flow, discovered when a document is first asked for, and kept."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable

from ..issuers import TrustedIssuer
from ..keys import FetchFailed, KeySettings
from ..keys.clients import as_fetch, is_client
from ..keys.discovery import CodeFlow, discover_code_flow

__all__ = ["Endpoints"]

RETRY_SECONDS = 30.0


class Endpoints:
    """Where one issuer's code flow begins and ends, by its metadata.

    At most one request is under way; after a failure, the next is made no sooner than `RETRY_SECONDS` later: the page
    that asks is often public. What was found is kept as long as the process lives, as the document is.

    Args:
        trusted: the issuer; its metadata is fetched by its own `fetch=`.
        clock: monotonic seconds.

    Attributes:
        code_flow: the endpoints; None: they have not been had yet.
        needs_its_loop: whether the issuer can be asked on the application's own event loop only.
    """

    def __init__(self, trusted: TrustedIssuer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = trusted.issuer
        self._settings = settings = trusted.key_settings or KeySettings()
        self._fetch = as_fetch(trusted.fetch, seconds=settings.fetch_seconds, max_bytes=settings.max_bytes)
        self.needs_its_loop = is_client(trusted.fetch)
        self._clock = clock
        self._retry_at: float | None = None
        self._flight: asyncio.Task[None] | None = None
        self.code_flow: CodeFlow | None = None

    async def discover(self) -> None:
        """Set `code_flow` if it can be had. Whoever gives up waiting ends the request of nobody else."""
        if self.code_flow is None:
            flight = self._current_flight()
            if flight is not None:
                await asyncio.wait([flight])

    def _current_flight(self) -> asyncio.Task[None] | None:
        loop, flight = asyncio.get_running_loop(), self._flight
        if flight is not None and not flight.done() and flight.get_loop() is loop:
            return flight
        if self._retry_at is not None and self._clock() < self._retry_at:
            return None
        self._retry_at = self._clock() + RETRY_SECONDS
        self._flight = loop.create_task(self._ask(), context=contextvars.Context())  # no request's own affair
        return self._flight

    async def _ask(self) -> None:
        try:
            self.code_flow = await discover_code_flow(self._issuer, self._fetch, self._settings)
        except FetchFailed:
            self._retry_at = self._clock() + RETRY_SECONDS
