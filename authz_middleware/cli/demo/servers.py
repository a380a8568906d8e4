"""An issuer and an API on loopback, each under uvicorn in a thread of its own.

Sources: OpenID Connect Discovery section 4 (metadata), RFC 7517 section 5 (JWKS).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from urllib.parse import urlsplit

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from ... import AuthzMiddleware, TrustedIssuer, public, requires
from ...decorators import stated_access
from ...dialects import AUTH0
from ...keys import Fetched
from ...policy import Access
from ...testing import LocalIssuer

__all__ = ["PARTNER", "World", "make_issuer_app", "running_world", "serving"]

HOST = "127.0.0.1"
AUDIENCE = "https://orders.example/"
PARTNER = "partner-app"
PATIENCE = 10.0
"""Seconds to wait for a server to start or stop before giving up."""


@dataclass(frozen=True)
class World:
    """What the demo plays in: the issuer, the trust in it, the API and what its routes state."""

    issuer: LocalIssuer
    trusted: TrustedIssuer
    api_url: str
    routes: Mapping[tuple[str, str], Access | None]


@contextmanager
def running_world(*, port: int = 0, issuer_port: int = 0) -> Iterator[World]:
    """Run both servers. Port 0 is any free one.

    Raises:
        OSError: a port is taken.
    """
    with listen(issuer_port) as issuer_socket, listen(port) as api_socket:
        issuer = LocalIssuer(url_of(issuer_socket) + "/", AUDIENCE)
        trusted = TrustedIssuer(
            issuer.issuer,
            audience=AUDIENCE,
            dialects=AUTH0,
            third_party_clients={PARTNER},
            rbac_enforced=True,
            fetch=fetch_directly,
        )
        api = make_api(trusted)
        with serving(make_issuer_app(issuer), issuer_socket), serving(api, api_socket):
            yield World(issuer, trusted, url_of(api_socket), read_routes(api))


# --- the two applications ---------------------------------------------------------------------------------------------


def make_issuer_app(issuer: LocalIssuer) -> Starlette:
    """Return the published half of an authorization server: metadata and keys, as they are at each request."""

    async def metadata(_: Request) -> JSONResponse:
        return JSONResponse(issuer.metadata())

    async def jwks(_: Request) -> JSONResponse:
        return JSONResponse(issuer.jwks())

    jwks_path = urlsplit(str(issuer.metadata()["jwks_uri"])).path
    return Starlette(routes=[Route("/.well-known/openid-configuration", metadata), Route(jwks_path, jwks)])


def make_api(trusted: TrustedIssuer) -> FastAPI:
    """Return the guarded API. Nothing in it knows which dialect a token is written in."""
    api = FastAPI(openapi_url=None)
    api.add_middleware(AuthzMiddleware, issuers=[trusted])

    @api.get("/orders")
    @requires("read:orders")
    async def list_orders() -> list[str]:
        return ["order 1", "order 2"]

    @api.post("/orders", status_code=201)
    @requires("create:orders")
    async def create_order() -> str:
        return "order 3"

    @api.get("/healthz")
    @public
    async def healthz() -> dict[str, bool]:
        return {"ok": True}

    return api


def read_routes(api: FastAPI) -> dict[tuple[str, str], Access | None]:
    """Return what each route states, by method and path."""
    routes = [route for route in api.routes if isinstance(route, APIRoute)]
    return {(method, route.path): stated_access(route.endpoint) for route in routes for method in route.methods or ()}


async def fetch_directly(url: str, headers: Mapping[str, str]) -> Fetched:
    """Fetch without the proxy the environment may name: none can reach this machine's loopback for us."""
    response = await asyncio.to_thread(httpx.get, url, headers=dict(headers), trust_env=False)
    return Fetched(response.status_code, dict(response.headers), response.content)


# --- servers in threads -----------------------------------------------------------------------------------------------


def listen(port: int) -> socket.socket:
    """Return a listening socket; the name is known before the server runs, and the port is ours."""
    listening = socket.create_server((HOST, port))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does it only to sockets it made itself
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket, without a slash at its end."""
    return f"http://{HOST}:{listening.getsockname()[1]}"


class _Server(uvicorn.Server):
    """A server that says when it is ready, or that it never will be."""

    def __init__(self, app: ASGIApp) -> None:
        self.settled = Event()
        super().__init__(
            uvicorn.Config(app, log_config=None, log_level="critical", ws="none", timeout_graceful_shutdown=1)
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        with suppress(SystemExit):  # uvicorn's way to say that start-up failed; `started` says so, too
            super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()


@contextmanager
def serving(app: ASGIApp, listening: socket.socket) -> Iterator[None]:
    """Serve an application on a socket, and close both at the end.

    Raises:
        RuntimeError: the application did not start.
    """
    server = _Server(app)
    thread = Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        if not server.settled.wait(PATIENCE) or not server.started:
            raise RuntimeError("a server of the demo did not start")
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
