"""The route map: what it finds, lists and notices. That it guards is shown in the framework tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Security
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from authz_middleware import AuthzMiddleware, ConfigurationError, authenticated, policy, public, requires
from authz_middleware.audit import route_table
from authz_middleware.guard import Guard
from authz_middleware.policy import AUTHENTICATED, PUBLIC
from authz_middleware.routes import Found, RouteMap, find_router
from authz_middleware.testing import LocalIssuer

from .apps import (
    Foreign,
    authz,
    bare,
    client,
    endpoint,
    expect_forbidden,
    expect_missing,
    http_scope,
    starlette_app,
    websocket_scope,
)
from .watching import Watch

ROUTES = [
    Route("/open", public(endpoint)),
    Route("/x", requires("x")(endpoint), methods=["GET", "POST"]),
    Route("/any", authenticated(endpoint)),
    Route("/bare", bare),
    Route("/{number:int}", public(endpoint)),
    WebSocketRoute("/open", public(endpoint)),
    Mount("/m", routes=[Route("/open", public(endpoint)), Route("/bare", bare)]),
    Mount("/x", app=requires("x")(Starlette(routes=[Route("/open", public(endpoint)), Route("/bare", bare)]))),
    Mount("/p", app=public(Starlette(routes=[Route("/x", requires("x")(endpoint)), Route("/bare", bare)]))),
    Mount("/f", app=Foreign()),
]
X = requires("x").access


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/open", Found(PUBLIC)),
        ("/x", Found(X)),
        ("/any", Found(AUTHENTICATED)),
        ("/bare", Found(None)),
        ("/12", Found(PUBLIC)),
        ("/m/open", Found(PUBLIC)),
        ("/m/bare", Found(None)),
        ("/m/absent", None),
        ("/x/open", Found(X)),
        ("/x/bare", Found(X)),
        ("/p/x", Found(X)),
        ("/p/bare", Found(PUBLIC)),
        ("/f/anything", Found(None)),
        ("/absent", None),
        ("/open/", None),
        ("", None),
    ],
)
def test_what_a_request_would_reach(path: str, found: Found | None) -> None:
    assert RouteMap.of(Router(ROUTES)).find(http_scope(path)) == found


# --- what adds up -----------------------------------------------------------------------------------------------------


def choice(prefix: str, number: int = 9) -> policy.Policy:
    return policy.any_of(*(f"{prefix}{index}" for index in range(number)))


class ByMethod(HTTPEndpoint):
    @requires(choice("b", 64))
    async def get(self, request: Request) -> Response:
        raise NotImplementedError


def mounted(around: policy.Policy, *routes: BaseRoute) -> Mount:
    return Mount("/m", app=requires(around)(Starlette(routes=routes)))


def test_mounts_and_routes_may_add_up_to_more_alternatives_than_one_policy(issuer: LocalIssuer) -> None:
    watch = Watch()
    app = starlette_app(issuer, mounted(choice("a"), Route("/b", requires(choice("b"))(endpoint))), on_decision=watch)
    asked = client(app)
    expect_missing(asked.get("/m/b"), "a0 b0")
    expect_forbidden(
        asked.get("/m/b", headers=issuer.headers(permissions=["a1"])),
        "a1",
        "b0",
        required=[[f"a{one}", f"b{other}"] for one in range(9) for other in range(9)][:64],
    )
    assert asked.get("/m/b", headers=issuer.headers(permissions=["a1", "b8"])).status_code == 200
    assert [(decision.route, repr(decision.policy)[:5]) for decision in watch.seen] == [
        ("/m/b", "('a0'"),
        ("/m/b", "'b0' "),
        ("/m/b", "('a0'"),
    ]
    assert len(route_table(app).entries) == 1


def test_a_router_s_dependencies_may_as_well(issuer: LocalIssuer) -> None:
    app, router = FastAPI(), APIRouter(dependencies=[Security(requires(choice("a")))])
    app.user_middleware.append(authz(issuer))

    @router.get("/")
    @requires(choice("b"))
    async def handler() -> str:
        return "ran"

    app.include_router(router)
    asked = client(app)
    assert asked.get("/", headers=issuer.headers(permissions=["a1", "b1"])).json() == "ran"
    assert asked.get("/", headers=issuer.headers(permissions=["a1"])).status_code == 403


@pytest.mark.parametrize(
    ("route", "where"),
    [
        (mounted(choice("a", 64) & choice("c", 1), Route("/b", requires(choice("b", 64))(endpoint))), None),
        (mounted(choice("a", 64), Mount("/n", routes=[mounted(choice("b", 64))])), None),
        (mounted(choice("a", 64), mounted(choice("b", 64), Route("/c", requires(choice("c", 2))(endpoint)))), "/m/m/c"),
        (
            mounted(choice("a", 64), mounted(choice("b", 64), Mount("/n", app=requires(choice("c", 2))(Foreign())))),
            "/m/m/n",
        ),
        (mounted(choice("a", 64), mounted(choice("c", 2), Route("/b", ByMethod))), "/m/m/b"),
        (mounted(choice("a", 64), mounted(choice("b", 64), mounted(choice("c", 2), Route("/", bare)))), "/m/m/m"),
    ],
)
def test_what_adds_up_to_too_much_is_an_error_that_names_the_route(route: Mount, where: str | None) -> None:
    if where is None:
        assert RouteMap.of(Router([route])).nodes
        return
    with pytest.raises(ConfigurationError) as error:
        RouteMap.of(Router([route]))
    assert error.value.faults == (
        f"{where}: what is required adds up to more than 4,096 alternatives; require fewer, or decide part of it in "
        "policy.check(…)",
    )


def test_what_stands_on_one_endpoint_is_an_error_that_names_it() -> None:
    decorated = requires(choice("a", 64))(requires(choice("b", 64))(endpoint))
    with pytest.raises(ConfigurationError, match=r"^endpoint: what is required adds up to more than 4,096"):
        requires(choice("c", 2))(decorated)


def test_what_adds_up_is_added_up_once() -> None:
    """Whoever sends no credentials has it looked up with every request."""
    route_map = RouteMap.of(Router([mounted(choice("a"), Route("/b", requires(choice("b"))(endpoint)))]))
    found = [route_map.find(http_scope("/m/b")) for _ in range(2)]
    assert all(one is not None for one in found)
    assert len({id(one.access) for one in found if one is not None}) == 1


# --- finding ----------------------------------------------------------------------------------------------------------


def test_a_method_that_does_not_match_reaches_nothing() -> None:
    assert RouteMap.of(Router(ROUTES)).find(http_scope("/open", method="POST")) is None


def test_a_websocket_reaches_websocket_routes() -> None:
    assert RouteMap.of(Router(ROUTES)).find(websocket_scope("/open")) == Found(PUBLIC)
    assert RouteMap.of(Router(ROUTES)).find(websocket_scope("/x")) is None


def test_what_no_convertor_can_read_is_not_public() -> None:
    assert RouteMap.of(Router(ROUTES)).find(http_scope("/" + "1" * 5000)) == Found(None)


def test_finding_leaves_the_scope_alone() -> None:
    scope = http_scope("/m/open")
    before = dict(scope)
    RouteMap.of(Router(ROUTES)).find(scope)
    assert scope == before


def test_what_states_nothing_is_known() -> None:
    leaves = [node for node, around in RouteMap.of(Router(ROUTES)).descend() if not around and node.children is None]
    assert [node.shown for node in leaves if not node.accesses] == ["GET /bare", "GET /m/bare", "ANY /f/*"]


def test_arming_twice_arms_once() -> None:
    router = Router([Route("/", requires("x")(endpoint))])
    RouteMap.of(router)
    route: Any = router.routes[0]
    armed = route.app
    RouteMap.of(router)
    assert route.app is armed
    assert isinstance(armed, Guard)
    assert not isinstance(armed.app, Guard)
    assert armed.stated.access == policy.any_of("x")


def test_a_changed_list_is_noticed_anywhere() -> None:
    inner = Router([Route("/a", public(endpoint))])
    router = Router([Mount("/m", app=inner)])
    route_map = RouteMap.of(router)
    assert route_map.is_current()
    inner.routes.append(Route("/b", public(endpoint)))
    assert not route_map.is_current()
    route_map = RouteMap.of(router)
    assert route_map.is_current()
    router.routes.clear()
    assert not route_map.is_current()


def test_a_route_in_the_place_of_another_is_noticed() -> None:
    inner = Router([Route("/a", public(endpoint)), Route("/b", public(endpoint))])
    router = Router([Mount("/m", app=inner)])
    changes: list[Callable[[], object]] = [
        lambda: inner.routes.__setitem__(0, Route("/a", bare)),
        inner.routes.reverse,
        lambda: inner.routes.append(inner.routes.pop(0)),
        lambda: router.routes.__setitem__(0, Mount("/m", app=inner)),
    ]
    for change in changes:
        route_map = RouteMap.of(router)
        assert route_map.is_current()
        change()
        assert not route_map.is_current()
    assert RouteMap.of(router).find(http_scope("/m/a")) == Found(None)


def test_what_is_stated_behind_wrappers_of_a_framework_is_found() -> None:
    class Keeping(Foreign):
        app: Any = Router([Route("/open", public(endpoint))])

    class Handling(Mount):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise NotImplementedError

    tree = Router([Route("/open", public(endpoint))])
    router = Router(
        [
            Mount("/seen", app=CORSMiddleware(tree)),
            Mount("/x", app=CORSMiddleware(requires("x")(Foreign()))),
            Mount("/tree", app=CORSMiddleware(requires("x")(tree))),
            Mount("/kept", app=Keeping()),
            Mount("/handled", app=tree, name="handled"),
            Handling("/own", app=tree),
        ]
    )
    route_map = RouteMap.of(router)
    found = [route_map.find(http_scope(f"/{name}/open")) for name in ("seen", "x", "tree", "kept", "handled", "own")]
    assert found == [Found(PUBLIC), Found(X), Found(X), Found(None), Found(PUBLIC), Found(None)]


def test_routers_are_found_through_what_wraps_them() -> None:
    router, app = Router(), Starlette()
    assert find_router(router) is router
    assert find_router(app) is app.router
    assert find_router(CORSMiddleware(CORSMiddleware(app))) is app.router
    assert find_router(requires("x")(app)) is app.router
    assert find_router(router.app) is router


def test_no_other_method_or_object_leads_to_a_router() -> None:
    router = Router()

    class Endpoint:
        app = router

    for other in (router.not_found, router.lifespan, Foreign(), bare, None, object(), Endpoint):
        assert find_router(other) is None


def test_without_fastapi_the_list_is_walked_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastapi.routing", raising=False)
    assert RouteMap.of(Router(ROUTES)).find(http_scope("/m/open")) == Found(PUBLIC)


def test_a_default_is_guarded_once() -> None:
    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    router = Router(default=default)
    RouteMap.of(router)
    guarded: Any = router.default
    assert isinstance(guarded, Guard)
    RouteMap.of(router)
    assert router.default is guarded
    assert guarded.app is default


@pytest.mark.parametrize("stated", [requires("r"), public])
def test_what_a_router_states_is_put_in_front_once(stated: Any) -> None:
    """However often the routes are walked: an application may add some for as long as it runs."""

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    route = Route("/x", stated(endpoint))
    mount = Mount("/m", app=Foreign())
    router = APIRouter(routes=[route, mount], dependencies=[Security(stated)], default=stated(page))
    RouteMap.of(router)
    armed: Any = (route.app, mount.app, router.default)
    assert all(isinstance(app, Guard) for app in armed)
    RouteMap.of(router)
    assert (route.app, mount.app, router.default) == armed


def test_what_a_router_requires_holds_for_its_default(issuer: LocalIssuer) -> None:
    class Page:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("ran")(scope, receive, send)

    for undecorated in ("refuse", "authenticated"):
        for page, opens in ((requires("x")(Page()), {"x"}), (Page(), set())):
            router = APIRouter(dependencies=[Security(requires("r"))], default=page)
            app = starlette_app(issuer, Mount("/m", app=router), undecorated=undecorated)
            is_closed = not opens and undecorated == "refuse"
            for held in ({"x"}, {"r"}, {"x", "r"}):
                is_open = not is_closed and {"r", *opens} <= held
                asked = client(app).get("/m/nothing", headers=issuer.headers(permissions=sorted(held)))
                assert asked.status_code == (200 if is_open else 403), (undecorated, opens, held)


def test_the_routes_are_walked_once(issuer: LocalIssuer, tmp_path: Path) -> None:
    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    inner = Starlette(routes=[Route("/", public(endpoint))])
    inner.router.default = default
    included, app = APIRouter(), FastAPI()
    included.add_api_route("/x", public(lambda: "x"))
    included.frontend("/pages", directory=tmp_path)
    app.include_router(included, prefix="/in")
    app.mount("/m", inner)
    app.host("api.test", requires("x")(Starlette()))
    app.router.default = default
    guarded = AuthzMiddleware(app, issuers=[issuer.trusted(third_party_clients=set())])
    asking = TestClient(guarded)
    asking.get("/in/x")
    walked = guarded._routes
    for path in ("/in/x", "/m/", "/m/nowhere", "/nowhere", "/in/pages/"):
        asking.get(path)
        asking.get(path, headers=issuer.headers())
    assert walked is not None
    assert guarded._routes is walked
