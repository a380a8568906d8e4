"""`authz demo`: a real issuer, a real API, real requests in every dialect, and one table of what was answered.

This module imports nothing that the extra `demo` brings, so that the command can say what is missing.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType
from typing import Any

from ..endings import Exit, NotUsable

__all__ = ["register"]

EXTRA = ("fastapi", "rich", "uvicorn")
MAX_PORT = 65535


def register(commands: Any) -> None:
    """Add the command to the parser's commands."""
    text = "see real tokens of every dialect accepted and refused, and why"
    parser = commands.add_parser("demo", help=text, description=f"Demo: {text}. Everything stays on this machine.")
    parser.add_argument("--serve", action="store_true", help="leave issuer and API running and print curl lines to try")
    parser.add_argument("--port", type=_port, default=0, help="port of the API (default: any free one)")
    parser.add_argument("--issuer-port", type=_port, default=0, help="port of the issuer (default: any free one)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> Exit:
    """Run the demo, and tell whether every answer was the expected one.

    Raises:
        NotUsable: the extra is not installed, or a port is taken.
    """
    try:
        stage = _import_stage()
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        raise NotUsable(
            f'{error.name} is missing; install it, in a clone with: python -m pip install -e ".[demo]"'
        ) from None
    code: Exit = stage.run(port=options.port, issuer_port=options.issuer_port, serve=options.serve)
    return code


def _import_stage() -> ModuleType:
    return import_module(".stage", __name__)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) else -1
    if not 0 <= port <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {MAX_PORT}")
    return port
