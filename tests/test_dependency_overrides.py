"""`dependency_overrides`: what an application takes away by name is gone, and nothing else is."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from starlette.testclient import WebSocketDenialResponse

from authz_middleware import AccessToken, ConfigurationError, access_token, authenticated, policy, public, requires
from authz_middleware.audit import route_table
from authz_middleware.decorators import Requirement
from authz_middleware.fastapi import document
from authz_middleware.testing import LocalIssuer

from .apps import (
    Calls,
    ask,
    client,
    expect_forbidden,
    expect_missing,
    expect_no_policy,
    expect_ok,
    expect_opaque,
    grants,
    http_scope,
    never,
    token_with,
)
from .dependency_apps import LEVELS, MALFORMED, PATH, Placed, guarded, holding

FAKE = token_with(grants())
BAD = {"Authorization": "Bearer bad"}
DEPENDENCIES = LEVELS[:-1]


def fake() -> AccessToken:
    """Be a caller of the test's own."""
    return FAKE


# --- taken away -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", DEPENDENCIES)
def test_an_overridden_requirement_is_gone_and_comes_back(issuer: LocalIssuer, level: str) -> None:
    placed = Placed(issuer, {level: requires("x")})
    asked = client(placed.app)
    expect_missing(asked.post(PATH, json={}), "x")
    placed.app.dependency_overrides[requires("x")] = fake  # another object, and equal
    given = FAKE.subject if level == "parameter" else "none"
    assert asked.post(PATH, json={}).json() == given
    assert asked.post(PATH, json={}, headers=holding(issuer)).json() == given
    assert asked.post(PATH, **MALFORMED).status_code == 422
    expect_opaque(asked.post(PATH, json={}, headers=BAD))
    placed.app.dependency_overrides.clear()
    placed.calls.names.clear()
    expect_missing(asked.post(PATH, json={}), "x")
    expect_forbidden(asked.post(PATH, headers=holding(issuer), **MALFORMED), "x")
    assert not placed.calls


def test_only_what_is_named_is_taken_away(issuer: LocalIssuer) -> None:
    placed = Placed(issuer, {level: requires(level) for level in LEVELS})
    asked = client(placed.app)
    for level in DEPENDENCIES:
        placed.app.dependency_overrides = {requires(level): fake}
        left = [other for other in LEVELS if other != level]
        expect_missing(asked.post(PATH, **MALFORMED), " ".join(left))
        expect_forbidden(asked.post(PATH, headers=holding(issuer, level), **MALFORMED), *left)
    assert not placed.calls
    placed.app.dependency_overrides = {requires(level): fake for level in DEPENDENCIES}
    expect_forbidden(asked.post(PATH, headers=holding(issuer), **MALFORMED), "decorator")
    assert not placed.calls
    assert asked.post(PATH, headers=holding(issuer, "decorator"), json={}).json() == FAKE.subject


@pytest.mark.parametrize("other", [requires("y"), requires(policy.scope("x")), requires("x", "y"), fake, Depends(fake)])
def test_other_overrides_change_nothing(issuer: LocalIssuer, other: Any) -> None:
    placed = Placed(issuer, {"route": requires("x")})
    placed.app.dependency_overrides[other] = fake
    asked = client(placed.app)
    expect_missing(asked.post(PATH, **MALFORMED), "x")
    expect_forbidden(asked.post(PATH, headers=holding(issuer, "y"), **MALFORMED), "x")
    assert not placed.calls


def test_a_dependency_is_overridden_with_what_it_requires(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer), Calls()

    async def session(token: Annotated[AccessToken, Security(requires("x"))]) -> str:
        return token.subject

    async def user(of: Annotated[str, Depends(session)], _: Annotated[AccessToken, Security(requires("y"))]) -> str:
        return of

    @app.get("/")
    async def root(name: Annotated[str, Depends(user)]) -> str:
        calls.note()
        return name

    asked = client(app)
    expect_missing(asked.get("/"), "x y")
    app.dependency_overrides[session] = lambda: "session"
    expect_missing(asked.get("/"), "y")
    assert not calls
    expect_ok(asked.get("/", headers=holding(issuer, "y")), '"session"')
    app.dependency_overrides[user] = lambda: "user"
    expect_ok(asked.get("/"), '"user"')


def test_an_override_opens_no_route_that_states_nothing(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer), Calls()

    def session() -> None:
        calls.note()

    app.get("/", dependencies=[Depends(session)])(lambda: "ran")
    app.get("/token")(access_token)
    app.dependency_overrides = {session: lambda: None, access_token: fake}
    for path in ("/", "/token"):
        expect_missing(client(app).get(path))
        expect_no_policy(client(app).get(path, headers=holding(issuer, "x")))
    assert not calls


def test_the_token_is_overridden_and_the_requirement_is_not(issuer: LocalIssuer) -> None:
    app = guarded(issuer)
    caller = Annotated[AccessToken, Depends(access_token)]

    @app.get("/decorated")
    @requires("x")
    async def decorated(token: caller) -> str:
        return token.subject

    @app.get("/dependent", dependencies=[Security(requires("x"))])
    async def dependent(token: caller) -> str:
        return token.subject

    @app.get("/open")
    @public
    async def opened(token: caller) -> str:
        return token.subject

    app.dependency_overrides[access_token] = fake
    asked = client(app)
    for path in ("/decorated", "/dependent"):
        expect_missing(asked.get(path), "x")
        expect_forbidden(asked.get(path, headers=holding(issuer)), "x")
        assert asked.get(path, headers=holding(issuer, "x", subject="s")).json() == FAKE.subject
    assert asked.get("/open").json() == FAKE.subject
    expect_opaque(asked.get("/open", headers=BAD))


# --- replaced ---------------------------------------------------------------------------------------------------------


async def needing_y(token: Annotated[AccessToken, Security(requires("y"))]) -> AccessToken:
    return token


class Needing:
    def __init__(self, token: Annotated[AccessToken, Depends(needing_y)]) -> None:
        self.subject = token.subject


@pytest.mark.parametrize("level", DEPENDENCIES)
@pytest.mark.parametrize("instead", [requires("y"), needing_y, Needing])
def test_what_takes_its_place_decides_as_early(issuer: LocalIssuer, level: str, instead: Callable[..., Any]) -> None:
    placed = Placed(issuer, {level: requires("x"), "decorator": requires("z")})
    placed.app.dependency_overrides[requires("x")] = instead
    asked = client(placed.app)
    expect_missing(asked.post(PATH, **MALFORMED), "y z")
    expect_forbidden(asked.post(PATH, headers=holding(issuer, "x", "z"), **MALFORMED), "y", "z")
    assert ask(placed.app, http_scope(PATH, method="POST"), never).status == 401
    assert not placed.calls
    assert asked.post(PATH, headers=holding(issuer, "y", "z"), json={}).status_code == 200


def test_an_override_may_require_where_nothing_did(issuer: LocalIssuer) -> None:
    placed = Placed(issuer, {"decorator": requires("x")})
    placed.app.dependency_overrides[placed.absent] = needing_y
    asked = client(placed.app)
    expect_missing(asked.post(PATH, **MALFORMED), "y x")
    expect_forbidden(asked.post(PATH, headers=holding(issuer, "x"), **MALFORMED), "y", "x")
    assert not placed.calls


def test_an_override_may_do_without_a_token_where_the_original_needed_one(issuer: LocalIssuer) -> None:
    app = guarded(issuer)

    async def user(token: Annotated[AccessToken, Depends(access_token)]) -> str:
        raise NotImplementedError

    async def anybody(token: Annotated[AccessToken | None, Depends(access_token)]) -> str:
        return "nobody" if token is None else token.subject

    @app.get("/")
    @public
    async def root(name: Annotated[str, Depends(user)]) -> str:
        return name

    expect_missing(client(app).get("/"))
    app.dependency_overrides[user] = anybody
    expect_ok(client(app).get("/"), '"nobody"')


def test_an_override_may_be_public_alone(issuer: LocalIssuer) -> None:
    app = guarded(issuer, [Security(requires("x"))])
    app.get("/alone")(lambda: "ran")
    app.get("/more", dependencies=[Security(requires("y"))])(lambda: "ran")
    app.dependency_overrides[requires("x")] = public
    expect_ok(client(app).get("/alone"), '"ran"')
    expect_missing(client(app).get("/more"))
    with pytest.raises(ConfigurationError, match="both @public and guarded"):
        client(app).get("/more", headers=holding(issuer, "y"))


def test_an_override_that_asks_for_what_it_replaces_opens_nothing(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer), Calls()

    async def around(token: Annotated[AccessToken, Security(requires("x"))]) -> AccessToken:
        raise NotImplementedError

    app.get("/", dependencies=[Security(requires("x"))])(calls.note)
    app.dependency_overrides[requires("x")] = around  # FastAPI by itself would never come to an end
    expect_missing(client(app).get("/"))
    with pytest.raises(RecursionError):
        client(app).get("/", headers=holding(issuer, "x"))
    assert not calls


def test_an_override_that_ends_during_the_request_opens_nothing(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer), Calls()

    def ending() -> None:
        calls.note("ending")
        app.dependency_overrides.clear()

    app.get("/", dependencies=[Depends(ending), Security(requires("x"))])(calls.note)
    for headers, status in (({}, 401), (holding(issuer), 403)):
        app.dependency_overrides[requires("x")] = fake
        assert client(app).get("/", headers=headers).status_code == status
    assert calls.names == ["ending", "ending"]


# --- whose they are ---------------------------------------------------------------------------------------------------


def test_overrides_are_those_of_the_application_that_serves(issuer: LocalIssuer) -> None:
    app, sub, router, inner = guarded(issuer), FastAPI(), APIRouter(), APIRouter()
    inner.get("/", dependencies=[Security(requires("x"))])(lambda: "ran")
    router.include_router(inner, prefix="/inner")
    app.include_router(router, prefix="/included")
    sub.include_router(router, prefix="/included")
    app.mount("/sub", sub)
    app.mount("/router", inner)  # a router alone has nobody whose overrides count
    paths = {"/included/inner/": app, "/sub/included/inner/": sub, "/router/": None}
    asked = client(app)
    for overriding in (None, app, sub):
        for one in (app, sub):
            one.dependency_overrides = {requires("x"): fake} if one is overriding else {}
        for path, owner in paths.items():
            if owner is not None and owner is overriding:
                expect_ok(asked.get(path), '"ran"')
            else:
                expect_missing(asked.get(path), "x")
                expect_forbidden(asked.get(path, headers=holding(issuer)), "x")


def test_a_mount_around_stays(issuer: LocalIssuer) -> None:
    app, sub = guarded(issuer), FastAPI(dependencies=[Security(requires("x"))])
    sub.get("/")(lambda: "ran")
    app.mount("/sub", requires("m")(sub))
    sub.dependency_overrides[requires("x")] = fake
    app.dependency_overrides[requires("m")] = fake
    expect_missing(client(app).get("/sub/"), "m")
    expect_forbidden(client(app).get("/sub/", headers=holding(issuer, "x")), "m")
    expect_ok(client(app).get("/sub/", headers=holding(issuer, "m")), '"ran"')


def test_overrides_hold_for_websockets(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter()

    @router.websocket("/talk")
    async def talk(websocket: WebSocket, token: Annotated[AccessToken, Security(requires("x"))]) -> None:
        await websocket.accept()
        await websocket.send_text(token.subject)
        await websocket.close()

    app.include_router(router, prefix="/in", dependencies=[Security(authenticated)])
    asked = client(app)
    for overrides in ({}, {requires("x"): fake}, {authenticated: fake}, {requires("x"): fake, authenticated: fake}):
        app.dependency_overrides = dict[Any, Any](overrides)
        if len(overrides) == 2:
            with asked.websocket_connect("/in/talk") as session:
                assert session.receive_text() == FAKE.subject
        else:
            with pytest.raises(WebSocketDenialResponse) as denied, asked.websocket_connect("/in/talk"):
                pass
            expect_missing(denied.value, "" if requires("x") in overrides else "x")
        with pytest.raises(WebSocketDenialResponse) as refused, asked.websocket_connect("/in/talk", headers=BAD):
            pass
        assert refused.value.json()["code"] == "opaque_token"


@pytest.mark.parametrize("requirement", [authenticated, public, requires("x")], ids=repr)
def test_any_requirement_can_be_overridden(issuer: LocalIssuer, requirement: Requirement) -> None:
    app = guarded(issuer)

    @app.get("/")
    async def root(token: Annotated[Any, Security(requirement)]) -> str:
        return str(token)

    app.dependency_overrides[requirement] = lambda: "mine"
    expect_ok(client(app).get("/"), '"mine"')


# --- shown ------------------------------------------------------------------------------------------------------------


def test_what_is_taken_away_is_gone_from_table_and_document(issuer: LocalIssuer) -> None:
    placed = Placed(issuer, {"route": requires("x")})
    path = "/in/own/{number}"

    def shown() -> tuple[str, object]:
        (entry,) = (entry for entry in route_table(placed.app).entries if entry.path == path)
        placed.app.openapi_schema = None
        return entry.policy, placed.app.openapi()["paths"][path]["post"]["security"]

    document(placed.app)
    stated = ("'x'", [{"AccessToken": ["x"]}])
    assert shown() == stated
    placed.app.dependency_overrides[requires("x")] = fake
    assert shown() == ("public", [])
    placed.app.dependency_overrides[requires("x")] = requires("y")
    assert shown() == ("'y'", [{"AccessToken": ["y"]}])
    placed.app.dependency_overrides.clear()
    assert shown() == stated
