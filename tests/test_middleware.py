"""The middleware itself: start, arguments, announcements, keys, and what it lets out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, cast

import pytest
from fastapi import APIRouter, FastAPI, Security
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authz_middleware import (
    AuthzMiddleware,
    ConfigurationError,
    TrustedIssuer,
    authenticated,
    authorize,
    policy,
    public,
    requires,
)
from authz_middleware._jose import VerificationKey
from authz_middleware.errors import Code, InvalidToken, KeysUnavailable, Reason, Refused
from authz_middleware.keys import KeySource, StaticJWKS
from authz_middleware.testing import LocalIssuer

from .apps import (
    FORBIDDEN,
    Answer,
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
    expect_refusal,
    http_scope,
    messages_of,
    never,
    serve,
    starlette_app,
)
from .watching import logged

X: dict[str, Any] = {"scope": "x", "permissions": []}
LIFESPAN: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}


def lifespan(app: ASGIApp) -> tuple[list[Message], BaseException | None]:
    """Start and stop an application; return what it sent and what it raised."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> BaseException | None:
        try:
            await app(dict(LIFESPAN), messages_of({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}), send)
        except ConfigurationError as error:
            return error
        return None

    return sent, asyncio.run(run())


# --- start ------------------------------------------------------------------------------------------------------------


def test_a_good_application_starts_and_stops(issuer: LocalIssuer) -> None:
    sent, error = lifespan(starlette_app(issuer, Route("/", authenticated(endpoint))))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert error is None


def test_a_decorator_in_the_wrong_place_fails_the_start(issuer: LocalIssuer) -> None:
    async def late(request: Request) -> Response:
        raise NotImplementedError

    app = starlette_app(issuer, Route("/late", late))
    requires("x")(late)
    sent, error = lifespan(app)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert isinstance(error, ConfigurationError)
    assert sent[0]["message"] == str(error)
    with pytest.raises(ConfigurationError):  # and nothing is served by a server that goes on
        ask(app, http_scope("/late", [bearer(issuer, **X)]))


def test_a_wrong_argument_fails_the_start_in_the_lifespans_own_words(issuer: LocalIssuer) -> None:
    calls = Calls()

    async def handler(request: Request) -> Response:
        calls.note()
        raise NotImplementedError

    app = starlette_app(issuer, Route("/", public(handler)), realm='"')
    sent, error = lifespan(app)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "realm" in sent[0]["message"]
    assert isinstance(error, ConfigurationError)
    with pytest.raises(ConfigurationError):
        ask(app, http_scope("/"))
    assert not calls


@pytest.mark.parametrize("kind", ["mqtt", "lifespan2", "", "HTTP", "http.x"])
def test_unknown_kinds_of_connection_are_refused(issuer: LocalIssuer, kind: str) -> None:
    foreign = Foreign()
    app = AuthzMiddleware(foreign, issuers=[issuer.trusted()], public_paths=["/"])
    with pytest.raises(RuntimeError):
        ask(app, {**http_scope("/"), "type": kind}, never)
    assert not foreign.calls


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"issuers": []}, r"issuers=\[TrustedIssuer\(…\)\]"),
        ({"issuers": "https://issuer.test/"}, "with brackets"),
        ({"issuers": None}, "with brackets"),
        ({"issuers": ["https://issuer.test/"]}, r"issuers=\[TrustedIssuer\(…\)\]"),
        ({"public_paths": "/docs"}, r'public_paths=\["/docs"\]'),
        ({"public_paths": ["docs"]}, 'write "/docs"'),
        ({"public_paths": ["/*"]}, "would open everything"),
        ({"undecorated": "public"}, '"refuse" or "authenticated"'),
        ({"undecorated": "allow"}, '"refuse" or "authenticated"'),
        ({"undecorated": None}, '"refuse" or "authenticated"'),
        ({"undecorated": ["refuse"]}, '"refuse" or "authenticated"'),
        ({"undecorated": True}, '"refuse" or "authenticated"'),
        ({"realm": ""}, "without quotes or backslashes"),
        ({"realm": 'a"b'}, "without quotes or backslashes"),
        ({"realm": "a\\b"}, "without quotes or backslashes"),
        ({"realm": "a\r\nSet-Cookie: a=b"}, "without quotes or backslashes"),
        ({"realm": "ü"}, "without quotes or backslashes"),
        ({"realm": None}, "without quotes or backslashes"),
        ({"max_token_bytes": 0}, "from 1 to 131072"),
        ({"max_token_bytes": 131073}, "from 1 to 131072"),
        ({"max_token_bytes": "16384"}, "from 1 to 131072"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_an_error(
    issuer: LocalIssuer, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        AuthzMiddleware(Foreign(), **{"issuers": [issuer.trusted()], **arguments})


def test_one_issuer_without_brackets_is_an_error(issuer: LocalIssuer) -> None:
    with pytest.raises(ConfigurationError, match="with brackets"):
        AuthzMiddleware(Foreign(), issuers=issuer.trusted())  # type: ignore[arg-type]


def test_the_realm_stands_in_every_challenge(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Route("/", requires("x")(endpoint)), realm="orders"))
    expect_refusal(app.get("/"), 401, "missing_token", 'Bearer realm="orders", scope="x"')
    refused = app.get("/", headers=issuer.headers())
    assert refused.headers["www-authenticate"].startswith('Bearer realm="orders", error="insufficient_scope"')


def test_longer_tokens_may_be_allowed(issuer: LocalIssuer) -> None:
    routes = [Route("/", authenticated(endpoint))]
    headers = issuer.headers(padding="x" * 20_000)
    assert client(starlette_app(issuer, *routes)).get("/", headers=headers).json()["code"] == "malformed_token"
    expect_ok(client(starlette_app(issuer, *routes, max_token_bytes=65536)).get("/", headers=headers))
    short = client(starlette_app(issuer, *routes, max_token_bytes=10))
    assert short.get("/", headers=issuer.headers()).json()["code"] == "malformed_token"


def test_several_issuers_are_told_apart(issuer: LocalIssuer) -> None:
    other = LocalIssuer("https://other.test/", "https://other.test/api")
    both = [issuer.trusted(third_party_clients=set()), other.trusted(third_party_clients=set())]
    app = client(starlette_app(issuer, Route("/", requires("x")(endpoint)), issuers=both))
    expect_ok(app.get("/", headers=issuer.headers(**X)))
    expect_ok(app.get("/", headers=other.headers(**X)))
    stranger = LocalIssuer("https://stranger.test/")
    assert app.get("/", headers=stranger.headers(**X)).json()["code"] == "untrusted_issuer"
    impostor = LocalIssuer("https://other.test/", "https://other.test/api")
    assert app.get("/", headers=impostor.headers(**X)).json()["code"] in {"unknown_key", "bad_signature"}


# --- announcements ----------------------------------------------------------------------------------------------------


def announced(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what is said, but for the one thing that is said of every issuer here."""
    said = [record.getMessage() for record in caplog.records if record.name == "authz_middleware"]
    return [text for text in said if "this is a LocalIssuer" not in text]


class Halves(HTTPEndpoint):
    @requires("x")
    async def get(self, request: Request) -> Response:
        raise NotImplementedError

    async def post(self, request: Request) -> Response:
        raise NotImplementedError


MIXED: list[BaseRoute] = [
    Route("/bare", bare, methods=["GET", "POST"]),
    Route("/stated", requires("x")(endpoint)),
    Route("/halves", Halves),
    WebSocketRoute("/events", bare),
    Route("/public-path", bare),
    Mount("/m", routes=[Route("/bare", bare)]),
    Mount("/covered", app=requires("x")(Starlette(routes=[Route("/bare", bare)]))),
    Mount("/files", app=Foreign()),
    Mount("/open", app=Foreign()),
    Host("host.test", app=Foreign()),
]


@pytest.mark.parametrize(
    ("undecorated", "fate"), [("refuse", "they are refused"), ("authenticated", "any valid token may call them")]
)
def test_routes_that_state_nothing_are_listed_once_at_start(
    issuer: LocalIssuer, caplog: pytest.LogCaptureFixture, undecorated: str, fate: str
) -> None:
    trusted = [issuer.trusted(rbac_enforced=True, third_party_clients=set())]
    app = starlette_app(
        issuer, *MIXED, issuers=trusted, undecorated=undecorated, public_paths=["/public-path", "/open/*"]
    )
    with caplog.at_level(logging.WARNING), client(app) as asked:
        for _ in range(2):
            asked.get("/bare")
    assert announced(caplog) == [
        f"routes that state no policy, so {fate}; write @requires, @authenticated or @public "
        "below the route decorator, or name them in public_paths: GET,POST /bare, POST /halves, WEBSOCKET /events, "
        "GET /m/bare, ANY /files/*, ANY host.test/*"
    ]


def advice_on(caplog: pytest.LogCaptureFixture, issuer: LocalIssuer, **options: Any) -> list[str]:
    """Return what the start says about an issuer's settings."""
    app = starlette_app(issuer, Route("/", authenticated(endpoint)), issuers=[issuer.trusted(**options)])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            expect_missing(client(app).get("/"))
    start = f"issuer {issuer.issuer}: "
    return [text.removeprefix(start).partition(";")[0] for text in announced(caplog) if text.startswith(start)]


CLIENTS = "every user's client counts as third-party"
RBAC = "in dialects without permissions a user's scope is believed"


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, [CLIENTS, RBAC]),
        ({"rbac_enforced": True}, [CLIENTS]),
        ({"rbac_enforced": False}, [CLIENTS]),
        ({"third_party_clients": set()}, [RBAC]),
        ({"first_party_clients": ["app"]}, [RBAC]),
        ({"third_party_clients": set(), "rbac_enforced": False}, []),
        ({"dialects": ["access_token_authz"]}, [CLIENTS]),
        ({"dialects": ["access_token_authz"], "third_party_clients": set()}, []),
        ({"dialects": ["rfc9068"]}, [RBAC]),
        ({"dialects": ["rfc9068"], "rbac_enforced": True}, []),
    ],
)
def test_what_was_left_unsaid_is_announced_once(
    issuer: LocalIssuer, caplog: pytest.LogCaptureFixture, options: dict[str, Any], advice: list[str]
) -> None:
    assert advice_on(caplog, issuer, **options) == advice


def test_fastapis_pages_are_listed_in_one(issuer: LocalIssuer, caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()
    app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted(third_party_clients=set(), rbac_enforced=True)])
    app.add_api_route("/bare", bare)
    with caplog.at_level(logging.WARNING), client(app):
        pass
    (listed,) = announced(caplog)
    assert listed.endswith("in public_paths: GET /bare, FastAPI's documentation pages (FASTAPI_DOCS)")


# --- keys -------------------------------------------------------------------------------------------------------------


class Keys:
    """A key source that raises, or gives, what it is told."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        key: Any = self.outcome
        return key  # type: ignore[no-any-return]


def with_keys(issuer: LocalIssuer, outcome: object, calls: Calls | None = None) -> Starlette:
    source: KeySource = Keys(outcome)
    trusted = TrustedIssuer(
        issuer.issuer, issuer.audience, dialects=["access_token_authz"], keys=source, third_party_clients=set()
    )

    async def handler(request: Request) -> Response:
        if calls is not None:
            calls.note()
        return await endpoint(request)

    return starlette_app(issuer, Route("/", public(handler)), Route("/x", requires("x")(handler)), issuers=[trusted])


@pytest.mark.parametrize("path", ["/", "/x", "/nowhere"])
@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (KeysUnavailable(Reason.NEVER_FETCHED, 7), "7"),
        (KeysUnavailable(Reason.TOO_LONG_WITHOUT_CONTACT, 30), "30"),
        (RuntimeError("secret detail"), "5"),
        (KeyError("secret detail"), "5"),
        (OSError("secret detail"), "5"),
        (TimeoutError(), "5"),
        (ValueError("secret detail"), "5"),
        (AssertionError("secret detail"), "5"),
        (NotImplementedError(), "5"),
        (None, "5"),
        ("secret detail", "5"),
    ],
    ids=repr,
)
def test_keys_that_cannot_be_had_are_our_outage(
    issuer: LocalIssuer,
    caplog: pytest.LogCaptureFixture,
    path: str,
    error: object,
    retry_after: str,
) -> None:
    calls = Calls()
    answer = client(with_keys(issuer, error, calls)).get(path, headers=issuer.headers(**X))
    expect_refusal(answer, 503, "keys_unavailable", None)
    assert answer.headers["retry-after"] == retry_after
    assert "secret" not in answer.text + caplog.text
    assert not calls


def test_an_unknown_key_is_the_callers_fault(issuer: LocalIssuer) -> None:
    app = with_keys(issuer, InvalidToken(Code.UNKNOWN_KEY, Reason.KEY_NOT_PUBLISHED))
    answer = client(app).get("/", headers=issuer.headers(**X))
    challenge = (
        'Bearer realm="api", error="invalid_token", '
        'error_description="The access token is signed with a key its issuer does not publish."'
    )
    expect_refusal(answer, 401, "unknown_key", challenge)


def test_a_source_of_ones_own_may_serve_the_key(issuer: LocalIssuer) -> None:
    key = asyncio.run(StaticJWKS(issuer.jwks()).get(issuer.key.kid, "RS256"))
    expect_ok(client(with_keys(issuer, key)).get("/x", headers=issuer.headers(permissions=["x"])))


def test_without_a_token_no_key_is_asked_for(issuer: LocalIssuer) -> None:
    app = client(with_keys(issuer, RuntimeError()))
    expect_ok(app.get("/"))
    expect_missing(app.get("/x"), "x")
    expect_opaque(app.get("/x", headers={"Authorization": "Bearer bad"}), "x")


class SlowKeys:
    """A key source that waits until it is told to go on."""

    def __init__(self, issuer: LocalIssuer) -> None:
        self._keys = StaticJWKS(issuer.jwks())
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        self.asked.set()
        await self.go_on.wait()
        return await self._keys.get(kid, algorithm)


@pytest.mark.parametrize("place", ["application", "mount", "included router", "replaced"])
def test_a_route_added_while_keys_are_fetched_is_guarded(issuer: LocalIssuer, place: str) -> None:
    calls = Calls()

    async def late() -> str:
        calls.note()
        return "ran"

    async def run() -> Answer:
        keys = SlowKeys(issuer)
        trusted = TrustedIssuer(issuer.issuer, issuer.audience, dialects=["access_token_authz"], keys=keys)
        app, router, sub = FastAPI(), APIRouter(), FastAPI()
        app.add_middleware(AuthzMiddleware, issuers=[trusted])
        router.add_api_route("/first", public(endpoint))
        app.include_router(router, prefix="/r")
        app.mount("/m", sub)
        app.add_api_route("/last", public(endpoint))
        assert (await serve(app, http_scope("/r/first"))).status == 200
        path = {"application": "/late", "mount": "/m/late", "included router": "/r/late", "replaced": "/last"}[place]
        asked = asyncio.ensure_future(serve(app, http_scope(path, [bearer(issuer, **X)])))
        await keys.asked.wait()
        if place == "replaced":
            app.router.routes[-1] = APIRoute("/last", late)
        else:
            target: Any = {"application": app, "mount": sub, "included router": router}[place]
            target.add_api_route("/late", late)
        keys.go_on.set()
        return await asked

    expect_no_policy(asyncio.run(run()))
    assert not calls


# --- around applications ----------------------------------------------------------------------------------------------


def test_it_may_be_wrapped_around_a_whole_application(issuer: LocalIssuer) -> None:
    calls = Calls()

    async def handler(request: Request) -> Response:
        calls.note()
        return await endpoint(request)

    whole = Starlette(routes=[Route("/", requires("x")(handler)), Route("/open", public(handler)), Route("/b", bare)])
    app = client(AuthzMiddleware(whole, issuers=[issuer.trusted(third_party_clients=set())]))
    expect_missing(app.get("/"), "x")
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
    expect_no_policy(app.get("/b", headers=issuer.headers()))
    assert not calls
    expect_ok(app.get("/", headers=issuer.headers(**X)))
    expect_ok(app.get("/open"))


def test_a_foreign_application_is_refused_but_for_its_public_paths(issuer: LocalIssuer) -> None:
    foreign = Foreign()
    app = client(AuthzMiddleware(foreign, issuers=[issuer.trusted()], public_paths=["/open", "/tree/*"]))
    expect_missing(app.get("/"))
    expect_missing(app.options("/", headers={"Origin": "https://page.test", "Access-Control-Request-Method": "GET"}))
    expect_opaque(app.get("/open", headers={"Authorization": "Bearer bad"}))
    assert not foreign.calls
    expect_no_policy(app.get("/", headers=issuer.headers(**X)))
    expect_ok(app.get("/open"), "foreign")
    expect_ok(app.get("/tree/a", headers=issuer.headers()), "foreign")


def test_a_guarded_foreign_application_is_served(issuer: LocalIssuer) -> None:
    foreign = Foreign()
    app = client(AuthzMiddleware(requires("x")(foreign), issuers=[issuer.trusted(third_party_clients=set())]))
    expect_missing(app.get("/"), "x")
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
    assert not foreign.calls
    expect_ok(app.get("/", headers=issuer.headers(**X)), "foreign")


def test_what_no_routes_can_be_seen_of_is_refused_before_it_runs(
    issuer: LocalIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls()
    whole = Starlette(routes=[Route("/", requires("x")(endpoint))])

    async def hiding(scope: Scope, receive: Receive, send: Send) -> None:
        calls.note("hiding")
        await whole(scope, receive, send)

    app = client(AuthzMiddleware(hiding, issuers=[issuer.trusted(third_party_clients=set())], public_paths=["/"]))
    hidden = client(AuthzMiddleware(hiding, issuers=[issuer.trusted(third_party_clients=set())]))
    expect_missing(hidden.get("/"))
    expect_no_policy(hidden.get("/", headers=issuer.headers(**X)))
    assert not calls
    assert sum("no routes can be seen" in record.message for record in caplog.records) == 1
    # As a public path it is let through, and what is decorated behind decides for itself.
    expect_missing(app.get("/"), "x")
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
    expect_ok(app.get("/", headers=issuer.headers(**X)))


def test_an_application_hidden_by_its_own_middleware_may_open_to_any_token(issuer: LocalIssuer) -> None:
    app = client(AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], undecorated="authenticated"))
    expect_missing(app.get("/"))
    expect_ok(app.get("/", headers=issuer.headers()), "foreign")


def test_a_late_refusal_outside_every_route_is_answered_too(issuer: LocalIssuer) -> None:
    @requires("x")
    def helper() -> None:
        raise NotImplementedError

    async def asking(scope: Scope, receive: Receive, send: Send) -> None:
        helper()

    answer = around(issuer, asking)
    expect_forbidden(answer, "x")


class Asking:
    """A middleware of a mounted application's own that asks for more, and is refused inside its error handler."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await authorize(HTTPConnection(scope), "x")
        await self.app(scope, receive, send)


def test_a_refusal_that_meets_an_error_handler_first_is_answered_as_it_is(issuer: LocalIssuer) -> None:
    inner = Starlette(routes=[Route("/", public(endpoint))], middleware=[Middleware(Asking)])
    app = client(starlette_app(issuer, Mount("/inner", app=inner)))
    expect_missing(app.get("/inner/"), "x")
    expect_forbidden(app.get("/inner/", headers=issuer.headers()), "x")
    expect_ok(app.get("/inner/", headers=issuer.headers(**X)))


def suppressing(request: Request) -> None:
    with contextlib.suppress(Refused):
        authorize(request, "y")
    raise LookupError


def turning(request: Request) -> None:
    try:
        authorize(request, "y")
    except Refused as refused:
        raise LookupError from refused


def failing_meanwhile(request: Request) -> None:
    try:
        authorize(request, "y")
    finally:
        raise LookupError


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize(("fail", "is_refusal"), [(suppressing, False), (turning, True), (failing_meanwhile, True)])
def test_a_fault_is_answered_as_the_refusal_it_comes_of_and_no_other(
    issuer: LocalIssuer, fail: Callable[[Request], None], is_refusal: bool, mounted: bool
) -> None:
    @authenticated
    async def trying(request: Request) -> Response:
        fail(request)
        raise NotImplementedError

    routes = [Route("/", trying)]
    app = starlette_app(issuer, *([Mount("/", app=Starlette(routes=routes))] if mounted else routes))
    answer = client(app, raise_server_exceptions=False).get("/", headers=issuer.headers(**X))
    if is_refusal and mounted:
        expect_forbidden(answer, "y")
    else:  # at the top there is no error handler further in: the application's own fault stays one
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("beside", [True, False])
def test_a_refusal_in_a_task_group_is_a_refusal(issuer: LocalIssuer, beside: bool, mounted: bool) -> None:
    @authenticated
    async def trying(request: Request) -> Response:
        async with asyncio.TaskGroup() as group:
            group.create_task(cast("Coroutine[Any, Any, None]", authorize(request, policy.check(lambda _: False))))
            if beside:
                await asyncio.sleep(0)
        raise NotImplementedError

    routes = [Route("/", trying)]
    app = starlette_app(issuer, *([Mount("/", app=Starlette(routes=routes))] if mounted else routes))
    answer = client(app).get("/", headers=issuer.headers(**X))
    expect_refusal(answer, 403, "insufficient_scope", FORBIDDEN, [])


def test_a_task_group_that_fails_by_itself_is_a_fault(issuer: LocalIssuer) -> None:
    @authenticated
    async def trying(request: Request) -> Response:
        with contextlib.suppress(Refused):
            authorize(request, "y")
        raise ExceptionGroup("own", [LookupError()])

    app = client(starlette_app(issuer, Route("/", trying)), raise_server_exceptions=False)
    assert app.get("/", headers=issuer.headers(**X)).status_code == 500


# --- the middleware in other places ---------------------------------------------------------------------------------


def hiding(app: ASGIApp) -> ASGIApp:
    """Return a middleware that does not show what it wraps."""

    async def hidden(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return hidden


@pytest.mark.parametrize("mount", [public, requires("x"), None])
def test_a_middleware_further_in_does_not_take_the_outer_routes_for_its_own(issuer: LocalIssuer, mount: Any) -> None:
    calls = Calls()

    async def handler(request: Request) -> Response:
        calls.note()
        return await endpoint(request)

    hidden = hiding(Starlette(routes=[Route("/open", handler), Route("/stated", public(handler))]))
    inner: Any = AuthzMiddleware(hidden, issuers=[issuer.trusted(third_party_clients=set())])
    # The outer router would match the inner requests too: what it calls public must open nothing inside.
    routes = [Mount("/m", app=inner if mount is None else mount(inner)), Route("/m/{name}", public(endpoint))]
    app = client(starlette_app(issuer, *routes))
    for path in ("/m/open", "/m/stated"):
        expect_missing(app.get(path), "x" if mount not in {public, None} else "")
        expect_no_policy(app.get(path, headers=issuer.headers(**X)))
    assert not calls


@pytest.mark.parametrize("outer", [True, False])
def test_a_guarded_mount_may_have_the_middleware_alone(issuer: LocalIssuer, outer: bool) -> None:
    foreign, opened, undecided = Foreign(), Foreign(), Foreign()
    mine = [authz(issuer)]
    app = client(
        Starlette(
            routes=[
                Mount("/x", app=requires("x")(foreign), middleware=mine),
                Mount("/open", app=public(opened), middleware=mine),
                Mount("/bare", app=undecided, middleware=mine),
            ],
            middleware=mine if outer else [],
        )
    )
    expect_missing(app.get("/x/"), "x")
    expect_forbidden(app.get("/x/", headers=issuer.headers()), "x")
    expect_missing(app.get("/bare/"))
    expect_no_policy(app.get("/bare/", headers=issuer.headers(**X)))
    expect_opaque(app.get("/open/", headers={"Authorization": "Bearer bad"}))
    for app_behind in (foreign, opened, undecided):
        assert not app_behind.calls
    expect_ok(app.get("/x/", headers=issuer.headers(**X)), "foreign")
    expect_ok(app.get("/open/"), "foreign")


# --- what leaves ------------------------------------------------------------------------------------------------------


def around(issuer: LocalIssuer, app: ASGIApp, **scope: Any) -> Answer:
    """Ask what answers in front of the routes, with a token that is good and grants nothing here."""
    guarded = AuthzMiddleware(InFront(app), issuers=[issuer.trusted(third_party_clients=set())])
    return ask(guarded, http_scope(**{"path": "/", **scope}, headers=[bearer(issuer)]), never)


@pytest.mark.parametrize("status", [100, 200, 201, 204, 206, 226, 300, 301, 302, 303, 304, 305, 308, 399])
def test_no_answer_leaves_undecided(issuer: LocalIssuer, status: int) -> None:
    foreign = Foreign(status)
    expect_no_policy(around(issuer, foreign))
    assert foreign.calls.names == ["http"]  # what it sends next tells it that nobody listens


@pytest.mark.parametrize("status", [400, 401, 404, 405, 418, 499, 500, 503])
def test_errors_may_leave(issuer: LocalIssuer, status: int) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b"why", status)(scope, receive, send)

    answer = around(issuer, failing)
    assert (answer.status, answer.body) == (status, b"why")


def test_the_routers_own_redirect_may_leave_and_no_other(issuer: LocalIssuer) -> None:
    asked = {"path": "/slash", "query_string": b"a=1"}
    for same in ("/slash/?a=1", "https://testserver/slash/?a=1"):
        assert around(issuer, RedirectResponse(same), **asked).status == 307
    for other in (
        "/slash?a=1",
        "/slash/",
        "/slash/?a=1&signature=s",
        "/elsewhere/?a=1",
        "https://bucket.test/x/slash/?a=1",
    ):
        expect_no_policy(around(issuer, RedirectResponse(other), **asked))
    expect_no_policy(around(issuer, RedirectResponse("/slash/?a=1", 302), **asked))
    expect_no_policy(around(issuer, RedirectResponse("//", 307), path="/"))
    expect_no_policy(around(issuer, Response(status_code=307), path="/slash"))


@pytest.mark.parametrize(
    "first",
    [
        {"type": "http.response.push", "path": "/secret", "headers": []},
        {"type": "http.response.body", "body": b"secret"},
        {"type": "http.response.pathsend", "path": "/secret"},
    ],
    ids=lambda message: message["type"],
)
def test_nothing_is_sent_ahead_of_the_decision(issuer: LocalIssuer, first: Message) -> None:
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await send(first)
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

    answer = around(issuer, hasty)
    expect_no_policy(answer)
    assert len(answer.messages) == 2


@pytest.mark.parametrize(
    "note",
    [
        {"type": "http.response.debug", "info": {"secret": 1}},  # what Starlette's templates tell its test client
        {"type": "http.response.early_hint", "links": [b"</secret>"]},
    ],
    ids=lambda message: message["type"],
)
def test_what_comes_ahead_of_an_answer_begins_none(issuer: LocalIssuer, note: Message) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send(note)
        await Response(b"why", 404)(scope, receive, send)

    answer = around(issuer, failing)
    assert (answer.status, answer.body) == (404, b"why")
    assert note not in answer.messages

    @public
    async def noted(request: Request) -> Response:
        await request._send(note)
        raise HTTPException(404, "why")

    answer = ask(starlette_app(issuer, Route("/", noted)), http_scope(path="/"), never)
    assert [message["type"] for message in answer.messages] == [
        note["type"],
        "http.response.start",
        "http.response.body",
    ]


def test_a_refusal_can_follow_a_hint(issuer: LocalIssuer) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]}

    @authenticated
    async def hinting(request: Request) -> Response:
        await request._send(hint)  # Starlette has no call for it
        await authorize(request, "x")
        raise NotImplementedError

    answer = ask(starlette_app(issuer, Route("/", hinting)), http_scope(path="/", headers=[bearer(issuer)]), never)
    assert answer.messages[0] == hint
    assert answer.messages[1]["status"] == 403


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("soft", [PlainTextResponse("a page instead"), RedirectResponse("/login", 302)])
def test_what_rewrites_a_refusal_is_overruled(issuer: LocalIssuer, soft: Response, own: bool) -> None:
    """Also where a mounted application has a middleware of its own: that it refuses opens nothing."""

    async def soften(request: Request, call_next: Any) -> Response:
        answer: Response = await call_next(request)
        return soft if answer.status_code == 403 else answer

    inner = Starlette(routes=[Route("/x", requires("x")(endpoint))], middleware=[authz(issuer)] if own else [])
    app = starlette_app(issuer, Mount("/in", inner, middleware=[Middleware(BaseHTTPMiddleware, dispatch=soften)]))
    with logged() as lines:
        answer = client(app).get("/in/x", headers=issuer.headers(scope="y"))
    assert answer.status_code == 403
    assert answer.json()["code"] == ("no_policy" if own else "insufficient_scope")
    assert len(lines.at(logging.INFO)) == (2 if own else 1)
    expect_ok(client(app).get("/in/x", headers=issuer.headers(scope="x")))


def test_a_mounted_application_that_only_reports_may_answer_by_itself(issuer: LocalIssuer) -> None:
    async def answer(request: Request, call_next: Any) -> Response:
        return PlainTextResponse("by itself")

    for enforce, status in ((False, 200), (True, 403)):
        stack = [authz(issuer, enforce=enforce), Middleware(BaseHTTPMiddleware, dispatch=answer)]
        app = starlette_app(issuer, Mount("/in", Starlette(middleware=stack)))
        assert client(app).get("/in/x", headers=issuer.headers()).status_code == status


@pytest.mark.parametrize("kind", ["route", "mount", "handle"])
def test_a_route_that_is_added_meanwhile_opens_no_other(kind: str, issuer: LocalIssuer) -> None:
    """FastAPI makes the routes of a router anew when one is added, and bare."""

    class OwnHandle(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            await super().handle(scope, receive, send)

    router = APIRouter(route_class=OwnHandle)
    if kind == "route":
        router.add_route("/x", requires("x")(endpoint))
    elif kind == "mount":
        router.mount("/x", Starlette(routes=[Route("/", requires("x")(endpoint))]))
    else:
        router.get("/x")(requires("x")(lambda: "ran"))

    async def adding(request: Request, call_next: Any) -> Response:
        router.add_api_route("/later", authenticated(lambda: "ran"))
        answer: Response = await call_next(request)
        return answer

    app = FastAPI(openapi_url=None, middleware=[authz(issuer), Middleware(BaseHTTPMiddleware, dispatch=adding)])
    app.include_router(router, dependencies=[Security(requires("r"))])
    path = "/x/" if kind == "mount" else "/x"
    for _ in range(3):
        assert client(app).get(path, headers=issuer.headers(permissions=["x"])).status_code == 403
        assert client(app).get(path, headers=issuer.headers(permissions=["x", "r"])).status_code == 200


def test_a_fault_keeps_nothing_of_the_requests_it_fails() -> None:
    async def nowhere(message: Message) -> None:
        raise NotImplementedError

    async def run() -> None:
        faulty = AuthzMiddleware(Foreign(), issuers=[])
        raised = []
        for _ in range(2):
            with pytest.raises(ConfigurationError) as fault:
                await faulty(http_scope(path="/"), never, nowhere)
            raised.append(fault.value)
        assert raised[0] is not raised[1]
        assert raised[0].faults == raised[1].faults

    asyncio.run(run())


async def endlessly() -> AsyncIterator[bytes]:
    for _ in range(1000):  # a number, so that a failure ends too
        yield b"secret"
    raise NotImplementedError


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("status", [200, 302])
def test_an_endless_answer_ends_with_its_refusal(issuer: LocalIssuer, spec_version: str, status: int) -> None:
    async def silent() -> Message:
        await asyncio.Event().wait()
        raise NotImplementedError

    app = AuthzMiddleware(
        InFront(StreamingResponse(endlessly(), status)), issuers=[issuer.trusted(third_party_clients=set())]
    )
    asgi = {"version": "3.0", "spec_version": spec_version}
    answer = ask(app, http_scope("/", [bearer(issuer)], asgi=asgi), silent)
    expect_no_policy(answer)
    assert len(answer.messages) == 2


def test_after_a_refusal_every_send_fails(issuer: LocalIssuer) -> None:
    calls = Calls()

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            try:
                await send({"type": "http.response.body", "body": b"secret", "more_body": True})
            except OSError:
                calls.note("failed")

    answer = around(issuer, stubborn)
    expect_no_policy(answer)
    assert len(answer.messages) == 2
    assert calls.names == ["failed"] * 3


@pytest.mark.parametrize("error", [LookupError("secret"), InvalidToken(Code.EXPIRED, Reason.EXPIRED), None])
def test_what_is_raised_after_a_refusal_is_the_refusals_own_affair(
    issuer: LocalIssuer, error: Exception | None
) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if error is not None:
            raise error
        await authorize(HTTPConnection(scope), "x")

    answer = around(issuer, failing)
    expect_no_policy(answer)
    assert len(answer.messages) == 2


def test_a_cancellation_after_a_refusal_passes(issuer: LocalIssuer) -> None:
    async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        around(issuer, cancelled)


def test_a_refused_answer_to_head_has_no_body(issuer: LocalIssuer) -> None:
    answer = around(issuer, Foreign(), method="HEAD")
    assert (answer.status, answer.body) == (403, b"")


def test_what_is_received_passes_until_a_refusal(issuer: LocalIssuer) -> None:
    received: list[str] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        received.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 404, "headers": []})
        received.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b""})

    app = AuthzMiddleware(InFront(reading), issuers=[issuer.trusted()])
    assert ask(app, http_scope("/", [bearer(issuer)])).status == 404
    assert received == ["http.request", "http.disconnect"]


def test_errors_of_the_application_pass(issuer: LocalIssuer) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        around(issuer, failing)


class InPlaceOfRefusals:
    """A middleware of the application's that shows a page of its own where access was refused."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = await serve(self.app, scope, receive)
        await Response(b"please log in" if inner.status == 401 else b"served")(scope, receive, send)


def test_a_middleware_further_in_takes_no_decision_over_by_refusing(issuer: LocalIssuer) -> None:
    other = LocalIssuer("https://other.test/", issuer.audience)
    both = [issuer.trusted(third_party_clients=set()), other.trusted(third_party_clients=set())]
    app = Starlette(
        routes=[Route("/", requires("x")(endpoint))],
        middleware=[authz(issuer, issuers=both), Middleware(InPlaceOfRefusals), authz(other)],
    )
    assert ask(app, http_scope("/", [bearer(other, **X)])).body == b"served"
    expect_no_policy(ask(app, http_scope("/", [bearer(issuer, **X)])))


def test_middleware_objects_of_other_kinds_do_not_disturb(issuer: LocalIssuer) -> None:
    def factory(app: ASGIApp) -> ASGIApp:
        async def passing(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        return passing

    app = Starlette(routes=[Route("/", public(endpoint))], middleware=[Middleware(factory), authz(issuer)])
    expect_ok(client(app).get("/"))
    hidden = Starlette(
        routes=[Mount("/m", app=Foreign(), middleware=[authz(issuer), Middleware(factory)])],
        middleware=[Middleware(factory)],
    )
    expect_missing(client(hidden).get("/m/"))
    expect_no_policy(client(hidden).get("/m/", headers=issuer.headers()))
