"""`policy.check`: what is decided by functions of the application's own, and how little of what they do can open."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import gc
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, FastAPI, Security
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from authz_middleware import AccessToken, ConfigurationError, authenticated, authorize, policy, public, requires
from authz_middleware.audit import RouteTable, compare, route_table
from authz_middleware.errors import InsufficientScope
from authz_middleware.policy import TokenRequest, decide
from authz_middleware.policy import running as running_room
from authz_middleware.policy.checks import MAX_SECONDS, CheckTerm
from authz_middleware.policy.running import run_checks, run_checks_now
from authz_middleware.testing import LocalIssuer, as_caller

from .apps import (
    Calls,
    ask,
    authz,
    bearer,
    client,
    context,
    endpoint,
    expect_forbidden,
    expect_missing,
    expect_ok,
    grants,
    http_scope,
    never,
    starlette_app,
    websocket_scope,
)
from .helpers import ISSUER
from .watching import Lines, Watch, lines  # noqa: F401 - a fixture

check = policy.check
REQUEST = TokenRequest(ISSUER.access_token(permissions=["x"]), {"number": "7"}, {"x-owner": "yes"})
Asks = Callable[[policy.AccessRequest], Any]


@dataclass
class Owns:
    """Checks that remember what they were asked: the owner is who says so in a header."""

    asked: list[policy.AccessRequest] = field(default_factory=list)

    def now(self, request: policy.AccessRequest) -> bool:
        self.asked.append(request)
        return request.headers.get("x-owner") == "yes"

    async def later(self, request: policy.AccessRequest) -> bool:
        await asyncio.sleep(0)
        return self.now(request)

    def both(self) -> list[policy.Policy]:
        return [check(self.now), check(self.later)]


def answering(answer: object) -> list[policy.Policy]:
    """Return a sync and an async check that return something."""

    def now(request: policy.AccessRequest) -> Any:
        return answer

    async def later(request: policy.AccessRequest) -> Any:
        return answer

    return [check(now), check(later)]


def failing(error: BaseException) -> list[policy.Policy]:
    """Return a sync and an async check that raise something."""

    def now(request: policy.AccessRequest) -> bool:
        raise error

    async def later(request: policy.AccessRequest) -> bool:
        raise error

    return [check(now), check(later)]


def is_met(asked: policy.Policy, request: policy.AccessRequest = REQUEST) -> bool:
    """Decide where everything can be awaited."""
    decision = asyncio.run(decide(asked, request))
    if decision.allowed != asked.allows(request, asyncio.run(run_checks(asked, request))):
        raise AssertionError("two ways to decide differ")
    return decision.allowed


async def holding(asked: policy.Policy) -> list[policy.Term]:
    """Return the checks that answered True."""
    return [term for term, answer in (await run_checks(asked, REQUEST)).items() if answer]


def is_met_now(asked: policy.Policy, request: policy.AccessRequest = REQUEST) -> bool:
    """Decide where nothing can be awaited."""
    return asked.allows(request, run_checks_now(asked, request))


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [True, False])
def test_a_bool_is_an_answer(answer: bool) -> None:
    now, later = answering(answer)
    assert is_met(now) is is_met(later) is is_met_now(now) is answer


def coroutine() -> Any:
    async def nothing() -> bool:
        raise NotImplementedError

    return nothing()


@pytest.mark.parametrize(
    "answer",
    [None, 1, 0, "yes", "", "True", [], [True], object(), 1.0, b"yes", NotImplemented, type],
    ids=repr,
)
def test_whatever_is_no_bool_refuses(answer: Any, lines: Lines) -> None:  # noqa: F811 - the fixture
    for number, way in enumerate((is_met, is_met, is_met_now)):
        asked = answering(answer)[number % 2]
        assert not way(asked)
        assert not way(asked & "x")
    assert all(
        line.endswith(f"returned a {type(answer).__name__} where a bool is due") for line in lines.at(logging.WARNING)
    )
    assert len(lines.at(logging.WARNING)) >= 3


def test_an_answer_that_is_awaited_is_awaited_once(lines: Lines) -> None:  # noqa: F811
    """What is left of it is closed: a coroutine that nobody awaits would be complained of."""
    assert not is_met(answering(coroutine())[1])
    assert lines.at(logging.WARNING)[0].endswith("returned a coroutine where a bool is due")


async def owns(request: policy.AccessRequest, table: str) -> bool:
    await asyncio.sleep(0)
    return request.headers["x-owner"] == "yes" and table == "orders"


@dataclass
class Later:
    """What can be awaited and is no coroutine."""

    answer: bool = True

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self.answer


@pytest.mark.parametrize(
    ("function", "met"),
    [
        (lambda request: owns(request, "orders"), True),
        (lambda request: owns(request, "customers"), False),
        (lambda request: Later(), True),
        (lambda request: Later(False), False),
    ],
)
def test_what_a_sync_function_returns_to_be_awaited_is_awaited(
    function: Asks,
    met: bool,
    lines: Lines,  # noqa: F811
) -> None:
    assert is_met(check(function)) is met
    assert is_met(check(function) & "x") is met
    assert not lines.at(logging.WARNING)
    assert run_checks_now(check(function), REQUEST) == {check(function): None}
    assert lines.at(logging.WARNING) == [
        f"check {__name__}:{function.__qualname__} is async, and nothing can be awaited where it is asked"
    ]


def test_what_is_awaited_counts_into_its_time(lines: Lines) -> None:  # noqa: F811
    async def hangs() -> bool:
        await asyncio.Event().wait()
        raise NotImplementedError

    assert not is_met(check(lambda _: hangs(), seconds=0.05))
    assert [line.rpartition(" ")[2] for line in lines.at(logging.WARNING)] == ["TimeoutError"] * 2


class SecretError(Exception):
    """Says in its text what nobody may log."""


ERRORS = [SecretError, ValueError, StopIteration, ConfigurationError, TimeoutError]


@pytest.mark.parametrize(
    "error", [*(kind("a secret") for kind in ERRORS), ExceptionGroup("a secret", [ValueError("a secret")])], ids=repr
)
def test_what_raises_refuses_and_its_text_is_not_logged(error: Exception, lines: Lines) -> None:  # noqa: F811
    now, later = failing(error)
    assert not is_met(now)
    assert not is_met(later)
    assert not is_met_now(now)
    assert len(lines.at(logging.WARNING)) == 5  # `is_met` asks twice
    assert all(" failed with " in line and "secret" not in line for line in lines.at(logging.WARNING))


class Ending(BaseException):
    """What ends a process, and is nobody's answer."""


def test_what_ends_more_than_a_check_passes() -> None:
    now, later = failing(Ending())
    for asked in (now, later, now | "y", "x" & later):
        with pytest.raises(Ending):
            is_met(asked)
    with pytest.raises(Ending):
        is_met_now(now)


def test_that_something_it_waited_for_was_cancelled_refuses(lines: Lines) -> None:  # noqa: F811
    async def waits(request: policy.AccessRequest) -> bool:
        other = asyncio.ensure_future(asyncio.Event().wait())
        other.cancel()
        return await other

    def runs(request: policy.AccessRequest) -> bool:
        return asyncio.run(waits(request))

    assert not is_met(check(waits))
    assert set(lines.at(logging.WARNING)) == {f"check {__name__}:{waits.__qualname__} failed with CancelledError"}
    assert not is_met(check(runs))
    assert not is_met_now(check(runs))


def test_the_end_of_the_request_passes_through() -> None:
    async def test() -> None:
        begun, kept = asyncio.Event(), asyncio.Event()

        async def waits(request: policy.AccessRequest) -> bool:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(9):
                    await asyncio.sleep(0)  # cleaning up may take a while, such as closing a connection
                kept.set()
            raise NotImplementedError

        asking = asyncio.ensure_future(run_checks(check(waits), REQUEST))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert kept.is_set()

    asyncio.run(test())


# --- time -------------------------------------------------------------------------------------------------------------


def test_what_hangs_refuses_when_its_time_is_over(lines: Lines) -> None:  # noqa: F811
    go_on = threading.Event()

    async def later(request: policy.AccessRequest) -> bool:
        await asyncio.Event().wait()
        raise NotImplementedError

    def now(request: policy.AccessRequest) -> bool:
        go_on.wait()
        return True

    async def test() -> None:
        for function in (later, now):
            assert not await holding(check(function, seconds=0.01))
        go_on.set()

    asyncio.run(test())
    assert [line.rpartition(" ")[2] for line in lines.at(logging.WARNING)] == ["TimeoutError"] * 2


def test_an_answer_that_comes_too_late_is_none(lines: Lines) -> None:  # noqa: F811
    async def blocks(request: policy.AccessRequest) -> bool:
        return True

    def now(request: policy.AccessRequest) -> bool:
        return True

    assert not is_met(check(blocks, seconds=1e-12))
    assert not is_met_now(check(now, seconds=1e-12))
    late, _, hanging = lines.at(logging.WARNING)
    assert late == f"check {__name__}:{blocks.__qualname__} took longer than its time"
    assert hanging.startswith(f"check {__name__}:{now.__qualname__} ")  # whether it hung is a race


def test_an_answer_that_is_there_when_it_is_asked_for_may_be_late_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
    lines: Lines,  # noqa: F811
) -> None:
    """The clock goes on while the waiting thread waits to be woken."""
    times = iter([0.0, 9.0])
    monkeypatch.setattr(running_room, "time", SimpleNamespace(monotonic=lambda: next(times)))

    def now(request: policy.AccessRequest) -> bool:
        return True

    assert not running_room._run_now(CheckTerm(now, 5.0), REQUEST)
    assert lines.at(logging.WARNING) == [f"check {__name__}:{now.__qualname__} took longer than its time"]


def test_who_does_not_heed_its_cancellation_is_not_waited_for(lines: Lines) -> None:  # noqa: F811
    async def test() -> None:
        go_on, heard, told = asyncio.Event(), Calls(), Calls()
        asyncio.get_running_loop().set_exception_handler(lambda _, about: told.note(str(about)))

        async def insists(request: policy.AccessRequest) -> bool:
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    heard.note()
            raise SecretError("a secret")

        assert not await holding(check(insists, seconds=0.01))
        assert len(running_room._abandoned) == 1
        go_on.set()
        await asyncio.wait(set(running_room._abandoned))
        await asyncio.sleep(0)
        assert (heard.names, running_room._abandoned) == (["handler"], set())
        gc.collect()
        assert not told  # of an error nobody looks at, asyncio would log the text

    asyncio.run(test())
    assert [line.rpartition(" ")[2] for line in lines.at(logging.WARNING)] == ["TimeoutError"]


def test_tasks_that_nobody_waits_for_any_more_are_not_piled_up(
    lines: Lines,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running_room, "MAX_HANGING", 2)

    async def test() -> None:
        go_on, begun = asyncio.Event(), Calls()

        async def insists(request: policy.AccessRequest) -> bool:
            begun.note()
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await go_on.wait()
            return True

        for _ in range(4):
            assert not await holding(check(insists, seconds=0.01))
        assert len(begun.names) == 2
        go_on.set()
        await asyncio.wait(set(running_room._abandoned))
        assert await holding(check(insists))

    asyncio.run(test())
    reasons = [line.rpartition(" ")[2] for line in lines.at(logging.WARNING)]
    assert reasons == ["TimeoutError"] * 2 + ["TooManyHanging"] * 2


def test_the_end_of_the_request_waits_for_no_check_beyond_its_time() -> None:
    async def test() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def insists(request: policy.AccessRequest) -> bool:
            begun.set()
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await go_on.wait()
            return True

        asking = asyncio.ensure_future(run_checks(check(insists, seconds=0.05), REQUEST))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(running_room._abandoned) == 1
        go_on.set()
        await asyncio.wait(set(running_room._abandoned))

    asyncio.run(test())


def test_a_request_that_ends_as_its_check_does_ends() -> None:
    async def test() -> None:
        asked: list[asyncio.Task[Any]] = []

        async def ends(request: policy.AccessRequest) -> bool:
            asked[0].cancel()
            return True

        asked.append(asyncio.ensure_future(run_checks(check(ends), REQUEST)))
        with pytest.raises(asyncio.CancelledError):
            await asked[0]

    asyncio.run(test())


def test_what_hangs_where_nothing_can_be_awaited_refuses_when_its_time_is_over(lines: Lines) -> None:  # noqa: F811
    go_on = threading.Event()

    def hangs(request: policy.AccessRequest) -> bool:
        go_on.wait()
        return True

    assert not is_met_now(check(hangs, seconds=0.01))
    go_on.set()
    assert [line.rpartition(" ")[2] for line in lines.at(logging.WARNING)] == ["TimeoutError"]


def test_no_more_threads_are_held_where_nothing_can_be_awaited(
    lines: Lines,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running_room, "_threads", threading.BoundedSemaphore(1))
    go_on, begun = threading.Event(), Calls()

    def hangs(request: policy.AccessRequest) -> bool:
        begun.note()
        go_on.wait()
        return True

    assert not any(is_met_now(check(hangs, seconds=0.5)) for _ in range(2))
    go_on.set()
    assert running_room._threads.acquire(timeout=30)
    assert len(begun.names) == 1
    reasons = [line.rpartition(" ")[2] for line in lines.at(logging.WARNING)]
    assert reasons == ["TimeoutError", "TooManyHanging"]


@pytest.mark.parametrize("way", [is_met, is_met_now])
def test_a_check_sees_the_context_variables_of_who_asks(way: Callable[[policy.Policy], bool]) -> None:
    reset = WHO.set("the request's")
    try:
        assert way(check(lambda _: WHO.get() == "the request's"))
    finally:
        WHO.reset(reset)


def test_threads_that_nobody_waits_for_any_more_are_not_piled_up(
    lines: Lines,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running_room, "_threads", threading.BoundedSemaphore(3))
    go_on, begun = threading.Event(), Calls()

    def hangs(request: policy.AccessRequest) -> bool:
        begun.note()
        go_on.wait()
        return True

    async def test() -> None:
        asked = [check(hangs, seconds=0.5) for _ in range(8)]  # time enough to begin, on a busy machine too
        assert [await holding(each) for each in asked] == [[]] * 8
        go_on.set()

    asyncio.run(test())
    assert len(begun.names) == 3
    reasons = [line.rpartition(" ")[2] for line in lines.at(logging.WARNING)]
    assert reasons == ["TimeoutError"] * 3 + ["TooManyHanging"] * 5
    places = running_room._threads
    assert all(places.acquire(timeout=30) for _ in range(3))  # they have ended, and their places are free
    places.release(3)
    assert is_met(check(Owns().now))


def test_more_checks_than_threads_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_room, "MAX_THREADS", 2)
    monkeypatch.setattr(running_room, "_threads", threading.BoundedSemaphore(2))
    owns = Owns()

    async def test() -> list[list[policy.Term]]:
        return await asyncio.gather(*(holding(check(owns.now)) for _ in range(20)))

    assert all(asyncio.run(test()))
    assert len(owns.asked) == 20


def test_a_check_finds_a_thread_although_handlers_hold_all_of_theirs() -> None:
    async def test() -> list[policy.Term]:
        handlers = current_default_thread_limiter()
        handlers.total_tokens = 1
        await handlers.acquire()
        return await holding(check(Owns().now, seconds=1))

    assert asyncio.run(test())


@pytest.mark.parametrize("seconds", [0, -1, MAX_SECONDS + 1, float("nan"), float("inf"), True, "5", None])
def test_the_time_of_a_check_is_a_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="seconds is above 0 and at most 60"):
        check(Owns().now, seconds=seconds)


# --- what a check can be ----------------------------------------------------------------------------------------------


class Engine:
    """A policy engine, as an object that is called."""

    def __call__(self, request: policy.AccessRequest) -> bool:
        return request.headers["x-owner"] == "yes"


class LateEngine:
    async def __call__(self, request: policy.AccessRequest) -> bool:
        return request.headers["x-owner"] == "yes"

    async def asks(self, request: policy.AccessRequest, table: str = "orders") -> bool:
        return table == "orders"

    @staticmethod
    async def static(request: policy.AccessRequest) -> bool:
        return True

    @classmethod
    def of_class(cls, request: policy.AccessRequest) -> bool:
        return True


@pytest.mark.parametrize(
    "function",
    [
        Engine(),
        LateEngine(),
        LateEngine().asks,
        LateEngine.static,
        LateEngine.of_class,
        lambda request: request.path_params["number"] == "7",
        functools.partial(LateEngine().asks, table="orders"),
        functools.partial(functools.partial(lambda answer, request: answer), True),
        functools.partial(Engine()),
        functools.partial(LateEngine()),
        AsyncMock(return_value=True),
        Mock(return_value=True),
    ],
    ids=lambda function: repr(check(function)),
)
def test_functions_of_every_kind(function: Asks) -> None:
    assert is_met(check(function))


def grants_of(*arguments: object, last: object = None) -> bool:
    raise NotImplementedError


def unmerged() -> Any:
    """Return a partial of a partial that functools does not merge into one, because it has an attribute."""
    inner: Any = functools.partial(grants_of, 1)
    inner.note = "kept"
    return functools.partial(inner, 2, last=3)


class Member(enum.StrEnum):
    ADMIN = "admin"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (Engine(), "check(Engine)"),
        (LateEngine().asks, "check(LateEngine.asks)"),
        (functools.partial(Engine()), "check(Engine)"),
        (functools.partial(LateEngine().asks, table="x"), "check(partial(LateEngine.asks, table='x'))"),
        (functools.partial(grants_of, "a:b", 7, True), "check(partial(grants_of, 'a:b', 7, True))"),
        (functools.partial(grants_of, None, 1.5, object()), "check(partial(grants_of, None, …, …))"),
        (functools.partial(grants_of, Member.ADMIN, Level.HIGH, ["a"]), "check(partial(grants_of, 'admin', 3, …))"),
        (unmerged(), "check(partial(grants_of, 1, 2, last=3))"),
    ],
)
def test_a_check_reads_as_its_function_is_called(function: Asks, text: str) -> None:
    assert repr(check(function)) == text
    assert check(function).value == f"{__name__}:{text[6:-1]}"  # type: ignore[attr-defined]


def test_checks_with_other_arguments_are_told_apart_where_tables_are_compared() -> None:
    def table(asked: policy.Policy) -> RouteTable:
        return route_table(starlette_app(ISSUER, Route("/", requires(asked)(endpoint))))

    admin, clerk = (check(functools.partial(grants_of, "a:b", 1, name)) for name in ("admin", "clerk"))
    kept = RouteTable.from_json(table(admin).to_json())
    assert [change.entry.path for change in compare(kept, table(clerk)).changes] == ["/"]
    assert not compare(kept, table(admin)).changes
    assert kept.entries[0].policy == repr(admin)


def test_two_functions_of_one_name_are_told_apart_by_their_modules() -> None:
    def owns(request: object) -> bool:
        raise NotImplementedError

    name = owns.__qualname__
    assert check(owns).value == f"{__name__}:{name}"  # type: ignore[attr-defined]
    assert check(functools.partial(Engine())).value == f"{__name__}:Engine"  # type: ignore[attr-defined]


def generator(request: object) -> Iterator[bool]:
    raise NotImplementedError
    yield True


async def async_generator(request: object) -> AsyncIterator[bool]:
    raise NotImplementedError
    yield True


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, request: object) -> bool:
        raise NotImplementedError


@pytest.mark.parametrize(
    "function",
    [
        None, True, "owns", 1, [], Owns, Owns(), bool, generator, async_generator, lambda: True, lambda a, b: True,
        lambda *, request: True, functools.partial(generator), policy.scope("x"), policy.machine, Unhashable(),
        coroutine,
    ],
)  # fmt: skip
def test_what_is_no_function_of_one_request_is_an_error_where_it_is_written(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"write policy\.check\(owns_order\)"):
        check(function)


def test_equal_functions_make_equal_checks() -> None:
    owns = Owns()
    assert check(owns.now) == check(owns.now)
    assert check(owns.now) != check(owns.later)
    assert check(owns.now) != check(owns.now, seconds=1)
    assert check(lambda _: True) != check(lambda _: True)


def test_a_check_changes_no_path_parameters(issuer: LocalIssuer) -> None:
    def rewrites(request: policy.AccessRequest) -> bool:
        with contextlib.suppress(TypeError):
            request.path_params["number"] = "8"  # type: ignore[index]  # that is the test
        return True

    @requires(check(rewrites))
    async def handler(request: Request) -> Response:
        return PlainTextResponse(request.path_params["number"])

    app = client(starlette_app(issuer, Route("/{number}", handler)))
    expect_ok(app.get("/7", headers=issuer.headers()), "7")


# --- what a check is given --------------------------------------------------------------------------------------------

WHO: ContextVar[str] = ContextVar("who", default="nobody")


def test_it_gets_token_path_parameters_and_headers(issuer: LocalIssuer) -> None:
    owns = Owns()
    for asked in owns.both():
        app = client(starlette_app(issuer, Route("/orders/{number:int}", requires(asked)(endpoint))))
        assert app.get("/orders/7", headers={**issuer.headers(), "X-Owner": "yes"}).status_code == 200
        request = owns.asked[-1]
        assert isinstance(request.token, AccessToken)
        assert request.token.subject == "auth0|jo"
        assert request.path_params == {"number": 7}
        assert (request.headers["x-owner"], request.headers["X-OWNER"]) == ("yes", "yes")
        assert "x-nothing" not in request.headers


def test_it_shows_no_token_and_no_header_where_somebody_logs_it(issuer: LocalIssuer) -> None:
    owns = Owns()
    app = client(starlette_app(issuer, Route("/{secret}", requires(check(owns.now))(endpoint))))
    headers = issuer.headers()
    assert app.get("/hidden", headers={**headers, "x-owner": "yes"}).status_code == 200
    shown = repr(owns.asked[0])
    for hidden in ("hidden", "x-owner", headers["Authorization"].rpartition(" ")[2]):
        assert hidden not in shown


def test_it_cannot_change_what_it_was_given() -> None:
    for name in ("token", "scope", "path_params", "headers", "new"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(context(grants("x"))._request(None), name, None)


class Sets:
    """A middleware around ours that sets a context variable, as those for database sessions do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reset = WHO.set("set around")
        try:
            await self.app(scope, receive, send)
        finally:
            WHO.reset(reset)


def test_context_variables_can_be_used_in_threads_too(issuer: LocalIssuer) -> None:
    seen: list[tuple[str, bool]] = []

    def now(request: policy.AccessRequest) -> bool:
        seen.append((WHO.get(), threading.current_thread() is threading.main_thread()))
        return True

    async def later(request: policy.AccessRequest) -> bool:
        seen.append((WHO.get(), False))
        return True

    app = Sets(starlette_app(issuer, Route("/", requires(check(now) & check(later))(endpoint))))
    assert ask(app, http_scope("/", [bearer(issuer)])).status == 200
    assert seen == [("set around", False), ("set around", False)]


def test_a_check_sees_the_caller_as_any_function_within_the_request_does(issuer: LocalIssuer) -> None:
    @requires("x")
    def helper() -> str:
        return "for holders of x"

    def now(request: policy.AccessRequest) -> bool:
        return helper() == "for holders of x"

    app = client(starlette_app(issuer, Route("/", requires(check(now))(endpoint))))
    assert app.get("/", headers=issuer.headers(permissions=["x"])).status_code == 200
    assert app.get("/", headers=issuer.headers()).status_code == 403


# --- when it is asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asks", "met", "asked"),
    [
        (lambda a, b: a, True, ["a"]),
        (lambda a, b: a & "x", True, ["a"]),
        (lambda a, b: a & "y", False, []),
        (lambda a, b: policy.role("r") & a, False, []),
        (lambda a, b: a | "x", True, []),
        (lambda a, b: a | "y", True, ["a"]),
        (lambda a, b: b | a, True, ["b", "a"]),
        (lambda a, b: a | b, True, ["a"]),
        (lambda a, b: a & b, False, ["a", "b"]),
        (lambda a, b: b & a, False, ["b"]),
        (lambda a, b: (b & "x") | (b & policy.scope("openid")) | (a & b), False, ["b"]),
        (lambda a, b: (a & "y") | (b & "x"), False, ["b"]),
        (lambda a, b: (a & b) | (a & "x"), True, ["a"]),
        (lambda a, b: (a & b) | (b & "x") | (a & policy.permission("x")), True, ["a"]),
        (lambda a, b: (a | "y") & (b | "x"), True, ["a"]),
    ],
)
def test_it_is_asked_last_and_once_and_only_where_it_matters(asks: Any, met: bool, asked: list[str]) -> None:
    """`a` says yes, `b` says no; the caller has x and not y."""
    for is_async in (False, True):
        calls = Calls()

        def a(_: policy.AccessRequest, calls: Calls = calls) -> bool:
            calls.note("a")
            return True

        def b(_: policy.AccessRequest, calls: Calls = calls) -> bool:
            calls.note("b")
            return False

        async def later_a(_: policy.AccessRequest) -> bool:
            return a(_)

        async def later_b(_: policy.AccessRequest) -> bool:
            return b(_)

        subject = asks(check(later_a), check(later_b)) if is_async else asks(check(a), check(b))
        request = replace(REQUEST, token=ISSUER.access_token(scope="openid", permissions=["x"]))
        assert asyncio.run(decide(subject, request)).allowed is met
        assert calls.names == asked
        if not is_async:
            calls.names.clear()
            assert is_met_now(subject, request) is met
            assert calls.names == asked


def test_a_decision_names_the_check_that_failed_or_held() -> None:
    owns = Owns()
    asked = check(owns.later) & "x"
    refused = asyncio.run(decide(asked, replace(REQUEST, headers={})))
    assert (refused.allowed, refused.missing, refused.why) == (
        False,
        (check(owns.later),),
        "check(Owns.later) did not return True",
    )
    assert (refused.required, refused.scope) == ((("x",),), ())  # a new token with x would be no better
    granted = asyncio.run(decide(asked, REQUEST))
    assert [term for term, _ in granted.held] == [check(owns.later), policy.any_of("x")]
    assert (granted.allowed, granted.missing) == (True, ())


# --- in applications --------------------------------------------------------------------------------------------------


class Shop:
    """One way to state a check, in an application with whatever that needs."""

    def __init__(self, asked: policy.Policy, issuer: LocalIssuer) -> None:
        self.asked, self.issuer = asked, issuer
        self.ran = Calls()

    def starlette(self, *routes: BaseRoute, **options: Any) -> ASGIApp:
        return starlette_app(self.issuer, *routes, **options)

    def fastapi(self) -> FastAPI:
        app = FastAPI()
        app.user_middleware.append(authz(self.issuer))
        return app

    async def handler(self, request: Request) -> Response:
        self.ran.note()
        return PlainTextResponse("ran")


def async_function(shop: Shop) -> ASGIApp:
    @requires(shop.asked)
    async def handler(request: Request) -> Response:
        return await shop.handler(request)

    return shop.starlette(Route("/{number}", handler, methods=["POST"]))


def sync_function(shop: Shop) -> ASGIApp:
    @requires(shop.asked)
    def handler(request: Request) -> Response:
        shop.ran.note()
        return PlainTextResponse("ran")

    return shop.starlette(Route("/{number}", handler, methods=["POST"]))


def stacked(shop: Shop) -> ASGIApp:
    @requires("x")
    @requires(shop.asked)
    @authenticated
    async def handler(request: Request) -> Response:
        return await shop.handler(request)

    return shop.starlette(Route("/{number}", handler, methods=["POST"]))


def class_based(shop: Shop) -> ASGIApp:
    @requires(shop.asked)
    class Orders(HTTPEndpoint):
        async def post(self, request: Request) -> Response:
            return await shop.handler(request)

    return shop.starlette(Route("/{number}", Orders))


def method_of_class(shop: Shop) -> ASGIApp:
    class Orders(HTTPEndpoint):
        @requires(shop.asked)
        def post(self, request: Request) -> Response:
            shop.ran.note()
            return PlainTextResponse("ran")

    return shop.starlette(Route("/{number}", Orders))


def mounted(shop: Shop) -> ASGIApp:
    inner = Mount("/", routes=[Route("/", shop.handler, methods=["POST"])]).app
    return shop.starlette(Mount("/{number}", app=requires(shop.asked)(inner)))


def mounted_foreign(shop: Shop) -> ASGIApp:
    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        await (await shop.handler(Request(scope)))(scope, receive, send)

    return shop.starlette(Mount("/{number}", app=requires(shop.asked)(foreign)))


def on_mount_and_route(shop: Shop) -> ASGIApp:
    inner = Mount("/", routes=[Route("/", requires("x")(shop.handler), methods=["POST"])]).app
    return shop.starlette(Mount("/{number}", app=requires(shop.asked)(inner)))


def whole_application(shop: Shop) -> ASGIApp:
    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        await (await shop.handler(Request(scope)))(scope, receive, send)

    middleware = authz(shop.issuer)
    return middleware.cls(requires(shop.asked)(foreign), **middleware.kwargs)  # type: ignore[call-arg]


def fastapi_decorated(shop: Shop) -> ASGIApp:
    app = shop.fastapi()

    @app.post("/{number}")
    @requires(shop.asked)
    async def handler(number: str) -> str:
        shop.ran.note()
        return "ran"

    return app


def fastapi_sync(shop: Shop) -> ASGIApp:
    app = shop.fastapi()

    @app.post("/{number}")
    @requires(shop.asked)
    def handler(number: str) -> str:
        shop.ran.note()
        return "ran"

    return app


def fastapi_dependency(shop: Shop) -> ASGIApp:
    app, needed = shop.fastapi(), Security(requires(shop.asked))

    @app.post("/{number}")
    async def handler(number: str, token: AccessToken = needed) -> str:
        shop.ran.note()
        return token.subject

    return app


def fastapi_router(shop: Shop) -> ASGIApp:
    app, requirement = shop.fastapi(), Security(requires(shop.asked))
    router = APIRouter(dependencies=[requirement])

    @router.post("/{number}", dependencies=[requirement])
    async def handler(number: str) -> str:
        shop.ran.note()
        return "ran"

    app.include_router(router)
    return app


def fastapi_nested_dependency(shop: Shop) -> ASGIApp:
    app, needed = shop.fastapi(), Security(requires(shop.asked))

    async def order(number: str, token: AccessToken = needed) -> str:
        return number

    chosen = Security(order)

    @app.post("/{number}")
    async def handler(number: str = chosen) -> str:
        shop.ran.note()
        return "ran"

    return app


SHAPES = [
    async_function, sync_function, stacked, class_based, method_of_class, mounted, mounted_foreign, on_mount_and_route,
    whole_application, fastapi_decorated, fastapi_sync, fastapi_dependency, fastapi_router, fastapi_nested_dependency,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", ["now", "later"])
def test_wherever_it_is_stated_it_is_asked_once_and_before_everything_else(
    shape: Callable[[Shop], ASGIApp], way: str, issuer: LocalIssuer
) -> None:
    owns = Owns()
    shop = Shop(check(getattr(owns, way)), issuer)
    app = shape(shop)
    token = bearer(issuer, permissions=["x"])
    path = "/7/" if shape in {mounted, mounted_foreign, on_mount_and_route} else "/7"
    expect_missing(client(app).post(path), "x" if shape in {stacked, on_mount_and_route} else "")
    assert not owns.asked  # nobody is asked about the anonymous

    refused = ask(app, http_scope(path, [token], method="POST"), never)
    assert (refused.status, shop.ran.names, len(owns.asked)) == (403, [], 1)

    expect_ok(client(app).post(path, headers={"Authorization": token[1].decode(), "x-owner": "yes"}))
    assert (shop.ran.names, len(owns.asked)) == (["handler"], 2)
    if shape is not whole_application:
        assert [request.path_params["number"] for request in owns.asked] == ["7", "7"]


@pytest.mark.parametrize("way", ["now", "later"])
def test_websockets(way: str, issuer: LocalIssuer) -> None:
    owns = Owns()
    asked = check(getattr(owns, way))

    @requires(asked)
    async def function(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    @requires(asked)
    class Class(WebSocketEndpoint):
        encoding = "text"

        async def on_connect(self, websocket: WebSocket) -> None:
            await function(websocket)

    class Method(WebSocketEndpoint):
        @requires(asked)
        async def on_connect(self, websocket: WebSocket) -> None:
            await function(websocket)

    for handler in (function, Class, Method):
        owns.asked.clear()
        app = client(starlette_app(issuer, WebSocketRoute("/{number}", handler)))
        refusal = pytest.raises(WebSocketDenialResponse)
        with refusal as refused, app.websocket_connect("/7", headers=issuer.headers()):
            raise NotImplementedError
        expect_forbidden(refused.value, required=[])
        with app.websocket_connect("/7", headers={**issuer.headers(), "x-owner": "yes"}) as connected:
            assert connected.receive()["type"] == "websocket.close"
        assert len(owns.asked) == 2


def test_the_end_of_a_request_ends_a_check_and_the_request(issuer: LocalIssuer) -> None:
    async def test() -> None:
        begun = asyncio.Event()

        async def waits(request: policy.AccessRequest) -> bool:
            begun.set()
            await asyncio.Event().wait()
            raise NotImplementedError

        app = starlette_app(issuer, Route("/", requires(check(waits))(endpoint)))
        serving = asyncio.ensure_future(app(http_scope("/", [bearer(issuer)]), never, _swallow))
        await begun.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(test())


def test_a_policy_that_is_not_met_anyway_asks_nobody(issuer: LocalIssuer) -> None:
    owns = Owns()
    app = client(starlette_app(issuer, Route("/", requires("x", *owns.both())(endpoint))))
    expect_forbidden(app.get("/", headers={**issuer.headers(), "x-owner": "yes"}), "x")
    assert not owns.asked
    assert app.get("/", headers={**issuer.headers(permissions=["x"]), "x-owner": "yes"}).status_code == 200
    assert len(owns.asked) == 2


def test_a_refusal_names_what_a_client_can_ask_for_and_no_function(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Route("/", requires(check(Owns().now))(endpoint))))
    answer = app.get("/", headers=issuer.headers())
    expect_forbidden(answer, required=[])
    assert "Owns" not in answer.text + str(answer.headers)


@pytest.mark.parametrize("way", ["now", "later"])
def test_where_refusals_are_only_reported_it_is_asked_and_the_request_served(way: str, issuer: LocalIssuer) -> None:
    owns, watch = Owns(), Watch()
    asked = check(getattr(owns, way))
    app = client(starlette_app(issuer, Route("/{number}", requires(asked)(endpoint)), enforce=False, on_decision=watch))
    assert app.get("/7", headers=issuer.headers()).status_code == 200
    assert app.get("/7", headers={**issuer.headers(), "x-owner": "yes"}).status_code == 200
    assert app.get("/7").status_code == 200
    assert watch.told() == [
        ("would be insufficient_scope", "/{number}", repr(asked)),
        ("allowed", "/{number}", repr(asked)),
        ("would be missing_token", "/{number}", repr(asked)),
    ]
    assert len(owns.asked) == 2
    assert [decision.detail.allowed for decision in watch.seen if decision.detail is not None] == [False, True]


def test_dependency_overrides_take_a_check_away_and_put_another_in_its_place(issuer: LocalIssuer) -> None:
    owns, others = Owns(), Owns()
    app = FastAPI()
    app.user_middleware.append(authz(issuer))
    stated, other = requires(check(owns.later)), requires(check(others.later))

    @app.get("/", dependencies=[Security(stated)])
    async def handler() -> str:
        return "ran"

    asked = client(app)
    assert asked.get("/", headers=issuer.headers()).status_code == 403
    app.dependency_overrides[requires(check(owns.later))] = other  # an equal one finds it
    assert asked.get("/", headers=issuer.headers()).status_code == 403
    assert asked.get("/", headers={**issuer.headers(), "x-owner": "yes"}).status_code == 200
    app.dependency_overrides[stated] = lambda: None
    assert asked.get("/", headers=issuer.headers()).status_code == 200
    app.dependency_overrides.clear()
    assert asked.get("/", headers=issuer.headers()).status_code == 403
    assert len(owns.asked) == 2
    assert 2 <= len(others.asked) <= 4


# --- functions that nobody has armed ----------------------------------------------------------------------------------


@dataclass
class Helpers:
    """Guarded functions of every kind, as a handler calls them."""

    asked: policy.Policy

    def __post_init__(self) -> None:
        guarded = requires(self.asked)

        @guarded
        def plain() -> str:
            return "ran"

        @guarded
        async def later() -> str:
            return "ran"

        @guarded
        def items() -> Iterator[str]:
            yield "ran"

        @guarded
        async def late_items() -> AsyncIterator[str]:
            yield "ran"

        async def sync(function: Callable[[], str]) -> str:
            return function()

        async def all_of(function: Callable[[], Iterator[str]]) -> str:
            return "".join(function())

        async def all_late(function: Callable[[], AsyncIterator[str]]) -> str:
            return "".join([item async for item in function()])

        self.ways: dict[str, Callable[[], Awaitable[str]]] = {
            "plain": lambda: sync(plain),
            "later": later,
            "items": lambda: all_of(items),
            "late items": lambda: all_late(late_items),
        }


@pytest.mark.parametrize("helper", ["plain", "later", "items", "late items"])
@pytest.mark.parametrize("way", ["now", "later"])
def test_a_helper_asks_where_it_can(helper: str, way: str, issuer: LocalIssuer, lines: Lines) -> None:  # noqa: F811
    owns = Owns()
    helpers = Helpers(check(getattr(owns, way)))

    @authenticated
    async def handler(request: Request) -> Response:
        await helpers.ways[helper]()
        return PlainTextResponse(await helpers.ways[helper]())

    app = client(starlette_app(issuer, Route("/{number}", handler)))
    can_wait = "later" in helper or "late" in helper
    is_met = way == "now" or can_wait
    assert app.get("/7", headers={**issuer.headers(), "x-owner": "yes"}).status_code == (200 if is_met else 403)
    assert app.get("/7", headers=issuer.headers()).status_code == 403
    assert len(owns.asked) == (2 if is_met else 0)  # once for each request, however often the helper is called
    assert all(request.path_params == {"number": "7"} for request in owns.asked)
    unasked = [line for line in lines.at(logging.WARNING) if "is async, and nothing can be awaited" in line]
    assert len(unasked) == (0 if is_met else 2)


@pytest.mark.parametrize(("way", "status"), [("now", 200), ("later", 403)])
def test_a_sync_endpoint_that_is_not_armed_refuses_what_has_to_be_awaited(
    way: str, status: int, issuer: LocalIssuer
) -> None:
    owns = Owns()

    @requires(check(getattr(owns, way)))
    def unseen(request: Request) -> Response:
        return PlainTextResponse("ran")

    @authenticated
    async def dispatches(request: Request) -> Response:
        await Route("/{number}", unseen)(request.scope, request.receive, request._send)
        return Answered()

    app = client(starlette_app(issuer, Route("/{path:path}", dispatches)))
    assert app.get("/7", headers={**issuer.headers(), "x-owner": "yes"}).status_code == status
    assert app.get("/7", headers=issuer.headers()).status_code == 403
    assert [request.path_params for request in owns.asked] == [{"path": "7", "number": "7"}] * (
        2 if way == "now" else 0
    )


@pytest.mark.parametrize("way", ["now", "later"])
def test_a_dependency_that_nothing_has_armed_asks_by_itself(way: str, issuer: LocalIssuer) -> None:
    owns = Owns()
    inner = FastAPI(openapi_url=None)

    @inner.get("/{number}", dependencies=[Security(requires(check(getattr(owns, way))))])
    async def unseen(number: str) -> str:
        return "ran"

    @authenticated
    async def dispatches(request: Request) -> Response:
        await inner(request.scope, request.receive, request._send)
        return Answered()

    app = client(starlette_app(issuer, Route("/{path:path}", dispatches)), raise_server_exceptions=False)
    assert app.get("/7", headers={**issuer.headers(), "x-owner": "yes"}).status_code == 200
    assert app.get("/7", headers=issuer.headers()).status_code == 403
    assert [request.path_params["number"] for request in owns.asked] == ["7", "7"]


class Answered(Response):
    """What a handler returns that has answered already."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing more."""


def test_what_was_met_for_some_path_parameters_is_asked_again_for_others() -> None:
    owns = Owns()
    for asked in (check(owns.now), policy.tenant(policy.path_param("org"))):
        caller = context(grants())
        object.__setattr__(caller.token, "tenant", "acme")

        def scope(org: str) -> Scope:
            return http_scope(path_params={"org": org}, headers=[(b"x-owner", b"yes" if org == "acme" else b"no")])

        caller.enforce(asked, scope("acme"))
        caller.enforce(asked, scope("acme"))
        with pytest.raises(InsufficientScope):
            caller.enforce(asked, scope("other"))
    assert len(owns.asked) == 2


def test_functions_called_directly_by_tests_ask_too() -> None:
    owns = Owns()
    helpers = Helpers(check(owns.now))
    with as_caller(ISSUER.access_token(), path_params={"number": "7"}) as scope:
        scope["headers"] = [(b"x-owner", b"yes")]
        assert asyncio.run(_awaited(helpers.ways["later"]())) == "ran"
    assert owns.asked[0].path_params == {"number": "7"}


async def _awaited(asked: Awaitable[str]) -> str:
    return await asked


def test_a_check_that_ends_after_its_request_opens_nothing(issuer: LocalIssuer) -> None:
    async def test() -> None:
        go_on, tasks = asyncio.Event(), []

        async def waits(request: policy.AccessRequest) -> bool:
            await go_on.wait()
            return True

        @requires(check(waits))
        async def helper() -> str:
            raise NotImplementedError

        @public
        async def handler(request: Request) -> Response:
            tasks.append(asyncio.ensure_future(helper()))
            await asyncio.sleep(0)
            return PlainTextResponse("ran")

        app = starlette_app(issuer, Route("/", handler))
        await app(http_scope("/", [bearer(issuer)]), never, _swallow)
        go_on.set()
        with pytest.raises(ConfigurationError, match="after its request had ended"):
            await tasks[0]

    asyncio.run(test())


async def _swallow(message: object) -> None:
    """Be a client that reads nothing."""


# --- inside handlers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "answers"),
    [
        ({}, [False] * 6),
        ({"permissions": ["x"]}, [True, True, False, False, True, False]),
        ({"permissions": ["x"], "owner": True}, [True, True, True, False, True, True]),
    ],
)
def test_allows_answers_and_refuses_nothing(headers: dict[str, Any], answers: list[bool], issuer: LocalIssuer) -> None:
    owns, watch = Owns(), Watch()
    now, later = owns.both()
    questions: list[Any] = ["x", policy.scope("x") | "x", now, later, later | "x", now & "x"]

    @public
    async def handler(request: Request) -> Response:
        assert [request.auth.allows(question) for question in questions] == answers
        return PlainTextResponse("ran")

    app = client(starlette_app(issuer, Route("/", handler), on_decision=watch))
    owner = {"x-owner": "yes"} if headers.pop("owner", False) else {}
    token = issuer.headers(**headers) if headers else {}
    expect_ok(app.get("/", headers={**token, **owner}), "ran")
    assert watch.told() == [("allowed", "/", "public")]
    assert bool(owns.asked) == bool(headers)


@pytest.mark.parametrize("question", ["", "a b", None, ["x"], requires("x"), 1, True])
def test_allows_takes_policies_only(question: Any, issuer: LocalIssuer) -> None:
    @public
    async def handler(request: Request) -> Response:
        with pytest.raises(ConfigurationError):
            request.auth.allows(question)
        return PlainTextResponse("ran")

    expect_ok(client(starlette_app(issuer, Route("/", handler))).get("/", headers=issuer.headers()), "ran")


def test_allows_asks_with_the_parameters_of_the_route(issuer: LocalIssuer) -> None:
    @authenticated
    async def handler(request: Request) -> Response:
        return PlainTextResponse(str(request.auth.allows(policy.tenant(policy.path_param("org")))))

    app = client(starlette_app(issuer, Mount("/{org}", routes=[Route("/{id}", handler)])))
    expect_ok(app.get("/org_1/7", headers=issuer.headers(org_id="org_1")), "True")
    expect_ok(app.get("/org_2/org_1", headers=issuer.headers(org_id="org_1")), "False")


def test_each_time_a_connection_asks_it_is_decided_anew(issuer: LocalIssuer) -> None:
    """Also of what the route itself states: who lost a right loses it while connected."""
    answers, watch = [True, True, False], Watch()

    async def still(request: policy.AccessRequest) -> bool:
        return answers.pop(0)

    asked = check(still)

    @requires(asked)
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await authorize(websocket, asked)
        await websocket.send_text("still there")
        await authorize(websocket, asked)
        raise NotImplementedError

    app = client(starlette_app(issuer, WebSocketRoute("/", live), on_decision=watch))
    with app.websocket_connect("/", headers=issuer.headers()) as connected:
        assert connected.receive_text() == "still there"
        assert connected.receive() == {"type": "websocket.close", "code": 1008, "reason": ""}
    assert not answers
    assert [decision.detail.allowed for decision in watch.seen if decision.detail is not None] == [True, True, False]
    assert [decision.allowed for decision in watch.seen] == [True, True, False]


def test_while_one_answer_streams_it_is_not_decided_anew(issuer: LocalIssuer) -> None:
    asked = []

    async def note(request: policy.AccessRequest) -> bool:
        asked.append(request)
        return True

    needed = requires(check(note))

    @needed
    async def pieces(request: Request) -> AsyncIterator[str]:
        yield "ran"

    @needed
    async def streaming(request: Request) -> Response:
        return StreamingResponse(pieces(request))

    app = client(starlette_app(issuer, Route("/", streaming)))
    expect_ok(app.get("/", headers=issuer.headers()), "ran")
    assert len(asked) == 1


# --- decisions that are owed ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("answer", ["ran", "crash"])
@pytest.mark.parametrize("way", ["now", "later"])
def test_a_check_that_nobody_awaits_lets_no_answer_leave(answer: str, way: str, issuer: LocalIssuer) -> None:
    owns = Owns()

    @authenticated
    async def forgetful(request: Request) -> Response:
        authorize(request, check(getattr(owns, way)))  # that is the test
        if answer == "crash":
            raise LookupError("caught by the application")
        return PlainTextResponse("ran")

    async def handle(request: Request, error: Exception) -> Response:
        return PlainTextResponse("handled")

    app = starlette_app(issuer, Route("/", forgetful))
    app.add_exception_handler(LookupError, handle)
    with pytest.raises(ConfigurationError, match="was not awaited; write await authorize"):
        client(app).get("/", headers=issuer.headers())
    answered = client(app, raise_server_exceptions=False).get("/", headers=issuer.headers())
    assert (answered.status_code, answered.text) == (500, "Internal Server Error")
    assert not owns.asked


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_check_that_nobody_awaits_lets_nothing_more_of_an_answer_leave(issuer: LocalIssuer) -> None:
    owns = Owns()

    @authenticated
    async def streaming(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            yield "begun "
            authorize(request, check(owns.later))
            yield "secret"

        return StreamingResponse(pieces())

    @authenticated
    async def talking(websocket: WebSocket) -> None:
        await websocket.accept()
        authorize(websocket, check(owns.later))
        await websocket.send_text("secret")

    @authenticated
    async def absent(request: Request) -> Response:
        authorize(request, check(owns.later))
        raise HTTPException(404, "nothing here")  # which needs no decision

    app = starlette_app(
        issuer, Route("/streaming", streaming), WebSocketRoute("/talking", talking), Route("/absent", absent)
    )
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def connect() -> Message:
        return {"type": "websocket.connect"}

    async def stay() -> Message:
        await asyncio.Event().wait()
        raise NotImplementedError

    for scope, receive in ((websocket_scope(path="/talking"), connect), (http_scope(path="/streaming"), stay)):
        scope["headers"] = [bearer(issuer)]
        with pytest.raises(ConfigurationError, match="was not awaited"):
            asyncio.run(app(scope, receive, send))
    assert [message.get("body", message["type"]) for message in sent] == [
        "websocket.accept",
        "http.response.start",
        b"begun ",
    ]
    assert client(app).get("/absent", headers=issuer.headers()).text == "nothing here"
    assert not owns.asked


def test_an_answer_does_not_overtake_a_decision_that_has_not_begun(issuer: LocalIssuer) -> None:
    tasks: list[asyncio.Future[None]] = []

    @authenticated
    async def hasty(request: Request) -> Response:
        tasks.append(asyncio.ensure_future(authorize(request, check(Owns().later))))
        return PlainTextResponse("ran")

    app = client(starlette_app(issuer, Route("/", hasty)), raise_server_exceptions=False)
    assert app.get("/", headers=issuer.headers()).status_code == 500


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_an_answer_does_not_overtake_a_decision(is_cancelled: bool, issuer: LocalIssuer) -> None:
    deciding = asyncio.Event()

    async def for_ever(request: policy.AccessRequest) -> bool:
        deciding.set()
        await asyncio.Event().wait()
        raise NotImplementedError

    @authenticated
    async def hasty(request: Request) -> Response:
        decision = asyncio.ensure_future(authorize(request, check(for_ever)))
        await deciding.wait()
        if is_cancelled:
            decision.cancel()
            await asyncio.wait([decision])
        return PlainTextResponse("ran")

    app = client(starlette_app(issuer, Route("/", hasty)), raise_server_exceptions=False)
    assert app.get("/", headers=issuer.headers()).status_code == (200 if is_cancelled else 500)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_where_refusals_are_only_reported_the_answer_leaves(issuer: LocalIssuer) -> None:
    @authenticated
    async def forgetful(request: Request) -> Response:
        authorize(request, check(Owns().later))
        return PlainTextResponse("ran")

    app = client(starlette_app(issuer, Route("/", forgetful), enforce=False))
    expect_ok(app.get("/", headers=issuer.headers()), "ran")


def test_a_decision_may_be_awaited_as_late_as_the_answer(issuer: LocalIssuer) -> None:
    owns = Owns()

    @authenticated
    async def at_once(request: Request) -> Response:
        asked = [authorize(request, each) for each in owns.both()]
        await asyncio.gather(*asked, asyncio.sleep(0))
        return PlainTextResponse("ran")

    @authenticated
    async def streaming(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            yield "begun "
            await authorize(request, check(owns.later))
            yield "ran"

        return StreamingResponse(pieces())

    app = client(starlette_app(issuer, Route("/at-once", at_once), Route("/streaming", streaming)))
    headers = {**issuer.headers(), "x-owner": "yes"}
    expect_ok(app.get("/at-once", headers=headers), "ran")
    expect_ok(app.get("/streaming", headers=headers), "begun ran")
    assert app.get("/at-once", headers=issuer.headers()).status_code == 403
