"""The routes of an application: find them, put the decision in front of each, find what an anonymous caller may reach.

Mapping walks Starlette's and FastAPI's routers once, through mounts, hosts and included routers. Arming decides
*when*, never *whether*: what the walk cannot see is refused elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import is_
from typing import Any, cast

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Scope

from .decorators import combine, decorated_too_late, guarded_await, stated_access
from .errors import ConfigurationError
from .guard import Guard, Stated
from .policy import Access, Policy, Public

__all__ = ["FASTAPI_DOCS", "Found", "RouteMap", "find_router", "guard_whole"]

MAX_WRAPPERS = 64
FRAMEWORKS = ("starlette.", "fastapi.", __name__.partition(".")[0] + ".")
"""Modules whose middleware serves nothing of its own before what stands behind it."""
FASTAPI_DOCS = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
"""FastAPI's own pages: `public_paths=FASTAPI_DOCS` opens them to anybody."""
WEBSOCKET_METHODS = ("on_connect", "on_receive", "on_disconnect", "decode", "dispatch")
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
            version == _version_of(router)
            and len(routes) == len(router.routes)
            and all(map(is_, routes, router.routes))
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
        for route in _flatten(router.routes):
            yield self._visit(route, prefix, covered=covered, faults=faults)
        self._walking.pop()

    def _watch(self, router: Router) -> None:
        """Remember how a router and those included in it look now."""
        self._watched.append((router, tuple(router.routes), _version_of(router)))
        self._watched_apps.append((router, "default", router.default))
        for page in _pages_of(router):
            _arm(page)
        for route in router.routes:
            included = getattr(route, "original_router", None)
            if isinstance(included, Router):
                self._watch(included)

    def _visit(self, route: Any, prefix: str, *, covered: bool, faults: list[str]) -> _Node:
        path = prefix + _path_of(route)
        if isinstance(route, Mount | Host) and _is_served_as_known(route):
            inner, around = _mounted(route)
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


def find_router(app: object) -> Router | None:
    """Return the router a middleware leads to, through others that keep what is behind them as `app`; None: nowhere."""
    for _ in range(MAX_WRAPPERS):
        router = _router_of(app)
        if router is not None or isinstance(app, type):
            return router
        app = getattr(app, "app", None)
    return None


def _mounted(route: Mount | Host) -> tuple[Router | None, Guard | None]:
    """Return the mounted router and the guard around it, where only a framework's middleware or ours stands before.

    An object of the application's own may serve whatever it likes and keep any other application as `app`; so does
    a `BaseHTTPMiddleware` that was given a function.
    """
    guard: Guard | None = route.app if isinstance(route.app, Guard) else None
    app: object = _base_of(route)
    for _ in range(MAX_WRAPPERS):
        guard = app if guard is None and isinstance(app, Guard) else guard
        router = _router_of(app)
        is_theirs = type(app).__module__.startswith(FRAMEWORKS) and not isinstance(app, BaseHTTPMiddleware)
        if router is not None or not is_theirs:
            return router, guard
        app = getattr(app, "app", None)
    return None, guard


def _base_of(route: Mount | Host) -> object:
    """Return what was mounted, without what `Mount(middleware=…)` put around it."""
    base: object = getattr(route, "_base_app", route.app)
    app: object = route.app
    for _ in range(MAX_WRAPPERS):
        if app is base:
            return base
        app = getattr(app, "app", None)
    return route.app  # something else was put in its place since


def _router_of(app: object) -> Router | None:
    if isinstance(app, Starlette):
        return app.router
    if isinstance(app, Router):
        return app
    owner = getattr(app, "__self__", None)  # what `Router(middleware=…)` wraps is its own method
    return owner if isinstance(owner, Router) and app == owner.app else None


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

    Known by a private name, like the contexts above; where that changes, the gate in `gate.py` still holds.
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
    is_known = _is_served_as_known(served_by) and callable(getattr(route, "app", None))
    target, attribute = (route, "app") if is_known else (served_by, "handle")
    served = getattr(target, attribute)
    if isinstance(served, Guard):
        return served
    endpoint = getattr(route, "endpoint", None)
    if isinstance(route, Mount | Host):
        endpoint = _mounted(route)[1] or _base_of(route)
    guard = guard_whole(cast("ASGIApp", served), endpoint)
    setattr(target, attribute, guard)
    return guard


def _is_served_as_known(route: Any) -> bool:
    """Tell whether a route is served in a framework's own way: by its `app`, nothing of the application's before."""
    fastapi_route = getattr(sys.modules.get("fastapi.routing"), "APIRoute", Route)
    handles = {kind.handle for kind in (Route, WebSocketRoute, Mount, Host, fastapi_route)}
    return getattr(route.handle, "__func__", None) in handles


def guard_whole(app: ASGIApp, endpoint: object) -> Guard:
    """Return an application behind what its endpoint states."""
    return Guard(app, *_statements(endpoint))


def _statements(endpoint: object) -> tuple[Stated, dict[str, Stated]]:
    """Return what an endpoint states, and what a class-based one states method by method."""
    access = stated_access(endpoint)
    whole = Stated(access, () if access is None else (access,))
    if not isinstance(endpoint, type):
        return whole, {}
    if issubclass(endpoint, WebSocketEndpoint):
        return _websocket_statements(endpoint, access), {}
    if not issubclass(endpoint, HTTPEndpoint) or not _dispatches_by_method(endpoint):
        return whole, {}
    by_method = {}
    for method in HTTP_METHODS:
        handler = _handler(endpoint, method)
        if handler is not None:
            by_method[method] = _combined(endpoint, access, [handler])
    return whole, by_method


def _dispatches_by_method(endpoint: type[HTTPEndpoint]) -> bool:
    is_theirs = endpoint.__await__ in (HTTPEndpoint.__await__, guarded_await)
    return is_theirs and endpoint.dispatch is HTTPEndpoint.dispatch


def _websocket_statements(endpoint: type[WebSocketEndpoint], access: Access | None) -> Stated:
    """Return what must hold at the handshake of a WebSocket: what its class and any of its methods states.

    It is decided once, there. So `@public` opens it on the class or on `on_connect` only, not on a later method.
    """
    handlers = [getattr(endpoint, name) for name in WEBSOCKET_METHODS]
    later = [handler for handler in handlers[1:] if not isinstance(stated_access(handler), Public)]
    return _combined(endpoint, access, [handlers[0], *later])


def _combined(endpoint: type, access: Access | None, handlers: Iterable[object]) -> Stated:
    """Return what a class and some of its methods state together."""
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
