"""A policy from the text that shows it: the language of `repr`, read as a syntax tree. Nothing of it is executed."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from ... import policy
from ...errors import ConfigurationError
from ...policy import AccessRequest, Policy
from ..endings import NotUsable
from ..harmless import TOKEN

__all__ = ["parse_policy"]

MAX_LENGTH = 2000
KEYWORDS = frozenset({"equals", "contains", "matches", "issuer"})
VALUES: Mapping[str, Policy] = MappingProxyType(
    {"machine": policy.machine, "user": policy.user, "authenticated": policy.AUTHENTICATED}
)
FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        name: getattr(policy, name)
        for name in ("scope", "permission", "role", "group", "claim", "subject", "client", "tenant", "any_of", "all_of")
    }
)
HELP = (
    """write it as authz routes shows it: '"read:orders" | role("admin")'; the names are """
    f"{', '.join([*FUNCTIONS, 'path_param', 'check', *VALUES])}"
)
NO_GRANTS = frozenset({*FUNCTIONS, *VALUES, "path_param", "check", "public", "requires", "True", "False", "None"})
"""Words that are not taken for the grant of that name."""
_BARE = re.compile(r"(?!policy\.)[A-Za-z0-9][A-Za-z0-9:._/-]{0,99}")


def parse_policy(text: str) -> Policy:
    """Return the policy that a text shows. One word that is no name of the language is the grant of that name.

    Raises:
        NotUsable: it shows none.
    """
    text = text.strip()
    if TOKEN.search(text):
        raise NotUsable(f"--policy takes a policy, and this looks like a token; {HELP}")
    if _BARE.fullmatch(text) and text not in NO_GRANTS:
        text = repr(text)
    if not text or len(text) > MAX_LENGTH:
        raise NotUsable(f"--policy is empty, or longer than {MAX_LENGTH} characters; {HELP}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in a pattern; it would repeat what was typed
            tree = ast.parse(text, mode="eval")
        found = _read(tree.body)
        return found if isinstance(found, Policy) else policy.all_of(found)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        sentence = str(error) if isinstance(error, ConfigurationError) else "that is no policy"
        raise NotUsable(f"--policy: {sentence}; {HELP}") from None


def _read(node: ast.expr) -> object:
    """Return what a node shows: a policy, or a string, which stands for a grant."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.BinOp(op=ast.BitOr()):
            return policy.any_of(_read(node.left), _read(node.right))
        case ast.BinOp(op=ast.BitAnd()):
            return policy.all_of(_read(node.left), _read(node.right))
        case ast.Call():
            return _called(node)
    return VALUES[_name(node, VALUES)]


def _called(node: ast.Call) -> Policy:
    name = _name(node.func, {*FUNCTIONS, "check"})
    if name == "check":
        return policy.check(_unknown(_dotted(node)))
    read = _read if name in {"any_of", "all_of"} else _literal
    positional = [read(argument) for argument in node.args]
    named = {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg in KEYWORDS}
    if len(named) != len(node.keywords):
        raise SyntaxError
    made: Policy = FUNCTIONS[name](*positional, **named)
    return made


def _literal(node: ast.expr) -> object:
    """Return an argument: a string, number or boolean, a tuple of strings, or a path parameter."""
    match node:
        case ast.Constant(value=str() | int() | float() | bool() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Tuple():
            return tuple(_literal(part) for part in node.elts)
        case ast.Call(args=[argument], keywords=[]):
            _name(node.func, {"path_param"})
            return policy.path_param(str(_literal(argument)))
    raise SyntaxError


def _name(node: ast.expr, known: Any) -> str:
    """Return a name of the language, with or without `policy.` before it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="policy"), attr=name) if name in known:
            return name
    raise SyntaxError


def _dotted(node: ast.Call) -> str:
    """Return the name of a check's function."""
    match node:
        case ast.Call(args=[ast.Name() | ast.Attribute() as function], keywords=[]):
            return ast.unparse(function)
    raise SyntaxError


def _unknown(name: str) -> Callable[[AccessRequest], bool]:
    """Return what stands for the function of a `check`: only its name is known, so nobody may ask it."""

    def function(_: AccessRequest) -> NoReturn:
        raise NotImplementedError

    function.__qualname__ = name
    return function
