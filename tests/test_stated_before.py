"""A decorated application between a middleware and the router it leads to: what it states counts for all its routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from authz_middleware import AuthzMiddleware, ConfigurationError, policy, public, requires
from authz_middleware.decorators import Requirement
from authz_middleware.testing import LocalIssuer

from .apps import bare, client, endpoint, expect_forbidden, expect_missing, expect_ok
from .dependency_apps import holding
from .test_startup import SETTLED, said_by
from .watching import Lines, lines

__all__ = ["lines"]  # a fixture

Build = Callable[[LocalIssuer, Requirement, dict[str, Any]], ASGIApp]


def in_front(issuer: LocalIssuer, stated: Requirement, options: dict[str, Any]) -> ASGIApp:
    return AuthzMiddleware(stated(inner()), issuers=[issuer.trusted(**SETTLED)], **options)


def on_a_mount(issuer: LocalIssuer, stated: Requirement, options: dict[str, Any]) -> ASGIApp:
    ours = Middleware(AuthzMiddleware, issuers=[issuer.trusted(**SETTLED)], **options)
    return Starlette(routes=[Mount("/", stated(inner()), middleware=[ours])])


def inner() -> Starlette:
    return Starlette(routes=[Route("/bare", bare), Route("/y", requires("y")(endpoint))])


every_place = pytest.mark.parametrize("make", [in_front, on_a_mount])


@every_place
def test_it_is_in_challenges_and_metadata(issuer: LocalIssuer, make: Build) -> None:
    asked = client(make(issuer, requires("x"), {"resource": "https://api.test/"}))
    metadata = ', resource_metadata="https://api.test/.well-known/oauth-protected-resource"'
    for path, scope in (("/bare", "x"), ("/y", "x y")):
        assert asked.get(path).headers["www-authenticate"] == f'Bearer realm="api", scope="{scope}"{metadata}'
    published = asked.get("/.well-known/oauth-protected-resource").json()
    assert published["scopes_supported"] == ["x", "y"]


@every_place
def test_it_is_enforced(issuer: LocalIssuer, make: Build) -> None:
    asked = client(make(issuer, requires("x"), {}))
    expect_missing(asked.get("/bare"), "x")
    expect_forbidden(asked.get("/y", headers=holding(issuer, "y")), "x", "y")
    expect_ok(asked.get("/bare", headers=holding(issuer, "x")))
    expect_ok(asked.get("/y", headers=holding(issuer, "x", "y")))


def test_routes_that_it_covers_are_not_said_to_be_refused(issuer: LocalIssuer, lines: Lines) -> None:
    assert said_by(in_front(issuer, requires("x"), {}), lines) == []


def test_public_paths_that_it_closes_are_said(issuer: LocalIssuer, lines: Lines) -> None:
    (said,) = said_by(in_front(issuer, requires("x"), {"public_paths": ["/bare"]}), lines)
    assert said.startswith("public_paths does not open routes that state who may call them")
    assert said.endswith(": GET /bare")


@every_place
def test_it_may_be_public(issuer: LocalIssuer, make: Build) -> None:
    asked = client(make(issuer, public, {}))
    expect_ok(asked.get("/bare"))
    expect_missing(asked.get("/y"), "y")
    assert asked.get("/absent").status_code == 404


def test_several_add_up(issuer: LocalIssuer) -> None:
    app = AuthzMiddleware(requires("x")(requires("w")(inner())), issuers=[issuer.trusted(**SETTLED)])
    expect_missing(client(app).get("/bare"), "x w")


@every_place
def test_what_cannot_be_meant_there_is_found(issuer: LocalIssuer, make: Build) -> None:
    stated = requires(policy.role("x", issuer="https://nobody.test/"))
    with pytest.raises(ConfigurationError, match="issuer= names none that is trusted here"):
        client(make(issuer, stated, {})).get("/bare")
