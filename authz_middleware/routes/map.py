"""The routes of an application: find them, put the decision in front of each, find what an anonymous caller may reach.

Mapping walks Starlette's and FastAPI's routers once, through mounts, hosts and included routers. Arming decides
*when*, never *whether*: what the walk cannot see is refused elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import is_
from typing import Any, cast

from starlette.routing import BaseRoute, Host, Match, Mount, Router
from starlette.types import ASGIApp, Scope

from ..decorators import decorated_too_late, stated_access
from ..errors import ConfigurationError
from ..guard import Guard, Stated
from ..policy import Access, Policy, Public
from .frameworks import flatten, is_served_as_known, mounted, mounted_base, pages_of, path_of, version_of
from .statements import guard_whole

__all__ = ["FASTAPI_DOCS", "Found", "RouteMap"]

FASTAPI_DOCS = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
"""FastAPI's own pages: `public_paths=FASTAPI_DOCS` opens them to anybody."""


@dataclass(frozen=True, slots=True)
class Found:
    """The route an anonymous request would reach: what is stated for it, mounts around it included."""

    access: Access | None


@dataclass(frozen=True, slots=True)
class _Node:
    """One route, mount or host. `children` is None for a route; `guard` decides in front of it, if anything does."""

    route: Any
    guard: Guard | None
    children: tuple[_Node, ...] | None = None


@dataclass(slots=True)
class RouteMap:
    """All routes below one router, armed. Built again when a route list has changed.

    `unguarded` lists path and methods of routes that state nothing and that no mount around them covers.
    """

    router: Router
    unguarded: list[tuple[str, str]] = field(default_factory=list)
    _nodes: tuple[_Node, ...] = ()
    _watched: list[tuple[Router, tuple[BaseRoute, ...], int]] = field(default_factory=list)
    _watched_apps: list[tuple[Any, str, object]] = field(default_factory=list)
    _walking: list[Router] = field(default_factory=list)

    @classmethod
    def of(cls, router: Router) -> RouteMap:
        """Walk the router and arm every route.

        Raises:
            ConfigurationError: a decorator stands where it guards nothing; every such place is listed.
        """
        route_map = cls(router)
        faults: list[str] = []
        route_map._nodes = tuple(route_map._walk(router, "", covered=False, faults=faults))
        if faults:
            raise ConfigurationError(*faults)
        return route_map

    def is_current(self) -> bool:
        """Tell whether no route has been added or removed since."""
        return all(
            version == version_of(router) and len(routes) == len(router.routes) and all(map(is_, routes, router.routes))
            for router, routes, version in self._watched
        ) and all(getattr(owner, name) is app for owner, name, app in self._watched_apps)

    def find(self, scope: Scope) -> Found | None:
        """Return what an anonymous request would reach, by the routers' own `matches`.

        No match, a partial match (405), a redirect or an application of another kind reach nothing.
        """
        try:
            return _find(self._nodes, dict(scope), None)
        except Exception:  # noqa: BLE001 - a convertor may fail on what a client wrote; that is nothing public
            return Found(None)

    def _walk(self, router: Router, prefix: str, *, covered: bool, faults: list[str]) -> Iterator[_Node]:
        self._walking.append(router)
        if router.default != router.not_found and not isinstance(router.default, Guard):
            router.default = Guard(router.default, Stated(stated_access(router.default)))
        self._watch(router)  # as it looks now that its default is armed
        for route in flatten(router.routes):
            yield self._visit(route, prefix, covered=covered, faults=faults)
        self._walking.pop()

    def _watch(self, router: Router) -> None:
        """Remember how a router and those included in it look now."""
        self._watched.append((router, tuple(router.routes), version_of(router)))
        self._watched_apps.append((router, "default", router.default))
        for page in pages_of(router):
            _arm(page)
        for route in router.routes:
            included = getattr(route, "original_router", None)
            if isinstance(included, Router):
                self._watch(included)

    def _visit(self, route: Any, prefix: str, *, covered: bool, faults: list[str]) -> _Node:
        path = prefix + path_of(route)
        if isinstance(route, Mount | Host) and is_served_as_known(route):
            inner, around = mounted(route)
            # An application mounted in itself, or an object that only knows its parent as `app`, is guarded whole.
            if inner is not None and not any(inner is walked for walked in self._walking):
                covers = covered or (around is not None and around.stated.access is not None)
                children = tuple(self._walk(inner, path, covered=covers, faults=faults))
                self._watched_apps.append((route, "app", route.app))
                return _Node(route, around, children)
        guard = _arm(route)
        late = decorated_too_late(getattr(route, "endpoint", None))
        if late is not None:
            faults.append(
                f"{path}: @{late} stands above the route decorator, or guards a copy that this route does not serve; "
                "write it below the route decorator, next to the function"
            )
        if isinstance(route, Mount):
            path += "/"  # what is mounted serves a tree
        if not covered:
            self.unguarded += [(path, methods) for methods in _unguarded_methods(guard, route)]
        return _Node(route, guard)


# --- walking ----------------------------------------------------------------------------------------------------------


def _arm(route: Any) -> Guard:
    """Put the decision in front of a route's application, once. Routes of unknown classes are guarded whole.

    A class with a `handle` of its own is unknown too: what it does before it calls its application would run undecided.
    """
    served_by = getattr(route, "original_route", route)
    is_known = is_served_as_known(served_by) and callable(getattr(route, "app", None))
    target, attribute = (route, "app") if is_known else (served_by, "handle")
    served = getattr(target, attribute)
    if isinstance(served, Guard):
        return served
    endpoint = getattr(route, "endpoint", None)
    if isinstance(route, Mount | Host):
        endpoint = mounted(route)[1] or mounted_base(route)
    guard = guard_whole(cast("ASGIApp", served), endpoint)
    setattr(target, attribute, guard)
    return guard


def _unguarded_methods(guard: Guard, route: Any) -> list[str]:
    if guard.by_method:
        bare = [name for name, stated in guard.by_method.items() if stated.access is None]
        return [" ".join(bare)] if bare else []
    return [" ".join(sorted(getattr(route, "methods", None) or ()))] if guard.stated.access is None else []


# --- finding ----------------------------------------------------------------------------------------------------------


def _find(nodes: tuple[_Node, ...], scope: dict[str, Any], around: Access | None) -> Found | None:
    """Return the first full match. `around` is what mounts around these nodes state."""
    for node in nodes:
        match, child_scope = node.route.matches(scope)
        if match is not Match.FULL:
            continue
        stated = Stated(None) if node.guard is None else node.guard.stated_for(scope)
        if stated is None:
            return None
        if _leaves_options_alone(node.guard, stated, scope):
            return None
        # What stands around a route is decided first; a route that says nothing is covered by it.
        access = around if isinstance(around, Policy) or stated.access is None else stated.access
        if node.children is None:
            return Found(access)
        inner = _find(node.children, {**scope, **child_scope}, access)
        return Found(access) if inner is None and isinstance(access, Public) else inner
    return None


def _leaves_options_alone(guard: Guard | None, stated: Stated, scope: dict[str, Any]) -> bool:
    """Tell whether a class-based endpoint, guarded as a whole, has no method for OPTIONS: then a preflight may pass."""
    if guard is None or not guard.by_method or isinstance(stated.access, Public):
        return False
    return scope.get("method") == "OPTIONS" and "OPTIONS" not in guard.by_method
