"""Resource-server enforcement for Starlette and FastAPI.

Validates OAuth 2 access tokens of every dialect against the issuer's published keys, normalizes scopes and
permissions into one grant set, and lets routes require grants.
"""

from __future__ import annotations

from . import policy
from .decorators import authenticated, public, requires, requires_permissions, requires_scopes
from .errors import ConfigurationError
from .handlers import access_token, authorize
from .issuers import TrustedIssuer
from .middleware import AuthzMiddleware
from .token import AccessToken
from .validator import AccessTokenValidator

__all__ = [
    "AccessToken",
    "AccessTokenValidator",
    "AuthzMiddleware",
    "ConfigurationError",
    "TrustedIssuer",
    "access_token",
    "authenticated",
    "authorize",
    "policy",
    "public",
    "requires",
    "requires_permissions",
    "requires_scopes",
]
