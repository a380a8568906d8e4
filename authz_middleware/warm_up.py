"""Having every issuer's keys before the first request, where an application wants to wait for them."""

from __future__ import annotations

from .errors import ConfigurationError
from .validator import AccessTokenValidator

__all__ = ["StartFailed", "check_warm_up", "fetch_keys"]


class StartFailed(RuntimeError):
    """The application cannot start, through no fault of its configuration."""


def check_warm_up(warm_up: str) -> str:
    """Return whether the start waits for keys, as it was said.

    Raises:
        ConfigurationError: it was said otherwise.
    """
    if not isinstance(warm_up, str) or warm_up not in {"off", "try", "require"}:
        raise ConfigurationError('warm_up is "off", "try" or "require"')
    return warm_up


async def fetch_keys(validator: AccessTokenValidator, warm_up: str) -> None:
    """Have the keys before the first request, where that is wanted.

    Raises:
        StartFailed: they are required and cannot be had.
    """
    missing = () if warm_up == "off" else await validator.warm_up()
    if missing and warm_up == "require":
        raise StartFailed(f'the keys of {", ".join(missing)} are unavailable, and warm_up is "require"')
