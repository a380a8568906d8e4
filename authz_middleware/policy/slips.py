"""What a policy is mistaken for: each slip is an error that says what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NoReturn

from ..errors import ConfigurationError
from ..token import OIDC_SCOPES
from .kinds import Kind

__all__ = ["PlainValue", "check_grant", "check_issuer", "check_some"]


class PlainValue:
    """A value that is no condition, no decorator, no dependency and no part of a request."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise ConfigurationError(
            f"{self!r}: `and`, `or` and `not` do not compose policies; write & or |. As a dependency, write "
            "Security(requires(…))"
        )

    if not TYPE_CHECKING:  # pragma: no branch - for them a policy is not callable, which the messages say, too

        def __call__(self, *_: object, **__: object) -> NoReturn:
            """Refuse to decorate anything: a policy is a value."""
            raise ConfigurationError(f"{self!r} is a policy, no decorator; write @requires(…)")

        @property
        def __signature__(self) -> NoReturn:
            """Refuse to be a dependency by itself."""
            raise ConfigurationError(f"{self!r} is a policy, no dependency; write Security(requires(…))")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> NoReturn:
        """Refuse to be read from a request, which `Depends(requires)`, without its call, asks FastAPI for."""
        raise ConfigurationError(
            'a policy is no part of a request; write Security(requires("read:orders")), with the grants in the call'
        )


# --- values -----------------------------------------------------------------------------------------------------------

EXAMPLE, A_AND_B = '"read:orders"', ('"a"', '"b"')
CALLS: Mapping[str, tuple[str, str]] = {
    "authorize": ("authorize(request, {})", "authorize(request, policy.all_of({}))"),
    "allows": ("request.auth.allows({})", "request.auth.allows(policy.all_of({}))"),
    "decide": ("policy.decide({}, request)", "policy.decide(policy.all_of({}), request)"),
    "required_scopes": ("required_scopes=[{}]", "required_scopes=[{}]"),
    "&": ("… & {}", "policy.all_of(…, {})"),
    "|": ("… | {}", "policy.any_of(…, {})"),
}
"""How what an application wrote is given one name, and how several."""
OF_ONE = frozenset({"policy.scope", "policy.permission", "policy.role", "policy.group"})
"""What takes one name alone."""


def check_some(name: str, parts: tuple[object, ...]) -> None:
    """Refuse to require nothing at all. `name` is what the application wrote."""
    if not parts:
        raise ConfigurationError(f"{name}() is empty and would decide nothing; write {_with_one(name)}")


def check_grant(kind: Kind, value: object, name: str) -> str:
    """Return a grant's name as a plain string, or refuse a value that cannot be meant.

    Raises:
        ConfigurationError: not a string, empty, several names in one string, or an OIDC scope that grants nothing.
    """
    if not isinstance(value, str):
        raise ConfigurationError(_no_string(value, name))
    if not value.strip():
        raise ConfigurationError(f"{name} was given an empty string; write {_with_one(name)}")
    identity = [word for word in value.split() if word in OIDC_SCOPES] if kind is not Kind.SCOPE else []
    if " " in value and identity and kind is Kind.GRANT:
        raise ConfigurationError(
            f"{name} was given several names in one string, {value!r}; leave out what grants nothing on an API "
            f"({', '.join(identity)}), and write each of the others as a string of its own"
        )
    if " " in value and (kind in {Kind.GRANT, Kind.SCOPE} or name == "requires_permissions"):
        raise ConfigurationError(
            f"{name} was given several names in one string, {value!r}; write "
            f"{_with_several(name, map(repr, value.split()))}, or policy.permission({value!r}) if it is one permission"
        )
    if value in OIDC_SCOPES and kind in {Kind.GRANT, Kind.PERMISSION}:
        raise ConfigurationError(
            f"{name}: {str.__str__(value)!r} is an OpenID Connect scope and grants nothing on an API; "
            f"write policy.scope({value!r}) to ask the scope claim alone"
        )
    return str.__str__(value)  # of an enumeration's member, the string it is


def check_issuer(issuer: object, name: str) -> str | None:
    """Return the issuer a term is about, or refuse what is none."""
    if issuer is None:
        return None
    if not isinstance(issuer, str) or not issuer:
        raise ConfigurationError(
            f"{name}: issuer is the `iss` of one trusted issuer, such as https://acme.eu.auth0.com/"
        )
    return str.__str__(issuer)


def _no_string(value: object, name: str) -> str:
    if isinstance(value, bool):
        return f"{name}: a comparison or `not` is no policy; compose with & and |"
    if inspect.isroutine(value):
        return f"{name} was given a function; write {_with_one(name)}, with what it needs"
    if hasattr(value, "access"):  # what a decorator of ours is, which is made further down
        return (
            f"{name} was given a decorator; write {_with_one(name)}, with what that one requires, compose policies "
            "with & and |, or put one decorator above the other"
        )
    return f"{name} takes strings, not a {type(value).__name__}; write {_with_several(name, A_AND_B)}"


def _with_one(name: str) -> str:
    return CALLS.get(name, (f"{name}({{}})",))[0].format(EXAMPLE)


def _with_several(name: str, values: Iterable[str]) -> str:
    if name in OF_ONE:
        return " & ".join(f"{name}({value})" for value in values)
    return CALLS.get(name, ("", f"{name}({{}})"))[1].format(", ".join(values))
