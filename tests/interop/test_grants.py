"""Every token the server issues is read as what it is, opens the routes its grants open, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest

from authz_middleware.token import GrantRule

from .answers import forbidden, seen
from .api import PINNED, REQUIRED, TOKEN_ROUTE
from .authorization_server import RESOURCES, AuthorizationServer, Caller
from .conftest import IssueToken

pytestmark = pytest.mark.interop

MACHINE = Caller("machine")
UNGRANTED_MACHINE = Caller("batch")  # its tokens carry no permissions
USER = Caller("app", "auth0|jo")
USER_OF_PARTNER = Caller("partner", "auth0|jo")
USER_WITHOUT_PERMISSIONS = Caller("app", "auth0|new")  # the claim is there and empty
USER_WITHOUT_CLAIM = Caller("app", "auth0|ann")

SCOPES = {"/orders", "/orders/by-scope", "/orders/by-permission"}
PERMISSIONS = {"/orders", "/orders/by-permission", "/shipments"}


@dataclass(frozen=True)
class Case:
    """One caller's request for a token, and what the token is worth. Several values are joined by spaces."""

    name: str
    caller: Caller
    asks_for: str
    rule: GrantRule
    opens: frozenset[str] = frozenset()
    scopes: str = ""
    permissions: str = ""
    effective: str = ""
    dialect: str = ""
    algorithm: str = ""
    reads_as: str = ""

    @property
    def resource(self) -> str:
        return f"{RESOURCES}{self.dialect}/{self.algorithm}"

    def __str__(self) -> str:
        return f"{self.dialect}-{self.algorithm}-{self.name}"


def _case(name: str, caller: Caller, asks_for: str, rule: GrantRule, opens: set[str], *values: str) -> Case:
    return Case(name, caller, asks_for, rule, frozenset(opens), *values)


READ, SHIP = "read:orders", "ship:orders"
WITHOUT_PERMISSIONS = (
    _case("machine", MACHINE, READ, GrantRule.SCOPES, SCOPES, READ, "", READ),
    _case("user", USER, f"openid {READ}", GrantRule.SCOPES, SCOPES, READ, "", READ),
    _case("user-identity-only", USER, "openid profile", GrantRule.SCOPES, set()),
)
WITH_PERMISSIONS = (
    _case("machine", MACHINE, READ, GrantRule.EITHER, SCOPES, READ, READ, READ),
    _case("machine-scope-only", UNGRANTED_MACHINE, READ, GrantRule.SCOPES, SCOPES, READ, "", READ),
    _case("user", USER, "openid", GrantRule.EITHER, PERMISSIONS, "", f"{READ} {SHIP}", f"{READ} {SHIP}"),
    _case(
        "user-both", USER, f"openid {READ}", GrantRule.EITHER, SCOPES | PERMISSIONS, READ, f"{READ} {SHIP}",
        f"{READ} {SHIP}",
    ),
    _case(
        "third-party", USER_OF_PARTNER, f"openid {READ}", GrantRule.BOTH_THIRD_PARTY, SCOPES, READ, f"{READ} {SHIP}",
        READ,
    ),
    _case("third-party-unasked", USER_OF_PARTNER, "openid", GrantRule.BOTH_THIRD_PARTY, set(), "", f"{READ} {SHIP}"),
    _case(
        "user-empty-claim", USER_WITHOUT_PERMISSIONS, f"openid {READ}", GrantRule.EITHER,
        {"/orders", "/orders/by-scope"}, READ, "", READ,
    ),
    _case("user-absent-claim", USER_WITHOUT_CLAIM, f"openid {READ}", GrantRule.NONE_PERMISSIONS_ABSENT, set(), READ),
)  # fmt: skip


def _pinned_cases() -> Iterator[Case]:
    for dialect, algorithm in PINNED:
        for case in WITH_PERMISSIONS if dialect.endswith("_authz") else WITHOUT_PERMISSIONS:
            yield replace(case, dialect=dialect, algorithm=algorithm, reads_as=dialect)


def _unpinned_cases() -> Iterator[Case]:
    """Derive from the pinned cases: where the sibling is allowed too, a token without permissions is the sibling's."""
    for case in _pinned_cases():
        sibling = case.dialect.removesuffix("_authz")
        if case.dialect == "rfc9068":
            continue
        if case.caller == UNGRANTED_MACHINE:
            yield replace(case, reads_as=sibling)
        elif case.caller == USER_WITHOUT_CLAIM:
            yield replace(case, reads_as=sibling, rule=GrantRule.SCOPES, opens=frozenset(SCOPES), effective=READ)
        else:
            yield case


def _expected_token(case: Case, issuer: str) -> dict[str, object]:
    """Return what the token's route shows for a case."""
    is_machine = case.caller.user is None
    is_auth0 = case.dialect != "rfc9068"
    asked_of_auth0 = is_auth0 and not is_machine  # only there scope names the OIDC scopes, and aud the userinfo
    scopes = sorted({*case.scopes.split(), *(("openid", "profile") if asked_of_auth0 else ())})
    return {
        "issuer": issuer,
        "subject": case.caller.user or case.caller.client_id + ("@clients" if is_auth0 else ""),
        "client_id": case.caller.client_id,
        "audience": [case.resource, *([f"{issuer}/userinfo"] if asked_of_auth0 else [])],
        "dialect": case.reads_as,
        "is_machine": is_machine,
        "has_id": not case.dialect.startswith("access_token"),
        "rule": case.rule.value,
        "grants": [[value, "scope"] for value in scopes]
        + [[value, "permission"] for value in case.permissions.split()],
        "effective": case.effective.split(),
    }


def _bearer(issue_token: IssueToken, case: Case) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue_token(case.caller, case.resource, case.asks_for)}"}


def _check_answers(api: httpx.Client, case: Case, headers: dict[str, str]) -> None:
    for route, required in REQUIRED.items():
        expected = (200, None, {"ok": True}) if route in case.opens else forbidden(required)
        assert seen(api.get(route, headers=headers)) == expected, route


@pytest.mark.parametrize("case", list(_pinned_cases()), ids=str)
def test_pinned_dialects(
    case: Case, pinned: httpx.Client, authorization_server: AuthorizationServer, issue_token: IssueToken
) -> None:
    headers = _bearer(issue_token, case)
    assert pinned.get(TOKEN_ROUTE, headers=headers).json() == _expected_token(case, authorization_server.issuer)
    _check_answers(pinned, case, headers)


@pytest.mark.parametrize("case", list(_unpinned_cases()), ids=str)
def test_all_dialects_of_auth0_at_once(
    case: Case, unpinned: httpx.Client, authorization_server: AuthorizationServer, issue_token: IssueToken
) -> None:
    headers = _bearer(issue_token, case)
    assert unpinned.get(TOKEN_ROUTE, headers=headers).json() == _expected_token(case, authorization_server.issuer)
    _check_answers(unpinned, case, headers)


@pytest.mark.parametrize("route", REQUIRED)
def test_every_route_is_open_to_one_caller_and_closed_to_another_except_the_one_nobody_may_use(route: str) -> None:
    cases = list(_pinned_cases())
    assert any(route not in case.opens for case in cases)
    assert any(route in case.opens for case in cases) == (route != "/refunds")
