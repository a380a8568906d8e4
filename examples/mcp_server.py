"""Notes for MCP clients: one server, guarded in two ways. Our middleware does it, or the MCP SDK with our verifier.

Run it: uvicorn --factory examples.mcp_server:behind_middleware
    or: uvicorn --factory examples.mcp_server:with_the_sdk
"""

from __future__ import annotations

from typing import Any

from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from authz_middleware import AuthzMiddleware, TrustedIssuer, authenticated, requires
from authz_middleware.mcp import access_token, authorize, streamable_http_app, token_verifier

RESOURCE = "https://notes.acme.example/mcp"  # where clients find this server, and the audience of their tokens
TENANT = TrustedIssuer.auth0(
    "acme.eu.auth0.com",
    audience=RESOURCE,
    first_party_clients={"acme-desktop"},  # whoever registered itself is third-party
    rbac_enforced=True,
)
HOSTS = TransportSecuritySettings(allowed_hosts=["notes.acme.example", "127.0.0.1:*"])  # a check of the SDK's own
OWNERS = {1: "auth0|jo", 2: "auth0|kim"}


def notes_server(**auth: Any) -> MCPServer:
    """Return the server. Every tool states who may call it; one that says nothing is refused."""
    server = MCPServer("Notes", **auth)

    @server.tool()
    @authenticated  # nothing beside what the server as a whole asks for
    async def list_notes() -> list[int]:
        return sorted(OWNERS)

    @server.tool()
    @authenticated
    async def read_note(number: int, ctx: Context) -> str:
        caller = await access_token(ctx)
        if OWNERS.get(number) != caller.subject:  # somebody else's note takes more
            await authorize(ctx, "read:all-notes")
        return f"This is note {number}."

    @server.tool()
    @requires("delete:notes")  # below the tool decorator; decided before the arguments are looked at
    async def delete_note(number: int) -> str:
        return f"Note {number} would be gone, were this not an example."

    return server


def behind_middleware(tenant: TrustedIssuer = TENANT) -> Starlette:
    """Guard the MCP server like any other part of an application."""
    server = notes_server()
    mcp_app = streamable_http_app(server, transport_security=HOSTS)  # in place of server.streamable_http_app(…)
    return Starlette(
        routes=[Mount("/", app=requires("read:notes")(mcp_app))],
        middleware=[Middleware(AuthzMiddleware, issuers=[tenant], resource=RESOURCE)],
        lifespan=lambda _: server.session_manager.run(),  # a mounted application never sees its own
    )


def with_the_sdk(tenant: TrustedIssuer = TENANT) -> Starlette:
    """Leave authentication to the SDK, which asks our verifier."""
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(tenant.issuer),
        resource_server_url=AnyHttpUrl(RESOURCE),
        required_scopes=["read:notes"],
        validate_token_resource=True,
    )
    server = notes_server(auth=auth, token_verifier=token_verifier([tenant]))
    return streamable_http_app(server, transport_security=HOSTS)
