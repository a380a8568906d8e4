"""What is known of the insides of Starlette and FastAPI: where routers, mounted applications and routes keep things.

Everything private of theirs that this package relies on stands in this one module, each name in one function.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.types import Scope

from ..guard import Guard

__all__ = [
    "Around",
    "Dependency",
    "annotation_of",
    "around_of",
    "dependencies_of",
    "fields_of",
    "find_router",
    "flatten",
    "included_in",
    "inclusion_of",
    "inclusions_of",
    "is_served_as_known",
    "is_theirs",
    "mounted",
    "mounted_base",
    "overrides_of",
    "pages_of",
    "path_of",
    "router_of",
    "shown_methods",
    "version_of",
    "wrappers",
]

MAX_WRAPPERS = 64
FRAMEWORKS = ("starlette.", "fastapi.", __name__.partition(".")[0] + ".")
"""Modules whose middleware serves nothing of its own before what stands behind it."""


def wrappers(app: object) -> Iterator[object]:
    """Yield an application, what it keeps as `app`, what that keeps, and so on: middleware keeps what is behind it so.

    Ends, whatever it is given: an object may keep itself, or answer to every name as mocks do.
    """
    for _ in range(MAX_WRAPPERS):
        if app is None:
            return
        yield app
        app = getattr(app, "app", None)


def find_router(app: object) -> Router | None:
    """Return the router a middleware leads to, through others that keep what is behind them as `app`; None: nowhere."""
    for each in wrappers(app):
        router = router_of(each)
        if router is not None or isinstance(each, type):
            return router
    return None


def mounted(route: Mount | Host) -> tuple[Router | None, Guard | None]:
    """Return the mounted router and the guard around it, where only a framework's middleware or ours stands before.

    An object of the application's own may serve whatever it likes and keep any other application as `app`; so does
    a `BaseHTTPMiddleware` that was given a function.
    """
    guard: Guard | None = route.app if isinstance(route.app, Guard) else None
    for app in wrappers(mounted_base(route)):
        guard = app if guard is None and isinstance(app, Guard) else guard
        router = router_of(app)
        if router is not None or not is_theirs(app):
            return router, guard
    return None, guard


def is_theirs(app: object) -> bool:
    """Tell whether an application serves nothing of its own before what it keeps as `app`."""
    return type(app).__module__.startswith(FRAMEWORKS) and not isinstance(app, BaseHTTPMiddleware)


def mounted_base(route: Mount | Host) -> object:
    """Return what was mounted, without what `Mount(middleware=…)` put around it."""
    base: object = getattr(route, "_base_app", route.app)
    is_there = any(app is base for app in wrappers(route.app))
    return base if is_there else route.app  # else something was put in its place since


def router_of(app: object) -> Router | None:
    """Return the router that an object is, has, or is the method of; None: it is something else."""
    if isinstance(app, Starlette):
        return app.router
    if isinstance(app, Router):
        return app
    owner = getattr(app, "__self__", None)  # what `Router(middleware=…)` wraps is its own method
    return owner if isinstance(owner, Router) and app == owner.app else None


def flatten(router: Router) -> Iterator[tuple[Any, Around | None]]:
    """Yield every route that is matched and served, FastAPI's included routers taken apart; each with its `Around`.

    In FastAPI an included route exists once per inclusion, in a context whose own `app` is the one that is served.
    That context is reachable by a private name only; this function is the one place that knows it.
    """
    around = around_of(router)
    for route in router.routes:
        yield from _flatten(route, around)


def _flatten(route: Any, around: Around | None) -> Iterator[tuple[Any, Around | None]]:
    included = included_in(route)
    if included is None:
        route = getattr(route, "starlette_route", None) or route
        yield route, None if hasattr(route, "dependant") else around
        return
    around = _around((*route.include_context.dependencies, *_dependencies_in(included)))
    for candidate in route.effective_candidates():
        yield from _flatten(candidate, around)


def pages_of(router: Router) -> Iterable[Any]:
    """Return FastAPI's frontend pages, which are served where no route matches and stand among no routes.

    Known by a private name, like the contexts above; where that changes, the gate in `gate.py` still holds.
    """
    pages: Iterable[Any] = getattr(router, "_low_priority_routes", ())
    return pages


def included_in(route: object) -> Router | None:
    """Return the router that FastAPI's `include_router` put in as this route; None: it is another kind of route."""
    included = getattr(route, "original_router", None)
    return included if isinstance(included, Router) else None


def inclusions_of(router: Router) -> Iterator[tuple[str, tuple[Any, ...], Router]]:
    """Yield every router included in one (FastAPI's `include_router`): under what prefix, with what dependencies.

    FastAPI's own list of included frontend pages must not be asked for before they are armed: it keeps what it finds.
    """
    for route in router.routes:
        included, context = included_in(route), getattr(route, "include_context", None)
        if included is not None and context is not None:
            calls = tuple(dependency.dependency for dependency in context.dependencies)
            yield context.prefix, calls, included
            for prefix, more, deeper in inclusions_of(included):
                yield context.prefix + prefix, (*calls, *more), deeper


def inclusion_of(scope: Scope, route: object) -> object:
    """Return what a request is served by that a route's own `handle` was called for: the inclusion, or the route."""
    look_up = getattr(sys.modules.get("fastapi.routing"), "_get_scope_effective_route_context", None)
    context = None if look_up is None else look_up(scope)
    return context if getattr(context, "original_route", None) is route else route


def version_of(router: Router) -> int:
    """Return FastAPI's counter of changes: with it an included router's contexts are made anew, and bare."""
    version: int = getattr(router, "_routes_version", 0)
    return version


def is_served_as_known(route: Any) -> bool:
    """Tell whether a route is served in a framework's own way: by its `app`, nothing of the application's before."""
    fastapi_route = getattr(sys.modules.get("fastapi.routing"), "APIRoute", Route)
    handles = {kind.handle for kind in (Route, WebSocketRoute, Mount, Host, fastapi_route)}
    return getattr(route.handle, "__func__", None) in handles


def path_of(route: Any) -> str:
    """Return the path template of a route or mount, or the host of a host."""
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else getattr(route, "host", f"<{type(route).__name__}>")


def shown_methods(methods: Collection[str], *, is_websocket: bool) -> tuple[str, ...]:
    """Return methods as they are shown to people: HEAD goes without saying where there is GET."""
    if is_websocket:
        return ("WEBSOCKET",)
    return tuple(sorted(name for name in methods if name != "HEAD" or "GET" not in methods)) or ("ANY",)


# --- FastAPI's dependencies -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dependency:
    """One dependency of an operation: what is called, with which `Security(…, scopes=…)`, for which parameter of whom.

    `parameter` is None where the value goes nowhere, as in `dependencies=[…]`.
    """

    call: Any
    scopes: tuple[str, ...]
    parent: Any
    parameter: str | None


@dataclass(frozen=True, slots=True)
class Around:
    """What the routers around a route depend on, as FastAPI keeps it of an operation.

    FastAPI runs that for operations alone: not for Starlette's routes, nor for what is mounted.
    """

    dependant: Any


def _dependencies_in(router: Router) -> Sequence[Any]:
    """Return what FastAPI adds to every operation of a router of its kind."""
    their_kind = getattr(sys.modules.get("fastapi.routing"), "APIRouter", ())
    depends: Sequence[Any] = getattr(router, "dependencies", ()) if isinstance(router, their_kind) else ()
    return depends


def around_of(router: Router) -> Around | None:
    """Return what a router depends on by itself."""
    return _around(_dependencies_in(router))


def _around(depends: Sequence[Any]) -> Around | None:
    if not depends:
        return None
    make = _dependency_utils()
    needed = [make.get_parameterless_sub_dependant(depends=one, path="") for one in depends]
    return Around(make.Dependant(dependencies=needed))


def dependencies_of(route: Any, overrides: Mapping[Any, Any] | None = None) -> Iterator[Dependency]:
    """Yield every dependency of an operation, those of dependencies included; `overrides` as FastAPI applies them."""
    dependant = getattr(route, "dependant", None)
    return iter(()) if dependant is None else _walk_dependencies(dependant, overrides or {})


def _walk_dependencies(dependant: Any, overrides: Mapping[Any, Any]) -> Iterator[Dependency]:
    for needed in dependant.dependencies:
        call = overrides.get(needed.call, needed.call)
        yield Dependency(call, tuple(needed.own_oauth_scopes or ()), dependant.call, needed.name)
        if call is not needed.call:
            needed = _dependency_utils().get_dependant(path=needed.path, call=call)  # noqa: PLW2901 - walked instead
        yield from _walk_dependencies(needed, overrides)


def fields_of(route: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and annotation of every value that requests give an operation and its dependencies."""
    waiting = [dependant] if (dependant := getattr(route, "dependant", None)) is not None else []
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        for place in ("path", "query", "header", "cookie", "body"):
            for field in getattr(dependant, f"{place}_params"):
                yield field.name, field.field_info.annotation


def annotation_of(function: Any, parameter: str) -> Any:
    """Return the annotation of a parameter as FastAPI reads it, which evaluates no more than it must."""
    return _dependency_utils().get_typed_signature(function).parameters[parameter].annotation


def _dependency_utils() -> Any:
    return sys.modules["fastapi.dependencies.utils"]


def overrides_of(router: Router) -> Mapping[Any, Any]:
    """Return what an application puts in place of dependencies (FastAPI's `dependency_overrides`), now."""
    provider = getattr(router, "dependency_overrides_provider", None)
    overrides: Mapping[Any, Any] = getattr(provider, "dependency_overrides", {})
    return overrides
