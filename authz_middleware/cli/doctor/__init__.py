"""`authz doctor`: is an issuer found, are its keys usable, and is everything said that should be?"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from ..endings import Exit, NotUsable
from ..terminal import show, write_json
from ..trust import (
    add_application_arguments,
    add_trust_arguments,
    check_application_arguments,
    is_target,
    load_application,
    trusted_issuer,
)
from .examination import Report, examine, examine_application
from .page import document_of, page_of

__all__ = ["register"]

DESCRIPTION = (
    "Look at an issuer as an application with these settings would: how it is found, what it calls itself, its keys, "
    "its clock, its metadata, and what the settings leave unsaid. Each finding says what to change, and where."
)
EPILOG = (
    "Per issuer there are at most five requests, and no redirect is followed. Exit codes: 0; 1: there is a problem; "
    "2: the arguments cannot be meant."
)


def register(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "doctor",
        help="look at an issuer, and say what to change where",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("issuer", nargs="?", metavar="ISSUER", help="its iss, to the letter")
    add_trust_arguments(parser)
    add_application_arguments(parser, "look at every issuer that this application trusts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> Exit:
    """Examine and report, and tell whether there is a problem.

    Raises:
        NotUsable: the arguments cannot be meant.
    """
    report = asyncio.run(_examine(options))
    if options.json:
        write_json(document_of(report))
    else:
        show(page_of(report))
    return Exit.BAD if report.has_problem else Exit.GOOD


async def _examine(options: argparse.Namespace) -> Report:
    whom = [name for name in ("issuer", "auth0", "app") if getattr(options, name) is not None]
    if len(whom) != 1:
        raise NotUsable(
            "say whom to look at, once: ISSUER with --audience API, --auth0 DOMAIN with it, or --app module:app"
        )
    check_application_arguments(options)
    if options.app is not None:
        return await examine_application(load_application(options), time.time)
    _check_issuer(options.issuer)
    if options.audience is None:
        raise NotUsable("say what clients ask a token for: add --audience, the identifier of your API")
    return Report((await examine((trusted_issuer(options.issuer, options),), time.time),))


def _check_issuer(issuer: str | None) -> None:
    if issuer is None or "://" in issuer:
        return
    if is_target(issuer):
        raise NotUsable(f"{issuer} is no URL; write --app {issuer}")
    raise NotUsable("ISSUER is a URL; begin with https:// (on this machine, http:// will do)")
