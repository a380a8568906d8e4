"""For MCP servers built with the Python SDK (`mcp`): behind `AuthzMiddleware`, or with the SDK's own authentication.

`token_verifier` puts our validation where the SDK asks for a `TokenVerifier`. `streamable_http_app` is the SDK's
application with what both ways need beside it: tools that state a policy, sessions that belong to one caller, and
refusals an MCP client can act on. Inside a tool `access_token` tells who calls, and `authorize` decides. `features`
lists what a server offers, and what each part states.

Source: the MCP specification of 2025-11-25 and 2026-07-28, "Authorization".
"""

from __future__ import annotations

try:
    from .application import streamable_http_app
    from .features import Feature, features
    from .messages import access_token, authorize
    from .tokens import AccessTokenVerifier, token_verifier
except ImportError as error:
    raise ImportError(
        'authz_middleware.mcp needs the MCP SDK, version 2.3 or later; write pip install "authz_middleware[mcp]"'
    ) from error

__all__ = [
    "AccessTokenVerifier",
    "Feature",
    "access_token",
    "authorize",
    "features",
    "streamable_http_app",
    "token_verifier",
]
