"""Ways around a policy that only dependencies state, report-only mode, and the law that where it stands is all one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import anyio
import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from authz_middleware import AccessToken, access_token, authenticated, policy, public, requires
from authz_middleware.decorators import Requirement
from authz_middleware.observe import RequestDecision
from authz_middleware.policy import Policy
from authz_middleware.testing import LocalIssuer

from .apps import (
    FORBIDDEN,
    PREFLIGHT,
    Answer,
    Calls,
    ask,
    authz,
    bare,
    bearer,
    client,
    expect_forbidden,
    expect_missing,
    expect_no_policy,
    expect_ok,
    http_scope,
    serve,
)
from .dependency_apps import LEVELS, MALFORMED, PATH, Placed, guarded, holding

X = Security(requires("x"))
ISSUER = LocalIssuer()


def noting(calls: Calls) -> Callable[[], str]:
    def operation() -> str:
        calls.note()
        return "ran"

    return operation


# --- around the route -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/a/orders/", "/a/orders"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "TRACE", "PURGE", "get"])
def test_no_method_and_no_slash_leads_around_a_dependency(issuer: LocalIssuer, method: str, path: str) -> None:
    app, router, calls = guarded(issuer), APIRouter(dependencies=[X]), Calls()
    router.api_route("/orders/", methods=["GET", "HEAD"])(noting(calls))
    router.post("/orders/")(noting(calls))
    app.include_router(router, prefix="/a")
    is_route = path.endswith("/") and method in {"GET", "HEAD", "POST"}
    anonymous = ask(app, http_scope(path, method=method))
    scope = ', scope="x"' if is_route else ""
    assert (anonymous.status, anonymous.headers["www-authenticate"]) == (401, f'Bearer realm="api"{scope}')
    denied = ask(app, http_scope(path, [bearer(issuer, permissions=["y"])], method=method))
    assert not calls
    granted = ask(app, http_scope(path, [bearer(issuer, permissions=["x"])], method=method))
    if is_route:
        assert (denied.status, denied.headers["www-authenticate"]) == (403, f"{FORBIDDEN}{scope}")
        assert (granted.status, calls.names) == (200, ["handler"])
    else:  # nothing of the application's answers, so that both are told the same
        assert granted.status == denied.status
        assert granted.status in {307, 405}


def test_a_preflight_reaches_no_operation(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer, [X]), Calls()
    app.options("/answers")(noting(calls))
    app.get("/get")(noting(calls))
    expect_missing(client(app).options("/answers", headers=PREFLIGHT), "x")
    assert client(app).options("/get", headers=PREFLIGHT).status_code == 401
    assert not calls


@pytest.mark.parametrize("path", ["//in/own/1", "/in//own/1", "/in/own/1/", "/IN/OWN/1", "/in/own/1%2f", "/in/./own/1"])
def test_no_spelling_of_the_path_leads_around_a_dependency(issuer: LocalIssuer, path: str) -> None:
    placed = Placed(issuer, {"include": requires("x")})
    asked = client(placed.app)
    assert asked.post(path, json={}).status_code == 401
    assert asked.post(path, headers=holding(issuer), json={}).status_code in {307, 403, 404}
    assert not placed.calls


def test_the_same_router_mounted_included_and_served_alone(issuer: LocalIssuer) -> None:
    calls, router = Calls(), APIRouter(dependencies=[X])
    router.get("/orders")(noting(calls))
    sub, app = FastAPI(dependencies=[Security(requires("s"))]), guarded(issuer)
    sub.include_router(router)
    app.include_router(router, prefix="/included", dependencies=[Security(requires("i"))])
    app.mount("/router", router)
    app.mount("/sub", sub)
    alone = Starlette(routes=[Mount("/", app=router)], middleware=[authz(issuer)])
    cases = {"/included": "i x", "/router": "x", "/sub": "s x"}
    for path, needed in cases.items():
        expect_missing(client(app).get(f"{path}/orders"), needed)
        expect_forbidden(client(app).get(f"{path}/orders", headers=holding(issuer, "y")), *needed.split())
    expect_missing(client(alone).get("/orders"), "x")
    expect_forbidden(client(alone).get("/orders", headers=holding(issuer, "y")), "x")
    assert not calls
    for path, needed in cases.items():
        expect_ok(client(app).get(f"{path}/orders", headers=holding(issuer, *needed.split())), '"ran"')


def test_routers_included_after_the_start_keep_their_requirements(issuer: LocalIssuer) -> None:
    app, calls, outer = guarded(issuer), Calls(), APIRouter()
    app.include_router(outer, prefix="/outer", dependencies=[Security(requires("o"))])
    app.get("/open")(public(lambda: "open"))
    with client(app) as asked:
        expect_ok(asked.get("/open"), '"open"')
        for into, prefix, needed in ((app, "", "i x"), (outer, "/outer", "o i x")):
            router = APIRouter()
            router.get("/late", dependencies=[X])(noting(calls))
            into.include_router(router, prefix="/in", dependencies=[Security(requires("i"))])
            expect_missing(asked.get(f"{prefix}/in/late"), needed)
            expect_forbidden(asked.get(f"{prefix}/in/late", headers=holding(issuer, "x")), *needed.split())
            assert not calls
            expect_ok(asked.get(f"{prefix}/in/late", headers=holding(issuer, *needed.split())), '"ran"')
            calls.names.clear()


@pytest.mark.parametrize("is_served", [True, False])
def test_a_dependant_put_in_the_place_of_another_takes_nothing_away(issuer: LocalIssuer, is_served: bool) -> None:
    app, calls = guarded(issuer), Calls()
    app.get("/", dependencies=[X])(noting(calls))
    route = app.routes[-1]
    if is_served:
        expect_missing(client(app).get("/"), "x")
    vars(route)["dependant"] = get_dependant(path="/", call=noting(calls))
    expect_missing(client(app).get("/"), "x" if is_served else "")
    assert client(app).get("/", headers=holding(issuer)).status_code == 403
    assert not calls
    if is_served:
        expect_ok(client(app).get("/", headers=holding(issuer, "x")), '"ran"')


def test_dependencies_emptied_after_the_start_are_enforced_all_the_same(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer), Calls()
    app.get("/", dependencies=[X])(noting(calls))
    expect_missing(client(app).get("/"), "x")
    route = app.routes[-1]
    assert isinstance(route, APIRoute)
    route.dependant.dependencies.clear()
    route.dependencies.clear()
    expect_missing(client(app).get("/"), "x")
    expect_forbidden(client(app).get("/", headers=holding(issuer)), "x")
    assert not calls


def test_dependencies_added_after_the_start_are_enforced_late(issuer: LocalIssuer) -> None:
    app, calls = guarded(issuer), Calls()
    app.get("/", dependencies=[X])(noting(calls))
    expect_missing(client(app).get("/"), "x")
    route = app.routes[-1]
    assert isinstance(route, APIRoute)
    route.dependant.dependencies.append(get_dependant(path="/", call=requires("y")))
    expect_forbidden(client(app).get("/", headers=holding(issuer, "x")), "y")
    assert not calls


def test_callers_without_the_grant_use_up_no_concurrency(issuer: LocalIssuer) -> None:
    app, entered, release = guarded(issuer), anyio.Event, anyio.Event()
    inside = entered()

    async def slow(token: Annotated[AccessToken, Security(requires("x"))]) -> None:
        inside.set()
        await release.wait()

    app.get("/", dependencies=[Depends(slow, max_concurrency=1)])(lambda: "ran")
    answers: list[Answer] = []

    async def call(*permissions: str) -> None:
        headers = [bearer(issuer, permissions=permissions)] if permissions else []
        answers.append(await serve(app, http_scope("/", headers)))

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, "x")
            await inside.wait()
            for permissions in ((), ("y",)):
                await call(*permissions)  # while the only place is taken
            release.set()

    anyio.run(scenario)
    assert [answer.status for answer in answers] == [401, 403, 200]


# --- pages, mounts, public paths --------------------------------------------------------------------------------------


def test_frontend_pages_follow_the_dependencies_of_their_router(issuer: LocalIssuer, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    app, router, later = guarded(issuer, [X]), APIRouter(dependencies=[Security(requires("r"))]), APIRouter()
    app.frontend("/pages", directory=tmp_path)
    router.frontend("/own", directory=tmp_path)
    later.frontend("/later", directory=tmp_path)
    app.include_router(router)
    app.include_router(later, dependencies=[Security(requires("i"))])
    asked = client(app)
    for path in ("/pages/", "/own/", "/later/"):
        expect_missing(asked.get(path))
        assert asked.get(path, headers=holding(issuer, "y")).status_code == 403
    expect_ok(asked.get("/pages/", headers=holding(issuer, "x")), "page")
    expect_forbidden(asked.get("/own/", headers=holding(issuer, "x")), "r")
    expect_forbidden(asked.get("/own/", headers=holding(issuer, "r")), "x")  # the application's, decided when it runs
    expect_ok(asked.get("/own/", headers=holding(issuer, "x", "r")), "page")
    expect_no_policy(asked.get("/later/", headers=holding(issuer, "x", "i")))  # closed; the router has to say it


def test_what_fastapi_runs_no_dependencies_for_stays_closed(issuer: LocalIssuer, tmp_path: Path) -> None:
    app, sub, calls = guarded(issuer, [X]), FastAPI(), Calls()
    sub.get("/")(noting(calls))
    app.mount("/sub", sub)
    app.add_route("/plain", bare)
    for path in ("/sub/", "/plain", "/docs", "/openapi.json"):
        expect_missing(client(app).get(path))
        expect_no_policy(client(app).get(path, headers=holding(issuer, "x")))
    assert not calls


def test_a_public_path_opens_no_operation_that_requires(issuer: LocalIssuer) -> None:
    placed = Placed(issuer, {"route": requires("x")}, public_paths=["/in/*"])
    expect_missing(client(placed.app).post(PATH, **MALFORMED), "x")
    expect_forbidden(client(placed.app).post(PATH, headers=holding(issuer), **MALFORMED), "x")
    assert not placed.calls


def test_where_undecorated_routes_are_relaxed_a_requirement_is_not(issuer: LocalIssuer) -> None:
    placed = Placed(issuer, {"include": requires("x")}, undecorated="authenticated")
    expect_forbidden(client(placed.app).post(PATH, headers=holding(issuer), **MALFORMED), "x")
    placed.app.dependency_overrides[requires("x")] = lambda: None
    assert client(placed.app).post(PATH, json={}).status_code == 200


def test_what_is_required_of_one_caller_opens_nothing_for_the_next(issuer: LocalIssuer) -> None:
    placed = Placed(issuer, {"parameter": requires("x")})
    asked = client(placed.app)
    for subject in ("a", "b"):
        assert asked.post(PATH, headers=holding(issuer, "x", subject=subject), json={}).json() == subject
        expect_forbidden(asked.post(PATH, headers=holding(issuer, subject=subject), json={}), "x")
        expect_missing(asked.post(PATH, json={}), "x")


# --- report only ------------------------------------------------------------------------------------------------------


def reporting(issuer: LocalIssuer, told: list[RequestDecision], dependencies: Any = None) -> FastAPI:
    return guarded(issuer, dependencies, enforce=False, on_decision=told.append)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer bad"}])
def test_where_refusals_are_reported_a_requirement_lets_through(issuer: LocalIssuer, headers: dict[str, str]) -> None:
    told: list[RequestDecision] = []
    app = reporting(issuer, told, [X])

    @app.get("/", dependencies=[Security(requires("y")), Security(authenticated)])
    async def root() -> str:
        return "ran"

    expect_ok(client(app).get("/", headers=headers), '"ran"')
    expect_ok(client(app).get("/", headers=holding(issuer)), '"ran"')
    expect_ok(client(app).get("/", headers=holding(issuer, "x", "y")), '"ran"')
    code = "opaque_token" if headers else "missing_token"
    assert [(decision.allowed, decision.code) for decision in told] == [
        (False, code),
        (False, "insufficient_scope"),
        (True, None),
    ]


def test_where_refusals_are_reported_a_token_that_is_not_there_is_still_missing(issuer: LocalIssuer) -> None:
    told: list[RequestDecision] = []
    app = reporting(issuer, told)

    @app.get("/required")
    async def required(token: Annotated[AccessToken, Security(requires("x"))]) -> str:
        return token.subject

    @app.get("/beside", dependencies=[X])
    async def beside(token: Annotated[AccessToken, Depends(access_token)]) -> str:
        return token.subject

    @app.get("/optional")
    async def optional(token: Annotated[AccessToken | None, Security(requires("x"))]) -> str:
        return "nobody" if token is None else token.subject

    @app.websocket("/talk")
    async def talk(websocket: WebSocket, token: Annotated[AccessToken, Security(requires("x"))]) -> None:
        await websocket.accept()
        await websocket.send_text(token.subject)
        await websocket.close()

    asked = client(app)
    for path in ("/required", "/beside"):
        for headers in ({}, {"Authorization": "Bearer bad"}):
            refused = asked.get(path, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "missing_token")
        assert asked.get(path, headers=holding(issuer, subject="s")).json() == "s"
    assert asked.get("/optional").json() == "nobody"
    assert asked.get("/optional", headers=holding(issuer, subject="s")).json() == "s"
    with asked.websocket_connect("/talk", headers=holding(issuer, subject="s")) as session:
        assert session.receive_text() == "s"
    assert not any(decision.allowed for decision in told)


# --- where it stands is all one ---------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
TERMS = NAMES | NAMES.map(policy.scope) | NAMES.map(policy.permission)
POLICIES = TERMS.map(requires) | st.lists(TERMS, min_size=2, max_size=3).map(
    lambda some: requires(policy.any_of(*some))
)
CLAIMS = st.fixed_dictionaries({"scope": st.sets(NAMES).map(" ".join), "permissions": st.lists(NAMES)})


def answers(app: FastAPI, claims: Mapping[str, Any]) -> list[tuple[int, Any, str | None]]:
    """Return what the anonymous, the holder of these claims and one who holds nothing are told."""
    asked = TestClient(app)
    callers: list[dict[str, str]] = [{}, ISSUER.headers(**claims), ISSUER.headers()]
    got = [asked.post(PATH, headers=headers, json={}) for headers in callers]
    return [(answer.status_code, answer.json(), answer.headers.get("www-authenticate")) for answer in got]


@settings(max_examples=50)
@given(stated=st.dictionaries(st.sampled_from(LEVELS), POLICIES, min_size=1), claims=CLAIMS)
@example(stated={"route": requires("a"), "include": requires("a")}, claims={"scope": "", "permissions": ["a"]})
def test_wherever_requirements_stand_they_are_one_decorator_with_all_of_them(
    stated: dict[str, Requirement], claims: dict[str, Any]
) -> None:
    in_order = [stated[level].access for level in LEVELS if level in stated]
    together = requires(*(access for access in in_order if isinstance(access, Policy)))
    spread, whole = Placed(ISSUER, stated), Placed(ISSUER, {"decorator": together})
    spread_answers, whole_answers = answers(spread.app, claims), answers(whole.app, claims)
    for spread_answer, whole_answer in zip(spread_answers, whole_answers, strict=True):
        if spread_answer[0] == whole_answer[0] == 200:
            continue  # a parameter gives the token, which the other operation does not take
        assert spread_answer == whole_answer
