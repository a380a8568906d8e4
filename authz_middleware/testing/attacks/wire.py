"""One connection at a time to an ASGI application: no server, no network, no following of redirects.

Sources: the ASGI specification (HTTP and WebSocket, denial response extension).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp, Message, Scope

__all__ = ["Answer", "Attempt", "ask", "make_scope"]

PATIENCE_SECONDS = 10.0
PORTS = {"http": 80, "https": 443}
FIRST_ERROR = 400
CLOSED_HANDSHAKE = 403
"""What servers answer where an application closes a WebSocket before it accepts it."""
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a request carries beside its method and path."""

    headers: Headers = ()
    query: bytes = b""
    body: bytes = b""


@dataclass(slots=True)
class Answer:
    """What an application answered. `status` is None where it sent nothing; `let_in` where it accepted a WebSocket."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    let_in: bool = False
    raised: str | None = None

    @property
    def text(self) -> str:
        """Everything it said, to look for what must not be there."""
        return " ".join((*self.headers.values(), self.body.decode("utf-8", "replace")))

    def problem(self) -> Mapping[str, object]:
        """Return the problem body (RFC 9457); empty where there is none."""
        if self.headers.get("content-type", "").partition(";")[0] != "application/problem+json":
            return {}
        with suppress(ValueError):
            document = json.loads(self.body)
            return document if isinstance(document, dict) else {}
        return {}


def make_scope(kind: str, method: str, url: str, attempt: Attempt) -> Scope:
    """Return the scope of a connection, as a server hands it over."""
    parts = urlsplit(url)
    scope: Scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": parts.scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": attempt.query,
        "root_path": "",
        "headers": [(b"host", parts.netloc.encode()), *attempt.headers],
        "client": ("127.0.0.1", 50000),
        "server": (parts.hostname, parts.port or PORTS[parts.scheme]),
        "state": {},
    }
    if kind == "http":
        return {**scope, "method": method}
    is_secure = parts.scheme == "https"
    return {
        **scope,
        "scheme": "wss" if is_secure else "ws",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }


class _Connection:
    """Plays the server's part: hands over one request, takes the answer down."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        is_websocket = scope["type"] == "websocket"
        self.answer = Answer()
        self.is_decided = asyncio.Event()
        self._waiting: list[Message] = [
            {"type": "websocket.connect"} if is_websocket else {"type": "http.request", "body": body}
        ]
        self._gone: Message = {"type": f"{scope['type']}.disconnect", "code": 1005}

    async def receive(self) -> Message:
        return self._waiting.pop() if self._waiting else self._gone

    async def send(self, message: Message) -> None:
        answer = self.answer
        match message["type"]:
            case "http.response.start" | "websocket.http.response.start":
                answer.status = message["status"]
                pairs = message.get("headers", ())
                answer.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
            case "http.response.body" | "websocket.http.response.body":
                answer.body += message.get("body", b"")
            case "websocket.accept":
                answer.let_in = True
            case "websocket.close" if answer.status is None:
                answer.status = CLOSED_HANDSHAKE
        if answer.let_in or (answer.status is not None and answer.status < FIRST_ERROR):
            self.is_decided.set()  # nothing that follows makes it better; some answers never end


async def ask(app: ASGIApp, scope: Scope, body: bytes = b"") -> Answer:
    """Return what an application answers; whatever goes on after it let the caller in is cut off."""
    connection = _Connection(scope, body)
    serving = asyncio.ensure_future(_serve(app, scope, connection))
    deciding = asyncio.ensure_future(connection.is_decided.wait())
    done, pending = await asyncio.wait(
        {serving, deciding}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
    )
    for task in pending:
        task.cancel()
    await asyncio.wait({serving, deciding})
    if not done:
        connection.answer.raised = f"nothing for {PATIENCE_SECONDS:g} seconds"
    return connection.answer


async def _serve(app: ASGIApp, scope: Scope, connection: _Connection) -> None:
    try:
        await app(scope, connection.receive, connection.send)
    except Exception as error:  # noqa: BLE001 - that it raises is an answer, too
        connection.answer.raised = type(error).__name__
