"""The ASGI middleware: validate the token, bind the context, let nothing undecided leave.

Sources: the ASGI specification (HTTP and WebSocket, lifespan), RFC 6750 section 3.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence

from starlette._utils import get_route_path
from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ._jose import DEFAULT_MAX_TOKEN_BYTES
from .challenge import Challenger, is_quotable, read_bearer_token, send_refusal
from .context import UNDECORATED, PublicPaths, RequestContext, bound, refuse
from .errors import ConfigurationError, MissingToken, Refused
from .gate import Gate
from .guard import Guard
from .issuers import TrustedIssuer
from .policy import Access, Policy, Public, suggest
from .routes import FASTAPI_DOCS, RouteMap, find_router, guard_whole
from .token import AccessToken
from .validator import AccessTokenValidator

__all__ = ["AuthzMiddleware"]

APPLICATION_KEY = "authz_middleware.application"
"""Where a scope says which application a middleware of ours already serves."""

_log = logging.getLogger("authz_middleware")


class AuthzMiddleware:
    """Validates the access token of every request and enforces what the routes state. Pure ASGI.

    Args:
        app: the application behind; `add_middleware` passes it.
        issuers: whom to trust.
        public_paths: paths that need no token: exact ones such as `"/docs"`, trees such as `"/static/*"`.
        undecorated: what happens to a route that states nothing: `"refuse"`, or `"authenticated"` to let any valid
            token in.
        realm: the realm of challenges.
        max_token_bytes: longer tokens are refused unparsed; up to 131072.

    Raises:
        ConfigurationError: an argument cannot be meant.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        issuers: Iterable[TrustedIssuer],
        public_paths: Collection[str] = (),
        undecorated: str = "refuse",
        realm: str = "api",
        max_token_bytes: int = DEFAULT_MAX_TOKEN_BYTES,
    ) -> None:
        self.app = app
        self._routes: RouteMap | None = None
        self._announced = False
        self._mapping = threading.Lock()
        self._fault: ConfigurationError | None = None
        try:
            self.validator = AccessTokenValidator(issuers, max_token_bytes=max_token_bytes)
            self.public_paths = PublicPaths(public_paths)
            self._undecorated = _check_undecorated(undecorated)
            self._challenger = Challenger(_check_realm(realm))
        except ConfigurationError as fault:
            if not _is_serving():
                raise
            self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] in {"http", "websocket"}:
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._start(scope, receive, send)
        else:
            raise RuntimeError("AuthzMiddleware guards http and websocket; this kind of connection is refused")

    async def _start(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find configuration errors before the first request, and fail the start by them."""
        try:
            self._route_map(scope)
        except ConfigurationError as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._fault is not None:
            raise self._fault
        try:
            token = await self._authenticate(scope)
            # After the wait: what has changed meanwhile is mapped before it is served.
            route_map = self._route_map(scope)
            path_is_public = get_route_path(scope) in self.public_paths
            is_preflight = token is None and not path_is_public and _admit_anonymous(scope, route_map)
        except Refused as refused:
            await send_refusal(self._challenger, refused, scope, send)
            return
        app = self.app if route_map is not None else self._guarded_whole(scope)
        public_path = scope["path"] if path_is_public else None
        context = RequestContext(token, self._challenger, undecorated=self._undecorated, public_path=public_path)
        scope[APPLICATION_KEY] = scope.get("app")
        gate = Gate(context, scope, receive, send, is_preflight=is_preflight)
        with bound(context, scope):
            try:
                await app(scope, gate.receive, gate.send)
            except Refused as refused:  # decided late, where no guard stood in front
                if not gate.has_refused:
                    await refuse(context, refused, scope, send)
            except Exception as error:
                if not gate.has_refused:
                    raise
                _log.debug("authz_middleware: after its answer was refused, the application raised %s", type(error))

    async def _authenticate(self, scope: Scope) -> AccessToken | None:
        """Return the validated token of a request, None if it carries none.

        Raises:
            Refused: it carries something else.
        """
        unverified = read_bearer_token(scope, self.validator.max_token_bytes)
        return None if unverified is None else await self.validator.validate(unverified)

    def _guarded_whole(self, scope: Scope) -> Guard:
        """Put the decision in front of everything: of the application behind, no routes can be seen.

        As the middleware of a single `Route`, the endpoint is known all the same. Behind another middleware of ours it
        is not believed: it names what that one has decided about, and perhaps not what stands behind this one.
        """
        endpoint = scope.get("endpoint")
        is_route = isinstance(endpoint, type | functools.partial) or inspect.isroutine(endpoint)
        return guard_whole(self.app, endpoint if is_route and APPLICATION_KEY not in scope else self.app)

    def _route_map(self, scope: Scope) -> RouteMap | None:
        """Return the map of the application's routes, built at the first message and when routes have changed."""
        if self._fault is not None:
            raise self._fault
        route_map = self._routes
        if route_map is None or not route_map.is_current():
            with self._mapping:
                router = self._find_router(scope)
                route_map = self._routes = None if router is None else RouteMap.of(router)
                self._announce(route_map, scope)
        return route_map

    def _find_router(self, scope: Scope) -> Router | None:
        router = find_router(self.app)
        app = scope.get("app")
        if router is None and isinstance(app, Starlette) and scope.get(APPLICATION_KEY) is not app:
            # A middleware further in hides what it wraps. The application is ours only if it was given to us whole,
            # and not to a middleware around it.
            ours = (m.cls for m in app.user_middleware if isinstance(m.cls, type))
            router = app.router if any(issubclass(cls, AuthzMiddleware) for cls in ours) else None
        return router

    def _announce(self, route_map: RouteMap | None, scope: Scope) -> None:
        """Say once what an operator should know."""
        if self._announced:
            return
        self._announced = True
        for issuer in self.validator.issuers:
            for advice in _advice_on(issuer):
                _log.warning("authz_middleware: issuer %s: %s", issuer.issuer, advice)
        if route_map is None and scope.get("endpoint") is None and not isinstance(self.app, Guard):
            _log.warning(
                "authz_middleware: no routes can be seen, so everything but public_paths is refused; "
                "give the middleware to the application itself: app.add_middleware(AuthzMiddleware, issuers=[…])"
            )
        unguarded = [] if route_map is None else route_map.unguarded
        bare = [(path, methods) for path, methods in unguarded if path not in self.public_paths]
        if bare:
            _log.warning(
                "authz_middleware: routes that state no policy, so %s; write @requires, @authenticated or @public "
                "below the route decorator, or name them in public_paths: %s",
                "they are refused" if self._undecorated is None else "any valid token may call them",
                _listing(bare),
            )


def _advice_on(issuer: TrustedIssuer) -> Iterator[str]:
    """Yield what an application left unsaid about an issuer, and what follows from that."""
    dialects = issuer.settings.dialects
    is_said = issuer.third_party_clients is not None or issuer.first_party_clients is not None
    if any(d.has_permissions for d in dialects) and not is_said:
        yield (
            "every user's client counts as third-party; name those that are in third_party_clients= "
            "(an empty set: none), or the others in first_party_clients="
        )
    if not all(d.has_permissions for d in dialects) and issuer.rbac_enforced is None:
        yield (
            "in dialects without permissions a user's scope is believed; state rbac_enforced=True if the issuer "
            "limits it to what the user was assigned, rbac_enforced=False if not"
        )


def _listing(routes: Sequence[tuple[str, str]]) -> str:
    """Name the application's own routes, and FastAPI's pages in one."""
    names = [f"{methods or 'any'} {path}" for path, methods in routes if path not in FASTAPI_DOCS]
    if any(path in FASTAPI_DOCS for path, _ in routes):
        names.append("FastAPI's documentation pages (FASTAPI_DOCS)")
    return ", ".join(names)


def _is_serving() -> bool:
    """Tell whether this runs inside a server already.

    `add_middleware` constructs late, while the server asks for the lifespan. What is raised there some servers take for
    "this application has no lifespan", and go on: so the fault is kept and fails the start in the lifespan's own words.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check_undecorated(undecorated: str) -> Access | None:
    if not isinstance(undecorated, str) or undecorated not in UNDECORATED:
        raise ConfigurationError('undecorated is "refuse" or "authenticated"')
    return UNDECORATED[undecorated]


def _check_realm(realm: str) -> str:
    if not isinstance(realm, str) or not is_quotable(realm):
        raise ConfigurationError("realm must be printable ASCII without quotes or backslashes")
    return realm


def _admit_anonymous(scope: Scope, route_map: RouteMap | None) -> bool:
    """Let a caller without credentials through to what is public. Tell whether it is a CORS preflight instead.

    Raises:
        MissingToken: what the request would reach is not public.
    """
    if route_map is None:
        return False  # the guard in front of everything will decide
    found = route_map.find(scope)
    if found is not None and isinstance(found.access, Public):
        return False
    if found is None and _is_preflight(scope):
        return True
    policy = found.access if found is not None else None
    raise MissingToken(suggest(policy)[1] if isinstance(policy, Policy) else ())


def _is_preflight(scope: Scope) -> bool:
    """Tell whether a browser asks for permission before the real request (Fetch standard, CORS-preflight fetch)."""
    names = {name.lower() for name, _ in scope["headers"]}
    return scope.get("method") == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names
