"""`revoked=`: asked about every good token, and whatever is no clear answer refuses."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authz_middleware import AccessToken, AccessTokenValidator, AuthzMiddleware, ConfigurationError, authenticated
from authz_middleware.errors import Code, InvalidToken, Reason, Refused, RevocationUnknown
from authz_middleware.revocation import Revoked
from authz_middleware.testing import LocalIssuer

from .calls import called
from .helpers import NOW
from .keys.helpers import in_loop, settle
from .keys.virtual import in_virtual_time, passed

ISSUER = LocalIssuer(algorithm="ES256", clock=lambda: NOW)
TOKEN = ISSUER.token(jti="one")
REVOKED = "revoked revoked"
UNKNOWN = "revocation_unknown revocation_check_failed"
CACHED = pytest.mark.parametrize("cached", [10, 0], ids=["cached", "not cached"])


def validator(revoked: Revoked | None, cached: int = 10) -> AccessTokenValidator:
    trusted = ISSUER.trusted(algorithms=["ES256"])
    return AccessTokenValidator([trusted], revoked=revoked, max_cached_tokens=cached, clock=lambda: NOW)


async def outcome(by: AccessTokenValidator, token: str = TOKEN) -> str:
    """Return the subject of a good token, or code and reason of a refusal."""
    try:
        return (await by.validate(token)).subject
    except Refused as refused:
        return f"{refused.code} {refused.reason}"


class Hook:
    """Answers what it is told to, and remembers what it was asked about."""

    def __init__(self, answer: object = False) -> None:
        self.answer = answer
        self.asked: list[AccessToken] = []

    def __call__(self, token: AccessToken) -> bool:
        self.asked.append(token)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # that is the test


def as_it_is(hook: Hook) -> Revoked:
    return hook


def as_coroutine(hook: Hook) -> Revoked:
    async def ask(token: AccessToken) -> bool:
        await asyncio.sleep(0)
        return hook(token)

    return ask


def as_partial(hook: Hook) -> Revoked:
    return functools.partial(as_coroutine(hook))


def as_awaitable(hook: Hook) -> Revoked:
    def ask(token: AccessToken) -> Awaitable[bool]:
        return asyncio.ensure_future(as_coroutine(hook)(token))  # type: ignore[arg-type]  # it is a coroutine

    return ask


FORMS = pytest.mark.parametrize("form", [as_it_is, as_coroutine, as_partial, as_awaitable])
Form = Callable[[Hook], Revoked]


@CACHED
@FORMS
@in_loop
async def test_it_is_asked_about_every_request(form: Form, cached: int) -> None:
    hook = Hook()
    by = validator(form(hook), cached)
    read = [await by.validate(TOKEN) for _ in range(3)]
    assert hook.asked == read
    assert len(by._cache) == (1 if cached else 0)


@CACHED
@FORMS
@in_loop
async def test_a_revoked_token_is_refused(form: Form, cached: int) -> None:
    hook = Hook(True)
    by = validator(form(hook), cached)
    for _ in range(3):
        assert await outcome(by) == REVOKED
    assert len(hook.asked) == 3
    assert len(by._cache) == 0  # a bad token takes no room


@CACHED
@FORMS
@in_loop
async def test_a_token_seen_before_can_be_revoked_and_be_good_again(form: Form, cached: int) -> None:
    hook = Hook()
    by = validator(form(hook), cached)
    assert await outcome(by) == "auth0|jo"
    hook.answer = True
    assert await outcome(by) == REVOKED
    assert len(by._cache) == 0
    hook.answer = False
    assert await outcome(by) == "auth0|jo"


@CACHED
@FORMS
@pytest.mark.parametrize(
    "answer",
    [None, 0, 1, "", "yes", "no", [], {}, object(), RuntimeError("hush"), OSError(), KeyError("hush")],
    ids=repr,
)
@in_loop
async def test_what_is_no_answer_refuses_as_our_outage(
    form: Form, cached: int, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hook()
    by = validator(form(hook), cached)
    assert await outcome(by) == "auth0|jo"
    hook.answer = answer
    assert await outcome(by) == UNKNOWN
    (record,) = caplog.records
    assert type(answer).__name__ in record.getMessage()
    assert "hush" not in caplog.text
    hook.answer = False
    with called() as calls:
        assert await outcome(by) == "auth0|jo"
    assert calls["authz_middleware._jose.verify"] == (0 if cached else 1)  # an outage is no reason to forget


@FORMS
@in_loop
async def test_a_token_nobody_could_ask_about_is_not_remembered(form: Form) -> None:
    by = validator(form(Hook(None)))
    assert await outcome(by) == UNKNOWN
    assert len(by._cache) == 0


@CACHED
@in_virtual_time
async def test_an_answer_that_does_not_come_is_none(cached: int, caplog: pytest.LogCaptureFixture) -> None:
    answers = asyncio.Event()

    async def hang(token: AccessToken) -> bool:
        await answers.wait()
        return False

    by = validator(hang, cached)
    assert await outcome(by) == UNKNOWN
    assert passed() == 5
    assert "TimeoutError" in caplog.text
    answers.set()
    assert await outcome(by) == "auth0|jo"
    answers.clear()
    assert await outcome(by) == UNKNOWN
    assert passed() == 10


@in_loop
async def test_something_ended_inside_it_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(token: AccessToken) -> bool:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        return await inner

    assert await outcome(validator(ask)) == UNKNOWN
    assert "CancelledError" in caplog.text


@in_loop
async def test_a_request_that_is_given_up_while_it_is_asked_stays_given_up() -> None:
    asked = asyncio.Event()

    async def hang(token: AccessToken) -> bool:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    by = validator(hang)
    request = asyncio.create_task(by.validate(TOKEN))
    await asked.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert len(by._cache) == 0


@in_loop
async def test_requests_do_not_wait_for_each_others_answers() -> None:
    waiting: dict[str | None, asyncio.Event] = {"one": asyncio.Event(), "two": asyncio.Event()}

    async def ask(token: AccessToken) -> bool:
        await waiting[token.token_id].wait()
        return False

    by = validator(ask)
    one, two = (asyncio.create_task(by.validate(ISSUER.token(jti=jti))) for jti in ("one", "two"))
    await settle()
    waiting["two"].set()
    assert (await two).token_id == "two"
    assert not one.done()
    waiting["one"].set()
    await one


@in_loop
async def test_it_is_never_asked_about_a_bad_token() -> None:
    hook = Hook()
    by = validator(hook)
    for token in (
        TOKEN[:-4] + "AAAA",
        "opaque",
        ISSUER.token(expires_in=-60),
        ISSUER.token(aud="another"),
        ISSUER.token(nbf="now"),
    ):
        assert await outcome(by, token) not in {"auth0|jo", UNKNOWN}
    assert hook.asked == []


@in_loop
async def test_it_is_not_asked_about_a_remembered_token_that_has_ended() -> None:
    hook = Hook()
    by = validator(hook)
    await by.validate(TOKEN)
    by._clock = lambda: NOW + 3630
    assert await outcome(by) == "expired expired"
    assert len(hook.asked) == 1


@in_loop
async def test_it_sees_a_token_and_cannot_change_it() -> None:
    def meddle(token: AccessToken) -> bool:
        token.claims["permissions"] = ["admin"]  # type: ignore[index]  # that is the test
        return False

    assert await outcome(validator(meddle)) == UNKNOWN


@pytest.mark.parametrize("answer", [True, None])
@in_loop
async def test_the_refusal_says_how_far_validation_came(answer: object) -> None:
    with pytest.raises(Refused) as caught:
        await validator(Hook(answer)).validate(TOKEN)
    assert (caught.value.issuer, caught.value.dialect) == (ISSUER.issuer, "access_token_authz")
    assert isinstance(caught.value, InvalidToken if answer else RevocationUnknown)
    assert (caught.value.code, caught.value.reason) == (
        (Code.REVOKED, Reason.REVOKED) if answer else (Code.REVOCATION_UNKNOWN, Reason.REVOCATION_CHECK_FAILED)
    )


@pytest.mark.parametrize("value", [True, False, "jti", [TOKEN], {}, 5])
def test_it_is_a_function(value: Any) -> None:
    says = "revoked is a function of one AccessToken, plain or async, that returns a bool"
    with pytest.raises(ConfigurationError) as caught:
        validator(value)
    assert caught.value.faults == (says,)


# --- through the middleware -------------------------------------------------------------------------------------------


@authenticated
async def whoami(request: Request) -> JSONResponse:
    return JSONResponse(request.user.identity)


def client(hook: Hook) -> TestClient:
    app = Starlette(routes=[Route("/", whoami)])
    local = LocalIssuer(algorithm="ES256", key=ISSUER.key)
    app.add_middleware(AuthzMiddleware, issuers=[local.trusted(algorithms=["ES256"])], revoked=hook)
    return TestClient(app, headers=local.headers())


def test_revocation_on_the_wire() -> None:
    hook = Hook()
    api = client(hook)
    assert api.get("/").status_code == 200
    hook.answer = True
    response = api.get("/")
    assert (response.status_code, response.json()["code"]) == (401, "revoked")
    assert response.headers["www-authenticate"] == (
        'Bearer realm="api", error="invalid_token", error_description="The access token has been revoked."'
    )
    hook.answer = OSError()
    response = api.get("/")
    assert (response.status_code, response.json()["code"]) == (503, "revocation_unknown")
    assert response.headers["retry-after"] == "5"
    assert "www-authenticate" not in response.headers
    assert len(hook.asked) == 3


def test_nobody_is_asked_about_the_anonymous() -> None:
    hook = Hook()
    api = client(hook)
    del api.headers["Authorization"]
    assert api.get("/").status_code == 401
    assert hook.asked == []


@CACHED
@in_loop
async def test_a_token_that_expires_while_it_is_asked_has_expired(cached: int) -> None:
    now = [float(NOW)]

    def slow(_: AccessToken) -> bool:
        now[0] += 3600 + 30
        return False

    trusted = ISSUER.trusted(algorithms=["ES256"])
    by = AccessTokenValidator([trusted], revoked=slow, max_cached_tokens=cached, clock=lambda: now[0])
    assert await outcome(by) == "expired expired"


@in_loop
async def test_an_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="authz_middleware")
    hook = Hook()
    by = validator(hook)
    for answer in (OSError("secret"), OSError("secret"), None, True, False, "secret"):
        hook.answer = answer
        await outcome(by)
    assert caplog.messages == [
        "revoked failed with OSError",
        "revoked answers again",
        "revoked returned a str where a bool is due",
    ]
