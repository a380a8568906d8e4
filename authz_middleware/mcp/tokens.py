"""Tokens as the MCP SDK knows them: its `TokenVerifier` over our validator.

Sources: the SDK's `mcp.server.auth.provider`; RFC 8707 section 2 (resource).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mcp.server.auth.provider import AccessToken as SDKAccessToken
from pydantic import Field

from .._jose import DEFAULT_MAX_TOKEN_BYTES
from ..errors import InvalidToken
from ..issuers import TrustedIssuer
from ..keys import KeyStatus
from ..observation import NOWHERE, Observation
from ..observe import Observer, RequestDecision
from ..revocation import Revoked
from ..token import AccessToken
from ..validator import AccessTokenValidator
from ..verified import MAX_CACHED_BYTES, MAX_CACHED_TOKENS
from ..warm_up import check_warm_up, fetch_keys

__all__ = ["AccessTokenVerifier", "Attempt", "VerifiedAccessToken", "attempt", "token_verifier"]


class VerifiedAccessToken(SDKAccessToken):
    """The SDK's token with ours behind it. Neither the token's text nor its claims are in its `repr`, so in no log.

    `scopes` are the effective grants and not the scope claim: the SDK decides by them.
    """

    token: str = Field(repr=False)
    claims: dict[str, Any] | None = Field(default=None, repr=False)
    _verified: AccessToken

    def __init__(self, token: str, verified: AccessToken, resource: str | None = None) -> None:
        super().__init__(
            token=token,
            client_id=verified.client_id or "",
            scopes=sorted(verified.grants.effective),
            expires_at=int(verified.expires_at),
            resource=resource,
            subject=verified.subject,
            claims={name: _thawed(value) for name, value in verified.claims.items()},
        )
        self._verified = verified

    @property
    def verified(self) -> AccessToken:
        """The token as this package reads it."""
        return self._verified


def _thawed(value: object) -> object:
    """Return a claim as JSON has it: the SDK's model takes no read-only mappings."""
    if isinstance(value, Mapping):
        return {name: _thawed(item) for name, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


@dataclass(slots=True)
class Attempt:
    """What became of a request's token: refused, or accepted, which the SDK may yet refuse; neither: there is none."""

    refused: InvalidToken | None = None
    accepted: VerifiedAccessToken | None = None


attempt: ContextVar[Attempt | None] = ContextVar("authz_middleware.mcp.attempt", default=None)
"""That of the request being served; None: the SDK's own application serves, which does not tell of refusals."""


class AccessTokenVerifier:
    """The SDK's `TokenVerifier` over our validation. `token_verifier` makes one.

    Attributes:
        issuers: whom it trusts.
        observer: who is told of decisions.
    """

    def __init__(
        self, validator: AccessTokenValidator, resource: str | None, observer: Observer, *, warm_up: str = "off"
    ) -> None:
        self.observer = observer
        self._validator = validator
        self._resource = resource
        self._warm_up = check_warm_up(warm_up)

    @property
    def issuers(self) -> tuple[TrustedIssuer, ...]:
        """Whom it trusts."""
        return self._validator.issuers

    async def verify_token(self, token: str) -> SDKAccessToken | None:
        """Return the verified token; None if it must not be accepted, which the SDK answers with 401.

        Raises:
            KeysUnavailable: the issuer's keys could not be fetched.
            RevocationUnknown: whether the token was revoked could not be found out.
        """
        current = attempt.get()
        try:
            verified = await self._validator.validate(token)
        except InvalidToken as refused:
            if current is None:
                Observation(self.observer, "", NOWHERE, None).refused(refused)
            else:
                current.refused = refused
            return None
        accepted = VerifiedAccessToken(token, verified, self._resource_of(verified))
        if current is not None:
            current.accepted = accepted
        return accepted

    async def start(self) -> None:
        """Have the keys before the first request, where that is wanted; `streamable_http_app` calls it at start.

        Raises:
            StartFailed: they are required and cannot be fetched.
        """
        await fetch_keys(self._validator, self._warm_up)

    async def aclose(self) -> None:
        """End what is under way for keys; `streamable_http_app` calls it when its application ends."""
        await self._validator.aclose()

    def status(self) -> tuple[tuple[str, KeyStatus], ...]:
        """Return how the keys of each issuer are, by issuer."""
        return self._validator.status()

    def _resource_of(self, verified: AccessToken) -> str | None:
        """Return the audience the token was accepted for: the server's own URL where it is among several."""
        issuers = [issuer for issuer in self.issuers if issuer.issuer == verified.issuer]
        trusted = frozenset().union(*(issuer.settings.audiences for issuer in issuers))
        accepted = [audience for audience in verified.audience if audience in trusted]
        return self._resource if self._resource in accepted else next(iter(accepted), None)


def token_verifier(
    issuers: Iterable[TrustedIssuer],
    *,
    resource: str | None = None,
    max_token_bytes: int = DEFAULT_MAX_TOKEN_BYTES,
    max_cached_tokens: int = MAX_CACHED_TOKENS,
    max_cached_bytes: int = MAX_CACHED_BYTES,
    revoked: Revoked | None = None,
    on_decision: Callable[[RequestDecision], object] | None = None,
    warm_up: str = "off",
) -> AccessTokenVerifier:
    """Return a verifier for `MCPServer(token_verifier=…, auth=AuthSettings(…))`.

    The SDK's `scopes` are the token's effective grants, so `required_scopes` asks what `requires` asks. The audience is
    checked here, whatever `validate_token_resource` says; that setting compares URLs, and is for an audience that is
    the server's URL. The SDK itself refuses a token at its `exp`, without leeway, and words all refusals alike: the
    reason is logged at INFO, and told to `on_decision`.

    The protocol knows no "try again later". While an issuer's keys are unavailable, `KeysUnavailable` is raised. The
    SDK's own application answers that with 500, which is no reason for a client to drop its token, as a 401 would be.
    `streamable_http_app` of this module answers 503 with `Retry-After`.

    Args:
        issuers: whom to trust.
        resource: `AuthSettings.resource_server_url`, where an issuer has several audiences and this is one of them.
        max_token_bytes: longer tokens are refused unparsed; up to 131072.
        max_cached_tokens: how many verified tokens are remembered; 0 switches that off.
        max_cached_bytes: the length of them all.
        revoked: asked about every verified token, see `AccessTokenValidator`.
        on_decision: called with every `RequestDecision` about a tool, resource or prompt, and with every refusal.
        warm_up: whether the start waits for every issuer's keys: `"off"`, `"try"` to go on without them, `"require"` to
            fail the start. Only where the server runs the lifespan of `streamable_http_app`.

    Raises:
        ConfigurationError: no issuers, two that cannot be told apart, or an argument that is invalid.
    """
    validator = AccessTokenValidator(
        issuers,
        max_token_bytes=max_token_bytes,
        max_cached_tokens=max_cached_tokens,
        max_cached_bytes=max_cached_bytes,
        revoked=revoked,
    )
    return AccessTokenVerifier(validator, resource, Observer(on_decision), warm_up=warm_up)
