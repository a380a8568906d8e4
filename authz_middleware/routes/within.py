"""What an application states about parts of its that decide by themselves.

Some are no routes, such as the tools of an MCP server. That their policies can be meant is checked with those of the
routes, at start, where the issuers are known. Others are routes that something else decides about, without a middleware
of ours; who gets in there is known to the route table alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from starlette.routing import BaseRoute, Router

from ..policy import Access
from .map import RouteMap

__all__ = ["state_elsewhere", "state_within", "stated_elsewhere", "stated_within"]

WITHIN = "__authz_within__"
"""The attribute of a router that names them: routers compare by their routes, so they are no keys of a registry."""
ELSEWHERE = "__authz_elsewhere__"
"""The attribute of a route that names what is decided about it elsewhere."""


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


def state_elsewhere(route: BaseRoute, access: Access) -> None:
    """Name what is asked of callers of a route where no middleware of ours stands in front."""
    setattr(route, ELSEWHERE, access)


def stated_elsewhere(route: object) -> Access | None:
    """Return what is asked of callers of a route where no middleware of ours stands in front; None: nothing."""
    access: Access | None = getattr(route, ELSEWHERE, None)
    return access
