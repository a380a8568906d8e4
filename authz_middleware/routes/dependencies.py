"""What the dependencies of a FastAPI operation state: `Security(requires("x"))`, at whatever level it was written."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial, reduce
from inspect import isroutine
from types import NoneType, UnionType
from typing import Annotated, Any, ForwardRef, Union, get_args, get_origin

from ..decorators import Requirement, combine, requires_permissions, requires_scopes, stated_access
from ..guard import Stated
from ..handlers import access_token
from ..place import TokenUse
from ..policy import Access, Policy
from ..token import AccessToken
from .frameworks import Dependency, annotation_of, dependencies_of, fields_of

__all__ = ["dependency_faults", "with_dependencies"]

UNCALLED = (requires_permissions, requires_scopes)
"""What must be called to give a requirement. FastAPI itself refuses `Depends(requires)`, for the policies it takes."""


def with_dependencies(stated: Stated, needed: Iterable[Dependency]) -> Stated:
    """Return what a handler and its dependencies state together: all of it.

    Raises:
        ConfigurationError: one of them says public and another does not.
    """
    needed = list(needed)
    required = [access for dependency in needed if (access := _required_by(dependency)) is not None]
    giving = [dependency for dependency in needed if _gives_token(dependency)]
    stated = replace(stated, pieces=(*stated.pieces, *required), token_use=_token_use(giving))
    if not required:
        return stated
    access = reduce(lambda one, other: combine(one, other, "the route"), required)
    return replace(stated, access=combine(access, stated.access, "the route"))


def _required_by(dependency: Dependency) -> Access | None:
    """Return what a dependency requires: as a requirement itself, or because what is called is decorated with one."""
    call = dependency.call
    while isinstance(call, partial):
        call = call.func
    if isinstance(call, Requirement):
        return call.access
    if not (isroutine(call) or isinstance(call, type)):
        call = type(call).__call__  # an object is called by a method of its class
    access = stated_access(call)
    return access if isinstance(access, Policy) else None


def _gives_token(dependency: Dependency) -> bool:
    return dependency.call is access_token or isinstance(dependency.call, Requirement)


# --- whether the token may be missing ---------------------------------------------------------------------------------


def _token_use(needed: Iterable[Dependency]) -> TokenUse:
    """Return whether anything takes the token as an argument: what needs one decides for all.

    `dependencies=[Depends(access_token)]` takes nothing, and can only mean that there has to be a token.
    """
    taken = [one for one in needed if one.parameter is not None or one.call is access_token]
    if not taken:
        return TokenUse.NONE
    is_optional = all(one.parameter is not None and _allows_none(one.parent, one.parameter) for one in taken)
    return TokenUse.OPTIONAL if is_optional else TokenUse.REQUIRED


def _allows_none(function: Any, parameter: str) -> bool:
    """Tell whether a parameter is annotated with `| None`. What cannot be told was not."""
    try:
        return _includes_none(annotation_of(function, parameter))
    except Exception:  # noqa: BLE001 - an annotation is any expression, and a signature any object's own
        return False


def _includes_none(annotation: Any) -> bool:
    annotation = getattr(annotation, "__value__", annotation)  # `type Name = …`
    if isinstance(annotation, ForwardRef):  # it names what is imported for type checkers only
        return _spells_none(ast.parse(annotation.__forward_arg__, mode="eval").body)
    if get_origin(annotation) is Annotated:
        return _includes_none(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return any(_includes_none(member) for member in get_args(annotation))
    return annotation is NoneType


def _spells_none(written: ast.expr) -> bool:
    """Tell the same of an annotation that cannot be evaluated, by how it is written."""
    match written:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _spells_none(left) or _spells_none(right)
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Optional")):
            return True
        case ast.Subscript(value=ast.Name(id="Union") | ast.Attribute(attr="Union"), slice=ast.Tuple(elts=members)):
            return any(map(_spells_none, members))
    return isinstance(written, ast.Constant) and written.value is None


# --- mistakes ---------------------------------------------------------------------------------------------------------


def dependency_faults(route: Any) -> Iterator[str]:
    """Yield what cannot be meant about dependencies of ours, as sentences that say what to write."""
    needed = list(dependencies_of(route))
    if any(dependency.scopes and _gives_token(dependency) for dependency in needed):
        yield 'Security(…, scopes=…) is not read here; write the grants into requires("read:orders")'
    for dependency in needed:
        if dependency.call in UNCALLED:
            name = dependency.call.__name__
            yield f'{name} is called to become a dependency; write Security({name}("read:orders"))'
        if dependency.call is AccessToken:
            yield _forgeable(dependency.parameter)
    for name, annotation in fields_of(route):
        if _names_token(annotation):
            yield _forgeable(name)


def _forgeable(parameter: str | None) -> str:
    return (
        f"the parameter {parameter!r} would be filled from the request, so that callers write their own token; "
        "write Annotated[AccessToken, Depends(access_token)], or = Depends(access_token) as its default"
    )


def _names_token(annotation: Any) -> bool:
    waiting: list[Any] = [annotation]
    seen: list[Any] = []
    while waiting:
        part = waiting.pop()
        part = getattr(part, "__value__", part)
        if part is AccessToken:
            return True
        if not any(part is known for known in seen):  # an alias may name itself
            seen.append(part)
            waiting += get_args(part)
    return False
