"""The table of effective grants, row by row, and what `in` and `permission()` make of it."""

from __future__ import annotations

from itertools import product

import pytest

from authz_middleware import policy
from authz_middleware.dialects import ClientClasses, effective_grants
from authz_middleware.token import OIDC_SCOPES, Grant, GrantRule, GrantSet, Source

from .apps import asking
from .helpers import ISSUER, accepted, validator

# What the claims of the table's tokens say. "both" stands in either claim.
SCOPES = frozenset({"openid", "s", "both"})
PERMISSIONS = frozenset({"email", "p", "both"})
ABSENT, EMPTY = None, frozenset[str]()

NONE = EMPTY
IN_SCOPE = frozenset({"s", "both"})
IN_BOTH = frozenset({"both"})
IN_EITHER = frozenset({"s", "p", "both"})

# How the application classes the client of the token.
UNSTATED = ClientClasses()
THIRD = ClientClasses(third_party=frozenset({"app"}))
NOT_THIRD = ClientClasses(third_party=frozenset())
FIRST = ClientClasses(first_party=frozenset({"app"}))
NOT_FIRST = ClientClasses(first_party=frozenset({"other"}))
USER, MACHINE = False, True
TPC = "tpc_app"
Row = tuple[bool, frozenset[str] | None, bool, str | None, ClientClasses, bool, bool | None, frozenset[str], GrantRule]

# fmt: off
TABLE: list[Row] = [
    # has permissions, claim, whose, client, classes, act, rbac → effective, rule
    # (0) its dialect has permissions, it is a user's, the claim is absent: none
    (True, ABSENT, USER, "app", UNSTATED, False, None, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    (True, ABSENT, USER, "app", NOT_THIRD, False, None, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    (True, ABSENT, USER, "app", FIRST, False, True, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    (True, ABSENT, USER, "app", THIRD, False, False, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    (True, ABSENT, USER, TPC, NOT_THIRD, True, None, NONE, GrantRule.NONE_PERMISSIONS_ABSENT),
    # (a) its dialect has no permissions: scopes, as far as they are an entitlement
    (False, ABSENT, USER, "app", UNSTATED, False, None, IN_SCOPE, GrantRule.SCOPES_RBAC_UNSTATED),
    (False, ABSENT, USER, "app", UNSTATED, False, True, IN_SCOPE, GrantRule.SCOPES),
    (False, ABSENT, USER, "app", UNSTATED, False, False, NONE, GrantRule.NONE_RBAC_OFF),
    (False, ABSENT, USER, "app", THIRD, False, True, IN_SCOPE, GrantRule.SCOPES),
    (False, ABSENT, USER, TPC, NOT_THIRD, False, None, IN_SCOPE, GrantRule.SCOPES_RBAC_UNSTATED),
    (False, ABSENT, USER, "app", NOT_THIRD, True, True, IN_SCOPE, GrantRule.SCOPES),
    (False, ABSENT, MACHINE, "app", UNSTATED, False, None, IN_SCOPE, GrantRule.SCOPES),
    (False, ABSENT, MACHINE, "app", UNSTATED, False, True, IN_SCOPE, GrantRule.SCOPES),
    (False, ABSENT, MACHINE, "app", UNSTATED, False, False, IN_SCOPE, GrantRule.SCOPES),
    # (a) it is a machine's and the claim is absent: scopes
    (True, ABSENT, MACHINE, "app", UNSTATED, False, None, IN_SCOPE, GrantRule.SCOPES),
    (True, ABSENT, MACHINE, "app", UNSTATED, False, False, IN_SCOPE, GrantRule.SCOPES),
    (True, ABSENT, MACHINE, "app", THIRD, True, None, IN_SCOPE, GrantRule.SCOPES),
    # (b) its client is third-party: values in both claims
    (True, PERMISSIONS, USER, "app", THIRD, False, None, IN_BOTH, GrantRule.BOTH_THIRD_PARTY),
    (True, PERMISSIONS, USER, "app", NOT_FIRST, False, None, IN_BOTH, GrantRule.BOTH_THIRD_PARTY),
    (True, PERMISSIONS, USER, TPC, UNSTATED, False, None, IN_BOTH, GrantRule.BOTH_THIRD_PARTY),
    (True, PERMISSIONS, USER, TPC, NOT_THIRD, False, None, IN_BOTH, GrantRule.BOTH_THIRD_PARTY),
    (True, PERMISSIONS, USER, TPC, ClientClasses(first_party=frozenset({TPC})), False, None, IN_BOTH,
     GrantRule.BOTH_THIRD_PARTY),
    (True, PERMISSIONS, MACHINE, "app", THIRD, False, None, IN_BOTH, GrantRule.BOTH_THIRD_PARTY),
    (True, PERMISSIONS, MACHINE, TPC, UNSTATED, False, None, IN_BOTH, GrantRule.BOTH_THIRD_PARTY),
    (True, EMPTY, USER, "app", THIRD, False, None, NONE, GrantRule.BOTH_THIRD_PARTY),
    # (b) it is not said who is third-party, or the token names no client
    (True, PERMISSIONS, USER, "app", UNSTATED, False, None, IN_BOTH, GrantRule.BOTH_CLIENT_UNSTATED),
    (True, PERMISSIONS, USER, "app", UNSTATED, False, True, IN_BOTH, GrantRule.BOTH_CLIENT_UNSTATED),
    (True, EMPTY, USER, "app", UNSTATED, False, None, NONE, GrantRule.BOTH_CLIENT_UNSTATED),
    (True, PERMISSIONS, USER, None, NOT_THIRD, False, None, IN_BOTH, GrantRule.BOTH_CLIENT_UNNAMED),
    (True, PERMISSIONS, MACHINE, None, UNSTATED, False, None, IN_BOTH, GrantRule.BOTH_CLIENT_UNNAMED),
    # (b) it was delegated on
    (True, PERMISSIONS, USER, "app", NOT_THIRD, True, None, IN_BOTH, GrantRule.BOTH_DELEGATED),
    (True, PERMISSIONS, USER, "app", FIRST, True, True, IN_BOTH, GrantRule.BOTH_DELEGATED),
    (True, PERMISSIONS, MACHINE, "app", UNSTATED, True, None, IN_BOTH, GrantRule.BOTH_DELEGATED),
    (True, EMPTY, USER, "app", FIRST, True, None, NONE, GrantRule.BOTH_DELEGATED),
    # (c) everything else, a first-party client's user or a machine: union of both
    (True, PERMISSIONS, USER, "app", NOT_THIRD, False, None, IN_EITHER, GrantRule.EITHER),
    (True, PERMISSIONS, USER, "app", FIRST, False, None, IN_EITHER, GrantRule.EITHER),
    (True, PERMISSIONS, USER, "app", FIRST, False, False, IN_EITHER, GrantRule.EITHER),
    (True, PERMISSIONS, MACHINE, "app", UNSTATED, False, None, IN_EITHER, GrantRule.EITHER),
    (True, PERMISSIONS, MACHINE, "app", NOT_THIRD, False, False, IN_EITHER, GrantRule.EITHER),
    (True, EMPTY, USER, "app", NOT_THIRD, False, None, IN_SCOPE, GrantRule.EITHER),
    (True, EMPTY, MACHINE, "app", UNSTATED, False, None, IN_SCOPE, GrantRule.EITHER),
]
# fmt: on


def grants_of(
    has_permissions: bool = True,
    claim: frozenset[str] | None = PERMISSIONS,
    is_machine: bool = USER,
    client: str | None = "app",
    classes: ClientClasses = NOT_THIRD,
    act: bool = False,
    rbac: bool | None = None,
    scopes: frozenset[str] = SCOPES,
) -> GrantSet:
    """Return the grants of one token of the table."""
    return effective_grants(
        has_permissions=has_permissions,
        scopes=scopes,
        permissions=claim,
        roles=frozenset({"clerk"}),
        groups=frozenset({"staff"}),
        is_machine=is_machine,
        is_delegated=act,
        restriction=classes.restriction(client, ("tpc_",), is_machine=is_machine),
        rbac_enforced=rbac,
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[8]}-{TABLE.index(row)}")
def test_the_table(row: Row) -> None:
    *case, effective, rule = row
    grants = grants_of(*case)  # type: ignore[arg-type]  # a tuple of the argument types
    assert grants.effective == effective
    assert grants.rule is rule
    assert (grants.scopes, grants.permissions) == (SCOPES, row[1] or EMPTY)


EVERY_CASE = [
    *product(
        (True, False),
        (ABSENT, EMPTY, PERMISSIONS),
        (USER, MACHINE),
        ("app", TPC, None),
        (UNSTATED, THIRD, NOT_THIRD, FIRST, NOT_FIRST),
        (False, True),
        (None, True, False),
    )
]


def test_the_table_in_its_own_words_for_every_combination() -> None:
    """The rule of the document, written a second time and as plainly as it reads there."""
    for has_permissions, claim, is_machine, client, classes, act, rbac in EVERY_CASE:
        if not has_permissions and claim is not ABSENT:
            continue  # such a dialect does not read the claim
        listed = classes.third_party is not None and client in classes.third_party
        unlisted = classes.first_party is not None and client not in classes.first_party
        unsaid = classes is UNSTATED and not is_machine
        third_party = client in {TPC, None} or listed or unlisted or unsaid
        if has_permissions and not is_machine and claim is ABSENT:
            expected = NONE
        elif not has_permissions or claim is ABSENT:
            expected = NONE if rbac is False and not is_machine else IN_SCOPE
        elif third_party or act:
            expected = SCOPES & claim
        else:
            expected = (SCOPES | claim) - OIDC_SCOPES
        assert grants_of(has_permissions, claim, is_machine, client, classes, act, rbac).effective == expected


def test_no_combination_makes_an_oidc_scope_role_or_group_effective() -> None:
    scopes, claims = OIDC_SCOPES | {"clerk2"}, OIDC_SCOPES | {"p"}
    for has_permissions, claim, is_machine, client, classes, act, rbac in EVERY_CASE:
        held = None if claim is None else claims
        grants = grants_of(has_permissions, held, is_machine, client, classes, act, rbac, scopes)
        assert not grants.effective & (OIDC_SCOPES | {"clerk", "staff"})
        assert not any(value in grants for value in (*OIDC_SCOPES, "clerk", "staff"))


# --- what counts as a permission ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has_permissions", "claim", "is_machine", "classes", "rbac", "permitted"),
    [
        # a user of a first-party client: what stands in permissions; a scope is no entitlement
        (True, PERMISSIONS, USER, NOT_THIRD, None, {"p", "both"}),
        (True, PERMISSIONS, USER, NOT_THIRD, True, {"p", "both"}),
        (True, EMPTY, USER, NOT_THIRD, None, set()),
        (True, ABSENT, USER, NOT_THIRD, None, set()),
        # a third party's user: only what was delegated as well
        (True, PERMISSIONS, USER, THIRD, None, {"both"}),
        # a machine: its scopes are its client grant
        (True, PERMISSIONS, MACHINE, NOT_THIRD, None, {"s", "p", "both"}),
        (True, ABSENT, MACHINE, NOT_THIRD, None, {"s", "both"}),
        (True, EMPTY, MACHINE, NOT_THIRD, None, {"s", "both"}),
        (False, ABSENT, MACHINE, NOT_THIRD, None, {"s", "both"}),
        (False, ABSENT, MACHINE, NOT_THIRD, False, {"s", "both"}),
        (True, PERMISSIONS, MACHINE, THIRD, None, {"both"}),
        # a dialect without permissions: a user's scope is an entitlement under RBAC alone
        (False, ABSENT, USER, NOT_THIRD, None, set()),
        (False, ABSENT, USER, NOT_THIRD, False, set()),
        (False, ABSENT, USER, NOT_THIRD, True, {"s", "both"}),
    ],
)
def test_what_satisfies_permission(
    has_permissions: bool,
    claim: frozenset[str] | None,
    is_machine: bool,
    classes: ClientClasses,
    rbac: bool | None,
    permitted: set[str],
) -> None:
    grants = grants_of(has_permissions, claim, is_machine, classes=classes, rbac=rbac)
    assert {value for value in ("s", "p", "both") if policy.permission(value).allows(asking(grants))} == permitted


def test_no_term_admits_more_than_the_neutral_one() -> None:
    for has_permissions, claim, is_machine, client, classes, act, rbac in EVERY_CASE:
        grants = grants_of(has_permissions, claim, is_machine, client, classes, act, rbac)
        for value in ("s", "p", "both", "clerk", "staff"):
            neutral = policy.any_of(value).allows(asking(grants))
            assert neutral == (value in grants)
            assert neutral or not policy.scope(value).allows(asking(grants))
            assert neutral or not policy.permission(value).allows(asking(grants))


# --- `in` and iteration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["S", "s ", "", "*", "bot", "both\0", "clerk", "staff", "openid", None, 1, b"s", ("s",)]
)
def test_in_compares_exactly_and_only_strings(value: object) -> None:
    assert value not in grants_of()


def test_in_asks_the_effective_grants_and_not_the_claims() -> None:
    grants = grants_of(classes=THIRD)
    assert "both" in grants
    assert "p" in grants.permissions
    assert "p" not in grants
    assert "s" in grants.scopes
    assert "s" not in grants


def test_unicode_is_never_normalized() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    grants = grants_of(scopes=frozenset({composed}))
    assert composed in grants
    assert decomposed not in grants


def test_every_grant_keeps_its_source() -> None:
    assert list(grants_of()) == [
        Grant("both", Source.SCOPE),
        Grant("openid", Source.SCOPE),
        Grant("s", Source.SCOPE),
        Grant("both", Source.PERMISSION),
        Grant("email", Source.PERMISSION),
        Grant("p", Source.PERMISSION),
        Grant("clerk", Source.ROLE),
        Grant("staff", Source.GROUP),
    ]


# --- the same through a token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "claims", "effective", "rule"),
    [
        ({}, {}, {"both"}, GrantRule.BOTH_CLIENT_UNSTATED),
        ({"third_party_clients": []}, {}, {"s", "p", "both"}, GrantRule.EITHER),
        ({"third_party_clients": ["first-party-app"]}, {}, {"both"}, GrantRule.BOTH_THIRD_PARTY),
        ({"first_party_clients": ["first-party-app"]}, {}, {"s", "p", "both"}, GrantRule.EITHER),
        ({"first_party_clients": []}, {}, {"both"}, GrantRule.BOTH_THIRD_PARTY),
        ({"first_party_clients": ["tpc_1"]}, {"client_id": "tpc_1"}, {"both"}, GrantRule.BOTH_THIRD_PARTY),
        ({"third_party_clients": []}, {"act": {"sub": "agent"}}, {"both"}, GrantRule.BOTH_DELEGATED),
        ({"third_party_clients": []}, {"act": {}}, {"both"}, GrantRule.BOTH_DELEGATED),
        ({}, {"machine": True}, {"s", "p", "both"}, GrantRule.EITHER),
        ({}, {"machine": True, "permissions": None}, {"s", "both"}, GrantRule.SCOPES),
        ({"dialects": ["access_token"]}, {}, {"s", "both"}, GrantRule.SCOPES_RBAC_UNSTATED),
        ({"dialects": ["access_token"], "rbac_enforced": True}, {}, {"s", "both"}, GrantRule.SCOPES),
        ({"dialects": ["access_token"], "rbac_enforced": False}, {}, set(), GrantRule.NONE_RBAC_OFF),
        (
            {"dialects": ["access_token_authz"], "third_party_clients": []},
            {"permissions": None},
            set(),
            GrantRule.NONE_PERMISSIONS_ABSENT,
        ),
    ],
)
def test_a_token_is_read_by_its_row(
    options: dict[str, object], claims: dict[str, object], effective: set[str], rule: GrantRule
) -> None:
    usual: dict[str, object] = {"scope": "openid s both", "permissions": ["email", "p", "both"]}
    arguments: dict[str, object] = {**usual, **claims}
    grants = accepted(ISSUER.token(**arguments), validator(**options)).grants  # type: ignore[arg-type]  # names only
    assert grants.effective == effective
    assert grants.rule is rule
