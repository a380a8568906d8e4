"""The command line `authz`. Each command is a package of its own beside this file and registers itself here."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from os.path import isfile  # unlike Path.is_file, it answers for names of any length
from typing import NoReturn

from .endings import Exit, NotUsable
from .terminal import complain

__all__ = ["main"]

COMMANDS = ("demo", "routes", "explain", "doctor")
OPTION = re.compile(r"--[a-z]+(?:-[a-z]+)*")
LONG = 16
"""Characters from which on something typed may be a token, and is not repeated."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Without a command: show the help."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _run(arguments: Sequence[str]) -> Exit:
    parser = _make_parser(arguments)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_hint(options, unknown)}")
    if options.run is None:
        parser.print_help(sys.stderr)
        return Exit.UNUSABLE
    try:
        code: Exit = options.run(options)
    except NotUsable as error:
        complain(options.command, str(error), error.origin)
        return Exit.UNUSABLE
    return code


def _hint(options: argparse.Namespace, unknown: Sequence[str]) -> str:
    """Say where a token belongs, if one was to be explained."""
    words = [word for word in unknown if not word.startswith("-")]
    if not words or not hasattr(options, "exposed"):
        return ""
    return f"; write --file {words[0]}" if isfile(words[0]) else "; pipe the token in, or pass --file"


def _make_parser(typed: Sequence[str] = ()) -> argparse.ArgumentParser:
    parser = _parser_class(typed)(prog="authz", description="Resource-server enforcement for Starlette and FastAPI.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('authz_middleware')}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:  # imported here and not above: that takes its time, and may be interrupted
        import_module(f".{command}", __name__).register(commands)
    return parser


def _parser_class(typed: Sequence[str]) -> type[argparse.ArgumentParser]:
    """Return a parser whose messages do not repeat long pieces of what was typed: one may be a misplaced token."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            choices = (str(choice) for action in self._actions for choice in action.choices or ())
            known = (*self._option_string_actions, *choices)
            for piece in _unsafe(typed):
                if not any(piece in word for word in known):
                    message = message.replace(piece, "(not repeated here)")
            super().error(message)

    return Parser


def _unsafe(typed: Sequence[str]) -> list[str]:
    """Return what may be a token, the longest first: neither the name of an option nor that of a file."""
    pieces = set()
    for word in typed:
        name, _, value = word.partition("=")
        pieces |= {value} if OPTION.fullmatch(name) else {word, value}
    return sorted((piece for piece in pieces if len(piece) >= LONG and not isfile(piece)), key=len, reverse=True)
