"""A ready-made readiness check: whether the keys of every trusted issuer are there, so that tokens can be verified.

Put it on a route of its own, as it is: `Route("/readyz", readiness)`; in FastAPI `app.add_route("/readyz", readiness)`.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Scope

from .decorators import public
from .errors import ConfigurationError
from .validator import AccessTokenValidator

__all__ = ["VALIDATOR_KEY", "readiness"]

VALIDATOR_KEY = "authz_middleware.validator"
"""Where a scope says what validates its tokens."""


@public
async def readiness(request: Request) -> JSONResponse:
    """Answer 200 if tokens of every issuer can be verified now, 503 if not; with the state of each issuer's keys.

    Keys that were never had are asked for, under the limits that hold for all requests. Public: a prober has no token.

    Raises:
        ConfigurationError: no AuthzMiddleware stands in front.
    """
    validator = _validator_of(request.scope)
    if not all(status.is_usable for _, status in validator.status()):
        await validator.warm_up()
    statuses = validator.status()
    is_ready = all(status.is_usable for _, status in statuses)
    issuers = [{"issuer": issuer, "keys": status.state.value} for issuer, status in statuses]
    body = {"status": "ready" if is_ready else "not ready", "issuers": issuers}
    return JSONResponse(body, 200 if is_ready else 503, {"Cache-Control": "no-store"})


def _validator_of(scope: Scope) -> AccessTokenValidator:
    validator = scope.get(VALIDATOR_KEY)
    if not isinstance(validator, AccessTokenValidator):
        raise ConfigurationError("readiness needs AuthzMiddleware in front of it; write app.add_middleware(…)")
    return validator
