"""Several trusted issuers: a name one of them gives is not the same name at another, and each asserts what it may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from authz_middleware import (
    AccessToken,
    AccessTokenValidator,
    AuthzMiddleware,
    ConfigurationError,
    TrustedIssuer,
    authenticated,
    authorize,
    policy,
    requires,
)
from authz_middleware.policy import Policy, TokenRequest
from authz_middleware.policy.decision import conclude
from authz_middleware.testing import LocalIssuer

from .apps import Foreign, client, expect_forbidden, expect_ok
from .watching import Watch

OURS, THEIRS = LocalIssuer("https://ours.test/"), LocalIssuer("https://theirs.test/")
CLAIMS: dict[str, Any] = {"roles_of": ["admin"], "groups_of": ["staff"], "plan": "gold", "org_id": "org_1"}
"""What both of them write into their tokens for `auth0|jo` and the same client."""


def trust(issuer: LocalIssuer, **options: Any) -> TrustedIssuer:
    options = {"third_party_clients": set(), "roles_claims": "roles_of", "groups_claims": "groups_of", **options}
    return issuer.trusted(**options)


def app_of(*routes: BaseRoute, issuers: list[TrustedIssuer] | None = None, **options: Any) -> Starlette:
    app = Starlette(routes=routes)
    trusted = [trust(OURS), trust(THEIRS)] if issuers is None else issuers
    app.add_middleware(AuthzMiddleware, issuers=trusted, **options)
    return app


def accepted(token: str, *issuers: TrustedIssuer) -> AccessToken:
    return asyncio.run(AccessTokenValidator(issuers).validate(token))


async def ran(request: Request) -> Response:
    return PlainTextResponse("ran")


Make = Callable[[str | None], Policy]
NAMED: dict[str, Make] = {
    "role": lambda issuer: policy.role("admin", issuer=issuer),
    "group": lambda issuer: policy.group("staff", issuer=issuer),
    "claim equals": lambda issuer: policy.claim("plan", equals="gold", issuer=issuer),
    "claim contains": lambda issuer: policy.claim("levels", contains=1, issuer=issuer),
    "claim matches": lambda issuer: policy.claim("plan", matches="g.*", issuer=issuer),
    "subject": lambda issuer: policy.subject("auth0|jo", issuer=issuer),
    "client": lambda issuer: policy.client("first-party-app", issuer=issuer),
    "tenant": lambda issuer: policy.tenant("org_1", issuer=issuer),
}
"""Every kind of name that an issuer gives as it likes."""
UNNAMED: dict[str, Policy] = {
    "grant": policy.any_of("x"),
    "scope": policy.scope("x"),
    "permission": policy.permission("x"),
    "machine": policy.machine,
    "user": policy.user,
    "check": policy.check(lambda request: True),
}
"""What is the application's own name, or no name at all."""


def headers(issuer: LocalIssuer, **claims: Any) -> dict[str, str]:
    return issuer.headers(**{"scope": "x", "permissions": ["x"], "levels": [1], **CLAIMS, **claims})


# --- at start ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NAMED)
def test_a_name_that_does_not_say_whose_is_an_error_at_start(kind: str) -> None:
    app = app_of(Route("/", requires(NAMED[kind](None))(ran)))
    with pytest.raises(ConfigurationError, match=r"several issuers are trusted.*add issuer=") as fault, client(app):
        raise NotImplementedError
    assert repr(NAMED[kind](None)) in str(fault.value)


@pytest.mark.parametrize("kind", UNNAMED)
def test_what_no_issuer_names_needs_none(kind: str) -> None:
    with client(app_of(Route("/", requires(UNNAMED[kind])(ran)))):
        pass


def test_all_of_them_are_listed_wherever_they_are_written() -> None:
    stated = [make(None) for make in NAMED.values()]
    inner = Mount("/", routes=[Route("/", requires(stated[1] | "x")(ran))]).app
    app = app_of(
        Route("/a", requires(stated[0], stated[2])(ran)),
        Mount("/b", app=requires(policy.any_of(*stated[3:6]))(inner)),
        Route("/c", requires(policy.any_of(stated[6] & stated[7], "x"))(ran)),
        Route("/d", requires(stated[0] & "x")(ran)),
    )
    with pytest.raises(ConfigurationError) as fault, client(app):
        raise NotImplementedError
    assert len(fault.value.faults) == len(stated)
    for term in stated:
        assert sum(repr(term) in sentence for sentence in fault.value.faults) == 1


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize(
    "issuer", ["https://ours.test", "https://OURS.test/", "http://ours.test/", "https://elsewhere.test/", "ours.test"]
)
def test_an_issuer_that_is_not_trusted_is_an_error_at_start(kind: str, issuer: str) -> None:
    for issuers in (None, [trust(OURS)]):
        app = app_of(Route("/", requires(NAMED[kind](issuer) | "x")(ran)), issuers=issuers)
        with pytest.raises(ConfigurationError, match="names none that is trusted here; write its `iss`"), client(app):
            raise NotImplementedError


@pytest.mark.parametrize("kind", NAMED)
def test_with_one_issuer_no_name_needs_one(kind: str) -> None:
    other_audience = replace(trust(OURS), audience="https://other-api.test/")
    for issuers in ([trust(OURS)], [trust(OURS), other_audience]):
        app = client(app_of(Route("/", requires(NAMED[kind](None))(ran)), issuers=issuers))
        expect_ok(app.get("/", headers=headers(OURS)), "ran")
        app = client(app_of(Route("/", requires(NAMED[kind](OURS.issuer))(ran)), issuers=issuers))
        expect_ok(app.get("/", headers=headers(OURS)), "ran")


def test_an_application_that_cannot_be_looked_into_is_checked_too() -> None:
    app = AuthzMiddleware(requires(policy.role("admin"))(Foreign()), issuers=[trust(OURS), trust(THEIRS)])
    with pytest.raises(ConfigurationError, match="add issuer="):
        client(app).get("/", headers=headers(OURS))


# --- in force ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NAMED)
def test_a_name_is_its_issuer_s_alone(kind: str) -> None:
    app = client(app_of(Route("/", requires(NAMED[kind](OURS.issuer))(ran))))
    expect_ok(app.get("/", headers=headers(OURS)), "ran")
    expect_forbidden(app.get("/", headers=headers(THEIRS)), required=[])


@pytest.mark.parametrize("kind", NAMED)
def test_each_issuer_can_have_its_own_names(kind: str) -> None:
    either = NAMED[kind](OURS.issuer) | (
        NAMED[kind](THEIRS.issuer) & policy.claim("extra", equals=1, issuer=THEIRS.issuer)
    )
    app = client(app_of(Route("/", requires(either)(ran))))
    expect_ok(app.get("/", headers=headers(OURS)), "ran")
    expect_forbidden(app.get("/", headers=headers(THEIRS)), required=[])
    expect_ok(app.get("/", headers=headers(THEIRS, extra=1)), "ran")


@pytest.mark.parametrize("kind", NAMED)
def test_in_a_handler_such_a_name_is_met_by_nobody_and_the_reason_says_what_to_write(kind: str) -> None:
    asked, watch = NAMED[kind](None), Watch()

    @authenticated
    async def handler(request: Request) -> Response:
        if request.url.query:
            return JSONResponse(request.auth.allows(asked))
        await authorize(request, asked)
        raise NotImplementedError

    app = client(app_of(Route("/", handler), on_decision=watch))
    for issuer in (OURS, THEIRS):
        expect_ok(app.get("/?allows", headers=headers(issuer)), "false")
        watch.seen.clear()
        expect_forbidden(app.get("/", headers=headers(issuer)), required=[])
        assert "several issuers are trusted, so write issuer=" in watch.seen[-1].why
        assert repr(asked) in watch.seen[-1].why


def test_a_token_of_another_issuer_is_told_apart_in_the_reason() -> None:
    token = accepted(THEIRS.token(**CLAIMS), trust(OURS), trust(THEIRS))
    decision = conclude(policy.role("admin", issuer=OURS.issuer), TokenRequest(token))
    assert decision.why == "role('admin', issuer='https://ours.test/') asks about another issuer's tokens"


def test_the_same_subject_at_two_issuers_is_two_callers() -> None:
    @authenticated
    async def whoami(request: Request) -> Response:
        return JSONResponse([request.user.identity, list(request.auth.token.identity)])

    app = client(app_of(Route("/", whoami)))
    ours, theirs = (app.get("/", headers=headers(issuer)).json() for issuer in (OURS, THEIRS))
    assert ours == ["https://ours.test/#auth0|jo", ["https://ours.test/", "auth0|jo"]]
    assert theirs == ["https://theirs.test/#auth0|jo", ["https://theirs.test/", "auth0|jo"]]


def test_an_issuer_cannot_sign_for_another() -> None:
    token = THEIRS.token(iss=OURS.issuer, **CLAIMS)
    assert client(app_of(Route("/", authenticated(ran)))).get("/", headers={"Authorization": f"Bearer {token}"}).json()[
        "code"
    ] in {"unknown_key", "bad_signature"}


# --- tenants ----------------------------------------------------------------------------------------------------------

TENANT = policy.tenant(policy.path_param("org"))


def test_where_each_issuer_is_limited_to_its_tenants_a_tenant_names_no_issuer() -> None:
    issuers = [trust(OURS, tenants=["org_1", "org_2"]), trust(THEIRS, tenants=["org_3"])]

    @authenticated
    async def handler(request: Request) -> Response:
        await authorize(request, TENANT)
        return PlainTextResponse("ran")

    routes = [Route("/stated/{org}", requires(TENANT)(ran)), Route("/asked/{org}", handler)]
    app = client(app_of(*routes, issuers=issuers))
    for way in ("stated", "asked"):
        assert app.get(f"/{way}/org_1", headers=headers(OURS)).status_code == 200
        assert app.get(f"/{way}/org_2", headers=headers(OURS)).status_code == 403
        assert app.get(f"/{way}/org_3", headers=headers(THEIRS, org_id="org_3")).status_code == 200
        assert app.get(f"/{way}/org_1", headers=headers(THEIRS, org_id="org_3")).status_code == 403
        assert app.get(f"/{way}/org_1", headers=headers(THEIRS, org_id="org_1")).status_code == 401  # not let in at all


@pytest.mark.parametrize("asked", [policy.tenant("org_1"), policy.tenant(policy.path_param("org"))])
@pytest.mark.parametrize("theirs", [["org_1"], ["org_3", "org_2"]])
def test_two_issuers_that_may_name_one_tenant_are_as_if_not_limited(asked: Policy, theirs: list[str]) -> None:
    issuers = [trust(OURS, tenants=["org_1", "org_2"]), trust(THEIRS, tenants=theirs)]
    app = app_of(Route("/{org}", requires(asked)(ran)), issuers=issuers)
    with pytest.raises(ConfigurationError, match="tenants of its own with tenants=") as fault, client(app):
        raise NotImplementedError
    assert len(fault.value.faults) == 1
    for issuer in (OURS, THEIRS):
        token = accepted(issuer.token(org_id=theirs[-1]), *issuers)
        assert not asked.allows(TokenRequest(token, {"org": theirs[-1]}))


def test_two_settings_of_one_issuer_may_share_tenants() -> None:
    other = replace(trust(OURS, tenants=["org_1"]), audience="https://other-api.test/")
    issuers = [trust(OURS, tenants=["org_1"]), other, trust(THEIRS, tenants=["org_3"])]
    app = client(app_of(Route("/{org}", requires(policy.tenant(policy.path_param("org")))(ran)), issuers=issuers))
    expect_ok(app.get("/org_1", headers=OURS.headers(org_id="org_1")), "ran")


def test_one_issuer_that_is_not_limited_could_name_any_tenant() -> None:
    issuers = [trust(OURS, tenants=["org_1"]), trust(THEIRS)]
    with (
        pytest.raises(ConfigurationError, match="or limit every issuer to tenants of its own with tenants=") as fault,
        client(app_of(Route("/{org}", requires(TENANT)(ran)), issuers=issuers)),
    ):
        raise NotImplementedError
    assert len(fault.value.faults) == 1

    @authenticated
    async def handler(request: Request) -> Response:
        await authorize(request, TENANT)
        return PlainTextResponse("ran")

    watch = Watch()
    app = client(app_of(Route("/{org}", handler), issuers=issuers, on_decision=watch))
    expect_ok(app.get("/org_1", headers=headers(OURS)), "ran")
    assert app.get("/org_1", headers=headers(THEIRS)).status_code == 403
    assert watch.seen[-1].why.endswith("so write issuer=, or limit each issuer to tenants of its own with tenants=")


# --- what an issuer may assert ----------------------------------------------------------------------------------------

WIDE: dict[str, Any] = {
    "scope": "openid a b",
    "permissions": ["a", "b", "two words"],
    "roles_of": ["a", "b"],
    "groups_of": ["a", "b"],
}


def test_what_an_issuer_may_not_assert_counts_for_nothing_in_its_tokens() -> None:
    trusted = trust(THEIRS, grants={"a"})
    grants = accepted(THEIRS.token(**WIDE), trust(OURS), trusted).grants
    for values in (grants.permissions, grants.roles, grants.groups, grants.effective, grants.entitlements):
        assert values == {"a"}
    assert grants.scopes == {"openid", "a"}  # an OIDC scope grants nothing, and is no secret
    assert {grant.value for grant in grants} == {"openid", "a"}
    everything = accepted(OURS.token(**WIDE), trust(OURS), trusted).grants
    assert everything.permissions == {"a", "b", "two words"}


@pytest.mark.parametrize("make", [policy.any_of, policy.scope, policy.permission])
def test_nor_can_it_be_had_by_any_term(make: Callable[[str], Policy]) -> None:
    app = client(
        app_of(
            Route("/a", requires(make("a"))(ran)),
            Route("/b", requires(make("b"))(ran)),
            issuers=[trust(OURS), trust(THEIRS, grants=["a"])],
        )
    )
    assert [app.get(path, headers=THEIRS.headers(**WIDE)).status_code for path in ("/a", "/b")] == [200, 403]
    assert [app.get(path, headers=OURS.headers(**WIDE)).status_code for path in ("/a", "/b")] == [200, 200]


@pytest.mark.parametrize("make", [policy.role, policy.group])
def test_roles_and_groups_are_limited_too(make: Any) -> None:
    token = accepted(THEIRS.token(**WIDE), trust(THEIRS, grants=["a"]))
    assert make("a").allows(TokenRequest(token))
    assert not make("b").allows(TokenRequest(token))
    assert conclude(make("b"), TokenRequest(token)).why.endswith("it is not among its grants=")


def test_starlette_s_own_scopes_are_limited_too() -> None:
    @authenticated
    async def scopes(request: Request) -> Response:
        return JSONResponse(request.auth.scopes)

    app = client(app_of(Route("/", scopes), issuers=[trust(THEIRS, grants=["a", "z"])]))
    assert app.get("/", headers=THEIRS.headers(**WIDE)).json() == ["a"]


@pytest.mark.parametrize("dialect", ["access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz"])
@pytest.mark.parametrize("machine", [True, False])
def test_the_limit_changes_no_row_of_the_table(dialect: str, machine: bool) -> None:
    """An absent claim stays absent and an empty one empty: a limit takes values away and nothing else."""
    has_permissions = dialect.endswith("_authz")
    for permissions in (None, [], ["b"], ["a", "b"]) if has_permissions else (None,):
        token = THEIRS.token(dialect, scope="a b", permissions=permissions, machine=machine)
        for options in ({}, {"dialects": [dialect]}):
            wide, narrow = (
                accepted(token, trust(THEIRS, **more, **options)).grants for more in ({}, {"grants": ["a"]})
            )
            assert narrow.rule is wide.rule
            assert narrow.effective == wide.effective & {"a"}
            assert narrow.entitlements == wide.entitlements & {"a"}


@pytest.mark.parametrize("grants", ["a", [], set(), [1], [""], b"a", {"a": 1}, 1])
def test_what_an_issuer_may_assert_is_a_collection_of_names(grants: Any) -> None:
    with pytest.raises(ConfigurationError, match="grants"):
        trust(OURS, grants=grants)


@pytest.mark.parametrize("groups_claims", ["", [], (), ("a", ""), 1, [1]])
def test_claims_with_groups_have_names(groups_claims: Any) -> None:
    with pytest.raises(ConfigurationError, match="groups_claims takes a claim name"):
        trust(OURS, groups_claims=groups_claims)


@pytest.mark.parametrize("value", ["staff", {"staff": True}, [1], [None], [["staff"]], None])
def test_a_claim_with_groups_of_another_form_refuses_the_token(value: object) -> None:
    claims = {**OURS.claims(), "groups_of": value}
    app = client(app_of(Route("/", authenticated(ran))))
    answer = app.get("/", headers={"Authorization": f"Bearer {OURS.sign(claims)}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_claim")


def test_groups_grant_nothing_by_themselves() -> None:
    token = accepted(OURS.token(groups_of=["staff", "x"]), trust(OURS))
    assert token.grants.groups == {"staff", "x"}
    for asked in (policy.any_of("staff"), policy.scope("x"), policy.permission("x"), policy.role("staff")):
        assert not asked.allows(TokenRequest(token))
    assert policy.group("staff").allows(TokenRequest(token))
