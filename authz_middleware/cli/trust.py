"""Whom a command trusts: said by its arguments, or read off an application.

No message repeats what was typed: a token that slipped into the wrong argument would be in it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from .._json import JSONFault, parse_json
from ..audit import RouteTable, installed_middlewares, route_table
from ..dialects import DIALECTS
from ..errors import ConfigurationError
from ..issuers import TrustedIssuer
from ..keys.fetch import MAX_BYTES
from ..middleware import AuthzMiddleware
from .endings import NotUsable
from .loading import add_place_arguments, load

__all__ = [
    "Application",
    "add_application_arguments",
    "add_trust_arguments",
    "check_application_arguments",
    "is_target",
    "issuer_options",
    "load_application",
    "read_jwks",
    "trusted_issuer",
    "with_keys",
]

TRUST_ARGUMENTS = (
    "auth0",
    "audience",
    "dialect",
    "first_party_client",
    "third_party_client",
    "no_third_party_clients",
    "rbac_enforced",
    "roles_claim",
    "groups_claim",
)
_TARGET = re.compile(r"[A-Za-z_][\w.]{0,99}:[A-Za-z_][\w.]{0,99}", re.ASCII)


# --- arguments --------------------------------------------------------------------------------------------------------


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what there is to say about one issuer, but the issuer itself."""
    group = parser.add_argument_group("the issuer, as TrustedIssuer is told")
    group.add_argument("--auth0", metavar="DOMAIN", help="it is this Auth0 tenant, such as acme.eu.auth0.com")
    group.add_argument("--audience", action="append", metavar="API", help="the identifier of your API; may be repeated")
    group.add_argument(
        "--dialect",
        action="append",
        choices=tuple(DIALECTS),
        help=f"a dialect tokens may be written in: {', '.join(DIALECTS)}; may be repeated",
    )
    clients = group.add_mutually_exclusive_group()
    clients.add_argument("--first-party-client", action="append", metavar="ID", help="this client is your own")
    clients.add_argument("--third-party-client", action="append", metavar="ID", help="this client is somebody else's")
    clients.add_argument("--no-third-party-clients", action="store_const", const=True, help="every client is your own")
    group.add_argument(
        "--rbac-enforced",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the issuer gives a user only the scopes that were assigned",
    )
    group.add_argument("--roles-claim", action="append", metavar="NAME", help="a claim with roles")
    group.add_argument("--groups-claim", action="append", metavar="NAME", help="a claim with groups")


def add_application_arguments(parser: argparse.ArgumentParser, text: str) -> None:
    """Add what leads to an application."""
    group = parser.add_argument_group("an application")
    group.add_argument("--app", metavar="module:app", help=text)
    add_place_arguments(group)


def check_application_arguments(options: argparse.Namespace) -> None:
    """Refuse what an application says itself, and what is about an application where there is none.

    Raises:
        NotUsable: something of the kind was said.
    """
    if options.app is None and (options.factory or options.app_dir is not None):
        raise NotUsable("--factory and --app-dir are about an application; add --app module:app")
    if options.app is not None and any(getattr(options, name) is not None for name in TRUST_ARGUMENTS):
        raise NotUsable("with --app the application says all there is about its issuers; leave those arguments out")


# --- one issuer -------------------------------------------------------------------------------------------------------


def issuer_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments as keyword arguments of `TrustedIssuer`; what was not said is left out."""
    said = {
        "dialects": None if options.dialect is None else list(dict.fromkeys(options.dialect)),
        "first_party_clients": options.first_party_client,
        "third_party_clients": [] if options.no_third_party_clients else options.third_party_client,
        "rbac_enforced": options.rbac_enforced,
        "roles_claims": options.roles_claim,
        "groups_claims": options.groups_claim,
    }
    return {name: value for name, value in said.items() if value is not None}


def trusted_issuer(issuer: str | None, options: argparse.Namespace, **more: Any) -> TrustedIssuer:
    """Return the settings that the arguments say.

    Raises:
        NotUsable: they cannot be meant, with every fault.
    """
    said = {**issuer_options(options), **more}
    try:
        if options.auth0 is not None:
            return TrustedIssuer.auth0(options.auth0, options.audience or (), **said)
        return TrustedIssuer(issuer or "", options.audience or (), **said)
    except ConfigurationError as error:
        raise NotUsable(str(error)) from None


def read_jwks(path: Path) -> dict[str, object]:
    """Return the JWKS document in a file.

    Raises:
        NotUsable: there is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NotUsable(f"the file of --jwks cannot be read: {_reason(error)}") from None
    try:
        document = parse_json(data)
    except JSONFault:
        document = None
    if len(data) > MAX_BYTES or not isinstance(document, dict):
        raise NotUsable('the file of --jwks holds no JWKS document, such as {"keys": […]}')
    return document


def with_keys(trusted: TrustedIssuer, document: Mapping[str, object]) -> TrustedIssuer:
    """Return settings with these keys in place of those that would be fetched. A shared secret stays.

    Raises:
        NotUsable: none of the keys is usable under these settings.
    """
    if trusted.secret is not None:
        return trusted
    try:
        return replace(trusted, keys=document, jwks_uri=None, fetch=None, key_settings=None)
    except ConfigurationError as error:
        raise NotUsable(str(error)) from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


# --- an application ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Application:
    """An application that was imported and not started. There is at least one middleware."""

    name: str
    app: ASGIApp
    middlewares: tuple[AuthzMiddleware, ...]

    @property
    def max_token_bytes(self) -> int:
        """The longest token it reads."""
        return min(middleware.validator.max_token_bytes for middleware in self.middlewares)

    @property
    def asks_revoked(self) -> bool:
        """Whether it asks if a token was revoked."""
        return any(middleware.validator.revoked is not None for middleware in self.middlewares)

    def routes(self) -> RouteTable:
        """Return its route table.

        Raises:
            NotUsable: no routes can be seen, or what they state cannot be meant.
        """
        try:
            return route_table(self.app)
        except ConfigurationError as error:
            raise NotUsable(f"{self.name}: {error}") from None


def is_target(text: str) -> bool:
    """Tell whether a text is `module:app`, and short enough to be repeated."""
    return _TARGET.fullmatch(text) is not None


def load_application(options: argparse.Namespace) -> Application:
    """Import the application of `--app` and find what guards it.

    Raises:
        NotUsable: it cannot be had, or nothing guards it.
    """
    if not is_target(options.app):
        raise NotUsable("--app takes module:app, such as main:app for the application `app` in main.py")
    app: Any = load(options.app, options.app_dir, is_factory=options.factory)
    middlewares = _middlewares_of(app, options.app)
    if not middlewares:
        raise NotUsable(
            f"{options.app} has no AuthzMiddleware, so it trusts nobody; name the application it is added to"
        )
    return Application(options.app, app, middlewares)


def _middlewares_of(app: object, name: str) -> tuple[AuthzMiddleware, ...]:
    try:
        return tuple(installed_middlewares(app))
    except ConfigurationError as error:
        raise NotUsable(f"{name}: {error}") from None
    except Exception as error:  # noqa: BLE001 - anybody's middleware is made here, and may want a running server
        raise NotUsable(f"{name}: its middleware cannot be made outside a server ({type(error).__name__})") from None
