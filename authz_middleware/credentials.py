"""`request.auth` and `request.user`, for handlers and for Starlette's own tools. Enforcement believes neither."""

from __future__ import annotations

from collections.abc import Callable

from starlette.authentication import AuthCredentials, BaseUser

from .policy import Policy
from .policy.core import as_policy
from .token import AccessToken

__all__ = ["Caller", "Credentials"]


class Credentials(AuthCredentials):
    """`request.auth`: the token, and as `scopes` the effective grants, so that Starlette's own `requires` sees them."""

    def __init__(self, token: AccessToken | None, ask: Callable[[Policy], bool] | None = None) -> None:
        super().__init__([] if token is None else sorted(token.grants.effective))
        self.token = token
        self._ask = ask

    def allows(self, policy: Policy | str) -> bool:
        """Tell whether the caller meets a policy, without refusing anything; False for the anonymous.

        Nothing is awaited: an async `check` counts as not met, and a sync one keeps the event loop waiting; write
        `await authorize(request, policy)` for them.
        """
        return self._ask is not None and self._ask(as_policy(policy, "allows"))


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
