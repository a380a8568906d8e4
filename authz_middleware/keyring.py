"""The key sources of all trusted issuers, each asked once for all settings that share it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from ._jose import VerificationKey
from .issuers import TrustedIssuer
from .keys import KeySource, KeyStatus
from .keys.flights import running_loop
from .keys.guarded import GuardedSource

__all__ = ["Keyring"]


class Keyring:
    """Where the keys of each issuer come from. Settings of one issuer share a source, so that it is fetched once."""

    def __init__(self, issuers: Iterable[TrustedIssuer]) -> None:
        self._by_settings = _key_sources(issuers)
        pairs = ((trusted.issuer, source) for trusted, source in self._by_settings.items())
        self._distinct = tuple(dict.fromkeys(pairs))

    async def get(self, trusted: TrustedIssuer, kid: str | None, algorithm: str) -> VerificationKey:
        """Return a key of the issuer's.

        Raises:
            InvalidToken: there is no such key.
            KeysUnavailable: the source says so, or fails in a way of its own.
            ConfigurationError: there is no event loop of asyncio.
        """
        return await self._by_settings[trusted].get(kid, algorithm)

    def is_shared(self, one: TrustedIssuer, other: TrustedIssuer) -> bool:
        """Tell whether the keys of two settings come from one source."""
        return self._by_settings[one] is self._by_settings[other]

    async def warm_up(self) -> tuple[str, ...]:
        """Have all keys before the first token needs them. Return the issuers whose keys are not known to be there.

        Raises:
            ConfigurationError: there is no event loop of asyncio, or a source says what is wrong with it.
        """
        sources = {source for _, source in self._distinct}
        if any(source.needs_loop for source in sources):
            running_loop()  # said before anything is begun
            ready = dict(zip(sources, await asyncio.gather(*(s.warm_up() for s in sources)), strict=True))
        else:
            ready = {source: source.status().is_usable for source in sources}
        return tuple(dict.fromkeys(issuer for issuer, source in self._distinct if not ready[source]))

    async def aclose(self) -> None:
        """End what is under way on this event loop."""
        for source in dict.fromkeys(source for _, source in self._distinct):
            await source.aclose()

    def status(self) -> tuple[tuple[str, KeyStatus], ...]:
        """Return how the keys of each issuer are."""
        return tuple((issuer, source.status()) for issuer, source in self._distinct)


def _key_sources(issuers: Iterable[TrustedIssuer]) -> Mapping[TrustedIssuer, GuardedSource]:
    sources: dict[object, KeySource] = {}
    guarded: dict[int, GuardedSource] = {}  # by identity: a source of the application's own need not be hashable
    by_settings = {}
    for trusted in issuers:
        source = sources.setdefault(trusted.key_identity, trusted.key_source())
        by_settings[trusted] = guarded.setdefault(id(source), GuardedSource(source))
    return by_settings
