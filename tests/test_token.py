"""`AccessToken` as plain data: nothing in it can be changed, and nothing secret shows."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from authz_middleware import AccessToken
from authz_middleware.token import Grant, GrantRule, GrantSet, Source

from .helpers import ISSUER, accepted, token_with, validator

DEEP = {"list": [{"a": [1, 2]}, "x"], "object": {"inner": {"a": 1}}, "plain": "text", "none": None}


def deep_token() -> Any:
    return accepted(token_with({"x": DEEP}))


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims.__setitem__("scope", "admin"),
        lambda claims: claims.__delitem__("iss"),
        lambda claims: claims.update(scope="admin"),
        lambda claims: claims.clear(),
        lambda claims: claims["x"].__setitem__("plain", 1),
        lambda claims: claims["x"]["object"]["inner"].__setitem__("a", 2),
        lambda claims: claims["x"]["list"].append(1),
        lambda claims: claims["x"]["list"].__setitem__(0, 1),
        lambda claims: claims["x"]["list"][0].__setitem__("a", 1),
        lambda claims: claims["x"]["list"][0]["a"].append(3),
    ],
)
def test_claims_are_read_only_all_the_way_down(change: Any) -> None:
    token = deep_token()
    with pytest.raises((TypeError, AttributeError)):
        change(token.claims)
    assert token.claims["x"]["plain"] == "text"
    assert token.claims["x"]["list"] == ({"a": (1, 2)}, "x")
    assert token.claims["x"]["object"] == {"inner": {"a": 1}}


def test_claims_are_the_whole_payload() -> None:
    token = deep_token()
    assert set(token.claims) == {*ISSUER.claims(), "x"}
    assert token.claims["x"]["none"] is None


@pytest.mark.parametrize("name", [field.name for field in fields(AccessToken)])
def test_no_field_of_a_token_can_be_set(name: str) -> None:
    token = deep_token()
    with pytest.raises(FrozenInstanceError):
        setattr(token, name, getattr(token, name))


@pytest.mark.parametrize("name", [field.name for field in fields(GrantSet)])
def test_no_field_of_a_grant_set_can_be_set(name: str) -> None:
    grants = deep_token().grants
    with pytest.raises(FrozenInstanceError):
        setattr(grants, name, getattr(grants, name))
    assert isinstance(getattr(grants, name), frozenset | GrantRule)


def test_a_token_takes_no_new_attributes() -> None:
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        deep_token().admin = True


def test_repr_shows_no_claims() -> None:
    token = accepted(token_with({"email": "jo@acme.example", "https://acme.example/ssn": "078-05-1120", "x": DEEP}))
    assert "jo@acme.example" not in repr(token)
    assert "078-05-1120" not in repr(token)
    assert "inner" not in repr(token)
    assert "claims" not in repr(token)


def test_a_token_is_hashable_and_equal_to_itself_read_again() -> None:
    text = ISSUER.token(scope="a")
    assert accepted(text) == accepted(text)
    assert len({accepted(text), accepted(text)}) == 1


def test_identity_is_issuer_and_subject() -> None:
    token = accepted(ISSUER.token(subject="auth0|somebody"))
    assert token.identity == (ISSUER.issuer, "auth0|somebody")


def test_grants_are_plain_values() -> None:
    grants = accepted(ISSUER.token(scope="b a", permissions=["a"], x=["r"]), validator(roles_claims="x")).grants
    assert list(grants) == [
        Grant("a", Source.SCOPE),
        Grant("b", Source.SCOPE),
        Grant("a", Source.PERMISSION),
        Grant("r", Source.ROLE),
    ]
    assert hash(grants) == hash(grants)


def test_the_sources_have_the_words_of_the_documents() -> None:
    assert [str(source) for source in Source] == ["scope", "permission", "role", "group"]


def test_an_empty_grant_set_contains_nothing() -> None:
    grants = GrantSet(rule=GrantRule.SCOPES)
    assert list(grants) == []
    assert "" not in grants
    assert None not in grants
