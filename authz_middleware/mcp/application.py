"""The SDK's streamable HTTP application, with a decision behind every message and answers an MCP client can act on.

Sources: the MCP specification, "Authorization" (401, 403 and step-up) and "Transports" (JSON-RPC errors as bodies),
RFC 6750 section 3.1, RFC 9728 section 5.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.routes import build_resource_metadata_url
from mcp.server.context import ServerMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._jose import MAX_TOKEN_BYTES
from ..challenge import Challenger, read_bearer_token, send_refusal
from ..context import SCOPE_KEY, RequestContext, bound, context_of
from ..errors import KeysUnavailable, Refused
from ..token import AccessToken
from .messages import EXCHANGE_KEY, Exchange, Policies
from .tokens import VerifiedAccessToken

__all__ = ["streamable_http_app"]

P = ParamSpec("P")


class _Server(Protocol[P]):
    """What an SDK's server must have."""

    @property
    def middleware(self) -> list[ServerMiddleware[Any]]: ...

    def streamable_http_app(self, *args: P.args, **options: P.kwargs) -> Starlette: ...


def streamable_http_app(server: _Server[P], *args: P.args, **options: P.kwargs) -> Starlette:
    """Return the SDK's application for an MCP server, guarded; arguments as for `MCPServer.streamable_http_app`.

    It authenticates nobody: put `AuthzMiddleware` on it or on the application it is mounted in, or give the server
    `auth=` and `token_verifier(…)`. With neither, every request is an error. Either way

    * `@requires("…")` below `@server.tool()` says who may call a tool, and is decided before its arguments are looked
      at; `await authorize(ctx, "…")` decides inside a tool. Prompts and resources can be decorated, too. What states
      nothing is open to whoever may use the server.
    * a refusal is the answer an MCP client acts on: 403 with a challenge that names the scope to ask for, or 401 for
      an anonymous caller. Where an answer has begun (after a progress notification, say) it is a JSON-RPC error.
    * a session belongs to whoever opened it, and `get_access_token()` returns the caller's token.
    * while an issuer's keys are unavailable the answer is 503.

    A mounted application never sees its lifespan; the outer one must run `server.session_manager.run()`.
    """
    challenger = _challenger_of(server)
    if not any(isinstance(middleware, Policies) for middleware in server.middleware):
        server.middleware.append(Policies(server))
    app = server.streamable_http_app(*args, **options)
    theirs = any(_authenticates(middleware.cls) for middleware in app.user_middleware)
    app.user_middleware.append(Middleware(_Exchanges, challenger=challenger, sdk_authenticates=theirs))  # within that
    app.add_middleware(_Outage, challenger=challenger)  # around it
    return app


def _authenticates(middleware: object) -> bool:
    return isinstance(middleware, type) and issubclass(middleware, AuthenticationMiddleware)


def _challenger_of(server: object) -> Challenger:
    """Return how to word refusals where the SDK authenticates: it serves metadata of its own."""
    auth = getattr(getattr(server, "settings", None), "auth", None)
    resource = getattr(auth, "resource_server_url", None)
    return Challenger(resource_metadata=None if resource is None else str(build_resource_metadata_url(resource)))


class _Outage:
    """Answers 503 where the SDK's authentication ends with `KeysUnavailable`."""

    def __init__(self, app: ASGIApp, challenger: Challenger) -> None:
        self.app = app
        self._challenger = challenger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        try:
            await self.app(scope, receive, send)
        except KeysUnavailable as refused:
            await send_refusal(self._challenger, refused, scope, send)


class _Exchanges:
    """Gives every request its `Exchange`, and the SDK a user it knows."""

    def __init__(self, app: ASGIApp, challenger: Challenger, *, sdk_authenticates: bool) -> None:
        self.app = AuthContextMiddleware(app)
        self._challenger = challenger
        self._sdk_authenticates = sdk_authenticates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        with self._authenticated(scope) as context:
            if context is not None:
                exchange = scope[EXCHANGE_KEY] = Exchange(context)
                send = _HeldAnswer(exchange, scope, send).send
            await self.app(scope, receive, send)

    @contextmanager
    def _authenticated(self, scope: Scope) -> Iterator[RequestContext | None]:
        """Yield what decides for this request; None: the SDK knows no caller of ours, and deals with it.

        Raises:
            ConfigurationError: nobody authenticates.
        """
        user = scope.get("user")
        if SCOPE_KEY in scope or not self._sdk_authenticates:
            context = context_of(scope)
            if context.token is not None:
                scope["user"] = _sdk_user(scope, context.token)
            try:
                yield context
            finally:
                scope["user"] = user
        elif isinstance(user, AuthenticatedUser) and isinstance(user.access_token, VerifiedAccessToken):
            context = RequestContext(user.access_token.verified, self._challenger)
            with bound(context, scope):
                scope["user"] = user
                yield context
        else:
            yield None


def _sdk_user(scope: Scope, token: AccessToken) -> AuthenticatedUser:
    """Return a caller as the SDK knows one: a session belongs to the client, issuer and subject in here."""
    return AuthenticatedUser(VerifiedAccessToken(read_bearer_token(scope, MAX_TOKEN_BYTES) or "", token))


class _HeldAnswer:
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
