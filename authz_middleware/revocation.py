"""An application's own answer to whether a token was revoked before it expires.

Nothing here asks the issuer: what is asked is a function of the application's, about every request.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from .errors import Code, InvalidToken, Reason, Refused, RevocationUnknown
from .token import AccessToken

__all__ = ["RevocationCheck", "Revoked"]

RETRY_AFTER_SECONDS = 5
SECONDS = 5.0
"""How long an async answer may take."""

Revoked = Callable[[AccessToken], bool | Awaitable[bool]]
"""Tells whether a token was revoked. A plain function runs on the event loop, so it must not wait for anything."""

_log = logging.getLogger("authz_middleware")


class RevocationCheck:
    """Asks an application's function about verified tokens. What is no clear answer refuses.

    Args:
        revoked: the function.
    """

    def __init__(self, revoked: Revoked) -> None:
        self._revoked = revoked
        self._fails = False

    async def check(self, token: AccessToken) -> None:
        """Ask whether a token was revoked.

        Raises:
            InvalidToken: it was.
            RevocationUnknown: there is no answer, or none in time.
        """
        answer = await self._ask(token)
        if answer is False:
            return
        refused: Refused = RevocationUnknown(RETRY_AFTER_SECONDS)
        if answer is True:
            refused = InvalidToken(Code.REVOKED, Reason.REVOKED)
        refused.issuer, refused.dialect = token.issuer, token.dialect
        raise refused

    async def _ask(self, token: AccessToken) -> object:
        """Return the answer, or None where there is none: fail closed, as our outage and not as the caller's fault."""
        try:
            answer: object = self._revoked(token)
            if inspect.isawaitable(answer):
                async with asyncio.timeout(SECONDS):
                    answer = await answer
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise  # somebody ends this request
            self._note_failure("failed with CancelledError")  # something it waited for was ended: one more way to fail
            return None
        except Exception as error:  # noqa: BLE001 - the function is the application's, and may raise anything
            self._note_failure(f"failed with {type(error).__name__}")
            return None
        if not isinstance(answer, bool):
            self._note_failure(f"returned a {type(answer).__name__} where a bool is due")
        elif self._fails:
            self._fails = False
            _log.info("revoked answers again")
        return answer

    def _note_failure(self, what: str) -> None:
        """Say so once for each outage: it is asked at every request."""
        if not self._fails:
            self._fails = True
            _log.warning("revoked %s", what)
