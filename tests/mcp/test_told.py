"""What an operator hears: one line for each refusal, whoever refuses; a hook; and what becomes of keys at the ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx2
import pytest
from mcp.server.auth.provider import AccessToken as SDKAccessToken
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from authz_middleware import AccessToken, ConfigurationError, TrustedIssuer
from authz_middleware.errors import Code, Reason
from authz_middleware.keys import KeyState, KeyStatus, StaticJWKS
from authz_middleware.mcp import streamable_http_app, token_verifier
from authz_middleware.mcp.tokens import VerifiedAccessToken
from authz_middleware.observe import RequestDecision

from ..offline import Network
from .serving import (
    HOSTS,
    ISSUER,
    METADATA,
    NEEDED,
    RESOURCE,
    Outcome,
    Serve,
    Unreachable,
    caller,
    notes_server,
    run,
    serve_with_the_sdk,
    settings,
    trusted,
    visit,
)

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what our logger has written about requests."""
    caplog.set_level(logging.INFO, "authz_middleware")
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name == "authz_middleware" and record.levelno == logging.INFO
    ]


Lines = Callable[[], list[str]]


async def post(app: Starlette, headers: dict[str, str], url: str = RESOURCE) -> httpx2.Response:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport) as http:
        return await http.post(url, headers={**ACCEPT, **headers}, json=PING)


def answer_of(app: Starlette, headers: dict[str, str], url: str = RESOURCE) -> httpx2.Response:
    return run(lambda: post(app, headers, url))


# --- one line for each refusal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "policy"),
    [
        ("delete", {"number": 1}, "'delete:notes'"),
        ("read", {"number": 2}, "'read:more'"),
        ("count-all", {}, "'count:notes'"),
    ],
)
def test_a_tools_refusal_is_one_line(
    serve: Serve, era: str, lines: Lines, tool: str, arguments: dict[str, Any], policy: str
) -> None:
    async def test() -> Outcome:
        async with visit(serve(notes_server, trusted()), caller(), era) as visitor:
            return await visitor.call(tool, **arguments)

    assert run(test).answer.status_code == 403
    (line,) = lines()
    assert line == (
        f"refused POST /mcp: code=insufficient_scope reason=grant_missing policy={policy} "
        f"issuer={ISSUER.issuer} dialect=access_token_authz"
    )


@pytest.mark.parametrize("uri", ["index://notes", "note://1", "draft://1"])
def test_so_is_a_resources(serve: Serve, era: str, lines: Lines, uri: str) -> None:
    async def test() -> Outcome:
        async with visit(serve(notes_server, trusted()), caller(), era) as visitor:
            return await visitor.of(visitor.client.read_resource(uri))

    assert run(test).answer.status_code == 403
    (line,) = lines()
    assert "policy='read:resources'" in line


REFUSED: dict[str, tuple[dict[str, str], str, str]] = {
    "no token": ({}, "missing_token", "no_credentials"),
    "another scheme": ({"Authorization": "Basic am86am8="}, "missing_token", "no_credentials"),
    "expired": (caller(expires_in=-3600), "expired", "expired"),
    "of another audience": (caller(aud="https://other.test/"), "wrong_audience", "audience_not_ours"),
    "of another issuer": (caller(iss="https://other.test/"), "untrusted_issuer", "issuer_not_trusted"),
    "no token at all": ({"Authorization": "Bearer x"}, "opaque_token", "opaque"),
    "without the grant": (caller(permissions=["other"]), "insufficient_scope", "grant_missing"),
}


@pytest.mark.parametrize(("headers", "code", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_the_server_as_a_whole_refuses_is_one_line(
    serve: Serve, lines: Lines, headers: dict[str, str], code: str, reason: str
) -> None:
    answer = answer_of(serve(notes_server, trusted()), headers)
    assert answer.status_code == (403 if code == "insufficient_scope" else 401)
    (line,) = lines()
    assert line.startswith("refused POST /mcp")
    assert f" code={code} reason={reason} policy={NEEDED!r} " in line
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    assert not any(part in line for part in token.split(".") if len(part) > 20)


def test_a_token_that_only_the_sdk_refuses_is_one_line_too(lines: Lines) -> None:
    """Within our leeway it is good; the SDK has none."""
    assert answer_of(serve_with_the_sdk(notes_server, trusted()), caller(expires_in=-10)).status_code == 401
    (line,) = lines()
    assert "code=expired reason=expired" in line
    assert f"issuer={ISSUER.issuer}" in line


def test_so_is_one_for_another_audience_of_ours(lines: Lines) -> None:
    other = TrustedIssuer(
        ISSUER.issuer, ["https://other.test/mcp"], dialects=["rfc9068"], keys=ISSUER.jwks(), rbac_enforced=True
    )
    headers = ISSUER.headers("rfc9068", aud="https://other.test/mcp", scope=NEEDED)
    assert answer_of(serve_with_the_sdk(notes_server, other), headers).status_code == 401
    (line,) = lines()
    assert "code=wrong_audience reason=audience_not_ours" in line


@pytest.mark.parametrize(
    ("options", "code"),
    [({"keys": Unreachable()}, "keys_unavailable"), ({}, "revocation_unknown")],
    ids=["keys", "revocation"],
)
def test_an_outage_is_one_line_and_503(serve: Serve, lines: Lines, options: dict[str, Any], code: str) -> None:
    def unknown(_: AccessToken) -> bool:
        raise OSError("no route to host")

    told = {} if options else {"revoked": unknown}
    answer = answer_of(serve(notes_server, trusted(**options), told=told), caller())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    (line,) = lines()
    assert line.startswith("refused POST ")
    assert f" code={code} " in line


def test_what_is_served_or_no_question_of_access_is_no_line(serve: Serve, era: str, lines: Lines) -> None:
    async def test() -> int:
        async with visit(serve(notes_server, trusted()), caller("delete:notes"), era) as visitor:
            assert (await visitor.call("delete", number=1)).error is None
            assert (await visitor.call("no_such_tool")).result.is_error
            assert (await visitor.http.get(METADATA)).status_code == 200
            wrong = await visitor.http.post(RESOURCE, headers={"Origin": "https://evil.test"}, json=PING)
            return wrong.status_code

    assert run(test) == 403  # the SDK's own check against DNS rebinding
    assert lines() == []


def test_a_bad_token_where_none_is_needed_is_no_refusal(lines: Lines) -> None:
    """The SDK leaves custom routes alone."""
    app = serve_with_the_sdk(notes_server, trusted())
    app.routes.append(Route("/status", lambda _: PlainTextResponse("no", 403), methods=["POST"]))
    assert answer_of(app, caller(expires_in=-3600), "https://mcp.test/status").status_code == 403
    assert lines() == []


def test_on_the_sdks_own_application_the_verifier_tells(lines: Lines) -> None:
    verifier = token_verifier([trusted()])
    app = notes_server(auth=settings(trusted()), token_verifier=verifier).streamable_http_app(transport_security=HOSTS)
    assert answer_of(app, caller(expires_in=-3600)).status_code == 401
    (line,) = lines()
    assert "code=expired reason=expired" in line


class Asking:
    """A verifier of the application's own, which asks ours."""

    def __init__(self, issuer: TrustedIssuer) -> None:
        self._ours = token_verifier([issuer])

    async def verify_token(self, token: str) -> SDKAccessToken | None:
        return await self._ours.verify_token(token)


def asking(issuer: TrustedIssuer) -> Starlette:
    server = notes_server(auth=settings(issuer), token_verifier=Asking(issuer))
    return streamable_http_app(server, transport_security=HOSTS)


def test_a_verifier_that_asks_ours_is_told_of_and_decided_by(era: str, lines: Lines) -> None:
    async def test() -> Outcome:
        async with visit(asking(trusted()), caller(), era) as visitor:
            return await visitor.call("delete", number=1)

    assert run(test).answer.status_code == 403
    assert answer_of(asking(trusted()), caller(expires_in=-3600)).status_code == 401
    assert answer_of(asking(trusted()), {}).status_code == 401  # of this only the other verifier knows
    assert answer_of(asking(trusted(keys=Unreachable())), caller()).status_code == 503
    assert [line.split("code=")[1].split(" ")[0] for line in lines()] == [
        "insufficient_scope",
        "expired",
        "keys_unavailable",
    ]


# --- the hook ---------------------------------------------------------------------------------------------------------


def decisions_of(
    serve: Serve, era: str, headers: dict[str, str], *calls: tuple[str, dict[str, Any]]
) -> list[RequestDecision]:
    heard: list[RequestDecision] = []

    async def test() -> None:
        app = serve(notes_server, trusted(), told={"on_decision": heard.append})
        async with visit(app, headers, era) as visitor:
            heard.clear()
            for tool, arguments in calls:
                await visitor.call(tool, **arguments)

    run(test)
    return heard


def test_the_hook_hears_what_tools_granted_and_refused(serve: Serve, era: str) -> None:
    heard = decisions_of(serve, era, caller("count:notes"), ("delete", {"number": 1}), ("count-all", {}))
    about_tools = [decision for decision in heard if repr(decision.policy) in {"'delete:notes'", "'count:notes'"}]
    refused, granted = about_tools
    assert (refused.allowed, refused.enforced, refused.code, refused.reason) == (
        False,
        True,
        Code.INSUFFICIENT_SCOPE,
        Reason.GRANT_MISSING,
    )
    assert (granted.allowed, granted.code, repr(granted.policy)) == (True, None, "'count:notes'")
    for decision in about_tools:
        assert (decision.method, decision.route, decision.issuer) == ("POST", "/mcp", ISSUER.issuer)
        assert decision.token is not None
        assert decision.token.subject == "auth0|jo"
        assert decision.detail is not None
        assert decision.detail.allowed is decision.allowed


def test_the_hook_hears_what_the_sdk_refused() -> None:
    heard: list[RequestDecision] = []
    for headers in ({}, caller(expires_in=-3600), caller(expires_in=-10), caller(permissions=[])):
        answer_of(serve_with_the_sdk(notes_server, trusted(), told={"on_decision": heard.append}), headers)
    codes = [Code.MISSING_TOKEN, Code.EXPIRED, Code.EXPIRED, Code.INSUFFICIENT_SCOPE]
    assert [decision.code for decision in heard] == codes
    assert [decision.token is not None for decision in heard] == [False, False, True, True]


def test_a_hook_that_fails_changes_no_answer(serve: Serve, era: str) -> None:
    def hook(decision: RequestDecision) -> None:
        raise ValueError(decision)

    async def test() -> list[int]:
        async with visit(serve(notes_server, trusted(), told={"on_decision": hook}), caller(), era) as visitor:
            return [(await visitor.call(tool, number=1)).answer.status_code for tool in ("delete", "read")]

    assert run(test) == [403, 200]


# --- what the validator takes -----------------------------------------------------------------------------------------


def test_a_revoked_token_is_refused(serve: Serve, lines: Lines) -> None:
    asked: list[str] = []

    async def revoked(token: AccessToken) -> bool:
        asked.append(token.subject)
        return token.subject == "auth0|kim"

    for subject, status in (("auth0|kim", 401), ("auth0|jo", 400)):  # 400: a ping without a session, let in
        app = serve(notes_server, trusted(), told={"revoked": revoked})
        assert answer_of(app, caller(subject=subject)).status_code == status
    assert asked == ["auth0|kim", "auth0|jo"]
    (line,) = lines()
    assert "code=revoked reason=revoked" in line


class Counted:
    """A key source that counts what it is asked."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.keys = StaticJWKS(ISSUER.jwks(), frozenset({"RS256"}))
        self.is_ready = is_ready
        self.calls: list[str] = []

    async def get(self, kid: str | None, algorithm: str) -> Any:
        return await self.keys.get(kid, algorithm)

    def status(self) -> KeyStatus:
        return KeyStatus(state=KeyState.FRESH)

    async def warm_up(self) -> bool:
        self.calls.append("warm_up")
        return self.is_ready

    async def aclose(self) -> None:
        self.calls.append("aclose")


def start(source: Counted, **told: Any) -> None:
    with TestClient(serve_with_the_sdk(notes_server, trusted(keys=source), told=told)):
        source.calls.append("served")


@pytest.mark.parametrize(
    ("warm_up", "calls"),
    [
        ("off", ["served", "aclose"]),
        ("try", ["warm_up", "served", "aclose"]),
        ("require", ["warm_up", "served", "aclose"]),
    ],
)
def test_keys_are_had_at_start_where_that_is_wanted_and_let_go_at_the_end(warm_up: str, calls: list[str]) -> None:
    source = Counted()
    start(source, warm_up=warm_up)
    assert source.calls == calls


def test_without_keys_the_start_fails_only_where_they_are_required() -> None:
    source = Counted(is_ready=False)
    start(source, warm_up="try")
    assert source.calls == ["warm_up", "served", "aclose"]
    source = Counted(is_ready=False)
    with pytest.raises(RuntimeError, match=r"the keys of https://issuer\.test/ are unavailable"):
        start(source, warm_up="require")
    assert source.calls == ["warm_up", "aclose"]


def test_where_the_lifespan_is_not_run_a_verifier_is_started_and_ended_by_hand() -> None:
    network = Network(ISSUER)
    verifier = token_verifier([replace(trusted(), keys=None, fetch=network)], warm_up="require")

    async def test() -> tuple[list[str], list[str]]:
        before = [status.state.value for _, status in verifier.status()]
        await verifier.start()
        after = [status.state.value for _, status in verifier.status()]
        await verifier.aclose()
        return before, after

    assert run(test) == (["unavailable"], ["fresh"])
    assert len(network.asked) == 2
    assert [issuer.issuer for issuer in verifier.issuers] == [ISSUER.issuer]


@pytest.mark.parametrize(
    ("bounds", "is_remembered"),
    [({}, True), ({"max_cached_tokens": 1}, True), ({"max_cached_tokens": 0}, False), ({"max_cached_bytes": 9}, False)],
    ids=str,
)
def test_tokens_are_remembered_as_many_as_is_said(bounds: dict[str, Any], is_remembered: bool) -> None:
    verifier = token_verifier([trusted()], **bounds)
    text = ISSUER.token(permissions=[NEEDED])
    first, second = (run(partial(verifier.verify_token, text)) for _ in range(2))
    assert isinstance(first, VerifiedAccessToken)
    assert isinstance(second, VerifiedAccessToken)
    assert (first.verified is second.verified) is is_remembered


@pytest.mark.parametrize(
    "option",
    [
        {"warm_up": "yes"},
        {"warm_up": None},
        {"max_cached_tokens": -1},
        {"max_cached_bytes": -1},
        {"max_token_bytes": 0},
        {"revoked": "no"},
        {"on_decision": "no"},
    ],
    ids=str,
)
def test_arguments_that_cannot_be_meant_are_errors(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        token_verifier([trusted()], **option)


def test_a_scope_that_is_never_granted_cannot_be_required() -> None:
    auth = settings(trusted(), required_scopes=["openid"])
    server = MCPServer("Notes", auth=auth, token_verifier=token_verifier([trusted()]))
    with pytest.raises(ConfigurationError, match="openid"):
        streamable_http_app(server)


def test_nothing_is_required_where_nothing_is_said(lines: Lines) -> None:
    server = notes_server(auth=settings(trusted(), required_scopes=None), token_verifier=token_verifier([trusted()]))
    assert answer_of(streamable_http_app(server, transport_security=HOSTS), {}).status_code == 401
    (line,) = lines()
    assert "code=missing_token reason=no_credentials policy=authenticated" in line
