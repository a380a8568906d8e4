"""A person logs in through Swagger UI's *Authorize*, in a real browser, and calls guarded operations from the page."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest
from fastapi import FastAPI

from authz_middleware import AuthzMiddleware, TrustedIssuer, public, requires
from authz_middleware.errors import Code
from authz_middleware.fastapi import FASTAPI_DOCS, document, swagger_ui

from .answers import Seen, forbidden, refusal
from .api import served
from .authorization_server import RESOURCES, AuthorizationServer
from .browser import missing_browser, visit_swagger_ui
from .conftest import require

pytestmark = pytest.mark.interop

RESOURCE = f"{RESOURCES}rfc9068_profile_authz/RS256"
USER = "auth0|jo"  # is permitted to read orders, not to change them


def orders_api(issuer: str) -> FastAPI:
    """Return an application with FastAPI's own pages, as a newcomer would write it."""
    app = FastAPI(title="Orders", summary="Who may call what, from the policies that are enforced.")
    trusted = TrustedIssuer(issuer, RESOURCE, dialects=["rfc9068_profile_authz"], first_party_clients={"docs"})
    app.add_middleware(AuthzMiddleware, issuers=[trusted], public_paths=FASTAPI_DOCS)
    document(app, scopes={"read:orders": "Read orders", "write:orders": "Change orders"})
    swagger_ui(app, client_id="docs", scopes=["openid", "read:orders"], resource=RESOURCE)

    @app.get("/orders")
    @requires("read:orders")
    async def list_orders() -> list[int]:
        return [1, 2]

    @app.get("/refunds")
    @requires("write:orders")
    async def list_refunds() -> list[int]:
        raise NotImplementedError

    @app.get("/healthz")
    @public
    async def healthz() -> dict[str, bool]:
        raise NotImplementedError

    return app


@pytest.fixture(scope="module")
def seen(authorization_server: AuthorizationServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a person saw who visited the page once: without a token, at *Authorize*, and with a token."""
    require(missing_browser())
    with served(orders_api(authorization_server.issuer)) as url:
        pictures = tmp_path_factory.mktemp("pictures")
        return visit_swagger_ui(url, login=USER, allowed="/orders", refused="/refunds", pictures=pictures)


def shown(answer: dict[str, Any]) -> Seen:
    """Return an answer as the page showed it, which drops the space after a comma in a header."""
    challenges = [line.partition(":")[2] for line in answer["headers"] if line.strip().startswith("www-authenticate:")]
    challenge = challenges[0].strip().replace(",", ", ") if challenges else None
    return answer["status"], challenge, answer["body"]


def test_only_guarded_operations_have_a_padlock(seen: dict[str, Any]) -> None:
    assert seen["padlocks"] == {"/orders": True, "/refunds": True, "/healthz": False}


def test_without_a_login_the_page_shows_401(seen: dict[str, Any]) -> None:
    assert shown(seen["anonymous"]) == refusal(Code.MISSING_TOKEN, scope="read:orders")


def test_authorize_is_filled_in(seen: dict[str, Any]) -> None:
    assert seen["offered"] == {
        "clientId": "docs",
        "scopes": ["read:orders", "write:orders"],
        "checked": ["read:orders"],
    }


def test_the_login_uses_pkce_and_names_the_resource(seen: dict[str, Any]) -> None:
    asked, exchanged = seen["authorizationRequest"], seen["tokenRequest"]
    assert (asked["scope"], asked["resource"]) == ("openid read:orders", RESOURCE)
    verifier = exchanged["form"]["code_verifier"]
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert (asked["code_challenge_method"], asked["code_challenge"]) == ("S256", challenge)


def test_no_secret_is_sent_and_the_resource_only_in_the_query(seen: dict[str, Any]) -> None:
    exchanged = seen["tokenRequest"]
    assert set(exchanged["form"]) == {"grant_type", "code", "client_id", "redirect_uri", "code_verifier"}
    assert exchanged["query"] == {"resource": RESOURCE}  # why the server must use the resource it granted


def test_with_the_login_a_granted_operation_answers(seen: dict[str, Any]) -> None:
    assert (seen["allowed"]["status"], seen["allowed"]["body"]) == (200, [1, 2])


def test_with_the_login_an_operation_that_takes_more_shows_403(seen: dict[str, Any]) -> None:
    assert shown(seen["refused"]) == forbidden("write:orders")
