"""What is enforced for each operation of an application, read off a route table.

Sources: OpenAPI 3.1 (path templating: a path is known by its template, whatever its parameters are called).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from starlette.applications import Starlette
from starlette.routing import PARAM_REGEX, compile_path

from ..audit import Protection, RouteEntry, RouteTable
from ..audit.fronts import both
from ..policy import Access, Public

__all__ = ["METHODS", "REFUSED", "Enforced", "Operations", "enforced_in"]

METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY")
"""The methods an OpenAPI document knows; QUERY since version 3.2, and FastAPI writes it before that."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """What is asked of whoever calls an operation.

    Attributes:
        access: who gets in; None: nobody.
        is_reported: whether nobody is refused all the same, because a middleware only reports (`enforce=False`).
    """

    access: Access | None
    is_reported: bool = False

    def beside(self, other: Enforced) -> Enforced:
        """Return what suffices at both of two places."""
        return Enforced(both(self.access, other.access), self.is_reported and other.is_reported)


REFUSED = Enforced(None)
Operations = Mapping[tuple[str, str], Enforced]
"""What is enforced for each operation, by path template and method; what is missing here is refused."""


def enforced_in(table: RouteTable, app: Starlette) -> Operations:
    """Return what the routes of an application ask for.

    Of several routes that a request fits, the first is served; only those of one template are known to be such. An
    operation that stands for several, because the application is mounted twice, asks for what suffices at all of them.
    """
    served: dict[tuple[str, str, str], Enforced] = {}
    fitting: dict[tuple[str, str], dict[tuple[str, str, str], None]] = {}
    for entry in _routes_of(table.entries, app):
        place = entry.path.removesuffix(entry.local_path)
        _, path, _ = compile_path(entry.local_path)
        for method in entry.methods or METHODS:
            request = (place, _shape(entry.local_path), method)
            served.setdefault(request, _enforced(entry))
            fitting.setdefault((path, method), {})[request] = None
    return {
        operation: reduce(Enforced.beside, (served[request] for request in requests))
        for operation, requests in fitting.items()
    }


def _routes_of(entries: Iterable[RouteEntry], app: Starlette) -> Iterable[RouteEntry]:
    return (entry for entry in entries if entry.kind in {"http", "route"} and entry.application is app)


def _shape(template: str) -> str:
    """Return what is left of a path template without the names of its parameters."""
    return re.sub(PARAM_REGEX, lambda parameter: f"{{{parameter[2] or ':str'}}}", template)


def _enforced(entry: RouteEntry) -> Enforced:
    """Return who gets in; where that is everybody because refusals are only reported, who is meant to."""
    if entry.protection is not Protection.REPORTED or not isinstance(entry.admits, Public):
        return Enforced(entry.admits)
    stated = entry.undecorated if entry.access is None else entry.access
    return Enforced(stated, is_reported=not isinstance(stated, Public))
