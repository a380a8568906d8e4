"""What commands print: laid out for any width, harmless whatever it was made of, and coloured only on a terminal."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authz_middleware.cli import terminal
from authz_middleware.cli.harmless import harmless, json_text, name_text
from authz_middleware.cli.terminal import (
    Cell,
    NotWritten,
    Page,
    Style,
    complain,
    show,
    write_json,
)

TRICKS = {
    "escape sequence": "\x1b[2J\x1b[31mACCEPTED",
    "8-bit control sequence": "\x9b31m",
    "title of the window": "\x1b]0;pwned\x07",
    "carriage return": "refused\raccepted",
    "line break": "a\nb",
    "line separator": "a\u2028b\u2029c",
    "backspace": "refused\b\b\b\b\b\b\baccepted",
    "delete": "a\x7fb",
    "null": "a\0b",
    "right-to-left override": "\u202eniarg",
    "isolates": "\u2066a\u2069",
    "zero width": "a\u200bb\u200dc\ufeff",
    "right-to-left letters": "\u05d0\u0627 1",
    "arabic digits": "\u0661",
    "marks that pile up": "a" + "\u0301" * 40,
    "enclosing mark": "a\u20dd",
    "no-break space": "a\u00a0b",
    "private use": "\ue000",
    "unassigned": "\U000e0fff",
    "tag characters": "\U000e0041",
    "lone surrogate": "\ud800",
}


def is_harmless(text: str) -> bool:
    """Tell by the Unicode database alone, whatever the package thinks."""
    bad = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me"}
    return all(
        unicodedata.category(char) not in bad
        and unicodedata.bidirectional(char) not in {"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "FSI"}
        and (unicodedata.category(char) != "Zs" or char == " ")
        for char in text
    )


def lines(page: Page, width: int, *, folds: bool = True) -> list[str]:
    return ["".join(cell.text for cell in line) for line in page.lines(width, folds=folds)]


def row(*texts: str) -> tuple[Cell, ...]:
    return tuple(map(Cell, texts))


# --- harmless text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_a_trick_is_shown_as_what_it_is(trick: str) -> None:
    shown = harmless(trick)
    assert not is_harmless(trick)
    assert is_harmless(shown)
    assert json.loads(f'"{shown}"') == trick


@pytest.mark.parametrize("text", ["read:orders", "Jürgen", "日本語", "a & b", "“quoted”", "ß €"])
def test_plain_text_is_left_alone(text: str) -> None:
    assert harmless(text) == text


@given(st.text(st.characters()))
def test_any_text_becomes_harmless_and_stays_so(text: str) -> None:
    assert is_harmless(harmless(text))
    assert harmless(harmless(text)) == harmless(text)
    assert is_harmless(Cell(text).text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("\\u0041")
def test_a_value_is_shown_so_that_it_can_be_told(text: str) -> None:
    shown = harmless(json_text(text))
    assert json.loads(shown) == text if len(json.dumps(text, ensure_ascii=False)) <= 400 else "characters)" in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("scope", "scope"),
        ("https://acme.example/roles", "https://acme.example/roles"),
        ("", '""'),
        ("a b", '"a b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("größe", '"größe"'),
    ],
)
def test_a_name_is_bare_where_it_is_plain(name: str, shown: str) -> None:
    assert name_text(name) == shown


def test_a_long_value_is_cut_and_says_so() -> None:
    assert json_text("x" * 5000) == '"' + "x" * 399 + "… (5002 characters)"
    assert len(name_text("x" * 5000)) < 500


# --- laying out -------------------------------------------------------------------------------------------------------


def test_columns_stand_below_each_other() -> None:
    page = Page()
    page.table([row("a", "first", "one"), row("long", "b", "two")])
    assert lines(page, 80) == ["  a     first  one", "  long  b      two"]


def test_a_long_cell_stands_out_and_pushes_the_next_one_to_a_new_line() -> None:
    page = Page()
    page.table([row("a", "x" * 40, "one"), row("a", "b", "two")])
    assert lines(page, 80) == [f"  a  {'x' * 40}", "        one", "  a  b  two"]


def test_a_cell_that_wraps_keeps_its_column() -> None:
    page = Page()
    page.table([row("mark", " ".join(["word"] * 12))])
    shown = lines(page, 40)
    assert shown[0] == "  mark  word word word word word word"
    assert shown[1] == "        word word word word word word"


def test_without_room_cells_stand_below_each_other() -> None:
    page = Page()
    page.table([row("name", "a value that is long", "what it means in words")])
    assert lines(page, 40) == ["  name", "    a value that is long", "    what it means in words"]


def test_an_empty_cell_takes_no_room() -> None:
    page = Page()
    page.table([row("a", "", "c"), row("", "", "d")])
    assert lines(page, 80) == ["  a    c", "       d"]


def test_a_page_of_paragraphs() -> None:
    page = Page()
    page.blank()
    page.title("Title")
    page.text("text")
    page.title("Next")
    page.line("")
    page.table([])
    assert lines(page, 80) == ["Title", "  text", "", "Next", ""]


def test_wide_characters_count_twice() -> None:
    page = Page()
    page.text("漢字" * 10)
    assert lines(page, 22) == ["  " + "漢字" * 5, "  " + "漢字" * 5]


@given(
    st.lists(st.lists(st.text(st.characters(), max_size=60), min_size=1, max_size=4), max_size=5),
    st.integers(min_value=20, max_value=200),
)
def test_at_any_width_nothing_is_lost_and_everything_fits(cells: list[list[str]], width: int) -> None:
    page = Page()
    page.table([row(*texts) for texts in cells])
    shown = lines(page, width)
    assert all(sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) <= width for line in shown)
    kept = "".join(shown).replace(" ", "")
    assert kept == "".join(harmless(text) for texts in cells for text in texts).replace(" ", "")


def test_in_a_pipe_a_long_word_is_not_broken() -> None:
    page = Page()
    page.text("x" * 500)
    assert lines(page, 80, folds=False) == ["  " + "x" * 500]
    assert max(map(len, lines(page, 80))) == 80


# --- printing ---------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown_on_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Show a page on a terminal of 60 columns, and return what was written."""
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "60", **environment}.items():
        monkeypatch.setenv(name, value)
    show(page())
    return stdout.getvalue()


def page() -> Page:
    page = Page()
    page.line("refused", Style.STRONG_BAD)
    page.text("[bold]no markup[/bold] :warning: " + "word " * 20)
    return page


def test_on_a_terminal_there_are_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    written = shown_on_terminal(monkeypatch)
    assert written.startswith("\x1b[1;31mrefused\x1b[0m\n")
    assert "[bold]no markup[/bold] :warning:" in written
    assert max(map(len, written.splitlines()[1:])) <= 60


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colours_gets_none(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "31m" not in shown_on_terminal(monkeypatch, **environment)


def test_without_rich_a_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    written = shown_on_terminal(monkeypatch)
    assert written.startswith("refused\n  [bold]no markup[/bold] :warning: word")
    assert "\x1b" not in written
    assert max(map(len, written.splitlines())) <= 60


def test_in_a_pipe_there_are_neither_colours_nor_a_narrow_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    show(page())
    written = capsys.readouterr().out
    assert "\x1b" not in written
    assert max(map(len, written.splitlines())) > 100


def test_in_a_pipe_a_long_word_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Page()
    shown.text("x" * 500)
    show(shown)
    assert capsys.readouterr().out == f"  {'x' * 500}\n"


def test_what_an_output_cannot_take_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    shown = Page()
    shown.text("“größe”")
    show(shown)
    assert raw.getvalue() == b"  \\u201cgr\\xf6\\xdfe\\u201d\n"


def test_json_is_harmless_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    document: dict[str, Any] = {"tricks": list(TRICKS.values()), "text": "größe"}
    write_json(document)
    written = capsys.readouterr().out
    assert json.loads(written) == document
    assert is_harmless(written.replace("\n", ""))
    assert written.isascii()


def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        show(page())
        monkeypatch.undo()


@pytest.mark.parametrize("on_terminal", [False, True])
def test_an_output_that_is_full_is_told(on_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.TextIOWrapper):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def isatty(self) -> bool:
            return on_terminal

    def full() -> Full:
        return Full(io.FileIO(os.devnull, "w"), encoding="utf-8")

    with full() as stdout, full() as stderr:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        with pytest.raises(NotWritten) as refused:
            show(page())
        complain("explain", "no")  # nobody is left to tell
        monkeypatch.undo()
    assert str(refused.value) == "the output cannot be written: No space left on device"


def test_a_closed_output_is_nothing_to_print_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("stdout", "stderr"):
        with monkeypatch.context() as patched:
            patched.setattr(sys, name, None)
            show(page())
            write_json({})
            complain("explain", "no", "origin\n")
        captured = capsys.readouterr()
        assert (captured.out == "") == (name == "stdout")
        assert captured.err == ("" if name == "stderr" else "origin\nauthz explain: no\n")


def test_a_complaint_is_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain("explain", "\x1b[31mno\n“really”")
    assert capsys.readouterr().err == "authz explain: \\u001b[31mno\\n“really”\n"


def test_the_columns_of_a_page_without_rows() -> None:
    empty = Page()
    empty.table([()])
    assert lines(empty, 80) == [""]
    assert terminal.PIPE_WIDTH >= 100
