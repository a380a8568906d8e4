"""Regular expressions of `claim(…, matches=…)`: compiled once, and only if no string can make one run for long.

Somebody else writes the claim, and Python's engine tries every way a pattern can match before it gives up. So a string
is of limited length, and a pattern takes a limited number of steps on one of that length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..errors import ConfigurationError

__all__ = ["MAX_MATCHED_LENGTH", "compile_pattern"]

MAX_MATCHED_LENGTH = 256
"""Longer strings match no pattern."""
MAX_STEPS = 32 * (MAX_MATCHED_LENGTH + 1) ** 2
"""Two open repetitions, and thirty characters behind them: some milliseconds for the worst of strings."""


class Cost(NamedTuple):
    """Upper bounds of what the engine does with a part of a pattern.

    `ways`: in how many it may match, each of which whatever follows is tried after; `steps`: until all were tried.
    """

    ways: int
    steps: int


ONE_CHARACTER = Cost(1, 1)
UNKNOWN = Cost(MAX_STEPS + 1, MAX_STEPS + 1)


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
    if _cost_of(compiled).steps > MAX_STEPS:
        raise ConfigurationError(
            f"claim: for some strings the pattern {compiled.pattern!r} may take long, and somebody else writes the "
            "claim; write at most two repetitions such as * or +, none within another, and make possessive what "
            "gives nothing back ([a-z]++ instead of [a-z]+); or write policy.check(…)"
        )
    return compiled


def _cost_of(compiled: re.Pattern[str]) -> Cost:
    """Return what a whole pattern may cost.

    The syntax tree is Python's own; its module has no public name. Where it is gone, nothing is known to be quick.
    """
    parser = getattr(re, "_parser", None)
    return UNKNOWN if parser is None else _cost_of_all(parser.parse(compiled.pattern, compiled.flags))


def _cost_of_all(items: Iterable[tuple[object, Any]]) -> Cost:
    """Return what one thing after the other costs: each is tried once for every way in which those before can match."""
    ways, steps = 1, 0
    for kind, argument in items:
        cost = _cost_of_one(str(kind), argument)
        ways, steps = ways * cost.ways, steps + ways * cost.steps
    return Cost(ways, steps)


def _cost_of_one(kind: str, argument: Any) -> Cost:
    match kind, argument:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT" | "FAILURE" | "GROUPREF", _:
            return ONE_CHARACTER
        case "SUBPATTERN", (_, _, _, items):
            return _cost_of_all(items)
        case "ATOMIC_GROUP", items:
            return _cost_of_all(items)
        case "ASSERT" | "ASSERT_NOT", (_, items):
            return _cost_of_all(items)
        case "BRANCH", (_, branches):
            return _cost_of_choice(branches)
        case "GROUPREF_EXISTS", (_, yes, no):
            return _cost_of_choice([yes, no or ()])
        case "POSSESSIVE_REPEAT", (_, most, items):
            cost = _cost_of_repetition(0, most, _cost_of_all(items))
            return Cost(1, cost.steps)
        case "MAX_REPEAT" | "MIN_REPEAT", (least, most, items):
            return _cost_of_repetition(least, most, _cost_of_all(items))
    return UNKNOWN  # what is not known yet


def _cost_of_choice(branches: Iterable[Iterable[tuple[object, Any]]]) -> Cost:
    costs = [_cost_of_all(branch) for branch in branches]
    return Cost(sum(cost.ways for cost in costs), sum(cost.steps + 1 for cost in costs))


def _cost_of_repetition(least: int, most: int, once: Cost) -> Cost:
    """Return what repeating costs: all possible numbers of times, each in every way that so many can match."""
    most = min(int(most), max(int(least), MAX_MATCHED_LENGTH))
    ways = steps = 0
    for times in range(most + 1):
        ways += once.ways**times if times >= int(least) else 0
        steps += once.ways**times * once.steps
        if steps > MAX_STEPS:
            return UNKNOWN
    return Cost(ways, steps)
