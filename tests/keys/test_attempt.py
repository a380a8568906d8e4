"""One attempt at a fetch: it ends in time, whatever it does, and counts only if the event loop ran meanwhile."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from authz_middleware.errors import InvalidToken
from authz_middleware.keys import Fetched, FetchFailed, KeySettings
from authz_middleware.keys.attempt import attempt

from .helpers import (
    CANNOT_SAY,
    JWKS_URL,
    NEVER_FETCHED,
    NEW,
    OLD,
    Clock,
    World,
    in_loop,
    json_response,
    jwks,
    refusal,
    settle,
)
from .virtual import in_virtual_time, passed


class Frozen:
    """A `Fetch` during which the event loop stands still, for so many seconds each time."""

    def __init__(self, world: World, *seconds: float) -> None:
        self.world = world
        self.seconds = itertools.chain(seconds, itertools.repeat(0.0))
        self.asked = 0

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        self.asked += 1
        answer = self.world.network.answers[url]
        self.world.clock.now += next(self.seconds)
        if isinstance(answer, BaseException):
            raise answer
        response: Fetched = answer
        return response


@pytest.mark.parametrize(("seconds", "fetches"), [(2, 1), (2.1, 2), (10_000, 2)])
@in_loop
async def test_a_failure_while_the_loop_stood_still_is_none(seconds: float, fetches: int) -> None:
    world = World(OLD)
    world.source._fetch = frozen = Frozen(world, seconds)
    world.network.fail()
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert frozen.asked == fetches
    assert world.source.status().next_refresh == 1  # one failure is recorded, the latest


@in_virtual_time
async def test_a_failure_on_a_loop_that_is_only_busy_counts() -> None:
    """However long the fetch may take: what adds up in all that time is no standstill."""
    world = World(OLD, settings=KeySettings(fetch_seconds=20))
    await world.get()

    async def late(url: str, headers: Mapping[str, str]) -> Fetched:
        while True:
            await asyncio.sleep(1)
            world.clock.now += 1.9

    world.source._fetch = late
    assert await refusal(world.source, "new") == CANNOT_SAY
    assert passed() == 20
    assert world.source.status().last_error == "timeout"
    await world.source.aclose()


@pytest.mark.parametrize(("seconds", "fetches"), [(10, 1), (10.5, 2)])
@in_loop
async def test_an_answer_from_before_the_loop_stood_still_is_none(seconds: float, fetches: int) -> None:
    world = World(OLD)
    world.source._fetch = frozen = Frozen(world, seconds)
    assert (await world.get()).kid == "old"
    assert frozen.asked == fetches


@in_loop
async def test_a_withdrawn_key_stops_although_no_loop_runs_between_requests() -> None:
    """One loop that runs during requests only: what they do not wait for stands still."""
    world = World(OLD)
    await world.get()
    world.network.fail()
    await world.refresh(500)  # one failure, just before the keys are withdrawn
    world.network.publish(NEW)
    world.network.gate.clear()
    for _ in range(100):
        world.clock.now += 5
        request = asyncio.create_task(world.get())
        await settle()  # the server does not answer that fast
        if not request.done():
            world.network.gate.set()
            await settle()
            break
    assert isinstance(request.exception(), InvalidToken)
    assert world.clock.now - 1_000_000 <= 600 + 1 + 36 + 5


@in_virtual_time
async def test_an_attempt_ends_in_time_although_it_will_not_be_ended() -> None:
    world = World(OLD)

    async def stubborn(url: str, headers: Mapping[str, str]) -> Fetched:
        for _ in range(3):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
        raise OSError("hush")

    world.source._fetch = stubborn
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert passed() == 6
    assert world.source.status().last_error == "timeout"
    world.source._fetch = world.network
    world.clock.now += 1
    assert (await world.get()).kid == "old"
    await asyncio.sleep(4 * 3600)
    await settle()
    assert complaints == []
    assert world.source.status().last_error is None


@in_loop
async def test_what_is_ended_may_close_what_it_opened() -> None:
    closed = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed.set()

    trying = asyncio.create_task(attempt(work(), 5, Clock()))
    await settle()
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert closed.is_set()


class Odd(BaseException):
    """Neither an Exception nor one of those that end a process."""


@pytest.mark.parametrize("error", [Odd(), BaseExceptionGroup("x", [asyncio.CancelledError()]), GeneratorExit()])
@in_loop
async def test_whatever_is_raised_is_a_failure_that_backs_off(error: BaseException) -> None:
    world = World(OLD)
    world.network.answer(error)
    for _ in range(20):
        assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.network.fetches == 1
    assert world.source.status().last_error == type(error).__name__


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_let_through(error: type[BaseException]) -> None:
    world = World(OLD)
    world.network.answer(error())
    with pytest.raises(error):
        asyncio.run(world.get())


@in_loop
async def test_an_attempt_that_is_cancelled_from_within_has_failed() -> None:
    async def work() -> None:
        task: Any = asyncio.current_task()
        task.cancel()
        await asyncio.sleep(0)

    made = await attempt(work(), 5, Clock())
    assert isinstance(made.outcome, FetchFailed)
    assert made.counts


@in_virtual_time
async def test_nobody_waits_for_ever_while_the_loop_stands_still_again_and_again() -> None:
    world = World(OLD)

    async def halting(url: str, headers: Mapping[str, str]) -> Fetched:
        while True:
            await asyncio.sleep(1)
            world.clock.now += 2.5

    assert (await world.get()).kid == "old"
    world.source._fetch = halting
    assert await refusal(world.source, "new") == CANNOT_SAY
    assert passed() == 22  # nor for the flight after that
    await world.source.aclose()
    world = World()
    world.source._fetch = halting
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert passed() == 33
    await world.source.aclose()


@in_loop
async def test_a_search_is_decided_on_the_attempt_that_counts() -> None:
    world = World(OLD, settings=KeySettings(fetch_seconds=1))
    await world.get()
    world.source._fetch = Frozen(world, 100)
    world.network.answers[JWKS_URL] = json_response(jwks(OLD, NEW))
    assert (await world.get("new")).kid == "new"
    world.source._fetch = Frozen(world, 100)
    world.network.fail()
    assert await refusal(world.source, "other") == CANNOT_SAY
