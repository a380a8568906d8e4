"""The ASGI middleware: validate the token, bind the context, let nothing undecided leave.

Sources: the ASGI specification (HTTP and WebSocket, lifespan), RFC 6750 section 3.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from starlette._utils import get_route_path
from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ._jose import DEFAULT_MAX_TOKEN_BYTES
from ._locks import new_lock
from ._loops import is_loop_running
from .binding import bound, outer_context, refuse
from .challenge import Challenger, is_quotable, read_bearer_token, send_refusal
from .context import RequestContext
from .errors import ConfigurationError, InvalidToken, MissingToken, Refused
from .gate import Gate, causes_of
from .guard import Guard
from .issuers import TrustedIssuer
from .metadata import ProtectedResource, is_mounted
from .observation import Observation
from .observe import Observer, RequestDecision
from .policy import Access, requestable
from .public_paths import PublicPaths
from .readiness import VALIDATOR_KEY
from .revocation import Revoked
from .routes import Destination, RouteMap, find_router, guard_whole, stated_before, stated_within
from .startup import (
    announce_issuers,
    announce_report_only,
    announce_unclaimed,
    check_metadata,
    check_policies,
)
from .startup_routes import (
    announce_cors_inside,
    announce_hidden_metadata,
    announce_invisible,
    announce_path_params,
    announce_routes,
)
from .token import AccessToken
from .undecorated import check_undecorated
from .validator import AccessTokenValidator
from .verified import MAX_CACHED_BYTES, MAX_CACHED_TOKENS
from .warm_up import StartFailed, check_warm_up, fetch_keys

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
        resource: this API's identifier, an https URL (RFC 9728). Its metadata is served at
            `/.well-known/oauth-protected-resource`, and every challenge leads there.
        on_decision: called with every `RequestDecision`, refused or granted. It changes no answer.
        enforce: False guards nothing: what would be refused is logged and counted in `would_refuse`, and served. Only a
            handler that takes the token as a value still answers 401 where there is none.
        max_cached_tokens, max_cached_bytes: bounds of the cache of verified tokens; 0 switches it off.
        revoked: asked about every verified token, see `AccessTokenValidator`.
        warm_up: whether the start waits for every issuer's keys: `"off"`, `"try"` to go on without them, `"require"` to
            fail the start. Only where the server runs the application's lifespan.

    Raises:
        ConfigurationError: an argument is invalid.
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
        resource: str | None = None,
        on_decision: Callable[[RequestDecision], object] | None = None,
        enforce: bool = True,
        max_cached_tokens: int = MAX_CACHED_TOKENS,
        max_cached_bytes: int = MAX_CACHED_BYTES,
        revoked: Revoked | None = None,
        warm_up: str = "off",
    ) -> None:
        self.app = app
        self.undecorated: Access | None = None
        self._routes: RouteMap | None = None
        self._announced = False
        self._mapping = new_lock()
        self.fault: ConfigurationError | None = None  # kept where it cannot be raised, and fails the start
        try:
            self.validator = AccessTokenValidator(
                issuers,
                max_token_bytes=max_token_bytes,
                max_cached_tokens=max_cached_tokens,
                max_cached_bytes=max_cached_bytes,
                revoked=revoked,
            )
            self._warm_up = check_warm_up(warm_up)
            self.public_paths = PublicPaths(public_paths)
            self.undecorated = check_undecorated(undecorated)
            self._observer = Observer(on_decision, enforce=enforce)
            self._resource = None if resource is None else ProtectedResource.of(resource, self.validator.issuers)
            metadata_url = None if self._resource is None else self._resource.url({})
            self._challenger = Challenger(_check_realm(realm), metadata_url)
        except ConfigurationError as fault:
            # `add_middleware` constructs late, while the server asks for the lifespan. What is raised there, some
            # servers take for "this application has no lifespan", and go on. So it is kept, and fails the start later.
            if not is_loop_running():
                raise
            self.fault = fault

    @property
    def enforces(self) -> bool:
        """Whether refusals are carried out; False: they are only reported."""
        return self._observer.enforce

    @property
    def resource(self) -> str | None:
        """This API's identifier (RFC 9728), if one was given."""
        return None if self._resource is None else self._resource.identifier

    def metadata_path(self, mount: str = "") -> str | None:
        """Return where the metadata of `resource` is, below what is mounted at a path; None: there is none."""
        scope = {"root_path": mount, "app_root_path": ""}
        return None if self._resource is None else self._resource.paths(scope)[0]

    @property
    def would_refuse(self) -> Counter[tuple[str, str | None]]:
        """While `enforce=False`: how often each (code, route template) would have been refused."""
        return self._observer.would_refuse

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
            await fetch_keys(self.validator, self._warm_up)
        except (ConfigurationError, StartFailed) as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        try:
            await self.app(scope, receive, send)
        finally:
            await self.validator.aclose()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_arguments()
        if (around := outer_context(scope)) is not None:
            around.tell_pending()
        if self._resource is not None and self._resource.is_asked_for(scope):
            await self._resource.serve(requestable(self._policies(scope)), scope, send)
            return
        token, refused = await self._authenticate(scope)
        # After the wait: what has changed meanwhile is mapped before it is served.
        route_map = self._route_map(scope)
        destination = Destination(route_map, scope, lets_undecorated_in=self.undecorated is not None)
        is_public_path = get_route_path(scope) in self.public_paths
        is_preflight = False
        if isinstance(refused, InvalidToken):
            refused.scope = destination.scopes
        elif refused is None and token is None and not is_public_path and route_map is not None:
            is_preflight = destination.found is None and _is_preflight(scope)
            if not is_preflight and not destination.is_public:
                refused = MissingToken(destination.scopes)
        challenger = self._challenger_for(scope)
        method = scope["method"] if scope["type"] == "http" else None
        observation = Observation(self._observer, method, destination, token)
        if refused is not None:
            observation.refused(refused, destination.access)
            if self.enforces:
                await send_refusal(challenger, refused, scope, send)
                return
        public_path = scope["path"] if is_public_path else None
        context = RequestContext(
            token,
            challenger,
            undecorated=self.undecorated,
            public_path=public_path,
            observation=observation,
            has_expired=functools.partial(self.validator.has_expired, token),
            map_new_routes=functools.partial(self._map_new_routes, scope),
        )
        app = self.app if route_map is not None else self._guarded_whole(scope)
        scope[VALIDATOR_KEY] = self.validator
        gate = Gate(context, scope, receive, send, is_preflight=is_preflight)
        with bound(context, scope):
            await _run(app, gate, context, scope, send)

    def _check_arguments(self) -> None:
        """Raise what was wrong with an argument: each time anew, or one traceback would keep all its requests."""
        if self.fault is not None:
            raise ConfigurationError(*self.fault.faults)

    async def _authenticate(self, scope: Scope) -> tuple[AccessToken | None, Refused | None]:
        """Return the validated token of a request, or why it is refused; neither where it carries none."""
        try:
            unverified = read_bearer_token(scope, self.validator.max_token_bytes)
            return None if unverified is None else await self.validator.validate(unverified), None
        except Refused as refused:
            return None, refused

    def _challenger_for(self, scope: Scope) -> Challenger:
        if self._resource is None or not is_mounted(scope):
            return self._challenger
        return replace(self._challenger, resource_metadata=self._resource.url(scope))

    def _policies(self, scope: Scope) -> Iterable[Access]:
        """Return everything that is stated about access anywhere in this application."""
        route_map = self._route_map(scope)
        return self._stated_whole(scope) if route_map is None else route_map.statements()

    def _stated_whole(self, scope: Scope) -> list[Access]:
        """Return what is stated about an application of which no routes can be seen."""
        guard = self._guarded_whole(scope)
        stated = (guard.stated.access, *(by_method.access for by_method in guard.by_method.values()))
        return [access for access in stated if access is not None]

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
        self._check_arguments()
        route_map = self._routes
        if route_map is None or not route_map.is_current():
            with self._mapping:
                router = self._find_router(scope)
                route_map = None if router is None else RouteMap.of(router, around=stated_before(self.app))
                if route_map is None:
                    stated = self._stated_whole(scope)
                else:
                    stated = [*route_map.statements(), *stated_within(route_map)]
                check_policies(stated, self.validator.issuers)
                if route_map is not None and self._resource is not None:
                    check_metadata(route_map, self._resource.paths(scope))
                self._routes = route_map
                self._announce(route_map, scope)
        return route_map

    def _map_new_routes(self, scope: Scope) -> None:
        """Map routes that have changed while a request was under way."""
        if self._routes is not None and self._routes.has_new_routes():
            self._route_map(scope)

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
        announce_issuers(self.validator.issuers, self._resource)
        if not self.enforces:
            announce_report_only(route_map)
        announce_cors_inside(self.app)
        if route_map is not None:
            announce_unclaimed([*route_map.statements(), *stated_within(route_map)], self.validator.issuers)
            if self.enforces:
                announce_hidden_metadata(route_map, self.public_paths, AuthzMiddleware)
            if outer_context(scope) is None:  # else the middleware further out has looked at these routes, too
                announce_path_params(route_map, scope.get("path_params") or {})
            is_refused = self.undecorated is None
            announce_routes(route_map, self.public_paths, AuthzMiddleware, refused=is_refused, enforced=self.enforces)
        elif scope.get("endpoint") is None and not isinstance(self.app, Guard):
            announce_invisible(enforced=self.enforces)


async def _run(app: ASGIApp, gate: Gate, context: RequestContext, scope: Scope, send: Send) -> None:
    """Serve a request whose token is settled. What it may do is decided further in."""
    scope[APPLICATION_KEY] = scope.get("app")
    try:
        await app(scope, gate.receive, gate.send)
    except Refused as refused:  # decided late, where no guard stood in front
        if not gate.has_refused:
            await refuse(context, refused, scope, send)
    except Exception as error:
        refusal = context.refusal
        if not gate.has_refused and (refusal is None or not isinstance(error, ExceptionGroup)):
            raise
        if not gate.has_refused and refusal is not None:  # raised in a task group of the handler's
            if refusal not in causes_of(error):
                raise
            await refuse(context, refusal, scope, send)
            return
        _log.debug("after its answer was refused, the application raised %s", type(error))


def _check_realm(realm: str) -> str:
    if not isinstance(realm, str) or not is_quotable(realm):
        raise ConfigurationError("realm must be printable ASCII without quotes or backslashes")
    return realm


def _is_preflight(scope: Scope) -> bool:
    """Tell whether a browser asks for permission before the real request (Fetch standard, CORS-preflight fetch)."""
    names = {name.lower() for name, _ in scope["headers"]}
    return scope.get("method") == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names
