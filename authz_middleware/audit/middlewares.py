"""Find every `AuthzMiddleware` of an application: in front of it, inside it, on a mount or a single route."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Router

from ..errors import ConfigurationError
from ..guard import Guard
from ..middleware import AuthzMiddleware
from ..routes import flatten, router_of
from ..routes.frameworks import wrappers

__all__ = ["application_of", "installed_middlewares", "layers_of"]

Layer = AuthzMiddleware | Guard


def installed_middlewares(app: object) -> list[AuthzMiddleware]:
    """Return every live `AuthzMiddleware` in front of an application and inside it, the outermost first.

    Builds the middleware stack of an application that has not been started, as its first request would.
    """
    found: list[AuthzMiddleware] = []
    _collect(app, found, {})
    return found


def layers_of(app: object) -> Iterator[Layer]:
    """Yield what of ours a request meets between an application and its routes, the outermost first.

    Builds no stack: of an application that has not been started, its middleware is constructed for the look.
    """
    for each in wrappers(app):
        if isinstance(each, Layer):
            yield each
        if isinstance(each, Starlette):
            yield from _stack_of(each)
            each = each.router  # noqa: PLW2901 - what is behind its stack
        if isinstance(each, Router):
            yield from _chain(each.middleware_stack, each)
            return


def application_of(app: object) -> Starlette | None:
    """Return the application that a middleware, a mount or a guard leads to."""
    return next((each for each in wrappers(app) if isinstance(each, Starlette)), None)


def _stack_of(app: Starlette) -> Iterator[Layer]:
    """Yield our own of an application's middleware: the live ones if it was started, else as they are configured."""
    live = [] if app.middleware_stack is None else list(_chain(app.middleware_stack, app.router))
    ours = [one for one in app.user_middleware if isinstance(one.cls, type) and issubclass(one.cls, AuthzMiddleware)]
    if live or ours:
        yield from live or (_construct(one, app) for one in ours)
    elif app.middleware_stack is None:
        yield from _hidden(app)


def _construct(one: Middleware, app: Starlette) -> AuthzMiddleware:
    make: Any = one.cls
    issuers = one.kwargs.get("issuers")
    if isinstance(issuers, Iterator):  # it can be read once, and the application will
        one.kwargs["issuers"] = tuple(issuers)
    try:
        inspect.signature(make).bind(app.router, *one.args, **one.kwargs)
    except TypeError as error:  # found at the first message otherwise: Starlette makes middleware late
        raise ConfigurationError(f"{make.__name__} cannot be made as it was added: {error}") from None
    made: AuthzMiddleware = make(app.router, *one.args, **one.kwargs)
    return made


def _hidden(app: Starlette) -> Iterator[Layer]:
    """Yield our middleware where another one, a factory or the application itself makes it.

    Only a stack tells. One is built for the look and thrown away; where that fails, nothing is known to stand in front.
    """
    try:
        stack = app.build_middleware_stack()
    except ConfigurationError:
        raise
    except Exception:  # noqa: BLE001 - anybody's middleware, which may want a running server
        return
    yield from _chain(stack, app.router)


def _chain(app: object, router: Router) -> Iterator[Layer]:
    for each in wrappers(app):
        if each is router:
            return
        if isinstance(each, Layer):
            yield each


def _collect(app: object, found: list[AuthzMiddleware], seen: dict[int, object]) -> None:
    """Follow `app` from wrapper to wrapper, and every route of every router on the way."""
    for each in wrappers(app):
        if id(each) in seen:
            return
        seen[id(each)] = each  # kept, so that no other object gets its id
        if isinstance(each, AuthzMiddleware):
            found.append(each)
        for inner in _inside(each):
            _collect(inner, found, seen)


def _inside(app: object) -> Iterator[object]:
    """Yield what an application leads to otherwise than as its `app`."""
    if isinstance(app, Starlette):
        if app.middleware_stack is None:
            app.middleware_stack = app.build_middleware_stack()
        yield app.middleware_stack
        yield app.router  # where a middleware keeps what is behind it under another name
    elif isinstance(app, Router):
        yield app.middleware_stack
    elif (router := router_of(app)) is not None:  # the method of a router that serves its routes
        yield from (getattr(route, "app", None) for route, _ in flatten(router))
        yield router.default
