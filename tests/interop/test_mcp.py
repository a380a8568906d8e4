"""The MCP SDK's client, a real authorization server, and an MCP server of ours: refused, logged in, stepped up.

The client is told who it is and where the MCP server is; where to log in, for which resource and which scopes it finds
out. Only the user is played, who logs in and consents.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from authz_middleware import AuthzMiddleware, TrustedIssuer, authenticated, requires
from authz_middleware.mcp import streamable_http_app, token_verifier

from .api import served
from .authorization_server import CALLBACK, RESOURCES, AuthorizationServer

pytestmark = pytest.mark.interop

HOST = urlsplit(RESOURCES).netloc
USER = "auth0|jo"  # permitted read:orders and ship:orders, where a token carries permissions


def orders_server(**auth: object) -> MCPServer:
    server = MCPServer("Orders", **auth)  # type: ignore[arg-type]

    @server.tool()
    @authenticated
    async def list_orders() -> str:
        return "none"

    @server.tool()
    @requires("ship:orders")
    async def ship_order() -> str:
        return "shipped"

    @server.tool()
    @requires("write:orders")
    async def write_order() -> str:
        return "written"

    return server


def behind_middleware(trusted: TrustedIssuer, resource: str) -> Starlette:
    server = orders_server()
    return Starlette(
        routes=[Mount("/", app=requires("read:orders")(_application(server, resource)))],
        middleware=[Middleware(AuthzMiddleware, issuers=[trusted], resource=resource)],
        lifespan=lambda _: server.session_manager.run(),
    )


def with_the_sdk(trusted: TrustedIssuer, resource: str) -> Starlette:
    settings = {
        "issuer_url": trusted.issuer,
        "resource_server_url": resource,
        "required_scopes": ["read:orders"],
        "validate_token_resource": True,
    }
    auth = AuthSettings.model_validate(settings)
    return _application(orders_server(auth=auth, token_verifier=token_verifier([trusted])), resource)


def _application(server: MCPServer, resource: str) -> Starlette:
    security = TransportSecuritySettings(allowed_hosts=[HOST])
    return streamable_http_app(server, streamable_http_path=urlsplit(resource).path, transport_security=security)


@pytest.fixture(params=[behind_middleware, with_the_sdk], ids=lambda way: way.__name__)
def app(request: pytest.FixtureRequest, authorization_server: AuthorizationServer, resource: str) -> Starlette:
    dialect = resource.removeprefix(RESOURCES).partition("/")[0]
    trusted = TrustedIssuer(
        authorization_server.issuer,
        resource,
        dialects=[dialect],
        third_party_clients={"partner"},
        rbac_enforced=True,
    )
    application: Starlette = request.param(trusted, resource)
    return application


@dataclass
class User:
    """Logs in and consents, wherever the client sends the browser. Also what the client keeps: its id, its tokens."""

    client: OAuthClientInformationFull
    asked: list[dict[str, str]] = field(default_factory=list)
    tokens: OAuthToken | None = None
    answer: dict[str, str] = field(default_factory=dict)

    async def log_in(self, url: str) -> None:
        """Follow an authorization URL as a browser does, to the client's callback."""
        self.asked.append(_query(url))
        login = {"prompt": "login", "login": USER, "password": "any"}
        async with httpx.AsyncClient(base_url=httpx.URL(url).join("/"), timeout=20) as browser:
            after_login = _location(await browser.post(_location(await browser.get(url)), data=login))
            consent = _location(await browser.get(after_login))
            after_consent = _location(await browser.post(consent, data={"prompt": "consent"}))
            self.answer = _query(_location(await browser.get(after_consent)))

    async def code(self) -> AuthorizationCodeResult:
        """Hand over what the authorization server said at the callback."""
        return AuthorizationCodeResult.model_validate(self.answer)

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError("the client is registered already")


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def _location(response: httpx.Response) -> str:
    assert response.is_redirect, response.text
    return str(response.headers["location"])


class Resolver(httpx2.AsyncHTTPTransport):
    """Sends what is meant for the API's host to where it is served."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = httpx2.URL(url)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme=self._url.scheme, host=self._url.host, port=self._url.port)
        return await super().handle_async_request(request)


@asynccontextmanager
async def connected(url: str, resource: str, client_id: str, era: str) -> AsyncIterator[tuple[Client, User]]:
    """Connect the SDK's client to the application served at `url`, under its own name."""
    user = User(
        OAuthClientInformationFull(
            client_id=client_id, redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none"
        )
    )
    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none")
    provider = OAuthClientProvider(resource, metadata, user, user.log_in, user.code)
    async with (
        asyncio.timeout(60),
        httpx2.AsyncClient(auth=provider, mounts={f"https://{HOST}": Resolver(url)}, timeout=20) as http,
        Client(streamable_http_client(resource, http_client=http), mode=era) as client,
    ):
        yield client, user


@pytest.mark.parametrize("era", ["legacy", "auto"])
@pytest.mark.parametrize("resource", [f"{RESOURCES}rfc9068/RS256"])
def test_the_client_finds_its_way_to_a_token_and_steps_up(app: Starlette, resource: str, era: str) -> None:
    async def test(url: str) -> None:
        async with connected(url, resource, "app", era) as (client, user):
            assert [tool.name for tool in (await client.list_tools()).tools] == [
                "list_orders",
                "ship_order",
                "write_order",
            ]
            assert [(one["resource"], one["scope"]) for one in user.asked] == [(resource, "read:orders")]
            assert not (await client.call_tool("list_orders")).is_error
            assert not (await client.call_tool("write_order")).is_error  # refused, logged in again, and done
            assert [one["scope"] for one in user.asked[1:]] == ["read:orders write:orders"]
            assert not (await client.call_tool("list_orders")).is_error
            assert len(user.asked) == 2

    with served(app) as url:
        asyncio.run(test(url))


@pytest.mark.parametrize("resource", [f"{RESOURCES}rfc9068_profile_authz/RS256"])
def test_no_consent_gives_a_third_party_client_what_the_user_may_not_do(app: Starlette, resource: str) -> None:
    async def test(url: str) -> None:
        async with connected(url, resource, "partner", "auto") as (client, user):
            assert not (await client.call_tool("list_orders")).is_error
            with pytest.raises(MCPError) as refused:
                await client.call_tool("write_order")
            assert refused.value.error.data["required"] == [["write:orders"]]
            assert "write:orders" in user.asked[-1]["scope"]  # it asked, and the user consented: to no avail
            assert not (await client.call_tool("ship_order")).is_error  # this the user may
            assert not (await client.call_tool("list_orders")).is_error

    with served(app) as url:
        asyncio.run(test(url))
