"""Moments in words: in UTC, and seen from now. Source: RFC 7519 section 2 (NumericDate)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeGuard

from ...audit.layout import plural
from ...dialects.readers import MAX_DATE

__all__ = ["is_date", "moment", "span", "utc"]

UNITS = (("year", 365 * 86_400), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def is_date(value: object) -> TypeGuard[float]:
    """Tell whether a value is a number of seconds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_DATE


def moment(seconds: float, now: float) -> str:
    """Return a moment in UTC, and how far away it is: `2026-09-21 14:13:20 UTC, in 59 minutes`."""
    distance = seconds - now
    if abs(distance) < 1:
        return f"{utc(seconds)}, now"
    words = span(abs(distance))
    return f"{utc(seconds)}, {f'in {words}' if distance > 0 else f'{words} ago'}"


def utc(seconds: float) -> str:
    """Return a moment in UTC; beyond the calendar it says so."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "later than any calendar"


def span(seconds: float) -> str:
    """Return a length of time in its largest unit, rounded down."""
    name, size = next(((name, size) for name, size in UNITS if seconds >= size), UNITS[-1])
    return plural(int(seconds // size), name)
