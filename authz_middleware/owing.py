"""Decisions that a handler has asked for and not had yet: no answer begins before they are made."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from .errors import ConfigurationError

__all__ = ["OwedDecision", "Owing"]


class Owing:
    """What one request still owes its handler.

    Attributes:
        asked: how many decisions were asked for and are not awaited yet.
        has_dropped: whether one of these can no longer be awaited.
    """

    __slots__ = ("_making", "asked", "has_dropped")

    def __init__(self) -> None:
        self.asked = 0
        self.has_dropped = False
        self._making = 0

    @contextmanager
    def making(self) -> Iterator[None]:
        """Note that a decision is being made."""
        self._making += 1
        try:
            yield
        finally:
            self._making -= 1

    def check(self, *, has_begun: bool) -> None:
        """Let an answer begin only when all is decided. It may go on while that is due: several tasks may serve it.

        Raises:
            ConfigurationError: a decision was asked for, and was not awaited or not made.
        """
        if self.has_dropped or (not has_begun and (self.asked or self._making)):
            raise ConfigurationError("authorize(…) with a check was not awaited; write await authorize(request, …)")

    def settle(self) -> None:
        """Forget what is owed: something else is answered."""
        self.asked = 0
        self.has_dropped = False


class OwedDecision(Coroutine[Any, Any, None]):
    """A decision that is made when it is awaited: by `deciding`."""

    def __init__(self, owing: Owing, deciding: Coroutine[Any, Any, None]) -> None:
        self._owing = owing
        self._deciding = deciding
        self._is_awaited = False
        owing.asked += 1

    def _begin(self) -> Coroutine[Any, Any, None]:
        if not self._is_awaited:
            self._is_awaited = True
            self._owing.asked -= 1
        return self._deciding

    def send(self, value: Any, /) -> Any:
        """Go on deciding."""
        return self._begin().send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error that was thrown in, such as a cancellation."""
        return self._begin().throw(*error)

    def close(self) -> None:
        """Decide nothing."""
        self._deciding.close()

    def __await__(self) -> Generator[Any, Any, None]:
        """Decide."""
        return self._begin().__await__()

    def __del__(self) -> None:
        self._owing.has_dropped |= not self._is_awaited
