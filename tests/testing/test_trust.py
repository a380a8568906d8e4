"""`trust`: the application's own settings, other keys, and afterwards nothing has changed."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from authz_middleware import (
    AccessTokenValidator,
    AuthzMiddleware,
    ConfigurationError,
    TrustedIssuer,
    policy,
    requires,
)
from authz_middleware.audit import installed_middlewares
from authz_middleware.dialects import DIALECTS
from authz_middleware.errors import Code
from authz_middleware.testing import LocalIssuer, SigningKey, trust
from tests.apps import Foreign, endpoint
from tests.testing.apps import ACME, ORDERS, PARTNER, PARTNER_ORDERS, acme, no_network, orders, partner, starlette_app

KEY = SigningKey()
SECRET = "not so secret, but long enough for HS256"
READ = {"permissions": ["read:orders"]}


def local(issuer: str = "https://issuer.test/", audience: str = "https://api.test/", **options: Any) -> LocalIssuer:
    return LocalIssuer(issuer, audience, **{"key": KEY, **options})


def status(app: ASGIApp, issuer: LocalIssuer, *dialect: str, path: str = "/orders", **claims: Any) -> int:
    return TestClient(app).get(path, headers=reading(issuer, *dialect, **claims)).status_code


def code(app: ASGIApp, issuer: LocalIssuer, *dialect: str, path: str = "/orders", **claims: Any) -> object:
    return TestClient(app).get(path, headers=reading(issuer, *dialect, **claims)).json().get("code")


def reading(issuer: LocalIssuer, dialect: str = "access_token_authz", **claims: Any) -> dict[str, str]:
    """Return headers with a token that may read orders, where its dialect has permissions."""
    return issuer.headers(dialect, **({**READ, **claims} if DIALECTS[dialect].has_permissions else claims))


# --- whom it stands in for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "issuer", [local(), local(ACME, ORDERS), local(ACME), local("https://x.test", ORDERS)], ids=repr
)
def test_an_application_with_one_issuer_trusts_any_local_one(issuer: LocalIssuer) -> None:
    app = starlette_app()
    with trust(app, issuer) as trusted:
        assert trusted is issuer
        response = TestClient(app).get("/orders", headers=issuer.headers(**READ))  # type: ignore[arg-type]
    assert response.json() == {"subject": "auth0|jo", "issuer": issuer.issuer, "grants": ["read:orders"]}


def test_of_several_issuers_the_one_of_that_name_is_replaced_and_no_other_is_asked_for() -> None:
    app = starlette_app(acme(), partner())
    stand_in, other = local(ACME, ORDERS), local(PARTNER, PARTNER_ORDERS)
    with trust(app, stand_in):
        assert status(app, stand_in) == 200
        assert code(app, other, "rfc9068", scope="read:orders") == Code.UNKNOWN_KEY
    with trust(app, other):
        assert status(app, other, "rfc9068", scope="read:orders") == 200
        assert code(app, stand_in) == Code.UNKNOWN_KEY


def test_blocks_nest_and_each_adds_the_issuer_it_names() -> None:
    app = starlette_app(acme(), partner())
    stand_in, other = local(ACME, ORDERS), local(PARTNER, PARTNER_ORDERS)
    with trust(app, stand_in):
        with trust(app, other):
            assert status(app, stand_in) == 200
            assert status(app, other, "rfc9068", scope="read:orders") == 200
        assert status(app, stand_in) == 200
        assert code(app, other, "rfc9068", scope="read:orders") == Code.UNKNOWN_KEY


def test_where_one_is_configured_the_inner_block_replaces_the_outer_one() -> None:
    app = starlette_app()
    first, second = local(), local("https://second.test/")
    with trust(app, first):
        with trust(app, second):
            assert status(app, second) == 200
            assert code(app, first) == Code.UNTRUSTED_ISSUER
        assert status(app, first) == 200
        assert code(app, second) == Code.UNTRUSTED_ISSUER


def test_one_issuer_with_two_audiences_has_to_be_named() -> None:
    other = TrustedIssuer.auth0("acme.eu.auth0.com", "https://invoices.acme.example/", fetch=no_network)
    app = starlette_app(acme(), other)
    with pytest.raises(ConfigurationError, match="is none of the issuers"), trust(app, local(ACME)):
        pytest.fail("nobody can say which is meant")
    with trust(app, local(ACME, ORDERS)):
        assert status(app, local(ACME, ORDERS)) == 200
        assert code(app, local(ACME, "https://invoices.acme.example/")) == Code.UNKNOWN_KEY


def test_settings_for_several_audiences_keep_them() -> None:
    both = TrustedIssuer.auth0("acme.eu.auth0.com", [ORDERS, "https://b.example/"], third_party_clients=())
    app = starlette_app(both)
    with trust(app, local(ACME, "https://b.example/")):
        assert status(app, local(ACME, ORDERS)) == status(app, local(ACME, "https://b.example/")) == 200


def test_an_issuer_that_nobody_configured_is_told_the_names() -> None:
    with pytest.raises(ConfigurationError) as caught, trust(starlette_app(acme(), partner()), local()):
        pytest.fail("nobody can say which is meant")
    message = str(caught.value)
    assert f"({ACME} for {ORDERS}; {PARTNER} for {PARTNER_ORDERS})" in message
    assert f'LocalIssuer("{ACME}", audience="{ORDERS}")' in message


NAMING = requires(policy.any_of("read:orders", policy.role("boss", issuer=ACME)))(endpoint)


@pytest.mark.parametrize("is_started", [False, True])
def test_an_issuer_that_a_policy_names_keeps_its_name(is_started: bool) -> None:
    app = starlette_app(acme(roles_claims="roles"))
    app.router.routes.append(Mount("/m", routes=[Route("/named", NAMING)]))
    if is_started:
        TestClient(app).get("/m/named")
    with pytest.raises(ConfigurationError) as caught, trust(app, local()):
        pytest.fail("nobody would ever meet the policy")
    assert str(caught.value) == (
        f"trust: role('boss', issuer='{ACME}') asks for a token of that very issuer, and LocalIssuer("
        "'https://issuer.test/', audience='https://api.test/', algorithm='RS256') has another name; write "
        f'LocalIssuer("{ACME}", audience="{ORDERS}")'
    )
    for issuer in (local(ACME, ORDERS), local(ACME)):  # the audience is nobody's name
        with trust(app, issuer):
            assert status(app, issuer, permissions=[], roles=["boss"], path="/m/named") == 200


def test_an_issuer_that_a_policy_names_and_nobody_configured_is_for_the_start_to_tell() -> None:
    app = Starlette(routes=[Route("/", NAMING)])
    app.add_middleware(AuthzMiddleware, issuers=[partner()])
    with trust(app, local()), pytest.raises(ConfigurationError, match="names none that is trusted here"):
        TestClient(app).get("/")


def test_routes_at_fault_are_for_the_start_to_tell() -> None:
    app = starlette_app()
    late = functools.partial(endpoint)
    requires("x")(late)
    app.router.routes.append(Route("/late", late))
    with trust(app, local()), pytest.raises(ConfigurationError, match="above the route decorator"):
        TestClient(app).get("/")


def test_a_middleware_that_sees_no_routes_looks_for_no_names() -> None:
    opaque = AuthzMiddleware(requires("read:orders")(Foreign()), issuers=[acme()])
    with trust(opaque, local()) as issuer:
        assert status(opaque, issuer) == 200


# --- under which settings ---------------------------------------------------------------------------------------------


def test_the_application_s_own_settings_hold() -> None:
    issuer = local()
    app = starlette_app(acme(dialects=["rfc9068_profile_authz"], tenants=["org_1"], leeway=0))
    with trust(app, issuer):
        good = {"org_id": "org_1", "scope": "openid"}
        assert status(app, issuer, "rfc9068_profile_authz", **good) == 200
        assert code(app, issuer, "access_token_authz", **good) == Code.WRONG_TYPE
        assert code(app, issuer, "rfc9068_profile_authz", org_id="org_2") == Code.WRONG_TENANT
        assert code(app, issuer, "rfc9068_profile_authz", **good, client_id="partner-app") == Code.INSUFFICIENT_SCOPE
        assert code(app, issuer, "rfc9068_profile_authz", **good, expires_in=-1) == Code.EXPIRED


@pytest.mark.parametrize(("rbac_enforced", "expected"), [(True, 200), (None, 200), (False, 403)])
def test_whether_scopes_count_is_the_application_s_word(rbac_enforced: bool | None, expected: int) -> None:
    app = starlette_app(acme(rbac_enforced=rbac_enforced))
    with trust(app, local()):
        assert status(app, local(), "access_token", scope="read:orders") == expected


def test_longer_tokens_stay_refused() -> None:
    app = starlette_app(acme(), max_token_bytes=300)
    with trust(app, local()):
        assert code(app, local()) == Code.MALFORMED_TOKEN


@pytest.mark.parametrize(("revoked", "expected"), [(["auth0|jo"], 401), ([], 200)])
def test_what_the_application_says_is_revoked_stays_so(revoked: list[str], expected: int) -> None:
    app = starlette_app(revoked=lambda token: token.subject in revoked)
    with trust(app, local()) as issuer, trust(app, issuer):
        assert [status(app, issuer) for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize(
    ("bounds", "verifications"), [({}, 1), ({"max_cached_tokens": 0}, 3), ({"max_cached_bytes": 0}, 3)]
)
def test_what_the_application_remembers_of_tokens_stays_so(
    bounds: dict[str, int], verifications: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = AccessTokenValidator._verify

    async def counting(validator: AccessTokenValidator, token: str) -> Any:
        verified.append(token)
        return await verify(validator, token)

    monkeypatch.setattr(AccessTokenValidator, "_verify", counting)
    app = starlette_app(**bounds)
    with trust(app, local()) as issuer:
        headers = issuer.headers(**READ)  # type: ignore[arg-type]
        client = TestClient(app)
        assert [client.get("/orders", headers=headers).status_code for _ in range(3)] == [200] * 3
    assert len(verified) == verifications


def test_time_is_the_local_issuer_s_clock() -> None:
    issuer = local(clock=lambda: 1_000_000_000)
    app = starlette_app()
    with trust(app, issuer):
        assert status(app, issuer) == 200
        assert code(app, local()) == Code.NOT_YET_VALID


def test_an_algorithm_the_application_does_not_accept_is_said() -> None:
    signing_otherwise = trust(starlette_app(), local(key=SigningKey("ES256")))
    says = r'accept EdDSA, RS256; write LocalIssuer\(…, algorithm="RS256"\)'
    with pytest.raises(ConfigurationError, match=says), signing_otherwise:
        pytest.fail("its tokens would be refused")
    sharing_nothing = trust(starlette_app(acme(secret=SECRET)), local())
    says = r'accept HS256; write LocalIssuer\(…, algorithm="HS256"\)'
    with pytest.raises(ConfigurationError, match=says), sharing_nothing:
        pytest.fail("its tokens would be refused")


@pytest.mark.parametrize("algorithms", [None, ["HS256"]])
def test_a_secret_is_replaced_by_the_local_one(algorithms: list[str] | None) -> None:
    issuer = local(key=None, algorithm="HS256")
    app = starlette_app(acme(secret=SECRET, algorithms=algorithms), partner())
    real = local(ACME, ORDERS, key=SigningKey("HS256", private=SECRET.encode()))
    with trust(app, local(PARTNER, PARTNER_ORDERS)):
        assert TestClient(app).get("/orders", headers=real.headers(**READ)).status_code == 401  # type: ignore[arg-type]
    assert status(app, real) == 200
    app = starlette_app(acme(secret=SECRET, algorithms=algorithms))
    with trust(app, issuer):
        assert status(app, issuer) == 200
        assert code(app, real) == Code.UNTRUSTED_ISSUER


def test_what_happens_to_the_issuer_the_application_sees() -> None:
    issuer = local()
    app = starlette_app()
    client = TestClient(app)
    with trust(app, issuer):
        old, headers = issuer.key, issuer.headers(**READ)  # type: ignore[arg-type]
        assert client.get("/orders", headers=headers).status_code == 200
        issuer.rotate()
        assert status(app, issuer) == 200
        issuer.withdraw(old)
        assert client.get("/orders", headers=headers).json()["code"] == "unknown_key"
        issuer.fail()
        response = client.get("/orders", headers=issuer.headers(**READ))  # type: ignore[arg-type]
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "www-authenticate" not in response.headers


def test_a_request_of_a_test_client_hangs_with_the_issuer_and_goes_on_with_it() -> None:
    app, issuer = starlette_app(), local()
    waiting = threading.Event()
    answers: list[int] = []

    class Waiting(set[Any]):
        def add(self, waiter: Any) -> None:
            super().add(waiter)
            waiting.set()

    def ask() -> None:
        answers.append(status(app, issuer))

    with trust(app, issuer):
        issuer.hang()
        issuer._live_keys._waiting = Waiting()
        request = threading.Thread(target=ask)
        request.start()
        assert waiting.wait(10)
        assert answers == []
        issuer.recover()
        request.join(10)
    assert answers == [200]


# --- which middlewares ------------------------------------------------------------------------------------------------


def test_a_client_made_before_or_after_or_started_by_its_lifespan_makes_no_difference() -> None:
    app, issuer = starlette_app(), local()
    before = TestClient(app)
    assert before.get("/orders").status_code == 401
    with trust(app, issuer), TestClient(app) as within:
        for client in (before, within, TestClient(app)):
            assert client.get("/orders", headers=issuer.headers(**READ)).status_code == 200  # type: ignore[arg-type]
    with TestClient(app) as started, trust(app, issuer):
        assert started.get("/orders", headers=issuer.headers(**READ)).status_code == 200  # type: ignore[arg-type]


def test_it_works_over_httpx_s_transport_inside_a_loop() -> None:
    app, issuer = starlette_app(), local()

    async def ask() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            with trust(app, issuer):
                return (await client.get("/orders", headers=issuer.headers(**READ))).status_code  # type: ignore[arg-type]

    assert asyncio.run(ask()) == 200


def test_middlewares_of_mounted_applications_and_around_the_application_are_meant() -> None:
    issuer = local()
    outer = Starlette(routes=[Mount("/inner", app=starlette_app()), Route("/orders", orders)])
    around = AuthzMiddleware(outer, issuers=[acme()])
    with trust(around, issuer):
        assert status(around, issuer) == status(around, issuer, path="/inner/orders") == 200
    deep = Starlette(routes=[Mount("/a", app=Starlette(routes=[Mount("/b", app=starlette_app())]))])
    with trust(deep, issuer):
        assert status(deep, issuer, path="/a/b/orders") == 200


def test_what_one_middleware_was_never_meant_to_accept_it_does_not_accept_within() -> None:
    app = starlette_app()
    inner = AuthzMiddleware(Starlette(routes=[Route("/orders", orders)]), issuers=[partner()])
    app.router.routes.append(Mount("/theirs", app=inner))
    stand_in, other = local(ACME, ORDERS), local(PARTNER, PARTNER_ORDERS)
    with trust(app, stand_in):
        assert status(app, stand_in) == 200
        assert code(app, stand_in, path="/theirs/orders") == Code.UNTRUSTED_ISSUER
    with trust(inner, other):
        assert status(inner, other, "rfc9068", scope="read:orders") == 200
    with pytest.raises(ConfigurationError, match="is none of the issuers"), trust(app, local()):
        pytest.fail("two issuers are configured")


def test_the_same_issuer_configured_twice_is_one() -> None:
    app = starlette_app()
    app.router.routes.append(Mount("/inner", app=starlette_app()))
    with trust(app, local()):
        assert status(app, local(), path="/inner/orders") == 200


# --- and afterwards ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_afterwards_everything_is_as_before(error: type[BaseException] | None) -> None:
    app, issuer = starlette_app(acme(keys=local().jwks())), local(key=SigningKey())
    real = local(ACME, ORDERS)
    before = [middleware.validator for middleware in installed_middlewares(app)]
    try:
        with trust(app, issuer):
            assert code(app, real) == Code.UNTRUSTED_ISSUER
            if error is not None:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert [middleware.validator for middleware in installed_middlewares(app)] == before
    assert status(app, real) == 200
    assert code(app, issuer) == Code.UNTRUSTED_ISSUER


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_blocks_may_end_in_any_order_and_none_is_trusted_after_its_end(first_to_end: int) -> None:
    app = starlette_app()
    before = [middleware.validator for middleware in installed_middlewares(app)]
    issuers = [local("https://one.test/"), local("https://two.test/")]
    blocks = [trust(app, issuer) for issuer in issuers]
    for block in blocks:
        block.__enter__()
    blocks[first_to_end].__exit__(None, None, None)
    assert status(app, issuers[1 - first_to_end]) == 200
    assert code(app, issuers[first_to_end]) == Code.UNTRUSTED_ISSUER
    blocks[1 - first_to_end].__exit__(None, None, None)
    assert [middleware.validator for middleware in installed_middlewares(app)] == before


def test_one_issuer_may_be_trusted_twice_at_a_time() -> None:
    app, issuer = starlette_app(), local()
    outer, inner = trust(app, issuer), trust(app, issuer)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert status(app, issuer) == 200
    inner.__exit__(None, None, None)
    assert code(app, issuer) == Code.UNTRUSTED_ISSUER


def test_a_block_ends_whatever_has_become_of_its_issuer() -> None:
    app, issuer = starlette_app(), local()
    with trust(app, local("https://outer.test/")) as outer:
        with trust(app, issuer):
            outer.key = SigningKey("ES256")  # which nobody here accepts
        assert code(app, issuer) == Code.UNTRUSTED_ISSUER


def test_what_cannot_be_trusted_changes_nothing() -> None:
    app = starlette_app(acme(), partner(algorithms=["ES256"]))
    before = [middleware.validator for middleware in installed_middlewares(app)]
    with pytest.raises(ConfigurationError), trust(app, local(PARTNER, PARTNER_ORDERS)):
        pytest.fail("its tokens would be refused")
    assert [middleware.validator for middleware in installed_middlewares(app)] == before


# --- slips ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [Starlette(), Starlette(routes=[Route("/", endpoint)]), endpoint])
def test_an_application_without_the_middleware_is_an_error(app: Any) -> None:
    says = r"write app\.add_middleware\(AuthzMiddleware, issuers="
    with pytest.raises(ConfigurationError, match=says), trust(app, local()):
        pytest.fail("nothing is guarded")


@pytest.mark.parametrize("issuer", [None, "https://issuer.test/", LocalIssuer, acme()])
def test_only_a_local_issuer_can_be_trusted(issuer: Any) -> None:
    says = r"write trust\(app, LocalIssuer\(\)\)"
    with pytest.raises(ConfigurationError, match=says), trust(starlette_app(), issuer):
        pytest.fail("what is this?")


def test_a_misconfigured_middleware_is_an_error_inside_a_loop_too() -> None:
    app = Starlette()
    app.add_middleware(AuthzMiddleware, issuers=[])

    async def within() -> None:
        with trust(app, local()):
            pytest.fail("there is no validator")

    with pytest.raises(ConfigurationError, match="start the application to read how"):
        asyncio.run(within())
