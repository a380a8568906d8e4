"""Import somebody's application, and tell their faults from ours."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

__all__ = ["NotLoaded", "load"]

HERE = str(Path(__file__).parent)
IMPORTLIB = (str(Path(importlib.__file__).parent), "<frozen importlib")


class NotLoaded(Exception):
    """There is no application to look at; one sentence says why.

    `origin` shows where an exception inside the application came from; empty: the sentence says it all.
    """

    def __init__(self, sentence: str, origin: str = "") -> None:
        self.origin = origin
        super().__init__(sentence)


def load(target: str, app_dir: Path, *, is_factory: bool) -> object:
    """Import `module:app` and return the application. What its modules print goes to standard error.

    Raises:
        NotLoaded: it cannot be had.
    """
    module_name, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise NotLoaded(f"{target!r} is no module:app; write main:app for the application `app` in main.py")
    if not app_dir.is_dir():
        raise NotLoaded(f"--app-dir {app_dir}: there is no such directory")
    sys.path.insert(0, str(app_dir.resolve()))
    importlib.invalidate_caches()
    with contextlib.redirect_stdout(sys.stderr):
        app = _attribute(_module(module_name, app_dir), attribute)
        return _made(target, app) if is_factory else app


def _module(name: str, app_dir: Path) -> ModuleType:
    try:
        module: ModuleType = _theirs(f"importing {name}", lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        raise NotLoaded(f"there is no module {error.name} in {app_dir}; say where it is with --app-dir") from None
    return module


def _attribute(module: ModuleType, path: str) -> object:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        raise NotLoaded(f"the module {module.__name__} has no {path}; write the name of the application") from None


def _made(target: str, factory: object) -> object:
    if not callable(factory):
        raise NotLoaded(f"{target} is a {type(factory).__name__} and cannot be called; leave --factory out")
    app = _theirs(f"calling {target}", factory)
    if inspect.iscoroutine(app):
        app.close()
        raise NotLoaded(f"{target} is a coroutine function; --factory takes a plain one")
    return app


def _theirs(what: str, call: Callable[[], Any]) -> Any:
    """Return what a call returns.

    Raises:
        NotLoaded: it raised, or ended the process, and that came from the application.
        ModuleNotFoundError: the very module that was to be imported is not there.
    """
    try:
        return call()
    except (Exception, SystemExit) as error:  # even an exit must not look like a good end
        trace = _from_theirs_on(error.__traceback__)
        if trace is None and isinstance(error, ModuleNotFoundError):
            raise
        origin = "".join(traceback.format_exception(type(error), error, trace))
        raise NotLoaded(f"{what} failed", origin) from None


def _from_theirs_on(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the steps that lead to the first line of the application's."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((HERE, *IMPORTLIB)):
        trace = trace.tb_next
    return trace
