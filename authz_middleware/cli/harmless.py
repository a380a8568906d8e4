"""Text that is harmless to look at, whatever it was made of.

What is shown may have been written by a hostile token or server. So every piece of text is made harmless where it
enters a page, once and for all: it can break no line, move no cursor and turn no reading direction.
"""

from __future__ import annotations

import json
import re
import unicodedata

__all__ = ["TOKEN", "harmless", "json_text", "name_text"]

MAX_VALUE = 400
"""Characters of one value that are shown."""
TOKEN = re.compile(r"eyJ[\w-]{5,}\.[\w.-]*", re.ASCII)
"""What looks like a signed or encrypted token: its header begins with `{"`."""

_TURNS_DIRECTION = frozenset({"R", "AL", "AN"})
_STACKS = frozenset({"Mn", "Me"})
_BARE_NAME = re.compile(r"[!#-\[\]-~]+")


def harmless(text: str) -> str:
    """Return text with JSON's escapes for whatever is no plain, left-to-right, single character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if _is_harmful(char) else char for char in text)


def _is_harmful(char: str) -> bool:
    return (
        not char.isprintable()  # controls, formats, surrogates, unassigned, and every space but one
        or unicodedata.bidirectional(char) in _TURNS_DIRECTION  # letters that would reorder what stands beside them
        or unicodedata.category(char) in _STACKS  # marks that pile up over other lines
    )


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1]


def json_text(value: object) -> str:
    """Return a value of a token as JSON on one line; a long one is cut, and says so."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def name_text(name: str) -> str:
    """Return the name of a claim: as it is where it is plain, else as JSON."""
    return name if _BARE_NAME.fullmatch(name) and len(name) <= MAX_VALUE else json_text(name)
