"""Applications whose issuers are fixed at import, served with a faked network and nothing else faked."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware

from authz_middleware import AuthzMiddleware
from authz_middleware.keys import Fetched
from authz_middleware.testing import LocalIssuer


class Network:
    """A `Fetch` that finds metadata and keys of these issuers, and nothing else. `asked` lists the URLs."""

    def __init__(self, *issuers: LocalIssuer) -> None:
        self.issuers = issuers
        self.asked: list[str] = []

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        self.asked.append(url)
        for issuer in self.issuers:
            if url == issuer.issuer.rstrip("/") + "/.well-known/openid-configuration":
                return Fetched(200, {}, json.dumps(issuer.metadata()).encode())
            if url == issuer.metadata()["jwks_uri"]:
                return Fetched(200, {}, json.dumps(issuer.jwks()).encode())
        return Fetched(404, {}, b"")


def offline(app: Starlette, network: Network) -> Starlette:
    """Return a copy of an application, routes and all, whose trusted issuers are fetched from `network`."""
    twin = copy.copy(app)
    twin.middleware_stack = None
    twin.user_middleware = [_offline(middleware, network) for middleware in app.user_middleware]
    return twin


def _offline(middleware: Middleware, network: Network) -> Middleware:
    factory: Any = middleware.cls
    if factory is not AuthzMiddleware:
        return middleware
    options: dict[str, Any] = dict(middleware.kwargs)
    options["issuers"] = [replace(issuer, fetch=network) for issuer in options["issuers"]]
    return Middleware(AuthzMiddleware, **options)
