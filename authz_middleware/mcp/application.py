"""The SDK's streamable HTTP application, with a decision behind every message and answers an MCP client can act on.

Sources: the MCP specification, "Authorization" (401, 403 and step-up).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, ParamSpec, Protocol, overload

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.context import ServerMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .._jose import MAX_TOKEN_BYTES
from ..binding import SCOPE_KEY, bound, context_of
from ..challenge import read_bearer_token
from ..context import RequestContext
from ..decorators import decorated_too_late
from ..errors import ConfigurationError
from ..policy import Access
from ..routes import state_within
from ..startup import announce_issuers, announce_unclaimed, check_policies
from ..token import AccessToken
from ..undecorated import check_undecorated
from .answers import HeldAnswer
from .features import Catalogue, catalogue_of
from .messages import EXCHANGE_KEY, Exchange, Policies
from .sdk import Authentication, Front
from .tokens import AccessTokenVerifier, VerifiedAccessToken

__all__ = ["streamable_http_app"]

P = ParamSpec("P")

_log = logging.getLogger("authz_middleware")


class _Server(Protocol[P]):
    """What an SDK's server must have."""

    @property
    def middleware(self) -> list[ServerMiddleware[Any]]: ...

    def streamable_http_app(self, *args: P.args, **options: P.kwargs) -> Starlette: ...


@overload
def streamable_http_app(server: _Server[P], *args: P.args, **options: P.kwargs) -> Starlette: ...
@overload
def streamable_http_app(server: _Server[...], *args: Any, undecorated: str, **options: Any) -> Starlette: ...
def streamable_http_app(  # type: ignore[misc]  # were the SDK to have this option, too, ours would be meant
    server: _Server[...], *args: Any, undecorated: str = "refuse", **options: Any
) -> Starlette:
    """Return the SDK's application for an MCP server, guarded; arguments as for `MCPServer.streamable_http_app`.

    It authenticates nobody: put `AuthzMiddleware` on it or on the application it is mounted in, or give the server
    `auth=` and `token_verifier(…)`. With neither, every request is an error. Either way

    * `@requires("…")` below `@server.tool()` says who may call a tool, and is decided before its arguments are looked
      at; `await authorize(ctx, "…")` decides inside a tool. Resources, templates and prompts are decorated likewise.
      Completing their arguments takes what they take. What states nothing is refused, or open to any valid token that
      may use the server, as `undecorated` says.
    * a refusal is the answer an MCP client acts on: 403 with a challenge that names the scope to ask for, or 401 for
      an anonymous caller. Where an answer has begun (after a progress notification, say) it is a JSON-RPC error.
    * a session belongs to whoever opened it, and `get_access_token()` returns the caller's token.
    * while an issuer's keys are unavailable the answer is 503.

    A mounted application never sees its lifespan; the outer one must run `server.session_manager.run()`.

    Not guarded: methods that an extension of the SDK adds, and custom routes where the SDK authenticates. Lists name
    what there is to whoever may use the server.

    Args:
        server: an `MCPServer`, or a `Server` of the lower level, whose handlers are decorated instead.
        args: passed on.
        undecorated: what happens to a tool, resource or prompt that states nothing: `"refuse"` or `"authenticated"`.
        options: passed on.

    Raises:
        ConfigurationError: a decorator stands where it guards nothing, a policy makes no sense with the issuers that
            are trusted, or an argument is invalid.
    """
    catalogue = catalogue_of(server)
    _guard_messages(server.middleware, catalogue, undecorated)
    app = server.streamable_http_app(*args, **options)
    sdk = Authentication.of(app)
    sdk.state_on(app)
    _check_routes(app)
    _check(catalogue, sdk.verifier)
    _announce(catalogue, sdk.verifier, is_refused=check_undecorated(undecorated) is None)
    state_within(app.router, lambda: _stated(catalogue))
    app.router.lifespan_context = _lifespan(app, catalogue, sdk.verifier)
    app.user_middleware.append(Middleware(_Exchanges, sdk=sdk))  # within the SDK's authentication
    if sdk.is_asked:
        app.add_middleware(Front, sdk=sdk)  # around it
    return app


# --- at construction and at start -------------------------------------------------------------------------------------


def _guard_messages(middleware: list[ServerMiddleware[Any]], catalogue: Catalogue, undecorated: str) -> None:
    policies = Policies(catalogue, check_undecorated(undecorated))
    before = [one for one in middleware if isinstance(one, Policies)]
    if any(one.undecorated != policies.undecorated for one in before):
        raise ConfigurationError("this server is served already with another undecorated=; write the same one twice")
    if not before:
        middleware.append(policies)


def _stated(catalogue: Catalogue) -> list[Access]:
    return [feature.access for feature in catalogue.features() if feature.access is not None]


def _check(catalogue: Catalogue, verifier: AccessTokenVerifier | None) -> None:
    """Find what cannot be meant. Behind `AuthzMiddleware` that knows the issuers, and asks what is stated at start."""
    stated = _stated(catalogue)
    if verifier is not None:
        check_policies(stated, verifier.issuers)


def _check_routes(app: Starlette) -> None:
    """Find custom routes that were decorated too late: nobody else does where the SDK authenticates."""
    endpoints = [(getattr(route, "path", ""), getattr(route, "endpoint", None)) for route in app.routes]
    faults = [
        f"{path}: @{late} stands above @server.custom_route(…); write it below, next to the function"
        for path, endpoint in endpoints
        if (late := decorated_too_late(endpoint)) is not None
    ]
    if faults:
        raise ConfigurationError(*faults)


def _announce(catalogue: Catalogue, verifier: AccessTokenVerifier | None, *, is_refused: bool) -> None:
    """Say what an operator should know."""
    if verifier is not None:
        announce_issuers(verifier.issuers, None)
        announce_unclaimed(_stated(catalogue), verifier.issuers)
    bare = [f"{feature.kind} {feature.name}" for feature in catalogue.features() if feature.is_unguarded]
    if bare:
        _log.warning(
            "MCP features that state no policy, so %s; write @requires, @authenticated or @public below the SDK's "
            "decorator: %s",
            "they are refused" if is_refused else "any valid token that may use the server may use them",
            ", ".join(bare),
        )


def _lifespan(
    app: Starlette, catalogue: Catalogue, verifier: AccessTokenVerifier | None
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Return the application's lifespan with ours around it: what was added since construction is checked, too."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: Any) -> AsyncIterator[Any]:
        _check(catalogue, verifier)
        async with _keys_of(verifier), inner(served) as state:
            yield state

    return lifespan


@asynccontextmanager
async def _keys_of(verifier: AccessTokenVerifier | None) -> AsyncIterator[None]:
    if verifier is None:
        yield
        return
    try:
        await verifier.start()
        yield
    finally:
        await verifier.aclose()


# --- at each request --------------------------------------------------------------------------------------------------


class _Exchanges:
    """Gives every request its `Exchange`, and the SDK a user it knows."""

    def __init__(self, app: ASGIApp, sdk: Authentication) -> None:
        self.app = AuthContextMiddleware(app)
        self._sdk = sdk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        with self._authenticated(scope) as context:
            if context is not None:
                exchange = scope[EXCHANGE_KEY] = Exchange(context)
                send = HeldAnswer(exchange, scope, send).send
            await self.app(scope, receive, send)

    @contextmanager
    def _authenticated(self, scope: Scope) -> Iterator[RequestContext | None]:
        """Yield what decides for this request; None: the SDK knows no caller of ours, and deals with it.

        Raises:
            ConfigurationError: nobody authenticates.
        """
        user = scope.get("user")
        if SCOPE_KEY in scope or not self._sdk.is_asked:
            context = context_of(scope)
            if context.token is not None:
                scope["user"] = _sdk_user(scope, context.token)
            try:
                yield context
            finally:
                scope["user"] = user
        elif isinstance(user, AuthenticatedUser) and isinstance(user.access_token, VerifiedAccessToken):
            context = self._sdk.context(user.access_token.verified, scope)
            with bound(context, scope):
                scope["user"] = user
                yield context
        else:
            yield None


def _sdk_user(scope: Scope, token: AccessToken) -> AuthenticatedUser:
    """Return a caller as the SDK knows one: a session belongs to the client, issuer and subject in here."""
    return AuthenticatedUser(VerifiedAccessToken(read_bearer_token(scope, MAX_TOKEN_BYTES) or "", token))
