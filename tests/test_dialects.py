"""Every vector reads as it says or is refused for the reason it says; then the rules of the engine one by one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from authz_middleware import AccessToken, AccessTokenValidator, ConfigurationError, TrustedIssuer
from authz_middleware.dialects import ACCESS_TOKEN, AUTH0, DIALECTS, RFC9068, Dialect
from authz_middleware.errors import Code, InvalidToken, Reason
from authz_middleware.testing import SigningKey

from .helpers import (
    DEFAULT,
    ISSUER,
    NOW,
    accepted,
    five_parts,
    header_of,
    load_vectors,
    refused,
    sign_raw,
    token_with,
    validator,
)

SECRET = b"the signing secret of the orders API"
AUTH0_NAMES = [dialect.name for dialect in AUTH0]


def vectors(*names: str) -> list[Any]:
    """Return every vector of some files, each with its file's name, issuer and audience."""
    files = {name: load_vectors(name) for name in names}
    return [
        pytest.param({**file, "file": name, "vector": vector}, id=f"{name}-{vector['id']}")
        for name, file in files.items()
        for vector in file["vectors"]
    ]


@cache
def signing_key(algorithm: str, kid: str | None) -> SigningKey:
    if algorithm == "HS256":
        return SigningKey("HS256", private=SECRET)
    return SigningKey("EdDSA" if algorithm == "Ed25519" else algorithm, kid or "unnamed")


def sign(case: dict[str, Any]) -> tuple[str, SigningKey]:
    """Sign a vector with a real key of the algorithm and key id its header names."""
    vector = case["vector"]
    key = signing_key(vector["header"]["alg"], vector["header"].get("kid"))
    return sign_raw(vector["header"], vector["payload"], key), key


def trust(case: dict[str, Any], key: SigningKey, dialects: list[str]) -> AccessTokenValidator:
    options: dict[str, Any] = {"third_party_clients": [], **case["vector"].get("config", {})}
    material: dict[str, Any] = {"secret": SECRET} if key.algorithm == "HS256" else {"keys": {"keys": [key.jwk()]}}
    trusted = TrustedIssuer(case["issuer"], case["audience"], dialects=dialects, **material, **options)
    return AccessTokenValidator([trusted], clock=lambda: NOW)


def reading(token: AccessToken) -> dict[str, object]:
    """Return a token in the words of the vectors."""
    return {
        "client_id": token.client_id,
        "subject": token.subject,
        "is_machine": token.is_machine,
        "scopes": token.grants.scopes,
        "permissions": token.grants.permissions,
        "roles": token.grants.roles,
        "tenant": token.tenant,
        "actor": token.actor,
        "effective": token.grants.effective,
        "dialect": token.dialect,
    }


def expected(vector: dict[str, Any]) -> dict[str, object]:
    return {name: frozenset(v) if isinstance(v, list) else v for name, v in vector["expected"].items()}


def dialects_of(case: dict[str, Any]) -> list[str]:
    return ["rfc9068"] if case["file"] == "rfc9068" else AUTH0_NAMES


ALL = vectors(*AUTH0_NAMES, "rfc9068", "refused")
READ = [case for case in ALL if "refused" not in case.values[0]["vector"]]
REFUSED = [case for case in ALL if "refused" in case.values[0]["vector"]]


def test_the_vectors_hold_every_sample_of_auth0() -> None:
    samples = [case for case in ALL if case.values[0]["file"] != "rfc9068"]
    assert len(samples) == 26


@pytest.mark.parametrize("case", READ)
def test_a_vector_reads_as_it_says(case: dict[str, Any]) -> None:
    token, key = sign(case)
    assert reading(accepted(token, trust(case, key, dialects_of(case)))) == expected(case["vector"])


@pytest.mark.parametrize("case", READ)
def test_a_vector_reads_the_same_when_its_dialect_is_pinned(case: dict[str, Any]) -> None:
    token, key = sign(case)
    pinned = case["vector"]["expected"]["dialect"]
    assert reading(accepted(token, trust(case, key, [pinned]))) == expected(case["vector"])


@pytest.mark.parametrize("case", READ)
def test_a_vector_says_whom_it_is_for_and_until_when(case: dict[str, Any]) -> None:
    token, key = sign(case)
    read, payload = accepted(token, trust(case, key, dialects_of(case))), case["vector"]["payload"]
    audience = payload["aud"]
    assert read.audience == ((audience,) if isinstance(audience, str) else tuple(audience))
    assert (read.issued_at, read.expires_at, read.token_id) == (payload["iat"], payload["exp"], payload.get("jti"))
    assert read.identity == (case["issuer"], payload["sub"])


@pytest.mark.parametrize("case", REFUSED)
def test_a_vector_is_refused_for_the_reason_it_says(case: dict[str, Any]) -> None:
    vector = case["vector"]
    if "enc" in vector["header"]:
        token, key = five_parts(vector["header"], b"" if vector["header"]["alg"] == "dir" else b"key"), ISSUER.key
    else:
        token, key = sign(case)
    assert refused(token, trust(case, key, dialects_of(case))) == tuple(vector["refused"].values())


@pytest.mark.parametrize("case", [case for case in REFUSED if "expected" in case.values[0]["vector"]])
def test_a_bound_vector_reads_as_it_says_without_its_binding(case: dict[str, Any]) -> None:
    vector = case["vector"]
    payload = {name: value for name, value in vector["payload"].items() if name != "cnf"}
    token, key = sign({**case, "vector": {**vector, "payload": payload}})
    assert reading(accepted(token, trust(case, key, dialects_of(case)))) == expected(vector)


@pytest.mark.parametrize("case", [case for case in READ if case.values[0]["file"] != "rfc9068"])
def test_no_vector_of_auth0_passes_where_the_other_type_is_pinned(case: dict[str, Any]) -> None:
    token, key = sign(case)
    mine = DIALECTS[case["vector"]["expected"]["dialect"]]
    others = [dialect.name for dialect in AUTH0 if not dialect.types & mine.types]
    assert refused(token, trust(case, key, others)) == ("wrong_type", "type_not_allowed")


# --- which dialect --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", AUTH0_NAMES)
def test_the_permissions_claim_decides_between_siblings(dialect: str) -> None:
    assert accepted(ISSUER.token(dialect, permissions=[])).dialect == dialect


@pytest.mark.parametrize(
    ("pinned", "sibling"), [(2 * [n] if n.endswith("z") else [n, f"{n}_authz"]) for n in AUTH0_NAMES]
)
def test_a_pinned_dialect_matches_with_or_without_the_permissions_claim(pinned: str, sibling: str) -> None:
    by = validator(dialects=[pinned], third_party_clients=set())
    with_claim = accepted(ISSUER.token(sibling, scope="a", permissions=["b"]), by)
    without_claim = accepted(ISSUER.token(sibling, scope="a", permissions=None), by)
    assert with_claim.dialect == without_claim.dialect == pinned
    pinned_has_permissions = DIALECTS[pinned].has_permissions
    assert with_claim.grants.permissions == ({"b"} if pinned_has_permissions else frozenset())
    assert with_claim.grants.effective == ({"a", "b"} if pinned_has_permissions else {"a"})
    assert without_claim.grants.effective == (frozenset() if pinned_has_permissions else {"a"})


def test_where_types_agree_the_client_claim_decides() -> None:
    named = replace(ACCESS_TOKEN, name="named", client_claim="client_id", other_client_claims=())
    by = validator(dialects=["access_token", named])
    assert accepted(ISSUER.token("access_token"), by).dialect == "access_token"
    assert accepted(ISSUER.token(named), by).dialect == "named"
    both = token_with({"client_id": CLIENT, "azp": CLIENT})
    assert refused(both, by) == ("wrong_type", "dialect_ambiguous")


def test_a_token_that_fits_no_allowed_dialect_is_refused() -> None:
    authz = DIALECTS["access_token_authz"]
    named = replace(authz, name="named", client_claim="client_id", other_client_claims=())
    by = validator(dialects=[authz, named])
    neither = ISSUER.token("access_token", azp=None)
    assert refused(neither, by) == ("wrong_type", "type_not_allowed")


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "APPLICATION/AT+JWT"])
def test_the_type_of_rfc9068_in_every_spelling(typ: str) -> None:
    by = validator(dialects=["rfc9068"])
    assert accepted(ISSUER.sign(ISSUER.claims("rfc9068"), typ=typ), by).dialect == "rfc9068"


BAD_TYPES = [
    "JWT",
    "jwt",
    "at+jwt ",
    " at+jwt",
    "at+JWT+x",
    "text/at+jwt",
    "application/application/at+jwt",
    "",
    "id+jwt",
]
BAD_TYPES += [
    "logout+jwt",
    "rt+jwt",
    "dpop+jwt",
    "secevent+jwt",
    "entity-statement+jwt",
    "JOSE",
    "at\u212awt",
    "at+jwt\0",
]


@pytest.mark.parametrize("typ", [*BAD_TYPES, None, 1, True, ["at+jwt"], {"typ": "at+jwt"}])
def test_no_other_type_is_an_access_token_of_rfc9068(typ: object) -> None:
    by = validator(dialects=["rfc9068"])
    assert refused(ISSUER.sign(ISSUER.claims("rfc9068"), typ=typ), by) == ("wrong_type", "type_not_allowed")


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", "application/JWT"])
def test_the_type_of_auth0s_own_profile(typ: str) -> None:
    assert accepted(ISSUER.sign(ISSUER.claims("access_token"), typ=typ)).dialect == "access_token"


@pytest.mark.parametrize("typ", ["logout+jwt", "rt+jwt", "id+jwt", "dpop+jwt", "jwt ", None, 7, ["JWT"]])
def test_another_kinds_type_is_refused_by_auth0s_dialects(typ: object) -> None:
    assert refused(ISSUER.sign(ISSUER.claims("access_token"), typ=typ)) == ("wrong_type", "type_not_allowed")


def test_a_null_type_is_no_type() -> None:
    token = sign_raw({**header_of(), "typ": None}, ISSUER.claims("access_token"))
    assert refused(token) == ("wrong_type", "type_not_allowed")


# --- whose token ----------------------------------------------------------------------------------------------------

CLIENT = "first-party-app"
MACHINES: list[tuple[str, str, dict[str, object], bool]] = [
    ("access_token", "auth0|jo", {}, False),
    ("access_token", "auth0|jo", {"gty": "refresh_token"}, False),
    ("access_token", "auth0|jo", {"gty": "password"}, False),
    ("access_token", "auth0|jo", {"gty": "client_credentials"}, False),
    ("access_token", "auth0|jo", {"gty": "client-credentials"}, True),
    ("access_token", f"{CLIENT}@clients", {}, True),
    ("access_token", f"{CLIENT}@clients", {"gty": "refresh_token"}, True),
    ("access_token", CLIENT, {}, True),
    ("access_token", f"another{CLIENT}@clients", {}, False),
    ("access_token", f"{CLIENT}@client", {}, False),
    ("access_token", "another@clients", {}, False),
    ("access_token", "agt_1", {"sub_profile": "ai_agent"}, True),
    ("access_token", "agt_1", {"sub_profile": "service"}, True),
    ("access_token", "agt_1", {"sub_profile": "user"}, False),
    ("access_token", "agt_1", {"sub_profile": "service ai_agent"}, False),
    ("access_token", "agt_1", {"client_profile": "service ai_agent"}, False),
    ("access_token", "agt_1", {"sub_profile": "ai_agent", "gty": "refresh_token"}, False),
    ("access_token", "auth0|jo", {"sub_profile": "ai_agent"}, False),
    ("access_token", f"{CLIENT}@clients", {"sub_profile": "user"}, True),
    ("rfc9068_profile", f"{CLIENT}@clients", {}, True),
    ("rfc9068_profile", CLIENT, {}, True),
    ("rfc9068_profile", "auth0|jo", {"gty": "client-credentials"}, False),
    ("rfc9068_profile", "agt_1", {"sub_profile": "ai_agent"}, True),
    ("rfc9068", CLIENT, {}, True),
    ("rfc9068", f"{CLIENT}@clients", {}, False),
    ("rfc9068", "jo", {}, False),
    ("rfc9068", "jo", {"gty": "client-credentials"}, False),
    ("rfc9068", "agt_1", {"sub_profile": "ai_agent"}, False),
]


@pytest.mark.parametrize(("dialect", "subject", "claims", "is_machine"), MACHINES)
def test_who_is_a_machine(dialect: str, subject: str, claims: dict[str, Any], is_machine: bool) -> None:
    token = ISSUER.token(dialect, subject=subject, **claims)
    assert accepted(token, validator(dialects=[dialect])).is_machine is is_machine


@pytest.mark.parametrize("value", [None, 1, True, [], {}, "", ["client-credentials"]])
@pytest.mark.parametrize("claim", ["gty", "sub_profile"])
@pytest.mark.parametrize("subject", ["auth0|jo", f"{CLIENT}@clients"])
def test_what_tells_a_machine_must_be_a_string(claim: str, value: object, subject: str) -> None:
    payload = {**ISSUER.claims("access_token", subject=subject), claim: value}
    assert refused(sign_raw(header_of(), payload)) == ("invalid_claim", "claim_wrong_form")


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_a_second_client_claim_must_agree(dialect: Dialect) -> None:
    (second,) = dialect.other_client_claims
    by = validator(dialects=[dialect])
    assert accepted(token_with({second: CLIENT}, dialect.name), by).client_id == CLIENT
    assert refused(token_with({second: "another"}, dialect.name), by) == ("invalid_claim", "clients_differ")
    wrong: object
    for wrong in (None, 1, True, "", [CLIENT], {}):
        token = token_with({second: wrong}, dialect.name)
        assert refused(token, by) == ("invalid_claim", "claim_wrong_form")


# --- ID tokens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["nonce", "at_hash", "c_hash", "s_hash"])
@pytest.mark.parametrize("audience", [ISSUER.audience, "another", "first-party-app"])
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_the_marks_of_an_id_token(dialect: Dialect, audience: str, mark: str) -> None:
    marks: dict[str, Any] = {mark: "x"}
    token = ISSUER.token(dialect, aud=audience, **marks)
    assert refused(token, validator(dialects=[dialect])) == ("id_token", "id_token_mark")


@pytest.mark.parametrize("audience", [CLIENT, [ISSUER.audience, CLIENT], [CLIENT]])
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_the_client_as_audience_is_the_mark_of_an_id_token(dialect: Dialect, audience: object) -> None:
    token = token_with({"aud": audience}, dialect.name)
    assert refused(token, validator(dialects=[dialect])) == ("id_token", "id_token_mark")


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_the_client_named_by_the_second_claim_marks_an_id_token_as_well(dialect: Dialect) -> None:
    (second,) = dialect.other_client_claims
    token = token_with({"aud": [ISSUER.audience, "another"], second: "another"}, dialect.name)
    assert refused(token, validator(dialects=[dialect])) == ("id_token", "id_token_mark")


LENIENT = replace(RFC9068, name="lenient", types=frozenset({"lenient+jwt"}), client_is_no_audience=False)


def test_a_dialect_may_name_its_client_as_audience() -> None:
    by = validator(dialects=[LENIENT])
    assert accepted(ISSUER.token(LENIENT, aud=[ISSUER.audience, CLIENT]), by).audience == (ISSUER.audience, CLIENT)
    strict = validator(dialects=[replace(LENIENT, client_is_no_audience=True)])
    assert refused(ISSUER.token(LENIENT, aud=[ISSUER.audience, CLIENT]), strict) == ("id_token", "id_token_mark")


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"aud": CLIENT}, ("wrong_audience", "audience_not_ours")),
        ({"aud": [CLIENT]}, ("wrong_audience", "audience_not_ours")),
        ({"aud": CLIENT, "nonce": "x"}, ("id_token", "id_token_mark")),
        ({"aud": [ISSUER.audience, CLIENT], "at_hash": "x"}, ("id_token", "id_token_mark")),
    ],
)
def test_where_a_client_may_be_audience_all_else_is_refused(claims: dict[str, Any], outcome: tuple[str, str]) -> None:
    assert refused(ISSUER.token(LENIENT, **claims), validator(dialects=[LENIENT])) == outcome


def test_a_lenient_dialect_excuses_no_other() -> None:
    by = validator(dialects=[LENIENT, RFC9068])
    audience = [ISSUER.audience, CLIENT]
    assert accepted(ISSUER.token(LENIENT, aud=audience), by).dialect == "lenient"
    assert refused(ISSUER.token("rfc9068", aud=audience), by) == ("id_token", "id_token_mark")


def test_unsaid_a_client_is_no_audience() -> None:
    assert Dialect(name="mine", types=frozenset({"mine+jwt"}), client_claim="cid").client_is_no_audience is True
    assert {dialect.client_is_no_audience for dialect in DIALECTS.values()} == {True}


def test_a_wrong_audience_without_marks_is_only_that() -> None:
    assert refused(ISSUER.token(aud="another")) == ("wrong_audience", "audience_not_ours")


def test_an_issuer_whose_api_is_named_like_the_client_still_refuses_id_tokens() -> None:
    by = AccessTokenValidator(
        [TrustedIssuer(ISSUER.issuer, CLIENT, dialects=AUTH0, keys=ISSUER.jwks())], clock=lambda: NOW
    )
    assert refused(ISSUER.token(aud=CLIENT), by) == ("id_token", "id_token_mark")


# --- claims whose name the application chooses ----------------------------------------------------------------------

NAMESPACED = "https://acme.example/roles"
CHOSEN: list[tuple[Any, dict[str, Any], set[str]]] = [
    (NAMESPACED, {NAMESPACED: ["clerk"]}, {"clerk"}),
    ("a.b", {"a.b": ["literal"], "a": {"b": ["path"]}}, {"literal"}),
    (("a", "b"), {"a.b": ["literal"], "a": {"b": ["path"]}}, {"path"}),
    (["x", ("a", "b")], {"x": ["one"], "a": {"b": ["two"]}}, {"one", "two"}),
    (["x", "y"], {"y": ["one"]}, {"one"}),
    (("a", "b"), {"a": {}}, set()),
    ("x", {}, set()),
    ("x", {"x": []}, set()),
    ("x", {"x": ["", "one", ""]}, {"one"}),
    ("x", {"x": ["two words"]}, {"two words"}),
]


@pytest.mark.parametrize(("names", "claims", "values"), CHOSEN)
def test_roles_stand_where_the_application_says(names: Any, claims: dict[str, Any], values: set[str]) -> None:
    grants = accepted(ISSUER.token(**claims), validator(roles_claims=names)).grants
    assert grants.roles == values
    assert not grants.roles & grants.effective


@pytest.mark.parametrize(("names", "claims", "values"), CHOSEN)
def test_permissions_stand_where_the_application_says(names: Any, claims: dict[str, Any], values: set[str]) -> None:
    by = validator(dialects=["access_token_authz"], permissions_claims=names, third_party_clients=set())
    grants = accepted(ISSUER.token(permissions=["never:read"], **claims), by).grants
    assert grants.permissions == grants.effective == values


def test_roles_are_read_nowhere_unless_named() -> None:
    token = token_with({"roles": ["admin"], "groups": ["admins"], NAMESPACED: ["clerk"]})
    assert accepted(token).grants.roles == frozenset()
    assert accepted(token).grants.groups == frozenset()


def test_permissions_can_be_named_in_a_dialect_that_has_none() -> None:
    by = validator(dialects=["rfc9068"], permissions_claims="rights", third_party_clients=set())
    assert accepted(ISSUER.token("rfc9068", scope="a", rights=["b"]), by).grants.effective == {"a", "b"}
    assert accepted(ISSUER.token("rfc9068", scope="a"), by).grants.effective == frozenset()


def test_named_permissions_go_where_dialects_have_them() -> None:
    by = validator(permissions_claims="rights", third_party_clients=set())
    assert accepted(ISSUER.token("access_token", scope="a", rights=["b"]), by).dialect == "access_token_authz"
    of_another_name = ISSUER.claims("access_token", scope="a") | {"permissions": ["b"]}
    assert accepted(ISSUER.sign(of_another_name), by).dialect == "access_token"


@pytest.mark.parametrize("value", [None, 1, True, "clerk", {}, [1], [None], [["clerk"]], [{}]])
@pytest.mark.parametrize("option", ["roles_claims", "permissions_claims"])
def test_a_named_claim_of_the_wrong_type_refuses(option: Any, value: object) -> None:
    by = validator(dialects=["access_token_authz"], **{option: "x"})
    assert refused(token_with({"x": value}), by) == ("invalid_claim", "claim_wrong_form")


@pytest.mark.parametrize("value", [None, 1, "b", [], True])
def test_a_path_through_something_that_is_no_object_refuses(value: object) -> None:
    by = validator(dialects=["access_token_authz"], roles_claims=("a", "b"))
    assert refused(token_with({"a": value}), by) == ("invalid_claim", "claim_wrong_form")


@pytest.mark.parametrize(
    ("names", "claims", "tenant"),
    [
        (None, {"org_id": "org_1"}, "org_1"),
        (None, {}, None),
        ("team", {"team": "eu"}, "eu"),
        ("team", {"org_id": "org_1"}, None),
        (["team", "org_id"], {"org_id": "org_1"}, "org_1"),
        (["team", "org_id"], {"org_id": "org_1", "team": "eu"}, "eu"),
        (("app", "tenant"), {"app": {"tenant": "eu"}}, "eu"),
    ],
)
def test_the_tenant_stands_where_the_application_says(names: Any, claims: dict[str, Any], tenant: str | None) -> None:
    assert accepted(ISSUER.token(**claims), validator(tenant_claims=names)).tenant == tenant


@pytest.mark.parametrize("value", [None, 1, True, "", [], ["org_1"], {}])
def test_a_tenant_of_the_wrong_form_refuses(value: object) -> None:
    assert refused(token_with({"org_id": value})) == ("invalid_claim", "claim_wrong_form")


@pytest.mark.parametrize("claims", [{}, {"org_id": "org_2"}, {"org_id": "ORG_1"}, {"org_name": "org_1"}])
def test_only_listed_tenants_are_let_in(claims: dict[str, Any]) -> None:
    by = validator(tenants=["org_1"])
    assert accepted(ISSUER.token(org_id="org_1"), by).tenant == "org_1"
    assert refused(ISSUER.token(**claims), by) == ("wrong_tenant", "tenant_not_allowed")


# --- actors ---------------------------------------------------------------------------------------------------------


def test_nothing_inside_act_is_a_grant() -> None:
    act = {"sub": "agent", "scope": "admin", "permissions": ["admin"], "roles": ["admin"], "act": {"sub": "earlier"}}
    token = accepted(ISSUER.token("access_token", scope="read", act=act), validator(roles_claims="roles"))
    assert token.actor == "agent"
    assert {grant.value for grant in token.grants} == {"read"}
    assert token.grants.effective == {"read"}


def test_an_actor_may_be_unnamed() -> None:
    assert accepted(ISSUER.token(act={})).actor is None


@pytest.mark.parametrize(
    "value", [None, 1, True, "agent", [], [{"sub": "agent"}], {"sub": 1}, {"sub": ""}, {"sub": None}]
)
def test_an_actor_of_the_wrong_form_refuses(value: object) -> None:
    with pytest.raises(InvalidToken) as caught:
        accepted(token_with({"act": value}))
    assert (caught.value.code, caught.value.reason) == (Code.INVALID_CLAIM, Reason.CLAIM_WRONG_FORM)
    assert caught.value.claim == "act"  # not `sub`, which would send a reader of the log to the subject


# --- tables ---------------------------------------------------------------------------------------------------------


def test_every_named_dialect_is_found_by_its_name() -> None:
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {name: name for name in DIALECTS}
    assert set(DIALECTS) == {*AUTH0_NAMES, "rfc9068"}


def test_rfc9068_leaves_the_algorithms_open_and_auth0_does_not() -> None:
    assert RFC9068.algorithms is None
    assert {dialect.algorithms for dialect in AUTH0} == {frozenset({"RS256", "PS256"})}


def test_claims_a_dialect_does_not_define_are_never_read() -> None:
    claims = ISSUER.claims("access_token", scope="read", scp="admin", roles=["admin"])
    token = ISSUER.sign({**claims, "scopes": ["admin"], "permission": ["admin"]})
    assert accepted(token, DEFAULT).grants.effective == {"read"}
    assert {grant.value for grant in accepted(token).grants} == {"read"}


# --- tables of one's own ----------------------------------------------------------------------------------------------

PATHS = 'a tuple of paths, (("a",), ("b", "c"), …)'
SET = 'frozenset({"a", …})'
TEXT = "a string that is not empty"
TYPES = 'types are lower case and without application/, such as frozenset({"at+jwt"})'


@pytest.mark.parametrize(
    ("change", "says"),
    [
        *(
            ({name: value}, f"{name} is {TEXT}")
            for name in ("name", "client_claim", "scope_claim")
            for value in ("", 5)
        ),
        *(({"machine_grant_type": value}, f"machine_grant_type is {TEXT}, or None") for value in ("", 5)),
        *(
            ({name: value}, f"{name} is {PATHS}")
            for name in ("permissions_claims", "roles_claims", "groups_claims", "tenant_claims")
            for value in ("mine", ("mine",), [("mine",)], (("mine",), "more"), ((),), (("",),), (("a", 1),), None)
        ),
        *(
            ({name: value}, f"{name} is {SET}")
            for name in ("types", "required_claims", "machine_profiles", "id_token_marks")
            for value in ({"a"}, "a", ("a",), frozenset({""}), frozenset({1}), None)
        ),
        *(({"algorithms": value}, f"algorithms is {SET}, or None") for value in ({"RS256"}, ["RS256"], frozenset({1}))),
        *(
            ({name: value}, f'{name} is ("a", …)')
            for name in ("other_client_claims", "machine_subject_suffixes", "third_party_prefixes")
            for value in ("azp", ["azp"], (1,), None)
        ),
        *(({"client_is_no_audience": value}, "client_is_no_audience is True or False") for value in (1, None, "yes")),
        *(
            (
                {"types": frozenset({value})},
                'types are lower case and without application/, such as frozenset({"at+jwt"})',
            )
            for value in ("JWT", "At+jwt", "application/at+jwt")
        ),
        *(
            (change, "nothing inside act is ever a grant or a tenant (RFC 8693 section 4.1); name another claim")
            for change in (
                {"scope_claim": "act"},
                {"permissions_claims": (("act", "permissions"),)},
                {"roles_claims": (("mine",), ("act", "roles"))},
                {"groups_claims": (("act",),)},
                {"tenant_claims": (("act", "org"),)},
            )
        ),
        (
            {"permissions_claims": (("scope",),)},
            "the claim scope cannot hold scopes and permissions at once; name another one for either",
        ),
        (
            {"roles_claims": (("a", "b"),), "groups_claims": (("c",), ("a", "b"))},
            "the claim a.b cannot hold roles and groups at once; name another one for either",
        ),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_meant_says_what_to_write(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        replace(RFC9068, **change)
    assert error.value.faults == (f"Dialect: {says}",)


def test_every_fault_of_a_table_is_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        replace(RFC9068, name="", types={"JWT"}, roles_claims=("roles",))  # type: ignore[arg-type]
    assert [fault.split()[1] for fault in error.value.faults] == ["name", "types", "roles_claims"]
