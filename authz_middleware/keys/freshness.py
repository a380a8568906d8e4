"""What a response says about time: for how long it is fresh, and when to come back.

Sources: RFC 9111 sections 4.2.1, 4.2.3 and 5.2.2 (max-age, Age, no-store, no-cache), RFC 9110 section 10.2.3
(Retry-After) and 6.6.1 (Date).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from .settings import KeySettings

__all__ = ["read_lifetime", "read_retry_after"]

_MAX_AGE = re.compile(r'(?:^|[,\s])max-age="?(\d{1,9})', re.IGNORECASE | re.ASCII)
_UNCACHEABLE = re.compile(r"(?:^|[,\s])no-(?:store|cache)(?:$|[,\s=])", re.IGNORECASE)
_SECONDS = re.compile(r"\d{1,9}", re.ASCII)


def read_lifetime(headers: Mapping[str, str], settings: KeySettings) -> float | None:
    """Return for how many seconds a response is fresh, within the settings' bounds; None where it does not say.

    The shortest lifetime holds whatever a server writes: one provider sends `max-age=15` for keys that change twice a
    year. `no-store` and `no-cache` mean just that shortest one: verifying tokens without keeping keys is no option.
    """
    control = headers.get("cache-control", "")
    if _UNCACHEABLE.search(control):
        return settings.shortest_lifetime
    max_age = _MAX_AGE.search(control)
    if max_age is None:
        return None
    left = float(max_age[1]) - (_whole_seconds(headers.get("age")) or 0.0)
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
    return float(text) if text is not None and _SECONDS.fullmatch(text.strip()) else None


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else None
