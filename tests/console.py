"""The programs that the console blocks of the documentation call, as far as they are called there.

`authz` and scripts run in this process, pytest in one of its own. No server is started: `uvicorn.run` and
`uvicorn app:app` hand the application to `curl`, whose requests are made in the process.
"""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any
from unittest import mock

from starlette.testclient import TestClient

from authz_middleware.cli import main as authz

from .printed import ELLIPSIS, Printed

__all__ = ["Console", "forget_modules"]

PATIENCE_SECONDS = 60
ENVIRONMENT_OF_THIS_RUN = ("PYTEST_", "COV_", "COVERAGE_")
SERVING = "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)\n"


def forget_modules(folder: Path) -> None:
    """Let what was imported from a folder be imported anew."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


@dataclass
class Console:
    """One terminal for the server and one for everything else, in one folder. `code` is the last command's."""

    folder: Path
    printed: Printed
    code: int = 0
    client: TestClient | None = None  # of what is served
    variables: dict[str, str] = field(default_factory=dict)
    _stop: Callable[[], None] = lambda: None

    def run(self, line: str) -> None:
        """Run one command.

        Raises:
            AssertionError: nobody here knows it.
        """
        if line == "echo $?":
            self.printed.write(f"{self.code}\n")
            self.code = 0
            return
        assignment = re.fullmatch(r"(export )?([A-Z]+)=(\S+)", line)
        if assignment is not None:
            self._assign(assignment[2], self._seen(assignment[3]), is_exported=assignment[1] is not None)
            return
        line, _, file = Template(line).safe_substitute(self.variables).partition(" > ")
        program, *arguments = shlex.split(line)
        self.code = self._program(program)(arguments) or 0
        if file:
            (self.folder / file).write_text(self.printed.take(), encoding="utf-8")

    def stop(self) -> None:
        """End what is served."""
        self._stop()
        self.client, self._stop = None, lambda: None

    def _program(self, name: str) -> Callable[[list[str]], int | None]:
        programs: dict[str, Callable[[list[str]], int | None]] = {
            "authz": self._authz,
            "curl": self._curl,
            "python": self._python,
            "uvicorn": self._uvicorn,
        }
        if name not in programs:
            raise AssertionError(f"nobody here runs {name}")
        return programs[name]

    def _assign(self, name: str, value: str, *, is_exported: bool) -> None:
        """Set a variable, for programs as well if it is exported; a page has an environment of its own."""
        self.variables[name] = value
        if is_exported:
            os.environ[name] = value

    def _seen(self, value: str) -> str:
        """Return the word that `value` abbreviates: a reader copies it from what was printed."""
        pattern = r"\S*".join(re.escape(piece) for piece in value.split(ELLIPSIS))
        words = re.findall(rf"(?<!\S){pattern}(?!\S)", self.printed.getvalue())
        if not words:
            raise AssertionError(f"nothing like {value} was printed")
        return str(words[-1])

    def _authz(self, arguments: list[str]) -> int:
        """Run the command as a new process would: with nothing of the page imported, before and after."""
        forget_modules(self.folder)
        try:
            code: int = authz(arguments)
        except SystemExit as exited:
            return int(exited.code or 0)
        finally:
            forget_modules(self.folder)
        return code

    # --- python -------------------------------------------------------------------------------------------------------

    def _python(self, arguments: list[str]) -> int:
        """Run a script until it ends or serves; or pytest."""
        if arguments[0] == "-m":
            return self._pytest(arguments[1:])
        self.stop()
        ready, ended = threading.Event(), threading.Event()

        def serve(app: Any, **_: Any) -> None:
            with TestClient(app, raise_server_exceptions=False) as self.client:
                self.printed.write(SERVING)
                ready.set()
                ended.wait()

        def run() -> None:
            try:
                with mock.patch("uvicorn.run", serve), mock.patch.object(sys, "argv", arguments):
                    runpy.run_path(arguments[0], run_name="__main__")
            finally:
                ready.set()

        def stop() -> None:
            ended.set()
            thread.join(PATIENCE_SECONDS)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._stop = stop
        if not ready.wait(PATIENCE_SECONDS):
            raise AssertionError(f"python {arguments[0]} neither ended nor served")
        return 0

    def _pytest(self, arguments: list[str]) -> int:
        """Run pytest, with nothing of the surrounding run in its environment."""
        if arguments[0] != "pytest":
            raise AssertionError(f"nobody here runs python -m {arguments[0]}")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_OF_THIS_RUN)
        }
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", *arguments, "-p", "no:cacheprovider"]
        run = subprocess.run(command, cwd=self.folder, env=environment, text=True, capture_output=True, check=False)
        self.printed.write(run.stdout + run.stderr)
        return run.returncode

    # --- what is served -----------------------------------------------------------------------------------------------

    def _uvicorn(self, arguments: list[str]) -> None:
        self.stop()
        module, _, name = arguments[0].partition(":")
        client = TestClient(getattr(importlib.import_module(module), name), raise_server_exceptions=False)
        self.client = client.__enter__()
        self._stop = client.__exit__
        self.printed.write(SERVING)

    def _curl(self, arguments: list[str]) -> None:
        """Make a request with the options of curl that the pages use, and print what curl prints."""
        if self.client is None:
            raise AssertionError("curl: nothing is served on this page yet")
        asked = _Asked.of(arguments)
        response = self.client.request(asked.method, asked.url, headers=asked.headers, content=asked.body)
        self.printed.take()  # what the server has logged stands in its own terminal
        if asked.with_headers:
            head = [f"HTTP/1.1 {response.status_code} {response.reason_phrase}"]
            head += [f"{name}: {value}" for name, value in response.headers.items()]
            self.printed.write("\n".join(head) + "\n\n")
        self.printed.write(f"{response.text}\n")


@dataclass
class _Asked:
    """A request as a curl command line says it."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    with_headers: bool = False

    @classmethod
    def of(cls, arguments: list[str]) -> _Asked:
        asked, words = cls(), iter(arguments)
        for word in words:
            match word:
                case "-i":
                    asked.with_headers = True
                case "-X":
                    asked.method = next(words)
                case "-H":
                    name, _, value = next(words).partition(":")
                    asked.headers[name] = value.strip()
                case "-d":
                    asked.body = next(words)
                case _ if word.startswith("-"):
                    raise AssertionError(f"curl {word} is not known here")
                case _:
                    asked.url = word if "://" in word else f"http://{word}"
        asked.method = asked.method or ("GET" if asked.body is None else "POST")
        return asked
