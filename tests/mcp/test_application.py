"""What an MCP client meets, whichever way the server is guarded and whichever era of the protocol it speaks."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.provider import AccessToken as SDKAccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, Tool
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Message

from authz_middleware import AuthzMiddleware, ConfigurationError, authenticated, authorize, policy, public, requires
from authz_middleware import mcp as guarded
from authz_middleware.errors import ANSWERS, Code
from authz_middleware.fastapi import FASTAPI_DOCS

from ..apps import ask, http_scope
from ..interop.api import served
from .serving import (
    HOSTS,
    ISSUER,
    METADATA,
    NEEDED,
    RESOURCE,
    WAYS,
    Build,
    Listener,
    Outcome,
    Serve,
    Unreachable,
    behind_middleware,
    caller,
    notes_server,
    run,
    settings,
    trusted,
    visit,
    with_the_sdk,
)

METADATA_BELOW = "https://mcp.test/.well-known/oauth-protected-resource/tools/mcp"
SERVERS = [{}, {"json_response": True}, {"stateless_http": True}]
"""The SDK's ways to answer: a stream, one JSON body, without sessions."""


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest) -> Build:
    build: Build = request.param
    return build


def assert_refused(
    outcome: Outcome, scope: str, code: Code = Code.INSUFFICIENT_SCOPE, metadata: str = METADATA
) -> None:
    """A refusal is an HTTP answer with a challenge, and to the client's user an error that says what is missing."""
    answer, headers = ANSWERS[code], outcome.answer.headers
    error = f'error="{answer.error}", error_description="{answer.detail}", ' if answer.error else ""
    challenge = f'Bearer realm="api", {error}scope="{scope}", resource_metadata="{metadata}"'
    assert (outcome.answer.status_code, headers["www-authenticate"]) == (answer.status, challenge)
    assert (headers["cache-control"], headers["content-type"]) == ("no-store", "application/json")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == (-32003, answer.detail)
    assert outcome.error.data["code"] == code


# --- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", SERVERS, ids=str)
def test_tools_are_listed_and_called(way: Build, era: str, options: dict[str, Any]) -> None:
    async def test() -> None:
        ran: list[str] = []
        async with visit(way(trusted(), ran, **options), caller("delete:notes", "count:notes"), era) as visitor:
            assert {"search", "delete", "count-all"} <= {
                tool.name for tool in (await visitor.client.list_tools()).tools
            }
            for tool, arguments in (("search", {"text": "x"}), ("delete", {"number": 1}), ("count-all", {})):
                outcome = await visitor.call(tool, **arguments)
                assert outcome.error is None
                assert not outcome.result.is_error
        assert ran == ["search", "delete", "count-all"]

    run(test)


@pytest.mark.parametrize("options", SERVERS, ids=str)
def test_a_tool_is_refused_to_a_caller_without_its_grant(way: Build, era: str, options: dict[str, Any]) -> None:
    async def test() -> None:
        ran: list[str] = []
        async with visit(way(trusted(), ran, **options), caller(), era) as visitor:
            for arguments in ({"number": 1}, {"number": "no number"}, {}):  # nothing is learnt about the arguments
                refused = await visitor.call("delete", **arguments)
                assert_refused(refused, "delete:notes")
                assert refused.error is not None
                assert refused.error.data["required"] == [["delete:notes"]]
            assert_refused(await visitor.call("count-all"), "count:notes")
            outcome = await visitor.call("search", text="x")
            assert outcome.answer.status_code == 200
        assert ran == ["search"]

    run(test)


@pytest.mark.parametrize(("tool", "arguments"), [("read", {"number": 2}), ("read_by_request", {})])
def test_a_tool_decides_by_its_arguments(way: Build, era: str, tool: str, arguments: dict[str, Any]) -> None:
    async def test(*grants: str) -> tuple[Outcome, list[str]]:
        ran: list[str] = []
        async with visit(way(trusted(), ran), caller(*grants), era) as visitor:
            assert not (await visitor.call("read", number=1)).result.is_error
            return await visitor.call(tool, **arguments), ran

    refused, ran = run(test)
    assert_refused(refused, "read:more")
    assert ran == ["read"]
    allowed, ran = run(lambda: test("read:more"))
    assert not allowed.result.is_error
    assert ran == ["read", tool]


def deciding(ran: list[str], **options: Any) -> MCPServer:
    """Return a server whose tools decide in every way that one may forget to wait for."""
    server = MCPServer("Notes", **options)

    @server.tool()
    @authenticated
    def sync(ctx: Context) -> str:
        guarded.authorize(ctx, "read:more")  # there is nothing to await it with
        ran.append("sync")
        return "read"

    @server.tool()
    @authenticated
    async def forgotten(ctx: Context) -> str:
        guarded.authorize(ctx, "read:more")  # that is the test
        ran.append("forgotten")
        return "read"

    @server.tool()
    @authenticated
    async def checked(ctx: Context) -> str:
        await guarded.authorize(ctx, has_more)
        ran.append("checked")
        return "read"

    return server


async def _has_more(request: policy.AccessRequest) -> bool:
    return "read:more" in request.token.grants


has_more = policy.check(_has_more)


@pytest.mark.parametrize("tool", ["sync", "forgotten", "checked"])
def test_a_tool_decides_whether_or_not_somebody_waits_for_it(
    serve: Serve, era: str, tool: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(ran: list[str], *grants: str) -> Outcome:
        async with visit(serve(partial(deciding, ran), trusted()), caller(*grants), era) as visitor:
            return await visitor.call(tool)

    ran: list[str] = []
    assert run(lambda: test(ran)).answer.status_code == 403
    assert ran == []
    assert not run(lambda: test(ran, "read:more")).result.is_error
    assert ran == [tool]
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_check_that_nobody_waits_for_lets_no_result_leave(
    serve: Serve, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    def make(**options: Any) -> MCPServer:
        server = MCPServer("Notes", **options)

        @server.tool()
        @authenticated
        async def forgotten(ctx: Context) -> str:
            guarded.authorize(ctx, has_more)  # that is the test
            return "secret"

        return server

    async def test() -> Outcome:
        async with visit(serve(make, trusted()), caller("read:more"), era) as visitor:
            return await visitor.call("forgotten")

    outcome = run(test)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == (-32603, "Internal server error")
    assert outcome.result is None
    assert "write await authorize(ctx, …)" in caplog.text


def test_a_refusal_is_no_crash_in_the_log(way: Build, era: str, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK logs what it takes for a crash with a traceback, which any caller could then fill the log with."""

    async def test() -> None:
        async with visit(way(trusted()), caller(), era) as visitor:
            assert_refused(await visitor.call("delete", number=1), "delete:notes")
            assert_refused(await visitor.call("read", number=2), "read:more")
            for uri in ("index://notes", "note://1", "draft://1"):
                assert_refused(await visitor.of(visitor.client.read_resource(uri)), "read:resources")
            for prompt, arguments in (("summary", {}), ("summary_of", {"number": "1"})):
                assert_refused(await visitor.of(visitor.client.get_prompt(prompt, arguments)), "read:prompts")

    run(test)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []


def test_a_tool_may_deal_with_a_refusal_itself(way: Build, era: str) -> None:
    async def test(*grants: str) -> str:
        async with visit(way(trusted()), caller(*grants), era) as visitor:
            outcome = await visitor.call("read_or_less")
            assert outcome.answer.status_code == 200
            return str(outcome.result.content[0].text)

    assert run(test) == "less"
    assert run(lambda: test("read:more")) == "more"


def test_a_tool_that_fails_is_no_refusal(way: Build, era: str) -> None:
    async def test() -> None:
        async with visit(way(trusted()), caller(), era) as visitor:
            for tool in ("crash", "no_such_tool"):
                outcome = await visitor.call(tool)
                assert outcome.answer.status_code == 200
                assert outcome.result.is_error
                assert "not for clients" not in outcome.result.content[0].text
            unknown = await visitor.of(visitor.client.get_prompt("no_such_prompt"))
            assert unknown.error is not None
            assert unknown.error.code != -32003

    run(test)


def test_nothing_follows_a_refusal(way: Build) -> None:
    """The SDK ends its stream as if the refusal had not taken its place; this client does not hang up first."""
    app = way(trusted(), stateless_http=True)
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "delete", "arguments": {}}}

    async def test() -> list[Message]:
        sent: list[Message] = []
        received = [{"type": "http.request", "body": json.dumps(call).encode()}]

        async def receive() -> Message:
            return received.pop() if received else await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: Message) -> None:
            sent.append(message)

        headers = {**ACCEPT, **caller(), "content-type": "application/json", "host": "mcp.test"}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": raw}
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)
        return sent

    start, body = run(test)
    assert start["status"] == 403
    assert json.loads(body["body"])["error"]["code"] == -32003


def test_once_the_answer_has_begun_a_refusal_is_an_error_within_it(way: Build, era: str) -> None:
    async def test() -> None:
        app = way(trusted())
        app.add_middleware(Listener)
        async with visit(app, caller(), era) as visitor:
            heard: list[float] = []

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                heard.append(progress)

            refused = await visitor.of(visitor.client.call_tool("read_aloud", progress_callback=on_progress))
            assert heard == [1]
            assert refused.answer.status_code == 200
            assert refused.error is not None
            assert (refused.error.code, refused.error.data["code"]) == (-32003, "insufficient_scope")

    run(test)


def test_prompts_and_resources_are_guarded_too(way: Build, era: str) -> None:
    async def test(*grants: str) -> tuple[list[Outcome], list[str]]:
        ran: list[str] = []
        async with visit(way(trusted(), ran), caller(*grants), era) as visitor:
            client = visitor.client
            asked = [
                client.get_prompt("summary"),
                client.get_prompt("summary_of", {"number": "1"}),
                *map(client.read_resource, ("index://notes", "note://1", "draft://1")),
            ]
            return [await visitor.of(one) for one in asked], ran

    refused, ran = run(test)
    for outcome, scope in zip(refused, ["read:prompts"] * 2 + ["read:resources"] * 3, strict=True):
        assert_refused(outcome, scope)
    assert ran == []
    outcomes, ran = run(lambda: test("read:prompts", "read:resources"))
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert ran == ["summary", "summary_of", "index", "note", "draft"]


def test_what_is_not_decided_early_is_refused_all_the_same(
    way: Build, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz_middleware.mcp.messages.Policies._used_by", lambda _self, _ctx: ())

    async def test() -> None:
        ran: list[str] = []
        async with visit(way(trusted(), ran), caller(), era) as visitor:
            assert_refused(await visitor.call("delete", number=1), "delete:notes")
            assert_refused(await visitor.of(visitor.client.read_resource("note://1")), "read:resources")
            assert_refused(await visitor.of(visitor.client.get_prompt("summary")), "read:prompts")
        assert ran == []

    run(test)


# --- who may use the server at all ------------------------------------------------------------------------------------


async def post(app: Starlette, headers: dict[str, str], *, raises: bool = False) -> httpx2.Response:
    """Send what opens a session, with nothing but these headers."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=raises)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport) as http:
        return await http.post(RESOURCE, headers={**ACCEPT, **headers}, json=INITIALIZE)


ACCEPT = {"accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def test_the_server_answers_a_caller_with_the_grant(way: Build) -> None:
    assert run(lambda: post(way(trusted()), caller())).status_code == 200


def test_without_a_token_the_answer_leads_to_the_metadata(way: Build) -> None:
    answer = run(lambda: post(way(trusted()), {}))
    assert answer.status_code == 401
    assert f'resource_metadata="{METADATA}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "claims",
    [
        {"expires_in": -3600},
        {"aud": "https://other.test/mcp"},
        {"aud": "https://mcp.test/"},
        {"iss": "https://other.test/"},
        {"cnf": {"jkt": "x"}},
        {"nonce": "n"},
    ],
    ids=lambda claims: next(iter(claims)),
)
def test_a_bad_token_is_refused(way: Build, claims: dict[str, Any]) -> None:
    answer = run(lambda: post(way(trusted()), caller(**claims)))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert f'resource_metadata="{METADATA}"' in answer.headers["www-authenticate"]


def test_a_token_of_another_key_is_refused(way: Build) -> None:
    token = ISSUER.token(permissions=[NEEDED])
    tampered = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    assert run(lambda: post(way(trusted()), {"Authorization": f"Bearer {tampered}"})).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"permissions": ["delete:notes"]},
        {"scope": f"openid {NEEDED}", "permissions": [], "client_id": "partner-app"},
        {"scope": "openid", "permissions": [NEEDED], "client_id": "partner-app"},
    ],
    ids=["no grant", "third party: scope alone", "third party: permission alone"],
)
def test_a_good_token_without_the_grant_is_refused(way: Build, claims: dict[str, Any]) -> None:
    answer = run(lambda: post(way(trusted()), caller(**claims)))
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert f'resource_metadata="{METADATA}"' in answer.headers["www-authenticate"]


def test_a_third_party_client_with_both_is_let_in(way: Build) -> None:
    assert run(lambda: post(way(trusted()), caller(scope=NEEDED, client_id="partner-app"))).status_code == 200


def test_a_third_party_client_cannot_borrow_a_users_permission_for_a_tool(way: Build, era: str) -> None:
    async def test(scope: str) -> Outcome:
        headers = caller("delete:notes", client_id="partner-app", scope=scope)
        async with visit(way(trusted()), headers, era) as visitor:
            return await visitor.call("delete", number=1)

    assert_refused(run(lambda: test(NEEDED)), "delete:notes")
    assert not run(lambda: test(f"{NEEDED} delete:notes")).result.is_error


def test_while_keys_are_unavailable_nobody_is_logged_out(way: Build) -> None:
    answer = run(lambda: post(way(trusted(keys=Unreachable())), caller()))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "www-authenticate" not in answer.headers
    assert answer.json()["code"] == "keys_unavailable"


# --- whose session it is ----------------------------------------------------------------------------------------------


def test_a_tool_that_asks_who_calls_makes_the_anonymous_log_in(era: str) -> None:
    async def test() -> Outcome:
        async with visit(in_fastapi(around=public), {}, era, "https://mcp.test/tools/mcp") as visitor:
            return await visitor.call("whoami")

    refused = run(test)
    assert refused.answer.status_code == 401
    assert refused.answer.headers["www-authenticate"] == f'Bearer realm="api", resource_metadata="{METADATA_BELOW}"'


def test_a_tool_knows_its_caller(way: Build, era: str) -> None:
    async def test() -> Any:
        async with visit(way(trusted()), caller("delete:notes", subject="auth0|kim"), era) as visitor:
            return (await visitor.call("whoami")).result.structured_content

    expected = {"subject": "auth0|kim", "theirs": ["first-party-app", "auth0|kim", ["delete:notes", NEEDED]]}
    assert run(test) == expected


def test_a_session_belongs_to_whoever_opened_it(way: Build) -> None:
    app = way(trusted())

    async def test() -> list[int]:
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers=ACCEPT) as http,
        ):
            opened = await http.post(RESOURCE, headers=caller(), json=INITIALIZE)
            session = {"mcp-session-id": opened.headers["mcp-session-id"]}
            ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
            others = (
                caller(),
                caller(subject="auth0|kim"),
                caller(client_id="another-app"),
                caller("delete:notes"),  # the same caller, with a fresh token
            )
            return [(await http.post(RESOURCE, headers={**who, **session}, json=ping)).status_code for who in others]

    assert run(test) == [200, 404, 404, 200]


def test_every_message_is_decided_by_its_own_token(way: Build) -> None:
    async def test() -> None:
        ran: list[str] = []
        async with visit(way(trusted(), ran), caller("delete:notes"), "legacy") as visitor:
            assert (await visitor.call("delete", number=1)).error is None
            visitor.http.headers.update(caller())
            assert_refused(await visitor.call("delete", number=1), "delete:notes")
            visitor.http.headers.update(caller("delete:notes"))
            assert (await visitor.call("delete", number=1)).error is None
        assert ran == ["delete", "delete"]

    run(test)


# --- where it stands --------------------------------------------------------------------------------------------------


def in_fastapi(*, around: Any, resource: str = "https://mcp.test/tools/mcp") -> FastAPI:
    """Mount the server below a path of a larger application, whose middleware stands outside."""
    server = notes_server()
    mcp_app = guarded.streamable_http_app(server, transport_security=HOSTS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(
        AuthzMiddleware,
        issuers=[ISSUER.trusted(third_party_clients=set(), rbac_enforced=True)],
        resource=resource,
        public_paths=FASTAPI_DOCS,
    )

    @app.get("/orders")
    @requires("read:orders")
    async def orders() -> list[str]:
        return []

    app.mount("/tools", around(mcp_app))
    return app


def test_a_server_below_a_path_of_a_larger_application(era: str) -> None:
    async def test() -> None:
        app = in_fastapi(around=requires(NEEDED))
        async with visit(app, caller(), era, "https://mcp.test/tools/mcp") as visitor:
            assert (await visitor.call("search", text="x")).error is None
            assert_refused(await visitor.call("delete", number=1), "delete:notes", metadata=METADATA_BELOW)
            metadata = (await visitor.http.get(METADATA_BELOW, headers={"Authorization": ""})).json()
            assert metadata["resource"] == "https://mcp.test/tools/mcp"
            assert (await visitor.http.get("https://mcp.test/orders")).status_code == 403

    run(test)


def test_a_mount_that_says_nothing_is_refused() -> None:
    async def test() -> httpx2.Response:
        app = in_fastapi(around=lambda mcp_app: mcp_app)
        transport = httpx2.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport) as http:
            return await http.post("https://mcp.test/tools/mcp", headers={**ACCEPT, **caller()}, json=INITIALIZE)

    answer = run(test)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_policy")


def test_on_a_public_server_a_tool_asks_the_anonymous_to_log_in(era: str) -> None:
    async def test(headers: dict[str, str]) -> Outcome:
        async with visit(in_fastapi(around=public), headers, era, "https://mcp.test/tools/mcp") as visitor:
            assert not (await visitor.call("search", text="x")).result.is_error
            return await visitor.call("delete", number=1)

    assert_refused(run(lambda: test({})), "delete:notes", Code.MISSING_TOKEN, METADATA_BELOW)
    assert_refused(run(lambda: test(caller())), "delete:notes", metadata=METADATA_BELOW)
    assert not run(lambda: test(caller("delete:notes"))).result.is_error


@pytest.mark.parametrize(("undecorated", "status"), [("authenticated", 200), ("refuse", 403)])
def test_the_middleware_on_the_sdks_own_application(undecorated: str, status: int) -> None:
    app = guarded.streamable_http_app(notes_server(), transport_security=HOSTS)
    app.add_middleware(AuthzMiddleware, issuers=[trusted()], resource=RESOURCE, undecorated=undecorated)
    assert run(lambda: post(app, caller())).status_code == status


def test_both_ways_at_once_the_middleware_decides(era: str) -> None:
    async def test() -> None:
        auth = settings(trusted(), resource_server_url=None, validate_token_resource=False)
        server = notes_server(auth=auth, token_verifier=guarded.token_verifier([trusted()]))
        app = guarded.streamable_http_app(server, transport_security=HOSTS)
        app.add_middleware(AuthzMiddleware, issuers=[trusted()], resource=RESOURCE, undecorated="authenticated")
        async with visit(app, caller(), era) as visitor:
            assert_refused(await visitor.call("delete", number=1), "delete:notes")

    run(test)


def test_both_ways_at_once_only_one_serves_the_metadata() -> None:
    app = with_the_sdk(trusted())
    app.add_middleware(AuthzMiddleware, issuers=[trusted()], resource=RESOURCE)
    with pytest.raises(ConfigurationError, match=r"^/\.well-known/.*; remove one of the two"):
        ask(app, http_scope("/mcp"))


def test_over_a_real_server_with_the_stream_that_stays_open(way: Build) -> None:
    async def test(url: str) -> None:
        streams = asyncio.Event()

        async def note(response: httpx2.Response) -> None:
            if response.request.method == "GET" and response.status_code == 200:
                streams.set()

        async with (
            httpx2.AsyncClient(headers=caller(), event_hooks={"response": [note]}) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="legacy") as client,
        ):
            await streams.wait()
            assert not (await client.call_tool("search", {"text": "x"})).is_error
            with pytest.raises(MCPError) as refused:
                await client.call_tool("delete", {"number": 1})
            assert refused.value.error.code == -32003
            assert not (await client.call_tool("search", {"text": "still here"})).is_error

    with served(way(trusted())) as url:
        run(lambda: test(url))


# --- what is configured wrongly ---------------------------------------------------------------------------------------


def test_a_server_that_nobody_authenticates_for_is_an_error() -> None:
    app = guarded.streamable_http_app(notes_server(), transport_security=HOSTS)
    assert run(lambda: post(app, caller())).status_code == 500
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigurationError, match="add_middleware"), flatten_subgroups=True):
        run(lambda: post(guarded.streamable_http_app(notes_server(), transport_security=HOSTS), {}, raises=True))


def test_another_transport_runs_what_states_nothing_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    server = notes_server(ran)

    @server.tool()
    async def unguarded(ctx: Context) -> str:
        ran.append("unguarded")
        await guarded.authorize(ctx, "read:more")
        return "read"

    @server.tool()
    async def open_to_anybody() -> str:
        ran.append("open_to_anybody")
        return "read"

    guarded.streamable_http_app(server)

    async def test() -> list[bool]:
        async with Client(server) as client:
            calls: tuple[tuple[str, dict[str, Any]], ...]
            calls = (("open_to_anybody", {}), ("delete", {"number": 1}), ("search", {"text": "x"}), ("unguarded", {}))
            return [(await client.call_tool(tool, arguments)).is_error for tool, arguments in calls]

    assert run(test) == [False, True, True, True]
    assert ran == ["open_to_anybody", "unguarded"]
    assert "streamable_http_app(server)" in caplog.text


class Theirs:
    """Somebody else's verifier."""

    async def verify_token(self, token: str) -> SDKAccessToken | None:
        return SDKAccessToken(token=token, client_id="c", scopes=["delete:notes", NEEDED])


def test_what_another_verifier_says_grants_nothing_here(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(ISSUER.issuer), resource_server_url=AnyHttpUrl(RESOURCE), validate_token_resource=False
    )
    server = notes_server(ran, auth=auth, token_verifier=Theirs())

    @server.tool()
    async def undecorated() -> None:
        ran.append("undecorated")

    app = guarded.streamable_http_app(server, transport_security=HOSTS, undecorated="authenticated")

    async def test() -> list[Any]:
        calls: tuple[tuple[str, dict[str, Any]], ...] = (
            ("delete", {"number": 1}),
            ("search", {"text": "x"}),
            ("undecorated", {}),
        )
        async with visit(app, {"Authorization": "Bearer opaque"}) as visitor:
            return [(await visitor.call(tool, **arguments)).error for tool, arguments in calls]

    assert [(error.code, error.message) for error in run(test)] == [(-32603, "Internal server error")] * 3
    assert ran == []
    assert "tool undecorated was asked for by HTTP" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_guarding_a_server_twice_decides_once() -> None:
    server = notes_server()
    before = len(server.middleware)
    guarded.streamable_http_app(server)
    guarded.streamable_http_app(server)
    assert len(server.middleware) == before + 1


# --- beside tools -----------------------------------------------------------------------------------------------------


def test_a_custom_route_is_guarded_behind_the_middleware_and_open_the_sdks_way(way: Build) -> None:
    """The SDK authenticates its own endpoint only, and says so."""

    async def test(headers: dict[str, str]) -> int:
        app = way(trusted())
        mounted: list[Any] = [route.app for route in app.routes if isinstance(route, Mount)]
        routes = mounted[0].routes if mounted else app.routes
        routes.append(Route("/mcp/status", lambda _: PlainTextResponse("ok"), methods=["POST"]))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport) as http:
            return (await http.post("https://mcp.test/mcp/status", headers=headers)).status_code

    anonymous = 401 if way is behind_middleware else 200
    assert (run(lambda: test({})), run(lambda: test(caller()))) == (anonymous, 200)


def test_a_server_of_the_lower_level_can_be_guarded(era: str) -> None:
    async def call_tool(ctx: ServerRequestContext[Any, Request], _: CallToolRequestParams) -> CallToolResult:
        assert ctx.request is not None
        await authorize(ctx.request, "delete:notes")
        return CallToolResult(content=[])

    async def list_tools(_: object, __: object) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="delete", input_schema={"type": "object"})])

    async def test(*grants: str) -> Outcome:
        server = Server("Notes", on_call_tool=authenticated(call_tool), on_list_tools=list_tools)
        app = guarded.streamable_http_app(server, transport_security=HOSTS)
        app.add_middleware(AuthzMiddleware, issuers=[trusted()], resource=RESOURCE, undecorated="authenticated")
        async with visit(app, caller(*grants), era) as visitor:
            return await visitor.call("delete")

    assert_refused(run(test), "delete:notes")
    assert not run(lambda: test("delete:notes")).result.is_error
