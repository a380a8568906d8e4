"""`authorize(…, hide=True)`: where existence is a secret, a refusal looks like nothing at all, to the byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from authz_middleware import AuthzMiddleware, authenticated, authorize, policy, public
from authz_middleware.testing import LocalIssuer

from .apps import Answer, ask, authz, bearer, client, expect_forbidden, http_scope, starlette_app, websocket_scope
from .watching import Watch


async def no_answer(request: policy.AccessRequest) -> bool:
    return False


@authenticated
async def secret(request: Request) -> Response:
    await authorize(request, policy.any_of("x"), hide=True)
    return PlainTextResponse("the secret")


@authenticated
async def checked(request: Request) -> Response:
    await authorize(request, policy.check(no_answer) | "x", hide=True)
    return PlainTextResponse("the secret")


@authenticated
async def grouped(request: Request) -> Response:
    async def decide() -> None:
        await authorize(request, "x", hide=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(decide())
    return PlainTextResponse("the secret")


@authenticated
def plain(request: Request) -> Response:
    authorize(request, "x", hide=True)  # a sync handler
    return PlainTextResponse("the secret")


@public
async def open_to_all(request: Request) -> Response:
    await authorize(request, "x", hide=True)
    return PlainTextResponse("the secret")


ROUTES: list[BaseRoute] = [
    Route(f"/{handler.__name__}", handler, methods=["GET", "HEAD", "POST"])
    for handler in (secret, checked, grouped, plain, open_to_all)
]


async def custom(request: Request, error: Exception) -> Response:
    return JSONResponse({"nothing": request.method}, 404, headers={"x-own": "yes"})


def bare_starlette(issuer: LocalIssuer) -> ASGIApp:
    return starlette_app(issuer, *ROUTES)


def starlette_by_status(issuer: LocalIssuer) -> ASGIApp:
    return Starlette(routes=ROUTES, middleware=[authz(issuer)], exception_handlers={404: custom})


def starlette_by_class(issuer: LocalIssuer) -> ASGIApp:
    return Starlette(routes=ROUTES, middleware=[authz(issuer)], exception_handlers={HTTPException: custom})


def bare_fastapi(issuer: LocalIssuer) -> ASGIApp:
    return FastAPI(routes=ROUTES, middleware=[authz(issuer)], openapi_url=None)


def fastapi_by_status(issuer: LocalIssuer) -> ASGIApp:
    return FastAPI(routes=ROUTES, middleware=[authz(issuer)], openapi_url=None, exception_handlers={404: custom})


def mounted_in_another(issuer: LocalIssuer) -> ASGIApp:
    inner = FastAPI(routes=ROUTES, openapi_url=None, exception_handlers={404: custom})
    return starlette_app(issuer, Mount("/", inner))


def router_without_application(issuer: LocalIssuer) -> ASGIApp:
    return AuthzMiddleware(Router(ROUTES), issuers=[issuer.trusted(third_party_clients=set())])


APPS = [
    bare_starlette,
    starlette_by_status,
    starlette_by_class,
    bare_fastapi,
    fastapi_by_status,
    mounted_in_another,
    router_without_application,
]


def answer_of(app: ASGIApp, issuer: LocalIssuer, path: str, method: str = "GET", **claims: Any) -> Answer:
    return ask(app, http_scope(path, [bearer(issuer, **claims)], method=method))


@pytest.mark.parametrize("make", APPS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/secret", "/checked", "/grouped", "/plain", "/open_to_all"])
def test_a_hidden_refusal_is_the_application_s_own_404(
    make: Callable[[LocalIssuer], ASGIApp], method: str, path: str, issuer: LocalIssuer
) -> None:
    app = make(issuer)
    nothing = answer_of(app, issuer, "/nothing-here", method)
    assert nothing.status == 404
    assert answer_of(app, issuer, path, method).messages == nothing.messages
    assert answer_of(app, issuer, path, method, permissions=["x"]).status == 200


@pytest.mark.parametrize("make", APPS)
def test_so_is_it_for_the_anonymous_on_a_public_route(
    make: Callable[[LocalIssuer], ASGIApp], issuer: LocalIssuer
) -> None:
    app = make(issuer)
    answer = ask(app, http_scope("/open_to_all"))
    assert answer.messages == answer_of(app, issuer, "/nothing-here").messages


@pytest.mark.parametrize("hides", [False, True])
def test_another_failure_in_a_task_group_is_none_of_these(hides: bool, issuer: LocalIssuer) -> None:
    """Nor is it lost where something was hidden, too."""

    @authenticated
    async def failing(request: Request) -> Response:
        async def fail() -> None:
            raise LookupError

        async def decide() -> None:
            await authorize(request, "x", hide=True)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                if hides:
                    group.create_task(decide())
        except ExceptionGroup as failed:
            raise failed from KeyError("what led to it")
        raise NotImplementedError

    routes = [Route("/failing", failing)]
    for app in (AuthzMiddleware(Router(routes), issuers=[issuer.trusted()]), starlette_app(issuer, *routes)):
        with pytest.raises(ExceptionGroup, match="unhandled errors") as raised:
            answer_of(app, issuer, "/failing")
        assert isinstance(raised.value.__cause__, KeyError)


@authenticated
async def live(websocket: WebSocket) -> None:
    await authorize(websocket, "x", hide=True)
    await websocket.accept()
    await authorize(websocket, "y", hide=True)
    await websocket.close(1001)


def test_a_websocket_that_is_hidden_closes_as_where_there_is_none(issuer: LocalIssuer) -> None:
    route = WebSocketRoute("/live", live)
    for app in (
        starlette_app(issuer, route),
        FastAPI(routes=[route], middleware=[authz(issuer)], openapi_url=None),
        AuthzMiddleware(Router([route]), issuers=[issuer.trusted(third_party_clients=set())]),
    ):
        for denial in (True, False):

            def messages(path: str, app: ASGIApp = app, denial: bool = denial, **claims: Any) -> list[Any]:
                async def connect() -> Any:
                    return {"type": "websocket.connect"}

                return ask(app, websocket_scope(path, [bearer(issuer, **claims)], denial=denial), connect).messages

            assert (
                messages("/live") == messages("/nothing") == [{"type": "websocket.close", "code": 1000, "reason": ""}]
            )
            accepted, closed = messages("/live", permissions=["x", "y"])
            assert (accepted["type"], closed["code"]) == ("websocket.accept", 1001)


def test_a_connection_that_stands_is_closed_without_a_word(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, WebSocketRoute("/live", live)))
    with app.websocket_connect("/live", headers=issuer.headers(permissions=["x"])) as connected:
        assert connected.receive() == {"type": "websocket.close", "code": 1000, "reason": ""}


def test_whoever_operates_this_is_told_the_truth_once(issuer: LocalIssuer) -> None:
    watch = Watch()
    app = client(starlette_app(issuer, *ROUTES, on_decision=watch))
    assert app.get("/secret", headers=issuer.headers()).status_code == 404
    assert watch.told() == [("allowed", "/secret", "authenticated"), ("insufficient_scope", "/secret", "'x'")]
    assert watch.seen[1].detail is not None
    watch.seen.clear()
    assert app.get("/open_to_all").status_code == 404
    assert watch.told() == [("allowed", "/open_to_all", "public"), ("missing_token", "/open_to_all", "'x'")]


def test_where_refusals_are_only_reported_nothing_is_hidden(issuer: LocalIssuer) -> None:
    watch = Watch()
    app = client(starlette_app(issuer, *ROUTES, on_decision=watch, enforce=False))
    assert app.get("/secret", headers=issuer.headers()).text == "the secret"
    assert watch.told() == [("allowed", "/secret", "authenticated"), ("would be insufficient_scope", "/secret", "'x'")]


def test_without_hide_it_is_told(issuer: LocalIssuer) -> None:
    @authenticated
    async def told(request: Request) -> Response:
        await authorize(request, "x", hide=False)
        raise NotImplementedError

    app = client(starlette_app(issuer, Route("/", told)))
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")


def test_a_handler_may_answer_by_itself(issuer: LocalIssuer) -> None:
    @authenticated
    async def own(request: Request) -> Response:
        try:
            await authorize(request, "x", hide=True)
        except HTTPException as hidden:
            return PlainTextResponse(f"own words: {hidden.detail}", hidden.status_code)
        raise NotImplementedError

    app = client(starlette_app(issuer, Route("/", own)))
    answer = app.get("/", headers=issuer.headers())
    assert (answer.status_code, answer.text) == (404, "own words: Not Found")


def test_a_handler_of_404_that_fails_tells_no_refusal(issuer: LocalIssuer) -> None:
    async def fails(request: Request, error: Exception) -> Response:
        raise LookupError

    app = Starlette(routes=ROUTES, middleware=[authz(issuer)], exception_handlers={404: fails})
    asked = client(app, raise_server_exceptions=False)
    for path in ("/nothing", "/secret"):
        answer = asked.get(path, headers=issuer.headers())
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")


def test_nor_does_an_application_within_ours(issuer: LocalIssuer) -> None:
    async def fails(request: Request, error: Exception) -> Response:
        raise LookupError

    async def crashed(request: Request, error: Exception) -> Response:
        return PlainTextResponse("crashed", 500)

    inner = Starlette(routes=ROUTES, exception_handlers={404: fails, 500: crashed})
    asked = client(starlette_app(issuer, Mount("/", inner)), raise_server_exceptions=False)
    for path in ("/nothing", "/secret"):
        answer = asked.get(path, headers=issuer.headers())
        assert (answer.status_code, answer.text) == (500, "crashed")


def test_an_answer_that_has_begun_is_cut_off(issuer: LocalIssuer) -> None:
    class Begins(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await authorize(Request(scope), "x", hide=True)
            raise NotImplementedError

    @authenticated
    async def late(request: Request) -> Response:
        return Begins()

    for app in (
        starlette_app(issuer, Route("/", late)),
        AuthzMiddleware(Router([Route("/", late)]), issuers=[issuer.trusted()]),
    ):
        with pytest.raises((RuntimeError, HTTPException)):
            asyncio.run(app(http_scope("/", [bearer(issuer)]), _nothing, _ignore))


async def _nothing() -> Any:
    raise NotImplementedError


async def _ignore(message: object) -> None:
    """Be a client that reads nothing."""
