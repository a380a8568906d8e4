"""Binds a request's context to its ASGI scope and a context variable, and finds it again; nothing else is believed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.authentication import UnauthenticatedUser
from starlette.requests import HTTPConnection
from starlette.types import Scope, Send

from .challenge import send_refusal
from .context import RequestContext
from .credentials import Caller, Credentials
from .errors import ConfigurationError, Refused
from .place import Place, current_place

__all__ = ["bound", "context_for_call", "context_of", "current_context", "outer_context", "refuse"]

SCOPE_KEY = "authz_middleware"
_current: ContextVar[RequestContext | None] = ContextVar("authz_middleware", default=None)


def context_of(scope: Scope) -> RequestContext:
    """Return the request's context.

    Raises:
        ConfigurationError: the middleware did not run.
    """
    context = scope.get(SCOPE_KEY)
    if not isinstance(context, RequestContext) or not context.is_open:
        raise ConfigurationError(
            "a guarded route was called without AuthzMiddleware in front of it; "
            "write app.add_middleware(AuthzMiddleware, issuers=[…]); "
            "in a test, call it within authz_middleware.testing.as_caller(…)"
        )
    return context


def current_context() -> RequestContext:
    """Return the context of the request being served, for functions that are not handed a request.

    Raises:
        ConfigurationError: there is none.
    """
    return context_of({SCOPE_KEY: _current.get()})


def context_for_call(connection: HTTPConnection) -> RequestContext:
    """Return the context by which a function decides that was handed a connection.

    Raises:
        ConfigurationError: the middleware did not run; or another request is being served, so that either caller may
            be the one that is meant.
    """
    context, current = context_of(connection.scope), _current.get()
    if current is not None and current is not context and current.is_open:
        raise ConfigurationError(
            "a guarded function was handed another request's connection, so that nobody can tell which of the two "
            "callers it is to decide about; decide before, by await authorize(request, …), and call a function without "
            "a decorator"
        )
    return context


def outer_context(scope: Scope) -> RequestContext | None:
    """Return the context of the middleware around the one that is asked next, or None."""
    outer = scope.get(SCOPE_KEY)
    return outer if isinstance(outer, RequestContext) else None


@contextmanager
def bound(context: RequestContext, scope: Scope) -> Iterator[None]:
    """Bind a context to the scope and the context variable while a request is served, and end it afterwards."""
    outer = {key: scope[key] for key in (SCOPE_KEY, "auth", "user") if key in scope}
    if (around := outer_context(scope)) is not None:
        around.hand_over(context)
    scope[SCOPE_KEY] = context
    scope["auth"] = Credentials(context.token, context.allows)
    scope["user"] = UnauthenticatedUser() if context.token is None else Caller(context.token)
    context.arrive(scope)
    reset, reset_place = _current.set(context), current_place.set(Place(context))
    try:
        yield
    finally:
        current_place.reset(reset_place)
        _current.reset(reset)
        context.close()
        if SCOPE_KEY in outer:
            scope.update(outer)


async def refuse(context: RequestContext, refused: Refused, scope: Scope, send: Send) -> None:
    """Answer a refusal. Once a response has begun it can only be cut off: a WebSocket is closed, HTTP is aborted."""
    context.answered(refused)
    if not context.started:
        await send_refusal(context.challenger, refused, scope, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        raise refused
