"""What an application writes, and every type checker must accept. A test starts the applications, too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Annotated, assert_type

import httpx
import httpx2
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp

from authz_middleware import (
    AccessToken,
    AccessTokenValidator,
    AuthzMiddleware,
    TrustedIssuer,
    access_token,
    authenticated,
    authorize,
    policy,
    public,
    requires,
    requires_permissions,
    requires_scopes,
)
from authz_middleware.errors import Code, InvalidToken, KeysUnavailable
from authz_middleware.fastapi import FASTAPI_DOCS
from authz_middleware.keys import Fetched, KeySettings, StaticJWKS
from authz_middleware.observe import RequestDecision
from authz_middleware.policy import Policy
from authz_middleware.testing import Attack, LocalIssuer, as_caller, attack_suite, trust

# --- policies ---------------------------------------------------------------------------------------------------------

READ = policy.scope("read:orders")
assert_type(READ & policy.permission("approve orders") | policy.role("manager"), Policy)
assert_type("read:orders" | READ, Policy)
assert_type(READ & "write:orders", Policy)
assert_type(policy.any_of("a", READ, policy.all_of("b", "c")), Policy)

requires("a")
requires("a", "b", READ)
requires(READ | policy.role("manager"))
requires_scopes("a", "b")
requires_permissions("a", "b")


# --- decorators keep what they decorate -------------------------------------------------------------------------------


@requires("read:orders")
def listed(number: int, /, *, limit: int = 10) -> list[int]:
    return [number] * limit


@requires_scopes("read:orders")
async def read(number: int) -> str:
    return str(number)


@requires_permissions("read:orders")
def streamed() -> Iterator[int]:
    yield 1


@authenticated
async def events(start: int) -> AsyncIterator[str]:
    yield str(start)


@public
async def healthz(request: Request) -> Response:
    return JSONResponse({})


@authenticated
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()


@requires("orders")
class Orders(HTTPEndpoint):
    @requires("read:orders")
    async def get(self, request: Request) -> Response:
        return JSONResponse({"for": await self.owner()})

    async def owner(self) -> str:
        return "jo"


@requires("chat")
class Chat(WebSocketEndpoint):
    encoding = "text"


async def calls(request: Request) -> None:
    assert_type(listed(1, limit=2), list[int])
    assert_type(await read(1), str)
    assert_type(list(streamed()), list[int])
    assert_type([text async for text in events(1)], list[str])
    assert_type(await healthz(request), Response)
    assert_type(await Orders(request.scope, request.receive, request._send).owner(), str)


# --- the token --------------------------------------------------------------------------------------------------------


async def reads(request: Request, token: AccessToken) -> None:
    assert_type(await access_token(request), AccessToken)
    assert_type(await authorize(request, READ), None)
    assert_type(await authorize(request, "read:orders"), None)
    assert_type(token.subject, str)
    assert_type(token.client_id, str | None)
    assert_type(token.audience, tuple[str, ...])
    assert_type(token.expires_at, float)
    assert_type(token.is_machine, bool)
    assert_type(token.identity, tuple[str, str])
    assert_type(token.grants.scopes, frozenset[str])
    assert_type("read:orders" in token.grants, bool)
    assert_type([grant.value for grant in token.grants], list[str])
    assert_type(token.claims["sub"], object)


def reads_in_a_thread(request: Request) -> None:
    authorize(request, "read:orders")  # a sync handler has nothing to await with


# --- FastAPI ----------------------------------------------------------------------------------------------------------

Caller = Annotated[AccessToken, Depends(access_token)]
Reader = Annotated[AccessToken, Security(requires("read:orders"))]
Visitor = Annotated[AccessToken | None, Security(public)]

router = APIRouter(prefix="/orders", dependencies=[Security(requires("orders")), Depends(authenticated)])


@router.get("/")
@requires("list:orders")
async def list_orders(token: Caller, limit: int = 10) -> list[str]:
    assert_type(token, AccessToken)
    return [token.subject] * limit


@router.get("/{number}")
def read_order(number: int, token: Reader) -> str:
    assert_type(token.subject, str)
    return token.subject


@router.get("/lines")
async def lines(token: Reader) -> AsyncIterator[str]:
    yield token.subject


async def visit(token: Visitor, again: AccessToken | None = Depends(access_token)) -> str:  # noqa: B008
    assert_type(token, AccessToken | None)
    return "nobody" if token is None or again is None else token.subject


# --- issuers and the middleware ---------------------------------------------------------------------------------------

plain = TrustedIssuer("https://login.example.com", "https://orders.example.com")
several = TrustedIssuer("https://login.example.com", audience=["https://a.example.com", "https://b.example.com"])
tenant = TrustedIssuer.auth0(
    "acme.eu.auth0.com",
    audience="https://orders.acme.example/",
    dialects=["rfc9068_profile_authz"],
    third_party_clients={"partner-app"},
    rbac_enforced=True,
    tenants=["org_1"],
    roles_claims=["https://acme.example/roles", ("realm", "roles")],
    leeway=10,
)
assert_type(tenant, TrustedIssuer)


class Cached:
    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        return Fetched(200, {}, b"")


async def fetch(url: str, headers: Mapping[str, str]) -> Fetched:
    return Fetched(200, {}, b"")


async def is_revoked(token: AccessToken) -> bool:
    return token.token_id is None


def clients(own: httpx.AsyncClient, successor: httpx2.AsyncClient) -> list[TrustedIssuer]:
    settings = KeySettings(outage_tolerance=600, allowed_hosts={"keys.example.com"})
    return [
        TrustedIssuer("https://login.example.com", "a", fetch=own, key_settings=settings),
        TrustedIssuer("https://login.example.com", "a", fetch=httpx.AsyncClient(proxy="http://localhost:8080")),
        TrustedIssuer("https://login.example.com", "a", fetch=successor),
        TrustedIssuer("https://login.example.com", "a", fetch=httpx2.AsyncClient(timeout=1)),
        TrustedIssuer.auth0("acme.eu.auth0.com", "a", fetch=successor, key_settings=settings),
        TrustedIssuer("https://login.example.com", "a", fetch=fetch),
        TrustedIssuer("https://login.example.com", "a", fetch=Cached()),
        TrustedIssuer("https://login.example.com", "a", keys=StaticJWKS.from_file("jwks.json")),
    ]


def count(decision: RequestDecision) -> None:
    assert_type(decision.allowed, bool)
    assert_type(decision.token, AccessToken | None)
    assert_type(decision.why, str)


fastapi_app = FastAPI(dependencies=[Security(requires("api"))])
fastapi_app.include_router(router, dependencies=[Security(requires_scopes("orders"))])
fastapi_app.get("/visit", dependencies=[Security(public)])
fastapi_app.dependency_overrides[requires("api")] = lambda: None
fastapi_app.add_middleware(
    AuthzMiddleware,
    issuers=[plain],
    public_paths=FASTAPI_DOCS,
    undecorated="authenticated",
    realm="orders",
    on_decision=count,
    enforce=False,
    revoked=lambda token: token.token_id == "stolen",
    warm_up="try",
)
admin = Starlette(routes=[Route("/", healthz)])
assert_type(requires("admin")(admin), ASGIApp)
assert_type(public(Router([Route("/", healthz)])), ASGIApp)
starlette_app = Starlette(
    routes=[
        Route("/healthz", healthz),
        Route("/orders", Orders),
        WebSocketRoute("/talk", talk),
        WebSocketRoute("/chat", Chat),
        Mount("/admin", app=requires("admin")(admin)),
    ],
    middleware=[Middleware(AuthzMiddleware, issuers=(tenant,), resource="https://orders.acme.example/")],
)


async def without_a_framework(text: str) -> AccessToken | None:
    try:
        by = AccessTokenValidator([plain, tenant], max_token_bytes=32768, max_cached_tokens=0, revoked=is_revoked)
        assert_type(await by.warm_up(), tuple[str, ...])
        assert_type([status.is_usable for _, status in by.status()], list[bool])
        return await by.validate(text)
    except InvalidToken as refused:
        assert_type(refused.code, Code)
    except KeysUnavailable:
        pass
    return None


# --- the testing kit --------------------------------------------------------------------------------------------------


def test_the_kit(issuer: LocalIssuer) -> None:
    assert_type(issuer.headers(permissions=["read:orders"], scope="openid"), dict[str, str])
    assert_type(issuer.headers("rfc9068_profile", scope="read:orders", machine=True, expires_in=-60), dict[str, str])
    assert_type(issuer.trusted(third_party_clients=set()), TrustedIssuer)
    with trust(starlette_app, issuer) as trusted:
        assert_type(trusted, LocalIssuer)
    with as_caller(issuer.access_token(permissions=["read:orders"])):
        assert_type(listed(1), list[int])
    attacks: Callable[[Attack], None] = attack_suite(starlette_app, issuer)
    assert_type(attacks, Callable[[Attack], None])
