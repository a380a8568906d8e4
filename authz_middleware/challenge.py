"""`Authorization` in, `WWW-Authenticate` and problem bodies out. From here on the framework's types appear.

Sources: RFC 6750 sections 2.1 and 3 (Bearer), RFC 9110 section 11 (challenges), RFC 9457 (problem details),
RFC 9728 section 5.1 (`resource_metadata`), ASGI's WebSocket denial response extension.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Scope, Send

from ._jose import DEFAULT_MAX_TOKEN_BYTES
from .errors import (
    Code,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    NoPolicy,
    Reason,
    Refused,
    Unavailable,
)

__all__ = ["Challenger", "read_bearer_token", "send_refusal"]

_SCHEME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2, token
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/-]+=*)")  # RFC 9110 section 11.2, token68
_QUOTABLE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
"""What a quoted parameter may hold without escapes: the characters RFC 6750 section 3 allows in descriptions."""


def read_bearer_token(scope: Scope, max_bytes: int = DEFAULT_MAX_TOKEN_BYTES) -> str | None:
    """Return the bearer token of a request, or None if it carries no credentials of ours.

    Only the header is read: tokens in query or body leak (RFC 9700 section 4.3.2). The scheme's case is insignificant
    (RFC 9110 section 11.1).

    Raises:
        InvalidRequest: two headers, or ours but malformed.
        InvalidToken: too large, or the scheme is DPoP, whose proofs nothing here verifies.
    """
    values = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest
    scheme = _SCHEME.match(values[0])
    if scheme is None and values[0]:
        raise InvalidRequest  # whatever this is, it is no "no credentials"
    match scheme[0].lower() if scheme else b"":
        case b"bearer":
            return _read_token68(values[0], max_bytes)
        case b"dpop":
            raise InvalidToken(Code.PROOF_REQUIRED, Reason.DPOP_SCHEME)
        case _:
            return None


def _read_token68(value: bytes, max_bytes: int) -> str:
    if len(value) > len("Bearer ") + max_bytes:
        raise InvalidToken(Code.MALFORMED_TOKEN, Reason.TOO_LARGE)
    bearer = _BEARER.fullmatch(value)
    if bearer is None:
        raise InvalidRequest
    return bearer[1].decode("ascii")


def is_quotable(text: str) -> bool:
    """Tell whether a text can stand between quotes in a challenge as it is."""
    return _QUOTABLE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Challenger:
    """Turns refusals into answers for one application: its realm, and its metadata URL where it has one."""

    realm: str = "api"
    resource_metadata: str | None = None

    def challenge(self, refused: Refused) -> str | None:
        """Return the `WWW-Authenticate` value of a refusal, or None if it has none.

        Parameters stand in this order: realm, error, error_description, scope, resource_metadata.
        """
        if isinstance(refused, Unavailable | NoPolicy):
            return None
        answer = refused.answer
        parameters = [("realm", self.realm)]
        if answer.error is not None:
            parameters += [("error", answer.error), ("error_description", answer.detail)]
        if refused.scope:
            parameters.append(("scope", " ".join(refused.scope)))
        if self.resource_metadata is not None:
            parameters.append(("resource_metadata", self.resource_metadata))
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters)

    def problem(self, refused: Refused) -> dict[str, object]:
        """Return the problem body of a refusal (RFC 9457 section 3)."""
        answer = refused.answer
        body: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(answer.status).phrase,
            "status": answer.status,
            "code": refused.code.value,
            "detail": answer.detail,
        }
        if answer.status == HTTPStatus.FORBIDDEN:
            body["required"] = (
                [list(names) for names in refused.required] if isinstance(refused, InsufficientScope) else []
            )
        return body

    def response(self, refused: Refused) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return headers and body of a refusal."""
        body = json.dumps(self.problem(refused)).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        challenge = self.challenge(refused)
        if challenge is not None:
            headers.append((b"www-authenticate", challenge.encode("ascii")))
        if isinstance(refused, Unavailable):
            headers.append((b"retry-after", str(refused.retry_after).encode()))
        return headers, body


async def send_refusal(challenger: Challenger, refused: Refused, scope: Scope, send: Send) -> None:
    """Answer a request with a refusal: HTTP, a WebSocket denial response, or a close before accept."""
    headers, body = challenger.response(refused)
    if scope["type"] == "http":
        prefix = "http.response"
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        prefix = "websocket.http.response"
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": ""})  # servers answer a bare 403
        return
    if scope.get("method") == "HEAD":
        body = b""
    await send({"type": f"{prefix}.start", "status": refused.answer.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
