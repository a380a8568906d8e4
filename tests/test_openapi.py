"""What `/openapi.json` says about access is what is enforced, whoever asks, and whenever."""

import asyncio
import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import APIKeyHeader, HTTPBasic, OAuth2PasswordBearer
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Host, Match, Mount, Route
from starlette.types import Scope

import authz_middleware.fastapi
from authz_middleware import (
    AccessToken,
    AuthzMiddleware,
    ConfigurationError,
    TrustedIssuer,
    access_token,
    authenticated,
    policy,
    public,
    requires,
    requires_permissions,
    requires_scopes,
)
from authz_middleware.audit import RouteTable, route_table
from authz_middleware.fastapi import FASTAPI_DOCS, document, endpoints, swagger_ui
from authz_middleware.fastapi.enforced import enforced_in
from authz_middleware.keys import Fetched
from authz_middleware.policy import AUTHENTICATED
from authz_middleware.testing import LocalIssuer, trust

from .apps import Foreign, client

ISSUER, AUDIENCE = "https://issuer.test/", "https://api.test/"
LOCAL = LocalIssuer(ISSUER, AUDIENCE)
AUTHORIZE, TOKEN = "https://issuer.test/authorize", "https://issuer.test/oauth/token"
METADATA = "https://issuer.test/.well-known/openid-configuration"
OPEN_ID_CONNECT = {"type": "openIdConnect", "openIdConnectUrl": METADATA}


class Network:
    """A `Fetch` that serves the metadata of any issuer of this test, once `gate` is open; `down` fails it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False
        self.gate: asyncio.Event | None = None

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        self.asked.append(url)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise OSError("down")
        issuer = url.removesuffix(".well-known/openid-configuration")
        found = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}authorize",
            "token_endpoint": f"{issuer}oauth/token",
        }
        return Fetched(200, {}, json.dumps(found).encode())


def guarded(*issuers: TrustedIssuer, **options: Any) -> FastAPI:
    """Return an application whose issuer is never asked, unless one is given."""
    app = FastAPI()
    trusted = issuers or [LOCAL.trusted(third_party_clients=set())]
    app.add_middleware(AuthzMiddleware, issuers=trusted, public_paths=FASTAPI_DOCS, **options)
    return app


def documented(*issuers: TrustedIssuer, **options: Any) -> FastAPI:
    app = guarded(*issuers, **options)
    document(app)
    return app


def online(network: Network, issuer: str = ISSUER, audience: str = AUDIENCE) -> TrustedIssuer:
    """Return an issuer that is discovered."""
    return TrustedIssuer(issuer, audience, fetch=network)


def operation(app: FastAPI, path: str = "/", method: str = "get") -> dict[str, Any]:
    found: dict[str, Any] = valid(app.openapi())["paths"][path][method]
    return found


def scheme(document: dict[str, Any]) -> dict[str, Any]:
    found = dict(document["components"]["securitySchemes"]["AccessToken"])
    found.pop("description")
    return found


def valid(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document that is valid OpenAPI; an invalid one raises."""
    OpenAPIV31SpecValidator(document).validate()
    return document


def token(*alternatives: list[str]) -> list[dict[str, list[str]]]:
    return [{"AccessToken": scopes} for scopes in alternatives]


async def answer() -> str:
    return "answered"


async def numbered(number: str) -> str:
    raise NotImplementedError


async def bare() -> str:  # never decorated anywhere
    raise NotImplementedError


def owns_secret(request: policy.AccessRequest) -> bool:
    raise NotImplementedError


# --- from policies to requirements ------------------------------------------------------------------------------------

STATED: dict[str, tuple[Callable[[Any], Any], list[dict[str, list[str]]], str]] = {
    "one": (requires("a"), token(["a"]), "an access token with `a`."),
    "and": (requires("a", "b"), token(["a", "b"]), "an access token with `a` and `b`."),
    "or": (requires(policy.any_of("a", "b")), token(["a"], ["b"]), "an access token with `a` or `b`."),
    "or of and": (
        requires(policy.all_of("a", "b") | policy.scope("c")),
        token(["a", "b"], ["c"]),
        "an access token with (`a` and `b`) or scope `c`.",
    ),
    "and of or": (
        requires(policy.any_of("a", "b") & policy.scope("c")),
        token(["a", "c"], ["b", "c"]),
        "an access token with (`a` or `b`) and scope `c`.",
    ),
    "scopes": (requires_scopes("a"), token(["a"]), "an access token with scope `a`."),
    "permissions": (requires_permissions("a"), token(["a"]), "an access token with permission `a`."),
    "permission nobody can request": (
        requires(policy.permission("a b") & policy.scope("c")),
        token(["c"]),
        "an access token with permission `a b` and scope `c`.",
    ),
    "role": (requires(policy.role("manager")), token([]), "an access token with a certain role."),
    "scope and role": (
        requires(policy.scope("a") & policy.role("manager")),
        token(["a"]),
        "an access token with scope `a` and a certain role.",
    ),
    "scope or role": (
        requires(policy.scope("a") | policy.role("manager")),
        token(["a"], []),
        "an access token with scope `a` or a certain role.",
    ),
    "alternatives that differ in roles": (
        requires(policy.scope("a") & (policy.role("m") | policy.role("n"))),
        token(["a"]),
        "an access token with scope `a` and a certain role.",
    ),
    "alternatives that differ in kind": (
        requires(policy.scope("a") & (policy.role("m") | policy.group("n"))),
        token(["a"]),
        "an access token with scope `a` and (a certain role or a certain group).",
    ),
    "identity": (
        requires(policy.subject("jo") | policy.client("app") | policy.tenant("acme")),
        token([]),
        "an access token with a certain subject or a certain client or a certain tenant.",
    ),
    "claims": (
        requires(policy.claim("org_id", equals="acme") & policy.claim(("act", "sub"), matches="app-.*")),
        token([]),
        "an access token with a certain value of the claim `org_id` and a certain value of the claim `act.sub`.",
    ),
    "machine and check": (
        requires(policy.machine & policy.check(owns_secret)),
        token([]),
        "an access token with a machine as its holder and a further check by the API.",
    ),
    "user": (requires(policy.user & "a"), token(["a"]), "an access token with a user as its holder and `a`."),
    "any token, and more": (
        requires(policy.all_of(policy.any_of(AUTHENTICATED, "a"), "b", "c")),
        token(["b", "c"]),
        "an access token with `b` and `c`.",
    ),
    "the same value twice": (
        requires(policy.scope("a") & policy.permission("a")),
        token(["a"]),
        "an access token with scope `a` and permission `a`.",
    ),
    "OIDC scope": (requires(policy.scope("openid")), token(["openid"]), "an access token with scope `openid`."),
    "backticks": (
        requires(policy.permission("``a`")),
        token(["``a`"]),
        "an access token with permission ``` ``a` ```.",
    ),
    "authenticated": (authenticated, token([]), "any valid access token."),
    "authenticated or more": (
        requires(AUTHENTICATED | policy.scope("a")),
        token([]),
        "any valid access token.",
    ),
    "public": (public, [], "anybody, with or without an access token."),
}


@pytest.mark.parametrize("name", STATED)
def test_an_operation_says_what_its_policy_says(name: str) -> None:
    decorator, security, words = STATED[name]
    app = documented()
    app.get("/")(decorator(answer))
    found = operation(app)
    assert found["security"] == security
    assert found["description"] == f"**Access:** {words}"


def test_nothing_a_policy_compares_with_is_published() -> None:
    app = documented()
    secret: list[Any] = [
        policy.role("secret"),
        policy.group("secret"),
        policy.subject("auth0|secret"),
        policy.subject(policy.path_param("secret")),
        policy.client("secret"),
        policy.tenant("secret"),
        policy.claim("org_id", equals="secret"),
        policy.claim("org_id", contains="secret"),
        policy.claim("org_id", matches="secret"),
        policy.claim("level", equals=31337),
        policy.role("boss", issuer=ISSUER),
        policy.check(owns_secret),
    ]
    app.get("/any")(requires(policy.any_of(*secret))(answer))
    app.get("/all")(requires(policy.all_of("a", *secret[:5]))(answer))
    for number, each in enumerate(secret):
        app.get(f"/{number}")(requires(each)(answer))
    published = json.dumps(valid(app.openapi()))
    assert not any(word in published for word in ("secret", "31337", "boss"))


def test_a_policy_of_an_unknown_kind_is_not_shown_as_it_is_written() -> None:
    class Odd(policy.Policy):
        __slots__ = ()
        alternatives = policy.scope("a").alternatives
        asks_request = has_checks = False

        def allows(self, request: policy.AccessRequest, checked: object = None) -> bool:
            raise NotImplementedError

        def __repr__(self) -> str:
            return "odd"

    app = documented()
    app.get("/")(requires(policy.all_of(Odd(), "b"))(answer))
    assert operation(app)["security"] == token(["a", "b"])
    assert operation(app)["description"] == "**Access:** an access token with a further check by the API and `b`."


def test_the_description_of_an_operation_is_kept() -> None:
    app = documented()

    @app.get("/")
    @requires("a")
    async def described() -> None:
        """List orders."""

    assert operation(app)["description"] == "List orders.\n\n**Access:** an access token with `a`."


def test_a_route_that_states_nothing_is_documented_as_refused() -> None:
    app = documented()
    app.get("/")(bare)
    found = operation(app)
    assert found["security"] == token([])
    assert found["description"] == "**Access:** nobody, because the operation states no policy."
    assert "headers" not in found["responses"]["403"]  # such a refusal carries no challenge


def test_a_route_that_states_nothing_where_any_valid_token_will_do() -> None:
    app = documented(undecorated="authenticated")
    app.get("/")(bare)
    assert operation(app)["description"] == "**Access:** any valid access token."
    assert "403" not in operation(app)["responses"]


def test_a_public_path_is_documented_as_public() -> None:
    app = FastAPI()
    app.add_middleware(AuthzMiddleware, issuers=[LOCAL.trusted()], public_paths=["/open"])
    document(app)
    app.get("/open")(bare)
    assert operation(app, "/open")["security"] == []


def test_of_two_routes_for_one_request_the_one_that_is_served_counts() -> None:
    app = documented()
    app.get("/", operation_id="first")(requires("first")(answer))
    app.get("/", operation_id="second")(requires("second")(answer))
    assert operation(app)["security"] == token(["first"])


def test_a_route_for_every_method_is_served_before_those_that_follow() -> None:
    app = documented()
    app.router.routes.append(Route("/any", public(Foreign())))
    app.router.routes.append(Own("/own"))
    for path in ("/any", "/own"):
        app.get(path)(requires("a")(answer))
        app.post(path)(requires("a")(answer))
    assert client(app).get("/any").status_code == 200
    assert operation(app, "/any", "get")["security"] == operation(app, "/any", "post")["security"] == []
    assert client(app).get("/own", headers=LOCAL.headers(permissions=["a"])).json()["code"] == "no_policy"
    assert operation(app, "/own")["description"] == "**Access:** nobody, because the operation states no policy."


class Own(BaseRoute):
    """A route that is served in a way of its own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["path"] == self.path else Match.NONE), {}


def test_a_parameter_of_another_name_is_no_other_path_and_one_of_another_kind_is() -> None:
    app = documented()
    app.router.routes.append(Route("/same/{anything}", public(Foreign())))
    app.router.routes.append(Route("/some/{number:int}", public(Foreign())))
    app.router.routes.append(Route("/other/{anything:int}", public(Foreign())))
    for path in ("/same/{number}", "/some/{number}", "/other/{number}"):
        app.get(path)(requires("a")(numbered))
    asked = client(app)
    got = [asked.get(path).status_code for path in ("/same/x", "/some/1", "/some/x", "/other/1", "/other/x")]
    assert got == [200, 200, 401, 200, 401]
    assert operation(app, "/same/{number}")["security"] == []
    assert operation(app, "/some/{number}")["security"] == token(["a"])
    assert operation(app, "/other/{number}")["security"] == token(["a"])


async def needing(token: Annotated[AccessToken, Depends(access_token)]) -> str:
    raise NotImplementedError


def test_while_refusals_are_only_reported_it_says_what_is_stated_where_a_token_is_needed() -> None:
    app = documented(enforce=False)
    app.get("/needing")(requires("x")(needing))
    assert operation(app, "/needing")["security"] == [*token(["x"]), {}]


def test_an_operation_of_the_method_query_is_documented() -> None:
    app = documented()
    app.api_route("/q", methods=["QUERY"])(requires("q")(answer))
    found = app.openapi()["paths"]["/q"]["query"]  # the validator knows no version that has it
    assert found["security"] == token(["q"])
    assert set(found["responses"]) >= {"401", "403"}


def test_each_method_has_its_own_policy() -> None:
    app = documented()
    app.get("/orders/{number}")(requires("read")(numbered))
    app.put("/orders/{number}")(requires("write")(numbered))
    app.api_route("/both", methods=["POST"])(requires("both")(answer))
    assert operation(app, "/orders/{number}", "get")["security"] == token(["read"])
    assert operation(app, "/orders/{number}", "put")["security"] == token(["write"])
    assert operation(app, "/both", "post")["security"] == token(["both"])


def test_a_path_with_a_convertor() -> None:
    app = documented()
    app.get("/files/{number:path}")(requires("a")(numbered))
    assert operation(app, "/files/{number}")["security"] == token(["a"])


def test_what_is_not_in_the_document_stays_out_of_it() -> None:
    app = documented()
    app.get("/hidden", include_in_schema=False)(requires("hidden")(answer))
    app.websocket("/events")(requires("events")(answer))
    app.webhooks.post("hook")(bare)
    found = valid(app.openapi())
    assert found["paths"] == {}
    assert "security" not in found["webhooks"]["hook"]["post"]
    assert "hidden" not in json.dumps(found)


# --- dependencies, routers, mounts ------------------------------------------------------------------------------------


def test_dependencies_add_up_with_decorators() -> None:
    app = FastAPI(dependencies=[Security(requires("app"))])
    app.add_middleware(AuthzMiddleware, issuers=[LOCAL.trusted()])
    document(app)
    router = APIRouter(prefix="/r", dependencies=[Security(requires("router"))])
    inner = APIRouter()
    inner.get("/inner")(requires("decorator")(answer))
    router.include_router(inner, dependencies=[Depends(requires("include"))])
    router.get("/route", dependencies=[Security(requires("route"))])(bare)
    app.include_router(router, prefix="/v1")
    assert operation(app, "/v1/r/inner")["security"] == token(["app", "router", "include", "decorator"])
    assert operation(app, "/v1/r/route")["security"] == token(["app", "router", "route"])


def inner_app() -> FastAPI:
    app = FastAPI()
    app.get("/", operation_id="inner")(requires("inner")(answer))
    return app


def ask_document(app: Starlette, path: str = "/openapi.json", *grants: str) -> dict[str, Any]:
    """Return the document that an application serves to a caller with these grants."""
    response = client(app).get(path, headers=LOCAL.headers(scope=" ".join(grants), permissions=grants))
    if response.status_code != 200:
        raise AssertionError(response.text)
    return valid(response.json())


@pytest.mark.parametrize("first", ["document", "mount"])
def test_mounted_applications_document_themselves(first: str) -> None:
    app, inner, innermost = guarded(), inner_app(), inner_app()
    if first == "document":
        document(app)
    inner.mount("/deeper", requires("deeper")(innermost))
    app.mount("/sub", requires("around")(inner))
    if first == "mount":
        document(app)
    assert app.openapi()["paths"] == {}
    found = ask_document(app, "/sub/openapi.json", "around")
    assert found["paths"]["/"]["get"]["security"] == token(["around", "inner"])
    assert scheme(found) == OPEN_ID_CONNECT
    found = ask_document(app, "/sub/deeper/openapi.json", "around", "deeper")
    assert found["paths"]["/"]["get"]["security"] == token(["around", "deeper", "inner"])


def test_a_mounted_application_is_exported_without_a_server() -> None:
    app, inner = guarded(), inner_app()
    app.mount("/sub", requires("around")(inner))
    document(app)
    assert operation(inner)["security"] == token(["around", "inner"])


def test_a_mount_that_is_added_later_changes_the_document_of_what_it_mounts() -> None:
    app, inner = documented(), inner_app()
    app.mount("/sub", Mount("/", app=inner))
    document(app)
    assert operation(inner)["security"] == token(["inner"])
    app.router.routes.clear()
    app.mount("/sub", requires("around")(inner))
    assert operation(inner)["security"] == token(["around", "inner"])


def test_an_application_mounted_twice_asks_for_what_suffices_at_both_places() -> None:
    app, inner = guarded(), FastAPI()
    inner.get("/inner")(requires("inner")(answer))
    inner.get("/bare")(bare)
    inner.get("/public")(public(answer))
    app.mount("/a", requires("a")(inner))
    app.mount("/b", requires("b")(inner))
    document(app)
    assert operation(inner, "/inner")["security"] == token(["a", "inner", "b"])
    assert operation(inner, "/bare")["security"] == token(["a", "b"])
    app.mount("/open", inner)
    assert operation(inner, "/inner")["security"] == token(["a", "inner", "b"])
    assert operation(inner, "/bare")["description"].startswith("**Access:** nobody")


@pytest.mark.parametrize("order", [("/a", "/open"), ("/open", "/a")])
def test_public_at_one_place_and_guarded_at_another(order: tuple[str, str]) -> None:
    app, inner = guarded(), FastAPI()
    inner.get("/")(public(answer))
    for path in order:
        app.mount(path, requires("a")(inner) if path == "/a" else inner)
    document(app)
    assert operation(inner)["security"] == token(["a"])


def test_what_a_mounted_application_opens_by_its_own_public_paths() -> None:
    def mounted(*outer_paths: str) -> FastAPI:
        inner = FastAPI(openapi_url=None)
        inner.add_middleware(AuthzMiddleware, issuers=[LOCAL.trusted()], public_paths=["/"])
        inner.get("/")(bare)
        outer = FastAPI(openapi_url=None)
        outer.add_middleware(AuthzMiddleware, issuers=[LOCAL.trusted()], public_paths=outer_paths)
        outer.mount("/m", inner)
        document(outer)
        return inner

    assert operation(mounted())["description"] == "**Access:** any valid access token."
    assert operation(mounted())["security"] == token([])
    assert operation(mounted("/m/"))["security"] == []


# --- only reporting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decorator", "security", "words"),
    [
        (requires("a"), [*token(["a"]), {}], "an access token with `a`"),
        (authenticated, [*token([]), {}], "any valid access token"),
        (None, [*token([]), {}], "nobody, because the operation states no policy"),
    ],
)
def test_where_refusals_are_only_reported_none_is_documented(decorator: Any, security: Any, words: str) -> None:
    app = documented(enforce=False)
    app.get("/")(bare_too if decorator is None else decorator(answer))
    found = operation(app)
    assert client(app).get("/").status_code == 200
    assert found["security"] == security
    assert found["description"] == f"**Access:** {words}. This is only reported so far, and nobody is refused."
    assert list(found["responses"]) == ["200"]


async def bare_too() -> str:
    return "served"


def test_what_is_public_is_so_while_refusals_are_only_reported() -> None:
    app = documented(enforce=False)
    app.get("/")(public(answer))
    assert operation(app)["security"] == []
    assert operation(app)["description"] == "**Access:** anybody, with or without an access token."


def test_undecorated_routes_are_meant_for_whom_the_middleware_would_let_in() -> None:
    app = documented(enforce=False, undecorated="authenticated")
    app.get("/")(bare_too)
    assert operation(app)["description"].startswith("**Access:** any valid access token. This is only reported")


def test_what_the_application_requires_itself_stays_required_while_refusals_are_only_reported() -> None:
    app = documented(enforce=False)
    app.get("/", dependencies=[Depends(APIKeyHeader(name="x-key"))])(requires("a")(answer))
    key: dict[str, list[str]] = {"APIKeyHeader": []}
    assert operation(app)["security"] == [{**key, "AccessToken": ["a"]}, key]


def test_what_is_enforced_further_in_is_documented_although_something_around_only_reports() -> None:
    app, inner = guarded(enforce=False), guarded()
    inner.get("/")(requires("a")(answer))
    app.mount("/m", requires("around")(inner))
    document(app)
    assert operation(inner)["security"] == token(["a"])
    assert set(operation(inner)["responses"]) == {"200", "401", "403", "503"}


@pytest.mark.parametrize("order", [("/reported", "/enforced"), ("/enforced", "/reported")])
def test_enforced_at_one_place_and_reported_at_another(order: tuple[str, str]) -> None:
    app, inner = FastAPI(), inner_app()
    app.add_middleware(AuthzMiddleware, issuers=[LOCAL.trusted()], enforce=False)
    around = AuthzMiddleware(inner, issuers=[LOCAL.trusted()])
    for path in order:
        app.mount(path, inner if path == "/reported" else around)
    document(app)
    assert operation(inner)["security"] == token(["inner"])
    assert "401" in operation(inner)["responses"]


def test_a_host_counts_as_a_mount() -> None:
    app, inner = guarded(), inner_app()
    app.router.routes.append(Host("api.test", requires("host")(inner)))
    document(app)
    assert operation(inner)["security"] == token(["host", "inner"])


def test_an_application_in_starlette() -> None:
    inner = inner_app()
    app = Starlette(
        routes=[Mount("/sub", app=requires("around")(inner)), Mount("/foreign", app=requires("x")(Foreign()))],
        middleware=[Middleware(AuthzMiddleware, issuers=[LOCAL.trusted(third_party_clients=set())])],
    )
    document(app)
    found = ask_document(app, "/sub/openapi.json", "around")
    assert found["paths"]["/"]["get"]["security"] == token(["around", "inner"])


@pytest.mark.parametrize("documented_first", ["outer", "inner"])
def test_an_application_with_a_middleware_of_its_own_keeps_its_own_scheme(documented_first: str) -> None:
    app, inner = guarded(), guarded(TrustedIssuer("https://other.test/", AUDIENCE))
    inner.get("/")(requires("inner")(answer))
    inner.get("/bare")(bare)
    app.mount("/sub", requires("around")(inner))
    for which in (app, inner) if documented_first == "outer" else (inner, app):
        document(which, authorization_endpoint=AUTHORIZE, token_endpoint=TOKEN) if which is inner else document(which)
    app.openapi()
    assert operation(inner)["security"] == token(["around", "inner"])
    assert scheme(inner.openapi())["flows"]["authorizationCode"]["tokenUrl"] == TOKEN
    document(app)
    assert scheme(inner.openapi())["flows"]["authorizationCode"]["tokenUrl"] == TOKEN


def test_an_application_with_a_middleware_of_its_own_is_documented_with_the_one_around_it() -> None:
    app, inner = guarded(), guarded(TrustedIssuer("https://other.test/", AUDIENCE), undecorated="authenticated")
    inner.get("/")(requires("inner")(answer))
    inner.get("/bare")(bare)
    app.mount("/sub", inner)
    document(app)
    assert operation(inner)["security"] == token(["inner"])
    assert operation(inner, "/bare")["description"] == "**Access:** any valid access token."
    assert scheme(inner.openapi()) == OPEN_ID_CONNECT


# --- what the application documents itself ----------------------------------------------------------------------------


def test_the_applications_own_schemes_are_kept_and_needed_as_well() -> None:
    app = documented()
    key, basic = APIKeyHeader(name="key"), HTTPBasic()
    app.get("/one", dependencies=[Security(key)])(requires("a")(answer))
    app.get("/alternatives", dependencies=[Security(key), Security(basic)])(requires(policy.any_of("a", "b"))(answer))
    app.get("/public", dependencies=[Security(key)])(public(answer))
    app.get("/bare", dependencies=[Security(key)])(bare)
    optional: dict[str, Any] = {"security": [{"APIKeyHeader": []}, {}]}
    app.get("/optional", openapi_extra=optional)(requires("a")(answer))
    own: dict[str, list[str]] = {"APIKeyHeader": []}
    assert operation(app, "/one")["security"] == [{**own, "AccessToken": ["a"]}]
    assert operation(app, "/alternatives")["security"] == [
        {**own, "AccessToken": ["a"]},
        {**own, "AccessToken": ["b"]},
        {"HTTPBasic": [], "AccessToken": ["a"]},
        {"HTTPBasic": [], "AccessToken": ["b"]},
    ]
    assert operation(app, "/public")["security"] == [own]
    assert operation(app, "/bare")["security"] == [{**own, "AccessToken": []}]
    assert operation(app, "/optional")["security"] == [{**own, "AccessToken": ["a"]}, {"AccessToken": ["a"]}]
    assert set(app.openapi()["components"]["securitySchemes"]) == {"APIKeyHeader", "HTTPBasic", "AccessToken"}


def test_a_requirement_of_the_whole_document_is_kept() -> None:
    app = guarded()

    def custom() -> dict[str, Any]:
        made = get_openapi(title="t", version="1", routes=app.routes)
        made["components"] = {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "key"}}}
        return {**made, "security": [{"key": []}]}

    app.openapi = custom  # type: ignore[method-assign]
    document(app)
    app.get("/guarded")(requires("a")(answer))
    app.get("/public")(public(answer))
    assert operation(app, "/guarded")["security"] == [{"key": [], "AccessToken": ["a"]}]
    assert "security" not in operation(app, "/public")


def test_names_the_application_uses_are_left_to_it() -> None:
    class AccessProblem(BaseModel):
        mine: int

    app = documented()
    own = OAuth2PasswordBearer("login", scheme_name="AccessToken")

    @app.get("/", dependencies=[Security(own)])
    @requires("a")
    async def named() -> AccessProblem:
        raise NotImplementedError

    found = valid(app.openapi())
    assert found["components"]["securitySchemes"]["AccessToken"]["flows"]["password"]["tokenUrl"] == "login"
    assert found["components"]["securitySchemes"]["AccessToken_"]["type"] == "openIdConnect"
    assert found["paths"]["/"]["get"]["security"] == [{"AccessToken": [], "AccessToken_": ["a"]}]
    assert set(found["components"]["schemas"]["AccessProblem"]["properties"]) == {"mine"}
    refused = found["paths"]["/"]["get"]["responses"]["403"]["content"]["application/problem+json"]
    assert refused["schema"] == {"$ref": "#/components/schemas/AccessProblem_"}


# --- refusals ---------------------------------------------------------------------------------------------------------

UNAUTHORIZED = {"$ref": "#/components/responses/Unauthorized"}
UNAVAILABLE = {"$ref": "#/components/responses/KeysUnavailable"}


@pytest.mark.parametrize(
    ("decorator", "statuses"),
    [
        (requires("a"), {"200", "401", "403", "503"}),
        (requires(policy.role("m")), {"200", "401", "403", "503"}),
        (authenticated, {"200", "401", "503"}),
        (public, {"200", "401", "503"}),  # a bad token is refused there, too
        (None, {"200", "401", "403", "503"}),
    ],
)
def test_refusals_are_documented_where_they_can_happen(decorator: Any, statuses: set[str]) -> None:
    app = documented()
    app.get("/")(bare if decorator is None else decorator(answer))
    found = operation(app)["responses"]
    assert set(found) == statuses
    assert (found["401"], found["503"]) == (UNAUTHORIZED, UNAVAILABLE)


@pytest.mark.parametrize(
    "decorator",
    [requires("a", "b"), requires(policy.any_of("a", policy.scope("b") & policy.role("m"))), None],
)
def test_the_403_that_is_documented_is_the_one_that_is_sent(decorator: Any) -> None:
    app = documented()
    app.get("/")(bare if decorator is None else decorator(answer))
    sent = client(app).get("/", headers=LOCAL.headers()).json()
    found = operation(app)["responses"]["403"]["content"]["application/problem+json"]
    assert found["examples"] == {sent["code"]: {"value": sent}}


def test_every_refusal_has_the_documented_form_and_headers() -> None:
    app = documented()
    app.get("/a")(requires("a")(answer))
    app.get("/bare")(bare)
    asked = client(app)
    LOCAL.fail()
    unavailable = asked.get("/a", headers=LOCAL.headers())
    LOCAL.recover()
    found = valid(app.openapi())
    validator = OAS31Validator(found["components"]["schemas"]["AccessProblem"])
    for response, described in (
        (asked.get("/a"), found["components"]["responses"]["Unauthorized"]),
        (asked.get("/a", headers=LOCAL.headers(expires_in=-60)), found["components"]["responses"]["Unauthorized"]),
        (asked.get("/a", headers=LOCAL.headers()), found["paths"]["/a"]["get"]["responses"]["403"]),
        (asked.get("/bare", headers=LOCAL.headers()), found["paths"]["/bare"]["get"]["responses"]["403"]),
        (unavailable, found["components"]["responses"]["KeysUnavailable"]),
    ):
        validator.validate(response.json())
        assert set(response.json()) <= set(found["components"]["schemas"]["AccessProblem"]["properties"])
        assert response.headers["content-type"] in described["content"]
        for examples in described["content"].values():
            for example in examples["examples"].values():
                validator.validate(example["value"])
        assert all(name in response.headers for name in described.get("headers", {}))
    assert unavailable.status_code == 503


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ({401: {"description": "mine"}}, {"401": "mine"}),
        ({403: {"description": "mine"}, 503: {"description": "mine"}}, {"403": "mine", "503": "mine"}),
        ({"4XX": {"description": "mine"}}, {"4XX": "mine", "401": None, "403": None}),
        ({"default": {"description": "mine"}}, {"default": "mine", "401": None, "403": None, "503": None}),
    ],
)
def test_responses_of_the_application_are_kept(own: Any, kept: dict[str, str | None]) -> None:
    app = documented()
    app.get("/", responses=own)(requires("a")(answer))
    found = operation(app)["responses"]
    assert {status: found.get(status, {}).get("description") for status in kept} == kept


# --- the scheme -------------------------------------------------------------------------------------------------------


def code_flow(scopes: dict[str, str], issuer: str = ISSUER) -> dict[str, Any]:
    urls = {"authorizationUrl": f"{issuer}authorize", "tokenUrl": f"{issuer}oauth/token"}
    return {"type": "oauth2", "flows": {"authorizationCode": {**urls, "scopes": scopes}}}


def test_the_scheme_names_the_discovered_endpoints_and_the_scopes_in_use() -> None:
    network = Network()
    app = guarded(online(network))
    document(app, scopes={"read": "Read orders", "openid": "Log in"})
    for path in ("/1", "/2", "/3", "/4", "/5"):
        app.get(path)(requires("read", "many", *(["three"] if path < "/4" else []))(answer))
    app.post("/2")(requires(policy.any_of("few", policy.permission("few")) & policy.role("manager"))(answer))
    app.get("/public")(public(answer))
    served = client(app).get("/openapi.json").json()
    assert scheme(valid(served)) == code_flow(
        {
            "few": "Used by POST /2.",
            "many": "Used by GET /1, GET /2, GET /3 and 2 more.",
            "openid": "Log in",
            "read": "Read orders",
            "three": "Used by GET /1, GET /2, GET /3.",
        }
    )
    assert network.asked == [METADATA]


def test_each_application_lists_its_own_scopes() -> None:
    app, inner = guarded(online(Network())), inner_app()
    app.get("/")(requires("outer")(answer))
    app.mount("/sub", requires("around")(inner))
    document(app)
    assert scheme(valid(app.openapi())) == code_flow({"outer": "Used by GET /."})
    assert scheme(valid(inner.openapi())) == code_flow({"around": "Used by GET /.", "inner": "Used by GET /."})


def test_endpoints_that_are_given_are_not_discovered() -> None:
    network = Network()
    app = guarded(online(network))
    document(app, authorization_endpoint="https://login.test/a", token_endpoint="https://login.test/t")
    flow = scheme(client(app).get("/openapi.json").json())["flows"]["authorizationCode"]
    assert (flow["authorizationUrl"], flow["tokenUrl"]) == ("https://login.test/a", "https://login.test/t")
    assert network.asked == []


def test_open_id_connect_is_not_discovered() -> None:
    network = Network()
    app = guarded(online(network))
    document(app, open_id_connect=True)
    app.get("/")(requires("a")(answer))
    found = valid(client(app).get("/openapi.json").json())
    assert scheme(found) == OPEN_ID_CONNECT
    assert found["paths"]["/"]["get"]["security"] == token(["a"])
    assert network.asked == []


def test_a_plain_bearer_scheme_names_nobody_and_keeps_what_is_required() -> None:
    network = Network()
    app = guarded(online(network), online(network, "https://second.test/"))
    document(app, bearer=True, scopes={"openid": "Know who you are"})
    app.get("/")(requires(policy.any_of("a", "b"))(answer))
    found = valid(client(app).get("/openapi.json").json())
    assert scheme(found) == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    assert list(found["components"]["securitySchemes"]) == ["AccessToken"]
    assert found["paths"]["/"]["get"]["security"] == token(["a"], ["b"])
    assert found["paths"]["/"]["get"]["responses"].keys() == {"200", "401", "403", "503"}
    assert network.asked == []


@pytest.mark.parametrize("given", ["keys", "secret"])
def test_an_issuer_whose_keys_are_given_is_not_asked(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    monkeypatch.setattr(endpoints, "as_fetch", lambda *_, **__: network)
    keys: dict[str, Any] = {"keys": LOCAL.jwks()} if given == "keys" else {"secret": "s" * 32}
    app = documented(TrustedIssuer(ISSUER, AUDIENCE, **keys))
    assert scheme(client(app).get("/openapi.json").json()) == OPEN_ID_CONNECT
    assert network.asked == []
    assert scheme(documented(TrustedIssuer(ISSUER, AUDIENCE)).openapi()) == code_flow({})  # as others are


def test_within_trust_nothing_is_fetched_and_afterwards_it_is() -> None:
    network = Network()
    app = documented(online(network))
    with trust(app, LocalIssuer("https://other.test/", AUDIENCE)):
        served = scheme(client(app).get("/openapi.json").json())
        assert served["openIdConnectUrl"] == "https://other.test/.well-known/openid-configuration"
    assert network.asked == []
    assert scheme(client(app).get("/openapi.json").json()) == code_flow({})


def test_one_issuer_with_several_audiences_is_one_authorization_server() -> None:
    app = documented(online(Network(), audience="https://a.test/"), online(Network(), audience="https://b.test/"))
    assert scheme(app.openapi()) == code_flow({})


def test_of_several_issuers_the_application_says_which() -> None:
    network = Network()
    app = guarded(online(network), online(network, "https://second.test/"))
    document(app, issuer="https://second.test/")
    assert scheme(app.openapi()) == code_flow({}, "https://second.test/")
    assert network.asked == ["https://second.test/.well-known/openid-configuration"]


# --- having the endpoints ---------------------------------------------------------------------------------------------


def test_until_the_issuer_answers_there_is_a_makeshift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "RETRY_SECONDS", 0.0)
    network = Network()
    network.down = True
    app = documented(online(network))
    app.get("/")(requires("a")(answer))
    asked = client(app)
    makeshift = valid(asked.get("/openapi.json").json())
    assert scheme(makeshift) == OPEN_ID_CONNECT
    assert makeshift["paths"]["/"]["get"]["security"] == token(["a"])
    network.down = False
    assert scheme(asked.get("/openapi.json").json()) == code_flow({"a": "Used by GET /."})
    network.down = True
    assert scheme(asked.get("/openapi.json").json()) == code_flow({"a": "Used by GET /."})


def test_after_a_failure_the_issuer_is_asked_again_when_it_is_due() -> None:
    network, now = Network(), [1000.0]
    found = endpoints.Endpoints(online(network), clock=lambda: now[0])

    async def discover() -> object:
        await found.discover()
        return found.code_flow

    network.down = True
    assert asyncio.run(discover()) is None
    network.down = False
    now[0] += 29
    assert asyncio.run(discover()) is None
    assert len(network.asked) == 1
    now[0] += 1
    first = asyncio.run(discover())
    assert first is not None
    assert asyncio.run(discover()) is first
    assert len(network.asked) == 2


async def settle(times: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(times):
        await asyncio.sleep(0)


def test_many_who_ask_at_once_share_one_request_and_block_nobody() -> None:
    async def main() -> None:
        network = Network()
        network.gate = asyncio.Event()
        app = documented(online(network))
        app.get("/open")(public(answer))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as asked:
            waiting = [asyncio.create_task(asked.get("/openapi.json")) for _ in range(20)]
            waiting.append(asyncio.create_task(asked.get("/openapi.json")))
            await settle()
            assert (await asked.get("/open")).status_code == 200  # while they wait
            waiting.pop().cancel()  # who gives up ends nothing
            await settle()
            assert not any(task.done() for task in waiting)
            network.gate.set()
            found = [scheme((await task).json()) for task in waiting]
        assert found == [code_flow({})] * 20
        assert len(network.asked) == 1

    asyncio.run(main())


def test_a_request_that_died_with_its_event_loop_is_made_again_when_it_is_due() -> None:
    network, now = Network(), [1000.0]
    found = endpoints.Endpoints(online(network), clock=lambda: now[0])

    async def give_up() -> None:
        network.gate = asyncio.Event()
        asking = asyncio.create_task(found.discover())
        await settle()
        asking.cancel()

    asyncio.run(give_up())
    network.gate = None
    asyncio.run(found.discover())
    assert found.code_flow is None
    now[0] += 30
    asyncio.run(found.discover())
    assert found.code_flow is not None


def test_a_document_made_on_a_running_loop_does_not_block_it() -> None:
    network = Network()
    app = documented(online(network))

    async def main() -> dict[str, Any]:
        return app.openapi()

    assert scheme(valid(asyncio.run(main()))) == OPEN_ID_CONNECT
    assert network.asked == []
    assert scheme(app.openapi()) == code_flow({})  # an export script has no loop


def test_a_client_of_the_applications_own_is_used_on_its_own_loop_only() -> None:
    network = Network()

    async def handle(request: httpx.Request) -> httpx.Response:
        fetched = await network(str(request.url), {})

        async def body() -> AsyncIterator[bytes]:
            yield fetched.body

        return httpx.Response(fetched.status, content=body())

    async def main() -> dict[str, Any]:
        fetch: Any = httpx.AsyncClient(transport=httpx.MockTransport(handle))
        async with fetch:
            app = documented(TrustedIssuer(ISSUER, AUDIENCE, fetch=fetch))
            exported = await asyncio.to_thread(app.openapi)
            assert scheme(exported) == OPEN_ID_CONNECT
            assert network.asked == []
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as asked:
                return dict((await asked.get("/openapi.json")).json())

    assert scheme(valid(asyncio.run(main()))) == code_flow({})


def test_a_caller_who_may_not_see_the_document_causes_no_request() -> None:
    network = Network()
    app = FastAPI()
    app.add_middleware(AuthzMiddleware, issuers=[online(network)])
    document(app)
    assert client(app).get("/openapi.json").status_code == 401
    document(app)  # now that the routes are guarded
    assert client(app).get("/openapi.json").status_code == 401
    assert network.asked == []


# --- when, and how often ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_routes_may_be_declared_before_or_after(when: str) -> None:
    app = guarded()
    if when == "before":
        document(app)
    app.get("/")(requires("a")(answer))
    if when == "after":
        document(app)
    assert operation(app)["security"] == token(["a"])


def test_the_document_is_kept_until_something_changes() -> None:
    app = documented()
    app.get("/")(requires("a")(answer))
    first = app.openapi()
    assert app.openapi() is first
    assert app.openapi_schema is first
    app.get("/later")(requires("b")(answer))
    second = app.openapi()
    assert second is not first
    assert second["paths"]["/later"]["get"]["security"] == token(["b"])
    assert "/later" not in first["paths"]
    app.openapi_schema = None
    assert app.openapi() is not second
    assert app.openapi() == second


def test_asking_often_walks_the_routes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Often anybody may ask, and asking costs the event loop: no more of it than the first time."""
    walked: list[object] = []
    read: list[object] = []

    def walk(app: object, **options: Any) -> RouteTable:
        walked.append(app)
        return route_table(app, **options)

    def read_off(table: RouteTable, app: Starlette) -> Any:
        read.append(app)
        return enforced_in(table, app)

    monkeypatch.setattr("authz_middleware.audit.kept.route_table", walk)
    monkeypatch.setattr("authz_middleware.fastapi.documentation.enforced_in", read_off)
    app, inner = documented(), inner_app()
    app.get("/")(requires("a")(answer))
    app.mount("/sub", public(inner))
    asked = client(app)
    first = asked.get("/openapi.json").json()
    walked.clear()
    read.clear()
    for path in ("/openapi.json", "/sub/openapi.json") * 3:
        assert asked.get(path).status_code == 200
    assert len(walked) == 1  # when the mounted application has been started by its first request
    assert read == [inner, app]
    app.get("/later")(requires("b")(answer))
    assert asked.get("/openapi.json").json() != first
    assert len(walked) == 2


def test_routes_that_are_included_later_appear() -> None:
    app, router = documented(), APIRouter()
    app.include_router(router, dependencies=[Security(requires("include"))])
    assert valid(app.openapi())["paths"] == {}
    router.get("/")(requires("a")(answer))
    assert operation(app)["security"] == token(["include", "a"])


def test_documenting_twice_says_everything_once() -> None:
    app, inner = guarded(), inner_app()
    app.get("/")(requires(policy.any_of("a", "b"))(answer))
    app.mount("/sub", requires("around")(inner))
    document(app)
    once = copy.deepcopy((app.openapi(), inner.openapi()))
    document(app)
    document(app)
    assert (app.openapi(), inner.openapi()) == once
    assert ask_document(app) == once[0]
    assert ask_document(app, "/sub/openapi.json", "around") == {**once[1], "servers": [{"url": "/sub"}]}


def test_the_latest_word_counts() -> None:
    app = documented()
    document(app, authorization_endpoint=AUTHORIZE, token_endpoint=TOKEN, scopes={"a": "Text"})
    assert scheme(ask_document(app)) == code_flow({"a": "Text"})


@pytest.mark.parametrize("when", ["before", "after", "around"])
def test_a_function_of_the_applications_own_makes_the_document(when: str) -> None:
    app = guarded()
    app.get("/")(requires(policy.any_of("a", "b"))(answer))

    def custom() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = get_openapi(title="Mine", version="1", routes=app.routes)
        return app.openapi_schema

    if when == "before":
        app.openapi = custom  # type: ignore[method-assign]
    document(app)
    made = app.openapi
    if when == "after":
        app.openapi = custom  # type: ignore[method-assign]
    if when == "around":
        app.openapi = lambda: {**made(), "x-mine": True}  # type: ignore[method-assign]
    served = ask_document(app)
    assert served["info"]["title"] == ("FastAPI" if when == "around" else "Mine")
    assert served["paths"]["/"]["get"]["security"] == token(["a"], ["b"])
    assert served["paths"]["/"]["get"]["description"] == "**Access:** an access token with `a` or `b`."
    assert set(served["components"]["securitySchemes"]) == {"AccessToken"}


def test_a_running_application_can_be_documented() -> None:
    network = Network()
    app = guarded(online(network))
    app.get("/")(requires("a")(answer))
    asked = client(app)
    assert "securitySchemes" not in asked.get("/openapi.json").json().get("components", {})
    document(app)
    assert scheme(valid(asked.get("/openapi.json").json())) == code_flow({"a": "Used by GET /."})


def test_a_document_that_is_replaced_while_the_application_runs_is_served_as_it_is() -> None:
    app = documented()
    asked = client(app)
    asked.get("/openapi.json")
    app.openapi = lambda: {"mine": True}  # type: ignore[method-assign]
    assert asked.get("/openapi.json").json() == {"mine": True}


def test_middleware_can_be_added_after_documenting() -> None:
    app = documented()
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    app.get("/")(requires("a")(answer))
    response = client(app).get("/openapi.json", headers={"Origin": "https://page.test"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.json()["paths"]["/"]["get"]["security"] == token(["a"])


def test_an_application_without_pages_is_documented_for_export() -> None:
    app = FastAPI(openapi_url=None)
    app.add_middleware(AuthzMiddleware, issuers=[LOCAL.trusted()])
    document(app)
    app.get("/")(requires("a")(answer))
    assert operation(app)["security"] == token(["a"])
    assert client(app).get("/openapi.json", headers=LOCAL.headers()).status_code == 404


def test_routes_at_fault_are_reported_and_fail_the_start() -> None:
    app = documented()

    @requires("above")
    @app.get("/")
    async def late() -> None:
        raise NotImplementedError

    with pytest.raises(ConfigurationError, match="above the route decorator"):
        document(app)
    with pytest.raises(ConfigurationError, match="above the route decorator"), client(app):
        pass


# --- configuration ----------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "half": ({"token_endpoint": TOKEN}, "belong together"),
    "other half": ({"authorization_endpoint": AUTHORIZE}, "belong together"),
    "plain http": ({"authorization_endpoint": "http://issuer.test/", "token_endpoint": TOKEN}, "must use https"),
    "script": ({"authorization_endpoint": AUTHORIZE, "token_endpoint": "javascript:alert(1)"}, "no https URL"),
    "no text": ({"authorization_endpoint": AUTHORIZE, "token_endpoint": 7}, "is no URL"),
    "both": (
        {"authorization_endpoint": AUTHORIZE, "token_endpoint": TOKEN, "open_id_connect": True},
        "contradict each other",
    ),
    "endpoints and bearer": (
        {"authorization_endpoint": AUTHORIZE, "token_endpoint": TOKEN, "bearer": True},
        "endpoints and bearer=True contradict each other; give one of them",
    ),
    "half an endpoint and bearer": ({"token_endpoint": TOKEN, "bearer": True}, "endpoints and bearer=True"),
    "bearer and OpenID Connect": (
        {"open_id_connect": True, "bearer": True},
        "open_id_connect=True and bearer=True contradict each other",
    ),
    "list of scopes": ({"scopes": ["read:orders"]}, "maps scopes to descriptions"),
    "scope without text": ({"scopes": {"read:orders": None}}, "maps scopes to descriptions"),
    "two scopes in one": ({"scopes": {"read:orders write:orders": "Both"}}, "no scope"),
    "empty scope": ({"scopes": {"": "Nothing"}}, "no scope"),
    "foreign issuer": ({"issuer": "https://issuer.test"}, "write issuer='https://issuer.test/'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_is_a_configuration_error(name: str) -> None:
    arguments, sentence = BAD[name]
    app = guarded()
    with pytest.raises(ConfigurationError, match=sentence):
        document(app, **arguments)
    assert "components" not in app.openapi()


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as told:
        document(guarded(), token_endpoint="http://issuer.test/", scopes={"": ""})
    assert len(told.value.faults) == 3
    assert all(fault.startswith("document: ") for fault in told.value.faults)


def test_of_several_issuers_one_must_be_named() -> None:
    app = guarded(online(Network()), online(Network(), "https://second.test/"))
    with pytest.raises(ConfigurationError) as told:
        document(app)
    assert "write issuer='https://issuer.test/' or issuer='https://second.test/'" in str(told.value)
    document(app, authorization_endpoint=AUTHORIZE, token_endpoint=TOKEN)
    assert scheme(valid(app.openapi())) == code_flow({})


@pytest.mark.parametrize("app", [FastAPI(), Starlette(), Foreign(), None])
def test_without_the_middleware_there_is_nothing_to_document(app: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"no AuthzMiddleware|takes the FastAPI application"):
        document(app)


def test_a_middleware_with_a_fault_is_no_middleware() -> None:
    async def main() -> None:  # where a middleware keeps its faults for the start
        app = FastAPI()
        app.add_middleware(AuthzMiddleware, issuers=[])
        with pytest.raises(ConfigurationError, match="or one with a fault"):
            document(app)

    asyncio.run(main())


def test_issuers_that_can_be_read_once_are_left_to_the_application() -> None:
    app = FastAPI()
    app.add_middleware(AuthzMiddleware, issuers=(each for each in [LOCAL.trusted(third_party_clients=set())]))
    document(app)
    app.get("/")(requires("a")(answer))
    for _ in range(2):
        assert operation(app)["security"] == token(["a"])
    assert client(app).get("/", headers=LOCAL.headers(permissions=["a"])).status_code == 200


def test_a_middleware_that_a_factory_makes_is_seen_and_not_made_over_and_over() -> None:
    made = []

    def make(app: Any) -> AuthzMiddleware:
        made.append(app)
        return AuthzMiddleware(app, issuers=[LOCAL.trusted(third_party_clients=set())], public_paths=FASTAPI_DOCS)

    app = FastAPI()
    app.add_middleware(make)
    document(app)
    app.get("/")(requires("a")(answer))
    assert operation(app)["security"] == token(["a"])
    assert client(app).get("/openapi.json").json() == app.openapi()
    assert len(made) < 30


# --- Swagger UI -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [{"audience": AUDIENCE}, {"resource": AUDIENCE}, {"resource": "urn:orders"}, {}])
def test_authorize_is_filled_in(target: dict[str, str]) -> None:
    app = documented()
    swagger_ui(app, client_id="docs", scopes=["openid", "read:orders"], **target)
    assert app.swagger_ui_init_oauth == {
        "clientId": "docs",
        "scopes": "openid read:orders",
        "usePkceWithAuthorizationCodeGrant": True,
        "additionalQueryStringParams": target,
    }
    page = client(app).get("/docs").text
    assert f"ui.initOAuth({json.dumps(app.swagger_ui_init_oauth)})" in page


def test_a_secret_that_was_there_is_not_published() -> None:
    app = FastAPI(swagger_ui_init_oauth={"clientSecret": "s"})
    swagger_ui(app, client_id="docs")
    assert app.swagger_ui_init_oauth is not None
    assert "clientSecret" not in app.swagger_ui_init_oauth


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"client_id": ""}, "client_id is missing"),
        ({"client_id": None}, "client_id is missing"),
        ({"client_id": "docs", "scopes": "openid read:orders"}, "with brackets"),
        ({"client_id": "docs", "scopes": ["openid read:orders"]}, "no scope"),
        ({"client_id": "docs", "audience": "a", "resource": "urn:a"}, "give the one"),
        ({"client_id": "docs", "audience": ""}, "audience is missing"),
        ({"client_id": "docs", "audience": 7}, "audience is missing"),
        ({"client_id": "docs", "resource": "orders"}, "absolute URI"),
        ({"client_id": "docs", "resource": "https://api.test/#a"}, "absolute URI"),
        ({"client_id": "docs", "resource": 7}, "absolute URI"),
    ],
)
def test_what_cannot_be_filled_in_is_a_configuration_error(arguments: dict[str, Any], sentence: str) -> None:
    app = documented()
    with pytest.raises(ConfigurationError, match=f"swagger_ui: .*{sentence}"):
        swagger_ui(app, **arguments)
    assert app.swagger_ui_init_oauth is None


# --- the extra --------------------------------------------------------------------------------------------------------


def test_without_fastapi_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("authz_middleware.fastapi.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == "fastapi" or name.startswith("fastapi.")]:
        monkeypatch.setitem(sys.modules, name, None)
    spec = authz_middleware.fastapi.__spec__
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r'pip install "authz_middleware\[fastapi\]"'):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_package_does_not_need_fastapi() -> None:
    code = "import sys, authz_middleware, authz_middleware.audit; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
