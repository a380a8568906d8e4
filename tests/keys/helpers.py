"""A network and a clock under the test's control; everything else in these tests is real."""

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from authz_middleware._jose import ALGORITHMS, VerificationKey
from authz_middleware.errors import Code, KeysUnavailable, Reason, Refused
from authz_middleware.keys import Fetched, KeySource, RemoteJWKS
from authz_middleware.testing import SigningKey

ISSUER = "https://issuer.test/"
METADATA_URL = "https://issuer.test/.well-known/openid-configuration"
RFC8414_URL = "https://issuer.test/.well-known/oauth-authorization-server"
JWKS_URL = "https://keys.issuer.test/jwks.json"

OLD = SigningKey("ES256", kid="old")
NEW = SigningKey("ES256", kid="new")

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def json_response(document: object, status: int = 200, **headers: str) -> Fetched:
    return Fetched(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(document).encode()
    )


def jwks(*keys: SigningKey) -> dict[str, object]:
    return {"keys": [key.jwk() for key in keys]}


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Jitter:
    """Takes the same part of every interval, and remembers the intervals it was asked for."""

    def __init__(self, part: float = 0.5) -> None:
        self.part = part
        self.intervals: list[tuple[float, float]] = []

    def __call__(self, shortest: float, longest: float) -> float:
        self.intervals.append((shortest, longest))
        return shortest + (longest - shortest) * self.part


class Network:
    """A `Fetch`. It answers with what was published when it was asked, once `gate` is open."""

    def __init__(self, *keys: SigningKey) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        metadata = {"issuer": ISSUER, "jwks_uri": JWKS_URL}
        self.answers: dict[str, Any] = {METADATA_URL: json_response(metadata)}
        self.publish(*keys)

    async def __call__(self, url: str, headers: Any) -> Fetched:
        self.calls.append((url, dict(headers)))
        answer = self.answers[url]
        await self.gate.wait()
        if isinstance(answer, BaseException):
            raise answer
        response: Fetched = answer
        return response

    @property
    def urls(self) -> list[str]:
        return [url for url, _ in self.calls]

    @property
    def fetches(self) -> int:
        """How often the JWKS was asked for."""
        return self.urls.count(JWKS_URL)

    def answer(self, answer: Any) -> None:
        """Answer this, or raise it, at the JWKS endpoint from now on."""
        self.answers[JWKS_URL] = answer

    def publish(self, *keys: SigningKey, **headers: str) -> None:
        self.answer(json_response(jwks(*keys), 200, **headers))

    def fail(self) -> None:
        self.answer(OSError("no route to host"))


class World:
    """A key source at a fixed endpoint, its network and its clock."""

    def __init__(self, *keys: SigningKey, jitter: float = 0.5, **options: Any) -> None:
        self.clock = Clock()
        self.jitter = Jitter(jitter)
        self.network = Network(*keys)
        options = {"jwks_uri": JWKS_URL, **options}
        self.source = RemoteJWKS(
            ISSUER, ALGORITHMS, fetch=self.network, clock=self.clock, jitter=self.jitter, **options
        )

    async def get(self, kid: str | None = "old", algorithm: str = "ES256") -> VerificationKey:
        return await self.source.get(kid, algorithm)

    def get_at_once(self, kid: str | None = "old") -> VerificationKey:
        """Return the key without suspending once, or fail."""
        return at_once(self.get(kid))

    async def waits(self, kid: str | None = "old") -> bool:
        """Say whether a request would wait for the network; the network must be held up."""
        request = asyncio.create_task(self.get(kid))
        await settle()
        waiting = not request.done()
        request.cancel()
        await asyncio.wait({request})
        return waiting

    async def refresh(self, seconds: float = 600) -> None:
        """Let time pass until the set is stale, and ask for a key."""
        self.clock.now += seconds
        await self.get()
        await settle()


def at_once(request: Coroutine[Any, Any, VerificationKey]) -> VerificationKey:
    """Drive a coroutine to its end without an event loop's help."""
    try:
        request.send(None)
    except StopIteration as end:
        key: VerificationKey = end.value
        return key
    request.close()
    raise AssertionError("it waited")


def starts_to_wait(request: Coroutine[Any, Any, VerificationKey]) -> bool:
    """Drive a coroutine to where it waits first, and give it up."""
    try:
        request.send(None)
    finally:
        request.close()
    return True


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(25):
        await asyncio.sleep(0)


async def refusal(source: KeySource, kid: str | None, algorithm: str = "ES256") -> tuple[Code, Reason]:
    """Return why there is no such key, or fail because there is one."""
    try:
        await source.get(kid, algorithm)
    except Refused as refused:
        return refused.code, refused.reason
    raise AssertionError("not refused")


async def retry_after(source: KeySource, kid: str | None = "old") -> int:
    """Return the seconds an outage names, or fail because there is none."""
    try:
        await source.get(kid, "ES256")
    except KeysUnavailable as unavailable:
        return unavailable.retry_after
    raise AssertionError("not refused")


UNKNOWN = (Code.UNKNOWN_KEY, Reason.KEY_NOT_PUBLISHED)
AMBIGUOUS = (Code.UNKNOWN_KEY, Reason.KEY_AMBIGUOUS)
CANNOT_SAY = (Code.KEYS_UNAVAILABLE, Reason.UNKNOWN_KEY_AND_FETCH_FAILED)
NEVER_FETCHED = (Code.KEYS_UNAVAILABLE, Reason.NEVER_FETCHED)
TOO_MANY = (Code.KEYS_UNAVAILABLE, Reason.TOO_MANY_WAITING)
TOO_LONG = (Code.KEYS_UNAVAILABLE, Reason.TOO_LONG_WITHOUT_CONTACT)
