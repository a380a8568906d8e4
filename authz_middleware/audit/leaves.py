"""One route or opaque application: of what kind it is, where it was written, what stands on the route itself."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from starlette.routing import PARAM_REGEX, Host, Mount, WebSocketRoute

from ..decorators import stated_access
from ..guard import Guard, Stated
from ..middleware import AuthzMiddleware
from ..place import TokenUse
from ..policy import Access
from ..routes import Node
from ..routes.frameworks import is_served_as_known, is_theirs, mounted_base, wrappers
from .entries import Kind
from .fronts import BARE, Fronts, behind

__all__ = ["PROBE", "Part", "as_requested", "fronts_on", "kind_of", "layers_on", "needs_token", "parts_of"]

PROBE = "\0"
"""Stands for what a client may write into a path. No exact path of `public_paths` is about that."""

Part = tuple[tuple[str, ...], Access | None, object]
"""Methods of a route that state the same, what they state, and what serves the first of them."""


def as_requested(template: str) -> str:
    """Return a path template with the probe in the place of every parameter."""
    return re.sub(PARAM_REGEX, PROBE, template)


def kind_of(route: Any) -> Kind:
    """Return the kind of a route; see `Kind`."""
    if isinstance(route, WebSocketRoute):
        return "websocket"
    if isinstance(route, Mount | Host):
        return "application"
    is_known = is_served_as_known(getattr(route, "original_route", route))
    return "http" if is_known or hasattr(route, "methods") else "route"


def parts_of(node: Node) -> Iterator[Part]:
    """Yield what a route states; of a class-based endpoint one part for all methods that state the same."""
    guard, route = node.guard, node.route
    whole = Stated(None) if guard is None else guard.whole
    allowed = getattr(route, "methods", None)  # empty: every method, as in FastAPI's copies of what is included
    by_method = {} if guard is None else guard.by_method
    groups = _grouped({name: stated for name, stated in by_method.items() if not allowed or name in allowed})
    for access, methods in groups.items():
        yield tuple(sorted(methods)), access, _handler(route.endpoint, methods[0])
    if not groups:
        yield tuple(sorted(allowed or ())), whole.access, _written(route)


def needs_token(node: Node) -> bool:
    """Tell whether a route calls something that takes the token as a value and cannot do without."""
    return node.guard is not None and node.guard.whole.token_use is TokenUse.REQUIRED


def layers_on(route: Any) -> Iterator[AuthzMiddleware | Guard]:
    """Yield what of ours stands on a route itself, or around something mounted; the outermost first.

    What was put there as middleware is taken for one. What was mounted, or serves a route, may keep anything as `app`.
    """
    is_mount = isinstance(route, Mount | Host)
    base = mounted_base(route) if is_mount else getattr(route, "endpoint", None)
    is_inside = False
    for app in wrappers(getattr(route, "app", None)):
        is_inside = is_inside or app is base
        if is_inside and not (is_mount and is_theirs(app)):
            return
        if isinstance(app, AuthzMiddleware | Guard):
            yield app


def fronts_on(node: Node, own: Access | None, *, at: str, is_first: bool) -> tuple[Fronts, Access | None] | None:
    """Return what stands in front on a route itself, and what that believes the route states; None: nothing does.

    A middleware there sees no routes. As the first one it is told the endpoint by the router; else it knows what it
    wraps, and no more. What stands before it then, the middleware further out has decided.
    """
    layers = list(layers_on(node.route))
    middlewares = [layer for layer in layers if isinstance(layer, AuthzMiddleware)]
    if not middlewares:
        return None
    if not is_first:
        layers = layers[layers.index(middlewares[0]) :]
    endpoint, wrapped = getattr(node.route, "endpoint", None), middlewares[-1].app
    is_told = is_first and (isinstance(endpoint, type | functools.partial) or inspect.isroutine(endpoint))
    believed = own if is_told or wrapped is endpoint else stated_access(wrapped)
    fronts = behind(BARE, layers, at)
    if believed is None:
        fronts = (*fronts[:-1], replace(fronts[-1], around=None))
    return fronts, believed


def _grouped(by_method: Mapping[str, Stated]) -> dict[Access | None, list[str]]:
    groups: dict[Access | None, list[str]] = {}
    for method, stated in by_method.items():
        groups.setdefault(stated.access, []).append(method)
    return groups


def _handler(endpoint: Any, method: str) -> object:
    own = getattr(endpoint, method.lower(), None)
    return endpoint.get if own is None else own  # HEAD, which `get` answers


def _written(route: Any) -> object:
    """Return what a source line can be told of: an endpoint, what was mounted, or a class of routes."""
    if isinstance(route, Mount | Host):
        around = list(wrappers(mounted_base(route)))
        return next((app for app in around if not is_theirs(app)), around[-1])
    return getattr(route, "endpoint", None) or type(route)
