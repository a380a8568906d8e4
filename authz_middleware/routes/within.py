"""What an application states about parts of its that are no routes, such as the tools of an MCP server.

Such a part decides by itself. That its policies can be meant is checked with those of the routes, at start, where the
issuers are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from starlette.routing import Router

from ..policy import Access
from .map import RouteMap

__all__ = ["state_within", "stated_within"]

WITHIN = "__authz_within__"
"""The attribute of a router that names them: routers compare by their routes, so they are no keys of a registry."""


def state_within(router: Router, statements: Callable[[], Iterable[Access]]) -> None:
    """Name what is stated behind a router's routes; asked at start, and whenever routes have changed."""
    setattr(router, WITHIN, statements)


def stated_within(route_map: RouteMap) -> Iterator[Access]:
    """Yield what is stated behind the routes of all routers of a map.

    Raises:
        ConfigurationError: a decorator there stands where it guards nothing.
    """
    for router in (route_map.router, *(node.router for node, _ in route_map.descend())):
        statements: Callable[[], Iterable[Access]] | None = getattr(router, WITHIN, None)
        yield from () if statements is None else statements()
