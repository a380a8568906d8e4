"""The hook: which ones will do, and that none of them changes an answer or outlives a request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from authz_middleware import (
    AuthzMiddleware,
    authorize,
    public,
    requires,
)
from authz_middleware.context import RequestContext
from authz_middleware.errors import MissingToken, Refused
from authz_middleware.observation import Observation
from authz_middleware.observe import Observer, RequestDecision
from authz_middleware.routes import Destination
from authz_middleware.testing import LocalIssuer

from .apps import (
    Foreign,
    ask,
    client,
    expect_forbidden,
    expect_missing,
    http_scope,
    messages_of,
)
from .watching import Lines, expect_fault, granting, lines, routes, token, watched

__all__ = ["lines"]  # a fixture

X: dict[str, Any] = {"scope": "x", "permissions": ["x"]}
Y: dict[str, Any] = {"scope": "y", "permissions": ["y"]}


class Plain:
    def __call__(self, decision: RequestDecision) -> None:
        pass

    def method(self, decision: RequestDecision) -> None:
        pass

    async def coroutine(self, decision: RequestDecision) -> None:
        raise NotImplementedError


class Record:
    def __init__(self, decision: RequestDecision) -> None:
        raise NotImplementedError


class Async:
    async def __call__(self, decision: RequestDecision) -> None:
        raise NotImplementedError


async def coroutine(decision: RequestDecision) -> None:
    raise NotImplementedError


async def async_generator(decision: RequestDecision) -> AsyncIterator[None]:
    yield


def generator(decision: RequestDecision) -> Iterator[None]:
    yield


def with_more(decision: RequestDecision, *more: object, **named: object) -> None:
    pass


@pytest.mark.parametrize(
    "hook",
    [
        coroutine,
        Async(),
        Async,
        Plain,
        Record,
        RequestDecision,
        Plain().coroutine,
        functools.partial(coroutine),
        functools.partial(functools.partial(Async())),
        async_generator,
        generator,
        AsyncMock(),
        "hook",
        0,
        False,
        [print],
        lambda: None,
        lambda decision, more: None,
        lambda *, decision: None,
    ],
    ids=repr,
)
def test_a_hook_that_would_not_do_its_work_is_an_error_at_start(issuer: LocalIssuer, hook: Any) -> None:
    expect_fault(
        lambda: AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], on_decision=hook), "write def on_decision"
    )


@pytest.mark.parametrize(
    "hook",
    [Plain(), Plain().method, print, [].append, with_more, functools.partial(with_more, named=1), dict.fromkeys, None],
    ids=repr,
)
def test_any_plain_function_of_one_decision_will_do(issuer: LocalIssuer, hook: Any) -> None:
    AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], on_decision=hook)


def test_a_function_in_c_that_shows_no_signature_is_believed() -> None:
    Observer(getattr)  # type: ignore[arg-type]  # it takes two, and says so only when it is called


HOOK_FAILS: dict[str, Callable[[], Exception]] = {  # made anew each time: an error keeps alive what it was raised in
    "error": lambda: LookupError("secret"),
    "group": lambda: ExceptionGroup("secret", [OSError("secret")]),
    "refusal": MissingToken,
    "assertion": AssertionError,
}


@pytest.mark.parametrize("failure", HOOK_FAILS)
@pytest.mark.parametrize("enforce", [True, False])
def test_a_hook_that_raises_changes_no_answer(issuer: LocalIssuer, lines: Lines, failure: str, enforce: bool) -> None:
    def answers(**options: Any) -> list[tuple[int, dict[str, str], bytes]]:
        app, _ = watched(issuer, *granting(), enforce=enforce, **options)
        got = []
        for path in ("/x/1", "/open", "/bare", "/covered/y", "/foreign/1", "/nowhere"):
            for headers in ([], token(issuer), token(issuer, **Y), [(b"authorization", b"Bearer bad")]):
                answer = ask(app, http_scope(path, headers))
                got.append((answer.status, answer.headers, answer.body))
        return got

    def hook(decision: RequestDecision) -> None:
        calls.append(decision)
        error = HOOK_FAILS[failure]()
        raise error

    calls: list[RequestDecision] = []
    assert answers(on_decision=hook) == answers(on_decision=None)
    assert lines.at(logging.ERROR) == [f"on_decision failed with {type(HOOK_FAILS[failure]()).__name__}"] * len(calls)
    assert len(calls) > 10


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("path", ["/x/1", "/open", "/foreign/1", "/covered/bare"])
@pytest.mark.parametrize("permissions", [["x"], ["y"], None])
def test_what_ends_the_process_or_the_task_passes_and_nothing_is_served(
    issuer: LocalIssuer, error: type[BaseException], path: str, permissions: list[str] | None
) -> None:
    def hook(decision: RequestDecision) -> None:
        raise error

    app, _ = watched(issuer, *granting(), on_decision=hook)
    headers = [] if permissions is None else token(issuer, permissions=permissions)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        with pytest.raises(error):
            await app(http_scope(path, headers), messages_of(), send)

    asyncio.run(run())
    assert not sent


def test_a_coroutine_that_slips_through_is_closed_and_said(issuer: LocalIssuer, lines: Lines) -> None:
    app, _ = watched(issuer, *routes(), on_decision=lambda decision: coroutine(decision))  # noqa: PLW0108 - it hides that it is one
    expect_missing(client(app).get("/x/1"), "x")
    assert lines.at(logging.ERROR) == ["on_decision returned a coroutine, which nobody awaits; write a plain function"]


def test_a_hook_may_hear_of_threads(issuer: LocalIssuer) -> None:
    threads: list[bool] = []

    @requires("y")
    def helper() -> None:
        raise NotImplementedError

    @requires("x")
    def handler(request: Request) -> Response:
        helper()
        raise NotImplementedError

    app, _ = watched(
        issuer,
        Route("/", handler),
        on_decision=lambda decision: threads.append(threading.current_thread() is threading.main_thread()),
    )
    expect_forbidden(ask(app, http_scope("/", token(issuer))), "y")
    assert threads == [True, False]


def test_after_the_request_nothing_is_told(issuer: LocalIssuer, lines: Lines) -> None:
    kept: list[RequestContext] = []

    @requires("x")
    async def handler(request: Request) -> Response:
        kept.append(request.scope["authz_middleware"])
        return PlainTextResponse("ok", background=BackgroundTask(authorize, request, "y"))

    app, watch = watched(issuer, Route("/", handler))
    with pytest.raises(Refused):  # a background task is still the request
        client(app).get("/", headers=issuer.headers(**X))
    assert [outcome for outcome, *_ in watch.told()] == ["allowed", "insufficient_scope"]
    (ended,) = kept
    ended.refusal_of_undecided()
    ended.answered(MissingToken())
    ended.begin()
    with pytest.raises(MissingToken):
        RequestContext(None, ended.challenger).require_token()
    assert len(watch.seen) == 2
    assert len(lines.at(logging.INFO)) == 1


def alive() -> list[object]:
    """Return all that exists of requests."""
    gc.collect()
    kinds = (RequestContext, Observation, Destination, Refused)
    return [kept for kept in gc.get_objects() if isinstance(kept, kinds)]


def test_whoever_keeps_a_context_keeps_no_more_of_the_request(issuer: LocalIssuer) -> None:
    kept: list[RequestContext] = []

    @public
    async def handler(request: Request) -> Response:
        with contextlib.suppress(Refused):
            await authorize(request, "y")
        kept.append(request.scope["authz_middleware"])
        return PlainTextResponse("ok")

    app, _ = watched(issuer, Route("/", handler))
    before = alive()
    assert ask(app, http_scope("/", token(issuer))).status == 200
    new = [type(one).__name__ for one in alive() if not any(one is known for known in before)]
    assert sorted(new) == ["Observation", "RequestContext"]


@pytest.mark.parametrize("permissions", [["x"], ["y"], None])
def test_nothing_of_a_request_stays_behind(issuer: LocalIssuer, permissions: list[str] | None) -> None:
    app, watch = watched(issuer, *granting())
    headers = [] if permissions is None else token(issuer, permissions=permissions)
    before = alive()
    for path in ("/x/1", "/covered/y", "/foreign/1", "/open"):
        ask(app, http_scope(path, headers))
    assert watch.seen
    assert not [kept for kept in alive() if not any(kept is known for known in before)]
