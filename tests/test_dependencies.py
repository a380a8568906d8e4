"""Requirements as FastAPI dependencies: wherever they stand, they are decided first, together, and once."""

import functools
import threading
from collections.abc import AsyncIterator, Callable
from itertools import permutations
from typing import Annotated, Any

import fastapi.dependencies.utils
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Security
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from authz_middleware import (
    AccessToken,
    ConfigurationError,
    access_token,
    authenticated,
    policy,
    public,
    requires,
    requires_permissions,
    requires_scopes,
)
from authz_middleware.decorators import Requirement
from authz_middleware.observe import RequestDecision
from authz_middleware.policy import Policy, Term
from authz_middleware.routes.dependencies import _names_token
from authz_middleware.testing import LocalIssuer

from .apps import ask, bearer, client, expect_forbidden, expect_missing, expect_no_policy, expect_ok, http_scope, never
from .dependency_apps import LEVELS, MALFORMED, PATH, Placed, guarded, holding

Caller = Annotated[AccessToken, Depends(access_token)]


# --- where they stand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_a_requirement_is_decided_first_wherever_it_stands(issuer: LocalIssuer, level: str) -> None:
    placed = Placed(issuer, {level: requires("x")})
    asked = client(placed.app)
    for path in (PATH, "/in/own/0", "/in/own/notanumber"):
        expect_missing(asked.post(path, **MALFORMED), "x")
        expect_forbidden(asked.post(path, headers=holding(issuer, "y"), **MALFORMED), "x")
    assert not placed.calls
    headers = holding(issuer, "x", subject="s")
    assert asked.post(PATH, headers=headers, json={"a": 1}).json() == ("s" if level == "parameter" else "none")
    assert asked.post("/in/own/0", headers=headers, json={"a": 1}).status_code == 404
    assert asked.post("/in/own/notanumber", headers=headers, json={"a": 1}).status_code == 422
    assert asked.post(PATH, headers=headers, **MALFORMED).status_code == 422


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("is_anonymous", [True, False])
def test_a_body_that_never_comes_is_not_waited_for(issuer: LocalIssuer, level: str, is_anonymous: bool) -> None:
    placed = Placed(issuer, {level: requires("x")})
    headers = [(b"content-length", b"9"), *([] if is_anonymous else [bearer(issuer)])]
    answer = ask(placed.app, http_scope(PATH, headers, method="POST"), never)
    assert answer.status == (401 if is_anonymous else 403)
    assert not placed.calls


def test_what_stands_at_several_levels_adds_up_in_the_order_written(issuer: LocalIssuer) -> None:
    placed = Placed(issuer, {level: requires(level) for level in LEVELS})
    asked = client(placed.app)
    expect_missing(asked.post(PATH), " ".join(LEVELS))
    for lacking in LEVELS:
        held = [level for level in LEVELS if level != lacking]
        expect_forbidden(asked.post(PATH, headers=holding(issuer, *held), **MALFORMED), *LEVELS)
    assert not placed.calls
    expect_ok(asked.post(PATH, headers=holding(issuer, *LEVELS, subject="s"), json={}), '"s"')


def test_alternatives_add_up_as_well(issuer: LocalIssuer) -> None:
    stated = {"include": requires(policy.any_of("a", "b")), "decorator": requires("c"), "route": requires("b", "d")}
    asked = client(Placed(issuer, stated).app)
    refused = asked.post(PATH, headers=holding(issuer, "a", "c"))
    expect_forbidden(refused, "b", "d", "c", required=[["b", "d", "c"]])
    assert asked.post(PATH, headers=holding(issuer, "b", "c", "d"), json={}).status_code == 200


def test_mounts_around_are_decided_before(issuer: LocalIssuer) -> None:
    stated = {"application": requires("a"), "include": requires("i"), "decorator": requires("d")}
    placed = Placed(issuer, stated)
    outer = placed.mounted_in(issuer, requires("m"))
    asked, path = client(outer), "/outer" + PATH
    expect_missing(asked.post(path, **MALFORMED), "m a i d")
    expect_forbidden(asked.post(path, headers=holding(issuer, "a", "i", "d"), **MALFORMED), *"maid")
    expect_forbidden(asked.post(path, headers=holding(issuer, "m", "a", "d"), **MALFORMED), *"maid")
    assert not placed.calls
    assert asked.post(path, headers=holding(issuer, "m", "a", "i", "d"), json={}).json() == "none"


def test_a_router_is_included_under_different_requirements(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter()

    @router.get("/orders")
    @requires("own")
    async def orders() -> str:
        return "orders"

    app.include_router(router, prefix="/a", dependencies=[Security(requires("a"))])
    app.include_router(router, prefix="/b", dependencies=[Security(requires("b"))])
    app.include_router(router, prefix="/c")
    asked = client(app)
    for prefix, needed in (("/a", ("a", "own")), ("/b", ("b", "own")), ("/c", ("own",))):
        expect_missing(asked.get(f"{prefix}/orders"), " ".join(needed))
        others = {"a", "b", "own"} - {needed[0]}
        expect_forbidden(asked.get(f"{prefix}/orders", headers=holding(issuer, *others)), *needed)
        expect_ok(asked.get(f"{prefix}/orders", headers=holding(issuer, *needed)), '"orders"')


def test_routers_within_routers_pass_everything_on(issuer: LocalIssuer) -> None:
    app, outer, inner = guarded(issuer, [Security(requires("1"))]), APIRouter(), APIRouter()
    inner.get("/", dependencies=[Security(requires("5"))])(lambda: "ran")
    outer.include_router(inner, prefix="/inner", dependencies=[Security(requires("4"))])
    outer.dependencies.append(Security(requires("3")))  # too late for what is included already
    app.include_router(outer, prefix="/outer", dependencies=[Security(requires("2"))])
    asked = client(app)
    expect_missing(asked.get("/outer/inner/"), "1 2 4 5")
    expect_ok(asked.get("/outer/inner/", headers=holding(issuer, "1", "2", "4", "5")), '"ran"')


@pytest.mark.parametrize(
    ("requirement", "is_met"),
    [
        (requires_scopes("x"), {"scope": True, "permissions": False}),
        (requires_permissions("x"), {"scope": False, "permissions": True}),
        (requires(policy.scope("x") | policy.permission("x")), {"scope": True, "permissions": True}),
        (authenticated, {"scope": True, "permissions": True}),
    ],
    ids=repr,
)
def test_every_requirement_is_a_dependency(issuer: LocalIssuer, requirement: Any, is_met: dict[str, bool]) -> None:
    app = guarded(issuer)

    @app.get("/")
    async def whoami(token: Annotated[AccessToken, Security(requirement)]) -> str:
        return token.subject

    asked = client(app)
    for claim, expected in is_met.items():
        claims: dict[str, Any] = {"permissions": [], claim: "x" if claim == "scope" else ["x"]}
        headers = issuer.headers(**claims)
        assert asked.get("/", headers=headers).status_code == (200 if expected else 403)
    assert asked.get("/").status_code == 401


def test_public_opens_a_route_and_gives_the_token_where_there_is_one(issuer: LocalIssuer) -> None:
    app = guarded(issuer)

    @app.get("/", dependencies=[Security(public)])
    async def root() -> str:
        return "open"

    @app.get("/me")
    async def me(token: Annotated[AccessToken | None, Security(public)]) -> str | None:
        return None if token is None else token.subject

    asked = client(app)
    expect_ok(asked.get("/"), '"open"')
    assert asked.get("/me").json() is None
    assert asked.get("/me", headers=holding(issuer, subject="s")).json() == "s"
    for path in ("/", "/me"):
        assert asked.get(path, headers={"Authorization": "Bearer bad"}).json()["code"] == "opaque_token"


# --- once, and on the event loop --------------------------------------------------------------------------------------


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Policy, int]]:
    """Note what every call of a requirement as a dependency decides, and on which thread."""
    seen: list[tuple[Policy, int]] = []
    decide = Requirement._decide

    def noting(self: Requirement, connection: HTTPConnection) -> Any:
        seen.append((self.access, threading.get_ident()))  # type: ignore[arg-type]
        return decide(self, connection)

    monkeypatch.setattr(Requirement, "_decide", noting)
    return seen


def test_the_same_requirement_at_several_levels_runs_once(
    issuer: LocalIssuer, decided: list[tuple[Policy, int]]
) -> None:
    told: list[RequestDecision] = []
    placed = Placed(issuer, {level: requires("x") for level in LEVELS}, on_decision=told.append)
    expect_ok(client(placed.app).post(PATH, headers=holding(issuer, "x", subject="s"), json={}), '"s"')
    assert [access for access, _ in decided] == [requires("x").access]
    assert [(decision.allowed, decision.policy) for decision in told] == [(True, requires("x").access)]


def test_different_requirements_are_one_decision(issuer: LocalIssuer, decided: list[tuple[Policy, int]]) -> None:
    told: list[RequestDecision] = []
    placed = Placed(issuer, {level: requires(level) for level in LEVELS}, on_decision=told.append)
    asked = client(placed.app)
    assert asked.post(PATH, headers=holding(issuer, *LEVELS), json={}).status_code == 200
    assert len(decided) == len(LEVELS) - 1  # each dependency once; the decorator is none
    assert [decision.policy for decision in told] == [requires(*LEVELS).access]
    asked.post(PATH, headers=holding(issuer))
    assert [decision.allowed for decision in told] == [True, False]


def test_without_the_cache_it_runs_again_and_decides_the_same(
    issuer: LocalIssuer, decided: list[tuple[Policy, int]]
) -> None:
    told: list[RequestDecision] = []
    app = guarded(issuer, on_decision=told.append)
    again = Depends(requires("x"), use_cache=False)

    @app.get("/")
    async def root(one: Annotated[AccessToken, again], two: Annotated[AccessToken, again]) -> str:
        return "ran"

    expect_forbidden(client(app).get("/", headers=holding(issuer)), "x")
    assert not decided
    expect_ok(client(app).get("/", headers=holding(issuer, "x")), '"ran"')
    assert len(decided) == 2
    assert [decision.allowed for decision in told] == [False, True]


def test_no_thread_is_used(
    issuer: LocalIssuer, decided: list[tuple[Policy, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_thread(*_: object) -> None:
        raise AssertionError("a dependency was put into a thread")

    app = guarded(issuer, [Security(requires("x"))])
    loops: list[int] = []

    @app.get("/")
    async def root(token: Annotated[AccessToken, Security(requires("y"))], caller: Caller) -> bool:
        loops.append(threading.get_ident())
        return token is caller

    monkeypatch.setattr(fastapi.dependencies.utils, "run_in_threadpool", no_thread)
    assert client(app).get("/", headers=holding(issuer, "x", "y")).json() is True
    assert [thread for _, thread in decided] == loops * 2


# --- as a value -------------------------------------------------------------------------------------------------------


def test_equal_requirements_are_equal_whoever_made_them() -> None:
    assert requires("x") == requires("x")
    assert hash(requires("x")) == hash(requires("x"))
    assert requires_scopes("x") == requires(policy.scope("x"))
    assert requires("x", "x") == requires("x")
    assert isinstance(requires("x", "x").access, Term)
    assert (
        len({requires("x"), requires("y"), requires_scopes("x"), requires_permissions("x"), authenticated, public}) == 6
    )


@pytest.mark.parametrize(
    "compose",
    [
        lambda: requires("a") and requires("b"),
        lambda: requires("a") or requires("b"),
        lambda: not authenticated,
        lambda: [1 for _ in "x" if public],
    ],
)
def test_and_or_and_not_would_forget_a_requirement(compose: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match=r"`and`, `or` and `not` do not compose requirements; write requires"):
        compose()


def test_where_nobody_can_tell_who_asks_a_requirement_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspect.currentframe", lambda: None)
    assert bool(requires("a")) is True


# --- mistakes ---------------------------------------------------------------------------------------------------------


def faults_of(app: FastAPI) -> tuple[str, ...]:
    """Return what is wrong with an application, which its start must say."""
    with pytest.raises(ConfigurationError) as found, client(app):
        pass
    return found.value.faults


@pytest.mark.parametrize(("level", "opened"), [*permutations(LEVELS[:4] + LEVELS[-2:], 2)])
def test_public_at_one_level_and_a_requirement_at_another_contradict(
    issuer: LocalIssuer, level: str, opened: str
) -> None:
    placed = Placed(issuer, {level: requires("x"), opened: public})
    (fault,) = faults_of(placed.app)
    assert fault.startswith("/in/own/{number}: the route is both @public and guarded; keep one of the two. ")


def test_scopes_beside_a_requirement_would_be_ignored(issuer: LocalIssuer) -> None:
    app = guarded(issuer)
    app.get("/one", dependencies=[Security(requires("x"), scopes=["y"])])(lambda: "ran")

    @app.get("/two")
    @requires("x")
    async def two(token: Annotated[AccessToken, Security(access_token, scopes=["y"])]) -> str:
        raise NotImplementedError

    async def user(token: Annotated[AccessToken, Security(authenticated, scopes=("y",))]) -> str:
        raise NotImplementedError

    app.get("/three", dependencies=[Depends(user)])(lambda: "ran")
    sentence = 'Security(…, scopes=…) is not read here; write the grants into requires("read:orders")'
    assert faults_of(app) == tuple(f"/{name}: {sentence}" for name in ("one", "two", "three"))


def test_scopes_of_the_applications_own_dependencies_are_its_own_affair(issuer: LocalIssuer) -> None:
    app = guarded(issuer)

    async def user(token: Annotated[AccessToken, Security(requires("x"))]) -> str:
        return token.subject

    app.get("/", dependencies=[Security(user, scopes=["y"])])(lambda: "ran")
    expect_ok(client(app).get("/", headers=holding(issuer, "x")), '"ran"')


def test_a_requirement_is_called_before_it_is_a_dependency(issuer: LocalIssuer) -> None:
    app = guarded(issuer)
    with pytest.raises(ConfigurationError, match=r'^a policy is no part of a request; write Security\(requires\("'):
        app.get("/", dependencies=[Depends(requires)])(lambda: "ran")
    app.get("/one", dependencies=[Depends(requires_scopes)])(lambda: "ran")
    app.get("/two", dependencies=[Depends(requires_permissions)])(requires("x")(lambda: "ran"))
    assert faults_of(app) == (
        '/one: requires_scopes is called to become a dependency; write Security(requires_scopes("read:orders"))',
        "/two: requires_permissions is called to become a dependency; "
        'write Security(requires_permissions("read:orders"))',
    )


def test_a_requirement_guards_nothing_when_it_is_called_with_nothing() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^@requires\(\) guards nothing; write @requires\(…\) above a function$"
    ):
        requires("x")()  # type: ignore[call-overload]
    for bare in (authenticated, public):
        with pytest.raises(ConfigurationError, match=rf"write @{bare.name}, without parentheses$"):
            bare()  # type: ignore[call-overload]


def test_a_requirement_in_a_list_of_dependencies_lacks_a_word() -> None:
    says = r"write dependencies=\[Security\(requires\(…\)\)\]$"
    bare: Any = requires("x")
    with pytest.raises(ConfigurationError, match=says):
        FastAPI(dependencies=[bare]).get("/")(lambda: None)
    with pytest.raises(ConfigurationError, match=says):
        APIRouter().get("/", dependencies=[bare])(lambda: None)


async def bare_token(token: AccessToken) -> str:
    raise NotImplementedError


async def maybe_token(token: AccessToken | None = None) -> str:
    raise NotImplementedError


async def many_tokens(token: dict[str, list[AccessToken]]) -> str:
    raise NotImplementedError


async def shorthand(token: Annotated[AccessToken, Depends()]) -> str:
    raise NotImplementedError


async def nested_token(_: Annotated[str, Depends(maybe_token)]) -> str:
    raise NotImplementedError


@pytest.mark.parametrize("operation", [bare_token, maybe_token, many_tokens, shorthand, nested_token])
def test_no_caller_writes_its_own_token(issuer: LocalIssuer, operation: Callable[..., Any]) -> None:
    app = guarded(issuer)
    app.post("/")(requires("x")(operation))
    assert faults_of(app) == (
        "/: the parameter 'token' would be filled from the request, so that callers write their own token; "
        "write Annotated[AccessToken, Depends(access_token)], or = Depends(access_token) as its default",
    )


def test_other_parameters_are_left_alone(issuer: LocalIssuer) -> None:
    app = guarded(issuer)

    @app.post("/{number}")
    @authenticated
    async def posted(number: int, pairs: dict[str, str], limit: Annotated[list[int], Query()], token: Caller) -> Any:
        return [number, pairs, limit, token.subject]

    answer = client(app).post("/1?limit=2", headers=holding(issuer, subject="s"), json={"a": "b"})
    assert answer.json() == [1, {"a": "b"}, [2], "s"]


class Tree:
    """Be what `type Tree = list[Tree] | …` gives from Python 3.12 on: an alias that names itself."""

    def __init__(self, leaf: object) -> None:
        self.__value__ = dict[self, leaf]  # type: ignore[valid-type]


def test_an_alias_may_name_itself() -> None:
    assert not _names_token(list[Tree(str)])  # type: ignore[misc]
    assert _names_token(list[Tree(AccessToken)])  # type: ignore[misc]


def test_starlette_routes_have_no_dependencies(issuer: LocalIssuer) -> None:
    app, router = guarded(issuer), APIRouter()

    async def annotated(request: Request, token: Annotated[Any, Security(requires("x"))] = None) -> Response:
        raise NotImplementedError

    router.routes.append(Route("/plain", annotated))
    router.routes.append(Route("/whole", requires("x")))
    app.include_router(router, dependencies=[Security(requires("x"))])
    app.add_api_route("/operation", requires("x"))
    for path in ("/plain", "/whole", "/operation"):
        expect_missing(client(app).get(path))
        expect_no_policy(client(app).get(path, headers=holding(issuer, "x")))


def test_a_guarded_function_as_a_dependency_counts_like_a_requirement(issuer: LocalIssuer) -> None:
    app = guarded(issuer)

    @requires("x")
    async def session(number: int) -> AsyncIterator[int]:
        yield number

    app.get("/bare/{number}", dependencies=[Depends(session)])(lambda: "ran")
    app.get("/{number}", dependencies=[Depends(session), Depends(functools.partial(requires("y")))])(
        authenticated(lambda: "ran")
    )
    asked = client(app)
    expect_missing(asked.get("/bare/none"), "x")
    expect_forbidden(asked.get("/bare/none", headers=holding(issuer)), "x")  # before the parameter is looked at
    expect_ok(asked.get("/bare/1", headers=holding(issuer, "x")), '"ran"')
    expect_forbidden(asked.get("/1", headers=holding(issuer)), "x", "y")
    expect_forbidden(asked.get("/1", headers=holding(issuer, "x")), "x", "y")
    expect_ok(asked.get("/1", headers=holding(issuer, "x", "y")), '"ran"')
    app.get("/open/{number}", dependencies=[Depends(session)])(public(lambda: "ran"))
    assert len(faults_of(app)) == 1


def test_without_the_middleware_a_dependency_is_an_error(issuer: LocalIssuer) -> None:
    app = FastAPI(dependencies=[Security(requires("x"))])
    app.get("/")(lambda: PlainTextResponse("ran"))
    app.get("/token")(access_token)
    for path in ("/", "/token"):
        with pytest.raises(ConfigurationError, match="without AuthzMiddleware in front of it"):
            client(app).get(path, headers=holding(issuer, "x"))


def test_an_object_whose_call_is_decorated_is_decided_first(issuer: LocalIssuer) -> None:
    calls: list[str] = []

    class Checker:
        @requires("x")
        async def __call__(self, request: Request) -> None:
            calls.append("checker")

    app = guarded(issuer)
    app.post("/only", dependencies=[Depends(Checker())])(lambda: "ran")
    app.post("/partial", dependencies=[Depends(functools.partial(Checker()))])(lambda: "ran")
    app.post("/both", dependencies=[Depends(Checker())])(authenticated(lambda: "ran"))
    asked = client(app)
    for path in ("/only", "/partial", "/both"):
        expect_missing(asked.post(path, **MALFORMED), "x")
        expect_forbidden(asked.post(path, headers=holding(issuer), **MALFORMED), "x")
        assert not calls
        expect_ok(asked.post(path, headers=holding(issuer, "x")), '"ran"')
        assert calls.pop() == "checker"
