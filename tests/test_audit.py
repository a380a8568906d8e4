"""The route table: it names every route, and what it says of one is what a request meets there.

Most tests ask the application itself: callers of five kinds try every route, and who got in must be who the table says.
"""

from __future__ import annotations

import functools
import linecache
import sysconfig
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import MagicMock

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    ConfigurationError,
    access_token,
    authenticated,
    policy,
    public,
    requires,
    requires_permissions,
)
from authz_middleware.audit import Protection, RouteEntry, State, installed_middlewares, route_table
from authz_middleware.fastapi import FASTAPI_DOCS
from authz_middleware.policy import Access, Public
from authz_middleware.testing import LocalIssuer

from .apps import Foreign, asking, authz, bare, endpoint, grants, starlette_app

ISSUER = LocalIssuer()
HERE = Path(__file__)
CALLERS = {None: None, "": (), "x": ("x",), "y": ("y",), "x y": ("x", "y")}
"""Callers by what they are granted; None: without a token."""
PAGE = "page.txt"


def mw(**options: Any) -> Middleware:
    return authz(ISSUER, **options)


def guarded(app: ASGIApp, **options: Any) -> AuthzMiddleware:
    return AuthzMiddleware(app, issuers=[ISSUER.trusted(third_party_clients=set())], **options)


def app_of(*routes: BaseRoute, **options: Any) -> Starlette:
    return starlette_app(ISSUER, *routes, **options)


def fastapi_app(*middleware: Middleware) -> FastAPI:
    return FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=list(middleware))


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Be an ASGI application that serves anything."""
    await PlainTextResponse("served")(scope, receive, send)


async def serve_too(scope: Scope, receive: Receive, send: Send) -> None:
    """Be another one, which no test decorates."""
    await serve(scope, receive, send)


class Keeping:
    """A middleware of somebody's own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Hiding:
    """A middleware that keeps what is behind it under another name."""

    def __init__(self, wrapped: ASGIApp) -> None:
        self.wrapped = wrapped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.wrapped(scope, receive, send)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pages")
    (directory / PAGE).write_text("a page", encoding="utf-8")
    return directory


# --- asking the application -------------------------------------------------------------------------------------------


def who_gets_in(app: ASGIApp, entry: RouteEntry, method: str) -> set[str | None]:
    """Return which of the callers a route serves."""
    host, slash, path = entry.path.partition("/")
    url = (slash + path).replace("{id}", "7").replace("{rest:path}", "a/b").replace("*", "any")
    if entry.kind in {"application", "page"}:
        url = f"{url.rstrip('/')}/{PAGE}"
    client = TestClient(
        app, base_url=f"http://{host or 'testserver'}", raise_server_exceptions=False, follow_redirects=False
    )
    got = {name: _status(client, method, url, held) for name, held in CALLERS.items()}
    if 404 in got.values() and entry.kind != "path":  # there need not be anything
        raise AssertionError(f"{method} {url} is not there")
    return {name for name, status in got.items() if status in {200, 404}}


@functools.cache
def _headers(held: tuple[str, ...] | None) -> dict[str, str]:
    return {} if held is None else ISSUER.headers(permissions=list(held))


def _status(client: TestClient, method: str, url: str, held: tuple[str, ...] | None) -> int:
    status = client.request(method, url, headers=_headers(held)).status_code
    if status not in {200, 401, 403, 404, 500}:
        raise AssertionError(f"{method} {url} answers {status}: not what was meant to be asked")
    return status


def who_should(admits: Access | None) -> set[str | None]:
    """Return which of the callers a table says get in."""
    if admits is None:
        return set()
    if isinstance(admits, Public):
        return set(CALLERS)
    return {name for name in CALLERS if name is not None and admits.allows(asking(grants(permissions=name)))}


SHAPES: dict[str, Callable[[Path], ASGIApp]] = {}
Build = Callable[[Path], ASGIApp]


def shape(make: Build) -> Build:
    SHAPES[make.__name__] = make
    return make


def three() -> list[BaseRoute]:
    return [Route("/bare", bare), Route("/public", public(endpoint)), Route("/y", requires("y")(endpoint))]


@shape
def plain(_: Path) -> ASGIApp:
    return app_of(*three(), Route("/any", authenticated(endpoint)), Route("/{id}", bare))


@shape
def undecorated(_: Path) -> ASGIApp:
    return app_of(*three(), undecorated="authenticated")


@shape
def without_middleware(_: Path) -> ASGIApp:
    return Starlette(routes=[*three(), Mount("/m", routes=three()), Mount("/f", serve)])


@shape
def around_something_without(_: Path) -> ASGIApp:
    return Starlette(routes=[Mount("/m", requires("x")(Router(three())))])


@shape
def reporting_only(_: Path) -> ASGIApp:
    return app_of(*three(), Mount("/m", requires("x")(Starlette(routes=three()))), enforce=False)


@shape
def public_paths(_: Path) -> ASGIApp:
    return app_of(
        *three(),
        Route("/tree/{id}", bare),
        Route("/tree", bare),
        Route("/tree/{rest:path}", bare, methods=["POST"]),
        Route("/files/{id}", bare),
        Route("/{id}/x", bare),
        Mount("/m", routes=three()),
        Mount("/whole", serve_too),
        Mount("/exact", serve_too),
        public_paths=["/bare", "/tree/*", "/files/8", "/m/bare", "/whole/*", "/exact/", "/y"],
    )


@shape
def opaque(_: Path) -> ASGIApp:
    return app_of(
        Mount("/a", serve_too),
        Mount("/b", requires("x")(serve)),
        Mount("/c", public(serve)),
        Mount("/d", Keeping(Router(three()))),
        Mount("/e", CORSMiddleware(requires("y")(serve))),
        Mount("/f", requires("x")(CORSMiddleware(requires("y")(Router(three()))))),
        Mount("/g", public(CORSMiddleware(requires("y")(Router(three()))))),
    )


@shape
def mounts(_: Path) -> ASGIApp:
    return app_of(
        Mount("/a", requires("x")(Starlette(routes=three()))),
        Mount("/b", public(Router(three()))),
        Mount("/c/{id}", routes=[Mount("/d", requires("x")(Router(three())))]),
        Mount("", routes=[Route("/inner", bare)]),
    )


@shape
def hosts(_: Path) -> ASGIApp:
    return app_of(
        Host("api.test", Router(three())),
        Host("x.test", requires("x")(Starlette(routes=three()))),
        Host("opaque.test", serve_too),
        Mount("/m", routes=[Host("inner.test", Router(three())), Host("deep.test", serve_too)]),
        public_paths=["/bare", "/m/bare"],
    )


@shape
def inner_middleware_decides(_: Path) -> ASGIApp:
    return app_of(
        Mount("/a", app_of(*three(), public_paths=["/bare"])),
        Mount("/b", app_of(*three(), undecorated="authenticated")),
        Mount("/c", requires("x")(app_of(*three()))),
        Mount("/d", requires("x")(app_of(*three(), undecorated="authenticated", public_paths=["/bare"]))),
        Mount("/e", public(app_of(*three()))),
        Mount("/f", app_of(*three(), enforce=False)),
        Mount("/g", requires("x")(app_of(*three(), enforce=False))),
        Mount("/h", guarded(requires("x")(Starlette(routes=three())))),
        Mount("/i", guarded(app_of(*three(), public_paths=["/bare"]))),
    )


@shape
def outer_and_inner_public_path(_: Path) -> ASGIApp:
    return app_of(Mount("/a", app_of(*three(), public_paths=["/bare"])), public_paths=["/a/bare", "/a/public"])


@shape
def outer_reports_only(_: Path) -> ASGIApp:
    return app_of(
        Mount("/a", requires("x")(app_of(*three()))),
        Mount("/b", requires("x")(app_of(*three(), undecorated="authenticated", public_paths=["/bare", "/y"]))),
        Mount("/c", public(app_of(*three()))),
        Mount("/d", app_of(Mount("/e", requires("y")(app_of(*three()))))),
        Mount("/f", requires("x")(app_of(Mount("/e", requires("y")(app_of(*three(), enforce=False)))))),
        enforce=False,
    )


@shape
def only_inside(_: Path) -> ASGIApp:
    return Starlette(
        routes=[
            *three(),
            Mount("/a", app_of(*three(), public_paths=["/bare"])),
            Mount("/b", routes=three(), middleware=[mw(public_paths=["/bare"])]),
            Mount("/c", Router(three(), middleware=[mw(public_paths=["/bare"])])),
            Mount("/d", requires("x")(app_of(*three()))),
        ]
    )


@shape
def on_opaque_applications(pages: Path) -> ASGIApp:
    files = StaticFiles(directory=pages)
    return Starlette(
        routes=[
            Mount("/a", guarded(files)),
            Mount("/b", guarded(files, public_paths=["/one.txt"])),
            Mount("/c", guarded(requires("x")(serve))),
            Mount("/d", guarded(CORSMiddleware(requires("x")(serve)))),
            Mount("/e", requires("x")(guarded(files))),
            Mount("/f", files, middleware=[mw(undecorated="authenticated")]),
        ]
    )


@shape
def on_opaque_applications_behind_another(pages: Path) -> ASGIApp:
    files = StaticFiles(directory=pages)
    return app_of(
        Mount("/a", guarded(files, undecorated="authenticated")),
        Mount("/c", guarded(requires("x")(serve))),
        Mount("/e", requires("x")(guarded(requires("y")(serve)))),
    )


@shape
def seen_by_its_own_middleware_only(_: Path) -> ASGIApp:
    return Starlette(
        routes=[
            Mount("/a", guarded(Keeping(Starlette(routes=three())))),
            Mount("/b", routes=three(), middleware=[Middleware(Keeping), mw()]),
        ]
    )


@shape
def seen_by_its_own_middleware_only_behind_another(_: Path) -> ASGIApp:
    inner = Starlette(routes=[Route("/" + PAGE, bare), *three()])
    return app_of(
        Mount("/a", guarded(Keeping(inner))),
        Mount("/b", requires("x")(guarded(Keeping(Starlette(routes=three()))))),
    )


@shape
def on_single_routes(_: Path) -> ASGIApp:
    return Starlette(
        routes=[
            Route("/a", bare, middleware=[mw()]),
            Route("/b", bare, middleware=[mw(public_paths=["/b"])]),
            Route("/c", requires("y")(endpoint), middleware=[Middleware(Keeping), mw()]),
            Route("/d", Split, middleware=[mw()]),
            Route("/e", functools.partial(requires("y")(endpoint)), middleware=[mw()]),
            Mount("/m", routes=[Route("/a", bare, middleware=[mw(public_paths=["/m/a", "/a"])])]),
        ]
    )


@shape
def on_single_routes_behind_another(_: Path) -> ASGIApp:
    return app_of(
        Route("/a", bare, middleware=[mw(undecorated="authenticated")]),
        Route("/b", bare, middleware=[mw(public_paths=["/b"])]),
        Route("/c", requires("y")(endpoint), middleware=[mw()]),
        Route("/d", Split, middleware=[mw()]),
        Route("/e", public(endpoint), middleware=[mw(public_paths=["/e"])]),
    )


@shape
def around_everything(_: Path) -> ASGIApp:
    return GZipMiddleware(guarded(CORSMiddleware(Starlette(routes=three()))))


@shape
def two_around_one(_: Path) -> ASGIApp:
    return Starlette(routes=three(), middleware=[mw(public_paths=["/bare"]), mw()])


@shape
def made_by_a_factory(_: Path) -> ASGIApp:
    make: Any = functools.partial(guarded, public_paths=["/bare"])
    return Starlette(routes=three(), middleware=[Middleware(make)])


@shape
def hidden_in_another_middleware(_: Path) -> ASGIApp:
    class Both:
        def __init__(self, app: ASGIApp) -> None:
            self.app = Keeping(guarded(app))

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)

    return Starlette(routes=three(), middleware=[Middleware(Both)])


@shape
def behind_a_middleware_that_hides(_: Path) -> ASGIApp:
    return Starlette(routes=three(), middleware=[Middleware(Hiding), mw()])


@shape
def own_default(_: Path) -> ASGIApp:
    def app(default: ASGIApp) -> Starlette:
        app = Starlette()
        app.router.default = default
        return app

    outer = app_of(
        Mount("/a", requires("x")(app(serve_too))),
        Mount("/b", app(requires("y")(serve))),
        Mount("/c", app(serve_too)),
        public_paths=["/c/*"],
    )
    outer.router.default = serve_too
    return outer


class Split(HTTPEndpoint):
    """Another grant for each method."""

    async def get(self, request: Request) -> Response:
        return PlainTextResponse("got")

    @requires("x")
    async def post(self, request: Request) -> Response:
        return PlainTextResponse("posted")

    @requires("x")
    async def put(self, request: Request) -> Response:
        return PlainTextResponse("put")


@requires("x")
class Whole(HTTPEndpoint):
    """One grant for all, and another for one."""

    async def get(self, request: Request) -> Response:
        return PlainTextResponse("got")

    @requires("y")
    async def post(self, request: Request) -> Response:
        return PlainTextResponse("posted")


class Instance:
    """An instance that serves a route."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await serve(scope, receive, send)


class Handling(Route):
    """A route that serves in a way of its own."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Odd(BaseRoute):
    """A route like nobody else's."""

    def __init__(self, path: str) -> None:
        self.path = path

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_mine = scope["type"] == "http" and scope["path"] == self.path
        return (Match.FULL if is_mine else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await serve(scope, receive, send)


@shape
def endpoints(_: Path) -> ASGIApp:
    return app_of(
        Route("/split", Split),
        Route("/whole", Whole),
        Route("/few", Split, methods=["GET", "POST"]),
        Route("/partial", functools.partial(bare)),
        Route("/guarded-partial", functools.partial(requires("x")(endpoint))),
        Route("/partial-guarded", requires("x")(functools.partial(endpoint))),
        Route("/instance", Instance()),
        Route("/guarded-instance", requires("x")(Instance())),
        Handling("/handling", bare),
        Handling("/handling-x", requires("x")(endpoint)),
        Odd("/odd"),
    )


@shape
def fastapi(_: Path) -> ASGIApp:
    app = fastapi_app(mw(public_paths=["/v1/open"]))
    router, nested = APIRouter(), APIRouter(prefix="/nested", dependencies=[Security(requires("y"))])
    for path, function in (("/open", bare), ("/y", requires("y")(endpoint))):
        router.add_api_route(path, _dependency_free(function))
    nested.add_api_route("/bare", _dependency_free(bare))
    router.include_router(nested)
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2", dependencies=[Security(requires("x"))])
    app.mount("/starlette", requires("x")(Starlette(routes=three())))
    app.include_router(_with_mount(), prefix="/v3")
    return app


def _dependency_free(function: Any) -> Any:
    """Return a function that FastAPI takes, stating what another one does."""

    async def operation(request: Request) -> str:
        await function(request)
        return "served"

    return functools.wraps(function)(operation) if function is not bare else operation


def _with_mount() -> APIRouter:
    router = APIRouter()
    router.mount("/m", Starlette(routes=three()))
    router.routes.append(Route("/starlette", requires("y")(endpoint)))
    return router


@shape
def fastapi_without_middleware(_: Path) -> ASGIApp:
    app = fastapi_app()
    router = APIRouter(dependencies=[Security(requires("x"))])
    router.add_api_route("/x", _dependency_free(bare))
    app.include_router(router)
    app.add_api_route("/bare", _dependency_free(bare))
    return app


@pytest.mark.parametrize("options", [{}, {"undecorated": "authenticated"}, {"public_paths": ["/v1/r/in/*", "/app/*"]}])
@pytest.mark.parametrize("is_mounted", [False, True])
def test_frontend_pages_are_listed_wherever_they_are_included(
    pages: Path, options: dict[str, Any], is_mounted: bool
) -> None:
    def make(_: Path) -> ASGIApp:
        app = fastapi_app(*([] if is_mounted else [mw(**options)]))
        router, other = APIRouter(prefix="/r"), APIRouter(dependencies=[Security(requires("y"))])
        router.frontend("/in", directory=pages)
        other.frontend("/other", directory=pages)
        app.frontend("/app", directory=pages)
        app.include_router(router, prefix="/v1")
        app.include_router(router, prefix="/v2", dependencies=[Security(requires("x"))])
        around = APIRouter(dependencies=[Depends(lambda: None), Security(requires("x"))])
        around.include_router(other, prefix="/deep")
        app.include_router(around, prefix="/v3")
        return app_of(Mount("/m", requires("y")(app)), **options) if is_mounted else app

    expect_agreement(make, pages)
    shown = {entry.shown_path.removeprefix("/m") for entry in route_table(make(pages)).entries if entry.kind == "page"}
    assert shown == {"/app/*", "/v1/r/in/*", "/v2/r/in/*", "/v3/deep/other/*"}


def test_frontend_pages_without_a_middleware(pages: Path) -> None:
    def make(_: Path) -> ASGIApp:
        app, router = fastapi_app(), APIRouter()
        router.frontend("/in", directory=pages)
        app.include_router(router, prefix="/v1")
        app.include_router(router, prefix="/v2", dependencies=[Security(requires("x"))])
        return app

    expect_agreement(make, pages)
    assert [entry.is_open for entry in route_table(make(pages)).entries] == [True, False]


@pytest.mark.parametrize("name", SHAPES)
def test_the_table_says_what_requests_meet(name: str, pages: Path) -> None:
    expect_agreement(SHAPES[name], pages)


def expect_agreement(make: Build, pages: Path, *, is_answered_before: bool = True) -> None:
    """Raise unless the application lets in whom the table says, looked at or not, armed or not.

    What `public_paths` opens beside the routes is open to middleware, which may answer there before them. Where none
    does (`is_answered_before=False`), fewer get in.
    """
    table = route_table(make(pages))
    if not table.entries:
        raise AssertionError("no route was found")
    untouched, looked_at = make(pages), make(pages)
    route_table(looked_at)
    for entry, app in product(table.entries, (untouched, looked_at)):
        expected = who_should(entry.admits)
        if not entry.is_unguarded and who_should(entry.access) != expected:
            raise AssertionError(f"{entry!r}: {entry.policy} is not who gets in")
        for method in entry.methods or ("GET",):
            got = who_gets_in(app, entry, method)
            if got != expected and not (entry.kind == "path" and not is_answered_before and got <= expected):
                raise AssertionError(f"{entry!r}, {entry.policy}: {method} should let in {expected}, but lets in {got}")
    if route_table(looked_at) != table:
        raise AssertionError("the table of an application that has served is another one")


# --- what is listed, and how ------------------------------------------------------------------------------------------


def rows(app: object) -> list[tuple[str, str, str]]:
    return [(",".join(e.shown_methods), e.shown_path, e.policy) for e in route_table(app).entries]


def line_of(text: str) -> int:
    """Return the line of this file on which a text stands first."""
    lines = linecache.getlines(str(HERE))
    return next(number for number, line in enumerate(lines, 1) if line.startswith(text))


def test_a_table_of_everything() -> None:
    class Chat(WebSocketEndpoint):
        @requires("x")
        async def on_connect(self, websocket: WebSocket) -> None:
            raise NotImplementedError

    async def talk(websocket: WebSocket) -> None:
        raise NotImplementedError

    app = app_of(
        Route("/orders/{id}", requires("read:orders")(endpoint)),
        Route("/split", Split),
        Route("/any", authenticated(endpoint), methods=["POST", "PUT"]),
        Route("/choice", requires(policy.any_of("a", policy.scope("b") & policy.role("c")))(endpoint)),
        WebSocketRoute("/chat", Chat),
        WebSocketRoute("/talk", talk),
        Mount("/m", routes=[Route("/public", public(endpoint)), Mount("/files", requires_permissions("f")(serve))]),
        Host("{tenant}.api.test", Router([Route("/x", bare)])),
        Odd("/odd"),
    )
    assert rows(app) == [
        ("GET", "/orders/{id}", "'read:orders'"),
        ("GET", "/split", "states nothing, so it is refused"),
        ("POST,PUT", "/split", "'x'"),
        ("POST,PUT", "/any", "any valid token"),
        ("GET", "/choice", "'a' | (scope('b') & role('c'))"),
        ("WEBSOCKET", "/chat", "'x'"),
        ("WEBSOCKET", "/talk", "states nothing, so it is refused"),
        ("GET", "/m/public", "public"),
        ("ANY", "/m/files/*", "permission('f')"),
        ("GET", "{tenant}.api.test/x", "states nothing, so it is refused"),
        ("ANY", "/odd", "states nothing, so it is refused"),
    ]
    table = route_table(app)
    assert [entry.state for entry in table.entries] == [
        State.GUARDED,
        State.UNGUARDED,
        State.GUARDED,
        State.AUTHENTICATED,
        State.GUARDED,
        State.GUARDED,
        State.UNGUARDED,
        State.PUBLIC,
        State.GUARDED,
        State.UNGUARDED,
        State.UNGUARDED,
    ]
    assert [entry.kind for entry in table.entries[4:]] == [
        "http",
        "websocket",
        "websocket",
        "http",
        "application",
        "http",
        "route",
    ]
    assert [entry.path for entry in table.unguarded] == ["/split", "/talk", "{tenant}.api.test/x", "/odd"]
    assert table.summary == "11 routes: 5 guarded, 1 any valid token, 1 public, 4 unguarded"


def test_json_keeps_the_methods_that_the_text_leaves_out() -> None:
    (entry,) = route_table(app_of(Route("/x", bare, methods=["GET", "PATCH"]))).entries
    assert entry.methods == ("GET", "HEAD", "PATCH")
    assert entry.shown_methods == ("GET", "PATCH")
    (entry,) = route_table(app_of(Route("/x", bare, methods=["HEAD"]))).entries
    assert entry.shown_methods == ("HEAD",)


@pytest.mark.parametrize(
    ("app", "shown"),
    [
        (lambda: app_of(Route("/", bare)), "UNGUARDED: states nothing, so it is refused"),
        (
            lambda: app_of(Route("/", bare), undecorated="authenticated"),
            "UNGUARDED: states nothing, so any valid token gets in",
        ),
        (
            lambda: Starlette(routes=[Route("/", bare)]),
            "UNGUARDED, OPEN TO ANYBODY: states nothing, no AuthzMiddleware in front, so anybody gets in",
        ),
        (
            lambda: Starlette(routes=[Route("/", requires("x")(endpoint))]),
            "UNGUARDED: states 'x', no AuthzMiddleware in front, so every call fails",
        ),
        (
            lambda: Starlette(routes=[Route("/", public(endpoint))]),
            "UNGUARDED: states public, no AuthzMiddleware in front, so every call fails",
        ),
        (
            lambda: app_of(Route("/", requires("x")(endpoint)), enforce=False),
            "UNGUARDED, OPEN TO ANYBODY: states 'x', only reported (enforce=False), so anybody gets in",
        ),
        (
            lambda: app_of(Mount("/", requires("x")(app_of(Route("/", bare), enforce=False)))),
            "UNGUARDED: states nothing, only reported (enforce=False), so whoever meets 'x' gets in",
        ),
        (
            lambda: app_of(Mount("/", app_of(Route("/", authenticated(endpoint)), enforce=False))),
            "UNGUARDED: states any valid token, only reported (enforce=False), so any valid token gets in",
        ),
        (lambda: app_of(Route("/", public(endpoint)), enforce=False), "public"),
        (lambda: app_of(Route("/", bare), public_paths=["/"]), "public, by public_paths"),
    ],
)
def test_what_is_wrong_is_said(app: Callable[[], Starlette], shown: str) -> None:
    lines = route_table(app()).to_text().splitlines()
    assert lines[1].removeprefix("GET      /     ").removesuffix(f"  {lines[1].split()[-1]}").rstrip() == shown


def test_an_application_without_the_middleware_cannot_be_overlooked() -> None:
    table = route_table(Starlette(routes=[*three(), Mount("/f", serve_too)]))
    assert table.to_text().splitlines()[-2:] == [
        "NOTHING IS GUARDED HERE: there is no AuthzMiddleware; "
        "write app.add_middleware(AuthzMiddleware, issuers=[...])",
        "4 routes: 0 guarded, 0 any valid token, 0 public, 4 unguarded, 2 of them OPEN TO ANYBODY",
    ]
    assert len(table.unguarded) == 4
    assert "**NOTHING IS GUARDED HERE: there is no AuthzMiddleware;" in table.to_markdown()


def test_an_application_that_only_reports_cannot_be_overlooked() -> None:
    text = route_table(app_of(*three(), enforce=False)).to_text()
    assert text.splitlines()[-2:] == [
        "NOTHING IS GUARDED HERE: AuthzMiddleware(enforce=False) only reports; remove enforce=False",
        "3 routes: 0 guarded, 0 any valid token, 1 public, 2 unguarded, 2 of them OPEN TO ANYBODY",
    ]


def test_what_an_outer_middleware_only_reports_guards_nothing() -> None:
    inner = app_of(*three(), Route("/path", bare), public_paths=["/path"])
    table = route_table(app_of(Mount("/m", requires("x")(inner)), enforce=False))
    assert [entry.policy for entry in table.entries] == [
        "states nothing, only reported (enforce=False), so it is refused",
        "states 'x', only reported (enforce=False), so anybody gets in",
        "states 'x' & 'y', only reported (enforce=False), so whoever meets 'y' gets in",
        "states nothing, only reported (enforce=False), so anybody gets in",
    ]
    assert [entry.is_open for entry in table.entries] == [False, True, False, True]
    assert "NOTHING IS GUARDED" not in str(table)  # the inner one guards


def test_a_host_stands_before_the_mounts_around_it() -> None:
    inner = FastAPI(openapi_url=None)
    inner.router.routes.append(Host("h.test", Router([Route("/x", requires("x")(endpoint)), Mount("/n", serve_too)])))
    table = route_table(app_of(Mount("/m", inner), public_paths=["/m/x"]))
    assert [(entry.shown_path, entry.local_path) for entry in table.entries] == [
        ("h.test/m/x", "/x"),
        ("h.test/m/n/*", "/n/"),
    ]
    assert {entry.application for entry in table.entries} == {inner}


def test_a_mounted_application_without_a_guard_is_told_from_one_with() -> None:
    app = Starlette(routes=[Mount("/with", app_of(*three())), Mount("/without", Starlette(routes=three()))])
    assert [entry.protection for entry in route_table(app).entries] == [Protection.ENFORCED] * 3 + [
        Protection.ABSENT
    ] * 3
    assert "NOTHING IS GUARDED" not in str(route_table(app))


def test_an_application_without_routes() -> None:
    table = route_table(Starlette())
    assert not table.entries
    assert (
        table.to_text()
        == "METHODS  PATH  POLICY  SOURCE\n0 routes: 0 guarded, 0 any valid token, 0 public, 0 unguarded"
    )


def test_fastapi_s_own_pages_are_routes() -> None:
    app = FastAPI()
    app.add_middleware(AuthzMiddleware, issuers=[ISSUER.trusted(third_party_clients=set())])
    assert [entry.path for entry in route_table(app).unguarded] == ["/openapi.json", *FASTAPI_DOCS[:3]]
    app = FastAPI(middleware=[mw(public_paths=FASTAPI_DOCS)])
    assert {entry.policy for entry in route_table(app).entries} == {"public, by public_paths"}


def test_a_public_path_without_a_route_is_listed() -> None:
    app = app_of(
        *three(),
        Route("/i/{id}", bare),
        Host("api.test", Router([Route("/hosted", bare)])),
        public_paths=["/bare", "/i/1", "/static/*", "/m*".replace("*", "/*"), "/hosted", "/publi/*"],
    )
    listed = [entry for entry in route_table(app).entries if entry.kind == "path"]
    assert [entry.path for entry in listed] == ["/i/1", "/m/*", "/publi/*", "/static/*"]
    assert all(entry.is_public_path and entry.state is State.PUBLIC for entry in listed)


def test_a_public_path_of_a_mounted_application_is_listed_where_it_is() -> None:
    inner = app_of(public_paths=["/metrics"])
    app = app_of(Mount("/a", inner), Mount("/b", inner), public_paths=["/b/metrics"])
    assert rows(app) == [("ANY", "/b/metrics", "public, by public_paths")]
    app = Starlette(routes=[Mount("/files", guarded(Foreign(), public_paths=["/one", "/all/*"]))])
    assert rows(app)[1:] == [
        ("ANY", "/files/all/*", "public, by public_paths"),
        ("ANY", "/files/one", "public, by public_paths"),
    ]


def test_a_public_tree_is_listed_unless_a_row_of_that_tree_or_a_wider_one_says_who_gets_in() -> None:
    class Answers(Keeping):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await (serve if scope["path"] == "/static/style.css" else self.app)(scope, receive, send)

    within = Route("/static/admin", requires("x")(endpoint))
    app = Starlette(routes=[within], middleware=[mw(public_paths=["/static/*"]), Middleware(Answers)])
    assert TestClient(app).get("/static/style.css").status_code == 200
    assert rows(app) == [("GET", "/static/admin", "'x'"), ("ANY", "/static/*", "public, by public_paths")]

    def listed(mount: Mount, *paths: str) -> list[str]:
        return [e.path for e in route_table(app_of(mount, public_paths=paths)).entries if e.kind == "path"]

    assert listed(Mount("/a", serve_too), "/a/*", "/a/b/*") == []
    assert listed(Mount("/a", serve_too), "/a/b/*") == ["/a/b/*"]  # of what is wider nothing is said but that
    assert listed(Mount("/a/b", serve_too), "/a/b/*", "/a/*", "/a/bc/*") == ["/a/*", "/a/bc/*"]
    assert listed(Mount("/a", requires("x")(serve)), "/a/b/*") == []
    assert listed(Mount("/a", routes=[Route("/b/*", bare)]), "/a/b/*") == ["/a/b/*"]  # that is a route for a star


def test_a_path_template_in_public_paths_opens_nothing() -> None:
    app = app_of(Route("/i/{id}", bare), public_paths=["/i/{id}"])
    assert rows(app) == [("GET", "/i/{id}", "states nothing, so it is refused")]
    assert TestClient(app).get("/i/7").status_code == 401


# --- where it was written ---------------------------------------------------------------------------------------------


def sources(app: object) -> list[int | None]:
    """Return the source lines of a table, which are all of this file."""
    found = [entry.source for entry in route_table(app).entries]
    if any(source is not None and Path(source[0]) != HERE for source in found):
        raise AssertionError(f"elsewhere: {found}")
    return [None if source is None else source[1] for source in found]


def test_source_lines() -> None:
    def decorated(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(request: Request) -> Response:
            raise NotImplementedError

        return wrapper

    plain = line_of("async def written_here(")
    app = Starlette(
        routes=[
            Route("/1", decorated(written_here)),
            Route("/2", requires("x")(decorated(written_here))),
            Route("/3", requires("x")(functools.partial(written_here))),
            Route("/4", Instance()),
            Route("/5", Instance().__call__),
            Route("/6", Whole),
            Route("/7", Odd),
            Mount("/8", written_here),
            Mount("/9", requires("x")(CORSMiddleware(guarded(written_here)))),
            Mount("/10", Instance()),
            Mount("/11", Keeping(written_here)),
            Odd("/12"),
            Handling("/13", bare_here),
            Host("h.test", written_here),
        ]
    )
    called = line_of("class Instance") + 3
    assert sources(app) == [
        *[plain] * 3,
        called,
        called,
        line_of("class Whole") + 3,
        line_of("class Whole") + 6,
        line_of("class Odd"),
        plain,
        plain,
        called,
        line_of("class Keeping") + 6,
        line_of("class Odd"),
        line_of("async def bare_here"),
        plain,
    ]


async def written_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


async def bare_here(request: Request) -> Response:
    raise NotImplementedError


def test_the_source_line_of_a_class_is_its_method_s() -> None:
    got, posted = line_of("class Split") + 3, line_of("class Split") + 6
    assert sources(app_of(Route("/", Split))) == [got, posted]
    head_only = app_of(Route("/", Split, methods=["HEAD"]))
    assert sources(head_only) == [got]
    assert sources(app_of(Route("/", Whole))) == [line_of("class Whole") + 3, line_of("class Whole") + 6]
    other = type("Split", (Split,), {"__module__": __name__, "__qualname__": "Split"})
    assert sources(app_of(Route("/", requires("x")(other)))) == [got]
    assert sources(app_of(Route("/", Split, methods=["DELETE"]))) == [line_of("class Split")]  # it answers 405


def test_what_has_no_source_has_none() -> None:
    namespace: dict[str, Any] = {}
    exec("async def made(request): ...", namespace)
    endless: Any = lambda request: None  # noqa: E731 - a function is wanted
    endless.__wrapped__ = endless
    app = app_of(Route("/1", namespace["made"]), Mount("/2", MagicMock()), Route("/3", type("Made", (), {})))
    assert [entry.source for entry in route_table(app).entries if entry.path != "/2/"] == [None, None]
    assert route_table(app_of(Route("/", endless))).entries[0].source is not None
    assert "  -" in route_table(app).to_text()


def test_what_is_installed_is_shown_as_imported_even_below_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A virtual environment often lies in the project."""
    monkeypatch.chdir(Path(sysconfig.get_path("purelib")).parent)
    table = route_table(FastAPI(middleware=[mw()])).to_text()
    assert " fastapi/applications.py:" in table
    assert "site-packages" not in table


def test_paths_say_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    app = FastAPI(openapi_url=None, middleware=[mw()])
    app.add_api_route("/x", _dependency_free(bare))
    monkeypatch.chdir(HERE.parent.parent)
    assert f"tests/test_audit.py:{line_of('    async def operation')}" in str(route_table(app))
    monkeypatch.chdir(HERE.parent)
    assert " test_audit.py:" in str(route_table(app))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", "/", "relative", str(HERE.parent.parent), str(HERE.parent.parent.parent)])
    assert " tests/test_audit.py:" in str(route_table(app))
    monkeypatch.setattr("sys.path", ["/"])
    assert " test_audit.py:" in str(route_table(app))
    assert str(HERE.parent) not in route_table(app).to_json()


# --- nothing hides ----------------------------------------------------------------------------------------------------


def test_an_application_mounted_in_itself_is_listed_once() -> None:
    app = app_of(Route("/bare", bare))
    app.mount("/again", app)
    app.mount("/kept", guarded(Keeping(app)))
    assert rows(app) == [
        ("GET", "/bare", "states nothing, so it is refused"),
        ("ANY", "/again/*", "states nothing, so it is refused"),
        ("ANY", "/kept/*", "states nothing, so it is refused"),
    ]
    outside = Starlette(routes=[Route("/bare", bare)])
    outside.mount("/kept", guarded(Keeping(outside)))
    assert [path for _, path, _ in rows(outside)] == ["/bare", "/kept/*"]


def test_an_object_that_keeps_a_guarded_application_is_not_believed() -> None:
    """It may serve whatever it likes. As middleware of the mount it would be believed: see the shapes above."""
    app = Starlette(routes=[Mount("/a", Keeping(guarded(Starlette(routes=three()))))])
    assert [(entry.path, entry.is_open) for entry in route_table(app).entries] == [("/a/", True)]

    async def dispatch(request: Request, call_next: Any) -> Response:
        raise NotImplementedError

    app = Starlette(routes=[Mount("/a", BaseHTTPMiddleware(guarded(Starlette(routes=three())), dispatch))])
    assert [(entry.path, entry.is_open) for entry in route_table(app).entries] == [("/a/", True)]


def test_a_route_without_a_path_is_listed() -> None:
    class Pathless(Odd):
        def __init__(self) -> None:
            self.methods = None

    assert rows(app_of(Pathless())) == [("ANY", "<Pathless>", "states nothing, so it is refused")]


def test_routes_of_one_path_are_all_listed() -> None:
    app = app_of(Route("/x", bare), Route("/x", public(endpoint)), Mount("/m", Router()), Mount("/m", routes=three()))
    assert [path for _, path, _ in rows(app)] == ["/x", "/x", "/m/bare", "/m/public", "/m/y"]


def test_a_router_included_twice_is_listed_twice() -> None:
    app = fastapi_app(mw())
    router = APIRouter(prefix="/r", dependencies=[Security(requires("r"))])
    router.add_api_route("/x", _dependency_free(bare))
    app.include_router(router, prefix="/a", dependencies=[Security(requires("a"))])
    app.include_router(router, prefix="/b", dependencies=[Security(requires("b"))])
    app.include_router(router)
    assert rows(app) == [
        ("GET", "/a/r/x", "'a' & 'r'"),
        ("GET", "/b/r/x", "'b' & 'r'"),
        ("GET", "/r/x", "'r'"),
    ]


def in_routers(*outer: Middleware, **inner: Any) -> Build:
    """Return what builds an application whose router requires `y` of a mounted one, which has a middleware, too."""

    def make(_: Path) -> FastAPI:
        routes = [Route("/x", requires("x")(endpoint)), Route("/bare", bare), Route("/public", public(endpoint))]
        app = fastapi_app(*outer)
        app.router.dependencies.append(Security(requires("y")))
        app.router.routes += [
            Mount("/m", Starlette(routes=routes, middleware=[mw(**inner)])),
            Mount("/o", serve, middleware=[mw(**inner)]),
            Mount("/p", requires("x")(serve), middleware=[mw(**inner)]),
        ]
        if not outer:
            app.router.routes.append(Route("/r", requires("x")(endpoint), middleware=[mw(**inner)]))
        return app

    return make


@pytest.mark.parametrize("inner", [{}, {"undecorated": "authenticated"}, {"public_paths": ["/bare", "/x"]}])
@pytest.mark.parametrize(
    "outer",
    [
        None,
        {},
        {"enforce": False},
        {"undecorated": "authenticated"},
        {"public_paths": ["/m/bare", "/m/x"]},
        {"public_paths": ["/m/*", "/o/*", "/p/*", "/r"]},
    ],
)
def test_what_routers_require_is_asked_by_the_outer_middleware(outer: Any, inner: Any) -> None:
    expect_agreement(in_routers(*([] if outer is None else [mw(**outer)]), **inner), HERE, is_answered_before=False)


@pytest.mark.parametrize("inner", [{}, {"undecorated": "authenticated"}, {"public_paths": ["/bare", "/x"]}])
def test_what_routers_of_a_mounted_application_require_is_asked_by_its_own_middleware(inner: Any) -> None:
    def make(pages: Path) -> Starlette:
        return Starlette(routes=[Mount("/in", mounted(pages)), Route("/bare", bare)])

    mounted = in_routers(mw(**inner))
    expect_agreement(make, HERE)
    assert ("GET", "/in/m/x", "'y' & 'x'") in rows(make(HERE))


async def needing(token: Annotated[AccessToken, Depends(access_token)]) -> str:
    return "served"


async def wishing(token: Annotated[AccessToken | None, Depends(access_token)]) -> str:
    return "served"


def test_a_public_route_that_needs_a_token_is_open_to_any_valid_one() -> None:
    def make(_: Path) -> FastAPI:
        app = fastapi_app(mw(public_paths=["/bare", "/wishing"]))
        app.get("/needing", dependencies=[Security(public)])(needing)
        app.get("/optional", dependencies=[Security(public)])(wishing)
        app.get("/bare")(needing)
        app.get("/wishing")(wishing)
        return app

    expect_agreement(make, HERE)
    assert [(path, policy) for _, path, policy in rows(make(HERE))] == [
        ("/needing", "any valid token"),
        ("/optional", "public"),
        ("/bare", "any valid token"),
        ("/wishing", "public, by public_paths"),
    ]


def test_a_class_that_a_router_includes_is_listed_method_by_method() -> None:
    app, router = fastapi_app(mw()), APIRouter()
    router.routes.append(Route("/split", Split))
    app.include_router(router, dependencies=[Security(requires("y"))])
    expect_agreement(lambda _: app, HERE)
    assert rows(app) == [("GET", "/split", "states nothing, so it is refused"), ("POST,PUT", "/split", "'y' & 'x'")]


def test_a_subclass_of_a_route_class_is_listed() -> None:
    class Odder(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            await serve(scope, receive, send)

    app = fastapi_app(mw())
    router = APIRouter(route_class=Odder)
    router.add_api_route("/x", _dependency_free(bare), methods=["POST"])
    app.include_router(router)
    assert rows(app) == [("POST", "/x", "states nothing, so it is refused")]


def test_a_mounted_mock_does_not_keep_the_walk_busy() -> None:
    app = app_of(Mount("/m", MagicMock()))
    assert [path for _, path, _ in rows(app)] == ["/m/*"]
    assert len(installed_middlewares(app)) == 1


def test_a_hundred_wrappers_do_not_keep_the_walk_busy() -> None:
    app: ASGIApp = serve_too
    for _ in range(100):
        app = CORSMiddleware(app)
    assert rows(app_of(Mount("/m", app))) == [("ANY", "/m/*", "states nothing, so it is refused")]
    app = app_of(*three())
    for _ in range(63):
        app = CORSMiddleware(app)
    assert rows(app) == rows(app_of(*three()))
    with pytest.raises(ConfigurationError):
        route_table(CORSMiddleware(app))


def test_websockets_meet_what_the_table_says() -> None:
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    async def bare_talk(websocket: WebSocket) -> None:
        await talk(websocket)

    app = app_of(
        WebSocketRoute("/bare", bare_talk),
        WebSocketRoute("/x", requires("x")(talk)),
        WebSocketRoute("/public", public(talk)),
        WebSocketRoute("/path", bare_talk),
        public_paths=["/path"],
    )
    for entry in route_table(app).entries:
        got_in = {name for name, held in CALLERS.items() if _connects(app, entry.path, held)}
        assert got_in == who_should(entry.admits)


def _connects(app: ASGIApp, path: str, held: tuple[str, ...] | None) -> bool:
    try:
        with TestClient(app).websocket_connect(path, headers=_headers(held)):
            return True
    except WebSocketDisconnect:
        return False
    except Exception as error:
        if getattr(error, "status_code", None) not in {401, 403}:
            raise
        return False


# --- looking changes nothing ------------------------------------------------------------------------------------------


def test_looking_arms_nothing() -> None:
    app = Starlette(routes=[Route("/bare", bare), Mount("/f", Foreign()), Odd("/odd")])
    app.router.default = serve_too
    before = [getattr(route, "app", None) for route in app.routes]
    route_table(app)
    assert [getattr(route, "app", None) for route in app.routes] == before
    assert app.router.default is serve_too
    assert app.middleware_stack is None
    client = TestClient(app)
    assert [client.get(path).status_code for path in ("/bare", "/f/", "/odd", "/else")] == [200] * 4
    app.middleware_stack = None
    app.add_middleware(AuthzMiddleware, issuers=[ISSUER.trusted(third_party_clients=set())])
    assert TestClient(app).get("/bare").status_code == 401


def test_looking_at_fastapi_arms_nothing(pages: Path) -> None:
    app = fastapi_app()
    router = APIRouter()
    router.add_api_route("/x", _dependency_free(bare))
    router.frontend("/pages", directory=pages)
    app.include_router(router, prefix="/r")
    route_table(app)
    client = TestClient(app)
    assert [client.get(f"/r/{path}").status_code for path in ("x", f"pages/{PAGE}")] == [200, 200]


def test_issuers_that_can_be_read_once_are_left_for_the_application() -> None:
    once = (ISSUER.trusted(third_party_clients=set()) for _ in range(1))
    app = Starlette(routes=three(), middleware=[Middleware(AuthzMiddleware, issuers=once)])
    assert route_table(app) == route_table(app)
    assert TestClient(app).get("/y", headers=ISSUER.headers(permissions=["y"])).status_code == 200


def test_a_middleware_that_needs_a_running_server_does_not_keep_the_table_from_being_made() -> None:
    def make(app: ASGIApp) -> ASGIApp:
        raise RuntimeError("no server")

    table = route_table(Starlette(routes=three(), middleware=[Middleware(make)]))
    assert {entry.protection for entry in table.entries} == {Protection.ABSENT}


def test_what_serves_the_routes_of_a_router_has_its_table() -> None:
    """It is what a router's own middleware stands around."""
    router = Router(three(), middleware=[mw()])
    assert {entry.protection for entry in route_table(router).entries} == {Protection.ENFORCED}
    assert {entry.protection for entry in route_table(router.app).entries} == {Protection.ABSENT}


# --- what cannot be meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [None, "app", Starlette, Foreign(), bare])
def test_what_has_no_routes_is_refused(app: object) -> None:
    with pytest.raises(ConfigurationError, match="pass a Starlette or FastAPI application"):
        route_table(app)


def test_faults_of_the_routes_are_all_told() -> None:
    late, later = (functools.partial(bare) for _ in range(2))
    requires("x")(late)
    public(later)
    with pytest.raises(ConfigurationError) as error:
        route_table(Starlette(routes=[Route("/a", late), Mount("/m", routes=[Route("/b", later)])]))
    assert [fault.partition(":")[0] for fault in error.value.faults] == ["/a", "/m/b"]


def test_a_middleware_that_was_added_wrongly_is_told() -> None:
    app = Starlette(routes=three())
    app.add_middleware(AuthzMiddleware, issuer=[ISSUER.trusted()])  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="AuthzMiddleware cannot be made as it was added"):
        route_table(app)
    app = app_of(*three(), public_paths=["docs"])
    with pytest.raises(ConfigurationError, match="public_paths"):
        route_table(app)

    def make(app: ASGIApp) -> ASGIApp:
        return guarded(app, realm=7)

    with pytest.raises(ConfigurationError, match="realm"):
        route_table(Starlette(routes=three(), middleware=[Middleware(make)]))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_an_event_loop_a_fault_of_the_middleware_is_told_too(anyio_backend: str) -> None:
    with pytest.raises(ConfigurationError, match="public_paths"):
        route_table(app_of(*three(), public_paths=["docs"]))


# --- in a failed assertion --------------------------------------------------------------------------------------------


def test_a_failed_assertion_names_what_is_unguarded() -> None:
    table = route_table(app_of(Route("/a", bare_here), Route("/b", Split), Route("/c", public(endpoint))))
    with pytest.raises(AssertionError) as error:
        assert not table.unguarded
    message = str(error.value).splitlines()
    here, got = line_of("async def bare_here"), line_of("class Split") + 3
    assert message[0] == (
        f"assert not (<GET /a tests/test_audit.py:{here} UNGUARDED>, <GET /b tests/test_audit.py:{got} UNGUARDED>)"
    )
    assert "<RouteTable: 4 routes: 1 guarded, 0 any valid token, 1 public, 2 unguarded>.unguarded" in message[1]


# --- middlewares ------------------------------------------------------------------------------------------------------


def test_every_middleware_is_found_the_outermost_first() -> None:
    def own(name: str) -> Middleware:
        return mw(realm=name)

    inner = Starlette(routes=three(), middleware=[own("inner")])
    routed = Router([Mount("/inner", inner)], middleware=[own("router")])
    app = Starlette(
        routes=[
            Route("/x", bare, middleware=[own("route")]),
            Mount("/m", requires("x")(routed), middleware=[own("mount")]),
            Host("h.test", guarded(StaticFiles(directory=HERE.parent), realm="opaque")),
            Odd("/odd"),
        ],
        middleware=[Middleware(GZipMiddleware), own("first"), own("second")],
    )
    app.router.default = guarded(serve, realm="default")
    around: Any = GZipMiddleware(guarded(app, realm="around"))
    names = ["around", "first", "second", "route", "mount", "router", "inner", "opaque", "default"]
    for _ in range(2):
        assert [middleware._challenger.realm for middleware in installed_middlewares(around)] == names
        TestClient(around).get("/m/inner/y")


def test_middlewares_behind_one_that_hides_them_are_found() -> None:
    app = Starlette(routes=[Mount("/m", app_of())], middleware=[Middleware(Hiding)])
    assert len(installed_middlewares(app)) == 1


def test_middlewares_of_included_routers_are_found() -> None:
    app = fastapi_app(mw())
    router = APIRouter()
    router.mount("/m", app_of())
    app.include_router(router, prefix="/r")
    assert len(installed_middlewares(app)) == 2
    assert installed_middlewares(app) == installed_middlewares(app)


@pytest.mark.parametrize("app", [None, Foreign(), Starlette(), bare])
def test_without_a_middleware_none_is_found(app: object) -> None:
    assert installed_middlewares(app) == []
