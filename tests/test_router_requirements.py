"""What FastAPI routers require holds for Starlette's routes and for mounted applications in them, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from authz_middleware import (
    AuthzMiddleware,
    ConfigurationError,
    authenticated,
    public,
    requires,
    requires_permissions,
)
from authz_middleware.audit import route_table
from authz_middleware.observe import RequestDecision
from authz_middleware.routes import FASTAPI_DOCS
from authz_middleware.testing import LocalIssuer

from .apps import client, expect_forbidden, expect_missing, expect_no_policy, expect_ok
from .dependency_apps import guarded, holding

R = Security(requires("r"))
LEVELS = ("application", "include", "router")


async def plain(request: Request) -> Response:
    return PlainTextResponse("served")


async def bare(request: Request) -> Response:
    """Be never decorated."""
    return await plain(request)


async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("served")(scope, receive, send)


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("served")


def ending() -> type[HTTPEndpoint]:
    class Ending(HTTPEndpoint):
        @requires("x")
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("served")

        async def post(self, request: Request) -> Response:
            raise NotImplementedError

    return Ending


def inner() -> Starlette:
    """Return an application whose routes state something, nothing, and that they are public."""
    return Starlette(routes=[Route("/x", requires("x")(plain)), Route("/bare", bare), Route("/public", public(plain))])


STATING: dict[str, tuple[Callable[[], Any], str]] = {
    "route": (lambda: Route("/x", requires("x")(plain)), "/x"),
    "class": (lambda: Route("/x", ending()), "/x"),
    "decorated class": (lambda: Route("/x", requires("x")(ending())), "/x"),
    "asgi": (lambda: Route("/x", requires("x")(opaque)), "/x"),
    "mounted routes": (lambda: Mount("/m", inner()), "/m/x"),
    "mounted router": (lambda: Mount("/m", Router([Route("/x", requires("x")(plain))])), "/m/x"),
    "guarded mount": (lambda: Mount("/m", requires("x")(inner())), "/m/bare"),
    "guarded files": (lambda: Mount("/m", requires("x")(opaque)), "/m/any"),
    "host": (lambda: Host("testserver", inner()), "/x"),
}
"""What states `x`, and a path there."""


def placed(issuer: LocalIssuer, level: str, *routes: Any, **options: Any) -> FastAPI:
    """Return an application with these routes, where routers require `r` at this level."""
    app = guarded(issuer, [R] if level == "application" else None, **options)
    if level == "application":
        app.router.routes.extend(routes)
        return app
    router = APIRouter(dependencies=[R] if level == "router" else None)
    router.routes.extend(routes)
    app.include_router(router, prefix="/in", dependencies=[R] if level == "include" else None)
    return app


def at(level: str, path: str) -> str:
    return path if level == "application" else f"/in{path}"


@pytest.mark.parametrize("kind", STATING)
@pytest.mark.parametrize("level", LEVELS)
def test_what_states_something_asks_for_both(issuer: LocalIssuer, level: str, kind: str) -> None:
    make, path = STATING[kind]
    asked, path = client(placed(issuer, level, make())), at(level, path)
    expect_missing(asked.get(path), "r x")
    expect_forbidden(asked.get(path, headers=holding(issuer, "x")), "r", "x")
    expect_forbidden(asked.get(path, headers=holding(issuer, "r")), "r", "x")
    expect_ok(asked.get(path, headers=holding(issuer, "r", "x")), "served")


@pytest.mark.parametrize("level", LEVELS)
def test_a_raw_websocket_asks_for_both(issuer: LocalIssuer, level: str) -> None:
    asked, path = client(placed(issuer, level, WebSocketRoute("/ws", requires("x")(talk)))), at(level, "/ws")
    for lacking in ("r", "x"):
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            asked.websocket_connect(path, headers=holding(issuer, lacking)),
        ):
            raise AssertionError("somebody got in")
        expect_forbidden(denied.value, "r", "x")
    with asked.websocket_connect(path, headers=holding(issuer, "r", "x")) as talking:
        assert talking.receive_text() == "served"


@pytest.mark.parametrize("level", LEVELS)
def test_requirements_open_nothing(issuer: LocalIssuer, level: str) -> None:
    mounted, host = Mount("/m", inner()), Host("testserver", Starlette(routes=[Route("/hosted", bare)]))
    app = placed(issuer, level, Route("/bare", bare), Route("/class", ending()), mounted, Mount("/files", opaque), host)
    asked, headers = client(app), holding(issuer, "r", "x")
    for path in ("/bare", "/m/bare", "/files/any", "/hosted"):
        expect_no_policy(asked.get(at(level, path), headers=headers))
        expect_missing(asked.get(at(level, path)))
    expect_no_policy(asked.post(at(level, "/class"), headers=headers))


def test_what_a_middleware_of_a_mounted_application_answers_is_not_covered(issuer: LocalIssuer) -> None:
    class Answering:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("answered")(scope, receive, send)

    mounted = Starlette(routes=[Route("/x", requires("x")(plain))])
    mounted.add_middleware(Answering)
    asked = client(placed(issuer, "application", Mount("/m", mounted)))
    expect_no_policy(asked.get("/m/x", headers=holding(issuer, "r", "x")))


# --- public -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Route("/open", public(plain)),
        lambda: Route("/open", public(opaque)),
        lambda: WebSocketRoute("/open", public(talk)),
        lambda: Mount("/open", public(inner())),
        lambda: Mount("/open", public(opaque)),
    ],
)
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_public_contradicts(issuer: LocalIssuer, level: str, make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as error, TestClient(placed(issuer, level, make())):
        raise AssertionError("it started")
    assert at(level, "/open") in str(error.value)
    assert "is both @public and guarded" in str(error.value)
    assert "put the dependencies on an APIRouter that holds the guarded ones alone" in str(error.value)


def test_what_to_write_instead_is_right(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter(dependencies=[R])
    router.add_route("/x", authenticated(plain))
    app.include_router(router)
    app.mount("/static", public(opaque))
    asked = client(app)
    expect_missing(asked.get("/x"), "r")
    expect_ok(asked.get("/static/any"), "served")


def test_a_public_route_of_a_mounted_application_is_as_guarded_as_behind_a_guarded_mount(issuer: LocalIssuer) -> None:
    asked = client(placed(issuer, "application", Mount("/m", inner())))
    expect_missing(asked.get("/m/public"), "r")
    expect_forbidden(asked.get("/m/public", headers=holding(issuer)), "r")
    expect_ok(asked.get("/m/public", headers=holding(issuer, "r")), "served")


def test_a_public_mount_in_a_mounted_application_is_none_where_nothing_matches(issuer: LocalIssuer) -> None:
    mounted = Starlette(routes=[Mount("/p", public(inner()))])
    asked = client(placed(issuer, "application", Mount("/m", mounted)))
    expect_missing(asked.get("/m/p/absent"))
    assert asked.get("/m/p/absent", headers=holding(issuer, "r")).status_code == 404


def test_routers_that_are_public_open_no_route_of_starlettes(issuer: LocalIssuer) -> None:
    app = guarded(issuer, [Security(public)])
    app.add_route("/bare", bare)
    app.add_route("/public", public(plain))
    app.mount("/m", inner())
    asked = client(app)
    expect_missing(asked.get("/bare"))
    expect_ok(asked.get("/public"), "served")
    expect_no_policy(asked.get("/m/bare", headers=holding(issuer)))
    app.add_route("/x", requires("x")(plain))
    with pytest.raises(ConfigurationError, match=r"^/x: the route is both @public and guarded"):
        asked.get("/x")


# --- public_paths and undecorated -------------------------------------------------------------------------------------


@pytest.mark.parametrize("undecorated", ["refuse", "authenticated"])
def test_public_paths_stay_open(issuer: LocalIssuer, undecorated: str) -> None:
    paths = [*FASTAPI_DOCS, "/bare", "/m/bare", "/m/x", "/files/*"]
    routes = [Route("/bare", bare), Mount("/m", inner()), Mount("/files", opaque)]
    asked = client(placed(issuer, "application", *routes, public_paths=paths, undecorated=undecorated))
    for path in (*FASTAPI_DOCS, "/bare", "/m/bare", "/files/any"):
        assert asked.get(path).status_code == 200, path
    expect_missing(asked.get("/m/public"), "r")
    expect_forbidden(asked.get("/m/x", headers=holding(issuer, "x")), "r", "x")  # that states something


@pytest.mark.parametrize("level", LEVELS)
def test_undecorated_routes_that_are_open_ask_for_it(issuer: LocalIssuer, level: str) -> None:
    routes = [Route("/bare", bare), Mount("/m", inner()), Mount("/files", opaque)]
    asked = client(placed(issuer, level, *routes, undecorated="authenticated"))
    for path in ("/bare", "/m/bare", "/files/any"):
        expect_missing(asked.get(at(level, path)), "r")
        expect_forbidden(asked.get(at(level, path), headers=holding(issuer)), "r")
        expect_ok(asked.get(at(level, path), headers=holding(issuer, "r")), "served")


def test_what_a_mount_around_covers_asks_for_it(issuer: LocalIssuer) -> None:
    mounted = FastAPI(dependencies=[R])
    mounted.add_route("/bare", bare)
    app = Starlette(routes=[Mount("/m", requires("x")(mounted))])
    app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted(third_party_clients=set())])
    asked = client(app)
    expect_missing(asked.get("/m/bare"), "r x")
    expect_forbidden(asked.get("/m/bare", headers=holding(issuer, "x")), "r", "x")
    expect_ok(asked.get("/m/bare", headers=holding(issuer, "r", "x")), "served")


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_mistakes_in_dependencies_of_routers_are_found_without_an_operation(issuer: LocalIssuer) -> None:
    router = APIRouter(dependencies=[Security(requires_permissions)])
    router.add_route("/x", requires("x")(plain))
    app = guarded(issuer)
    app.include_router(router)
    with pytest.raises(ConfigurationError, match=r"^/x: requires_permissions is called to become a dependency"):
        client(app).get("/x")


def test_dependencies_of_routers_that_contradict_each_other_are_found(issuer: LocalIssuer) -> None:
    router = APIRouter(dependencies=[R, Security(public)])
    router.mount("/m", inner())
    app = guarded(issuer)
    app.include_router(router)
    with pytest.raises(ConfigurationError, match=r"^/m: the route is both @public and guarded"):
        client(app).get("/m/x")


# --- what is told -----------------------------------------------------------------------------------------------------


def test_decisions_name_what_routers_require(issuer: LocalIssuer) -> None:
    told: list[RequestDecision] = []
    app = placed(
        issuer, "application", Mount("/m", inner()), Route("/x", requires("x")(plain)), on_decision=told.append
    )
    asked, both = client(app), requires("r", "x").access
    for path in ("/m/x", "/x"):
        told.clear()
        expect_ok(asked.get(path, headers=holding(issuer, "r", "x")), "served")
        (decision,) = told
        assert (decision.allowed, decision.policy) == (True, both)
        assert decision.detail is not None
        assert decision.detail.allowed


def test_what_would_be_refused_is_told_once(issuer: LocalIssuer) -> None:
    told: list[RequestDecision] = []
    app = placed(issuer, "application", Mount("/m", inner()), on_decision=told.append, enforce=False)
    expect_ok(client(app).get("/m/x", headers=holding(issuer)), "served")
    (decision,) = told
    assert (decision.allowed, decision.enforced) == (False, False)


def test_the_scopes_of_routers_are_published(issuer: LocalIssuer) -> None:
    app = placed(issuer, "application", Mount("/m", inner()), resource="https://api.test/")
    document = client(app).get("/.well-known/oauth-protected-resource").json()
    assert document["scopes_supported"] == ["r", "x"]


# --- the table --------------------------------------------------------------------------------------------------------


def shown(app: object) -> dict[str, str]:
    return {entry.shown_path: entry.policy for entry in route_table(app).entries if entry.path not in FASTAPI_DOCS}


def test_the_table_says_so(issuer: LocalIssuer) -> None:
    app = placed(issuer, "application", Route("/x", requires("x")(plain)), Route("/bare", bare), Mount("/m", inner()))
    expected = {
        "/x": "'r' & 'x'",
        "/bare": "states nothing, so it is refused",
        "/m/x": "'r' & 'x'",
        "/m/bare": "states nothing, so it is refused",
        "/m/public": "'r'",
    }
    assert shown(app) == expected
    client(app).get("/x")
    assert shown(app) == expected


def test_the_table_of_relaxed_routes_says_so(issuer: LocalIssuer) -> None:
    app = placed(issuer, "include", Route("/bare", bare), Mount("/m", inner()), undecorated="authenticated")
    assert shown(app) == {"/in/bare": "'r'", "/in/m/x": "'r' & 'x'", "/in/m/bare": "'r'", "/in/m/public": "'r'"}


def test_without_middleware_nothing_asks() -> None:
    app = FastAPI(dependencies=[R])
    app.mount("/m", inner())
    assert shown(app)["/m/bare"] == "states nothing, no AuthzMiddleware in front, so anybody gets in"


# --- arming -----------------------------------------------------------------------------------------------------------


def test_a_router_may_be_included_and_mounted(issuer: LocalIssuer) -> None:
    router = APIRouter(dependencies=[R])
    router.mount("/m", inner())
    router.add_route("/x", requires("x")(plain))
    app = guarded(issuer)
    app.mount("/mounted", router)
    app.include_router(router, prefix="/in", dependencies=[Security(requires("i"))])
    asked = client(app)
    for path in ("/x", "/m/x"):
        expect_missing(asked.get(f"/mounted{path}"), "r x")
        expect_missing(asked.get(f"/in{path}"), "i r x")
        expect_forbidden(asked.get(f"/in{path}", headers=holding(issuer, "r", "x")), "i", "r", "x")
        expect_ok(asked.get(f"/mounted{path}", headers=holding(issuer, "r", "x")), "served")
        expect_ok(asked.get(f"/in{path}", headers=holding(issuer, "i", "r", "x")), "served")
    app.add_route("/later", authenticated(plain))
    expect_ok(asked.get("/in/m/x", headers=holding(issuer, "i", "r", "x")), "served")


def test_mounts_are_armed_once(issuer: LocalIssuer) -> None:
    mount = Mount("/m", inner())
    app = placed(issuer, "application", mount)
    asked = client(app)
    asked.get("/m/x")
    armed = mount.app
    app.add_route("/later", authenticated(plain))
    asked.get("/m/x")
    assert mount.app is armed


def test_a_host_still_makes_urls(issuer: LocalIssuer) -> None:
    host = Host("testserver", Starlette(routes=[Route("/x", requires("x")(plain), name="x")]), name="host")
    app = placed(issuer, "application", host)
    client(app).get("/x")
    assert str(app.url_path_for("host:x")) == "/x"


def test_nested_dependencies_of_routers_count(issuer: LocalIssuer) -> None:
    def needing(_: object = R) -> None:
        raise NotImplementedError

    router = APIRouter(dependencies=[Depends(needing)])
    router.add_route("/x", requires("x")(plain))
    app = guarded(issuer)
    app.include_router(router)
    expect_missing(client(app).get("/x"), "r x")


class Handling(Mount):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().handle(scope, receive, send)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_mount_that_handles_itself_asks_for_what_is_required_where_it_is_served(
    issuer: LocalIssuer, is_first: bool
) -> None:
    router = APIRouter()
    router.routes.append(Handling("/m", requires("x")(inner())))
    app = guarded(issuer)
    if is_first:
        app.mount("/mounted", router)
    app.include_router(router, prefix="/in", dependencies=[Security(requires("i"))])
    if not is_first:
        app.mount("/mounted", router)
    asked = client(app)
    expect_missing(asked.get("/in/m/bare"), "i x")
    expect_forbidden(asked.get("/in/m/bare", headers=holding(issuer, "x")), "i", "x")
    expect_ok(asked.get("/in/m/bare", headers=holding(issuer, "i", "x")), "served")
    expect_ok(asked.get("/mounted/m/bare", headers=holding(issuer, "x")), "served")
