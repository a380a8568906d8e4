"""The route table of applications put together by chance: who gets in is asked as in `test_audit`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fastapi import APIRouter, Security
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp

from authz_middleware import ConfigurationError, authenticated, policy, public, requires
from authz_middleware.audit import route_table

from .test_audit import Hiding, Keeping, expect_agreement, fastapi_app, mw, serve, serve_too

APPLICATIONS = 100
PATHS = ["/a", "/b", "/m/a", "/m/*", "/n/*", "/n/m/b", "/else", "/a/*"]
STATED: list[Callable[[Any], Any]] = [
    requires("x"),
    requires("y"),
    requires("x", "y"),
    requires(policy.any_of("x", "y")),
    authenticated,
]


def statement(chance: Random) -> Callable[[Any], Any] | None:
    """Return a decorator, or None."""
    return chance.choice([None, None, public, *STATED])


def endpoint(chance: Random) -> Any:
    """Return a function or a class that states something, or nothing."""

    async def serving(request: Request) -> Response:
        return PlainTextResponse("served")

    decorate = statement(chance)
    if chance.random() < 0.3:
        method = statement(chance) if decorate is not public else None
        handler = _handler() if method is None else method(_handler())
        return _decorated(type("Serving", (HTTPEndpoint,), {"get": handler}), decorate)
    return _decorated(serving, decorate)


def _handler() -> Any:
    async def get(self: object, request: Request) -> Response:
        return PlainTextResponse("served")

    return get


def _decorated(target: Any, decorate: Callable[[Any], Any] | None) -> Any:
    return target if decorate is None else decorate(target)


def middleware(chance: Random, *, often: float) -> list[Middleware]:
    """Return our middleware, or none."""
    if chance.random() > often:
        return []
    options: dict[str, Any] = {"public_paths": chance.sample(PATHS, chance.choice([0, 0, 1, 3]))}
    if chance.random() < 0.3:
        options["undecorated"] = "authenticated"
    if chance.random() < 0.25:
        options["enforce"] = False
    return [mw(**options)]


def among_others(chance: Random, *, often: float) -> list[Middleware]:
    """Return middleware with ours in it, or none. On a mount, the others would hide what is in it."""
    found = middleware(chance, often=often)
    for other in (Middleware(Keeping), Middleware(Hiding), Middleware(GZipMiddleware)):
        if found and chance.random() < 0.15:
            found.insert(chance.randint(0, 1), other)
    return found


def application(chance: Random, depth: int = 2) -> ASGIApp:
    """Return an application of either framework, with others mounted in it."""
    routes = list(routes_of(chance, depth))
    often = 0.8 if depth == 2 else 0.25
    if chance.random() < 0.5:
        app = fastapi_app(*among_others(chance, often=often))
        app.router.dependencies += [Security(requires("x"))] if chance.random() < 0.2 else []
        router = APIRouter(dependencies=[Security(requires("x"))] if chance.random() < 0.3 else None)
        included = Route if chance.random() < 0.5 else Route | Mount
        router.routes.extend(route for route in routes if isinstance(route, included))
        app.include_router(router, dependencies=[Security(requires("y"))] if chance.random() < 0.2 else None)
        app.router.routes.extend(route for route in routes if not isinstance(route, included))
        return app
    if depth < 2 and chance.random() < 0.4:
        return Router(routes)
    return Starlette(routes=routes, middleware=among_others(chance, often=often))


def routes_of(chance: Random, depth: int) -> Iterator[BaseRoute]:
    for path in chance.sample(["/a", "/b"], chance.randint(1, 2)):
        yield Route(path, endpoint(chance))
    for path in chance.sample(["/m", "/n"], chance.randint(0, 2)) if depth else []:
        opaque = serve_too if chance.random() < 0.5 else requires("x")(serve)
        inner = application(chance, depth - 1) if chance.random() < 0.8 else opaque
        around, ours = statement(chance), middleware(chance, often=0.15)
        yield Mount(path, inner if inner is opaque else _decorated(inner, around), middleware=ours)
    if chance.random() < 0.3:
        yield Route("/{id}", endpoint(chance))  # the last, so that it hides none


@pytest.mark.parametrize("seed", range(APPLICATIONS))
def test_the_table_says_what_requests_meet(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="authz_middleware")
    try:
        route_table(application(Random(seed)))
    except ConfigurationError as error:  # what contradicts itself has no table
        assert "public" in str(error)  # noqa: PT017
        return
    expect_agreement(lambda _: application(Random(seed)), tmp_path, is_answered_before=False)
