"""What a command prints: pages that fit the terminal, coloured where that can be, and harmless to look at."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Any, TextIO

from .endings import NotUsable
from .harmless import TOKEN, harmless

__all__ = [
    "Cell",
    "NotWritten",
    "Page",
    "Style",
    "complain",
    "is_terminal",
    "show",
    "write",
    "write_json",
    "writing",
]

PIPE_WIDTH = 120
INDENT, GAP = 2, 2
PADDING, PADDING_SHARE = 34, 0.4
"""Cells that are longer, or take a larger share of the page, stand out of their column; what follows begins below."""
LEAST_ROOM = 28
"""Columns left for the last cell of a row; with fewer, the cells of a row stand below each other."""
LEAST_WIDTH = 8

_WORDS = re.compile(r" +|[^ ]+")


class Style(StrEnum):
    """How a piece of text looks where there are colours, in rich's words."""

    PLAIN = ""
    TITLE = "bold"
    FAINT = "dim"
    GOOD = "green"
    BAD = "red"
    CAREFUL = "yellow"
    STRONG_GOOD = "bold green"
    STRONG_BAD = "bold red"


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text in one style. It is harmless, whatever it was made of."""

    text: str
    style: Style = Style.PLAIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", harmless(self.text))


Line = tuple[Cell, ...]
Row = Sequence[Cell]


@dataclass(frozen=True, slots=True)
class _Rows:
    """A table, or a paragraph as a table of one cell. `at`: the column the first cell stands at."""

    rows: tuple[Row, ...] = ()
    at: int = INDENT


@dataclass
class Page:
    """Paragraphs and tables, laid out when the width is known."""

    _parts: list[_Rows] = field(default_factory=list)

    def title(self, text: str, style: Style = Style.TITLE) -> None:
        """Begin a section."""
        self.blank()
        self.line(text, style)

    def line(self, text: str, style: Style = Style.PLAIN) -> None:
        """Add a paragraph that begins at the margin."""
        self._parts.append(_Rows(((Cell(text, style),),), at=0))

    def text(self, text: str, style: Style = Style.PLAIN) -> None:
        """Add a paragraph, indented."""
        self._parts.append(_Rows(((Cell(text, style),),)))

    def table(self, rows: Iterable[Row]) -> None:
        """Add rows of cells in columns; an empty cell takes no room."""
        self._parts.append(_Rows(tuple(rows)))

    def blank(self) -> None:
        """Add an empty line, except at the beginning."""
        if self._parts:
            self._parts.append(_Rows(((),)))

    def lines(self, width: int, *, folds: bool) -> Iterator[Line]:
        """Yield the page line by line. `folds`: break even a word that is wider than the page."""
        for part in self._parts:
            starts = _columns(part.rows, part.at, width)
            for row in part.rows:
                yield from _row_lines(row, starts, width, folds=folds)


# --- laying out -------------------------------------------------------------------------------------------------------


def _columns(rows: Sequence[Row], at: int, width: int) -> tuple[int, ...]:
    """Return where each column starts: side by side, or below each other where there is no room for the last one."""
    count = max((len(row) for row in rows), default=0)
    most = max(PADDING, width * PADDING_SHARE)
    starts = [at]
    for number in range(count - 1):
        sizes = [_width(row[number].text) for row in rows if len(row) > number]
        starts.append(starts[-1] + GAP + max((size for size in sizes if size <= most), default=0))
    if width - starts[-1] < LEAST_ROOM:
        return (at, *[at + INDENT] * (count - 1))
    return tuple(starts)


def _row_lines(row: Row, starts: Sequence[int], width: int, *, folds: bool) -> Iterator[Line]:
    line: list[Cell] = []
    end = 0
    for cell, start in zip(row, starts, strict=False):
        if not cell.text:
            continue
        if line and end + GAP > start:
            yield tuple(line)
            line, end = [], 0
        pieces = _wrapped(cell.text, max(width - start, LEAST_WIDTH), folds=folds)
        for number, piece in enumerate(pieces):
            if number:
                yield tuple(line)
                line, end = [], 0
            line += [Cell(" " * (start - end)), Cell(piece, cell.style)]
            end = start + _width(piece)
        if len(pieces) > 1:
            end = width  # what follows a wrapped cell begins on a line of its own
    yield tuple(line)


def _wrapped(text: str, width: int, *, folds: bool) -> list[str]:
    lines = [""]
    for piece in _WORDS.findall(text):
        if _width(lines[-1]) + _width(piece) <= width:
            lines[-1] += piece
        elif piece.startswith(" "):
            lines.append("")
        else:
            if lines[-1].strip():
                lines.append("")
            *full, lines[-1] = _folded(piece, width) if folds else [piece]
            lines[-1:-1] = full
    return [line.rstrip(" ") for line in lines if line.strip()] or [""]


def _folded(word: str, width: int) -> list[str]:
    parts = [""]
    for char in word:
        if _width(parts[-1]) + _width(char) > width:
            parts.append("")
        parts[-1] += char
    return parts


def _width(text: str) -> int:
    """Return how many columns a text takes: two for each of East Asia's wide characters."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1 for char in text)


# --- printing ---------------------------------------------------------------------------------------------------------


class NotWritten(NotUsable):
    """Standard output does not take what is printed; one sentence says why."""


def show(page: Page) -> None:
    """Print a page on standard output: as wide as the terminal, or wide enough for a pipe."""
    if not is_terminal(sys.stdout):
        write("\n".join(_plain(line) for line in page.lines(PIPE_WIDTH, folds=False)))
        return
    lines = page.lines(shutil.get_terminal_size().columns, folds=True)
    console = _console()
    if console is None:
        write("\n".join(map(_plain, lines)))
        return
    with writing(sys.stdout):
        for line in lines:
            console.print(*_coloured(line), sep="", soft_wrap=True)


def write(text: str) -> None:
    """Print whatever the output can take.

    Raises:
        NotWritten: it takes nothing.
    """
    _print(text, sys.stdout)


def write_json(document: object) -> None:
    """Print JSON for programs. ASCII, so that it is harmless on a terminal, too."""
    write(json.dumps(document, indent=2))


def complain(command: str, sentence: str, origin: str = "") -> None:
    """Print one line on standard error, below where an exception of an application's came from.

    What looks like a token is not repeated: one may have slipped into an argument.
    """
    told = harmless(TOKEN.sub("(not repeated here)", sentence))
    with suppress(NotWritten):  # and nobody is left to tell
        _print(f"{origin}authz {command}: {told}", sys.stderr)


def is_terminal(stream: IO[str] | None) -> bool:
    """Tell whether people look at a stream; None, as Python has a closed one, is none."""
    return stream is not None and stream.isatty()


@contextmanager
def writing(stream: IO[str]) -> Iterator[None]:
    """End well where a reader has seen enough, such as `head`.

    Raises:
        NotWritten: the stream takes nothing, as on a full disk.
    """
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # the interpreter flushes once more
        if not isinstance(error, BrokenPipeError):
            raise NotWritten(f"the output cannot be written: {error.strerror}") from None


def _print(text: str, stream: TextIO | None) -> None:
    """Print on a stream; a closed one is nothing to print on."""
    if stream is not None:
        with writing(stream):
            print(_encodable(text, stream.encoding), file=stream, flush=True)


def _plain(line: Line) -> str:
    return "".join(cell.text for cell in line).rstrip()


def _encodable(text: str, encoding: str | None) -> str:
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _console() -> Any:
    """Return rich's console, or None where the extra `demo` is not installed: then there are no colours."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return None
    return Console(highlight=False)


def _coloured(line: Line) -> Iterator[Any]:
    from rich.text import Text  # noqa: PLC0415 - an extra

    encoding = sys.stdout.encoding
    yield from (Text(_encodable(cell.text, encoding), cell.style.value) for cell in line)
