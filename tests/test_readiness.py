"""The ready-made readiness check: 200 while tokens of every issuer can be verified, 503 while not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from authz_middleware import AuthzMiddleware, ConfigurationError, TrustedIssuer
from authz_middleware.keys import Fetched
from authz_middleware.readiness import readiness
from authz_middleware.testing import LocalIssuer, as_caller, trust

from .apps import authz, client, http_scope, serve, starlette_app
from .helpers import RecordingKeys
from .keys.helpers import in_loop, json_response


class Published:
    """A `Fetch` of one issuer's documents, which can be out of reach."""

    def __init__(self, issuer: LocalIssuer) -> None:
        self.issuer = issuer
        self.is_up = True
        self.asked = 0

    async def __call__(self, url: str, headers: Any) -> Fetched:
        self.asked += 1
        if not self.is_up:
            raise OSError("no route to host")
        return json_response(self.issuer.metadata() if "openid" in url else self.issuer.jwks())


def fetched(published: Published) -> TrustedIssuer:
    issuer = published.issuer
    return TrustedIssuer(issuer.issuer, issuer.audience, third_party_clients=set(), fetch=published)


def test_fixed_keys_are_always_ready(issuer: LocalIssuer) -> None:
    trusted = TrustedIssuer(issuer.issuer, issuer.audience, keys=issuer.jwks())
    answer = client(starlette_app(issuer, Route("/readyz", readiness), issuers=[trusted])).get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "issuers": [{"issuer": issuer.issuer, "keys": "fresh"}]}
    assert answer.headers["cache-control"] == "no-store"


def test_a_secret_is_always_ready(issuer: LocalIssuer) -> None:
    trusted = TrustedIssuer(issuer.issuer, issuer.audience, secret=b"s" * 32)
    assert client(starlette_app(issuer, Route("/readyz", readiness), issuers=[trusted])).get("/readyz").is_success


def test_keys_that_were_never_had_are_asked_for_once(issuer: LocalIssuer) -> None:
    published = Published(issuer)
    app = FastAPI()
    app.add_middleware(AuthzMiddleware, issuers=[fetched(published)])
    app.add_route("/readyz", readiness)
    asked = client(app)
    assert [asked.get("/readyz").status_code for _ in range(3)] == [200] * 3
    assert published.asked == 2  # metadata and keys


@in_loop
async def test_an_outage_of_one_issuer_is_not_ready_and_ends() -> None:
    up, down = Published(LocalIssuer()), Published(LocalIssuer("https://other.test/"))
    down.is_up = False
    app = Starlette(
        routes=[Route("/readyz", readiness)], middleware=[authz(up.issuer, issuers=[fetched(up), fetched(down)])]
    )
    answer = await serve(app, http_scope("/readyz"))
    assert answer.status == 503
    assert answer.json() == {
        "status": "not ready",
        "issuers": [
            {"issuer": "https://issuer.test/", "keys": "fresh"},
            {"issuer": "https://other.test/", "keys": "unavailable"},
        ],
    }
    asked = down.asked
    assert (await serve(app, http_scope("/readyz"))).status == 503
    assert down.asked == asked  # attempts back off, however often a prober asks


def test_a_bad_token_is_refused_here_too(issuer: LocalIssuer) -> None:
    app = starlette_app(issuer, Route("/readyz", readiness))
    assert client(app).get("/readyz", headers={"Authorization": "Bearer bad"}).status_code == 401


def test_without_the_middleware_there_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match="add_middleware"):
        client(Starlette(routes=[Route("/readyz", readiness)])).get("/readyz")
    with as_caller(None) as bound, pytest.raises(ConfigurationError, match="readiness needs AuthzMiddleware"):
        asyncio.run(readiness(Request({**http_scope("/readyz"), **bound})))


def test_a_source_that_does_not_say_is_not_ready(issuer: LocalIssuer) -> None:
    trusted = TrustedIssuer(issuer.issuer, issuer.audience, keys=RecordingKeys(issuer.keys), third_party_clients=set())
    answer = client(starlette_app(issuer, Route("/readyz", readiness), issuers=[trusted])).get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["issuers"] == [{"issuer": issuer.issuer, "keys": "unknown"}]


def test_an_issuer_of_a_test_is_ready_until_it_fails() -> None:
    issuer = LocalIssuer()
    app = starlette_app(issuer, Route("/readyz", readiness))
    assert client(app).get("/readyz").status_code == 200
    with trust(app, issuer):
        assert client(app).get("/readyz").status_code == 200
        issuer.fail()
        assert client(app).get("/readyz").status_code == 503
    assert client(app).get("/readyz").status_code == 503
