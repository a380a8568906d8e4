"""What the dependencies of a FastAPI operation state: `Security(requires("x"))`, at whatever level it was written."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
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
    for dependency in needed:
        if isinstance(dependency.call, Requirement):
            requirement = dependency.call
            access = combine(requirement.access, stated.access, "the route")
            stated = replace(stated, access=access, pieces=(*stated.pieces, requirement.access))
        if _gives_token(dependency) and dependency.parameter is not None and stated.token_use is not TokenUse.REQUIRED:
            is_optional = _allows_none(dependency.parent, dependency.parameter)
            stated = replace(stated, token_use=TokenUse.OPTIONAL if is_optional else TokenUse.REQUIRED)
    return stated


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
