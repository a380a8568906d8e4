"""`route_check`: that every route is guarded, and that nothing was opened, as a test in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..audit import Change, RouteTable, Verdict, compare, route_table
from ..errors import ConfigurationError

__all__ = ["route_check"]


def route_check(app: object, snapshot: str | os.PathLike[str] | None = None) -> Callable[[], None]:
    """Return a test of the route table of an application.

    Write `test_routes = route_check(app)` in a test module. It fails where a route is unguarded, and shows the table.

    With a snapshot, `route_check(app, snapshot="routes.json")`, it fails where a route lets in whom it did not let in
    when the snapshot was made, or is unguarded and was not, and shows what has changed. A snapshot that is not there is
    written, and the test fails that one time: look at the table, and keep the file under version control. To accept a
    change, delete the file and run the test again. `authz routes module:app --json` writes the same.

    Not tested: what handlers decide themselves, and whether your policies are the right ones.

    Args:
        app: a Starlette or FastAPI application, its `AuthzMiddleware` included.
        snapshot: the path of the file; a relative one begins at the working directory.

    Raises:
        AssertionError: from the test: a route is unguarded, or was opened, or there was no snapshot yet.
        ConfigurationError: from the test: no routes can be seen, or the snapshot is no table.
    """

    def test_routes() -> None:
        __tracebackhide__ = True
        table = route_table(app)
        fault = _find_unguarded(table) if snapshot is None else _compare(table, Path(snapshot))
        if fault is not None:
            raise AssertionError(f"route_check: {fault}")

    return test_routes


def _find_unguarded(table: RouteTable) -> str | None:
    return f"not every route is guarded\n\n{table}" if table.unguarded else None


def _compare(table: RouteTable, path: Path) -> str | None:
    """Return what is wrong with a table beside its snapshot, or that this is the first one."""
    if not path.exists():
        path.write_text(table.to_json() + "\n", encoding="utf-8")
        return f"{path} was not there and is written; look at what is in it, and keep it\n\n{table}"
    comparison = compare(_read(path), table)
    if not any(map(_is_loss, comparison.changes)):
        return None
    return (
        f"routes were opened, or left unguarded, since {path}; if that is meant, delete the file and run this again"
        f"\n\n{comparison}"
    )


def _read(path: Path) -> RouteTable:
    try:
        return RouteTable.from_json(path.read_bytes())
    except ConfigurationError as error:
        raise ConfigurationError(f"route_check: {path}: {error}") from None


def _is_loss(change: Change) -> bool:
    return change.verdict is Verdict.OPENED or (change.new is not None and change.new.is_unguarded)
