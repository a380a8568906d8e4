"""The table as text, Markdown and JSON, and what a change opens."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from authz_middleware import ConfigurationError, authenticated, policy, public, requires
from authz_middleware.audit import Change, Comparison, Protection, RouteEntry, RouteTable, Verdict, compare, route_table
from authz_middleware.audit.compare import admits_more
from authz_middleware.policy import AUTHENTICATED, PUBLIC, Access, Kind, Policy, Public, Term
from authz_middleware.policy.core import GrantTerm
from authz_middleware.testing import LocalIssuer
from authz_middleware.token import OIDC_SCOPES, GrantRule, GrantSet

from .apps import Foreign, asking, endpoint, starlette_app

ISSUER = LocalIssuer()
X, Y = requires("x").access, requires("y").access


async def bare(request: Request) -> Response:
    raise NotImplementedError


def table_of(*routes: BaseRoute, **options: Any) -> RouteTable:
    return route_table(starlette_app(ISSUER, *routes, **options))


def everything() -> RouteTable:
    """Return a table in which every kind of entry and of policy stands."""

    async def talk(websocket: WebSocket) -> None:
        raise NotImplementedError

    app = starlette_app(
        ISSUER,
        Route(
            "/orders/{id}", requires(policy.scope("a") & (policy.permission("two words") | policy.role("c")))(bare_too)
        ),
        Route("/x", requires("x")(endpoint), methods=["GET", "POST"]),
        Route("/any", authenticated(endpoint)),
        Route("/public", public(endpoint)),
        Route("/path", bare),
        Route("/bare", bare),
        WebSocketRoute("/talk", talk),
        Mount("/files", Foreign()),
        Mount("/open", starlette_app(ISSUER, Route("/bare", bare), enforce=False)),
        public_paths=["/path", "/else/*"],
    )
    return route_table(app)


async def bare_too(request: Request) -> Response:
    raise NotImplementedError


# --- text and Markdown ------------------------------------------------------------------------------------------------


def entry(path: str = "/x", access: Access | None = X, **fields: Any) -> RouteEntry:
    """Return an entry that admits what is stated."""
    fields = {"kind": "http", "methods": ("GET",), "admits": access, "protection": Protection.ENFORCED} | fields
    return RouteEntry(path=path, access=access, **fields)


def test_columns_are_aligned_and_nothing_is_cut_off() -> None:
    long, longer = "/" + "segment/" * 20, requires(*(f"read:something-{i}" for i in range(20))).access
    table = RouteTable((entry("/x"), entry(long, longer, methods=("DELETE",)), entry("/y", source=("a.py", 3))))
    assert table.to_text().splitlines() == [
        "METHODS  PATH  POLICY  SOURCE",
        "GET      /x    'x'     -",
        f"DELETE   {long}  {longer!r}  -",
        "GET      /y    'x'     a.py:3",
        "3 routes: 3 guarded, 0 any valid token, 0 public, 0 unguarded",
    ]
    assert str(table) == table.to_text()


@pytest.mark.parametrize("hidden", ["\n", "\r", "\x1b[2K", "\u202e", "\u2028", "\x00", "\ud800", "\u200b"])
def test_no_path_or_grant_breaks_its_line(hidden: str) -> None:
    table = RouteTable((entry(f"/{hidden}x", GrantTerm(Kind.PERMISSION, f"p{hidden}"), source=(f"{hidden}.py", 1)),))
    change = compare(RouteTable(()), table)
    for text in (table.to_text(), table.to_markdown(), change.to_text(), change.to_markdown()):
        assert hidden == "\n" or hidden not in text
        assert len(text.splitlines()) in {3, 5}
        text.encode("utf-8")
    assert hidden not in repr(table.entries)


def test_markdown_shows_everything_to_the_letter() -> None:
    table = RouteTable(
        (
            entry("/{a}|`b`", requires(policy.any_of("x", "y")).access, methods=("GET", "PUT"), source=("_a_.py", 3)),
            entry("/``", None, admits=None, source=("<b>.py", 1)),
        )
    )
    assert table.to_markdown().splitlines() == [
        "| Methods | Path | Policy | Source |",
        "| --- | --- | --- | --- |",
        "| `GET,PUT` | `` /{a}\\|`b` `` | `'x' \\| 'y'` | `_a_.py:3` |",
        "| `GET` | ``` /`` ``` | **UNGUARDED**: `states nothing, so it is refused` | `<b>.py:1` |",
        "",
        "2 routes: 1 guarded, 0 any valid token, 0 public, 1 unguarded",
    ]
    assert "|  |" in RouteTable((entry(""),)).to_markdown()


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_round_trips() -> None:
    table = everything()
    again = RouteTable.from_json(table.to_json())
    assert len(again.entries) == len(table.entries) == 10
    assert not compare(table, again).changes
    assert not compare(again, table).changes
    assert [e.state for e in again.entries] == [e.state for e in table.entries]
    assert RouteTable.from_json(again.to_json()) == again
    assert RouteTable.from_json(again.to_json().encode("utf-16")) == again  # as some shells redirect


def test_a_policy_is_shown_as_it_was_written() -> None:
    written = (policy.scope("a") | policy.scope("b")) & policy.role("c")
    old, new = (RouteTable((entry(access=access),)) for access in (written, written | X))
    again = RouteTable.from_json(RouteTable.from_json(old.to_json()).to_json())
    assert again.entries[0].policy == "(scope('a') | scope('b')) & role('c')"
    row = compare(again, new).to_text().splitlines()[1]
    assert "(scope('a') | scope('b')) & role('c')" in row
    assert repr(written | X) in row


def test_the_json_of_a_route() -> None:
    table = table_of(Route("/x", requires("x", policy.scope("y"))(endpoint)), Route("/bare", bare))
    document = json.loads(table.to_json())
    line = document["routes"][1]["source"].pop("line")
    assert line == bare.__code__.co_firstlineno
    assert (document["format"], document["version"]) == ("authz-routes", 1)
    alternatives = [[{"kind": "grant", "value": "x"}, {"kind": "scope", "value": "y"}]]
    assert document["routes"] == [
        {
            "kind": "http",
            "methods": ["GET", "HEAD"],
            "path": "/x",
            "state": "guarded",
            "policy": "'x' & scope('y')",
            "access": alternatives,
            "admits": alternatives,
            "protection": "enforced",
            "is_public_path": False,
            "source": {"file": "tests/apps.py", "line": endpoint.__code__.co_firstlineno},
        },
        {
            "kind": "http",
            "methods": ["GET", "HEAD"],
            "path": "/bare",
            "state": "unguarded",
            "policy": "states nothing, so it is refused",
            "access": None,
            "admits": None,
            "protection": "enforced",
            "is_public_path": False,
            "source": {"file": "tests/test_audit_compare.py"},
        },
    ]


def owns(request: Any) -> bool:
    raise NotImplementedError


CALLER_POLICIES = [
    policy.claim("org_id", equals="acme"),
    policy.claim("org_id", equals=policy.path_param("org"), issuer="https://issuer.test/"),
    policy.claim(("a", "b"), contains=1),
    policy.subject("auth0|jo"),
    policy.client("app", issuer="https://issuer.test/"),
    policy.tenant("acme"),
    policy.machine,
    policy.check(owns),
    policy.role("admin", issuer="https://issuer.test/"),
    policy.group("staff"),
]


@pytest.mark.parametrize("stated", CALLER_POLICIES, ids=repr)
def test_what_is_asked_about_callers_is_kept_as_it_was_written(stated: Policy) -> None:
    table, other = (RouteTable((entry(access=one),)) for one in (stated & X, policy.claim("other", equals=1) & X))
    again = RouteTable.from_json(table.to_json())
    assert again.entries[0].policy == table.entries[0].policy == repr(again.entries[0].access)
    assert not compare(again, table).changes
    assert not compare(table, again).changes
    assert verdicts(compare(again, RouteTable((entry(),)))) == [("opened", ("GET",), "/x")]
    assert verdicts(compare(RouteTable((entry(),)), again)) == [("closed", ("GET",), "/x")]
    assert verdicts(compare(again, other)) == [("opened", ("GET",), "/x")]
    read = again.entries[0].admits
    assert isinstance(read, Policy)
    assert not read.allows(asking(holding((GrantTerm(Kind.GRANT, "x"),))))


@pytest.mark.parametrize("make", [policy.role, policy.group, policy.subject, partial(policy.claim, equals=1)])
def test_limiting_a_name_to_an_issuer_closes(make: Any) -> None:
    whole, limited, other = (
        RouteTable((entry(access=make("boss", issuer=issuer)),)) for issuer in (None, "https://a/", "https://b/")
    )
    assert verdicts(compare(whole, limited)) == [("closed", ("GET",), "/x")]
    assert verdicts(compare(limited, whole)) == [("opened", ("GET",), "/x")]
    assert verdicts(compare(limited, other)) == [("opened", ("GET",), "/x")]


def test_a_pattern_that_matches_more_is_told() -> None:
    strict, lax = (
        RouteTable((entry(access=policy.claim("org", matches=one)),)) for one in ("a", re.compile("a", re.IGNORECASE))
    )
    assert verdicts(compare(RouteTable.from_json(strict.to_json()), lax)) == [("opened", ("GET",), "/x")]
    assert lax.entries[0].policy == "claim('org', matches=re.compile('a', re.IGNORECASE))"
    assert not compare(RouteTable.from_json(lax.to_json()), lax).changes


def changed(*path: Any, to: Any) -> str:
    """Return the JSON of a table with one thing in it replaced."""
    document: Any = json.loads(RouteTable((entry(source=("a.py", 1)),)).to_json())
    inside = document
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = to
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        "{}",
        '{"routes": []}',
        '{"format": "authz-routes", "version": 1}',
        '{"openapi": "3.1.0", "paths": {}}',
        "[" * 100_000,
        b"\xff\xfe\xfa",
        b"\x80",
        changed("format", to="authz-routes-diff"),
        changed("routes", to={}),
        changed("routes", 0, to=[]),
        changed("routes", 0, to=None),
        changed("routes", 0, "kind", to="https"),
        changed("routes", 0, "kind", to=[]),
        changed("routes", 0, "methods", to="GET"),
        changed("routes", 0, "methods", to=[7]),
        changed("routes", 0, "path", to=None),
        changed("routes", 0, "policy", to=7),
        changed("routes", 0, "protection", to="maybe"),
        changed("routes", 0, "protection", to=["enforced"]),
        changed("routes", 0, "is_public_path", to=0),
        changed("routes", 0, "source", to="a.py:1"),
        changed("routes", 0, "source", "line", to=True),
        changed("routes", 0, "source", "file", to=7),
        changed("routes", 0, "admits", to="anybody"),
        changed("routes", 0, "admits", to=[]),
        changed("routes", 0, "admits", to=True),
        changed("routes", 0, "admits", to=[{}]),
        changed("routes", 0, "admits", to=[["x"]]),
        changed("routes", 0, "admits", to=[[{"kind": "grant"}]]),
        changed("routes", 0, "admits", to=[[{"kind": "nothing", "value": "x"}]]),
        changed("routes", 0, "admits", to=[[{"kind": "claim", "value": 7}]]),
        changed("routes", 0, "admits", to=[[{"kind": "claim", "value": "x", "issuer": 7}]]),
        changed("routes", 0, "admits", to=[[{"kind": "role", "value": "x", "issuer": 7}]]),
        changed("routes", 0, "admits", to=[[{"kind": "grant", "value": "two words"}]]),
        changed("routes", 0, "admits", to=[[{"kind": "grant", "value": "openid"}]]),
        changed("routes", 0, "admits", to=[[{"kind": "grant", "value": 7}]]),
        changed("routes", 0, "access", to=[[{"kind": "grant", "value": str(i)}] for i in range(5_000)]),
    ],
)
def test_what_is_no_table_is_refused(text: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^this is no table of `authz routes --json`$"):
        RouteTable.from_json(text)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_version_is_refused(version: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^the table is of version .*, this is version 1; write it anew$"):
        RouteTable.from_json(changed("version", to=version))


# --- who gets in ------------------------------------------------------------------------------------------------------

VALUES = ("a", "b")
TERMS = [
    *(GrantTerm(kind, value) for kind in (Kind.GRANT, Kind.SCOPE, Kind.PERMISSION, Kind.ROLE) for value in VALUES),
    GrantTerm(Kind.SCOPE, "openid"),
    GrantTerm(Kind.ROLE, "openid"),
]
POLICIES = st.recursive(
    st.sampled_from([*TERMS, AUTHENTICATED]),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda some: policy.all_of(*some)),
        st.lists(parts, min_size=1, max_size=3).map(lambda some: policy.any_of(*some)),
    ),
    max_leaves=6,
)
ACCESSES = st.one_of(st.none(), st.just(PUBLIC), POLICIES)
SOME = st.frozensets(st.sampled_from([*VALUES, "openid"]))
GRANTS = st.builds(
    lambda scopes, permissions, roles, effective, entitlements: GrantSet(
        scopes=scopes,
        permissions=permissions,
        roles=roles,
        effective=effective - OIDC_SCOPES,
        entitlements=entitlements,
        rule=GrantRule.EITHER,
    ),
    *[SOME] * 5,
)


OPENID = GrantSet(scopes=frozenset({"openid"}), rule=GrantRule.EITHER)


def lets_in(access: Access | None, grants: GrantSet | None) -> bool:
    """Tell whether a caller gets in; None: one without a token."""
    if access is None or isinstance(access, Public):
        return access is not None
    return grants is not None and access.allows(asking(grants))


@given(ACCESSES, ACCESSES, st.one_of(st.none(), GRANTS))
@example(GrantTerm(Kind.GRANT, "openid"), policy.scope("openid"), OPENID)
def test_what_is_not_opened_lets_in_nobody_new(old: Access | None, new: Access | None, grants: GrantSet | None) -> None:
    is_opened = admits_more(old, new)
    assert is_opened or not lets_in(new, grants) or lets_in(old, grants)


@given(ACCESSES, ACCESSES)
def test_what_is_opened_lets_in_somebody_new(old: Access | None, new: Access | None) -> None:
    if admits_more(old, new):
        assert any(lets_in(new, caller) and not lets_in(old, caller) for caller in witnesses(new))


def witnesses(access: Access | None) -> list[GrantSet | None]:
    """Return callers who have just what one alternative asks for, and one without a token."""
    alternatives = access.alternatives if isinstance(access, Policy) else ()
    return [None, holding(()), *(holding(terms) for terms in alternatives)]


def holding(terms: tuple[Term, ...]) -> GrantSet:
    def values(*kinds: Kind) -> frozenset[str]:
        return frozenset(term.value for term in terms if term.kind in kinds)

    return GrantSet(
        scopes=values(Kind.SCOPE),
        roles=values(Kind.ROLE),
        effective=values(Kind.GRANT, Kind.SCOPE, Kind.PERMISSION) - OIDC_SCOPES,
        entitlements=values(Kind.PERMISSION),
        rule=GrantRule.EITHER,
    )


@given(ACCESSES, ACCESSES)
def test_a_table_that_was_written_and_read_compares_alike(old: Access | None, new: Access | None) -> None:
    before, after = RouteTable((entry(access=old),)), RouteTable((entry(access=new),))
    read = RouteTable.from_json(before.to_json())
    assert verdicts(compare(read, after)) == verdicts(compare(before, after))
    assert not compare(read, before).changes


@pytest.mark.parametrize(
    ("old", "new", "opened", "closed"),
    [
        ("'x'", "'x'", False, False),
        ("'x'", "'x' & 'y'", False, True),
        ("'x' & 'y'", "'x'", True, False),
        ("'x'", "'x' | 'y'", True, False),
        ("'x'", "'y'", True, True),
        ("'x'", "scope('x')", False, True),
        ("scope('x')", "'x'", True, False),
        ("scope('x')", "permission('x')", True, True),
        ("permission('x')", "permission('x') & scope('x')", False, True),
        ("role('x')", "'x'", True, True),
        ("'x' | 'y'", "scope('x') | permission('y')", False, True),
        ("('x' | 'y') & 'z'", "('x' & 'z') | ('y' & 'z')", False, False),
        ("nobody", "'x'", True, False),
        ("nobody", "authenticated", True, False),
        ("nobody", "public", True, False),
        ("'x'", "authenticated", True, False),
        ("authenticated", "public", True, False),
        ("'x'", "public", True, False),
        ("authenticated", "'x'", False, True),
    ],
)
def test_examples_of_who_gets_in(old: str, new: str, opened: bool, closed: bool) -> None:
    names = {f"{kind}": getattr(policy, kind) for kind in ("scope", "permission", "role")}
    names |= {"nobody": None, "authenticated": AUTHENTICATED, "public": PUBLIC}

    def access(text: str) -> Any:
        for value in "xyz":
            text = text.replace(f" '{value}'", f" grant('{value}')").replace(f"('{value}' ", f"(grant('{value}') ")
            text = f"grant('{value}'){text[3:]}" if text.startswith(f"'{value}'") else text
        return eval(text, {**names, "grant": lambda value: GrantTerm(Kind.GRANT, value)})

    assert (admits_more(access(old), access(new)), admits_more(access(new), access(old))) == (opened, closed)


# --- what became of routes --------------------------------------------------------------------------------------------


def verdicts(comparison: Comparison) -> list[tuple[str, tuple[str, ...], str]]:
    return [(change.verdict.value, change.methods, change.entry.path) for change in comparison.changes]


def test_a_table_is_no_change_to_itself() -> None:
    comparison = compare(everything(), everything())
    assert comparison.changes == ()
    assert comparison.to_text() == comparison.to_markdown() == str(comparison) == "no change"
    assert json.loads(comparison.to_json()) == {"format": "authz-routes-diff", "version": 1, "changes": []}


def test_what_a_route_states_is_compared_with_what_undecorated_ones_met() -> None:
    def routes(stated: Any) -> list[BaseRoute]:
        return [Route("/a", bare if stated is None else stated(endpoint))]

    refused, relaxed = table_of(*routes(None)), table_of(*routes(None), undecorated="authenticated")
    assert verdicts(compare(refused, table_of(*routes(requires("x"))))) == [("opened", ("GET", "HEAD"), "/a")]
    assert verdicts(compare(refused, table_of(*routes(authenticated)))) == [("opened", ("GET", "HEAD"), "/a")]
    assert verdicts(compare(refused, relaxed)) == [("opened", ("GET", "HEAD"), "/a")]
    assert verdicts(compare(relaxed, table_of(*routes(authenticated)))) == [("changed", ("GET", "HEAD"), "/a")]
    assert verdicts(compare(relaxed, table_of(*routes(requires("x"))))) == [("closed", ("GET", "HEAD"), "/a")]
    assert verdicts(compare(relaxed, refused)) == [("closed", ("GET", "HEAD"), "/a")]
    assert verdicts(compare(relaxed, table_of(*routes(public)))) == [("opened", ("GET", "HEAD"), "/a")]


def owner_of(module: str) -> Any:
    def owns(request: policy.AccessRequest) -> bool:
        raise NotImplementedError

    owns.__module__, owns.__qualname__ = module, "owns"
    return owns


def test_checks_of_one_name_in_different_modules_are_different_ones() -> None:
    def table(module: str) -> RouteTable:
        return table_of(Route("/x", requires(policy.any_of("a", policy.check(owner_of(module))))(endpoint)))

    old, new = table("app.orders"), table("app.invoices")
    for before in (old, RouteTable.from_json(old.to_json())):
        assert compare(before, old).changes == ()
        comparison = compare(before, new)
        assert verdicts(comparison) == [("opened", ("GET", "HEAD"), "/x")]
        shown = comparison.to_text()
        assert "'a' | check(owns), by app.orders:owns  'a' | check(owns), by app.invoices:owns" in shown
        assert "check(owns)" in str(before)
        assert "app." not in str(before)


def test_a_middleware_that_went_missing_opens_what_said_nothing() -> None:
    routes = [Route("/bare", bare), Route("/x", requires("x")(endpoint))]
    with_it, without, reporting = (
        table_of(*routes),
        route_table(Starlette(routes=routes)),
        table_of(*routes, enforce=False),
    )
    assert verdicts(compare(with_it, without)) == [
        ("opened", ("GET", "HEAD"), "/bare"),
        ("closed", ("GET", "HEAD"), "/x"),
    ]
    assert "UNGUARDED, OPEN TO ANYBODY: states nothing, no AuthzMiddleware" in compare(with_it, without).to_text()
    assert [change.verdict for change in compare(with_it, reporting).changes] == [Verdict.OPENED] * 2
    assert verdicts(compare(without, with_it)) == [
        ("opened", ("GET", "HEAD"), "/x"),
        ("closed", ("GET", "HEAD"), "/bare"),
    ]
    failing = route_table(Starlette(routes=routes[1:]))
    assert verdicts(compare(table_of(Route("/x", bare)), failing)) == [("changed", ("GET", "HEAD"), "/x")]


def test_public_paths_that_open_part_of_a_route_or_no_route_are_told() -> None:
    def table(*paths: str) -> RouteTable:
        return table_of(Route("/i/{id}", bare), Mount("/f", Foreign()), public_paths=paths)

    assert verdicts(compare(table(), table("/i/1", "/f/"))) == [("added", (), "/f/"), ("added", (), "/i/1")]
    assert verdicts(compare(table(), table("/f/*"))) == [("opened", (), "/f/")]
    assert verdicts(compare(table("/f/"), table("/f/*"))) == [("opened", (), "/f/"), ("removed", (), "/f/")]
    assert verdicts(compare(table(), table("/i/*"))) == [("opened", ("GET", "HEAD"), "/i/{id}"), ("added", (), "/i/*")]


def test_a_tree_that_is_opened_is_told_although_the_routes_below_stay_guarded() -> None:
    def table(*paths: str) -> RouteTable:
        return table_of(Route("/static/admin", requires("x")(endpoint)), public_paths=paths)

    comparison = compare(table(), table("/static/*"))
    assert verdicts(comparison) == [("added", (), "/static/*")]
    assert "added   ANY      /static/*  -       public, by public_paths" in comparison.to_text()


def get(path: str = "/x", access: Access | None = X, *methods: str, **fields: Any) -> RouteEntry:
    return entry(path, access, methods=methods or ("GET",), **fields)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # methods that are taken out of a route, or into one
        ([get("/x", X, "GET", "POST")], [get("/x", X, "GET"), get("/x", Y, "POST")], [("opened", ("POST",))]),
        ([get("/x", X, "GET"), get("/x", Y, "POST")], [get("/x", X, "GET", "POST")], [("opened", ("POST",))]),
        ([get("/x", X, "GET", "HEAD")], [get("/x", PUBLIC, "GET", "HEAD")], [("opened", ("GET", "HEAD"))]),
        # HEAD had a policy of its own
        ([get("/x", X, "GET"), get("/x", Y, "HEAD")], [get("/x", X, "GET", "HEAD")], [("opened", ("HEAD",))]),
        # a route for any method takes the place of one, or gives it up
        ([get("/x", X, "GET")], [entry(methods=(), access=PUBLIC)], [("opened", ("GET",)), ("added", ())]),
        ([entry(methods=(), access=PUBLIC)], [get("/x", X, "GET")], [("closed", ("GET",)), ("removed", ())]),
        ([entry(methods=())], [entry(methods=(), access=PUBLIC)], [("opened", ())]),
        ([entry(methods=()), get("/x", Y)], [entry(methods=(), access=PUBLIC), get("/x", Y)], [("opened", ())]),
        # the first of several routes is served
        ([get("/x", X), get("/x", PUBLIC)], [get("/x", PUBLIC)], [("opened", ("GET",)), ("removed", ("GET",))]),
        ([get("/x", X)], [get("/x", PUBLIC), get("/x", X)], [("opened", ("GET",)), ("added", ("GET",))]),
        (
            [get("/x", PUBLIC), get("/x", X)],
            [get("/x", X), get("/x", PUBLIC)],
            [("opened", ("GET",)), ("closed", ("GET",))],
        ),
        # a WebSocket is another route than an HTTP one
        ([get()], [entry(kind="websocket", methods=())], [("added", ()), ("removed", ("GET",))]),
        # where it is written is no matter
        ([get(source=("a.py", 1))], [get(source=("b.py", 2))], []),
        # a parameter's name or convertor is no other route
        ([get("/x/{id}")], [get("/x/{nr}")], [("changed", ("GET",))]),
        ([get("/x/{id}")], [get("/x/{nr:int}", PUBLIC)], [("opened", ("GET",))]),
        (
            [get("/x/{id:int}", X)],
            [get("/x/{id}", PUBLIC), get("/x/{nr:int}", X)],
            [("added", ("GET",)), ("changed", ("GET",))],
        ),
        ([get("/x/{id}/y")], [get("/x/{id}", PUBLIC)], [("added", ("GET",)), ("removed", ("GET",))]),
        # of those that match the same, the first is served
        ([get("/x/{id}", X)], [get("/x/{nr}", PUBLIC), get("/x/{id}", X)], [("opened", ("GET",)), ("added", ("GET",))]),
        # nor how
        ([get(access=policy.any_of("x", policy.all_of("x", "y")))], [get()], []),
    ],
)
def test_routes_are_found_again(
    old: list[RouteEntry], new: list[RouteEntry], expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    comparison = compare(RouteTable(tuple(old)), RouteTable(tuple(new)))
    assert [(change.verdict.value, change.methods) for change in comparison.changes] == expected


def test_the_most_dangerous_change_stands_first() -> None:
    nobody: dict[str, Any] = {"access": None, "admits": None}
    open_to_all: dict[str, Any] = {"access": None, "admits": PUBLIC, "protection": Protection.ABSENT}
    old = [get(f"/opened/{name}") for name in ("some", "any", "public", "all")]
    old += [get("/removed", PUBLIC), get("/closed", PUBLIC), get("/changed", **nobody), get("/same")]
    new = [
        get("/same"),
        get("/added/nobody", **nobody),
        get("/added/some"),
        get("/added/any", AUTHENTICATED),
        get("/added/public", PUBLIC),
        get("/added/all", **open_to_all),
        get("/opened/some", Y),
        get("/opened/any", AUTHENTICATED),
        get("/opened/public", PUBLIC),
        get("/opened/all", **open_to_all),
        get("/closed"),
        get("/changed", X, admits=None, protection=Protection.ABSENT),
    ]
    comparison = compare(RouteTable(tuple(old)), RouteTable(tuple(new)))
    assert [change.entry.path for change in comparison.changes] == [
        "/opened/all",
        "/added/all",
        "/opened/public",
        "/added/public",
        "/opened/any",
        "/added/any",
        "/opened/some",
        "/added/some",
        "/added/nobody",
        "/changed",
        "/closed",
        "/removed",
    ]
    assert [change.entry.path for change in comparison.opened] == [
        f"/opened/{name}" for name in ("all", "public", "any", "some")
    ]
    assert comparison.summary == "4 opened, 5 added, 1 changed, 1 closed, 1 removed"


def test_a_new_name_of_a_parameter_is_shown() -> None:
    shown = compare(RouteTable((get("/x/{id}"),)), RouteTable((get("/x/{nr:int}", AUTHENTICATED),)))
    assert str(shown).splitlines()[1] == "opened  GET      /x/{nr:int} (was /x/{id})  'x'     any valid token  -"


def comparison() -> Comparison:
    old = RouteTable((get("/a|b", X, "GET", "HEAD", "PUT", source=("a.py", 1)), get("/gone", source=("b.py", 2))))
    new = RouteTable((get("/a|b", PUBLIC, "GET", "HEAD", "PUT", source=("a.py", 7)), get("/new", None)))
    return compare(old, new)


def test_a_comparison_as_text() -> None:
    assert str(comparison()).splitlines() == [
        "CHANGE   METHODS  PATH   BEFORE  NOW                                          SOURCE",
        "opened   GET,PUT  /a|b   'x'     public                                       a.py:7",
        "added    GET      /new   -       UNGUARDED: states nothing, so it is refused  -",
        "removed  GET      /gone  'x'     -                                            b.py:2",
        "1 opened, 1 added, 0 changed, 0 closed, 1 removed",
    ]


def test_a_comparison_as_markdown() -> None:
    assert comparison().to_markdown().splitlines() == [
        "| Change | Methods | Path | Before | Now | Source |",
        "| --- | --- | --- | --- | --- | --- |",
        "| **opened** | `GET,PUT` | `/a\\|b` | `'x'` | `public` | `a.py:7` |",
        "| added | `GET` | `/new` | `-` | `UNGUARDED: states nothing, so it is refused` | `-` |",
        "| removed | `GET` | `/gone` | `'x'` | `-` | `b.py:2` |",
        "",
        "1 opened, 1 added, 0 changed, 0 closed, 1 removed",
    ]


def test_a_comparison_as_json() -> None:
    assert json.loads(comparison().to_json())["changes"] == [
        {
            "change": "opened",
            "kind": "http",
            "methods": ["GET", "HEAD", "PUT"],
            "path": "/a|b",
            "path_before": "/a|b",
            "before": "'x'",
            "now": "public",
            "source": "a.py:7",
        },
        {
            "change": "added",
            "kind": "http",
            "methods": ["GET"],
            "path": "/new",
            "path_before": None,
            "before": None,
            "now": "states nothing, so it is refused",
            "source": "-",
        },
        {
            "change": "removed",
            "kind": "http",
            "methods": ["GET"],
            "path": "/gone",
            "path_before": "/gone",
            "before": "'x'",
            "now": None,
            "source": "b.py:2",
        },
    ]


def test_a_change_names_its_routes() -> None:
    old, new = get(), get(access=PUBLIC)
    (change,) = compare(RouteTable((old,)), RouteTable((new,))).changes
    assert change == Change(Verdict.OPENED, ("GET",), old, new)
    assert change.entry == replace(new, methods=("GET",))
