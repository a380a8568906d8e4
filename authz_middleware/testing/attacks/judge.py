"""Whether an answer is the refusal that an attack must meet."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from http import HTTPStatus

from ...errors import ANSWERS, Code
from .wire import Answer, Attempt

__all__ = ["find_fault"]

SECRET_LENGTH = 40
"""Words of a request that are this long are credentials; an answer must not repeat them."""


def find_fault(answer: Answer, allowed: Collection[Code], attempt: Attempt, method: str) -> str | None:
    """Return what is wrong with an answer, in words; None: it is one of the refusals allowed."""
    status = answer.status
    if answer.raised is not None:
        return f"it raised {answer.raised}" + ("" if status is None else f" after it had answered {status}")
    if answer.let_in:
        return "the WebSocket was accepted"
    if status is None:
        return "it answered nothing"
    code = answer.problem().get("code")
    if not _is_allowed(status, code, allowed, has_body=method != "HEAD"):
        return f"{status}{f' {code}' if code else ''} instead of {_listing(allowed)}"
    challenge = answer.headers.get("www-authenticate", "")
    if status == HTTPStatus.UNAUTHORIZED and not challenge.startswith("Bearer "):
        return "401 without a Bearer challenge"
    if any(secret in answer.text for secret in _secrets(attempt)):
        return f"{status} that repeats the credentials"
    return None


def _is_allowed(status: int, code: object, allowed: Collection[Code], *, has_body: bool) -> bool:
    fitting = {each.value for each in allowed if ANSWERS[each].status == status}
    return (isinstance(code, str) and code in fitting) if has_body else bool(fitting)


def _listing(allowed: Collection[Code]) -> str:
    return " or ".join(sorted(f"{ANSWERS[code].status} {code}" for code in allowed))


def _secrets(attempt: Attempt) -> Iterator[str]:
    for _, value in attempt.headers:
        yield from (word for word in value.decode("latin-1").split() if len(word) >= SECRET_LENGTH)
