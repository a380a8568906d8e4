"""What is decided about one message, and what its HTTP request knows of that.

Sources: the MCP specification, "Tools" and "Authorization" (insufficient scope at run time); JSON-RPC 2.0 section 5.1.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context
from mcp_types import INTERNAL_ERROR
from starlette.requests import HTTPConnection

from ..context import RequestContext
from ..errors import ConfigurationError, Refused
from ..handlers import authorize as authorize_request
from ..owing import OwedDecision
from ..policy import Access, Policy
from ..token import AccessToken
from .features import Catalogue, Feature

__all__ = ["EXCHANGE_KEY", "Exchange", "Policies", "access_token", "authorize"]

REFUSED = -32003
"""The JSON-RPC error code of a refusal: one of those the specification leaves to implementations."""
EXCHANGE_KEY = "authz_middleware.mcp"
"""Where an ASGI scope holds its `Exchange`."""

_log = logging.getLogger("authz_middleware")


@dataclass(slots=True)
class Exchange:
    """One HTTP request to an MCP server. `refused`: the refusal that its message ended with."""

    context: RequestContext
    refused: Refused | None = None

    def error(self, refused: Refused) -> MCPError:
        """Return a refusal as the SDK raises errors; its data is the problem of RFC 9457."""
        return MCPError(REFUSED, refused.answer.detail, self.context.challenger.problem(refused))


def exchange_of(ctx: ServerRequestContext[Any, Any]) -> Exchange | None:
    """Return the exchange a message came with; None: it came by another transport."""
    connection: object = ctx.request
    exchange = connection.scope.get(EXCHANGE_KEY) if isinstance(connection, HTTPConnection) else None
    return exchange if isinstance(exchange, Exchange) else None


class Policies:
    """The SDK's middleware around every message: decides what a feature states, and words refusals from further in.

    What is stated the decorator's own wrapper asks for again: this makes the decision early, that makes it certain.
    What states nothing is decided here alone, by `undecorated`; None refuses it.
    """

    def __init__(self, catalogue: Catalogue, undecorated: Access | None) -> None:
        self.undecorated = undecorated
        self._catalogue = catalogue

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Serve one message."""
        used = self._used_by(ctx)
        exchange = exchange_of(ctx)
        if exchange is None:
            return await call_next(ctx)
        context = exchange.context
        try:
            for feature in used:
                await self._decide(feature, context)
            result = await call_next(ctx)
        except Exception:
            if context.refusal is None:
                raise
        else:
            if context.refusal is None or not _is_failure(result):  # the tool has dealt with it
                _check_awaited(context)
                return result
        exchange.refused = context.refusal
        raise exchange.error(context.refusal) from None

    async def _decide(self, feature: Feature, context: RequestContext) -> None:
        access = self.undecorated if feature.access is None else feature.access
        if access is None:
            context.refuse_undecorated()
        else:
            await context.enforce_checked(access)

    def _used_by(self, ctx: ServerRequestContext[Any, Any]) -> tuple[Feature, ...]:
        """Return what a message uses.

        Raises:
            MCPError: it must not be served, through no fault of the caller's.
        """
        try:
            used = self._catalogue.used_by(ctx.method, ctx.params or {})
            _check_authenticated(ctx, used)
        except ConfigurationError as fault:
            _log.error("%s", fault)
            raise MCPError(INTERNAL_ERROR, "Internal server error") from None
        return used


def _check_awaited(context: RequestContext) -> None:
    """Refuse a result that a decision is still owed for.

    Raises:
        MCPError: somebody has forgotten to await it.
    """
    try:
        context.check_settled(has_begun=False)  # of the result, whatever else was answered
    except ConfigurationError:
        context.owing.settle()  # said here
        _log.error("authorize(…) with a check was not awaited; write await authorize(ctx, …)")
        raise MCPError(INTERNAL_ERROR, "Internal server error") from None


def _check_authenticated(ctx: ServerRequestContext[Any, Any], used: tuple[Feature, ...]) -> None:
    """Refuse requests whose callers nobody has told us of. Other transports than HTTP have no tokens.

    Raises:
        ConfigurationError: it is such a request.
    """
    if used and isinstance(ctx.request, HTTPConnection) and exchange_of(ctx) is None:
        raise ConfigurationError(
            f"{used[0].kind} {used[0].name} was asked for by HTTP, but nobody of ours has authenticated; serve "
            "streamable_http_app(server), with AuthzMiddleware in front or token_verifier(…) in the server"
        )


def _is_failure(result: HandlerResult) -> bool:
    """Tell whether a tool failed: of what it raised, the SDK has made a result."""
    return bool(result.get("isError") if isinstance(result, dict) else getattr(result, "is_error", False))


async def access_token(ctx: Context[Any, Any]) -> AccessToken:
    """Return the caller's token inside a tool, prompt or resource of a server behind `streamable_http_app`.

    Raises:
        MCPError: the caller is anonymous. Let it pass: it becomes the answer.
        ConfigurationError: the server is not behind `streamable_http_app`.
    """
    with _errors_of(ctx) as context:
        return context.require_token()


def authorize(ctx: Context[Any, Any], policy: Policy | str) -> Awaitable[None]:
    """Decide a policy inside a tool, prompt or resource of a server behind `streamable_http_app`.

    Write `await authorize(ctx, "…")`. It is decided at once, so that a forgotten `await` forgets no decision, and a
    sync tool calls it without one. Only what has a `check` waits for its `await`; without it, no result leaves.

    Raises:
        MCPError: the policy is not met, or the caller is anonymous. Let it pass: it becomes the answer.
        ConfigurationError: the server is not behind `streamable_http_app`.
    """
    with _errors_of(ctx):
        connection: Any = ctx.request_context.request
        decided = authorize_request(connection, policy)
    return _awaited(ctx, decided) if isinstance(decided, OwedDecision) else decided


async def _awaited(ctx: Context[Any, Any], decided: Awaitable[None]) -> None:
    with _errors_of(ctx):
        await decided


@contextmanager
def _errors_of(ctx: Context[Any, Any]) -> Iterator[RequestContext]:
    """Yield what decides for a message. Its refusals leave as the SDK's own errors: any other it takes for a crash."""
    exchange = exchange_of(ctx.request_context)
    if exchange is None:
        raise ConfigurationError(
            "this was called outside of a guarded request; serve authz_middleware.mcp.streamable_http_app(server)"
        )
    try:
        yield exchange.context
    except Refused as refused:
        raise exchange.error(refused) from None
