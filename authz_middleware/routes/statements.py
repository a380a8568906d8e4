"""What a route states: its endpoint's decorators, a class-based endpoint's method by method, and its dependencies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.routing import Router
from starlette.types import ASGIApp

from ..decorators import combine, guarded_await, stated_access
from ..errors import ConfigurationError
from ..guard import Guard, Stated
from ..policy import PUBLIC, Access, AllOf, Policy, Public
from ..policy.core import join
from .dependencies import dependency_faults, with_dependencies
from .frameworks import Around, dependencies_of, overrides_of, router_of, wrappers

__all__ = ["add_up", "guard_route", "guard_whole", "required_by", "stated_before"]

WEBSOCKET_METHODS = ("on_connect", "on_receive", "on_disconnect", "decode", "dispatch")
HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")


def guard_whole(app: ASGIApp, endpoint: object) -> Guard:
    """Return an application behind what its endpoint states."""
    return Guard(app, *_statements(endpoint))


def guard_route(app: ASGIApp, endpoint: object, route: Any, router: Router, required: Access | None = None) -> Guard:
    """Return a route's application behind what its endpoint, its dependencies and the routers around it state.

    `required` is what FastAPI routers around require of a route whose dependencies do not say so.

    Raises:
        ConfigurationError: one of them says public and another does not.
    """
    whole, by_method = _statements(endpoint)
    whole = _within(required, whole)
    by_method = {method: _within(required, stated) for method, stated in by_method.items()}
    needed = tuple(dependencies_of(route))
    stated = with_dependencies(whole, needed)
    overridden = _overridden(whole, stated, route, router) if needed else None
    return Guard(app, stated, by_method, overridden=overridden, required=required)


def guard_default(router: Router, required: Access | None) -> Guard:
    """Return what a router serves where no route matches, behind what it states and what the router requires.

    Raises:
        ConfigurationError: one of them says public and another does not.
    """
    if isinstance(router.default, Guard) and (required is None or router.default.required == required):
        return router.default
    stated = _within(required, _statements(router.default)[0])
    return Guard(router.default, stated, required=required)


def required_by(around: Around | None) -> Access | None:
    """Return what the routers around a route require.

    Raises:
        ConfigurationError: a dependency of theirs cannot be meant, or one says public and another does not.
    """
    if around is None:
        return None
    faults = list(dependency_faults(around))
    if faults:
        raise ConfigurationError(*faults)
    return with_dependencies(Stated(None), dependencies_of(around)).access


def _within(required: Access | None, stated: Stated) -> Stated:
    """Return what is stated, with what routers around require; nothing stays nothing: they open no route."""
    if required is None or stated.access is None:
        return stated
    return replace(stated, access=combine(required, stated.access, "the route"))


def _overridden(whole: Stated, usual: Stated, route: Any, router: Router) -> Callable[[], Stated | None]:
    """Return what asks for the statement while an application overrides dependencies, as its tests do."""

    def overridden() -> Stated | None:
        overrides = overrides_of(router)
        if not overrides:
            return None
        stated = with_dependencies(whole, dependencies_of(route, overrides))
        # All that was required was taken away by name: what stands in its place decides.
        is_taken_away = stated.access is None and usual.access is not None
        return replace(stated, access=PUBLIC) if is_taken_away else stated

    return overridden


@lru_cache(maxsize=1024)  # whoever sends no credentials asks for it with every request
def add_up(around: Access | None, own: Access | None) -> Access | None:
    """Return what a route and the mounts around it state together. What stands around is decided first.

    Raises:
        ConfigurationError: they add up to too many alternatives.
    """
    if not isinstance(around, Policy):
        return around if own is None else own
    return join(AllOf, (around, own)) if isinstance(own, Policy) else around


def stated_before(app: object) -> Access | None:
    """Return what decorated applications between a middleware and the router it leads to state together."""
    around: Access | None = None
    for each in wrappers(app):
        if router_of(each) is not None:
            break
        if isinstance(each, Guard):
            around = add_up(around, each.stated.access)
    return around


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
