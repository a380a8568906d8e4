"""HTTP clients as `Fetch`: the default one, and an `AsyncClient` of the application's own, httpx's or httpx2's.

What a client is for stays the application's: proxies, private certificate authorities, connection pools. The limits
are kept here, while the body is read.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeGuard, cast
from urllib.parse import urlsplit

import httpx

from .fetch import MAX_BYTES, OK, TOTAL_SECONDS, Fetch, Fetched, FetchFailed
from .urls import is_forbidden_address

__all__ = ["FETCH_FAULT", "AsyncClient", "ClientFetch", "HTTPXFetch", "as_fetch", "is_client", "is_fetch"]

FETCH_FAULT = "fetch= takes an httpx.AsyncClient, an httpx2.AsyncClient or an async callable (url, headers) -> Fetched"
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""For `zlib.decompressobj`: tell the two apart by their first bytes."""


class _Response(Protocol):
    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def is_stream_consumed(self) -> bool: ...
    def aiter_raw(self) -> AsyncIterator[bytes]: ...
    async def aread(self) -> bytes: ...


class AsyncClient(Protocol):
    """What `httpx.AsyncClient` and `httpx2.AsyncClient` have in common, as far as it is needed here."""

    def stream(
        self, method: str, url: str, *, headers: Mapping[str, str], follow_redirects: bool
    ) -> AbstractAsyncContextManager[_Response]:
        """Send a request; the body is read while the block runs."""
        ...


class ClientFetch:
    """Fetches with a client of the application's own. Never follows redirects, whatever the client is set to.

    Which addresses a name leads to is not checked: a client may know them from a proxy, or from nowhere at all.
    """

    def __init__(self, client: AsyncClient, *, max_bytes: int = MAX_BYTES) -> None:
        self._client = client
        self._max_bytes = max_bytes

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """Return the response; the body is read no further than its limit.

        Raises:
            FetchFailed: the body is too large, or coded in a way that cannot be bounded.
            Exception: whatever the client raises.
        """
        return await _get(self._client, url, headers, self._max_bytes)


class HTTPXFetch:
    """The default. A new client for each request: nothing is bound to an event loop, and fetches are rare."""

    def __init__(self, *, seconds: float = TOTAL_SECONDS, max_bytes: int = MAX_BYTES) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._tls: ssl.SSLContext | None = None

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """Return the response; the body is read no further than its limit.

        Raises:
            FetchFailed: the body is too large or oddly coded, or the host's address is one no issuer has.
            httpx.HTTPError: the request failed.
        """
        if self._tls is None:  # reading the CA bundle takes tens of milliseconds: once, and off the event loop
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        is_local = urlsplit(url).scheme == "http"  # loopback, and not to be sent to a proxy in clear text
        # Connecting and the TLS handshake end by themselves: httpx leaves the socket open where a deadline cuts in.
        timeout = httpx.Timeout(self._seconds, connect=self._seconds * 0.4)
        async with httpx.AsyncClient(timeout=timeout, verify=self._tls, trust_env=not is_local) as client:
            await _check_addresses(url)
            return await _get(client, url, headers, self._max_bytes)


def as_fetch(fetch: Fetch | AsyncClient | None, *, seconds: float = TOTAL_SECONDS, max_bytes: int = MAX_BYTES) -> Fetch:
    """Return what an application gave as `fetch=` in the one form that is called: None, a client, or a callable."""
    if fetch is None:
        return HTTPXFetch(seconds=seconds, max_bytes=max_bytes)
    if is_client(fetch):
        return ClientFetch(fetch, max_bytes=max_bytes)
    return cast("Fetch", fetch)


def is_client(fetch: object) -> TypeGuard[AsyncClient]:
    """Tell whether this is an asynchronous client. A synchronous one has the same methods, and would block the loop."""
    has_stream, close = callable(getattr(fetch, "stream", None)), getattr(fetch, "aclose", None)
    return has_stream and not isinstance(fetch, type) and inspect.iscoroutinefunction(close)


def is_fetch(fetch: object) -> TypeGuard[Fetch | AsyncClient]:
    """Tell whether this can be passed as `fetch=`: an asynchronous client, or something to call."""
    return is_client(fetch) or (callable(fetch) and not isinstance(fetch, type))


async def _get(client: AsyncClient, url: str, headers: Mapping[str, str], max_bytes: int) -> Fetched:
    wanted = {**headers, "Accept-Encoding": "identity"}
    async with client.stream("GET", url, headers=wanted, follow_redirects=False) as response:
        # What is no document is not read: an error's page may be coded or long, and what counts are its headers.
        body = await _read(response, max_bytes) if response.status_code == OK else b""
        names = {name.lower(): value for name, value in response.headers.items()}
        return Fetched(response.status_code, names, body)


async def _read(response: _Response, max_bytes: int) -> bytes:
    coding = response.headers.get("content-encoding", "").strip().lower() or "identity"
    if response.is_stream_consumed:  # there was no network: a mock transport's response, which is whole and unfolded
        body = _Body("identity", max_bytes)
        body.add(await response.aread())
        return body.whole()
    body = _Body(coding, max_bytes)
    try:
        async for chunk in response.aiter_raw():
            body.add(chunk)
    except zlib.error:
        raise FetchFailed("compressed") from None
    return body.whole()


class _Body:
    """A body within its limit, on the wire and unfolded: a small one must not become a large one."""

    def __init__(self, coding: str, max_bytes: int) -> None:
        if coding not in {"identity", "gzip", "x-gzip", "deflate"}:
            raise FetchFailed("compressed")  # not asked for, and not to be unfolded in bounded steps
        self._unfolding = None if coding == "identity" else zlib.decompressobj(GZIP_OR_ZLIB)
        self._max_bytes = max_bytes
        self._read = 0
        self._body = bytearray()

    def add(self, chunk: bytes) -> None:
        self._read += len(chunk)
        left = self._max_bytes + 1 - len(self._body)
        self._body += chunk if self._unfolding is None else self._unfolding.decompress(chunk, left)
        if max(self._read, len(self._body)) > self._max_bytes:
            raise FetchFailed("too_large")

    def whole(self) -> bytes:
        unfolding = self._unfolding
        if unfolding is not None and self._read and (not unfolding.eof or unfolding.unused_data):
            raise FetchFailed("compressed")  # cut off, or followed by something that was not unfolded
        return bytes(self._body)


async def _check_addresses(url: str) -> None:
    """Refuse a name that leads to an address no issuer has. TLS is what keeps the name honest afterwards.

    Raises:
        FetchFailed: one of its addresses is link-local or a metadata service's.
    """
    parts = urlsplit(url)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port or parts.scheme, type=socket.SOCK_STREAM
        )
    except OSError:
        return  # perhaps only a proxy knows the name; if nobody does, connecting will say so
    if any(is_forbidden_address(str(address[4][0])) for address in found):
        raise FetchFailed("forbidden_address")
