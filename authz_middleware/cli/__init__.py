"""The command line `authz`. Each command is a package of its own beside this file and registers itself here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from . import demo, routes

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130
COMMANDS = (demo, routes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Without a command: show the help."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="authz", description="Resource-server enforcement for Starlette and FastAPI.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('authz_middleware')}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    return parser
