"""The routes of an application: find them, put the decision in front of each, find what an anonymous caller may reach.

Mapping walks Starlette's and FastAPI's routers once, through mounts, hosts and included routers. Arming decides
*when*, never *whether*: what the walk cannot see is refused elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.routing import BaseRoute, Host, Match, Mount, Router
from starlette.types import ASGIApp, Scope

from .decorators import Guard, Stated, combine, decorated_too_late, stated_access
from .errors import ConfigurationError
from .policy import Access, Policy

__all__ = ["FASTAPI_DOCS", "Found", "RouteMap", "find_router", "guard_whole"]

MAX_WRAPPERS = 64
FASTAPI_DOCS = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
"""FastAPI's own pages: `public_paths=FASTAPI_DOCS` opens them to anybody."""
FRAMEWORKS = ("starlette.routing", "fastapi.routing")
HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")


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
    _watched: list[tuple[Router, int, int]] = field(default_factory=list)
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
            len(router.routes) == length and _version_of(router) == version for router, length, version in self._watched
        )

    def find(self, scope: Scope) -> Found | None:
        """Return what an anonymous request would reach, by the routers' own `matches`.

        No match, a partial match (405), a redirect or an application of another kind reach nothing.
        """
        try:
            return _find(self._nodes, dict(scope), None)
        except Exception:  # noqa: BLE001 - a convertor may fail on what a client wrote; that is nothing public
            return Found(None)

    def _walk(self, router: Router, prefix: str, *, covered: bool, faults: list[str]) -> Iterator[_Node]:
        self._watch(router)
        self._walking.append(router)
        if router.default != router.not_found and not isinstance(router.default, Guard):
            router.default = Guard(router.default, Stated(stated_access(router.default)))
        for route in _flatten(router.routes):
            yield self._visit(route, prefix, covered=covered, faults=faults)
        self._walking.pop()

    def _watch(self, router: Router) -> None:
        """Remember how a router and those included in it look now."""
        self._watched.append((router, len(router.routes), _version_of(router)))
        for page in _pages_of(router):
            _arm(page)
        for route in router.routes:
            included = getattr(route, "original_router", None)
            if isinstance(included, Router):
                self._watch(included)

    def _visit(self, route: Any, prefix: str, *, covered: bool, faults: list[str]) -> _Node:
        path = prefix + _path_of(route)
        if isinstance(route, Mount | Host):
            inner = find_router(route.app)
            # An application mounted in itself, or an object that only knows its parent as `app`, is guarded whole.
            if inner is not None and not any(inner is walked for walked in self._walking):
                outer_guard = route.app if isinstance(route.app, Guard) else None
                covers = covered or (outer_guard is not None and outer_guard.stated.access is not None)
                children = tuple(self._walk(inner, path, covered=covers, faults=faults))
                return _Node(route, outer_guard, children)
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


def find_router(app: object) -> Router | None:
    """Return the router an application leads to, through middlewares that keep it as `app`; None if there is none."""
    for _ in range(MAX_WRAPPERS):
        if isinstance(app, Starlette):
            return app.router
        if isinstance(app, Router):
            return app
        owner = getattr(app, "__self__", None)
        if isinstance(owner, Router) and app == owner.app:  # what `Router(middleware=…)` wraps is its own method
            return owner
        app = getattr(app, "app", None)
        if app is None:
            return None
    return None


# --- walking ----------------------------------------------------------------------------------------------------------


def _flatten(routes: Iterable[BaseRoute]) -> Iterator[Any]:
    """Yield every route that is matched and served, FastAPI's included routers taken apart.

    In FastAPI an included route exists once per inclusion, in a context whose own `app` is the one that is served.
    That context is reachable by a private name only; this function is the one place that knows it.
    """
    iter_contexts = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", None)
    if iter_contexts is None:
        yield from routes
        return
    for context in iter_contexts(routes):
        effective = getattr(context, "_route_context", None)
        yield context.route if effective is None else effective.starlette_route or effective


def _pages_of(router: Router) -> Iterable[Any]:
    """Return FastAPI's frontend pages, which are served where no route matches and stand among no routes.

    Known by a private name, like the contexts above; where that changes, the gate in `middleware.py` still holds.
    """
    pages: Iterable[Any] = getattr(router, "_low_priority_routes", ())
    return pages


def _version_of(router: Router) -> int:
    """Return FastAPI's counter of changes: with it an included router's contexts are made anew, and bare."""
    version: int = getattr(router, "_routes_version", 0)
    return version


def _arm(route: Any) -> Guard:
    """Put the decision in front of a route's application, once. Routes of unknown classes are guarded whole.

    A class with a `handle` of its own is unknown too: what it does before it calls its application would run undecided.
    """
    served_by = getattr(route, "original_route", route)
    if type(served_by).handle.__module__ not in FRAMEWORKS or not callable(getattr(route, "app", None)):
        target, attribute = served_by, "handle"
    else:
        target, attribute = route, "app"
    served = getattr(target, attribute)
    if isinstance(served, Guard):
        return served
    endpoint = route.app if isinstance(route, Mount | Host) else getattr(route, "endpoint", None)
    guard = guard_whole(cast("ASGIApp", served), endpoint)
    setattr(target, attribute, guard)
    return guard


def guard_whole(app: ASGIApp, endpoint: object) -> Guard:
    """Return an application behind what its endpoint states."""
    stated, by_method = _statements(endpoint)
    return Guard(app, stated, by_method, answers_405=bool(by_method) and _is_plain(endpoint))


def _is_plain(endpoint: Any) -> bool:
    """Tell whether a class-based endpoint answers 405, with no code of the application's, to methods it lacks."""
    names = ("__init__", "__getattribute__", "method_not_allowed")
    is_theirs = all(getattr(endpoint, name) is getattr(HTTPEndpoint, name) for name in names)
    return is_theirs and not hasattr(endpoint, "__getattr__")


def _statements(endpoint: object) -> tuple[Stated, dict[str, Stated]]:
    """Return what an endpoint states, and what a class-based one states method by method."""
    access = stated_access(endpoint)
    whole = Stated(access, () if access is None else (access,))
    if not isinstance(endpoint, type):
        return whole, {}
    if issubclass(endpoint, WebSocketEndpoint):
        return _combined(endpoint, access, (getattr(endpoint, name) for name in dir(endpoint))), {}
    if not issubclass(endpoint, HTTPEndpoint) or not _dispatches_by_method(endpoint):
        return whole, {}
    by_method = {}
    for method in HTTP_METHODS:
        handler = _handler(endpoint, method)
        if handler is not None:
            by_method[method] = _combined(endpoint, access, [handler])
    return whole, by_method


def _dispatches_by_method(endpoint: type[HTTPEndpoint]) -> bool:
    is_ours = endpoint.__await__.__module__ in {HTTPEndpoint.__module__, Guard.__module__}
    return is_ours and endpoint.dispatch is HTTPEndpoint.dispatch


def _combined(endpoint: type, access: Access | None, handlers: Iterable[object]) -> Stated:
    """Return what a class and some of its methods state together.

    A WebSocket is decided once, at its handshake: so what any of its methods states must hold there.
    """
    pieces = () if access is None else (access,)
    for handler in handlers:
        stated = stated_access(handler)
        if stated is not None:
            access = combine(stated, access, endpoint.__name__)
            pieces = (*pieces, stated)
    return Stated(access, pieces)


def _handler(endpoint: type[HTTPEndpoint], method: str) -> object:
    handler = getattr(endpoint, method.lower(), None)
    return getattr(endpoint, "get", None) if handler is None and method == "HEAD" else handler


def _path_of(route: Any) -> str:
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else getattr(route, "host", f"<{type(route).__name__}>")


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
        # What stands around a route is decided first; a route that says nothing is covered by it.
        access = around if isinstance(around, Policy) or stated.access is None else stated.access
        return Found(access) if node.children is None else _find(node.children, {**scope, **child_scope}, access)
    return None
