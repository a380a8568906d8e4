"""Regular expressions of `claim(…, matches=…)`: compiled once, and only if no string can make one run for long.

Somebody else writes the claim, and Python's engine tries every way a pattern can match before it gives up. So a string
is of limited length, and a pattern has a limited number of ways to match one of that length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod
from typing import Any

from ..errors import ConfigurationError

__all__ = ["MAX_MATCHED_LENGTH", "compile_pattern"]

MAX_MATCHED_LENGTH = 256
"""Longer strings match no pattern."""
MAX_WAYS = 4 * (MAX_MATCHED_LENGTH + 1) ** 3
"""Three open repetitions, and a choice of four: some hundredths of a second for the worst of strings."""


def compile_pattern(pattern: object) -> re.Pattern[str]:
    """Return a regular expression that takes little time on every string of at most `MAX_MATCHED_LENGTH`.

    Raises:
        ConfigurationError: it is none, or there may be strings it takes long for.
    """
    if not isinstance(pattern, str | re.Pattern) or not isinstance(getattr(pattern, "pattern", pattern), str):
        raise ConfigurationError('claim: matches takes a regular expression; write matches="acme-.*"')
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        raise ConfigurationError("claim: matches is no regular expression; see Python's module re") from None
    if _ways_of(compiled) > MAX_WAYS:
        raise ConfigurationError(
            f"claim: for some strings the pattern {compiled.pattern!r} may take long, and somebody else writes the "
            "claim; write at most three repetitions such as * or +, none within another, and make possessive what "
            "gives nothing back ([a-z]++ instead of [a-z]+); or write policy.check(…)"
        )
    return compiled


def _ways_of(compiled: re.Pattern[str]) -> int:
    """Return an upper bound for the ways in which the engine may try to match.

    The syntax tree is Python's own; its module has no public name. Where it is gone, nothing is known to be quick.
    """
    parser = getattr(re, "_parser", None)
    if parser is None:
        return MAX_WAYS + 1
    return _ways_of_all(parser.parse(compiled.pattern, compiled.flags))


def _ways_of_all(items: Iterable[tuple[object, Any]]) -> int:
    return prod(_ways_of_one(str(kind), argument) for kind, argument in items)


def _ways_of_one(kind: str, argument: Any) -> int:
    match kind, argument:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT" | "FAILURE" | "GROUPREF", _:
            return 1
        case "SUBPATTERN", (_, _, _, items):
            return _ways_of_all(items)
        case "ATOMIC_GROUP", items:
            return _ways_of_all(items)
        case "ASSERT" | "ASSERT_NOT", (_, items):
            return _ways_of_all(items)
        case "BRANCH", (_, branches):
            return sum(map(_ways_of_all, branches))
        case "GROUPREF_EXISTS", (_, yes, no):
            return _ways_of_all(yes) + _ways_of_all(no or ())
        case "POSSESSIVE_REPEAT", (_, most, items):
            ways = _ways_of_all(items)
            return 1 if ways == 1 else _ways_of_repetition(0, most, ways)
        case "MAX_REPEAT" | "MIN_REPEAT", (least, most, items):
            return _ways_of_repetition(least, most, _ways_of_all(items))
    return MAX_WAYS + 1  # what is not known yet


def _ways_of_repetition(least: int, most: int, ways: int) -> int:
    """Return in how many ways something repeats that has `ways` itself: those of every possible number of times."""
    total = 0
    for times in range(int(least), min(int(most), max(int(least), MAX_MATCHED_LENGTH)) + 1):
        total += ways**times
        if total > MAX_WAYS:
            break
    return total
