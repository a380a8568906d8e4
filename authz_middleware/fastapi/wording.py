"""A policy in words, for the description of an operation, and as the scopes a client can request.

Whoever may read a document reads this, often anybody at all: names of grants are in it, as in every refusal, but
nothing else of what a policy compares with. No role, no claim's value, nobody's identity, no name of a function.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..policy import Access, AllOf, AnyOf, Kind, Policy, Public, Term
from ..policy.claims import ClaimTerm
from ..policy.core import GRANT_KINDS
from ..policy.decision import is_scope_token

__all__ = ["describe_access", "scope_sets", "takes_any_token"]

WORDS: Mapping[Kind, str] = {
    Kind.ROLE: "a certain role",
    Kind.GROUP: "a certain group",
    Kind.SUBJECT: "a certain subject",
    Kind.CLIENT: "a certain client",
    Kind.TENANT: "a certain tenant",
    Kind.MACHINE: "a machine as its holder",
    Kind.USER: "a user as its holder",
}
OTHERWISE = "a further check by the API"
"""Of a `check`, and of a policy of the application's own."""
REPORTED = " This is only reported so far, and nobody is refused."


def takes_any_token(access: Access | None) -> bool:
    """Tell whether any valid token will do: then no token is answered with 403."""
    return isinstance(access, Policy) and access.alternatives == ((),)


def scope_sets(policy: Policy) -> list[list[str]]:
    """Return the scopes of each alternative. Roles and the like, and what is no scope-token, are left out.

    So an alternative may ask for more than its list says; that it does, `describe_access` says.
    """
    sets = [
        [term.value for term in terms if term.kind in GRANT_KINDS and is_scope_token(term.value)]
        for terms in policy.alternatives
    ]
    return [list(dict.fromkeys(scopes)) for scopes in sets]


def describe_access(access: Access | None, *, is_reported: bool = False) -> str:
    """Return one line of Markdown that says who may call an operation. None: it states no policy, and is refused."""
    return f"**Access:** {_who(access)}.{REPORTED if is_reported else ''}"


def _who(access: Access | None) -> str:
    if access is None:
        return "nobody, because the operation states no policy"
    if isinstance(access, Public):
        return "anybody, with or without an access token"
    if takes_any_token(access):
        return "any valid access token"
    return f"an access token with {_describe(access)}"


def _describe(policy: Policy) -> str:
    match policy:
        case AnyOf():
            return " or ".join(_described_parts(policy))
        case AllOf():
            return " and ".join(_described_parts(policy))
        case ClaimTerm():
            return f"a certain value of the claim {_code('.'.join(policy.path))}"
        case Term() if policy.kind in GRANT_KINDS:
            return ("" if policy.kind is Kind.GRANT else f"{policy.kind} ") + _code(policy.value)
        case Term():
            return WORDS.get(policy.kind, OTHERWISE)
        case _:
            return OTHERWISE


def _described_parts(policy: AllOf | AnyOf) -> list[str]:
    """Return the parts in words, each once: two roles, of which no name is said, are the same in words."""
    return list(dict.fromkeys(_describe_part(part) for part in policy.parts if not takes_any_token(part)))


def _describe_part(part: Policy) -> str:
    is_several = isinstance(part, AllOf | AnyOf) and len(_described_parts(part)) > 1
    return f"({_describe(part)})" if is_several else _describe(part)


def _code(text: str) -> str:
    """Return a text as a Markdown code span: fenced by more backticks than it holds in a row."""
    fence = "`"
    while fence in text:
        fence += "`"
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"
