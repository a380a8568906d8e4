"""`authz explain`: what a token says, whether it is good and at which step it is not, and what it is good for."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ...issuers import TrustedIssuer
from ...policy import Policy
from ...startup import check_policies
from ..endings import Exit, NotUsable
from ..terminal import show, write_json
from ..trust import (
    Application,
    add_application_arguments,
    add_trust_arguments,
    check_application_arguments,
    issuer_options,
    load_application,
    read_jwks,
    trusted_issuer,
    with_keys,
)
from .document import document_of
from .examination import Examination, Mode, Trust, examine
from .explanation import Explanation
from .expressions import parse_policy
from .intake import Credential, read_credential
from .page import page_of

__all__ = ["register"]

NOBODY = "https://nobody.invalid/"
DESCRIPTION = (
    "Explain an access token from standard input: what each claim means, every step of its validation, what it grants "
    "and why. Neither the token nor its signature is ever printed."
)
EPILOG = (
    "Without anybody to trust, nothing is verified, and that is said. With an issuer, its keys are fetched; with "
    "--jwks, nothing is. Exit codes: 0: the token is accepted and, with --policy, meets it; 1: it is not, or nobody is "
    "trusted; 2: the arguments cannot be meant."
)


def register(commands: Any) -> None:
    """Add the command to the parser's commands."""
    parser = commands.add_parser(
        "explain",
        help="say what a token is, whether it is good, and what it is good for",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,  # a token must not be taken from an option that merely begins like the long one
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--file", type=Path, metavar="FILE", help="read the token from a file; -: from standard input")
    source.add_argument(
        "--token-in-shell-history",
        dest="exposed",
        metavar="TOKEN",
        help="take the token from here, where the shell's history and the list of processes remember it",
    )
    parser.add_argument("--issuer", metavar="URL", help="trust this issuer: its iss, to the letter")
    add_trust_arguments(parser)
    add_application_arguments(parser, "trust whom this application trusts, and say which routes the token reaches")
    parser.add_argument("--jwks", type=Path, metavar="FILE", help="verify with the keys in this file; fetch nothing")
    parser.add_argument(
        "--policy", metavar="EXPR", help="""decide this policy, such as '"read:orders" | role("admin")'"""
    )
    parser.add_argument("--now", type=float, metavar="EPOCH", help="look at the token as of this moment")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> Exit:
    """Explain a token, and tell whether it is good.

    Raises:
        NotUsable: the arguments cannot be meant.
    """
    explanation = _explain(options)
    if options.json:
        write_json(document_of(explanation))
    else:
        show(page_of(explanation))
    return Exit.GOOD if explanation.is_good else Exit.BAD


def _explain(options: argparse.Namespace) -> Explanation:
    policy = None if options.policy is None else parse_policy(options.policy)
    application, trusts = _trusts(options)
    if policy is not None:
        _check(policy, trusts[0])
    credential = read_credential(options)
    examinations = asyncio.run(_examine(credential, trusts))
    return Explanation(examinations=examinations, policy=policy, application=application)


async def _examine(credential: Credential, trusts: tuple[Trust, ...]) -> tuple[Examination, ...]:
    return tuple([await examine(credential, trust) for trust in trusts])


def _check(policy: Policy, trust: Trust) -> None:
    """Refuse a policy that cannot be meant with these issuers."""
    if not trust.issuers:
        return
    try:
        check_policies([policy], trust.issuers)
    except ConfigurationError as error:
        raise NotUsable(str(error)) from None


# --- whom to trust ----------------------------------------------------------------------------------------------------


def _trusts(options: argparse.Namespace) -> tuple[Application | None, tuple[Trust, ...]]:
    """Return whom to trust: once, or for every middleware of an application that trusts differently."""
    _check_arguments(options)
    jwks = None if options.jwks is None else read_jwks(options.jwks)
    if options.app is not None:
        application = load_application(options)
        return application, tuple(_trusts_of(application, jwks, options))
    if options.issuer is None and options.auth0 is None:
        return None, (_nobody(options),)
    trusted = trusted_issuer(options.issuer, options, **({} if jwks is None else {"keys": jwks}))
    mode = Mode.ONLINE if jwks is None else Mode.OFFLINE
    return None, (_trust(mode, (trusted,), options),)


def _check_arguments(options: argparse.Namespace) -> None:
    whom = [name for name in ("app", "issuer", "auth0") if getattr(options, name) is not None]
    if len(whom) > 1:
        raise NotUsable(f"--{whom[0]} and --{whom[1]} both say whom to trust; give one of them")
    check_application_arguments(options)
    if not whom and (options.jwks is not None or options.audience is not None):
        raise NotUsable("--jwks and --audience need somebody to trust; add --issuer URL, --auth0 DOMAIN or --app")
    if options.now is not None and not 0 <= options.now < float("inf"):
        raise NotUsable("--now takes seconds since 1970")


def _trusts_of(
    application: Application, jwks: dict[str, object] | None, options: argparse.Namespace
) -> Iterator[Trust]:
    settings = dict.fromkeys(middleware.validator.issuers for middleware in application.middlewares)
    if jwks is not None and all(issuer.secret is not None for issuers in settings for issuer in issuers):
        raise NotUsable(f"{application.name} verifies with secret= alone, so --jwks has nothing to say; leave it out")
    for issuers in settings:
        used = issuers if jwks is None else tuple(with_keys(issuer, jwks) for issuer in issuers)
        yield replace(
            _trust(Mode.APPLICATION, used, options),
            asks_revoked=application.asks_revoked,
            max_token_bytes=application.max_token_bytes,
        )


def _trust(mode: Mode, issuers: tuple[TrustedIssuer, ...], options: argparse.Namespace) -> Trust:
    return Trust(mode=mode, issuers=issuers, assumed=issuers[0], is_pinned=True, clock=_clock(options))


def _nobody(options: argparse.Namespace) -> Trust:
    """Return the trust in nobody. What was said about dialects and clients is how the token is read, and no more."""
    assumed = TrustedIssuer(NOBODY, "nobody", **issuer_options(options))
    is_pinned = options.dialect is not None
    return Trust(mode=Mode.NONE, issuers=(), assumed=assumed, is_pinned=is_pinned, clock=_clock(options))


def _clock(options: argparse.Namespace) -> Callable[[], float]:
    return time.time if options.now is None else lambda: options.now
