"""Tables as text: aligned columns for people and pipes, and Markdown. Nothing is ever cut off or wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["aligned", "code", "markdown", "plural", "printable"]

Row = Sequence[str]

MAX_PADDING = 48
"""Cells that are longer stand out of their column and do not widen it."""


def aligned(header: Row, rows: Iterable[Row]) -> str:
    """Return lines of columns, two spaces apart. The last one is not padded."""
    shown = [[printable(cell) for cell in row] for row in (header, *rows)]
    columns = zip(*shown, strict=True)
    widths = [max((len(cell) for cell in column if len(cell) <= MAX_PADDING), default=0) for column in columns]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in shown)
    return "\n".join(line.rstrip() for line in lines)


def markdown(header: Row, rows: Iterable[Row]) -> str:
    """Return a table as GitHub and its relatives render it. Cells are Markdown; see `code`."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """Return Markdown that shows a text to the letter, in a cell of a table, too; empty if it is."""
    shown = printable(text).replace("|", "\\|")
    runs = re.findall("`+", shown)
    if not runs:
        return f"`{shown}`" if shown else ""
    fence = "`" * (1 + max(map(len, runs)))
    return f"{fence} {shown} {fence}"


def plural(count: int, noun: str) -> str:
    """Return a number of things in words: `1 route`, `2 routes`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return text without what would break a line or hide in it: it may come from a path, a grant or a file."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
