"""One GET of a small JSON document from an authorization server, with every limit in one place.

https only (loopback may be http), no redirects, five seconds in all, at most 512 KiB. httpx stays behind `Fetch`.

Sources: RFC 8414 section 3 (TLS), RFC 9111 section 5.2 (Cache-Control), RFC 9110 section 13.1.2 (If-None-Match).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import httpx

__all__ = ["Fetch", "FetchFailed", "Fetched", "HTTPXFetch", "check_fetched_url", "check_url", "fetch_document"]

TOTAL_SECONDS = 5.0
MAX_BYTES = 512 * 1024
OK, NOT_MODIFIED, NOT_FOUND = 200, 304, 404


class FetchFailed(Exception):
    """A document could not be had. `kind` is one word for logs; `absent`: the server says there is no such document."""

    def __init__(self, kind: str, *, absent: bool = False) -> None:
        self.kind = kind
        self.absent = absent
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


class HTTPXFetch:
    """The default `Fetch`. A new client for each request: nothing is bound to an event loop, and fetches are rare."""

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """Return the response; the body is read no further than its limit.

        Raises:
            FetchFailed: the body is too large or compressed.
            httpx.HTTPError: the request failed.
        """
        if self._tls is None:  # reading the CA bundle takes tens of milliseconds: once, and off the event loop
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        is_local = urlsplit(url).scheme == "http"  # loopback, and not to be sent to a proxy in clear text
        async with (
            httpx.AsyncClient(
                follow_redirects=False, timeout=_timeouts(), verify=self._tls, trust_env=not is_local
            ) as client,
            # No compression asked for, none accepted: a small body cannot unfold into a large one.
            client.stream("GET", url, headers={**headers, "Accept-Encoding": "identity"}) as response,
        ):
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FetchFailed("compressed")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise FetchFailed("too_large")
            return Fetched(response.status_code, dict(response.headers), bytes(body))


def _timeouts() -> httpx.Timeout:
    """Let connecting and the TLS handshake end by themselves: httpx leaves the socket open where a deadline cuts in."""
    return httpx.Timeout(TOTAL_SECONDS, connect=TOTAL_SECONDS * 0.4)


async def fetch_document(fetch: Fetch, url: str, headers: Mapping[str, str]) -> Fetched:
    """Return a 200 or 304 response within all limits, whatever `fetch` is.

    Raises:
        FetchFailed: anything else happened.
    """
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            response = await fetch(url, {"Accept": "application/json", **headers})
        _check_response(response)
    except FetchFailed:
        raise
    except TimeoutError:
        raise FetchFailed("timeout") from None
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise  # somebody ends this task
        raise FetchFailed("cancelled") from None  # something inside `fetch` was cancelled: one more way to fail
    except Exception:  # noqa: BLE001 - a user's `Fetch` may raise anything; the keys are then simply not to be had
        raise FetchFailed("transport") from None
    return response


def _check_response(response: Fetched) -> None:
    if len(response.body) > MAX_BYTES:
        raise FetchFailed("too_large")
    if response.status not in {OK, NOT_MODIFIED}:
        raise FetchFailed("status", absent=response.status == NOT_FOUND)


def check_url(url: str, what: str) -> list[str]:
    """Return the faults of a URL that documents are fetched from: empty, or sentences that say what to write."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is none raises here, not at the first fetch
    except ValueError:
        return [f"{what} is no URL; write an https URL"]
    if not host or parts.scheme not in {"https", "http"}:
        return [f"{what} is no https URL; write it with https:// and a host"]
    faults = []
    if parts.scheme == "http" and not _is_loopback(host):
        faults.append(f"{what} must use https; http is for loopback addresses only")
    if parts.username is not None or "#" in url:
        faults.append(f"{what} must not contain credentials or a fragment")
    if _has_odd_characters(url):
        faults.append(f"{what} contains spaces, backslashes, control or non-ASCII characters; percent-encode them")
    return faults


def check_fetched_url(url: object, what: str) -> str:
    """Return a URL that a fetched document named.

    Raises:
        FetchFailed: it is no URL this package would fetch from.
    """
    if not isinstance(url, str) or check_url(url, what):
        raise FetchFailed("bad_url")
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _has_odd_characters(url: str) -> bool:
    return not url.isascii() or not url.isprintable() or " " in url or "\\" in url  # parsers disagree on these
