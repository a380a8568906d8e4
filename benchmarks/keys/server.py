"""An authorization server on loopback that publishes metadata and keys, counts who asks, and fails as it is told.

It runs in a thread with an event loop of its own, over TLS. Nothing in it waits for time to pass: a held answer waits
until the scenario lets it go, or until the client gives up.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from .certificates import HOST
from .clock import Clock
from .tokens import SigningKey

METADATA_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/jwks.json"
RETRY_AFTER = 120
HTML = b"<!doctype html><title>Sign in to the network</title>"
BACKLOG = 4096
SETTLING = 10
"""Turns of the loop in which it has noticed what has happened on its sockets."""
PATIENCE = 30
"""Real seconds after which a call from another thread is an error of this program."""


class Fault(StrEnum):
    """What is wrong with the answers, in words for the tables."""

    NONE = "none"
    GATED = "answers when it is let go"
    HANG = "never answers"
    DRIP = "sends one byte a second"
    CLOSE = "closes the connection"
    ERROR = "500"
    LIMITED = "429"
    GARBAGE = "HTML page"
    EMPTY = "`{}`"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived: when on the injected clock, and whether it was answered 304."""

    path: str
    at: float
    not_modified: bool


class Server:
    """The server, its knobs, and what it saw. `publish` and the attributes may be changed from any thread."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="authorization server", daemon=True)
        self._waiting: set[asyncio.Future[None]] = set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self.issuer = ""
        self.begin(Clock())

    def begin(self, clock: Clock, *, cache_control: str | None = None, is_paced: bool = True) -> None:
        """Forget what was, and serve a new scenario. Unpaced, held answers are let go at once, but for HANG."""
        self.clock = clock
        self.cache_control = cache_control
        self.is_paced = is_paced
        self.fault = Fault.NONE
        self.faulty_paths = frozenset({METADATA_PATH, JWKS_PATH})
        self.seen: list[Seen] = []
        self.on_hold: Callable[[], None] = lambda: None
        self.sent = 0
        """The bytes of the latest response."""
        self._jwks = b'{"keys": []}'

    def publish(self, *keys: SigningKey) -> None:
        self._jwks = json.dumps({"keys": [key.jwk() for key in keys]}).encode()

    @property
    def jwks_uri(self) -> str:
        return self.issuer.rstrip("/") + JWKS_PATH

    def held(self) -> int:
        """Return how many answers wait to be let go, after those whose client left are forgotten."""
        self._call(_settle())
        return len(self._waiting)

    def count(self, path: str, since: int = 0) -> int:
        """Return how many requests for a path arrived, from the given one on."""
        return sum(seen.path == path for seen in self.seen[since:])

    def let_go(self) -> None:
        """Let every held answer go on: a gated one to its end, a dripping one by a byte."""
        self._call(self._let_go())

    # --- start and stop -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *exception: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def drop(self) -> None:
        """End every connection, as after a scenario."""
        self._call(self._drop())

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, HOST, 0, ssl=self._tls, backlog=BACKLOG)
        self.issuer = f"https://{HOST}:{self._listener.sockets[0].getsockname()[1]}/"

    async def _stop(self) -> None:
        await self._drop()
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()

    async def _drop(self) -> None:
        own = asyncio.current_task()
        handlers = [task for task in asyncio.all_tasks() if task is not own]
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.sleep(0)

    # --- one request a connection -------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._answer(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            writer.transport.abort()  # the client left, or the scenario is over
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = request.split(" ", 2)[1]
        fault = self.fault if path in self.faulty_paths else Fault.NONE
        etag = f'"{hashlib.sha256(self._jwks).hexdigest()[:16]}"'
        is_known = fault in {Fault.NONE, Fault.GATED, Fault.DRIP} and path == JWKS_PATH and etag in request
        self.seen.append(Seen(path, self.clock.now, is_known))
        if fault is Fault.CLOSE:
            writer.transport.abort()
            return
        if fault is Fault.HANG or (fault is Fault.GATED and self.is_paced):
            await self._hold(reader)
        body = b"" if is_known else self._body(path, fault)
        response = self._head(path, fault, etag, len(body), is_known=is_known) + body
        self.sent = len(response)
        for piece in _bytes_of(response) if fault is Fault.DRIP else [response]:
            if fault is Fault.DRIP and self.is_paced:
                await self._hold(reader)
            writer.write(piece)
            await writer.drain()

    def _body(self, path: str, fault: Fault) -> bytes:
        if fault in {Fault.ERROR, Fault.LIMITED, Fault.GARBAGE}:
            return HTML
        if fault is Fault.EMPTY:
            return b"{}"
        if path == JWKS_PATH:
            return self._jwks
        return json.dumps({"issuer": self.issuer, "jwks_uri": self.jwks_uri}).encode()

    def _head(self, path: str, fault: Fault, etag: str, length: int, *, is_known: bool) -> bytes:
        status = {Fault.ERROR: "500 Internal Server Error", Fault.LIMITED: "429 Too Many Requests"}.get(fault, "200 OK")
        lines = [f"HTTP/1.1 {'304 Not Modified' if is_known else status}", "Connection: close"]
        if path == JWKS_PATH:
            lines.append(f"ETag: {etag}")
        if not is_known:
            lines += [f"Content-Length: {length}", "Content-Type: application/json"]
        if self.cache_control is not None:
            lines.append(f"Cache-Control: {self.cache_control}")
        if fault is Fault.LIMITED:
            lines.append(f"Retry-After: {RETRY_AFTER}")
        return "\r\n".join([*lines, "", ""]).encode()

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        """Wait to be let go.

        Raises:
            EOFError: the client gave up first.
        """
        waiter: asyncio.Future[None] = self._loop.create_future()
        left = asyncio.ensure_future(reader.read(1))
        either: list[asyncio.Future[Any]] = [waiter, left]
        self._waiting.add(waiter)
        self.on_hold()
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not waiter.done():
                raise EOFError
        finally:
            self._waiting.discard(waiter)
            left.cancel()
            await asyncio.wait({left})

    async def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            waiter.set_result(None)


async def _settle() -> None:
    for _ in range(SETTLING):
        await asyncio.sleep(0)


def _bytes_of(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]
