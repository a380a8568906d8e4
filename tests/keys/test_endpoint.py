"""Where an issuer's keys are found: metadata that fails, hangs, moves the endpoint, or leads astray."""

import asyncio
from typing import Any

import pytest

from authz_middleware.keys import Fetched, KeySettings

from .helpers import (
    CANNOT_SAY,
    ISSUER,
    JWKS_URL,
    METADATA_URL,
    NEVER_FETCHED,
    NEW,
    OLD,
    RFC8414_URL,
    UNKNOWN,
    World,
    in_loop,
    json_response,
    jwks,
    refusal,
    retry_after,
    settle,
)
from .virtual import in_virtual_time, passed

HOUR = 3600.0
MOVED = "https://keys.issuer.test/moved.json"


@in_loop
async def test_the_endpoint_is_discovered_anew_after_an_hour() -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    await world.refresh(600)
    await world.refresh(HOUR - 601)
    assert world.network.urls == [METADATA_URL, JWKS_URL, JWKS_URL, JWKS_URL]
    await world.refresh(601)
    assert world.network.urls[4:] == [METADATA_URL, JWKS_URL]


@in_loop
async def test_the_endpoint_is_discovered_anew_after_a_failure() -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    world.network.fail()
    await world.refresh()
    world.network.publish(OLD)
    await world.refresh(1)
    assert world.network.urls == [METADATA_URL, JWKS_URL, JWKS_URL, METADATA_URL, JWKS_URL]


@in_loop
async def test_failed_discovery_is_an_outage() -> None:
    world = World(OLD, jwks_uri=None)
    world.network.answers[METADATA_URL] = Fetched(500, {}, b"")
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.network.urls == [METADATA_URL]


@in_loop
async def test_an_endpoint_found_by_the_other_form_of_metadata() -> None:
    world = World(OLD, jwks_uri=None)
    world.network.answers[RFC8414_URL] = world.network.answers[METADATA_URL]
    world.network.answers[METADATA_URL] = Fetched(404, {}, b"")
    assert (await world.get()).kid == "old"
    assert world.network.urls == [METADATA_URL, RFC8414_URL, JWKS_URL]


@in_loop
async def test_a_configured_endpoint_needs_no_metadata() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    world.clock.now += 600
    await world.get()
    world.network.publish(OLD)
    await world.refresh(HOUR - 700)
    assert set(world.network.urls) == {JWKS_URL}


@in_loop
async def test_an_endpoint_that_moves_is_found_where_it_is() -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    world.network.answers[METADATA_URL] = json_response({"issuer": ISSUER, "jwks_uri": MOVED})
    world.network.answers[MOVED] = json_response(jwks(OLD, NEW))
    world.network.fail()
    await world.refresh()
    world.clock.now += 15
    assert (await world.get("new")).kid == "new"
    assert world.network.urls == [METADATA_URL, JWKS_URL, JWKS_URL, METADATA_URL, MOVED]


NO_METADATA: dict[str, Any] = {
    "500": Fetched(500, {}, b""),
    "429": Fetched(429, {"retry-after": "120"}, b""),
    "404": Fetched(404, {}, b""),
    "OSError": OSError(),
    "TimeoutError": TimeoutError(),
    "garbage": Fetched(200, {}, b"<html>"),
    "another issuer": json_response({"issuer": "https://evil.test/", "jwks_uri": "https://evil.test/"}),
    "plain http": json_response({"issuer": ISSUER, "jwks_uri": "http://keys.issuer.test/"}),
    "metadata service": json_response({"issuer": ISSUER, "jwks_uri": "https://169.254.169.254/"}),
    "host not allowed": json_response({"issuer": ISSUER, "jwks_uri": "https://evil.test/"}),
}


@pytest.mark.parametrize("answer", NO_METADATA.values(), ids=NO_METADATA)
@in_loop
async def test_metadata_that_fails_leaves_the_last_known_endpoint(answer: Any) -> None:
    settings = KeySettings(allowed_hosts={"keys.issuer.test"})
    world = World(OLD, jwks_uri=None, settings=settings)
    await world.get()
    good = world.network.answers[METADATA_URL]
    world.network.answers[METADATA_URL] = world.network.answers[RFC8414_URL] = answer
    world.network.publish(OLD, NEW)
    world.clock.now += HOUR
    assert (await world.get("new")).kid == "new"
    assert world.network.urls[-1] == JWKS_URL
    assert world.source.status().last_error is None
    world.network.answers[METADATA_URL] = good
    asked = world.network.urls.count(METADATA_URL)
    await world.refresh()
    assert world.network.urls.count(METADATA_URL) == asked + 1  # not an hour later


@pytest.mark.parametrize(("name", "seconds"), [("500", 30), ("OSError", 30), ("garbage", 30), ("429", 120)])
@in_loop
async def test_metadata_that_fails_is_not_asked_for_with_every_fetch(name: str, seconds: float) -> None:
    """Not even when keys fail, too, and their endpoint is doubted."""
    world = World(OLD, jwks_uri=None, settings=KeySettings(unknown_key_interval=1))
    await world.get()
    world.clock.now += HOUR
    world.network.answers[METADATA_URL] = NO_METADATA[name]
    await world.get()
    asked = world.network.urls.count(METADATA_URL)
    world.network.fail()
    await refusal(world.source, "unknown")
    world.clock.now += seconds - 0.01
    await refusal(world.source, "another")
    assert world.network.urls.count(METADATA_URL) == asked
    assert world.network.fetches == 4
    world.clock.now += 10
    await refusal(world.source, "third")
    assert world.network.urls.count(METADATA_URL) == asked + 1


@pytest.mark.parametrize("answer", NO_METADATA.values(), ids=NO_METADATA)
@in_loop
async def test_metadata_that_fails_at_first_is_an_outage(answer: Any) -> None:
    world = World(OLD, jwks_uri=None, settings=KeySettings(allowed_hosts={"keys.issuer.test"}))
    world.network.answers[METADATA_URL] = world.network.answers[RFC8414_URL] = answer
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.network.fetches == 0


@in_loop
async def test_metadata_may_say_when_to_come_back() -> None:
    world = World(OLD, jwks_uri=None)
    world.network.answers[METADATA_URL] = NO_METADATA["429"]
    assert await retry_after(world.source) == 120


@in_loop
async def test_the_host_of_the_keys_can_be_restricted() -> None:
    world = World(OLD, jwks_uri=None, settings=KeySettings(allowed_hosts={"issuer.test"}))
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.source.status().last_error == "host_not_allowed"
    world = World(OLD, jwks_uri=None, settings=KeySettings(allowed_hosts={"issuer.test", "keys.issuer.test"}))
    assert (await world.get()).kid == "old"


# --- the deadline -----------------------------------------------------------------------------------------------------


def slow(world: World, **seconds: float) -> None:
    """Let documents take their time: `metadata`, `oauth`, `keys`."""
    urls = {METADATA_URL: "metadata", RFC8414_URL: "oauth", JWKS_URL: "keys"}
    fetch = world.network.__call__

    async def slowed(url: str, headers: Any) -> Fetched:
        response = await fetch(url, headers)
        await asyncio.sleep(seconds.get(urls[url], 0))  # virtual time
        return response

    world.source._fetch = world.source._endpoint._fetch = slowed


@pytest.mark.parametrize(
    "seconds",
    [
        {"metadata": 6},
        {"metadata": 3, "keys": 3},
        {"keys": 6},
        {"metadata": 2, "oauth": 2, "keys": 2},
        {"metadata": 1e9},
    ],
)
@in_virtual_time
async def test_a_refresh_has_five_seconds_in_all(seconds: dict[str, float]) -> None:
    world = World(OLD, jwks_uri=None)
    if "oauth" in seconds:
        world.network.answers[RFC8414_URL] = world.network.answers[METADATA_URL]
        world.network.answers[METADATA_URL] = Fetched(404, {}, b"")
    slow(world, **seconds)
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert passed() == 5
    assert world.source.status().last_error == "timeout"


@in_virtual_time
async def test_within_five_seconds_all_is_well() -> None:
    world = World(OLD, jwks_uri=None)
    slow(world, metadata=2.4, keys=2.5)
    assert (await world.get()).kid == "old"
    assert passed() == pytest.approx(4.9)


@in_virtual_time
async def test_the_deadline_is_a_setting() -> None:
    world = World(OLD, jwks_uri=None, settings=KeySettings(fetch_seconds=20))
    slow(world, metadata=9, keys=9)
    assert (await world.get()).kid == "old"
    slow(world, metadata=30)
    world.clock.now += HOUR
    began = passed()
    assert (await world.get()).kid == "old"
    assert passed() - began == 10


@in_virtual_time
async def test_metadata_that_hangs_leaves_time_for_the_last_known_endpoint() -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    world.network.publish(OLD, NEW)
    slow(world, metadata=1e9, keys=2.4)
    world.clock.now += HOUR
    assert (await world.get("new")).kid == "new"
    assert passed() == pytest.approx(4.9)
    assert world.source.status().last_error is None


@in_virtual_time
async def test_an_endpoint_that_hangs_too_is_an_outage() -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    slow(world, metadata=1e9, keys=1e9)
    world.clock.now += 601
    assert await refusal(world.source, "new") == CANNOT_SAY
    assert passed() == 5
    assert (await world.get()).kid == "old"


@in_virtual_time
async def test_whoever_waits_for_metadata_that_hangs_can_be_cancelled() -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    slow(world, metadata=1e9)
    world.clock.now += HOUR
    request = asyncio.create_task(world.get())
    await settle()
    await world.source.aclose()
    assert (await asyncio.wait({request}, timeout=1))[0] == {request}
    assert passed() == 0


# --- an endpoint that moves together with its keys --------------------------------------------------------------------

MOVED_URL = "https://keys.issuer.test/v2.json"


@pytest.mark.parametrize(("seconds", "is_found"), [(59.9, False), (60, True)])
@in_loop
async def test_a_search_looks_whether_the_endpoint_has_moved(seconds: float, is_found: bool) -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    world.network.answers[METADATA_URL] = json_response({"issuer": ISSUER, "jwks_uri": MOVED_URL})
    world.network.answers[MOVED_URL] = json_response(jwks(OLD, NEW))
    world.clock.now += seconds
    if is_found:
        assert (await world.get("new")).kid == "new"
    else:
        assert await refusal(world.source, "new") == UNKNOWN


@in_loop
async def test_metadata_is_read_again_no_oftener_than_each_minute_however_many_search() -> None:
    world = World(OLD, jwks_uri=None)
    await world.get()
    for number in range(300):
        world.clock.now += 1
        await refusal(world.source, f"unknown-{number}")
    assert world.network.urls.count(METADATA_URL) == 5  # the bucket has a token each 15 seconds
