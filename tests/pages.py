"""Pages of documentation as stories: every block is run in order, and what a page shows as output is compared.

* ```` ```python ```` runs in the page's one namespace. What it prints must be shown in the `text` or `json` block right
  after it, and what is shown must be printed.
* A block with a title, ```` ```python title="app.py" ````, is saved under that name in the page's own folder;
  `append="app.py"` adds it to the end of that file, and ```` ```diff title="app.py" ```` changes lines of it.
* ```` ```console ```` holds commands after `$ ` and what they print. `authz` and scripts run in this process, pytest in
  one of its own. A server is not started: `uvicorn.run` and `uvicorn app:app` hand the application to `curl`, whose
  requests are made in the process.
* `…` stands for anything within a line, and alone on a line for any number of lines.
* A block whose first line is `# not run: …` is compiled if it is Python, and nothing more. One that begins with
  `# needs: NAME` runs where that distribution is installed, and is compiled where it is not.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import re
import runpy
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from string import Template
from typing import Any
from unittest import mock

from starlette.testclient import TestClient

from authz_middleware.cli import main as authz

__all__ = ["Block", "blocks_of", "is_like", "run_page"]

ELLIPSIS = "…"
NOT_RUN = "# not run: "
NEEDS = "# needs: "
OUTPUT = {"text", "json"}
PATIENCE_SECONDS = 60
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. `line` is that of its first line of code, from 1."""

    page: Path
    language: str
    title: str | None
    appends: bool
    code: str
    line: int

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether it runs here: it is not marked, and what it needs is installed."""
        if self.code.startswith(NOT_RUN):
            return False
        return not self.code.startswith(NEEDS) or _is_installed(self.code.partition("\n")[0].removeprefix(NEEDS))


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [_block(page, text, match) for match in _FENCE.finditer(text)]


def _block(page: Path, text: str, match: re.Match[str]) -> Block:
    language, _, rest = match["info"].strip().partition(" ")
    attribute = re.fullmatch(r'(title|append)="([^"]+)"', rest.strip())
    if rest and attribute is None:
        raise AssertionError(f"{page.name}: a fence says {match['info']!r}; write python title=\"app.py\"")
    title, appends = (attribute[2], attribute[1] == "append") if attribute else (None, False)
    return Block(page, language, title, appends, match["code"], text.count("\n", 0, match.start("code")) + 1)


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def is_like(shown: str, printed: str) -> bool:
    """Tell whether what is shown is what was printed, `…` standing for what may differ."""
    pattern = "".join(_line_pattern(line) for line in shown.rstrip().splitlines())
    actual = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, actual) is not None


def _line_pattern(line: str) -> str:
    if line.strip() == ELLIPSIS:
        return r"(?:[^\n]*\n)*?"
    return r"[^\n]*?".join(re.escape(piece) for piece in line.rstrip().split(ELLIPSIS)) + r"\n"


def run_page(page: Path, folder: Path) -> None:
    """Run a page in a folder of its own.

    Raises:
        AssertionError: something printed is not shown, or something shown was not printed.
    """
    with _stage(folder) as printed:
        story = _Story(folder, printed)
        try:
            for block in blocks_of(page):
                story.tell(block)
            story.end()
        finally:
            story.stop()


@contextlib.contextmanager
def _stage(folder: Path) -> Iterator[_Printed]:
    """Make the folder the current one and the first to import from; collect what is printed; put everything back."""
    root = logging.getLogger()
    ours = logging.getLogger("authz_middleware")
    before = (Path.cwd(), sys.path[:], root.handlers[:], root.level, ours.level, sys.dont_write_bytecode)
    printed = _Printed()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    root.handlers[:], sys.dont_write_bytecode = [], True
    try:
        streams = contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed)
        with mock.patch.dict(os.environ), streams[0], streams[1]:
            yield printed
    finally:
        directory, sys.path[:], root.handlers[:], level, our_level, sys.dont_write_bytecode = before
        os.chdir(directory)
        root.setLevel(level)
        ours.setLevel(our_level)
        _forget_modules(folder)


def _forget_modules(folder: Path) -> None:
    """Let what was imported from the folder be imported anew."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


class _Printed(io.StringIO):
    """What a page prints, taken piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0

    def take(self) -> str:
        """Return what is new."""
        text = self.getvalue()[self._taken :]
        self._taken += len(text)
        return text


@dataclass
class _Story:
    """The state between the blocks of one page."""

    folder: Path
    printed: _Printed
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    variables: dict[str, str] = field(default_factory=dict)
    owed: tuple[Block, str | None] | None = None  # what the last block printed, until it is shown; None: it was not run
    code: int = 0
    client: TestClient | None = None  # to what is served
    stop: Callable[[], object] = lambda: None

    # --- blocks -------------------------------------------------------------------------------------------------------

    def tell(self, block: Block) -> None:
        """Run one block, or compare it with what was printed."""
        if block.language in OUTPUT and block.title is None:
            self._compare(block)
            return
        self._settle()
        if not block.is_run:
            if block.language == "python":
                compile(block.code, block.place, "exec")
            self.owed = (block, None)
            return
        self.owed = None
        if block.title is not None:
            self._save(block)
        elif block.language == "python":
            self._run_python(block)
        elif block.language == "console":
            self._run_console(block)
        else:
            raise AssertionError(f"{block.place}: nobody runs {block.language or 'this'}; begin it with {NOT_RUN!r}")

    def end(self) -> None:
        """End the page: nothing printed may be left that is not shown."""
        self._settle()

    def _compare(self, block: Block) -> None:
        if self.owed is None:
            raise AssertionError(f"{block.place}: this follows no block of Python that prints something")
        (origin, printed), self.owed = self.owed, None
        if printed is not None:
            _check(block.code, printed, f"{origin.place} printed")

    def _settle(self) -> None:
        if self.owed is not None and self.owed[1] is not None:
            raise AssertionError(f"{self.owed[0].place} printed something that is not shown:\n{self.owed[1]}")

    def _save(self, block: Block) -> None:
        path = self.folder / str(block.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = block.code
        if block.appends:
            text = f"{path.read_text(encoding='utf-8')}\n{text}"
        elif block.language == "diff":
            text = _changed(path.read_text(encoding="utf-8"), block)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            compile(text, block.place, "exec")
        _forget_modules(self.folder)

    def _run_python(self, block: Block) -> None:
        source = "\n" * (block.line - 1) + block.code  # so that a traceback names the line of the page
        code = compile(source, str(block.page), "exec", dont_inherit=True, optimize=0)
        try:
            exec(code, self.namespace)
        except Exception as error:
            error.add_note(f"in {block.place}, which printed:\n{self.printed.take()}")
            raise
        text = self.printed.take()
        self.owed = (block, text) if text else None

    # --- commands -----------------------------------------------------------------------------------------------------

    def _run_console(self, block: Block) -> None:
        commands = re.split(r"^\$ ", block.code, flags=re.MULTILINE)
        if commands[0].strip():
            raise AssertionError(f"{block.place}: a console block begins with a command after `$ `")
        for command in commands[1:]:
            line, _, shown = command.partition("\n")
            if self.code and line != "echo $?":
                break
            self._run_command(line)
            _check(shown, self.printed.take(), f"{block.place}: `{line}` printed")
        if self.code:
            raise AssertionError(f"{block.place}: a command failed, and no `$ echo $?` after it shows that it should")

    def _run_command(self, line: str) -> None:
        if line == "echo $?":
            print(self.code)
            self.code = 0
            return
        assignment = re.fullmatch(r"([A-Z]+)=(\S+)", line)
        if assignment is not None:
            self.variables[assignment[1]] = self._seen(assignment[2])
            return
        line, _, file = Template(line).safe_substitute(self.variables).partition(" > ")
        program, *arguments = shlex.split(line)
        self.code = self._program(program)(arguments) or 0
        if file:
            (self.folder / file).write_text(self.printed.take(), encoding="utf-8")

    def _program(self, name: str) -> Callable[[list[str]], int | None]:
        programs: dict[str, Callable[[list[str]], int | None]] = {
            "authz": self._authz,
            "curl": self._curl,
            "python": self._python,
            "uvicorn": self._uvicorn,
        }
        if name not in programs:
            raise AssertionError(f"nobody here runs {name}; begin the block with {NOT_RUN!r}")
        return programs[name]

    def _seen(self, value: str) -> str:
        """Return the word that `value` abbreviates: a reader copies it from what was printed."""
        pattern = r"\S*".join(re.escape(piece) for piece in value.split(ELLIPSIS))
        words = re.findall(rf"(?<!\S){pattern}(?!\S)", self.printed.getvalue())
        if not words:
            raise AssertionError(f"nothing like {value} was printed")
        return str(words[-1])

    def _authz(self, arguments: list[str]) -> int:
        """Run the command as a new process would: with nothing of the page imported, before and after."""
        _forget_modules(self.folder)
        try:
            code: int = authz(arguments)
        except SystemExit as exited:
            return int(exited.code or 0)
        finally:
            _forget_modules(self.folder)
        return code

    def _python(self, arguments: list[str]) -> int:
        if arguments[0] == "-m":
            return self._python_m(arguments[1:])
        self.stop()
        ready, ended = threading.Event(), threading.Event()

        def serve(app: Any, **_: Any) -> None:
            with TestClient(app, raise_server_exceptions=False) as self.client:
                print("INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)")
                ready.set()
                ended.wait()

        def run() -> None:
            try:
                with mock.patch("uvicorn.run", serve), mock.patch.object(sys, "argv", arguments):
                    runpy.run_path(arguments[0], run_name="__main__")
            finally:
                ready.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        if not ready.wait(PATIENCE_SECONDS):
            raise AssertionError(f"python {arguments[0]} neither ended nor served")
        self.stop = lambda: (ended.set(), thread.join(PATIENCE_SECONDS))
        return 0

    def _python_m(self, arguments: list[str]) -> int:
        """Run pytest, with nothing of the surrounding run in its environment."""
        if arguments[0] != "pytest":
            raise AssertionError(f"nobody here runs python -m {arguments[0]}")
        ours = ("PYTEST_", "COV_", "COVERAGE_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", *arguments, "-p", "no:cacheprovider"]
        run = subprocess.run(command, cwd=self.folder, env=environment, text=True, capture_output=True, check=False)
        print(run.stdout, run.stderr, sep="", end="")
        return run.returncode

    def _uvicorn(self, arguments: list[str]) -> None:
        module, _, name = arguments[0].partition(":")
        self.stop()
        self.client = TestClient(getattr(importlib.import_module(module), name), raise_server_exceptions=False)
        self.client.__enter__()
        self.stop = lambda: self.client and self.client.__exit__()

    def _curl(self, arguments: list[str]) -> None:
        """Make a request with the options of curl that the pages use, and print what curl prints."""
        if self.client is None:
            raise AssertionError("curl: nothing is served on this page yet")
        asked = _Asked.of(arguments)
        response = self.client.request(asked.method, asked.url, headers=asked.headers, content=asked.body)
        self.printed.take()  # what the server logged stands in another terminal
        if asked.with_headers:
            print(f"HTTP/1.1 {response.status_code} {response.reason_phrase}")
            for name, value in response.headers.items():
                print(f"{name}: {value}")
            print()
        if response.text:
            print(response.text)


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
                case "-s":
                    pass
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


def _changed(text: str, block: Block) -> str:
    """Return a text with the lines of a diff replaced: those with `-` go, those with `+` come, the others are there."""
    lines = block.code.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    new = "".join(line[1:] for line in lines if not line.startswith("-"))
    if text.count(old) != 1:
        raise AssertionError(f"{block.place}: the lines to change stand in {block.title} {text.count(old)} times")
    return text.replace(old, new)


def _check(shown: str, printed: str, where: str) -> None:
    if not is_like(shown, printed) and not _is_same_json(shown, printed):
        raise AssertionError(f"{where}\n{printed}\nand the page shows\n{shown}")


def _is_same_json(shown: str, printed: str) -> bool:
    """Tell whether both are the same JSON document: a page may break its lines."""
    try:
        return bool(json.loads(shown) == json.loads(printed))
    except ValueError:
        return False
