"""The key sources of all trusted issuers, asked so that nothing a source does can become the caller's fault."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from ._jose import VerificationKey
from .errors import ConfigurationError, KeysUnavailable, Reason, Refused
from .issuers import TrustedIssuer
from .keys import KeySource, KeyStatus, ManagedKeySource, ReportingKeySource
from .keys.flights import running_loop

__all__ = ["Keyring"]

RETRY_AFTER_SECONDS = 5

_log = logging.getLogger("authz_middleware")


class Keyring:
    """Where the keys of each issuer come from. Settings of one issuer share a source, so that it is fetched once."""

    def __init__(self, issuers: Iterable[TrustedIssuer]) -> None:
        self._by_settings = _key_sources(issuers)
        pairs = ((trusted.issuer, source) for trusted, source in self._by_settings.items())
        # By identity: a source of the application's own need not be hashable.
        self._distinct = tuple({(issuer, id(source)): (issuer, source) for issuer, source in pairs}.values())

    async def get(self, trusted: TrustedIssuer, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a key of the issuer's.

        Raises:
            InvalidToken: there is no such key.
            KeysUnavailable: the source says so, or fails in a way of its own.
        """
        try:
            key: object = await self._by_settings[trusted].get(kid, algorithm)
        except (Refused, ConfigurationError):
            raise
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - our outage, not the caller's fault
            _check_not_ours(error)
            raise _failed(error) from None
        if not isinstance(key, VerificationKey) or key.algorithm != algorithm:
            _log.warning("the key source returned no VerificationKey for the algorithm, but a %s", type(key).__name__)
            raise KeysUnavailable(Reason.KEY_SOURCE_FAILED, RETRY_AFTER_SECONDS)
        return key

    def is_shared(self, one: TrustedIssuer, other: TrustedIssuer) -> bool:
        """Tell whether the keys of two settings come from one source."""
        return self._by_settings[one] is self._by_settings[other]

    async def warm_up(self) -> tuple[str, ...]:
        """Have all keys before the first token needs them. Return the issuers whose keys cannot be had.

        Raises:
            ConfigurationError: there is no event loop of asyncio, or a source says what is wrong with it.
        """
        managed = [source for _, source in self._distinct if isinstance(source, ManagedKeySource)]
        if not managed:
            return ()
        running_loop()  # said before anything is begun
        are_ready = await asyncio.gather(*map(_warm_up, managed))
        missing = {id(source) for source, is_ready in zip(managed, are_ready, strict=True) if not is_ready}
        return tuple(dict.fromkeys(issuer for issuer, source in self._distinct if id(source) in missing))

    async def aclose(self) -> None:
        """End what is under way on this event loop."""
        for _, source in self._distinct:
            if isinstance(source, ManagedKeySource):
                await _close(source)

    def status(self) -> tuple[tuple[str, KeyStatus], ...]:
        """Return how the keys of each issuer are; a source that does not say is left out."""
        return tuple(
            (issuer, source.status()) for issuer, source in self._distinct if isinstance(source, ReportingKeySource)
        )


def _key_sources(issuers: Iterable[TrustedIssuer]) -> Mapping[TrustedIssuer, KeySource]:
    sources: dict[object, KeySource] = {}
    by_settings = {}
    for trusted in issuers:
        if trusted.key_identity not in sources:
            sources[trusted.key_identity] = trusted.key_source()
        by_settings[trusted] = sources[trusted.key_identity]
    return by_settings


def _check_not_ours(error: BaseException) -> None:
    """Let a cancellation of this very task pass; any other is one more way for a source to fail."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise error


def _failed(error: BaseException) -> KeysUnavailable:
    _log.warning("the key source failed with %s", type(error).__name__)
    return KeysUnavailable(Reason.KEY_SOURCE_FAILED, RETRY_AFTER_SECONDS)


async def _warm_up(source: ManagedKeySource) -> bool:
    try:
        return await source.warm_up() is True
    except ConfigurationError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the others shall be readied all the same
        _check_not_ours(error)
        _log.warning("the key source failed to warm up with %s", type(error).__name__)
        return False


async def _close(source: ManagedKeySource) -> None:
    try:
        await source.aclose()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the others shall be closed all the same
        _check_not_ours(error)
        _log.warning("the key source failed to close with %s", type(error).__name__)
