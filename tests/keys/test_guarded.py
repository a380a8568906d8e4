"""A key source of an application's own: whatever it does is at most an outage, on every Python alike."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import AsyncMock, MagicMock

import httpx
import pytest
import trio

from authz_middleware import AccessTokenValidator, ConfigurationError, TrustedIssuer
from authz_middleware.errors import (
    Code,
    InsufficientScope,
    InvalidToken,
    KeysUnavailable,
    MissingToken,
    NoPolicy,
    Reason,
    Refused,
)
from authz_middleware.keys import KeyState, KeyStatus, RemoteJWKS, StaticJWKS, VerificationKey, is_key_source
from authz_middleware.keys.guarded import GuardedSource
from authz_middleware.testing import LocalIssuer, SigningKey

from .helpers import NEW, OLD, UNKNOWN, World, in_loop, jwks, refusal, settle
from .virtual import in_virtual_time, passed

FAILED = (Code.KEYS_UNAVAILABLE, Reason.KEY_SOURCE_FAILED)
FRESH = KeyStatus(state=KeyState.FRESH)
OLD_KEY = VerificationKey.from_jwk(OLD.jwk())


class Own:
    """Gives, or raises, what it is told."""

    def __init__(self, outcome: Any = OLD_KEY) -> None:
        self.outcome = outcome

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        key: VerificationKey = self.outcome
        return key


class Odd(BaseException):
    """Neither an Exception nor one of those that end a process."""


# --- a key ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome",
    [
        RuntimeError("secret"), ConfigurationError("secret"), NoPolicy(), MissingToken(), TimeoutError(), Odd("secret"),
        InsufficientScope([["a"]], []), BaseExceptionGroup("secret", [asyncio.CancelledError()]),
        asyncio.CancelledError(), KeysUnavailable(Reason.NEVER_FETCHED, None),  # type: ignore[arg-type]
        KeysUnavailable(Reason.NEVER_FETCHED, "5\r\nx: y"),  # type: ignore[arg-type]
        KeysUnavailable(Reason.NEVER_FETCHED, True), KeysUnavailable(Reason.NEVER_FETCHED, -1),
        KeysUnavailable(Reason.NEVER_FETCHED, 10**9), None, "secret", VerificationKey,
    ],
    ids=repr,
)  # fmt: skip
@in_loop
async def test_whatever_is_no_key_is_an_outage(outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = GuardedSource(Own(outcome))
    assert await refusal(source, "old") == FAILED
    assert "secret" not in caplog.text


@in_loop
async def test_a_key_of_another_algorithm_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever sends a token names its algorithm: that makes no outage, and no line in the log."""
    other = VerificationKey.from_jwk(SigningKey("EdDSA").jwk())
    assert await refusal(GuardedSource(Own(other)), "old") == UNKNOWN
    assert not caplog.messages


@pytest.mark.parametrize("retry_after", [0, 7, 86_400])
@in_loop
async def test_a_source_may_say_that_there_is_no_such_key_or_that_it_cannot_tell(retry_after: int) -> None:
    assert await refusal(GuardedSource(Own(InvalidToken(*UNKNOWN))), "old") == UNKNOWN
    unavailable = KeysUnavailable(Reason.NEVER_FETCHED, retry_after)
    with pytest.raises(KeysUnavailable) as caught:
        await GuardedSource(Own(unavailable)).get("old", "ES256")
    assert caught.value is unavailable


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_let_through(error: type[BaseException]) -> None:
    with pytest.raises(error):
        asyncio.run(GuardedSource(Own(error())).get("old", "ES256"))


def test_a_request_that_is_dropped_ends() -> None:
    class Hanging(RemoteJWKS):
        async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
            await asyncio.sleep(0)
            raise AssertionError("it goes on")

    source = GuardedSource(World().source)
    source._get = Hanging.get.__get__(source.source)
    request = source.get("old", "ES256")
    request.send(None)
    request.close()


@in_loop
async def test_who_gives_up_is_let_go() -> None:
    class Hanging(Own):
        async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
            return await asyncio.Future()

    request = asyncio.create_task(GuardedSource(Hanging()).get("old", "ES256"))
    await settle()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


@in_loop
async def test_an_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    own = Own(OSError())
    source = GuardedSource(own)
    for outcome in (OSError(), OSError(), "nonsense", OLD_KEY, OLD_KEY, "nonsense"):
        own.outcome = outcome
        with contextlib.suppress(Refused):
            await source.get("old", "ES256")
    assert caplog.messages == [
        "the key source failed with OSError",
        "the key source Own works again",
        "the key source returned no VerificationKey, but a str",
    ]


class Hanging:
    """Never answers."""

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        return await asyncio.Future()

    async def warm_up(self) -> bool:
        return await asyncio.Future()

    async def aclose(self) -> None:
        await asyncio.Future()


@in_virtual_time
async def test_nobody_waits_for_ever() -> None:
    source = GuardedSource(Hanging())
    assert await refusal(source, "old") == FAILED
    assert passed() == 15
    assert not await source.warm_up()
    assert passed() == 30
    await source.aclose()
    assert passed() == 35


def test_under_trio_what_fetches_says_what_is_wrong() -> None:
    assert trio.run(GuardedSource(Own()).get, "old", "ES256") is OLD_KEY
    with pytest.raises(asyncio.CancelledError):  # nobody can tell whose it is
        trio.run(GuardedSource(Own(asyncio.CancelledError())).get, "old", "ES256")
    with pytest.raises(ConfigurationError, match="run the application on asyncio"):
        trio.run(GuardedSource(World(OLD).source).get, "old", "ES256")
    assert trio.run(GuardedSource(StaticJWKS(jwks(OLD))).get, "old", "ES256").kid == "old"


# --- the parts that may be there --------------------------------------------------------------------------------------


class Forwarding:
    """The usual wrapper: one method of its own, the rest forwarded."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        key: VerificationKey = await self._inner.get(kid, algorithm)
        return key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@in_loop
async def test_what_a_wrapper_forwards_is_its_own() -> None:
    world = World(OLD)
    source = GuardedSource(Forwarding(world.source))
    assert source.status().state is KeyState.UNAVAILABLE
    assert await source.warm_up()
    assert source.status().key_ids == ("old",)
    world.network.gate.clear()
    world.clock.now += 500
    await source.get("old", "ES256")
    await source.aclose()
    assert world.source._flights.current() is None


def test_a_source_that_says_nothing_is_unknown() -> None:
    source = GuardedSource(Own())
    assert source.status() == KeyStatus(state=KeyState.UNKNOWN)
    assert not source.status().is_usable
    assert asyncio.run(source.warm_up()) is False
    assert asyncio.run(source.aclose()) is None


@pytest.mark.parametrize(("status", "is_ready"), [(FRESH, True), (KeyStatus(state=KeyState.UNAVAILABLE), False)])
@in_loop
async def test_where_there_is_nothing_to_ready_the_status_tells(status: KeyStatus, is_ready: bool) -> None:
    own: Any = Own()
    own.status = lambda: status
    assert await GuardedSource(own).warm_up() is is_ready


def fails() -> KeyStatus:
    raise RuntimeError("secret")


async def fresh() -> KeyStatus:
    return FRESH


@pytest.mark.parametrize(
    "status",
    [fails, fresh, lambda: None, lambda: "fresh", lambda: KeyStatus(state=cast("Any", 1)), MagicMock(), AsyncMock()],
)  # fmt: skip
def test_a_status_that_is_none_is_unavailable(status: Callable[[], object]) -> None:
    own: Any = Own()
    own.status = status
    assert GuardedSource(own).status() == KeyStatus(state=KeyState.UNAVAILABLE, last_error="source_failed")


def test_what_is_no_method_is_not_there() -> None:
    own: Any = Own()
    own.status = own.warm_up = own.aclose = "fine"
    source = GuardedSource(own)
    assert source.status().state is KeyState.UNKNOWN
    assert not source.needs_loop
    assert asyncio.run(source.aclose()) is None


@in_loop
async def test_a_part_that_is_not_async_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    own: Any = Own()
    own.warm_up = own.aclose = lambda: None
    source = GuardedSource(own)
    assert not await source.warm_up()
    await source.aclose()
    assert caplog.messages == [
        "the key source failed to warm up with TypeError",
        "the key source failed to close with TypeError",
    ]


# --- what is a key source at all --------------------------------------------------------------------------------------


class AsyncCallable:
    async def __call__(self, kid: str | None, algorithm: str) -> VerificationKey:
        return OLD_KEY


class WithAttribute:
    def __init__(self, get: object) -> None:
        self.get = get


class Forwarded:
    """Has nothing of its own."""

    def __getattr__(self, name: str) -> Any:
        return getattr(Own(), name)


@pytest.mark.parametrize(
    "source",
    [Own(), WithAttribute(Own().get), WithAttribute(AsyncCallable()), Forwarded(), AsyncMock(), World().source],
)  # fmt: skip
def test_a_key_source_is_an_object_with_an_async_get(source: object) -> None:
    assert is_key_source(source)


@pytest.mark.parametrize(
    "other",
    [
        object(), None, {}, Own, RemoteJWKS, WithAttribute(lambda kid, algorithm: OLD_KEY), WithAttribute("get"),
        WithAttribute(None), contextvars.ContextVar("x"), httpx.AsyncClient(), asyncio.Queue(), MagicMock(),
    ],
    ids=repr,
)  # fmt: skip
def test_all_else_is_none_and_is_refused_when_it_is_configured(other: Any) -> None:
    assert not is_key_source(other)
    if other is not None and other != {}:
        with pytest.raises(ConfigurationError, match="or a KeySource, an object with an async get"):
            TrustedIssuer("https://issuer.test/", "api", keys=other)


# --- the key itself ---------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_computed_from_the_key() -> None:
    same, other = VerificationKey.from_jwk(OLD.jwk()), VerificationKey.from_jwk({**NEW.jwk(), "kid": "old"})
    assert same == OLD_KEY != other
    assert OLD_KEY.fingerprint != other.fingerprint
    with pytest.raises(TypeError):
        VerificationKey("old", "ES256", OLD_KEY.material, b"")  # type: ignore[call-arg]
    assert VerificationKey("old", "ES256", OLD_KEY.material) == OLD_KEY


def test_a_jwk_without_alg_is_bound_to_the_algorithm_that_is_given() -> None:
    jwk = {name: value for name, value in SigningKey("PS256").jwk().items() if name != "alg"}
    assert VerificationKey.from_jwk(jwk).algorithm == "RS256"
    assert VerificationKey.from_jwk(jwk, "PS256").algorithm == "PS256"


@pytest.mark.parametrize(
    ("algorithm", "material"),
    [("ES256", None), ("ES256", "-----BEGIN PUBLIC KEY-----"), ("ES256", b"s" * 32), ("RS256", OLD_KEY.material),
     ("HS256", OLD_KEY.material), ("none", b""), ("none", OLD_KEY.material)],
)  # fmt: skip
def test_a_key_of_another_kind_than_its_algorithm_cannot_be_made(algorithm: str, material: object) -> None:
    with pytest.raises(ValueError, match="no key of the algorithm"):
        VerificationKey("old", algorithm, material)


@in_loop
async def test_a_token_is_not_remembered_under_a_key_that_changed_under_its_id() -> None:
    issuer = LocalIssuer("https://issuer.test/", algorithm="ES256")
    own = Own(VerificationKey.from_jwk(issuer.key.jwk()))
    trusted = TrustedIssuer(issuer.issuer, issuer.audience, keys=own, third_party_clients=set())
    validator = AccessTokenValidator([trusted])
    token = issuer.token("rfc9068_profile")
    await validator.validate(token)
    own.outcome = VerificationKey.from_jwk({**NEW.jwk(), "kid": issuer.key.kid})
    with pytest.raises(InvalidToken):
        await validator.validate(token)


@pytest.mark.parametrize("returned", [None, "yes", 1])
@in_loop
async def test_a_warm_up_that_does_not_say_whether_there_are_keys_has_none(
    returned: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def warm_up() -> object:
        return returned

    own: Any = Own()
    own.warm_up = warm_up
    assert await GuardedSource(own).warm_up() is False
    assert "it returns whether there are keys" in caplog.text
