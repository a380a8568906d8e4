"""What `in`, `permission()` and iteration make of effective grants.

The table itself, row by row and in every combination, is tested from really signed tokens: see `test_delegation`.
"""

from __future__ import annotations

from itertools import product

import pytest

from authz_middleware import policy
from authz_middleware.dialects import ClientClasses, effective_grants
from authz_middleware.token import OIDC_SCOPES, Grant, GrantRule, GrantSet, Source

from .apps import asking

# What the claims of the table's tokens say. "both" stands in either claim.
SCOPES = frozenset({"openid", "s", "both"})
PERMISSIONS = frozenset({"email", "p", "both"})
ABSENT, EMPTY = None, frozenset[str]()

# How the application classes the client of the token.
UNSTATED = ClientClasses()
THIRD = ClientClasses(third_party=frozenset({"app"}))
NOT_THIRD = ClientClasses(third_party=frozenset())
FIRST = ClientClasses(first_party=frozenset({"app"}))
NOT_FIRST = ClientClasses(first_party=frozenset({"other"}))
USER, MACHINE = False, True
TPC = "tpc_app"


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


@pytest.mark.parametrize("is_machine", [USER, MACHINE])
@pytest.mark.parametrize("classes", [UNSTATED, THIRD, NOT_THIRD, FIRST, NOT_FIRST])
def test_a_client_that_nobody_names_is_read_as_a_third_party(is_machine: bool, classes: ClientClasses) -> None:
    """No token of our dialects is without one; what reads tokens of others may meet such."""
    grants = grants_of(is_machine=is_machine, client=None, classes=classes)
    assert (set(grants.effective), grants.rule) == ({"both"}, GrantRule.BOTH_CLIENT_UNNAMED)


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
