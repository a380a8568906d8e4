"""The refusals of this package as OpenAPI responses: made from the answers themselves, so that both say the same.

Sources: OpenAPI 3.1 (response and media type objects), RFC 9457 (problem details), RFC 6750 section 3 (challenges).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..challenge import Challenger
from ..errors import (
    Code,
    InsufficientScope,
    InvalidToken,
    KeysUnavailable,
    MissingToken,
    NoPolicy,
    Reason,
    Refused,
)
from ..policy import Policy
from ..policy.decision import suggest

__all__ = ["PROBLEM", "forbidden", "unauthorized", "unavailable"]

PROBLEM: Mapping[str, object] = {
    "title": "AccessProblem",
    "description": "Why a request was refused (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "Always `about:blank`; `code` tells refusals apart."},
        "title": {"type": "string", "description": "The name of the status."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "What went wrong, for programs."},
        "detail": {"type": "string", "description": "What went wrong, for people."},
        "required": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "string"}},
            "description": "With status 403: what would do, as alternatives, each a list of grant names.",
        },
    },
    "required": ["type", "title", "status", "code", "detail"],
}
"""The schema of a problem body. `schema` below is the reference to it."""

_CHALLENGE = {
    "WWW-Authenticate": {
        "description": "What is needed, and what went wrong (RFC 6750 section 3).",
        "schema": {"type": "string"},
    }
}
_RETRY = {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}}


def unauthorized(schema: str) -> dict[str, object]:
    """Return the response to a missing or bad token."""
    refusals = (MissingToken(), InvalidToken(Code.EXPIRED, Reason.EXPIRED))
    about = "An access token is needed and missing, or the one sent is not accepted."
    return _response(about, schema, refusals, _CHALLENGE)


def forbidden(policy: Policy | None, schema: str) -> dict[str, object]:
    """Return the response to a good token that does not meet this policy; without a policy, none does."""
    if policy is None:
        return _response("Nobody may call this: it states no access policy.", schema, [NoPolicy()])
    refused = InsufficientScope(*suggest(policy))
    return _response("The access token does not allow this.", schema, [refused], _CHALLENGE)


def unavailable(schema: str) -> dict[str, object]:
    """Return the response while the issuer's keys are unavailable."""
    refused = KeysUnavailable(Reason.NEVER_FETCHED, 1)
    return _response("The keys that verify access tokens are unavailable; try again later.", schema, [refused], _RETRY)


def _response(
    description: str, schema: str, examples: Sequence[Refused], headers: Mapping[str, object] | None = None
) -> dict[str, object]:
    bodies = {refused.code.value: {"value": Challenger().problem(refused)} for refused in examples}
    content = {"application/problem+json": {"schema": {"$ref": schema}, "examples": bodies}}
    return {"description": description, **({"headers": headers} if headers else {}), "content": content}
