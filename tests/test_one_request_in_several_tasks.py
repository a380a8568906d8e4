"""One request served by several tasks at once: what one of them may do, another may not for that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authz_middleware import authenticated, policy, public, requires
from authz_middleware.testing import LocalIssuer

from .apps import Calls, bare, client, endpoint, expect_no_policy, starlette_app


class Turn:
    """Lets two tasks meet: the one within a mount waits until the other is done."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.done = asyncio.Event()


class Waiting:
    """A middleware inside a mount, where one task waits for the other."""

    def __init__(self, app: ASGIApp, turn: list[Turn]) -> None:
        self.app = app
        self.turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.turn[0].inside.set()
        await self.turn[0].done.wait()
        await self.app(scope, receive, send)


async def dispatch(request: Request, path: str) -> list[Any]:
    """Dispatch within the request, as batch endpoints do, and return the statuses that were sent."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await request.app.router({**request.scope, "path": path}, request.receive, send)
    return [message["status"] for message in sent if "status" in message]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("mount", [public, authenticated, requires("x")])
def test_a_cover_is_no_other_tasks_cover(issuer: LocalIssuer, mount: Any, at_once: bool) -> None:
    turn: list[Turn] = []

    @authenticated
    async def batch(request: Request) -> Response:
        turn[:] = [Turn()]
        if not at_once:
            turn[0].done.set()

        async def second() -> list[Any]:
            await turn[0].inside.wait()
            try:
                return await dispatch(request, "/bare")
            finally:
                turn[0].done.set()

        first, other = await asyncio.gather(dispatch(request, "/mounted/slow"), second())
        return PlainTextResponse(f"{first} {other}")

    slow = Starlette(routes=[Route("/slow", bare)], middleware=[Middleware(Waiting, turn=turn)])
    app = starlette_app(issuer, Route("/batch", batch), Route("/bare", bare), Mount("/mounted", app=mount(slow)))
    answer = client(app).get("/batch", headers=issuer.headers(scope="x", permissions=[]))
    # The first answer of the one request begins; nothing that the second has not been granted ever does.
    assert "200" not in answer.text.rpartition("[")[2]


def test_path_parameters_are_no_other_tasks(issuer: LocalIssuer) -> None:
    calls = Calls()
    seen: list[str] = []

    @requires(policy.claim("org_id", equals=policy.path_param("org")))
    async def secret(org: str) -> None:
        seen.append(org)

    async def show(request: Request) -> Response:
        org = request.path_params["org"]
        arrived[org].set()
        await arrived["1" if org == "2" else "2"].wait()
        try:
            await secret(org)
        except Exception:  # noqa: BLE001 - that is the test
            calls.note(org)
        return PlainTextResponse(org)

    arrived: dict[str, asyncio.Event] = {}

    @authenticated
    async def batch(request: Request) -> Response:
        arrived.update({"1": asyncio.Event(), "2": asyncio.Event()})
        await asyncio.gather(dispatch(request, "/orgs/1"), dispatch(request, "/orgs/2"), return_exceptions=True)
        return PlainTextResponse("done")

    routes: Sequence[Any] = [Route("/batch", batch), Route("/orgs/{org}", authenticated(show))]
    client(starlette_app(issuer, *routes), raise_server_exceptions=False).get(
        "/batch", headers=issuer.headers(permissions=[], org_id="1")
    )
    assert (seen, calls.names) == (["1"], ["2"])


def test_what_a_handler_further_out_authorizes_opens_no_answer(issuer: LocalIssuer) -> None:
    class Limiting:
        """A middleware inside ours that asks who calls, and answers by itself."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                from authz_middleware import authorize

                await authorize(Request(scope), policy.user)
                await PlainTextResponse("page")(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    app = starlette_app(issuer, Route("/", requires("x")(endpoint)))
    app.user_middleware.append(Middleware(Limiting))
    expect_no_policy(client(app).get("/", headers=issuer.headers(permissions=[])))
