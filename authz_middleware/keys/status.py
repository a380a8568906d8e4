"""How the keys of an issuer are, for readiness checks and dashboards. Nothing here is secret, nothing is a claim."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["KeyState", "KeyStatus"]


class KeyState(StrEnum):
    """Whether tokens can be verified."""

    FRESH = "fresh"
    """The set is within its lifetime, or does not age."""
    STALE = "stale"
    """The set is past its lifetime, and still used while it cannot be refreshed."""
    UNAVAILABLE = "unavailable"
    """There is no set that may be used: requests with a token are answered 503."""
    UNKNOWN = "unknown"
    """The key source does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """The state of one issuer's keys at one moment.

    Attributes:
        state: see `KeyState`.
        age: seconds since the last successful contact with the issuer; None before the first, and for fixed keys.
        last_error: one word for why the latest attempt failed, such as `timeout`, `transport`, `status`, `too_large`,
            `not_json`, `no_usable_key`, `bad_metadata`, `host_not_allowed` or `source_failed`; None if it did not.
        next_refresh: seconds until the next attempt is due, made when a request asks; None before the first.
        key_ids: the ids of the keys at hand, sorted.
    """

    state: KeyState
    age: float | None = None
    last_error: str | None = None
    next_refresh: float | None = None
    key_ids: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether tokens can be verified, as far as is known."""
        return self.state in {KeyState.FRESH, KeyState.STALE}
