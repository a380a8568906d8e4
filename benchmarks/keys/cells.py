"""What the cells of the tables say, and how."""

from __future__ import annotations

from collections import Counter

from .contenders import OK, Variant
from .world import Fetches

MINUTE = 60
HOUR = 3600
NONE = "–"  # noqa: RUF001 - the dash that typography has for nothing


def duration(seconds: float | None) -> str:
    """Write seconds as a person would."""
    if seconds is None:
        return "not within 2 h"
    if seconds < 2 * MINUTE:
        return f"{seconds:.3g} s"
    return f"{seconds / MINUTE:.3g} min" if seconds < HOUR else f"{seconds / HOUR:.3g} h"


def share(answers: Counter[int], status: int = OK) -> str:
    """Write which part of the answers has this status, never rounded to all or nothing."""
    part = answers[status] / answers.total()
    is_rounded_away = answers[status] and f"{part:.0%}" in {"0%", "100%"} and part < 1
    return f"{part:.1%}" if is_rounded_away else f"{part:.0%}"


def kinds(answers: Counter[int], *, but: int | None = None) -> str:
    """Write the statuses that occurred, most frequent first."""
    return ", ".join(str(status) for status, _ in answers.most_common() if status != but) or NONE


def counts(answers: Counter[int]) -> str:
    return ", ".join(f"{status} for {count:,}" for status, count in sorted(answers.items()))


def fetched(variant: Variant, fetches: Fetches) -> str:
    """Write the fetches; a contender that reads no metadata has one number."""
    return f"{fetches.discovery:,} + {fetches.jwks:,}" if reads_metadata(variant) else f"{fetches.jwks:,}"


def reads_metadata(variant: Variant) -> bool:
    return variant.name not in {"PyJWKClient", "fastmcp"}


def wait(variant: Variant, seconds: float) -> str:
    """Write a wait, marked where a blocking socket's timeout was added instead of waited for."""
    mark = "" if variant.moves_time or not seconds else "†"
    return f"{duration(seconds)}{mark}"


def times(ratio: float) -> str:
    """Write a ratio without pretending to decimals."""
    return f"{round(ratio)} times" if round(ratio) > 1 else "the same"
