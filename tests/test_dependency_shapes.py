"""Requirements in the shapes FastAPI applications come in: annotations, class-based views, streams, route classes."""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Annotated, Any, TypeVar

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, Request, Security, WebSocket
from fastapi.routing import APIRoute
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import WebSocketDenialResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from authz_middleware import AccessToken, ConfigurationError, access_token, authenticated, public, requires
from authz_middleware.audit import route_table
from authz_middleware.errors import InsufficientScope
from authz_middleware.testing import LocalIssuer

from . import annotated_api
from .apps import Calls, ask, bearer, client, expect_forbidden, expect_missing, expect_no_policy, expect_ok, http_scope
from .dependency_apps import guarded, holding

T = TypeVar("T")
X = requires("x")


# --- annotations ------------------------------------------------------------------------------------------------------


def test_postponed_annotations_are_read(issuer: LocalIssuer) -> None:
    app = guarded(issuer)
    app.include_router(annotated_api.router)
    asked = client(app)
    expect_missing(asked.get("/orders?limit=x"), "x")
    expect_forbidden(asked.get("/orders?limit=x", headers=holding(issuer)), "x")
    answer = asked.get("/orders?limit=2", headers=holding(issuer, "x", subject="s"))
    assert answer.json() == {"caller": "s", "limit": 2}


def paths_of(router: APIRouter) -> list[str]:
    return [route.path for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("path", paths_of(annotated_api.optional))
def test_where_the_token_may_be_missing_the_anonymous_get_in(issuer: LocalIssuer, path: str) -> None:
    app = guarded(issuer)
    app.include_router(annotated_api.optional)
    assert client(app).get(path).json() == {"subject": None}
    assert client(app).get(path, headers=holding(issuer, subject="s")).json() == {"subject": "s"}
    assert client(app).get(path, headers={"Authorization": "Bearer bad"}).status_code == 401


@pytest.mark.parametrize("path", paths_of(annotated_api.required))
def test_where_nobody_said_that_it_may_the_anonymous_are_refused(issuer: LocalIssuer, path: str) -> None:
    app = guarded(issuer)
    app.include_router(annotated_api.required)
    expect_missing(client(app).get(path))
    assert client(app).get(path, headers=holding(issuer, subject="s")).json() == {"subject": "s"}


def test_what_a_signature_no_longer_tells_was_not_said(issuer: LocalIssuer) -> None:
    app = guarded(issuer)

    @app.get("/")
    @public
    async def root(token: Annotated[AccessToken | None, Depends(access_token)]) -> str | None:
        return None if token is None else token.subject

    vars(root)["__signature__"] = inspect.Signature()
    expect_missing(client(app).get("/"))
    expect_ok(client(app).get("/", headers=holding(issuer, subject="s")), '"s"')


def test_a_class_may_do_without_a_token_too(issuer: LocalIssuer) -> None:
    app = guarded(issuer)

    class Visitor:
        def __init__(self, token: Annotated[AccessToken | None, Depends(access_token)]) -> None:
            self.name = "nobody" if token is None else token.subject

    @app.get("/")
    @public
    async def root(visitor: Annotated[Visitor, Depends()]) -> str:
        return visitor.name

    expect_ok(client(app).get("/"), '"nobody"')
    expect_ok(client(app).get("/", headers=holding(issuer, subject="s")), '"s"')


# --- class-based views ------------------------------------------------------------------------------------------------


def class_based_view(router: APIRouter) -> Callable[[type[T]], type[T]]:
    """Return the usual decorator for class-based views: attributes become dependencies, `self` an instance."""

    def decorate(view: type[T]) -> type[T]:
        names = list(view.__annotations__)
        keyword = inspect.Parameter.KEYWORD_ONLY
        needed = [
            inspect.Parameter(name, keyword, annotation=view.__annotations__[name], default=getattr(view, name))
            for name in names
        ]
        view.__signature__ = inspect.Signature(needed)  # type: ignore[attr-defined]
        view.__init__ = lambda self, **given: vars(self).update(given)  # type: ignore[method-assign]
        for route in list(router.routes):
            if isinstance(route, APIRoute) and route.endpoint in vars(view).values():
                signature = inspect.signature(route.endpoint)
                first, *others = signature.parameters.values()
                parameters = [first.replace(kind=keyword, default=Depends(view)), *others]
                parameters[1:] = [parameter.replace(kind=keyword) for parameter in others]
                route.endpoint.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
                router.routes.remove(route)
                router.add_api_route(route.path, route.endpoint, methods=list(route.methods or ()))
        return view

    return decorate


def test_a_class_based_view_requires_for_all_its_operations(issuer: LocalIssuer) -> None:
    app, router, calls = guarded(issuer), APIRouter(), Calls()

    @class_based_view(router)
    class Orders:
        token: AccessToken = Security(requires("orders"))
        maybe: AccessToken | None = Depends(access_token)

        @router.get("/orders")
        @requires("read")
        async def read(self, number: int) -> list[Any]:
            calls.note()
            return [self.token.subject, self.token is self.maybe, number]

        @router.post("/orders")
        def write(self) -> str:
            calls.note()
            return self.token.subject

    app.include_router(router)
    asked = client(app)
    expect_missing(asked.get("/orders"), "orders read")
    expect_forbidden(asked.get("/orders", headers=holding(issuer, "read")), "orders", "read")
    expect_forbidden(asked.get("/orders", headers=holding(issuer, "orders")), "orders", "read")
    expect_missing(asked.post("/orders"), "orders")
    expect_forbidden(asked.post("/orders", headers=holding(issuer, "read")), "orders")
    assert not calls
    answer = asked.get("/orders?number=1", headers=holding(issuer, "orders", "read", subject="s"))
    assert answer.json() == ["s", True, 1]
    expect_ok(asked.post("/orders", headers=holding(issuer, "orders", subject="s")), '"s"')


def test_a_class_based_view_may_be_public(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter()

    @class_based_view(router)
    class Visits:
        token: AccessToken | None = Depends(access_token)

        @router.get("/open")
        @public
        async def opened(self) -> str:
            return "nobody" if self.token is None else self.token.subject

    app.include_router(router)
    expect_ok(client(app).get("/open"), '"nobody"')
    expect_ok(client(app).get("/open", headers=holding(issuer, subject="s")), '"s"')


# --- streams and what runs afterwards ---------------------------------------------------------------------------------


def streams(calls: Calls) -> dict[str, Callable[..., Any]]:
    async def lines(token: Annotated[AccessToken, Security(X)]) -> AsyncIterator[str]:
        calls.note()
        yield token.subject

    def sync_lines(token: Annotated[AccessToken, Security(X)]) -> Iterator[str]:
        calls.note()
        yield token.subject

    async def response(token: Annotated[AccessToken, Security(X)]) -> Response:
        async def parts() -> AsyncIterator[str]:
            calls.note()
            yield f'"{token.subject}"'

        return StreamingResponse(parts())

    def sync(token: Annotated[AccessToken, Security(X)]) -> str:
        calls.note()
        return token.subject

    return {"lines": lines, "sync lines": sync_lines, "response": response, "sync": sync}


@pytest.mark.parametrize("shape", ["lines", "sync lines", "response", "sync"])
def test_streams_begin_after_the_decision(issuer: LocalIssuer, shape: str) -> None:
    app, calls = guarded(issuer), Calls()
    app.get("/")(streams(calls)[shape])
    expect_missing(client(app).get("/"), "x")
    expect_forbidden(client(app).get("/", headers=holding(issuer)), "x")
    assert not calls
    assert client(app).get("/", headers=holding(issuer, "x", subject="s")).text.strip() == '"s"'


def test_server_sent_events(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer, [Security(X)]), Calls()

    @app.get("/", response_class=EventSourceResponse)
    async def events(token: Annotated[AccessToken, Depends(access_token)]) -> AsyncIterator[ServerSentEvent]:
        calls.note()
        yield ServerSentEvent(data=token.subject)

    expect_missing(client(app).get("/"), "x")
    expect_forbidden(client(app).get("/", headers=holding(issuer)), "x")
    assert not calls
    answer = client(app).get("/", headers=holding(issuer, "x", subject="s"))
    assert (answer.headers["content-type"].partition(";")[0], answer.text.strip()) == ("text/event-stream", 'data: "s"')


@pytest.mark.parametrize("is_async", [True, False])
def test_background_tasks_call_guarded_helpers_as_the_caller(issuer: LocalIssuer, is_async: bool) -> None:
    app, calls = guarded(issuer, [Security(X)]), Calls()

    @requires("mail")
    def mail(name: str) -> None:
        calls.note(name)

    @requires("mail")
    async def async_mail(name: str) -> None:
        calls.note(name)

    @app.get("/")
    async def root(tasks: BackgroundTasks, token: Annotated[AccessToken, Depends(access_token)]) -> str:
        tasks.add_task(async_mail if is_async else mail, token.subject)
        return "answered"

    expect_ok(client(app).get("/", headers=holding(issuer, "x", "mail", subject="s")), '"answered"')
    assert calls.names == ["s"]
    with pytest.raises(InsufficientScope):  # the answer has left; the task does not run
        client(app).get("/", headers=holding(issuer, "x"))
    assert calls.names == ["s"]


# --- WebSockets, and what is beside -----------------------------------------------------------------------------------


def test_websockets_are_refused_before_their_dependencies_run(issuer: LocalIssuer) -> None:
    app, router, calls = guarded(issuer, [Security(requires("a"))]), APIRouter(), Calls()

    async def session(token: Annotated[AccessToken, Security(requires("n"))]) -> AsyncIterator[str]:
        calls.note()
        yield token.subject

    @router.websocket("/talk/{number}", dependencies=[Security(requires("r"))])
    @requires("d")
    async def talk(websocket: WebSocket, number: int, name: Annotated[str, Depends(session)]) -> None:
        await websocket.accept()
        await websocket.send_text(f"{name}{number}")
        await websocket.close()

    app.include_router(router, prefix="/in", dependencies=[Security(requires("i"))])
    needed, asked = ("a", "i", "r", "n", "d"), client(app)
    for path in ("/in/talk/1", "/in/talk/notanumber"):
        with pytest.raises(WebSocketDenialResponse) as unknown, asked.websocket_connect(path):
            pass
        expect_missing(unknown.value, " ".join(needed))
        for lacking in needed:
            headers = holding(issuer, *(set(needed) - {lacking}))
            with pytest.raises(WebSocketDenialResponse) as denied, asked.websocket_connect(path, headers=headers):
                pass
            expect_forbidden(denied.value, *needed)
    assert not calls
    with asked.websocket_connect("/in/talk/1", headers=holding(issuer, *needed, subject="s")) as talking:
        assert talking.receive_text() == "s1"


def test_an_endpoint_class_beside_asks_for_what_its_routers_require(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer, [Security(X)]), APIRouter()

    class Beside(HTTPEndpoint):
        @requires("get")
        async def get(self, request: Request) -> Response:
            return PlainTextResponse("beside")

        async def post(self, request: Request) -> Response:
            raise NotImplementedError

    router.routes.append(Route("/beside", Beside))
    router.get("/operation")(lambda: "ran")
    app.include_router(router, dependencies=[Security(requires("i"))])
    asked = client(app)
    expect_missing(asked.get("/operation"), "x i")
    expect_missing(asked.get("/beside"), "x i get")  # although FastAPI runs dependencies for its own routes only
    expect_forbidden(asked.get("/beside", headers=holding(issuer, "get")), "x", "i", "get")
    expect_ok(asked.get("/beside", headers=holding(issuer, "x", "i", "get")), "beside")
    expect_no_policy(asked.post("/beside", headers=holding(issuer, "x", "i")))


# --- route classes ----------------------------------------------------------------------------------------------------


class LoggingRoute(APIRoute):
    """Overrides what FastAPI documents for overriding. Reads the body itself."""

    calls = Calls()

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def logging(request: Request) -> Response:
            self.calls.note((await request.body()).decode())
            return await handle(request)

        return logging


class HandlingRoute(APIRoute):
    """Overrides what every route has, and does something before its application."""

    calls = Calls()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note("handle")
        await super().handle(scope, receive, send)


class AnsweringRoute(APIRoute):
    """Answers without FastAPI's handler, and so without any dependency."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def answering(request: Request) -> Response:
            return JSONResponse("answered")

        return answering


@pytest.mark.parametrize("kind", [LoggingRoute, HandlingRoute, AnsweringRoute])
def test_no_route_class_lets_in_more_than_is_stated(issuer: LocalIssuer, kind: type[APIRoute]) -> None:
    app, router = guarded(issuer), APIRouter(route_class=kind)
    calls: Calls = getattr(kind, "calls", Calls())
    calls.names.clear()

    @router.post("/orders", dependencies=[Security(requires("own"))])
    async def orders() -> str:
        return "answered"

    app.include_router(router, prefix="/a", dependencies=[Security(requires("a"))])
    app.include_router(router, prefix="/b", dependencies=[Security(requires("b"))])
    asked = client(app)
    for mine, other in (("a", "b"), ("b", "a")):
        path = f"/{mine}/orders"
        assert asked.post(path).status_code == 401
        for held in ((), ("own",), ("own", other), (mine,), (mine, other)):
            refused = asked.post(path, headers=holding(issuer, *held), content=b"body")
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
            assert set(refused.json()["required"][0]) - set(held) <= {"own", mine}
    assert not calls
    for mine in ("a", "b"):
        expect_ok(asked.post(f"/{mine}/orders", headers=holding(issuer, "own", mine), content=b"body"), '"answered"')
    if kind is LoggingRoute:
        assert calls.names == ["body", "body"]


def test_what_only_an_inclusion_states_opens_a_route_that_handles_itself_there_alone(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter(route_class=HandlingRoute)
    HandlingRoute.calls.names.clear()
    router.get("/bare")(lambda: "ran")
    app.include_router(router, prefix="/a", dependencies=[Security(X)])
    app.include_router(router, prefix="/b", dependencies=[Security(authenticated)])
    app.include_router(router, prefix="/c")
    asked = client(app)
    expect_missing(asked.get("/a/bare"), "x")
    expect_forbidden(asked.get("/a/bare", headers=holding(issuer)), "x")
    expect_missing(asked.get("/b/bare"))
    expect_no_policy(asked.get("/c/bare", headers=holding(issuer, "x")))
    assert not HandlingRoute.calls
    expect_ok(asked.get("/a/bare", headers=holding(issuer, "x")), '"ran"')
    expect_ok(asked.get("/b/bare", headers=holding(issuer)), '"ran"')
    table = {entry.path: entry.policy for entry in route_table(app).entries if entry.path.endswith("/bare")}
    assert table == {"/a/bare": "'x'", "/b/bare": "any valid token", "/c/bare": "states nothing, so it is refused"}
    app.include_router(router, prefix="/d", dependencies=[Security(requires("d"))])
    expect_missing(asked.get("/d/bare"), "d")
    expect_ok(asked.get("/d/bare", headers=holding(issuer, "d")), '"ran"')
    expect_ok(asked.get("/a/bare", headers=holding(issuer, "x")), '"ran"')


def test_a_public_route_that_handles_itself_contradicts_what_an_inclusion_states(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter(route_class=HandlingRoute)
    router.get("/open")(public(lambda: "ran"))
    app.include_router(router, prefix="/free")
    expect_ok(client(app).get("/free/open"), '"ran"')
    app.include_router(router, prefix="/a", dependencies=[Security(X)])
    with pytest.raises(ConfigurationError, match=r"^/a/open: the route is both @public and guarded"):
        client(app).get("/free/open")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_route_that_handles_itself_is_served_by_itself_and_where_it_is_included(
    issuer: LocalIssuer, is_first: bool
) -> None:
    app, router = guarded(issuer), APIRouter(route_class=HandlingRoute)
    router.get("/route")(requires("own")(lambda: "ran"))
    if is_first:
        app.mount("/mounted", router)
    app.include_router(router, prefix="/in", dependencies=[Security(requires("i"))])
    if not is_first:
        app.mount("/mounted", router)
    asked = client(app)
    expect_missing(asked.get("/in/route"), "i own")
    expect_missing(asked.get("/mounted/route"), "own")
    expect_ok(asked.get("/mounted/route", headers=holding(issuer, "own")), '"ran"')
    expect_forbidden(asked.get("/in/route", headers=holding(issuer, "own")), "i", "own")


def test_an_inclusion_that_is_made_anew_is_guarded_before_it_serves(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter(route_class=HandlingRoute)
    router.get("/route")(requires("own")(lambda: "ran"))
    app.include_router(router, prefix="/in", dependencies=[Security(requires("i"))])

    class Adding:
        """A middleware behind ours that has routes made anew, after ours has looked."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                router._mark_routes_changed()
            await self.app(scope, receive, send)

    app.user_middleware.append(Middleware(Adding))
    asked = client(app)
    expect_forbidden(asked.get("/in/route", headers=holding(issuer)), "i", "own")
    expect_forbidden(asked.get("/in/route", headers=holding(issuer, "own")), "i", "own")
    expect_ok(asked.get("/in/route", headers=holding(issuer, "own", "i")), '"ran"')


def test_a_handler_made_anew_is_decided_by_its_dependency(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer), Calls()
    app.get("/", dependencies=[Security(X)])(calls.note)
    asked = client(app)
    expect_missing(asked.get("/"), "x")
    from fastapi.routing import request_response

    route = app.routes[-1]
    assert isinstance(route, APIRoute)
    route.app = request_response(route.get_route_handler())  # as libraries do that wrap a route after the start
    expect_missing(asked.get("/"), "x")
    expect_forbidden(asked.get("/", headers=holding(issuer)), "x")
    assert not calls
    assert ask(app, http_scope("/", [bearer(issuer, permissions=["x"])])).status == 200
