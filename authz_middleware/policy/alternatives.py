"""A policy as a choice of lists: it is met when everything in one list holds."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

from ..errors import ConfigurationError

__all__ = ["MAX_ALTERNATIVES", "MAX_SUM", "simplify"]

MAX_ALTERNATIVES = 64
"""Of a policy that is written in one place."""
MAX_SUM = MAX_ALTERNATIVES**2
"""Of all that is stated for a route: by its mounts and routers, its dependencies and itself."""
MAX_UNSIMPLIFIED = 16 * MAX_SUM
"""How many are looked at, before those that contain another are dropped."""

T = TypeVar("T", bound=Hashable)


def simplify(alternatives: Iterable[tuple[T, ...]]) -> tuple[tuple[T, ...], ...]:
    """Drop repetitions and every alternative that contains another: meeting the smaller one is enough.

    Raises:
        ConfigurationError: more than `MAX_SUM` are left.
    """
    positions: dict[tuple[T, ...], int] = {}
    for terms in alternatives:
        positions.setdefault(tuple(dict.fromkeys(terms)), len(positions))
        _check_number(positions, MAX_UNSIMPLIFIED)  # said at once: a product of alternatives can be long
    if () in positions:
        return ((),)
    kept: list[tuple[T, ...]] = []
    smaller: dict[T, list[frozenset[T]]] = {}  # by their first term, which whatever contains them has, too
    for terms in sorted(positions, key=len):  # an alternative can only contain a shorter one
        held = frozenset(terms)
        if any(other <= held for term in terms for other in smaller.get(term, ())):
            continue
        smaller.setdefault(terms[0], []).append(held)
        kept.append(terms)
    _check_number(kept, MAX_SUM)
    return tuple(sorted(kept, key=positions.__getitem__))


def _check_number(alternatives: list[tuple[T, ...]] | dict[tuple[T, ...], int], most: int) -> None:
    if len(alternatives) > most:
        raise ConfigurationError(
            f"what is required adds up to more than {MAX_SUM:,} alternatives; require fewer, or decide part of it in "
            "policy.check(…)"
        )
