"""`examples/mcp_server.py` as it stands, with tokens of the tenant it names; only the network is faked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette

from authz_middleware import TrustedIssuer
from authz_middleware.testing import LocalIssuer
from examples import mcp_server

from ..offline import Network
from .serving import ERAS, Outcome, run, visit

TENANT = LocalIssuer("https://acme.eu.auth0.com/", mcp_server.RESOURCE)
Serve = Callable[[TrustedIssuer], Starlette]


@pytest.fixture(params=[mcp_server.behind_middleware, mcp_server.with_the_sdk], ids=lambda serve: serve.__name__)
def serve(request: pytest.FixtureRequest) -> Serve:
    function: Serve = request.param
    return function


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("claims", "tool", "lacking"),
    [
        ({"permissions": ["read:notes"]}, "list_notes", None),
        ({"permissions": ["read:notes"]}, "read_note 1", None),
        ({"permissions": ["read:notes"]}, "read_note 2", "read:all-notes"),
        ({"permissions": ["read:notes", "read:all-notes"]}, "read_note 2", None),
        ({"permissions": ["read:notes"]}, "delete_note 1", "delete:notes"),
        ({"permissions": ["read:notes", "delete:notes"]}, "delete_note 1", None),
        ({"scope": "read:notes delete:notes", "dialect": "rfc9068_profile"}, "delete_note 1", None),
        (
            {"permissions": ["read:notes", "delete:notes"], "scope": "read:notes", "client_id": "self-registered"},
            "delete_note 1",
            "delete:notes",
        ),
    ],
)
def test_what_a_token_opens(serve: Serve, era: str, claims: dict[str, Any], tool: str, lacking: str | None) -> None:
    headers = TENANT.headers(**{"dialect": "access_token_authz", "client_id": "acme-desktop", **claims})
    name, *number = tool.split()
    arguments = {"number": int(number[0])} if number else {}

    async def test() -> Outcome:
        app = serve(replace(mcp_server.TENANT, fetch=Network(TENANT)))
        async with visit(app, headers, era, mcp_server.RESOURCE) as visitor:
            return await visitor.call(name, **arguments)

    outcome = run(test)
    if lacking is None:
        assert outcome.error is None
        assert not outcome.result.is_error
    else:
        assert outcome.answer.status_code == 403
        assert f'scope="{lacking}"' in outcome.answer.headers["www-authenticate"]
