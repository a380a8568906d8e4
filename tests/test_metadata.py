"""Protected resource metadata (RFC 9728): the document, where it is, and that every challenge leads to it."""

from __future__ import annotations

import json
import logging
import re
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import pytest
from fastapi import APIRouter, FastAPI, Security
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp

from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    ConfigurationError,
    access_token,
    authenticated,
    authorize,
    policy,
    public,
    requires,
)
from authz_middleware.audit import route_table
from authz_middleware.errors import ANSWERS, Code
from authz_middleware.metadata import WELL_KNOWN
from authz_middleware.policy import Public
from authz_middleware.testing import LocalIssuer

from .apps import (
    Answer,
    Foreign,
    ask,
    bearer,
    client,
    endpoint,
    expect_missing,
    http_scope,
    messages_of,
    never,
    starlette_app,
    websocket_scope,
)
from .watching import CASES, Case, Lines, expect_fault, lines, options_for, routes

__all__ = ["lines"]  # a fixture

RESOURCE = "https://api.test/"
PREFLIGHT = {
    "Origin": "https://page.test",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "mcp-protocol-version",
}


def described(issuer: LocalIssuer, resource: str = RESOURCE, *more: BaseRoute, **options: Any) -> Starlette:
    """Return a guarded application that publishes metadata."""
    return starlette_app(issuer, Route("/x", requires("x")(endpoint)), *more, resource=resource, **options)


def metadata_url(answer: Any) -> str:
    """Return where a challenge leads."""
    (url,) = re.findall(r'resource_metadata="([^"]*)"', answer.headers["www-authenticate"])
    return str(url)


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_document_and_its_headers_are_exact(issuer: LocalIssuer) -> None:
    answer = ask(described(issuer), http_scope(WELL_KNOWN), never)
    assert answer.status == 200
    document = {
        "resource": RESOURCE,
        "authorization_servers": ["https://issuer.test/"],
        "scopes_supported": ["x"],
        "bearer_methods_supported": ["header"],
    }
    assert answer.json() == document
    assert answer.headers == {
        "access-control-allow-origin": "*",
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "cache-control": "public, max-age=3600",
    }
    assert answer.body == json.dumps(document).encode()


def test_nothing_to_request_is_left_out(issuer: LocalIssuer) -> None:
    app = starlette_app(issuer, Route("/", authenticated(endpoint)), Route("/o", public(endpoint)), resource=RESOURCE)
    assert set(ask(app, http_scope(WELL_KNOWN)).json()) == {
        "resource",
        "authorization_servers",
        "bearer_methods_supported",
    }


def test_every_issuer_stands_there_once_and_in_order(issuer: LocalIssuer) -> None:
    other = LocalIssuer("https://a-other.test/", RESOURCE)
    trusted = [
        issuer.trusted(),
        other.trusted(),
        LocalIssuer(issuer.issuer, "https://second.test/", key=issuer.key).trusted(),
    ]
    document = ask(described(issuer, issuers=trusted), http_scope(WELL_KNOWN)).json()
    assert document["authorization_servers"] == ["https://issuer.test/", "https://a-other.test/"]


class Methods(HTTPEndpoint):
    @requires("get:it")
    async def get(self, request: Request) -> Response:
        raise NotImplementedError

    @requires("post:it")
    async def post(self, request: Request) -> Response:
        raise NotImplementedError


def test_scopes_are_collected_from_everything_that_is_stated(issuer: LocalIssuer) -> None:
    app, router = FastAPI(), APIRouter(dependencies=[Security(requires("router"))])

    @app.get("/a")
    @requires("one", policy.any_of("two", policy.scope("three") & policy.permission("four")))
    async def decorated() -> None:
        raise NotImplementedError

    @router.get("/b", dependencies=[Security(requires("route"))])
    async def with_dependencies(caller: Annotated[AccessToken, Security(requires("parameter"))]) -> None:
        raise NotImplementedError

    @router.websocket("/w")
    @requires("websocket")
    async def talk() -> None:
        raise NotImplementedError

    @app.get("/roles")
    @requires(policy.role("admin") | policy.permission("two words") | policy.permission('quo"te'))
    async def unrequestable() -> None:
        raise NotImplementedError

    @app.get("/names")
    @requires(policy.scope("openid"), policy.permission("ümlaut") | "plain")
    async def oidc() -> None:
        raise NotImplementedError

    app.include_router(router, prefix="/r")
    app.router.routes.append(Route("/methods", Methods))
    app.mount("/m", requires("mount")(Starlette(routes=[Route("/in", requires("mounted")(endpoint))])))
    app.mount("/f", requires("foreign")(Foreign()))
    app.router.routes.append(Host("h.test", app=Router([Route("/h", requires("host")(endpoint))])))
    app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted()], resource=RESOURCE)
    stated = "one two three four router route parameter websocket openid plain"
    stated += " get:it post:it mount mounted foreign host"
    assert ask(app, http_scope(WELL_KNOWN)).json()["scopes_supported"] == sorted(stated.split())


def test_what_cannot_be_seen_into_states_what_it_states(issuer: LocalIssuer) -> None:
    def scopes(app: ASGIApp) -> object:
        guarded = AuthzMiddleware(app, issuers=[issuer.trusted()], resource=RESOURCE)
        return ask(guarded, http_scope(WELL_KNOWN)).json().get("scopes_supported")

    assert scopes(requires("x")(Foreign())) == ["x"]
    assert scopes(Foreign()) is None
    assert scopes(Methods) == ["get:it", "post:it"]


def test_scopes_follow_the_routes(issuer: LocalIssuer) -> None:
    app = described(issuer)
    assert ask(app, http_scope(WELL_KNOWN)).json()["scopes_supported"] == ["x"]
    app.router.routes.append(Route("/late", requires("late")(endpoint)))
    assert ask(app, http_scope(WELL_KNOWN)).json()["scopes_supported"] == ["late", "x"]


# --- where it is ------------------------------------------------------------------------------------------------------

PLACES = [
    ("https://h.test/", "/.well-known/oauth-protected-resource"),
    ("https://h.test", "/.well-known/oauth-protected-resource"),
    ("https://h.test/mcp", "/.well-known/oauth-protected-resource/mcp"),
    ("https://h.test/a/b/", "/.well-known/oauth-protected-resource/a/b/"),
    ("https://h.test:8443/a", "/.well-known/oauth-protected-resource/a"),
    ("https://h.test/a%20b/%C3%BC", "/.well-known/oauth-protected-resource/a%20b/%C3%BC"),
    ("https://h.test//a", "/.well-known/oauth-protected-resource//a"),
    ("http://localhost:8000/a", "/.well-known/oauth-protected-resource/a"),
    ("http://[::1]:8000", "/.well-known/oauth-protected-resource"),
]


@pytest.mark.parametrize(("resource", "path"), PLACES)
def test_it_is_where_every_challenge_leads(issuer: LocalIssuer, resource: str, path: str) -> None:
    app = described(issuer, resource)
    url = metadata_url(ask(app, http_scope("/x")))
    origin = "://".join(urlsplit(resource)[:2])
    assert url == origin + path
    answer = ask(app, http_scope(unquote(path)))  # as servers hand paths over
    assert answer.json()["resource"] == resource


@pytest.mark.parametrize(("resource", "own"), PLACES)
def test_it_is_nowhere_else(issuer: LocalIssuer, resource: str, own: str) -> None:
    app = described(issuer, resource)
    others = {unquote(path) for _, path in PLACES} - {unquote(own)}
    others |= {own + "/", own + "/x", "/x" + own, own.upper(), own[:-1], "/.well-known/oauth-authorization-server"}
    for path in others:
        expect = f'Bearer realm="api", resource_metadata="{metadata_url(ask(app, http_scope("/x")))}"'
        answer = ask(app, http_scope(path))
        assert (answer.status, answer.headers["www-authenticate"]) == (401, expect)
        assert ask(app, http_scope(path, [bearer(issuer)])).status == 404


def test_it_is_not_there_unless_it_was_asked_for(issuer: LocalIssuer) -> None:
    expect_missing(ask(starlette_app(issuer, Route("/x", requires("x")(endpoint))), http_scope(WELL_KNOWN)))


def test_a_websocket_is_no_request_for_it(issuer: LocalIssuer) -> None:
    answer = ask(described(issuer), websocket_scope(WELL_KNOWN), messages_of({"type": "websocket.connect"}))
    assert (answer.status, answer.messages[0]["type"]) == (401, "websocket.http.response.start")


# A proxy that strips /api: servers told so put the prefix in front of every path; FastAPI told so leaves the path.
@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("resource", ["https://h.test/api", "https://h.test/api/v1", "https://h.test/"])
def test_behind_a_proxy_that_strips_a_prefix(issuer: LocalIssuer, resource: str, prefixed: bool) -> None:
    app = described(issuer, resource)

    def asked(path: str) -> Answer:
        return ask(app, http_scope("/api" * prefixed + path, root_path="/api"))

    url = metadata_url(asked("/x"))
    assert url == f"https://h.test{WELL_KNOWN}{resource.removeprefix('https://h.test').rstrip('/')}"
    assert asked(urlsplit(url).path).json()["resource"] == resource
    if resource == "https://h.test/api":  # of another resource, that of the whole host, this is none
        assert asked(WELL_KNOWN).status == 401


# --- mounted ----------------------------------------------------------------------------------------------------------


def as_starlette(inner: ASGIApp, path: str) -> ASGIApp:
    return Starlette(routes=[Mount(path, app=inner)])


def as_fastapi(inner: ASGIApp, path: str) -> ASGIApp:
    app = FastAPI()
    app.mount(path, inner)
    return app


def with_middleware_on_the_mount(inner: Any, path: str) -> ASGIApp:
    return Starlette(routes=[Mount(path, app=inner.router, middleware=inner.user_middleware)])


def in_two_mounts(inner: ASGIApp, path: str) -> ASGIApp:
    first, _, second = path[1:].partition("/")
    if not second:
        return as_starlette(inner, path)
    return Starlette(routes=[Mount(f"/{first}", routes=[Mount(f"/{second}", app=inner)])])


MOUNTING = [as_starlette, as_fastapi, with_middleware_on_the_mount, in_two_mounts]


@pytest.mark.parametrize("mounted_as", MOUNTING)
@pytest.mark.parametrize(
    ("resource", "mount", "place"),
    [
        ("https://h.test/m", "/m", f"/m{WELL_KNOWN}"),
        ("https://h.test/m/", "/m", f"/m{WELL_KNOWN}/"),
        ("https://h.test/m/mcp", "/m", f"/m{WELL_KNOWN}/mcp"),
        ("https://h.test/m/n/mcp", "/m/n", f"/m/n{WELL_KNOWN}/mcp"),
        ("https://h.test/m%20m/a%20b", "/m m", f"/m%20m{WELL_KNOWN}/a%20b"),
    ],
)
def test_a_mounted_application_publishes_below_its_mount(
    issuer: LocalIssuer, mounted_as: Any, resource: str, mount: str, place: str
) -> None:
    app = mounted_as(described(issuer, resource), mount)
    url = metadata_url(ask(app, http_scope(f"{mount}/x")))
    assert url == "https://h.test" + place
    assert ask(app, http_scope(unquote(place))).json()["resource"] == resource
    refused = ask(app, http_scope(f"{mount}/x", [bearer(issuer)]))
    assert (refused.status, metadata_url(refused)) == (403, url)


def test_a_mount_behind_a_proxy_that_strips_a_prefix(issuer: LocalIssuer) -> None:
    app = as_starlette(described(issuer, "https://h.test/api/m"), "/m")

    def asked(path: str) -> Answer:
        return ask(app, http_scope(f"/api{path}", root_path="/api"))

    url = metadata_url(asked("/m/x"))
    assert url == f"https://h.test/api/m{WELL_KNOWN}"
    assert asked(urlsplit(url).path.removeprefix("/api")).json()["resource"] == "https://h.test/api/m"


@pytest.mark.parametrize(
    "resource", ["https://h.test/", "https://h.test/mm", "https://h.test/M", "https://h.test/a%2Fm"]
)
def test_a_resource_that_is_not_below_the_mount_is_at_the_root(issuer: LocalIssuer, resource: str) -> None:
    app = as_starlette(described(issuer, resource), "/m")
    path = urlsplit(resource).path.rstrip("/")
    assert metadata_url(ask(app, http_scope("/m/x"))) == f"https://h.test{WELL_KNOWN}{path}"
    # A proxy that serves the mount as a host of its own leads there.
    assert ask(app, http_scope(f"/m{WELL_KNOWN}{unquote(path)}")).json()["resource"] == resource


def test_a_mount_whose_name_callers_choose_leads_nowhere_of_theirs(issuer: LocalIssuer) -> None:
    app = as_starlette(described(issuer, "https://h.test/acme"), "/{tenant}")
    assert metadata_url(ask(app, http_scope("/acme/x"))) == f"https://h.test/acme{WELL_KNOWN}"
    for path in ("/evil/x", '/evil", realm="/x', "/acme2/x", "/%61cme/x"):
        assert metadata_url(ask(app, http_scope(path))) == f"https://h.test{WELL_KNOWN}/acme"


def test_one_that_a_host_led_to_is_not_mounted(issuer: LocalIssuer) -> None:
    app = Starlette(routes=[Host("h.test", app=described(issuer, "https://h.test/m"))])
    host = [(b"host", b"h.test")]
    url = metadata_url(ask(app, {**http_scope("/x"), "headers": host}))
    assert url == f"https://h.test{WELL_KNOWN}/m"
    assert ask(app, {**http_scope(urlsplit(url).path), "headers": host}).json()["resource"] == "https://h.test/m"


def test_inside_another_guarded_application_it_needs_a_public_path(issuer: LocalIssuer) -> None:
    def application(**options: Any) -> Starlette:
        inner = described(issuer, "https://h.test/m")
        return starlette_app(issuer, Mount("/m", app=inner), resource="https://h.test/", **options)

    closed, opened = application(), application(public_paths=[f"/m{WELL_KNOWN}"])
    assert metadata_url(ask(closed, http_scope(f"/m{WELL_KNOWN}"))) == f"https://h.test{WELL_KNOWN}"
    assert ask(opened, http_scope(f"/m{WELL_KNOWN}")).json()["resource"] == "https://h.test/m"
    assert ask(opened, http_scope(WELL_KNOWN)).json() == {
        "resource": "https://h.test/",
        "authorization_servers": ["https://issuer.test/"],
        "scopes_supported": ["x"],
        "bearer_methods_supported": ["header"],
    }
    assert ask(opened, http_scope("/m/x")).status == 401


# --- methods, tokens, pages -------------------------------------------------------------------------------------------


def test_head_has_the_headers_alone(issuer: LocalIssuer) -> None:
    full, head = (ask(described(issuer), http_scope(WELL_KNOWN, method=method)) for method in ("GET", "HEAD"))
    assert (head.status, head.headers, head.body) == (200, full.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "ANY"])
def test_other_methods_are_not_allowed(issuer: LocalIssuer, method: str) -> None:
    answer = ask(described(issuer), http_scope(WELL_KNOWN, method=method), never)
    assert (answer.status, answer.body) == (405, b"")
    assert answer.headers == {"access-control-allow-origin": "*", "allow": "GET, HEAD, OPTIONS", "content-length": "0"}


def test_pages_of_any_origin_may_read_it(issuer: LocalIssuer) -> None:
    asked = client(described(issuer))
    preflight = asked.options(WELL_KNOWN, headers=PREFLIGHT)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert dict(preflight.headers) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, HEAD",
        "access-control-allow-headers": "*",
    }
    answer = asked.get(WELL_KNOWN, headers={"Origin": "https://page.test", "mcp-protocol-version": "2025-06-18"})
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origins", [["*"], ["https://page.test"], ["https://other.test"]])
def test_cors_outside_doubles_no_header(issuer: LocalIssuer, origins: list[str]) -> None:
    app = described(issuer)
    app.add_middleware(CORSMiddleware, allow_origins=origins)
    for method in ("GET", "POST"):
        answer = client(app).request(method, WELL_KNOWN, headers={"Origin": "https://page.test"})
        names = [name for name, _ in answer.headers.multi_items()]
        assert len(names) == len(set(names))
        allowed = "https://page.test" if origins == ["https://page.test"] else "*"
        assert answer.headers["access-control-allow-origin"] == allowed


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer bad")],
        [(b"authorization", b"Bearer  bad")],
        [(b"authorization", b"DPoP bad")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
    ],
)
def test_no_token_is_needed_and_none_is_looked_at(issuer: LocalIssuer, lines: Lines, headers: Any) -> None:
    assert ask(described(issuer), http_scope(WELL_KNOWN, headers)).status == 200
    assert not lines.at(logging.INFO)


@pytest.mark.parametrize(
    ("resource", "mount", "path"),
    [
        (RESOURCE, "", WELL_KNOWN),
        ("https://h.test/a%20b", "", f"{WELL_KNOWN}/a b"),
        ("https://h.test/m", "/m", WELL_KNOWN),
        ("https://h.test/m", "/m", f"{WELL_KNOWN}/m"),
    ],
)
def test_a_route_that_nobody_would_reach_fails_the_start(
    issuer: LocalIssuer, resource: str, mount: str, path: str
) -> None:
    async def forging(request: Request) -> Response:
        raise NotImplementedError

    app = described(issuer, resource, Route(path, public(forging)))
    served = Starlette(routes=[Mount(mount, app)]) if mount else app
    with pytest.raises(ConfigurationError, match="^" + re.escape(f"{path}: AuthzMiddleware(resource=…) serves")):
        ask(served, http_scope(f"{mount}/x"))


def test_what_serves_everything_is_no_such_route(issuer: LocalIssuer) -> None:
    app = described(issuer, RESOURCE, Route("/{path:path}", public(endpoint)), Mount("/", public(Foreign())))
    assert ask(app, http_scope(WELL_KNOWN)).json()["resource"] == RESOURCE


# --- the route table --------------------------------------------------------------------------------------------------


def listed(app: ASGIApp) -> list[tuple[str, str]]:
    """Return path and policy of what the table says of metadata, and raise unless requests meet just that."""
    entries = [entry for entry in route_table(app).entries if WELL_KNOWN in entry.path]
    for entry in entries:
        path = entry.path.replace("{tenant}", "any")
        if (ask(app, http_scope(path)).status == 200) != isinstance(entry.admits, Public):
            raise AssertionError(f"{entry!r} is not so")
        if entry.shown_methods != ("GET", "OPTIONS"):
            raise AssertionError(f"{entry!r} has other methods")
    return [(entry.shown_path, entry.policy) for entry in entries]


def test_it_is_in_the_table(issuer: LocalIssuer) -> None:
    assert listed(described(issuer, "https://h.test/a%20b")) == [(f"{WELL_KNOWN}/a b", "public")]
    assert listed(starlette_app(issuer, Route("/x", requires("x")(endpoint)))) == []
    for mount in ("/m", "/{tenant}"):
        (row,) = listed(as_starlette(described(issuer, "https://h.test/m"), mount))
        assert row == (f"{mount}{WELL_KNOWN}" + ("" if mount == "/m" else "/m"), "public")
    behind = AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], resource="https://h.test/m")
    assert listed(Starlette(routes=[Mount("/m", behind)])) == [(f"/m{WELL_KNOWN}", "public")]


@pytest.mark.parametrize(
    ("around", "options", "policy"),
    [
        (None, {}, None),
        (None, {"undecorated": "authenticated"}, None),
        (None, {"public_paths": [f"/m{WELL_KNOWN}"]}, "public, by public_paths"),
        (None, {"public_paths": ["/m/*"]}, "public, by public_paths"),
        (None, {"enforce": False}, "public"),
        (public, {}, "public"),
        (requires("y"), {}, "'y'"),
        (requires("y"), {"public_paths": [f"/m{WELL_KNOWN}"]}, "'y'"),
    ],
)
def test_inside_another_guarded_application_it_is_listed_for_whom_that_lets_in(
    issuer: LocalIssuer, lines: Lines, around: Any, options: dict[str, Any], policy: str | None
) -> None:
    inner = described(issuer, "https://h.test/m")
    app = starlette_app(issuer, Mount("/m", app=inner if around is None else around(inner)), **options)
    rows = listed(app)
    if options == {"enforce": False}:
        assert rows == [(f"/m{WELL_KNOWN}", "states nothing, only reported (enforce=False), so anybody gets in")]
    else:
        assert rows == ([] if policy is None else [(f"/m{WELL_KNOWN}", policy)])
    ask(app, http_scope("/m/x"))
    hidden = [text for text in lines.at(logging.WARNING) if text.startswith("resource https://h.test/m: callers of")]
    assert len(hidden) == (policy not in {"public", "public, by public_paths"})
    for text in hidden:
        take = "take the policy from the mount to the routes in it, and " if around is not None else ""
        assert text.endswith(f"; {take}name it in public_paths of the outer AuthzMiddleware: /m{WELL_KNOWN}")


def test_what_that_advice_says_helps(issuer: LocalIssuer) -> None:
    inner = Starlette(routes=[Route("/x", requires("y", "x")(endpoint))])
    inner.add_middleware(AuthzMiddleware, issuers=[issuer.trusted()], resource="https://h.test/m")
    app = starlette_app(issuer, Mount("/m", app=inner), public_paths=[f"/m{WELL_KNOWN}"])
    assert ask(app, http_scope(f"/m{WELL_KNOWN}")).status == 200


@pytest.mark.parametrize(
    "mounted",
    [
        lambda inner, ours: Mount("/m", app=AuthzMiddleware(inner, **ours)),
        lambda inner, ours: Mount("/m", app=inner, middleware=[Middleware(AuthzMiddleware, **ours)]),
        lambda inner, ours: Mount("/m", app=Router(inner.routes, middleware=[Middleware(AuthzMiddleware, **ours)])),
    ],
)
def test_metadata_that_is_hidden_is_named_wherever_the_middleware_stands(
    issuer: LocalIssuer, lines: Lines, mounted: Any
) -> None:
    inner = Starlette(routes=[Route("/x", requires("x")(endpoint))])
    for resource in ("https://h.test/m", None):
        app = starlette_app(issuer, mounted(inner, {"issuers": [issuer.trusted()], "resource": resource}))
        ask(app, http_scope("/m/x"))
    hidden = [text for text in lines.at(logging.WARNING) if "callers of /m/* who are refused are sent to" in text]
    assert len(hidden) == 1


def test_of_a_mount_whose_name_callers_choose_no_path_is_named(issuer: LocalIssuer, lines: Lines) -> None:
    ask(starlette_app(issuer, Mount("/{tenant}", app=described(issuer, "https://h.test/m"))), http_scope("/m/x"))
    assert not [text for text in lines.at(logging.WARNING) if "callers of" in text]


# --- challenges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_every_challenge_leads_there(issuer: LocalIssuer, case: Case, kind: str) -> None:
    served = [*routes(), *(WebSocketRoute(route.path, route.endpoint) for route in routes())]
    app = starlette_app(issuer, *served, resource=RESOURCE, **options_for(issuer, case))
    make = http_scope if kind == "http" else websocket_scope
    answer = ask(app, make(case.path, case.headers(issuer)), messages_of({"type": "websocket.connect"}))
    status, error, detail = (getattr(ANSWERS[case.code], name) for name in ("status", "error", "detail"))
    assert answer.status == status
    if case.code is Code.NO_POLICY or status == 503:
        assert "www-authenticate" not in answer.headers
        return
    parts = ['Bearer realm="api"']
    if error is not None:
        parts += [f'error="{error}"', f'error_description="{detail}"']
    if status != 400:
        parts.append('scope="x"')
    parts.append(f'resource_metadata="https://api.test{WELL_KNOWN}"')
    assert answer.headers["www-authenticate"] == ", ".join(parts)


def test_a_late_refusal_leads_there_too(issuer: LocalIssuer) -> None:
    @public
    async def handler(request: Request) -> Response:
        await access_token(request)
        await authorize(request, "y")
        raise NotImplementedError

    app = as_starlette(described(issuer, "https://h.test/m", Route("/late", handler)), "/m")
    for headers, status in (([], 401), ([bearer(issuer)], 403)):
        answer = ask(app, http_scope("/m/late", headers))
        assert (answer.status, metadata_url(answer)) == (status, f"https://h.test/m{WELL_KNOWN}")


# --- what cannot be meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "says"),
    [
        ("http://api.test/", "must use https"),
        ("ftp://api.test/", "no https URL"),
        ("api.test", "no https URL"),
        ("/api", "no https URL"),
        ("", "no https URL"),
        ("https://", "no https URL"),
        ("urn:api", "no https URL"),
        ("https://api.test:port/", "no URL"),
        ("https://api.test/?", "not contain a query"),
        ("https://api.test/?a=b", "not contain a query"),
        ("https://api.test/#", "credentials or a fragment"),
        ("https://api.test/#a", "credentials or a fragment"),
        ("https://jo:secret@api.test/", "credentials or a fragment"),
        ("https://jo@api.test/", "credentials or a fragment"),
        ('https://api.test/"', "not contain quotes"),
        ("https://api.test/a b", "percent-encode"),
        (" https://api.test/", "percent-encode"),
        ("https://api.test/\n", "percent-encode"),
        ("https://api.test/\\", "percent-encode"),
        ("https://api.test/ü", "percent-encode"),
        ("https://äpi.test/", "percent-encode"),
        (b"https://api.test/", "resource is one URL"),
        (["https://api.test/"], "resource is one URL"),
        (True, "resource is one URL"),
        (0, "resource is one URL"),
    ],
    ids=repr,
)
def test_what_is_no_resource_identifier_is_an_error_at_start(issuer: LocalIssuer, resource: Any, says: str) -> None:
    expect_fault(lambda: AuthzMiddleware(Foreign(), issuers=[issuer.trusted()], resource=resource), says)


@pytest.mark.parametrize(
    ("resource", "audience", "warns"),
    [
        ("https://api.test/", "https://api.test/", False),
        ("https://api.test", "https://api.test/", True),
        ("https://api.test/mcp", ["https://other.test/", "https://api.test/mcp"], False),
        ("https://api.test/mcp", "https://api.test/", True),
    ],
)
def test_a_resource_no_token_can_be_had_for_is_announced(
    issuer: LocalIssuer, lines: Lines, resource: str, audience: Any, warns: bool
) -> None:
    trusted = LocalIssuer(issuer.issuer, audience, key=issuer.key).trusted(third_party_clients=set())
    app = client(described(issuer, resource, issuers=[trusted]))
    for _ in range(2):
        app.get("/x")
    warnings = [text for text in lines.at(logging.WARNING) if "is no audience of any issuer here" in text]
    assert len(warnings) == warns
    assert all(f"resource {resource} is no audience" in text for text in warnings)
