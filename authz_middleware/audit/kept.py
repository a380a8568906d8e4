"""A route table that is kept, and made anew when routes, middleware or overridden dependencies have changed since."""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Router

from ..routes import router_of
from ..routes.frameworks import included_in, overrides_of, version_of, wrappers
from .table import RouteTable
from .walk import route_table

__all__ = ["KeptTable"]

Traces = tuple[object, ...]
"""What a table was made from, to be told again by identity; and how often a router has changed."""


class KeptTable:
    """The route table of an application for whoever asks often: one walk for as long as nothing changes.

    Without source lines: to look those up takes longer than all the rest.
    """

    def __init__(self, app: object) -> None:
        self._app = app
        self._kept: tuple[Traces, RouteTable] | None = None

    def get(self) -> RouteTable:
        """Return the table: the very same object as long as it holds.

        Raises:
            ConfigurationError: as `route_table`.
        """
        traces = tuple(_traces(self._app, {}))  # before the walk: what changes meanwhile is seen the next time
        if self._kept is None or not _is_same(traces, self._kept[0]):
            self._kept = (traces, route_table(self._app, sources=False))
        return self._kept[1]


def _traces(app: object, seen: dict[int, object]) -> Iterator[object]:
    """Yield every application, middleware, router and route there is, each once."""
    for each in wrappers(app):
        if id(each) in seen:
            return
        seen[id(each)] = each  # kept, so that no other object gets its id
        if not isinstance(each, MethodType):  # a router's, and another object whenever somebody asks for it
            yield each
        if isinstance(each, Router):
            yield version_of(each)
            for override in overrides_of(each).items():
                yield from override
        for inner in _inside(each):
            yield from _traces(inner, seen)


def _inside(app: object) -> tuple[object, ...]:
    """Return what something leads to otherwise than as its `app`."""
    match app:
        case Starlette():
            return (*app.user_middleware, app.middleware_stack, app.router)
        case Router():
            return (app.middleware_stack, app.default, *app.routes)
        case BaseRoute():
            return (included_in(app),)
    return (router_of(app),)  # whose method serves its routes


def _is_same(some: Traces, others: Traces) -> bool:
    return len(some) == len(others) and all(
        one is other or (isinstance(one, int) and one == other) for one, other in zip(some, others, strict=True)
    )
