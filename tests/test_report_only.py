"""`enforce=False`: everything is decided, told and counted as it would be, and everything is served."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Security, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from authz_middleware import AccessToken, AuthzMiddleware, access_token, authorize, public, requires
from authz_middleware.errors import Code
from authz_middleware.testing import LocalIssuer

from .apps import (
    PREFLIGHT,
    Foreign,
    InFront,
    ask,
    authz,
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
from .watching import (
    CASES,
    Case,
    Headers,
    Lines,
    Watch,
    expect_fault,
    granting,
    lines,
    options_for,
    raw,
    token,
    watched,
)

__all__ = ["lines"]  # a fixture

X: dict[str, Any] = {"scope": "x", "permissions": ["x"]}
Y: dict[str, Any] = {"scope": "y", "permissions": ["y"]}


def reporting(issuer: LocalIssuer, *served: BaseRoute, **options: Any) -> tuple[Starlette, Watch]:
    """Return an application that only reports, and what it tells."""
    return watched(issuer, *served, **options, enforce=False)


def guard_of(app: Starlette) -> AuthzMiddleware:
    """Return the middleware of an application that has begun to serve."""
    stack: Any = app.middleware_stack
    while not isinstance(stack, AuthzMiddleware):
        stack = stack.app
    return stack


async def caller(request: Request) -> Response:
    """Answer with what a handler sees of its caller."""
    return JSONResponse([request.auth.token and request.auth.token.subject, request.user.is_authenticated])


async def undecorated_caller(request: Request) -> Response:
    """Answer like `caller`; this one is never decorated anywhere."""
    return await caller(request)


# --- what would be refused is served and told once --------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_what_would_be_refused_is_served_logged_and_counted(issuer: LocalIssuer, lines: Lines, case: Case) -> None:
    served = [Route("/x/{name}", requires("x")(caller)), Route("/bare/{name}", undecorated_caller)]
    app, watch = reporting(issuer, *served, **options_for(issuer, case))
    is_valid = case.code in {Code.INSUFFICIENT_SCOPE, Code.NO_POLICY}
    for number in (1, 2):
        answer = ask(app, http_scope(case.path, case.headers(issuer)))
        assert (answer.status, answer.json()) == (200, ["auth0|jo", True] if is_valid else [None, False])
        assert answer.headers.keys() == {"content-length", "content-type"}
        decision = watch.only
        assert (decision.allowed, decision.enforced, decision.code) == (False, False, case.code)
        assert watch.told() == [(f"would be {case.code}", case.route, case.policy)]
        assert lines.at(logging.INFO)[-1] == (
            f"would refuse ({number}) GET {case.route}: code={case.code} reason={decision.reason} "
            f"policy={case.policy} issuer={decision.issuer or '-'} dialect={decision.dialect or '-'}"
        )
        watch.seen.clear()
    assert len(lines.at(logging.INFO)) == 2
    assert guard_of(app).would_refuse == {(case.code, case.route): 2}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_a_websocket_that_would_be_refused_is_accepted(issuer: LocalIssuer, lines: Lines, case: Case) -> None:
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    async def undecorated(websocket: WebSocket) -> None:
        await talk(websocket)

    served = [WebSocketRoute("/x/{name}", requires("x")(talk)), WebSocketRoute("/bare/{name}", undecorated)]
    app, watch = reporting(issuer, *served, **options_for(issuer, case))
    answer = ask(app, websocket_scope(case.path, case.headers(issuer)), messages_of({"type": "websocket.connect"}))
    assert [message["type"] for message in answer.messages] == ["websocket.accept", "websocket.close"]
    assert watch.told() == [(f"would be {case.code}", case.route, case.policy)]
    assert watch.only.method == "WEBSOCKET"
    assert len(lines.at(logging.INFO)) == 1


HEADERS: dict[str, Any] = {
    "x": token,
    "x and y": lambda issuer: token(issuer, permissions=["x", "y"]),
    "y": lambda issuer: token(issuer, **Y),
    "nothing": lambda issuer: token(issuer, scope=None, permissions=[]),
    "anonymous": lambda issuer: [],
    "bad": lambda issuer: raw("bad"),
    "malformed": lambda issuer: raw(" bad"),
}
PATHS = [
    "/x/1",
    "/both",
    "/any",
    "/open",
    "/bare",
    "/methods",
    "/class",
    "/covered/bare",
    "/covered/y",
    "/open-covered/bare",
    "/open-covered/y",
    "/any-covered/any",
    "/twice/deep/bare",
    "/outer/inner/z",
    "/foreign/1",
    "/foreign-both/in/1",
    "/public",
    "/nowhere",
]


@pytest.mark.parametrize("undecorated", ["refuse", "authenticated"])
@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("path", PATHS)
def test_what_is_told_is_what_enforcing_would_do(
    issuer: LocalIssuer, path: str, headers: str, undecorated: str
) -> None:
    options = {"undecorated": undecorated, "public_paths": ["/public"]}
    enforcing, done = watched(issuer, *granting(), Route("/public", bare), **options)
    only_reporting, reported = reporting(issuer, *granting(), Route("/public", bare), **options)
    scope = http_scope(path, HEADERS[headers](issuer))
    refused = ask(enforcing, dict(scope)).status
    served = ask(only_reporting, dict(scope)).status
    assert served == (404 if path == "/nowhere" else 200)
    assert reported.told() == [(o if o == "allowed" else f"would be {o}", *more) for o, *more in done.told()]
    assert len(reported.seen) <= 1
    assert bool(guard_of(only_reporting).would_refuse) == (refused in {400, 401, 403})


# --- no token where there is none -------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("headers", ["anonymous", "bad"])
@pytest.mark.parametrize("path", ["/depends", "/security", "/awaited", "/sync", "/open"])
def test_a_handler_that_needs_a_token_gets_none_and_answers_401(
    issuer: LocalIssuer, lines: Lines, path: str, headers: str, depth: int
) -> None:
    app, inner, watch = FastAPI(), FastAPI(), Watch()

    @inner.get("/depends")
    @requires("x")
    async def depends(caller: Annotated[AccessToken, Depends(access_token)]) -> None:
        raise NotImplementedError

    @inner.get("/security")
    async def security(caller: Annotated[AccessToken, Security(requires("x"))]) -> None:
        raise NotImplementedError

    @inner.get("/awaited")
    @requires("x")
    async def awaited(request: Request) -> None:
        await access_token(request)
        raise NotImplementedError

    @inner.get("/sync")
    @requires("x")
    def sync(caller: Annotated[AccessToken, Depends(access_token)]) -> None:
        raise NotImplementedError

    @inner.get("/open")
    @public
    def opened(caller: Annotated[AccessToken, Depends(access_token)]) -> None:
        raise NotImplementedError

    if depth:
        app.mount("/m", inner)
    served = app if depth else inner
    served.add_middleware(AuthzMiddleware, issuers=[issuer.trusted()], enforce=False, on_decision=watch)
    answer = ask(served, http_scope("/m" * depth + path, HEADERS[headers](issuer)))
    expect_missing(answer)
    told = [outcome for outcome, *_ in watch.told()]
    if path == "/open" and headers == "anonymous":  # this is no report: it is refused, and said to be
        assert told == ["allowed", "missing_token"]
        assert lines.at(logging.INFO)[0].startswith("refused GET ")
        assert not guard_of(served).would_refuse
    else:
        would = "missing_token" if headers == "anonymous" else "opaque_token"
        assert told == [f"would be {would}", "missing_token"]  # what is sent all the same is told, too
        assert [line.partition(" GET ")[0] for line in lines.at(logging.INFO)] == ["would refuse (1)", "refused"]
        assert guard_of(served).would_refuse == {(would, "/m" * depth + path): 1}


def test_a_handler_that_can_do_without_a_token_does(issuer: LocalIssuer) -> None:
    app = FastAPI()

    @app.get("/")
    @requires("x")
    async def handler(caller: Annotated[AccessToken | None, Depends(access_token)]) -> str:
        return "anonymous" if caller is None else caller.subject

    app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted()], enforce=False)
    assert client(app).get("/").json() == "anonymous"
    assert client(app).get("/", headers=issuer.headers(**Y)).json() == "auth0|jo"


def test_a_missing_token_that_met_an_error_handler_first_is_no_500(issuer: LocalIssuer) -> None:
    class Handling:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await self.app(scope, receive, send)
            except Exception:  # noqa: BLE001
                await PlainTextResponse("failed", 500)(scope, receive, send)

    async def needy(scope: Scope, receive: Receive, send: Send) -> None:
        await access_token(Request(scope))

    app = AuthzMiddleware(InFront(Handling(needy)), issuers=[issuer.trusted()], enforce=False)
    expect_missing(ask(app, http_scope("/")))


# --- inside a handler -------------------------------------------------------------------------------------------------


def test_authorize_and_guarded_helpers_pass_and_report(issuer: LocalIssuer, lines: Lines) -> None:
    @requires("y")
    def helper() -> str:
        return "helped"

    @requires("x")
    async def by_authorize(request: Request) -> Response:
        await authorize(request, "y")
        await authorize(request, "z")
        return PlainTextResponse("ok")

    @requires("x")
    def by_helper(request: Request) -> Response:
        return PlainTextResponse(helper() + helper())

    app, watch = reporting(issuer, Route("/authorize", by_authorize), Route("/helper", by_helper))
    for path, text in (("/authorize", b"ok"), ("/helper", b"helpedhelped")):
        answer = ask(app, http_scope(path, token(issuer)))
        assert (answer.status, answer.body) == (200, text)
        assert watch.told() == [("allowed", path, "'x'"), ("would be insufficient_scope", path, "'y'")]
        watch.seen.clear()
    assert len(lines.at(logging.INFO)) == 2


def test_a_websocket_goes_on(issuer: LocalIssuer) -> None:
    class Talk(WebSocketEndpoint):
        encoding = "text"

        @requires("x")
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept()

        @requires("y")
        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await authorize(websocket, "z")
            await websocket.send_text(data)

    app, watch = reporting(issuer, WebSocketRoute("/", Talk))
    with client(app).websocket_connect("/") as session:
        for _ in range(2):
            session.send_text("hello")
            assert session.receive_text() == "hello"
    assert watch.told() == [("would be missing_token", "/", "'y' & 'x'")]


def test_nothing_of_a_report_stays_for_the_next_request(issuer: LocalIssuer) -> None:
    app, watch = reporting(issuer, *granting())
    for headers in (raw("bad"), token(issuer), [], token(issuer)):
        ask(app, http_scope("/x/1", headers))
    assert [outcome for outcome, *_ in watch.told()] == [
        "would be opaque_token",
        "allowed",
        "would be missing_token",
        "allowed",
    ]


# --- the gate, preflights, other middlewares --------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "code"), [(token, "no_policy"), (lambda _: [], "missing_token")])
def test_what_answers_in_front_of_the_routes_is_served(
    issuer: LocalIssuer, lines: Lines, headers: Any, code: str
) -> None:
    watch = Watch()
    app = AuthzMiddleware(InFront(Foreign()), issuers=[issuer.trusted()], on_decision=watch, enforce=False)
    answer = ask(app, http_scope("/", headers(issuer)))
    assert (answer.status, answer.body) == (200, b"foreign")
    assert watch.told() == [(f"would be {code}", None, "None")]
    assert len(lines.at(logging.INFO)) == 1
    assert app.would_refuse == {(code, None): 1}


def test_what_cannot_be_seen_into_is_served(issuer: LocalIssuer) -> None:
    watch = Watch()
    app = AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], on_decision=watch, enforce=False)
    assert ask(app, http_scope("/", token(issuer))).body == b"foreign"
    assert ask(app, http_scope("/")).body == b"foreign"
    assert [outcome for outcome, *_ in watch.told()] == ["would be no_policy", "would be missing_token"]


def test_a_preflight_that_would_pass_is_not_reported(issuer: LocalIssuer, lines: Lines) -> None:
    watch = Watch()
    app = Starlette(
        routes=[Route("/", requires("x")(endpoint))],
        middleware=[
            authz(issuer, on_decision=watch, enforce=False),
            Middleware(CORSMiddleware, allow_origins=["https://page.test"]),
        ],
    )
    assert client(app).options("/", headers=PREFLIGHT).status_code == 200
    assert not watch.seen
    other = AuthzMiddleware(InFront(Foreign()), issuers=[issuer.trusted()], on_decision=watch, enforce=False)
    assert client(other).options("/", headers=PREFLIGHT).text == "foreign"
    assert watch.told() == [("would be missing_token", None, "None")]


@pytest.mark.parametrize("outer_enforces", [True, False])
def test_each_middleware_speaks_for_itself(issuer: LocalIssuer, outer_enforces: bool) -> None:
    outer, inner = Watch(), Watch()

    def mounted() -> Starlette:
        served = [Route("/x", requires("x")(endpoint)), Route("/open", public(endpoint))]
        return starlette_app(issuer, *served, on_decision=inner, enforce=not outer_enforces)

    mounts = [Mount("/plain", app=mounted()), Mount("/guarded", app=requires("z")(mounted()))]
    app = starlette_app(issuer, *mounts, on_decision=outer, enforce=outer_enforces)
    answer = client(app).get("/plain/x", headers=issuer.headers(**Y))
    if outer_enforces:
        assert answer.status_code == 200
        expect_missing(client(app).get("/plain/x"), "x")
        expect_forbidden(client(app).get("/guarded/open", headers=issuer.headers(**Y)), "z")
        assert [outcome for outcome, *_ in inner.told()] == ["would be insufficient_scope"]
    else:
        expect_forbidden(answer, "x")
        expect_missing(client(app).get("/plain/x"), "x")
        assert client(app).get("/guarded/open", headers=issuer.headers(**Y)).status_code == 200
        assert [outcome for outcome, *_ in outer.told()] == ["would be missing_token", "would be insufficient_scope"]


# --- counting, announcing ---------------------------------------------------------------------------------------------


def test_nothing_a_client_writes_makes_the_count_grow(issuer: LocalIssuer) -> None:
    app, _ = reporting(issuer, *granting(), on_decision=None)
    for number in range(40):
        for path in (f"/x/{number}", f"/nowhere/{number}", f"/foreign/{number}", f"/twice/{number}", f"/m{number}"):
            for method in ("GET", f"METHOD{number}"):
                headers: Headers = [(b"authorization", f"Bearer {number}".encode()), (b"x", str(number).encode())]
                ask(app, http_scope(path, headers if number % 2 else [], method=method))
    count = guard_of(app).would_refuse
    templates = {"/x/{name}", "/foreign/", None}
    assert set(count) == {(code, path) for code in ("missing_token", "opaque_token") for path in templates}
    assert sum(count.values()) == 400


def test_the_count_is_empty_while_refusals_are_carried_out(issuer: LocalIssuer) -> None:
    app, _ = watched(issuer, *granting())
    expect_missing(client(app).get("/x/1"), "x")
    assert not guard_of(app).would_refuse


ANNOUNCED = (
    "REPORT ONLY (enforce=False): NOTHING IS REFUSED. Every request is served, whatever its "
    "token; what would be refused is logged at INFO. Remove enforce=False to guard this application"
)


@pytest.mark.parametrize("runs_lifespan", [True, False])
def test_it_is_announced_once_at_start(issuer: LocalIssuer, lines: Lines, runs_lifespan: bool) -> None:
    app, _ = reporting(issuer, *granting(), on_decision=None)
    asked = client(app)
    if runs_lifespan:
        with asked:
            assert any(text.endswith(ANNOUNCED) for text in lines.at(logging.WARNING))
            asked.get("/x/1")
    for _ in range(2):
        asked.get("/x/1")
    announced = lines.at(logging.WARNING)
    assert len([text for text in announced if text.endswith(ANNOUNCED)]) == 1
    (unguarded,) = [text for text in announced if "state no policy" in text]
    assert "so they would be refused;" in unguarded


def test_it_is_announced_where_nothing_can_be_seen(issuer: LocalIssuer, lines: Lines) -> None:
    app = AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], enforce=False)
    for _ in range(2):
        ask(app, http_scope("/"))
    announced = lines.at(logging.WARNING)
    assert len([text for text in announced if text.endswith(ANNOUNCED)]) == 1
    assert len([text for text in announced if "everything but public_paths would be refused" in text]) == 1


def test_it_is_not_announced_where_it_is_not_so(issuer: LocalIssuer, lines: Lines) -> None:
    app, _ = watched(issuer, *granting())
    client(app).get("/x/1")
    assert not [text for text in lines.at(logging.WARNING) if "REPORT ONLY" in text]


@pytest.mark.parametrize("enforce", [None, "no", "", 0, 1, [], "False"])
def test_what_is_neither_true_nor_false_is_an_error_at_start(issuer: LocalIssuer, enforce: Any) -> None:
    expect_fault(
        lambda: AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], enforce=enforce), "enforce is True, or False"
    )


@pytest.mark.parametrize("public_path", [True, False])
def test_public_stays_public_and_a_bad_token_there_is_reported(issuer: LocalIssuer, public_path: bool) -> None:
    path = "/public" if public_path else "/open"
    app, watch = reporting(issuer, *granting(), Route("/public", bare), public_paths=["/public"])
    assert client(app).get(path).status_code == 200
    assert client(app).get(path, headers={"Authorization": "Bearer bad"}).status_code == 200
    policy = "None" if public_path else "public"
    assert watch.told() == [("allowed", path, "public"), ("would be opaque_token", path, policy)]
