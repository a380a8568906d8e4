"""What happens where nothing is stated: refused, unless the application lets any valid token in."""

from __future__ import annotations

from .policy import AUTHENTICATED, Access

__all__ = ["UNDECORATED"]

UNDECORATED: dict[str, Access | None] = {"refuse": None, "authenticated": AUTHENTICATED}
"""What `undecorated=…` may say."""
