"""What is known of the SDK's own authentication, where that asks our verifier, and what it refuses by itself.

The SDK decides about tokens and `required_scopes`, in words of its own. Here its refusals are told as ours are.

Sources: the SDK's `mcp.server.auth.middleware.bearer_auth`; RFC 6750 section 3.1.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend, RequireAuthMiddleware
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..challenge import Challenger, send_refusal
from ..context import RequestContext
from ..errors import Code, InsufficientScope, InvalidToken, MissingToken, Reason, Refused, Unavailable
from ..metadata import WELL_KNOWN
from ..observation import Observation
from ..observe import Observer
from ..policy import AUTHENTICATED, PUBLIC, Access, AllOf, Policy
from ..policy.core import compose
from ..routes import state_elsewhere
from ..token import AccessToken
from .tokens import AccessTokenVerifier, Attempt, attempt

__all__ = ["Authentication", "Front"]

UNAUTHORIZED, FORBIDDEN = 401, 403


@dataclass(frozen=True, slots=True)
class Authentication:
    """How an application of the SDK's authenticates.

    Attributes:
        is_asked: whether it does at all.
        verifier: ours, if that is the one it asks.
        required: what `required_scopes` asks of everybody.
        challenger: how refusals are worded: the SDK serves metadata of its own.
    """

    is_asked: bool
    verifier: AccessTokenVerifier | None
    required: Policy
    challenger: Challenger

    @classmethod
    def of(cls, app: Starlette) -> Authentication:
        """Return how this application authenticates.

        Raises:
            ConfigurationError: `required_scopes` asks for what is never granted.
        """
        backends = [
            middleware.kwargs.get("backend")
            for middleware in app.user_middleware
            if isinstance(middleware.cls, type) and issubclass(middleware.cls, AuthenticationMiddleware)
        ]
        asked = (backend.token_verifier for backend in backends if isinstance(backend, BearerAuthBackend))
        verifier = next((one for one in asked if isinstance(one, AccessTokenVerifier)), None)
        endpoints = [getattr(route, "endpoint", None) for route in app.routes]
        guard = next((one for one in endpoints if isinstance(one, RequireAuthMiddleware)), None)
        required = [] if guard is None else guard.required_scopes
        metadata = None if guard is None else guard.resource_metadata_url
        return cls(
            bool(backends),
            verifier,
            compose(AllOf, "required_scopes", required) if required else AUTHENTICATED,
            Challenger(resource_metadata=None if metadata is None else str(metadata)),
        )

    def state_on(self, app: Starlette) -> None:
        """Name on the routes of this application what the SDK asks there of the verifier, for the route table."""
        for route in app.routes if self.verifier is not None else ():
            if isinstance(getattr(route, "endpoint", None), RequireAuthMiddleware):
                state_elsewhere(route, self.required)
            elif getattr(route, "path", "").startswith(WELL_KNOWN):
                state_elsewhere(route, PUBLIC)

    def context(self, token: AccessToken, scope: Scope) -> RequestContext:
        """Return what decides for a request whose token our verifier has accepted."""
        return RequestContext(token, self.challenger, observation=self.observation(scope, token))

    def observation(self, scope: Scope, token: AccessToken | None) -> Observation:
        """Return what tells of a request. Somebody else's verifier may ask ours: then the log alone is told."""
        observer = Observer() if self.verifier is None else self.verifier.observer
        return Observation(observer, scope.get("method"), _Destination(scope), token)


class _Destination:
    """Where a request leads: known once the SDK's router has run."""

    access: Access | None = None

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def path(self) -> str | None:
        """The template of its route."""
        path: str | None = getattr(self._scope.get("route"), "path", None)
        return path


class Front:
    """Around the SDK's authentication: tells what that refuses, and answers 503 where it ends with an outage."""

    def __init__(self, app: ASGIApp, sdk: Authentication) -> None:
        self.app = app
        self._sdk = sdk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        made = Attempt()

        async def telling(message: Message) -> None:
            if message.get("status") in {UNAUTHORIZED, FORBIDDEN}:
                self._tell(made, scope)
            await send(message)

        reset = attempt.set(made)
        try:
            await self.app(scope, receive, telling)
        except Unavailable as refused:
            self._sdk.observation(scope, None).refused(refused)
            await send_refusal(self._sdk.challenger, refused, scope, send)
        finally:
            attempt.reset(reset)

    def _tell(self, made: Attempt, scope: Scope) -> None:
        """Tell of a refusal, if it is one of the SDK's: what was refused further in was told there."""
        refused = self._refusal(made, scope) if isinstance(scope.get("endpoint"), RequireAuthMiddleware) else None
        if refused is not None:
            token = None if made.accepted is None else made.accepted.verified
            self._sdk.observation(scope, token).refused(refused, self._sdk.required)

    def _refusal(self, made: Attempt, scope: Scope) -> Refused | None:
        """Return why the SDK refuses a request; None: it does not."""
        accepted, required = made.accepted, scope["endpoint"].required_scopes
        if accepted is None:
            return made.refused or (None if self._sdk.verifier is None else MissingToken(required))
        if not isinstance(scope.get("user"), AuthenticatedUser):  # as it looks at what our verifier returns
            if accepted.expires_at is not None and accepted.expires_at < time.time():
                return InvalidToken(Code.EXPIRED, Reason.EXPIRED)
            return InvalidToken(Code.WRONG_AUDIENCE, Reason.AUDIENCE_NOT_OURS)
        return None if set(required) <= set(accepted.scopes) else InsufficientScope([required], required)
