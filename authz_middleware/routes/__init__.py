"""The routes of an application: find them, put the decision in front of each, find what a request would reach."""

from __future__ import annotations

from .frameworks import find_router, flatten, router_of, shown_methods
from .map import FASTAPI_DOCS, Destination, RouteMap
from .nodes import Found, Node
from .statements import add_up, guard_whole, stated_before
from .within import state_elsewhere, state_within, stated_elsewhere, stated_within

__all__ = [
    "FASTAPI_DOCS",
    "Destination",
    "Found",
    "Node",
    "RouteMap",
    "add_up",
    "find_router",
    "flatten",
    "guard_whole",
    "router_of",
    "shown_methods",
    "state_elsewhere",
    "state_within",
    "stated_before",
    "stated_elsewhere",
    "stated_within",
]
