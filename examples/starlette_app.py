"""Orders for Starlette: functions, a class, a WebSocket and a mounted application.

Run it: uvicorn examples.starlette_app:app
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from authz_middleware import AuthzMiddleware, TrustedIssuer, access_token, authenticated, policy, public, requires


@public
async def healthz(_: Request) -> Response:
    return PlainTextResponse("ok")


@authenticated
async def whoami(request: Request) -> Response:
    token = await access_token(request)
    return JSONResponse({"subject": token.subject, "dialect": token.dialect, "machine": token.is_machine})


class Orders(HTTPEndpoint):
    """One class, another grant for each method."""

    @requires("read:orders")
    async def get(self, _: Request) -> Response:
        """List."""
        return JSONResponse(["order 1", "order 2"])

    @requires("create:orders")
    async def post(self, _: Request) -> Response:
        """Create."""
        return JSONResponse("order 3", status_code=201)


@requires("read:orders")
async def order_events(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"order": "order 1", "state": "shipped"})
    await websocket.close()


def report(_: Request) -> Response:
    return JSONResponse({"orders": 2})


reports = Starlette(routes=[Route("/daily", report)])  # guarded where it is mounted, as a whole

app = Starlette(
    routes=[
        Route("/healthz", healthz),
        Route("/me", whoami),
        Route("/orders", Orders),
        WebSocketRoute("/orders/events", order_events),
        Mount("/reports", app=requires(policy.scope("read:orders") & policy.permission("read:reports"))(reports)),
    ],
    middleware=[
        Middleware(
            AuthzMiddleware,
            issuers=[
                TrustedIssuer.auth0(
                    "acme.eu.auth0.com",
                    audience="https://orders.acme.example/",
                    third_party_clients=set(),
                    rbac_enforced=True,
                )
            ],
        )
    ],
)
