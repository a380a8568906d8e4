"""Tools that ask a function of the application's own: before they run, wherever the SDK runs them, and once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette

from authz_middleware import authenticated, policy, requires
from authz_middleware import mcp as guarded

from .serving import ERAS, ISSUER, NEEDED, SERVES, Outcome, Serve, run, trusted, visit


class Owns:
    """Checks that remember in which thread they were asked."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def now(self, request: policy.AccessRequest) -> bool:
        self.asked.append(threading.current_thread() is threading.main_thread())
        return request.headers.get("x-owner") == "yes"

    async def later(self, request: policy.AccessRequest) -> bool:
        await asyncio.sleep(0)
        return self.now(request)


def making(owns: Owns, ran: list[str]) -> Any:
    def make(**options: Any) -> MCPServer:
        server = MCPServer("Owned", **options)
        for way in (owns.now, owns.later):
            guard = requires(policy.check(way))

            @server.tool(name=f"plain_{way.__name__}")
            @guard
            def plain() -> str:
                ran.append("plain")
                return "ran"

            @server.tool(name=f"async_{way.__name__}")
            @guard
            async def awaited() -> str:
                ran.append("async")
                return "ran"

            @server.tool(name=f"inside_{way.__name__}")
            @authenticated
            async def inside(ctx: Context, asked: Any = None, way: str = way.__name__) -> str:
                await guarded.authorize(ctx, policy.check(getattr(owns, way)))
                ran.append("inside")
                return "ran"

        return server

    return make


@pytest.mark.parametrize("serve", SERVES, ids=lambda serve: serve.__name__)
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["plain", "async", "inside"])
@pytest.mark.parametrize("way", ["now", "later"])
def test_a_tool_asks_once_before_it_runs(serve: Serve, era: str, kind: str, way: str) -> None:
    for owner in ("yes", "no"):
        owns, ran = Owns(), list[str]()
        app: Starlette = serve(making(owns, ran), trusted())
        headers = {**ISSUER.headers(scope=NEEDED, permissions=[NEEDED]), "x-owner": owner}

        async def test(app: Starlette = app, headers: dict[str, str] = headers) -> Outcome:
            async with visit(app, headers, era) as visitor:
                return await visitor.call(f"{kind}_{way}")

        outcome = run(test)
        assert ran == ([kind] if owner == "yes" else [])
        assert (outcome.error is None) == (owner == "yes")
        assert outcome.answer.status_code == (200 if owner == "yes" else 403)
        assert owns.asked == [way == "later"]  # a plain function is asked in a thread
