"""An application's OpenAPI document with access in it: made when it is asked for, and anew when access has changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .._loops import is_loop_running
from ..guard import Guard
from .documentation import Documentation
from .enforced import Operations
from .operations import Scheme, add_access

__all__ = ["put_into"]

Document = dict[str, Any]


class GuardedSchema:
    """What stands as `app.openapi`: the application's own document, with access added to a copy of it.

    The result is kept where FastAPI keeps its own, in `app.openapi_schema`, so that what makes FastAPI forget that one
    makes it forget this one. A makeshift, because the issuer did not answer, is not kept.

    Attributes:
        documentation: how the security scheme is made.
        host: the application whose route table counts: this one, or one it is mounted in.
    """

    def __init__(self, app: FastAPI, documentation: Documentation, host: Starlette) -> None:
        self.documentation = documentation
        self.host = host
        self._app = app
        self._plain: Callable[[], Document] = app.openapi
        self._base: Document = {}
        self._made: Document | None = None
        self._made_from: tuple[Operations, Scheme] | None = None

    def __call__(self) -> Document:
        """Return the document. Where no event loop runs, the issuer is asked here if it was not asked before."""
        plain = self._plain()
        if plain is not self._made:
            self._base = plain
        if not is_loop_running():
            self.documentation.prepare_without_a_loop()
        scheme, is_final = self.documentation.scheme()
        made_from = (self.documentation.operations(self._app, self.host), scheme)
        if plain is self._made and made_from == self._made_from:
            return plain
        document = copy.deepcopy(self._base)
        add_access(document, *made_from)
        if is_final:
            self._made, self._made_from = document, made_from
            self._app.openapi_schema = document
        return document


class _Prepared:
    """The page that serves the document, behind the one wait that the page itself cannot do: it asks in no `await`."""

    def __init__(self, app: ASGIApp, application: FastAPI) -> None:
        self.app = app
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        schema = self._application.openapi
        if isinstance(schema, GuardedSchema):
            await schema.documentation.prepare()
        await self.app(scope, receive, send)


def put_into(app: FastAPI, documentation: Documentation) -> None:
    """Make an application's document say what is enforced; harmless if it does already.

    An application that was documented by itself keeps its own scheme when it turns out to be mounted in another.
    """
    schema, host = app.openapi, documentation.root
    if not isinstance(schema, GuardedSchema):
        app.openapi = GuardedSchema(app, documentation, host)  # type: ignore[method-assign]
    elif host is app:
        schema.documentation = documentation
    else:
        schema.host = host
        if schema.documentation.root is not app:
            schema.documentation = documentation
    for route in app.router.routes:
        if isinstance(route, Route) and route.path == app.openapi_url:
            _prepare(route, app)


def _prepare(route: Route, app: FastAPI) -> None:
    """Put the wait behind the decision: a caller who is refused causes no request to the issuer."""
    place: Route | Guard = route
    while isinstance(place.app, Guard):
        place = place.app
    if not isinstance(place.app, _Prepared):
        place.app = _Prepared(place.app, app)
