"""What a server offers, and what becomes of what was decorated too late, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resources import Resource, TextResource
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    Completion,
    ListToolsResult,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplateReference,
    Tool,
)
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.testclient import TestClient

from authz_middleware import AuthzMiddleware, ConfigurationError, authenticated, public, requires
from authz_middleware.errors import ANSWERS, Code
from authz_middleware.mcp import Feature, features, streamable_http_app, token_verifier
from authz_middleware.policy import AUTHENTICATED, PUBLIC

from .serving import (
    HOSTS,
    METADATA,
    NEEDED,
    RESOURCE,
    Outcome,
    Serve,
    Visit,
    caller,
    notes_server,
    run,
    serve_behind_middleware,
    settings,
    trusted,
    visit,
)

Fill = Callable[[MCPServer, list[str]], Any]
T = TypeVar("T")


def completion_of(server: Any) -> Callable[[T], T]:
    """Return the SDK's decorator, which has no types."""
    decorator: Callable[[T], T] = server.completion()
    return decorator


def route_of(server: Any, path: str) -> Callable[[T], T]:
    """Return the SDK's decorator, which has no types."""
    decorator: Callable[[T], T] = server.custom_route(path, methods=["GET"])
    return decorator


def making(*fills: Fill, ran: list[str] | None = None) -> Callable[..., MCPServer]:
    """Return what makes a server with these features."""

    def make(**options: Any) -> MCPServer:
        server = MCPServer("Notes", **options)
        for fill in fills:
            fill(server, [] if ran is None else ran)
        return server

    return make


def assert_refused(outcome: Outcome, code: Code, scope: str = "") -> None:
    assert outcome.answer.status_code == ANSWERS[code].status
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.data["code"]) == (-32003, code)
    if scope:
        assert f'scope="{scope}"' in outcome.answer.headers["www-authenticate"]


# --- decorated too late -----------------------------------------------------------------------------------------------


def late_tool(server: MCPServer, ran: list[str]) -> None:
    @requires("delete:all")
    @server.tool()
    async def wipe() -> str:
        ran.append("wipe")
        return "gone"


def late_sync_tool(server: MCPServer, ran: list[str]) -> None:
    @authenticated
    @server.tool(name="wipe")
    def other_name() -> str:
        ran.append("wipe")
        return "gone"


def late_method(server: MCPServer, ran: list[str]) -> None:
    class Store:
        def wipe(self) -> str:
            ran.append("wipe")
            return "gone"

    store = Store()
    server.add_tool(store.wipe)
    store.guarded = requires("delete:all")(store.wipe)  # type: ignore[attr-defined]


def late_resource(server: MCPServer, ran: list[str]) -> None:
    @requires("read:all")
    @server.resource("secret://all")
    async def secrets() -> str:
        ran.append("secrets")
        return "secret"


def late_template(server: MCPServer, ran: list[str]) -> None:
    @requires("read:all")
    @server.resource("secret://{number}")
    def secret(number: str) -> str:
        ran.append("secret")
        return "secret"


def late_prompt(server: MCPServer, ran: list[str]) -> None:
    @requires("read:all")
    @server.prompt()
    async def sum_up() -> str:
        ran.append("sum_up")
        return "secret"


def late_completion(server: MCPServer, ran: list[str]) -> None:
    @requires("read:all")
    @completion_of(server)
    async def complete(ref: object, argument: object, context: object) -> Completion:
        ran.append("complete")
        return Completion(values=["secret"])


async def call_wipe(visitor: Visit) -> Outcome:
    return await visitor.call("wipe")


async def read_all(visitor: Visit) -> Outcome:
    return await visitor.of(visitor.client.read_resource("secret://all"))


async def read_one(visitor: Visit) -> Outcome:
    return await visitor.of(visitor.client.read_resource("secret://1"))


async def get_prompt(visitor: Visit) -> Outcome:
    return await visitor.of(visitor.client.get_prompt("sum_up"))


async def complete(visitor: Visit) -> Outcome:
    asked = visitor.client.complete(PromptReference(name="sum_up"), {"name": "number", "value": ""})
    return await visitor.of(asked)


LATE: dict[str, tuple[Fill, Callable[[Visit], Any], str]] = {
    "tool": (late_tool, call_wipe, "tool wipe: @requires"),
    "sync tool": (late_sync_tool, call_wipe, "tool wipe: @authenticated"),
    "bound method": (late_method, call_wipe, "tool wipe: @requires"),
    "resource": (late_resource, read_all, "resource secret://all: @requires"),
    "template": (late_template, read_one, "template secret://{number}: @requires"),
    "prompt": (late_prompt, get_prompt, "prompt sum_up: @requires"),
    "completion": (late_completion, complete, "method completion/complete: @requires"),
}
late = pytest.mark.parametrize(("fill", "use", "said"), LATE.values(), ids=LATE)


@late
def test_what_was_decorated_too_late_is_an_error(
    serve: Serve, fill: Fill, use: Callable[[Visit], Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        serve(making(fill), trusted())
    (fault,) = error.value.faults
    assert fault.startswith(f"{said} stands above the SDK's decorator")
    assert "write it below @server." in fault
    with pytest.raises(ConfigurationError, match="stands above"):
        features(making(fill)())


def test_every_such_place_is_said_at_once(serve: Serve) -> None:
    fills = (late_tool, late_resource, late_template, late_prompt, late_completion)
    with pytest.raises(ConfigurationError) as error:
        serve(making(*fills), trusted())
    assert len(error.value.faults) == len(fills)


def test_the_right_order_is_no_error_whatever_is_stated(serve: Serve) -> None:
    def fill(server: MCPServer, ran: list[str]) -> None:
        for number, decorator in enumerate((public, authenticated, requires("a"))):
            server.tool(name=f"t{number}")(decorator(_function()))
            server.prompt(name=f"p{number}")(decorator(_function()))
            server.resource(f"static://{number}")(decorator(_function()))
            server.resource(f"template{number}://{{number}}")(decorator(_function("number")))

    serve(making(fill), trusted())
    stated = {feature.name: feature.access for feature in features(making(fill)())}
    assert len(stated) == 12
    assert {stated[name] for name in ("t0", "p0", "static://0", "template0://{number}")} == {PUBLIC}
    assert {stated[name] for name in ("t1", "p1", "static://1", "template1://{number}")} == {AUTHENTICATED}
    assert {repr(stated[name]) for name in ("t2", "p2", "static://2", "template2://{number}")} == {"'a'"}


def _function(*parameters: str) -> Callable[..., str]:
    def with_number(number: str) -> str:
        return number

    def without() -> str:
        return ""

    return with_number if parameters else without


@late
def test_what_is_added_later_and_decorated_too_late_is_never_run(
    serve: Serve,
    era: str,
    fill: Fill,
    use: Callable[[Visit], Any],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []
    made: list[MCPServer] = []

    def make(**options: Any) -> MCPServer:
        made.append(notes_server(ran, **options))
        return made[0]

    app = serve(make, trusted(), undecorated="authenticated")

    async def test() -> tuple[Outcome, Outcome]:
        async with visit(app, caller("delete:all", "read:all"), era) as visitor:
            fill(made[0], ran)
            return await use(visitor), await visitor.call("search", text="x")

    outcome, other = run(test)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == (-32603, "Internal server error")
    assert ran == ["search"]
    assert not other.result.is_error
    (logged,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged.getMessage().startswith(said)
    assert logged.exc_info is None


def test_what_is_added_before_the_start_fails_the_start(serve: Serve) -> None:
    made: list[MCPServer] = []

    def make(**options: Any) -> MCPServer:
        made.append(MCPServer("Notes", **options))
        return made[0]

    app = serve(make, trusted())
    late_tool(made[0], [])
    with pytest.raises(ConfigurationError, match="tool wipe"), TestClient(app):
        pass


def test_a_custom_route_decorated_too_late_is_an_error(serve: Serve) -> None:
    def fill(server: MCPServer, ran: list[str]) -> None:
        @requires("read:status")
        @route_of(server, "/status")
        async def status(request: Request) -> Response:
            return PlainTextResponse("ok")

    with pytest.raises(ConfigurationError, match=r"/status: @requires stands above @server\.custom_route"):
        serve(making(fill), trusted())


# --- not decorated at all ---------------------------------------------------------------------------------------------


def undecorated_features(server: MCPServer, ran: list[str]) -> None:
    @server.tool()
    async def wipe() -> str:
        ran.append("wipe")
        return "gone"

    @server.resource("secret://all")
    def secrets() -> str:
        ran.append("secrets")
        return "secret"

    @server.resource("secret://{number}")
    async def secret(number: str) -> str:
        ran.append("secret")
        return "secret"

    @server.prompt()
    def sum_up() -> str:
        ran.append("sum_up")
        return "secret"

    @completion_of(server)
    async def complete(ref: object, argument: object, context: object) -> Completion:
        ran.append("complete")
        return Completion(values=["secret"])


USES = (call_wipe, read_all, read_one, get_prompt, complete)
RAN = ["wipe", "secrets", "secret", "sum_up", "complete"]


def outcomes_of(app: Starlette, headers: dict[str, str], era: str, url: str = RESOURCE) -> list[Outcome]:
    async def test() -> list[Outcome]:
        async with visit(app, headers, era, url) as visitor:
            return [await use(visitor) for use in USES]

    return run(test)


def test_what_states_nothing_is_refused(serve: Serve, era: str, caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    app = serve(making(undecorated_features, ran=ran), trusted())
    with caplog.at_level(logging.INFO, "authz_middleware"):
        for outcome in outcomes_of(app, caller("delete:all", "read:all"), era):
            assert_refused(outcome, Code.NO_POLICY)
            assert "www-authenticate" not in outcome.answer.headers
    assert ran == []
    assert caplog.text.count("code=no_policy") == len(USES)
    assert not any(record.exc_info for record in caplog.records)


def test_what_states_nothing_is_open_where_the_application_says_so(serve: Serve, era: str) -> None:
    ran: list[str] = []
    app = serve(making(undecorated_features, ran=ran), trusted(), undecorated="authenticated")
    assert [outcome.error for outcome in outcomes_of(app, caller(), era)] == [None] * len(USES)
    assert ran == RAN


@pytest.mark.parametrize("undecorated", ["refuse", "authenticated"])
def test_what_states_nothing_is_never_open_to_the_anonymous(era: str, undecorated: str) -> None:
    ran: list[str] = []
    server = making(undecorated_features, ran=ran)()
    app = Starlette(
        routes=[Mount("/", app=public(streamable_http_app(server, transport_security=HOSTS, undecorated=undecorated)))],
        middleware=[Middleware(AuthzMiddleware, issuers=[trusted()], resource=RESOURCE)],
        lifespan=lambda _: server.session_manager.run(),
    )
    for outcome in outcomes_of(app, {}, era):
        assert_refused(outcome, Code.MISSING_TOKEN)
    assert ran == []


def test_where_refusals_are_only_reported_it_is_served_and_told(era: str, caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    app = serve_behind_middleware(making(undecorated_features, ran=ran), trusted(), told={"enforce": False})
    with caplog.at_level(logging.INFO, "authz_middleware"):
        assert [outcome.error for outcome in outcomes_of(app, caller(), era)] == [None] * len(USES)
    assert ran == RAN
    assert caplog.text.count("code=no_policy") == len(USES)
    assert "would refuse" in caplog.text


def test_what_states_nothing_is_named_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    names = "tool wipe, resource secret://all, template secret://{number}, prompt sum_up"
    serve(making(undecorated_features), trusted())
    assert "so they are refused; write @requires, @authenticated or @public below the SDK's decorator" in caplog.text
    assert caplog.text.count(names) == 1
    caplog.clear()
    serve(making(undecorated_features), trusted(), undecorated="authenticated")
    assert "any valid token that may use the server may use them" in caplog.text
    caplog.clear()
    serve(notes_server, trusted())
    assert "state no policy" not in caplog.text


@pytest.mark.parametrize("undecorated", ["", "public", None, [], True])
def test_undecorated_is_one_of_two_words(undecorated: Any) -> None:
    with pytest.raises(ConfigurationError, match='undecorated is "refuse" or "authenticated"'):
        streamable_http_app(MCPServer("Notes"), undecorated=undecorated)


def test_one_server_cannot_be_both() -> None:
    server = MCPServer("Notes")
    streamable_http_app(server)
    streamable_http_app(server, undecorated="refuse")
    with pytest.raises(ConfigurationError, match="another undecorated="):
        streamable_http_app(server, undecorated="authenticated")


def test_a_tool_that_does_not_exist_is_as_unknown_as_before(serve: Serve, era: str) -> None:
    async def test() -> list[Outcome]:
        async with visit(serve(notes_server, trusted()), caller(), era) as visitor:
            client = visitor.client
            return [
                await visitor.call("nothing"),
                await visitor.of(client.read_resource("nothing://here")),
                await visitor.of(client.get_prompt("nothing")),
                await visitor.of(client.complete(PromptReference(name="nothing"), {"name": "a", "value": ""})),
            ]

    tool, *others = run(test)
    assert (tool.answer.status_code, tool.result.is_error) == (200, True)
    assert [outcome.error is not None and outcome.error.code != -32003 for outcome in others] == [True] * 3


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read", "completion/complete"])
@pytest.mark.parametrize("params", [{}, {"name": None, "uri": None}, {"name": ["wipe"], "uri": {"a": 1}, "ref": "x"}])
def test_a_message_that_names_nothing_uses_nothing(serve: Serve, method: str, params: dict[str, Any]) -> None:
    ran: list[str] = []
    app = serve(making(undecorated_features, ran=ran), trusted(), stateless_http=True, json_response=True)

    async def test() -> int:
        headers = {"mcp-protocol-version": "2025-11-25", "accept": "application/json, text/event-stream"}
        async with visit(app, caller(), "legacy") as visitor:
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return (await visitor.http.post(RESOURCE, headers=headers, json=message)).status_code

    assert run(test) in {200, 400, 403}
    assert ran == []


# --- resources that are no functions ----------------------------------------------------------------------------------


def test_a_ready_made_resource_states_nothing(serve: Serve, era: str) -> None:
    def fill(server: MCPServer, ran: list[str]) -> None:
        server.add_resource(TextResource(uri="secret://all", text="secret"))

    async def test(**options: Any) -> Outcome:
        async with visit(serve(making(fill), trusted(), **options), caller(), era) as visitor:
            return await read_all(visitor)

    assert_refused(run(test), Code.NO_POLICY)
    assert run(lambda: test(undecorated="authenticated")).error is None


def test_a_class_of_resources_is_decorated_at_its_method(serve: Serve, era: str) -> None:
    class Secret(Resource):
        @requires("read:all")
        async def read(self) -> str:
            return "secret"

    def fill(server: MCPServer, ran: list[str]) -> None:
        server.add_resource(Secret(uri="secret://all"))

    async def test(*grants: str) -> Outcome:
        async with visit(serve(making(fill), trusted()), caller(*grants), era) as visitor:
            return await read_all(visitor)

    assert_refused(run(test), Code.INSUFFICIENT_SCOPE, "read:all")
    assert run(lambda: test("read:all")).error is None


# --- completion -------------------------------------------------------------------------------------------------------


def guarded_and_completed(server: MCPServer, ran: list[str]) -> None:
    @server.resource("secret://{number}")
    @requires("read:all")
    def secret(number: str) -> str:
        return "secret"

    @server.resource("secret://one")
    @requires("read:one")
    def one() -> str:
        return "secret"

    @server.prompt()
    @public
    def greet(name: str) -> str:
        return "secret"

    @completion_of(server)
    async def complete(ref: object, argument: object, context: object) -> Completion:
        ran.append("complete")
        return Completion(values=["secret"])


SECRET = ResourceTemplateReference(uri="secret://{number}")
GREET = PromptReference(name="greet")


@pytest.mark.parametrize(
    ("ref", "lacking"),
    [
        (SECRET, "read:all"),
        (ResourceTemplateReference(uri="secret://7"), "read:all"),
        (ResourceTemplateReference(uri="secret://one"), "read:one"),
        (GREET, None),
    ],
    ids=["template", "what it matches", "resource", "public prompt"],
)
def test_what_is_guarded_is_not_completed_for_others(serve: Serve, era: str, ref: Any, lacking: str | None) -> None:
    ran: list[str] = []

    async def test(*grants: str) -> Outcome:
        async with visit(serve(making(guarded_and_completed, ran=ran), trusted()), caller(*grants), era) as visitor:
            return await visitor.of(visitor.client.complete(ref, {"name": "number", "value": ""}))

    if lacking is not None:
        assert_refused(run(test), Code.INSUFFICIENT_SCOPE, lacking)
        assert ran == []
    assert run(lambda: test(*filter(None, [lacking]))).error is None
    assert ran == ["complete"]


@pytest.mark.parametrize(
    "ref",
    [
        {"type": "ref/resource", "uri": "secret://{number}", "name": "greet"},
        {"type": "ref/prompt", "uri": "secret://{number}", "name": "greet"},
        {"uri": "secret://{number}", "name": "greet"},
        {"uri": "secret://{number}"},
        {"type": "ref/prompt", "name": "nothing"},
        {"type": "ref/resource", "uri": "nothing://here"},
    ],
    ids=str,
)
def test_a_reference_that_names_two_gets_neither_of_them(serve: Serve, ref: dict[str, str]) -> None:
    ran: list[str] = []
    app = serve(making(guarded_and_completed, ran=ran), trusted(), json_response=True)

    async def test() -> int:
        async with visit(app, caller(), "legacy") as visitor:
            session = visitor.answers[0].headers["mcp-session-id"]
            headers = {"mcp-session-id": session, "accept": "application/json, text/event-stream"}
            params = {"ref": ref, "argument": {"name": "number", "value": ""}}
            message = {"jsonrpc": "2.0", "id": 9, "method": "completion/complete", "params": params}
            return (await visitor.http.post(RESOURCE, headers=headers, json=message)).status_code

    assert run(test) == 403
    assert ran == []


def test_the_function_that_completes_may_ask_for_more(serve: Serve, era: str, caplog: pytest.LogCaptureFixture) -> None:
    def fill(server: MCPServer, ran: list[str]) -> None:
        @server.prompt()
        @authenticated
        def greet(name: str) -> str:
            return ""

        @completion_of(server)
        @requires("complete:names")
        async def complete(ref: object, argument: object, context: object) -> Completion:
            return Completion(values=["jo"])

    async def test(*grants: str, ref: PromptReference = GREET) -> Outcome:
        async with visit(serve(making(fill), trusted()), caller(*grants), era) as visitor:
            return await visitor.of(visitor.client.complete(ref, {"name": "name", "value": ""}))

    assert_refused(run(test), Code.INSUFFICIENT_SCOPE, "complete:names")
    assert not any(record.exc_info for record in caplog.records)
    assert run(lambda: test("complete:names")).result.completion.values == ["jo"]
    assert run(lambda: test("complete:names", ref=PromptReference(name="another"))).error is None
    assert str(features(making(fill)())[-1]) == "method completion/complete: 'complete:names'"


# --- the list ---------------------------------------------------------------------------------------------------------


def test_features_are_listed_with_what_they_state() -> None:
    lines = [str(feature) for feature in features(notes_server())]
    assert "tool delete: 'delete:notes'" in lines
    assert "tool count-all: 'count:notes'" in lines
    assert "tool read: authenticated" in lines
    assert "tool search: public" in lines
    assert "resource index://notes: 'read:resources'" in lines
    assert "template note://{number}: 'read:resources'" in lines
    assert "prompt summary: 'read:prompts'" in lines
    assert [feature for feature in features(notes_server()) if feature.is_unguarded] == []


def test_a_forgotten_one_shows_in_the_test_that_looks_for_it() -> None:
    unguarded = [feature for feature in features(making(undecorated_features)()) if feature.is_unguarded]
    assert repr(unguarded[0]) == "tool wipe: states nothing"
    assert [feature.name for feature in unguarded] == ["wipe", "secret://all", "secret://{number}", "sum_up"]


def test_what_is_taken_away_is_listed_no_longer() -> None:
    server = notes_server()
    server.remove_tool("delete")
    assert "delete" not in [feature.name for feature in features(server)]


@pytest.mark.parametrize("server", [object(), None, Starlette(), "server"], ids=repr)
def test_what_is_no_server_cannot_be_listed_or_served(server: Any) -> None:
    with pytest.raises(ConfigurationError, match="pass the MCPServer"):
        features(server)
    with pytest.raises(ConfigurationError, match="pass the MCPServer"):
        streamable_http_app(server)


# --- servers of the lower level ---------------------------------------------------------------------------------------


async def list_tools(_: object, __: object) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="any", input_schema={"type": "object"})])


async def call_tool(_: ServerRequestContext[Any, Any], __: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[])


async def read_resource(_: ServerRequestContext[Any, Any], __: ReadResourceRequestParams) -> ReadResourceResult:
    return ReadResourceResult(contents=[])


def serve_low_level(server: Server, **options: Any) -> Starlette:
    app = streamable_http_app(server, transport_security=HOSTS, **options)
    app.add_middleware(AuthzMiddleware, issuers=[trusted()], resource=RESOURCE, undecorated="authenticated")
    return app


@pytest.mark.parametrize(
    ("decorator", "undecorated", "code"),
    [
        (None, "refuse", Code.NO_POLICY),
        (None, "authenticated", None),
        (authenticated, "refuse", None),
        (requires("use:tools"), "refuse", Code.INSUFFICIENT_SCOPE),
        (requires(NEEDED), "refuse", None),
    ],
    ids=str,
)
def test_its_handlers_are_decorated(era: str, decorator: Any, undecorated: str, code: Code | None) -> None:
    async def handler(ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
        return CallToolResult(content=[])

    handler = handler if decorator is None else decorator(handler)
    app = serve_low_level(Server("Notes", on_list_tools=list_tools, on_call_tool=handler), undecorated=undecorated)

    async def test() -> Outcome:
        async with visit(app, caller(), era) as visitor:
            return await visitor.call("any")

    outcome = run(test)
    if code is None:
        assert outcome.error is None
    else:
        assert_refused(outcome, code)


def test_with_the_sdks_authentication_it_is_guarded_likewise(era: str) -> None:
    handlers: dict[str, Any] = {"on_list_tools": list_tools, "on_call_tool": requires("use:tools")(call_tool)}
    sdk: dict[str, Any] = {"auth": settings(trusted()), "token_verifier": token_verifier([trusted()])}

    async def test(*grants: str) -> Outcome:
        app = streamable_http_app(Server("Notes", **handlers), transport_security=HOSTS, **sdk)
        async with visit(app, caller(*grants), era) as visitor:
            return await visitor.call("any")

    refused = run(test)
    assert_refused(refused, Code.INSUFFICIENT_SCOPE, "use:tools")
    assert f'resource_metadata="{METADATA}"' in refused.answer.headers["www-authenticate"]
    assert run(lambda: test("use:tools")).error is None


def test_its_handlers_are_listed() -> None:
    server = Server("Notes", on_call_tool=requires("a")(call_tool), on_read_resource=read_resource)
    assert features(server) == (
        Feature("method", "tools/call", requires("a").access),
        Feature("method", "resources/read", None),
    )


def test_its_handlers_may_be_decorated_too_late() -> None:
    async def handler(ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> CallToolResult:
        return CallToolResult(content=[])

    server = Server("Notes", on_call_tool=handler)
    requires("a")(handler)
    with pytest.raises(ConfigurationError, match=r"method tools/call: @requires .* before Server"):
        streamable_http_app(server)
