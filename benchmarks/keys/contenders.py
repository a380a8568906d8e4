"""What is measured: this package and its peers, each behind one question: which status would an API answer?

A contender may be run with its defaults and with other documented settings; each is a `Variant`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from authz_middleware import AccessTokenValidator, TrustedIssuer
from authz_middleware.errors import ANSWERS, Refused
from authz_middleware.keys import RemoteJWKS

from .clock import Clock
from .server import Server
from .tokens import AUDIENCE
from .world import Api

Opened = Callable[[Server, Clock], AbstractContextManager[Api]]
OK = 200
SHORT_MAX_AGE = "public, max-age=15"
"""What Auth0's documentation of its Python SDK says its servers send with their metadata."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A contender with certain settings.

    Args:
        name: the contender.
        setting: what differs from its defaults, or nothing.
        open: makes it anew, with nothing fetched yet.
        cache_control: what the server sends with both documents.
        moves_time: its timeouts follow the event loop's clock. Those of blocking sockets cannot.
        is_throttled: unknown keys do not cause a fetch each; else fewer requests are sent, for the run's sake.
    """

    name: str
    setting: str
    open: Opened
    cache_control: str | None = None
    moves_time: bool = True
    is_throttled: bool = True

    @property
    def label(self) -> str:
        return f"{self.name}: {self.setting}" if self.setting else self.name


@contextmanager
def open_ours(server: Server, clock: Clock) -> Iterator[Api]:
    """This package with its defaults; only the clocks and the jitter's seed are given."""
    jitter = random.Random(4).uniform  # noqa: S311 - the same for every run
    keys = RemoteJWKS(server.issuer, frozenset({"RS256"}), clock=clock, jitter=jitter)
    trusted = TrustedIssuer(server.issuer, AUDIENCE, keys=keys, algorithms=["RS256"])
    validator = AccessTokenValidator([trusted], clock=clock.epoch)

    async def answer(token: str) -> int:
        try:
            await validator.validate(token)
        except Refused as refused:
            return ANSWERS[refused.code].status
        return OK

    yield answer


NAME = "authz_middleware"
OURS = Variant(NAME, "", open_ours)
OURS_SHORT = Variant(NAME, "server sends `max-age=15`", open_ours, cache_control=SHORT_MAX_AGE)
