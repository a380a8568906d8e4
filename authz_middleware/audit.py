"""The route table: every route of an application, and what is enforced there. Looks only; arms and changes nothing.

It is made from the very statements that are enforced, mounts, dependencies and `public_paths` counted in.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute

from .errors import ConfigurationError
from .guard import Stated
from .middleware import AuthzMiddleware
from .policy import PUBLIC, Access
from .routes import Node, RouteMap, add_up, find_router, flatten, router_of

__all__ = ["RouteEntry", "RouteTable", "installed_middlewares", "route_table"]

MAX_WRAPPERS = 64

Kind = Literal["http", "websocket", "application", "page"]
"""`application`: mounted, and not to be looked into. `page`: served where no route matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEntry:
    """One line of the table.

    Attributes:
        kind: see `Kind`.
        methods: the HTTP methods, sorted; empty: any, or none because it is a WebSocket.
        path: the whole path template as it was written, those of mounts in front.
        access: what is stated in sum; None: nothing.
        is_guarded: whether an `AuthzMiddleware` stands in front.
        undecorated: what that middleware does where nothing is stated; None: it refuses.
        source: file and line of the endpoint, as `(file, line)`; None where there is no function.
        application: the Starlette or FastAPI application the route belongs to; None where a bare router serves it.
        local_path: the path template within that application.
        route: the framework's object.
    """

    kind: Kind
    methods: tuple[str, ...]
    path: str
    access: Access | None
    is_guarded: bool
    undecorated: Access | None
    source: tuple[str, int] | None
    application: Starlette | None = field(repr=False, compare=False)
    local_path: str = field(repr=False)
    route: Any = field(repr=False, compare=False)

    @property
    def is_unguarded(self) -> bool:
        """Whether somebody should look at it: nothing is stated, or nobody enforces what is."""
        return self.access is None or not self.is_guarded


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Every route of an application, in the order in which they are matched."""

    entries: tuple[RouteEntry, ...]

    @property
    def unguarded(self) -> tuple[RouteEntry, ...]:
        """Routes that state nothing, and those no middleware stands in front of. Empty is what you want."""
        return tuple(entry for entry in self.entries if entry.is_unguarded)


def route_table(app: object) -> RouteTable:
    """Return the route table of a Starlette or FastAPI application, or of a middleware around one.

    Does not see what handlers decide themselves (`authorize`), nor what a middleware answers.

    Raises:
        ConfigurationError: no routes can be seen, or a decorator stands where it guards nothing.
    """
    router = find_router(app)
    if router is None:
        raise ConfigurationError(
            "no routes can be seen here; pass a Starlette or FastAPI application, or a middleware around one"
        )
    route_map = RouteMap.of(router, arms=False)
    place = _Place.of(_application_of(app), _middleware_of(app))
    pages = _rows_of(route_map.pages, place)
    return RouteTable((*_rows_of(route_map.nodes, place), *pages))


def installed_middlewares(app: object) -> list[AuthzMiddleware]:
    """Return every live `AuthzMiddleware` in front of an application and inside it, the outermost first.

    Builds the middleware stack of an application that has not been started, as its first request would.
    """
    found: list[AuthzMiddleware] = []
    _collect(app, found, set())
    return found


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in an application the walk is: what guards it, what mounts around it state, and from where paths count."""

    application: Starlette | None
    application_at: int
    middleware: AuthzMiddleware | None
    middleware_at: int
    around: Access | None

    @classmethod
    def of(cls, application: Starlette | None, middleware: AuthzMiddleware | None) -> _Place:
        return cls(application, 0, middleware, 0, None)

    def within(self, node: Node) -> _Place:
        """Return the place inside a mount."""
        around = self.around if node.guard is None else add_up(self.around, node.guard.stated.access)
        application = _application_of(node.route)
        middleware = None if application is None else _middleware_of(application)
        here = len(node.path)
        return _Place(
            application or self.application,
            self.application_at if application is None else here,
            middleware or self.middleware,
            self.middleware_at if middleware is None else here,
            around,
        )


def _rows_of(nodes: Iterable[Node], place: _Place) -> Iterator[RouteEntry]:
    for node in nodes:
        if node.children is not None:
            yield from _rows_of(node.children, place.within(node))
        else:
            yield from _rows_of_route(node, place)


def _rows_of_route(node: Node, place: _Place) -> Iterator[RouteEntry]:
    """Yield a route's row; for a class-based endpoint one for all methods that state the same."""
    guard = node.guard
    by_method = {} if guard is None else guard.by_method
    if by_method:
        for access, methods in _grouped(by_method):
            yield _row(node, place, access, methods)
    else:
        stated = Stated(None) if guard is None else guard.stated
        yield _row(node, place, stated.access, sorted(getattr(node.route, "methods", None) or ()))


def _grouped(by_method: Mapping[str, Stated]) -> Iterator[tuple[Access | None, list[str]]]:
    groups: dict[Access | None, list[str]] = {}
    for method, stated in by_method.items():
        groups.setdefault(stated.access, []).append(method)
    yield from groups.items()


def _row(node: Node, place: _Place, stated: Access | None, methods: Iterable[str]) -> RouteEntry:
    middleware = place.middleware
    access = add_up(place.around, stated)
    if access is None and middleware is not None and node.path[place.middleware_at :] in middleware.public_paths:
        access = PUBLIC
    return RouteEntry(
        kind=_kind_of(node.route),
        methods=tuple(methods),
        path=node.path,
        access=access,
        is_guarded=middleware is not None,
        undecorated=None if middleware is None else middleware.undecorated,
        source=_source_of(getattr(node.route, "endpoint", None)),
        application=place.application,
        local_path=node.path[place.application_at :],
        route=node.route,
    )


def _kind_of(route: Any) -> Kind:
    if isinstance(route, WebSocketRoute):
        return "websocket"
    if isinstance(route, Mount | Host):
        return "application"
    is_page = isinstance(route, Router) or (isinstance(route, BaseRoute) and not hasattr(route, "endpoint"))
    return "page" if is_page and not isinstance(route, Route) else "http"


def _source_of(endpoint: Any) -> tuple[str, int] | None:
    """Return where an endpoint was written: of a function, as it was before any decorator."""
    try:
        function = inspect.unwrap(endpoint)
        file = inspect.getsourcefile(function)
        line = (
            function.__code__.co_firstlineno if hasattr(function, "__code__") else inspect.getsourcelines(function)[1]
        )
    except (TypeError, OSError, ValueError):
        return None
    return None if file is None else (file, line)


# --- finding middlewares ----------------------------------------------------------------------------------------------


def _middleware_of(app: object) -> AuthzMiddleware | None:
    """Return the innermost middleware of ours in front of an application, as configured; builds no stack."""
    found = None
    for _ in range(MAX_WRAPPERS):
        found = app if isinstance(app, AuthzMiddleware) else found
        if isinstance(app, Starlette):
            ours = [m for m in app.user_middleware if isinstance(m.cls, type) and issubclass(m.cls, AuthzMiddleware)]
            make: Any = ours[-1].cls if ours else None
            return (
                found if make is None else cast("AuthzMiddleware", make(app.router, *ours[-1].args, **ours[-1].kwargs))
            )
        app = getattr(app, "app", None)
    return found


def _application_of(app: object) -> Starlette | None:
    """Return the application that a middleware, a mount or a guard leads to."""
    for _ in range(MAX_WRAPPERS):
        if isinstance(app, Starlette):
            return app
        app = getattr(app, "app", None)
    return None


def _collect(app: object, found: list[AuthzMiddleware], seen: set[int]) -> None:
    """Follow `app` from wrapper to wrapper, and every route of every router on the way."""
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        if isinstance(app, AuthzMiddleware):
            found.append(app)
        if isinstance(app, Starlette):
            if app.middleware_stack is None:
                app.middleware_stack = app.build_middleware_stack()
            app = app.middleware_stack
            continue
        router = router_of(app)
        if router is not None:
            for route in flatten(router.routes):
                _collect(getattr(route, "app", None), found, seen)
            app = getattr(router, "middleware_stack", None)
            continue
        app = getattr(app, "app", None)
