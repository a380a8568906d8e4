"""`as_caller`: endpoint functions called directly, decided for as somebody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket

from authz_middleware import (
    AccessToken,
    ConfigurationError,
    access_token,
    authenticated,
    authorize,
    public,
    requires,
    requires_permissions,
)
from authz_middleware.binding import current_context
from authz_middleware.errors import InsufficientScope, MissingToken
from authz_middleware.testing import LocalIssuer, SigningKey, as_caller
from tests.keys.helpers import in_loop

ISSUER = LocalIssuer(key=SigningKey("ES256"))
JO = ISSUER.access_token(permissions=["read:orders"])
KIM = ISSUER.access_token(permissions=["write:orders"], subject="auth0|kim")


@requires("read:orders")
async def list_orders(limit: int = 3) -> list[int]:
    return list(range(limit))


@requires("read:orders")
def count_orders() -> int:
    return 3


@requires("read:orders")
def each_order() -> Iterator[int]:
    yield from range(3)


@requires("read:orders")
async def each_order_at_leisure() -> AsyncIterator[int]:
    for number in range(3):
        yield number


@authenticated
async def me(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.identity)


@public
async def healthz() -> str:
    return "fine"


async def collect(items: AsyncIterator[int]) -> list[int]:
    return [item async for item in items]


def request_of(scope: Any, **more: Any) -> Request:
    return Request({"type": "http", "headers": [], **more, **scope})


# --- functions of every kind ------------------------------------------------------------------------------------------


@in_loop
async def test_who_is_entitled_gets_an_answer() -> None:
    with as_caller(JO):
        assert await list_orders(limit=2) == [0, 1]
        assert count_orders() == 3
        assert list(each_order()) == [0, 1, 2]
        assert await collect(each_order_at_leisure()) == [0, 1, 2]
        assert await healthz() == "fine"


@in_loop
@pytest.mark.parametrize(
    ("caller", "error"), [(KIM, InsufficientScope), (None, MissingToken)], ids=["kim", "anonymous"]
)
async def test_who_is_not_is_refused_by_an_exception(caller: AccessToken | None, error: type[Exception]) -> None:
    with as_caller(caller):
        with pytest.raises(error):
            await list_orders()
        with pytest.raises(error):
            count_orders()
        with pytest.raises(error):
            list(each_order())
        with pytest.raises(error):
            await collect(each_order_at_leisure())
        assert await healthz() == "fine"


def test_a_loop_of_its_own_sees_the_caller_too() -> None:
    with as_caller(JO):
        assert asyncio.run(list_orders()) == [0, 1, 2]


def test_a_refusal_says_what_would_do() -> None:
    @requires_permissions("delete:orders")
    def delete_order() -> None:
        pytest.fail("it was refused")

    with as_caller(JO), pytest.raises(InsufficientScope) as caught:
        delete_order()
    assert (caught.value.required, caught.value.scope) == ((("delete:orders",),), ("delete:orders",))
    with as_caller(None), pytest.raises(MissingToken) as missing:
        delete_order()
    assert missing.value.scope == ("delete:orders",)


# --- functions that take a request ------------------------------------------------------------------------------------


@in_loop
async def test_what_it_yields_makes_a_request() -> None:
    with as_caller(JO) as scope:
        request = request_of(scope, path="/me")
        assert (await me(request)).body == b"https://issuer.test/#auth0|jo"
        assert request.auth.token is JO
        assert request.auth.scopes == ["read:orders"]
        assert await access_token(request) is JO
        await authorize(request, "read:orders")
        with pytest.raises(InsufficientScope):
            await authorize(request, "write:orders")
        websocket = WebSocket({"type": "websocket", **scope}, receive=None, send=None)  # type: ignore[arg-type]
        assert await access_token(websocket) is JO


def test_path_parameters_are_those_given() -> None:
    with as_caller(JO, path_params={"number": 7}) as scope:
        assert request_of(scope).path_params == {"number": 7}
    with as_caller(JO) as scope:
        assert request_of(scope).path_params == {}


@in_loop
async def test_an_anonymous_request_has_nobody() -> None:
    with as_caller(None) as scope:
        request = request_of(scope)
        assert not request.user.is_authenticated
        assert request.auth.token is None
        with pytest.raises(MissingToken):
            await me(request)


# --- how long it lasts ------------------------------------------------------------------------------------------------


def test_callers_nest_and_end() -> None:
    with as_caller(JO):
        with as_caller(KIM):
            assert current_context().token is KIM
            with pytest.raises(InsufficientScope):
                count_orders()
        assert count_orders() == 3
    with pytest.raises(
        ConfigurationError, match=r"in a test, call it within authz_middleware\.testing\.as_caller\(…\)$"
    ):
        count_orders()


def test_a_caller_ends_with_an_exception_too() -> None:
    with pytest.raises(RuntimeError), as_caller(JO):
        raise RuntimeError
    with pytest.raises(ConfigurationError):
        current_context()


def test_a_request_kept_for_later_is_nobody_s() -> None:
    with as_caller(JO) as scope:
        request, late = request_of(scope), each_order()
    with pytest.raises(ConfigurationError):
        asyncio.run(me(request))
    with pytest.raises(ConfigurationError):
        list(late)


# --- slips ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slip", [ISSUER.token(), ISSUER.headers(), ISSUER, "auth0|jo", ISSUER.claims()])
def test_only_a_validated_token_is_a_caller(slip: Any) -> None:
    with pytest.raises(ConfigurationError) as caught, as_caller(slip):
        pytest.fail("who is this?")
    assert 'write as_caller(issuer.access_token(permissions=["read:orders"]))' in str(caught.value)
    assert "eyJ" not in str(caught.value)
