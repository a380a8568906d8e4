"""FastAPI applications: the decision falls before body, parameters and dependencies, and no refusal becomes a 500."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request, WebSocket
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route
from starlette.testclient import WebSocketDenialResponse
from starlette.types import Receive, Scope, Send

from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    ConfigurationError,
    access_token,
    authenticated,
    authorize,
    policy,
    public,
    requires,
)
from authz_middleware.fastapi import FASTAPI_DOCS
from authz_middleware.testing import LocalIssuer

from .apps import (
    PREFLIGHT,
    Calls,
    ask,
    bare,
    bearer,
    client,
    expect_forbidden,
    expect_missing,
    expect_no_policy,
    expect_ok,
    expect_opaque,
    http_scope,
    never,
)

X: dict[str, Any] = {"scope": "x", "permissions": []}
BAD = {"Authorization": "Bearer bad"}


def fastapi_app(issuer: LocalIssuer, **options: Any) -> FastAPI:
    options.setdefault("issuers", [issuer.trusted(third_party_clients=set())])
    app = FastAPI()
    app.add_middleware(AuthzMiddleware, **options)
    return app


# --- functions --------------------------------------------------------------------------------------------------------


def test_path_operations_with_and_without_a_request(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    @app.get("/without")
    @requires("x")
    async def without() -> str:
        return "without"

    @app.get("/sync")
    @requires("x")
    def sync() -> str:
        return "sync"

    @app.get("/with/{name}")
    @requires("x")
    async def with_request(request: Request, name: str, times: int = 1) -> list[str]:
        return [request.auth.token.subject, name * times]

    asked = client(app)
    for path in ("/without", "/sync", "/with/a"):
        expect_missing(asked.get(path), "x")
        expect_forbidden(asked.get(path, headers=issuer.headers()), "x")
        expect_opaque(asked.get(path, headers=BAD), "x")
    headers = issuer.headers(subject="s", **X)
    assert asked.get("/without", headers=headers).json() == "without"
    assert asked.get("/sync", headers=headers).json() == "sync"
    assert asked.get("/with/a?times=2", headers=headers).json() == ["s", "aa"]


def test_the_token_is_a_dependency(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)
    caller = Annotated[AccessToken, Depends(access_token)]

    @app.get("/")
    @authenticated
    async def whoami(token: caller) -> str:
        return token.subject

    @app.get("/open")
    @public
    async def opened(token: caller) -> str:
        return token.subject

    asked = client(app)
    assert asked.get("/", headers=issuer.headers(subject="s")).json() == "s"
    assert asked.get("/open", headers=issuer.headers(subject="s")).json() == "s"
    expect_missing(asked.get("/open"))
    expect_opaque(asked.get("/open", headers=BAD))


def test_annotations_may_be_strings(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    @app.get("/{number}")
    @requires("x")
    async def postponed(
        request: "Request", number: "int", token: "Annotated[AccessToken, Depends(access_token)]"
    ) -> Any:
        return [number, token is request.auth.token]

    assert client(app).get("/7", headers=issuer.headers(**X)).json() == [7, True]
    expect_forbidden(client(app).get("/notanumber", headers=issuer.headers()), "x")


def test_generators_are_path_operations_too(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    @app.get("/async")
    @requires("x")
    async def lines() -> AsyncIterator[int]:
        yield 1

    @app.get("/sync")
    @requires("x")
    def more() -> Iterator[int]:
        yield 2

    asked = client(app)
    for path, text in (("/async", "1"), ("/sync", "2")):
        expect_missing(asked.get(path), "x")
        expect_forbidden(asked.get(path, headers=issuer.headers()), "x")
        assert asked.get(path, headers=issuer.headers(**X)).text.strip() == text


def test_undecorated_operations(issuer: LocalIssuer) -> None:
    refusing, relaxed = fastapi_app(issuer), fastapi_app(issuer, undecorated="authenticated")
    calls = Calls()
    for app in (refusing, relaxed):

        @app.post("/")
        async def states_nothing() -> str:
            calls.note()
            return "ran"

    expect_missing(client(refusing).post("/"))
    expect_no_policy(client(refusing).post("/", headers=issuer.headers(**X)))
    expect_missing(client(relaxed).post("/"))
    assert not calls
    expect_ok(client(relaxed).post("/", headers=issuer.headers()), '"ran"')


def test_the_signature_stays_for_the_documentation(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    @app.get("/{number}")
    @requires("x")
    async def documented(number: int, limit: Annotated[int, Query(le=5)] = 1) -> str:
        """Say what it does."""
        raise NotImplementedError

    operation = app.openapi()["paths"]["/{number}"]["get"]
    assert [(p["name"], p["in"]) for p in operation["parameters"]] == [("number", "path"), ("limit", "query")]
    assert operation["description"] == "Say what it does."


def test_the_wrong_order_fails_at_start(issuer: LocalIssuer) -> None:
    app, router = fastapi_app(issuer), APIRouter()

    @requires("x")
    @app.get("/direct")
    async def direct() -> str:
        raise NotImplementedError

    @authenticated
    @router.websocket("/included")
    async def included(websocket: WebSocket) -> None:
        raise NotImplementedError

    app.include_router(router, prefix="/in")
    with pytest.raises(ConfigurationError) as fault, client(app):
        pass
    assert [text.partition(" stands above")[0] for text in fault.value.faults] == [
        "/direct: @requires",
        "/in/included: @authenticated",
    ]


def test_a_decorator_between_does_not_hide_the_wrong_order(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def logging(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

        return logging

    @requires("x")
    @logged
    @logged
    @app.get("/late")
    async def late() -> str:
        raise NotImplementedError

    with pytest.raises(ConfigurationError, match=r"^/late: @requires stands above the route"), client(app):
        pass


def test_documentation_pages_are_closed_until_they_are_named(issuer: LocalIssuer) -> None:
    closed, opened = client(fastapi_app(issuer)), client(fastapi_app(issuer, public_paths=FASTAPI_DOCS))
    for path in FASTAPI_DOCS:
        expect_missing(closed.get(path))
        expect_no_policy(closed.get(path, headers=issuer.headers()))
        expect_ok(opened.get(path))
        expect_opaque(opened.get(path, headers=BAD))
        assert opened.get(path, headers=issuer.headers()).status_code == 200
    expect_missing(opened.get("/docs/"))


def test_root_path_is_taken_off(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer, public_paths=FASTAPI_DOCS)
    assert ask(app, http_scope("/api/docs", root_path="/api")).status == 200
    assert ask(app, http_scope("/docs", root_path="/api")).status == 200
    expect_missing(ask(app, http_scope("/api/api/docs", root_path="/api")))
    expect_missing(ask(app, http_scope("/api/docs")))


# --- before anything else ---------------------------------------------------------------------------------------------


class Thorough:
    """An application whose operations fail in every way before the handler, in several places of its tree."""

    def __init__(self, issuer: LocalIssuer) -> None:
        self.calls = Calls()
        self.app = fastapi_app(issuer)
        sub = FastAPI()
        router = self.router()
        outer = APIRouter()
        outer.include_router(router, prefix="/nested")
        self.app.include_router(router)
        self.app.include_router(router, prefix="/a", dependencies=[Depends(self.absent)])
        self.app.include_router(router, prefix="/b")
        self.app.include_router(outer, prefix="/c")
        sub.include_router(router)
        self.app.mount("/sub", sub)

    def absent(self) -> None:
        self.calls.note("dependency")
        raise HTTPException(404, "no such order")

    def open_session(self) -> Iterator[int]:
        self.calls.note("session")
        yield 1

    def router(self) -> APIRouter:
        router, absent = APIRouter(), Depends(self.absent)

        @router.post("/body")
        @requires("x")
        async def body(value: Annotated[dict[str, int], Body()]) -> str:
            self.calls.note("body")
            return "ran"

        @router.get("/query/{number}")
        @requires("x")
        async def query(number: int, limit: Annotated[int, Query(le=5)]) -> str:
            self.calls.note("query")
            return "ran"

        @router.get("/absent", dependencies=[absent])
        @requires("x")
        async def dependent(session: Annotated[int, Depends(self.open_session)]) -> str:
            self.calls.note("absent")
            return "ran"

        return router


PREFIXES = ["", "/a", "/b", "/c/nested", "/sub"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_grant_is_403_before_anything_is_read_or_run(issuer: LocalIssuer, prefix: str) -> None:
    thorough = Thorough(issuer)
    asked, headers = client(thorough.app), issuer.headers(scope="openid", permissions=["y"])
    malformed = {"content": b"{not json", "headers": {**headers, "Content-Type": "application/json"}}
    for answer in (
        asked.post(f"{prefix}/body", **malformed),  # type: ignore[arg-type]
        asked.post(f"{prefix}/body", headers=headers),
        asked.get(f"{prefix}/query/notanumber?limit=99", headers=headers),
        asked.get(f"{prefix}/query/1", headers=headers),
        asked.get(f"{prefix}/absent", headers=headers),
    ):
        expect_forbidden(answer, "x")
    assert thorough.calls.names == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_anonymous_learns_as_little(issuer: LocalIssuer, prefix: str) -> None:
    thorough = Thorough(issuer)
    asked = client(thorough.app)
    for answer in (
        asked.post(f"{prefix}/body", content=b"{"),
        asked.get(f"{prefix}/query/notanumber"),
        asked.get(f"{prefix}/absent"),
    ):
        expect_missing(answer, "x")
    assert thorough.calls.names == []


@pytest.mark.parametrize("prefix", ["", "/b", "/c/nested", "/sub"])
def test_with_the_grant_the_same_requests_get_their_own_answers(issuer: LocalIssuer, prefix: str) -> None:
    thorough = Thorough(issuer)
    asked, headers = client(thorough.app), issuer.headers(**X)
    assert asked.post(f"{prefix}/body", content=b"{not json", headers=headers).status_code == 422
    assert asked.get(f"{prefix}/query/notanumber?limit=99", headers=headers).status_code == 422
    assert asked.get(f"{prefix}/absent", headers=headers).status_code == 404
    assert asked.post(f"{prefix}/body", json={"a": 1}, headers=headers).status_code == 200
    assert thorough.calls.names == ["dependency", "body"]
    assert asked.get(f"{prefix}/query/1?limit=5", headers=headers).json() == "ran"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("headers", ["no grant", "anonymous", "bad"])
def test_a_body_that_is_never_sent_is_never_waited_for(issuer: LocalIssuer, prefix: str, headers: str) -> None:
    thorough = Thorough(issuer)
    sent = {"no grant": [bearer(issuer)], "anonymous": [], "bad": [(b"authorization", b"Bearer bad")]}[headers]
    scope = http_scope(f"{prefix}/body", [*sent, (b"content-length", b"9")], method="POST")
    answer = ask(thorough.app, scope, never)
    assert answer.status == (403 if headers == "no grant" else 401)
    assert thorough.calls.names == []


def test_a_dependency_of_a_public_operation_runs(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    def absent() -> None:
        raise HTTPException(404)

    @app.get("/", dependencies=[Depends(absent)])
    @public
    async def opened() -> str:
        raise NotImplementedError

    assert client(app).get("/").status_code == 404
    expect_opaque(client(app).get("/", headers=BAD))


# --- late refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("place", ["handler", "dependency", "yielding dependency", "sync helper"])
def test_a_late_refusal_is_the_exact_answer_and_no_500(issuer: LocalIssuer, depth: int, place: str) -> None:
    app = fastapi_app(issuer)
    inner = app
    for _ in range(depth):
        mounted = FastAPI()
        inner.mount("/m", mounted)
        inner = mounted

    @requires("x")
    def helper() -> None:
        raise NotImplementedError

    async def dependency(request: Request) -> None:
        if place == "dependency":
            await authorize(request, policy.scope("x"))

    async def yielding(request: Request) -> AsyncIterator[None]:
        if place == "yielding dependency":
            await authorize(request, "x")
        yield

    @inner.get("/", dependencies=[Depends(dependency), Depends(yielding)])
    @authenticated
    async def late(request: Request) -> None:
        if place == "handler":
            await authorize(request, "x")
        helper()

    asked, path = client(app), "/m" * depth + "/"
    expect_forbidden(asked.get(path, headers=issuer.headers(permissions=["y"])), "x")
    expect_missing(asked.get(path))


def test_a_stream_cannot_be_refused_once_it_began(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    @app.get("/")
    @authenticated
    async def streaming(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await authorize(request, "x")
            yield b"secret"

        return StreamingResponse(parts())

    answer = client(app, raise_server_exceptions=False).get("/", headers=issuer.headers())
    assert b"secret" not in answer.content


# --- trees ------------------------------------------------------------------------------------------------------------


def test_routes_of_every_kind_in_an_included_router(issuer: LocalIssuer) -> None:
    app, router, calls = fastapi_app(issuer), APIRouter(), Calls()

    @requires("x")
    async def stated(request: Request) -> Response:
        calls.note()
        return PlainTextResponse("stated")

    sub = FastAPI()
    sub.add_api_route("/deep", stated)
    router.routes.append(Route("/plain", stated))
    router.routes.append(Route("/bare", bare))
    router.routes.append(Mount("/mounted", routes=[Route("/deep", stated)]))
    router.routes.append(Host("host.test", app=sub))
    router.mount("/sub", sub)
    app.include_router(router, prefix="/p")
    asked = client(app)
    host = {"Host": "host.test"}
    for path, more in (("/p/plain", {}), ("/p/mounted/deep", {}), ("/p/sub/deep", {}), ("/p/deep", host)):
        expect_missing(asked.get(path, headers=more), "x")
        expect_forbidden(asked.get(path, headers={**more, **issuer.headers()}), "x")
        assert not calls
        expect_ok(asked.get(path, headers={**more, **issuer.headers(**X)}), "stated")
        calls.names.clear()
    expect_no_policy(asked.get("/p/bare", headers=issuer.headers()))


def test_a_router_includes_a_host_without_prefix(issuer: LocalIssuer) -> None:
    app, router, sub = fastapi_app(issuer), APIRouter(), FastAPI()

    @sub.get("/deep")
    @requires("x")
    async def deep() -> str:
        return "deep"

    router.routes.append(Host("host.test", app=sub))
    app.include_router(router)
    asked = client(app)
    expect_missing(asked.get("/deep", headers={"Host": "host.test"}), "x")
    expect_forbidden(asked.get("/deep", headers={"Host": "host.test", **issuer.headers()}), "x")
    expect_ok(asked.get("/deep", headers={"Host": "host.test", **issuer.headers(**X)}), '"deep"')


def test_public_operations_are_found_in_the_tree(issuer: LocalIssuer) -> None:
    app, router, outer, sub = fastapi_app(issuer), APIRouter(), APIRouter(), FastAPI()

    @router.get("/{name}")
    @public
    async def opened(name: str) -> str:
        return name

    @router.get("/closed/{name}")
    @requires("x")
    async def closed(name: str) -> str:
        raise NotImplementedError

    outer.include_router(router, prefix="/o")
    sub.include_router(router, prefix="/r")
    app.include_router(outer, prefix="/a")
    app.include_router(router, prefix="/b")
    app.mount("/s", sub)
    asked = client(app)
    for prefix in ("/a/o", "/b", "/s/r"):
        expect_ok(asked.get(f"{prefix}/name"), '"name"')
        expect_opaque(asked.get(f"{prefix}/name", headers=BAD))
        expect_missing(asked.get(f"{prefix}/closed/name"), "x")
        expect_missing(asked.post(f"{prefix}/name"))
        expect_missing(asked.get(f"{prefix}/absent/name"))


def test_routes_added_later_anywhere_are_guarded(issuer: LocalIssuer, tmp_path: Path) -> None:
    app, router, nested, calls = fastapi_app(issuer), APIRouter(), APIRouter(), Calls()

    async def undecided() -> str:
        calls.note()
        return "ran"

    @nested.get("/open")
    @public
    async def opened() -> str:
        return "open"

    router.include_router(nested, prefix="/n")
    app.include_router(router, prefix="/r")
    asked = client(app)
    expect_ok(asked.get("/r/n/open"), '"open"')
    nested.add_api_route("/late", undecided)
    expect_no_policy(asked.get("/r/n/late", headers=issuer.headers()))
    router.add_api_route("/late", undecided)
    expect_no_policy(asked.get("/r/late", headers=issuer.headers()))
    app.add_api_route("/late", undecided)
    expect_no_policy(asked.get("/late", headers=issuer.headers()))
    nested.frontend("/pages", directory=tmp_path)  # no new route, and yet FastAPI makes every context anew
    expect_no_policy(asked.get("/r/n/late", headers=issuer.headers()))
    del nested.routes[-1]
    nested.add_api_route("/other", undecided)
    expect_no_policy(asked.get("/r/n/other", headers=issuer.headers()))
    assert not calls


@pytest.mark.parametrize("place", ["application", "mounted", "included"])
def test_a_route_in_the_place_of_another_is_guarded(issuer: LocalIssuer, place: str) -> None:
    app, sub, router, calls = fastapi_app(issuer), FastAPI(), APIRouter(), Calls()

    async def undecided() -> str:
        calls.note()
        return "ran"

    @public
    async def opened() -> str:
        return "open"

    app.include_router(router, prefix="/included")
    app.mount("/mounted", sub)
    target: FastAPI | APIRouter = {"application": app, "mounted": sub, "included": router}[place]  # type: ignore[assignment]
    prefix = "" if place == "application" else f"/{place}"
    target.add_api_route("/first", opened)
    target.add_api_route("/second", opened)
    asked = client(app)
    expect_ok(asked.get(f"{prefix}/first"), '"open"')
    expect_ok(asked.get(f"{prefix}/second"), '"open"')
    target.routes[-2] = APIRoute("/first", undecided)
    asked.get(f"{prefix}/first", headers=issuer.headers(**X))  # FastAPI may go on serving the old one for a while
    asked.get(f"{prefix}/first")
    del target.routes[-1]
    target.add_api_route("/second", undecided)
    for path in ("first", "second"):
        expect_missing(asked.get(f"{prefix}/{path}"))
        expect_no_policy(asked.get(f"{prefix}/{path}", headers=issuer.headers(**X)))
    assert not calls


class HandlingRoute(APIRoute):
    calls = Calls()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note()
        await super().handle(scope, receive, send)


def test_what_a_route_class_does_itself_is_behind_the_decision(issuer: LocalIssuer) -> None:
    app, router = fastapi_app(issuer), APIRouter(route_class=HandlingRoute)

    @router.get("/stated")
    @requires("x")
    async def stated() -> str:
        return "stated"

    @router.get("/bare")
    async def undecided() -> str:
        raise NotImplementedError

    app.include_router(router, prefix="/a")
    app.include_router(router, prefix="/b")
    app.router.routes.append(HandlingRoute("/direct", requires("x")(lambda: "direct")))
    asked = client(app)
    for prefix in ("/a", "/b"):
        expect_forbidden(asked.get(f"{prefix}/stated", headers=issuer.headers()), "x")
        expect_no_policy(asked.get(f"{prefix}/bare", headers=issuer.headers()))
        expect_missing(asked.get(f"{prefix}/stated"), "x")
    expect_forbidden(asked.get("/direct", headers=issuer.headers()), "x")
    assert not HandlingRoute.calls
    expect_ok(asked.get("/b/stated", headers=issuer.headers(**X)), '"stated"')
    expect_ok(asked.get("/direct", headers=issuer.headers(**X)), '"direct"')
    assert len(HandlingRoute.calls.names) == 2


def test_frontend_pages_are_refused_unless_they_are_public_paths(issuer: LocalIssuer, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "404.html").write_text("absent")
    closed, opened = fastapi_app(issuer), fastapi_app(issuer, public_paths=["/pages/*", "/in/pages/*"])
    for app in (closed, opened):
        router = APIRouter()
        router.frontend("/pages", directory=tmp_path)
        app.frontend("/pages", directory=tmp_path)
        app.include_router(router, prefix="/in")
    for path in ("/pages/", "/pages/index.html", "/in/pages/index.html"):
        expect_missing(client(closed).get(path))
        expect_no_policy(client(closed).get(path, headers=issuer.headers(**X)))
        expect_ok(client(opened).get(path), "page")
        expect_opaque(client(opened).get(path, headers=BAD))


def test_dependencies_of_frontend_pages_do_not_run_undecided(issuer: LocalIssuer, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    calls = Calls()

    def dependency() -> None:
        calls.note()

    def application(**options: Any) -> FastAPI:
        app, router = fastapi_app(issuer, **options), APIRouter()
        router.frontend("/pages", directory=tmp_path)
        app.include_router(router, prefix="/in", dependencies=[Depends(dependency)])
        return app

    expect_no_policy(client(application()).get("/in/pages/", headers=issuer.headers(**X)))
    assert not calls
    expect_ok(client(application(public_paths=["/in/pages/*"])).get("/in/pages/"), "page")
    assert len(calls.names) == 1


def test_404_405_and_redirects(issuer: LocalIssuer) -> None:
    app, router = fastapi_app(issuer), APIRouter()

    @router.get("/slash/")
    @public
    async def slash() -> str:
        raise NotImplementedError

    app.include_router(router, prefix="/r")
    for method, path, status in (("GET", "/nowhere", 404), ("POST", "/r/slash/", 405), ("GET", "/r/slash", 307)):
        expect_missing(client(app).request(method, path))
        assert client(app).request(method, path, headers=issuer.headers()).status_code == status


def test_exceptions_are_the_applications_own(issuer: LocalIssuer) -> None:
    app = fastapi_app(issuer)

    @app.get("/{status}")
    @requires("x")
    async def failing(status: int) -> None:
        raise HTTPException(status)

    for status in (404, 418, 401, 403):
        assert client(app).get(f"/{status}", headers=issuer.headers(**X)).json() == {
            "detail": HTTPException(status).detail
        }


@pytest.mark.parametrize("outside", [True, False])
def test_cors_belongs_outside_which_in_fastapi_is_after(issuer: LocalIssuer, outside: bool) -> None:
    app = FastAPI()
    if not outside:
        app.add_middleware(CORSMiddleware, allow_origins=["https://page.test"])
    app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted()])
    if outside:
        app.add_middleware(CORSMiddleware, allow_origins=["https://page.test"])

    @app.get("/")
    @requires("x")
    async def guarded() -> None:
        raise NotImplementedError

    expect_ok(client(app).options("/", headers=PREFLIGHT))
    refused = client(app).get("/", headers={"Origin": "https://page.test"})
    expect_missing(refused, "x")
    assert ("access-control-allow-origin" in refused.headers) == outside


# --- WebSocket --------------------------------------------------------------------------------------------------------


def test_websockets_are_decided_before_their_dependencies(issuer: LocalIssuer) -> None:
    app, router, calls = fastapi_app(issuer), APIRouter(), Calls()

    def dependency() -> None:
        calls.note("dependency")

    @router.websocket("/talk/{number}")
    @requires("x")
    async def talk(websocket: WebSocket, number: int, _: Annotated[None, Depends(dependency)]) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.user.display_name)
        await websocket.close()

    app.include_router(router, prefix="/a")
    asked = client(app)
    for path in ("/a/talk/1", "/a/talk/notanumber"):
        with pytest.raises(WebSocketDenialResponse) as denied, asked.websocket_connect(path, headers=issuer.headers()):
            pass
        expect_forbidden(denied.value, "x")
        with pytest.raises(WebSocketDenialResponse) as unknown, asked.websocket_connect(path):
            pass
        expect_missing(unknown.value, "x")
    assert not calls
    with asked.websocket_connect("/a/talk/1", headers=issuer.headers(subject="s", **X)) as session:
        assert session.receive_text() == "s"
