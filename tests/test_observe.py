"""What is told of decisions: the hook, the log line, the span. Nothing of it changes an answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    access_token,
    authorize,
    public,
    requires,
)
from authz_middleware.context import RequestContext
from authz_middleware.errors import ANSWERS, Code, InsufficientScope, Reason, Refused
from authz_middleware.observation import METHODS
from authz_middleware.testing import LocalIssuer

from .apps import (
    PREFLIGHT,
    Foreign,
    InFront,
    ask,
    bare,
    client,
    endpoint,
    expect_forbidden,
    expect_missing,
    http_scope,
    messages_of,
    starlette_app,
    websocket_scope,
)
from .watching import AUTHZ, CASES, Case, Lines, Watch, granting, lines, nested, options_for, routes, token, watched

__all__ = ["lines"]  # a fixture

X: dict[str, Any] = {"scope": "x", "permissions": ["x"]}
Y: dict[str, Any] = {"scope": "y", "permissions": ["y"]}


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_there_is_a_case_for_every_code() -> None:
    assert {case.code for case in CASES} == set(Code)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_a_refusal_is_told_once_with_all_its_fields(issuer: LocalIssuer, lines: Lines, case: Case, kind: str) -> None:
    served = [*routes(), *(WebSocketRoute(route.path, route.endpoint) for route in routes())]
    app, watch = watched(issuer, *served, **options_for(issuer, case))
    make = http_scope if kind == "http" else websocket_scope
    answer = ask(app, make(case.path, case.headers(issuer)), messages_of({"type": "websocket.connect"}))
    assert answer.status == ANSWERS[case.code].status
    decision = watch.only
    assert (decision.allowed, decision.enforced, decision.code) == (False, True, case.code)
    assert decision.method == ("GET" if kind == "http" else "WEBSOCKET")
    assert (decision.route, repr(decision.policy)) == (case.route, case.policy)
    assert decision.issuer == (issuer.issuer if case.issuer else None)
    assert decision.dialect == case.dialect
    is_valid = case.code in {Code.INSUFFICIENT_SCOPE, Code.NO_POLICY}
    assert (decision.token is not None) == is_valid
    assert (decision.detail is not None) == (case.code is Code.INSUFFICIENT_SCOPE)
    assert isinstance(decision.reason, Reason)
    (line,) = lines.at(logging.INFO)
    assert line == (
        f"refused {decision.method} {case.route}: code={case.code} reason={decision.reason} policy={case.policy} "
        f"issuer={decision.issuer or '-'} dialect={case.dialect or '-'}"
    )


def test_a_decision_explains_itself(issuer: LocalIssuer) -> None:
    app, watch = watched(issuer, *routes())
    expect_forbidden(client(app).get("/x/1", headers=issuer.headers(**Y)), "x")
    decision = watch.only
    assert decision.token is not None
    assert decision.token.subject == "auth0|jo"
    assert decision.detail is not None
    assert (decision.detail.allowed, decision.detail.scope) == (False, ("x",))
    assert decision.why == decision.detail.why
    assert decision.why == "'x' is neither in scope nor in permissions: the user does not have it"
    assert "token=" not in repr(decision)
    assert "auth0|jo" not in repr(decision)


def test_without_a_policy_the_sentence_is_the_answers(issuer: LocalIssuer) -> None:
    app, watch = watched(issuer, *routes(), Route("/open", public(endpoint)))
    client(app).get("/x/1")
    client(app).get("/open")
    assert [decision.why for decision in watch.seen] == [ANSWERS[Code.MISSING_TOKEN].detail, "access is granted"]


def test_where_no_route_is_there_is_no_template(issuer: LocalIssuer, lines: Lines) -> None:
    app, watch = watched(issuer, *routes())
    expect_missing(client(app).get("/nowhere/secret"))
    assert watch.told() == [("missing_token", None, "None")]
    assert lines.at(logging.INFO) == [
        "refused GET -: code=missing_token reason=no_credentials policy=None issuer=- dialect=-"
    ]


def test_what_is_not_decided_is_not_told(issuer: LocalIssuer, lines: Lines) -> None:
    app, watch = watched(issuer, *routes(), Route("/slash/", bare))
    asked, headers = client(app), issuer.headers(**X)
    assert asked.get("/nowhere", headers=headers).status_code == 404
    assert asked.post("/x/1", headers=headers).status_code == 405
    assert asked.get("/slash", headers=headers).status_code == 307
    assert not watch.seen
    assert not lines.at(logging.INFO)


@pytest.mark.parametrize(
    ("method", "told"),
    [
        *((method, method) for method in sorted(METHODS)),
        ("WEBSOCKET", "OTHER"),
        ("get", "OTHER"),
        ("PROPFIND", "OTHER"),
        ("A\nrefused", "OTHER"),
        ("", "OTHER"),
    ],
)
def test_only_methods_in_common_use_are_named(issuer: LocalIssuer, lines: Lines, method: str, told: str) -> None:
    app, watch = watched(issuer, *routes())
    assert ask(app, http_scope("/x/1", method=method)).status == 401
    assert watch.only.method == told
    assert lines.at(logging.INFO)[0].startswith(f"refused {told} ")


# --- grants -----------------------------------------------------------------------------------------------------------


XY: dict[str, Any] = {"permissions": ["x", "y"]}


@pytest.mark.parametrize(
    ("path", "route", "stated"),
    [
        ("/x/secret", "/x/{name}", "'x'"),
        ("/both", "/both", "'x' & 'y'"),
        ("/any", "/any", "authenticated"),
        ("/open", "/open", "public"),
        ("/methods", "/methods", "'x'"),
        ("/class", "/class", "'x'"),
        ("/sync", "/sync", "'x'"),
        ("/covered/bare", "/covered/bare", "'x'"),
        ("/covered/y", "/covered/y", "'x' & 'y'"),
        ("/any-covered/any", "/any-covered/any", "authenticated"),
        ("/open-covered/bare", "/open-covered/bare", "public"),
        ("/open-covered/open", "/open-covered/open", "public"),
        ("/open-covered/y", "/open-covered/y", "'y'"),
        ("/twice/deep/bare", "/twice/deep/bare", "'y'"),
        ("/outer/inner/z", "/outer/inner/z", "'x' & 'y'"),
        ("/plain/x/secret", "/plain/x/{name}", "'x'"),
        ("/foreign/secret", "/foreign/", "'x'"),
        ("/foreign-both/in/secret", "/foreign-both/in/", "'x' & 'y'"),
        ("/foreign-any/in/secret", "/foreign-any/in/", "authenticated"),
    ],
)
def test_a_granted_request_is_told_once(issuer: LocalIssuer, lines: Lines, path: str, route: str, stated: str) -> None:
    app, watch = watched(issuer, *granting())
    assert client(app).get(path, headers=issuer.headers(**XY)).status_code == 200
    decision = watch.only
    assert watch.told() == [("allowed", route, stated)]
    assert (decision.allowed, decision.enforced, decision.code, decision.reason) == (True, True, None, None)
    assert (decision.method, decision.issuer, decision.dialect) == ("GET", issuer.issuer, AUTHZ)
    assert decision.token is not None
    assert (decision.detail is None) == (stated == "public")
    assert not lines.at(logging.INFO)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/covered/y", ("insufficient_scope", "/covered/y", "'x'")),
        ("/foreign/secret", ("insufficient_scope", "/foreign/", "'x'")),
        ("/twice/deep/bare", ("insufficient_scope", "/twice/deep/bare", "'y'")),
        ("/open-covered/y", ("insufficient_scope", "/open-covered/y", "'y'")),
        ("/methods", ("insufficient_scope", "/methods", "'x'")),
    ],
)
def test_the_statement_that_refuses_is_told_alone(issuer: LocalIssuer, path: str, told: tuple[str, str, str]) -> None:
    app, watch = watched(issuer, *granting())
    assert client(app).get(path, headers=issuer.headers(permissions=["z"])).status_code == 403
    assert watch.told() == [told]


def test_a_mount_that_grants_before_its_route_refuses_is_not_told(issuer: LocalIssuer, lines: Lines) -> None:
    app, watch = watched(issuer, *granting())
    expect_forbidden(client(app).get("/covered/y", headers=issuer.headers(**X)), "x", "y")
    assert watch.told() == [("insufficient_scope", "/covered/y", "'y'")]
    assert len(lines.at(logging.INFO)) == 1


def test_a_host_is_a_part_of_the_template(issuer: LocalIssuer) -> None:
    app, watch = watched(issuer, *granting())
    headers = {"Host": "host.test", **issuer.headers(**X)}
    assert client(app).get("/h/secret", headers=headers).status_code == 200
    assert watch.told() == [("allowed", "host.test/h/{name}", "'x'")]


def test_the_anonymous_are_told_of_on_public_routes(issuer: LocalIssuer) -> None:
    app, watch = watched(issuer, *granting())
    assert client(app).get("/open").status_code == 200
    decision = watch.only
    assert watch.told() == [("allowed", "/open", "public")]
    assert (decision.token, decision.issuer, decision.dialect, decision.detail) == (None, None, None, None)
    assert client(app).post("/methods").status_code == 200
    assert watch.told()[1:] == [("allowed", "/methods", "public")]


def test_a_public_path_is_public(issuer: LocalIssuer) -> None:
    app, watch = watched(issuer, *granting(), public_paths=["/bare", "/foreign/*", "/nothing", "/x/1"])
    assert client(app).get("/bare").status_code == 200
    assert client(app).get("/nothing").status_code == 404
    assert client(app).get("/x/1", headers=issuer.headers(**X)).status_code == 200
    expect_missing(client(app).get("/x/1"), "x")
    expect_missing(client(app).get("/foreign/"), "x")
    assert watch.told() == [
        ("allowed", "/bare", "public"),
        ("allowed", None, "public"),
        ("allowed", "/x/{name}", "'x'"),
        ("missing_token", "/x/{name}", "'x'"),
        ("missing_token", "/foreign/", "'x'"),
    ]


def test_a_route_open_to_any_token(issuer: LocalIssuer) -> None:
    app, watch = watched(issuer, *granting(), undecorated="authenticated")
    assert client(app).get("/bare", headers=issuer.headers()).status_code == 200
    expect_missing(client(app).get("/bare"))
    assert watch.told() == [("allowed", "/bare", "authenticated"), ("missing_token", "/bare", "None")]


def test_the_policy_is_told_before_the_handler_runs_and_a_mounts_when_the_answer_begins(issuer: LocalIssuer) -> None:
    watch, order = Watch(), []

    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        order.append(len(watch.seen))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        order.append(len(watch.seen))
        await send({"type": "http.response.body", "body": b""})

    @requires("x")
    async def handler(request: Request) -> Response:
        order.append(len(watch.seen))
        return PlainTextResponse("ok")

    served = [Route("/", handler), Mount("/m", app=requires("x")(foreign))]
    app, _ = watched(issuer, *served, on_decision=watch)
    client(app).get("/", headers=issuer.headers(**X))
    client(app).get("/m/", headers=issuer.headers(**X))
    assert order == [1, 1, 2]
    assert watch.told() == [("allowed", "/", "'x'"), ("allowed", "/m/", "'x'")]


def test_a_mounted_application_that_fails_has_been_granted_access(issuer: LocalIssuer) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    app, watch = watched(issuer, Mount("/m", app=requires("x")(failing)))
    with pytest.raises(LookupError):
        client(app).get("/m/", headers=issuer.headers(**X))
    assert watch.told() == [("allowed", "/m/", "'x'")]


# --- in a handler -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permissions", "told"), [(["x", "y"], ("allowed", "'y'")), (["x"], ("insufficient_scope", "'y'"))]
)
@pytest.mark.parametrize("place", ["route", "mount", "foreign"])
def test_authorize_is_one_decision_more(
    issuer: LocalIssuer, place: str, permissions: list[str], told: tuple[str, str]
) -> None:
    async def authorizing(request: Request) -> Response:
        await authorize(request, "y")
        return PlainTextResponse("ok")

    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        await authorize(HTTPConnection(scope), "y")
        await PlainTextResponse("ok")(scope, receive, send)

    served: BaseRoute
    if place == "route":
        served = Route("/", requires("x")(authorizing))
    else:
        within: ASGIApp = foreign if place == "foreign" else Router([Route("/", authorizing)])
        served = Mount("/", app=requires("x")(within))
    app, watch = watched(issuer, served)
    client(app).get("/", headers=issuer.headers(permissions=permissions))
    assert [(outcome, stated) for outcome, _, stated in watch.told()] == [("allowed", "'x'"), told]


def test_what_a_handler_catches_is_told_all_the_same(issuer: LocalIssuer, lines: Lines) -> None:
    @requires("x")
    async def choosing(request: Request) -> Response:
        try:
            await authorize(request, "admin")
        except Refused:
            await authorize(request, "x")
        return PlainTextResponse("ok")

    app, watch = watched(issuer, Route("/", choosing))
    assert client(app).get("/", headers=issuer.headers(**X)).status_code == 200
    assert [outcome for outcome, *_ in watch.told()] == ["allowed", "insufficient_scope", "allowed"]
    assert len(lines.at(logging.INFO)) == 1


def test_a_refusal_raised_again_is_told_once(issuer: LocalIssuer, lines: Lines) -> None:
    @requires("x")
    async def passing_on(request: Request) -> Response:
        try:
            await authorize(request, "y")
        except Refused as refused:
            raise refused from None
        raise NotImplementedError

    app, watch = watched(issuer, Route("/", passing_on))
    expect_forbidden(client(app).get("/", headers=issuer.headers(**X)), "y")
    assert len(watch.seen) == 2
    assert len(lines.at(logging.INFO)) == 1


@pytest.mark.parametrize("place", ["route", "middleware"])
def test_a_refusal_of_the_applications_own_is_told(issuer: LocalIssuer, lines: Lines, place: str) -> None:
    async def refusing(request: Request) -> Response:
        raise InsufficientScope([["z"]], ["z"])

    async def in_front(scope: Scope, receive: Receive, send: Send) -> None:
        raise InsufficientScope([["z"]], ["z"])

    app: ASGIApp
    if place == "route":
        app, watch = watched(issuer, Route("/", requires("x")(refusing)))
    else:
        watch = Watch()
        app = AuthzMiddleware(InFront(in_front), issuers=[issuer.trusted()], on_decision=watch)
    expect_forbidden(ask(app, http_scope("/", token(issuer))), "z")
    assert watch.told()[-1][::2] == ("insufficient_scope", "None")
    assert len(lines.at(logging.INFO)) == 1


def test_an_anonymous_caller_of_a_handler_that_needs_a_token(issuer: LocalIssuer) -> None:
    @public
    async def handler(request: Request) -> Response:
        await access_token(request)
        raise NotImplementedError

    app, watch = watched(issuer, Route("/", handler))
    expect_missing(client(app).get("/"))
    assert watch.told() == [("allowed", "/", "public"), ("missing_token", "/", "None")]


def test_a_decorated_helper_is_one_decision_more(issuer: LocalIssuer) -> None:
    @requires("y")
    def helper() -> None:
        pass

    @requires("x")
    async def handler(request: Request) -> Response:
        helper()
        helper()
        return PlainTextResponse("ok")

    app, watch = watched(issuer, Route("/", handler))
    assert client(app).get("/", headers=issuer.headers(**XY)).status_code == 200
    assert [stated for *_, stated in watch.told()] == ["'x'", "'y'"]


def test_a_stream_that_is_cut_off_is_told_once(issuer: LocalIssuer, lines: Lines) -> None:
    @requires("x")
    async def streaming(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await authorize(request, "y")
            raise NotImplementedError

        return StreamingResponse(parts())

    app, watch = watched(issuer, Route("/", streaming))
    client(app, raise_server_exceptions=False).get("/", headers=issuer.headers(**X))
    assert [outcome for outcome, *_ in watch.told()] == ["allowed", "insufficient_scope"]
    assert len(lines.at(logging.INFO)) == 1


def test_a_connection_that_asks_for_ever_remembers_nothing(issuer: LocalIssuer) -> None:
    sizes = []

    @requires("x")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        asked: RequestContext = websocket.scope["authz_middleware"]
        for number in range(10):
            await authorize(websocket, "x" if number % 2 else "y")
            sizes.append(len(asked._met))
        await websocket.close()

    app, watch = watched(issuer, WebSocketRoute("/", talk))
    with client(app).websocket_connect("/", headers=issuer.headers(**XY)):
        pass
    assert len(set(sizes)) == 1
    assert len(watch.seen) == 11


# --- WebSockets, dependencies, trees ----------------------------------------------------------------------------------


class Talk(WebSocketEndpoint):
    @requires("x")
    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()


def test_websockets_are_told_of_once(issuer: LocalIssuer) -> None:
    @requires("x")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app, watch = watched(
        issuer,
        WebSocketRoute("/function/{name}", talk),
        WebSocketRoute("/class", Talk),
        Mount("/foreign", app=requires("x")(Foreign())),
    )
    for path, route in (("/function/s", "/function/{name}"), ("/class", "/class"), ("/foreign/s", "/foreign/")):
        with client(app).websocket_connect(path, headers=issuer.headers(**X)):
            pass
        assert watch.told() == [("allowed", route, "'x'")]
        assert watch.only.method == "WEBSOCKET"
        watch.seen.clear()


def test_a_server_without_denial_responses_refuses_once(issuer: LocalIssuer, lines: Lines) -> None:
    app, watch = watched(issuer, WebSocketRoute("/", Talk))
    for headers in ([], token(issuer, **Y)):
        answer = ask(app, websocket_scope("/", headers, denial=False), messages_of({"type": "websocket.connect"}))
        assert [message["type"] for message in answer.messages] == ["websocket.close"]
    assert [outcome for outcome, *_ in watch.told()] == ["missing_token", "insufficient_scope"]
    assert len(lines.at(logging.INFO)) == 2


def fastapi_app(issuer: LocalIssuer) -> tuple[FastAPI, Watch]:
    watch, app, router = Watch(), FastAPI(), APIRouter(dependencies=[Security(requires("x"))])

    @router.get("/items/{item}")
    @requires("y")
    async def read(item: str, caller: Annotated[AccessToken, Security(requires("x"))]) -> str:
        return caller.subject

    @router.get("/plain")
    async def plain(caller: Annotated[AccessToken, Depends(access_token)]) -> str:
        return caller.subject

    @router.websocket("/talk/{room}")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app.include_router(router, prefix="/v1")
    trusted = issuer.trusted(third_party_clients=set(), rbac_enforced=True)
    app.add_middleware(AuthzMiddleware, issuers=[trusted], on_decision=watch)
    return app, watch


@pytest.mark.parametrize(
    ("path", "route", "stated"),
    [("/v1/items/secret", "/v1/items/{item}", "'x' & 'y'"), ("/v1/plain", "/v1/plain", "'x'")],
)
def test_dependencies_are_part_of_the_one_decision(
    issuer: LocalIssuer, lines: Lines, path: str, route: str, stated: str
) -> None:
    app, watch = fastapi_app(issuer)
    assert client(app).get(path, headers=issuer.headers(**XY)).json() == "auth0|jo"
    assert watch.told() == [("allowed", route, stated)]
    assert not lines.at(logging.INFO)
    for headers in (issuer.headers(), {}):
        assert client(app).get(path, headers=headers).status_code in {401, 403}
    assert watch.told()[1:] == [("insufficient_scope", route, stated), ("missing_token", route, stated)]
    assert len(lines.at(logging.INFO)) == 2


def test_a_websocket_with_dependencies(issuer: LocalIssuer) -> None:
    app, watch = fastapi_app(issuer)
    with client(app).websocket_connect("/v1/talk/secret", headers=issuer.headers(**X)):
        pass
    assert watch.told() == [("allowed", "/v1/talk/{room}", "'x'")]
    assert watch.only.method == "WEBSOCKET"


# --- a middleware inside another --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "permissions", "by_outer", "by_inner"),
    [
        ("/plain/y", ["y"], [], [("allowed", "/y", "'y'")]),
        ("/plain/y", ["x"], [], [("insufficient_scope", "/y", "'y'")]),
        ("/plain/open", ["x"], [], [("allowed", "/open", "public")]),
        ("/plain/bare", ["x"], [], [("no_policy", "/bare", "None")]),
        ("/guarded/y", ["x", "y"], [("allowed", "/guarded/y", "'x'")], [("allowed", "/y", "'y'")]),
        ("/guarded/y", ["x"], [("allowed", "/guarded/y", "'x'")], [("insufficient_scope", "/y", "'y'")]),
        ("/guarded/y", ["y"], [("insufficient_scope", "/guarded/y", "'x'")], []),
        ("/plain/y", None, [("missing_token", "/plain/y", "'y'")], []),
        ("/plain/open", None, [], [("allowed", "/open", "public")]),
    ],
)
def test_each_middleware_tells_what_it_decides(
    issuer: LocalIssuer,
    lines: Lines,
    path: str,
    permissions: list[str] | None,
    by_outer: list[tuple[str, str, str]],
    by_inner: list[tuple[str, str, str]],
) -> None:
    app, outer, inner = nested(issuer)
    headers = {} if permissions is None else issuer.headers(permissions=permissions)
    answer = client(app).get(path, headers=headers)
    assert (outer.told(), inner.told()) == (by_outer, by_inner)
    refusals = [outcome for outcome, *_ in by_outer + by_inner if outcome != "allowed"]
    assert len(lines.at(logging.INFO)) == len(refusals) == (0 if answer.status_code == 200 else 1)


def test_a_token_refused_further_in_is_told_after_what_was_granted_around(issuer: LocalIssuer) -> None:
    order: list[str] = []
    stranger = LocalIssuer("https://stranger.test/")

    def note(name: str) -> Any:
        return lambda decision: order.append(f"{name} {decision.code or 'allowed'}")

    inner = starlette_app(
        issuer, Route("/", requires("y")(endpoint)), issuers=[stranger.trusted()], on_decision=note("in")
    )
    app = starlette_app(issuer, Mount("/m", app=requires("x")(inner)), on_decision=note("out"))
    assert client(app).get("/m/", headers=issuer.headers(**X)).json()["code"] == "untrusted_issuer"
    assert order == ["out allowed", "in untrusted_issuer"]


# --- the gate, preflights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "code"), [(True, "no_policy"), (False, "missing_token")])
def test_what_answers_in_front_of_the_routes_is_refused_once(
    issuer: LocalIssuer, lines: Lines, headers: bool, code: str
) -> None:
    watch = Watch()
    app = AuthzMiddleware(InFront(Foreign()), issuers=[issuer.trusted()], on_decision=watch)
    assert ask(app, http_scope("/", token(issuer) if headers else [])).json()["code"] == code
    assert watch.told() == [(code, None, "None")]
    assert len(lines.at(logging.INFO)) == 1


def test_what_answers_in_front_of_the_routes_may_be_a_public_path(issuer: LocalIssuer) -> None:
    watch = Watch()
    app = AuthzMiddleware(InFront(Foreign()), issuers=[issuer.trusted()], on_decision=watch, public_paths=["/"])
    assert ask(app, http_scope("/")).body == b"foreign"
    assert watch.told() == [("allowed", None, "public")]


def test_a_refusal_that_met_an_error_handler_first_is_told_once(issuer: LocalIssuer, lines: Lines) -> None:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await authorize(HTTPConnection(scope), "y")
        except Refused:
            await PlainTextResponse("failed", 500)(scope, receive, send)

    watch = Watch()
    app = AuthzMiddleware(InFront(wrapped), issuers=[issuer.trusted(third_party_clients=set())], on_decision=watch)
    expect_forbidden(ask(app, http_scope("/", token(issuer))), "y")
    assert watch.told() == [("insufficient_scope", None, "'y'")]
    assert len(lines.at(logging.INFO)) == 1


def test_preflights(issuer: LocalIssuer, lines: Lines) -> None:
    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        allow = scope["path"] == "/cors"
        await Response(headers={"Access-Control-Allow-Origin": "*"} if allow else {})(scope, receive, send)

    watch = Watch()
    app = AuthzMiddleware(InFront(answering), issuers=[issuer.trusted()], on_decision=watch)
    assert client(app).options("/cors", headers=PREFLIGHT).status_code == 200
    assert not watch.seen
    expect_missing(client(app).options("/other", headers=PREFLIGHT))
    assert watch.told() == [("missing_token", None, "None")]
    assert len(lines.at(logging.INFO)) == 1


def test_an_application_whose_routes_cannot_be_seen(issuer: LocalIssuer) -> None:
    watch = Watch()
    app = AuthzMiddleware(
        requires("x")(Foreign()), issuers=[issuer.trusted(third_party_clients=set())], on_decision=watch
    )
    assert ask(app, http_scope("/secret", token(issuer))).status == 200
    assert ask(app, http_scope("/secret", token(issuer, **Y))).status == 403
    assert ask(app, http_scope("/secret")).status == 401
    assert watch.told() == [
        ("allowed", None, "'x'"),
        ("insufficient_scope", None, "'x'"),
        ("missing_token", None, "'x'"),
    ]
