"""`TrustedIssuer`: every mistake is reported at construction, all at once, and says what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from typing import Any

import httpx
import pytest

from authz_middleware import AccessTokenValidator, ConfigurationError, TrustedIssuer
from authz_middleware.dialects import ACCESS_TOKEN, AUTH0, RFC9068, Dialect
from authz_middleware.keys import Fetched, KeySettings, RemoteJWKS, SecretKey, StaticJWKS
from authz_middleware.testing import LocalIssuer

from .helpers import ISSUER, NOW, accepted, recording_keys, refused

GOOD: dict[str, Any] = {"issuer": "https://issuer.test/", "audience": "https://api.test/"}
SECRET = "0123456789abcdef0123456789abcdef"
JWKS = ISSUER.jwks()


def fault(**change: Any) -> str:
    """Return the only fault of the good settings with one change."""
    TrustedIssuer(**GOOD)
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer(**{**GOOD, **change})
    (only,) = caught.value.faults
    return only


NO_URL = "issuer is no https URL; write it with https:// and a host"
NO_ISSUER = "issuer is missing; write the `iss` of your tokens, such as https://acme.eu.auth0.com/"
HTTP = "issuer must use https; http is for loopback addresses only"
CREDENTIALS = "issuer must not contain credentials or a fragment"
ODD = "issuer contains spaces, backslashes, control or non-ASCII characters; percent-encode them"


@pytest.mark.parametrize(
    ("issuer", "says"),
    [
        ("", NO_ISSUER),
        (None, NO_ISSUER),
        (5, NO_ISSUER),
        (["https://issuer.test/"], NO_ISSUER),
        (b"https://issuer.test/", NO_ISSUER),
        ("issuer.test", NO_URL),
        ("//issuer.test/", NO_URL),
        ("https://", NO_URL),
        ("https:///path", NO_URL),
        ("ftp://issuer.test/", NO_URL),
        ("file:///etc/passwd", NO_URL),
        ("https://[::1", "issuer is no URL; write an https URL"),
        ("http://issuer.test/", HTTP),
        ("http://127.0.0.1.evil.test/", HTTP),
        ("http://localhost.evil.test/", HTTP),
        ("http://10.0.0.1/", HTTP),
        ("http://0.0.0.0/", HTTP),
        ("https://user@issuer.test/", CREDENTIALS),
        ("https://user:word@issuer.test/", CREDENTIALS),
        ("https://issuer.test/#here", CREDENTIALS),
        ("https://issuer.test/?tenant=1", "issuer must not contain a query (RFC 8414 section 2); write it without"),
        ("https://issuer.test/ ", ODD),
        ("https://issuer.test/\u00e9", ODD),
        ("https://issuer.test/\x7f", ODD),
        ("https://issuer\\evil.test/", ODD),
    ],
)
def test_the_issuer_is_an_https_url(issuer: Any, says: str) -> None:
    assert fault(issuer=issuer) == f"TrustedIssuer: {says}"


@pytest.mark.parametrize(
    "issuer",
    [
        "https://issuer.test",
        "https://issuer.test/realms/acme",
        "https://issuer.test:8443/",
        "http://localhost:8080/",
        "http://127.0.0.1/",
        "http://127.8.9.10:1/",
        "http://[::1]:9/",
    ],
)
def test_issuers_that_are_fine(issuer: str) -> None:
    assert TrustedIssuer(issuer, "api").issuer == issuer


@pytest.mark.parametrize("audience", [None, "", b"", [], (), set(), {}])
def test_the_audience_must_be_given(audience: Any) -> None:
    assert fault(audience=audience) == (
        "TrustedIssuer: audience is missing; write the identifier of this API, such as https://orders.acme.example/"
    )


@pytest.mark.parametrize("audience", [[""], ["", 5], ["api", ""], ["api", None], [5], ("api", b"api"), [["api"]]])
def test_an_audience_is_a_non_empty_string(audience: Any) -> None:
    assert fault(audience=audience) == "TrustedIssuer: audience must hold non-empty strings only"


@pytest.mark.parametrize("audience", [5, b"api", {"api": 1}, True])
def test_several_audiences_are_a_collection(audience: Any) -> None:
    assert fault(audience=audience) == (
        "TrustedIssuer: audience is a collection of strings; write audience=[…], with brackets"
    )


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", ["userinfo", "api/v2/", "api/v2"])
@pytest.mark.parametrize("several", [False, True])
def test_the_authorization_servers_own_apis_are_no_audience(slash: str, path: str, several: bool) -> None:
    own = f"https://issuer.test/{path}"
    says = fault(issuer=f"https://issuer.test{slash}", audience=["https://api.test/", own] if several else own)
    assert "(/userinfo or the Management API)" in says
    assert says.endswith("write the identifier of this API")


def test_another_servers_userinfo_is_an_audience_like_any_other() -> None:
    assert TrustedIssuer("https://issuer.test/", "https://api.test/userinfo").settings.audiences == {
        "https://api.test/userinfo"
    }


# --- keys -----------------------------------------------------------------------------------------------------------

FETCH = "fetch= takes an httpx.AsyncClient, an httpx2.AsyncClient or an async callable (url, headers) -> Fetched"
KEYS = 'keys= takes a JWKS document such as {"keys": […]} or a KeySource, an object with an async get'
NOT_FETCHED = "{} is for keys that are fetched, and keys= or secret= says they are not; leave one out"
NOT_ALLOWED = "jwks_uri is on none of the allowed_hosts of key_settings; add its host, or leave allowed_hosts out"


async def fetch_nothing(url: str, headers: Mapping[str, str]) -> Fetched:
    raise OSError


KEY_FAULTS: list[tuple[dict[str, Any], str]] = [
    (
        {"jwks_uri": "https://issuer.test/jwks", "keys": JWKS},
        "jwks_uri and keys contradict each other; give one of them",
    ),
    (
        {"jwks_uri": "https://issuer.test/jwks", "secret": SECRET},
        "jwks_uri and secret contradict each other; give one of them",
    ),
    ({"keys": JWKS, "secret": SECRET}, "keys and secret contradict each other; give one of them"),
    (
        {"jwks_uri": "https://issuer.test/jwks", "keys": JWKS, "secret": SECRET},
        "jwks_uri and keys and secret contradict each other; give one of them",
    ),
    ({"jwks_uri": "http://issuer.test/jwks"}, "jwks_uri must use https; http is for loopback addresses only"),
    ({"jwks_uri": "issuer.test/jwks"}, "jwks_uri is no https URL; write it with https:// and a host"),
    ({"jwks_uri": ""}, "jwks_uri is no https URL; write it with https:// and a host"),
    ({"jwks_uri": 5}, "jwks_uri is no URL; write an https URL"),
    ({"keys": "https://issuer.test/jwks"}, KEYS),
    ({"keys": StaticJWKS}, KEYS),
    ({"keys": [ISSUER.key.jwk()]}, KEYS),
    ({"keys": 5}, KEYS),
    ({"secret": SECRET[:-1]}, "secret must be at least 32 bytes; use the API's signing secret as it was generated"),
    ({"secret": b""}, "secret must be at least 32 bytes; use the API's signing secret as it was generated"),
    ({"secret": 10**40}, "secret must be at least 32 bytes; use the API's signing secret as it was generated"),
    ({"fetch": "httpx"}, FETCH),
    ({"fetch": httpx.Client()}, FETCH),
    ({"key_settings": 3600}, "key_settings= takes KeySettings(…)"),
    ({"key_settings": {"outage_tolerance": 3600}}, "key_settings= takes KeySettings(…)"),
    ({"key_settings": KeySettings}, "key_settings= takes KeySettings(…)"),
    ({"fetch": fetch_nothing, "keys": JWKS}, NOT_FETCHED.format("fetch")),
    ({"fetch": fetch_nothing, "secret": SECRET}, NOT_FETCHED.format("fetch")),
    ({"key_settings": KeySettings(), "keys": JWKS}, NOT_FETCHED.format("key_settings")),
    ({"key_settings": KeySettings(), "secret": SECRET}, NOT_FETCHED.format("key_settings")),
    ({"jwks_uri": "https://issuer.test/jwks", "key_settings": KeySettings(allowed_hosts={"keys.test"})}, NOT_ALLOWED),
    (
        {"jwks_uri": "https://keys.test:8443/", "key_settings": KeySettings(allowed_hosts={"keys.test"})},
        NOT_ALLOWED,
    ),
]


@pytest.mark.parametrize(("change", "says"), KEY_FAULTS)
def test_where_keys_come_from(change: dict[str, Any], says: str) -> None:
    assert fault(**change) == f"TrustedIssuer: {says}"


def test_two_contradictions_are_two_faults() -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer(**GOOD, fetch=fetch_nothing, key_settings=KeySettings(), keys=JWKS)
    assert caught.value.faults == tuple(
        "TrustedIssuer: " + NOT_FETCHED.format(name) for name in ("fetch", "key_settings")
    )


def test_the_endpoint_may_be_on_an_allowed_host() -> None:
    settings = KeySettings(allowed_hosts={"keys.test"})
    assert TrustedIssuer(**GOOD, jwks_uri="https://keys.test/jwks", key_settings=settings).key_settings is settings
    assert TrustedIssuer(**GOOD, key_settings=settings).key_settings is settings


def test_settings_that_differ_in_nothing_about_keys_share_them() -> None:
    """Two audiences of one issuer cost one fetch; whatever tells their keys apart tells their sources apart."""
    plain = TrustedIssuer(**GOOD)
    same: list[dict[str, Any]] = [
        {"audience": "another"},
        {"leeway": 0},
        {"key_settings": KeySettings()},
        {"key_settings": KeySettings(lifetime=600.0)},
        {"third_party_clients": ["partner"]},
    ]
    other: list[dict[str, Any]] = [
        {"issuer": "https://other.test/"},
        {"jwks_uri": "https://issuer.test/jwks"},
        {"algorithms": ["RS256"]},
        {"fetch": fetch_nothing},
        {"key_settings": KeySettings(outage_tolerance=0)},
        {"keys": JWKS},
        {"secret": SECRET},
    ]
    assert {TrustedIssuer(**{**GOOD, **change}).key_identity for change in same} == {plain.key_identity}
    identities = {TrustedIssuer(**{**GOOD, **change}).key_identity for change in [{}, *other]}
    assert len(identities) == len(other) + 1


@pytest.mark.parametrize(
    "document", [{}, {"keys": None}, {"keys": {}}, {"keys": [{}]}, {"keys": [{"kty": "oct", "k": "eA"}]}]
)
def test_a_document_without_usable_keys(document: dict[str, Any]) -> None:
    assert "pass a JWKS document such as" in fault(keys=document)


@pytest.mark.parametrize("change", [{}, {"dialects": AUTH0}, {"algorithms": ["ES256"]}])
def test_a_document_without_any_key(change: dict[str, Any]) -> None:
    assert fault(keys={"keys": []}, **change) == (
        "TrustedIssuer: keys= holds no key, so every token would be refused; put the issuer's public keys in"
    )


def test_a_document_with_keys_of_other_algorithms_only() -> None:
    assert "keys= holds no usable key" in fault(keys=JWKS, algorithms=["ES256"])


def test_every_kind_of_key_source() -> None:
    own = recording_keys(ISSUER.key)
    assert isinstance(TrustedIssuer(**GOOD).key_source(), RemoteJWKS)
    assert isinstance(TrustedIssuer(**GOOD, jwks_uri="https://issuer.test/jwks").key_source(), RemoteJWKS)
    assert isinstance(TrustedIssuer(**GOOD, keys=JWKS).key_source(), StaticJWKS)
    assert isinstance(TrustedIssuer(**GOOD, secret=SECRET).key_source(), SecretKey)
    assert isinstance(TrustedIssuer(**GOOD, secret=SECRET.encode()).key_source(), SecretKey)
    assert TrustedIssuer(**GOOD, keys=own).key_source() is own


# --- algorithms -----------------------------------------------------------------------------------------------------

SOME_OF = (
    "algorithms must be some of ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512; "
    "`none` is never one"
)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"algorithms": ["none"]}, SOME_OF),
        ({"algorithms": ["NONE"]}, SOME_OF),
        ({"algorithms": ["RS256", "none"]}, SOME_OF),
        ({"algorithms": ["rs256"]}, SOME_OF),
        ({"algorithms": ["ES256K"]}, SOME_OF),
        ({"algorithms": ["Ed448"]}, SOME_OF),
        (
            {"algorithms": ["HS256"]},
            "HS algorithms need secret= and allow no other key; give secret=, or leave them out",
        ),
        (
            {"algorithms": ["RS256", "HS512"], "keys": JWKS},
            "HS algorithms need secret= and allow no other key; give secret=, or leave them out",
        ),
        ({"algorithms": ["RS256"], "secret": SECRET}, "with secret= the only algorithm is HS256; leave algorithms out"),
        (
            {"algorithms": ["HS256", "RS256"], "secret": SECRET},
            "with secret= the only algorithm is HS256; leave algorithms out",
        ),
        ({"algorithms": ["HS512"], "secret": SECRET}, "with secret= the only algorithm is HS256; leave algorithms out"),
        ({"algorithms": "RS256"}, "algorithms is a collection of strings; write algorithms=[…], with brackets"),
        ({"algorithms": b"RS256"}, "algorithms is a collection of strings; write algorithms=[…], with brackets"),
        ({"algorithms": 5}, "algorithms is a collection of strings; write algorithms=[…], with brackets"),
        ({"algorithms": []}, "algorithms must not be empty; name one or leave algorithms out"),
        ({"algorithms": [None]}, "algorithms must hold non-empty strings only"),
        ({"algorithms": [["RS256"]]}, "algorithms must hold non-empty strings only"),
    ],
)
def test_algorithms(change: dict[str, Any], says: str) -> None:
    assert fault(**change) == f"TrustedIssuer: {says}"


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"algorithms": ["ES256", "Ed25519"]}, {"ES256", "EdDSA"}),
        ({"algorithms": ("PS512",)}, {"PS512"}),
        ({"secret": SECRET}, {"HS256"}),
        ({"secret": SECRET, "algorithms": ["HS256"]}, {"HS256"}),
        ({"dialects": AUTH0}, {"RS256", "PS256"}),
        ({"dialects": ["access_token"], "algorithms": ["RS256"]}, {"RS256"}),
        ({}, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}),
    ],
)
def test_which_algorithms_an_issuer_may_use(change: dict[str, Any], allowed: set[str]) -> None:
    assert TrustedIssuer(**GOOD, **change).settings.algorithms == allowed


# --- numbers, clients, claims ---------------------------------------------------------------------------------------

LEEWAY = "leeway is in seconds, from 0 to 300"


@pytest.mark.parametrize(
    "leeway", [-1, -0.001, 300.001, 301, 10**400, float("nan"), float("inf"), "30", None, True, [30]]
)
def test_the_leeway_has_limits(leeway: Any) -> None:
    assert fault(leeway=leeway) == f"TrustedIssuer: {LEEWAY}"


@pytest.mark.parametrize("leeway", [0, 300, 0.5])
def test_numbers_at_their_limits(leeway: float) -> None:
    assert TrustedIssuer(**GOOD, leeway=leeway).leeway == leeway


@pytest.mark.parametrize("name", ["third_party_clients", "first_party_clients", "tenants"])
@pytest.mark.parametrize("value", ["client", b"client", 5, {"client": True}, True])
def test_a_bare_string_where_a_collection_is_meant(name: str, value: Any) -> None:
    assert fault(tenant_claims="org_id", **{name: value}) == (
        f"TrustedIssuer: {name} is a collection of strings; write {name}=[…], with brackets"
    )


@pytest.mark.parametrize("name", ["third_party_clients", "first_party_clients", "tenants"])
@pytest.mark.parametrize("value", [[""], ["a", None], [5], [["a"]], ("a", b"b")])
def test_a_collection_of_something_else(name: str, value: Any) -> None:
    says = f"TrustedIssuer: {name} must hold non-empty strings only"
    assert fault(tenant_claims="org_id", **{name: value}) == says


def test_no_tenant_at_all_can_not_be_meant() -> None:
    assert fault(tenants=[]) == "TrustedIssuer: tenants must not be empty; name one or leave tenants out"


def no_tenant(dialect: str) -> str:
    return f"TrustedIssuer: tenants= needs a tenant, and dialect {dialect} has none; name its claim in tenant_claims="


def test_tenants_need_a_dialect_with_tenants() -> None:
    assert fault(tenants=["org_1"]) == no_tenant("rfc9068")
    bare = replace(ACCESS_TOKEN, name="bare", tenant_claims=())
    assert fault(tenants=["org_1"], dialects=["rfc9068_profile", bare]) == no_tenant("bare")


@pytest.mark.parametrize(
    ("tenants", "says"),
    [
        ("org_1", "TrustedIssuer: tenants is a collection of strings; write tenants=[…], with brackets"),
        (5, "TrustedIssuer: tenants is a collection of strings; write tenants=[…], with brackets"),
        ([5], "TrustedIssuer: tenants must hold non-empty strings only"),
    ],
)
def test_badly_typed_tenants_without_a_dialect_for_them_are_two_faults(tenants: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer(**GOOD, tenants=tenants)
    assert caught.value.faults == (says, no_tenant("rfc9068"))


@pytest.mark.parametrize(
    "change", [{"dialects": AUTH0}, {"tenant_claims": "org_id"}, {"tenant_claims": ["a", ("b", "c")]}]
)
def test_tenants_where_the_dialect_has_some(change: dict[str, Any]) -> None:
    assert TrustedIssuer(**GOOD, tenants=["org_1"], **change).settings.tenants == frozenset({"org_1"})


def test_third_and_first_party_contradict_each_other() -> None:
    assert fault(third_party_clients=[], first_party_clients=["a"]) == (
        "TrustedIssuer: third_party_clients and first_party_clients contradict each other; "
        "list the smaller group and leave out the other"
    )


@pytest.mark.parametrize("value", [0, 1, "yes", "", [], {}, set()])
def test_rbac_is_stated_with_a_boolean(value: Any) -> None:
    assert fault(rbac_enforced=value) == "TrustedIssuer: rbac_enforced is True, False or left out"


@pytest.mark.parametrize("name", ["roles_claims", "groups_claims", "permissions_claims", "tenant_claims"])
@pytest.mark.parametrize(
    "value", ["", (), ("",), ("a", 1), 5, ["a", ""], [None], [["a"]], {"a": 1}, b"a", [()], True, []]
)
def test_claim_names(name: str, value: Any) -> None:
    assert fault(**{name: value}) == (
        f"TrustedIssuer: {name} takes a claim name, a tuple as path, or a list of these, "
        'such as "https://acme.example/roles"'
    )


@pytest.mark.parametrize("name", ["roles_claims", "groups_claims", "permissions_claims", "tenant_claims"])
@pytest.mark.parametrize("value", ["act", ("act",), ("act", "roles"), ["mine", ("act", "act", "roles")]])
@pytest.mark.parametrize("dialects", [["rfc9068"], AUTH0])
def test_nothing_inside_act_is_a_grant(name: str, value: Any, dialects: Any) -> None:
    assert fault(dialects=dialects, **{name: value}) == (
        f"TrustedIssuer: {name}: nothing inside act is ever a grant (RFC 8693 section 4.1); name another claim"
    )


def test_names_that_look_like_it_are_others() -> None:
    paths: list[Any] = ["actors", ("ACT", "roles"), ("mine", "act"), "act.roles"]
    assert TrustedIssuer(**GOOD, roles_claims=paths).settings.dialects[0].roles_claims[0] == ("actors",)


@pytest.mark.parametrize(
    ("change", "path", "one", "other"),
    [
        ({"roles_claims": "scope"}, "scope", "scopes", "roles"),
        ({"permissions_claims": ["mine", "scope"]}, "scope", "scopes", "permissions"),
        ({"roles_claims": "mine", "groups_claims": "mine"}, "mine", "roles", "groups"),
        ({"roles_claims": ("a", "b"), "groups_claims": ["mine", ("a", "b")]}, "a.b", "roles", "groups"),
        ({"roles_claims": "mine", "permissions_claims": "mine"}, "mine", "permissions", "roles"),
        ({"roles_claims": "permissions", "dialects": AUTH0}, "permissions", "permissions", "roles"),
        ({"groups_claims": "scope", "dialects": AUTH0}, "scope", "scopes", "groups"),
    ],
)
def test_one_claim_holds_grants_of_one_kind(change: dict[str, Any], path: str, one: str, other: str) -> None:
    assert fault(**change) == (
        f"TrustedIssuer: Dialect: the claim {path} cannot hold {one} and {other} at once; name another one for either"
    )


def test_where_a_dialect_has_no_permissions_their_claim_is_any_other() -> None:
    TrustedIssuer(**GOOD, dialects=["access_token"], roles_claims="permissions")
    TrustedIssuer(**GOOD, roles_claims="mine", tenant_claims="mine")  # a tenant is no grant


# --- dialects -------------------------------------------------------------------------------------------------------

KNOWN = "access_token, access_token_authz, rfc9068_profile, rfc9068_profile_authz, rfc9068"


@pytest.mark.parametrize("value", ["rfc9068", "", 5, None, RFC9068])
def test_dialects_is_a_collection(value: Any) -> None:
    assert fault(dialects=value) == f"TrustedIssuer: dialects is a collection; write dialects=[{value!r}]"


@pytest.mark.parametrize("value", [[], ["auth0"], ["rfc9068", "RFC9068"], [None], [["rfc9068"]], [{}], [5], b"rfc9068"])
def test_dialects_are_known(value: Any) -> None:
    assert fault(dialects=value) == f"TrustedIssuer: dialects must be some of {KNOWN}, or Dialect tables"


@pytest.mark.parametrize(
    ("value", "one", "other"),
    [
        (["rfc9068", "rfc9068_profile"], "rfc9068", "rfc9068_profile"),
        (["rfc9068", RFC9068], "rfc9068", "rfc9068"),
        ([ACCESS_TOKEN, replace(ACCESS_TOKEN, name="mine")], "access_token", "mine"),
    ],
)
def test_dialects_must_differ(value: Any, one: str, other: str) -> None:
    assert fault(dialects=value) == (
        f"TrustedIssuer: dialects {one} and {other} cannot be told apart; allow one of them"
    )


@pytest.mark.parametrize("name", ["roles_claims", "groups_claims", "permissions_claims", "tenant_claims"])
def test_an_empty_list_of_claims_is_one_fault_whatever_the_dialects(name: str) -> None:
    assert fault(dialects=AUTH0, **{name: []}).startswith(f"TrustedIssuer: {name} takes a claim name")


def test_dialects_are_names_or_tables() -> None:
    mine = Dialect(name="mine", types=frozenset({"mine+jwt"}), client_claim="cid")
    dialects = TrustedIssuer(**GOOD, dialects=["rfc9068", mine]).settings.dialects
    assert [dialect.name for dialect in dialects] == ["rfc9068", "mine"]
    assert TrustedIssuer(**GOOD).settings.dialects == (RFC9068,)


# --- the whole ------------------------------------------------------------------------------------------------------


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer(
            "http://issuer.test/",
            [],
            dialects="rfc9068",
            jwks_uri="http://issuer.test/jwks",
            secret="short",
            algorithms=["none"],
            leeway=301,
            third_party_clients="a",
            first_party_clients="b",
            rbac_enforced="yes",  # type: ignore[arg-type]  # that is the test
            tenants=[],
            roles_claims="",
            permissions_claims=(),
            tenant_claims=[""],
            fetch="httpx",  # type: ignore[arg-type]  # that is the test
            key_settings=3600,  # type: ignore[arg-type]  # that is the test
        )
    subjects = [fault.removeprefix("TrustedIssuer: ").split()[0].rstrip("=") for fault in caught.value.faults]
    assert subjects == [
        "issuer",
        "audience",
        "jwks_uri",
        "jwks_uri",
        "secret",
        "fetch",
        "key_settings",
        "fetch",
        "key_settings",
        "leeway",
        "third_party_clients",
        "first_party_clients",
        "third_party_clients",
        "rbac_enforced",
        "roles_claims",
        "permissions_claims",
        "tenant_claims",
        "tenants",
        "dialects",
        "with",
    ]
    assert str(caught.value) == "; ".join(caught.value.faults)


def test_an_issuer_cannot_be_changed() -> None:
    trusted = TrustedIssuer(**GOOD)
    with pytest.raises(FrozenInstanceError):
        trusted.leeway = 300  # type: ignore[misc]  # that is the test


def test_lists_given_are_not_lists_kept() -> None:
    clients, tenants = ["a"], ["org_1"]
    trusted = TrustedIssuer(**GOOD, third_party_clients=clients, tenants=tenants, tenant_claims="org_id")
    clients.clear()
    tenants.append("org_2")
    assert trusted.settings.clients.third_party == frozenset({"a"})
    assert trusted.settings.tenants == frozenset({"org_1"})


def test_repr_shows_no_secret() -> None:
    assert SECRET not in repr(TrustedIssuer(**GOOD, secret=SECRET))
    assert str(ISSUER.key.jwk()["n"]) not in repr(TrustedIssuer(**GOOD, keys=JWKS))


# --- Auth0 ----------------------------------------------------------------------------------------------------------


def test_auth0_in_one_line() -> None:
    trusted = TrustedIssuer.auth0("acme.eu.auth0.com", "https://api.test/", third_party_clients=set())
    assert trusted.issuer == "https://acme.eu.auth0.com/"
    assert trusted.settings.dialects == AUTH0
    assert trusted.settings.algorithms == {"RS256", "PS256"}
    assert trusted.settings.clients.third_party == frozenset()


def test_auth0_can_be_pinned() -> None:
    trusted = TrustedIssuer.auth0("login.acme.example", "api", dialects=["rfc9068_profile"], algorithms=["RS256"])
    assert [dialect.name for dialect in trusted.settings.dialects] == ["rfc9068_profile"]
    assert trusted.settings.algorithms == {"RS256"}


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "https://acme.eu.auth0.com",
        "acme.eu.auth0.com/",
        "acme.eu.auth0.com:443",
        "me@acme.eu.auth0.com",
        "a b",
        None,
        5,
        "acme.eu.auth0.com?x",
        "acme.eu.auth0.com#x",
        b"acme.eu.auth0.com",
    ],
)
def test_auth0_takes_a_bare_domain(domain: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer.auth0(domain, "api")
    assert str(caught.value) == (
        "TrustedIssuer.auth0: domain is a bare host name; write acme.eu.auth0.com, without https:// or slashes"
    )


@pytest.mark.parametrize("domain", ["acme\t.eu.auth0.com", "acm\u00e9.eu.auth0.com", "acme\\eu.auth0.com", "acme\n"])
def test_auth0_takes_no_odd_characters(domain: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer.auth0(domain, "api")
    assert "percent-encode them" in str(caught.value)


def test_the_management_api_of_auth0_is_no_audience() -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedIssuer.auth0("acme.eu.auth0.com", "https://acme.eu.auth0.com/api/v2/")
    assert "write the identifier of this API" in str(caught.value)


# --- the local issuer -------------------------------------------------------------------------------------------------


def test_the_local_issuer_adds_keys_only_where_there_are_no_others() -> None:
    own = recording_keys(ISSUER.key)
    assert ISSUER.trusted().key_source() is ISSUER.keys
    assert isinstance(ISSUER.trusted(secret=SECRET).key_source(), SecretKey)
    assert isinstance(ISSUER.trusted(jwks_uri="https://issuer.test/jwks").key_source(), RemoteJWKS)
    assert ISSUER.trusted(keys=own).key_source() is own
    with pytest.raises(ConfigurationError, match="keys and secret contradict each other"):
        ISSUER.trusted(keys=own, secret=SECRET)


def test_the_local_issuer_rotates_and_withdraws_its_keys() -> None:
    issuer = LocalIssuer(algorithm="ES256", clock=lambda: NOW)
    by = AccessTokenValidator([issuer.trusted(algorithms=["ES256"])], clock=lambda: NOW)
    old, old_token = issuer.key, issuer.token()
    new = issuer.rotate()
    assert [key["kid"] for key in issuer.jwks()["keys"]] == [old.kid, new.kid]  # type: ignore[attr-defined]  # JSON
    assert accepted(old_token, by).subject == "auth0|jo"
    assert accepted(issuer.token(), by).subject == "auth0|jo"
    issuer.withdraw(old)
    assert accepted(issuer.token(), by).subject == "auth0|jo"
    assert refused(old_token, by) == ("unknown_key", "key_not_published")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dialect": "access-token"}, "write one of access_token, "),
        ({"permissions": "read:orders"}, "permissions= a collection of strings"),
        ({"scope": ["read:orders"]}, "scope= is one space-joined string"),
    ],
)
def test_the_local_issuer_signs_no_slip(arguments: dict[str, Any], says: str) -> None:
    for issue in (LocalIssuer().token, LocalIssuer().headers):
        with pytest.raises(ConfigurationError, match=says):
            issue(**arguments)
