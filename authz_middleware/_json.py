"""Strict JSON: two readers of one text must not believe two different things.

Sources: RFC 8259 (JSON), RFC 8725 section 2.4 (duplicate members).
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

from .errors import Reason

__all__ = ["JSONFault", "parse_json"]

MAX_JSON_DEPTH = 32


class JSONFault(ValueError):
    """Text that is no strict JSON; `reason` says how."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.value)


def parse_json(data: bytes) -> object:
    """Parse strict JSON: UTF-8, no duplicate members, no NaN or Infinity, no lone surrogates, at most 32 levels.

    Raises:
        JSONFault: the text breaks one of these rules.
    """
    try:
        text = data.decode("utf-8")
        value: object = json.loads(
            text, object_pairs_hook=_unique_members, parse_constant=_no_constant, parse_float=_finite
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # an escape may have made a lone surrogate
    except UnicodeError:
        raise JSONFault(Reason.NOT_UTF8) from None
    except RecursionError:
        raise JSONFault(Reason.TOO_DEEP) from None
    except JSONFault:
        raise
    except ValueError:
        raise JSONFault(Reason.NOT_JSON) from None
    # A document with few brackets cannot be deep: the common case is decided without walking it.
    if data.count(b"{") + data.count(b"[") > MAX_JSON_DEPTH and _depth(value) > MAX_JSON_DEPTH:
        raise JSONFault(Reason.TOO_DEEP)
    return value


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JSONFault(Reason.DUPLICATE_MEMBER)  # RFC 8725 section 2.4: parsers disagree on which one counts
    return members


def _no_constant(_: str) -> NoReturn:
    raise JSONFault(Reason.NOT_JSON)  # NaN and Infinity are no JSON (RFC 8259 section 6)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JSONFault(Reason.NOT_JSON)
    return number


def _depth(value: object) -> int:
    """Count the levels of nested containers, without recursion."""
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth
