"""The routes of an application: find them, put the decision in front of each, find what a request would reach."""

from __future__ import annotations

from .frameworks import find_router
from .map import FASTAPI_DOCS, Found, RouteMap
from .statements import guard_whole

__all__ = ["FASTAPI_DOCS", "Found", "RouteMap", "find_router", "guard_whole"]
