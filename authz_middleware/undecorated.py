"""What happens where nothing is stated: refused, unless the application lets any valid token in."""

from __future__ import annotations

from .errors import ConfigurationError
from .policy import AUTHENTICATED, Access

__all__ = ["check_undecorated"]

UNDECORATED: dict[str, Access | None] = {"refuse": None, "authenticated": AUTHENTICATED}
"""What `undecorated=…` may say."""


def check_undecorated(undecorated: str) -> Access | None:
    """Return who gets in where nothing is stated; None: nobody.

    Raises:
        ConfigurationError: it was said otherwise.
    """
    if not isinstance(undecorated, str) or undecorated not in UNDECORATED:
        raise ConfigurationError('undecorated is "refuse" or "authenticated"')
    return UNDECORATED[undecorated]
