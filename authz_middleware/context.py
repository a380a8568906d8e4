"""What one request knows about its caller: the only object enforcement believes.

The middleware puts one `RequestContext` into the ASGI scope and into a context variable. Nothing else is ever asked:
neither `request.user`, nor a foreign `request.auth`, nor a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser
from starlette.requests import HTTPConnection
from starlette.types import Scope, Send

from .challenge import Challenger, send_refusal
from .errors import ConfigurationError, InsufficientScope, MissingToken, NoPolicy, Refused
from .policy import AUTHENTICATED, Access, Policy, Public, all_of, decide, suggest
from .token import AccessToken

__all__ = [
    "Caller",
    "Credentials",
    "PublicPaths",
    "RequestContext",
    "access_token",
    "authorize",
    "bound",
    "context_of",
    "current_context",
    "refuse",
]

SCOPE_KEY = "authz_middleware"
_current: ContextVar[RequestContext | None] = ContextVar("authz_middleware", default=None)


class Credentials(AuthCredentials):
    """`request.auth`: the token, and as `scopes` the effective grants, so that Starlette's own `requires` sees them."""

    def __init__(self, token: AccessToken | None) -> None:
        super().__init__([] if token is None else sorted(token.grants.effective))
        self.token = token


class Caller(BaseUser):
    """`request.user` of a request with a token."""

    def __init__(self, token: AccessToken) -> None:
        self._token = token

    @property
    def is_authenticated(self) -> bool:
        """Always true."""
        return True

    @property
    def display_name(self) -> str:
        """The subject."""
        return self._token.subject

    @property
    def identity(self) -> str:
        """Issuer and subject, joined by `#`: no issuer contains one, so no two callers share an identity."""
        return "#".join(self._token.identity)


class PublicPaths:
    """Paths that need no token: exact ones, and trees written `/static/*`. Case-sensitive, by whole segments."""

    def __init__(self, paths: object = ()) -> None:
        if isinstance(paths, str) or not isinstance(paths, list | tuple | set | frozenset):
            raise ConfigurationError('public_paths is a collection; write public_paths=["/docs"], with brackets')
        self._exact = frozenset(path for path in paths if isinstance(path, str) and not path.endswith("/*"))
        self._trees = tuple(path[:-1] for path in paths if isinstance(path, str) and path.endswith("/*"))
        for path in paths:
            if (
                not isinstance(path, str)
                or not path.startswith("/")
                or "*" in path.removesuffix("/*")
                or _has_dots(path)
            ):
                raise ConfigurationError(
                    f'public_paths: {path!r} is no path; write "/docs" or, for a tree, "/static/*"'
                )
        if "/" in self._trees:
            raise ConfigurationError(
                'public_paths: "/*" would open everything; name the paths, or decorate with @public'
            )

    def __contains__(self, path: str) -> bool:
        # A dot segment may lead out of the tree in whatever serves it.
        return path in self._exact or (path.startswith(self._trees) and not _has_dots(path))


def _has_dots(path: str) -> bool:
    return any(segment in {".", ".."} for segment in path.replace("\\", "/").split("/"))


class RequestContext:
    """One request's token, and what has been decided about it.

    Attributes:
        token: the validated token; None for an anonymous caller.
        challenger: how this application words refusals.
        decided: whether access was granted by a policy, `@public` or a public path. Without it no answer may leave.
        started: whether the response has begun, after which no refusal can be sent.
        refusal: the latest refusal raised for this request.
    """

    __slots__ = (
        "_closed",
        "_covered",
        "_met",
        "_public_path",
        "_undecorated",
        "challenger",
        "decided",
        "refusal",
        "started",
        "token",
    )

    def __init__(
        self,
        token: AccessToken | None,
        challenger: Challenger,
        *,
        undecorated: Access | None = None,
        public_path: str | None = None,
    ) -> None:
        self.token = token
        self.challenger = challenger
        self.decided = public_path is not None
        self.started = False
        self.refusal: Refused | None = None
        self._undecorated = undecorated
        self._public_path = public_path
        self._covered = False
        self._met: list[Access] = []
        self._closed = False

    def enforce(self, access: Access) -> None:
        """Grant what a route states, or refuse. What was granted once is not decided again.

        Raises:
            MissingToken: the caller is anonymous.
            InsufficientScope: the token's grants do not meet the policy.
        """
        if self._closed:
            raise ConfigurationError(
                "a guarded function was called after its request had ended; call it within the request"
            )
        is_new = not any(access is met for met in self._met)
        if is_new and not isinstance(access, Public):
            self._check(access)
        if is_new:
            self._met.append(access)
        if not isinstance(access, Public):  # that a helper is public opens no answer; a route's guard does
            self.decided = True
            self.refusal = None  # a handler has dealt with it

    def require_token(self) -> AccessToken:
        """Return the token.

        Raises:
            MissingToken: the caller is anonymous.
        """
        if self.token is None:
            raise self._noted(MissingToken())
        return self.token

    def _check(self, policy: Policy) -> None:
        if self.token is None:
            raise self._noted(MissingToken(suggest(policy)[1]))
        if not policy.allows(self.token.grants):
            decision = decide(policy, self.token)
            raise self._noted(InsufficientScope(decision.required, decision.scope))

    def _noted(self, refused: Refused) -> Refused:
        """Remember a refusal: an error handler further in may answer 500 before the refusal has travelled out."""
        self.refusal = refused
        return refused

    @contextmanager
    def enforced_route(
        self, access: Access | None, pieces: tuple[Access, ...] = (), *, path: str = "", covers: bool = False
    ) -> Iterator[None]:
        """Decide for a route or mount: `access` is all that it states, `pieces` what its wrappers will ask for again.

        A route that states nothing is covered by a mount around it that did, or by `public_paths`; else it is refused,
        or open to any valid token where the application says so. `covers` makes this decision such a cover, for what
        runs within; a route covers nothing, so that what it dispatches to elsewhere must state something itself.
        """
        covered = self._covered
        self._decide_route(access, path)
        self._met.extend(pieces)
        self.decided = True
        self._covered = covers and (covered or access is not None)
        try:
            yield
        finally:
            self._covered = covered

    def _decide_route(self, access: Access | None, path: str) -> None:
        if access is not None:
            self.enforce(access)
        elif not self._covered and path != self._public_path:
            if self._undecorated is None:
                self.require_token()
                raise self._noted(NoPolicy())
            self.enforce(self._undecorated)

    def hand_over(self) -> None:
        """Leave the decision to a middleware further in, which validates anew."""
        self.decided = True

    def close(self) -> None:
        """End the request: whoever still holds this object can no longer use it."""
        self._closed = True

    @property
    def is_open(self) -> bool:
        """Whether the request is still being served."""
        return not self._closed


def context_of(scope: Scope) -> RequestContext:
    """Return the request's context.

    Raises:
        ConfigurationError: the middleware did not run.
    """
    context = scope.get(SCOPE_KEY)
    if not isinstance(context, RequestContext) or not context.is_open:
        raise ConfigurationError(
            "a guarded route was called without AuthzMiddleware in front of it; "
            "write app.add_middleware(AuthzMiddleware, issuers=[…])"
        )
    return context


def current_context() -> RequestContext:
    """Return the context of the request being served, for functions that are not handed a request.

    Raises:
        ConfigurationError: there is none.
    """
    return context_of({SCOPE_KEY: _current.get()})


@contextmanager
def bound(context: RequestContext, scope: Scope) -> Iterator[None]:
    """Bind a context to the scope and the context variable while a request is served, and end it afterwards."""
    outer = {key: scope[key] for key in (SCOPE_KEY, "auth", "user") if key in scope}
    if isinstance(outer.get(SCOPE_KEY), RequestContext):
        outer[SCOPE_KEY].hand_over()
    scope[SCOPE_KEY] = context
    scope["auth"] = Credentials(context.token)
    scope["user"] = UnauthenticatedUser() if context.token is None else Caller(context.token)
    reset = _current.set(context)
    try:
        yield
    finally:
        _current.reset(reset)
        context.close()
        if SCOPE_KEY in outer:
            scope.update(outer)


async def access_token(connection: HTTPConnection) -> AccessToken:
    """Return the caller's token; as a FastAPI dependency, `Annotated[AccessToken, Depends(access_token)]`.

    Raises:
        MissingToken: the caller is anonymous; answered with 401.
    """
    return context_of(connection.scope).require_token()


async def authorize(connection: HTTPConnection, policy: Policy | str) -> None:
    """Decide a policy inside a handler.

    Raises:
        MissingToken: the caller is anonymous; answered with 401.
        InsufficientScope: the policy is not met; answered with 403.
    """
    context_of(connection.scope).enforce(policy if isinstance(policy, Policy) else all_of(policy))


async def refuse(context: RequestContext, refused: Refused, scope: Scope, send: Send) -> None:
    """Answer a refusal. Once a response has begun it can only be cut off: a WebSocket is closed, HTTP is aborted."""
    if not context.started:
        await send_refusal(context.challenger, refused, scope, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        raise refused


UNDECORATED: dict[str, Access | None] = {"refuse": None, "authenticated": AUTHENTICATED}
"""What `AuthzMiddleware(undecorated=…)` may say."""
