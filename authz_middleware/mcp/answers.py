"""Refusals as answers: while nothing has left yet, a refusal takes the place of the stream that the SDK has begun.

Sources: the MCP specification, "Transports" (JSON-RPC errors as bodies), RFC 6750 section 3.1, RFC 9728 section 5.1.
"""

from __future__ import annotations

import json

from starlette.types import Message, Scope, Send

from ..errors import Refused
from .messages import Exchange

__all__ = ["HeldAnswer"]


class HeldAnswer:
    """Holds back the start of an answer until its first bytes: until then a refusal can take its place.

    The SDK begins a stream before it looks at the message. A GET's stream may stay silent for long: it is not held.
    """

    def __init__(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        self._exchange = exchange
        self._holds = scope.get("method") == "POST"
        self._send = send
        self._start: Message | None = None
        self._is_replaced = False

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, or a refusal in its place."""
        if self._is_replaced:
            return
        if self._holds and message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None and self._exchange.refused is not None:
            self._is_replaced = True
            await self._refuse(self._exchange.refused)
            return
        if start is not None:
            await self._send(start)
        await self._send(message)

    async def _refuse(self, refused: Refused) -> None:
        """Answer as any refusal is answered, with the body that MCP clients read."""
        error = self._exchange.error(refused).error.model_dump()
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
        ours = {b"content-type": b"application/json", b"content-length": str(len(body)).encode()}
        usual, _ = self._exchange.context.challenger.response(refused)
        headers = [(name, ours.get(name, value)) for name, value in usual]
        await self._send({"type": "http.response.start", "status": refused.answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
