"""Applications whose issuers are fixed, as at import, and whose keys only a network could give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authz_middleware import AccessToken, AuthzMiddleware, TrustedIssuer, authenticated, public, requires
from authz_middleware.keys import Fetched

ACME, ORDERS = "https://acme.eu.auth0.com/", "https://orders.acme.example/"
PARTNER, PARTNER_ORDERS = "https://login.partner.example", "https://partner-orders.acme.example/"


async def no_network(url: str, headers: Mapping[str, str]) -> Fetched:
    """Be a `Fetch` that nobody may use; `Exception` would pass for an outage."""
    raise KeyboardInterrupt(url)


def acme(**options: Any) -> TrustedIssuer:
    """Return an Auth0 tenant, of which also EdDSA is accepted: tests sign fast with it."""
    options = {"third_party_clients": {"partner-app"}, "rbac_enforced": True, **options}
    if not options.keys() & {"keys", "secret"}:
        options = {"fetch": no_network, "algorithms": ["RS256", "EdDSA"], **options}
    return TrustedIssuer.auth0("acme.eu.auth0.com", ORDERS, **options)


def partner(**options: Any) -> TrustedIssuer:
    """Return a plain RFC 9068 issuer."""
    return TrustedIssuer(PARTNER, PARTNER_ORDERS, **{"rbac_enforced": True, "fetch": no_network, **options})


def starlette_app(*issuers: TrustedIssuer, **options: Any) -> Starlette:
    """Return an application with one guarded route, which answers with the caller; it may be built on."""
    app = Starlette(routes=[Route("/orders", orders)])
    app.add_middleware(AuthzMiddleware, issuers=issuers or [acme()], **options)
    return app


def fastapi_app(*issuers: TrustedIssuer, calls: list[str] | None = None) -> FastAPI:
    """Return an application with routes of every kind; `calls` notes what ran."""
    ran: list[str] = [] if calls is None else calls
    app = FastAPI(openapi_url=None)
    app.add_middleware(AuthzMiddleware, issuers=issuers or [acme()])

    @app.get("/healthz")
    @public
    async def healthz() -> str:
        ran.append("healthz")
        return "fine"

    @app.get("/me")
    @authenticated
    async def me() -> str:
        ran.append("me")
        return "you"

    @app.get("/orders/{number}")
    @requires("read:orders")
    def read_order(number: int) -> int:
        ran.append("read_order")
        return number

    @app.put("/orders/{number}")
    @app.delete("/orders/{number}")
    @requires("write:orders")
    async def write_order(number: int, order: dict[str, str]) -> int:
        ran.append("write_order")
        return number

    @app.websocket("/events")
    @requires("read:orders")
    async def events(websocket: WebSocket) -> None:
        ran.append("events")
        await websocket.accept()
        await websocket.close()

    return app


@requires("read:orders")
async def orders(request: Request) -> JSONResponse:
    token: AccessToken = request.auth.token
    return JSONResponse({"subject": token.subject, "issuer": token.issuer, "grants": sorted(token.grants.effective)})
