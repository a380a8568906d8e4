"""A policy in words, for the description of an operation, and as the scopes a client can request."""

from __future__ import annotations

from ..policy import Access, AllOf, AnyOf, GrantTerm, Kind, Policy, Public, is_scope_token
from ..policy.core import GRANT_KINDS

__all__ = ["describe_access", "scope_sets", "takes_any_token"]


def takes_any_token(access: Access | None) -> bool:
    """Tell whether any valid token will do: then no token is answered with 403."""
    return isinstance(access, Policy) and access.alternatives == ((),)


def scope_sets(policy: Policy) -> list[list[str]]:
    """Return the scopes of each alternative. Roles and the like, and what is no scope-token, are left out.

    So an alternative may ask for more than its list says; what it asks for in full, `describe_access` says.
    """
    sets = [
        [term.value for term in terms if term.kind in GRANT_KINDS and is_scope_token(term.value)]
        for terms in policy.alternatives
    ]
    return [list(dict.fromkeys(scopes)) for scopes in sets]


def describe_access(access: Access | None) -> str:
    """Return one line of Markdown that says who may call an operation. None: it states no policy, and is refused."""
    if access is None:
        return "**Access:** nobody, because the operation states no policy."
    if isinstance(access, Public):
        return "**Access:** anybody, with or without an access token."
    if takes_any_token(access):
        return "**Access:** any valid access token."
    return f"**Access:** an access token with {_describe(access)}."


def _describe(policy: Policy) -> str:
    match policy:
        case AnyOf():
            return " or ".join(_describe_part(part) for part in policy.parts)
        case AllOf():
            return " and ".join(_describe_part(part) for part in policy.parts)
        case GrantTerm():
            return ("" if policy.kind is Kind.GRANT else f"{policy.kind} ") + _code(policy.value)
        case _:
            return _code(repr(policy))


def _describe_part(part: Policy) -> str:
    return f"({_describe(part)})" if isinstance(part, AllOf | AnyOf) else _describe(part)


def _code(text: str) -> str:
    """Return a text as a Markdown code span: fenced by more backticks than it holds in a row."""
    fence = "`"
    while fence in text:
        fence += "`"
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"
