"""Import somebody's application, and tell their faults from ours."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from os.path import isdir  # unlike Path.is_dir, it answers for names of any length
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from .endings import NotUsable

__all__ = ["add_place_arguments", "load"]

HERE = str(Path(__file__).parent)
IMPORTLIB = (str(Path(importlib.__file__).parent), "<frozen importlib")


def add_place_arguments(parser: Any) -> None:
    """Add what says where an application is, besides its name."""
    parser.add_argument("--factory", action="store_true", help="it is a function that returns the application")
    parser.add_argument(
        "--app-dir", type=Path, metavar="DIR", help="where its module is (default: the working directory)"
    )


def load(target: str, app_dir: Path | None, *, is_factory: bool) -> object:
    """Import `module:app` and return the application. What its modules print goes to standard error.

    Raises:
        NotUsable: it cannot be had.
    """
    module_name, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise NotUsable(f"{target!r} is no module:app; write main:app for the application `app` in main.py")
    app_dir = app_dir or Path()
    if not isdir(app_dir):  # not repeated: a token may have slipped into its place
        raise NotUsable("there is no directory of the name that --app-dir says")
    sys.path.insert(0, str(app_dir.resolve()))
    importlib.invalidate_caches()
    with contextlib.redirect_stdout(sys.stderr):
        app = _attribute(_module(module_name, app_dir), attribute)
        return _made(target, app) if is_factory else app


def _module(name: str, app_dir: Path) -> ModuleType:
    try:
        module: ModuleType = _theirs(f"importing {name}", lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        raise NotUsable(f"there is no module {error.name} in {app_dir}; say where it is with --app-dir") from None
    return module


def _attribute(module: ModuleType, path: str) -> object:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        raise NotUsable(f"the module {module.__name__} has no {path}; write the name of the application") from None


def _made(target: str, factory: object) -> object:
    if not callable(factory):
        raise NotUsable(f"{target} is a {type(factory).__name__} and cannot be called; leave --factory out")
    app = _theirs(f"calling {target}", factory)
    if inspect.iscoroutine(app):
        app.close()
        raise NotUsable(f"{target} is a coroutine function; --factory takes a plain one")
    return app


def _theirs(what: str, call: Callable[[], Any]) -> Any:
    """Return what a call returns.

    Raises:
        NotUsable: it raised, or ended the process, and that came from the application.
        ModuleNotFoundError: the very module that was to be imported is not there.
    """
    try:
        return call()
    except (Exception, SystemExit) as error:  # even an exit must not look like a good end
        trace = _from_theirs_on(error.__traceback__)
        if trace is None and isinstance(error, ModuleNotFoundError):
            raise
        origin = "".join(traceback.format_exception(type(error), error, trace))
        raise NotUsable(f"{what} failed", origin) from None


def _from_theirs_on(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the steps that lead to the first line of the application's."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith((HERE, *IMPORTLIB)):
        trace = trace.tb_next
    return trace
