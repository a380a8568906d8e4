"""The shared fetch and whom it belongs to: requests that give up, several event loops, forks, the end."""

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from authz_middleware._jose import ALGORITHMS
from authz_middleware.errors import Code, ConfigurationError, KeysUnavailable
from authz_middleware.keys import Fetched, RemoteJWKS

from .helpers import (
    ISSUER,
    JWKS_URL,
    METADATA_URL,
    NEVER_FETCHED,
    NEW,
    OLD,
    World,
    at_once,
    in_loop,
    json_response,
    jwks,
    refusal,
    retry_after,
    settle,
)
from .test_remote import BROKEN


@pytest.mark.parametrize("leaver", [0, 1, 9])
@in_loop
async def test_a_request_that_goes_away_does_not_cancel_the_fetch_for_the_others(leaver: int) -> None:
    world = World(OLD)
    world.network.gate.clear()
    requests = [asyncio.create_task(world.get()) for _ in range(10)]
    await settle()
    requests[leaver].cancel()
    await settle()
    world.network.gate.set()
    results = await asyncio.gather(*requests, return_exceptions=True)
    left = [number for number, result in enumerate(results) if isinstance(result, asyncio.CancelledError)]
    assert left == [leaver]
    assert world.network.fetches == 1


@in_loop
async def test_a_fetch_goes_on_when_everybody_has_gone() -> None:
    world = World(OLD)
    world.network.gate.clear()
    assert await world.waits()
    world.network.gate.set()
    await settle()
    assert world.get_at_once().kid == "old"
    assert world.network.fetches == 1


@in_loop
async def test_a_fetch_that_was_ended_from_outside_is_repeated_by_the_next_request() -> None:
    world = World(OLD)
    world.network.gate.clear()
    requests = [asyncio.create_task(refusal(world.source, "old")) for _ in range(10)]
    await settle()
    await world.source.aclose()
    assert set(await asyncio.gather(*requests)) == {NEVER_FETCHED}
    world.network.gate.set()
    assert (await world.get()).kid == "old"
    assert world.network.fetches == 2


@in_loop
async def test_an_outage_says_one_second_where_no_retry_is_set() -> None:
    world = World(OLD)
    world.network.gate.clear()
    request = asyncio.create_task(retry_after(world.source))
    await settle()
    await world.source.aclose()
    assert await request == 1


@in_loop
async def test_a_failed_fetch_leaves_no_unread_exception() -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    for answer in BROKEN.values():
        world = World(OLD)
        await world.get()
        world.network.answer(answer)
        world.clock.now += 500
        await world.get()
        await settle()
        del world
    assert complaints == []


request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


@in_loop
async def test_the_shared_fetch_does_not_run_in_the_context_of_the_request_that_began_it() -> None:
    seen: list[str] = []

    async def fetch(url: str, headers: object) -> Fetched:
        seen.append(request_id.get())
        return json_response(jwks(OLD))

    request_id.set("first")
    source = RemoteJWKS(ISSUER, ALGORITHMS, jwks_uri=JWKS_URL, fetch=fetch)
    await source.get("old", "ES256")
    assert seen == ["none"]


def test_one_source_serves_several_event_loops_in_turn() -> None:
    world = World(OLD)

    async def cut_short() -> None:
        world.network.gate = asyncio.Event()
        assert await world.waits()

    asyncio.run(cut_short())  # the loop ends with the fetch under way
    world.network.gate = asyncio.Event()
    world.network.gate.set()
    assert asyncio.run(world.get()).kid == "old"
    world.clock.now += 600
    assert asyncio.run(world.get()).kid == "old"
    assert world.network.fetches == 3


def test_a_fetch_on_another_loop_is_not_awaited_and_does_not_undo_a_newer_one() -> None:
    world = World(OLD)
    slow, fast = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        held_up = asyncio.Event()
        world.network.gate = held_up
        request = slow.create_task(world.get())
        slow.run_until_complete(settle())
        world.network.gate = asyncio.Event()
        world.network.gate.set()
        world.network.publish(NEW)
        assert fast.run_until_complete(asyncio.wait_for(world.get("new"), 10)).kid == "new"
        held_up.set()
        outcome = slow.run_until_complete(asyncio.gather(request, return_exceptions=True))
        assert [getattr(result, "code", None) for result in outcome] == [Code.UNKNOWN_KEY]
        assert fast.run_until_complete(asyncio.wait_for(world.get("new"), 10)).kid == "new"
    finally:
        slow.close()
        fast.close()


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks came with Python 3.12")
@in_loop
async def test_eager_tasks_change_nothing() -> None:
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
    world = World(OLD, jwks_uri=None)
    await asyncio.gather(*(world.get() for _ in range(1000)))
    world.network.publish(OLD, NEW)
    await asyncio.gather(*(world.get("new") for _ in range(256)))
    assert world.network.urls == [METADATA_URL, JWKS_URL, JWKS_URL]


def test_without_asyncio_there_is_a_clear_error() -> None:
    world = World(OLD)
    with pytest.raises(ConfigurationError, match="run the application on asyncio"):
        at_once(world.get())
    assert asyncio.run(world.get()).kid == "old"


def test_under_trio_there_is_a_clear_error() -> None:
    trio = pytest.importorskip("trio", reason="trio is not installed")
    world = World(OLD)
    with pytest.raises(ConfigurationError, match="run the application on asyncio"):
        trio.run(world.get)


# --- the end ----------------------------------------------------------------------------------------------------------


def others() -> set[asyncio.Task[object]]:
    """Return the tasks of this loop beside the one that asks."""
    return asyncio.all_tasks() - {asyncio.current_task()}


@in_loop
async def test_the_background_task_ends_with_the_application() -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    world = World(OLD)
    await world.get()
    world.network.gate.clear()
    world.clock.now += 500
    await world.get()
    await settle()
    assert len(others()) == 2  # the flight, and its attempt
    await world.source.aclose()
    assert others() == set()
    await world.source.aclose()  # there is nothing left to end
    assert complaints == []


@in_loop
async def test_nothing_is_to_be_ended_before_the_first_request() -> None:
    await World(OLD).source.aclose()


def test_outside_a_loop_there_is_nothing_to_end() -> None:
    async def end(world: World) -> None:
        await world.source.aclose()

    trio = pytest.importorskip("trio", reason="trio is not installed")
    trio.run(end, World(OLD))


@in_loop
async def test_a_fetch_that_was_ended_counts_neither_as_failed_nor_as_good() -> None:
    world = World(OLD)
    await world.get()
    world.network.gate.clear()
    world.clock.now += 500
    await world.get()
    await settle()
    await world.source.aclose()
    assert world.source.status().last_error is None
    world.network.gate.set()
    world.clock.now += 100
    assert (await world.get()).kid == "old"  # the set is stale, nothing has failed: it is awaited
    assert world.network.fetches == 3


@in_loop
async def test_a_fetch_ended_before_it_began_leaves_no_waiter_behind() -> None:
    world = World(OLD)
    await world.get()
    flight = world.source._flights.take_off()
    searching = asyncio.create_task(refusal(world.source, "unknown"))
    await world.source.aclose()
    assert flight.task.cancelled()
    await searching


@in_loop
async def test_who_waits_when_the_application_ends_is_answered() -> None:
    world = World(OLD)
    world.network.gate.clear()
    requests = [asyncio.create_task(refusal(world.source, kid)) for kid in ("old", "unknown")]
    await settle()
    await world.source.aclose()
    assert await asyncio.gather(*requests) == [NEVER_FETCHED] * 2


@in_loop
async def test_who_gives_up_leaves_neither_task_nor_count_behind() -> None:
    world = World(OLD)
    await world.get()
    world.network.gate.clear()
    requests = [asyncio.create_task(world.get("unknown")) for _ in range(10)]
    await settle()
    flight = world.source._flights.current()
    assert flight is not None
    assert flight.searching == 10
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)
    assert flight.searching == 0
    assert len(others()) == 2  # the flight, and its attempt
    await world.source.aclose()


# --- several loops ----------------------------------------------------------------------------------------------------


def test_loops_that_have_ended_are_forgotten() -> None:
    world = World(OLD)

    async def cut_short() -> None:
        world.network.gate = asyncio.Event()
        assert await world.waits()

    for _ in range(20):
        asyncio.run(cut_short())
    assert len(world.source._flights._by_loop) == 1


class Loops:
    """Two loops that run in turn, each with a network that answers when it is told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.one, self.two = asyncio.new_event_loop(), asyncio.new_event_loop()

    def begin(self, loop: asyncio.AbstractEventLoop, kid: str) -> tuple[asyncio.Event, asyncio.Task[object]]:
        """Ask for a key on a loop, as far as the network lets it."""
        self.world.network.gate = gate = asyncio.Event()
        request = loop.create_task(self.world.get(kid))
        loop.run_until_complete(settle())
        return gate, request

    def end(self, loop: asyncio.AbstractEventLoop, gate: asyncio.Event, request: asyncio.Task[object]) -> object:
        """Let the network answer, and return the key id or the code of the refusal."""
        gate.set()
        (outcome,) = loop.run_until_complete(asyncio.gather(request, return_exceptions=True))
        return getattr(outcome, "kid", getattr(outcome, "code", outcome))

    def close(self) -> None:
        self.one.close()
        self.two.close()


def test_each_loop_has_one_fetch_under_way() -> None:
    loops = Loops(world := World(OLD))
    try:
        gate_one, first = loops.begin(loops.one, "old")
        gate_two, second = loops.begin(loops.two, "old")
        assert world.network.fetches == 2
        _, third = loops.begin(loops.one, "old")
        _, fourth = loops.begin(loops.two, "old")
        assert world.network.fetches == 2
        assert loops.end(loops.one, gate_one, first) == loops.end(loops.one, gate_one, third) == "old"
        assert loops.end(loops.two, gate_two, second) == loops.end(loops.two, gate_two, fourth) == "old"
    finally:
        loops.close()


def test_a_failure_on_another_loop_does_not_undo_a_later_success() -> None:
    loops = Loops(world := World())
    try:
        world.network.fail()
        gate_one, first = loops.begin(loops.one, "old")
        world.network.publish(OLD)
        gate_two, second = loops.begin(loops.two, "old")
        assert loops.end(loops.two, gate_two, second) == "old"
        assert loops.end(loops.one, gate_one, first) == "old"  # what the other loop brought
        assert world.source.status().last_error is None
        assert world.source.status().next_refresh == 480
    finally:
        loops.close()


def test_a_304_renews_the_set_it_was_asked_about() -> None:
    """Between the question and its answer, another loop has brought another document."""
    loops = Loops(world := World(OLD))
    try:
        world.network.publish(OLD, etag='"one"')
        gate, request = loops.begin(loops.one, "old")
        loops.end(loops.one, gate, request)
        world.clock.now += 600
        world.network.publish(NEW, etag='"two"')
        gate_one, first = loops.begin(loops.one, "new")
        world.network.answer(Fetched(304, {}, b""))
        gate_two, second = loops.begin(loops.two, "old")
        assert world.network.calls[-1][1]["If-None-Match"] == '"one"'
        assert loops.end(loops.one, gate_one, first) == "new"
        assert loops.end(loops.two, gate_two, second) == "old"  # asked later, and told that the first still holds
    finally:
        loops.close()


def test_loops_in_several_threads_at_once() -> None:
    world = World(OLD, jwks_uri=None)
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    async def ask(number: int) -> None:
        keys = await asyncio.gather(*(world.get() for _ in range(50)))
        barrier.wait(60)
        codes = await asyncio.gather(*(refusal(world.source, f"unknown-{number}-{n}") for n in range(50)))
        outcomes.extend([*(str(key.kid) for key in keys), *(str(code) for code, _ in codes)])

    threads = [threading.Thread(target=asyncio.run, args=(ask(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(set(outcomes)) == ["old", "unknown_key"]
    assert len(outcomes) == 8 * 100
    assert world.network.fetches <= 8 + 2  # the first of each loop, and what the bucket holds
    assert len(world.source._absent) <= 8 * 50


# --- forks ------------------------------------------------------------------------------------------------------------

FORK = """
    import asyncio, os, sys
    from authz_middleware import AccessTokenValidator
    from authz_middleware.testing import LocalIssuer
    from tests.keys.helpers import UNKNOWN, World, refusal, settle

    issuer = LocalIssuer(algorithm="ES256")
    world = World(issuer.key)
    validator = AccessTokenValidator([issuer.trusted(keys=world.source, algorithms=["ES256"])])
    kid, token = issuer.key.kid, issuer.token()

    async def parent():
        await validator.validate(token)
        world.network.gate.clear()
        waiting = [asyncio.create_task(refusal(world.source, "unknown")) for _ in range(256)]
        await settle()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.run(in_child())
                status = 0
            finally:
                os._exit(status)
        world.network.gate.set()
        await asyncio.wait(waiting)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def check(holds):
        if not holds:
            raise SystemExit("it does not hold")

    async def in_child():
        world.network.gate = asyncio.Event()
        world.network.gate.set()
        asked = world.network.fetches
        check((await world.get(kid)).kid == kid)
        check((await validator.validate(token)).issuer == issuer.issuer)
        check(world.network.fetches == asked)
        check(await refusal(world.source, "unknown") == UNKNOWN)  # nobody of the parent's waits here
        world.clock.now += 600
        check((await world.get(kid)).kid == kid)
        check(world.network.fetches == asked + 2)

    sys.exit(asyncio.run(parent()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_in_the_middle_of_a_fetch_goes_on_by_itself() -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-c", textwrap.dedent(FORK)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@in_loop
async def test_a_search_that_is_ended_found_nothing_out() -> None:
    world = World(OLD)
    await world.get("old")
    world.network.publish(OLD, NEW)
    world.network.gate.clear()
    searching = asyncio.create_task(world.get("new"))
    await settle()
    await world.source.aclose()
    with pytest.raises(KeysUnavailable):  # nobody can say that the key is not published
        await searching
