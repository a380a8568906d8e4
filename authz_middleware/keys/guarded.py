"""A key source, asked so that nothing it does can become the caller's fault: it may be an application's own.

What it has is found out once, when it is configured: `get`, and `status`, `warm_up` and `aclose`
where they are there.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from .._jose import VerificationKey
from ..errors import Code, ConfigurationError, InvalidToken, KeysUnavailable, Reason
from .flights import NoEventLoop
from .remote import RemoteJWKS
from .source import KeySource, SecretKey, StaticJWKS
from .status import KeyState, KeyStatus

__all__ = ["GuardedSource"]

RETRY_AFTER_SECONDS = 5
MOST_RETRY_AFTER = 86_400
SECONDS, CLOSING_SECONDS = 15.0, 5.0
"""How long a source of the application's own may take for an answer, and for its end."""
OURS = (RemoteJWKS, SecretKey, StaticJWKS)
"""Sources that keep their own deadlines. A subclass is none of them."""
UNKNOWN = KeyStatus(state=KeyState.UNKNOWN)
FAILED = KeyStatus(state=KeyState.UNAVAILABLE, last_error="source_failed")

_log = logging.getLogger("authz_middleware")


class GuardedSource:
    """One key source of any kind.

    Args:
        source: the source; see `KeySource`.
    """

    def __init__(self, source: KeySource) -> None:
        self.source = source
        self._get = source.get
        self._status, self._warm_up, self._aclose = (_method(source, name) for name in ("status", "warm_up", "aclose"))
        self._is_ours = type(source) in OURS
        self._fails = False

    @property
    def needs_loop(self) -> bool:
        """Whether it can only be readied under asyncio."""
        return self._warm_up is not None

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a key.

        Raises:
            InvalidToken: there is no such key.
            KeysUnavailable: the source says so, or fails in a way of its own.
            NoEventLoop: there is no event loop of asyncio.
        """
        try:
            asked = self._get(kid, algorithm) if self._is_ours else _within(SECONDS, self._get, kid, algorithm)
            key = _checked(await asked, algorithm)
        except (InvalidToken, NoEventLoop):
            raise
        except BaseException as error:
            if isinstance(error, KeysUnavailable) and _is_seconds(error.retry_after):
                raise
            _check_not_ours(error)
            self._note_failure(error)
            raise KeysUnavailable(Reason.KEY_SOURCE_FAILED, RETRY_AFTER_SECONDS) from None
        if self._fails:
            self._fails = False
            _log.info("the key source %s works again", type(self.source).__name__)
        return key

    def status(self) -> KeyStatus:
        """Return how its keys are, as far as it says."""
        if self._status is None:
            return UNKNOWN
        try:
            status = self._status()
        except Exception:  # noqa: BLE001 - it says nothing, and that is for whoever asks
            return FAILED
        if inspect.iscoroutine(status):
            status.close()
        return status if isinstance(status, KeyStatus) and isinstance(status.state, KeyState) else FAILED

    async def warm_up(self) -> bool:
        """Have keys before the first token needs one. Tell whether it says that there are some.

        Raises:
            ConfigurationError: it says what is wrong with it.
        """
        if self._warm_up is None:
            return self.status().is_usable
        try:
            has_keys = await (self._warm_up() if self._is_ours else _within(SECONDS, self._warm_up))
        except ConfigurationError:
            raise
        except BaseException as error:  # noqa: BLE001 - the others shall be readied all the same
            _check_not_ours(error)
            _log.warning("the key source failed to warm up with %s", _name(error))
            return False
        if not isinstance(has_keys, bool):
            _log.warning("warm_up of the key source returned a %s; it returns whether there are keys", _name(has_keys))
        return has_keys is True

    async def aclose(self) -> None:
        """End what is under way on this event loop."""
        if self._aclose is None:
            return
        try:
            await (self._aclose() if self._is_ours else _within(CLOSING_SECONDS, self._aclose))
        except BaseException as error:  # noqa: BLE001 - the others shall be closed all the same
            _check_not_ours(error)
            _log.warning("the key source failed to close with %s", _name(error))

    def _note_failure(self, error: BaseException) -> None:
        """Say so once for each outage: there may be thousands of requests in it."""
        if not self._fails:
            self._fails = True
            _log.warning(
                "the key source %s", error.says if isinstance(error, _NoKey) else f"failed with {_name(error)}"
            )


class _NoKey(Exception):
    """What came back is no key."""

    def __init__(self, returned: object) -> None:
        self.says = f"returned no VerificationKey, but a {type(returned).__name__}"
        super().__init__()


def _checked(key: object, algorithm: str) -> VerificationKey:
    if not isinstance(key, VerificationKey):
        raise _NoKey(key)
    if key.algorithm != algorithm:  # the caller has named it: no fault of the source's
        raise InvalidToken(Code.UNKNOWN_KEY, Reason.KEY_NOT_PUBLISHED)
    return key


def _name(value: object) -> str:
    return type(value).__name__


def _method(source: KeySource, name: str) -> Callable[[], Any] | None:
    """Return a method as it is found on the object: what an object forwards is its own."""
    found: object = getattr(source, name, None)
    return found if callable(found) else None


async def _within(seconds: float, ask: Callable[..., Awaitable[object]], *arguments: object) -> object:
    if not _is_in_task():
        return await ask(*arguments)  # there is no clock to wait by
    async with asyncio.timeout(seconds):
        return await ask(*arguments)


def _is_in_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no event loop of asyncio runs
        return False


def _is_seconds(retry_after: object) -> bool:
    """Tell whether a source names a time that can be passed on to clients."""
    return isinstance(retry_after, int) and not isinstance(retry_after, bool) and 0 <= retry_after <= MOST_RETRY_AFTER


def _check_not_ours(error: BaseException) -> None:
    """Let pass what ends the process or this very task; any other cancellation is one more way for a source to fail."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        raise error
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task() if _is_in_task() else None
        if task is None or task.cancelling():
            raise error
