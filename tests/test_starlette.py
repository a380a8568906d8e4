"""Starlette applications, from the request to the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires as starlette_requires
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from authz_middleware import (
    AuthzMiddleware,
    access_token,
    authenticated,
    authorize,
    policy,
    public,
    requires,
    requires_scopes,
)
from authz_middleware.errors import Refused
from authz_middleware.testing import LocalIssuer

from .apps import (
    PREFLIGHT,
    Calls,
    Foreign,
    InFront,
    ask,
    authz,
    bare,
    bearer,
    client,
    endpoint,
    expect_forbidden,
    expect_missing,
    expect_no_policy,
    expect_ok,
    expect_opaque,
    http_scope,
    starlette_app,
)

X: dict[str, Any] = {"scope": "x", "permissions": []}
BAD = {"Authorization": "Bearer bad"}
F = TypeVar("F")


def handler(calls: Calls) -> Any:
    async def note(request: Request) -> Response:
        calls.note()
        return PlainTextResponse("handled")

    return note


# --- what an endpoint sees --------------------------------------------------------------------------------------------


def test_a_handler_sees_its_caller(issuer: LocalIssuer) -> None:
    @authenticated
    async def seen(request: Request) -> Response:
        token = await access_token(request)
        return JSONResponse(
            {
                "same": token is request.auth.token,
                "subject": token.subject,
                "scopes": request.auth.scopes,
                "identity": request.user.identity,
                "name": request.user.display_name,
                "authenticated": request.user.is_authenticated,
            }
        )

    app = client(starlette_app(issuer, Route("/", seen)))
    answer = app.get("/", headers=issuer.headers(subject="auth0|jo", scope="openid b", permissions=["a"]))
    assert answer.json() == {
        "same": True,
        "subject": "auth0|jo",
        "scopes": ["a", "b"],
        "identity": "https://issuer.test/#auth0|jo",
        "name": "auth0|jo",
        "authenticated": True,
    }


def test_a_public_handler_sees_nobody_or_its_caller(issuer: LocalIssuer) -> None:
    @public
    async def seen(request: Request) -> Response:
        token = request.auth.token
        return JSONResponse([token and token.subject, request.auth.scopes, request.user.is_authenticated])

    app = client(starlette_app(issuer, Route("/", seen)))
    assert app.get("/").json() == [None, [], False]
    assert app.get("/", headers=issuer.headers(subject="s", permissions=["a"])).json() == ["s", ["a"], True]
    expect_opaque(app.get("/", headers=BAD))


def test_a_public_handler_may_ask_for_a_token(issuer: LocalIssuer) -> None:
    @public
    async def asks(request: Request) -> Response:
        return PlainTextResponse((await access_token(request)).subject)

    app = client(starlette_app(issuer, Route("/", asks)))
    expect_missing(app.get("/"))
    expect_ok(app.get("/", headers=issuer.headers(subject="s")), "s")


def test_starlettes_own_requires_sees_effective_grants(issuer: LocalIssuer) -> None:
    @authenticated
    @starlette_requires("a")
    async def needs_a(request: Request) -> Response:
        return PlainTextResponse("a")

    app = client(starlette_app(issuer, Route("/", needs_a)))
    expect_ok(app.get("/", headers=issuer.headers(permissions=["a"])), "a")
    assert app.get("/", headers=issuer.headers(scope="openid", permissions=["b"])).status_code == 403


def test_a_third_partys_grants_are_those_in_both_claims(issuer: LocalIssuer) -> None:
    trusted = issuer.trusted(third_party_clients={"shop"})
    app = client(starlette_app(issuer, Route("/", requires("a")(endpoint)), issuers=[trusted]))
    expect_forbidden(app.get("/", headers=issuer.headers(client_id="shop", permissions=["a"])), "a")
    expect_ok(app.get("/", headers=issuer.headers(client_id="shop", scope="a", permissions=["a"])))
    expect_ok(app.get("/", headers=issuer.headers(permissions=["a"])))


@pytest.mark.parametrize("dialect", ["access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz"])
def test_requires_asks_whichever_claim_the_dialect_writes(issuer: LocalIssuer, dialect: str) -> None:
    app = client(starlette_app(issuer, Route("/", requires("a")(endpoint))))
    granted = {"permissions": ["a"]} if dialect.endswith("authz") else {"scope": "openid a"}
    expect_ok(app.get("/", headers=issuer.headers(dialect, **granted)))
    other = {"permissions": ["b"]} if dialect.endswith("authz") else {"scope": "openid b"}
    expect_forbidden(app.get("/", headers=issuer.headers(dialect, **other)), "a")


# --- authorize, late --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("needed", ["x", policy.scope("x"), policy.any_of("x", policy.role("r"))])
def test_authorize_refuses_within_a_handler(issuer: LocalIssuer, needed: Any) -> None:
    calls = Calls()

    @authenticated
    async def late(request: Request) -> Response:
        await authorize(request, needed)
        calls.note()
        return PlainTextResponse("done")

    app = client(starlette_app(issuer, Route("/", late), Mount("/sub", app=Starlette(routes=[Route("/", late)]))))
    for path in ("/", "/sub/"):
        expect_missing(app.get(path))
        expect_forbidden(app.get(path, headers=issuer.headers(scope="y", permissions=[])), "x")
        assert not calls
        expect_ok(app.get(path, headers=issuer.headers(**X)), "done")
        calls.names.clear()


def test_authorize_on_a_public_route_names_the_scope_to_the_anonymous(issuer: LocalIssuer) -> None:
    @public
    async def late(request: Request) -> Response:
        await authorize(request, "x")
        raise NotImplementedError

    expect_missing(client(starlette_app(issuer, Route("/", late))).get("/"), "x")


def test_a_refusal_after_the_answer_began_cuts_it_off(issuer: LocalIssuer) -> None:
    @authenticated
    async def streaming(request: Request) -> Response:
        async def parts() -> Any:
            yield b"first"
            await authorize(request, "x")
            yield b"secret"

        return StreamingResponse(parts())

    app = starlette_app(issuer, Route("/", streaming))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def call() -> None:
        scope = http_scope("/", [bearer(issuer)], asgi={"version": "3.0", "spec_version": "2.4"})
        await app(scope, Foreign(), send)  # type: ignore[arg-type]

    import asyncio

    with pytest.raises(Refused):
        asyncio.run(call())
    assert [m.get("status") or m["body"] for m in sent] == [200, b"first"]


def test_a_background_task_may_still_ask(issuer: LocalIssuer) -> None:
    calls = Calls()

    @requires("x")
    def task() -> None:
        calls.note("task")

    @requires("x")
    async def respond(request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(task))

    expect_ok(client(starlette_app(issuer, Route("/", respond))).get("/", headers=issuer.headers(**X)), "ok")
    assert calls.names == ["task"]


# --- routes that state nothing ----------------------------------------------------------------------------------------


def test_a_route_that_states_nothing_is_refused(issuer: LocalIssuer) -> None:
    calls = Calls()
    app = client(starlette_app(issuer, Route("/", handler(calls))))
    expect_no_policy(app.get("/", headers=issuer.headers(**X)))
    expect_missing(app.get("/"))
    expect_opaque(app.get("/", headers=BAD))
    assert not calls


def test_it_may_be_open_to_any_valid_token(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Route("/", handler(Calls())), undecorated="authenticated"))
    expect_ok(app.get("/", headers=issuer.headers()), "handled")
    expect_missing(app.get("/"))
    expect_opaque(app.get("/", headers=BAD))


# --- public paths -----------------------------------------------------------------------------------------------------

TREE = ["/", "/docs", "/static/*"]
PATHS = [
    "/",
    "/docs",
    "/docs/",
    "/docs/x",
    "/Docs",
    "/docsx",
    "/static",
    "/static/",
    "/static/a",
    "/static/a/b",
    "/statics/a",
]


def everything(calls: Calls) -> Route:
    return Route("/{path:path}", handler(calls))


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/static/", "/static/a", "/static/a/b", "/static//a", "/static/...", "/static/a..b"]
)
def test_public_paths_need_no_token(issuer: LocalIssuer, path: str) -> None:
    app = starlette_app(issuer, everything(Calls()), public_paths=TREE)
    assert ask(app, http_scope(path)).body == b"handled"
    assert ask(app, http_scope(path, [bearer(issuer)])).body == b"handled"
    expect_opaque(ask(app, http_scope(path, [(b"authorization", b"Bearer bad")])))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/docs/",
        "/docs/x",
        "/Docs",
        "/DOCS",
        "/docsx",
        "/doc",
        "//docs",
        "docs",
        "/static",
        "/Static/a",
        "/statics/a",
        "/static/..",
        "/static/../admin",
        "/static/./a",
        "/static/a/..",
        "/static/..\\admin",
        "/static\\..\\admin",
        "/x/static/a",
        "/docs\x00",
        "/docs%20",
        "/docs\n",
    ],
)
def test_every_other_path_does(issuer: LocalIssuer, path: str) -> None:
    calls = Calls()
    app = starlette_app(issuer, everything(calls), public_paths=TREE)
    expect_missing(ask(app, http_scope(path)))
    assert not calls


@pytest.mark.parametrize(
    ("root_path", "path", "is_public"),
    [
        ("/api", "/api/docs", True),
        ("/api", "/docs", True),
        ("/api", "/apidocs", False),
        ("/docs", "/docs", False),
        ("/docs", "/docs/docs", True),
        ("/static", "/static/a", False),
        ("", "/api/docs", False),
    ],
)
def test_public_paths_are_compared_as_the_router_sees_them(
    issuer: LocalIssuer, root_path: str, path: str, is_public: bool
) -> None:
    app = starlette_app(issuer, everything(Calls()), public_paths=TREE)
    answer = ask(app, http_scope(path, root_path=root_path))
    assert answer.status == (200 if is_public else 401)


def test_a_public_path_does_not_open_a_route_that_states_something(issuer: LocalIssuer) -> None:
    inner = Starlette(routes=[Route("/a", handler(Calls()))])
    app = client(
        starlette_app(
            issuer,
            Route("/docs", requires("x")(endpoint)),
            Mount("/static", app=requires("x")(inner)),
            public_paths=TREE,
        )
    )
    expect_missing(app.get("/docs"), "x")
    expect_missing(app.get("/static/a"), "x")
    expect_forbidden(app.get("/docs", headers=issuer.headers()), "x")


# --- what dispatches elsewhere ----------------------------------------------------------------------------------------


def dispatching(**change: Any) -> Any:
    """Return a handler that answers with what the application's router answers to another path."""

    async def elsewhere(request: Request) -> Any:
        async def dispatched(scope: Scope, receive: Receive, send: Send) -> None:
            inner = {**scope, "path": "/internal", "root_path": "", "method": "GET", **change}
            await request.app.router(inner, receive, send)

        return dispatched

    return elsewhere


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("place", ["public route", "public mount", "guarded mount", "public path", "public tree"])
def test_what_a_handler_dispatches_to_must_state_something_itself(issuer: LocalIssuer, place: str, method: str) -> None:
    calls = Calls()
    opened = Route("/open", public(dispatching()), methods=[method])
    undecided = Route("/open", dispatching(), methods=[method])
    routes: dict[str, list[BaseRoute]] = {
        "public route": [opened],
        "public mount": [Mount("/m", app=public(Router([undecided])))],
        "guarded mount": [Mount("/m", app=requires("x")(Router([opened, undecided])))],
        "public path": [undecided],
        "public tree": [Mount("/m", routes=[undecided])],
    }
    paths = {"public path": ["/open"], "public tree": ["/m/*"]}.get(place, [])
    path = "/m/open" if place in {"public mount", "guarded mount", "public tree"} else "/open"
    internal, closed = Route("/internal", handler(calls)), Route("/closed", requires("y")(handler(calls)))
    app = client(starlette_app(issuer, *routes[place], internal, closed, public_paths=paths))
    if place != "guarded mount":
        expect_missing(app.request(method, path))
    expect_no_policy(app.request(method, path, headers=issuer.headers(**X)))
    assert not calls


def test_what_it_dispatches_to_decides_for_itself(issuer: LocalIssuer) -> None:
    calls = Calls()
    routes = [
        Route("/open", public(dispatching())),
        Route("/internal", requires("x")(handler(calls))),
    ]
    app = client(starlette_app(issuer, *routes))
    expect_missing(app.get("/open"), "x")
    expect_forbidden(app.get("/open", headers=issuer.headers()), "x")
    assert not calls
    expect_ok(app.get("/open", headers=issuer.headers(**X)), "handled")


def test_a_cover_ends_with_its_mount(issuer: LocalIssuer) -> None:
    calls = Calls()

    class Twice:
        """Serves a mounted application, throws its answer away and asks for something outside."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def nowhere(message: Any) -> None:
                pass

            router = scope["app"].router
            await router({**scope, "path": "/m/covered", "root_path": ""}, receive, nowhere)
            await router({**scope, "path": "/internal", "root_path": ""}, receive, send)

    async def twice(request: Request) -> Any:
        return Twice()

    inner = Router([Route("/covered", handler(Calls()))])
    app = client(
        starlette_app(
            issuer,
            Route("/open", public(twice)),
            Mount("/m", app=public(inner)),
            Route("/internal", handler(calls)),
        )
    )
    expect_ok(app.get("/m/covered"), "handled")
    expect_missing(app.get("/open"))
    expect_no_policy(app.get("/open", headers=issuer.headers(**X)))
    assert not calls


# --- CORS -------------------------------------------------------------------------------------------------------------

CORS = Middleware(CORSMiddleware, allow_origins=["https://page.test"])
GUARDED = Route("/", requires("x")(endpoint))


@pytest.mark.parametrize("inside", [True, False])
def test_a_preflight_is_answered_by_cors(issuer: LocalIssuer, inside: bool) -> None:
    stack = [authz(issuer), CORS] if inside else [CORS, authz(issuer)]
    app = client(Starlette(routes=[GUARDED], middleware=stack))
    for path in ("/", "/nowhere"):
        answer = app.options(path, headers=PREFLIGHT)
        expect_ok(answer, "OK")
        assert answer.headers["access-control-allow-origin"] == "https://page.test"


@pytest.mark.parametrize("missing", list(PREFLIGHT))
def test_half_a_preflight_is_a_request(issuer: LocalIssuer, missing: str) -> None:
    app = client(Starlette(routes=[GUARDED], middleware=[authz(issuer), CORS]))
    expect_missing(app.options("/", headers={k: v for k, v in PREFLIGHT.items() if k != missing}))


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "TRACE"])
def test_preflight_headers_on_another_method_mean_nothing(issuer: LocalIssuer, method: str) -> None:
    app = client(Starlette(routes=[GUARDED], middleware=[authz(issuer), CORS]))
    assert app.request(method, "/", headers=PREFLIGHT).status_code == 401


def test_a_preflight_with_credentials_is_a_request(issuer: LocalIssuer) -> None:
    app = client(Starlette(routes=[GUARDED], middleware=[authz(issuer), CORS]))
    expect_opaque(app.options("/", headers={**PREFLIGHT, **BAD}))
    expect_no_policy(app.options("/", headers={**PREFLIGHT, **issuer.headers(**X)}))


@pytest.mark.parametrize("path", ["/", "/nowhere", "/number/1", "/number/x", "/class", "/slash"])
def test_a_preflight_that_nobody_answers_tells_nothing_about_routes(issuer: LocalIssuer, path: str) -> None:
    class Endpoint(HTTPEndpoint):
        @requires("x")
        async def get(self, request: Request) -> Response:
            raise NotImplementedError

    routes = (GUARDED, Route("/number/{n:int}", public(endpoint)), Route("/class", Endpoint), Route("/slash/", bare))
    expect_missing(client(starlette_app(issuer, *routes)).options(path, headers=PREFLIGHT))


@pytest.mark.parametrize("status", [200, 204, 307, 404, 405, 500])
def test_an_answer_to_a_preflight_that_allows_nothing_does_not_leave(issuer: LocalIssuer, status: int) -> None:
    class Middle(Answering):
        pass

    Middle.status = status
    app = client(Starlette(routes=[GUARDED], middleware=[authz(issuer), Middleware(Middle)]))
    expect_missing(app.options("/", headers=PREFLIGHT))


@pytest.mark.parametrize("key", [404, 405])
@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_nor_does_a_page_made_of_an_error(issuer: LocalIssuer, key: int, path: str) -> None:
    async def page(request: Request, error: Exception) -> Response:
        return PlainTextResponse("a page", 200)

    app = Starlette(routes=[GUARDED], middleware=[authz(issuer)], exception_handlers={key: page})
    expect_missing(client(app).options(path, headers=PREFLIGHT))


@pytest.mark.parametrize("name", ["Access-Control-Allow-Origin", "access-control-allow-methods"])
def test_an_answer_of_ones_own_to_a_preflight_leaves(issuer: LocalIssuer, name: str) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("mine", 200, {name: "*"})(scope, receive, send)

    app = AuthzMiddleware(InFront(answer), issuers=[issuer.trusted()])
    expect_ok(client(app).options("/", headers=PREFLIGHT), "mine")
    expect_missing(client(app).get("/", headers=PREFLIGHT))


@pytest.mark.parametrize("stated", [requires("x"), authenticated, None])
def test_an_endpoint_that_handles_options_is_guarded_against_preflights(issuer: LocalIssuer, stated: Any) -> None:
    calls = Calls()
    target = handler(calls) if stated is None else stated(handler(calls))
    app = client(starlette_app(issuer, Route("/", target, methods=["OPTIONS"])))
    expect_missing(app.options("/", headers=PREFLIGHT), "x" if stated is not None and stated.name == "requires" else "")
    assert not calls


@pytest.mark.parametrize("route", [Mount("/", app=Foreign()), Route("/", Foreign())])
def test_applications_that_may_handle_options_are_guarded_against_preflights(
    issuer: LocalIssuer, route: BaseRoute
) -> None:
    expect_missing(client(starlette_app(issuer, route)).options("/", headers=PREFLIGHT))


def test_cors_outside_lets_a_browser_read_a_refusal(issuer: LocalIssuer) -> None:
    headers = {"Origin": "https://page.test"}
    outside = client(Starlette(routes=[GUARDED], middleware=[CORS, authz(issuer)])).get("/", headers=headers)
    inside = client(Starlette(routes=[GUARDED], middleware=[authz(issuer), CORS])).get("/", headers=headers)
    for answer in (outside, inside):
        expect_missing(answer, "x")
    assert outside.headers["access-control-allow-origin"] == "https://page.test"
    assert "access-control-allow-origin" not in inside.headers


# --- what no route serves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/", 405), ("GET", "/slash", 307)]
)
def test_nothing_is_said_to_the_anonymous_about_routes(
    issuer: LocalIssuer, method: str, path: str, status: int
) -> None:
    app = client(starlette_app(issuer, GUARDED, Route("/slash/", public(endpoint))))
    expect_missing(app.request(method, path))
    answer = app.request(method, path, headers=issuer.headers())
    assert answer.status_code == status
    if status == 307:
        assert answer.headers["location"] == "http://testserver/slash/"


def test_a_custom_default_is_guarded(issuer: LocalIssuer) -> None:
    plain, stated = Foreign(), Foreign()
    app = client(Router([GUARDED], default=plain, middleware=[authz(issuer)]))
    expect_no_policy(app.get("/nowhere", headers=issuer.headers()))
    expect_missing(app.get("/nowhere"))
    assert not plain.calls
    guarded = client(Router(default=requires("x")(stated), middleware=[authz(issuer)]))
    expect_forbidden(guarded.get("/nowhere", headers=issuer.headers()), "x")
    assert not stated.calls
    expect_ok(guarded.get("/nowhere", headers=issuer.headers(**X)), "foreign")


def test_a_public_default_must_be_a_public_path_for_the_anonymous(issuer: LocalIssuer) -> None:
    app = client(Router(default=public(Foreign()), middleware=[authz(issuer, public_paths=["/pages/*"])]))
    expect_ok(app.get("/pages/a"), "foreign")
    expect_missing(app.get("/other"))
    expect_ok(app.get("/other", headers=issuer.headers()), "foreign")


class OwnRoute(BaseRoute):
    """A route of a class nobody knows."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["path"] == "/own" else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note()
        await PlainTextResponse("own")(scope, receive, send)


class HandlingRoute(Route):
    """A route that does something before it serves."""

    calls = Calls()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note()
        await super().handle(scope, receive, send)


def test_routes_of_unknown_classes_are_refused(issuer: LocalIssuer) -> None:
    calls = Calls()
    app = client(starlette_app(issuer, OwnRoute(calls), public_paths=()))
    expect_no_policy(app.get("/own", headers=issuer.headers()))
    expect_missing(app.get("/own"))
    assert not calls
    expect_ok(client(starlette_app(issuer, OwnRoute(calls), public_paths=["/own"])).get("/own"), "own")


def test_what_a_route_class_does_itself_is_behind_the_decision(issuer: LocalIssuer) -> None:
    route = HandlingRoute("/", requires("x")(endpoint))
    app = client(starlette_app(issuer, route, HandlingRoute("/bare", bare)))
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
    expect_no_policy(app.get("/bare", headers=issuer.headers()))
    expect_missing(app.get("/"), "x")
    assert not route.calls
    expect_ok(app.get("/", headers=issuer.headers(**X)))
    assert route.calls


def test_a_mounted_directory_is_refused_unless_it_is_stated(issuer: LocalIssuer, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("page")
    files = StaticFiles(directory=tmp_path)
    app = client(starlette_app(issuer, Mount("/files", app=files), Mount("/mine", app=requires("x")(files))))
    expect_missing(app.get("/files/page.txt"))
    expect_no_policy(app.get("/files/page.txt", headers=issuer.headers()))
    expect_no_policy(app.get("/files/absent.txt", headers=issuer.headers()))
    expect_forbidden(app.get("/mine/page.txt", headers=issuer.headers()), "x")
    expect_ok(app.get("/mine/page.txt", headers=issuer.headers(**X)), "page")
    opened = client(starlette_app(issuer, Mount("/files", app=files), public_paths=["/files/*"]))
    expect_ok(opened.get("/files/page.txt"), "page")


def test_a_path_no_convertor_can_read_is_not_public(issuer: LocalIssuer) -> None:
    app = starlette_app(issuer, Route("/{number:int}", public(endpoint)))
    digits = "/" + "1" * 5000
    assert ask(app, http_scope("/1")).status == 200
    expect_missing(ask(app, http_scope(digits)))
    preflight = [(name.lower().encode(), value.encode()) for name, value in PREFLIGHT.items()]
    expect_missing(ask(app, http_scope(digits, preflight, method="OPTIONS")))


# --- trees of routes --------------------------------------------------------------------------------------------------


def tree(calls: Calls) -> list[BaseRoute]:
    return [
        Route("/open", public(handler(calls))),
        Route("/closed", requires("x")(handler(calls))),
        Route("/bare", handler(calls)),
    ]


def check_tree(issuer: LocalIssuer, app: ASGIApp, prefix: str, calls: Calls, host: str = "testserver") -> None:
    """Raise unless the three routes of a tree are guarded as they state, wherever they hang."""
    anonymous = {"Host": host}
    unable, able = {**anonymous, **issuer.headers()}, {**anonymous, **issuer.headers(**X)}
    asked = client(app)
    expect_missing(asked.get(f"{prefix}/closed", headers=anonymous), "x")
    expect_missing(asked.get(f"{prefix}/bare", headers=anonymous))
    expect_missing(asked.get(f"{prefix}/absent", headers=anonymous))
    expect_forbidden(asked.get(f"{prefix}/closed", headers=unable), "x")
    expect_no_policy(asked.get(f"{prefix}/bare", headers=able))
    expect_opaque(asked.get(f"{prefix}/open", headers={**anonymous, **BAD}))
    if calls:
        raise AssertionError("a handler ran for a caller who was refused")
    expect_ok(asked.get(f"{prefix}/open", headers=anonymous), "handled")
    expect_ok(asked.get(f"{prefix}/closed", headers=able), "handled")


def wrapped(app: ASGIApp) -> ASGIApp:
    """Return a middleware that does not show what it wraps."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return inner


@pytest.mark.parametrize("shape", ["flat", "mount", "mount twice", "sub-application", "router", "middleware"])
def test_trees_are_guarded_wherever_they_hang(issuer: LocalIssuer, shape: str) -> None:
    calls = Calls()
    routes = tree(calls)
    match shape:
        case "flat":
            app, prefix = starlette_app(issuer, *routes), ""
        case "mount":
            app, prefix = starlette_app(issuer, Mount("/m", routes=routes)), "/m"
        case "mount twice":
            app, prefix = starlette_app(issuer, Mount("/m", routes=[Mount("/n", routes=routes)])), "/m/n"
        case "sub-application":
            app, prefix = starlette_app(issuer, Mount("/m", app=Starlette(routes=routes))), "/m"
        case "router":
            app, prefix = starlette_app(issuer, Mount("/m", app=Router(routes))), "/m"
        case _:
            inner = CORSMiddleware(Starlette(routes=routes), allow_origins=["*"])
            app, prefix = starlette_app(issuer, Mount("/m", app=inner)), "/m"
    check_tree(issuer, app, prefix, calls)


def test_hosts_are_guarded(issuer: LocalIssuer) -> None:
    calls = Calls()
    app = starlette_app(issuer, Host("{name}.test", Router(tree(calls))), Route("/open", bare))
    check_tree(issuer, app, "", calls, host="Shop.Test:80")
    expect_missing(client(app).get("/open", headers={"Host": "elsewhere"}))


def test_the_first_match_counts_and_nothing_behind_it(issuer: LocalIssuer) -> None:
    calls = Calls()
    app = client(
        starlette_app(
            issuer,
            Mount("/m", routes=[Route("/closed", requires("x")(endpoint))]),
            Route("/m/{name}", public(handler(calls))),
            Route("/{name}", requires("x")(endpoint)),
            Route("/name", public(handler(calls))),
        )
    )
    for path in ("/m/closed", "/m/open", "/name"):
        assert app.get(path).status_code == 401
    assert not calls


def test_a_public_method_beside_a_guarded_one(issuer: LocalIssuer) -> None:
    app = client(
        starlette_app(issuer, Route("/", public(endpoint)), Route("/", requires("x")(endpoint), methods=["POST"]))
    )
    expect_ok(app.get("/"))
    expect_missing(app.post("/"), "x")
    expect_missing(app.put("/"))


def test_routes_added_after_the_first_request_are_guarded(issuer: LocalIssuer) -> None:
    calls = Calls()
    inner = Router([Route("/open", public(handler(calls)))])
    app = starlette_app(issuer, Mount("/m", app=inner))
    asked = client(app)
    expect_missing(asked.get("/m/late"))
    inner.routes.append(Route("/late", handler(Calls())))
    app.router.routes.append(Route("/later", requires("x")(handler(calls))))
    expect_no_policy(asked.get("/m/late", headers=issuer.headers()))
    expect_forbidden(asked.get("/later", headers=issuer.headers()), "x")
    expect_missing(asked.get("/later"), "x")
    assert not calls
    expect_ok(asked.get("/later", headers=issuer.headers(**X)), "handled")


def test_an_application_mounted_in_itself_is_refused_within(issuer: LocalIssuer) -> None:
    app = starlette_app(issuer, GUARDED)
    app.router.routes.append(Mount("/self", app=app))
    asked = client(app)
    expect_forbidden(asked.get("/", headers=issuer.headers()), "x")
    expect_no_policy(asked.get("/self/", headers=issuer.headers(**X)))


def test_an_object_that_knows_its_parent_is_guarded_whole(issuer: LocalIssuer) -> None:
    class Panel(Foreign):
        app: Any = None

    panel = Panel()
    app = starlette_app(issuer, Mount("/panel", app=panel), Mount("/other", app=requires("x")(panel)))
    panel.app = app
    asked = client(app)
    expect_no_policy(asked.get("/panel/", headers=issuer.headers()))
    expect_missing(asked.get("/panel/"))
    assert not panel.calls


def test_wrappers_without_end_lead_nowhere(issuer: LocalIssuer) -> None:
    class Loop(Foreign):
        @property
        def app(self) -> Loop:
            return self

    loop = Loop()
    expect_no_policy(client(starlette_app(issuer, Mount("/", app=loop))).get("/", headers=issuer.headers()))
    assert not loop.calls


# --- other middlewares ------------------------------------------------------------------------------------------------


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-passed"] = "yes"
        return response


class Answering(BaseHTTPMiddleware):
    status = 200

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return PlainTextResponse("answered", self.status)


class Teapot(Answering):
    status = 418


class Tools:
    """An application of one's own that answers itself, and keeps another one as `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.calls = Calls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note("tools")
        await PlainTextResponse("tools")(scope, receive, send)


class Console(HTTPEndpoint):
    """An endpoint that is mounted as an application, with an application of its own beside it."""

    calls = Calls()
    app = Starlette(routes=[Route("/open", public(endpoint))])

    async def get(self, request: Request) -> Response:
        self.calls.note("console")
        return PlainTextResponse("console")


def as_if_it_were(original: object) -> Callable[[F], F]:
    """Return `functools.wraps(original)`, which copies name, attributes and a trace, but no identity."""
    copied: Any = functools.wraps(cast("Any", original))
    return cast("Callable[[F], F]", copied)


class HandlingMount(Mount):
    calls = Calls()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note("mount")
        await super().handle(scope, receive, send)


class HandlingHost(Host):
    calls = HandlingMount.calls

    @as_if_it_were(Host.handle)
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note("host")
        await super().handle(scope, receive, send)


class CopyingRoute(Route):
    calls = HandlingMount.calls

    @as_if_it_were(Route.handle)
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note("route")
        await super().handle(scope, receive, send)


@pytest.mark.parametrize("around", [None, CORSMiddleware, GZipMiddleware])
def test_an_object_that_keeps_another_application_is_guarded_whole(issuer: LocalIssuer, around: Any) -> None:
    calls = Calls()
    tools = Tools(Starlette(routes=tree(calls)))
    app = client(starlette_app(issuer, Mount("/t", app=tools if around is None else around(tools))))
    for path in ("/t/", "/t/open", "/t/closed", "/t/absent"):
        expect_missing(app.get(path))
        expect_missing(app.options(path, headers=PREFLIGHT))
        expect_no_policy(app.get(path, headers=issuer.headers(**X)))
    assert not tools.calls
    assert not calls


def test_it_can_be_guarded_or_opened(issuer: LocalIssuer) -> None:
    tools, opened = Tools(Starlette()), Tools(Starlette())
    app = client(starlette_app(issuer, Mount("/t", app=requires("x")(tools)), Mount("/o", app=public(opened))))
    expect_missing(app.get("/t/"), "x")
    expect_forbidden(app.get("/t/", headers=issuer.headers()), "x")
    assert not tools.calls
    expect_ok(app.get("/t/", headers=issuer.headers(**X)), "tools")
    expect_ok(app.get("/o/"), "tools")


def test_a_class_that_is_mounted_is_guarded_whole(issuer: LocalIssuer) -> None:
    mounted: Any = Console
    app = client(starlette_app(issuer, Mount("/c", app=mounted)))
    for path in ("/c/", "/c/open"):
        expect_missing(app.get(path))
        expect_missing(app.options(path, headers=PREFLIGHT))
        expect_no_policy(app.get(path, headers=issuer.headers(**X)))
    assert not Console.calls


def test_mounts_and_hosts_with_a_way_of_their_own_are_guarded_whole(issuer: LocalIssuer) -> None:
    routes = [
        HandlingHost("host.test", Router(tree(Calls()))),
        HandlingMount("/m", routes=tree(Calls())),
        HandlingMount("/x", app=requires("x")(Router(tree(Calls())))),
        CopyingRoute("/route", bare),
        CopyingRoute("/stated", requires("x")(endpoint)),
    ]
    app = client(starlette_app(issuer, *routes))
    for path, headers in (("/m/open", {}), ("/open", {"Host": "host.test"}), ("/route", {})):
        expect_missing(app.get(path, headers=headers))
        expect_no_policy(app.get(path, headers={**headers, **issuer.headers(**X)}))
    for path in ("/x/open", "/stated"):
        expect_missing(app.get(path), "x")
        expect_forbidden(app.get(path, headers=issuer.headers()), "x")
    assert not HandlingMount.calls
    expect_ok(app.get("/stated", headers=issuer.headers(**X)))
    assert HandlingMount.calls.names == ["route"]


@pytest.mark.parametrize("kind", [CORSMiddleware, GZipMiddleware, "both"])
def test_a_frameworks_middleware_around_a_guarded_application_is_looked_through(issuer: LocalIssuer, kind: Any) -> None:
    calls = Calls()

    def around(app: ASGIApp) -> ASGIApp:
        return GZipMiddleware(CORSMiddleware(app)) if kind == "both" else kind(app)

    foreign = Foreign()
    app = client(
        starlette_app(
            issuer,
            Mount("/m", app=around(requires("x")(Starlette(routes=tree(calls))))),
            Mount("/f", app=around(requires("x")(foreign))),
            Mount("/o", app=around(public(Router(tree(Calls()))))),
        )
    )
    for path in ("/m/open", "/m/closed", "/m/bare", "/f/"):
        expect_missing(app.get(path), "x")
        expect_forbidden(app.get(path, headers=issuer.headers()), "x")
        assert not foreign.calls
        assert not calls
        assert app.get(path, headers=issuer.headers(**X)).status_code == 200
        calls.names.clear()
        foreign.calls.names.clear()
    expect_ok(app.get("/o/bare"), "handled")
    expect_missing(app.get("/o/closed"), "x")


def test_more_wrappers_than_anybody_needs_are_guarded_whole(issuer: LocalIssuer) -> None:
    calls = Calls()
    inner: ASGIApp = Router(tree(calls))
    for _ in range(64):
        inner = GZipMiddleware(inner)
    app = client(starlette_app(issuer, Mount("/m", app=inner)))
    expect_missing(app.get("/m/open"))
    expect_no_policy(app.get("/m/closed", headers=issuer.headers(**X)))
    assert not calls


@pytest.mark.parametrize("place", ["application", "mount", "sub-application"])
def test_a_route_in_the_place_of_another_is_guarded(issuer: LocalIssuer, place: str) -> None:
    calls = Calls()
    first = Route("/first", public(endpoint))
    mounted = Starlette(routes=[first]) if place == "sub-application" else Router([first])
    app = starlette_app(issuer, first if place == "application" else Mount("/m", app=mounted))
    prefix = "" if place == "application" else "/m"
    held: list[BaseRoute] = app.router.routes if place == "application" else mounted.routes
    asked = client(app)
    expect_ok(asked.get(f"{prefix}/first"))
    held.remove(first)
    held.append(Route("/late", handler(calls)))
    expect_no_policy(asked.get(f"{prefix}/late", headers=issuer.headers(**X)))
    expect_missing(asked.get(f"{prefix}/late"))
    held[0] = Route("/first", handler(calls))
    expect_no_policy(asked.get(f"{prefix}/first", headers=issuer.headers(**X)))
    expect_missing(asked.get(f"{prefix}/first"))
    assert not calls


@pytest.mark.parametrize("inside", [True, False])
def test_base_http_middleware_works_on_both_sides(issuer: LocalIssuer, inside: bool) -> None:
    calls = Calls()
    stack = [authz(issuer), Middleware(Passing)] if inside else [Middleware(Passing), authz(issuer)]
    app = Starlette(routes=tree(calls), middleware=stack)
    check_tree(issuer, app, "", calls)
    refused = client(app).get("/closed", headers=issuer.headers())
    expect_forbidden(refused, "x")
    assert refused.headers["x-passed"] == "yes"


def test_a_middleware_that_answers_itself_is_refused(issuer: LocalIssuer) -> None:
    app = client(Starlette(routes=tree(Calls()), middleware=[authz(issuer), Middleware(Answering)]))
    expect_no_policy(app.get("/closed", headers=issuer.headers(**X)))
    expect_missing(app.get("/open"))
    opened = Starlette(routes=tree(Calls()), middleware=[authz(issuer, public_paths=["/open"]), Middleware(Answering)])
    expect_ok(client(opened).get("/open"), "answered")


def test_its_errors_may_leave(issuer: LocalIssuer) -> None:
    app = client(Starlette(routes=tree(Calls()), middleware=[authz(issuer), Middleware(Teapot)]))
    assert app.get("/closed", headers=issuer.headers()).status_code == 418


def test_a_middleware_that_hides_what_it_wraps_changes_nothing(issuer: LocalIssuer) -> None:
    calls = Calls()
    app = Starlette(routes=tree(calls), middleware=[authz(issuer), Middleware(wrapped)])
    check_tree(issuer, app, "", calls)


@pytest.mark.parametrize("key", [404, 405])
def test_an_exception_handler_cannot_turn_an_error_into_a_page(issuer: LocalIssuer, key: int) -> None:
    async def page(request: Request, error: Exception) -> Response:
        return PlainTextResponse("a page", 200)

    app = Starlette(routes=[GUARDED], middleware=[authz(issuer)], exception_handlers={key: page})
    path, method = ("/nowhere", "GET") if key == 404 else ("/", "DELETE")
    expect_no_policy(client(app).request(method, path, headers=issuer.headers()))


def test_an_exception_handler_of_a_decided_route_answers_as_it_likes(issuer: LocalIssuer) -> None:
    async def page(request: Request, error: Exception) -> Response:
        return PlainTextResponse("a page", 200)

    @requires("x")
    async def failing(request: Request) -> Response:
        raise LookupError

    app = Starlette(routes=[Route("/", failing)], middleware=[authz(issuer)], exception_handlers={LookupError: page})
    expect_ok(client(app).get("/", headers=issuer.headers(**X)), "a page")


# --- the middleware in other places -----------------------------------------------------------------------------------


def test_a_mounted_application_validates_anew(issuer: LocalIssuer) -> None:
    other = LocalIssuer("https://other.test/", "https://other.test/api")
    calls = Calls()
    inner = starlette_app(other, Route("/", requires_scopes("y")(handler(calls))), Route("/open", public(endpoint)))
    both = [issuer.trusted(third_party_clients=set()), other.trusted(third_party_clients=set())]
    app = client(starlette_app(issuer, Mount("/m", app=inner), issuers=both))
    assert app.get("/m/", headers=issuer.headers(scope="y", permissions=[])).json()["code"] == "untrusted_issuer"
    expect_forbidden(app.get("/m/", headers=other.headers()), "y")
    expect_missing(app.get("/m/"), "y")
    assert not calls
    expect_ok(app.get("/m/", headers=other.headers(scope="y", permissions=["y"])), "handled")
    expect_ok(app.get("/m/open"))


def test_a_mount_may_have_the_middleware_alone(issuer: LocalIssuer) -> None:
    calls = Calls()
    app = Starlette(routes=[Mount("/m", routes=tree(calls), middleware=[authz(issuer)]), Route("/", bare)])
    check_tree(issuer, app, "/m", calls)
    expect_ok(client(app).get("/"))


def test_a_route_may_have_the_middleware_alone(issuer: LocalIssuer) -> None:
    calls = Calls()
    mine = [authz(issuer)]
    app = client(
        Starlette(
            routes=[
                Route("/closed", requires("x")(handler(calls)), middleware=mine),
                Route("/open", public(handler(calls)), middleware=mine),
                Route("/bare", bare, middleware=mine),
                Route("/options", bare, methods=["OPTIONS"], middleware=mine),
            ]
        )
    )
    expect_missing(app.get("/closed"), "x")
    expect_forbidden(app.get("/closed", headers=issuer.headers()), "x")
    expect_no_policy(app.get("/bare", headers=issuer.headers()))
    expect_missing(app.get("/bare"))
    expect_missing(app.options("/options", headers=PREFLIGHT))
    assert not calls
    expect_ok(app.get("/open"), "handled")
    expect_ok(app.get("/closed", headers=issuer.headers(**X)), "handled")


def test_twice_the_middleware_is_as_good_as_once(issuer: LocalIssuer) -> None:
    calls = Calls()
    app = Starlette(routes=tree(calls), middleware=[authz(issuer), authz(issuer)])
    check_tree(issuer, app, "", calls)


def test_a_foreign_auth_or_user_is_not_believed(issuer: LocalIssuer) -> None:
    calls = Calls()

    def forging(app: ASGIApp) -> ASGIApp:
        async def forge(scope: Scope, receive: Receive, send: Send) -> None:
            scope["auth"] = scope["user"] = scope["authz_middleware"] = Forged()
            await app(scope, receive, send)

        return forge

    app = Starlette(routes=tree(calls), middleware=[Middleware(forging), authz(issuer)])
    check_tree(issuer, app, "", calls)


def test_a_forged_context_behind_the_middleware_is_an_error(issuer: LocalIssuer) -> None:
    def forging(app: ASGIApp) -> ASGIApp:
        async def forge(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "authz_middleware": Forged()}, receive, send)

        return forge

    calls = Calls()
    app = Starlette(routes=tree(calls), middleware=[authz(issuer), Middleware(forging)])
    answer = client(app, raise_server_exceptions=False).get("/closed", headers=issuer.headers(**X))
    assert answer.status_code == 500
    assert not calls


class Forged:
    token = None
    decided = True
    is_open = True
    scopes = ("x",)

    def enforce(self, access: object) -> None:
        raise NotImplementedError

    def enforced_route(self, access: object, pieces: object, **options: object) -> None:
        raise NotImplementedError


def test_a_handle_set_on_one_route_does_not_run_undecided(issuer: LocalIssuer) -> None:
    calls = Calls()

    def replaced(route: Any) -> Any:
        served = route.handle

        async def mine(scope: Scope, receive: Receive, send: Send) -> None:
            calls.note()
            await served(scope, receive, send)

        route.handle = mine
        return route

    inner = Starlette(routes=[Route("/", requires("x")(endpoint))])
    app = client(
        starlette_app(issuer, replaced(Route("/r", requires("x")(endpoint))), replaced(Mount("/m", app=inner)))
    )
    expect_forbidden(app.get("/r", headers=issuer.headers()), "x")
    expect_no_policy(app.get("/m/", headers=issuer.headers()))
    assert not calls
    expect_ok(app.get("/r", headers=issuer.headers(**X)))
    assert len(calls.names) == 1


def test_a_function_around_a_mounted_application_does_not_run_undecided(issuer: LocalIssuer) -> None:
    calls = Calls()

    async def dispatch(request: Request, call_next: Any) -> Response:
        calls.note()
        return Response("own")

    inner = Starlette(routes=[Route("/", public(endpoint))])
    app = client(starlette_app(issuer, Mount("/m", app=BaseHTTPMiddleware(inner, dispatch=dispatch))))
    expect_missing(app.get("/m/"))
    expect_no_policy(app.get("/m/", headers=issuer.headers(**X)))
    assert not calls


# --- what was mounted, replaced or handed on --------------------------------------------------------------------------


def test_an_inner_middleware_does_not_believe_the_endpoint_of_an_outer_one(issuer: LocalIssuer) -> None:
    foreign = Foreign()
    inner = AuthzMiddleware(foreign, issuers=[issuer.trusted(third_party_clients=set())])

    @public
    async def handing_on(request: Request) -> Any:
        return inner

    app = client(starlette_app(issuer, Route("/x", handing_on), Mount("/m", app=inner)))
    expect_missing(app.get("/x"))
    expect_no_policy(app.get("/x", headers=issuer.headers(**X)))
    expect_no_policy(app.get("/m/", headers=issuer.headers(**X)))
    assert not foreign.calls


def test_what_a_public_mount_serves_outside_its_routes_is_public(issuer: LocalIssuer) -> None:
    inner = Starlette(routes=[Route("/stated", requires("x")(endpoint))])
    app = client(starlette_app(issuer, Mount("/m", app=public(inner))))
    assert app.get("/m/nowhere").status_code == 404
    expect_missing(app.get("/m/stated"), "x")
    expect_missing(app.get("/nowhere"))


def test_a_mounted_application_that_is_replaced_is_guarded(issuer: LocalIssuer) -> None:
    calls = Calls()

    async def bare(request: Request) -> Response:
        calls.note()
        return Response("bare")

    for mount in (Host("testserver", Router([Route("/x", public(endpoint))])), Mount("", Router([]))):
        app = client(starlette_app(issuer, mount))
        app.get("/x")
        mount.app = Router([Route("/x", bare)])
        expect_missing(app.get("/x"))
        expect_no_policy(app.get("/x", headers=issuer.headers(**X)))
    mount = Mount("", Router([Route("/x", public(endpoint))]))
    mount.app = Router([Route("/x", bare)])
    expect_missing(client(starlette_app(issuer, mount)).get("/x"))
    assert not calls


def test_a_default_that_is_replaced_is_guarded(issuer: LocalIssuer) -> None:
    foreign = Foreign()
    whole = starlette_app(issuer, Route("/x", public(endpoint)))
    app = client(whole)
    app.get("/x")
    whole.router.default = foreign
    expect_no_policy(app.get("/nowhere", headers=issuer.headers(**X)))
    assert not foreign.calls


def test_a_preflight_passes_a_class_that_handles_no_options(issuer: LocalIssuer) -> None:
    class Plain(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            raise NotImplementedError

    class Handling(Plain):
        async def options(self, request: Request) -> Response:
            raise NotImplementedError

    routes = [Route("/plain", requires("x")(Plain)), Route("/handling", requires("x")(Handling))]
    app = client(Starlette(routes=routes, middleware=[authz(issuer), CORS]))
    assert app.options("/plain", headers=PREFLIGHT).status_code == 200
    expect_missing(app.options("/plain"))
    expect_missing(app.options("/handling", headers=PREFLIGHT), "x")


def test_a_mounted_function_may_call_its_parameters_as_it_likes(issuer: LocalIssuer) -> None:
    @requires("x")
    async def served(scope: Scope, recv: Receive, snd: Send) -> None:
        await Response("served")(scope, recv, snd)

    app = client(starlette_app(issuer, Mount("/m", app=served)))
    expect_missing(app.get("/m/"), "x")
    expect_forbidden(app.get("/m/", headers=issuer.headers()), "x")
    assert app.get("/m/", headers=issuer.headers(**X)).text == "served"
