"""Decisions and refusals say why: each classic misconfiguration is named, from a token that deserves it.

The sentences are for people who never read an RFC, so they are written out here in full: read them aloud.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from authz_middleware import ConfigurationError, policy, requires
from authz_middleware.errors import ANSWERS, Code, Reason
from authz_middleware.explanations import EXPLANATIONS, explain_refusal
from authz_middleware.observe import RequestDecision
from authz_middleware.policy import Policy, TokenRequest
from authz_middleware.policy.decision import conclude
from authz_middleware.policy.running import run_checks_now
from authz_middleware.testing import LocalIssuer
from authz_middleware.token import GrantRule

from .apps import asking, bare, client, grants, starlette_app
from .helpers import ISSUER
from .watching import Watch

SWITCH_ON = "RBAC and “Add Permissions in the Access Token” for this API at the authorization server"
NO_PERMISSIONS = "tokens of this dialect have no permissions, so if those should count, switch on " + SWITCH_ON
READ_AS_THIRD_PARTY = (
    "this client is read as third-party, because nobody said that it is not (if it is your own, say so with "
    "third_party_clients=, an empty set if there are none)"
)
NAME_THEIR_CLAIM = "name their claim in permissions_claims="
PROVES_NOTHING = "rbac_enforced=False says that a client gets whatever scope it asks for, so it proves no right"
NOT_ASKED = "the client did not ask for it, or the user does not have it"
ONLY_BOTH = "so only what stands in both counts"
OWN: dict[str, Any] = {"third_party_clients": set()}


async def ran(request: Request) -> Response:
    return PlainTextResponse("ran")


def told(issuer: LocalIssuer, asked: Any, token: str, route: Any = ran, **options: Any) -> RequestDecision:
    """Ask a route with a token, and return what whoever operates it is told."""
    watch = Watch()
    guarded = requires(asked)(route) if asked is not None else route
    app = starlette_app(issuer, Route("/", guarded), issuers=[issuer.trusted(**options)], on_decision=watch)
    client(app).get("/", headers={"Authorization": f"Bearer {token}"})
    return watch.only


# --- decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "claims", "asked", "why"),
    [
        pytest.param(
            {},
            {"permissions": ["x"]},
            "x",
            f"'x' is in permissions but not in scope, and {READ_AS_THIRD_PARTY}",
            id="in permissions but not in scope, and nobody said whose the client is",
        ),
        pytest.param(
            {"third_party_clients": {"first-party-app"}},
            {"permissions": ["x"]},
            "x",
            f"'x' is in permissions but not in scope, and this client is third-party, {ONLY_BOTH}",
            id="in permissions but not in scope, of a third party",
        ),
        pytest.param(
            OWN,
            {"permissions": ["x"], "client_id": "tpc_1"},
            "x",
            f"'x' is in permissions but not in scope, and this client is third-party, {ONLY_BOTH}",
            id="in permissions but not in scope, of a third party by its name",
        ),
        pytest.param(
            OWN,
            {"permissions": ["x"], "act": {"sub": "service"}},
            policy.permission("x"),
            "permission('x') is in permissions but not in scope, and the token was passed on to another service "
            f"(act), {ONLY_BOTH}",
            id="delegated on",
        ),
        pytest.param(
            {"third_party_clients": {"robot"}},
            {"machine": True, "client_id": "robot", "scope": "x", "permissions": []},
            "x",
            f"'x' is in scope but not in permissions, and this client is third-party, {ONLY_BOTH}",
            id="a machine of a third party",
        ),
        pytest.param(
            {},
            {"scope": "x", "permissions": ["y"]},
            "x",
            f"'x' is in scope but not in permissions, and {READ_AS_THIRD_PARTY}",
            id="in scope but not in permissions, and nobody said whose the client is",
        ),
        pytest.param(
            {"third_party_clients": {"first-party-app"}},
            {"scope": "x", "permissions": ["y"]},
            "x",
            "'x' is in scope but not in permissions: the client asked for it, but the user does not have it",
            id="a third party requested a scope that the user does not have",
        ),
        pytest.param(
            OWN,
            {"scope": "x", "permissions": ["y"], "act": {"sub": "service"}},
            "x",
            "'x' is in scope but not in permissions: the client asked for it, but the user does not have it",
            id="delegated on, with a scope that the user does not have",
        ),
        pytest.param(
            OWN,
            {"scope": "x", "permissions": ["y"]},
            policy.permission("x"),
            "permission('x') is in scope alone: the client asked for it, but the user does not have this permission",
            id="a scope was requested that is no permission",
        ),
        pytest.param(
            OWN,
            {"permissions": ["x"]},
            policy.scope("x"),
            "scope('x') is in permissions alone: the user has it, but the client did not ask for this scope",
            id="a permission for which the client did not ask",
        ),
        pytest.param(
            OWN,
            {"scope": "y", "permissions": ["z"]},
            "x",
            "'x' is neither in scope nor in permissions: the user does not have it",
            id="the user does not have it",
        ),
        pytest.param(
            {},
            {"scope": "y", "permissions": ["z"]},
            "x",
            "'x' is neither in scope nor in permissions: the user does not have it",
            id="the user does not have it, whoever the client is",
        ),
        pytest.param(
            {"dialects": ["access_token"], "rbac_enforced": True},
            {"dialect": "access_token", "scope": "openid y"},
            "x",
            "'x' is not in scope: the client did not ask for it, or the user does not have it; " + NO_PERMISSIONS,
            id="the dialect has no permissions",
        ),
        pytest.param(
            {"dialects": ["rfc9068_profile"]},
            {"dialect": "rfc9068_profile", "scope": "openid profile"},
            policy.permission("x"),
            "permission('x') is not in scope: the client did not ask for it, or the user does not have it; "
            + NO_PERMISSIONS,
            id="the dialect has no permissions, and nothing but identity was asked for",
        ),
        pytest.param(
            {"dialects": ["access_token"]},
            {"dialect": "access_token", "scope": "x"},
            policy.permission("x"),
            "permission('x') is in scope, and whether a user's scope is an entitlement is not said (rbac_enforced=)",
            id="nobody said whether RBAC is enforced",
        ),
        pytest.param(
            {"dialects": ["access_token"], "rbac_enforced": False},
            {"dialect": "access_token", "scope": "x"},
            "x",
            "'x' is in scope but does not count: rbac_enforced=False says that a client gets whatever scope it asks "
            "for, so it proves no right",
            id="RBAC is not enforced",
        ),
        pytest.param(
            {"dialects": ["access_token"], "rbac_enforced": False},
            {"dialect": "access_token", "scope": "y"},
            "x",
            f"'x' is not granted: {PROVES_NOTHING}",
            id="RBAC is not enforced, and it was not asked for: asking would not help",
        ),
        pytest.param(
            {"dialects": ["access_token"], "rbac_enforced": False},
            {"scope": "y", "permissions": ["x"]},
            "x",
            f"'x' is not granted: {PROVES_NOTHING}; the token carries permissions, but dialects= says not to read "
            "them; if they should count, allow access_token_authz",
            id="RBAC is not enforced, and dialects= ignores the permissions",
        ),
        pytest.param(
            {"dialects": ["access_token"], "rbac_enforced": True},
            {"scope": "openid", "permissions": ["x"]},
            "x",
            f"'x' is not in scope: {NOT_ASKED}; the token carries permissions, but dialects= says not to read them; if "
            "they should count, allow access_token_authz",
            id="dialects= ignores the permissions",
        ),
        pytest.param(
            {"dialects": ["rfc9068_profile"], "rbac_enforced": True},
            {"dialect": "rfc9068_profile_authz", "scope": "openid", "permissions": ["x"]},
            "x",
            f"'x' is not in scope: {NOT_ASKED}; the token carries permissions, but dialects= says not to read them; if "
            "they should count, allow rfc9068_profile_authz",
            id="dialects= ignores the permissions of the other profile",
        ),
        pytest.param(
            {"dialects": ["rfc9068"], "rbac_enforced": True},
            {"dialect": "rfc9068", "scope": "y"},
            "x",
            f"'x' is not in scope: {NOT_ASKED}; tokens of this dialect have no permissions, so if those should count, "
            + NAME_THEIR_CLAIM,
            id="a dialect of nobody in particular has no permissions",
        ),
        pytest.param(
            {"dialects": ["rfc9068"], "rbac_enforced": True},
            {"dialect": "rfc9068_profile_authz", "scope": "y", "permissions": ["x"]},
            "x",
            f"'x' is not in scope: {NOT_ASKED}; the token carries permissions, but no claim is read for them; if they "
            "should count, " + NAME_THEIR_CLAIM,
            id="a dialect of nobody in particular ignores the permissions",
        ),
        pytest.param(
            {"dialects": ["rfc9068"], "permissions_claims": "rights", **OWN},
            {"dialect": "rfc9068", "scope": "x"},
            "x",
            "'x' is in scope but does not count: the user's token carries no permissions, though its dialect has them; "
            "let the authorization server write the claim that permissions_claims= names",
            id="a claim that the application named is not written",
        ),
        pytest.param(
            {"dialects": ["access_token_authz"], "permissions_claims": "rights", **OWN},
            {"scope": "y"},
            "x",
            "'x' is not granted: the user's token carries no permissions, though its dialect has them; let the "
            "authorization server write the claim that permissions_claims= names",
            id="a claim that the application named in place of Auth0's is not written",
        ),
        pytest.param(
            {"dialects": ["access_token_authz"], **OWN},
            {"permissions": None, "scope": "x"},
            "x",
            "'x' is in scope but does not count: the user's token carries no permissions, though its dialect has them; "
            f"switch on {SWITCH_ON}",
            id="permissions are not added, and it stands in scope",
        ),
        pytest.param(
            {"dialects": ["access_token_authz"], **OWN},
            {"permissions": None, "scope": "openid"},
            "x",
            "'x' is not granted: the user's token carries no permissions, though its dialect has them; "
            f"switch on {SWITCH_ON}",
            id="permissions are not added",
        ),
        pytest.param(
            OWN,
            {"machine": True, "scope": "y"},
            "x",
            "'x' is not granted: the authorization server did not give it to this machine",
            id="a machine was not given it",
        ),
        pytest.param(
            {"dialects": ["rfc9068_profile"]},
            {"dialect": "rfc9068_profile", "machine": True, "scope": "y"},
            policy.scope("x"),
            "scope('x') is not granted: the authorization server did not give it to this machine",
            id="a machine was not given it, in a dialect without permissions",
        ),
        pytest.param(
            OWN,
            {"permissions": ["openid"]},
            policy.scope("openid"),
            "scope('openid') is not in scope: the client did not ask for it",
            id="identity data was not asked for",
        ),
        pytest.param(
            {**OWN, "grants": ["y"]},
            {"permissions": ["x"], "scope": "x"},
            "x",
            "'x' does not count in this issuer's tokens: it is not among its grants=",
            id="the issuer may not assert it",
        ),
        pytest.param(
            {"dialects": ["access_token"], "rbac_enforced": False, "grants": ["y"]},
            {"scope": "x"},
            "x",
            "'x' does not count in this issuer's tokens: it is not among its grants=",
            id="the issuer may not assert it, and RBAC is not enforced",
        ),
        pytest.param(
            {**OWN, "grants": ["y"], "roles_claims": "my_roles"},
            {"my_roles": ["admin"]},
            policy.role("admin"),
            "role('admin') does not count in this issuer's tokens: it is not among its grants=",
            id="the issuer may not assert such roles",
        ),
        pytest.param(
            {**OWN, "roles_claims": "my_roles"},
            {"my_roles": ["clerk"]},
            policy.role("admin"),
            "role('admin') is not among the token's roles",
            id="no role",
        ),
        pytest.param(
            {**OWN, "groups_claims": "my_groups"},
            {},
            policy.group("staff"),
            "group('staff') is not among the token's groups",
            id="no group",
        ),
        pytest.param(
            {**OWN, "groups_claims": "my_groups"},
            {"roles": ["admin"]},
            policy.role("admin"),
            "role('admin') is not granted: no claim is read for roles; name it in roles_claims=",
            id="nobody said where roles stand",
        ),
        pytest.param(
            {**OWN, "roles_claims": "my_roles", "grants": ["y"]},
            {},
            policy.group("staff"),
            "group('staff') is not granted: no claim is read for groups; name it in groups_claims=",
            id="nobody said where groups stand",
        ),
        pytest.param(
            OWN,
            {"machine": True, "scope": "y", "permissions": ["x"]},
            policy.scope("x"),
            "scope('x') is in permissions alone: the machine has it, but not as a scope",
            id="a machine's permission that is no scope of it",
        ),
        pytest.param(
            {},
            {"permissions": ["x"], "act": {"sub": "service"}},
            "x",
            "'x' is in permissions but not in scope, and the token was passed on to another service (act), so only "
            "what stands in both counts; third_party_clients= alone would not change that",
            id="delegated on, and nobody said whose the client is",
        ),
        pytest.param(
            {},
            {"scope": "x", "permissions": ["y"], "act": {"sub": "service"}},
            "x",
            "'x' is in scope but not in permissions: the client asked for it, but the user does not have it",
            id="delegated on, with a scope that the user does not have, and nobody said whose the client is",
        ),
        pytest.param(
            {"third_party_clients": {"first-party-app"}},
            {"permissions": ["x"], "act": {"sub": "service"}},
            "x",
            f"'x' is in permissions but not in scope, and this client is third-party, {ONLY_BOTH}",
            id="delegated on by a third party",
        ),
        pytest.param(OWN, {}, policy.machine, "the caller is a user, not a machine", id="a user"),
        pytest.param(
            OWN, {}, policy.machine | policy.any_of("x"), "the caller is a user, not a machine", id="a user without x"
        ),
        pytest.param(OWN, {"machine": True}, policy.user, "the caller is a machine, not a user", id="a machine"),
    ],
)  # fmt: skip
def test_every_classic_misconfiguration_is_named(
    options: dict[str, Any], claims: dict[str, Any], asked: Any, why: str, issuer: LocalIssuer
) -> None:
    decision = told(issuer, asked, issuer.token(**claims), **options)
    assert (decision.allowed, decision.code) == (False, Code.INSUFFICIENT_SCOPE)
    assert decision.detail is not None
    assert decision.why == decision.detail.why == why
    check_readable(why)


def refuses(request: policy.AccessRequest) -> bool:
    return False


ORG = policy.path_param("org")
NO_PARAMETER = "the path has no such parameter here"
OTHER_TYPE = "this claim is of another type than what it is compared with, such as a number where a text is asked for"


@pytest.mark.parametrize(
    ("asked", "claims", "why"),
    [
        (policy.claim("org", equals="acme"), {}, "the token does not carry this claim"),
        (policy.claim(("org", "id"), equals="acme"), {"org": "acme"}, "the token does not carry this claim"),
        (policy.claim("org", equals="acme"), {"org": "other"}, "this claim says something else"),
        (policy.claim("org", equals=ORG), {"org": "other"}, "this claim says something else"),
        (policy.claim("level", equals=1), {"level": 1.5}, "this claim says something else"),
        (policy.claim("level", equals="1"), {"level": 1}, OTHER_TYPE),
        (policy.claim("level", equals=1), {"level": True}, OTHER_TYPE),
        (policy.claim("level", equals=True), {"level": 1}, OTHER_TYPE),
        (policy.claim("org", equals="acme"), {"org": ["acme"]}, OTHER_TYPE),
        (policy.claim("org", equals=policy.path_param("number")), {"org": "7"}, OTHER_TYPE),
        (policy.claim("orgs", contains="acme"), {"orgs": ["other"]}, "the list in this claim has no such entry"),
        (policy.claim("orgs", contains="acme"), {"orgs": "acme"}, "this claim is no list"),
        (policy.claim("org", matches="a.*"), {"org": "other"}, "the text in this claim is another"),
        (policy.claim("org", matches="a.*"), {"org": 1}, "this claim is no text"),
        (policy.claim("org", equals=policy.path_param("organisation")), {"org": "acme"}, NO_PARAMETER),
        (policy.claim("orgs", contains=policy.path_param("organisation")), {"orgs": []}, NO_PARAMETER),
        (policy.tenant(policy.path_param("organisation")), {"org_id": "acme"}, NO_PARAMETER),
        (policy.tenant(policy.path_param("number")), {"org_id": "7"}, "that parameter of the path is no text"),
        (policy.tenant("org_1"), {"org_id": "org_2"}, "the token was issued in another tenant"),
        (policy.tenant("org_1"), {}, "the token names no tenant"),
        (policy.subject(ORG), {}, "the token belongs to somebody else"),
        (policy.client("robot"), {}, "the token was issued to another client"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Policy) else "",
)
def test_what_does_not_match_says_why(asked: Policy, claims: dict[str, Any], why: str) -> None:
    token = ISSUER.access_token(trusted=ISSUER.trusted(**OWN), **claims)
    decision = conclude(asked, TokenRequest(token, {"org": "acme", "number": 7}))
    assert decision.why == f"{asked!r} does not hold: {why}"
    check_readable(decision.why)


async def later(request: policy.AccessRequest) -> bool:
    return True


def holds(request: policy.AccessRequest) -> bool:
    return True


REFUSES, LATER, HOLDS = policy.check(refuses), policy.check(later), policy.check(holds)
NEVER_RAN = "check(later) has to be awaited, and was asked where nothing can be: in a sync function, or by allows(…)"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (REFUSES, "check(refuses) did not return True"),
        (HOLDS & REFUSES, "check(refuses) did not return True"),
        (policy.all_of(REFUSES, HOLDS, LATER) | (HOLDS & REFUSES), "check(refuses) did not return True"),
        (HOLDS & policy.machine, "the caller is a user, not a machine"),
        ((REFUSES & policy.machine) | REFUSES, "check(refuses) did not return True"),
        (REFUSES | (REFUSES & policy.machine), "check(refuses) did not return True"),
    ],
    ids=repr,
)
def test_a_check_that_was_asked_and_refused_is_named(asked: Policy, why: str, issuer: LocalIssuer) -> None:
    assert told(issuer, asked, issuer.token()).why == why


def test_a_check_that_nobody_ran_is_said_to_be_so() -> None:
    request = TokenRequest(ISSUER.access_token())
    assert conclude(LATER, request, run_checks_now(LATER, request)).why == NEVER_RAN
    assert conclude(LATER, request).why == "check(later) was not asked"
    assert conclude(HOLDS & REFUSES, request, run_checks_now(REFUSES, request)).why == (
        "check(refuses) did not return True"
    )
    check_readable(NEVER_RAN)


def test_where_a_check_refused_another_alternative_is_asked_for() -> None:
    request = TokenRequest(ISSUER.access_token())
    asked = REFUSES | (HOLDS & "a")
    assert conclude(asked, request, run_checks_now(asked, request)).scope == ("a",)
    asked = REFUSES | policy.any_of("b", REFUSES & "a")
    assert conclude(asked, request, run_checks_now(asked, request)).scope == ("b",)


@pytest.mark.parametrize(
    ("asked", "held", "why"),
    [
        (
            policy.any_of("x"),
            grants("x", effective=frozenset(), rule=GrantRule.BOTH_CLIENT_UNNAMED),
            "'x' is in scope but not in permissions, and only what stands in both counts",
        ),
        (
            policy.any_of("x"),
            grants("", "x", effective=frozenset(), rule=GrantRule.BOTH_CLIENT_UNNAMED),
            "'x' is in permissions but not in scope, and only what stands in both counts",
        ),
    ],
)
def test_what_no_token_of_our_dialects_says_is_explained_too(asked: Policy, held: Any, why: str) -> None:
    assert conclude(asked, asking(held)).why == why


def test_what_is_missing_is_that_of_the_nearest_alternative(issuer: LocalIssuer) -> None:
    asked = policy.all_of("a", "b", "c") | (policy.scope("x") & policy.role("r")) | policy.all_of("d", "e")
    decision = told(issuer, asked, issuer.token(scope="x d", permissions=["x"]), roles_claims="my_roles", **OWN)
    assert decision.detail is not None
    assert decision.detail.missing == (policy.role("r"),)
    assert [term for term, _ in decision.detail.held] == [policy.scope("x"), policy.any_of("d")]
    assert decision.detail.required == (("a", "b", "c"), ("x",), ("d", "e"))
    assert decision.detail.scope == ("d", "e")  # no client can request a role, so it is the nearest of the others
    assert decision.why == "role('r') is not among the token's roles"


def test_a_mount_is_explained_by_what_held_there(issuer: LocalIssuer) -> None:
    """Further in, a path parameter of the same name says something else; and so may a check."""
    answers = [True, False]

    async def once(request: policy.AccessRequest) -> bool:
        return answers.pop(0)

    tenant, watch = policy.tenant(policy.path_param("org")), Watch()
    inner = Mount("/", routes=[Route("/{org}", requires("x")(ran))]).app
    outer = requires(tenant & policy.check(once))(inner)
    app = client(starlette_app(issuer, Mount("/{org}", app=outer), on_decision=watch))
    assert app.get("/org_1/other", headers=issuer.headers(org_id="org_1", permissions=["x"])).status_code == 200
    detail = watch.only.detail
    assert detail is not None
    assert (detail.allowed, detail.missing, detail.why) == (True, (), "the policy is met")
    assert {term for term, _ in detail.held} == {tenant, policy.check(once), policy.any_of("x")}
    assert watch.only.policy == tenant & policy.check(once) & "x"
    assert answers == [False]


IN_BOTH = ["scope", "permission"]


@pytest.mark.parametrize(
    ("options", "claims", "held"),
    [
        (OWN, {"scope": "x"}, [("'x'", ["scope"]), ("scope('x')", ["scope"])]),
        (OWN, {"permissions": ["x"]}, [("'x'", ["permission"])]),
        (OWN, {"scope": "x", "permissions": ["x"]}, [("'x'", IN_BOTH), ("scope('x')", IN_BOTH)]),
        ({**OWN, "roles_claims": "my_roles"}, {"my_roles": ["r"]}, [("role('r')", ["role"])]),
        ({**OWN, "groups_claims": "my_groups"}, {"my_groups": ["g"]}, [("group('g')", ["group"])]),
        (OWN, {"org": "acme"}, [("claim('org', equals='acme')", [])]),
    ],
)  # fmt: skip
def test_a_decision_says_which_terms_hold_by_which_claim(
    options: dict[str, Any], claims: dict[str, Any], held: list[Any]
) -> None:
    org = policy.claim("org", equals="acme")
    asked = policy.any_of("x", policy.scope("x") & "y", policy.role("r"), policy.group("g"), org)
    trusted = ISSUER.trusted(**options)
    decision = conclude(asked, TokenRequest(ISSUER.access_token(trusted=trusted, **claims)))
    assert decision.allowed
    shown = [(repr(term), [str(source) for source in sources]) for term, sources in decision.held]
    assert shown == held


# --- refused tokens ---------------------------------------------------------------------------------------------------

ASK = "the client must name this API when it asks for a token (audience= at Auth0, resource= elsewhere)"


def management(issuer: LocalIssuer) -> str:
    return issuer.token(aud=issuer.issuer + "api/v2/", scope="read:users")


def userinfo(issuer: LocalIssuer) -> str:
    return issuer.token(aud=[issuer.issuer + "userinfo"], scope="openid profile")


def management_and_userinfo(issuer: LocalIssuer) -> str:
    return issuer.token(aud=[issuer.issuer + "userinfo", issuer.issuer + "api/v2/"], scope="openid read:users")


def opaque(issuer: LocalIssuer) -> str:
    return "kX2hJ0y5Q3uZ9sVbT1nWcA7eRg4mLpDf"


def opaque_at_auth0(issuer: LocalIssuer) -> str:
    """Return an encrypted token such as Auth0 gives for /userinfo alone: its second part is empty."""
    return "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..c29tZXRoaW5n.c29tZXRoaW5n.c29tZXRoaW5n"


def id_token(issuer: LocalIssuer) -> str:
    return issuer.token(aud="first-party-app", nonce="n-0S6_WzA2Mj", email="jo@example.com")


def other_api(issuer: LocalIssuer) -> str:
    return issuer.token(aud=["https://other-api.test/", issuer.issuer + "userinfo"])


def other_issuer(issuer: LocalIssuer) -> str:
    return issuer.token(iss=issuer.issuer.rstrip("/"))


def other_type(issuer: LocalIssuer) -> str:
    return issuer.token("rfc9068")


def other_tenant(issuer: LocalIssuer) -> str:
    return issuer.token(org_id="org_2")


def bound_to_a_key(issuer: LocalIssuer) -> str:
    return issuer.token(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})


OF_ISSUER = (
    "the token is for an API of the authorization server itself (the Management API, or /userinfo); "
    f"{ASK}, and send its token for the authorization server to nobody else"
)
OPAQUE = (
    "the token is opaque: only the authorization server can read it, because it was asked for without naming an API; "
    + ASK
)


@pytest.mark.parametrize(
    ("make", "options", "code", "reason", "why"),
    [
        (management, {}, Code.WRONG_AUDIENCE, Reason.AUDIENCE_OF_ISSUER, OF_ISSUER),
        (userinfo, {}, Code.WRONG_AUDIENCE, Reason.AUDIENCE_OF_ISSUER, OF_ISSUER),
        (management_and_userinfo, {}, Code.WRONG_AUDIENCE, Reason.AUDIENCE_OF_ISSUER, OF_ISSUER),
        (opaque, {}, Code.OPAQUE_TOKEN, Reason.OPAQUE, OPAQUE),
        (opaque_at_auth0, {}, Code.OPAQUE_TOKEN, Reason.OPAQUE, OPAQUE),
        (
            id_token,
            {},
            Code.ID_TOKEN,
            Reason.ID_TOKEN_MARK,
            "the token is an ID token: it tells the client who logged in, and lets nobody call an API; the client must "
            "send the access token that came with it",
        ),
        (
            other_api,
            {},
            Code.WRONG_AUDIENCE,
            Reason.AUDIENCE_NOT_OURS,
            f"the token is for another API; {ASK}, or audience= here is not this API's identifier",
        ),
        (
            other_issuer,
            {},
            Code.UNTRUSTED_ISSUER,
            Reason.ISSUER_NOT_TRUSTED,
            "the token names an issuer that is not trusted here; compare its iss with issuer= to the letter, the slash "
            "at the end included",
        ),
        (
            other_type,
            {"dialects": ["access_token_authz"]},
            Code.WRONG_TYPE,
            Reason.TYPE_NOT_ALLOWED,
            "the token's type (typ) is not one that the allowed dialects write; set dialects= to what this API is "
            "issued, or let the client send an access token",
        ),
        (
            other_tenant,
            {"tenants": ["org_1"]},
            Code.WRONG_TENANT,
            Reason.TENANT_NOT_ALLOWED,
            "the token was issued in an organization that is not let in, or in none; add it to tenants=, or let the "
            "user log in to one of those",
        ),
        (
            bound_to_a_key,
            {},
            Code.PROOF_REQUIRED,
            Reason.CONFIRMATION_CLAIM,
            "the token is bound to a key of its client, and the proof of that cannot be verified here; switch "
            "sender-constraining (DPoP, mTLS) off for this API at the authorization server",
        ),
    ],
)  # fmt: skip
def test_a_refused_token_is_explained(
    make: Any, options: dict[str, Any], code: Code, reason: Reason, why: str, issuer: LocalIssuer
) -> None:
    decision = told(issuer, "x", make(issuer), **options)
    assert (decision.allowed, decision.code, decision.reason) == (False, code, reason)
    assert decision.why == why == explain_refusal(code, reason)
    assert decision.detail is None
    check_readable(why)


def test_a_route_that_states_nothing_is_explained(issuer: LocalIssuer) -> None:
    decision = told(issuer, None, issuer.token(), bare)
    assert decision.why == (
        "the route states no policy, so nobody may call it; write @requires, @authenticated or @public below the route "
        "decorator"
    )


@pytest.mark.parametrize("code", Code)
def test_where_there_is_no_more_to_say_the_answer_s_own_words_are_said(code: Code) -> None:
    assert explain_refusal(code, None) == ANSWERS[code].detail
    for reason in set(Reason) - set(EXPLANATIONS):
        assert explain_refusal(code, reason) == ANSWERS[code].detail


@pytest.mark.parametrize("reason", EXPLANATIONS)
def test_every_explanation_is_a_readable_sentence(reason: Reason) -> None:
    explanation = EXPLANATIONS[reason]
    check_readable(explanation.what)
    check_readable(explain_refusal(Code.INVALID_CLAIM, reason))
    assert explanation.what[0].islower()
    assert explanation.change[0].islower()


def test_a_client_is_told_nothing_of_all_this(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Route("/", requires("x")(ran)), issuers=[issuer.trusted()]))
    for make in (management, id_token, opaque):
        answer = app.get("/", headers={"Authorization": f"Bearer {make(issuer)}"})
        assert answer.json()["detail"] == ANSWERS[Code(answer.json()["code"])].detail
        assert "=" not in answer.json()["detail"]
    refused = app.get("/", headers=issuer.headers(permissions=["x"]))
    assert "third" not in refused.text + str(refused.headers)


# --- what every sentence keeps ----------------------------------------------------------------------------------------

JARGON = re.compile(r"\b(RFC|JWT|JWKS|JWS|ASGI|claimset|principal|grant type|PKCE|nonce|sub)\b", re.IGNORECASE)


def check_readable(sentence: str) -> None:
    """Raise unless a sentence is one a newcomer can act on: no jargon, not endless, no full stop within."""
    if JARGON.search(sentence) or len(sentence) > 300 or ". " in sentence or sentence.endswith("."):
        raise AssertionError(sentence)


SECRET = "zq-secret-"
SECRETS = st.sampled_from([SECRET + name for name in ("one", "two", "three")])
TOKENS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {
        "scope": st.lists(SECRETS | st.sampled_from(["x", "openid"]), max_size=3).map(" ".join),
        "permissions": st.none() | st.lists(SECRETS | st.just("x"), max_size=3),
        "subject": SECRETS,
        "client_id": SECRETS,
        "machine": st.booleans(),
        "org": SECRETS,
    },
    optional={"act": st.just({"sub": SECRET}), "org_id": SECRETS, "my_roles": st.lists(SECRETS, max_size=2)},
)
ASKED = st.sampled_from(
    [
        policy.any_of("x"),
        policy.scope("x") & "y",
        policy.permission("x") | policy.role("r"),
        policy.scope("openid"),
        policy.claim("org", equals="acme"),
        policy.claim("org", matches="a.*"),
        policy.claim("my_roles", contains="r"),
        policy.subject("somebody"),
        policy.client("app"),
        policy.tenant(policy.path_param("org")),
        policy.machine & policy.user,
        policy.check(refuses),
        policy.group("g", issuer="https://elsewhere.test/"),
    ]
)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"third_party_clients": set()},
    {"first_party_clients": {"app"}},
    {"dialects": ["access_token"]},
    {"dialects": ["access_token"], "rbac_enforced": False},
    {"dialects": ["access_token_authz"]},
    {"grants": ["y"]},
]
TRUSTS = st.sampled_from([ISSUER.trusted(roles_claims="my_roles", **more) for more in SETTINGS])


@given(ASKED, TOKENS, TRUSTS, st.booleans())
def test_no_sentence_names_a_value_of_the_token(asked: Policy, claims: Any, trusted: Any, several: bool) -> None:
    token = ISSUER.access_token(trusted=trusted, **claims)
    token = replace(token, trust=replace(token.trust, among_several=several))
    decision = conclude(asked, TokenRequest(token, {"org": SECRET}))
    assert SECRET not in decision.why
    check_readable(decision.why)


def test_nobody_can_write_sentences_for_others() -> None:
    with pytest.raises(TypeError):
        EXPLANATIONS[Reason.EXPIRED] = EXPLANATIONS[Reason.REVOKED]  # type: ignore[index]


def test_what_cannot_be_meant_says_what_to_write() -> None:
    """The errors at start are sentences of the same kind."""
    for make in (
        lambda: policy.claim("scope", contains="x"),
        lambda: policy.claim("act", equals="x"),
        lambda: policy.claim("org"),
        lambda: policy.claim("org", matches="(a+)+"),
        lambda: policy.check(None),  # type: ignore[arg-type]
        lambda: policy.subject(""),
        lambda: policy.path_param(""),
        lambda: policy.role("r", issuer=""),
    ):
        with pytest.raises(ConfigurationError) as fault:
            make()
        assert re.search(r"write |takes exactly one of|such as", str(fault.value))
