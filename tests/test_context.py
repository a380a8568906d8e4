"""A token's context ends with its request and shows in no other."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest
from starlette.authentication import UnauthenticatedUser
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from authz_middleware import (
    AuthzMiddleware,
    ConfigurationError,
    access_token,
    authenticated,
    authorize,
    policy,
    public,
    requires,
)
from authz_middleware.binding import bound, context_of, current_context
from authz_middleware.context import RequestContext
from authz_middleware.credentials import Caller, Credentials
from authz_middleware.errors import Code, InsufficientScope, MissingToken, NoPolicy, Reason
from authz_middleware.policy import AUTHENTICATED, PUBLIC, Access
from authz_middleware.public_paths import PublicPaths
from authz_middleware.testing import LocalIssuer

from .apps import (
    Answer,
    ask,
    bearer,
    client,
    context,
    endpoint,
    expect_forbidden,
    expect_missing,
    grants,
    http_scope,
    serve,
    starlette_app,
    token_with,
)

X: dict[str, Any] = {"scope": "x", "permissions": []}


@requires("x")
def needs_x() -> str:
    return "x"


def enter(asked: RequestContext, access: Access | None, pieces: tuple[Access, ...] = (), *, path: str = "/") -> None:
    """Decide for a route that serves nothing."""
    with asked.enforced_route(access, pieces, scope=http_scope(path)):
        pass


# --- the object -------------------------------------------------------------------------------------------------------


def test_nothing_is_decided_at_first() -> None:
    assert not context(grants("x")).decided
    assert not context(None).decided
    assert context(None, public_path="/").decided


def test_a_policy_decides() -> None:
    asked = context(grants("x"))
    asked.enforce(policy.scope("x"))
    assert asked.decided


@pytest.mark.parametrize("granted", [None, grants("y")])
def test_a_refusal_decides_nothing(granted: Any) -> None:
    asked = context(granted)
    for _ in range(2):
        with pytest.raises((MissingToken, InsufficientScope)):
            asked.enforce(policy.scope("x"))
    assert not asked.decided


def test_a_public_helper_opens_nothing_but_a_public_route_does() -> None:
    asked = context(None)
    asked.enforce(PUBLIC)
    assert not asked.decided
    with asked.enforced_route(PUBLIC, scope=http_scope()):
        assert asked.decided
    assert asked.decided  # a response may begin when the route has returned


def test_what_was_granted_once_grants_nothing_else() -> None:
    asked = context(grants("x"))
    asked.enforce(policy.scope("x"))
    with pytest.raises(InsufficientScope):
        asked.enforce(policy.scope("x") & "y")


def test_a_route_that_states_nothing() -> None:
    with pytest.raises(NoPolicy) as refused:
        enter(context(grants("x")), None)
    assert (refused.value.code, refused.value.reason) == (Code.NO_POLICY, Reason.ROUTE_UNDECORATED)
    with pytest.raises(MissingToken) as missing:
        enter(context(None), None)
    assert (missing.value.code, missing.value.reason) == (Code.MISSING_TOKEN, Reason.NO_CREDENTIALS)
    with pytest.raises(MissingToken):
        enter(context(None, undecorated=AUTHENTICATED), None)
    relaxed = context(grants(), undecorated=AUTHENTICATED)
    enter(relaxed, None)
    assert relaxed.decided


def test_a_mount_around_it_covers_a_route_that_states_nothing() -> None:
    asked = context(grants("x"))
    with asked.enforced_route(policy.scope("x"), scope=http_scope(), covers=True):
        enter(asked, None)
        with asked.enforced_route(None, scope=http_scope(), covers=True):  # saying nothing passes it on
            enter(asked, None)
        with pytest.raises(InsufficientScope):
            enter(asked, policy.scope("y"))


@pytest.mark.parametrize("access", [PUBLIC, AUTHENTICATED, policy.scope("x")], ids=repr)
def test_a_mount_covers_only_while_it_runs(access: Access) -> None:
    asked = context(grants("x"))
    with asked.enforced_route(access, scope=http_scope(), covers=True):
        pass
    with pytest.raises(NoPolicy):
        enter(asked, None)
    with pytest.raises(LookupError), asked.enforced_route(access, scope=http_scope(), covers=True):
        raise LookupError
    with pytest.raises(NoPolicy):
        enter(asked, None)


@pytest.mark.parametrize("access", [PUBLIC, AUTHENTICATED, policy.scope("x"), None], ids=repr)
def test_a_route_covers_nothing(access: Access | None) -> None:
    asked = context(grants("x"))
    with asked.enforced_route(PUBLIC, scope=http_scope(), covers=True):
        with asked.enforced_route(access, scope=http_scope()), pytest.raises(NoPolicy):
            enter(asked, None)
        enter(asked, None)  # and takes nothing away from the mount around it


def test_a_mount_that_says_nothing_covers_nothing() -> None:
    asked = context(grants("x"), undecorated=AUTHENTICATED)
    with asked.enforced_route(None, scope=http_scope(), covers=True):
        enter(asked, None)  # open because the application says so, decided anew
    refusing = context(grants("x"))
    with pytest.raises(NoPolicy), refusing.enforced_route(None, scope=http_scope(), covers=True):
        raise NotImplementedError


def test_a_public_path_covers_that_path_alone() -> None:
    asked = context(None, public_path="/open")
    enter(asked, None, path="/open")
    for path in ("", "/", "/open/", "/Open", "/internal"):
        with pytest.raises(MissingToken):
            enter(asked, None, path=path)
    with pytest.raises(MissingToken):
        enter(asked, policy.scope("x"), path="/open")
    with asked.enforced_route(None, scope=http_scope("/open"), covers=True), pytest.raises(MissingToken):
        enter(asked, None, path="/internal")


def test_a_refusal_is_remembered_until_access_is_granted() -> None:
    asked = context(grants("x"))
    with pytest.raises(InsufficientScope) as refused:
        asked.enforce(policy.scope("y"))
    assert asked.refusal is refused.value
    asked.enforce(PUBLIC)
    assert asked.refusal is refused.value
    asked.enforce(policy.scope("x"))
    assert asked.refusal is None


def test_authorize_does_not_cover_a_route_that_states_nothing() -> None:
    asked = context(grants("x"))
    asked.enforce(policy.scope("x"))
    with pytest.raises(NoPolicy):
        enter(asked, None)


def test_what_a_route_stated_altogether_is_not_decided_again_in_pieces() -> None:
    x, y = policy.scope("x"), policy.scope("y")
    asked = context(grants("x y"))
    enter(asked, x & y, (x, y))
    object.__setattr__(asked, "token", token_with(grants()))
    asked.enforce(x)
    asked.enforce(y)
    with pytest.raises(InsufficientScope):
        asked.enforce(policy.scope("x"))


def test_a_closed_context_decides_nothing_any_more() -> None:
    asked = context(grants("x"))
    asked.enforce(PUBLIC)
    asked.close()
    assert not asked.is_open
    for access in (PUBLIC, AUTHENTICATED, policy.scope("x")):
        with pytest.raises(ConfigurationError, match="within the request"):
            asked.enforce(access)
        with pytest.raises(ConfigurationError, match="within the request"):
            enter(asked, access)


def test_handing_over_leaves_the_decision_to_another() -> None:
    asked, inner = context(None), context(grants("x"))
    asked.hand_over(inner)
    assert not asked.decided
    inner.enforce(AUTHENTICATED)
    assert asked.decided


@pytest.mark.parametrize(
    "value", [None, object(), "context", {"token": 1}, type("RequestContext", (), {"is_open": True})()]
)
def test_only_the_one_type_is_believed(value: object) -> None:
    for scope in ({}, {"authz_middleware": value}):
        with pytest.raises(ConfigurationError, match="add_middleware"):
            context_of(scope)


def test_binding_ends_with_the_block() -> None:
    asked, scope = context(grants("x")), http_scope()
    with bound(asked, scope):
        assert context_of(scope) is current_context() is asked
        assert (scope["auth"].scopes, scope["auth"].token) == (["x"], asked.token)
        assert isinstance(scope["user"], Caller)
    for find in (current_context, lambda: context_of(scope)):
        with pytest.raises(ConfigurationError):
            find()


def test_binding_ends_with_an_exception() -> None:
    asked = context(grants("x"))
    with pytest.raises(LookupError), bound(asked, http_scope()):
        raise LookupError
    assert not asked.is_open
    with pytest.raises(ConfigurationError):
        current_context()


def test_the_anonymous_are_nobody() -> None:
    scope = http_scope()
    with bound(context(None), scope):
        assert (scope["auth"].scopes, scope["auth"].token) == ([], None)
        assert isinstance(scope["user"], UnauthenticatedUser)
        with pytest.raises(MissingToken):
            asyncio.run(access_token(HTTPConnection(scope)))


def test_callers_are_told_apart_by_issuer_and_subject() -> None:
    caller = Caller(token_with(grants()))
    assert (caller.identity, caller.display_name) == ("https://issuer.test/#auth0|jo", "auth0|jo")
    assert caller.is_authenticated


def test_credentials_show_what_counts() -> None:
    token = token_with(grants("b openid", "a", effective=frozenset({"a", "b"})))
    assert Credentials(token).scopes == ["a", "b"]


def test_the_functions_need_the_middleware() -> None:
    connection = HTTPConnection(http_scope())
    with pytest.raises(ConfigurationError, match="add_middleware"):
        asyncio.run(access_token(connection))
    with pytest.raises(ConfigurationError, match="add_middleware"):
        asyncio.run(cast("Coroutine[Any, Any, None]", authorize(connection, "x")))


@pytest.mark.parametrize("needed", ["", "a b", None, ["x"], "openid", PUBLIC])
def test_authorize_takes_policies_only(needed: Any) -> None:
    scope = http_scope()
    with bound(context(grants("x")), scope), pytest.raises(ConfigurationError):
        asyncio.run(cast("Coroutine[Any, Any, None]", authorize(HTTPConnection(scope), needed)))


# --- public paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paths", ["/docs", b"/docs", {"/docs": 1}, 1, None, iter(["/docs"])])
def test_public_paths_are_a_collection(paths: object) -> None:
    with pytest.raises(ConfigurationError, match=r'public_paths=\["/docs"\], with brackets'):
        PublicPaths(paths)


@pytest.mark.parametrize(
    "path",
    ["", "docs", "*", "/a/*/b", "/a*", "/static*", "/**", "/a/**", "/a/../b", "/a/./*", "/a\\..\\b", 1, None, b"/docs"],
)
def test_what_is_no_path_says_what_to_write(path: object) -> None:
    with pytest.raises(ConfigurationError, match=r'write "/docs" or, for a tree, "/static/\*"'):
        PublicPaths(["/ok", path])


def test_everything_cannot_be_public() -> None:
    with pytest.raises(ConfigurationError, match="would open everything; name the paths, or decorate with @public"):
        PublicPaths(["/*"])


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_any_collection_of_paths_will_do(kind: Callable[[list[str]], object]) -> None:
    paths = PublicPaths(kind(["/a", "/b/*"]))
    assert [path for path in ("/a", "/b", "/b/", "/b/c", "/a/c", "") if path in paths] == ["/a", "/b/", "/b/c"]


# --- requests beside each other ---------------------------------------------------------------------------------------


class Meeting:
    """Holds requests until all have arrived."""

    def __init__(self, size: int) -> None:
        self.missing = size
        self.all_here = asyncio.Event()

    async def wait(self) -> None:
        self.missing -= 1
        if not self.missing:
            self.all_here.set()
        await self.all_here.wait()


def test_concurrent_requests_keep_their_own_tokens(issuer: LocalIssuer) -> None:
    number = 12

    async def run() -> list[Answer]:
        meeting = Meeting(number)

        @authenticated
        async def handler(request: Request) -> Response:
            before = (await access_token(request)).subject
            await meeting.wait()
            token = current_context().token
            if token is None or not before == token.subject == request.user.display_name:
                raise LookupError("another's token")
            return PlainTextResponse(token.subject + needs_x())

        app = starlette_app(issuer, Route("/", handler))
        calls = [
            serve(app, http_scope("/", [bearer(issuer, subject=f"s{n}", scope="x" if n % 2 else "y", permissions=[])]))
            for n in range(number)
        ]
        return await asyncio.gather(*calls)

    for n, answer in enumerate(asyncio.run(run())):
        if n % 2:
            assert (answer.status, answer.body) == (200, f"s{n}x".encode())
        else:
            expect_forbidden(answer, "x")


def test_concurrent_sync_handlers_keep_their_own_tokens(issuer: LocalIssuer) -> None:
    barrier = threading.Barrier(4, timeout=30)

    @authenticated
    def handler(request: Request) -> Response:
        barrier.wait()
        token = current_context().token
        if token is None or token.subject != request.user.display_name:
            raise LookupError("another's token")
        return PlainTextResponse(token.subject + needs_x())

    async def run() -> list[Answer]:
        app = starlette_app(issuer, Route("/", handler))
        scopes = ["x", "y", "x", "y"]
        return await asyncio.gather(
            *(
                serve(app, http_scope("/", [bearer(issuer, subject=f"s{n}", scope=scope, permissions=[])]))
                for n, scope in enumerate(scopes)
            )
        )

    answers = asyncio.run(run())
    assert [answer.status for answer in answers] == [200, 403, 200, 403]
    assert [answers[0].body, answers[2].body] == [b"s0x", b"s2x"]


# --- after the request ------------------------------------------------------------------------------------------------


def test_a_task_that_outlives_its_request_has_no_token(issuer: LocalIssuer) -> None:
    async def run() -> list[object]:
        answered = asyncio.Event()
        tasks: list[asyncio.Task[object]] = []

        async def attempt(ask: Callable[[], Awaitable[object]]) -> object:
            await answered.wait()
            try:
                return await ask()
            except ConfigurationError as error:
                return type(error)

        @requires("x")
        async def handler(request: Request) -> Response:
            async def guarded() -> object:
                return needs_x()

            asks = (guarded, lambda: authorize(request, "x"), lambda: access_token(request))
            tasks.extend(asyncio.ensure_future(attempt(ask)) for ask in asks)
            return PlainTextResponse("ok")

        @public
        async def opened(request: Request) -> Response:
            answered.set()
            await asyncio.gather(*tasks)
            return PlainTextResponse("ok")

        app = starlette_app(issuer, Route("/", handler), Route("/open", opened))
        assert (await serve(app, http_scope("/", [bearer(issuer, **X)]))).status == 200
        assert (await serve(app, http_scope("/open", [bearer(issuer, **X)]))).status == 200
        return [task.result() for task in tasks]

    assert asyncio.run(run()) == [ConfigurationError] * 3


def test_a_thread_that_outlives_its_request_has_no_token(issuer: LocalIssuer) -> None:
    answered, outcomes = threading.Event(), []
    threads: list[threading.Thread] = []

    def attempt() -> None:
        answered.wait(30)
        try:
            outcomes.append(needs_x())
        except ConfigurationError as error:
            outcomes.append(type(error).__name__)

    @requires("x")
    def handler(request: Request) -> Response:
        copied = contextvars.copy_context()
        threads.extend([threading.Thread(target=copied.run, args=(attempt,)), threading.Thread(target=attempt)])
        for thread in threads:
            thread.start()
        return PlainTextResponse(needs_x())

    assert client(starlette_app(issuer, Route("/", handler))).get("/", headers=issuer.headers(**X)).text == "x"
    answered.set()
    for thread in threads:
        thread.join(30)
    assert outcomes == ["ConfigurationError", "ConfigurationError"]


def test_a_thread_has_no_token_unless_it_is_given_the_context(issuer: LocalIssuer) -> None:
    @requires("x")
    def handler(request: Request) -> Response:
        outcomes: list[str] = []

        def attempt() -> None:
            try:
                outcomes.append(needs_x())
            except ConfigurationError as error:
                outcomes.append(type(error).__name__)

        copied = contextvars.copy_context()
        for target in (attempt, lambda: copied.run(attempt)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join(30)
        return PlainTextResponse(" ".join(outcomes))

    answer = client(starlette_app(issuer, Route("/", handler))).get("/", headers=issuer.headers(**X))
    assert answer.text == "ConfigurationError x"


def test_the_context_of_a_failed_request_ends_too(issuer: LocalIssuer) -> None:
    kept: list[RequestContext] = []

    @requires("x")
    async def failing(request: Request) -> Response:
        kept.append(current_context())
        raise LookupError

    app = starlette_app(issuer, Route("/", failing))
    with pytest.raises(LookupError):
        ask(app, http_scope("/", [bearer(issuer, **X)]))
    assert not kept[0].is_open


def test_a_cancelled_request_ends_its_context(issuer: LocalIssuer) -> None:
    async def run() -> RequestContext:
        kept: list[RequestContext] = []
        arrived, forever = asyncio.Event(), asyncio.Event()

        @requires("x")
        async def hanging(request: Request) -> Response:
            kept.append(current_context())
            arrived.set()
            await forever.wait()
            raise NotImplementedError

        app = starlette_app(issuer, Route("/", hanging))
        request = asyncio.ensure_future(serve(app, http_scope("/", [bearer(issuer, **X)])))
        await arrived.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        return kept[0]

    assert not asyncio.run(run()).is_open


def test_nothing_keeps_a_context_alive(issuer: LocalIssuer) -> None:
    app = starlette_app(issuer, Route("/", requires("x")(endpoint)))
    gc.collect()
    before = [kept for kept in gc.get_objects() if type(kept) is RequestContext]  # of threads that other tests left
    assert ask(app, http_scope("/", [bearer(issuer, **X)])).status == 200
    gc.collect()
    after = [kept for kept in gc.get_objects() if type(kept) is RequestContext]
    assert not [kept for kept in after if not any(kept is one for one in before)]


# --- within the request -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_sync", [True, False])
def test_a_streamed_body_is_still_the_request(issuer: LocalIssuer, is_sync: bool) -> None:
    @requires("x")
    async def handler(request: Request) -> Response:
        def parts() -> Any:
            yield needs_x()
            yield needs_x()

        async def async_parts() -> AsyncIterator[str]:
            yield needs_x()
            await authorize(request, "x")
            yield needs_x()

        return StreamingResponse(parts() if is_sync else async_parts())

    answer = client(starlette_app(issuer, Route("/", handler))).get("/", headers=issuer.headers(**X))
    assert answer.text == "xx"


def test_a_request_inside_a_request_has_its_own_token(issuer: LocalIssuer) -> None:
    @authenticated
    async def outer(request: Request) -> Response:
        header = bearer(issuer, **({**X} if "escalate" in request.query_params else {"scope": "y", "permissions": []}))
        answers = [
            await serve(request.app, http_scope("/inner", [header])),
            await serve(request.app, http_scope("/inner")),
        ]
        return PlainTextResponse(f"{[answer.status for answer in answers]}{needs_x()}")

    @requires("x")
    async def inner(request: Request) -> Response:
        return PlainTextResponse(needs_x())

    app = client(starlette_app(issuer, Route("/", outer), Route("/inner", inner)))
    assert app.get("/", headers=issuer.headers(**X)).text == "[403, 401]x"
    assert app.get("/?escalate=1", headers=issuer.headers(**X)).text == "[200, 401]x"
    expect_forbidden(app.get("/?escalate=1", headers=issuer.headers(scope="y", permissions=[])), "x")


def test_a_middleware_further_in_replaces_the_token(issuer: LocalIssuer) -> None:
    other = LocalIssuer("https://other.test/", "https://other.test/api")
    trusted = other.trusted(third_party_clients=set())

    @requires("x")
    async def seen(request: Request) -> Response:
        return PlainTextResponse(request.auth.token.issuer + needs_x())

    swapped: list[bytes] = []

    def exchange(app: Any) -> Any:
        async def exchanged(scope: Scope, receive: Receive, send: Send) -> None:
            header = bearer(other, permissions=["x"] if scope["query_string"] else ["y"])
            swapped.append(header[1])
            await app({**scope, "headers": [header]}, receive, send)

        return exchanged

    inner = exchange(AuthzMiddleware(starlette_app(other, Route("/", seen), issuers=[trusted]), issuers=[trusted]))
    app = client(starlette_app(issuer, Mount("/m", app=public(inner))))
    expect_forbidden(app.get("/m/", headers=issuer.headers(**X)), "x")
    answer = app.get("/m/?able", headers=issuer.headers(scope="y", permissions=[]))
    assert answer.text == "https://other.test/x"
    assert swapped


def test_a_guarded_function_is_refused_to_a_public_caller(issuer: LocalIssuer) -> None:
    @public
    async def opened(request: Request) -> Response:
        return PlainTextResponse(needs_x())

    app = client(starlette_app(issuer, Route("/", opened)))
    expect_missing(app.get("/"), "x")
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
