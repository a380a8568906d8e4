"""Applications, raw ASGI calls and checks for the tests of the enforcement half. Checks raise, they do not assert."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Router
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authz_middleware import AccessToken, AuthzMiddleware
from authz_middleware.challenge import Challenger
from authz_middleware.context import RequestContext
from authz_middleware.policy import TokenRequest
from authz_middleware.testing import LocalIssuer
from authz_middleware.token import GrantRule, GrantSet

FORBIDDEN = (
    'Bearer realm="api", error="insufficient_scope", '
    'error_description="The access token does not meet the requirements of this route."'
)
PREFLIGHT = {"Origin": "https://page.test", "Access-Control-Request-Method": "GET"}


def grants(scopes: str = "", permissions: str = "", *, roles: str = "", **more: Any) -> GrantSet:
    """Return grants of which everything counts, unless `effective`, `entitlements` or `rule` say otherwise."""
    scope, permission = frozenset(scopes.split()), frozenset(permissions.split())
    more.setdefault("effective", scope | permission)
    more.setdefault("entitlements", permission)
    more.setdefault("rule", GrantRule.EITHER)
    return GrantSet(scopes=scope, permissions=permission, roles=frozenset(roles.split()), **more)


def token_with(granted: GrantSet) -> AccessToken:
    """Return a token that carries these grants, as the validator would hand it over."""
    return AccessToken(
        issuer="https://issuer.test/",
        subject="auth0|jo",
        client_id="app",
        audience=("https://api.test/",),
        expires_at=2.0,
        issued_at=1.0,
        token_id=None,
        tenant=None,
        actor=None,
        dialect="access_token_authz",
        is_machine=False,
        claims={},
        grants=granted,
    )


def asking(granted: GrantSet) -> TokenRequest:
    """Return a request of a caller whose token carries these grants, as policies are asked about it."""
    return TokenRequest(token_with(granted))


def context(granted: GrantSet | None = None, **options: Any) -> RequestContext:
    """Return the context of a request with a token that carries these grants; None: an anonymous one."""
    return RequestContext(None if granted is None else token_with(granted), Challenger(), **options)


def authz(issuer: LocalIssuer, **options: Any) -> Middleware:
    """Return the middleware as applications list it."""
    options.setdefault("issuers", [issuer.trusted(third_party_clients=set())])
    return Middleware(AuthzMiddleware, **options)


def starlette_app(issuer: LocalIssuer, *routes: BaseRoute, **options: Any) -> Starlette:
    """Return a guarded Starlette application."""
    return Starlette(routes=routes, middleware=[authz(issuer, **options)])


def client(app: ASGIApp, **options: Any) -> TestClient:
    """Return a client that follows no redirect and raises what the application raises."""
    return TestClient(app, follow_redirects=False, **options)


async def endpoint(request: Request) -> Response:
    """Answer with what an endpoint can see of the request."""
    return JSONResponse({"path": request.url.path})


async def bare(request: Request) -> Response:
    """Answer like `endpoint`; this one is never decorated anywhere."""
    return await endpoint(request)


@dataclass
class Calls:
    """Counts what ran."""

    names: list[str] = field(default_factory=list)

    def note(self, name: str = "handler") -> None:
        self.names.append(name)

    def __bool__(self) -> bool:
        return bool(self.names)


@dataclass
class Foreign:
    """An ASGI application whose insides nobody can see."""

    status: int = 200
    calls: Calls = field(default_factory=Calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.note(scope["type"])
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "foreign"})
            self.calls.note((await receive())["type"])
            await send({"type": "websocket.close", "code": 1000})
        else:
            await PlainTextResponse("foreign", self.status)(scope, receive, send)
            self.calls.note((await receive())["type"])


# --- raw ASGI ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What an application sent."""

    messages: list[Message]

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    def json(self) -> Any:
        return json.loads(self.body)


def http_scope(path: str = "/", headers: Sequence[tuple[bytes, bytes]] = (), **more: Any) -> Scope:
    """Return an HTTP scope as a server hands it over."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        **more,
    }


def websocket_scope(path: str = "/", headers: Sequence[tuple[bytes, bytes]] = (), *, denial: bool = True) -> Scope:
    """Return a WebSocket scope of a server with or without the denial extension."""
    scope = http_scope(path, headers, type="websocket", scheme="ws", subprotocols=[])
    del scope["method"]
    return {**scope, "extensions": {"websocket.http.response": {}} if denial else {}}


async def serve(app: ASGIApp, scope: Scope, receive: Receive | None = None) -> Answer:
    """Serve one connection and return what was sent."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive or messages_of({"type": "http.request", "body": b"", "more_body": False}), send)
    return Answer(messages)


def ask(app: ASGIApp, scope: Scope, receive: Receive | None = None) -> Answer:
    """Serve one connection in an event loop of its own."""
    return asyncio.run(serve(app, scope, receive))


def messages_of(*messages: Message) -> Receive:
    """Return a receive channel with these messages, then disconnected."""
    waiting = list(messages)

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    return receive


async def never(*_: object) -> Message:
    """Be a receive channel that nobody may ask."""
    raise AssertionError("the body was asked for")


def bearer(issuer: LocalIssuer, dialect: str = "access_token_authz", **claims: Any) -> tuple[bytes, bytes]:
    """Return the raw Authorization header with a signed token."""
    return (b"authorization", issuer.headers(dialect, **claims)["Authorization"].encode())


# --- checks -----------------------------------------------------------------------------------------------------------


def expect_refusal(response: Any, status: int, code: str, challenge: str | None, required: object = None) -> None:
    """Raise unless a response is exactly this refusal. Takes a client's response or an `Answer`."""
    got_status = getattr(response, "status_code", None) or response.status
    body = response.json()
    got = (got_status, body.get("code"), response.headers.get("www-authenticate"), body.get("required"))
    if got != (status, code, challenge, required):
        raise AssertionError(f"expected {(status, code, challenge, required)}, got {got}")
    if response.headers.get("cache-control") != "no-store":
        raise AssertionError("a refusal may be cached")
    if response.headers.get("content-type") != "application/problem+json":
        raise AssertionError("a refusal without a problem body")


def expect_missing(response: Any, scope: str = "") -> None:
    """Raise unless a response asks for credentials, naming this scope."""
    challenge = 'Bearer realm="api"' + (f', scope="{scope}"' if scope else "")
    expect_refusal(response, 401, "missing_token", challenge)


def expect_forbidden(response: Any, *scope: str, required: object = None) -> None:
    """Raise unless a response says that grants are missing: `required`, by default one list of all in `scope`."""
    challenge = FORBIDDEN + (f', scope="{" ".join(scope)}"' if scope else "")
    names = [list(scope)] if required is None else required
    expect_refusal(response, 403, "insufficient_scope", challenge, names)


def expect_no_policy(response: Any) -> None:
    """Raise unless a response says that the route states nothing."""
    expect_refusal(response, 403, "no_policy", None, [])


def expect_opaque(response: Any, scope: str = "") -> None:
    """Raise unless a response refuses an opaque token, naming this scope."""
    challenge = (
        'Bearer realm="api", error="invalid_token", error_description='
        '"The access token is opaque; the client must request a token for the audience of this API."'
    ) + (f', scope="{scope}"' if scope else "")
    expect_refusal(response, 401, "opaque_token", challenge)


def expect_ok(response: Any, text: str | None = None) -> None:
    """Raise unless a response is a success, with this text if one is given."""
    if response.status_code != 200 or (text is not None and response.text != text):
        raise AssertionError(f"expected 200 {text!r}, got {response.status_code} {response.text!r}")


class InFront:
    """What stands between the middleware and a router, and answers by itself."""

    def __init__(self, answering: ASGIApp) -> None:
        self.app = Router()
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answering(scope, receive, send)
