"""How a command ends: with an exit code, or with the one sentence that says why it cannot begin."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit", "NotUsable"]


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    GOOD = 0
    BAD = 1
    """It did what was asked, and the answer is not the good one."""
    UNUSABLE = 2
    """It could not do what was asked."""
    INTERRUPTED = 130


class NotUsable(Exception):
    """What was asked cannot be done; one sentence says why.

    `origin` shows where an exception inside an application came from; empty: the sentence says it all.
    """

    def __init__(self, sentence: str, origin: str = "") -> None:
        self.origin = origin
        super().__init__(sentence)
