"""The route table: every route of an application, and what is enforced there. Looks only; arms and changes nothing.

It is made from the very statements that are enforced, mounts, dependencies and `public_paths` counted in.
"""

from __future__ import annotations

from .compare import Change, Comparison, Verdict, compare
from .entries import Kind, Protection, RouteEntry, State
from .middlewares import installed_middlewares
from .table import RouteTable
from .walk import route_table

__all__ = [
    "Change",
    "Comparison",
    "Kind",
    "Protection",
    "RouteEntry",
    "RouteTable",
    "State",
    "Verdict",
    "compare",
    "installed_middlewares",
    "route_table",
]
