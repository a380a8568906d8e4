"""What a route states: a policy, or that it is public."""

from __future__ import annotations

from typing import final

from .core import Policy

__all__ = ["PUBLIC", "Access", "Public"]


@final
class Public:
    """The access of a route that anybody may call; a value of its own, so that no policy can become it by mistake."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "public"


PUBLIC = Public()
"""No token is needed."""
Access = Policy | Public
"""What a route states: a policy, or that it is public."""
