"""`as_caller`: call an endpoint function directly, as somebody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.types import Scope

from ..binding import bound
from ..challenge import Challenger
from ..context import RequestContext
from ..errors import ConfigurationError
from ..token import AccessToken

__all__ = ["as_caller"]


@contextmanager
def as_caller(token: AccessToken | None, *, path_params: Mapping[str, object] | None = None) -> Iterator[Scope]:
    """Let guarded functions be called within, as the holder of a token; None: as an anonymous caller.

    What the decorators state is decided for this token, and a refusal is raised: `errors.InsufficientScope`,
    `errors.MissingToken`. Coroutines are awaited and generators are exhausted within. Yields what a function with a
    `request` reads of its caller, for the scope of one: `Request({"type": "http", **scope})`.

    Nothing else of a request happens: no token is validated, and what only the application states (a mount, a
    dependency, `public_paths`) is not asked. For that, send a request to the application.

    Args:
        token: a validated token, such as `issuer.access_token(…)`.
        path_params: the path parameters of the request, for policies and functions that ask for them.

    Raises:
        ConfigurationError: this is no validated token.
    """
    if not isinstance(token, AccessToken | None):
        raise ConfigurationError(
            "as_caller takes a validated token, or None for an anonymous caller; "
            'write as_caller(issuer.access_token(permissions=["read:orders"]))'
        )
    scope: Scope = {} if path_params is None else {"path_params": dict(path_params)}
    with bound(RequestContext(token, Challenger()), scope):
        yield scope
