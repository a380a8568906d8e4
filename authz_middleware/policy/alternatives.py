"""A policy as a choice of lists: it is met when everything in one list holds."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

from ..errors import ConfigurationError

__all__ = ["MAX_ALTERNATIVES", "simplify"]

MAX_ALTERNATIVES = 64

T = TypeVar("T", bound=Hashable)


def simplify(alternatives: Iterable[tuple[T, ...]]) -> tuple[tuple[T, ...], ...]:
    """Drop repetitions and every alternative that contains another: meeting the smaller one is enough."""
    unique = list(dict.fromkeys(tuple(dict.fromkeys(terms)) for terms in alternatives))
    kept: list[tuple[T, ...]] = []
    smaller: list[frozenset[T]] = []
    for terms in sorted(unique, key=len):  # an alternative can only contain a shorter one
        held = frozenset(terms)
        if any(other <= held for other in smaller):
            continue
        smaller.append(held)
        kept.append(terms)
        if len(kept) > MAX_ALTERNATIVES:  # said at once: a product of alternatives can be long
            raise ConfigurationError(
                f"the policy has more than {MAX_ALTERNATIVES} alternatives; "
                "state part of it on a router or mount around the route"
            )
    return tuple(sorted(kept, key=unique.index))
