"""WebSocket: decided at the handshake, answered by denial response where the server can, by a close where not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from authz_middleware import AuthzMiddleware, ConfigurationError, authenticated, authorize, policy, public, requires
from authz_middleware.audit import installed_middlewares
from authz_middleware.testing import LocalIssuer, trust

from .apps import (
    Calls,
    Foreign,
    InFront,
    ask,
    bearer,
    client,
    expect_forbidden,
    expect_missing,
    expect_no_policy,
    expect_opaque,
    expect_refusal,
    messages_of,
    never,
    starlette_app,
    websocket_scope,
)

X: dict[str, Any] = {"scope": "x", "permissions": []}
BAD = (b"authorization", b"Bearer bad")
CLOSED = [{"type": "websocket.close", "code": 1008, "reason": ""}]


class Rooms:
    """An application with one WebSocket of each statement."""

    def __init__(self, issuer: LocalIssuer, **options: Any) -> None:
        self.calls = Calls()

        async def talk(websocket: WebSocket) -> None:
            self.calls.note()
            await websocket.accept()
            await websocket.send_json([websocket.user.display_name, websocket.auth.scopes])
            await websocket.close()

        async def undecorated(websocket: WebSocket) -> None:
            await talk(websocket)

        self.app = starlette_app(
            issuer,
            WebSocketRoute("/x", requires("x")(talk)),
            WebSocketRoute("/any", authenticated(talk)),
            WebSocketRoute("/open", public(talk)),
            WebSocketRoute("/bare", undecorated),
            Mount("/m", app=Starlette(routes=[WebSocketRoute("/x", requires("x")(talk))])),
            **options,
        )


@pytest.mark.parametrize("path", ["/x", "/m/x"])
def test_who_may_talk_is_accepted(issuer: LocalIssuer, path: str) -> None:
    rooms = Rooms(issuer)
    with client(rooms.app).websocket_connect(path, headers=issuer.headers(subject="s", **X)) as session:
        assert session.receive_json() == ["s", ["x"]]


def test_anybody_is_accepted_where_it_is_public(issuer: LocalIssuer) -> None:
    rooms = Rooms(issuer)
    with client(rooms.app).websocket_connect("/open") as session:
        assert session.receive_json() == ["", []]
    with client(rooms.app).websocket_connect("/open", headers=issuer.headers(subject="s", **X)) as session:
        assert session.receive_json() == ["s", ["x"]]


def test_any_token_is_accepted_where_one_is_needed(issuer: LocalIssuer) -> None:
    rooms = Rooms(issuer)
    with client(rooms.app).websocket_connect("/any", headers=issuer.headers(subject="s")) as session:
        assert session.receive_json() == ["s", []]


@pytest.mark.parametrize("path", ["/x", "/m/x", "/any", "/bare", "/open", "/nowhere"])
@pytest.mark.parametrize("caller", ["anonymous", "bad", "two", "basic", "no grant"])
@pytest.mark.parametrize("denial", [True, False])
def test_everybody_else_is_refused_before_accept(issuer: LocalIssuer, path: str, caller: str, denial: bool) -> None:
    rooms = Rooms(issuer)
    header = bearer(issuer)
    headers = {
        "anonymous": [],
        "bad": [BAD],
        "two": [header, header],
        "basic": [(b"authorization", b"Basic am86cHc=")],
        "no grant": [header],
    }[caller]
    if (path == "/open" and caller in {"anonymous", "basic", "no grant"}) or (path, caller) == ("/any", "no grant"):
        return
    answer = ask(rooms.app, websocket_scope(path, headers, denial=denial), messages_of({"type": "websocket.connect"}))
    assert not rooms.calls
    if not denial:
        # A route that does not exist is closed by the router itself, for callers with a token.
        assert [message["type"] for message in answer.messages] == ["websocket.close"]
        assert answer.messages == CLOSED or (path, caller) == ("/nowhere", "no grant")
        return
    scope = "x" if path in {"/x", "/m/x"} else ""
    match caller, path:
        case "bad", _:
            expect_opaque(answer, scope)
        case "two", _:
            assert (answer.status, answer.json()["code"]) == (400, "malformed_header")
        case (("anonymous" | "basic"), _):
            expect_missing(answer, scope)
        case _, "/bare":
            expect_no_policy(answer)
        case _, "/nowhere":
            assert [message["type"] for message in answer.messages] == ["websocket.close"]
        case _:
            expect_forbidden(answer, scope)


def test_a_denial_is_two_messages(issuer: LocalIssuer) -> None:
    answer = ask(Rooms(issuer).app, websocket_scope("/x"), never)
    assert [message["type"] for message in answer.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert answer.headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        "www-authenticate": 'Bearer realm="api", scope="x"',
    }


def test_a_client_reads_the_denial(issuer: LocalIssuer) -> None:
    asked = client(Rooms(issuer).app)
    with pytest.raises(WebSocketDenialResponse) as denied, asked.websocket_connect("/x", headers=issuer.headers()):
        pass
    expect_forbidden(denied.value, "x")


def test_tokens_elsewhere_are_not_read(issuer: LocalIssuer) -> None:
    token = issuer.token(**X)
    scope = websocket_scope("/x", [(b"sec-websocket-protocol", f"bearer, {token}".encode())])
    expect_missing(ask(Rooms(issuer).app, {**scope, "query_string": f"access_token={token}".encode()}, never), "x")


def test_an_expired_token_is_refused(issuer: LocalIssuer) -> None:
    answer = ask(Rooms(issuer).app, websocket_scope("/open", [bearer(issuer, expires_in=-60)]), never)
    challenge = 'Bearer realm="api", error="invalid_token", error_description="The access token has expired."'
    expect_refusal(answer, 401, "expired", challenge)


def test_a_websocket_that_states_nothing_may_be_open_to_any_token(issuer: LocalIssuer) -> None:
    rooms = Rooms(issuer, undecorated="authenticated")
    expect_missing(ask(rooms.app, websocket_scope("/bare"), never))
    with client(rooms.app).websocket_connect("/bare", headers=issuer.headers()) as session:
        assert session.receive_json()[1] == []


def test_preflight_headers_mean_nothing_here(issuer: LocalIssuer) -> None:
    headers = [(b"origin", b"https://page.test"), (b"access-control-request-method", b"GET")]
    expect_missing(ask(Rooms(issuer).app, websocket_scope("/nowhere", headers), never))
    expect_missing(ask(Rooms(issuer).app, {**websocket_scope("/nowhere", headers), "method": "GET"}, never))


# --- class-based ------------------------------------------------------------------------------------------------------


class Chat(WebSocketEndpoint):
    """Welcomes whoever connects, and says nothing about who may."""

    calls = Calls()
    encoding = "text"

    async def on_connect(self, websocket: WebSocket) -> None:
        self.calls.note("connect")
        await websocket.accept()
        await websocket.send_text("welcome")


@public
class Opened(HTTPEndpoint):
    pass


async def receiving(self: Any, websocket: WebSocket, data: Any) -> None:
    Chat.calls.note("receive")


NOT_ABOUT_THE_HANDSHAKE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a class": {"helper": Opened},
    "a function": {"helper": public(receiving)},
    "a method it lacks": {"get": public(receiving), "on_open": public(receiving)},
    "on_receive": {"on_receive": public(receiving)},
    "on_disconnect": {"on_disconnect": public(receiving)},
    "decode": {"decode": public(receiving)},
    "dispatch": {"dispatch": public(receiving)},
}


@pytest.mark.parametrize("members", NOT_ABOUT_THE_HANDSHAKE)
def test_only_the_class_or_on_connect_can_open_a_websocket(issuer: LocalIssuer, members: str) -> None:
    kind = type("Kind", (Chat,), dict(NOT_ABOUT_THE_HANDSHAKE[members]))
    app = starlette_app(issuer, WebSocketRoute("/", kind))
    connect = messages_of({"type": "websocket.connect"})
    expect_missing(ask(app, websocket_scope("/"), connect))
    expect_no_policy(ask(app, websocket_scope("/", [bearer(issuer, **X)]), connect))
    assert not Chat.calls


def test_a_class_below_a_public_websocket_is_not_public(issuer: LocalIssuer) -> None:
    app = starlette_app(issuer, WebSocketRoute("/", type("Below", (public(type("Base", (Chat,), {})),), {})))
    expect_missing(ask(app, websocket_scope("/"), never))
    expect_no_policy(ask(app, websocket_scope("/", [bearer(issuer, **X)]), never))
    assert not Chat.calls


@pytest.mark.parametrize("name", ["on_connect", "on_receive", "on_disconnect", "decode", "dispatch"])
def test_what_any_of_its_methods_requires_is_required_at_the_handshake(issuer: LocalIssuer, name: str) -> None:
    members = {name: requires("x")(getattr(Chat, name))}
    kind, whole = type("Kind", (Chat,), members), requires("y")(type("Whole", (Chat,), members))
    for target, scope in ((kind, ("x",)), (whole, ("x", "y"))):
        app = starlette_app(issuer, WebSocketRoute("/", target))
        expect_missing(ask(app, websocket_scope("/"), never), " ".join(scope))
        expect_forbidden(ask(app, websocket_scope("/", [bearer(issuer)]), never), *scope)
    assert not Chat.calls


@pytest.mark.parametrize("whole", [True, False])
def test_an_opened_websocket_welcomes_anybody(issuer: LocalIssuer, whole: bool) -> None:
    kind: Any = type("Kind", (Chat,), {} if whole else {"on_connect": public(Chat.on_connect)})
    app = starlette_app(issuer, WebSocketRoute("/", public(kind) if whole else kind))
    for headers in ([], [bearer(issuer)]):
        connect = messages_of({"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000})
        answer = ask(app, websocket_scope("/", headers), connect)
        assert [message["type"] for message in answer.messages] == ["websocket.accept", "websocket.send"]
    assert Chat.calls.names == ["connect", "connect"]
    Chat.calls.names.clear()


def test_what_a_helper_requires_is_not_required_at_the_handshake(issuer: LocalIssuer) -> None:
    members = {"on_connect": requires("x")(Chat.on_connect), "helper": requires("z")(receiving)}
    app = starlette_app(issuer, WebSocketRoute("/", type("Kind", (Chat,), members)))
    connect = messages_of({"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000})
    expect_forbidden(ask(app, websocket_scope("/", [bearer(issuer)]), never), "x")
    answer = ask(app, websocket_scope("/", [bearer(issuer, **X)]), connect)
    assert [message["type"] for message in answer.messages] == ["websocket.accept", "websocket.send"]
    assert Chat.calls.names == ["connect"]
    Chat.calls.names.clear()


def test_an_opened_handshake_with_a_guarded_method_is_an_error(issuer: LocalIssuer) -> None:
    members = {"on_connect": public(Chat.on_connect), "on_receive": requires("x")(receiving)}
    app = starlette_app(issuer, WebSocketRoute("/", type("Both", (Chat,), members)))
    with pytest.raises(ConfigurationError, match="Both is both @public and guarded"), client(app):
        pass


# --- undecided and late -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("denial", [True, False])
@pytest.mark.parametrize("caller", ["anonymous", "good"])
def test_an_undecided_accept_is_refused(issuer: LocalIssuer, denial: bool, caller: str) -> None:
    foreign = Foreign()
    app = AuthzMiddleware(InFront(foreign), issuers=[issuer.trusted()])
    scope = websocket_scope("/", [bearer(issuer, **X)] if caller == "good" else [], denial=denial)
    answer = ask(app, scope, messages_of({"type": "websocket.connect"}))
    if not denial:
        assert answer.messages == CLOSED
    elif caller == "good":
        expect_no_policy(answer)
    else:
        expect_missing(answer)
    assert foreign.calls.names == ([] if caller == "anonymous" else ["websocket"])  # what it sends next fails


@pytest.mark.parametrize("denial", [True, False])
def test_an_endless_talker_ends_with_its_refusal(issuer: LocalIssuer, denial: bool) -> None:
    calls = Calls()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        for _ in range(5):
            await send({"type": "websocket.send", "text": "secret"})
            calls.note()

    app = AuthzMiddleware(InFront(endless), issuers=[issuer.trusted()])
    answer = ask(app, websocket_scope("/", [bearer(issuer)], denial=denial), never)
    assert len(answer.messages) == (2 if denial else 1)
    assert not calls


def test_a_refused_talker_hears_a_disconnect(issuer: LocalIssuer) -> None:
    heard: list[Any] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        heard.append(await receive())

    app = AuthzMiddleware(InFront(listening), issuers=[issuer.trusted()])
    expect_no_policy(ask(app, websocket_scope("/", [bearer(issuer)]), never))
    assert heard == [{"type": "websocket.disconnect", "code": 1008}]


def test_a_public_path_may_accept(issuer: LocalIssuer) -> None:
    app = AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], public_paths=["/"])
    answer = ask(app, websocket_scope("/"), messages_of({"type": "websocket.connect"}))
    assert [m["type"] for m in answer.messages] == ["websocket.accept", "websocket.send", "websocket.close"]


@pytest.mark.parametrize("status", [200, 404])
def test_an_undecided_denial_of_the_applications_own(issuer: LocalIssuer, status: int) -> None:
    async def denying(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"own"})

    app = AuthzMiddleware(InFront(denying), issuers=[issuer.trusted()])
    answer = ask(app, websocket_scope("/", [bearer(issuer)]), messages_of({"type": "websocket.connect"}))
    if status == 404:
        assert (answer.status, answer.body) == (404, b"own")
    else:
        expect_no_policy(answer)


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("is_public", [True, False])
def test_a_refusal_after_accept_closes(issuer: LocalIssuer, mounted: bool, is_public: bool) -> None:
    calls = Calls()

    async def late(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("welcome")
        await authorize(websocket, policy.scope("x"))
        calls.note()

    route = WebSocketRoute("/", (public if is_public else authenticated)(late))
    app = client(starlette_app(issuer, Mount("/m", app=Starlette(routes=[route])) if mounted else route))
    headers = {} if is_public else issuer.headers()
    with app.websocket_connect("/m/" if mounted else "/", headers=headers) as session:
        assert session.receive_text() == "welcome"
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "")
    assert not calls


def test_a_refusal_before_accept_is_a_denial(issuer: LocalIssuer) -> None:
    async def late(websocket: WebSocket) -> None:
        await authorize(websocket, policy.scope("x"))
        raise NotImplementedError

    app = client(starlette_app(issuer, WebSocketRoute("/", authenticated(late))))
    with pytest.raises(WebSocketDenialResponse) as denied, app.websocket_connect("/", headers=issuer.headers()):
        pass
    expect_forbidden(denied.value, "x")


def test_a_connection_that_outlives_its_token_is_told_so(issuer: LocalIssuer) -> None:
    asked: list[bool] = []

    @authenticated
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.receive_text()
            asked.append(websocket.auth.allows("x"))
            await authorize(websocket, "x")
            await websocket.send_text("yes")

    app = starlette_app(issuer, WebSocketRoute("/", talk))
    headers = issuer.headers(scope="x", permissions=[], expires_in=60)
    with client(app) as served, served.websocket_connect("/", headers=headers) as connection:
        connection.send_text("now")
        assert connection.receive_text() == "yes"
        (middleware,) = installed_middlewares(app)
        middleware.validator._clock = lambda: time.time() + 91  # its minute, and the leeway of half a one
        connection.send_text("later")
        with pytest.raises(WebSocketDisconnect) as closed:
            connection.receive_text()
    assert closed.value.code == 1008
    assert asked == [True, False]


# --- while it stays open ----------------------------------------------------------------------------------------------


def test_what_is_decorated_is_decided_by_what_holds_now(issuer: LocalIssuer) -> None:
    """A connection may stay open for days: tokens end, and whoever a check let in may have been banned since."""
    now = [time.time()]
    banned: list[str] = []
    short_lived = LocalIssuer(clock=lambda: now[0])

    @requires("x")
    async def act(websocket: WebSocket) -> str:
        return "acted"

    @requires("x")
    def act_without_a_connection() -> str:
        return "acted"

    @requires(policy.check(lambda request: not banned))
    async def speak(websocket: WebSocket) -> str:
        return "spoken"

    @authenticated
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        async for what in websocket.iter_text():
            answer: Any = {"act": act, "speak": speak}.get(what, lambda _: act_without_a_connection())(websocket)
            await websocket.send_text(answer if isinstance(answer, str) else await answer)

    guarded = starlette_app(short_lived, WebSocketRoute("/", talk))

    def answers(*asked: str) -> list[str]:
        told = []
        for what in asked:
            talking.send_text(what)
            message = talking.receive()
            told.append(message.get("text", message["type"]))
        return told

    headers = short_lived.headers(**X, expires_in=60)
    with trust(guarded, short_lived):
        app = client(guarded)
        for what in ("act", "without"):
            with app.websocket_connect("/", headers=headers) as talking:
                assert answers("act", "without", "act") == ["acted"] * 3
                now[0] += 3600
                assert answers(what) == ["websocket.close"]
            now[0] -= 3600
        with app.websocket_connect("/", headers=headers) as talking:
            assert answers("speak", "speak") == ["spoken", "spoken"]
            banned.append("everybody")
            assert answers("speak") == ["websocket.close"]


def test_asking_again_and_again_keeps_nothing(issuer: LocalIssuer) -> None:
    seen: list[int] = []

    @requires(policy.check(lambda request: True))
    async def act(websocket: WebSocket) -> None:
        seen.append(len(websocket.scope["authz_middleware"]._met))

    @authenticated
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        for _ in range(3):
            await act(websocket)
        await websocket.close()

    app = client(starlette_app(issuer, WebSocketRoute("/", talk)))
    with app.websocket_connect("/", headers=issuer.headers()) as talking:
        talking.receive()
    assert seen[0] == seen[1] == seen[2]
