"""Tokens as the MCP SDK knows them: its `TokenVerifier` over our validator.

Sources: the SDK's `mcp.server.auth.provider`; RFC 8707 section 2 (resource).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mcp.server.auth.provider import AccessToken as SDKAccessToken
from mcp.server.auth.provider import TokenVerifier
from pydantic import Field

from .._jose import DEFAULT_MAX_TOKEN_BYTES
from ..errors import InvalidToken
from ..issuers import TrustedIssuer
from ..token import AccessToken
from ..validator import AccessTokenValidator

__all__ = ["VerifiedAccessToken", "token_verifier"]

_log = logging.getLogger("authz_middleware")


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


class _Verifier:
    """A `TokenVerifier` over an `AccessTokenValidator`."""

    def __init__(self, validator: AccessTokenValidator, resource: str | None) -> None:
        self._validator = validator
        self._resource = resource

    async def verify_token(self, token: str) -> SDKAccessToken | None:
        """Return the verified token; None if it must not be accepted, which the SDK answers with 401.

        Raises:
            KeysUnavailable: the issuer's keys could not be had.
        """
        try:
            verified = await self._validator.validate(token)
        except InvalidToken as refused:
            _log.info("refused by the MCP token verifier: code=%s reason=%s", refused.code, refused.reason)
            return None
        return VerifiedAccessToken(token, verified, self._resource_of(verified))

    def _resource_of(self, verified: AccessToken) -> str | None:
        """Return the audience the token was accepted for: the server's own URL where it is among several."""
        issuers = [issuer for issuer in self._validator.issuers if issuer.issuer == verified.issuer]
        trusted = frozenset().union(*(issuer.settings.audiences for issuer in issuers))
        accepted = [audience for audience in verified.audience if audience in trusted]
        return self._resource if self._resource in accepted else next(iter(accepted), None)


def token_verifier(
    issuers: Iterable[TrustedIssuer], *, resource: str | None = None, max_token_bytes: int = DEFAULT_MAX_TOKEN_BYTES
) -> TokenVerifier:
    """Return a verifier for `MCPServer(token_verifier=…, auth=AuthSettings(…))`.

    The SDK's `scopes` are the token's effective grants, so `required_scopes` asks what `requires` asks. The audience is
    checked here, whatever `validate_token_resource` says; that setting compares URLs, and is for an audience that is
    the server's URL. The SDK itself refuses a token at its `exp`, without leeway, and words all refusals alike: the
    reason is logged at INFO.

    The protocol knows no "try again later". While an issuer's keys are unavailable, `KeysUnavailable` is raised. The
    SDK's own application answers that with 500, which is no reason for a client to drop its token, as a 401 would be.
    `streamable_http_app` of this module answers 503 with `Retry-After`.

    Args:
        issuers: whom to trust.
        resource: `AuthSettings.resource_server_url`, where an issuer has several audiences and this is one of them.
        max_token_bytes: longer tokens are refused unparsed; up to 131072.

    Raises:
        ConfigurationError: no issuers, or two that cannot be told apart.
    """
    return _Verifier(AccessTokenValidator(issuers, max_token_bytes=max_token_bytes), resource)
