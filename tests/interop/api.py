"""Real applications guarded by the middleware, served by uvicorn on a loopback port of its own choice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    TrustedIssuer,
    authenticated,
    requires,
    requires_permissions,
    requires_scopes,
)
from authz_middleware.dialects import AUTH0

from .authorization_server import RESOURCES

__all__ = ["PINNED", "REQUIRED", "TOKEN_ROUTE", "pinned_api", "served", "unpinned_api"]

PINNED = (
    ("rfc9068", "RS256"),
    ("rfc9068", "PS256"),
    ("rfc9068", "ES256"),
    ("rfc9068", "EdDSA"),
    ("rfc9068", "Ed25519"),
    ("rfc9068_profile", "RS256"),
    ("rfc9068_profile", "PS256"),
    ("rfc9068_profile_authz", "RS256"),
    ("rfc9068_profile_authz", "PS256"),
    ("access_token", "RS256"),
    ("access_token", "PS256"),
    ("access_token_authz", "RS256"),
    ("access_token_authz", "PS256"),
)
"""Dialect and algorithm of every resource the first application stands for: each is an audience of its own."""

TOKEN_ROUTE = "/token"
FIRST_PARTY = frozenset({"app", "machine", "batch"})
REQUIRED = {
    "/orders": "read:orders",
    "/orders/by-scope": "read:orders",
    "/orders/by-permission": "read:orders",
    "/shipments": "ship:orders",
    "/refunds": "write:orders",
}
"""The one grant each guarded route requires, by whichever decorator."""


def pinned_api(issuer: str) -> ASGIApp:
    """Return a FastAPI application with one audience for each resource, pinned to its dialect."""
    app = FastAPI()
    app.get(TOKEN_ROUTE)(_show_token)
    app.get("/orders")(requires("read:orders")(_answer))
    app.get("/orders/by-scope")(requires_scopes("read:orders")(_answer))
    app.get("/orders/by-permission")(requires_permissions("read:orders")(_answer))
    app.get("/shipments")(requires("ship:orders")(_answer))
    app.get("/refunds")(requires("write:orders")(_answer))
    issuers = [
        TrustedIssuer(
            issuer,
            f"{RESOURCES}{dialect}/{algorithm}",
            dialects=[dialect],
            algorithms=[algorithm],
            third_party_clients={"partner"},
            rbac_enforced=True,
        )
        for dialect, algorithm in PINNED
    ]
    app.add_middleware(AuthzMiddleware, issuers=issuers)
    return app


def unpinned_api(issuer: str) -> ASGIApp:
    """Return a Starlette application that takes every dialect of Auth0 for every audience, as while switching."""
    app = Starlette(
        routes=[
            Route(TOKEN_ROUTE, _show_token),
            Route("/orders", requires("read:orders")(_greet)),
            Route("/orders/by-scope", requires_scopes("read:orders")(_greet)),
            Route("/orders/by-permission", requires_permissions("read:orders")(_greet)),
            Route("/shipments", requires("ship:orders")(_greet)),
            Route("/refunds", requires("write:orders")(_greet)),
        ]
    )
    audiences = [f"{RESOURCES}{dialect.name}/{algorithm}" for dialect in AUTH0 for algorithm in ("RS256", "PS256")]
    trusted = TrustedIssuer(issuer, audiences, dialects=AUTH0, first_party_clients=FIRST_PARTY, rbac_enforced=True)
    app.add_middleware(AuthzMiddleware, issuers=[trusted])
    return app


@authenticated
async def _show_token(request: Request) -> JSONResponse:
    token: AccessToken = request.auth.token
    return JSONResponse(
        {
            "issuer": token.issuer,
            "subject": token.subject,
            "client_id": token.client_id,
            "audience": token.audience,
            "dialect": token.dialect,
            "is_machine": token.is_machine,
            "has_id": token.token_id is not None,
            "rule": token.grants.rule,
            "grants": [[grant.value, grant.source] for grant in token.grants],
            "effective": sorted(token.grants.effective),
        }
    )


async def _answer() -> dict[str, bool]:
    return {"ok": True}


async def _greet(request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application on loopback and give its base URL.

    The socket listens before the server runs: whoever calls early waits in its queue.
    """
    # asyncio turns off Nagle's delay only where the socket names its protocol
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
