"""Which grants count: the table of the design, row by row, from really signed tokens, and what delegation adds.

    | token                                                                                  | effective        |
    |----------------------------------------------------------------------------------------|------------------|
    | (0) its dialect has permissions, it is a user's, the claim is absent                    | none             |
    | (a) its dialect has no permissions, or it is a machine's and the claim is absent        | scopes           |
    | (b) its client is third-party, or it was delegated on (`act` present)                   | in **both**      |
    | (c) everything else (first-party user, machine)                                         | union of both    |

In (b) and (c) an absent claim counts as empty. OIDC scopes, roles and groups are never among them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_middleware import AccessToken, AccessTokenValidator, policy
from authz_middleware.policy import TokenRequest
from authz_middleware.token import OIDC_SCOPES, GrantRule

from .helpers import ISSUER, NOW, accepted, header_of, refused, sign_raw, validator

FOUR = ("access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz")
Clients = Literal["unsaid", "no third-party", "listed third-party", "listed first-party", "not listed first-party"]
CLASSES: dict[Clients, dict[str, Any]] = {
    "unsaid": {},
    "no third-party": {"third_party_clients": set()},
    "listed third-party": {"third_party_clients": {"app"}},
    "listed first-party": {"first_party_clients": {"app"}},
    "not listed first-party": {"first_party_clients": {"another"}},
}
ABSENT = None


@dataclass(frozen=True)
class Case:
    """One token and what the application says about its issuer.

    `dialects` are those the API may be written in; `profile` says which family wrote the token.
    """

    dialects: tuple[str, ...] = ("access_token_authz",)
    profile: Literal["auth0", "auth0 rfc9068", "rfc9068"] = "auth0"
    machine: bool = False
    client: str = "app"
    clients: Clients = "no third-party"
    rbac: bool | None = None
    act: str | None = ABSENT
    scope: str | None = "openid s both"
    permissions: tuple[str, ...] | None = ("email", "p", "both")

    def token(self) -> str:
        return signed(self.profile, self.machine, self.client, self.act, self.scope, self.permissions)

    def read(self) -> AccessToken:
        return accepted(self.token(), validating(self.dialects, self.clients, self.rbac))


@cache
def signed(
    profile: str, machine: bool, client: str, act: str | None, scope: str | None, permissions: tuple[str, ...] | None
) -> str:
    """Return the token; what its dialect does not define stands in it all the same."""
    dialect = {"auth0": "access_token", "auth0 rfc9068": "rfc9068_profile", "rfc9068": "rfc9068"}[profile]
    claims = ISSUER.claims(dialect, client_id=client, machine=machine, clerks=["clerk"], staff=["staff"])
    more = {
        "scope": scope,
        "permissions": None if permissions is None else list(permissions),
        "act": None if act is None else json.loads(act),
    }
    payload = {**claims, **{name: value for name, value in more.items() if value is not None}}
    return sign_raw(header_of(typ="JWT" if profile == "auth0" else "at+jwt"), payload)


@cache
def validating(dialects: tuple[str, ...], clients: Clients, rbac: bool | None) -> AccessTokenValidator:
    claimed = {"permissions_claims": "permissions"} if "rfc9068 with permissions" in dialects else {}
    names = [name.removesuffix(" with permissions") for name in dialects]
    options: dict[str, Any] = {"dialects": names, "rbac_enforced": rbac, **CLASSES[clients], **claimed}
    trusted = ISSUER.trusted(roles_claims="clerks", groups_claims="staff", **options)
    return AccessTokenValidator([trusted], clock=lambda: NOW)


# --- the table, as it reads -------------------------------------------------------------------------------------------

NONE: set[str] = set()
SCOPES, BOTH, UNION = {"s", "both"}, {"both"}, {"s", "p", "both"}
ACT = '{"sub": "service"}'

# fmt: off
TABLE: list[tuple[str, dict[str, Any], set[str], GrantRule]] = [
    # (0) its dialect has permissions, it is a user's, the claim is absent: none
    ("(0) pinned to one with permissions", {"permissions": ABSENT}, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    ("(0) both with permissions are allowed", {"dialects": ("access_token_authz", "rfc9068_profile_authz"),
     "permissions": ABSENT}, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    ("(0) also of a third party", {"permissions": ABSENT, "clients": "listed third-party"}, NONE,
     GrantRule.NONE_PERMISSIONS_ABSENT),
    ("(0) also delegated on", {"permissions": ABSENT, "act": ACT}, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    ("(0) also where RBAC is enforced", {"permissions": ABSENT, "rbac": True}, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    ("(0) a claim that an application named", {"dialects": ("rfc9068 with permissions",), "profile": "rfc9068",
     "permissions": ABSENT}, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    # (a) its dialect has no permissions: scopes
    ("(a) pinned to one without: the claim is ignored", {"dialects": ("access_token",)}, SCOPES,
     GrantRule.SCOPES_RBAC_UNSTATED),
    ("(a) RBAC is enforced", {"dialects": ("access_token",), "rbac": True}, SCOPES, GrantRule.SCOPES),
    ("(a) RBAC is not: a user's scope is no entitlement", {"dialects": ("access_token",), "rbac": False}, NONE,
     GrantRule.NONE_RBAC_OFF),
    ("(a) all four are allowed, the claim is absent", {"dialects": FOUR, "permissions": ABSENT}, SCOPES,
     GrantRule.SCOPES_RBAC_UNSTATED),
    ("(a) whoever the client is", {"dialects": ("access_token",), "clients": "listed third-party", "client": "tpc_app"},
     SCOPES, GrantRule.SCOPES_RBAC_UNSTATED),
    ("(a) delegated on or not", {"dialects": ("access_token",), "act": ACT}, SCOPES, GrantRule.SCOPES_RBAC_UNSTATED),
    ("(a) the standard profile", {"dialects": ("rfc9068",), "profile": "rfc9068"}, SCOPES,
     GrantRule.SCOPES_RBAC_UNSTATED),
    # (a) or it is a machine's and the claim is absent: scopes
    ("(a) a machine without the claim", {"machine": True, "permissions": ABSENT}, SCOPES, GrantRule.SCOPES),
    ("(a) also where RBAC is off: a machine's scope is its entitlement", {"machine": True, "permissions": ABSENT,
     "rbac": False}, SCOPES, GrantRule.SCOPES),
    ("(a) a machine in a dialect without", {"machine": True, "dialects": ("rfc9068_profile",),
     "profile": "auth0 rfc9068", "rbac": False}, SCOPES, GrantRule.SCOPES),
    # (b) its client is third-party: both
    ("(b) listed", {"clients": "listed third-party"}, BOTH, GrantRule.BOTH_THIRD_PARTY),
    ("(b) not among the first-party ones", {"clients": "not listed first-party"}, BOTH, GrantRule.BOTH_THIRD_PARTY),
    ("(b) Auth0's prefix always counts", {"client": "tpc_app"}, BOTH, GrantRule.BOTH_THIRD_PARTY),
    ("(b) unsaid fails closed", {"clients": "unsaid"}, BOTH, GrantRule.BOTH_CLIENT_UNSTATED),
    ("(b) a machine of a third party", {"clients": "listed third-party", "machine": True}, BOTH,
     GrantRule.BOTH_THIRD_PARTY),
    ("(b) an absent scope counts as empty", {"clients": "unsaid", "scope": ABSENT}, NONE,
     GrantRule.BOTH_CLIENT_UNSTATED),
    ("(b) an empty claim", {"clients": "unsaid", "permissions": ()}, NONE, GrantRule.BOTH_CLIENT_UNSTATED),
    # (b) or it was delegated on: both
    ("(b) delegated on", {"act": ACT}, BOTH, GrantRule.BOTH_DELEGATED),
    ("(b) by whomever", {"act": "{}"}, BOTH, GrantRule.BOTH_DELEGATED),
    ("(b) a machine's, delegated on", {"act": ACT, "machine": True, "clients": "unsaid"}, BOTH,
     GrantRule.BOTH_DELEGATED),
    # (c) everything else, a first-party client's user or a machine: union of both
    ("(c) a first-party client's user", {}, UNION, GrantRule.EITHER),
    ("(c) listed", {"clients": "listed first-party"}, UNION, GrantRule.EITHER),
    ("(c) all four are allowed, the claim is there", {"dialects": FOUR}, UNION, GrantRule.EITHER),
    ("(c) a machine, whatever is said of clients", {"machine": True, "clients": "unsaid"}, UNION, GrantRule.EITHER),
    ("(c) an absent scope counts as empty", {"scope": ABSENT}, {"p", "both"}, GrantRule.EITHER),
    ("(c) an empty claim", {"permissions": ()}, SCOPES, GrantRule.EITHER),
    ("(c) a claim that an application named", {"dialects": ("rfc9068 with permissions",), "profile": "rfc9068"}, UNION,
     GrantRule.EITHER),
]
# fmt: on


@pytest.mark.parametrize(
    ("row", "case", "effective", "rule"), TABLE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_table_as_it_reads(row: str, case: dict[str, Any], effective: set[str], rule: GrantRule) -> None:
    grants = Case(**case).read().grants
    assert grants.effective == effective, row
    assert grants.rule is rule, row


# --- every combination, by an oracle from the page alone --------------------------------------------------------------


def oracle(case: Case) -> set[str]:
    """Return what counts, in the order and the words of the page."""
    claim = None if case.permissions is None else set(case.permissions)
    scopes = set((case.scope or "").split())
    # "A dialect matches with or without the claim unless its sibling is allowed too; then the claim decides."
    siblings = [name for name in case.dialects if is_of(name, case.profile)]
    has_permissions = any(has(name) for name in siblings) and (claim is not None or all(has(name) for name in siblings))
    if has_permissions and not case.machine and claim is None:  # (0)
        return set()
    if not has_permissions or claim is None:  # (a)
        # The page: a user's scope is an entitlement only if the API enforces RBAC; stated as False, it grants nothing.
        return set() if case.rbac is False and not case.machine else scopes - OIDC_SCOPES
    third_party = {
        "unsaid": not case.machine,  # "every user token that carries permissions is read by (b)"
        "no third-party": False,
        "listed third-party": case.client == "app",
        "listed first-party": case.client != "app",
        "not listed first-party": True,
    }[case.clients]
    prefix_counts = case.profile != "rfc9068"  # "Auth0's `tpc_` prefix always counts"
    if third_party or (prefix_counts and case.client.startswith("tpc_")) or case.act is not None:  # (b)
        return (scopes & claim) - OIDC_SCOPES
    return (scopes | claim) - OIDC_SCOPES  # (c)


def has(dialect: str) -> bool:
    return dialect.endswith(("_authz", "with permissions"))


def is_of(dialect: str, profile: str) -> bool:
    kinds = {"auth0": "access_token", "auth0 rfc9068": "rfc9068_profile", "rfc9068": "rfc9068"}
    return dialect.removesuffix("_authz").removesuffix(" with permissions") == kinds[profile]


def is_entitled(case: Case, value: str) -> bool:
    """Tell what satisfies `permission`: the claim, a machine's scopes, in (a) a user's where RBAC is enforced."""
    siblings = [name for name in case.dialects if is_of(name, case.profile)]
    reads = any(map(has, siblings)) and (case.permissions is not None or all(map(has, siblings)))
    in_claim = reads and value in (case.permissions or ())
    return in_claim or (value in (case.scope or "").split() and (case.machine or (not reads and bool(case.rbac))))


PINNED: list[tuple[tuple[str, ...], Any]] = [
    (("access_token",), "auth0"),
    (("access_token_authz",), "auth0"),
    (("rfc9068_profile",), "auth0 rfc9068"),
    (("rfc9068_profile_authz",), "auth0 rfc9068"),
    (("rfc9068",), "rfc9068"),
    (("rfc9068 with permissions",), "rfc9068"),
    (FOUR, "auth0"),
    (FOUR, "auth0 rfc9068"),
    (("access_token_authz", "rfc9068_profile"), "auth0"),
    (("access_token_authz", "rfc9068_profile"), "auth0 rfc9068"),
]
CLIENT_CLASSES: tuple[Clients, ...] = tuple(CLASSES)


@pytest.mark.parametrize(("dialects", "profile"), PINNED, ids=str)
@pytest.mark.parametrize("clients", CLIENT_CLASSES)
@pytest.mark.parametrize("rbac", [None, True, False])
def test_every_combination(dialects: tuple[str, ...], profile: Any, clients: Clients, rbac: bool | None) -> None:
    for machine, client, act, scope, permissions in product(
        (False, True),
        ("app", "tpc_app"),
        (ABSENT, ACT, "{}"),
        (ABSENT, "", "openid s both"),
        (ABSENT, (), ("email", "p", "both")),
    ):
        case = Case(dialects, profile, machine, client, clients, rbac, act, scope, permissions)
        token = case.read()
        effective = oracle(case)
        assert token.grants.effective == effective, case
        assert token.is_machine is machine
        assert token.actor == ("service" if act == ACT else None)
        request = TokenRequest(token)
        for value in ("s", "p", "both", "clerk", "staff", "service"):
            in_scope = value in (scope or "").split()
            assert policy.any_of(value).allows(request) is (value in effective), case
            assert policy.scope(value).allows(request) is (value in effective and in_scope), case
            assert policy.permission(value).allows(request) is (value in effective and is_entitled(case, value)), case
        assert policy.scope("openid").allows(request) is bool(scope)
        assert not policy.scope("email").allows(request)
        assert policy.role("clerk").allows(request)
        assert policy.group("staff").allows(request)


# --- delegation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "actor"),
    [
        ({"sub": "outer"}, "outer"),
        ({"sub": "outer", "act": {"sub": "inner", "act": {"sub": "innermost"}}}, "outer"),
        ({"act": {"sub": "inner"}}, None),
        ({}, None),
        ({"client_id": "service"}, None),
    ],
)
def test_the_actor_is_the_outermost(act: object, actor: str | None) -> None:
    token = accepted(ISSUER.token(act=act))
    assert token.actor == actor
    assert token.subject == "auth0|jo"
    assert token.identity == (ISSUER.issuer, "auth0|jo")


@pytest.mark.parametrize("act", [None, "service", 1, True, [], [{"sub": "x"}], {"sub": 1}, {"sub": ""}, {"sub": None}])
def test_an_actor_of_another_form_refuses_the_token(act: object) -> None:
    claims = {**ISSUER.claims(), "act": act}
    assert refused(ISSUER.sign(claims)) == ("invalid_claim", "claim_wrong_form")


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
TEMPTING = st.fixed_dictionaries(
    {},
    optional={
        "scope": st.just("s p both admin") | JSON,
        "permissions": st.just(["s", "p", "both", "admin"]) | JSON,
        "clerks": st.just(["admin"]) | JSON,
        "staff": st.just(["admin"]) | JSON,
        "org_id": st.just("org_2") | JSON,
        "gty": st.just("client-credentials") | JSON,
        "azp": st.just("first") | JSON,
        "act": st.fixed_dictionaries({"sub": st.just("inner"), "permissions": st.just(["admin"])}) | JSON,
    },
)
OPTIONS: dict[str, Any] = {"roles_claims": "clerks", "groups_claims": "staff", "third_party_clients": set()}
DELEGATED = validator(**OPTIONS)


@given(TEMPTING)
def test_nothing_inside_act_is_ever_a_grant_or_says_who_calls(act: dict[str, Any]) -> None:
    claims: dict[str, Any] = {"scope": "openid s both", "permissions": ["p", "both"], "clerks": ["clerk"]}
    token = accepted(ISSUER.token(act={**act, "sub": "service"}, **claims), DELEGATED)
    plain = accepted(ISSUER.token(act={"sub": "service"}, **claims), DELEGATED)
    assert token.grants == plain.grants
    assert token.grants.effective == {"both"}
    assert (token.tenant, token.client_id, token.is_machine, token.actor) == (None, "first-party-app", False, "service")
    for asked in (policy.any_of("admin"), policy.role("admin"), policy.group("admin"), policy.scope("admin")):
        assert not asked.allows(TokenRequest(token))


@given(st.sets(st.sampled_from(["s", "p", "both", "x"])), st.sets(st.sampled_from(["s", "p", "both", "x"])))
def test_delegating_on_never_adds_a_grant(scopes: set[str], permissions: set[str]) -> None:
    claims: dict[str, Any] = {"scope": " ".join(sorted(scopes)), "permissions": sorted(permissions)}
    for machine in (False, True):
        plain = accepted(ISSUER.token(machine=machine, **claims), DELEGATED).grants
        passed_on = accepted(ISSUER.token(machine=machine, act={"sub": "service"}, **claims), DELEGATED).grants
        assert passed_on.effective <= plain.effective
        assert passed_on.effective == scopes & permissions
