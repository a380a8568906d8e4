"""What a response says, and what it should say, in one comparable form."""

from __future__ import annotations

from http import HTTPStatus

import httpx

from authz_middleware.errors import ANSWERS, Code

__all__ = ["Seen", "forbidden", "refusal", "seen"]

Seen = tuple[int, str | None, dict[str, object]]
"""Status, challenge, body."""


def seen(response: httpx.Response) -> Seen:
    """Return what came back."""
    return response.status_code, response.headers.get("www-authenticate"), response.json()


def refusal(code: Code, *, scope: str | None = None) -> Seen:
    """Return the answer to a token, or its absence, that is refused by `code`."""
    answer = ANSWERS[code]
    parameters = ['realm="api"']
    if answer.error is not None:
        parameters += [f'error="{answer.error}"', f'error_description="{answer.detail}"']
    if scope is not None:
        parameters.append(f'scope="{scope}"')
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(answer.status).phrase,
        "status": answer.status,
        "code": code.value,
        "detail": answer.detail,
    }
    return answer.status, "Bearer " + ", ".join(parameters), body


def forbidden(required: str) -> Seen:
    """Return the answer to a good token that lacks the one grant a route requires."""
    status, challenge, body = refusal(Code.INSUFFICIENT_SCOPE, scope=required)
    return status, challenge, {**body, "required": [[required]]}
