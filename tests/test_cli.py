"""The command line: as a newcomer meets it, in processes of its own; and piece by piece, in this one."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import io
import os
import pty
import re
import runpy
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from rich.console import Console
from starlette.applications import Starlette

from authz_middleware import cli
from authz_middleware.cli import demo
from authz_middleware.cli.demo import stage
from authz_middleware.cli.demo.play import Outcome, play_all
from authz_middleware.cli.demo.scenarios import SECTIONS, Scenario
from authz_middleware.cli.demo.servers import HOST, World, listen, running_world, serving
from authz_middleware.cli.demo.table import PIPE_WIDTH, make_table

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "authz_middleware.cli"]
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
DIALECTS = ("access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz")
TIMEOUT = 60
"""Seconds after which a process that hangs is given up; nothing is measured by it."""


def scenario(who: str, carrying: str) -> Scenario:
    """Return the first scenario of this name."""
    return next(s for group in SECTIONS for s in group if (s.who, s.carrying) == (who, carrying))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        check=False,
    )


# --- the command itself -----------------------------------------------------------------------------------------------


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "demo" in capsys.readouterr().err


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"authz {version('authz_middleware')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["dem"],
        ["demo", "--port", "65536"],
        ["demo", "--port", "-1"],
        ["demo", "--port", "x"],
        ["demo", "--port", "٣"],
        ["demo", "x"],
    ],
)
def test_a_usage_error_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    assert done.value.code == 2
    assert "usage: authz" in capsys.readouterr().err


def test_the_package_runs_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["authz"])
    with pytest.raises(SystemExit) as done:
        runpy.run_module("authz_middleware.cli", run_name="__main__")
    assert done.value.code == 2


def test_importing_the_module_runs_nothing() -> None:
    assert importlib.import_module("authz_middleware.cli.__main__").main is cli.main


def test_an_interruption_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "run", interrupted)
    assert cli.main(["demo"]) == 130


def test_an_interruption_while_a_command_is_imported_is_no_traceback() -> None:
    program = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "authz_middleware.cli.explain":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from authz_middleware.cli import main
sys.exit(main(["--version"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


COMMAND_LINES = {
    "demo": "demo",
    "routes": "routes examples.starlette_app:app",
    "explain": "explain --token-in-shell-history a.b",
    "doctor": "doctor https://localhost:1/ --audience x",
}


def run_in_a_shell(arguments: str, redirection: str) -> subprocess.CompletedProcess[str]:
    line = f"{shlex.join(COMMAND)} {arguments} {redirection}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        line, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("command", COMMAND_LINES)
def test_an_output_that_cannot_be_written_is_one_sentence(command: str) -> None:
    done = run_in_a_shell(COMMAND_LINES[command], ">/dev/full")
    assert (done.returncode, done.stderr) == (
        2,
        f"authz {command}: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    ("command", "redirection", "code"),
    [
        ("demo", ">&-", 0),
        ("routes", ">&-", 0),
        ("explain", ">&-", 1),
        ("doctor", ">&-", 1),
        ("routes no_module", ">&- 2>&-", 2),
        ("routes no_module:app", ">&- 2>&-", 2),
        ("doctor", "2>&-", 2),
        ("doctor", "2>/dev/full", 2),
    ],
)
def test_a_closed_output_is_nothing_to_print_on(command: str, redirection: str, code: int) -> None:
    line = COMMAND_LINES[command] if command in COMMAND_LINES and redirection == ">&-" else command
    done = run_in_a_shell(line, redirection)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize("name", ["fastapi", "rich", "uvicorn"])
def test_without_its_extra_the_demo_says_what_to_install(name: str) -> None:
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from authz_middleware.cli import main
sys.exit(main(["demo"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    line = f'authz demo: {name} is missing; install it, in a clone with: python -m pip install -e ".[demo]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


@pytest.mark.parametrize(("name", "outcome"), [("uvicorn", 2), ("authz_middleware.absent", None)])
def test_only_a_module_of_the_extra_is_called_missing(
    name: str, outcome: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(demo, "_import_stage", absent)
    if outcome is None:
        with pytest.raises(ModuleNotFoundError):
            cli.main(["demo"])
    else:
        assert cli.main(["demo"]) == outcome


# --- in a pipe --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def piped() -> subprocess.CompletedProcess[str]:
    return run("demo", COLUMNS="40")  # a pipe has no columns: the variable must not narrow it


def test_in_a_pipe_the_demo_ends_well_and_says_nothing_else(piped: subprocess.CompletedProcess[str]) -> None:
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "\x1b" not in piped.stdout
    assert "…" not in piped.stdout


def test_in_a_pipe_every_request_is_a_row(piped: subprocess.CompletedProcess[str]) -> None:
    for expected in (s for group in SECTIONS for s in group):
        answer = f"{expected.status} {expected.code or ''}".rstrip()
        words = (expected.who, expected.dialect or "-", " ".join(expected.route), answer)
        row = ".*".join(re.escape(word) for word in words)
        assert re.search(rf"^ {row}\b.*\n {re.escape(expected.carrying)}", piped.stdout, re.MULTILINE), words


def test_in_a_pipe_the_same_route_opens_in_all_four_dialects(piped: subprocess.CompletedProcess[str]) -> None:
    assert '@requires("read:orders")' in piped.stdout
    for dialect in DIALECTS:
        source = "permissions" if dialect.endswith("_authz") else "scope"
        row = rf"^ Jo, our own app +{dialect} .* GET /orders +200 OK +'read:orders' is in {source} *$"
        assert re.search(row, piped.stdout, re.MULTILINE)


def test_an_output_without_unicode_gets_a_plainer_table() -> None:
    done = run("demo", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


# --- on a terminal ----------------------------------------------------------------------------------------------------


def run_on_terminal(columns: int) -> tuple[int, str]:
    """Run the demo on a pseudo-terminal of this width and return its exit code and what was written."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    environment = {**plain, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen([*COMMAND, "demo"], stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    written = bytearray()
    with contextlib.suppress(OSError):  # Linux ends a pseudo-terminal with EIO
        while chunk := os.read(controller, 65536):
            written += chunk
    os.close(controller)
    return process.wait(TIMEOUT), written.decode()


@pytest.mark.parametrize("columns", [120, 80])
def test_on_a_terminal_the_table_has_colours_and_fits(columns: int) -> None:
    code, written = run_on_terminal(columns)
    assert code == 0
    assert "\x1b[1;32m200 OK" in written
    assert "\x1b[1;33m403 insufficient_scope" in written
    assert "\x1b[1;31m401 expired" in written
    lines = ESCAPE.sub("", written).splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in written
    for word in (*DIALECTS, "insufficient_scope", "opaque_token", "permission: create:orders"):
        assert any(word in line for line in lines), word


# --- left running -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def left_running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start `authz demo --serve` and yield the process with its curl lines."""
    process = subprocess.Popen([*COMMAND, "demo", "--serve", *arguments], stdout=subprocess.PIPE, encoding="utf-8")
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.endswith("Ctrl-C.\n"):
                break
        yield process, [line for line in lines if line.startswith("curl ")]
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT)


def call(curl: str) -> httpx.Response:
    """Perform a curl line."""
    words = iter(shlex.split(curl)[2:])
    method, headers, url = "GET", {}, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        else:
            url = word
    with httpx.Client(trust_env=False, timeout=TIMEOUT) as client:
        return client.request(method, url, headers=headers)


def test_left_running_the_curl_lines_work_until_ctrl_c() -> None:
    with listen(0) as one, listen(0) as other:
        port, issuer_port = one.getsockname()[1], other.getsockname()[1]
    with left_running("--port", str(port), "--issuer-port", str(issuer_port)) as (process, curls):
        assert all(f"http://{HOST}:{port}/" in curl for curl in curls)
        metadata = call(f"curl -i http://{HOST}:{issuer_port}/.well-known/openid-configuration").json()
        assert metadata["issuer"] == f"http://{HOST}:{issuer_port}/"
        answers = [call(curl).status_code for curl in curls]
        assert answers == [s.status for group in SECTIONS for s in group if s.to_try]
        assert {200, 401, 403} <= set(answers)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
    with pytest.raises(httpx.ConnectError):
        call(curls[0])


def test_a_taken_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with listen(0) as taken:
        assert cli.main(["demo", "--port", str(taken.getsockname()[1])]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


# --- piece by piece ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world() as world:
        yield world


def play(world: World, *scenarios: Scenario) -> list[Outcome]:
    return play_all(world, [scenarios])[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_left_running_in_this_process(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal arrives as soon as the demo waits; the handlers of this process are put back."""

    class Signalled:
        def wait(self) -> None:
            signal.raise_signal(number)

    monkeypatch.setattr(stage, "Event", Signalled)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    assert cli.main(["demo", "--serve"]) == 0
    assert {n: signal.getsignal(n) for n in before} == before
    assert "\ncurl -i http" in capsys.readouterr().out


def test_the_demo_in_this_process_on_any_text_stream() -> None:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert cli.main(["demo"]) == 0
    assert f"All {sum(map(len, SECTIONS))} answers were as expected." in output.getvalue()


@pytest.mark.parametrize("colours", [None, "standard"])
def test_what_the_colours_mean_is_said_where_there_are_any(world: World, colours: Literal["standard"] | None) -> None:
    console = Console(width=PIPE_WIDTH, force_terminal=True, color_system=colours)
    with console.capture() as capture:
        stage.perform(world, console, [[scenario("Jo, our own app", "valid token")]])
    assert ("green" in capture.get()) == (colours is not None)


def test_a_missed_expectation_fails_the_demo(world: World) -> None:
    console = Console(width=PIPE_WIDTH, no_color=True)
    good = scenario("Jo, our own app", "valid token")
    with console.capture() as capture:
        assert stage.perform(world, console, [[good]]) == 0
        assert stage.perform(world, console, [[good, replace(good, status=403, code="no_policy")]]) == 1
    assert "expected: 403 no_policy" in capture.get()
    assert "1 of 2 answers were not the expected ones." in capture.get()


@pytest.mark.parametrize(
    "change", [{"status": 201}, {"code": "wrong_audience"}, {"status": 401}, {"mint": lambda _: None}]
)
def test_every_part_of_an_answer_counts(world: World, change: dict[str, Any]) -> None:
    expired = scenario("Jo, our own app", "expired")
    changed = replace(expired, **change)
    assert [outcome.is_expected for outcome in play(world, expired, changed)] == [True, changed == expired]


def test_the_demo_notices_an_api_that_trusts_another_audience(world: World) -> None:
    with running_world() as other:
        mixed = replace(world, issuer=other.issuer)  # the API of one world, the tokens of another
        outcome = play(mixed, scenario("Jo, our own app", "valid token"))[0]
    assert (outcome.status, outcome.code, outcome.grants, outcome.is_expected) == (401, "untrusted_issuer", None, False)


def test_the_reason_is_the_answer_s_own_or_the_policy_s(world: World) -> None:
    refused, granted, third_party, anonymous = play(
        world,
        scenario("Jo, our own app", "expired"),
        scenario("nightly job", "machine token"),
        replace(scenario("Jo, a partner's app", "beyond its grants"), mint=_partner_beyond),
        Scenario("anybody", "no token", None, lambda _: None, ("GET", "/healthz"), 200),
    )
    assert refused.why == "The access token has expired."
    assert granted.why == "'read:orders' is in scope"
    assert third_party.why == (
        "'create:orders' is in permissions but not in scope, and this client is third-party, so only what stands in "
        "both counts"
    )
    assert anonymous.why == "the route is public"


def _partner_beyond(issuer: Any) -> str:
    token: str = issuer.token(
        "access_token_authz", client_id="partner-app", scope="read:orders", permissions=["create:orders"]
    )
    return token


def test_the_dialect_shown_is_the_one_the_api_read(world: World) -> None:
    good = scenario("Jo, our own app", "valid token")
    outcome = play(world, replace(good, dialect="as written on the label"))[0]
    assert outcome.dialect == good.dialect


@pytest.mark.parametrize("width", [80, 105, 140, 160])
def test_the_table_loses_nothing_at_any_width(world: World, width: int) -> None:
    outcomes = play(world, scenario("Jo, our own app", "missing grant"), scenario("anybody", "no token"))
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(make_table([outcomes], width))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    for outcome in outcomes:
        cells = (outcome.scenario.who, outcome.dialect, outcome.code, *(g.value for g in outcome.grants or ()))
        assert all(cell in text for cell in cells if cell)
        assert all(word in text for word in outcome.why.split())


def test_a_server_error_stands_out(world: World) -> None:
    outcome = replace(play(world, scenario("anybody", "no token"))[0], status=503, code="keys_unavailable")
    console = Console(width=PIPE_WIDTH, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(make_table([[outcome]], PIPE_WIDTH))
    assert "\x1b[1;35m503 keys_unavailable" in capture.get()


def test_nothing_of_a_world_stays_open() -> None:
    threads = set(threading.enumerate())
    with running_world() as world:
        urls = [world.api_url, world.issuer.issuer]
    for url in urls:
        with pytest.raises(httpx.ConnectError):
            call(f"curl -i {url}")
    assert set(threading.enumerate()) <= threads


def test_an_application_that_does_not_start_is_an_error_at_once() -> None:
    @contextlib.asynccontextmanager
    async def fails(_: Starlette) -> Any:
        raise RuntimeError
        yield

    listening = listen(0)
    with pytest.raises(RuntimeError), serving(Starlette(lifespan=fails), listening):
        raise AssertionError("the application was served")
    assert listening.fileno() == -1
