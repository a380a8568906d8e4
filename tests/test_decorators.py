"""`requires` and its family: what they guard, what they refuse to guard, and that they never open anything."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from authz_middleware import (
    AuthzMiddleware,
    ConfigurationError,
    authenticated,
    policy,
    public,
    requires,
    requires_permissions,
    requires_scopes,
)
from authz_middleware.binding import bound
from authz_middleware.decorators import Requirement, combine, decorated_too_late, stated_access
from authz_middleware.errors import Code, InsufficientScope, MissingToken, Reason
from authz_middleware.guard import Guard, Stated
from authz_middleware.policy import AUTHENTICATED, PUBLIC, Policy
from authz_middleware.testing import LocalIssuer

from .apps import (
    PREFLIGHT,
    Calls,
    Foreign,
    ask,
    authz,
    bearer,
    client,
    context,
    endpoint,
    expect_forbidden,
    expect_missing,
    expect_no_policy,
    expect_ok,
    grants,
    http_scope,
    never,
    starlette_app,
    websocket_scope,
)

F = TypeVar("F")

# --- every kind of function, called directly --------------------------------------------------------------------------


def plain(calls: Calls, value: int = 1) -> int:
    calls.note()
    return value


async def coroutine(calls: Calls, value: int = 1) -> int:
    calls.note()
    return value


def generator(calls: Calls, value: int = 1) -> Generator[int, int | None, str]:
    calls.note()
    sent = yield value
    return f"sent {sent}"


async def async_generator(calls: Calls, value: int = 1) -> AsyncGenerator[int]:
    calls.note()
    yield value


class Methods:
    @requires("x")
    def plain(self, calls: Calls, value: int = 1) -> int:
        calls.note()
        return value

    @requires("x")
    async def coroutine(self, calls: Calls, value: int = 1) -> int:
        calls.note()
        return value

    @staticmethod
    @requires("x")
    def static(calls: Calls, value: int = 1) -> int:
        calls.note()
        return value

    @classmethod
    @requires("x")
    def of_class(cls, calls: Calls, value: int = 1) -> int:
        calls.note()
        return value


async def outcome(function: Callable[..., Any], calls: Calls) -> object:
    """Return the first thing a function of any kind gives."""
    result = function(calls, value=2)
    if inspect.isawaitable(result):
        return await result
    if isinstance(result, Iterator):
        return next(result)
    if isinstance(result, AsyncIterator):
        return await anext(result)
    return result


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "plain": requires("x")(plain),
    "coroutine": requires("x")(coroutine),
    "generator": requires("x")(generator),
    "async generator": requires("x")(async_generator),
    "partial": requires("x")(functools.partial(plain, value=1)),
    "async partial": requires("x")(functools.partial(coroutine, value=1)),
    "partial of guarded": functools.partial(requires("x")(plain), value=1),
    "lambda": requires("x")(lambda calls, value=1: plain(calls, value)),
    "method": Methods().plain,
    "async method": Methods().coroutine,
    "static method": Methods.static,
    "class method": Methods.of_class,
    "bound method": requires("x")(SimpleNamespace(m=functools.partial(plain)).m),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_every_kind_of_function_decides_before_it_runs(kind: str) -> None:
    calls = Calls()

    async def called_with(scopes: str | None) -> object:
        with bound(context(None if scopes is None else grants(scopes)), {}):
            return await outcome(FUNCTIONS[kind], calls)

    with pytest.raises(InsufficientScope) as refused:
        asyncio.run(called_with("y"))
    assert (refused.value.code, refused.value.reason) == (Code.INSUFFICIENT_SCOPE, Reason.GRANT_MISSING)
    assert (refused.value.required, refused.value.scope) == ((("x",),), ("x",))
    with pytest.raises(MissingToken) as missing:
        asyncio.run(called_with(None))
    assert missing.value.scope == ("x",)
    assert not calls
    assert asyncio.run(called_with("x")) == 2
    assert calls.names == ["handler"]


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_without_the_middleware_every_kind_is_an_error(kind: str) -> None:
    calls = Calls()
    with pytest.raises(ConfigurationError, match="add_middleware"):
        asyncio.run(outcome(FUNCTIONS[kind], calls))
    assert not calls


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_what_is_guarded_says_so(kind: str) -> None:
    assert stated_access(FUNCTIONS[kind]) == requires("x").access


def test_public_without_the_middleware_is_an_error_too() -> None:
    with pytest.raises(ConfigurationError):
        public(plain)(Calls())


def test_public_lets_anybody_in() -> None:
    with bound(context(None), {}):
        assert public(plain)(Calls(), 3) == 3


def test_a_generator_passes_on_what_is_sent_and_returned() -> None:
    with bound(context(grants("x")), {}):
        running = requires("x")(generator)(Calls())
        assert next(running) == 1
        with pytest.raises(StopIteration) as stopped:
            running.send(5)
    assert stopped.value.value == "sent 5"


def test_an_async_generator_is_closed_with_its_guard() -> None:
    closed: list[str] = []

    @requires("x")
    async def items() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("closed")

    async def run() -> None:
        with bound(context(grants("x")), {}):
            running = items()
            assert await anext(running) == 1
            await running.aclose()
            assert [item async for item in items()] == [1, 2]

    asyncio.run(run())
    assert closed == ["closed", "closed"]


class Thrown(BaseException):
    """What no handler of ordinary errors would pass on."""


@requires("x")
async def async_conversation(heard: list[object]) -> AsyncGenerator[str, object]:
    while heard[-1:] != ["end"]:
        try:
            heard.append((yield f"after {len(heard)}"))
        except (LookupError, Thrown) as error:
            heard.append(type(error))


def test_what_is_sent_and_thrown_reaches_an_async_generator() -> None:
    heard: list[object] = []

    async def run() -> None:
        with bound(context(grants("x")), {}):
            talk = async_conversation(heard)
            assert await anext(talk) == "after 0"
            assert await talk.asend("hello") == "after 1"
            assert await talk.athrow(LookupError()) == "after 2"
            assert await talk.athrow(Thrown()) == "after 3"
            assert await anext(talk) == "after 4"
            with pytest.raises(StopAsyncIteration):
                await talk.asend("end")

    asyncio.run(run())
    assert heard == ["hello", LookupError, Thrown, None, "end"]


def test_what_it_does_not_catch_comes_back() -> None:
    async def run() -> None:
        for error in (ValueError("mine"), asyncio.CancelledError(), KeyboardInterrupt()):
            with bound(context(grants("x")), {}):
                talk = async_conversation([])
                await anext(talk)
                with pytest.raises(type(error)) as back:
                    await talk.athrow(error)
                assert back.value is error
                with pytest.raises(StopAsyncIteration):
                    await anext(talk)

    asyncio.run(run())


def test_a_context_manager_of_a_guarded_generator_sees_what_its_block_raised() -> None:
    seen: list[type[BaseException]] = []

    @asynccontextmanager
    @requires("x")
    async def session() -> AsyncIterator[int]:
        try:
            yield 1
        except BaseException as error:
            seen.append(type(error))
            raise

    async def fail(error: type[BaseException]) -> None:
        async with session():
            raise error

    async def run() -> None:
        for error in (LookupError, asyncio.CancelledError):
            with bound(context(grants("x")), {}), pytest.raises(error):
                await fail(error)

    asyncio.run(run())
    assert seen == [LookupError, asyncio.CancelledError]


@pytest.mark.parametrize("kind", ["positional", "keyword", "websocket"])
def test_a_function_that_is_handed_a_request_asks_for_that_one(kind: str) -> None:
    @requires("x")
    def guarded(number: int, connection: HTTPConnection) -> int:
        return number

    def ask_with(connection: HTTPConnection) -> int:
        return guarded(1, connection=connection) if kind == "keyword" else guarded(1, connection)

    async def nowhere(message: Message) -> None:
        raise NotImplementedError

    def connection(scope: Scope) -> HTTPConnection:
        return WebSocket(scope, never, nowhere) if kind == "websocket" else Request(scope)

    make = websocket_scope if kind == "websocket" else http_scope
    able, unable, nobody, unknown = make(), make(), make(), make()
    with bound(context(grants("y")), unable), pytest.raises(InsufficientScope):
        ask_with(connection(unable))
    with bound(context(None), nobody), pytest.raises(MissingToken):
        ask_with(connection(nobody))
    with bound(context(grants("x")), able):
        for strange in (unable, unknown):  # one that has ended, one that never passed the middleware
            with pytest.raises(ConfigurationError, match="add_middleware"):
                ask_with(connection(strange))
        assert ask_with(connection(able)) == 1
        assert Context().run(ask_with, connection(able)) == 1  # where no request is known to be served


def test_a_function_that_is_handed_another_requests_connection_decides_for_neither() -> None:
    """Else who may do nothing could hand over the connection of somebody who may, or the other way round."""

    @requires("x")
    def guarded(connection: HTTPConnection) -> str:
        return "ran"

    one, other = http_scope(), http_scope()
    for granted in ("x", "y"):
        another = pytest.raises(ConfigurationError, match="another request's connection")
        with bound(context(grants("x")), one), bound(context(grants(granted)), other), another:
            guarded(Request(one))
    with bound(context(grants("y")), other):
        of_the_other = copy_context()
    with bound(context(grants("x")), one):
        assert of_the_other.run(guarded, Request(one)) == "ran"  # a task that has outlived its request


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
def test_kind_name_and_signature_are_preserved(function: Callable[..., Any]) -> None:
    guarded = requires("x")(function)
    assert guarded is not function
    assert (guarded.__name__, guarded.__doc__) == (function.__name__, function.__doc__)
    assert inspect.signature(guarded) == inspect.signature(function)
    for is_kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert is_kind(guarded) == is_kind(function)


def test_the_decorated_function_itself_stays_as_it_was() -> None:
    requires("x")(plain)
    assert stated_access(plain) is None
    assert plain(Calls(), 3) == 3


# --- stacking ---------------------------------------------------------------------------------------------------------


def test_stacked_decorators_add_up() -> None:
    stacked = requires("a")(requires_scopes("b")(requires_permissions("c")(plain)))
    assert stated_access(stacked) == policy.any_of("a") & policy.scope("b") & policy.permission("c")
    for lacking in (grants("b", "c"), grants("a", "b c"), grants("a b")):
        with bound(context(lacking), {}), pytest.raises(InsufficientScope):
            stacked(Calls())
    with bound(context(grants("a b", "c")), {}):
        assert stacked(Calls()) == 1


def test_stacked_decorators_wrap_once() -> None:
    once = requires("a")(plain)
    twice = requires("b")(once)
    assert inspect.unwrap(twice) is plain
    assert vars(twice)["__wrapped__"] is plain


def test_authenticated_beside_requires_adds_nothing() -> None:
    stacked = authenticated(requires("a")(plain))
    with bound(context(grants("b")), {}), pytest.raises(InsufficientScope):
        stacked(Calls())


def test_authenticated_takes_any_token_and_no_anonymous() -> None:
    guarded = authenticated(plain)
    with bound(context(grants()), {}):
        assert guarded(Calls()) == 1
    with bound(context(None), {}), pytest.raises(MissingToken):
        guarded(Calls())


@pytest.mark.parametrize("inner", [requires("a"), authenticated, requires_scopes("a")])
def test_public_beside_a_requirement_is_an_error(inner: Requirement) -> None:
    with pytest.raises(ConfigurationError, match="both @public and guarded; keep one"):
        public(inner(plain))
    with pytest.raises(ConfigurationError, match="both @public and guarded; keep one"):
        inner(public(plain))


def test_public_twice_is_public() -> None:
    assert stated_access(public(public(plain))) is PUBLIC


def test_two_statements_say_both() -> None:
    assert combine(PUBLIC, None, "f") is PUBLIC
    assert combine(AUTHENTICATED, requires("a").access, "f") == policy.all_of(AUTHENTICATED, "a")


@pytest.mark.parametrize(
    ("made", "same"),
    [
        (requires("a", "b"), policy.any_of("a") & "b"),
        (requires(policy.scope("a") | policy.permission("b")), policy.scope("a") | policy.permission("b")),
        (requires_scopes("a", "b"), policy.scope("a") & policy.scope("b")),
        (requires_permissions("a", "b"), policy.permission("a") & policy.permission("b")),
        (requires_scopes("openid"), policy.scope("openid")),
    ],
)
def test_what_the_decorators_require(made: Requirement, same: Policy) -> None:
    assert made.access == same


@pytest.mark.parametrize("make", [requires, requires_scopes, requires_permissions])
def test_an_empty_requirement_says_what_to_write(make: Callable[..., Requirement]) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{make.__name__}\(\) is empty.*write {make.__name__}\("):
        make()
    with pytest.raises(ConfigurationError, match=f"^{make.__name__} was given an empty string"):
        make("")
    with pytest.raises(ConfigurationError, match=f"^{make.__name__} takes strings, not a list"):
        make(["a"])


def test_terms_cannot_be_passed_where_values_are_meant() -> None:
    with pytest.raises(ConfigurationError):
        requires_scopes(policy.scope("a"))  # type: ignore[arg-type]


# --- what cannot be guarded -------------------------------------------------------------------------------------------


class Callable_:  # noqa: N801
    def __call__(self, request: Request) -> Response:
        raise NotImplementedError


@pytest.mark.parametrize(
    "target",
    [
        None,
        1,
        "name",
        [plain],
        object(),
        Callable_(),
        Callable_,
        int,
        Route("/", endpoint),
        Mount("/", Router()),
        property(plain),
        staticmethod(plain),
        classmethod(lambda *_: None),
        policy.scope("a"),
        authenticated,
    ],
    ids=repr,
)
def test_what_cannot_be_guarded_is_an_error(target: object) -> None:
    with pytest.raises(ConfigurationError, match=r"below the route decorator|above a function"):
        requires("x")(target)


def test_forgotten_parentheses_are_an_error() -> None:
    with pytest.raises(ConfigurationError):
        requires(plain)  # type: ignore[arg-type]


def test_what_has_no_signature_is_no_asgi_application() -> None:
    class Odd:
        __signature__ = "none"

        def __call__(self) -> None:
            raise NotImplementedError

    with pytest.raises(ConfigurationError):
        requires("x")(Odd())


# --- the wrong order --------------------------------------------------------------------------------------------------


def test_a_function_decorated_too_late_is_found() -> None:
    def late() -> None:
        raise NotImplementedError

    assert decorated_too_late(late) is None
    requires_scopes("x")(late)
    assert decorated_too_late(late) == "requires_scopes"
    assert decorated_too_late(requires("x")(late)) is None
    assert decorated_too_late(Foreign()) is None
    assert decorated_too_late(functools.partial(late)) is None


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    """Be somebody else's decorator."""

    @functools.wraps(function)
    async def wrapped(*args: Any) -> Any:
        raise NotImplementedError

    return wrapped


def test_a_function_is_found_below_other_decorators() -> None:
    def late() -> None:
        raise NotImplementedError

    once = wrapping(late)
    twice = wrapping(once)
    requires("x")(twice)
    assert [decorated_too_late(function) for function in (late, once, twice)] == ["requires"] * 3
    early = requires("x")(plain)
    assert decorated_too_late(requires("y")(wrapping(early))) is None
    assert decorated_too_late(early) is None


def test_another_decorator_between_does_not_hide_the_wrong_order(issuer: LocalIssuer) -> None:
    def late(request: Request) -> Response:
        raise NotImplementedError

    app = starlette_app(issuer, Route("/late", late))
    requires_scopes("x")(wrapping(wrapping(late)))
    with pytest.raises(ConfigurationError, match="/late: @requires_scopes stands above"), client(app):
        pass


@pytest.mark.parametrize("decorate", [public, requires("x")])
def test_the_bare_original_of_a_guarded_copy_is_not_served(issuer: LocalIssuer, decorate: Requirement) -> None:
    class Original(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            raise NotImplementedError

    async def original(request: Request) -> Response:
        raise NotImplementedError

    for target in (original, Original):
        copy: Any = decorate(target)
        assert stated_access(target) is None
        app = starlette_app(issuer, Route("/copy", copy), Route("/original", target))
        with pytest.raises(ConfigurationError, match=f"/original: @{decorate.name}.*a copy"), client(app):
            pass


@pytest.mark.parametrize("decorate", [public, requires("x")])
def test_what_was_copied_with_a_mark(issuer: LocalIssuer, decorate: Requirement) -> None:
    marked = decorate(endpoint)

    @functools.wraps(marked)
    async def stranger(request: Request) -> Response:
        return text_of(CALLS, "stranger")

    partial = functools.partial(stranger)
    functools.update_wrapper(partial, marked)
    app = client(starlette_app(issuer, Route("/", stranger), Route("/partial", partial)))
    for path in ("/", "/partial"):
        if decorate is public:  # nobody said so of this one
            expect_missing(app.get(path))
            expect_no_policy(app.get(path, headers=issuer.headers()))
        else:
            expect_missing(app.get(path), "x")
            expect_forbidden(app.get(path, headers=issuer.headers()), "x")
    assert not CALLS


def test_the_wrong_order_fails_at_start_and_says_what_to_write(issuer: LocalIssuer) -> None:
    def late(request: Request) -> Response:
        raise NotImplementedError

    app = starlette_app(issuer, Route("/late", late), Mount("/in", routes=[Route("/later", late)]))
    requires("x")(late)
    with pytest.raises(ConfigurationError) as fault, client(app):
        pass
    assert [text.split(":")[0] for text in fault.value.faults] == ["/late", "/in/later"]
    assert all("@requires stands above the route decorator" in text for text in fault.value.faults)
    assert all("write it below" in text for text in fault.value.faults)


# --- class-based endpoints --------------------------------------------------------------------------------------------


def text_of(calls: Calls, name: str) -> Response:
    calls.note(name)
    return PlainTextResponse(name)


CALLS = Calls()


class ByMethod(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")

    @requires("write")
    def post(self, request: Request) -> Response:
        return text_of(CALLS, "post")

    @public
    async def put(self, request: Request) -> Response:
        return text_of(CALLS, "put")

    async def delete(self, request: Request) -> Response:
        return text_of(CALLS, "delete")


@requires("class")
class Whole(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")

    @requires("write")
    async def post(self, request: Request) -> Response:
        return text_of(CALLS, "post")


class Child(Whole):
    async def put(self, request: Request) -> Response:
        return text_of(CALLS, "put")


@requires("child")
class GuardedChild(Whole):
    pass


class OverridingChild(ByMethod):
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "overridden get")


@public
class Open(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")


def classes_app(issuer: LocalIssuer, **options: Any) -> Starlette:
    kinds = (ByMethod, Whole, Child, GuardedChild, OverridingChild, Open)
    return starlette_app(issuer, *(Route(f"/{kind.__name__}", kind) for kind in kinds), **options)


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    CALLS.names.clear()


@pytest.mark.parametrize(
    ("method", "path", "scopes", "missing"),
    [
        ("GET", "ByMethod", "write", ["read"]),
        ("HEAD", "ByMethod", "write", ["read"]),
        ("POST", "ByMethod", "read", ["write"]),
        ("GET", "Whole", "write", ["class"]),
        ("POST", "Whole", "write", ["write", "class"]),
        ("POST", "Whole", "class", ["write", "class"]),
        ("PUT", "Child", "write", ["class"]),
        ("GET", "Child", "write", ["class"]),
        ("POST", "Child", "class", ["write", "class"]),
        ("GET", "GuardedChild", "class", ["child", "class"]),
        ("GET", "GuardedChild", "child", ["child", "class"]),
        ("PATCH", "Whole", "write", ["class"]),
    ],
)
def test_methods_of_classes_are_refused(
    issuer: LocalIssuer, method: str, path: str, scopes: str, missing: list[str]
) -> None:
    answer = ask(
        classes_app(issuer), http_scope(f"/{path}", [bearer(issuer, scope=scopes, permissions=[])], method=method)
    )
    assert not CALLS
    if method == "HEAD":
        assert (answer.status, answer.body) == (403, b"")
    else:
        expect_forbidden(answer, *missing)


@pytest.mark.parametrize(
    ("method", "path", "scopes", "ran"),
    [
        ("GET", "ByMethod", "read", "get"),
        ("HEAD", "ByMethod", "read", "get"),
        ("POST", "ByMethod", "write", "post"),
        ("PUT", "ByMethod", "", "put"),
        ("GET", "Whole", "class", "get"),
        ("POST", "Whole", "class write", "post"),
        ("PUT", "Child", "class", "put"),
        ("GET", "GuardedChild", "class child", "get"),
        ("GET", "Open", "", "get"),
    ],
)
def test_methods_of_classes_are_served(issuer: LocalIssuer, method: str, path: str, scopes: str, ran: str) -> None:
    headers = issuer.headers(scope=scopes, permissions=[])
    expect_ok(client(classes_app(issuer)).request(method, f"/{path}", headers=headers))
    assert CALLS.names == [ran]


@pytest.mark.parametrize("path", ["ByMethod", "OverridingChild"])
def test_a_method_that_states_nothing_is_refused(issuer: LocalIssuer, path: str) -> None:
    method = "DELETE" if path == "ByMethod" else "GET"
    expect_no_policy(client(classes_app(issuer)).request(method, f"/{path}", headers=issuer.headers(scope="read")))
    assert not CALLS


def test_a_method_that_states_nothing_may_be_open_to_any_token(issuer: LocalIssuer) -> None:
    app = client(classes_app(issuer, undecorated="authenticated"))
    expect_ok(app.delete("/ByMethod", headers=issuer.headers()))
    expect_missing(app.delete("/ByMethod"))
    assert CALLS.names == ["delete"]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("GET", "ByMethod", "read"), ("DELETE", "ByMethod", ""), ("PATCH", "ByMethod", ""), ("PATCH", "Whole", "class")],
)
def test_classes_refuse_the_anonymous(issuer: LocalIssuer, method: str, path: str, scope: str) -> None:
    expect_missing(client(classes_app(issuer)).request(method, f"/{path}"), scope)


def test_public_classes_and_methods_admit_the_anonymous(issuer: LocalIssuer) -> None:
    app = client(classes_app(issuer))
    expect_ok(app.get("/Open"))
    expect_ok(app.put("/ByMethod"))
    assert CALLS.names == ["get", "put"]


def test_a_method_a_class_lacks_is_405(issuer: LocalIssuer) -> None:
    app = client(classes_app(issuer))
    assert app.patch("/ByMethod", headers=issuer.headers()).status_code == 405
    assert app.patch("/Whole", headers=issuer.headers(scope="class", permissions=[])).status_code == 405
    for method in ("get", "delete", "Get", "audit", "dispatch"):
        answer = ask(classes_app(issuer), http_scope("/ByMethod", [bearer(issuer)], method=method))
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST, PUT, DELETE")
    assert not CALLS


class Redispatching(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        raise NotImplementedError

    async def dispatch(self) -> None:
        await text_of(CALLS, "dispatch")(self.scope, self.receive, self.send)


class Awaiting(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, None]:
        return text_of(CALLS, "await")(self.scope, self.receive, self.send).__await__()


class Answering405(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")

    async def method_not_allowed(self, request: Request) -> Response:
        return text_of(CALLS, "method_not_allowed")


class FindingMethods(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")

    def __getattr__(self, name: str) -> Any:
        if name == "patch":
            return lambda request: text_of(CALLS, "patch")
        raise AttributeError(name)


class AddingMethods(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.patch = lambda request: text_of(CALLS, "patch")
        super().__init__(scope, receive, send)


class Constructed(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")

    def __new__(cls, *args: Any) -> Any:
        if args[0]["method"] == "GET":
            return super().__new__(cls)
        return text_of(CALLS, "new")(*args)

    def audit(self, request: Request) -> Response:
        return text_of(CALLS, "audit")

    def _helper(self, request: Request) -> Response:
        return text_of(CALLS, "_helper")


@pytest.mark.parametrize("kind", [Redispatching, Awaiting])
def test_a_class_that_dispatches_by_itself_does_not_run_undecided(
    issuer: LocalIssuer, kind: type[HTTPEndpoint]
) -> None:
    app = client(starlette_app(issuer, Route("/", kind)))
    expect_no_policy(app.patch("/", headers=issuer.headers(scope="read")))
    expect_missing(app.patch("/"))
    expect_missing(app.options("/", headers=PREFLIGHT))
    assert not CALLS


WITH_A_WAY_OF_THEIR_OWN = [Answering405, FindingMethods, AddingMethods, Constructed]


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "PROPFIND", "get", "delete", "Get", "audit", "_helper", "AUDIT"])
@pytest.mark.parametrize("kind", WITH_A_WAY_OF_THEIR_OWN)
def test_a_method_it_does_not_state_is_405_before_it_is_made(
    issuer: LocalIssuer, kind: type[HTTPEndpoint], method: str
) -> None:
    app = starlette_app(issuer, Route("/", kind))
    answer = ask(app, http_scope("/", [bearer(issuer, scope="read", permissions=[])], method=method))
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    expect_missing(ask(app, http_scope("/", method=method)))
    assert not CALLS


@pytest.mark.parametrize("kind", WITH_A_WAY_OF_THEIR_OWN)
@pytest.mark.parametrize("undecorated", ["refuse", "authenticated"])
def test_a_preflight_does_not_make_it_either(issuer: LocalIssuer, kind: type[HTTPEndpoint], undecorated: str) -> None:
    expect_missing(
        client(starlette_app(issuer, Route("/", kind), undecorated=undecorated)).options("/", headers=PREFLIGHT)
    )
    assert not CALLS


@pytest.mark.parametrize("kind", WITH_A_WAY_OF_THEIR_OWN)
def test_its_stated_methods_are_served(issuer: LocalIssuer, kind: type[HTTPEndpoint]) -> None:
    app = client(starlette_app(issuer, Route("/", kind)))
    expect_ok(app.get("/", headers=issuer.headers(scope="read", permissions=[])))
    expect_forbidden(app.get("/", headers=issuer.headers(permissions=[])), "read")
    assert CALLS.names == ["get"]


def test_a_class_with_a_way_of_its_own_can_be_guarded_whole(issuer: LocalIssuer) -> None:
    guarded = requires("x")(type("Guarded", (Redispatching,), {}))
    app = client(starlette_app(issuer, Route("/", guarded)))
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
    assert not CALLS
    expect_ok(app.get("/", headers=issuer.headers(scope="x", permissions=[])), "dispatch")


class Answers(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return text_of(CALLS, "get")


def guarded_class(decorate: Requirement) -> Any:
    """Return a class of its own, decorated, that has no method of its own."""
    return decorate(type("Base", (HTTPEndpoint,), {}))


@pytest.mark.parametrize("first", [public, authenticated])
@pytest.mark.parametrize("swapped", [True, False])
def test_every_inherited_restriction_counts(issuer: LocalIssuer, first: Requirement, swapped: bool) -> None:
    bases = (guarded_class(first), guarded_class(requires("a")))
    kind = type("C", (*(reversed(bases) if swapped else bases), Answers), {})
    app = client(starlette_app(issuer, Route("/", kind)))
    expect_missing(app.get("/"), "a")
    expect_forbidden(app.get("/", headers=issuer.headers(scope="b", permissions=[])), "a")
    assert not CALLS
    expect_ok(app.get("/", headers=issuer.headers(scope="a", permissions=[])), "get")


@pytest.mark.parametrize("depth", [1, 2])
def test_that_a_class_is_public_is_not_inherited(issuer: LocalIssuer, depth: int) -> None:
    kind: type = Open
    for _ in range(depth):
        kind = type("Sub", (kind,), {"put": Answers.get})
    app = client(starlette_app(issuer, Route("/", kind)))
    for method in ("GET", "PUT", "HEAD"):
        assert app.request(method, "/").status_code == 401
        assert app.request(method, "/", headers=issuer.headers()).status_code == 403
    expect_no_policy(app.get("/", headers=issuer.headers()))
    assert not CALLS


def test_a_class_below_a_public_one_states_for_itself(issuer: LocalIssuer) -> None:
    class Below(Open):
        @requires("x")
        async def get(self, request: Request) -> Response:
            return text_of(CALLS, "below")

    app = client(starlette_app(issuer, Route("/", Below)))
    expect_missing(app.get("/"), "x")
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
    assert not CALLS
    expect_ok(app.get("/", headers=issuer.headers(scope="x", permissions=[])), "below")


def test_public_below_an_inherited_restriction_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="both @public and guarded; keep one"):
        public(type("C", (Whole,), {}))


def test_a_class_decorator_leaves_the_class_itself_bare() -> None:
    guarded = requires("x")(Answers)
    assert issubclass(guarded, Answers)
    assert guarded is not Answers
    assert (guarded.__name__, guarded.__qualname__, guarded.__module__) == ("Answers", "Answers", __name__)
    assert stated_access(Answers) is None
    assert Answers.__await__ is HTTPEndpoint.__await__
    assert stated_access(type("Sub", (Answers,), {})) is None


def as_if_it_were(original: object) -> Callable[[F], F]:
    """Return `functools.wraps(original)`, which copies name, attributes and a trace, but no identity."""
    copied: Any = functools.wraps(cast("Any", original))
    return cast("Callable[[F], F]", copied)


class CopyingAwait(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        raise NotImplementedError

    @as_if_it_were(HTTPEndpoint.__await__)
    def __await__(self) -> Generator[Any, None, None]:
        return text_of(CALLS, "await")(self.scope, self.receive, self.send).__await__()


class CopyingDispatch(HTTPEndpoint):
    @requires("read")
    async def get(self, request: Request) -> Response:
        raise NotImplementedError

    @as_if_it_were(HTTPEndpoint.dispatch)
    async def dispatch(self) -> None:
        await text_of(CALLS, "dispatch")(self.scope, self.receive, self.send)


@pytest.mark.parametrize("kind", [CopyingAwait, CopyingDispatch])
@pytest.mark.parametrize("method", ["GET", "PATCH", "OPTIONS"])
def test_a_copy_of_the_frameworks_way_is_a_way_of_its_own(
    issuer: LocalIssuer, kind: type[HTTPEndpoint], method: str
) -> None:
    app = client(starlette_app(issuer, Route("/", kind)))
    expect_no_policy(app.request(method, "/", headers=issuer.headers(scope="read", permissions=[])))
    expect_missing(app.request(method, "/", headers=PREFLIGHT))
    assert not CALLS


def test_a_public_class_with_a_guarded_method_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="Both is both @public and guarded"):

        @public
        class Both(HTTPEndpoint):
            @requires("x")
            def get(self, request: Request) -> Response:
                raise NotImplementedError


def test_a_contradiction_with_an_inherited_method_fails_at_start(issuer: LocalIssuer) -> None:
    contradictory = public(type("Contradictory", (ByMethod,), {}))
    with (
        pytest.raises(ConfigurationError, match="Contradictory"),
        client(starlette_app(issuer, Route("/", contradictory))),
    ):
        pass


def test_a_guarded_class_decides_by_itself_where_nobody_did() -> None:
    scope = http_scope("/")
    with bound(context(grants("y")), scope), pytest.raises(InsufficientScope):
        ask(Whole, scope)
    with pytest.raises(ConfigurationError):
        ask(Whole, http_scope("/"))
    assert not CALLS


# --- ASGI applications ------------------------------------------------------------------------------------------------


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    await text_of(CALLS, "asgi")(scope, receive, send)


class App:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asgi(scope, receive, send)


ADMIN = Starlette(routes=[Route("/", asgi_endpoint := lambda request: text_of(CALLS, "asgi"))])


@pytest.mark.parametrize(
    "app", [asgi, App(), ADMIN, Router([Route("/", asgi_endpoint)])], ids=lambda app: type(app).__name__
)
def test_mounted_applications_are_guarded(issuer: LocalIssuer, app: Any) -> None:
    guarded = requires("x")(app)
    assert isinstance(guarded, Guard)
    outer = client(starlette_app(issuer, Mount("/admin", app=guarded)))
    expect_forbidden(outer.get("/admin/", headers=issuer.headers(scope="y")), "x")
    expect_missing(outer.get("/admin/"), "x")
    assert not CALLS
    expect_ok(outer.get("/admin/", headers=issuer.headers(scope="x", permissions=[])), "asgi")


def test_mounts_hosts_and_routes_take_guarded_applications(issuer: LocalIssuer) -> None:
    guarded = requires("x")(App())
    app = client(starlette_app(issuer, Route("/route", guarded), Host("other.test", guarded)))
    for headers, url in (({}, "/route"), ({"Host": "other.test"}, "/anything")):
        expect_forbidden(app.get(url, headers={**headers, **issuer.headers()}), "x")
        expect_ok(app.get(url, headers={**headers, **issuer.headers(scope="x", permissions=[])}), "asgi")


def test_a_public_application_is_public(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Mount("/open", app=public(ADMIN)), Mount("/files", app=public(App()))))
    expect_ok(app.get("/open/"), "asgi")
    expect_ok(app.get("/files/"), "asgi")


def test_what_is_mounted_in_a_public_application_keeps_its_own_statement(issuer: LocalIssuer) -> None:
    inner = Starlette(routes=[Route("/closed", requires("x")(endpoint))])
    app = client(starlette_app(issuer, Mount("/open", app=public(inner))))
    expect_missing(app.get("/open/closed"), "x")
    expect_forbidden(app.get("/open/closed", headers=issuer.headers()), "x")


def test_a_public_route_in_a_guarded_application_is_guarded(issuer: LocalIssuer) -> None:
    inner = Starlette(routes=[Route("/open", public(endpoint))])
    app = client(starlette_app(issuer, Mount("/admin", app=requires("x")(inner))))
    expect_missing(app.get("/admin/open"), "x")
    expect_forbidden(app.get("/admin/open", headers=issuer.headers()), "x")
    expect_ok(app.get("/admin/open", headers=issuer.headers(scope="x", permissions=[])))


def test_mount_and_route_add_up(issuer: LocalIssuer) -> None:
    inner = Starlette(routes=[Route("/both", requires("y")(endpoint))])
    app = client(starlette_app(issuer, Mount("/admin", app=requires("x")(inner))))
    # whoever lacks one of the two is told of both: a client that asks for just that gets in
    expect_forbidden(app.get("/admin/both", headers=issuer.headers(scope="y", permissions=[])), "x", "y")
    expect_forbidden(app.get("/admin/both", headers=issuer.headers(scope="x", permissions=[])), "x", "y")
    expect_ok(app.get("/admin/both", headers=issuer.headers(scope="x y", permissions=[])))


def test_stacked_requirements_around_an_application_add_up(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Mount("/admin", app=requires("x")(requires("y")(App())))))
    expect_forbidden(app.get("/admin/", headers=issuer.headers(scope="y", permissions=[])), "x", "y")
    expect_forbidden(app.get("/admin/", headers=issuer.headers(scope="x", permissions=[])), "x", "y")
    expect_ok(app.get("/admin/", headers=issuer.headers(scope="x y", permissions=[])))


def test_public_around_a_guarded_application_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="both @public and guarded"):
        public(requires("x")(App()))


def test_a_guarded_application_without_the_middleware_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="add_middleware"):
        ask(requires("x")(App()), http_scope("/"))
    assert not CALLS


def test_lifespan_passes_a_guard_and_shows_routes_behind() -> None:
    foreign = Foreign()
    with client(requires("x")(foreign)):
        assert foreign.calls.names == ["lifespan"]
    assert Guard(ADMIN, Stated(None)).routes == ADMIN.routes
    assert Guard(foreign, Stated(None)).routes == []


# --- WebSocket endpoints ----------------------------------------------------------------------------------------------


@requires("class")
class Talk(WebSocketEndpoint):
    encoding = "text"

    @requires("receive")
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        CALLS.note(data)
        await websocket.send_text(data)


@pytest.mark.parametrize("scopes", ["class", "receive", ""])
def test_what_a_websocket_class_states_must_hold_at_its_handshake(issuer: LocalIssuer, scopes: str) -> None:
    app = client(starlette_app(issuer, WebSocketRoute("/", Talk)))
    from starlette.testclient import WebSocketDenialResponse

    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        app.websocket_connect("/", headers=issuer.headers(scope=scopes, permissions=[])),
    ):
        pass
    expect_forbidden(denied.value, "receive", "class")
    assert not CALLS


def test_a_websocket_class_talks_to_whom_it_admits(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, WebSocketRoute("/", Talk)))
    with app.websocket_connect("/", headers=issuer.headers(scope="class receive", permissions=[])) as talk:
        talk.send_text("hello")
        assert talk.receive_text() == "hello"


# --- where they run ---------------------------------------------------------------------------------------------------


def test_sync_endpoints_run_guarded_in_threads(issuer: LocalIssuer) -> None:
    threads: list[int] = []

    @requires("x")
    def handler(request: Request) -> Response:
        threads.append(threading.get_ident())
        return PlainTextResponse(helper())

    @requires("y")
    def helper() -> str:
        return "helped"

    app = client(starlette_app(issuer, Route("/", handler)))
    expect_forbidden(app.get("/", headers=issuer.headers(scope="x", permissions=[])), "y")
    expect_ok(app.get("/", headers=issuer.headers(scope="x y", permissions=[])), "helped")
    assert threading.main_thread().ident not in threads


def test_methods_and_partials_are_endpoints(issuer: LocalIssuer) -> None:
    class Resource:
        @requires("x")
        async def show(self, request: Request) -> Response:
            return text_of(CALLS, "show")

    def named(request: Request, name: str) -> Response:
        return text_of(CALLS, name)

    app = client(
        starlette_app(
            issuer,
            Route("/method", Resource().show),
            Route("/partial", requires("x")(functools.partial(named, name="partial"))),
            Route("/inner", functools.partial(requires("x")(named), name="inner")),
        )
    )
    for path in ("/method", "/partial", "/inner"):
        expect_missing(app.get(path), "x")
        expect_forbidden(app.get(path, headers=issuer.headers()), "x")
        expect_ok(app.get(path, headers=issuer.headers(scope="x", permissions=[])))
    assert CALLS.names == ["show", "partial", "inner"]


def test_one_function_may_be_guarded_in_two_ways(issuer: LocalIssuer) -> None:
    async def shared(request: Request) -> Response:
        return text_of(CALLS, "shared")

    app = client(starlette_app(issuer, Route("/a", requires("a")(shared)), Route("/b", public(shared))))
    expect_missing(app.get("/a"), "a")
    expect_ok(app.get("/b"))


def test_middleware_of_a_route_is_behind_the_decision(issuer: LocalIssuer) -> None:
    def counting(app: Any) -> Any:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            CALLS.note("middleware")
            await app(scope, receive, send)

        return counted

    app = client(starlette_app(issuer, Route("/", requires("x")(endpoint), middleware=[Middleware(counting)])))
    expect_forbidden(app.get("/", headers=issuer.headers()), "x")
    assert not CALLS
    expect_ok(app.get("/", headers=issuer.headers(scope="x", permissions=[])))
    assert CALLS.names == ["middleware"]


def test_starlettes_own_application_object_is_needed_nowhere(issuer: LocalIssuer) -> None:
    router = Router([Route("/", requires("x")(endpoint))], middleware=[authz(issuer)])
    expect_forbidden(ask(router, http_scope("/", [bearer(issuer)])), "x")
    assert ask(router, http_scope("/", [bearer(issuer, scope="x", permissions=[])])).status == 200


def test_a_class_that_names_itself_to_super_is_an_error_that_says_what_to_write() -> None:
    class Naming(HTTPEndpoint):
        def __init__(self, *args: Any) -> None:
            super(Naming, self).__init__(*args)  # noqa: UP008

    class Plain(HTTPEndpoint):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.kind = Plain

    with pytest.raises(ConfigurationError, match="write super\\(\\) without arguments"):
        requires("x")(Naming)
    assert issubclass(requires("x")(Plain), Plain)


def test_an_application_is_not_kept_alive_by_handlers_that_name_it(issuer: LocalIssuer) -> None:
    def made() -> Starlette:
        @requires("x")
        async def handler(request: Request) -> Response:
            return PlainTextResponse(repr(app.state))

        app = starlette_app(issuer, Route("/", handler))
        return app

    kept = weakref.ref(app := made())
    assert ask(app, http_scope("/", [bearer(issuer, scope="x", permissions=[])])).status == 200
    del app
    gc.collect()
    assert kept() is None


class OnlyGet(HTTPEndpoint):
    async def get(self, _: Request) -> Response:
        raise NotImplementedError

    async def method_not_allowed(self, request: Request) -> Response:
        return PlainTextResponse("own words", 405)


def test_a_method_that_a_class_lacks_is_answered_as_routes_do(issuer: LocalIssuer) -> None:
    async def handled(request: Request, error: Exception) -> Response:
        return PlainTextResponse("handled", 405)

    lacks = Route("/", OnlyGet)
    app = starlette_app(issuer, lacks)
    app.add_exception_handler(405, handled)
    assert client(app).post("/", headers=issuer.headers()).text == "handled"
    bare = AuthzMiddleware(Router([Route("/", OnlyGet)]), issuers=[issuer.trusted()])  # no application, no handlers
    answer = ask(bare, http_scope("/", [bearer(issuer)], method="POST"))
    assert (answer.status, answer.headers["allow"], answer.body) == (405, "GET, HEAD", b"Method Not Allowed")
    reporting = starlette_app(issuer, Route("/", OnlyGet), enforce=False)
    assert client(reporting).post("/").text == "own words"
