"""Policies as values, and decisions that say why."""

import asyncio
import copy
import dataclasses
import inspect
import re
from collections.abc import Iterator
from itertools import permutations, product
from typing import Any
from unittest.mock import Mock

import pytest
from fastapi import FastAPI, Security
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from authz_middleware import (
    ConfigurationError,
    authenticated,
    authorize,
    policy,
    public,
    requires,
    requires_permissions,
    requires_scopes,
)
from authz_middleware.credentials import Credentials
from authz_middleware.decorators import Requirement
from authz_middleware.policy import (
    AUTHENTICATED,
    PUBLIC,
    AllOf,
    AnyOf,
    Decision,
    Kind,
    Policy,
    all_of,
    any_of,
    group,
    permission,
    role,
    scope,
)
from authz_middleware.policy.alternatives import MAX_ALTERNATIVES, MAX_SUM, MAX_UNSIMPLIFIED, simplify
from authz_middleware.policy.core import GrantTerm, join
from authz_middleware.policy.decision import conclude, suggest
from authz_middleware.testing import as_caller
from authz_middleware.token import OIDC_SCOPES, GrantRule, GrantSet, Source

from .apps import asking, context, grants
from .helpers import ISSUER


def grant(value: str) -> Policy:
    """Return the dialect-neutral term of `requires(value)`."""
    return GrantTerm(Kind.GRANT, value)


def decide(subject: Policy, held: GrantSet) -> Decision:
    """Return the decision on a policy of grants alone."""
    return conclude(subject, asking(held))


def names(subject: Policy) -> list[list[str]]:
    return [[repr(term) for term in terms] for terms in subject.alternatives]


# --- terms ------------------------------------------------------------------------------------------------------------

HELD = grants("s both openid", "p both", roles="r", effective=frozenset({"s", "p", "both"}))


@pytest.mark.parametrize(
    "met", [grant("s"), grant("p"), scope("s"), scope("both"), permission("p"), permission("both"), role("r")]
)
def test_a_term_is_met_by_its_claim(met: Policy) -> None:
    assert met.allows(asking(HELD))


@pytest.mark.parametrize(
    "unmet",
    [
        scope("p"),
        permission("s"),
        grant("r"),
        scope("r"),
        permission("r"),
        role("s"),
        role("p"),
        grant("S"),
        grant("s "),
        grant("*"),
        grant("bot"),
        grant("both:more"),
        scope("profile"),
        grant("openid"),
    ],
)
def test_a_term_is_not_met_by_another_claim_or_a_similar_value(unmet: Policy) -> None:
    assert not unmet.allows(asking(HELD))


@pytest.mark.parametrize("make", [grant, scope, permission])
def test_what_is_not_effective_meets_nothing(make: type[Policy]) -> None:
    held = grants("x", "x", effective=frozenset())
    assert make("x").allows(asking(grants("x", "x")))  # type: ignore[call-arg]
    assert not make("x").allows(asking(held))  # type: ignore[call-arg]


@pytest.mark.parametrize("value", sorted(OIDC_SCOPES))
def test_an_oidc_scope_looks_at_the_scope_claim_alone(value: str) -> None:
    assert scope(value).allows(asking(grants(value, effective=frozenset())))
    assert not scope(value).allows(asking(grants("", value, effective=frozenset())))
    assert not scope(value).allows(asking(grants()))


def test_an_entitlement_need_not_be_in_permissions() -> None:
    machine = grants("x", entitlements=frozenset({"x"}), rule=GrantRule.SCOPES)
    assert permission("x").allows(asking(machine))
    assert not permission("x").allows(asking(grants("x", rule=GrantRule.SCOPES)))


def test_values_are_compared_without_normalization() -> None:
    assert not grant("caf\u00e9").allows(asking(grants("cafe\u0301")))


# --- composition ------------------------------------------------------------------------------------------------------


def test_and_needs_every_part() -> None:
    both = scope("a") & permission("b")
    assert both.allows(asking(grants("a", "b")))
    assert not both.allows(asking(grants("a")))
    assert not both.allows(asking(grants("", "b")))


def test_or_needs_one_part() -> None:
    either = scope("a") | permission("b")
    assert either.allows(asking(grants("a")))
    assert either.allows(asking(grants("", "b")))
    assert not either.allows(asking(grants("b", "a")))


def test_strings_compose_from_both_sides() -> None:
    assert "a" & scope("b") == all_of("a", scope("b"))
    assert scope("b") & "a" == all_of(scope("b"), "a")
    assert "a" | scope("b") == any_of("a", scope("b"))
    assert scope("b") | "a" == any_of(scope("b"), "a")


def test_one_part_is_that_part() -> None:
    assert any_of("a") == all_of("a") == grant("a")
    assert any_of(scope("a")) == scope("a")


@pytest.mark.parametrize("compose", [all_of, any_of])
def test_composition_is_flat(compose: type[Policy]) -> None:
    nested = compose(compose("a", "b"), compose("b", "c"))  # type: ignore[call-arg]
    assert nested == compose("a", "b", "c")  # type: ignore[call-arg]


def test_alternatives_are_a_choice_of_term_lists() -> None:
    assert names(any_of("a", "b") & any_of("c", "d")) == [
        ["'a'", "'c'"],
        ["'a'", "'d'"],
        ["'b'", "'c'"],
        ["'b'", "'d'"],
    ]


def test_repeated_terms_are_one_term() -> None:
    assert names(all_of("a", any_of("a", "b"), "a")) == [["'a'"]]


def test_an_alternative_that_contains_another_is_absorbed() -> None:
    assert names(any_of(all_of("a", "b"), "c", all_of("c", "d"))) == [["'a'", "'b'"], ["'c'"]]


def test_the_same_terms_in_another_order_are_one_alternative() -> None:
    assert names(any_of(all_of("a", "b"), all_of("b", "a"))) == [["'a'", "'b'"]]


def test_alternatives_keep_the_order_they_were_written_in() -> None:
    assert names(any_of(all_of("a", "b", "c"), all_of("d", "e"), "f")) == [
        ["'a'", "'b'", "'c'"],
        ["'d'", "'e'"],
        ["'f'"],
    ]


def test_authenticated_adds_nothing_and_satisfies_any() -> None:
    assert names(all_of(AUTHENTICATED, "a")) == [["'a'"]]
    assert names(any_of(AUTHENTICATED, "a")) == [[]]
    assert all_of(AUTHENTICATED, AUTHENTICATED).allows(asking(grants()))


def test_as_many_alternatives_as_stated_and_no_more() -> None:
    values = [f"v{number}" for number in range(MAX_ALTERNATIVES)]
    assert len(any_of(*values).alternatives) == MAX_ALTERNATIVES
    with pytest.raises(ConfigurationError, match=r"more than 64 .* router or mount .* policy\.check\(…\)"):
        any_of(*values, "more")
    with pytest.raises(ConfigurationError, match="more than 64"):
        any_of(*values) | "more"
    with pytest.raises(ConfigurationError, match="more than 64"):
        requires(choice("a", 9), choice("b", 8))


def choice(prefix: str, number: int = MAX_ALTERNATIVES) -> Policy:
    return any_of(*(f"{prefix}{index}" for index in range(number)))


@pytest.mark.parametrize("factors", ["ab", "abcdefgh"])
def test_a_product_of_alternatives_is_refused_before_it_explodes(factors: str) -> None:
    with pytest.raises(ConfigurationError, match=r"more than (64|4,096) alternatives"):
        all_of(*map(choice, factors))


def test_what_is_stated_in_several_places_may_add_up_to_more() -> None:
    both = join(AllOf, [choice("a"), choice("b")])
    assert len(both.alternatives) == MAX_SUM
    held = asking(grants("a7 b9"))
    assert both.allows(held)
    assert not both.allows(asking(grants("a7")))
    decision = conclude(both, asking(grants("a7")))
    assert (decision.missing, decision.scope) == ((grant("b0"),), ("a7", "b0"))
    assert len(decision.required) == MAX_ALTERNATIVES
    assert decision.required[:2] == (("a0", "b0"), ("a0", "b1"))
    with pytest.raises(ConfigurationError, match=r"adds up to more than 4,096 .* policy\.check\(…\)"):
        join(AllOf, [both, choice("c", 2)])


def test_what_adds_up_to_far_too_much_is_not_worked_through() -> None:
    """Nothing of a product is looked at beyond a bound, so that the error comes at once."""
    made = 0

    def product_of_a_million() -> Iterator[tuple[int, ...]]:
        nonlocal made
        for made in range(1_000_000):
            yield (made,)

    with pytest.raises(ConfigurationError, match="adds up to more than"):
        simplify(product_of_a_million())
    assert made == MAX_UNSIMPLIFIED


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=4).map(tuple), max_size=12))
def test_what_is_dropped_contains_what_is_kept(alternatives: list[tuple[str, ...]]) -> None:
    kept = simplify(alternatives)
    sets = [set(terms) for terms in kept]
    assert all(any(held <= set(terms) for held in sets) for terms in alternatives)
    assert all(len(terms) == len(set(terms)) for terms in kept)
    assert not any(one <= other for one, other in permutations(sets, 2))
    written = [tuple(dict.fromkeys(terms)) for terms in alternatives]
    assert [written.index(terms) for terms in kept] == sorted(written.index(terms) for terms in kept)


def test_absorbed_alternatives_do_not_count() -> None:
    values = [f"v{number}" for number in range(MAX_ALTERNATIVES)]
    longer = [all_of(value, "x") for value in values]
    assert len(any_of(*longer, *values).alternatives) == MAX_ALTERNATIVES


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (grant("a"), "'a'"),
        (scope("a"), "scope('a')"),
        (permission("two words"), "permission('two words')"),
        (role("r"), "role('r')"),
        (scope("a") & "b", "scope('a') & 'b'"),
        (scope("a") | "b", "scope('a') | 'b'"),
        (any_of("a", "b") & "c", "('a' | 'b') & 'c'"),
        (all_of("a", "b") | "c", "('a' & 'b') | 'c'"),
        (AUTHENTICATED, "authenticated"),
        (PUBLIC, "public"),
    ],
)
def test_a_policy_reads_as_it_was_written(subject: object, text: str) -> None:
    assert repr(subject) == text


def test_equal_policies_are_equal_and_hash_alike() -> None:
    one, other = scope("a") & any_of("b", "c"), scope("a") & any_of("b", "c")
    assert one == other
    assert hash(one) == hash(other)
    assert one != scope("a") & any_of("c", "b")
    assert scope("a") != permission("a")
    assert copy.deepcopy(one) == one


@pytest.mark.parametrize("subject", [scope("a") & role("b"), scope("a") | role("b"), AUTHENTICATED])
def test_nobody_can_say_that_a_policy_is_met_by_something_else(subject: Any) -> None:
    for name, value in {"alternatives": ((),), "has_checks": True, "asks_request": True}.items():
        with pytest.raises((ValueError, TypeError), match="init=False"):  # which one, depends on the Python
            dataclasses.replace(subject, **{name: value})
    with pytest.raises(TypeError):
        AllOf((scope("a"),), ((),))  # type: ignore[call-arg]
    changed = dataclasses.replace(subject, parts=(scope("c"), scope("d")))
    assert not changed.allows(asking(grants("a")))
    assert {term.value for terms in changed.alternatives for term in terms} == {"c", "d"}


@pytest.mark.parametrize("kind", [AllOf, AnyOf])
@pytest.mark.parametrize("parts", ["a", ["a"], ("a",), [scope("a")], (requires("a"),), (None,), (PUBLIC,)], ids=repr)
def test_parts_are_policies(kind: Any, parts: object) -> None:
    with pytest.raises(ConfigurationError, match=r"takes a tuple of policies; write policy\.all_of"):
        kind(parts)


def test_a_choice_of_nothing_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"would refuse everybody; write policy\.any_of"):
        AnyOf(())


def test_the_module_lists_what_applications_write_and_read() -> None:
    internal = {"conclude", "suggest", "make_term", "run_checks", "is_scope_token", "GrantTerm", "CheckTerm", "join"}
    assert not internal & set(policy.__all__)
    assert not internal & set(vars(policy))


@pytest.mark.parametrize("subject", [scope("a"), scope("a") & "b", scope("a") | "b"])
def test_policies_are_immutable(subject: Policy) -> None:
    for attribute in ("alternatives", "parts", "value", "kind"):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
            setattr(subject, attribute, ())


@pytest.mark.parametrize("subject", [scope("a"), scope("a") & "b", scope("a") | "b", AUTHENTICATED])
def test_and_or_not_are_errors(subject: Policy) -> None:
    with pytest.raises(ConfigurationError, match=r"write & or \|"):
        _ = subject and scope("b")
    with pytest.raises(ConfigurationError, match=r"write & or \|"):
        _ = subject or scope("b")
    with pytest.raises(ConfigurationError, match=r"write & or \|"):
        _ = not subject


def test_there_is_no_negation() -> None:
    for operator in ("__invert__", "__neg__", "__sub__", "__xor__"):
        assert not hasattr(scope("a"), operator)


# --- what cannot be meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", " ", "\t", "\n", "\u00a0"])
@pytest.mark.parametrize("make", [scope, permission, role, any_of, all_of, requires])
def test_an_empty_string_is_an_error(make: type, value: str) -> None:
    with pytest.raises(ConfigurationError, match="read:orders"):
        make(value)


@pytest.mark.parametrize("make", [any_of, all_of, requires])
def test_nothing_at_all_is_an_error(make: type) -> None:
    with pytest.raises(ConfigurationError, match="is empty and would decide nothing; write"):
        make()


@pytest.mark.parametrize("value", [["a"], ("a",), {"a"}, {"a": 1}, 1, None, 1.5, b"a", object(), PUBLIC])
@pytest.mark.parametrize(
    ("make", "says"),
    [(make, r'write (policy\.\w+)\("a"\) & \1\("b"\)$') for make in (scope, permission, role, group)]
    + [(make, r'\("a", "b"\)$') for make in (any_of, all_of, requires, requires_scopes, requires_permissions)],
)
def test_what_is_no_string_is_an_error(make: type, says: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make(value)


def test_a_policy_is_no_decorator_and_no_dependency() -> None:
    manager: Any = role("manager")
    with pytest.raises(ConfigurationError, match=r"no decorator; write @requires\(…\)$"):
        manager(test_a_policy_is_no_decorator_and_no_dependency)
    with pytest.raises(ConfigurationError, match=r"no dependency; write Security\(requires\(…\)\)$"):
        inspect.signature(manager)
    with pytest.raises(ConfigurationError, match=r"write Security\(requires\(…\)\)$"):
        FastAPI().get("/")(lambda token=Security(manager): token)  # noqa: B008 - as FastAPI is written


@pytest.mark.parametrize("make", [scope, role, requires, requires_scopes, any_of])
def test_a_function_in_place_of_what_is_required_is_an_error(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'was given a function; write [\w.]+\("read:orders"\)'):
        make(test_a_policy_is_no_decorator_and_no_dependency)


@pytest.mark.parametrize("make", [requires, any_of])
@pytest.mark.parametrize("value", ["openid profile", "read:a openid"])
def test_of_several_names_those_that_grant_nothing_are_not_advised(make: Any, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"leave out what grants nothing on an API \(openid"):
        make(value)


@pytest.mark.parametrize("value", [True, False])
def test_a_comparison_is_an_error(value: bool) -> None:
    with pytest.raises(ConfigurationError, match=r"compose with & and \|"):
        requires(value)  # type: ignore[arg-type]


def asks(question: Any) -> None:
    """Ask as handlers do, which have a request."""
    caller = context(grants())
    Credentials(caller.token, caller.allows).allows(question)


def authorizes(question: Any) -> None:
    async def handler(scope: Any) -> None:
        await authorize(HTTPConnection({"type": "http", **scope}), question)

    with as_caller(ISSUER.access_token()) as scope:
        asyncio.run(handler(scope))


def decides(question: Any) -> None:
    asyncio.run(policy.decide(question, asking(grants())))


ONE_TERM: list[Any] = [scope, permission, role, group]
SEVERAL: list[Any] = [any_of, all_of, requires, requires_scopes, requires_permissions]
INSIDE: list[Any] = [asks, authorizes, decides, lambda value: scope("x") & value, lambda value: value | scope("x")]
ADVICE = re.compile(r"write (.+?)(?:, with .*|, or policy\.permission\(.*|, which .*)?$")


def advised(make: Any, value: object) -> Policy:
    """Return what the code makes that an error advises to write. A request and what stands left of `&` are there."""
    with pytest.raises(ConfigurationError) as error:
        make(value)
    found = ADVICE.search(str(error.value))
    assert found is not None, str(error.value)
    names = {"policy": policy, "requires": requires, "requires_scopes": requires_scopes, "left": scope("x")}
    names |= {"requires_permissions": requires_permissions, "authorize": lambda _, asked: all_of(asked)}
    names |= {"request": Mock(auth=Mock(allows=all_of)), "__builtins__": {}}
    code = found[1].replace("…", "left").replace("policy.decide(", "decide(")
    made = eval(code, {**names, "decide": lambda asked, _: all_of(asked)})
    asked = made.access if isinstance(made, Requirement) else made
    assert isinstance(asked, Policy)
    return asked


@pytest.mark.parametrize("make", [*ONE_TERM, *SEVERAL, *INSIDE])
@pytest.mark.parametrize("value", ["", ["a", "b"], None, requires("a"), authenticated, advised])
def test_what_an_error_advises_to_write_can_be_written(make: Any, value: object) -> None:
    names = {term.value for term in advised(make, value).terms}
    assert names - {"x"} in ({"read:orders"}, {"a", "b"})


@pytest.mark.parametrize("make", [scope, *SEVERAL, *INSIDE])
def test_several_names_in_one_string_are_an_error(make: Any) -> None:
    assert {term.value for term in advised(make, "a b").terms} - {"x"} == {"a", "b"}
    with pytest.raises(ConfigurationError, match=r"'a b'; write .*, or policy\.permission\('a b'\) if it is one"):
        make("a b")


@pytest.mark.parametrize("make", [*ONE_TERM, *SEVERAL, *INSIDE])
@pytest.mark.parametrize("value", [requires("x"), requires(role("x")), authenticated, public])
def test_a_decorator_is_no_policy(make: Any, value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"was given a decorator; .* with & and \|, or put one"):
        make(value)


def test_decide_takes_a_string_as_authorize_does() -> None:
    decision = asyncio.run(policy.decide("a", asking(grants("a"))))
    assert (decision.allowed, decision.policy) == (True, grant("a"))


@pytest.mark.parametrize("make", [permission, role])
def test_permissions_and_roles_may_contain_spaces(make: type) -> None:
    assert make("a b").value == "a b"


def test_only_a_space_separates() -> None:
    assert repr(scope("a\u00a0b")) == "scope('a\\xa0b')"
    assert names(requires_policy("a\tb")) == [["'a\\tb'"]]


def requires_policy(*values: str) -> Policy:
    access = requires(*values).access
    assert isinstance(access, Policy)
    return access


@pytest.mark.parametrize("value", sorted(OIDC_SCOPES))
@pytest.mark.parametrize("make", [permission, any_of, all_of, requires])
def test_an_oidc_scope_grants_nothing(make: type, value: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"write policy\.scope\('{value}'\)"):
        make(value)


def test_composing_with_something_else_is_an_error() -> None:
    for other in (["b"], None, True, 1, ""):
        with pytest.raises(ConfigurationError):
            scope("a") & other
        with pytest.raises(ConfigurationError):
            other | scope("a")


def test_the_module_offers_what_applications_need() -> None:
    assert policy.any_of(policy.scope("a"), policy.role("b")).allows(asking(grants(roles="b")))


# --- what a client is told --------------------------------------------------------------------------------------------


def test_without_grants_the_first_of_the_shortest_alternatives_is_suggested() -> None:
    assert suggest(any_of(all_of("a", "b"), "c", "d")) == ((("a", "b"), ("c",), ("d",)), ("c",))


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (grants(), ("e",)),
        (grants("a"), ("a", "b")),
        (grants("c"), ("c", "d")),
        (grants("a c"), ("a", "b")),
    ],
)
def test_the_alternative_that_lacks_fewest_is_suggested(held: GrantSet, expected: tuple[str, ...]) -> None:
    subject = any_of(all_of("a", "b"), all_of("c", "d"), "e")
    decision = decide(subject, held)
    assert decision.required == (("a", "b"), ("c", "d"), ("e",))
    assert decision.scope == expected


def refuses(request: policy.AccessRequest) -> bool:
    raise NotImplementedError


TWO_WORDS = grants(effective=frozenset({"two words"}), entitlements=frozenset({"two words"}))


@pytest.mark.parametrize(
    ("subject", "held", "expected"),
    [
        (all_of("a", "b"), grants("a"), ("a", "b")),  # the next token is asked for in place of this one
        (all_of("a", "b"), grants("c"), ("a", "b")),
        (any_of("a", "b"), grants(), ("a",)),
        (all_of("a", "b") | "c", grants("a"), ("a", "b")),  # the first on ties
        (permission("a") | "b", grants("a"), ("a",)),
        # where no grant is missing, a client would ask for what it has, and for ever
        ("a" & role("r"), grants("a"), ()),
        ("a" & policy.machine, grants("a"), ()),
        ("a" & policy.check(refuses), grants("a"), ()),
        ("a" & policy.claim("org", equals=policy.path_param("org")), grants("a"), ()),
        (("a" & role("r")) | all_of("b", "c"), grants("a"), ("b", "c")),
        # something else may be missing, too
        ("a" & role("r"), grants(), ("a",)),
        ("a" & policy.check(refuses), grants(), ("a",)),
        (role("r") | scope("a"), grants(), ("a",)),
        # no request can name it
        (permission("two words"), grants(), ()),
        (permission("two words") & "a", grants(), ("a",)),
        (permission("two words") & "a", grants("a"), ()),
        (permission("two words") & "a", TWO_WORDS, ("a",)),
    ],
    ids=repr,
)
def test_what_a_client_lacks_and_can_request_is_suggested(
    subject: Policy, held: GrantSet, expected: tuple[str, ...]
) -> None:
    decision = decide(subject, held)
    assert not decision.allowed
    assert decision.scope == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("a" & role("r"), ("a",)),
        (role("r") | scope("a"), ("a",)),
        (permission("two words") | all_of("a", "b"), ("a", "b")),
        (permission("two words") & "a", ("a",)),
        (role("r") & policy.check(refuses), ()),
    ],
)
def test_an_anonymous_caller_lacks_all(subject: Policy, expected: tuple[str, ...]) -> None:
    assert suggest(subject)[1] == expected


@pytest.mark.parametrize("value", ["two words", 'say "x"', "back\\slash", "ü", "tab\t", "\x7f", "\ud800"])
def test_what_is_no_scope_token_is_not_suggested(value: str) -> None:
    required, wanted = suggest(permission(value) & "a")
    assert required == ((value, "a"),)
    assert wanted == ("a",)


@pytest.mark.parametrize("value", ["a", "read:orders", "!#~[]", "https://api.test/read"])
def test_what_is_a_scope_token_is_suggested(value: str) -> None:
    assert suggest(permission(value))[1] == (value,)


def test_roles_are_never_named() -> None:
    assert suggest(role("admin") & "a") == ((("a",),), ("a",))
    assert suggest(role("admin") | scope("a")) == ((("a",),), ("a",))
    assert suggest(role("admin")) == ((), ())


def test_one_name_is_named_once() -> None:
    assert suggest(scope("a") & permission("a")) == ((("a",),), ("a",))
    assert suggest(scope("a") | permission("a"))[0] == (("a",),)


def test_authenticated_suggests_nothing() -> None:
    assert suggest(AUTHENTICATED) == ((), ())


# --- decisions --------------------------------------------------------------------------------------------------------


def test_a_decision_names_what_holds_and_by_which_claim() -> None:
    decision = decide(all_of("a", role("r")), grants("a", "a", roles="r"))
    assert decision.allowed
    assert decision.held == (
        (grant("a"), (Source.SCOPE, Source.PERMISSION)),
        (role("r"), (Source.ROLE,)),
    )
    assert (decision.missing, decision.why) == ((), "the policy is met")
    assert decision.policy == all_of("a", role("r"))


def test_a_decision_names_what_is_missing_where_least_is() -> None:
    decision = decide(any_of(all_of("a", "b", "c"), all_of("d", "e")), grants("d"))
    assert not decision.allowed
    assert decision.missing == (grant("e"),)
    assert decision.held == ((grant("d"), (Source.SCOPE,)),)
    assert decision.required == (("a", "b", "c"), ("d", "e"))
    assert decision.scope == ("d", "e")


NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize("rule", GrantRule)
@pytest.mark.parametrize("met", [grant("x"), scope("x"), scope("x") & role("r"), grant("y") | "x"], ids=repr)
def test_a_decision_that_allows_says_what_it_takes_for_granted(met: Policy, rule: GrantRule) -> None:
    decision = decide(met, grants("x", roles="r", rule=rule))
    assert decision.allowed
    unstated = ", by a user's scope: whether that is an entitlement is not said (rbac_enforced=)"
    assert decision.why == "the policy is met" + (unstated if rule is GrantRule.SCOPES_RBAC_UNSTATED else "")


# --- properties -------------------------------------------------------------------------------------------------------

VALUES = ("a", "b", "c", "openid")
TERMS = [
    *(grant(value) for value in VALUES[:3]),
    *(make(value) for make, value in product((scope, role), VALUES)),
    *(permission(value) for value in VALUES[:3]),
]
POLICIES = st.recursive(
    st.sampled_from(TERMS),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda some: all_of(*some)),
        st.lists(parts, min_size=1, max_size=3).map(lambda some: any_of(*some)),
    ),
    max_leaves=6,
)
SOME = st.frozensets(st.sampled_from(VALUES))


@st.composite
def grant_sets(draw: st.DrawFn) -> GrantSet:
    scopes, permissions = draw(SOME), draw(SOME)
    effective = draw(st.sampled_from([scopes | permissions, scopes & permissions, scopes, NONE])) - OIDC_SCOPES
    entitlements = draw(st.sampled_from([permissions, permissions | scopes]))
    return GrantSet(
        scopes=scopes,
        permissions=permissions,
        roles=draw(SOME),
        effective=effective,
        entitlements=entitlements,
        rule=draw(st.sampled_from(GrantRule)),
    )


@settings(deadline=None)
@given(POLICIES, POLICIES, grant_sets())
def test_adding_a_requirement_never_widens(one: Policy, other: Policy, held: GrantSet) -> None:
    assert (one & other).allows(asking(held)) == (one.allows(asking(held)) and other.allows(asking(held)))


@settings(deadline=None)
@given(POLICIES, POLICIES, grant_sets())
def test_a_choice_admits_what_its_parts_admit(one: Policy, other: Policy, held: GrantSet) -> None:
    assert (one | other).allows(asking(held)) == (one.allows(asking(held)) or other.allows(asking(held)))


@settings(deadline=None)
@given(POLICIES, grant_sets(), SOME, SOME, SOME, SOME, SOME)
def test_adding_a_grant_never_narrows(
    subject: Policy,
    held: GrantSet,
    scopes: frozenset[str],
    permissions: frozenset[str],
    roles: frozenset[str],
    effective: frozenset[str],
    entitlements: frozenset[str],
) -> None:
    more = dataclasses.replace(
        held,
        scopes=held.scopes | scopes,
        permissions=held.permissions | permissions,
        roles=held.roles | roles,
        effective=held.effective | effective,
        entitlements=held.entitlements | entitlements,
    )
    assert subject.allows(asking(more)) >= subject.allows(asking(held))


@settings(deadline=None)
@given(st.sampled_from(VALUES[:3]), grant_sets())
def test_no_term_admits_more_than_requires(value: str, held: GrantSet) -> None:
    neutral = grant(value).allows(asking(held))
    assert neutral == (value in held)
    assert neutral >= scope(value).allows(asking(held))
    assert neutral >= permission(value).allows(asking(held))


@settings(deadline=None)
@given(POLICIES, grant_sets())
def test_a_decision_agrees_with_the_policy_and_says_so(subject: Policy, held: GrantSet) -> None:
    decision = decide(subject, held)
    assert decision.allowed == subject.allows(asking(held))
    assert decision.allowed == (not decision.missing)
    assert decision.allowed == decision.why.startswith("the policy is met")
    assert not any(term.holds(asking(held)) for term in decision.missing)
    assert not set(decision.scope) - {name for names in decision.required for name in names}
