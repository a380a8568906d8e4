"""The routes of an application: find them, put the decision in front of each, find what a request would reach.

Mapping walks Starlette's and FastAPI's routers once, through mounts, hosts and included routers. Arming decides
*when*, never *whether*: what the walk cannot see is refused elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import is_
from typing import Any

from starlette.routing import BaseRoute, Host, Mount, Router
from starlette.types import Scope

from ..decorators import combine, decorated_too_late
from ..errors import ConfigurationError
from ..guard import Guard, HandleGuard, RouterGuard
from ..policy import Access, Policy, Public
from ..policy.decision import suggest
from .current import keep_current
from .dependencies import dependency_faults
from .frameworks import (
    around_of,
    flatten,
    included_in,
    inclusion_of,
    is_served_as_known,
    mounted,
    mounted_base,
    pages_of,
    path_of,
    version_of,
)
from .nodes import Found, Node, find
from .statements import add_up, guard_default, guard_route, required_by

__all__ = ["FASTAPI_DOCS", "Destination", "Found", "Node", "RouteMap"]

FASTAPI_DOCS = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
"""FastAPI's own pages: `public_paths=FASTAPI_DOCS` opens them to anybody."""


GUARD = "__authz_guard__"
"""The attribute of a route, or of an inclusion of it, that keeps its guard where that stands before `handle`."""


class Destination:
    """Where a request leads by a route map, before any router has seen it. Looked up once, when somebody asks.

    `lets_undecorated_in`: whether a route that states nothing is open all the same.
    """

    def __init__(self, route_map: RouteMap | None, scope: Scope, *, lets_undecorated_in: bool = False) -> None:
        self._route_map = route_map
        self._lets_undecorated_in = lets_undecorated_in
        self._scope = dict(scope)  # routers will write into the original

    @cached_property
    def found(self) -> Found | None:
        """What the request reaches, or None."""
        return None if self._route_map is None else self._route_map.find(self._scope)

    @property
    def path(self) -> str | None:
        """The template of the route, such as `/orders/{id}`."""
        return None if self.found is None else self.found.path

    @property
    def access(self) -> Access | None:
        """What is stated there."""
        return None if self.found is None else self.found.access

    @property
    def is_public(self) -> bool:
        """Whether anybody may go there."""
        return isinstance(self.access, Public)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What a client should request to get there."""
        asked = self.access
        if asked is None and self.found is not None and self._lets_undecorated_in:
            asked = self.found.required
        return suggest(asked)[1] if isinstance(asked, Policy) else ()


@dataclass(slots=True)
class RouteMap:
    """All routes below one router, armed. Built again when a route list has changed.

    `around` is what is stated between a middleware and the router. `pages` are served where no route matches:
    FastAPI's frontend pages, and a router's default of the application's own.
    """

    router: Router
    arms: bool = True
    around: Access | None = None
    asks_routers: bool = True
    nodes: tuple[Node, ...] = ()
    pages: list[Node] = field(default_factory=list)
    _faults: list[str] = field(default_factory=list)
    _watched: list[tuple[Router, tuple[BaseRoute, ...], int]] = field(default_factory=list)
    _watched_apps: list[tuple[Any, str, object]] = field(default_factory=list)
    _walking: list[Router] = field(default_factory=list)

    @classmethod
    def of(
        cls, router: Router, *, arms: bool = True, around: Access | None = None, asks_routers: bool = True
    ) -> RouteMap:
        """Walk the router and arm every route; with `arms=False` only look.

        `asks_routers`: whether what FastAPI routers require counts where FastAPI does not ask for it.

        Raises:
            ConfigurationError: a decorator stands where it guards nothing, or statements contradict each other; every
                such place is listed.
        """
        route_map = cls(router, arms, around, asks_routers)
        route_map.nodes = tuple(route_map._walk(router, "", around))
        if route_map._faults:
            raise ConfigurationError(*route_map._faults)
        return route_map

    def is_current(self) -> bool:
        """Tell whether no route has been added or removed since."""
        return all(
            version == version_of(router) and len(routes) == len(router.routes) and all(map(is_, routes, router.routes))
            for router, routes, version in self._watched
        ) and all(getattr(owner, name) is app for owner, name, app in self._watched_apps)

    def has_new_routes(self) -> bool:
        """Tell, at less cost, whether routes have been added or removed since, or FastAPI has made them anew."""
        return any(
            version != version_of(router) or len(routes) != len(router.routes)
            for router, routes, version in self._watched
        )

    def find(self, scope: Scope) -> Found | None:
        """Return what a request would reach, by the routers' own `matches`.

        No match, a partial match (405), a redirect or an application of another kind reach nothing.
        """
        try:
            found = find(self.nodes, dict(scope), self.around, None)
        except Exception:  # noqa: BLE001 - a convertor may fail on what a client wrote; that is nothing public
            return Found(None)
        return Found(self.around) if found is None and isinstance(self.around, Public) else found

    def statements(self) -> Iterator[Access]:
        """Yield everything that is stated about access, by routes, mounts and pages."""
        yield from () if self.around is None else (self.around,)
        for node, _ in _descend((*self.nodes, *self.pages)):
            yield from node.all_stated

    def descend(self) -> Iterator[tuple[Node, tuple[Access, ...]]]:
        """Yield every route and mount, each with all that the mounts around it state."""
        return _descend(self.nodes, () if self.around is None else (self.around,))

    def _walk(self, router: Router, prefix: str, around: Access | None) -> Iterator[Node]:
        """Yield the nodes of a router. `around` is what is stated around it."""
        self._walking.append(router)
        if self.arms:
            keep_current(router)
        self._visit_default(router, prefix)
        self._watch(router, prefix)  # as it looks now that its default is armed
        for route, routers in flatten(router):
            try:
                required = required_by(routers) if self.asks_routers else None
                yield self._visit(route, router, prefix, around, required)
            except ConfigurationError as error:
                self._faults += [f"{prefix}{path_of(route)}: {fault}" for fault in error.faults]
        self._walking.pop()

    def _visit_default(self, router: Router, prefix: str) -> None:
        """Guard what a router serves where no route matches, unless that is its own 404."""
        if router.default == router.not_found:
            return
        guard = guard_default(router, required_by(around_of(router)) if self.asks_routers else None)
        if self.arms:
            router.default = guard
        self.pages.append(Node(router, prefix + "/", guard))

    def _watch(self, router: Router, prefix: str) -> None:
        """Remember how a router and those included in it look now."""
        self._watched.append((router, tuple(router.routes), version_of(router)))
        self._watched_apps.append((router, "default", router.default))
        for page in pages_of(router):
            self.pages.append(Node(page, prefix + "/", self._arm(page, router)))
        for route in router.routes:
            included = included_in(route)
            if included is not None:
                self._watch(included, prefix)

    def _visit(self, route: Any, router: Router, prefix: str, around: Access | None, required: Access | None) -> Node:
        """Return a route's node, armed.

        Raises:
            ConfigurationError: statements contradict each other, or add up to too much.
        """
        path = prefix + path_of(route)
        policy = required if isinstance(required, Policy) else None
        if isinstance(route, Mount | Host) and is_served_as_known(route):
            inner, guard = mounted(route)
            # An application mounted in itself, or an object that only knows its parent as `app`, is guarded whole.
            if inner is not None and not any(inner is walked for walked in self._walking):
                if required is not None and guard is not None and guard.stated.access is not None:
                    combine(required, guard.stated.access, "the mount")
                children = tuple(self._walk(inner, path, _add_up_behind(add_up(around, policy), guard)))
                self._arm_mount(route, policy)
                return Node(route, path, guard, children, inner, policy)
        if isinstance(route, Mount):
            path += "/"  # what is mounted serves a tree
        guard = self._arm(route, router, required)
        self._check(route, path)
        _add_up_behind(around, guard)
        return Node(route, path, guard, required=policy)

    def _arm_mount(self, route: Mount | Host, required: Policy | None) -> None:
        """Put what routers around require in front of a mounted application, once."""
        is_there = isinstance(route.app, RouterGuard) and route.app.required == required
        if self.arms and required is not None and not is_there:
            route.app = RouterGuard(route.app, required)
        self._watched_apps.append((route, "app", route.app))

    def _check(self, route: Any, path: str) -> None:
        late = decorated_too_late(getattr(route, "endpoint", None))
        if late is not None:
            self._faults.append(
                f"{path}: @{late} stands above the route decorator, or guards a copy that this route does not serve; "
                "write it below the route decorator, next to the function"
            )
        self._faults += [f"{path}: {fault}" for fault in dependency_faults(route)]

    def _arm(self, route: Any, router: Router, required: Access | None = None) -> Guard:
        """Put the decision in front of a route's application, once. Routes of unknown classes are guarded whole.

        A class with a `handle` of its own is unknown too: what it does before it calls its application would run
        undecided.
        """
        served_by = getattr(route, "original_route", route)
        if not is_served_as_known(served_by) or not callable(getattr(route, "app", None)):
            return self._arm_handle(route, served_by, router, required)
        if isinstance(route.app, Guard) and (required is None or route.app.required == required):
            return route.app
        guard = guard_route(route.app, _endpoint_of(route), route, router, required)
        if self.arms:
            route.app = guard
        return guard

    def _arm_handle(self, route: Any, served_by: Any, router: Router, required: Access | None) -> Guard:
        """Put the decision in front of `served_by.handle`, once: that of `route`, where a request is served as that."""
        handle = served_by.handle
        is_armed = isinstance(handle, HandleGuard) and handle.route is served_by
        guard = _guard_before_handle(route)
        if guard is None:
            served = handle.guard.app if is_armed else handle
            guard = guard_route(served, _endpoint_of(route), route, router, required)
        if self.arms:
            setattr(route, GUARD, (route, guard))
        if self.arms and not is_armed:
            by_itself = guard if route is served_by else guard_route(handle, _endpoint_of(route), served_by, router)
            choose = functools.partial(_choose_guard, served_by)
            served_by.handle = HandleGuard(served_by, by_itself, choose)
        return guard


def _add_up_behind(around: Access | None, guard: Guard | None) -> Access | None:
    """Return what stands around all that is behind a guard.

    Raises:
        ConfigurationError: that adds up to too much.
    """
    if guard is None:
        return around
    for stated in guard.by_method.values():
        add_up(around, stated.access)
    return add_up(around, guard.stated.access)


def _guard_before_handle(route: object) -> Guard | None:
    """Return the guard that was kept for this very route or inclusion: copies of a route have its attributes."""
    kept_for, guard = getattr(route, GUARD, (None, None))
    return guard if kept_for is route else None


def _choose_guard(route: object, scope: Scope) -> Guard | None:
    return _guard_before_handle(inclusion_of(scope, route))


def _endpoint_of(route: Any) -> object:
    if isinstance(route, Mount | Host):
        return mounted(route)[1] or mounted_base(route)
    return getattr(route, "endpoint", None)


def _descend(nodes: Iterable[Node], around: tuple[Access, ...] = ()) -> Iterator[tuple[Node, tuple[Access, ...]]]:
    for node in nodes:
        yield node, around
        yield from _descend(node.children or (), (*around, *node.accesses))
