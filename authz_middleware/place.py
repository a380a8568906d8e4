"""Where in a request something runs: per task, because one request may be served by several at once."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

from .policy import Access

__all__ = ["NOWHERE", "Place", "TokenUse", "current_place"]


class TokenUse(Enum):
    """Whether what a route calls takes the token as an argument, and could do without."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a request something runs. A context variable holds it: one request may be served by several tasks.

    Attributes:
        context: of which request; None: of none.
        depth: how many decisions in; the scope there is kept by the context, and gone with it.
        cover: what a mount around stated, and whether it was met.
        token_use: whether the handler takes the token as an argument.
    """

    context: object = None
    depth: int = 0
    cover: tuple[Access, bool] | None = None
    token_use: TokenUse = TokenUse.REQUIRED


NOWHERE = Place()
current_place: ContextVar[Place] = ContextVar("authz_middleware.place", default=NOWHERE)
