"""What is said at start, beside routes that state nothing: what refuses although it looks open, or nobody can meet."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router
from starlette.types import ASGIApp

from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    TrustedIssuer,
    access_token,
    authenticated,
    policy,
    public,
    requires,
)
from authz_middleware._jose import VerificationKey
from authz_middleware.dialects import DIALECTS, Dialect
from authz_middleware.testing import LocalIssuer, trust

from .apps import Foreign, ask, authz, bare, client, endpoint, expect_missing, http_scope, starlette_app
from .watching import Lines, lines

__all__ = ["lines"]  # a fixture

SETTLED: dict[str, Any] = {"third_party_clients": set(), "rbac_enforced": True}
"""Settings about which the start has nothing to say."""


def said_by(app: ASGIApp, lines: Lines) -> list[str]:
    """Return what an application says when it starts and serves."""
    with client(app) as asked:
        for _ in range(2):
            asked.get("/nowhere")
    return warnings_in(lines)


def warnings_in(lines: Lines) -> list[str]:
    """Return what was said, but for the one thing that is said of every issuer here."""
    return [text for text in lines.at(logging.WARNING) if "this is a LocalIssuer" not in text]


def guarded(issuer: LocalIssuer, **options: Any) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted(**SETTLED)], **options)
    return app


def test_where_nothing_is_amiss_nothing_is_said(issuer: LocalIssuer, lines: Lines) -> None:
    app = guarded(issuer, public_paths=["/static/*", "/open"])
    app.get("/x")(requires("x")(endpoint))
    app.get("/open")(public(endpoint))
    app.get("/static/guarded")(requires("x")(endpoint))  # part of an open tree, and said to be guarded
    assert said_by(app, lines) == []


# --- an issuer for tests ----------------------------------------------------------------------------------------------


def local_issuers_named_by(app: ASGIApp, lines: Lines) -> list[str]:
    with client(app) as asked:
        for _ in range(2):
            asked.get("/nowhere")
    return [text.partition(";")[0] for text in lines.at(logging.WARNING) if "LocalIssuer" in text]


def test_an_issuer_for_tests_is_named_once(issuer: LocalIssuer, lines: Lines) -> None:
    other = TrustedIssuer("https://other.test/", "https://api.test/", keys=issuer.keys, **SETTLED)
    app = starlette_app(issuer, issuers=[issuer.trusted(**SETTLED), other])
    assert local_issuers_named_by(app, lines) == [
        f"issuer {name}: this is a LocalIssuer, for tests and development"
        for name in ("https://issuer.test/", "https://other.test/")
    ]


class Forwarding:
    """A key source that answers to every name, as one does that passes on what it does not know."""

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return self


def test_what_is_no_issuer_for_tests_is_not_taken_for_one(issuer: LocalIssuer, lines: Lines) -> None:
    others = [
        TrustedIssuer("https://one.test/", "https://api.test/", keys=issuer.jwks(), **SETTLED),
        TrustedIssuer("https://two.test/", "https://api.test/", keys=Forwarding(), **SETTLED),
    ]
    assert local_issuers_named_by(starlette_app(issuer, issuers=others), lines) == []


def test_a_test_that_has_one_trusted_for_a_while_is_not_told(issuer: LocalIssuer, lines: Lines) -> None:
    configured = TrustedIssuer("https://acme.test/", "https://api.test/", **SETTLED)
    app = starlette_app(issuer, Route("/x", requires("x")(endpoint)), issuers=[configured])
    with trust(app, issuer):
        assert local_issuers_named_by(app, lines) == []
        assert client(app).get("/x", headers=issuer.headers("rfc9068", scope="x")).status_code == 200


# --- routes that answer 401 although refusals are only reported -------------------------------------------------------

Needed = Annotated[AccessToken, Security(requires("x"))]
Wished = Annotated[AccessToken | None, Security(requires("x"))]


async def needing(token: Needed) -> str:
    return token.subject


async def wishing(token: Wished) -> bool:
    return token is None


def reporting(issuer: LocalIssuer) -> FastAPI:
    """Return an application that only reports, with routes that take the token in every way."""
    app = guarded(issuer, enforce=False)
    inner = FastAPI(openapi_url=None)
    inner.get("/needing")(needing)
    router = APIRouter(prefix="/router", dependencies=[Security(requires("x"))])
    router.get("/guarded")(bare)
    app.get("/needing")(needing)
    app.post("/public")(public(public_but_needing))
    app.get("/either", dependencies=[Depends(access_token)])(authenticated(endpoint))
    app.get("/wishing")(wishing)
    app.get("/decorated")(requires("x")(endpoint))
    app.include_router(router)
    app.mount("/inner", requires("y")(inner))
    return app


async def public_but_needing(token: Annotated[AccessToken, Depends(access_token)]) -> str:
    return token.subject


NEEDING = ["GET /needing", "POST /public", "GET /either", "GET /inner/needing"]


def test_routes_that_need_a_token_while_refusals_are_only_reported_are_listed(
    issuer: LocalIssuer, lines: Lines
) -> None:
    (announced, needing_it) = said_by(reporting(issuer), lines)
    assert announced.startswith("REPORT ONLY (enforce=False): NOTHING IS REFUSED.")
    assert needing_it == (
        "REPORT ONLY: where no valid token comes, these routes answer 401 all the same, because what they call takes "
        f"it as a value; until you enforce, write a decorator, or AccessToken | None: {', '.join(NEEDING)}"
    )


def test_those_routes_and_no_others_answer_401(issuer: LocalIssuer) -> None:
    asked = client(reporting(issuer))
    for name in NEEDING:
        method, _, path = name.partition(" ")
        for headers in ({}, issuer.headers(expires_in=-60)):
            expect_missing(asked.request(method, path, headers=headers))
        assert asked.request(method, path, headers=issuer.headers()).status_code == 200
    for path in ("/wishing", "/decorated", "/router/guarded"):
        assert asked.get(path).status_code == 200


def test_where_refusals_are_carried_out_no_such_route_is_listed(issuer: LocalIssuer, lines: Lines) -> None:
    app = guarded(issuer)
    app.get("/needing")(needing)
    assert said_by(app, lines) == []


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO])
def test_lines_that_nobody_would_see_are_announced(
    issuer: LocalIssuer, lines: Lines, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    log = logging.getLogger("authz_middleware")
    hidden = (
        "REPORT ONLY: lines at INFO are hidden here; to see what would be refused, write logging.basicConfig() "
        'and logging.getLogger("authz_middleware").setLevel(logging.INFO)'
    )
    assert hidden not in said_by(guarded(issuer, enforce=False), lines)
    monkeypatch.setattr(log, "isEnabledFor", lambda asked: asked >= (level or logging.WARNING))
    if level == logging.INFO:  # and nobody to write them, as under a server that configures its own loggers only
        monkeypatch.setattr(log, "hasHandlers", lambda: False)
    assert hidden in said_by(guarded(issuer, enforce=False), lines)
    said = len(lines.at(logging.WARNING))
    assert hidden not in said_by(guarded(issuer), lines)[said:]


# --- public_paths that open nothing -----------------------------------------------------------------------------------


class Halves(HTTPEndpoint):
    @requires("x")
    async def get(self, request: Request) -> Response:
        raise NotImplementedError

    @public
    async def post(self, request: Request) -> Response:
        raise NotImplementedError


def test_public_paths_that_name_guarded_routes_are_said(issuer: LocalIssuer, lines: Lines) -> None:
    inner = Starlette(routes=[Route("/bare", bare), Route("/open", public(endpoint))])
    served: list[BaseRoute] = [
        Route("/stated", requires("x")(endpoint), methods=["GET", "POST"]),
        Route("/any", authenticated(endpoint)),
        Route("/halves", Halves),
        Route("/open", public(endpoint)),
        Route("/bare", bare),
        Mount("/inner", app=requires("x")(inner)),
        Mount("/files", app=requires("x")(Foreign())),
        Mount("/free", app=public(Foreign())),
    ]
    named = ["/stated", "/any", "/halves", "/open", "/bare", "/inner/bare", "/inner/open", "/files/*", "/free/*", "/no"]
    app = Starlette(routes=served, middleware=[authz(issuer, issuers=[issuer.trusted(**SETTLED)], public_paths=named)])
    assert said_by(app, lines) == [
        "public_paths does not open routes that state who may call them, by themselves or by a mount around them; take "
        "them out of public_paths, or write @public in place of what they state: GET,POST /stated, GET /any, "
        "ANY /halves, GET /inner/bare, GET /inner/open, ANY /files/*"
    ]
    for path in ("/stated", "/any", "/inner/bare", "/inner/open", "/files/1"):
        assert client(app).get(path).status_code == 401
    for path in ("/open", "/bare", "/free/1"):
        assert client(app).get(path).status_code != 401


# --- CORS -------------------------------------------------------------------------------------------------------------

CORS = Middleware(CORSMiddleware, allow_origins=["https://spa.test"])
INSIDE = "CORSMiddleware stands inside AuthzMiddleware, so that a 401 carries no CORS header"
SERVED = Route("/x", requires("x")(endpoint))


def in_starlette(issuer: LocalIssuer, *, inside: bool) -> ASGIApp:
    ours = authz(issuer, issuers=[issuer.trusted(**SETTLED)])
    return Starlette(routes=[SERVED], middleware=[ours, CORS] if inside else [CORS, ours])


def in_fastapi(issuer: LocalIssuer, *, inside: bool) -> ASGIApp:
    app = FastAPI(openapi_url=None, routes=[SERVED])
    for is_cors in (inside, not inside):
        if is_cors:
            app.add_middleware(CORSMiddleware, allow_origins=["https://spa.test"])
        else:
            app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted(**SETTLED)])
    return app


def around_it_all(issuer: LocalIssuer, *, inside: bool) -> ASGIApp:
    app = Starlette(routes=[SERVED], middleware=[CORS] if inside else [])
    return AuthzMiddleware(app, issuers=[issuer.trusted(**SETTLED)])


def around_a_router(issuer: LocalIssuer, *, inside: bool) -> ASGIApp:
    router = Router([SERVED])
    return AuthzMiddleware(CORSMiddleware(router) if inside else router, issuers=[issuer.trusted(**SETTLED)])


@pytest.mark.parametrize("make", [in_starlette, in_fastapi, around_it_all, around_a_router])
@pytest.mark.parametrize("inside", [True, False])
def test_cors_inside_is_announced(issuer: LocalIssuer, lines: Lines, make: Any, inside: bool) -> None:
    app = make(issuer, inside=inside)
    for _ in range(2):
        ask(app, http_scope("/x"))
    assert [text.startswith(INSIDE) for text in warnings_in(lines)] == ([True] if inside else [])


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_announced_about_cors_is_so(issuer: LocalIssuer, inside: bool) -> None:
    asked = client(in_fastapi(issuer, inside=inside))
    origin = {"Origin": "https://spa.test"}
    anonymous, lacking = asked.get("/x", headers=origin), asked.get("/x", headers={**issuer.headers(), **origin})
    assert (anonymous.status_code, lacking.status_code) == (401, 403)
    assert ("access-control-allow-origin" in anonymous.headers) is not inside
    assert "access-control-allow-origin" in lacking.headers


def test_an_application_of_ones_own_tells_nothing_of_cors(issuer: LocalIssuer, lines: Lines) -> None:
    endless: Any = Foreign()
    endless.app = endless
    ask(AuthzMiddleware(endless, issuers=[issuer.trusted(**SETTLED)]), http_scope("/"))
    assert [text for text in lines.at(logging.WARNING) if "CORS" in text] == []


# --- names that nobody has --------------------------------------------------------------------------------------------

UNREAD = 'nobody ever has %s: no claim is read for it; name the claim, such as TrustedIssuer(…, %s="https://acme.'
ASKING: list[BaseRoute] = [
    Route("/boss", requires(policy.role("boss") | policy.role("owner"))(endpoint)),
    Route("/x", requires(policy.role("boss") & "x")(endpoint)),
    Route("/staff", requires(policy.group("staff"))(endpoint)),
    Route("/open", public(endpoint)),
]
OWN = Dialect(name="own", types=frozenset({"jwt"}), client_claim="azp", roles_claims=(("roles",),))


@pytest.mark.parametrize(
    ("options", "roles", "groups"),
    [
        ({}, True, True),
        ({"roles_claims": "roles"}, False, True),
        ({"groups_claims": "groups"}, True, False),
        ({"roles_claims": "roles", "groups_claims": "groups"}, False, False),
        ({"dialects": [OWN]}, False, True),
        ({"dialects": [OWN, DIALECTS["rfc9068"]]}, False, True),
    ],
)
def test_roles_and_groups_that_nobody_can_have_are_named(
    issuer: LocalIssuer, lines: Lines, options: dict[str, Any], roles: bool, groups: bool
) -> None:
    trusted = issuer.trusted(**SETTLED, **options)
    said = said_by(starlette_app(issuer, *ASKING, issuers=[trusted]), lines)
    expected = [UNREAD % ("role('boss'), role('owner')", "roles_claims")] if roles else []
    expected += [UNREAD % ("group('staff')", "groups_claims")] if groups else []
    assert [text[: len(start)] for text, start in zip(said, expected, strict=True)] == expected


def test_a_role_of_one_issuer_is_not_read_from_another(issuer: LocalIssuer, lines: Lines) -> None:
    other = LocalIssuer("https://other.test/", key=issuer.key)
    both = [issuer.trusted(**SETTLED, roles_claims="roles"), other.trusted(**SETTLED)]
    served = [
        Route("/here", requires(policy.role("boss", issuer=issuer.issuer))(endpoint)),
        Route("/there", requires(policy.role("boss", issuer=other.issuer))(endpoint)),
    ]
    (said,) = said_by(starlette_app(issuer, *served, issuers=both), lines)
    assert said.startswith(UNREAD % ("role('boss', issuer='https://other.test/')", "roles_claims"))


# --- routes that state nothing ----------------------------------------------------------------------------------------


def ours(issuer: LocalIssuer, **options: Any) -> Middleware:
    return Middleware(AuthzMiddleware, issuers=[issuer.trusted(**SETTLED)], **options)


def two_deep(issuer: LocalIssuer, inside: Any, **options: Any) -> Starlette:
    """Return an application with a bare route, and another one in a mounted application that has a middleware, too."""
    return Starlette(
        routes=[Route("/bare", bare), Mount("/m", **inside([Route("/inner", bare)], ours(issuer, **options)))],
        middleware=[ours(issuer)],
    )


every_way_in = pytest.mark.parametrize(
    "inside",
    [
        lambda routes, own: {"app": Starlette(routes=routes, middleware=[own])},
        lambda routes, own: {"app": Starlette(routes=routes), "middleware": [own]},
        lambda routes, own: {"app": Router(routes, middleware=[own])},
    ],
)
REFUSED, RELAXED = "so they are refused", "so any valid token may call them"


@every_way_in
def test_routes_are_listed_by_the_middleware_that_decides(issuer: LocalIssuer, lines: Lines, inside: Any) -> None:
    app = two_deep(issuer, inside, undecorated="authenticated")
    with client(app) as asked:
        assert [(REFUSED in text, text.rpartition(": ")[2]) for text in warnings_in(lines)] == [(True, "GET /bare")]
        for _ in range(2):
            asked.get("/m/inner", headers=issuer.headers())
    (_, further) = warnings_in(lines)
    assert RELAXED in further
    assert further.endswith(": GET /inner")


def test_routes_of_a_mounted_application_without_one_are_listed(issuer: LocalIssuer, lines: Lines) -> None:
    app = Starlette(
        routes=[Mount("/m", Starlette(routes=[Route("/inner", bare)])), Mount("/r", Router([Route("/inner", bare)]))],
        middleware=[ours(issuer)],
    )
    (said,) = said_by(app, lines)
    assert said.endswith(": GET /m/inner, GET /r/inner")


def test_relaxed_routes_of_which_routers_require_something_are_not_open_to_any_token(
    issuer: LocalIssuer, lines: Lines
) -> None:
    app, router = guarded(issuer, undecorated="authenticated"), APIRouter(dependencies=[Security(requires("r"))])
    router.add_route("/bare", bare)
    router.mount("/m", Starlette(routes=[Route("/inner", bare)]))
    app.include_router(router)
    assert said_by(app, lines) == []


def test_refused_routes_of_which_routers_require_something_are_listed(issuer: LocalIssuer, lines: Lines) -> None:
    app, router = guarded(issuer), APIRouter(dependencies=[Security(requires("r"))])
    router.add_route("/bare", bare)
    app.include_router(router)
    (said,) = said_by(app, lines)
    assert REFUSED in said
    assert said.endswith(": GET /bare")


def test_cors_around_a_routers_own_routes_is_announced(issuer: LocalIssuer, lines: Lines) -> None:
    router = Router([Route("/", authenticated(endpoint))], middleware=[Middleware(CORSMiddleware, allow_origins="*")])
    (said,) = said_by(AuthzMiddleware(router, issuers=[issuer.trusted(**SETTLED)]), lines)
    assert said.startswith("CORSMiddleware stands inside AuthzMiddleware")


# --- path parameters --------------------------------------------------------------------------------------------------

MINE = policy.subject(policy.path_param("user"))
NUMBERED = policy.claim("number", equals=policy.path_param("number"))


async def by_number(number: int) -> str:
    raise NotImplementedError


async def by_share(number: float) -> str:
    raise NotImplementedError


async def by_name(number: str) -> str:
    raise NotImplementedError


async def by_anything(number: int | str) -> str:
    raise NotImplementedError


def test_a_path_parameter_that_no_route_has_is_named(issuer: LocalIssuer, lines: Lines) -> None:
    app, router = guarded(issuer), APIRouter(dependencies=[Security(requires(MINE))])
    app.get("/orders/{number}")(
        requires(policy.any_of("x", policy.claim("n", equals=policy.path_param("nr"))))(by_name)
    )
    app.mount("/t/{nr}", Starlette(routes=[Route("/x", requires(NUMBERED)(endpoint))]))
    router.add_route("/list", authenticated(endpoint))
    app.include_router(router)
    assert said_by(app, lines) == [
        "nobody ever meets claim('n', equals=path_param('nr')): no path parameter is called 'nr' where it is stated: "
        "GET /orders/{number}",
        "nobody ever meets claim('number', equals=path_param('number')): no path parameter is called 'number' where it "
        "is stated: GET /t/{nr}/x",
        "nobody ever meets subject(path_param('user')): no path parameter is called 'user' where it is stated: "
        "GET /list",
    ]


def test_a_path_parameter_that_some_route_or_mount_around_has_is_not_named(issuer: LocalIssuer, lines: Lines) -> None:
    app, router = guarded(issuer), APIRouter(dependencies=[Security(requires(MINE))])
    router.get("/users/{user}")(lambda user: user)
    router.get("/users")(list)
    app.include_router(router)
    app.mount("/t/{user}", requires(MINE)(Starlette(routes=[Route("/x", requires(MINE)(endpoint))])))
    app.router.routes.append(Host("{user}.test", Starlette(routes=[Route("/x", requires(MINE)(endpoint))])))
    assert said_by(app, lines) == []


def test_a_path_parameter_of_a_mount_around_the_middleware_is_known(issuer: LocalIssuer, lines: Lines) -> None:
    inner = Starlette(routes=[Route("/x", requires(MINE)(endpoint))], middleware=[ours(issuer)])
    client(Starlette(routes=[Mount("/t/{user}", inner)])).get("/t/me/x")
    client(Starlette(routes=[Mount("/t/{user}", inner)], middleware=[ours(issuer)])).get("/t/me/x")
    assert warnings_in(lines) == []


def test_what_two_middlewares_see_is_named_once(issuer: LocalIssuer, lines: Lines) -> None:
    inner = Starlette(routes=[Route("/x", requires(MINE)(endpoint))], middleware=[ours(issuer)])
    app = Starlette(routes=[Mount("/m", inner)], middleware=[ours(issuer)])
    client(app).get("/m/x", headers=issuer.headers())
    assert [text.rpartition(": ")[2] for text in warnings_in(lines)] == ["GET /m/x"]


@pytest.mark.parametrize(
    ("path", "handler", "stated", "convertor"),
    [
        ("/n/{number}", by_number, NUMBERED, "int"),
        ("/n/{number}", by_share, NUMBERED, "float"),
        ("/n/{number}", by_name, NUMBERED, None),
        ("/n/{number}", by_anything, NUMBERED, None),
        ("/n/{number:int}", by_number, NUMBERED, None),
        ("/n/{number}", by_number, policy.subject(policy.path_param("number")), None),
        ("/n/{number}", by_number, policy.role("x") | policy.claim("n", equals=7), None),
    ],
)
def test_a_number_that_is_compared_as_text_is_said(
    issuer: LocalIssuer, lines: Lines, path: str, handler: Any, stated: policy.Policy, convertor: str | None
) -> None:
    app = FastAPI(openapi_url=None)
    app.add_middleware(AuthzMiddleware, issuers=[issuer.trusted(**SETTLED, roles_claims="roles")])
    app.get(path)(requires(stated)(handler))
    told = (
        f"claim('number', equals=path_param('number')) compares with text, although the handler of GET {path} reads a "
        f"number; where the claim is one, write {{number:{convertor}}} in the path"
    )
    assert said_by(app, lines) == ([] if convertor is None else [told])
