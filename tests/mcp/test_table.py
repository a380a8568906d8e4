"""The route table of an MCP server that the SDK authenticates for: who gets in, as requests meet it."""

from __future__ import annotations

from typing import Any

import httpx2
from mcp.server.auth.provider import AccessToken as SDKAccessToken
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp

from authz_middleware import AuthzMiddleware
from authz_middleware import mcp as guarded
from authz_middleware.audit import RouteEntry, route_table

from .serving import METADATA, RESOURCE, caller, notes_server, run, settings, trusted, with_the_sdk

OPEN = "states nothing, no AuthzMiddleware in front, so anybody gets in"


def rows(app: ASGIApp) -> list[tuple[str, str]]:
    return [(entry.path, entry.policy) for entry in route_table(app).entries]


async def get(app: ASGIApp, url: str, **options: Any) -> int:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=RESOURCE) as client:
        return (await client.get(url, **options)).status_code


def test_what_the_sdk_asks_is_shown() -> None:
    app = with_the_sdk(trusted())
    metadata = METADATA.removeprefix("https://mcp.test")
    assert rows(app) == [("/mcp", "'use:notes'"), (metadata, "public")]
    assert run(lambda: get(app, METADATA)) == 200
    assert run(lambda: get(app, RESOURCE)) == 401
    assert run(lambda: get(app, RESOURCE, headers=caller(scope="", permissions=[]))) == 403
    mounted = Starlette(routes=[Mount("/notes", app)])
    assert rows(mounted)[0] == ("/notes/mcp", "'use:notes'")


def test_without_required_scopes_any_valid_token_gets_in() -> None:
    auth = settings(trusted(), required_scopes=None)
    server = notes_server(auth=auth, token_verifier=guarded.token_verifier([trusted()]))
    assert rows(guarded.streamable_http_app(server))[0] == ("/mcp", "any valid token")


def test_custom_routes_are_open_there() -> None:
    server: Any = notes_server(auth=settings(trusted()), token_verifier=guarded.token_verifier([trusted()]))

    async def hello(request: Request) -> PlainTextResponse:
        raise NotImplementedError

    server.custom_route("/hello", methods=["GET"])(hello)
    entries: dict[str, RouteEntry] = {e.path: e for e in route_table(guarded.streamable_http_app(server)).entries}
    assert entries["/hello"].policy == OPEN
    assert entries["/hello"].is_open
    assert not entries["/mcp"].is_unguarded


def test_of_what_another_verifier_says_nothing_is_known() -> None:
    class Other:
        async def verify_token(self, token: str) -> SDKAccessToken | None:
            raise NotImplementedError

    app = guarded.streamable_http_app(notes_server(auth=settings(trusted()), token_verifier=Other()))
    assert rows(app)[0] == ("/mcp", OPEN)


def test_behind_a_middleware_of_ours_that_one_decides() -> None:
    app = with_the_sdk(trusted())
    app.add_middleware(AuthzMiddleware, issuers=[trusted()])
    assert rows(app)[0] == ("/mcp", "states nothing, so it is refused")
