"""The gate every answer leaves through: open once access was granted, and for what says nothing.

Sources: the ASGI specification (HTTP and WebSocket messages), the Fetch standard (CORS-preflight fetch).
"""

from __future__ import annotations

import sys
from urllib.parse import unquote, urlsplit

from starlette.types import Message, Receive, Scope, Send

from .challenge import send_refusal
from .context import RequestContext
from .errors import Refused

__all__ = ["Gate", "causes_of"]

TEMPORARY_REDIRECT, FIRST_ERROR, SERVER_ERROR = 307, 400, 500
BEGINNINGS = {"http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start"}
"""With these an answer begins."""
AHEAD = {"http.response.early_hint", "http.response.debug"}
"""What may come ahead of an answer: hints to browsers (an ASGI extension), and what Starlette tells its test client."""


class Gate:
    """Lets an answer leave only if access was granted, or if nothing of the application's has answered.

    Guards stand in front of everything the route map reaches. Behind this gate stands the rest: pages served outside
    the routes, middlewares that answer themselves. Of those only errors and the router's own redirect pass.
    """

    __slots__ = ("_context", "_is_preflight", "_receive", "_says_nothing", "_scope", "_send", "has_refused")

    def __init__(
        self, context: RequestContext, scope: Scope, receive: Receive, send: Send, *, is_preflight: bool
    ) -> None:
        self._context = context
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_preflight = is_preflight
        self._says_nothing = False  # whether an error is being answered, or the like
        self.has_refused = False

    async def receive(self) -> Message:
        """Pass on what the client sends, until the answer was refused."""
        if self.has_refused:
            return {"type": f"{self._scope['type']}.disconnect", "code": 1008}
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, or refuse in its place.

        Raises:
            OSError: the application goes on although its answer was refused.
            ConfigurationError: a handler has asked for a decision and forgotten to await it.
        """
        if self.has_refused:
            raise OSError("the answer was refused")  # as servers say that the client has gone; an endless one ends
        context, kind = self._context, message["type"]
        is_harmless = self._is_harmless(message)
        if not context.started:
            if kind in AHEAD and not context.decided:
                return  # it can be left out
            refused = self._refusal_instead_of(message, is_harmless=is_harmless)
            if refused is not None:
                self.has_refused = True
                context.begin()
                await send_refusal(context.challenger, refused, self._scope, self._send)
                return
        if not is_harmless and not self._says_nothing:
            context.check_settled(has_begun=context.started)
        if kind in BEGINNINGS:
            context.begin()
            self._says_nothing = is_harmless
        await self._send(message)

    def _refusal_instead_of(self, message: Message, *, is_harmless: bool) -> Refused | None:
        """Return what to answer in place of an answer that begins; None lets it through."""
        context = self._context
        if context.refusal is not None and message.get("status") == SERVER_ERROR and _is_about(context.refusal):
            return context.refusal  # an error handler further in met the refusal before it came out here
        if context.decided or (_answers_preflight(message) if self._is_preflight else is_harmless):
            return None
        # Was it refused already, then something further in has rewritten that answer.
        return context.refusal or context.refusal_of_undecided()

    def _is_harmless(self, message: Message) -> bool:
        """Tell whether an answer nobody decided on may leave: an error, a redirect to the slash, a closed handshake."""
        if message["type"] not in {"http.response.start", "websocket.http.response.start"}:
            return bool(message["type"] == "websocket.close")
        status: int = message["status"]
        return status >= FIRST_ERROR or (status == TEMPORARY_REDIRECT and self._is_own_path(_leads_to(message)))

    def _is_own_path(self, location: str) -> bool:
        """Tell whether this is the path that was asked for, give or take a slash: what a router answers by itself."""
        scope, parts = self._scope, urlsplit(location)
        path, query = scope["path"], scope.get("query_string", b"").decode("latin-1")
        leads_to = unquote(parts.path)
        # Of a proxy; servers differ in whether it is in.
        prefix = scope.get("app_root_path", scope.get("root_path", ""))
        is_slash_away = leads_to != path and leads_to.rstrip("/") in {path.rstrip("/"), prefix + path.rstrip("/")}
        return is_slash_away and path != "/" and unquote(parts.query) == unquote(query)


def _answers_preflight(message: Message) -> bool:
    """Tell whether an answer is one to a CORS preflight: with other answers the anonymous could ask about routes."""
    return any(name.lower().startswith(b"access-control-allow-") for name, _ in message.get("headers", ()))


def _is_about(refusal: Refused) -> bool:
    """Tell whether the error that is being answered is a refusal, or comes of one; not seen, it is taken to be."""
    error = sys.exception()
    return error is None or refusal in causes_of(error)


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an exception with all that led to it: causes, contexts, members of groups."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and not any(one is known for known in found):
            found.append(one)
            members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            waiting += [one.__cause__, one.__context__, *members]
    return found


def _leads_to(message: Message) -> str:
    """Return where a redirect leads, or nothing."""
    found = [value for name, value in message.get("headers", ()) if name.lower() == b"location"]
    return found[0].decode("latin-1") if len(found) == 1 else ""
