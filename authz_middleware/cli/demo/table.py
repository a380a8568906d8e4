"""The table: six columns where there is room, fewer and taller ones where there is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...token import GrantSet, Source
from .play import Outcome

__all__ = ["PIPE_WIDTH", "make_console", "make_table"]

PIPE_WIDTH = 160
HEADERS = ("who called", "dialect", "grants by source", "route", "answer", "why")
LAYOUTS: tuple[tuple[int, tuple[tuple[int, ...], ...]], ...] = (
    (140, ((0,), (1,), (2,), (3,), (4,), (5,))),
    (105, ((0,), (1,), (2,), (3,), (4, 5))),
    (0, ((0, 1), (2,), (3, 4, 5))),
)
"""From how many columns of the terminal on which cells share a column, one below the other."""
ABSENT = "-"
NOT_READ = "not read"


def make_console(*, is_terminal: bool) -> Console:
    """Return the console on standard output: as wide as the terminal, or wide enough for a pipe."""
    return Console(width=None if is_terminal else PIPE_WIDTH, highlight=False)


def make_table(groups: Iterable[Sequence[Outcome]], width: int) -> Table:
    """Return the table for an output of `width` columns. Cells wrap; nothing is ever cut off."""
    layout = next(columns for at_least, columns in LAYOUTS if width >= at_least)
    table = Table(box=HORIZONTALS, padding=(0, 1, 0, 0), header_style="bold")
    for column in layout:
        table.add_column(", ".join(HEADERS[i] for i in column), overflow="fold")
    for group in groups:
        for outcome in group:
            cells = _cells(outcome)
            table.add_row(*(Text("\n").join(cells[i] for i in column) for column in layout))
        table.add_section()
    return table


def _cells(outcome: Outcome) -> tuple[Text, ...]:
    scenario = outcome.scenario
    return (
        Text.assemble((scenario.who, "bold"), "\n", scenario.carrying),
        Text(outcome.dialect or ABSENT, "cyan"),
        _grants(outcome),
        Text(" ".join(scenario.route)),
        _answer(outcome),
        Text(outcome.why),
    )


def _grants(outcome: Outcome) -> Text:
    """Show each claim's values: those that count in green, the others dim."""
    if outcome.grants is None:
        return Text(ABSENT if outcome.scenario.carrying == "no token" else NOT_READ, "dim")
    lines = [_claim(source, outcome.grants) for source in (Source.SCOPE, Source.PERMISSION)]
    return Text("\n").join(line for line in lines if line)


def _claim(source: Source, grants: GrantSet) -> Text | None:
    values = [grant.value for grant in grants if grant.source is source]
    if not values:
        return None
    shown = Text(" ").join(Text(value, "green" if value in grants else "dim") for value in values)
    return Text.assemble((f"{source}: ", "italic"), shown)


def _answer(outcome: Outcome) -> Text:
    status = outcome.status
    word = outcome.code or HTTPStatus(status).phrase
    colour = {2: "green", 4: "yellow" if status == HTTPStatus.FORBIDDEN else "red"}.get(status // 100, "magenta")
    answer = Text(f"{status} {word}", f"bold {colour}")
    if not outcome.is_expected:
        expected = outcome.scenario
        answer.append(f"\nexpected: {expected.status} {expected.code or ''}".rstrip(), "bold white on red")
    return answer
