"""Terms about claims, callers and path parameters: what meets them, what never does, and how they read."""

from __future__ import annotations

import ast
import dataclasses
import enum
import pickle
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Security
from hypothesis import given
from hypothesis import strategies as st
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocket

from authz_middleware import ConfigurationError, policy, requires
from authz_middleware.policy import AUTHENTICATED, Kind, Policy, Term, TokenRequest
from authz_middleware.policy.claims import GRANT_CLAIMS
from authz_middleware.policy.decision import conclude
from authz_middleware.policy.patterns import MAX_MATCHED_LENGTH, MAX_STEPS, _cost_of, _cost_of_one, compile_pattern
from authz_middleware.testing import LocalIssuer

from .apps import authz, client, expect_forbidden, expect_ok, starlette_app
from .helpers import ISSUER, accepted, token_with, validator

claim, path_param = policy.claim, policy.path_param


def asking(path_params: Mapping[str, Any] | None = None, **claims: object) -> TokenRequest:
    """Return a request with a really signed token that has these claims."""
    return TokenRequest(ISSUER.access_token(**claims), path_params or {})  # type: ignore[arg-type]  # names of claims


def holds(asked: Policy, path_params: Mapping[str, Any] | None = None, **claims: object) -> bool:
    return asked.allows(asking(path_params, **claims))


# --- claims -----------------------------------------------------------------------------------------------------------

JSON_VALUES = [
    True, False, 0, 1, -1, 1.0, 1.5, 0.0, "", "1", "true", "True", "1.0", "acme", "Acme", " acme", "caf\u00e9",
    "cafe\u0301", 2**60, float(2**60), "null", "None",
]  # fmt: skip


def is_same_json(one: object, other: object) -> bool:
    """Tell whether two values are the same JSON scalar, written down a second time: by type first."""
    types = [bool if isinstance(v, bool) else float if isinstance(v, int | float) else str for v in (one, other)]
    return types[0] is types[1] and one == other


@pytest.mark.parametrize("operand", JSON_VALUES, ids=repr)
def test_equals_compares_type_and_value(operand: Any) -> None:
    asked = claim("level", equals=operand)
    for value in JSON_VALUES:
        assert holds(asked, level=value) == is_same_json(value, operand), value


@pytest.mark.parametrize("operand", JSON_VALUES, ids=repr)
def test_contains_asks_an_array_for_such_an_element(operand: Any) -> None:
    asked = claim("levels", contains=operand)
    for value in JSON_VALUES:
        assert holds(asked, levels=["other", value]) == is_same_json(value, operand), value
    assert not holds(asked, levels=[])
    assert not holds(asked, levels=[[operand]])
    assert not holds(asked, levels={"0": operand})
    assert not holds(asked, levels=operand)


@pytest.mark.parametrize("text", ["acme", "xacmex"])
def test_a_string_contains_nothing(text: str) -> None:
    assert not holds(claim("org", contains="acme"), org=text)
    assert not holds(claim("org", contains="a"), org=text)


@pytest.mark.parametrize("value", [["acme"], {"acme": "acme"}, ["acme", "acme"], {}, []])
def test_only_a_scalar_equals_one(value: object) -> None:
    assert not holds(claim("org", equals="acme"), org=value)
    assert not holds(claim("org", matches=".*"), org=value)


EVERY_OPERATOR: list[Policy] = [
    *(claim("org", equals=value) for value in ("acme", "", "null", "None", 0, False, True)),
    *(claim("org", contains=value) for value in ("acme", "", 0, False)),
    claim("org", matches=".*"),
    claim("org", matches=""),
    claim("org", equals=path_param("org")),
    claim("org", contains=path_param("org")),
]


@pytest.mark.parametrize("asked", EVERY_OPERATOR, ids=repr)
@pytest.mark.parametrize("params", [{}, {"org": None}, {"org": ""}, {"org": "acme"}])
def test_an_absent_claim_and_null_meet_nothing(asked: Policy, params: dict[str, Any]) -> None:
    assert not holds(asked, params)
    assert not asked.allows(TokenRequest(accepted(token_with({"org": None})), params))
    assert not asked.allows(TokenRequest(accepted(token_with({"org": [None]})), params))


@pytest.mark.parametrize(
    ("path", "value", "met"),
    [
        (("org", "id"), {"id": "acme"}, True),
        (("org", "id"), {"id": "other"}, False),
        (("org", "id"), {"ID": "acme"}, False),
        (("org", "id"), "acme", False),
        (("org", "id"), [{"id": "acme"}], False),
        (("org", "id", "x"), {"id": "acme"}, False),
        (("org",), {"id": "acme"}, False),
        (("org", "0"), ["acme"], False),
        ("org.id", {"id": "acme"}, False),
    ],
)
def test_a_tuple_is_a_path_and_a_string_is_one_literal_name(path: Any, value: object, met: bool) -> None:
    assert holds(claim(path, equals="acme"), org=value) == met


def test_a_literal_name_may_hold_anything() -> None:
    name = "https://acme.example/org.id"
    assert claim(name, equals="acme").allows(asking(None, **{name: "acme"}))
    assert claim((name,), equals="acme") == claim(name, equals="acme")


@pytest.mark.parametrize(
    ("pattern", "value", "met"),
    [
        ("acme-.*", "acme-eu", True),
        ("acme-.*", "xacme-eu", False),
        ("acme", "acme-eu", False),
        ("acme|other", "acme-eu", False),
        ("acme$", "acme\n", False),
        ("acme.*", "acme\neu", False),
        ("(?i)acme", "ACME", True),
        (re.compile("acme", re.IGNORECASE), "ACME", True),
        ("acme", "ACME", False),
        (r"\d+", "12", True),
        (r"\d+", 12, False),
        ("True", True, False),
        ("x*", "x" * MAX_MATCHED_LENGTH, True),
        ("x*", "x" * (MAX_MATCHED_LENGTH + 1), False),
    ],
)
def test_matches_is_a_full_match_of_a_short_string(pattern: Any, value: object, met: bool) -> None:
    assert holds(claim("org", matches=pattern), org=value) == met


def test_claims_made_by_hand_may_be_lists() -> None:
    token = dataclasses.replace(ISSUER.access_token(), claims={"levels": ["a", "b"]})
    assert claim("levels", contains="b").allows(TokenRequest(token))


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "client_id", "org_id", "email_verified"])
def test_what_says_who_calls_can_be_asked(name: str) -> None:
    assert not holds(claim(name, equals="nobody"))


# --- what cannot be meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", (), ("",), ("a", ""), ["a"], ("a", 1), 1, None, b"a", {"a"}, ("a", None)])
def test_a_claim_has_a_name_or_a_path(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'write claim\("org_id", equals="acme"\)'):
        claim(name, equals="x")


@pytest.mark.parametrize(
    "operators",
    [{}, {"equals": None}, {"equals": "a", "contains": "a"}, {"matches": "a", "equals": "a"}, {"matches": None}],
)
def test_a_claim_has_one_operator(operators: Any) -> None:
    with pytest.raises(ConfigurationError, match="exactly one of equals=, contains= and matches="):
        claim("org", **operators)


@pytest.mark.parametrize(
    "operand",
    [["a"], ("a",), {"a": 1}, b"a", object(), 1j, Decimal(1), float("nan"), float("inf"), -float("inf"), uuid.uuid4()],
)
@pytest.mark.parametrize("operator", ["equals", "contains"])
def test_an_operand_is_a_json_scalar(operator: str, operand: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{operator} takes a string, a number, a boolean or path_param"):
        claim("org", **{operator: operand})


@pytest.mark.parametrize("pattern", [1, b"a", re.compile(b"a"), ["a"], path_param("org"), True])
def test_a_pattern_is_a_string_or_compiled_from_one(pattern: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'write matches="acme-\.\*"'):
        claim("org", matches=pattern)


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "*", "(?P<x>", "a{99999999999999999999}", "(" * 5000])
def test_what_is_no_regular_expression_is_an_error(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="is no regular expression"):
        claim("org", matches=pattern)


@pytest.mark.parametrize("issuer", ["", 1, ["https://issuer.test/"], b"x", False])
@pytest.mark.parametrize(
    "make",
    [
        lambda issuer: claim("org", equals="a", issuer=issuer),
        lambda issuer: policy.role("r", issuer=issuer),
        lambda issuer: policy.group("g", issuer=issuer),
        lambda issuer: policy.subject("s", issuer=issuer),
        lambda issuer: policy.client("c", issuer=issuer),
        lambda issuer: policy.tenant("t", issuer=issuer),
    ],
)
def test_an_issuer_is_the_name_of_one(make: Any, issuer: object) -> None:
    with pytest.raises(ConfigurationError, match="issuer is the `iss` of one trusted issuer"):
        make(issuer)


@pytest.mark.parametrize("make", [policy.subject, policy.client, policy.tenant])
@pytest.mark.parametrize("value", ["", None, 1, True, ["jo"], b"jo", uuid.uuid4()])
def test_an_identity_is_a_string(make: Any, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"takes a string or path_param"):
        make(value)


@pytest.mark.parametrize("name", ["", None, 1, ["org"], b"org"])
def test_a_path_parameter_has_a_name(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'write path_param\("org"\)'):
        path_param(name)


# --- claims that carry grants -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(GRANT_CLAIMS))
@pytest.mark.parametrize("operator", [{"equals": "x"}, {"contains": "x"}, {"matches": ".*x.*"}])
@pytest.mark.parametrize("path", [lambda name: name, lambda name: (name,), lambda name: (name, "x")])
def test_claims_that_carry_grants_are_not_read_around_their_rule(name: str, operator: Any, path: Any) -> None:
    with pytest.raises(ConfigurationError, match="not every value there counts; write policy"):
        claim(path(name), **operator)


CONFIGURED: list[tuple[dict[str, Any], Any]] = [
    ({"roles_claims": "https://acme.example/roles"}, "https://acme.example/roles"),
    ({"roles_claims": ("realm_access", "roles")}, ("realm_access", "roles")),
    ({"groups_claims": ["a", ("b", "c")]}, ("b", "c")),
    ({"permissions_claims": "https://acme.example/permissions"}, "https://acme.example/permissions"),
]


@pytest.mark.parametrize(("options", "name"), CONFIGURED, ids=str)
def test_nor_are_those_an_application_has_named(options: dict[str, Any], name: Any, issuer: LocalIssuer) -> None:
    asked = claim(name, contains="admin")
    path = name if isinstance(name, tuple) else (name,)
    value: object = ["admin"]
    for part in reversed(path[1:]):
        value = {part: value}
    claims = {path[0]: value}
    trusted = ISSUER.trusted(third_party_clients=set(), **options)
    token = ISSUER.access_token(trusted=trusted, **claims)  # type: ignore[arg-type]  # names of claims
    decision = conclude(asked, TokenRequest(token))
    assert not decision.allowed
    assert "carries grants, and not every value there counts; write requires" in decision.why
    assert asked.allows(TokenRequest(ISSUER.access_token(**claims)))  # type: ignore[arg-type]  # where it is no such claim

    app = starlette_app(issuer, Route("/", requires(asked)(ran)), issuers=[issuer.trusted(**options)])
    with pytest.raises(ConfigurationError, match="carries grants, and not every value there counts"), client(app):
        raise NotImplementedError


def test_a_third_party_s_permission_cannot_be_had_through_a_claim() -> None:
    options: dict[str, Any] = {"permissions_claims": "https://acme.example/permissions", "first_party_clients": ["own"]}
    token = accepted(
        ISSUER.token(client_id="other", permissions=None, **{"https://acme.example/permissions": ["delete"]}),  # type: ignore[arg-type]
        validator(**options),
    )
    assert token.grants.permissions == {"delete"}
    assert token.grants.effective == frozenset()
    for asked in (claim("https://acme.example/permissions", contains="delete"), policy.any_of("delete")):
        assert not asked.allows(TokenRequest(token))


# --- delegation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["act", ("act",), ("act", "act", "sub"), ("act", "iss"), ("act", "sub", "x")])
def test_nothing_inside_act_can_be_asked_but_the_actor(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'write claim\(\("act", "sub"\), equals=…\)'):
        claim(path, equals="service")


def test_the_actor_is_the_outermost_one() -> None:
    act = {"sub": "outer", "act": {"sub": "inner"}}
    assert holds(claim(("act", "sub"), equals="outer"), act=act)
    assert not holds(claim(("act", "sub"), equals="inner"), act=act)


# --- patterns ---------------------------------------------------------------------------------------------------------

QUICK = [
    "",
    "acme",
    "acme-.*",
    ".*@acme\\.example",
    "[a-z]+-[a-z0-9]+",
    "[a-z]++-[a-z]++-[0-9]++",
    "[a-z]+-[a-z]+@acme\\.example",
    r"\w*" + r"\w" * 200 + "!",
    "(?:acme|other)-[a-z]{2,8}",
    "org_[A-Za-z0-9]{16}",
    "a?b?c?",
    "(a|b|c){1,3}",
    "(?i)acme(?:-eu)?",
    "(?>a+)b",
    "[a-z]++\\.[a-z]++\\.[a-z]++\\.[a-z]++",
    "(?:[a-z]++){1,2}",
    "(a)?(?(1)b|c)",
    "(a)?(?(1)b)",
    "(?P<x>[ab])(?P=x)",
    "(?=acme).*",
    "(?!evil).*",
    "^acme$",
    "[^@]*@[^@]*",
    "(?x) a  # a comment",
    "x*?y",
    "a{300}",
    "(?!)",
]
SLOW = [
    "(a+)+",
    "(a*)*",
    "(a|aa)+",
    "(?:a|ab)*",
    "(a+)*b",
    "(.*)*",
    "([a-z]+\\.)+com",
    "(?:a?){30}a{30}",
    "a?" * 30 + "a" * 30,
    ".*.*.*x",
    "[a-z]+-[a-z]+-[0-9]+",
    r"\w*\w*\w*" + r"\w" * 120 + "!",
    r"\w*\w*" + r"\w" * 120 + "!",
    r"\w*\w*\w*(?=\w{120}!)",
    r"\w*\w*(?=\w{120}!)",
    r"\w*\w*(?:" + "|".join(r"\w" * length + "!" for length in range(20)) + ")",
    r"\w*\w*(?(1)" + r"\w" * 40 + "|x)()",
    "(?>(a+)+)b",
    "(?=(a+)+$).*",
    "(?!(a+)+$).*",
    "(?:a|aa)++b",
    "((a+)(b+))+",
    "(a+){10}",
    "(?:(?:(?:a+)+)+)+",
    "(?i)(a+)+",
]


@pytest.mark.parametrize("pattern", QUICK)
def test_a_pattern_that_takes_little_time_is_taken(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    for character in "aA@.-1\n":  # whatever somebody writes into the claim
        for end in ("", "!", "\n"):
            compiled.fullmatch(character * (MAX_MATCHED_LENGTH - 1) + end)


@pytest.mark.parametrize("pattern", SLOW)
@pytest.mark.parametrize("given_as", [str, re.compile])
def test_a_pattern_that_can_take_long_is_an_error(pattern: str, given_as: Callable[[str], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"may take long.*two repetitions.*policy\.check"):
        claim("org", matches=given_as(pattern))


@pytest.mark.parametrize(
    ("pattern", "cost"),
    [
        ("", (1, 0)),
        ("abc", (1, 3)),
        ("a|bc", (2, 5)),  # two branches are begun, and three characters compared
        ("(?>ab|cd)e", (2, 8)),
        ("a?", (2, 2)),
        ("a?b", (2, 4)),  # b is tried with a before it and without
        ("a{3}", (1, 4)),
        ("a{2,4}b", (3, 8)),
        ("(?:ab|cd){2}", (4, 42)),
        ("a*", (257, 257)),
        ("a*b", (257, 514)),
        ("a*a*", (257**2, 257 + 257**2)),
        ("a*+b", (1, 258)),
        ("(?=a*)b", (257, 514)),
    ],
)
def test_how_much_the_engine_may_have_to_do(pattern: str, cost: tuple[int, int]) -> None:
    assert _cost_of(re.compile(pattern)) == cost


def test_the_worst_pattern_that_is_taken_ends_on_the_worst_string() -> None:
    pattern = r"\w*\w*" + r"\w" * 29 + "!"
    assert _cost_of(re.compile(pattern)).steps <= MAX_STEPS < _cost_of(re.compile(r"\w*\w*" + r"\w" * 31 + "!")).steps
    assert not holds(claim("org", matches=pattern), org="a" * MAX_MATCHED_LENGTH)


def test_where_python_does_not_show_the_tree_no_pattern_is_known_to_be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(re, "_parser")
    with pytest.raises(ConfigurationError, match="may take long"):
        claim("org", matches="acme")


def test_what_python_learns_to_repeat_is_not_known_to_be_quick() -> None:
    assert _cost_of_one("NEW_REPEAT", ()).steps > MAX_STEPS


# --- identity ---------------------------------------------------------------------------------------------------------


def test_subject_client_and_tenant_are_compared_to_the_letter() -> None:
    request = asking(subject="auth0|jo", client_id="app", org_id="org_1")
    for term in (policy.subject("auth0|jo"), policy.client("app"), policy.tenant("org_1")):
        assert term.allows(request)
    for term in (
        *map(policy.subject, ("auth0|Jo", "jo", "auth0|jo ", "app", "*")),
        *map(policy.client, ("App", "ap", "auth0|jo", "*")),
        *map(policy.tenant, ("org_2", "ORG_1", "org_", "app", "*")),
    ):
        assert not term.allows(request)


def test_an_absent_tenant_and_an_unnamed_client_meet_nothing() -> None:
    nobody = dataclasses.replace(ISSUER.access_token(), client_id=None, tenant=None)
    for make in (policy.client, policy.tenant):
        for value in ("None", "null", path_param("x")):
            for params in ({}, {"x": None}, {"x": ""}, {"x": "None"}):
                assert not make(value).allows(TokenRequest(nobody, params))


def test_a_caller_is_a_machine_or_a_user() -> None:
    for is_machine in (True, False):
        request = asking(machine=is_machine)
        assert policy.machine.allows(request) is is_machine
        assert policy.user.allows(request) is not is_machine


# --- path parameters --------------------------------------------------------------------------------------------------

NUMBER, ID = 42, uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@pytest.mark.parametrize(
    ("read", "value", "met"),
    [
        ("acme", "acme", True),
        ("Acme", "acme", False),
        ("42", 42, False),
        (42, 42, True),
        (42, "42", False),
        (42, 42.0, True),
        (1, True, False),
        (1.5, 1.5, True),
        (ID, str(ID), True),
        (ID, str(ID).upper(), False),
        (ID, ID.hex, False),
        (Decimal(42), 42, False),
        (b"acme", "acme", False),
        (["acme"], ["acme"], False),
        (None, "None", False),
    ],
    ids=repr,
)
def test_a_parameter_is_compared_as_its_convertor_reads_it(read: object, value: object, met: bool) -> None:
    assert holds(claim("org", equals=path_param("id")), {"id": read}, org=value) == met
    assert holds(claim("org", contains=path_param("id")), {"id": read}, org=[value]) == met
    assert holds(claim("org", contains=path_param("id")), {"id": read}, org=["x", value]) == met


def test_an_identity_is_compared_with_a_string_only() -> None:
    for read, met in (("org_1", True), ("org_2", False), (1, False), (None, False), (["org_1"], False)):
        assert holds(policy.tenant(path_param("org")), {"org": read}, org_id="org_1") == met
    assert holds(policy.subject(path_param("who")), {"who": ID}, subject=str(ID))
    assert not holds(policy.subject(path_param("who")), {"other": "auth0|jo"})


async def ran(request: Request) -> Response:
    return PlainTextResponse("ran")


ORG = claim("org", equals=path_param("org"))


class Upper(Convertor[str]):
    """A convertor of an application's own."""

    regex = "[a-z]+"

    def convert(self, value: str) -> str:
        return value.upper()

    def to_string(self, value: str) -> str:
        raise NotImplementedError


register_url_convertor("upper_for_policies", Upper())


@pytest.mark.parametrize(
    ("template", "path", "value", "other"),
    [
        ("/{org}", "/acme", "acme", "other"),
        ("/{org}", "/a%2Db", "a-b", "a%2Db"),
        ("/{org:int}", "/7", 7, "7"),
        ("/{org:float}", "/1.5", 1.5, "1.5"),
        ("/{org:uuid}", f"/{ID}", str(ID), ID.hex),
        ("/{org:path}", "/a/b/c", "a/b/c", "a"),
        ("/x/{org:path}", "/x/", "", None),
        ("/{org:upper_for_policies}", "/acme", "ACME", "acme"),
    ],
)
def test_routes_of_starlette(template: str, path: str, value: object, other: object, issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Route(template, requires(ORG)(ran))))
    expect_ok(app.get(path, headers=issuer.headers(org=value)), "ran")
    assert app.get(path, headers=issuer.headers(org=other)).status_code == 403
    assert app.get(path, headers=issuer.headers()).status_code == 403
    assert app.get(path).status_code == 401


def test_routes_of_fastapi_read_strings_unless_the_path_says_otherwise(issuer: LocalIssuer) -> None:
    app = FastAPI()
    app.user_middleware.append(authz(issuer))
    router = APIRouter()

    @router.get("/by-annotation/{key}", dependencies=[Security(requires(claim("org", equals=path_param("key"))))])
    async def annotated(key: int, org: str) -> str:
        return "ran"

    @router.get("/by-path/{key:int}")
    @requires(claim("org", equals=path_param("key")))
    async def converted(key: int, org: str) -> str:
        return "ran"

    @router.get("/prefix")
    @requires(ORG)
    async def prefixed(org: str) -> str:
        return "ran"

    app.include_router(router, prefix="/orgs/{org}")
    asked = client(app)

    def status(path: str, org: object) -> int:
        return int(asked.get(f"/orgs/acme/{path}", headers=issuer.headers(org=org)).status_code)

    assert (status("by-annotation/42", "42"), status("by-annotation/42", 42)) == (200, 403)
    assert (status("by-path/42", 42), status("by-path/42", "42")) == (200, 403)
    assert (status("prefix", "acme"), status("prefix", "other")) == (200, 403)
    assert status("by-annotation/nonsense", 42) == 403  # and no 422 tells what the parameter should be


def test_a_mount_s_parameter_is_the_mount_s_and_a_route_s_the_route_s(issuer: LocalIssuer) -> None:
    """Of two parameters of one name, each is asked where it stands: Starlette hands the inner one to the handler."""
    inner = Route("/{org}", requires(ORG)(ran))
    outer = requires(ORG)(Mount("/", routes=[inner, Route("/", requires("x")(ran))]).app)
    app = client(starlette_app(issuer, Mount("/{org}", app=outer)))

    def status(path: str, org: str) -> int:
        return int(app.get(path, headers=issuer.headers(org=org, permissions=["x"])).status_code)

    assert status("/acme/acme", "acme") == 200
    assert status("/acme/other", "acme") == 403  # the mount is met, the route is not
    assert status("/other/acme", "acme") == 403  # the route would be met, the mount is not
    assert status("/other/acme", "other") == 403
    assert status("/acme/", "acme") == 200
    assert status("/other/", "acme") == 403


def test_a_route_within_sees_the_parameters_of_the_mounts_around_it(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Mount("/{org}", routes=[Route("/{id}", requires(ORG)(ran))])))
    expect_ok(app.get("/acme/1", headers=issuer.headers(org="acme")), "ran")
    assert app.get("/other/acme", headers=issuer.headers(org="acme")).status_code == 403


def test_a_missing_parameter_meets_nothing(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Route("/{organization}", requires(ORG)(ran))))
    expect_forbidden(app.get("/acme", headers=issuer.headers(org="acme")), required=[])


def test_a_query_or_a_body_is_no_path_parameter(issuer: LocalIssuer) -> None:
    app = client(starlette_app(issuer, Route("/", requires(ORG)(ran), methods=["POST"])))
    answer = app.post("/?org=acme", headers=issuer.headers(org="acme"), json={"org": "acme"})
    expect_forbidden(answer, required=[])


def test_a_websocket_has_path_parameters(issuer: LocalIssuer) -> None:
    @requires(ORG)
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app = client(starlette_app(issuer, WebSocketRoute("/{org}", live)))
    with app.websocket_connect("/acme", headers=issuer.headers(org="acme")) as connected:
        assert connected.receive()["type"] == "websocket.close"
    refusal = pytest.raises(WebSocketDenialResponse)
    with refusal as refused, app.websocket_connect("/other", headers=issuer.headers(org="acme")):
        raise NotImplementedError
    expect_forbidden(refused.value, required=[])


# --- values -----------------------------------------------------------------------------------------------------------


async def owns(request: policy.AccessRequest) -> bool:
    raise NotImplementedError


def allowed(request: policy.AccessRequest) -> bool:
    raise NotImplementedError


NAMES = st.sampled_from(["a", "org_id", "https://acme.example/claim", "two words", "'quoted\"", "\\", "\u00fc\n"])
WORDS = st.sampled_from(["a", "b", "read:orders", "a.b", "'", '"', "\u00fc", "\\d"])
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
)
ISSUERS = st.sampled_from([None, "https://issuer.test/", "https://other.test"])
PARAMS = st.builds(path_param, NAMES)
TERMS: st.SearchStrategy[Policy] = st.one_of(
    st.builds(policy.any_of, WORDS),
    st.builds(policy.scope, WORDS | st.just("openid")),
    st.builds(policy.permission, WORDS | st.just("two words")),
    st.builds(policy.role, NAMES, issuer=ISSUERS),
    st.builds(policy.group, NAMES, issuer=ISSUERS),
    st.builds(claim, NAMES | st.tuples(NAMES, NAMES), equals=SCALARS | PARAMS, issuer=ISSUERS),
    st.builds(claim, NAMES | st.tuples(NAMES), contains=SCALARS | PARAMS, issuer=ISSUERS),
    st.builds(
        claim,
        NAMES,
        matches=st.sampled_from(
            ["a.*", "(?i)a", re.compile("a", re.IGNORECASE | re.DOTALL), re.compile("(?s)a", re.ASCII), "'\"\\\\"]
        ),
    ),
    st.builds(policy.subject, NAMES | PARAMS, issuer=ISSUERS),
    st.builds(policy.client, NAMES | PARAMS, issuer=ISSUERS),
    st.builds(policy.tenant, NAMES | PARAMS, issuer=ISSUERS),
    st.sampled_from([policy.machine, policy.user]),
    st.builds(policy.check, st.sampled_from([owns, allowed]), seconds=st.sampled_from([5.0, 2, 0.5])),
)
POLICIES = st.recursive(
    TERMS | st.just(AUTHENTICATED),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda some: policy.all_of(*some)),
        st.lists(parts, min_size=1, max_size=3).map(lambda some: policy.any_of(*some)),
    ),
    max_leaves=6,
)


class Grants(ast.NodeTransformer):
    """Makes of each string that stands by itself the grant that `requires`, `&` and `|` take it for."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        node.left, node.right = self.meant(node.left), self.meant(node.right)
        return node

    def meant(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant):
            return ast.copy_location(ast.Call(ast.Name("any_of", ast.Load()), [node], []), node)
        visited: ast.expr = self.visit(node)
        return visited


def evaluated(text: str) -> Policy:
    """Return what a text makes where `policy.*`, `re` and the application's own functions are in scope."""
    tree = ast.parse(text, mode="eval")
    tree.body = Grants().meant(tree.body)
    names = {name: getattr(policy, name) for name in policy.__all__}
    names |= {"re": re, "owns": owns, "allowed": allowed, "authenticated": AUTHENTICATED}
    made: Policy = eval(compile(ast.fix_missing_locations(tree), "<policy>", "eval"), {}, names)
    return made


@given(POLICIES)
def test_a_policy_reads_like_its_source(asked: Policy) -> None:
    again = evaluated(repr(asked))
    assert again == asked
    assert hash(again) == hash(asked)
    assert again.alternatives == asked.alternatives
    assert repr(again) == repr(asked)


@given(TERMS)
def test_a_term_says_what_tells_it_apart(term: Term) -> None:
    assert term.terms == (term,)
    assert term.alternatives == ((term,),)
    assert term.kind in Kind
    assert isinstance(term.value, str)
    assert term.has_checks == (term.kind is Kind.CHECK)
    assert term.asks_request == ("path_param" in repr(term) or term.has_checks)


@given(POLICIES)
def test_what_a_policy_asks_is_known_beforehand(asked: Policy) -> None:
    assert asked.has_checks >= any(term.has_checks for term in asked.terms)
    assert asked.asks_request >= any(term.asks_request for term in asked.terms)


@given(TERMS, TERMS)
def test_terms_are_equal_if_they_are_written_alike(one: Policy, other: Policy) -> None:
    assert (one == other) == (repr(one) == repr(other))
    assert (one == other) <= (hash(one) == hash(other))
    assert one != repr(one)  # type: ignore[comparison-overlap]


@given(TERMS)
def test_terms_are_immutable(term: Term) -> None:
    for attribute in ("kind", "value", "issuer", "operand", "path", "function", "seconds", "new"):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(term, attribute, "x")
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        del term.kind


@given(POLICIES)
def test_policies_survive_other_modules_and_processes(asked: Policy) -> None:
    assert pickle.loads(pickle.dumps(asked)) == asked


@pytest.mark.parametrize("values", [(True, 1), (1, 1.0), (False, 0), ("1", 1)])
def test_operands_that_python_takes_for_equal_make_different_terms(values: tuple[Any, Any]) -> None:
    one, other = (claim("org", equals=value) for value in values)
    assert one != other
    assert len({one, other}) == 2
    assert len((one | other).alternatives) == 2


class Name(enum.StrEnum):
    READ = "read:orders"


class OldName(str, enum.Enum):  # noqa: UP042 - as many applications have it
    READ = "read:orders"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize("member", [Name.READ, OldName.READ])
def test_a_member_of_an_enumeration_is_its_string(member: str) -> None:
    assert repr(requires(member).access) == "'read:orders'"
    for make in (policy.scope, policy.permission, policy.role, policy.group, policy.subject, policy.client):
        assert make(member) == make("read:orders")
        assert repr(make(member)) == repr(make("read:orders"))
    for operator in ("equals", "contains"):
        assert repr(claim("x", **{operator: member})) == f"claim('x', {operator}='read:orders')"
    assert repr(claim("x", equals=Level.HIGH)) == "claim('x', equals=3)"
    assert repr(claim(member, equals="x")) == "claim('read:orders', equals='x')"
    assert repr(claim((member, "x"), equals=path_param(member))) == (
        "claim(('read:orders', 'x'), equals=path_param('read:orders'))"
    )
    for term in (policy.role, policy.tenant):
        assert repr(term("x", issuer=member)) == f"{term.__name__}('x', issuer='read:orders')"
    assert repr(claim("x", matches="x", issuer=member)) == "claim('x', matches='x', issuer='read:orders')"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (claim("org_id", equals="acme"), "claim('org_id', equals='acme')"),
        (claim(("a", "b"), contains=3), "claim(('a', 'b'), contains=3)"),
        (claim("a", matches="x.*"), "claim('a', matches='x.*')"),
        (claim("a", matches=re.compile("x", re.IGNORECASE)), "claim('a', matches=re.compile('x', re.IGNORECASE))"),
        (claim("a", matches="(?i)x"), "claim('a', matches='(?i)x')"),
        (claim("a", equals=path_param("b")), "claim('a', equals=path_param('b'))"),
        (policy.subject("s", issuer="i"), "subject('s', issuer='i')"),
        (policy.tenant(path_param("org")), "tenant(path_param('org'))"),
        (policy.machine & "a", "machine & 'a'"),
        (policy.user | policy.check(owns), "user | check(owns)"),
        (policy.check(allowed, seconds=2), "check(allowed, seconds=2)"),
        (policy.check(allowed, seconds=2.0), "check(allowed, seconds=2)"),
        (policy.check(allowed, seconds=2.5), "check(allowed, seconds=2.5)"),
        (policy.check(allowed, seconds=5), "check(allowed)"),
        (claim("a", equals=-0.0), "claim('a', equals=0.0)"),
        (policy.group("g", issuer="i"), "group('g', issuer='i')"),
    ],
)
def test_examples_of_how_terms_read(asked: Policy, text: str) -> None:
    assert repr(asked) == text


# --- properties -------------------------------------------------------------------------------------------------------

SMALL_TERMS: list[Policy] = [
    policy.any_of("a"),
    policy.any_of("b"),
    policy.scope("a"),
    policy.permission("b"),
    policy.scope("openid"),
    policy.role("r"),
    policy.group("g"),
    claim("org", equals="acme"),
    claim("levels", contains=path_param("level")),
    policy.tenant(path_param("org")),
    policy.subject("auth0|jo"),
    policy.machine,
    policy.user,
    policy.check(allowed),
]
SMALL = st.recursive(
    st.sampled_from([*SMALL_TERMS, AUTHENTICATED]),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda some: policy.all_of(*some)),
        st.lists(parts, min_size=1, max_size=3).map(lambda some: policy.any_of(*some)),
    ),
    max_leaves=7,
)
SOME = st.lists(st.sampled_from(["a", "b", "openid"]), unique=True)
TRUSTED = ISSUER.trusted(third_party_clients=set(), roles_claims="my_roles", groups_claims="my_groups")
UNSAID = ISSUER.trusted(roles_claims="my_roles", groups_claims="my_groups")
CLAIMS = st.fixed_dictionaries(
    {"scope": SOME.map(" ".join), "permissions": SOME, "machine": st.booleans()},
    optional={
        "my_roles": st.lists(st.sampled_from(["r", "a"]), unique=True),
        "my_groups": st.lists(st.sampled_from(["g", "a"]), unique=True),
        "org": st.sampled_from(["acme", "other", 1]),
        "levels": st.lists(st.sampled_from(["high", "low"]), unique=True),
        "org_id": st.sampled_from(["org_1", "org_2"]),
    },
)
WHERE = st.fixed_dictionaries({}, optional={"org": st.just("org_1"), "level": st.sampled_from(["high", 1])})
CHECKED = st.sampled_from([{}, *({policy.check(allowed): answer} for answer in (True, False, None))])


def met(asked: Policy, claims: dict[str, Any], where: dict[str, Any], checked: Any, trusted: Any = TRUSTED) -> bool:
    token = ISSUER.access_token(trusted=trusted, **claims)
    return asked.allows(TokenRequest(token, where), checked)


@given(SMALL, SMALL, CLAIMS, WHERE, CHECKED)
def test_adding_a_requirement_never_widens_and_a_choice_admits_its_parts(
    one: Policy, other: Policy, claims: dict[str, Any], where: dict[str, Any], checked: Any
) -> None:
    first, second = met(one, claims, where, checked), met(other, claims, where, checked)
    assert met(one & other, claims, where, checked) == (first and second)
    assert met(one | other, claims, where, checked) == (first or second)


@given(SMALL, CLAIMS, WHERE, CHECKED, st.sampled_from(["scope", "permissions", "my_roles", "my_groups"]), SOME)
def test_adding_a_grant_never_narrows(
    asked: Policy, claims: dict[str, Any], where: dict[str, Any], checked: Any, name: str, more: list[str]
) -> None:
    held = claims.get(name, [])
    added = f"{held} {' '.join(more)}" if isinstance(held, str) else [*held, *more]
    assert met(asked, {**claims, name: added}, where, checked) >= met(asked, claims, where, checked)
    holding_more = {policy.check(allowed): True}
    assert met(asked, claims, where, holding_more) >= met(asked, claims, where, checked)


@given(CLAIMS)
def test_of_a_client_that_may_be_a_third_party_s_only_what_stands_in_both_claims_counts(claims: dict[str, Any]) -> None:
    grants = ISSUER.access_token(trusted=UNSAID, **claims).grants
    if not claims["machine"]:
        assert grants.effective <= set(claims["scope"].split()) & set(claims["permissions"])


@given(SMALL, CLAIMS, WHERE, CHECKED, st.randoms())
def test_the_order_of_claims_scopes_and_terms_changes_nothing(
    asked: Policy, claims: dict[str, Any], where: dict[str, Any], checked: Any, random: Any
) -> None:
    def shuffled(items: Any) -> list[Any]:
        found = list(items)
        random.shuffle(found)
        return found

    def turned(part: Policy) -> Policy:
        if isinstance(part, policy.AllOf) and part.parts:
            return policy.all_of(*map(turned, shuffled(part.parts)))
        return policy.any_of(*map(turned, shuffled(part.parts))) if isinstance(part, policy.AnyOf) else part

    reordered = {name: claims[name] for name in shuffled(claims)}
    reordered["scope"] = " ".join(shuffled(claims["scope"].split()))
    reordered["permissions"] = shuffled(claims["permissions"])
    assert met(turned(asked), reordered, where, checked) == met(asked, claims, where, checked)


def nested_otherwise(asked: Policy) -> Policy:
    """Return an equal policy that was put together in another way: two by two, from the end, with repetitions."""
    if not isinstance(asked, policy.AllOf | policy.AnyOf) or not asked.parts:
        return asked
    compose = policy.all_of if isinstance(asked, policy.AllOf) else policy.any_of
    *parts, made = map(nested_otherwise, asked.parts)
    for part in reversed(parts):
        made = compose(compose(part, part), compose(made))
    return made


@given(SMALL, CLAIMS, WHERE, CHECKED)
def test_equal_policies_decide_equally_and_a_decision_agrees(
    asked: Policy, claims: dict[str, Any], where: dict[str, Any], checked: Any
) -> None:
    request = TokenRequest(ISSUER.access_token(trusted=TRUSTED, **claims), where)
    decision = conclude(asked, request, checked)
    again = nested_otherwise(asked)
    assert (again, hash(again), again.alternatives) == (asked, hash(asked), asked.alternatives)
    assert decision == conclude(again, request, checked)
    assert decision.allowed == asked.allows(request, checked) == (not decision.missing)
    assert decision.allowed == decision.why.startswith("the policy is met")
