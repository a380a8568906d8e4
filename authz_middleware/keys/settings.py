"""`KeySettings`: every number of key sourcing under its name, with its range and what it would contradict."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import ConfigurationError
from .urls import check_url, host_of

__all__ = ["KeySettings"]

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "lifetime": (1, 86_400),
        "shortest_lifetime": (1, 86_400),
        "longest_lifetime": (1, 86_400),
        "discovery_lifetime": (1, 86_400),
        "refresh_ahead": (0.1, 0.99),
        "refresh_spread": (0.0, 0.5),
        "outage_tolerance": (0, 604_800),
        "shortest_backoff": (0.1, 600),
        "longest_backoff": (0.1, 600),
        "backoff_spread": (0.0, 0.9),
        "longest_retry_after": (0, 3600),
        "unknown_key_burst": (1, 100),
        "unknown_key_interval": (1, 3600),
        "max_absent": (0, 100_000),
        "max_waiting": (1, 100_000),
        "fetch_seconds": (0.1, 60),
        "max_bytes": (1024, 16 * 1024 * 1024),
        "max_keys": (1, 1000),
    }
)
WHOLE = frozenset({"unknown_key_burst", "max_absent", "max_waiting", "max_bytes", "max_keys"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """How an issuer's published keys are had. The defaults are meant to be left alone.

    Attributes:
        lifetime: seconds a set is fresh where its response does not say (1 to 86400, as the next three).
        shortest_lifetime, longest_lifetime: bounds of what a response may say.
        discovery_lifetime: seconds after which metadata is read again; a failure reads it again at once.
        refresh_ahead: the part of its lifetime after which a fresh set is refreshed in the background (0.1 to 0.99),
            give or take `refresh_spread` (0.0 to 0.5), so that processes do not all ask at once.
        outage_tolerance: seconds after the last successful contact for which known keys work while fetches fail
            (0 to 604800); no set is fresh for longer. 0 ends them with their lifetime.
        shortest_backoff, longest_backoff: seconds between attempts while fetches fail, doubling (0.1 to 600), give or
            take the part `backoff_spread` (0.0 to 0.9), never above the longest.
        longest_retry_after: the most seconds that a server's `Retry-After` can put off the next attempt (0 to 3600).
        unknown_key_burst, unknown_key_interval: fetches that unknown key ids may cause at once (1 to 100), and the
            seconds after which they may cause one more (1 to 3600).
        max_absent: key ids remembered as not published (0 to 100000).
        max_waiting: requests that may wait for the fetch of unknown key ids (1 to 100000); the first fetch of all is
            waited for by any number.
        fetch_seconds: total seconds of a refresh, discovery included (0.1 to 60).
        max_bytes: size of a document (1024 to 16777216). max_keys: keys in one (1 to 1000).
        allowed_hosts: hosts, as `host` or `host:port`, on which metadata may say that the JWKS is; None: any.

    Raises:
        ConfigurationError: a number out of its range, or numbers that contradict each other; with every fault found.
    """

    lifetime: float = 600
    shortest_lifetime: float = 60
    longest_lifetime: float = 3600
    discovery_lifetime: float = 3600
    refresh_ahead: float = 0.8
    refresh_spread: float = 0.1
    outage_tolerance: float = 3600
    shortest_backoff: float = 1
    longest_backoff: float = 30
    backoff_spread: float = 0.25
    longest_retry_after: float = 300
    unknown_key_burst: int = 2
    unknown_key_interval: float = 15
    max_absent: int = 1024
    max_waiting: int = 256
    fetch_seconds: float = 5
    max_bytes: int = 512 * 1024
    max_keys: int = 100
    allowed_hosts: Collection[str] | None = None

    def __post_init__(self) -> None:
        faults = [*self._range_faults(), *_host_faults(self.allowed_hosts)]
        if not faults:
            faults += self._contradictions()
        if faults:
            raise ConfigurationError(*(f"KeySettings: {fault}" for fault in faults))
        if self.allowed_hosts is not None:
            hosts = frozenset(host_of(f"https://{host}") for host in self.allowed_hosts)
            object.__setattr__(self, "allowed_hosts", hosts)

    def allows_host_of(self, url: str) -> bool:
        """Tell whether keys may come from the host of a checked URL."""
        return self.allowed_hosts is None or host_of(url) in self.allowed_hosts

    def _range_faults(self) -> Iterator[str]:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            kind = "a whole number" if name in WHOLE else "a number"
            is_number = isinstance(value, int if name in WHOLE else int | float) and not isinstance(value, bool)
            if not is_number or not least <= value <= most:
                yield f"{name} is {kind} from {least:g} to {most:g}"

    def _contradictions(self) -> Iterator[str]:
        if not self.shortest_lifetime <= self.lifetime <= self.longest_lifetime:
            yield "lifetime lies between shortest_lifetime and longest_lifetime; widen the bounds or move it"
        if not self.refresh_ahead - self.refresh_spread > 0 or self.refresh_ahead + self.refresh_spread > 1:
            yield "refresh_ahead give or take refresh_spread must lie within the lifetime, 0 to 1; lower the spread"
        if 0 < self.outage_tolerance < self.shortest_lifetime:
            yield "outage_tolerance is below shortest_lifetime, so it would say nothing; lower that one, or write 0"
        if self.shortest_backoff > self.longest_backoff:
            yield "shortest_backoff is above longest_backoff; swap them"
        if self.fetch_seconds > self.shortest_lifetime:
            yield "a fetch may take longer than the shortest_lifetime it brings; lower fetch_seconds"


def _host_faults(hosts: Collection[str] | None) -> Iterator[str]:
    if hosts is None:
        return
    if isinstance(hosts, str | bytes | Mapping) or not isinstance(hosts, Collection) or not hosts:
        yield 'allowed_hosts is a collection of hosts; write allowed_hosts={"acme.eu.auth0.com"}'
    elif not all(isinstance(host, str) and _is_bare_host(host) for host in hosts):
        yield (
            "allowed_hosts holds whole bare hosts, with a port where it is not the usual one; write "
            '"acme.eu.auth0.com" or "localhost:8443", without https://, slashes or wildcards'
        )


def _is_bare_host(host: str) -> bool:
    return not set(host) & set("/?@*") and not check_url(f"https://{host}", "host")
