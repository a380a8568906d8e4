"""Several issuers: a name that each of them gives as it likes is nobody's, until a policy says whose."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from starlette.applications import Starlette
from starlette.testclient import TestClient

from authz_middleware import AuthzMiddleware, ConfigurationError, TrustedIssuer, authenticated, policy, requires
from authz_middleware.mcp import authorize, streamable_http_app
from authz_middleware.policy import Policy
from authz_middleware.testing import LocalIssuer

from .serving import HOSTS, NEEDED, RESOURCE, Outcome, Serve, run, serve_with_the_sdk, visit

STAFF = LocalIssuer("https://staff.test/", RESOURCE)
PARTNER = LocalIssuer("https://partner.test/", RESOURCE)
NAMES: tuple[Callable[..., Policy], ...] = (
    lambda **whose: policy.role("admin", **whose),
    lambda **whose: policy.group("owners", **whose),
    lambda **whose: policy.subject("auth0|jo", **whose),
    lambda **whose: policy.client("first-party-app", **whose),
    lambda **whose: policy.claim("plan", equals="gold", **whose),
)
"""What each issuer may say of anybody."""
FORGED: dict[str, Any] = {"roles": ["admin"], "groups": ["owners"], "subject": "auth0|jo", "plan": "gold"}


@pytest.fixture(params=NAMES, ids=lambda name: repr(name()))
def name(request: pytest.FixtureRequest) -> Callable[..., Policy]:
    function: Callable[..., Policy] = request.param
    return function


def trusted(issuer: LocalIssuer) -> TrustedIssuer:
    return issuer.trusted(third_party_clients=set(), rbac_enforced=True, roles_claims="roles", groups_claims="groups")


def headers(issuer: LocalIssuer) -> dict[str, str]:
    return issuer.headers(permissions=[NEEDED], **FORGED)


def making(*statements: Policy, kinds: str = "tool", made: list[MCPServer] | None = None) -> Callable[..., MCPServer]:
    """Return what makes a server where one thing states each of these."""

    def make(**options: Any) -> MCPServer:
        server = MCPServer("Notes", **options)
        for number, statement in enumerate(statements):
            add(server, f"nuke{number}", statement, kinds)
        if made is not None:
            made.append(server)
        return server

    return make


def add(server: MCPServer, named: str, statement: Policy, kind: str = "tool") -> None:
    @requires(statement)
    async def nuke() -> str:
        return "nuked"

    @requires(statement)
    async def nuke_one(number: str) -> str:
        return "nuked"

    match kind:
        case "tool":
            server.tool(name=named)(nuke)
        case "prompt":
            server.prompt(name=named)(nuke)
        case "resource":
            server.resource("nuke://all")(nuke)
        case _:
            server.resource("nuke://{number}")(nuke_one)


def called(app: Starlette, caller: dict[str, str], era: str, tool: str = "nuke0") -> Outcome:
    async def test() -> Outcome:
        async with visit(app, caller, era) as visitor:
            return await visitor.call(tool)

    return run(test)


def started(serve: Serve, make: Callable[..., Any], *issuers: LocalIssuer) -> None:
    """Construct an application and start it: behind the middleware the issuers are known only then."""
    with TestClient(serve(make, *map(trusted, issuers))):
        pass


@pytest.mark.parametrize("kind", ["tool", "resource", "template", "prompt"])
def test_a_name_that_says_not_whose_is_an_error_at_start(serve: Serve, name: Callable[..., Policy], kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"several issuers are trusted.*add issuer=") as error:
        started(serve, making(name(), kinds=kind), STAFF, PARTNER)
    assert repr(name()) in str(error.value)


def test_with_the_sdk_it_is_an_error_at_construction() -> None:
    with pytest.raises(ConfigurationError, match="add issuer="):
        serve_with_the_sdk(making(policy.role("admin")), trusted(STAFF), trusted(PARTNER))


def test_every_such_name_is_said_at_once(serve: Serve) -> None:
    with pytest.raises(ConfigurationError) as error:
        started(serve, making(*(name() for name in NAMES)), STAFF, PARTNER)
    assert len(error.value.faults) == len(NAMES)


def test_an_issuer_that_is_not_trusted_is_an_error_at_start(serve: Serve) -> None:
    with pytest.raises(ConfigurationError, match="names none that is trusted here"):
        started(serve, making(policy.role("admin", issuer="https://staff.test")), STAFF, PARTNER)


def test_on_the_sdks_own_application_the_middleware_finds_it_too() -> None:
    app = streamable_http_app(making(policy.role("admin"))(), transport_security=HOSTS)
    issuers = [trusted(STAFF), trusted(PARTNER)]
    app.add_middleware(AuthzMiddleware, issuers=issuers, undecorated="authenticated")
    with pytest.raises(ConfigurationError, match="add issuer="), TestClient(app):
        pass


def test_where_one_issuer_is_trusted_a_name_is_its(serve: Serve, era: str, name: Callable[..., Policy]) -> None:
    started(serve, making(name()), STAFF)
    assert called(serve(making(name()), trusted(STAFF)), headers(STAFF), era).error is None


def test_a_partner_cannot_make_somebody_staff(serve: Serve, era: str, name: Callable[..., Policy]) -> None:
    make = making(name(issuer=STAFF.issuer))
    answers = [called(serve(make, trusted(STAFF), trusted(PARTNER)), headers(who), era) for who in (PARTNER, STAFF)]
    assert [outcome.answer.status_code for outcome in answers] == [403, 200]


def test_what_a_tool_asks_inside_is_nobodys_either(serve: Serve, era: str, name: Callable[..., Policy]) -> None:
    """No start can see it."""

    def make(**options: Any) -> MCPServer:
        server = MCPServer("Notes", **options)

        @server.tool()
        @authenticated
        async def nuke0(ctx: Context) -> str:
            await authorize(ctx, name())
            return "nuked"

        return server

    for who in (PARTNER, STAFF):
        assert called(serve(make, trusted(STAFF), trusted(PARTNER)), headers(who), era).answer.status_code == 403
    assert called(serve(make, trusted(STAFF)), headers(STAFF), era).error is None


def test_a_tool_that_was_added_later_is_nobodys_either(serve: Serve, era: str, name: Callable[..., Policy]) -> None:
    async def test(issuer: LocalIssuer) -> int:
        made: list[MCPServer] = []
        app = serve(making(made=made), trusted(STAFF), trusted(PARTNER))
        async with visit(app, headers(issuer), era) as visitor:
            add(made[0], "later", name())
            return (await visitor.call("later")).answer.status_code

    assert [run(partial(test, issuer)) for issuer in (PARTNER, STAFF)] == [403, 403]


def test_a_role_that_nobody_can_have_is_said_at_start(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    unread = STAFF.trusted(third_party_clients=set(), rbac_enforced=True)
    with TestClient(serve(making(policy.role("admin")), unread)):
        pass
    assert "nobody ever has role('admin'): no claim is read for it" in caplog.text
