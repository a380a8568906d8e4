"""What the snippets of a page print, and whether that is what the page shows."""

from __future__ import annotations

import io
import json
import re

__all__ = ["ELLIPSIS", "Printed", "check_shown", "is_like"]

ELLIPSIS = "…"


class Printed(io.StringIO):
    """Everything a page prints, taken piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0

    def take(self) -> str:
        """Return what is new."""
        text = self.getvalue()[self._taken :]
        self._taken += len(text)
        return text


def is_like(shown: str, printed: str) -> bool:
    """Tell whether what is shown is what was printed.

    `…` stands for anything within a line, and alone on a line for any number of lines. One JSON document may be broken
    into other lines.
    """
    pattern = "".join(_line_pattern(line) for line in shown.rstrip().splitlines())
    actual = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, actual) is not None or _is_same_json(shown, printed)


def check_shown(shown: str, printed: str, where: str) -> None:
    """Compare.

    Raises:
        AssertionError: they differ.
    """
    if not is_like(shown, printed):
        raise AssertionError(f"{where}\n{printed}\nand the page shows\n{shown}")


def _line_pattern(line: str) -> str:
    if line.strip() == ELLIPSIS:
        return r"(?:[^\n]*\n)*?"
    return r"[^\n]*?".join(re.escape(piece) for piece in line.rstrip().split(ELLIPSIS)) + r"\n"


def _is_same_json(shown: str, printed: str) -> bool:
    try:
        return bool(json.loads(shown) == json.loads(printed))
    except ValueError:
        return False
