"""Keys and the cache of verified tokens, driven through random histories against a model of DESIGN section 5.

Time and network are the test's, tokens and keys are real. Whatever happens: the answers are the model's, requests wait
where the model's wait and nowhere else, and no more is fetched than the model fetches.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from authz_middleware import AccessToken, AccessTokenValidator
from authz_middleware._jose import ALGORITHMS
from authz_middleware.errors import Refused
from authz_middleware.keys import Fetched, KeySettings, RemoteJWKS
from authz_middleware.testing import LocalIssuer, SigningKey

from ..helpers import NOW
from .helpers import ISSUER, JWKS_URL
from .model import Document, Failure, Model, Token, Waiter
from .virtual import VirtualLoop

FAILURES: dict[str, Any] = {
    "no route": OSError(),
    "500": Fetched(500, {}, b""),
    "redirect": Fetched(302, {"location": "https://evil.test/"}, b""),
    "garbage": Fetched(200, {}, b"<html>"),
    "unusable keys only": Fetched(200, {}, b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'),
    "a 304 nobody asked for": None,
    "429, 120 s": Fetched(429, {"retry-after": "120"}, b""),
    "503, an hour": Fetched(503, {"retry-after": "3600"}, b""),
}
RETRY_AFTER = {"429, 120 s": 120, "503, an hour": 3600}
MOMENTS = [0.5, 1, 2, 5, 14.5, 15, 16, 30, 61, 119, 300, 479, 481, 599, 601, 1800, 3599, 3601, 10_000]
CONTROLS = ["", "public", "max-age=15", "max-age=120", "max-age=900", "max-age=9999", "no-store"]
LEEWAY = 30


class Server:
    """Publishes keys, or fails, and holds answers back while it is told to."""

    def __init__(self) -> None:
        self.published: dict[str, tuple[int, SigningKey]] = {}
        self.failure: str | None = None
        self.headers: dict[str, str] = {}
        self.has_etags = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[Mapping[str, str]] = []
        self.good: list[tuple[float, frozenset[int]]] = []
        """For each good answer the moment it was given back, and the keys it named."""
        self.clock = 0.0

    @property
    def etag(self) -> str | None:
        return f'"{sorted((kid, number) for kid, (number, _) in self.published.items())}"' if self.has_etags else None

    def answer_to(self, known: str | None) -> Document | Failure:
        """Return the answer in the model's words, to a request that names this tag."""
        if self.failure is not None:
            return Failure(RETRY_AFTER.get(self.failure))
        control = self.headers.get("cache-control", "")
        return Document(
            keys={kid: number for kid, (number, _) in self.published.items()},
            etag=self.etag,
            max_age=int(control.removeprefix("max-age=")) if control.startswith("max-age=") else None,
            no_store=control == "no-store",
            is_unchanged=known is not None and known == self.etag,
        )

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        self.asked.append(headers)
        answer = self._answer(headers.get("If-None-Match"))
        numbers = frozenset(number for number, _ in self.published.values())
        await self.gate.wait()
        if isinstance(answer, BaseException):
            raise answer
        if answer.status in {200, 304} and answer.headers.get("good"):
            self.good.append((self.clock, numbers))
        response: Fetched = answer
        return response

    def _answer(self, known: str | None) -> Any:
        if self.failure is not None:
            unasked = Fetched(304, {}, b"") if known is None else Fetched(500, {}, b"")
            return FAILURES[self.failure] or unasked
        headers = {**self.headers, "good": "yes", **({} if self.etag is None else {"etag": self.etag})}
        if known is not None and known == self.etag:
            return Fetched(304, headers, b"")
        keys = [key.jwk() for _, key in self.published.values()]
        return Fetched(200, headers, json.dumps({"keys": keys}).encode())


class KeysAndTokens(RuleBasedStateMachine):
    """The rules are what can happen: time, requests, and everything an authorization server does."""

    tokens = Bundle("tokens")

    @initialize(max_waiting=st.sampled_from([1, 2, 256]), control=st.sampled_from(CONTROLS), has_etags=st.booleans())
    def start(self, max_waiting: int, control: str, has_etags: bool) -> None:
        self.loop = VirtualLoop()
        self.server = Server()
        self.model = Model(max_waiting)
        self.issuer = LocalIssuer(ISSUER, algorithm="ES256", key=STRANGER, clock=lambda: NOW)
        self.keys = 0
        # Without spread there is nothing random: refresh-ahead and back-off are what the model says.
        numbers = KeySettings(refresh_spread=0, backoff_spread=0, max_waiting=max_waiting)
        source = RemoteJWKS(
            ISSUER, ALGORITHMS, jwks_uri=JWKS_URL, fetch=self.server, settings=numbers, clock=lambda: self.server.clock
        )
        trusted = self.issuer.trusted(keys=source, algorithms=["ES256"], leeway=LEEWAY)
        self.validator = AccessTokenValidator([trusted], clock=lambda: NOW + self.server.clock)
        self.signed: dict[Token, str] = {}
        self.accepted: dict[Token, AccessToken] = {}
        self.under_way: list[tuple[asyncio.Task[AccessToken | str], Waiter]] = []
        self.latest_good = 0
        self.conditions: list[str | None] = []
        self.withdrawn: dict[str, tuple[int, SigningKey]] = {}
        self.publish_key("first")
        self.change_headers(control, has_etags)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.server.gate.set()
            self.loop.run_until_complete(self.validator.aclose())
            self.loop.run_until_complete(self.settle())
            self.loop.close()

    # --- the authorization server -------------------------------------------------------------------------------------

    def publish_key(self, kid: str) -> None:
        number = self.keys = self.keys + 1
        self.server.published[kid] = number, signing_key(kid, number)

    @rule(kid=st.sampled_from(["second", "third"]))
    def rotate(self, kid: str) -> None:
        """A key under a new id, or another key under the same."""
        self.publish_key(kid)

    @precondition(lambda self: self.server.published)
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        self.publish_key(data.draw(st.sampled_from(sorted(self.server.published))))

    @precondition(lambda self: self.server.published)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        kid = data.draw(st.sampled_from(sorted(self.server.published)))
        self.withdrawn[kid] = self.server.published.pop(kid)

    @precondition(lambda self: self.withdrawn)
    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        """The latest key that was withdrawn under an id, in the place of whatever stands there now."""
        kid = data.draw(st.sampled_from(sorted(self.withdrawn)))
        self.server.published[kid] = self.withdrawn.pop(kid)

    @rule(failure=st.sampled_from([*[None] * len(FAILURES), *FAILURES]))
    def fail_or_recover(self, failure: str | None) -> None:
        self.server.failure = failure

    @rule(control=st.sampled_from(CONTROLS), has_etags=st.booleans())
    def change_headers(self, control: str, has_etags: bool) -> None:
        self.server.headers = {"cache-control": control} if control else {}
        self.server.has_etags = has_etags

    @precondition(lambda self: self.server.gate.is_set())
    @rule()
    def hold_answers_back(self) -> None:
        self.server.gate.clear()

    @precondition(lambda self: not self.server.gate.is_set())
    @rule()
    def let_answers_go(self) -> None:
        self.server.gate.set()
        self.run()

    # --- time ---------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from(MOMENTS) | st.floats(0.001, 700, allow_subnormal=False))
    def pass_time(self, seconds: float) -> None:
        self.server.clock += seconds
        self.model.now = self.server.clock

    # --- tokens -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.server.published)
    @rule(target=tokens, data=st.data(), lives=st.sampled_from([100, 4000, 10**6]))
    def sign(self, data: st.DataObject, lives: float) -> Token:
        """A token of a key that is published now, seen by nobody yet."""
        kid = data.draw(st.sampled_from(sorted(self.server.published)))
        number, key = self.server.published[kid]
        return self.signed_with(key, kid, number, lives)

    @precondition(lambda self: self.server.published)
    @rule(target=tokens, data=st.data())
    def forge(self, data: st.DataObject) -> Token:
        """A token of somebody else's key, under a published id."""
        kid = data.draw(st.sampled_from(sorted(self.server.published)))
        return self.signed_with(STRANGER, kid, -1, 10**6)

    @rule(target=tokens, kid=st.sampled_from(["guess-1", "guess-2", "guess-3", "guess-4"]))
    def guess(self, kid: str) -> Token:
        """A token under an id nobody publishes."""
        return self.signed_with(STRANGER, kid, -1, 10**6)

    @rule(target=tokens)
    def foresee(self) -> Token:
        """A token under an id before it is published, by whoever will."""
        number = self.keys + 1
        return self.signed_with(signing_key("third", number), "third", number, 10**6)

    def signed_with(self, key: SigningKey, kid: str, number: int, lives: float) -> Token:
        exp = int(NOW + self.server.clock + lives)
        token = Token(len(self.signed), kid, number, exp + LEEWAY - NOW)
        claims = {**self.issuer.claims(jti=str(token.number)), "exp": exp}
        self.signed[token] = self.issuer.sign(claims, key=key, kid=kid)
        self.send([token])
        return token

    # --- requests -----------------------------------------------------------------------------------------------------

    @rule(sent=st.lists(tokens, min_size=1, max_size=6))
    def send(self, sent: list[Token]) -> None:
        """Requests, all at once."""
        for token in sent:
            task = self.loop.create_task(self.outcome(self.signed[token]))
            self.under_way.append((task, self.model.arrive(token)))
        self.run()

    @rule(token=tokens, waits=st.lists(st.sampled_from(MOMENTS), min_size=1, max_size=5))
    def send_now_and_then(self, token: Token, waits: list[float]) -> None:
        """The same token, one request after another, while nothing is held back."""
        self.let_answers_go()
        for seconds in waits:
            self.pass_time(seconds)
            self.send([token])

    async def outcome(self, token: str) -> AccessToken | str:
        """Return what a token says, or the code of its refusal."""
        try:
            return await self.validator.validate(token)
        except Refused as refused:
            return str(refused.code)

    @rule(seconds=st.sampled_from(MOMENTS), sent=st.lists(tokens, min_size=1, max_size=6))
    def send_while_answers_are_held_back(self, seconds: float, sent: list[Token]) -> None:
        """Whoever waits, waits; whoever need not is answered."""
        self.let_answers_go()
        self.pass_time(seconds)
        self.server.gate.clear()
        self.send(sent)
        self.let_answers_go()

    def run(self) -> None:
        """Let everybody go on as far as possible, the model first, and compare."""
        model = self.model
        while model.fetch is not None:
            if model.fetch.response is None:
                etag = None if model.document is None else model.document.etag
                model.begin(self.server.answer_to(etag))
                self.conditions.append(etag)
            if not self.server.gate.is_set():
                break
            model.land()
        self.latest_good = max(0, len(self.server.good) - 1)
        self.loop.run_until_complete(self.settle())
        accepted = []
        for task, waiter in self.under_way:
            outcome = task.result() if task.done() else None
            self.compare(waiter, "ok" if isinstance(outcome, AccessToken) else outcome)
            if isinstance(outcome, AccessToken):
                accepted.append((waiter.token, outcome))
        self.remember(accepted)
        self.under_way = [pair for pair in self.under_way if not pair[0].done()]

    @staticmethod
    async def settle() -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    def compare(self, waiter: Waiter, outcome: str | None) -> None:
        if outcome != waiter.answer:
            raise AssertionError(f"{waiter.token}: {outcome} where {waiter.answer} is due (None: it waits)")
        if outcome == "ok":
            self.check_bounds(waiter.token)
        elif outcome in {"unknown_key", "bad_signature", "expired"}:
            for token in [token for token in self.accepted if token.kid == waiter.token.kid]:
                del self.accepted[token]  # perhaps it was found out that their key has left

    def check_bounds(self, token: Token) -> None:
        """No key is used that the latest good answer did not name, or longer than an hour after that."""
        good = [(contact, numbers) for contact, numbers in self.server.good[self.latest_good :] if token.key in numbers]
        if not good:  # neither in the latest before these requests, nor in what came while they waited
            raise AssertionError("a key was used that is not published any more")
        if not self.server.clock < good[-1][0] + 3600:
            raise AssertionError("a key was used too long after the last contact")
        if not self.server.clock < token.ends:
            raise AssertionError("a token was used after its end")

    def remember(self, accepted: list[tuple[Token, AccessToken]]) -> None:
        """What was verified before, under a key that has not left since, was not verified again."""
        for token, read in accepted:
            if self.accepted.get(token, read) is not read:
                raise AssertionError("a token that was verified before was verified again")
        self.accepted.update(accepted)

    # --- whatever happens ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_more_is_fetched_than_the_model_fetches(self) -> None:
        if hasattr(self, "model") and len(self.server.asked) != self.model.fetches:
            raise AssertionError(f"{len(self.server.asked)} fetches where {self.model.fetches} are due")

    @invariant()
    def each_fetch_asks_for_another_document_than_the_one_at_hand(self) -> None:
        if hasattr(self, "model"):
            conditions = [headers.get("If-None-Match") for headers in self.server.asked]
            if conditions != self.conditions:
                raise AssertionError(f"conditions {conditions} where {self.conditions} are due")

    @invariant()
    def nothing_more_is_fetched_than_can_be_in_any_case(self) -> None:
        """Counted without the model: the bucket, a refresh each 48 seconds at most, and retries that back off."""
        if hasattr(self, "model"):
            seconds, good = self.server.clock, len(self.server.good)
            bucket, refreshes, retries = 2 + seconds / 15, 1 + seconds / 48, 6 * (good + 1) + seconds / 30
            if len(self.server.asked) > bucket + refreshes + retries:
                raise AssertionError("more was fetched than can be in any case")

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        if hasattr(self, "model") and len(self.validator._cache) > len(self.signed):
            raise AssertionError("more is remembered than was sent")

    @invariant()
    def nobody_waits_but_for_the_fetch_under_way(self) -> None:
        if hasattr(self, "model") and self.under_way and self.server.gate.is_set():
            raise AssertionError("somebody waits, and nothing is held back")


@functools.cache
def private_key(number: int) -> Any:
    """Return the same key for the same number, in all histories: making keys takes a while."""
    return SigningKey("ES256").private


def signing_key(kid: str, number: int) -> SigningKey:
    return SigningKey("ES256", kid=kid, private=private_key(number))


STRANGER = SigningKey("ES256")

TestKeysAndTokens = KeysAndTokens.TestCase
TestKeysAndTokens.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
