"""The cache of verified tokens: what was proved once is not proved again, as long as all that it rests on still holds.

Keyed by a digest: raw tokens are not kept. Only tokens that were accepted get in, so that no flood of bad ones pushes a
good one out. An entry is believed only after its expiry and its key were looked at again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import Cache, LRUCache

from ._jose import VerificationKey
from ._locks import new_lock
from .errors import ConfigurationError
from .issuers import TrustedIssuer
from .token import AccessToken

__all__ = ["MAX_CACHED_BYTES", "MAX_CACHED_TOKENS", "VerifiedToken", "VerifiedTokens", "digest_of"]

MAX_CACHED_TOKENS = 10_000
MAX_CACHED_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token that was accepted, and what that rests on: whose settings, which key, and until when."""

    token: AccessToken
    trusted: TrustedIssuer
    kid: str | None
    key: VerificationKey
    expires_at: float
    size: int


def digest_of(token: str) -> bytes:
    """Return what a token is remembered by."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class VerifiedTokens:
    """At most so many tokens, and so many bytes, counted as the length of the raw tokens; least recently used go first.

    Args:
        max_tokens: entries; 0 switches the cache off. max_bytes: length of all raw tokens together; what they say
            weighs about six times that in memory.

    Raises:
        ConfigurationError: a number that is none, or negative.
    """

    def __init__(self, max_tokens: int = MAX_CACHED_TOKENS, max_bytes: int = MAX_CACHED_BYTES) -> None:
        for name, value in (("max_cached_tokens", max_tokens), ("max_cached_bytes", max_bytes)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ConfigurationError(f"{name} is a whole number, 0 or more; 0 switches the cache off")
        self.is_on = max_tokens > 0 and max_bytes > 0
        self._max_tokens = max_tokens
        self._entries: LRUCache[bytes, VerifiedToken] = LRUCache(max_bytes, getsizeof=lambda entry: entry.size)
        self._lock = new_lock()  # one validator may serve event loops of several threads

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """The length of all raw tokens together, in bytes."""
        return int(self._entries.currsize)

    def get(self, digest: bytes) -> VerifiedToken | None:
        """Return what is known about a token. Whether that still holds is not checked here."""
        with self._lock:
            return self._entries.get(digest)

    def put(self, digest: bytes, entry: VerifiedToken) -> None:
        """Remember a token, unless it alone is larger than all that may be kept."""
        with self._lock:
            if entry.size > self._entries.maxsize:
                return
            while len(self._entries) >= self._max_tokens and digest not in self._entries:
                self._entries.popitem()
            self._entries[digest] = entry

    def discard(self, digest: bytes) -> None:
        """Forget a token."""
        with self._lock:
            self._entries.pop(digest, None)

    def drop(self, is_void: Callable[[VerifiedToken], bool]) -> None:
        """Forget every token for which this is so: those of a key that has left, above all."""
        with self._lock:
            for digest in list(self._entries):
                if is_void(Cache.__getitem__(self._entries, digest)):  # looked at without being used
                    del self._entries[digest]
