"""The walk over an application's routes that makes the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Host, Router

from ..decorators import Requirement
from ..errors import ConfigurationError
from ..guard import Guard
from ..metadata import METADATA_METHODS
from ..middleware import AuthzMiddleware
from ..policy import AUTHENTICATED, Access, Public
from ..routes import Node, RouteMap, add_up, find_router, stated_elsewhere
from ..routes.frameworks import inclusions_of, pages_of
from .entries import Protection, RouteEntry
from .fronts import BARE, Fronts, Ruling, behind, is_bare, rule, rule_own, within
from .leaves import PROBE, as_requested, fronts_on, kind_of, layers_on, needs_token, parts_of
from .middlewares import application_of, layers_of
from .sources import source_of
from .table import RouteTable

__all__ = ["route_table"]


def route_table(app: object, *, sources: bool = True) -> RouteTable:
    """Return the route table of a Starlette or FastAPI application, or of a middleware around one.

    Does not see what handlers decide themselves (`authorize`), what a middleware answers, what an application's own
    `__call__` serves, nor routes that are added later.

    Args:
        app: the application.
        sources: whether to look up where endpoints were written. Of classes, that takes a while.

    Raises:
        ConfigurationError: no routes can be seen, a decorator stands where it guards nothing, or statements contradict
            each other.
    """
    router = find_router(app)
    if router is None:
        raise ConfigurationError(
            "no routes can be seen here; pass a Starlette or FastAPI application, or a middleware around one"
        )
    fronts = behind(BARE, layers_of(app), "")
    place = _Place(fronts=fronts, application=application_of(app), looks_up_sources=sources)
    return RouteTable(tuple(_rows(_Seen.of(router, fronts), place)))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The routes below one router, and the guards of pages that are served where none matches."""

    router: Router
    nodes: tuple[Node, ...]
    guards: Mapping[int, Guard | None]

    @classmethod
    def of(cls, router: Router, fronts: Fronts) -> _Seen:
        is_mapped = fronts[-1].middleware is not None  # else nobody asks for what routers require
        route_map = RouteMap.of(router, arms=False, asks_routers=is_mapped)
        return cls(router, route_map.nodes, {id(page.route): page.guard for page in route_map.pages})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in an application the walk is.

    Attributes:
        fronts: what stands in front.
        inherited: how many of those stood in front of the mount around, too.
        application: the innermost application.
        shown: the path as it is shown, hosts included.
        path: as a request would write it: what `public_paths` are compared with.
        within: how much of a node's path leads here.
        application_at: how much of `shown` leads to the application.
        walked: the routers around.
        looks_up_sources: whether rows say where their endpoints were written.
    """

    fronts: Fronts
    inherited: int = 0
    application: Starlette | None = None
    shown: str = ""
    path: str = ""
    within: int = 0
    application_at: int = 0
    walked: tuple[Router, ...] = ()
    looks_up_sources: bool = True

    def shown_at(self, node: Node) -> str:
        """Return the path of a node as it is shown; a host stands before the paths of mounts around it."""
        own = node.path[self.within :]
        return own + self.shown if isinstance(node.route, Host) else self.shown + own

    def path_at(self, node: Node) -> str:
        """Return the path of a node as a request would write it; a host is no part of it."""
        return self.path if isinstance(node.route, Host) else self.path + as_requested(node.path[self.within :])

    def inside(self, node: Node, fronts: Fronts, *, within: int) -> _Place:
        """Return the place inside a mount."""
        shown, path = self.shown_at(node).rstrip("/"), self.path_at(node).rstrip("/")
        application = application_of(node.route)
        moved = len(node.path) - self.within if isinstance(node.route, Host) else 0
        return replace(
            self,
            fronts=fronts,
            inherited=len(self.fronts),
            application=application or self.application,
            shown=shown,
            path=path,
            within=within,
            application_at=self.application_at + moved if application is None else len(shown),
        )


def _rows(seen: _Seen, place: _Place) -> Iterator[RouteEntry]:
    """Yield the rows of everything below a router."""
    place = replace(place, walked=(*place.walked, seen.router))
    rows = [row for node in seen.nodes for row in _rows_of_node(node, seen, place)]
    rows += [*_rows_of_frontends(seen, place), *_rows_of_default(seen, place)]
    yield from rows
    yield from _rows_of_middlewares(place, place.inherited, rows)


def _rows_of_node(node: Node, seen: _Seen, place: _Place) -> Iterator[RouteEntry]:
    place = replace(place, fronts=within(place.fronts, node.required))
    if node.children is not None and node.router is not None:
        fronts = behind(place.fronts, layers_of(node.route.app), place.path_at(node))
        if place.fronts[-1].middleware is None and fronts[-1].middleware is not None:  # from here on somebody looks
            yield from _rows(_Seen.of(node.router, fronts), place.inside(node, fronts, within=0))
            return
        children = replace(seen, router=node.router, nodes=node.children)
        yield from _rows(children, place.inside(node, fronts, within=len(node.path)))
        return
    hidden = _seen_by_its_middleware(node, place)
    if hidden is not None:
        yield from _rows(*hidden)
        return
    for methods, access, endpoint in parts_of(node):
        yield from _rows_of_part(node, place, methods, access, endpoint)


def _seen_by_its_middleware(node: Node, place: _Place) -> tuple[_Seen, _Place] | None:
    """Return the routes of something opaque that a middleware of ours stands around, which looks further than others.

    None: there are none, or whatever stands in front of all that lets nobody in.
    """
    layers = list(layers_on(node.route))
    own = [layer for layer in layers if isinstance(layer, AuthzMiddleware)]
    router = find_router(own[-1].app) if own else None
    if router is None or any(router is walked for walked in place.walked) or kind_of(node.route) != "application":
        return None
    fronts = place.fronts
    if not is_bare(fronts):
        stated = None if node.guard is None else node.guard.stated.access
        if rule(fronts, stated, place.path_at(node) + PROBE).admits is None:
            return None
        fronts = (*fronts[:-1], replace(fronts[-1], around=add_up(fronts[-1].around, stated)))
    fronts = behind(fronts, layers, place.path_at(node).rstrip("/"))
    return _Seen.of(router, fronts), place.inside(node, fronts, within=0)


def _rows_of_part(
    node: Node, place: _Place, methods: tuple[str, ...], own: Access | None, endpoint: object
) -> Iterator[RouteEntry]:
    """Yield the row of methods of a route that state the same, and of what a middleware on the route opens beside."""
    kind, shown = kind_of(node.route), place.shown_at(node)
    path, at = place.path_at(node), place.path
    if kind == "application":
        path, at = f"{path.rstrip('/')}/{PROBE}", path.rstrip("/")
    is_first = is_bare(place.fronts)
    ruling = rule(place.fronts, own, path)
    on_route = fronts_on(node, own, at=at, is_first=is_first)
    if on_route is not None:
        inner = rule(*on_route, path)
        ruling = inner if is_first else ruling.and_then(inner)
    if needs_token(node) and ruling.protection is Protection.ENFORCED and isinstance(ruling.admits, Public):
        ruling = ruling.limited_to(AUTHENTICATED)
    elsewhere = stated_elsewhere(node.route) if is_first else None
    if elsewhere is not None:
        ruling = Ruling(elsewhere, elsewhere, Protection.ENFORCED)
    row = _entry(place, ruling, endpoint, kind=kind, methods=methods, path=shown, route=node.route)
    yield row
    if on_route is not None and is_first and kind == "application":
        around = replace(place, fronts=on_route[0], shown=shown.rstrip("/"), path=at)
        yield from _rows_of_middlewares(around, 1, [row])


def _entry(place: _Place, ruling: Ruling, endpoint: object = None, *, path: str, **fields: Any) -> RouteEntry:
    """Return a row. `endpoint` is what a source line can be told of; None: nothing."""
    middleware = place.fronts[-1].middleware
    return RouteEntry(
        path=path,
        access=ruling.access,
        admits=ruling.admits,
        protection=ruling.protection,
        is_public_path=ruling.is_public_path,
        source=source_of(endpoint) if place.looks_up_sources and endpoint is not None else None,
        undecorated=None if middleware is None else middleware.undecorated,
        application=place.application,
        local_path=path[place.application_at :],
        **fields,
    )


# --- what is served where no route matches ----------------------------------------------------------------------------


def _rows_of_default(seen: _Seen, place: _Place) -> Iterator[RouteEntry]:
    """Yield a row for a router's default of the application's own."""
    guard = seen.guards.get(id(seen.router))
    if guard is not None:
        ruling = rule(place.fronts, guard.stated.access, f"{place.path}/{PROBE}")
        path = f"{place.shown}/"
        yield _entry(place, ruling, seen.router.default, kind="page", methods=(), path=path, route=seen.router)


def _rows_of_frontends(seen: _Seen, place: _Place) -> Iterator[RouteEntry]:
    """Yield a row for each of FastAPI's frontends, wherever it is included. Dependencies are asked for later."""
    for prefix, calls, router in (("", (), seen.router), *inclusions_of(seen.router)):
        needed = None
        for call in calls:
            needed = add_up(needed, call.access) if isinstance(call, Requirement) else needed
        for page in pages_of(router):
            guard = seen.guards.get(id(page))
            own = None if guard is None else guard.stated.access
            own = add_up(needed, own) if is_bare(place.fronts) else own
            for frontend in page.routes:
                path = (prefix + frontend.path).rstrip("/")
                ruling = rule(place.fronts, own, f"{place.path}{path}/{PROBE}").limited_to(needed)
                methods = tuple(sorted(frontend.methods))
                path = place.shown + path or "/"
                yield _entry(place, ruling, kind="page", methods=methods, path=path, route=frontend)


def _rows_of_middlewares(place: _Place, inherited: int, rows: Sequence[RouteEntry]) -> Iterator[RouteEntry]:
    """Yield the rows of what middlewares at a place open and serve beside its rows; the outer ones are `inherited`."""
    yield from _rows_of_public_paths(place, place.fronts[inherited:], rows)
    for number, front in enumerate(place.fronts[inherited:], inherited + 1):
        path = None if front.middleware is None else front.middleware.metadata_path(place.path)
        ruling = None if path is None else rule_own(place.fronts[:number], place.path + path)
        if path is not None and ruling is not None and ruling.admits is not None:
            shown = place.shown + path
            yield _entry(place, ruling, kind="path", methods=METADATA_METHODS, path=shown, route=front.middleware)


def _rows_of_public_paths(place: _Place, fronts: Fronts, rows: Sequence[RouteEntry]) -> Iterator[RouteEntry]:
    """Yield a row for each path that these open although no row shows it: a middleware may answer there."""
    paths = [path for front in fronts if front.middleware is not None for path in front.middleware.public_paths]
    for path in dict.fromkeys(paths):
        whole = place.shown + path
        is_shown = any(_shows(row, _after_host(whole)) for row in rows)
        ruling = rule(place.fronts, None, place.path + path.replace("*", PROBE))
        if not is_shown and ruling.protection is Protection.ENFORCED and isinstance(ruling.admits, Public):
            yield _entry(place, ruling, kind="path", methods=(), path=whole, route=None)


def _shows(row: RouteEntry, public_path: str) -> bool:
    """Tell whether a row says who gets in at a public path.

    At a tree, that is a row of this tree, or of a wider one if it says so for all that is below. A row further in shows
    no more than itself.
    """
    shown = _after_host(row.shown_path)
    if not public_path.endswith("/*"):
        return shown == public_path
    is_wider = row.access is not None and public_path.startswith(shown[:-1])
    return row.serves_tree and (shown == public_path or is_wider)


def _after_host(path: str) -> str:
    return path[path.find("/") :]  # a host is no part of what is compared with `public_paths`
