"""The attack suite: passes where everything is refused, and fails for every attack that something lets in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.convertors import CONVERTOR_TYPES, Convertor, register_url_convertor
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send

from authz_middleware import AuthzMiddleware, ConfigurationError, TrustedIssuer, authenticated, policy, public, requires
from authz_middleware.audit import route_table
from authz_middleware.dialects import DIALECTS, Dialect
from authz_middleware.errors import ANSWERS, Code
from authz_middleware.policy.core import GrantTerm
from authz_middleware.testing import LocalIssuer, SigningKey, attack_suite
from authz_middleware.testing.attacks.catalogue import ATTACKS, Aim
from authz_middleware.testing.attacks.judge import find_fault
from authz_middleware.testing.attacks.targets import targets_of
from authz_middleware.testing.attacks.wire import Answer, Attempt, ask, make_scope
from tests.apps import Foreign, bare, endpoint
from tests.testing.apps import ACME, ORDERS, PARTNER, PARTNER_ORDERS, acme, fastapi_app, orders, partner, starlette_app
from tests.testing.mistakes import MISTAKES, Mistaken

KEY = SigningKey("EdDSA")
NAMES = {attack.name for attack in ATTACKS}
BY_NAME = {attack.name: attack for attack in ATTACKS}
BY_AIM = {aim: {attack.name for attack in ATTACKS if attack.aim is aim} for aim in Aim}


def local(*names: str, **options: Any) -> LocalIssuer:
    """Return an issuer that signs fast."""
    return LocalIssuer(*names, **{"key": KEY, **options})


def failing(app: Any, issuer: LocalIssuer | None = None, **options: Any) -> dict[str, str]:
    """Run every attack and return what failed, with the message."""
    test = attack_suite(app, issuer or local(), **options)
    failed = {}
    for attack in ATTACKS:
        try:
            test(attack)
        except AssertionError as error:
            failed[attack.name] = str(error)
        except pytest.skip.Exception:
            failed[attack.name] = "skipped"
    return failed


def skipped(failed: dict[str, str]) -> set[str]:
    return {name for name, message in failed.items() if message == "skipped"}


# --- nobody gets in ---------------------------------------------------------------------------------------------------


def test_an_application_that_refuses_passes_and_none_of_its_handlers_runs() -> None:
    calls: list[str] = []
    assert failing(fastapi_app(calls=calls)) == {}
    assert calls == []


def test_where_no_attack_is_aimed_at_it_what_is_public_is_served() -> None:
    """A caller without credentials is what a public route is for: it is not attacked without any."""
    app = fastapi_app()
    sent = {str(target): target.is_public for target in targets_of(route_table(app).entries, {})}
    assert sent == {
        "GET /healthz": True,
        "GET /me": False,
        "GET /orders/{number}": False,
        "PUT /orders/{number}": False,
        "DELETE /orders/{number}": False,
        "WebSocket /events": False,
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_attacked(dialect: str) -> None:
    issuers = [partner()] if dialect == "rfc9068" else [acme(dialects=[dialect])]
    assert failing(starlette_app(*issuers)) == {}


def test_the_dialect_can_be_chosen_among_those_accepted() -> None:
    app = starlette_app()
    assert failing(app, dialect="rfc9068_profile") == {}
    with pytest.raises(ConfigurationError, match="accepts no rfc9068; write one of access_token, access_token_authz"):
        failing(app, dialect="rfc9068")
    with pytest.raises(ConfigurationError, match="no dialect is called 'mine'"):
        failing(app, dialect="mine")


@pytest.mark.parametrize("algorithm", ["ES256", "ES512", "EdDSA", "PS384"])
def test_every_kind_of_key_is_attacked(algorithm: str) -> None:
    assert failing(starlette_app(partner()), local(key=None, algorithm=algorithm)) == {}


def test_a_shared_secret_is_attacked() -> None:
    app = starlette_app(acme(secret="x" * 32))
    assert failing(app, local(key=None, algorithm="HS256")) == {}


def test_limits_the_application_sets_are_met_by_the_token_all_attacks_derive_from() -> None:
    strict = acme(tenants=["org_2", "org_1"], leeway=300, roles_claims="roles", tenant_claims=("org", "id"))
    assert failing(starlette_app(strict)) == {}


def test_claims_that_only_the_application_knows_of_can_be_given() -> None:
    mine = Dialect(
        name="mine", types=frozenset({"mine+jwt"}), client_claim="azp", required_claims=frozenset({"region"})
    )
    app = starlette_app(TrustedIssuer(ACME, ORDERS, dialects=[mine]))
    with pytest.raises(ConfigurationError, match=r"\(invalid_claim, claim_missing\).*write attack_suite\(…, claims="):
        failing(app)
    assert failing(app, claims={"region": "eu"}) == {}


def test_a_dialect_that_cannot_tell_id_tokens_by_their_marks_is_not_asked_to() -> None:
    blind = Dialect(
        name="blind",
        types=frozenset({"jwt"}),
        client_claim="azp",
        id_token_marks=frozenset(),
        client_is_no_audience=False,
    )
    assert failing(starlette_app(TrustedIssuer(ACME, ORDERS, dialects=[blind]))) == {}


def test_of_several_issuers_the_one_that_is_named_is_attacked() -> None:
    app = starlette_app(acme(), partner())
    assert failing(app, local(ACME, ORDERS)) == failing(app, local(PARTNER, PARTNER_ORDERS)) == {}
    with pytest.raises(ConfigurationError, match="is none of the issuers"):
        failing(app)


def test_metadata_that_anybody_may_read_is_no_fault() -> None:
    app = Starlette(routes=[Route("/orders", orders)])
    app.add_middleware(AuthzMiddleware, issuers=[acme()], resource="https://orders.acme.example/")
    assert failing(app) == {}


def test_a_role_is_not_had_by_a_claim_that_is_not_the_application_s() -> None:
    boss = requires(policy.role("boss") & "read:orders")(endpoint)
    app = starlette_app(acme(roles_claims="https://acme.example/roles"))
    app.router.routes.append(Route("/boss", boss))
    assert failing(app) == {}


def test_claims_that_are_read_are_none_of_those_that_must_mean_nothing() -> None:
    """Else the token would be entitled, and the attack skipped."""
    app = Starlette(routes=[Route("/boss", requires(policy.role("boss"))(endpoint))])
    app.add_middleware(AuthzMiddleware, issuers=[acme(roles_claims="roles", tenant_claims="rights")])
    assert failing(app) == {}


def test_whose_every_good_token_is_entitled_is_not_told_to_refuse_one() -> None:
    app = starlette_app(acme(permissions_claims="scp", dialects=["rfc9068_profile_authz"]))
    app.router.routes.append(Route("/star", requires("*")(endpoint)))
    assert failing(app) == {}


@pytest.mark.parametrize("roles", ["boss", ["boss", "clerk"], {"all": ["boss"]}])
def test_claims_that_every_good_token_has_here_entitle_it_by_right(roles: object) -> None:
    app = starlette_app(acme(roles_claims="roles" if not isinstance(roles, dict) else ("roles", "all")))
    app.router.routes.append(Route("/boss", requires(policy.role("boss"))(endpoint)))
    assert failing(app, claims={"roles": roles if not isinstance(roles, str) else [roles], "said": roles}) == {}


def _starts_with(term: GrantTerm, request: policy.AccessRequest) -> bool:
    return any(value.startswith(term.value) for value in request.token.grants.effective)


def _ignores_case(term: GrantTerm, request: policy.AccessRequest) -> bool:
    return term.value.lower() in {value.lower() for value in request.token.grants.effective}


def _ignores_delegation(term: GrantTerm, request: policy.AccessRequest) -> bool:
    return term.value in request.token.grants.scopes | request.token.grants.permissions


@pytest.mark.parametrize(
    ("holds", "attack"),
    [
        (_starts_with, "lookalike-grants"),
        (_ignores_case, "lookalike-grants"),
        (_ignores_delegation, "delegated-without-scope"),
        (lambda term, request: True, "no-grants"),
    ],
)
def test_what_decides_is_not_asked_whom_it_may_let_in(
    holds: Callable[[GrantTerm, policy.AccessRequest], bool], attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its mending, every mistake of the policies themselves passed."""
    monkeypatch.setattr(GrantTerm, "holds", holds)
    assert " 200 instead of " in failing(starlette_app())[attack]


@pytest.mark.parametrize(
    "stated", [policy.subject("auth0|someone else"), policy.claim("org_id", equals="org_1"), policy.role("boss")]
)
def test_routes_that_ask_for_no_grant_are_attacked(stated: policy.Policy) -> None:
    app = Starlette(routes=[Route("/x", requires(stated)(endpoint))])
    app.add_middleware(AuthzMiddleware, issuers=[acme(roles_claims="roles")])
    assert failing(app) == {}  # and skipped is none


def always(request: policy.AccessRequest) -> bool:
    return True


@pytest.mark.parametrize(
    ("path", "stated", "values"),
    [
        ("/x", policy.any_of("x", policy.check(always)), {}),
        ("/u/{user}", policy.any_of("x", policy.subject(policy.path_param("user"))), {"user": "auth0|jo"}),
        (
            "/n/{number:int}",
            policy.any_of("x", policy.claim("number", equals=policy.path_param("number"))),
            {"number": 7},
        ),
    ],
)
def test_whom_a_check_or_a_path_may_let_in_is_not_asked_to_be_refused(
    path: str, stated: policy.Policy, values: dict[str, object]
) -> None:
    """Before its mending, whoever was let in by right counted as an intruder."""
    app = Starlette(routes=[Route(path, requires(stated)(endpoint)), Route("/orders", orders)])
    app.add_middleware(AuthzMiddleware, issuers=[acme()])
    assert failing(app, claims={"number": 7}, path_values=values) == {}


def test_what_a_check_only_narrows_is_attacked() -> None:
    app = Starlette(routes=[Route("/x", requires(policy.all_of("x", policy.check(always)))(endpoint))])
    app.add_middleware(AuthzMiddleware, issuers=[acme()])
    assert failing(app) == {}  # and skipped is none


def test_whom_another_path_would_let_in_is_refused() -> None:
    stated = policy.any_of("x", policy.subject(policy.path_param("user")))
    app = Starlette(routes=[Route("/u/{user}", requires(stated)(endpoint))])
    app.add_middleware(AuthzMiddleware, issuers=[acme()])
    assert failing(app, path_values={"user": "somebody"}) == {}


def test_a_policy_that_names_its_issuer_asks_for_a_local_one_of_that_name() -> None:
    stated = policy.role("boss", issuer=ACME)
    app = Starlette(routes=[Route("/x", requires(stated)(endpoint))])
    app.add_middleware(AuthzMiddleware, issuers=[acme(roles_claims="https://acme.example/roles")])
    with pytest.raises(ConfigurationError, match=f'write LocalIssuer\\("{ACME}", audience="{ORDERS}"\\)'):
        failing(app)
    assert failing(app, local(ACME, ORDERS)) == {}


# --- routes of every kind ---------------------------------------------------------------------------------------------


class OrderEndpoint(HTTPEndpoint):
    @requires("read:orders")
    async def get(self, request: Request) -> Response:
        return JSONResponse([])

    @public
    async def options(self, request: Request) -> Response:
        return Response()

    @requires("write:orders")
    def put(self, request: Request) -> Response:
        return JSONResponse([])


@requires("read:orders")
class EventsEndpoint(WebSocketEndpoint):
    pass


class YearConvertor(Convertor[int]):
    regex = "[12][0-9]{3}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


@pytest.fixture
def year() -> Iterator[None]:
    register_url_convertor("year", YearConvertor())
    yield
    del CONVERTOR_TYPES["year"]


def every_kind() -> Starlette:
    """Return an application with routes of every kind, all guarded."""
    guarded = requires("read:orders")(endpoint)
    api = FastAPI(openapi_url=None)
    router = APIRouter(prefix="/v1")
    router.add_api_route("/orders/{number}", requires("read:orders")(list_orders), methods=["GET", "POST"])
    api.include_router(router, prefix="/api")
    routes = [
        Route("/any", requires("read:orders")(foreign)),
        Route("/class/{id:uuid}", OrderEndpoint),
        WebSocketRoute("/events/{name}", EventsEndpoint),
        Route("/files/{path:path}", guarded),
        Route("/{price:float}/{count:int}", guarded, methods=["DELETE"]),
        Mount("/tenants/{tenant}", app=Starlette(routes=[Route("/orders/{tenant_id}", guarded)])),
        Mount("/foreign", app=requires("read:orders")(foreign)),
        Mount("/fast", app=api),
        Host("{shop}.acme.example", app=Starlette(routes=[Route("/orders", guarded)])),
        Host("files.example", app=requires("read:orders")(foreign)),
        Mount("/hosts", routes=[Host("inner.example", app=Starlette(routes=[Route("/orders", guarded)]))]),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(AuthzMiddleware, issuers=[acme()])
    return app


async def list_orders(number: int) -> int:
    return number


async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
    await Foreign()(scope, receive, send)


def test_routes_of_every_kind_are_reached_and_refused() -> None:
    app = every_kind()
    assert failing(app) == {}
    sent = {(target.method, target.host, target.path) for target in targets_of(route_table(app).entries, {})}
    assert sent == {
        ("GET", None, "/any"),
        ("POST", None, "/any"),
        ("GET", None, "/class/00000000-0000-4000-8000-000000730313"),
        ("HEAD", None, "/class/00000000-0000-4000-8000-000000730313"),
        ("OPTIONS", None, "/class/00000000-0000-4000-8000-000000730313"),
        ("PUT", None, "/class/00000000-0000-4000-8000-000000730313"),
        ("", None, "/events/authz-attack"),
        ("GET", None, "/files/authz-attack"),
        ("HEAD", None, "/files/authz-attack"),
        ("DELETE", None, "/730313/730313"),
        ("GET", None, "/tenants/authz-attack/orders/authz-attack"),
        ("HEAD", None, "/tenants/authz-attack/orders/authz-attack"),
        ("GET", None, "/foreign/authz-attack"),
        ("POST", None, "/foreign/authz-attack"),
        ("", None, "/foreign/authz-attack"),
        ("GET", None, "/fast/api/v1/orders/authz-attack"),
        ("POST", None, "/fast/api/v1/orders/authz-attack"),
        ("GET", "authz-attack.acme.example", "/orders"),
        ("HEAD", "authz-attack.acme.example", "/orders"),
        ("GET", "files.example", "/authz-attack"),
        ("POST", "files.example", "/authz-attack"),
        ("", "files.example", "/authz-attack"),
        ("GET", "inner.example", "/hosts/orders"),
        ("HEAD", "inner.example", "/hosts/orders"),
    }


def test_every_request_reaches_the_route_it_is_made_for() -> None:
    """With a token that is entitled, each is answered, and by the handler: none was sent into the void."""
    app, issuer = every_kind(), local()
    headers = issuer.headers(permissions=["read:orders", "write:orders"])
    attempt = Attempt([(name.lower().encode(), value.encode()) for name, value in headers.items()])

    async def storm() -> dict[str, object]:
        answers: dict[str, object] = {}
        for target in targets_of(route_table(app).entries, {"number": 7}):
            answer = await ask(app, target.scope("http://testserver", attempt))
            answers[str(target)] = answer.let_in or answer.status
        return answers

    from authz_middleware.testing import trust

    with trust(app, issuer):
        answers = asyncio.run(storm())
    assert set(answers.values()) <= {200, True}, answers
    assert len(answers) == 24


@pytest.mark.usefixtures("year")
def test_a_convertor_of_the_application_s_own_is_asked_what_fits() -> None:
    app = starlette_app()
    app.router.routes.append(Route("/archive/{year:year}", requires("read:orders")(endpoint)))
    with pytest.raises(
        ConfigurationError, match=r'\{year\} of /archive/\{year:year\}; write .*path_values=\{"year": "…"\}'
    ):
        failing(app)
    assert failing(app, path_values={"year": 1999}) == {}
    with pytest.raises(ConfigurationError, match="no route has a parameter 'years'"):
        failing(app, path_values={"year": 1999, "years": 1})


def test_a_value_is_used_where_it_fits() -> None:
    guarded = requires("read:orders")(endpoint)
    app = starlette_app()
    app.router.routes += [Route("/a/{id:int}", guarded), Route("/b/{id:uuid}", guarded), Route("/c/{id}", guarded)]
    sent = {target.path: target.path_params for target in targets_of(route_table(app).entries, {"id": 7})}
    id_ = "00000000-0000-4000-8000-000000730313"
    assert sent == {"/orders": {}, "/a/7": {"id": 7}, f"/b/{id_}": {"id": UUID(id_)}, "/c/7": {"id": "7"}}
    assert failing(app, path_values={"id": 7}) == {}


def test_a_route_that_states_nothing_is_attacked_as_well() -> None:
    app = starlette_app()
    app.router.routes.append(Route("/bare", bare))
    assert failing(app) == {}
    lenient = starlette_app(undecorated="authenticated")
    lenient.router.routes.append(Route("/bare", bare))
    assert failing(lenient) == {}


def test_a_page_outside_the_routes_is_attacked() -> None:
    calls = Foreign()
    app = starlette_app()
    app.router.default = calls
    assert [entry.kind for entry in route_table(app).entries] == ["http", "page"]
    assert failing(app) == {}
    assert not calls.calls


def test_middlewares_with_issuers_of_their_own_refuse_in_their_own_way() -> None:
    inner = AuthzMiddleware(Starlette(routes=[Route("/orders", orders)]), issuers=[partner()])
    app = Starlette(routes=[Mount("/theirs", app=inner), Mount("/ours", app=starlette_app())])
    assert failing(app, local(ACME, ORDERS)) == {}
    assert failing(app, local(PARTNER, PARTNER_ORDERS)) == {}


def test_scheme_and_host_are_the_application_s() -> None:
    app = starlette_app()
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["api.acme.example"])
    app.add_middleware(HTTPSRedirectMiddleware)
    assert failing(app, base_url="https://api.acme.example:8443") == {}
    assert failing(app).keys() == NAMES


def test_the_middleware_may_stand_around_the_application() -> None:
    app = Starlette(routes=[Route("/orders", orders)])
    assert failing(AuthzMiddleware(app, issuers=[acme()])) == {}


# --- somebody gets in -------------------------------------------------------------------------------------------------


def test_every_attack_has_a_mistake_that_lets_it_in() -> None:
    assert set().union(*(attacks for _, attacks in MISTAKES.values())) == NAMES


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_by_the_attacks_that_profit_by_it_and_by_no_other(mistake: str) -> None:
    falls_for, expected = MISTAKES[mistake]
    issuer = local()
    failed = failing(Mistaken(starlette_app(), issuer, falls_for), issuer)
    assert failed.keys() == expected
    for name, message in failed.items():
        assert message.startswith(f"attack {name}: not refused as it must be\n  GET /orders: 200 instead of 4"), message


def test_an_application_that_lets_everybody_in_fails_for_every_attack() -> None:
    app = fastapi_app()
    open_to_all = Mistaken(app, local(), lambda seen: True)
    assert failing(open_to_all, open_to_all.issuer).keys() == NAMES


def test_an_application_that_only_reports_fails() -> None:
    failed = failing(starlette_app(enforce=False))
    assert BY_AIM[Aim.VALIDITY] | BY_AIM[Aim.GRANTS] | BY_AIM[Aim.CREDENTIALS] == failed.keys()


def test_a_public_route_that_takes_a_bad_token_for_none_fails() -> None:
    issuer = local()

    class Forgiving(Mistaken):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/healthz":
                scope = {**scope, "headers": []}
            await self.app(scope, receive, send)

    failed = failing(Forgiving(fastapi_app(), issuer, bool), issuer)
    assert failed.keys() == BY_AIM[Aim.VALIDITY]
    assert failed["expired"].endswith("\n  GET /healthz: 200 instead of 401 expired")


def test_a_websocket_that_opens_fails() -> None:
    app = starlette_app()

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    class Opening(Mistaken):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await (opened if scope["type"] == "websocket" else self.app)(scope, receive, send)

    app.router.routes.append(WebSocketRoute("/events", EventsEndpoint))
    failed = failing(Opening(app, local(), bool))
    assert failed.keys() == NAMES
    assert failed["no-token"].endswith("\n  WebSocket /events: the WebSocket was accepted")


def test_an_answer_that_never_ends_is_cut_off_and_fails() -> None:
    ended: list[str] = []

    async def endlessly() -> Any:
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0)
        finally:
            ended.append("cut off")

    class Streaming(Mistaken):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def forever() -> Message:
                await asyncio.Event().wait()
                raise AssertionError

            await StreamingResponse(endlessly())(scope, forever, send)

    app = Streaming(starlette_app(), local(), bool)
    with pytest.raises(AssertionError, match="GET /orders: 200 instead of 401 expired"):
        attack_suite(app, app.issuer)(BY_NAME["expired"])
    assert ended


def test_many_faults_are_counted_and_not_all_listed() -> None:
    app = Starlette(routes=[Route(f"/{number}", orders) for number in range(30)])
    app.add_middleware(AuthzMiddleware, issuers=[acme()], enforce=False)
    with pytest.raises(AssertionError) as caught:
        attack_suite(app, local())(BY_NAME["no-token"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 40 more"


# --- nothing to attack ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routes", [[], [Route("/", public(endpoint))]])
def test_an_application_without_a_guarded_route_fails(routes: list[Route]) -> None:
    app = Starlette(routes=routes)
    app.add_middleware(AuthzMiddleware, issuers=[acme()], public_paths=["/docs"])
    failed = failing(app)
    assert failed.keys() == NAMES
    assert "no route of this application is guarded" in failed["expired"]


def test_an_attack_that_no_route_is_concerned_by_is_skipped_and_not_passed() -> None:
    app = Starlette(routes=[Route("/me", authenticated(endpoint))])
    app.add_middleware(AuthzMiddleware, issuers=[acme()])
    failed = failing(app)
    assert failed.keys() == skipped(failed) == BY_AIM[Aim.GRANTS]


def test_an_application_without_the_middleware_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"has no AuthzMiddleware; .*something hides it: .* as self\.app"):
        failing(Starlette(routes=[Route("/orders", orders)]))


def test_what_is_no_application_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="no routes can be seen here"):
        failing(endpoint)


@pytest.mark.parametrize("base_url", ["testserver", "ftp://testserver", ""])
def test_a_base_url_has_a_scheme(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match='write base_url="https://'):
        attack_suite(starlette_app(), base_url=base_url)


# --- the judge --------------------------------------------------------------------------------------------------------

CHALLENGE = {"www-authenticate": 'Bearer realm="api"', "content-type": "application/problem+json"}
EXPIRED = Answer(401, CHALLENGE, b'{"code": "expired"}')
SECRET = "x" * 40
ATTEMPT = Attempt([(b"authorization", f"Bearer {SECRET}".encode())])


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (EXPIRED, None),
        (replace(EXPIRED, status=403), "403 expired instead of 401 expired"),
        (replace(EXPIRED, status=200), "200 expired instead of 401 expired"),
        (replace(EXPIRED, body=b'{"code": "bad_signature"}'), "401 bad_signature instead of 401 expired"),
        (replace(EXPIRED, body=b"{}"), "401 instead of 401 expired"),
        (replace(EXPIRED, body=b"[]"), "401 instead of 401 expired"),
        (replace(EXPIRED, body=b'{"code": ["expired"]}'), "401 ['expired'] instead of 401 expired"),
        (replace(EXPIRED, body=b"expired"), "401 instead of 401 expired"),
        (replace(EXPIRED, headers={**CHALLENGE, "content-type": "application/json"}), "401 instead of 401 expired"),
        (replace(EXPIRED, headers={**CHALLENGE, "www-authenticate": "Basic"}), "401 without a Bearer challenge"),
        (replace(EXPIRED, headers={"content-type": CHALLENGE["content-type"]}), "401 without a Bearer challenge"),
        (replace(EXPIRED, headers={**CHALLENGE, "x-debug": f"<{SECRET}>"}), "401 that repeats the credentials"),
        (replace(EXPIRED, body=f'{{"code": "expired", "t": "{SECRET}"}}'.encode()), "401 that repeats the credentials"),
        (replace(EXPIRED, raised="KeyError"), "it raised KeyError after it had answered 401"),
        (Answer(404, CHALLENGE, b"{}"), "404 instead of 401 expired"),
        (Answer(422), "422 instead of 401 expired"),
        (Answer(raised="KeyError"), "it raised KeyError"),
        (Answer(), "it answered nothing"),
        (Answer(let_in=True), "the WebSocket was accepted"),
    ],
)
def test_only_the_very_refusal_is_good_enough(answer: Answer, fault: str | None) -> None:
    assert find_fault(answer, {Code.EXPIRED}, ATTEMPT, "GET") == fault


def test_of_an_answer_without_body_the_status_counts() -> None:
    bodiless = replace(EXPIRED, body=b"")
    assert find_fault(bodiless, {Code.EXPIRED}, ATTEMPT, "HEAD") is None
    assert find_fault(bodiless, {Code.MALFORMED_HEADER}, ATTEMPT, "HEAD") == "401 instead of 400 malformed_header"


def test_of_several_codes_one_is_enough_with_its_own_status() -> None:
    allowed = {Code.EXPIRED, Code.MALFORMED_HEADER}
    assert find_fault(EXPIRED, allowed, ATTEMPT, "GET") is None
    mixed = replace(EXPIRED, status=400)
    assert find_fault(mixed, allowed, ATTEMPT, "GET") == "400 expired instead of 400 malformed_header or 401 expired"


def test_every_attack_can_be_refused_by_a_code_of_the_closed_table() -> None:
    assert len(NAMES) == len(ATTACKS)
    for attack in ATTACKS:
        assert attack.codes
        assert all(ANSWERS[code].status in {400, 401, 403} for code in attack.codes)


# --- the wire ---------------------------------------------------------------------------------------------------------


def answer_of(app: Callable[..., Any], kind: str = "http") -> Answer:
    return asyncio.run(ask(app, make_scope(kind, "GET", "http://testserver/", Attempt())))


def test_what_an_application_raises_is_an_answer() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    assert answer_of(broken) == Answer(raised="LookupError")


def test_an_application_that_does_not_answer_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz_middleware.testing.attacks.wire.PATIENCE_SECONDS", 0)
    given_up: list[str] = []

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append("given up")

    assert answer_of(silent).raised == "nothing for 0 seconds"


def test_a_handshake_that_is_closed_is_refused_as_servers_do() -> None:
    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.close", "code": 1008})
        assert (await receive())["type"] == "websocket.disconnect"

    assert answer_of(closing, "websocket") == Answer(403)


def test_a_denial_response_is_read_and_its_end_is_not_taken_for_a_close() -> None:
    async def denying(scope: Scope, receive: Receive, send: Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"X-A", b"b")]})
        await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"!"})
        await send({"type": "websocket.close"})

    assert answer_of(denying, "websocket") == Answer(401, {"x-a": "b"}, b"no!")


def test_requests_look_as_servers_hand_them_over() -> None:
    attempt = Attempt([(b"x-a", b"b")], query=b"a=b")
    scope = make_scope("http", "PUT", "https://api.test:8443/a%20b/%C3%A4", attempt)
    assert (scope["method"], scope["scheme"], scope["server"]) == ("PUT", "https", ("api.test", 8443))
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b/ä", b"/a%20b/%C3%A4", b"a=b")
    assert scope["headers"] == [(b"host", b"api.test:8443"), (b"x-a", b"b")]
    assert make_scope("http", "GET", "http://x/", attempt)["server"] == ("x", 80)
    websocket = make_scope("websocket", "", "https://x/", attempt)
    assert (websocket["scheme"], websocket["server"], "method" in websocket) == ("wss", ("x", 443), False)
    assert make_scope("websocket", "", "http://x/", attempt)["scheme"] == "ws"


def test_the_body_is_sent_and_then_the_client_is_gone() -> None:
    received: list[Message] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        received.extend([await receive(), await receive()])
        await PlainTextResponse("no", 404)(scope, receive, send)

    answer = asyncio.run(ask(reading, make_scope("http", "POST", "http://x/", Attempt()), b"body"))
    assert answer.status == 404
    assert [message["type"] for message in received] == ["http.request", "http.disconnect"]
    assert received[0]["body"] == b"body"
