"""The cache of verified tokens: what gets in, what it costs, and everything that must end a token in it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import pytest
from cachetools import Cache, LRUCache
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authz_middleware import (
    AccessToken,
    AccessTokenValidator,
    AuthzMiddleware,
    ConfigurationError,
    TrustedIssuer,
    policy,
    requires,
)
from authz_middleware._jose import VerificationKey
from authz_middleware.dialects import AUTH0
from authz_middleware.errors import KeysUnavailable, Reason, Refused
from authz_middleware.keys import KeySettings, StaticJWKS
from authz_middleware.testing import LocalIssuer, SigningKey
from authz_middleware.token import GrantRule, GrantSet
from authz_middleware.verified import VerifiedToken, VerifiedTokens, digest_of

from .calls import called
from .helpers import NOW, RecordingKeys
from .keys.helpers import JWKS_URL, World, in_loop, settle

AUDIENCE = "https://api.test/"
HOUR = 3600.0
VERIFY = "authz_middleware._jose.verify"
ES256 = ["ES256"]


class Setting:
    """An issuer whose keys are fetched, a clock that everybody reads, and a validator."""

    def __init__(self, *, keys: dict[str, Any] | None = None, trust: dict[str, Any] | None = None, **options: Any):
        self.issuer = LocalIssuer(algorithm="ES256", clock=lambda: self.now)
        self.world = World(self.issuer.key, **(keys or {}))
        self.began = self.world.clock.now
        trust = {"keys": self.world.source, "algorithms": ES256, "third_party_clients": set(), **(trust or {})}
        self.trusted = self.issuer.trusted(**trust)
        self.validator = AccessTokenValidator([self.trusted], clock=lambda: self.now, **options)

    @property
    def now(self) -> float:
        """Epoch seconds; they pass with the monotonic ones."""
        return NOW + self.world.clock.now - self.began

    @property
    def cache(self) -> VerifiedTokens:
        return self.validator._cache

    def publish(self, *keys: SigningKey) -> None:
        self.world.network.publish(*keys)

    def pass_time(self, seconds: float) -> None:
        self.world.clock.now += seconds

    async def outcome(self, token: str) -> str:
        """Return the subject of a good token, or code and reason of a refusal."""
        try:
            return (await self.validator.validate(token)).subject
        except Refused as refused:
            return f"{refused.code} {refused.reason}"

    async def verifications(self, token: str) -> int:
        """Return how many signatures it costs to accept a token."""
        with called() as calls:
            await self.validator.validate(token)
        return calls[VERIFY]


# --- what a hit is ----------------------------------------------------------------------------------------------------


@in_loop
async def test_a_token_seen_before_is_the_very_same_object() -> None:
    setting = Setting()
    token = setting.issuer.token()
    first = await setting.validator.validate(token)
    assert await setting.validator.validate(token) is first
    assert len(setting.cache) == 1


@in_loop
async def test_another_spelling_of_a_good_token_is_another_token() -> None:
    setting = Setting()
    token = setting.issuer.token()
    await setting.validator.validate(token)
    for spelling in (token + "=", token + " ", token.replace(".", "..", 1), token[:-1], token.upper()):
        assert (await setting.outcome(spelling)).startswith("malformed_token")
    assert len(setting.cache) == 1


@requires(policy.scope("a") & policy.permission("b") | policy.role("c"))
async def guarded(request: Request) -> Response:
    return Response()


NEVER_ON_A_HIT = (
    "_jose.parse",
    "_json.parse_json",
    "_jose.verify",
    "_jose.parse_jwk",
    "a2b_base64",
    "b64decode",
    "b2a_base64",
    "scan_once",
    "json.loads",
    "json.decoder.",
    "jwt.",
    "cryptography.",
    "dialects.",
    "effective_grants",
    "_select_issuer",
    "re.compile",
    "re._compiler",
)


@in_loop
async def test_what_a_hit_does() -> None:
    """Counted over a whole request, endpoint included, so that nothing of it hides in another room."""
    issuer = LocalIssuer()
    trusted = issuer.trusted(keys=StaticJWKS(issuer.jwks()), third_party_clients=set(), rbac_enforced=True)
    app = Starlette(routes=[Route("/", guarded)])
    app.add_middleware(AuthzMiddleware, issuers=[trusted])
    headers = [(b"authorization", f"Bearer {issuer.token(scope='a b', permissions=['a', 'b'])}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "root_path": "", "query_string": b"", "headers": headers}

    async def request() -> Counter[str]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        with called() as calls:
            await app(dict(scope), receive, send)
        assert sent[0]["status"] == 200
        return calls

    miss, hit = await request(), await request()
    with called() as building:
        requires(policy.scope("a") & policy.permission("b") | policy.role("c"))

    def count(calls: Counter[str], *names: str) -> Counter[str]:
        return Counter({call: times for call, times in calls.items() if any(name in call for name in names)})

    assert sum(count(hit, "sha256").values()) == 1  # one digest
    assert hit["authz_middleware.verified.VerifiedTokens.get"] == 1  # one lookup
    assert hit["cachetools.LRUCache.__getitem__"] == 1
    assert hit["authz_middleware.verified.VerifiedTokens.put"] == 0
    assert count(hit, *NEVER_ON_A_HIT) == {}  # no decode, no JSON, no signature, no grants read
    assert {name.split(".")[-1] for name in count(building, "authz_middleware.policy")} > {
        "scope",
        "permission",
        "role",
    }
    built = {name for name in building if name.startswith("authz_middleware.") and "<" not in name}
    assert not built & hit.keys()  # no policy is compiled
    # The names above are the right ones: the first request did call all that counts.
    for name in ("_jose.parse", "_jose.verify", "a2b_base64", "json.loads", "jwt.", "dialects.", "effective_grants"):
        assert count(miss, name), name
    assert sum(hit.values()) < sum(miss.values()) / 2


@in_loop
async def test_every_refusal_is_decided_anew() -> None:
    setting = Setting()
    good, strange = setting.issuer.token(), SigningKey("ES256", kid=setting.issuer.key.kid)
    bad = [
        "opaque",
        good + "x",
        setting.issuer.sign(setting.issuer.claims(), key=strange),
        setting.issuer.sign(setting.issuer.claims(), kid="unknown"),
        setting.issuer.token(expires_in=-60),
        setting.issuer.token(iss="https://evil.test/"),
        setting.issuer.token(aud="another"),
        setting.issuer.token(cnf={"jkt": "x"}),
        setting.issuer.token(nbf=NOW + 3600),
        setting.issuer.token(nonce="x"),
    ]
    for token in bad * 2:
        assert " " in await setting.outcome(token)
        assert len(setting.cache) == 0
    assert await setting.outcome(good) == "auth0|jo"
    assert len(setting.cache) == 1


@in_loop
async def test_a_flood_of_bad_tokens_pushes_no_good_one_out() -> None:
    setting = Setting(max_cached_tokens=10)
    good = [setting.issuer.token(subject=f"auth0|{number}") for number in range(10)]
    for token in good:
        await setting.validator.validate(token)
    entries = set(setting.cache._entries)
    head, payload, signature = good[0].split(".")
    forged = [f"{head}.{payload}.{signature[:-6]}{number:06}"[:-1] + "A" for number in range(500)]
    expired = [setting.issuer.token(expires_in=-60, jti=str(number)) for number in range(500)]
    flood = Counter([await setting.outcome(token) for token in (*forged, *expired)])
    for number in range(100_000):
        flood[await setting.outcome(f"{head}.{payload}.{number}")] += 1
    assert {outcome.split()[0] for outcome in flood} == {"bad_signature", "expired", "malformed_token"}
    assert flood.total() == 101_000
    assert set(setting.cache._entries) == entries
    assert [await setting.verifications(token) for token in good] == [0] * 10


@pytest.mark.parametrize("off", [{"max_cached_tokens": 0}, {"max_cached_bytes": 0}])
@in_loop
async def test_it_can_be_switched_off(off: dict[str, Any]) -> None:
    setting = Setting(**off)
    token = setting.issuer.token()
    with called() as calls:
        assert await setting.validator.validate(token) is not await setting.validator.validate(token)
    assert calls[VERIFY] == 2
    assert len(setting.cache) == 0
    assert not sum(times for name, times in calls.items() if "digest_of" in name or "VerifiedTokens" in name)


@in_loop
async def test_a_token_that_is_too_long_is_not_even_digested() -> None:
    setting = Setting(max_token_bytes=100)
    with called() as calls:
        assert await setting.outcome("x" * 101) == "malformed_token too_large"
    assert not [name for name in calls if "sha256" in name]


# --- raw tokens are not kept ------------------------------------------------------------------------------------------

UNINTERESTING = (type, ModuleType, FunctionType, BuiltinFunctionType)


def reachable(root: object) -> Iterator[object]:
    """Yield every object that can be reached from this one, but for modules, types and functions."""
    seen, todo = {id(root)}, [root]
    while todo:
        item = todo.pop()
        yield item
        for child in gc.get_referents(item):
            if id(child) not in seen and not isinstance(child, UNINTERESTING):
                seen.add(id(child))
                todo.append(child)


def parts_kept(root: object, token: str) -> set[str]:
    """Return which parts of a token any text or bytes below an object holds."""
    pieces = {"token": token, **dict(zip(("header", "payload", "signature"), token.split("."), strict=True))}
    pieces["signed"] = token.rpartition(".")[0]
    texts = [item for item in reachable(root) if isinstance(item, str | bytes | bytearray)]
    return {
        name
        for name, piece in pieces.items()
        if any(piece in text if isinstance(text, str) else piece.encode() in text for text in texts)
    }


@in_loop
async def test_no_part_of_a_raw_token_is_kept() -> None:
    setting = Setting()
    tokens = [setting.issuer.token(subject=f"auth0|{number}", permissions=["read:orders"]) for number in range(3)]
    for token in tokens * 2:
        await setting.validator.validate(token)
    assert len(setting.cache) == 3
    for token in tokens:
        assert parts_kept(setting.validator, token) == set()
        assert token not in repr(setting.cache._entries)


@pytest.mark.parametrize("wrap", [str, str.encode, lambda text: [f"Bearer {text}"], lambda text: {"x": (text,)}])
def test_what_looks_for_raw_tokens_finds_them(wrap: Callable[[str], object]) -> None:
    setting = Setting()
    token = setting.issuer.token()
    setting.validator.hidden = wrap(token)  # type: ignore[attr-defined]  # that is the test
    assert parts_kept(setting.validator, token) == {"token", "header", "payload", "signature", "signed"}
    setting.validator.hidden = wrap(token.split(".")[2])  # type: ignore[attr-defined]  # that is the test
    assert parts_kept(setting.validator, token) == {"signature"}


def test_a_digest_is_of_the_whole_token() -> None:
    tokens = ["a.b.c", "a.b.d", "a.bc", "", "\ud800", "\udfff", "\u00e9", "e\u0301"]
    digests = {digest_of(token) for token in tokens}
    assert len(digests) == len(tokens)
    assert {len(digest) for digest in digests} == {32}


# --- until when -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leeway", "seconds"), [(30, 630), (0, 600), (300, 900), (0.5, 600.5)])
@in_loop
async def test_a_token_ends_with_its_exp_and_the_leeway(leeway: float, seconds: float) -> None:
    setting = Setting(trust={"leeway": leeway}, keys={"settings": KeySettings(lifetime=3600)})
    token = setting.issuer.token(expires_in=600)
    await setting.validator.validate(token)
    setting.pass_time(seconds - 0.01)
    assert await setting.verifications(token) == 0
    setting.pass_time(0.02)
    assert await setting.outcome(token) == "expired expired"
    assert len(setting.cache) == 0  # and takes no room


@in_loop
async def test_a_token_whose_time_ends_while_its_key_is_awaited_is_refused() -> None:
    setting = Setting()
    token = setting.issuer.token(expires_in=600)
    await setting.validator.validate(token)
    setting.world.network.gate.clear()
    setting.pass_time(620)  # the set is stale: everybody waits for the next
    request = asyncio.create_task(setting.outcome(token))
    await settle()
    setting.pass_time(20)
    setting.world.network.gate.set()
    assert await request == "expired expired"


@in_loop
async def test_a_token_of_whole_days_is_kept_no_longer_than_its_key() -> None:
    setting = Setting()
    token = setting.issuer.token(expires_in=100 * HOUR)
    await setting.validator.validate(token)
    setting.world.network.fail()
    for _ in range(59):
        setting.pass_time(60)
        assert await setting.verifications(token) == 0
        await settle()
    setting.pass_time(60)
    with pytest.raises(KeysUnavailable) as caught:
        await setting.validator.validate(token)
    assert caught.value.reason == Reason.TOO_LONG_WITHOUT_CONTACT
    assert (caught.value.issuer, caught.value.dialect) == (setting.issuer.issuer, "access_token_authz")
    setting.publish(setting.issuer.key)
    setting.pass_time(60)
    assert await setting.verifications(token) == 0  # the same key is back, so the token is as good as ever


@pytest.mark.parametrize("tolerance", [0, 900])
@in_loop
async def test_a_token_stops_with_the_tolerance_of_outages(tolerance: float) -> None:
    setting = Setting(keys={"settings": KeySettings(outage_tolerance=tolerance)})
    token = setting.issuer.token()
    await setting.validator.validate(token)
    setting.world.network.fail()
    setting.pass_time(max(tolerance, 600) - 1)
    assert await setting.outcome(token) == "auth0|jo"
    await settle()
    setting.pass_time(1)
    assert await setting.outcome(token) == "keys_unavailable too_long_without_contact"


@in_loop
async def test_a_withdrawn_key_takes_its_tokens_along() -> None:
    setting = Setting()
    old, tokens = setting.issuer.key, [setting.issuer.token(jti=str(number)) for number in range(5)]
    new = setting.issuer.rotate()
    others = [setting.issuer.token(jti=str(number)) for number in range(3)]
    setting.publish(old, new)
    for token in (*tokens, *others):
        await setting.validator.validate(token)
    setting.publish(new)
    setting.pass_time(600)
    assert await setting.outcome(tokens[0]) == "unknown_key key_not_published"
    assert len(setting.cache) == 3
    assert [await setting.outcome(token) for token in tokens] == ["unknown_key key_not_published"] * 5
    assert [await setting.verifications(token) for token in others] == [0] * 3


@in_loop
async def test_all_keys_withdrawn_end_all_tokens() -> None:
    setting = Setting()
    token = setting.issuer.token()
    await setting.validator.validate(token)
    setting.publish()
    setting.pass_time(600)
    assert await setting.outcome(token) == "unknown_key key_not_published"
    assert len(setting.cache) == 0


@in_loop
async def test_a_key_that_changes_under_its_id_takes_its_tokens_along() -> None:
    setting = Setting()
    tokens = [setting.issuer.token(jti=str(number)) for number in range(3)]
    for token in tokens:
        await setting.validator.validate(token)
    changed = SigningKey("ES256", kid=setting.issuer.key.kid)
    setting.publish(changed)
    setting.pass_time(600)
    assert await setting.outcome(tokens[0]) == "bad_signature signature_invalid"
    assert len(setting.cache) == 0
    setting.issuer.key = changed
    assert await setting.outcome(setting.issuer.token()) == "auth0|jo"
    assert await setting.outcome(tokens[1]) == "bad_signature signature_invalid"


@in_loop
async def test_of_all_who_waited_for_a_key_that_changed_one_looks_through_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting, looked = Setting(), []
    token = setting.issuer.token()
    await setting.validator.validate(token)
    drop = VerifiedTokens.drop

    def look_through(cache: VerifiedTokens, is_void: Callable[[VerifiedToken], bool]) -> None:
        looked.append(cache)
        drop(cache, is_void)

    monkeypatch.setattr(VerifiedTokens, "drop", look_through)
    setting.publish(SigningKey("ES256", kid=setting.issuer.key.kid))
    setting.pass_time(HOUR)
    answers = await asyncio.gather(*(setting.outcome(token) for _ in range(3)))
    assert set(answers) == {"bad_signature signature_invalid"}
    assert looked == [setting.cache]


@in_loop
async def test_a_key_that_comes_back_needs_its_tokens_verified_anew() -> None:
    setting = Setting()
    token, key = setting.issuer.token(), setting.issuer.key
    await setting.validator.validate(token)
    setting.publish()
    setting.pass_time(600)
    await setting.outcome(token)
    setting.publish(key)
    setting.pass_time(600)
    assert await setting.verifications(token) == 1
    assert await setting.verifications(token) == 0


@pytest.mark.parametrize("headers", [{}, {"etag": '"one"'}])
@in_loop
async def test_a_refresh_that_brings_the_same_keys_costs_no_signature(headers: dict[str, str]) -> None:
    setting = Setting()
    token = setting.issuer.token(expires_in=10 * HOUR)
    await setting.validator.validate(token)
    for _ in range(10):
        setting.world.network.publish(SigningKey("ES256"), setting.issuer.key, **headers)
        setting.pass_time(600)
        assert await setting.verifications(token) == 0
    assert setting.world.network.fetches == 11


@in_loop
async def test_a_token_without_kid_ends_when_two_keys_fit() -> None:
    setting = Setting()
    token = setting.issuer.sign(setting.issuer.claims(), kid=None)
    await setting.validator.validate(token)
    assert await setting.verifications(token) == 0
    setting.publish(setting.issuer.key, SigningKey("ES256"))
    setting.pass_time(600)
    assert await setting.outcome(token) == "unknown_key key_ambiguous"
    assert len(setting.cache) == 0


@in_loop
async def test_audiences_that_share_a_key_lose_it_together() -> None:
    setting = Setting()
    fetch = setting.world.network
    audiences = ["https://one.test/", "https://two.test/"]
    trusted = [
        TrustedIssuer(
            setting.issuer.issuer, audience, dialects=AUTH0, algorithms=ES256, jwks_uri=JWKS_URL, fetch=fetch,
            key_settings=KeySettings(lifetime=1, shortest_lifetime=1, fetch_seconds=1),
        )
        for audience in audiences
    ]  # fmt: skip
    elsewhere = LocalIssuer("https://other.test/", algorithm="ES256", key=setting.issuer.key, clock=lambda: NOW)
    foreign = elsewhere.trusted(algorithms=ES256)
    setting.validator = AccessTokenValidator([*trusted, foreign], clock=lambda: NOW)
    source = setting.validator._keys._by_settings[trusted[0]].source
    source._clock = setting.world.clock  # type: ignore[attr-defined]  # its time is the test's
    tokens = [setting.issuer.token(aud=audience) for audience in audiences]
    for token in (*tokens, elsewhere.token()):
        assert await setting.outcome(token) == "auth0|jo"
    setting.publish()
    setting.pass_time(1)
    assert await setting.outcome(tokens[0]) == "unknown_key key_not_published"
    assert [entry.trusted for entry in setting.cache._entries.values()] == [foreign]  # another issuer's same key stays


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RuntimeError("secret"), "keys_unavailable key_source_failed"),
        (KeysUnavailable(Reason.NEVER_FETCHED, 7), "keys_unavailable never_fetched"),
        (None, "keys_unavailable key_source_failed"),
    ],
)
@in_loop
async def test_a_hit_is_no_way_around_a_key_source_that_fails(error: Exception | None, outcome: str) -> None:
    setting = Setting()

    class Failing(RecordingKeys):
        fails = False

        async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
            if not self.fails:
                return await super().get(kid, algorithm)
            if error is not None:
                raise error
            return None  # type: ignore[return-value]  # that is the test

    keys = Failing(setting.world.source)
    trusted = setting.issuer.trusted(keys=keys, algorithms=ES256)
    setting.validator = AccessTokenValidator([trusted], clock=lambda: NOW)
    token = setting.issuer.token()
    assert await setting.outcome(token) == "auth0|jo"
    keys.fails = True
    assert await setting.outcome(token) == outcome
    keys.fails = False
    assert await setting.verifications(token) == 0  # an outage is no reason to forget


@in_loop
async def test_a_hit_asks_for_the_key_by_its_own_id_and_algorithm() -> None:
    setting = Setting()
    keys = RecordingKeys(setting.world.source)
    setting.validator = AccessTokenValidator([setting.issuer.trusted(keys=keys, algorithms=ES256)], clock=lambda: NOW)
    token = setting.issuer.token()
    for _ in range(3):
        await setting.validator.validate(token)
    assert keys.asked == [(setting.issuer.key.kid, "ES256")] * 3


# --- whose ------------------------------------------------------------------------------------------------------------


@in_loop
async def test_two_validators_never_share() -> None:
    setting = Setting()
    token = setting.issuer.token(org_id="org_1", permissions=["read:orders"])
    changes: list[tuple[dict[str, Any], str]] = [
        ({"tenants": ["org_2"]}, "wrong_tenant tenant_not_allowed"),
        ({"dialects": ["rfc9068_profile"]}, "wrong_type type_not_allowed"),
        ({"keys": {"keys": [SigningKey("ES256").jwk()]}}, "unknown_key key_not_published"),
    ]
    await setting.validator.validate(token)
    first = setting.validator
    for change, outcome in changes:
        options = {"keys": setting.world.source, "algorithms": ES256, **change}
        setting.validator = AccessTokenValidator([setting.issuer.trusted(**options)], clock=lambda: NOW)
        assert await setting.outcome(token) == outcome
        assert len(setting.cache) == 0
    strict = setting.issuer.trusted(
        keys=setting.world.source, algorithms=ES256, third_party_clients={"first-party-app"}
    )
    setting.validator = AccessTokenValidator([strict], clock=lambda: NOW)
    assert "read:orders" not in (await setting.validator.validate(token)).grants
    assert "read:orders" in (await first.validate(token)).grants


@in_loop
async def test_each_issuer_and_audience_has_its_own_settings() -> None:
    setting = Setting()
    lax = setting.issuer.trusted(keys=setting.world.source, algorithms=ES256, third_party_clients=set())
    strict = TrustedIssuer(
        setting.issuer.issuer, "strict", dialects=AUTH0, keys=setting.world.source, algorithms=ES256, tenants=["org_1"]
    )
    setting.validator = AccessTokenValidator([lax, strict], clock=lambda: setting.now)
    for _ in range(2):
        assert await setting.outcome(setting.issuer.token()) == "auth0|jo"
        assert await setting.outcome(setting.issuer.token(aud="strict")) == "wrong_tenant tenant_not_allowed"
        assert await setting.outcome(setting.issuer.token(aud="strict", org_id="org_1")) == "auth0|jo"
    both = setting.issuer.token(aud=[AUDIENCE, "strict"], org_id="org_1")
    assert await setting.outcome(both) == "wrong_audience audience_ambiguous"


# --- what comes out ---------------------------------------------------------------------------------------------------


@in_loop
async def test_nobody_can_change_what_the_next_request_gets() -> None:
    setting = Setting()
    token = setting.issuer.token(permissions=["read:orders"], deep={"list": [{"of": ["things"]}]}, act={"sub": "agent"})
    read = await setting.validator.validate(token)
    mutations: list[Callable[[], object]] = [
        lambda: setattr(read, "subject", "admin"),
        lambda: setattr(read, "anything", "new"),
        lambda: setattr(read.grants, "effective", frozenset({"admin"})),
        lambda: read.claims.update(sub="admin"),  # type: ignore[attr-defined]
        lambda: read.claims["permissions"].append("admin"),  # type: ignore[attr-defined]
        lambda: read.claims["deep"].update(x=1),  # type: ignore[attr-defined]
        lambda: read.claims["deep"]["list"].append(1),  # type: ignore[index]
        lambda: read.claims["deep"]["list"][0].pop("of"),  # type: ignore[index]
        lambda: read.claims["deep"]["list"][0]["of"].append(1),  # type: ignore[index]
        lambda: read.grants.permissions.add("admin"),  # type: ignore[attr-defined]
        lambda: read.audience.append("more"),  # type: ignore[attr-defined]
    ]
    for mutate in mutations:
        with pytest.raises((AttributeError, TypeError)):
            mutate()
    mutable = [item for item in reachable(read) if isinstance(item, list | set | bytearray)]
    assert mutable == []
    assert await setting.validator.validate(token) is read


# --- several loops ----------------------------------------------------------------------------------------------------


def test_loops_in_several_threads_share_a_cache() -> None:
    issuer = LocalIssuer(algorithm="ES256", clock=lambda: NOW)
    keys = StaticJWKS(issuer.jwks())
    validator = AccessTokenValidator([issuer.trusted(keys=keys, algorithms=ES256)], max_cached_tokens=20)
    validator._clock = lambda: NOW
    tokens = {issuer.token(subject=f"auth0|{number}"): f"auth0|{number}" for number in range(40)}
    wrong: list[object] = []

    async def validate_all(turn: int) -> None:
        for shift in range(10):
            for token, subject in [*tokens.items()][(turn + shift) % 7 :: 1 + turn % 3]:
                read = await validator.validate(token)
                if read.subject != subject:
                    wrong.append(read)
                if turn == 0:
                    validator._cache.drop(lambda entry: entry.token.subject.endswith("3"))
                validator._cache.discard(digest_of(token)) if turn == 1 else None

    def run(turn: int) -> None:
        try:
            asyncio.run(validate_all(turn))
        except Exception as error:  # noqa: BLE001 - told by the thread that asserts
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(turn,)) for turn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    assert len(validator._cache) <= 20
    assert validator._cache.size == sum(sizes(validator._cache).values())


def test_the_store_is_touched_under_its_lock_only() -> None:
    cache = VerifiedTokens(2, 100)
    held: list[bool] = []

    class Watched(LRUCache[bytes, VerifiedToken]):
        def __getitem__(self, *args: Any) -> Any:
            held.append(cache._lock.locked())
            return super().__getitem__(*args)

        def __setitem__(self, *args: Any) -> None:
            held.append(cache._lock.locked())
            super().__setitem__(*args)

        def __delitem__(self, *args: Any) -> None:
            held.append(cache._lock.locked())
            super().__delitem__(*args)

    cache._entries = Watched(100, getsizeof=lambda held: held.size)
    for name in (b"a", b"b", b"c"):  # the third pushes the first out
        cache.put(name, entry(1))
        cache.get(name)
    cache.discard(b"b")
    cache.drop(lambda held: True)
    assert len(held) >= 9
    assert all(held)
    assert not cache._lock.locked()


def test_one_validator_serves_several_loops_in_turn() -> None:
    setting = Setting()
    token = setting.issuer.token()
    first = asyncio.run(setting.validator.validate(token))
    assert asyncio.run(setting.validator.validate(token)) is first


# --- the store --------------------------------------------------------------------------------------------------------

KEY, OTHER = (VerificationKey.from_jwk(SigningKey("ES256", kid="k").jwk()) for _ in range(2))
TOKEN = AccessToken(
    issuer="https://issuer.test/", subject="jo", client_id=None, audience=(), expires_at=0, issued_at=0, token_id=None,
    tenant=None, actor=None, dialect="rfc9068", is_machine=False, claims={}, grants=GrantSet(rule=GrantRule.SCOPES),
)  # fmt: skip
TRUSTED = TrustedIssuer("https://issuer.test/", "api")


def entry(size: int, key: VerificationKey = KEY) -> VerifiedToken:
    return VerifiedToken(TOKEN, TRUSTED, "k", key, 0, size)


def test_the_least_used_goes_first() -> None:
    cache = VerifiedTokens(3, 1000)
    for name in (b"a", b"b", b"c"):
        cache.put(name, entry(1))
    assert cache.get(b"a") is not None
    cache.put(b"d", entry(1))
    assert [name for name in (b"a", b"b", b"c", b"d") if cache.get(name)] == [b"a", b"c", b"d"]
    cache.put(b"c", entry(1))  # again: nobody has to go
    assert len(cache) == 3


def test_the_length_of_all_tokens_is_bounded() -> None:
    cache = VerifiedTokens(100, 10)
    for name, size in [(b"a", 4), (b"b", 4), (b"c", 2)]:
        cache.put(name, entry(size))
    assert cache.size == 10
    cache.put(b"d", entry(5))
    assert [name for name in (b"a", b"b", b"c", b"d") if cache.get(name)] == [b"c", b"d"]
    assert cache.size == 7


def test_what_alone_is_too_long_pushes_nobody_out() -> None:
    cache = VerifiedTokens(100, 10)
    cache.put(b"a", entry(10))
    cache.put(b"b", entry(11))
    assert cache.get(b"a") is not None
    assert cache.get(b"b") is None


def test_the_defaults_are_ten_thousand_tokens_and_sixteen_mebibytes() -> None:
    cache = VerifiedTokens()
    for number in range(10_001):
        cache.put(str(number).encode(), entry(1))
    assert (len(cache), cache.get(b"0")) == (10_000, None)
    for number in range(20):
        cache.put(str(number).encode(), entry(1024 * 1024))
    assert cache.size <= 16 * 1024 * 1024
    assert len(cache) == 16


def test_tokens_are_forgotten_one_by_one_and_by_what_they_rest_on() -> None:
    cache = VerifiedTokens(10, 1000)
    for number in range(6):
        cache.put(bytes([number]), entry(1, OTHER if number % 2 else KEY))
    cache.discard(bytes([0]))
    cache.discard(b"nobody")
    assert (len(cache), cache.size) == (5, 5)
    cache.drop(lambda held: held.key == OTHER)
    assert (len(cache), cache.size) == (2, 2)


def sizes(cache: VerifiedTokens) -> dict[bytes, int]:
    """Return what is in the store, without using it: the mapping's own methods would."""
    return {name: Cache.__getitem__(cache._entries, name).size for name in cache._entries}


def test_forgetting_leaves_the_order_of_use() -> None:
    cache = VerifiedTokens(3, 1000)
    for name in (b"a", b"b", b"c"):
        cache.put(name, entry(1))
    cache.get(b"a")
    cache.drop(lambda held: held.size > 1)
    cache.put(b"d", entry(1))
    assert set(sizes(cache)) == {b"a", b"c", b"d"}


class Model:
    """The store as one would write it without caring for speed."""

    def __init__(self, max_tokens: int, max_bytes: int) -> None:
        self.max_tokens, self.max_bytes = max_tokens, max_bytes
        self.entries: OrderedDict[bytes, int] = OrderedDict()

    def get(self, name: bytes) -> int | None:
        if name in self.entries:
            self.entries.move_to_end(name)
        return self.entries.get(name)

    def put(self, name: bytes, size: int) -> None:
        if size > self.max_bytes:
            return
        self.entries.setdefault(name, 0)
        grows = size > self.entries[name]
        self.entries.move_to_end(name)
        while len(self.entries) > self.max_tokens:
            self.entries.popitem(last=False)
        self.entries[name] = size
        while grows and sum(self.entries.values()) > self.max_bytes:
            self.entries.popitem(last=False)


@given(
    st.integers(1, 5),
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["get", "put", "discard"]), st.binary(max_size=1), st.integers(1, 22))),
)
def test_the_store_is_what_its_model_says(max_tokens: int, max_bytes: int, steps: list[tuple[str, bytes, int]]) -> None:
    cache, model = VerifiedTokens(max_tokens, max_bytes), Model(max_tokens, max_bytes)
    for step, name, size in steps:
        if step == "get":
            held = cache.get(name)
            assert (None if held is None else held.size) == model.get(name)
        elif step == "put":
            cache.put(name, entry(size))
            model.put(name, size)
        else:
            cache.discard(name)
            model.entries.pop(name, None)
        assert sizes(cache) == model.entries
        assert len(cache) <= max_tokens
        assert cache.size == sum(model.entries.values()) <= max_bytes


@pytest.mark.parametrize("name", ["max_cached_tokens", "max_cached_bytes"])
@pytest.mark.parametrize("value", [-1, 1.5, "100", None, True, False, float("inf"), [1]])
def test_bounds_are_whole_numbers(name: str, value: Any) -> None:
    says = f"{name} is a whole number, 0 or more; 0 switches the cache off"
    with pytest.raises(ConfigurationError) as caught:
        AccessTokenValidator([TRUSTED], **{name: value})
    assert caught.value.faults == (says,)
    with pytest.raises(ConfigurationError, match="0 switches the cache off"):
        AuthzMiddleware(Starlette(), issuers=[TRUSTED], **{name: value})
