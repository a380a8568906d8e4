"""Pages of documentation as stories: every block is run in order, and what a page shows as output is compared.

* ```` ```python ```` runs in the page's one namespace. What it prints must be shown in the `text` or `json` block right
  after it, and what is shown must be printed.
* A block with a title, ```` ```python title="app.py" ````, is saved under that name in the page's own folder;
  `append="app.py"` adds it to the end of that file, and ```` ```diff title="app.py" ```` changes lines of it.
* ```` ```console ```` holds commands after `$ ` and what they print; `console.py` knows the programs.
* `…` in what is shown stands for anything within a line, and alone on a line for any number of lines.
* A block that says `not-run="why"` is compiled if it is Python, and nothing more. One that begins with
  `# needs: NAME` runs where that distribution is installed, and is compiled where it is not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from unittest import mock

from .console import Console, forget_modules
from .printed import Printed, check_shown

__all__ = ["NEEDS", "Block", "blocks_of", "run_page"]

NEEDS = "# needs: "
OUTPUT = {"text", "json"}
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. `line` is that of its first line of code, from 1; `lead` the paragraph before it."""

    page: Path
    language: str
    title: str | None
    appends: bool
    code: str
    line: int
    lead: str
    may_run: bool = True

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether it runs here: it is not marked, and what it needs is installed."""
        if not self.may_run:
            return False
        return not self.code.startswith(NEEDS) or _is_installed(self.code.partition("\n")[0].removeprefix(NEEDS))


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order.

    Raises:
        AssertionError: a fence says something that nobody knows.
    """
    text = page.read_text(encoding="utf-8")
    return [_block(page, text, match) for match in _FENCE.finditer(text)]


def _block(page: Path, text: str, match: re.Match[str]) -> Block:
    language, _, rest = match["info"].strip().partition(" ")
    attribute = re.fullmatch(r'(title|append|not-run)="([^"]+)"', rest.strip())
    if rest and attribute is None:
        raise AssertionError(f'{page.name}: a fence says {match["info"]!r}; write python title="app.py"')
    kind, value = (attribute[1], attribute[2]) if attribute else ("", "")
    title = value if kind in {"title", "append"} else None
    line = text.count("\n", 0, match.start("code")) + 1
    lead = text[: match.start()].strip().rpartition("\n\n")[2]
    return Block(page, language, title, kind == "append", match["code"], line, lead, may_run=kind != "not-run")


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def run_page(page: Path, folder: Path) -> None:
    """Run a page in a folder of its own.

    Raises:
        AssertionError: something printed is not shown, or something shown was not printed.
    """
    with _stage(folder) as printed:
        story = _Story(folder, printed, Console(folder, printed))
        try:
            for block in blocks_of(page):
                story.tell(block)
            story.settle()
        finally:
            story.console.stop()


@contextlib.contextmanager
def _stage(folder: Path) -> Iterator[Printed]:
    """Make the folder the current one and the first to import from; collect what is printed; put everything back."""
    root, ours = logging.getLogger(), logging.getLogger("authz_middleware")
    before = (Path.cwd(), sys.path[:], root.handlers[:], root.level, ours.level, sys.dont_write_bytecode)
    ours.addFilter(_is_worth_showing)
    printed = Printed()
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
        ours.removeFilter(_is_worth_showing)
        root.setLevel(level)
        ours.setLevel(our_level)
        forget_modules(folder)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Tell whether a page shows a line: that a LocalIssuer is for tests and development, the pages say in words."""
    return "this is a LocalIssuer" not in record.getMessage()


@dataclass
class _Story:
    """The state between the blocks of one page."""

    folder: Path
    printed: Printed
    console: Console
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    owed: tuple[Block, str | None] | None = None  # what the last block printed, until it is shown; None: it was not run

    def tell(self, block: Block) -> None:
        """Run one block, or compare it with what was printed."""
        if block.language in OUTPUT and block.title is None:
            self._compare(block)
            return
        self.settle()
        self.owed = None
        if not block.is_run:
            self._leave_out(block)
        elif block.title is not None:
            self._save(block, block.title)
        elif block.language == "python":
            self._run_python(block)
        elif block.language == "console":
            self._run_console(block)
        else:
            raise AssertionError(f"{block.place}: nobody runs {block.language or 'this'}; say not-run")

    def settle(self) -> None:
        """Refuse to go on while something printed is not shown."""
        if self.owed is not None and self.owed[1] is not None:
            raise AssertionError(f"{self.owed[0].place} printed something that is not shown:\n{self.owed[1]}")

    def _compare(self, block: Block) -> None:
        if self.owed is None:
            raise AssertionError(f"{block.place}: this follows no block of Python that prints something")
        (origin, printed), self.owed = self.owed, None
        if printed is not None:
            check_shown(block.code, printed, f"{origin.place} printed")

    def _leave_out(self, block: Block) -> None:
        if block.language == "python":
            compile(block.code, block.place, "exec")
        self.owed = (block, None)

    def _save(self, block: Block, title: str) -> None:
        path = self.folder / title
        path.parent.mkdir(parents=True, exist_ok=True)
        text = block.code
        if block.appends:
            text = f"{path.read_text(encoding='utf-8')}\n{text}"
        elif block.language == "diff":
            text = _changed(path.read_text(encoding="utf-8"), block)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            compile(text, block.place, "exec")
        forget_modules(self.folder)

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

    def _run_console(self, block: Block) -> None:
        first, *commands = re.split(r"^\$ ", block.code, flags=re.MULTILINE)
        if first.strip():
            raise AssertionError(f"{block.place}: a console block begins with a command after `$ `")
        for command in commands:
            line, _, shown = command.partition("\n")
            if self.console.code and line != "echo $?":
                break
            self.console.run(line)
            check_shown(shown, self.printed.take(), f"{block.place}: `{line}` printed")
        if self.console.code:
            raise AssertionError(f"{block.place}: a command failed, and no `$ echo $?` after it shows that it should")


def _changed(text: str, block: Block) -> str:
    """Return a text with the lines of a diff replaced: those with `-` go, those with `+` come, the others are there."""
    lines = block.code.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    new = "".join(line[1:] for line in lines if not line.startswith("-"))
    if text.count(old) != 1:
        raise AssertionError(f"{block.place}: the lines to change stand in {block.title} {text.count(old)} times")
    return text.replace(old, new)
