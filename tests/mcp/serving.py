"""An MCP server guarded in both ways, and the SDK's own client against it: one event loop, no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authz_middleware import AuthzMiddleware, TrustedIssuer, authenticated, authorize, policy, public, requires
from authz_middleware import mcp as guarded
from authz_middleware.errors import Refused
from authz_middleware.testing import LocalIssuer

__all__ = [
    "ERAS",
    "HOSTS",
    "ISSUER",
    "METADATA",
    "NEEDED",
    "RESOURCE",
    "SERVES",
    "WAYS",
    "Build",
    "Listener",
    "Outcome",
    "Serve",
    "Unreachable",
    "Visit",
    "behind_middleware",
    "caller",
    "notes_server",
    "run",
    "serve_behind_middleware",
    "serve_with_the_sdk",
    "settings",
    "trusted",
    "visit",
    "with_the_sdk",
]

T = TypeVar("T")
SPOKEN = "tests.spoken"
"""Where a scope holds the event that `Listener` sets."""
RESOURCE = "https://mcp.test/mcp"
METADATA = "https://mcp.test/.well-known/oauth-protected-resource/mcp"
NEEDED = "use:notes"
"""What anybody needs who uses the server at all."""
HOSTS = TransportSecuritySettings(allowed_hosts=["mcp.test", "127.0.0.1:*"])
ISSUER = LocalIssuer("https://issuer.test/", RESOURCE)
ERAS = ("legacy", "auto")
"""The SDK client's modes: with a handshake and a session as until 2025-11-25, and without as in 2026-07-28."""


class Unreachable:
    """A key source whose keys cannot be had."""

    async def get(self, kid: str | None, algorithm: str) -> Any:
        raise OSError("no route to host")


def caller(*grants: str, **claims: Any) -> dict[str, str]:
    """Return headers of a user who may use the server, and has these grants besides."""
    return ISSUER.headers(**{"scope": "openid", "permissions": [NEEDED, *grants], **claims})


def trusted(**options: Any) -> TrustedIssuer:
    """Return the issuer as the tests trust it."""
    return ISSUER.trusted(**{"third_party_clients": {"partner-app"}, "rbac_enforced": True, **options})


def notes_server(ran: list[str] | None = None, **options: Any) -> MCPServer:
    """Return a server with something for every way to refuse; `ran` lists what was not."""
    server = MCPServer("Notes", **options)
    ran = [] if ran is None else ran
    _add_tools(server, ran)
    _add_tools_that_ask(server, ran)
    _add_prompts_and_resources(server, ran)
    return server


def request_of(ctx: Context) -> Request:
    request = ctx.request_context.request
    if not isinstance(request, Request):
        raise TypeError("the SDK does not hand over the request")
    return request


def _add_tools(server: MCPServer, ran: list[str]) -> None:
    @server.tool()
    @public
    async def search(text: str) -> str:
        ran.append("search")
        return f"nothing with {text}"

    @server.tool()
    @requires("delete:notes")
    async def delete(number: int) -> str:
        ran.append("delete")
        return f"{number} is gone"

    @server.tool(name="count-all")  # another name than the function's
    @requires("count:notes")
    def count() -> int:  # the SDK runs it in a thread
        ran.append("count-all")
        return 3

    @server.tool()
    @authenticated
    async def crash() -> str:
        raise ValueError("not for clients")

    @server.tool()
    @public
    async def whoami(ctx: Context) -> dict[str, Any]:
        ours, theirs = await guarded.access_token(ctx), get_access_token()
        return {
            "subject": ours.subject,
            "theirs": None if theirs is None else [theirs.client_id, theirs.subject, theirs.scopes],
        }


def _add_tools_that_ask(server: MCPServer, ran: list[str]) -> None:
    @server.tool()
    @authenticated
    async def read(number: int, ctx: Context) -> str:
        if number > 1:
            await guarded.authorize(ctx, "read:more")
        ran.append("read")
        return f"note {number}"

    @server.tool()
    @authenticated
    async def read_by_request(ctx: Context) -> str:
        await authorize(request_of(ctx), "read:more")
        ran.append("read_by_request")
        return "a note"

    @server.tool()
    @authenticated
    async def read_or_less(ctx: Context) -> str:
        try:
            await authorize(request_of(ctx), "read:more")
        except Refused:
            return "less"
        return "more"

    @server.tool()
    @authenticated
    async def read_aloud(ctx: Context) -> str:
        await ctx.report_progress(1, 2)
        await request_of(ctx).scope[SPOKEN].wait()
        await guarded.authorize(ctx, policy.scope("read:more") | policy.permission("read:more"))
        return "a note"


def _add_prompts_and_resources(server: MCPServer, ran: list[str]) -> None:
    @server.prompt()
    @requires("read:prompts")
    async def summary() -> str:
        ran.append("summary")
        return "Sum up."

    @server.prompt()
    @public
    async def summary_of(number: str, ctx: Context) -> str:
        await guarded.authorize(ctx, "read:prompts")
        ran.append("summary_of")
        return f"Sum up {number}."

    @server.resource("index://notes")
    @requires("read:resources")
    def index() -> str:  # the SDK runs it in a thread
        ran.append("index")
        return "1, 2"

    @server.resource("note://{number}")
    @requires("read:resources")
    async def note(number: str) -> str:
        ran.append("note")
        return f"note {number}"

    @server.resource("draft://{number}")
    @public
    async def draft(number: str, ctx: Context) -> str:
        await guarded.authorize(ctx, "read:resources")
        ran.append("draft")
        return f"draft {number}"


# --- the two ways -----------------------------------------------------------------------------------------------------


class Build(Protocol):
    """Returns an application that serves a notes server guarded in one way."""

    def __call__(self, issuer: TrustedIssuer, ran: list[str] | None = None, /, **options: Any) -> Starlette: ...


class Serve(Protocol):
    """Returns an application that serves a server guarded in one way. `make` builds it, with the SDK's options."""

    def __call__(self, make: Callable[..., Any], *issuers: TrustedIssuer, **options: Any) -> Starlette: ...


def serve_behind_middleware(make: Callable[..., Any], *issuers: TrustedIssuer, **options: Any) -> Starlette:
    """`told` is what the middleware is given besides."""
    told = options.pop("told", {})
    server = make()
    mcp_app = guarded.streamable_http_app(server, transport_security=HOSTS, **options)
    return Starlette(
        routes=[Mount("/", app=requires(NEEDED)(mcp_app))],
        middleware=[Middleware(AuthzMiddleware, issuers=issuers, resource=RESOURCE, **told)],
        lifespan=lambda _: server.session_manager.run(),
    )


def serve_with_the_sdk(make: Callable[..., Any], *issuers: TrustedIssuer, **options: Any) -> Starlette:
    """`told` is what the verifier is given besides."""
    verifier = guarded.token_verifier(issuers, **options.pop("told", {}))
    server = make(auth=settings(issuers[0]), token_verifier=verifier)
    return guarded.streamable_http_app(server, transport_security=HOSTS, **options)


def settings(issuer: TrustedIssuer, **options: Any) -> AuthSettings:
    return AuthSettings(
        **{
            "issuer_url": AnyHttpUrl(issuer.issuer),
            "resource_server_url": AnyHttpUrl(RESOURCE),
            "required_scopes": [NEEDED],
            "validate_token_resource": True,
            **options,
        }
    )


SERVES: tuple[Serve, ...] = (serve_behind_middleware, serve_with_the_sdk)


def behind_middleware(issuer: TrustedIssuer, ran: list[str] | None = None, /, **options: Any) -> Starlette:
    return serve_behind_middleware(partial(notes_server, ran), issuer, **options)


def with_the_sdk(issuer: TrustedIssuer, ran: list[str] | None = None, /, **options: Any) -> Starlette:
    return serve_with_the_sdk(partial(notes_server, ran), issuer, **options)


WAYS: tuple[Build, ...] = (behind_middleware, with_the_sdk)


class Listener:
    """A middleware that says when the first bytes of an answer have left."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        spoken = scope[SPOKEN] = asyncio.Event()

        async def listening(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                spoken.set()

        await self.app(scope, receive, listening)


# --- a visit ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a call: its result, or the error, and how the server's last HTTP answer looked."""

    result: Any
    error: MCPError | None
    answer: httpx2.Response


@dataclass
class Visit:
    """A connected client, and every HTTP answer it got."""

    client: Client
    http: httpx2.AsyncClient
    answers: list[httpx2.Response] = field(default_factory=list)

    async def call(self, tool: str, **arguments: Any) -> Outcome:
        """Call a tool."""
        return await self.of(self.client.call_tool(tool, arguments))

    async def of(self, asked: Awaitable[Any]) -> Outcome:
        """Return what comes of a request of the client's."""
        try:
            return Outcome(await asked, None, self.answers[-1])
        except MCPError as error:
            return Outcome(None, error, self.answers[-1])


@asynccontextmanager
async def visit(
    app: Starlette, headers: dict[str, str], mode: str = "auto", url: str = RESOURCE
) -> AsyncIterator[Visit]:
    """Start an application and connect the SDK's client to it."""
    transport = httpx2.ASGITransport(app)
    answers: list[httpx2.Response] = []

    async def note(response: httpx2.Response) -> None:
        answers.append(response)

    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, headers=headers, event_hooks={"response": [note]}) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield Visit(client, http, answers)


def run(test: Callable[[], Awaitable[T]]) -> T:
    """Run the body of a test. One that hangs is ended."""

    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await test()

    return asyncio.run(bounded())
