"""What handlers call: `authorize` decides at once, so that a forgotten `await` opens nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest
from fastapi import Request as FastAPIRequest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from authz_middleware import ConfigurationError, authenticated, authorize, policy
from authz_middleware.errors import InsufficientScope
from authz_middleware.owing import OwedDecision, Owing
from authz_middleware.testing import LocalIssuer, as_caller

from .apps import client, expect_forbidden, expect_ok, starlette_app


def holding(issuer: LocalIssuer, *permissions: str) -> dict[str, str]:
    return issuer.headers(scope="openid", permissions=permissions)


def owns(request: policy.AccessRequest) -> bool:
    return request.headers.get("x-owner") == "yes"


async def owns_later(request: policy.AccessRequest) -> bool:
    await asyncio.sleep(0)
    return owns(request)


def test_a_forgotten_await_opens_nothing(issuer: LocalIssuer) -> None:
    @authenticated
    async def forgetful(request: Request) -> Response:
        authorize(request, "x")  # that is the test
        return PlainTextResponse("ran")

    asked = client(starlette_app(issuer, Route("/", forgetful)))
    expect_forbidden(asked.get("/", headers=holding(issuer)), "x")
    expect_ok(asked.get("/", headers=holding(issuer, "x")), "ran")


@pytest.mark.parametrize(("owner", "status"), [("yes", 200), ("no", 403)])
def test_a_sync_handler_calls_it_without_await(issuer: LocalIssuer, owner: str, status: int) -> None:
    @authenticated
    def plain(request: Request) -> Response:
        authorize(request, "x")
        authorize(request, policy.check(owns))
        return PlainTextResponse("ran")

    asked = client(starlette_app(issuer, Route("/", plain)))
    expect_forbidden(asked.get("/", headers={**holding(issuer), "x-owner": owner}), "x")
    assert asked.get("/", headers={**holding(issuer, "x"), "x-owner": owner}).status_code == status


def test_an_async_check_is_not_met_where_nothing_can_be_waited_for(issuer: LocalIssuer) -> None:
    @authenticated
    def plain(request: Request) -> Response:
        authorize(request, policy.check(owns_later))
        raise NotImplementedError

    headers = {**holding(issuer), "x-owner": "yes"}
    assert client(starlette_app(issuer, Route("/", plain))).get("/", headers=headers).status_code == 403


@pytest.mark.parametrize("function", [owns, owns_later])
@pytest.mark.parametrize(("owner", "status"), [("yes", 200), ("no", 403)])
def test_a_check_is_run_when_it_is_awaited(issuer: LocalIssuer, function: Any, owner: str, status: int) -> None:
    @authenticated
    async def handler(request: Request) -> Response:
        await authorize(request, policy.check(function))
        return PlainTextResponse("ran")

    headers = {**holding(issuer), "x-owner": owner}
    assert client(starlette_app(issuer, Route("/", handler))).get("/", headers=headers).status_code == status


def test_what_is_decided_can_be_used_as_any_coroutine(issuer: LocalIssuer) -> None:
    with as_caller(issuer.access_token(permissions=["x"])) as scope:
        request = FastAPIRequest({"type": "http", "headers": [], **scope})

        async def both() -> None:
            await asyncio.gather(authorize(request, "x"), asyncio.ensure_future(authorize(request, "x")))

        asyncio.run(both())
        decided = cast("Coroutine[Any, Any, None]", authorize(request, "x"))
        decided.close()
        with pytest.raises(StopIteration):
            decided.send(None)
        with pytest.raises(KeyError):
            decided.throw(KeyError("thrown in"))
        with pytest.raises(InsufficientScope):
            authorize(request, "y")


def test_what_is_still_to_be_decided_is_owed_until_somebody_awaits_it() -> None:
    owing, made = Owing(), []

    async def decide() -> None:
        made.append(1)

    owed = OwedDecision(owing, decide())
    owed.close()
    with pytest.raises(ConfigurationError, match="was not awaited"):
        owing.check(has_begun=False)
    owing.check(has_begun=True)  # somebody still holds it
    del owed
    with pytest.raises(ConfigurationError, match="was not awaited"):
        owing.check(has_begun=True)
    owing.settle()
    asyncio.run(await_it(OwedDecision(owing, decide())))
    owing.check(has_begun=False)
    assert made == [1]


async def await_it(owed: OwedDecision) -> None:
    await owed
