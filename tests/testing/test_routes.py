"""`route_check`: passes where all is as it was, and fails for whatever is unguarded or was opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from authz_middleware import AuthzMiddleware, ConfigurationError, authenticated, public, requires
from authz_middleware.audit import route_table
from authz_middleware.testing import route_check
from tests.apps import bare, endpoint
from tests.testing.apps import acme

pytest_plugins = ["pytester"]

Served = dict[str, Callable[..., Any]]
READ = requires("read:orders")
GOOD: Served = {"/orders": READ(endpoint), "/me": authenticated(endpoint), "/healthz": public(endpoint)}


def app_of(served: Served, **options: Any) -> Starlette:
    guard = Middleware(AuthzMiddleware, issuers=[acme()], **options)
    return Starlette(routes=[Route(path, handler) for path, handler in served.items()], middleware=[guard])


def fault_of(app: object, snapshot: str | Path | None = None) -> str | None:
    try:
        route_check(app, snapshot)()
    except AssertionError as error:
        return str(error)
    return None


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """The snapshot of the good application."""
    path = tmp_path / "routes.json"
    path.write_text(route_table(app_of(GOOD)).to_json(), encoding="utf-8")
    return path


def test_where_every_route_is_guarded_it_passes() -> None:
    assert fault_of(app_of(GOOD)) is None


@pytest.mark.parametrize(
    ("served", "options", "alarm"),
    [
        ({**GOOD, "/forgotten": bare}, {}, "UNGUARDED: states nothing, so it is refused"),
        ({**GOOD, "/forgotten": bare}, {"undecorated": "authenticated"}, "any valid token gets in"),
        (GOOD, {"enforce": False}, "NOTHING IS GUARDED HERE: AuthzMiddleware(enforce=False) only reports"),
    ],
)
def test_what_is_unguarded_fails_with_the_whole_table(served: Served, options: dict[str, Any], alarm: str) -> None:
    app = app_of(served, **options)
    fault = fault_of(app)
    assert fault == f"route_check: not every route is guarded\n\n{route_table(app)}"
    assert alarm in fault


def test_without_the_middleware_it_fails() -> None:
    fault = fault_of(Starlette(routes=[Route("/", bare)]))
    assert fault is not None
    assert "there is no AuthzMiddleware" in fault


def test_the_table_is_made_when_the_test_runs() -> None:
    app = app_of(GOOD)
    test = route_check(app)
    app.router.routes.append(Route("/late", bare))
    with pytest.raises(AssertionError, match="/late"):
        test()


def test_what_has_no_routes_is_an_error() -> None:
    test = route_check("main:app")
    with pytest.raises(ConfigurationError, match="no routes can be seen here"):
        test()


# --- against a snapshot -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "served",
    [
        GOOD,
        {**GOOD, "/orders": requires("read:orders", "x")(endpoint)},
        {path: handler for path, handler in GOOD.items() if path != "/healthz"},
        {**GOOD, "/new": public(endpoint)},
    ],
)
def test_what_is_as_it_was_or_narrower_or_new_and_guarded_passes(snapshot: Path, served: Served) -> None:
    before = snapshot.read_bytes()
    assert fault_of(app_of(served), snapshot) is None
    assert snapshot.read_bytes() == before


@pytest.mark.parametrize(
    ("served", "line"),
    [
        ({**GOOD, "/orders": authenticated(endpoint)}, "opened  GET      /orders"),
        ({**GOOD, "/me": public(endpoint)}, "opened  GET      /me"),
        ({**GOOD, "/new": bare}, "added   GET      /new"),
        ({**GOOD, "/me": bare}, "closed  GET      /me"),
    ],
)
def test_what_was_opened_or_left_unguarded_fails_with_what_changed(snapshot: Path, served: Served, line: str) -> None:
    fault = fault_of(app_of(served), snapshot)
    assert fault is not None
    assert fault.startswith(f"route_check: routes were opened, or left unguarded, since {snapshot}; ")
    assert line in fault
    assert fault_of(app_of(served), snapshot) == fault  # nothing is accepted by itself


def test_what_was_unguarded_before_is_no_loss(tmp_path: Path) -> None:
    path, app = tmp_path / "routes.json", app_of({**GOOD, "/forgotten": bare})
    assert fault_of(app, path) is not None
    assert fault_of(app, path) is None
    assert fault_of(app_of({**GOOD, "/forgotten": bare, "/another": bare}), path) is not None


def test_a_snapshot_that_is_not_there_is_written_and_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_of(GOOD)
    fault = fault_of(app, "routes.json")
    assert fault == (
        "route_check: routes.json was not there and is written; look at what is in it, and keep it\n\n"
        f"{route_table(app)}"
    )
    assert json.loads((tmp_path / "routes.json").read_text()) == json.loads(route_table(app).to_json())
    assert fault_of(app, "routes.json") is None


def test_a_snapshot_that_is_no_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    path.write_text("{}", encoding="utf-8")
    test = route_check(app_of(GOOD), path)
    with pytest.raises(ConfigurationError, match=r"routes\.json: this is no table of `authz routes --json`"):
        test()
    assert path.read_text(encoding="utf-8") == "{}"


def test_pytest_shows_the_table_and_nothing_of_ours(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from authz_middleware.testing import route_check
        from tests.apps import bare
        from tests.testing.test_routes import GOOD, app_of

        test_routes = route_check(app_of({**GOOD, "/forgotten": bare}))
        test_good_routes = route_check(app_of(GOOD))
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:cov", "-W", "ignore")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *not every route is guarded", "*METHODS *PATH *", "*GET */forgotten *UNGUARDED*"])
    result.stdout.no_fnmatch_line("*def test_routes*")
