"""One GET of a small JSON document from an authorization server, with every limit in one place.

https only (loopback may be http), no redirects, a total deadline, a bounded body. Which HTTP client does it stays
behind `Fetch`.

Sources: RFC 8414 section 3 (TLS), RFC 9110 sections 8.4.1 (content codings) and 13.1.2 (If-None-Match).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from .freshness import read_retry_after
from .urls import check_url

__all__ = [
    "MAX_BYTES",
    "TOTAL_SECONDS",
    "Fetch",
    "FetchFailed",
    "Fetched",
    "check_fetched_url",
    "fetch_document",
    "parse_document",
]

TOTAL_SECONDS = 5.0
MAX_BYTES = 512 * 1024
LARGE = 32 * 1024
"""Bytes of a document that is parsed in a thread. Few servers publish more than a tenth of that."""
CLIENT_ERRORS = range(400, 500)  # RFC 9110 section 15.5
OK, NOT_MODIFIED, NOT_FOUND, TOO_MANY_REQUESTS, UNAVAILABLE = 200, 304, 404, 429, 503

T = TypeVar("T")


class FetchFailed(Exception):
    """A document could not be had.

    `kind` is one word for logs; `absent`: the server says there is no such document; `refused`: it finds fault with the
    request; `retry_after`: in how many seconds it wants to be asked again, if it said so; `cause`: the type of what was
    raised, if something was.
    """

    def __init__(
        self,
        kind: str,
        *,
        absent: bool = False,
        refused: bool = False,
        retry_after: float | None = None,
        cause: str | None = None,
    ) -> None:
        self.kind = kind
        self.absent = absent
        self.refused = refused
        self.retry_after = retry_after
        self.cause = cause
        super().__init__(kind)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An HTTP response: status, headers with lower-case names, and the body within its limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Fetch(Protocol):
    """One GET request. Must not follow redirects; may raise anything, which counts as a failed fetch."""

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """Return the response to a GET of `url` with these request headers."""
        ...


async def fetch_document(
    fetch: Fetch,
    url: str,
    headers: Mapping[str, str],
    *,
    seconds: float = TOTAL_SECONDS,
    max_bytes: int = MAX_BYTES,
) -> Fetched:
    """Return a 200 or 304 response within all limits, whatever `fetch` is.

    Raises:
        FetchFailed: anything else happened.
    """
    try:
        async with asyncio.timeout(seconds):
            response = await _ask(fetch, url, {"Accept": "application/json", **headers})
        _check_response(response, max_bytes)
    except FetchFailed:
        raise
    except TimeoutError:
        raise FetchFailed("timeout") from None
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise  # somebody ends this task
        raise FetchFailed("cancelled") from None  # something inside `fetch` was cancelled: one more way to fail
    except Exception as error:  # noqa: BLE001 - a user's `Fetch` may raise anything; the keys are then not to be had
        raise FetchFailed("transport", cause=type(error).__name__) from None
    return response


async def _ask(fetch: Fetch, url: str, headers: Mapping[str, str]) -> Fetched:
    awaited: object = fetch(url, headers)
    if not inspect.isawaitable(awaited):
        raise FetchFailed("not_async")  # and it may have blocked the event loop
    response: Fetched = await awaited
    return response


def _check_response(response: Fetched, max_bytes: int) -> None:
    if len(response.body) > max_bytes:
        raise FetchFailed("too_large")
    if response.status in {TOO_MANY_REQUESTS, UNAVAILABLE}:
        raise FetchFailed("status", retry_after=read_retry_after(response.headers))
    if response.status not in {OK, NOT_MODIFIED}:
        absent = response.status == NOT_FOUND
        raise FetchFailed("status", absent=absent, refused=response.status in CLIENT_ERRORS and not absent)


async def parse_document(parse: Callable[[bytes], T], document: bytes) -> T:
    """Return what `parse` makes of a document; of a large one in a thread, as it may keep an event loop busy for long.

    Raises:
        Exception: whatever `parse` raises.
    """
    return parse(document) if len(document) <= LARGE else await asyncio.to_thread(parse, document)


def check_fetched_url(url: object, what: str) -> str:
    """Return a URL that a fetched document named.

    Raises:
        FetchFailed: it is no URL this package would fetch from.
    """
    if not isinstance(url, str) or check_url(url, what):
        raise FetchFailed("bad_url")
    return url
