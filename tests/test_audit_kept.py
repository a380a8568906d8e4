"""The route table that is kept: one walk for as long as nothing changes, and never an old one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route, Router
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from authz_middleware import AuthzMiddleware, requires
from authz_middleware.audit import route_table
from authz_middleware.audit.kept import KeptTable
from authz_middleware.testing import LocalIssuer

from .apps import authz, bare, endpoint, starlette_app

ISSUER = LocalIssuer()


def table_of(app: object) -> list[str]:
    return [f"{entry.shown_path}: {entry.policy}" for entry in route_table(app).entries]


def kept_of(kept: KeptTable) -> list[str]:
    return [f"{entry.shown_path}: {entry.policy}" for entry in kept.get().entries]


def test_the_table_is_the_very_same_while_nothing_changes() -> None:
    app = starlette_app(ISSUER, Route("/x", requires("x")(endpoint)), Mount("/m", Router([Route("/bare", bare)])))
    kept = KeptTable(app)
    assert kept_of(kept) == table_of(app)
    assert kept.get() is kept.get()
    client = TestClient(app)
    client.get("/x")  # which arms it
    armed = kept.get()
    for _ in range(3):
        client.get("/m/bare")
        assert kept.get() is armed


def test_no_middleware_is_made_for_a_look_that_was_had() -> None:
    made: list[ASGIApp] = []

    class Noted(GZipMiddleware):
        def __init__(self, app: ASGIApp) -> None:
            made.append(app)
            super().__init__(app)

    inner = Starlette(routes=[Route("/x", requires("x")(endpoint))], middleware=[Middleware(Noted)])
    app = starlette_app(ISSUER, Mount("/m", inner))
    kept = KeptTable(app)
    for _ in range(5):
        kept.get()
    assert len(made) == 1
    TestClient(app).get("/m/x", headers=ISSUER.headers(permissions=["x"]))
    assert len(made) == 2
    for _ in range(5):
        kept.get()
    assert len(made) == 2  # what runs is looked at, and nothing else is made


def test_no_source_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[object] = []
    monkeypatch.setattr("authz_middleware.audit.walk.source_of", looked_up.append)
    app = starlette_app(ISSUER, Route("/class", HTTPEndpoint), Route("/x", bare), Mount("/m", serve))
    app.router.default = serve
    assert {entry.source for entry in KeptTable(app).get().entries} == {None}
    assert looked_up == []
    route_table(app)
    assert len(looked_up) == 4


def _add_route(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    app.router.routes.append(Route("/later", bare))


def _remove_route(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    app.router.routes.pop(0)


def _replace_route(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    app.router.routes[0] = Route("/first", requires("other")(endpoint))


def _add_to_included(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    router.add_api_route("/later", requires("later")(answer))


def _add_to_mounted(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    inner.router.routes.append(Route("/later", bare))


def _guard_mount(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    mount = next(route for route in app.routes if isinstance(route, Mount))
    mount.app = requires("mount")(mount.app)


def _add_middleware(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    inner.add_middleware(AuthzMiddleware, issuers=[ISSUER.trusted()], undecorated="authenticated")


def _remove_middleware(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    app.user_middleware.clear()


def _replace_stack(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    app.middleware_stack = AuthzMiddleware(app.router, issuers=[ISSUER.trusted()], undecorated="authenticated")


def _set_default(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    inner.router.default = serve


def _add_frontend(app: FastAPI, router: APIRouter, inner: Starlette) -> None:
    router.frontend("/pages", directory=Path(__file__).parent)


CHANGES = [
    _add_route,
    _remove_route,
    _replace_route,
    _add_to_included,
    _add_to_mounted,
    _guard_mount,
    _add_middleware,
    _remove_middleware,
    _replace_stack,
    _set_default,
    _add_frontend,
]


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_what_has_changed_is_seen(change: Callable[[FastAPI, APIRouter, Starlette], None], is_running: bool) -> None:
    inner = Starlette(routes=[Route("/bare", bare)])
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=[authz(ISSUER)])
    router, nested = APIRouter(), APIRouter()
    app.router.routes.append(Route("/first", requires("first")(endpoint)))
    nested.include_router(router, prefix="/nested")
    app.include_router(nested)
    app.mount("/m", inner)
    kept = KeptTable(app)
    if is_running:
        client = TestClient(app)
        client.get("/m/bare")
    before = kept_of(kept)
    change(app, router, inner)
    if is_running and change in {_add_middleware, _remove_middleware}:
        app.middleware_stack = inner.middleware_stack = None  # else Starlette goes on with the old ones
    assert kept_of(kept) != before
    assert kept_of(kept) == table_of(app)


async def answer() -> str:
    raise NotImplementedError


async def serve(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError


def test_what_keeps_itself_ends() -> None:
    app = starlette_app(ISSUER, Route("/x", requires("x")(endpoint)))
    app.mount("/again", app)
    kept = KeptTable(app)
    assert kept.get() is kept.get()
    assert kept_of(kept) == table_of(app)
