"""`authz routes module:app`: who may call which route, whether anything is unguarded, and what a change opens."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..audit import Comparison, RouteTable, compare, route_table
from ..errors import ConfigurationError
from ..routes import find_router
from .endings import Exit, NotUsable
from .loading import add_place_arguments, load
from .terminal import complain, write

__all__ = ["register"]

DESCRIPTION = (
    "List every route of a Starlette or FastAPI application: methods, path, who may call it, source line, and whether "
    "it is unguarded. The application is imported, not started."
)
EPILOG = (
    "To review what a change opens, keep the output of --json from before it and pass that to --diff. A route that was "
    "not there before counts as added, and not as opened. Exit codes: 0; 1: a route is unguarded, with "
    "--fail-on-unguarded, or was opened, with --fail-on-opened; 2: there is no table."
)


def register(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "list who may call which route of an application"
    parser = commands.add_parser("routes", help=text, description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("target", metavar="module:app", help="where the application is, such as main:app")
    add_place_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print JSON")
    form.add_argument("--markdown", dest="form", action="store_const", const="markdown", help="print Markdown")
    parser.add_argument(
        "--diff", type=Path, metavar="OLD.JSON", help="print what became of the routes of an old --json"
    )
    parser.add_argument("--fail-on-unguarded", action="store_true", help="exit with 1 if a route is unguarded")
    parser.add_argument(
        "--fail-on-opened", action="store_true", help="with --diff: exit with 1 if a route lets in whom it did not"
    )
    parser.set_defaults(run=run, form="text")


def run(options: argparse.Namespace) -> Exit:
    """Print the table or the comparison, and tell whether something was found that must not be.

    Raises:
        NotUsable: there is no table.
    """
    old = _read(options.diff, is_needed=options.fail_on_opened)
    app = load(options.target, options.app_dir, is_factory=options.factory)
    table = _table(options.target, app)
    comparison = None if old is None else compare(old, table)
    write(_formatted(table if comparison is None else comparison, options.form))
    unguarded = len(table.unguarded) if options.fail_on_unguarded else 0
    opened = len(comparison.opened) if comparison is not None and options.fail_on_opened else 0
    if unguarded:
        are = "1 route is unguarded; it is" if unguarded == 1 else f"{unguarded} routes are unguarded; they are"
        complain("routes", f"{are} in the table {'above' if comparison is None else 'without --diff'}")
    if opened:
        were = "1 route was opened; it is" if opened == 1 else f"{opened} routes were opened; they are"
        complain("routes", f"{were} in the table above")
    return Exit.BAD if unguarded or opened else Exit.GOOD


def _read(path: Path | None, *, is_needed: bool) -> RouteTable | None:
    """Return the table of an earlier run; None if there is none to compare with."""
    if path is None:
        if is_needed:
            raise NotUsable("--fail-on-opened needs something to compare with; add --diff OLD.JSON")
        return None
    try:
        return RouteTable.from_json(path.read_bytes())
    except OSError as error:
        raise NotUsable(f"--diff {path} cannot be read: {error.strerror}") from None
    except ConfigurationError as error:
        raise NotUsable(f"--diff {path}: {error}") from None


def _table(target: str, app: object) -> RouteTable:
    if find_router(app) is None:
        hint = "; if it returns the application, add --factory" if callable(app) else ""
        raise NotUsable(f"{target} is a {type(app).__name__}, no Starlette or FastAPI application{hint}")
    try:
        return route_table(app)
    except ConfigurationError as error:
        raise NotUsable(f"{target}: {error}") from None


def _formatted(shown: RouteTable | Comparison, form: str) -> str:
    return {"json": shown.to_json, "markdown": shown.to_markdown}.get(form, shown.to_text)()
