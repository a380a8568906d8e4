"""The promises of DESIGN section 5, row by row, with time and network in the test's hands."""

import asyncio
import logging
import math
from collections import Counter
from typing import Any

import pytest

from authz_middleware.keys import Fetched, FetchFailed, KeySettings, KeyState, is_key_source
from authz_middleware.testing import SigningKey

from .helpers import (
    AMBIGUOUS,
    CANNOT_SAY,
    ISSUER,
    JWKS_URL,
    METADATA_URL,
    NEVER_FETCHED,
    NEW,
    OLD,
    TOO_LONG,
    TOO_MANY,
    UNKNOWN,
    World,
    in_loop,
    json_response,
    jwks,
    refusal,
    retry_after,
    settle,
    starts_to_wait,
)

HOUR = 3600.0


def test_it_is_a_key_source() -> None:
    assert is_key_source(World().source)


# --- the first requests -----------------------------------------------------------------------------------------------


@in_loop
async def test_a_thousand_first_requests_cost_one_discovery_and_one_fetch() -> None:
    world = World(OLD, jwks_uri=None)
    keys = await asyncio.gather(*(world.get() for _ in range(1000)))
    assert {key.kid for key in keys} == {"old"}
    assert world.network.urls == [METADATA_URL, JWKS_URL]


@in_loop
async def test_requests_that_arrive_during_the_first_fetch_join_it() -> None:
    world = World(OLD, jwks_uri=None)
    world.network.gate.clear()
    requests = []
    for _ in range(10):
        requests.append(asyncio.create_task(world.get()))
        await settle()
    world.network.gate.set()
    assert [key.kid for key in await asyncio.gather(*requests)] == ["old"] * 10
    assert world.network.urls == [METADATA_URL, JWKS_URL]


@in_loop
async def test_a_thousand_first_requests_share_one_failure() -> None:
    world = World()
    world.network.fail()
    assert set(await asyncio.gather(*(refusal(world.source, "old") for _ in range(1000)))) == {NEVER_FETCHED}
    assert world.network.fetches == 1


@in_loop
async def test_a_failure_is_not_repeated_by_the_next_thousand_requests() -> None:
    world = World()
    world.network.fail()
    await refusal(world.source, "old")
    world.clock.now += 0.99
    for _ in range(1000):
        assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.network.fetches == 1
    world.clock.now += 0.01
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.network.fetches == 2


@in_loop
async def test_a_key_of_another_algorithm_is_another_key() -> None:
    world = World(OLD)
    assert (await world.get()).algorithm == "ES256"
    assert await refusal(world.source, "old", "RS256") == UNKNOWN


@in_loop
async def test_a_token_without_kid_fits_the_only_key() -> None:
    world = World(OLD)
    assert (await world.get(None)).kid == "old"
    assert await refusal(world.source, None, "RS256") == UNKNOWN
    world.network.publish(OLD, NEW)
    await world.refresh()
    assert await refusal(world.source, None) == AMBIGUOUS


@in_loop
async def test_a_token_without_kid_finds_a_key_published_since() -> None:
    world = World(SigningKey("EdDSA", kid="other"))
    await world.get("other", "EdDSA")
    world.network.publish(NEW)
    assert (await world.get(None)).kid == "new"


# --- fresh ------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_fresh_key_never_waits() -> None:
    world = World(OLD)
    await world.get()
    world.network.gate.clear()
    for _ in range(600):
        assert world.get_at_once().kid == "old"
        world.clock.now += 0.999


@pytest.mark.parametrize(("part", "due"), [(0.0, 420.0), (0.5, 480.0), (1.0, 540.0)])
@in_loop
async def test_it_is_refreshed_ahead_in_the_background(part: float, due: float) -> None:
    world = World(OLD, jitter=part)
    await world.get()
    assert world.jitter.intervals == [pytest.approx((0.7, 0.9))]
    world.clock.now += due - 0.001
    await world.get()
    await settle()
    assert world.network.fetches == 1
    world.clock.now += 0.002
    for _ in range(100):
        assert world.get_at_once().kid == "old"
    await settle()
    assert world.network.fetches == 2


@in_loop
async def test_only_one_refresh_is_under_way() -> None:
    world = World(OLD)
    await world.get()
    world.network.gate.clear()
    world.clock.now += 500
    for _ in range(10):
        assert world.get_at_once().kid == "old"
        await settle()
    assert world.network.fetches == 2


@in_loop
async def test_a_refresh_brings_new_keys_and_a_new_lifetime() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(OLD, NEW)
    await world.refresh(500)
    world.network.gate.clear()
    world.clock.now += 599
    assert world.get_at_once("new").kid == "new"
    await settle()
    assert world.network.fetches == 3


@pytest.mark.parametrize(
    ("cache_control", "lifetime"),
    [
        ("", 600),
        ("public", 600),
        ("max-age=900", 900),
        ("public, MAX-AGE=900, must-revalidate", 900),
        ('max-age="900"', 900),
        ("max-age=15", 60),
        ("max-age=0", 60),
        ("max-age=59", 60),
        ("max-age=61", 61),
        ("max-age=3599", 3599),
        ("max-age=3601", 3600),
        ("max-age=99999999999999999999999", 3600),
        ("s-maxage=900", 600),
        ("x-max-age=900", 600),
        ("max-age=-1", 60),
        ("max-age=", 60),
        ("max-age=NaN", 60),
        ("s-maxage=100, max-age=900", 900),
    ],
)
@in_loop
async def test_it_is_fresh_for_max_age_within_bounds(cache_control: str, lifetime: float) -> None:
    world = World()
    world.network.publish(OLD, cache_control=cache_control)
    await world.get()
    world.network.gate.clear()
    world.clock.now += lifetime - 0.001
    assert world.get_at_once().kid == "old"
    world.clock.now += 0.002
    assert await world.waits()
    world.network.gate.set()
    await settle()


@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ({"cache_control": "max-age=900", "age": "300"}, 600),
        ({"cache_control": "max-age=900", "age": "880"}, 60),
        ({"cache_control": "no-store"}, 60),
        ({"cache_control": "no-cache, max-age=900"}, 60),
        ({"age": "300"}, 600),
    ],
)
@in_loop
async def test_what_a_response_says_about_caching(headers: dict[str, str], lifetime: float) -> None:
    world = World()
    world.network.publish(OLD, **headers)
    await world.get()
    world.network.gate.clear()
    world.clock.now += lifetime - 0.001
    assert world.get_at_once().kid == "old"
    world.clock.now += 0.002
    assert await world.waits()
    world.network.gate.set()
    await settle()


# --- revalidation -----------------------------------------------------------------------------------------------------


@in_loop
async def test_an_etag_revalidates_the_set() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"')
    await world.get()
    world.network.answer(Fetched(304, {"cache-control": "max-age=900"}, b""))
    await world.refresh()
    await world.refresh(899)
    assert [call[1].get("If-None-Match") for call in world.network.calls] == [None, '"one"', '"one"']
    world.network.gate.clear()
    world.clock.now += 899
    assert world.get_at_once().kid == "old"


@pytest.mark.parametrize(
    ("stored", "headers", "lifetime"),
    [
        ("max-age=900", {}, 900),
        ("max-age=900", {"cache-control": "public"}, 900),
        ("max-age=900", {"cache-control": "max-age=120"}, 120),
        ("max-age=900", {"cache-control": "no-store"}, 60),
        ("max-age=900", {"cache-control": "max-age=900", "age": "500"}, 400),
        ("", {}, 600),
    ],
)
@in_loop
async def test_a_304_keeps_the_lifetime_it_does_not_mention(
    stored: str, headers: dict[str, str], lifetime: float
) -> None:
    world = World()
    world.network.publish(OLD, etag='"one"', cache_control=stored)
    await world.get()
    world.network.answer(Fetched(304, headers, b""))
    world.clock.now += 900
    await world.get()
    world.network.gate.clear()
    world.clock.now += lifetime - 0.001
    assert world.get_at_once().kid == "old"
    world.clock.now += 0.002
    assert await world.waits()
    world.network.gate.set()
    await settle()


@in_loop
async def test_a_304_keeps_the_very_keys() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"')
    key = await world.get()
    world.network.answer(Fetched(304, {}, b""))
    world.clock.now += 600
    assert await world.get() is key


@in_loop
async def test_a_document_that_says_the_same_keeps_the_very_keys() -> None:
    world = World(OLD)
    key = await world.get()
    world.network.publish(NEW, OLD)
    world.clock.now += 600
    assert await world.get() is key


@in_loop
async def test_a_new_document_brings_a_new_etag_or_none() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"')
    await world.get()
    world.network.publish(OLD, etag='W/"two"')
    await world.refresh()
    world.network.publish(OLD)
    await world.refresh()
    await world.refresh()
    assert [call[1].get("If-None-Match") for call in world.network.calls] == [None, '"one"', 'W/"two"', None]


@pytest.mark.parametrize(
    "etag", ["", "x" * 1025, b"one", 1, '"\N{SNOWMAN}"', '"\xe9"', '"one"\r\nHost: evil.test', '"\0"']
)
@in_loop
async def test_an_etag_that_cannot_be_sent_is_not_kept(etag: Any) -> None:
    world = World()
    world.network.publish(OLD, etag=etag)
    await world.get()
    await world.refresh()
    assert [call[1] for call in world.network.calls] == [{"Accept": "application/json"}] * 2


@pytest.mark.parametrize(("status", "fetches"), [(400, 2), (403, 2), (412, 2), (431, 2), (404, 1), (429, 1), (503, 1)])
@in_loop
async def test_a_condition_that_is_refused_is_left_out_at_once(status: int, fetches: int) -> None:
    world = World(OLD)
    world.network.publish(OLD, etag="x" * 1024)
    await world.get()
    asked: list[bool] = []

    async def refusing(url: str, headers: Any) -> Fetched:
        asked.append("If-None-Match" in headers)
        return Fetched(status, {}, b"") if asked[-1] else json_response(jwks(OLD))

    world.source._fetch = refusing
    await world.refresh(601)
    assert asked == [True, False][:fetches]
    assert (world.source.status().last_error is None) is (fetches == 2)


@in_loop
async def test_a_request_that_is_refused_without_condition_is_not_repeated() -> None:
    world = World()
    world.network.answer(Fetched(400, {}, b""))
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.network.fetches == 1


@in_loop
async def test_a_304_to_a_request_without_its_condition_is_a_failure() -> None:
    world = World(OLD)
    world.network.publish(OLD, etag="one")
    await world.get()

    async def confused(url: str, headers: Any) -> Fetched:
        return Fetched(400 if "If-None-Match" in headers else 304, {}, b"")

    world.source._fetch = confused
    await world.refresh(601)
    assert world.source.status().last_error == "not_modified_unasked"


@in_loop
async def test_an_etag_belongs_to_the_endpoint_that_gave_it() -> None:
    world = World(jwks_uri=None)
    world.network.publish(OLD, etag='"one"')
    await world.get()
    moved = "https://keys.issuer.test/moved.json"
    world.network.answers[METADATA_URL] = json_response({"issuer": ISSUER, "jwks_uri": moved})
    world.network.answers[moved] = json_response(jwks(NEW))
    world.clock.now += HOUR
    assert (await world.get("new")).kid == "new"
    assert world.network.calls[-1] == (moved, {"Accept": "application/json"})


@in_loop
async def test_a_304_nobody_asked_for_is_a_failure() -> None:
    world = World(OLD)
    await world.get()
    world.network.answer(Fetched(304, {}, b""))
    await world.refresh()
    assert await refusal(world.source, "unknown") == CANNOT_SAY


@in_loop
async def test_a_304_to_the_first_request_of_all_is_a_failure() -> None:
    world = World()
    world.network.answer(Fetched(304, {}, b""))
    assert await refusal(world.source, "old") == NEVER_FETCHED


# --- stale ------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_stale_set_with_no_failed_attempt_is_awaited_by_everybody() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(NEW)
    world.network.gate.clear()
    world.clock.now += 600
    requests = []
    for _ in range(50):
        requests += [asyncio.create_task(refusal(world.source, "old")), asyncio.create_task(world.waits("new"))]
        await settle()
    assert not any(request.done() for request in requests[::2])
    world.network.gate.set()
    assert set(await asyncio.gather(*requests)) == {UNKNOWN, True}
    assert world.get_at_once("new").kid == "new"


@in_loop
async def test_awaiting_a_stale_set_is_one_fetch() -> None:
    world = World(OLD)
    await world.get()
    world.clock.now += 600
    await asyncio.gather(*(world.get() for _ in range(1000)))
    assert world.network.fetches == 2


@in_loop
async def test_a_refresh_ahead_under_way_is_awaited_once_the_set_is_stale() -> None:
    world = World(OLD)
    await world.get()
    world.network.gate.clear()
    world.clock.now += 590
    assert world.get_at_once().kid == "old"
    await settle()
    world.clock.now += 10
    assert await world.waits()
    world.network.gate.set()
    await world.get()
    assert world.network.fetches == 2


@in_loop
async def test_a_stale_set_after_a_failed_refresh_does_not_wait() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    await world.refresh()
    world.network.publish(NEW)
    world.network.gate.clear()
    world.clock.now += 30
    for _ in range(100):
        assert world.get_at_once().kid == "old"
    await settle()
    assert world.network.fetches == 3


@pytest.mark.parametrize(("seconds", "waits"), [(1 + 30 + 5, True), (1 + 30 + 4.9, False)])
@in_loop
async def test_a_failed_refresh_counts_as_long_as_others_may_follow_it(seconds: float, waits: bool) -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    await world.refresh()
    world.network.publish(NEW)
    world.network.gate.clear()
    world.clock.now += seconds  # and nobody has tried again: no request came, or no event loop ran
    assert await world.waits() is waits


@in_loop
async def test_a_failed_refresh_ahead_counts() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    await world.refresh(590)
    world.network.gate.clear()
    world.clock.now += 30
    assert world.get_at_once().kid == "old"


# --- unknown keys -----------------------------------------------------------------------------------------------------


@in_loop
async def test_the_first_token_of_a_new_key_succeeds() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(OLD, NEW)
    assert (await world.get("new")).kid == "new"
    assert world.network.fetches == 2


@in_loop
async def test_the_first_tokens_of_a_new_key_succeed_with_one_fetch() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(NEW)
    assert {key.kid for key in await asyncio.gather(*(world.get("new") for _ in range(256)))} == {"new"}
    assert world.network.fetches == 2


@in_loop
async def test_no_more_than_256_requests_wait_for_unknown_keys() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(OLD, NEW)
    world.network.gate.clear()
    waiting = [asyncio.create_task(world.get("new")) for _ in range(256)]
    await settle()
    assert not any(request.done() for request in waiting)
    for kid in ("new", "another"):
        assert await refusal(world.source, kid) == TOO_MANY
        assert await retry_after(world.source, kid) == 1
    assert world.get_at_once().kid == "old"  # who has a known key is not among them
    world.network.gate.set()
    assert {key.kid for key in await asyncio.gather(*waiting)} == {"new"}
    assert world.network.fetches == 2


@in_loop
async def test_who_leaves_makes_room_for_others_to_wait() -> None:
    world = World(OLD, settings=KeySettings(max_waiting=2))
    await world.get()
    world.network.publish(OLD, NEW)
    world.network.gate.clear()
    first, second = (asyncio.create_task(world.get("new")) for _ in range(2))
    await settle()
    assert await refusal(world.source, "new") == TOO_MANY
    first.cancel()
    await asyncio.wait({first})
    third = asyncio.create_task(world.get("new"))
    await settle()
    assert not third.done()
    world.network.gate.set()
    assert {key.kid for key in await asyncio.gather(second, third)} == {"new"}


@in_loop
async def test_who_has_been_answered_does_not_count_as_waiting() -> None:
    """A request that comes between the end of a fetch and the moment its waiters run finds room."""
    world = World(OLD, settings=KeySettings(max_waiting=1))
    await world.get()
    world.network.publish(OLD, NEW)
    world.network.gate.clear()
    waiting = asyncio.create_task(world.get("new"))
    await settle()
    late: list[bool] = []
    flight = world.source._flights.current()
    assert flight is not None
    flight.task.add_done_callback(lambda _: late.append(starts_to_wait(world.get("another"))))
    world.network.gate.set()
    assert (await waiting).kid == "new"
    assert late == [True]


@in_loop
async def test_the_first_fetch_of_all_is_awaited_by_any_number() -> None:
    world = World(OLD, settings=KeySettings(max_waiting=1))
    assert len(await asyncio.gather(*(world.get() for _ in range(1000)))) == 1000
    assert world.network.fetches == 1


@in_loop
async def test_a_stale_set_is_awaited_by_any_number() -> None:
    world = World(OLD, settings=KeySettings(max_waiting=1))
    await world.get()
    world.clock.now += 600
    assert len(await asyncio.gather(*(world.get() for _ in range(1000)))) == 1000


@in_loop
async def test_tokens_of_a_new_key_outlast_a_fetch_that_asked_too_early() -> None:
    world = World(OLD)
    await world.get()
    world.network.gate.clear()
    world.clock.now += 500
    await world.get()
    await settle()  # the refresh has asked, and will be told of the old key only
    world.network.publish(OLD, NEW)
    requests = [asyncio.create_task(world.get("new")) for _ in range(256)]
    await settle()
    assert world.network.fetches == 2
    world.network.gate.set()
    assert {key.kid for key in await asyncio.gather(*requests)} == {"new"}
    assert world.network.fetches == 3


@in_loop
async def test_a_new_key_in_the_fetch_under_way_costs_no_other() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(OLD, NEW)
    world.clock.now += 500
    assert (await world.get("new")).kid == "new"
    assert world.network.fetches == 2


@in_loop
async def test_a_key_missing_from_a_fetch_begun_by_its_token_costs_no_other() -> None:
    world = World(OLD)
    assert await refusal(world.source, "unknown") == UNKNOWN
    assert world.network.fetches == 1
    world.clock.now += 500
    assert await refusal(world.source, "nobody") == UNKNOWN
    assert world.network.fetches == 2


@in_loop
async def test_a_flood_of_unknown_keys_costs_two_fetches_and_one_more_each_15_seconds() -> None:
    world = World(OLD)
    await world.get()
    for number in range(10_000):
        assert await refusal(world.source, f"unknown-{number}") == UNKNOWN
    assert world.network.fetches == 1 + 2
    for seconds, fetches in [(14.9, 3), (0.1, 4), (14.9, 4), (0.2, 5), (45, 7)]:
        world.clock.now += seconds
        for number in range(100):
            assert await refusal(world.source, f"{world.clock.now}-{number}") == UNKNOWN
        assert world.network.fetches == fetches
        assert world.get_at_once().kid == "old"


@in_loop
async def test_a_flood_all_at_once_costs_no_more() -> None:
    world = World(OLD)
    await world.get()
    flood = await asyncio.gather(*(refusal(world.source, f"unknown-{number}") for number in range(10_000)))
    assert Counter(flood) == {UNKNOWN: 256, TOO_MANY: 10_000 - 256}
    assert world.network.fetches == 1 + 1


@in_loop
async def test_a_flood_at_the_start_costs_no_more() -> None:
    world = World(OLD)
    flood = await asyncio.gather(*(refusal(world.source, f"unknown-{number}") for number in range(10_000)))
    assert set(flood) == {UNKNOWN}
    assert world.network.fetches <= 1 + 2


@in_loop
async def test_under_a_flood_a_new_key_works_within_15_seconds() -> None:
    world = World(OLD)
    await world.get()
    for number in range(100):
        await refusal(world.source, f"unknown-{number}")
    world.network.publish(OLD, NEW)
    assert await refusal(world.source, "new") == UNKNOWN
    world.clock.now += 15
    await refusal(world.source, "unknown-again")  # whoever comes first asks for all
    assert world.get_at_once("new").kid == "new"


@in_loop
async def test_the_bucket_survives_a_clock_that_goes_backwards() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(OLD, cache_control="max-age=3600")
    world.clock.now += 100
    await refusal(world.source, "one")
    world.clock.now -= 90
    await refusal(world.source, "two")
    world.clock.now += 15
    world.network.publish(OLD, NEW)
    assert (await world.get("new")).kid == "new"


@in_loop
async def test_a_bucket_of_one_looks_again_for_a_key_that_was_not_there_yet() -> None:
    world = World(OLD, settings=KeySettings(unknown_key_burst=1))
    world.network.publish(OLD, cache_control="max-age=3600")
    await world.get()
    assert await refusal(world.source, "new") == UNKNOWN
    world.network.publish(OLD, NEW, cache_control="max-age=3600")
    world.clock.now += 15
    assert (await world.get("new")).kid == "new"


@in_loop
async def test_an_absent_key_is_remembered_until_the_next_document() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"', cache_control="max-age=3600")
    await world.get()
    assert await refusal(world.source, "new") == UNKNOWN
    world.network.publish(OLD, NEW, cache_control="max-age=3600")
    world.clock.now += 14.9
    assert await refusal(world.source, "new") == UNKNOWN
    assert world.network.fetches == 2
    await refusal(world.source, "another")
    assert world.get_at_once("new").kid == "new"


@pytest.mark.parametrize(("seconds", "fetches"), [(14.999, 2), (15.0, 3), (60.0, 3)])
@in_loop
async def test_an_absent_key_is_remembered_for_fifteen_seconds(seconds: float, fetches: int) -> None:
    world = World()
    world.network.publish(OLD, cache_control="max-age=3600")
    await world.get()
    await refusal(world.source, "unknown")
    world.clock.now += seconds
    assert await refusal(world.source, "unknown") == UNKNOWN
    assert world.network.fetches == fetches


@in_loop
async def test_a_key_used_a_minute_before_it_was_published_works_as_soon_as_it_is() -> None:
    world = World()
    world.network.publish(OLD, cache_control="max-age=3600")
    await world.get()
    assert await refusal(world.source, "new") == UNKNOWN
    world.clock.now += 60
    world.network.publish(OLD, NEW, cache_control="max-age=3600")
    assert (await world.get("new")).kid == "new"
    assert world.network.fetches == 3


@in_loop
async def test_a_guessed_key_id_does_not_delay_a_rotation() -> None:
    world = World()
    world.network.publish(OLD, cache_control="max-age=3600")
    await world.get()
    for _ in range(12):  # somebody knows which key comes next, and asks for it again and again
        assert await refusal(world.source, "new") == UNKNOWN
        world.clock.now += 5
    world.network.publish(OLD, NEW, cache_control="max-age=3600")
    world.clock.now += 10
    assert (await world.get("new")).kid == "new"


@in_loop
async def test_asking_for_one_absent_key_for_ever_is_bounded_like_a_flood() -> None:
    world = World()
    world.network.publish(OLD, cache_control="max-age=3600")
    await world.get()
    for _ in range(300):
        assert await refusal(world.source, "unknown") == UNKNOWN
        world.clock.now += 1
    assert world.network.fetches == 1 + 300 / 15


@in_loop
async def test_an_absent_key_is_remembered_for_its_algorithm() -> None:
    world = World(OLD)
    await world.get()
    assert await refusal(world.source, "new", "RS256") == UNKNOWN
    world.network.publish(OLD, NEW)
    assert (await world.get("new")).kid == "new"


@in_loop
async def test_a_document_that_has_not_changed_keeps_the_memory() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"')
    assert await refusal(world.source, "unknown") == UNKNOWN  # in the first fetch of all, which takes no token
    world.network.answer(Fetched(304, {}, b""))
    assert await refusal(world.source, "another") == UNKNOWN
    assert world.network.fetches == 2
    assert await refusal(world.source, "unknown") == UNKNOWN
    assert world.network.fetches == 2
    assert await refusal(world.source, "third") == UNKNOWN  # there was a token left
    assert world.network.fetches == 3


@in_loop
async def test_a_304_answers_a_search() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"')
    await world.get()
    world.network.answer(Fetched(304, {}, b""))
    for _ in range(3):
        assert await refusal(world.source, "unknown") == UNKNOWN
    assert world.network.fetches == 2


@in_loop
async def test_a_new_document_ends_the_memory() -> None:
    world = World(OLD)
    await world.get()
    await refusal(world.source, "unknown")
    assert len(world.source._absent) == 1
    await refusal(world.source, "another")
    assert len(world.source._absent) == 2  # the document that came says the same
    world.network.publish(OLD, NEW)
    world.clock.now += 15
    await refusal(world.source, "third")
    assert list(world.source._absent._until) == [("third", "ES256")]


@in_loop
async def test_the_memory_is_bounded() -> None:
    world = World(OLD, settings=KeySettings(max_waiting=100_000))
    await world.get()
    await asyncio.gather(*(refusal(world.source, f"unknown-{number}") for number in range(3 * 1024)))
    assert len(world.source._absent) == KeySettings().max_absent == 1024
    fetches = world.network.fetches
    world.clock.now += 15
    assert await refusal(world.source, f"unknown-{3 * 1024 - 1}") == UNKNOWN
    assert world.network.fetches == fetches + 1


@in_loop
async def test_a_memory_of_none_remembers_none() -> None:
    world = World(OLD, settings=KeySettings(max_absent=0))
    await world.get()
    for fetches in (2, 3, 3):  # the bucket holds two
        assert await refusal(world.source, "unknown") == UNKNOWN
        assert world.network.fetches == fetches


@in_loop
async def test_what_is_forgotten_makes_room_in_the_memory() -> None:
    world = World(settings=KeySettings(max_waiting=100_000))
    world.network.publish(OLD, etag='"one"', cache_control="max-age=3600")
    await world.get()
    world.network.answer(Fetched(304, {"cache-control": "max-age=3600"}, b""))
    await asyncio.gather(*(refusal(world.source, f"unknown-{number}") for number in range(1024)))
    assert len(world.source._absent) == 1024
    world.clock.now += 15
    assert await refusal(world.source, "later") == UNKNOWN
    assert len(world.source._absent) == 1024
    assert list(world.source._absent._until)[-1] == ("later", "ES256")


@pytest.mark.parametrize("absent", [1, 2, 3])
@in_loop
async def test_clients_that_go_on_with_keys_nobody_publishes_do_not_delay_a_rotation(absent: int) -> None:
    """Each asks once a second, for keys that were looked for and not found. That leaves a search for a new one."""
    world = World(settings=KeySettings(refresh_spread=0))
    world.network.publish(OLD, etag="one", cache_control="max-age=3600")
    await world.get()
    for _ in range(300):
        world.clock.now += 1
        for number in range(absent):
            await refusal(world.source, f"gone-{number}")
    fetches = world.network.fetches
    assert fetches <= 1 + 300 / 15 + 2
    world.network.publish(OLD, NEW)
    assert (await world.get("new")).kid == "new"
    assert world.network.fetches == fetches + 1


@in_loop
async def test_an_unknown_key_is_an_outage_while_the_latest_fetch_has_failed() -> None:
    world = World(OLD)
    await world.get()
    assert await refusal(world.source, "absent") == UNKNOWN
    world.network.fail()
    assert await refusal(world.source, "unknown") == CANNOT_SAY
    assert await refusal(world.source, "unknown") == CANNOT_SAY
    assert await refusal(world.source, "absent") == CANNOT_SAY
    assert await retry_after(world.source, "unknown") == 1
    assert world.network.fetches == 3
    world.network.publish(OLD)
    world.clock.now += 15
    assert await refusal(world.source, "unknown") == UNKNOWN


@in_loop
async def test_a_search_in_a_fetch_that_fails_is_an_outage() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    world.network.gate.clear()
    world.clock.now += 500
    await world.get()
    await settle()
    requests = [asyncio.create_task(refusal(world.source, f"unknown-{number}")) for number in range(10)]
    await settle()
    world.network.gate.set()
    assert set(await asyncio.gather(*requests)) == {CANNOT_SAY}
    assert world.network.fetches == 2


@in_loop
async def test_after_a_search_that_failed_attempts_go_on_without_the_bucket() -> None:
    world = World(OLD)
    await world.get()
    for number in range(2):
        await refusal(world.source, f"unknown-{number}")
    world.network.fail()
    world.clock.now += 15
    await refusal(world.source, "unknown")
    world.clock.now += 10  # the bucket is empty, and attempts go on even so
    assert await retry_after(world.source, "another") == 2
    assert world.network.fetches == 5


@in_loop
async def test_a_rotation_during_a_short_outage_is_found_with_the_back_off() -> None:
    world = World(OLD)
    await world.get()
    world.clock.now += 100  # the set is fresh for long
    world.network.fail()
    assert await refusal(world.source, "new") == CANNOT_SAY
    for seconds in (1, 2):
        world.clock.now += seconds
        assert world.get_at_once().kid == "old"  # the next attempt is made in the background
        await settle()
    world.network.publish(OLD, NEW)
    world.clock.now += 3.9
    assert await refusal(world.source, "new") == CANNOT_SAY
    world.clock.now += 0.1
    assert (await world.get("new")).kid == "new"
    assert world.network.fetches == 5


@in_loop
async def test_a_flood_during_an_outage_does_not_fetch_more() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    for number in range(1000):
        assert await refusal(world.source, f"unknown-{number}") == CANNOT_SAY
    assert world.network.fetches == 2


# --- outages ----------------------------------------------------------------------------------------------------------


@in_loop
async def test_known_keys_work_until_an_hour_after_the_last_contact() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    for _ in range(359):
        world.clock.now += 10
        assert (await world.get()).kid == "old"
        await settle()
    world.clock.now += 9.999
    assert (await world.get()).kid == "old"
    await settle()
    world.clock.now += 0.001
    assert await refusal(world.source, "old") == TOO_LONG
    world.network.publish(OLD)
    world.clock.now += 40
    assert (await world.get()).kid == "old"


@in_loop
async def test_an_hour_counts_from_the_last_contact_that_brought_nothing_new() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"')
    await world.get()
    world.network.answer(Fetched(304, {}, b""))
    await world.refresh()
    world.network.fail()
    await world.refresh(HOUR - 1)
    world.clock.now += 1
    assert await refusal(world.source, "old") == TOO_LONG


@in_loop
async def test_a_set_left_alone_too_long_is_awaited() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish(NEW)
    world.clock.now += 10 * HOUR
    assert (await world.get("new")).kid == "new"


@in_loop
async def test_a_set_left_alone_too_long_is_not_used_if_the_fetch_fails() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    world.clock.now += HOUR
    assert await refusal(world.source, "old") == TOO_LONG


@in_loop
async def test_after_the_hour_a_fetch_under_way_is_awaited_by_everybody() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    await world.refresh()
    world.clock.now += HOUR
    world.network.publish(OLD)
    world.network.gate.clear()
    requests = [asyncio.create_task(world.get()) for _ in range(100)]
    await settle()
    world.network.gate.set()
    await asyncio.gather(*requests)
    assert world.network.fetches == 3


@pytest.mark.parametrize(
    ("tolerance", "seconds"), [(0.0, 600.0), (60.0, 60.0), (100.0, 100.0), (601.0, 601.0), (7200.0, 7200.0)]
)
@in_loop
async def test_the_tolerance_of_outages_is_configurable(tolerance: float, seconds: float) -> None:
    world = World(OLD, settings=KeySettings(outage_tolerance=tolerance))
    await world.get()
    world.network.fail()
    await world.refresh(seconds - 0.01)
    world.clock.now += 0.02
    assert await refusal(world.source, "old") == TOO_LONG


@in_loop
async def test_no_set_is_fresh_for_longer_than_outages_are_tolerated() -> None:
    world = World(settings=KeySettings(outage_tolerance=900))
    world.network.publish(OLD, cache_control="max-age=3600")
    await world.get()
    assert world.source.status().next_refresh == 720
    world.clock.now += 900
    assert world.source.status().state is KeyState.UNAVAILABLE


@in_loop
async def test_retries_back_off_from_1_to_30_seconds() -> None:
    world = World(OLD)
    world.network.fail()
    for attempt, seconds in enumerate([1, 2, 4, 8, 16, 26.25, 26.25, 26.25], start=1):
        assert await retry_after(world.source) == math.ceil(seconds)
        assert world.network.fetches == attempt
        world.clock.now += seconds - 0.25
        assert await retry_after(world.source) == 1
        assert world.network.fetches == attempt
        world.clock.now += 0.25
    assert world.jitter.intervals == [(0.75, 1.25)] * 5 + [(0.75, 1.0)] * 3


@pytest.mark.parametrize(("part", "seconds"), [(0.0, 22.5), (0.5, 26.25), (1.0, 30)])
@in_loop
async def test_the_longest_back_off_is_jittered_too_and_never_exceeded(part: float, seconds: float) -> None:
    """It is said in whole seconds, rounded up."""
    world = World(OLD, jitter=part)
    world.network.fail()
    for _ in range(1100):
        await refusal(world.source, "old")
        world.clock.now += 40
    attempts = world.network.fetches
    assert await retry_after(world.source) == math.ceil(seconds)
    world.clock.now += seconds - 0.01
    assert await retry_after(world.source) == 1
    assert world.network.fetches == attempts + 1
    world.clock.now += 0.02
    await refusal(world.source, "old")
    assert world.network.fetches == attempts + 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "300"}, 300),
        ({"retry-after": "301"}, 300),
        ({"retry-after": "999999999"}, 300),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "Mon, 15 Jun 2026 12:01:30 GMT", "date": "Mon, 15 Jun 2026 12:00:00 GMT"}, 90),
        ({"retry-after": "Mon, 15 Jun 2026 13:00:00 GMT", "date": "Mon, 15 Jun 2026 12:00:00 GMT"}, 300),
        ({"retry-after": "Mon, 15 Jun 2026 11:00:00 GMT", "date": "Mon, 15 Jun 2026 12:00:00 GMT"}, 1),
        ({"retry-after": "Mon, 15 Jun 2026 12:01:30 GMT"}, 1),
        ({}, 1),
    ],
)
@in_loop
async def test_a_server_that_says_when_to_come_back_is_not_asked_before(
    status: int, headers: dict[str, str], seconds: float
) -> None:
    world = World(OLD)
    world.network.answer(Fetched(status, headers, b""))
    assert await retry_after(world.source) == seconds
    world.network.publish(OLD)
    world.clock.now += seconds - 0.001
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.network.fetches == 1
    world.clock.now += 0.002
    assert (await world.get()).kid == "old"


@in_loop
async def test_the_longest_wait_for_a_server_is_a_setting() -> None:
    world = World(OLD, settings=KeySettings(longest_retry_after=20))
    world.network.answer(Fetched(429, {"retry-after": "120"}, b""))
    assert await retry_after(world.source) == 20


@pytest.mark.parametrize("status", [301, 400, 404, 500, 502])
@in_loop
async def test_no_other_status_says_when_to_come_back(status: int) -> None:
    world = World(OLD)
    world.network.answer(Fetched(status, {"retry-after": "120"}, b""))
    assert await retry_after(world.source) == 1


@in_loop
async def test_a_short_retry_after_does_not_shorten_the_back_off() -> None:
    world = World(OLD)
    world.network.answer(Fetched(503, {"retry-after": "2"}, b""))
    for seconds in [2, 2, 4, 8]:
        assert await retry_after(world.source) == seconds
        world.clock.now += seconds


@in_loop
async def test_known_keys_work_while_the_server_puts_us_off() -> None:
    world = World(OLD)
    await world.get()
    world.network.answer(Fetched(429, {"retry-after": "250"}, b""))
    await world.refresh()
    for _ in range(24):
        world.clock.now += 10
        assert world.get_at_once().kid == "old"
    await settle()
    assert world.network.fetches == 2
    assert await refusal(world.source, "unknown") == CANNOT_SAY
    assert await retry_after(world.source, "unknown") == 10


@in_loop
async def test_background_retries_of_a_known_key_back_off_too() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    await world.refresh()
    attempts = []
    for second in range(100):
        before = world.network.fetches
        assert world.get_at_once().kid == "old"
        await settle()
        attempts += [second] * (world.network.fetches - before)
        world.clock.now += 1
    assert attempts == [1, 3, 7, 15, 31, 58, 85]


@in_loop
async def test_a_success_resets_the_back_off() -> None:
    world = World(OLD)
    world.network.fail()
    for _ in range(5):
        await refusal(world.source, "old")
        world.clock.now += 30
    world.network.publish(OLD)
    await world.get()
    world.network.fail()
    world.clock.now += HOUR
    assert await retry_after(world.source) == 1


# --- what replaces a set ----------------------------------------------------------------------------------------------


@in_loop
async def test_a_withdrawn_key_stops_at_the_next_refresh() -> None:
    world = World(OLD, NEW)
    await world.get("new")
    world.network.publish(OLD)
    assert world.get_at_once("new").kid == "new"
    await world.refresh(500)
    assert await refusal(world.source, "new") == UNKNOWN


@in_loop
async def test_an_empty_set_withdraws_all_keys() -> None:
    world = World(OLD)
    await world.get()
    world.network.publish()
    world.clock.now += 600
    assert await refusal(world.source, "old") == UNKNOWN
    assert await refusal(world.source, None) == UNKNOWN


@in_loop
async def test_a_key_that_changes_under_its_kid_is_replaced() -> None:
    world = World(OLD)
    first = await world.get()
    changed = SigningKey("ES256", kid="old")
    world.network.publish(changed)
    world.clock.now += 600
    assert (await world.get()).material != first.material


BROKEN: dict[str, Any] = {
    "not JSON": Fetched(200, {}, b"<html>"),
    "cut off": Fetched(200, {}, b'{"keys": ['),
    "empty": Fetched(200, {}, b""),
    "array": json_response([OLD.jwk()]),
    "no keys": json_response({}),
    "keys no array": json_response({"keys": {"old": OLD.jwk()}}),
    "unusable keys only": json_response({"keys": [{**OLD.jwk(), "use": "enc"}]}),
    "duplicates only": json_response({"keys": [OLD.jwk(), SigningKey("ES256", kid="old").jwk()]}),
    "too many keys": json_response({"keys": [OLD.jwk()] * 101}),
    "too large": Fetched(200, {}, b'{"keys": []}' + b" " * 512 * 1024),
    "500": json_response({"keys": []}, 500),
    "404": json_response({"keys": []}, 404),
    "302": json_response({"keys": []}, 302, location="https://elsewhere.test/"),
    "201": json_response({"keys": []}, 201),
    "OSError": OSError(),
    "ValueError": ValueError(),
    "TimeoutError": TimeoutError(),
    "FetchFailed": FetchFailed("own"),
    "cancelled inside": asyncio.CancelledError(),
    "no response": None,
    "text for bytes": Fetched(200, {}, '{"keys": []}'),  # type: ignore[arg-type]
    "no headers": Fetched(200, None, b'{"keys": []}'),  # type: ignore[arg-type]
    "headers no text": Fetched(200, {"cache-control": 60}, b'{"keys": []}'),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@in_loop
async def test_a_broken_answer_never_replaces_a_good_set(answer: Any) -> None:
    world = World(OLD)
    await world.get()
    world.network.answer(answer)
    await world.refresh()
    assert world.network.fetches == 2
    world.network.gate.clear()
    assert world.get_at_once().kid == "old"
    assert await refusal(world.source, "unknown") == CANNOT_SAY
    assert world.network.fetches == 2


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@in_loop
async def test_a_broken_first_answer_is_an_outage_that_backs_off(answer: Any) -> None:
    world = World()
    world.network.answer(answer)
    assert set(await asyncio.gather(*(refusal(world.source, "old") for _ in range(10)))) == {NEVER_FETCHED}
    assert await retry_after(world.source) == 1
    assert world.network.fetches == 1
    world.network.publish(OLD)
    world.clock.now += 1
    assert (await world.get()).kid == "old"


# --- logs -------------------------------------------------------------------------------------------------------------


@in_loop
async def _outage_and_recovery(world: World) -> None:
    await world.get()
    world.network.answer(OSError("https://secret.test/"))
    await world.refresh()
    for _ in range(5):
        await refusal(world.source, "token-kid")
        await world.refresh(30)
    world.network.publish(OLD)
    for _ in range(3):
        await world.refresh(30)


def test_an_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="authz_middleware")
    _outage_and_recovery(World(OLD, jwks_uri=None))
    records = [record for record in caplog.records if record.name == "authz_middleware"]
    assert [record.levelname for record in records] == ["WARNING", "INFO"]
    assert all(ISSUER in record.getMessage() and record.exc_info is None for record in records)
    assert records[0].getMessage().endswith("fetch failed (transport: OSError)")


def test_logs_name_neither_tokens_nor_foreign_urls(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="authz_middleware")
    _outage_and_recovery(World(OLD, jwks_uri=None))
    assert not any(text in caplog.text for text in ("token-kid", "secret.test", "keys.issuer.test", "well-known"))


def test_nothing_is_logged_while_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="authz_middleware")
    world = World(OLD)
    asyncio.run(world.get())
    asyncio.run(world.refresh())
    assert [record for record in caplog.records if record.name == "authz_middleware"] == []
