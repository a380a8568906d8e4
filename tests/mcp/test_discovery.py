"""From a refusal to a token: the SDK's client finds the authorization server, and asks for the scope that is lacking.

`interop/test_mcp.py` does the same with a real authorization server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx2
import pytest
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
    get_client_metadata_scopes,
    handle_protected_resource_response,
    union_scopes,
)
from mcp.shared.auth import ProtectedResourceMetadata
from mcp.shared.auth_utils import check_resource_allowed
from starlette.applications import Starlette

from .serving import ISSUER, METADATA, NEEDED, RESOURCE, WAYS, Build, behind_middleware, run, trusted, visit


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def app(request: pytest.FixtureRequest) -> Starlette:
    build: Build = request.param
    return build(trusted())


def asked(app: Starlette, test: Callable[[httpx2.AsyncClient], Awaitable[None]]) -> None:
    async def with_client() -> None:
        transport = httpx2.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport) as http:
            await test(http)

    run(with_client)


async def discover(http: httpx2.AsyncClient, refused: httpx2.Response) -> ProtectedResourceMetadata:
    """Take the SDK client's steps from a refusal to the metadata of the resource; the first URL must do."""
    urls = build_protected_resource_metadata_discovery_urls(extract_resource_metadata_from_www_auth(refused), RESOURCE)
    assert urls[0] == METADATA
    metadata = await handle_protected_resource_response(await http.get(urls[0]))
    assert metadata is not None
    return metadata


def test_a_refused_client_finds_the_authorization_server(app: Starlette) -> None:
    async def test(http: httpx2.AsyncClient) -> None:
        refused = await http.post(RESOURCE)
        assert refused.status_code == 401
        metadata = await discover(http, refused)
        assert str(metadata.resource) == RESOURCE
        assert check_resource_allowed(requested_resource=RESOURCE, configured_resource=str(metadata.resource))
        assert [str(url) for url in metadata.authorization_servers] == [ISSUER.issuer]
        assert metadata.bearer_methods_supported == ["header"]
        (server,) = metadata.authorization_servers
        assert build_oauth_authorization_server_metadata_discovery_urls(str(server), RESOURCE) == [
            f"{ISSUER.issuer}.well-known/oauth-authorization-server",
            f"{ISSUER.issuer}.well-known/openid-configuration",
        ]

    asked(app, test)


def test_a_client_that_guesses_finds_it_too(app: Starlette) -> None:
    async def test(http: httpx2.AsyncClient) -> None:
        first, *_ = build_protected_resource_metadata_discovery_urls(None, RESOURCE)
        assert (await http.get(first)).json()["resource"] == RESOURCE

    asked(app, test)


def test_a_client_without_a_token_asks_for_the_scope_of_the_server(app: Starlette) -> None:
    """Named in the challenge by the middleware, in the metadata by both."""

    async def test(http: httpx2.AsyncClient) -> None:
        refused = await http.post(RESOURCE)
        metadata = await discover(http, refused)
        assert metadata.scopes_supported == [NEEDED]
        assert get_client_metadata_scopes(extract_scope_from_www_auth(refused), metadata) == NEEDED

    asked(app, test)


def test_the_middleware_names_the_scope_in_the_challenge() -> None:
    async def test(http: httpx2.AsyncClient) -> None:
        for headers in ({}, ISSUER.headers(expires_in=-3600), ISSUER.headers(permissions=[])):
            assert extract_scope_from_www_auth(await http.post(RESOURCE, headers=headers)) == NEEDED

    asked(behind_middleware(trusted()), test)


def test_a_client_whose_token_lacks_a_tools_grant_asks_for_that_besides(app: Starlette) -> None:
    async def test() -> None:
        async with visit(app, ISSUER.headers(permissions=[NEEDED])) as visitor:
            refused = (await visitor.call("delete", number=1)).answer
            assert refused.status_code == 403
            metadata = await discover(visitor.http, refused)
            lacking = get_client_metadata_scopes(extract_scope_from_www_auth(refused), metadata)
            assert union_scopes(NEEDED, lacking) == f"{NEEDED} delete:notes"

    run(test)


def test_a_page_of_any_origin_may_read_the_metadata(app: Starlette) -> None:
    async def test(http: httpx2.AsyncClient) -> None:
        answer = await http.get(METADATA, headers={"Origin": "https://inspector.test"})
        assert answer.headers["access-control-allow-origin"] == "*"

    asked(app, test)
