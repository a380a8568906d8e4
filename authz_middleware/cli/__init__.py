"""The command line `authz`. Each command is a package of its own beside this file and registers itself here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from .terminal import NotWritten, complain

__all__ = ["main"]

UNUSABLE = 2
INTERRUPTED = 130
COMMANDS = ("demo", "routes", "explain", "doctor")
LONG = 16
"""Characters from which on something typed may be a token, and is not repeated."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Without a command: show the help."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except NotWritten as error:
        complain("", str(error))
        return UNUSABLE


def _run(arguments: Sequence[str]) -> int:
    parser = _make_parser(arguments)
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help(sys.stderr)
        return UNUSABLE
    code: int = options.run(options)
    return code


def _make_parser(typed: Sequence[str] = ()) -> argparse.ArgumentParser:
    parser = _parser_class(typed)(prog="authz", description="Resource-server enforcement for Starlette and FastAPI.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('authz_middleware')}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:  # imported here and not above: that takes its time, and may be interrupted
        import_module(f".{command}", __name__).register(commands)
    return parser


def _parser_class(typed: Sequence[str]) -> type[argparse.ArgumentParser]:
    """Return a parser whose messages do not repeat long pieces of what was typed: one may be a misplaced token."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            pieces = {piece for word in typed for piece in (word, word.partition("=")[2]) if len(piece) >= LONG}
            for piece in sorted(pieces, key=len, reverse=True):
                message = message.replace(piece, "(not repeated here)")
            is_token_in_place = "explain" not in typed or "(not repeated here)" not in message
            super().error(message if is_token_in_place else f"{message}; pipe the token in, or pass --file")

    return Parser
