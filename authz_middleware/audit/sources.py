"""Where in the source something was written."""

from __future__ import annotations

import functools
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from ..guard import Guard

__all__ = ["Source", "show_source", "shown_file", "source_of"]

MAX_WRAPPERS = 64

Source = tuple[str, int]
"""File and line."""


def source_of(endpoint: object) -> Source | None:
    """Return where an endpoint was written: a function as it was before any decorator, a class, an object's class."""
    target = _unwrapped(endpoint)
    if not isinstance(target, FunctionType | type):
        target = _serving(type(target))
    try:
        file = inspect.getsourcefile(target)
        # What ends a function's line is known without its source; of a class the source is read.
        line = target.__code__.co_firstlineno if isinstance(target, FunctionType) else _line_of(target)
    except (TypeError, OSError):
        return None
    return None if file is None else (file, line)


def show_source(source: Source | None) -> str:
    """Return `file:line`, the file as `shown_file` has it; a dash where nothing is known."""
    return "-" if source is None else f"{shown_file(source[0])}:{source[1]}"


def shown_file(file: str) -> str:
    """Return a path that says nothing of the machine: below the working directory, else as it would be imported.

    What is installed is always shown as it would be imported: its environment often lies in the working directory.
    """
    path = Path(file)
    if not path.is_absolute():
        return path.as_posix()
    installed = (Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
    roots = [*installed, Path.cwd(), *sorted(_import_roots(), key=lambda root: -len(root.parts))]
    below = (path.relative_to(root) for root in roots if path.is_relative_to(root))
    return next(below, Path(path.name)).as_posix()


def _import_roots() -> Iterator[Path]:
    """Yield the directories modules are imported from; the root of a file system would give everything away."""
    for entry in sys.path:
        root = Path(entry)
        if root.is_absolute() and root != Path(root.anchor):
            yield root


def _unwrapped(target: Any) -> Any:
    """Return the function, class or object behind decorators, partials, bound methods and guards."""
    for _ in range(MAX_WRAPPERS):
        if isinstance(target, Guard):
            target = target.app
        elif isinstance(target, functools.partial):
            target = target.func
        elif isinstance(target, MethodType):
            target = target.__func__
        elif isinstance(target, FunctionType) and hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        else:
            break
    return target


def _serving(kind: type) -> FunctionType | type:
    """Return what runs when an instance is called, or its class."""
    call: Callable[..., Any] | None = _unwrapped(getattr(kind, "__call__", None))  # noqa: B004 - the method is wanted
    return call if isinstance(call, FunctionType) else kind


def _line_of(target: type) -> int:
    """Return the line of a class as it was written: a guarded one is a subclass of the same name."""
    name = (target.__module__, target.__qualname__)
    written = [cls for cls in target.__mro__ if (cls.__module__, cls.__qualname__) == name]
    return inspect.getsourcelines(written[-1])[1]
