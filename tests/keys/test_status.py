"""How keys say they are, in every state; having them before the first request; the start and end of an application."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from authz_middleware import AccessTokenValidator, AuthzMiddleware, ConfigurationError, TrustedIssuer, requires
from authz_middleware._jose import ALGORITHMS, VerificationKey
from authz_middleware.keys import (
    Fetched,
    KeySettings,
    KeyState,
    KeyStatus,
    RemoteJWKS,
    SecretKey,
    StaticJWKS,
)
from authz_middleware.testing import LocalIssuer

from .helpers import (
    CANNOT_SAY,
    ISSUER,
    JWKS_URL,
    METADATA_URL,
    NEVER_FETCHED,
    NEW,
    OLD,
    TOO_LONG,
    Network,
    World,
    in_loop,
    jwks,
    refusal,
    settle,
)

HOUR = 3600.0
UNTOUCHED = KeyStatus(state=KeyState.UNAVAILABLE)


# --- status -----------------------------------------------------------------------------------------------------------


def test_before_the_first_request_there_is_nothing_to_say() -> None:
    assert World(OLD).source.status() == UNTOUCHED
    assert not UNTOUCHED.is_usable


@in_loop
async def test_asking_how_the_keys_are_asks_nobody_else() -> None:
    world = World(OLD)
    for seconds in (0, 500, 600, HOUR, 2 * HOUR):
        world.clock.now += seconds
        world.source.status()
        await settle()
    assert world.network.urls == []


@in_loop
async def test_fresh() -> None:
    world = World(NEW, OLD)
    await world.get()
    world.clock.now += 100
    assert world.source.status() == KeyStatus(
        state=KeyState.FRESH, age=100, last_error=None, next_refresh=380, key_ids=("new", "old")
    )
    assert world.source.status().is_usable


@in_loop
async def test_due() -> None:
    world = World(OLD)
    await world.get()
    world.clock.now += 599
    assert world.source.status() == KeyStatus(state=KeyState.FRESH, age=599, next_refresh=0, key_ids=("old",))


@in_loop
async def test_stale_with_nobody_having_asked() -> None:
    world = World(OLD)
    await world.get()
    world.clock.now += 600
    assert world.source.status() == KeyStatus(state=KeyState.STALE, age=600, next_refresh=0, key_ids=("old",))
    world.clock.now += HOUR - 600
    assert world.source.status() == KeyStatus(state=KeyState.UNAVAILABLE, age=HOUR, next_refresh=0, key_ids=("old",))


@in_loop
async def test_fresh_after_a_failed_attempt() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    assert await refusal(world.source, "unknown") == CANNOT_SAY
    assert world.source.status() == KeyStatus(
        state=KeyState.FRESH, age=0, last_error="transport", next_refresh=1, key_ids=("old",)
    )


@in_loop
async def test_stale_in_an_outage() -> None:
    world = World(OLD)
    await world.get()
    world.network.answer(Fetched(503, {"retry-after": "20"}, b""))
    await world.refresh()
    assert world.source.status() == KeyStatus(
        state=KeyState.STALE, age=600, last_error="status", next_refresh=20, key_ids=("old",)
    )
    assert world.source.status().is_usable


@in_loop
async def test_unavailable_after_too_long_an_outage() -> None:
    world = World(OLD)
    await world.get()
    world.network.answer(Fetched(200, {}, b"<html>"))
    world.clock.now += HOUR
    assert await refusal(world.source, "old") == TOO_LONG
    assert world.source.status() == KeyStatus(
        state=KeyState.UNAVAILABLE, age=HOUR, last_error="not_json", next_refresh=1, key_ids=("old",)
    )
    assert not world.source.status().is_usable


@in_loop
async def test_unavailable_from_the_beginning() -> None:
    world = World()
    world.network.fail()
    assert await refusal(world.source, "old") == NEVER_FETCHED
    assert world.source.status() == KeyStatus(state=KeyState.UNAVAILABLE, last_error="transport", next_refresh=1)
    world.clock.now += 10
    assert world.source.status().next_refresh == 0


@in_loop
async def test_recovered() -> None:
    world = World(OLD)
    world.network.fail()
    await refusal(world.source, "old")
    world.network.publish(OLD)
    world.clock.now += 1
    await world.get()
    assert world.source.status() == KeyStatus(state=KeyState.FRESH, age=0, next_refresh=480, key_ids=("old",))


@in_loop
async def test_all_keys_withdrawn() -> None:
    """An empty set is a set: tokens are refused, and not for want of keys."""
    world = World()
    await refusal(world.source, "old")
    assert world.source.status() == KeyStatus(state=KeyState.FRESH, age=0, next_refresh=480)


@in_loop
async def test_the_last_contact_may_have_brought_nothing_new() -> None:
    world = World()
    world.network.publish(OLD, etag='"one"')
    await world.get()
    world.network.answer(Fetched(304, {}, b""))
    await world.refresh(590)
    assert world.source.status() == KeyStatus(state=KeyState.FRESH, age=0, next_refresh=480, key_ids=("old",))


@in_loop
async def test_a_clock_that_goes_backwards_makes_no_negative_ages() -> None:
    world = World(OLD)
    await world.get()
    world.clock.now -= 10
    assert world.source.status().age == 0


def test_fixed_keys_do_not_age() -> None:
    assert StaticJWKS(jwks(NEW, OLD)).status() == KeyStatus(state=KeyState.FRESH, key_ids=("new", "old"))
    assert SecretKey(b"s" * 32).status() == KeyStatus(state=KeyState.FRESH)


def test_a_status_is_a_value_and_its_states_are_words() -> None:
    assert dataclasses.replace(UNTOUCHED) == UNTOUCHED
    assert [str(state) for state in KeyState] == ["fresh", "stale", "unavailable", "unknown"]


# --- of a validator ---------------------------------------------------------------------------------------------------


class Own:
    """A key source of an application's own, with nothing but the least."""

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        return await StaticJWKS(jwks(OLD)).get("old", algorithm)


class Managed(Own):
    """A key source of an application's own that can be readied, in its own way."""

    def __init__(self, is_ready: object = True, at_end: BaseException | None = None) -> None:
        self.is_ready = is_ready
        self.at_end = at_end
        self.is_open = True

    def status(self) -> KeyStatus:
        return KeyStatus(state=KeyState.FRESH if self.is_ready is True else KeyState.UNAVAILABLE)

    async def warm_up(self) -> bool:
        if isinstance(self.is_ready, BaseException):
            raise self.is_ready
        return self.is_ready  # type: ignore[return-value]  # that is the test

    async def aclose(self) -> None:
        self.is_open = False
        if self.at_end is not None:
            raise self.at_end


def trusting(*sources: Any) -> AccessTokenValidator:
    return AccessTokenValidator(
        [TrustedIssuer(f"https://{number}.test/", "api", keys=source) for number, source in enumerate(sources)]
    )


def fetching(network: Network, **options: Any) -> TrustedIssuer:
    return TrustedIssuer(ISSUER, **{"audience": "api", "jwks_uri": JWKS_URL, "fetch": network, **options})


@in_loop
async def test_a_validator_tells_the_status_of_every_issuer() -> None:
    network = Network(OLD)
    validator = AccessTokenValidator(
        [fetching(network), TrustedIssuer("https://other.test/", "api", keys=jwks(NEW)),
         TrustedIssuer("https://own.test/", "api", keys=Own())]
    )  # fmt: skip
    assert [(issuer, str(status.state)) for issuer, status in validator.status()] == [
        (ISSUER, "unavailable"),
        ("https://other.test/", "fresh"),
        ("https://own.test/", "unknown"),
    ]
    assert await validator.warm_up() == ("https://own.test/",)  # nobody knows
    assert [(issuer, status.key_ids) for issuer, status in validator.status()] == [
        (ISSUER, ("old",)),
        ("https://other.test/", ("new",)),
        ("https://own.test/", ()),
    ]


@in_loop
async def test_settings_that_share_keys_have_one_status_and_are_warmed_up_at_once() -> None:
    network = Network(OLD)
    validator = AccessTokenValidator([fetching(network), fetching(network, audience="another")])
    assert await validator.warm_up() == ()
    assert network.fetches == 1
    assert len(validator.status()) == 1


@in_loop
async def test_a_validator_tells_whose_keys_cannot_be_had() -> None:
    network, broken = Network(OLD), Network()
    broken.fail()
    validator = AccessTokenValidator(
        [fetching(broken, audience="one"), fetching(broken, audience="two"),
         TrustedIssuer("https://fine.test/", "api", jwks_uri=JWKS_URL, fetch=network)]
    )  # fmt: skip
    assert await validator.warm_up() == (ISSUER,)
    assert await validator.warm_up() == (ISSUER,)  # backing off: nobody asks again
    assert (broken.fetches, network.fetches) == (1, 1)


@pytest.mark.parametrize("is_ready", [False, None, 1, RuntimeError("secret"), OSError()], ids=repr)
@in_loop
async def test_a_source_that_cannot_be_readied_is_missing_and_harms_no_other(
    is_ready: object, caplog: pytest.LogCaptureFixture
) -> None:
    last = Managed()
    assert await trusting(Managed(is_ready), last).warm_up() == ("https://0.test/",)
    assert "secret" not in caplog.text
    assert (type(is_ready).__name__ in caplog.text) is not isinstance(is_ready, bool)


@in_loop
async def test_a_mistake_of_configuration_is_told_when_readying() -> None:
    with pytest.raises(ConfigurationError, match="write this"):
        await trusting(Managed(ConfigurationError("write this"))).warm_up()


@in_loop
async def test_every_source_is_closed_once_whatever_another_raises(caplog: pytest.LogCaptureFixture) -> None:
    first, last = Managed(at_end=RuntimeError("secret")), Managed()
    await trusting(first, last, Own()).aclose()
    assert (first.is_open, last.is_open) == (False, False)
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_under_trio_a_warm_up_says_what_is_wrong() -> None:
    validator = AccessTokenValidator([fetching(Network(OLD))])
    with pytest.raises(ConfigurationError, match="run the application on asyncio"):
        trio.run(validator.warm_up)
    assert trio.run(trusting(jwks(OLD), Own()).warm_up) == ("https://1.test/",)


# --- warm-up of a source ----------------------------------------------------------------------------------------------


@in_loop
async def test_after_a_warm_up_nobody_waits() -> None:
    world = World(OLD, jwks_uri=None)
    assert await world.source.warm_up()
    world.network.gate.clear()
    assert world.get_at_once().kid == "old"
    assert world.network.urls == [METADATA_URL, JWKS_URL]


@in_loop
async def test_a_warm_up_joins_the_first_fetch_and_is_joined() -> None:
    world = World(OLD)
    world.network.gate.clear()
    tasks = [asyncio.create_task(coroutine) for coroutine in (world.source.warm_up(), world.source.warm_up())]
    request = asyncio.create_task(world.get())
    await settle()
    world.network.gate.set()
    assert await asyncio.gather(*tasks) == [True, True]
    assert (await request).kid == "old"
    assert world.network.fetches == 1


@in_loop
async def test_a_warm_up_in_vain_leaves_keys_to_the_first_request() -> None:
    world = World()
    world.network.fail()
    assert not await world.source.warm_up()
    world.network.publish(OLD)
    world.clock.now += 1
    assert (await world.get()).kid == "old"


@in_loop
async def test_a_warm_up_is_content_with_the_last_known_good_set() -> None:
    world = World(OLD)
    await world.get()
    world.network.fail()
    await world.refresh()
    assert await world.source.warm_up()
    world.clock.now += HOUR
    assert not await world.source.warm_up()


# --- through a lifespan -----------------------------------------------------------------------------------------------


@requires("read:orders")
async def orders(request: Request) -> JSONResponse:
    return JSONResponse([])


LOCAL = LocalIssuer(ISSUER, "api", algorithm="ES256", key=OLD)


def application(network: Network, warm_up: str, **options: Any) -> Starlette:
    app = Starlette(routes=[Route("/orders", orders)], **options)
    trusted = LOCAL.trusted(
        jwks_uri=JWKS_URL, fetch=network, algorithms=["ES256"], first_party_clients={"first-party-app"}
    )
    app.add_middleware(AuthzMiddleware, issuers=[trusted], warm_up=warm_up)
    return app


HEADERS = LOCAL.headers(permissions=["read:orders"])


@pytest.mark.parametrize("warm_up", ["try", "require"])
def test_the_start_waits_for_keys(warm_up: str) -> None:
    network = Network(OLD)
    with TestClient(application(network, warm_up)) as client:
        assert network.fetches == 1
        assert client.get("/orders", headers=HEADERS).status_code == 200
    assert network.fetches == 1


def test_the_start_waits_for_nothing_where_it_is_off() -> None:
    network = Network(OLD)
    with TestClient(application(network, "off")) as client:
        assert network.fetches == 0
        assert client.get("/orders", headers=HEADERS).status_code == 200


def test_a_start_that_tries_goes_on_without_keys() -> None:
    network = Network()
    network.fail()
    with TestClient(application(network, "try")) as client:
        assert network.fetches == 1
        response = client.get("/orders", headers=HEADERS)
    assert (response.status_code, response.json()["code"]) == (503, "keys_unavailable")


def test_a_start_that_requires_keys_fails_without_them() -> None:
    network = Network()
    network.fail()
    with (
        pytest.raises(RuntimeError, match=rf'the keys of {ISSUER} are unavailable, and warm_up is "require"'),
        TestClient(application(network, "require")),
    ):
        raise AssertionError("started")


@pytest.mark.parametrize("warm_up", ["yes", "", True, None, 1, ["try"]])
def test_a_warm_up_is_one_of_three_words(warm_up: Any) -> None:
    with pytest.raises(ConfigurationError, match='warm_up is "off", "try" or "require"'):
        AuthzMiddleware(Starlette(), issuers=[LOCAL.trusted(algorithms=["ES256"])], warm_up=warm_up)


def test_the_end_of_the_application_ends_what_is_under_way() -> None:
    """TestClient would complain of a task that outlives its loop, and so would asyncio."""
    seen: list[set[str]] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        seen.append(under_way())

    def under_way() -> set[str]:
        return {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]

    network = Network(OLD)
    app = application(network, "off", lifespan=lifespan)

    async def serve() -> None:
        arrived, leaving = asyncio.Event(), asyncio.Event()

        async def receive() -> dict[str, str]:
            if not arrived.is_set():
                arrived.set()
                return {"type": "lifespan.startup"}
            await leaving.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                network.gate.clear()

        running = asyncio.create_task(app({"type": "lifespan", "state": {}}, receive, send))
        await settle()
        scope = {"type": "http", "method": "GET", "path": "/orders", "root_path": "", "query_string": b"",
                 "headers": [(b"authorization", HEADERS["Authorization"].encode())]}  # fmt: skip
        request = asyncio.create_task(app(scope, receive, send))
        await settle()
        request.cancel()
        await asyncio.wait({request})
        leaving.set()
        await running
        seen.append(under_way())

    asyncio.run(serve())
    assert [{name for name in names if name.startswith("Flights")} for names in seen] == [{"Flights._run"}, set()]


def test_a_mounted_application_without_lifespan_gets_its_keys_with_the_first_request() -> None:
    network = Network(OLD)
    outer = Starlette(routes=[Mount("/api", app=application(network, "require"))])
    with TestClient(outer) as client:
        assert network.fetches == 0
        for _ in range(3):
            assert client.get("/api/orders", headers=HEADERS).status_code == 200
    assert network.fetches == 1


def test_without_any_lifespan_each_request_may_run_on_a_loop_of_its_own() -> None:
    network = Network(OLD)
    client = TestClient(application(network, "require"))
    for _ in range(3):
        assert client.get("/orders", headers=HEADERS).status_code == 200
    assert network.fetches == 1


def test_nothing_is_made_before_there_is_a_loop() -> None:
    """Neither at import nor at construction; `filterwarnings = error` would tell of a loop that was made and lost."""
    source = RemoteJWKS(ISSUER, ALGORITHMS, settings=KeySettings())
    assert source.status() == UNTOUCHED
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
