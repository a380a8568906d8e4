"""What handlers call: for the caller's token, and to decide on what only they know."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NoReturn, cast

from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.types import Scope

from ._loops import is_loop_running
from .binding import context_of
from .context import RequestContext
from .errors import Refused
from .owing import OwedDecision
from .policy import Policy
from .policy.core import as_policy
from .token import AccessToken

__all__ = ["NothingThere", "NothingToConnectTo", "access_token", "authorize"]

WS_NORMAL_CLOSURE = 1000


class NothingThere(HTTPException):
    """A refusal that is hidden: answered by whatever answers where no route matches."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.NOT_FOUND)


class NothingToConnectTo(WebSocketException):
    """The same of a WebSocket."""

    def __init__(self) -> None:
        super().__init__(WS_NORMAL_CLOSURE)


async def access_token(connection: HTTPConnection) -> AccessToken:
    """Return the caller's token; as a FastAPI dependency, `Annotated[AccessToken, Depends(access_token)]`.

    On a public route a parameter `Annotated[AccessToken | None, Depends(access_token)]` is None for an anonymous
    caller; without `| None` such a caller is refused there, too.

    Raises:
        MissingToken: the caller is anonymous; answered with 401.
    """
    return cast("AccessToken", context_of(connection.scope).token_for_parameter())


def authorize(connection: HTTPConnection, policy: Policy | str, *, hide: bool = False) -> Awaitable[None]:
    """Decide a policy inside a handler.

    Write `await authorize(request, "refund:large")`. It is decided at once, so that a forgotten `await` forgets no
    decision, and a sync handler calls it without one. Only what has a `check` waits for its `await`, where there is an
    event loop to wait on; without it, no answer but an error leaves.

    `hide=True` answers as if there were no such thing: where existence is a secret, a 403 would tell it.

    Raises:
        MissingToken: the caller is anonymous; answered with 401.
        InsufficientScope: the policy is not met; answered with 403.
        InvalidToken: the token has expired meanwhile; answered with 401. In a stream whose answer has begun, catch this
            and the others, and return.
        HTTPException, WebSocketException: one of these, hidden; answered with the application's own 404, or by
            closing the handshake as Starlette does where no route matches.
    """
    context, scope = context_of(connection.scope), connection.scope
    wanted = as_policy(policy, "authorize")
    if wanted.has_checks and is_loop_running():
        return OwedDecision(context.owing, _authorize_later(context, wanted, scope, hide=hide))
    with _hidden(context, scope, hide=hide):
        context.authorize_now(wanted, scope)
    return _Decided()


async def _authorize_later(context: RequestContext, policy: Policy, scope: Scope, *, hide: bool) -> None:
    with context.owing.making(), _hidden(context, scope, hide=hide):
        await context.authorize(policy, scope)


@contextmanager
def _hidden(context: RequestContext, scope: Scope, *, hide: bool) -> Iterator[None]:
    """Turn a refusal into what the application answers where there is nothing, if that is wanted."""
    try:
        yield
    except Refused:
        if not hide:
            raise
        context.refusal = None
        raise (NothingToConnectTo if scope["type"] == "websocket" else NothingThere) from None


class _Decided(Coroutine[Any, Any, None]):
    """What is left to await when all is decided: nothing. Unlike a coroutine's, its being forgotten is no fault."""

    def send(self, _: object, /) -> NoReturn:
        """End at once."""
        raise StopIteration

    def throw(self, *error: Any) -> NoReturn:
        """Raise what was thrown in."""
        raise error[0]

    def close(self) -> None:
        """Have nothing to close."""

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait for nothing."""
        yield from ()
