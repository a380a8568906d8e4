"""What a piece of code calls: every function of Python and of C, counted by name. Nothing is replaced."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["called"]


@contextmanager
def called() -> Iterator[Counter[str]]:
    """Count what this thread calls while the block runs, as `module.qualified.name`.

    A coroutine counts each time it goes on.
    """
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, function: object) -> None:
        if event == "call":
            counts[f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            name = getattr(function, "__qualname__", repr(function))
            counts[f"{getattr(function, '__module__', None)}.{name}"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(before)
