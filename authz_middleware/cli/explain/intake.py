"""Where the token comes from: standard input, a file, or, if it must be, an argument. None of it gets out again."""

from __future__ import annotations

import argparse
import codecs
import getpass
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..._jose import MAX_TOKEN_BYTES
from ..endings import NotUsable

__all__ = ["Credential", "read_credential"]

JWS_DOTS = 2
MAX_INPUT = 2 * MAX_TOKEN_BYTES
"""Bytes that are read; what is longer is no token, whatever stands around it."""
STANDARD_INPUT = Path("-")
TERMINAL_LINE = 4095
"""Characters a terminal hands over in one line."""
_PRESENTED = re.compile(r"(?:authorization:\s*)?(?:(bearer|dpop)\s+)?(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Credential:
    """A token as it was handed over, without what stood around it. `scheme`: how it was sent, where that was said."""

    token: str
    scheme: str = "bearer"


def read_credential(options: argparse.Namespace) -> Credential:
    """Return the token, without `Bearer` and surrounding whitespace.

    Raises:
        NotUsable: there is none, or it is wrapped in something.
    """
    if options.exposed is not None:
        text = options.exposed
    elif options.file is not None and options.file != STANDARD_INPUT:
        text = _from_file(options.file)
    else:
        text = _from_standard_input()
    return _unwrapped(text.strip())


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decoded(file.read(MAX_INPUT))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NotUsable(f"the file of --file cannot be read: {reason}") from None


def _from_standard_input() -> str:
    if sys.stdin is None:
        raise NotUsable("there is no standard input; pass --file")
    if sys.stdin.isatty():
        return _from_terminal()
    binary: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read(MAX_INPUT) if binary is None else _decoded(binary.read(MAX_INPUT))


def _from_terminal() -> str:
    """Ask for the token without showing it."""
    try:
        text = getpass.getpass("Paste the token (it is not shown) and press Enter: ")
    except EOFError:
        text = ""
    if len(text) >= TERMINAL_LINE:
        raise NotUsable("a terminal cuts lines of this length; put the token into a file and pass --file")
    return text


def _decoded(data: bytes) -> str:
    """Return the text of bytes. PowerShell's `>` writes UTF-16."""
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return data.decode(encoding, "replace")


def _unwrapped(text: str) -> Credential:
    if text.startswith(('"', "'")):
        raise NotUsable("the token stands in quotes; take them off (jq: with -r)")
    if text.startswith("{"):
        raise NotUsable("that is JSON, such as the answer of a token endpoint; pass the value of access_token alone")
    presented = _PRESENTED.fullmatch(text)
    scheme, token = presented.groups() if presented else (None, text)
    if len(token.split()) > 1 and token.count(".") != JWS_DOTS:  # else the parser says what came in
        raise NotUsable("there is white space in the middle; pass one token, on one line")
    if token.lower() in {"", "bearer", "dpop"}:
        raise NotUsable("no token was given; pipe it in, or pass --file")
    return Credential(token, (scheme or "bearer").lower())
