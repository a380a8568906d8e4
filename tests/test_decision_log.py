"""The log line: one for each refusal, and nothing in it that came with the request."""

from __future__ import annotations

import logging
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from authz_middleware import (
    public,
    requires,
)
from authz_middleware.observation import METHODS
from authz_middleware.testing import LocalIssuer

from .apps import (
    ask,
    client,
    endpoint,
    http_scope,
    messages_of,
    starlette_app,
    websocket_scope,
)
from .watching import granting, lines, logged, watched

__all__ = ["lines"]  # a fixture

X: dict[str, Any] = {"scope": "x", "permissions": ["x"]}
Y: dict[str, Any] = {"scope": "y", "permissions": ["y"]}


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
LATIN = st.text(st.characters(codec="latin-1"), max_size=12)
MARK = "zqxj"
"""Nothing of ours contains this, so that whatever does came from the request."""
LINE = re.compile(
    r"(refused|would refuse \(\d+\)) ("
    + "|".join(METHODS)
    + r"|OTHER|WEBSOCKET) (/x/\{name\}|/m/\{rest:path\}|/open|-): "
    r"code=\w+ reason=\w+ policy=('x'|'x' & 'y'|public|None) issuer=(https://issuer\.test/|-) dialect=(\w+|-)"
)
PROPERTY_ISSUER = LocalIssuer()


def _property_app(*, enforce: bool) -> Starlette:
    trusted = PROPERTY_ISSUER.trusted(third_party_clients=set(), rbac_enforced=True, roles_claims=[MARK])
    inner = Starlette(routes=[Route("/{rest:path}", requires("y")(endpoint))])
    served = [
        Route("/x/{name}", requires("x")(bare_answer), methods=["GET", "POST", "DELETE"]),
        Route("/open", public(bare_answer)),
        Mount("/m", app=requires("x")(inner)),
    ]
    return starlette_app(PROPERTY_ISSUER, *served, issuers=[trusted], enforce=enforce)


async def bare_answer(request: Request) -> Response:
    return PlainTextResponse("ok")


PROPERTY_APPS = {enforce: _property_app(enforce=enforce) for enforce in (True, False)}
CLAIMS = st.dictionaries(
    WORDS.map(lambda name: MARK + name),
    st.recursive(WORDS.map(lambda value: MARK + value), lambda inner: st.lists(inner, max_size=3), max_leaves=4),
    max_size=4,
)
USUAL = st.fixed_dictionaries(
    {},
    optional={
        name: WORDS.map(lambda value: MARK + value) | st.just(None)
        for name in ("sub", "azp", "scope", "org_id", "iss", "aud", "nonce", "jti", "gty", "nbf", "exp", "cnf")
    },
)
GRANTED = st.lists(st.sampled_from(["x", "y", MARK + "grant"]), max_size=3)


@st.composite
def tokens(draw: st.DrawFn) -> str:
    """Draw a token: well signed with claims of any kind, broken, or no token at all."""
    usual = {name: value for name, value in draw(USUAL).items() if value is not None or draw(st.booleans())}
    claims = {**PROPERTY_ISSUER.claims(permissions=draw(GRANTED)), **usual, **draw(CLAIMS)}
    header: dict[str, Any] = {"kid": draw(st.sampled_from([PROPERTY_ISSUER.key.kid, MARK + "kid"])), MARK: MARK}
    signed = PROPERTY_ISSUER.sign(claims, **header)
    return draw(
        st.sampled_from([signed, signed[:-6], signed.replace(".", "", 1), MARK + "opaque", signed + "." + signed])
    )


@given(
    token=tokens(),
    scheme=st.sampled_from([b"Bearer ", b"bearer ", b"DPoP ", b"Basic ", b"Bearer  ", b""]),
    header=LATIN.map(lambda text: (MARK + text).encode("latin-1")),
    path=st.sampled_from(["/x/", "/m/", "/open", "/", ""]),
    rest=WORDS.map(lambda text: MARK + text + "\n\x1b[31m\r"),
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]) | WORDS.map(lambda text: MARK + text),
    kind=st.sampled_from(["http", "websocket"]),
    enforce=st.booleans(),
)
def test_nothing_of_a_request_appears_in_a_log_or_an_answer(
    token: str, scheme: bytes, header: bytes, path: str, rest: str, method: str, kind: str, enforce: bool
) -> None:
    headers = [
        (b"authorization", scheme + token.encode()),
        (b"x-" + MARK.encode(), header),
        (b"cookie", header),
        (b"origin", header),
    ]
    scope = http_scope(path + rest if path.endswith("/") else path, headers, query_string=f"{MARK}={token}".encode())
    scope["method"] = method
    if kind == "websocket":
        scope = {**websocket_scope(scope["path"], headers), "query_string": scope["query_string"]}
    with logged() as lines:
        answer = ask(PROPERTY_APPS[enforce], scope, messages_of({"type": "websocket.connect"}))
    refusals = lines.at(logging.INFO)
    for line in refusals:
        assert LINE.fullmatch(line)
    assert len(refusals) <= 1
    written = [repr((record.msg, record.args, record.__dict__)) + record.getMessage() for record in lines.records]
    written += [repr(answer.messages)]
    windows = {token[start : start + 10] for start in range(max(1, len(token) - 9))}
    for text in written:
        assert MARK not in text
        assert not any(window in text for window in windows if len(window) == 10)
    if enforce and kind == "http" and answer.status in {400, 401, 403, 503}:
        assert len(refusals) == 1


def test_a_granted_request_logs_nothing_at_all(issuer: LocalIssuer) -> None:
    app, _ = watched(issuer, *granting(), on_decision=None)
    client(app).get("/open")  # the start has said what it has to say
    with logged() as lines:
        for path in ("/x/1", "/any", "/open", "/covered/bare", "/foreign/1"):
            assert client(app).get(path, headers=issuer.headers(**X)).status_code == 200
    assert not lines.records
