"""What type checkers say about code that uses the package: `accepted.py`, `rejected.py` and the examples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ..interop.authorization_server import is_required

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PYRIGHT = ROOT / "tests" / "interop" / "node_modules" / "pyright" / "index.js"
CHECKED = [str(HERE / "accepted.py"), str(HERE / "rejected.py"), *map(str, sorted(ROOT.glob("examples/*.py")))]
EXPECTED = re.compile(r"  # ([a-z-]+), ([A-Za-z-]+)$")

Errors = Mapping[Path, set[tuple[int, str]]]
"""For each file the errors found in it: line and code."""


def run(*command: str) -> str:
    """Return what a checker prints; its exit code only says whether there was anything to print."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def grouped(errors: list[tuple[str, int, str]]) -> Errors:
    found: dict[Path, set[tuple[int, str]]] = {}
    for file, line, code in errors:
        found.setdefault((ROOT / file).resolve(), set()).add((line, code))
    return found


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """Return the errors mypy finds with its strict defaults, which are an application's and not our configuration."""
    cache = str(tmp_path_factory.mktemp("mypy"))
    printed = run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", "--output=json", f"--cache-dir={cache}", *CHECKED
    )
    found: list[dict[str, Any]] = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return grouped([(one["file"], one["line"], one["code"]) for one in found if one["severity"] == "error"])


@pytest.fixture(scope="module")
def pyright() -> Errors:
    """Return the errors pyright finds with its defaults."""
    if shutil.which("node") is None or not PYRIGHT.is_file():
        (pytest.fail if is_required() else pytest.skip)("pyright is not installed; run npm install in tests/interop")
    printed = run("node", str(PYRIGHT), "--outputjson", "--pythonpath", sys.executable, *CHECKED)
    found: list[dict[str, Any]] = json.loads(printed)["generalDiagnostics"]
    return grouped(
        [
            (one["file"], one["range"]["start"]["line"] + 1, one.get("rule", one["message"]))
            for one in found
            if one["severity"] == "error"
        ]
    )


CHECKERS = pytest.mark.parametrize("checker", ["mypy", "pyright"])


@CHECKERS
def test_what_applications_write_is_accepted(checker: str, request: pytest.FixtureRequest) -> None:
    errors: Errors = request.getfixturevalue(checker)
    assert errors.get(HERE / "accepted.py", set()) == set()


@CHECKERS
def test_what_cannot_be_meant_is_rejected_where_it_stands(checker: str, request: pytest.FixtureRequest) -> None:
    errors: Errors = request.getfixturevalue(checker)
    expected = set()
    for number, line in enumerate((HERE / "rejected.py").read_text(encoding="utf-8").splitlines(), start=1):
        match = EXPECTED.search(line)
        code = "-" if match is None else match[1 if checker == "mypy" else 2]
        if code != "-":
            expected.add((number, code))
    assert errors[HERE / "rejected.py"] == expected
    assert len(expected) > 40


@CHECKERS
def test_the_examples_are_clean(checker: str, request: pytest.FixtureRequest) -> None:
    errors: Errors = request.getfixturevalue(checker)
    assert {path.name: found for path, found in errors.items() if path.parent.name == "examples"} == {}


def test_what_is_accepted_also_starts() -> None:
    from starlette.testclient import TestClient

    from . import accepted

    for app in (accepted.fastapi_app, accepted.starlette_app):
        with TestClient(app):
            pass
