"""Orders for FastAPI: who may call stands on each path operation, and is decided before body and dependencies.

Run it: uvicorn examples.fastapi_app:app
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket

from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    TrustedIssuer,
    access_token,
    authenticated,
    authorize,
    policy,
    public,
    requires,
    requires_permissions,
)
from authz_middleware.fastapi import FASTAPI_DOCS

OWNERS = {1: "auth0|jo", 2: "auth0|kim"}
Caller = Annotated[AccessToken, Depends(access_token)]

app = FastAPI(title="Orders")
app.add_middleware(
    AuthzMiddleware,
    issuers=[
        TrustedIssuer.auth0(
            "acme.eu.auth0.com",
            audience="https://orders.acme.example/",
            third_party_clients={"partner-app"},
            rbac_enforced=True,
        )
    ],
    public_paths=FASTAPI_DOCS,
)


@app.get("/healthz")
@public
async def healthz() -> dict[str, bool]:
    return {"ok": True}


@app.get("/me")
@authenticated
async def whoami(caller: Caller) -> dict[str, object]:
    return {"subject": caller.subject, "grants": {grant.value: grant.source for grant in caller.grants}}


@app.get("/orders")
@requires("read:orders")  # scope or permission, whichever the dialect writes
async def list_orders() -> list[int]:
    return sorted(OWNERS)


@app.get("/orders/{number}")
@requires("read:orders")
async def read_order(number: int, request: Request, caller: Caller) -> dict[str, object]:
    if number not in OWNERS:
        raise HTTPException(404)
    if OWNERS[number] != caller.subject:  # somebody else's order takes more
        await authorize(request, policy.permission("read:all-orders"))
    return {"number": number, "owner": OWNERS[number]}


@app.delete("/orders/{number}", status_code=204)
@requires_permissions("delete:orders")
async def delete_order(number: int) -> None:
    """Delete nothing: this is an example."""


@app.websocket("/orders/events")
@requires("read:orders")
async def order_events(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"order": 1, "state": "shipped"})
    await websocket.close()
