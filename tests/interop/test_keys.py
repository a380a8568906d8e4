"""Keys change, vanish, and cannot be had: each test has an authorization server of its own."""

from __future__ import annotations

import httpx
import pytest
from jwt import get_unverified_header

from authz_middleware.errors import Code

from .answers import refusal, seen
from .api import TOKEN_ROUTE, pinned_api
from .authorization_server import RESOURCES, AuthorizationServer, Caller
from .conftest import Serve

pytestmark = pytest.mark.interop

MACHINE = Caller("machine")
ALGORITHMS = ["RS256", "ES256", "EdDSA"]


def _token(server: AuthorizationServer, algorithm: str) -> str:
    return server.access_token(MACHINE, f"{RESOURCES}rfc9068/{algorithm}", "read:orders")


def _get(api: httpx.Client, token: str) -> httpx.Response:
    return api.get(TOKEN_ROUTE, headers={"Authorization": f"Bearer {token}"})


def test_first_token_of_a_rotated_key_is_accepted_and_those_of_the_old_key_still_are(
    own_authorization_server: AuthorizationServer, serve: Serve
) -> None:
    server = own_authorization_server
    api = serve(pinned_api(server.issuer))
    for algorithm in ALGORITHMS:
        old = _token(server, algorithm)
        assert _get(api, old).status_code == 200
        server.rotate()
        new = _token(server, algorithm)
        assert get_unverified_header(new)["kid"] != get_unverified_header(old)["kid"]
        assert _get(api, new).status_code == 200
        assert _get(api, old).status_code == 200


def test_token_of_a_withdrawn_key_is_refused_from_the_next_refresh_on(
    own_authorization_server: AuthorizationServer, serve: Serve
) -> None:
    server = own_authorization_server
    api = serve(pinned_api(server.issuer))
    for algorithm in ALGORITHMS:
        old = _token(server, algorithm)
        assert _get(api, old).status_code == 200
        server.rotate()
        server.withdraw()
        assert _get(api, old).status_code == 200  # nobody has asked for the keys again
        assert _get(api, _token(server, algorithm)).status_code == 200  # an unknown key: the set is refreshed
        assert seen(_get(api, old)) == refusal(Code.UNKNOWN_KEY)


def test_server_that_is_gone(own_authorization_server: AuthorizationServer, serve: Serve) -> None:
    server = own_authorization_server
    api, late = serve(pinned_api(server.issuer)), serve(pinned_api(server.issuer))
    known = _token(server, "RS256")
    assert _get(api, known).status_code == 200
    server.rotate()
    unknown = _token(server, "RS256")
    server.stop()
    assert _get(api, unknown).status_code == 503  # it cannot be said whether it is good
    assert _get(api, known).status_code == 200
    response = _get(late, known)
    status, _, body = refusal(Code.KEYS_UNAVAILABLE)
    assert seen(response) == (status, None, body)
    assert int(response.headers["retry-after"]) >= 1
