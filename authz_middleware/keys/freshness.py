"""What a response says about time: for how long it is fresh, and when to come back.

Sources: RFC 9111 sections 4.2.1, 4.2.3 and 5.2.2 (max-age, Age, no-store, no-cache), RFC 9110 section 10.2.3
(Retry-After) 5.6.7 (its three forms of a date) and 6.6.1 (Date).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .settings import KeySettings

__all__ = ["read_lifetime", "read_retry_after"]

MOST_SECONDS = 2**31
"""What a number that is larger stands for (RFC 9111 section 1.2.2)."""

_DIRECTIVE = re.compile(r'([^\s,="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s,"]*))?')
_SECONDS = re.compile(r"\d+", re.ASCII)
_ASCTIME = re.compile(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", re.ASCII)  # has no zone, and means UTC


def read_lifetime(headers: Mapping[str, str], settings: KeySettings) -> float | None:
    """Return for how many seconds a response is fresh, within the settings' bounds; None where it does not say.

    The shortest lifetime holds whatever a server writes: one provider sends `max-age=15` for keys that change twice a
    year. `no-store` and `no-cache` mean just that shortest one: verifying tokens without keeping keys is no option.
    """
    control: dict[str, str] = {}
    for name, value in _DIRECTIVE.findall(headers.get("cache-control", "")):
        control.setdefault(name.lower(), value.strip('"'))  # the first counts
    if control.keys() & {"no-store", "no-cache"}:
        return settings.shortest_lifetime
    if "max-age" not in control:
        return None
    max_age = _whole_seconds(control["max-age"]) or 0.0  # one that is no number: stale (RFC 9111 section 4.2.1)
    left = max_age - (_whole_seconds(headers.get("age", "").partition(",")[0]) or 0.0)
    return min(settings.longest_lifetime, max(settings.shortest_lifetime, left))


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return in how many seconds a server wants to be asked again: `Retry-After` in seconds, or as a date."""
    value = headers.get("retry-after")
    seconds = _whole_seconds(value)
    if seconds is not None or value is None:
        return seconds
    wanted, sent = _date(value), _date(headers.get("date"))
    # A date is compared with the server's own clock; without that it says nothing.
    return None if wanted is None or sent is None else max(0.0, (wanted - sent).total_seconds())


def _whole_seconds(text: str | None) -> float | None:
    if text is None or not _SECONDS.fullmatch(text := text.strip()):
        return None
    return float(min(MOST_SECONDS, int(text[:11])))  # eleven digits are more than enough


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if _ASCTIME.fullmatch(text):
        return date.replace(tzinfo=UTC)
    return date if date.tzinfo is not None else None
