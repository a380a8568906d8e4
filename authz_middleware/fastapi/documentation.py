"""How one guarded application is documented: what it was told, whom it trusts, what its routes state."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.applications import Starlette

from ..audit import RouteTable
from ..audit.kept import KeptTable
from ..audit.middlewares import layers_of
from ..issuers import TrustedIssuer
from ..keys.discovery import CodeFlow
from ..middleware import AuthzMiddleware
from .endpoints import Endpoints
from .enforced import Operations, enforced_in
from .operations import Scheme

__all__ = ["DocumentSettings", "Documentation", "installed_issuers"]


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """The arguments of `document`, checked."""

    issuer: str | None
    code_flow: CodeFlow | None
    open_id_connect: bool
    bearer: bool
    texts: Mapping[str, str]


@dataclass(slots=True)
class Documentation:
    """The settings of one application that has the middleware, and the endpoints of its issuer.

    `is_looking`: whether its applications are being seen to just now.
    """

    root: Starlette
    settings: DocumentSettings
    is_looking: bool = False
    _endpoints: dict[tuple[str, int], Endpoints] = field(default_factory=dict)
    _tables: dict[Starlette, KeptTable] = field(default_factory=dict)
    _operations: dict[tuple[Starlette, Starlette], tuple[RouteTable, Operations]] = field(default_factory=dict)

    def trusted(self) -> TrustedIssuer:
        """Return the issuer that is documented: looked up anew, because tests put another one in its place."""
        issuers = installed_issuers(self.root)
        return next((trusted for trusted in issuers if trusted.issuer == self.settings.issuer), issuers[0])

    async def prepare(self) -> None:
        """Find the issuer's endpoints, if that is needed, allowed and not done."""
        endpoints = self._endpoints_to_ask()
        if endpoints is not None:
            await endpoints.discover()

    def prepare_without_a_loop(self) -> None:
        """Do the same where no event loop runs; not with a client of the application's, which serves one loop only."""
        endpoints = self._endpoints_to_ask()
        if endpoints is not None and not endpoints.needs_its_loop:
            asyncio.run(endpoints.discover())

    def scheme(self) -> tuple[Scheme, bool]:
        """Return the scheme as far as it is known, and whether asking the issuer cannot better it."""
        endpoints = self._endpoints_to_ask()
        code_flow = self.settings.code_flow if endpoints is None else endpoints.code_flow
        is_final = endpoints is None or code_flow is not None
        return Scheme(self.trusted().issuer, code_flow, self.settings.texts, self.settings.bearer), is_final

    def _endpoints_to_ask(self) -> Endpoints | None:
        """Return the endpoints to discover; None: they are given, or not wanted, or the issuer is not to be asked.

        Whoever gives an issuer's keys or secret may mean that nothing is fetched, as tests do.
        """
        trusted, settings = self.trusted(), self.settings
        is_offline = trusted.keys is not None or trusted.secret is not None
        if settings.code_flow is not None or settings.open_id_connect or settings.bearer or is_offline:
            return None
        return self._endpoints.setdefault((trusted.issuer, id(trusted.fetch)), Endpoints(trusted))

    def applications(self) -> list[object]:
        """Return the application and those mounted in it."""
        return list(dict.fromkeys([self.root, *(entry.application for entry in self._table_of(self.root).entries)]))

    def operations(self, app: Starlette, host: Starlette) -> Operations:
        """Return what is enforced for each operation of `app`, by the route table of `host`.

        The document may be anybody's to ask for, and often, so a walk over the routes must not be what a request costs:
        the very same object is returned until routes or middleware change.
        """
        table = self._table_of(host)
        known = self._operations.get((app, host))
        if known is None or known[0] is not table:
            known = self._operations[app, host] = (table, enforced_in(table, app))
        return known[1]

    def _table_of(self, host: Starlette) -> RouteTable:
        return self._tables.setdefault(host, KeptTable(host)).get()


def installed_issuers(root: Starlette) -> list[TrustedIssuer]:
    """Return the issuers that an application's innermost middleware trusts; none if it has no middleware.

    The one that runs is asked where the application was started: tests give it other issuers.
    """
    middlewares = [layer for layer in layers_of(root) if isinstance(layer, AuthzMiddleware)]
    validator = getattr(middlewares[-1], "validator", None) if middlewares else None  # absent where it has a fault
    return [] if validator is None else list(validator.issuers)
