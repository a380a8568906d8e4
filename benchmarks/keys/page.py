"""The measured part of `docs/keys.md`."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from .contenders import NAME, Variant
from .sections import Results, Section

PAGE = Path(__file__).parents[2] / "docs" / "keys.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COMMAND = "python -m benchmarks keys --write"

Measured = Mapping[str, Sequence[tuple[Variant, Results]]]
"""Rows by the name of their section."""


def render(sections: Sequence[Section], measured: Measured, versions: Mapping[str, str]) -> str:
    """Return the tables, and the versions of what was measured."""
    own = {"Python": platform.python_version(), NAME: version(NAME)}
    listed = ", ".join(f"{name} {number}" for name, number in {**own, **versions}.items())
    parts = [f"Measured with {listed}.", *(_table(section, measured[section.name]) for section in sections)]
    return "\n\n".join(parts)


def _table(section: Section, rows: Sequence[tuple[Variant, Results]]) -> str:
    lines = [_row("", *section.columns), _row(*["---"] * (len(section.columns) + 1))]
    lines += [_row(variant.label, *section.cells(variant, results)) for variant, results in rows]
    return "\n".join([f"### {section.title}", "", section.text, "", *lines])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def replace_measured(page: str, measured: str) -> str:
    """Put new figures into the text of the page.

    Raises:
        ValueError: the page does not have the two marks, once each and in order.
    """
    text, count = re.subn(f"(?s){BEGIN}.*?{END}", lambda _match: f"{BEGIN}\n\n{measured}\n\n{END}", page)
    if count != 1:
        raise ValueError(f"the page must have {BEGIN} and {END} once each")
    return text
