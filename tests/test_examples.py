"""Every example, served with tokens of the issuers it names; only the network between the two is faked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from authz_middleware.errors import ANSWERS, Code
from authz_middleware.testing import LocalIssuer
from examples import fastapi_app, multi_issuer, starlette_app

from .offline import Network, offline

ORDERS, SHOP, PARTNERS = (f"https://{name}.acme.example/" for name in ("orders", "shop", "partners"))
TENANT = LocalIssuer("https://acme.eu.auth0.com/", ORDERS)
CARRIER = LocalIssuer("https://login.carrier.example", SHOP, algorithm="ES256")
DIALECTS = ("access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz")


def challenge(code: Code | None = None, scope: str = "") -> str:
    """Return the challenge of an answer of the closed table."""
    parameters = 'Bearer realm="api"'
    if code is not None:
        answer = ANSWERS[code]
        parameters += f', error="{answer.error}", error_description="{answer.detail}"'
    return f'{parameters}, scope="{scope}"' if scope else parameters


def user(dialect: str, *grants: str, **claims: Any) -> dict[str, str]:
    """Return headers with a user's token, the grants where the dialect writes them."""
    has_permissions = dialect.endswith("_authz")
    written = {"permissions": grants} if has_permissions else {"scope": " ".join(("openid", *grants))}
    return TENANT.headers(dialect, **{"scope": "openid", **written, **claims})


def assert_refused(response: Any, code: Code, expected_challenge: str | None) -> None:
    assert response.status_code == ANSWERS[code].status
    assert response.json()["code"] == code
    assert response.headers.get("www-authenticate") == expected_challenge


@pytest.fixture
def network() -> Network:
    return Network(TENANT, CARRIER)


# --- starlette_app.py and fastapi_app.py: the same API ----------------------------------------------------------------


@pytest.fixture(params=[starlette_app, fastapi_app], ids=["starlette", "fastapi"])
def client(request: pytest.FixtureRequest, network: Network) -> Iterator[TestClient]:
    with TestClient(offline(request.param.app, network)) as client:
        yield client


def test_an_example_starts_without_the_network_and_fetches_keys_once(client: TestClient, network: Network) -> None:
    assert client.get("/healthz").status_code == 200
    assert network.asked == []
    for dialect in DIALECTS:
        assert client.get("/orders", headers=user(dialect, "read:orders")).status_code == 200
    assert network.asked == [
        "https://acme.eu.auth0.com/.well-known/openid-configuration",
        "https://acme.eu.auth0.com/.well-known/jwks.json",
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_token_without_the_grant_is_refused(client: TestClient, dialect: str) -> None:
    response = client.get("/orders", headers=user(dialect, "create:orders"))
    assert_refused(response, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "read:orders"))
    assert response.json()["required"] == [["read:orders"]]


def test_a_caller_without_a_token_is_refused(client: TestClient) -> None:
    assert_refused(client.get("/orders"), Code.MISSING_TOKEN, challenge(scope="read:orders"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"aud": "https://other.example/"}, Code.WRONG_AUDIENCE),
        ({"expires_in": -3600}, Code.EXPIRED),
        ({"iss": "https://other.eu.auth0.com/"}, Code.UNTRUSTED_ISSUER),
        ({"nonce": "n"}, Code.ID_TOKEN),
    ],
)
@pytest.mark.parametrize(("path", "scope"), [("/orders", "read:orders"), ("/healthz", "")])
def test_a_bad_token_is_refused_even_where_none_is_needed(
    client: TestClient, path: str, scope: str, change: dict[str, Any], code: Code
) -> None:
    response = client.get(path, headers=user("access_token_authz", "read:orders", **change))
    assert_refused(response, code, challenge(code, scope))


def test_any_valid_token_may_ask_who_it_is(client: TestClient) -> None:
    assert client.get("/me", headers=user("rfc9068_profile")).json()["subject"] == "auth0|jo"
    assert_refused(client.get("/me"), Code.MISSING_TOKEN, challenge())


def test_a_websocket_opens_for_a_token_with_the_grant(client: TestClient) -> None:
    with client.websocket_connect("/orders/events", headers=user("access_token", "read:orders")) as socket:
        assert socket.receive_json()["state"] == "shipped"


@pytest.mark.parametrize(
    ("headers", "code", "expected_challenge"),
    [
        (user("access_token"), Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "read:orders")),
        (user("access_token", "read:orders", expires_in=-3600), Code.EXPIRED, challenge(Code.EXPIRED, "read:orders")),
        ({}, Code.MISSING_TOKEN, challenge(scope="read:orders")),
    ],
    ids=["no grant", "expired", "no token"],
)
def test_a_websocket_is_refused_before_it_opens(
    client: TestClient, headers: dict[str, str], code: Code, expected_challenge: str
) -> None:
    with pytest.raises(WebSocketDenialResponse) as denial, client.websocket_connect("/orders/events", headers=headers):
        raise AssertionError("the WebSocket was accepted")
    assert_refused(denial.value, code, expected_challenge)


# --- what only one of the two shows -----------------------------------------------------------------------------------


def test_starlette_methods_of_one_class_need_different_grants(network: Network) -> None:
    with TestClient(offline(starlette_app.app, network)) as client:
        headers = user("access_token_authz", "create:orders")
        assert client.post("/orders", headers=headers).status_code == 201
        refused = client.post("/orders", headers=user("access_token_authz", "read:orders"))
        assert_refused(refused, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "create:orders"))


def test_a_mounted_starlette_application_is_guarded_as_a_whole(network: Network) -> None:
    scope, permissions = "openid read:orders", ["read:orders", "read:reports"]
    with TestClient(offline(starlette_app.app, network)) as client:
        headers = user("access_token_authz", scope=scope, permissions=permissions)
        assert client.get("/reports/daily", headers=headers).json() == {"orders": 2}
        refused = client.get("/reports/daily", headers=user("access_token_authz", *permissions))
        assert_refused(refused, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "read:orders read:reports"))
        assert refused.json()["required"] == [["read:orders", "read:reports"]]


@pytest.fixture
def fastapi_client(network: Network) -> Iterator[TestClient]:
    with TestClient(offline(fastapi_app.app, network)) as client:
        yield client


def test_fastapi_shows_its_documentation_to_anybody(fastapi_client: TestClient) -> None:
    assert fastapi_client.get("/openapi.json").status_code == 200


def test_fastapi_handlers_see_the_token(fastapi_client: TestClient) -> None:
    answer = fastapi_client.get("/me", headers=user("access_token_authz", "read:orders")).json()
    assert answer == {"subject": "auth0|jo", "grants": {"openid": "scope", "read:orders": "permission"}}


def test_a_handler_may_ask_for_more(fastapi_client: TestClient) -> None:
    own, others = "/orders/1", "/orders/2"
    some, more = (user("access_token_authz", "read:orders", *extra) for extra in ([], ["read:all-orders"]))
    assert fastapi_client.get(own, headers=some).json() == {"number": 1, "owner": "auth0|jo"}
    assert fastapi_client.get(others, headers=more).status_code == 200
    refused = fastapi_client.get(others, headers=some)
    assert_refused(refused, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "read:all-orders"))


@pytest.mark.parametrize("path", ["/orders/99", "/orders/not-a-number"])
def test_an_unauthorized_caller_learns_nothing_from_a_handler(fastapi_client: TestClient, path: str) -> None:
    allowed = fastapi_client.get(path, headers=user("access_token", "read:orders"))
    assert allowed.status_code in {404, 422}
    refused = fastapi_client.get(path, headers=user("access_token"))
    assert_refused(refused, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "read:orders"))


def test_a_third_party_client_needs_the_value_in_both_claims(fastapi_client: TestClient) -> None:
    claims: dict[str, Any] = {"client_id": "partner-app", "permissions": ["delete:orders"]}
    granted = TENANT.headers("access_token_authz", scope="delete:orders", **claims)
    assert fastapi_client.delete("/orders/1", headers=granted).status_code == 204
    refused = fastapi_client.delete("/orders/1", headers=TENANT.headers("access_token_authz", scope="openid", **claims))
    assert_refused(refused, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "delete:orders"))


# --- multi_issuer.py --------------------------------------------------------------------------------------------------


@pytest.fixture
def multi(network: Network) -> Iterator[TestClient]:
    with TestClient(offline(multi_issuer.app, network)) as client:
        yield client


def shop(*permissions: str, **claims: Any) -> dict[str, str]:
    return TENANT.headers("access_token_authz", **{"aud": SHOP, "permissions": permissions, **claims})


def partner(*permissions: str, scope: str, **claims: Any) -> dict[str, str]:
    return TENANT.headers("rfc9068_profile_authz", aud=PARTNERS, permissions=permissions, scope=scope, **claims)


def carrier(*scopes: str, machine: bool = True, **claims: Any) -> dict[str, str]:
    return CARRIER.headers("rfc9068", scope=" ".join(scopes), machine=machine, **claims)


@pytest.mark.parametrize(
    ("headers", "issuer", "dialect"),
    [
        (shop(), TENANT.issuer, "access_token_authz"),
        (partner(scope="openid"), TENANT.issuer, "rfc9068_profile_authz"),
        (carrier(), CARRIER.issuer, "rfc9068"),
    ],
    ids=["shop", "partner", "carrier"],
)
def test_each_issuer_and_audience_is_told_apart(
    multi: TestClient, headers: dict[str, str], issuer: str, dialect: str
) -> None:
    answer = multi.get("/me", headers=headers).json()
    assert (answer["issuer"], answer["dialect"]) == (issuer, dialect)


@pytest.mark.parametrize(
    "headers",
    [
        shop("read:orders"),
        partner("read:orders", scope="read:orders"),
        partner("read:orders", scope="openid", client_id="acme-back-office"),
        carrier("read:orders"),
    ],
    ids=["shop", "partner", "back office", "carrier"],
)
def test_one_route_takes_the_tokens_of_all(multi: TestClient, headers: dict[str, str]) -> None:
    assert multi.get("/orders", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        shop(),
        partner("read:orders", scope="openid"),
        partner(scope="read:orders"),
        carrier("read:shipments"),
        carrier("read:orders", machine=False),
    ],
    ids=["shop", "partner without scope", "partner without permission", "carrier", "carrier's user"],
)
def test_settings_hold_per_issuer_and_audience(multi: TestClient, headers: dict[str, str]) -> None:
    refused = multi.get("/orders", headers=headers)
    assert_refused(refused, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "read:orders"))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (shop("read:orders", aud=PARTNERS), Code.WRONG_TYPE),
        (shop("read:orders", aud=[SHOP, PARTNERS]), Code.WRONG_AUDIENCE),
        (shop("read:orders", aud=ORDERS), Code.WRONG_AUDIENCE),
        (carrier("read:orders", aud=PARTNERS), Code.WRONG_AUDIENCE),
        (carrier("read:orders", iss=TENANT.issuer), Code.WRONG_ALGORITHM),
        (carrier("read:orders", iss=CARRIER.issuer + "/"), Code.UNTRUSTED_ISSUER),
    ],
    ids=["other dialect", "both audiences", "no audience of ours", "tenant's audience", "other's name", "a slash"],
)
def test_what_fits_one_issuer_does_not_fit_another(multi: TestClient, headers: dict[str, str], code: Code) -> None:
    assert_refused(multi.get("/orders", headers=headers), code, challenge(code, "read:orders"))


@pytest.mark.parametrize(
    "headers", [shop("ship:orders"), carrier("write:orders", "write:shipments")], ids=["shop", "carrier"]
)
def test_alternatives_serve_people_and_machines(multi: TestClient, headers: dict[str, str]) -> None:
    assert multi.post("/shipments", headers=headers).status_code == 202


def test_the_challenge_names_the_alternative_that_lacks_fewest(multi: TestClient) -> None:
    refused = multi.post("/shipments", headers=carrier("write:orders"))
    assert_refused(refused, Code.INSUFFICIENT_SCOPE, challenge(Code.INSUFFICIENT_SCOPE, "ship:orders"))
    assert refused.json()["required"] == [["ship:orders"], ["write:orders", "write:shipments"]]


def test_a_caller_without_a_token_is_refused_everywhere(multi: TestClient) -> None:
    assert_refused(multi.get("/orders"), Code.MISSING_TOKEN, challenge(scope="read:orders"))
    assert_refused(multi.get("/me"), Code.MISSING_TOKEN, challenge())
