"""What the dependencies of a FastAPI operation state: `Security(requires("x"))`, at whatever level it was written."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce
from typing import Annotated, Any, get_args, get_origin

from ..context import TokenUse, access_token
from ..decorators import Requirement, combine
from ..guard import Stated
from .frameworks import Dependency

__all__ = ["dependency_faults", "has_requirements", "with_dependencies"]


def has_requirements(needed: Iterable[Dependency]) -> bool:
    """Tell whether dependencies state anything about access."""
    return any(isinstance(dependency.call, Requirement) for dependency in needed)


def with_dependencies(stated: Stated, needed: Iterable[Dependency]) -> Stated:
    """Return what a handler and its dependencies state together: all of it.

    Raises:
        ConfigurationError: one of them says public and another does not.
    """
    needed = [dependency for dependency in needed if _gives_token(dependency)]
    required = [dependency.call.access for dependency in needed if isinstance(dependency.call, Requirement)]
    stated = replace(stated, pieces=(*stated.pieces, *required), token_use=_token_use(needed))
    if not required:
        return stated
    access = reduce(lambda one, other: combine(one, other, "the route"), required)
    return replace(stated, access=combine(access, stated.access, "the route"))


def _token_use(needed: Iterable[Dependency]) -> TokenUse:
    """Return whether anything takes the token as an argument: what needs one decides for all."""
    taken = [dependency for dependency in needed if dependency.parameter is not None]
    if not taken:
        return TokenUse.NONE
    is_optional = all(_allows_none(dependency.parent, str(dependency.parameter)) for dependency in taken)
    return TokenUse.OPTIONAL if is_optional else TokenUse.REQUIRED


def dependency_faults(needed: Iterable[Dependency]) -> Iterator[str]:
    """Yield what cannot be meant about dependencies of ours, as sentences that say what to write."""
    if any(dependency.scopes and _gives_token(dependency) for dependency in needed):
        yield 'Security(…, scopes=…) is not read here; write the grants into requires("read:orders")'


def _gives_token(dependency: Dependency) -> bool:
    return dependency.call is access_token or isinstance(dependency.call, Requirement)


def _allows_none(function: Any, parameter: str) -> bool:
    """Tell whether a parameter is annotated so that it may be None. What cannot be told may not."""
    try:
        annotation = inspect.signature(function, eval_str=True).parameters[parameter].annotation
    except Exception:  # noqa: BLE001 - an annotation is any expression, and a signature any object's own
        return False
    return _includes_none(annotation)


def _includes_none(annotation: Any) -> bool:
    annotation = getattr(annotation, "__value__", annotation)  # `type Name = …`
    if get_origin(annotation) is Annotated:
        return _includes_none(get_args(annotation)[0])
    return annotation in (inspect.Parameter.empty, Any, object) or type(None) in get_args(annotation)
