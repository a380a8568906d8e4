"""One route of a map, and which of them a request would reach."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import Host, Match, Mount, Router, WebSocketRoute

from ..guard import Guard, Stated
from ..policy import Access, Policy, Public
from .frameworks import shown_methods
from .statements import add_up

__all__ = ["Found", "Node", "find"]


@dataclass(frozen=True, slots=True)
class Node:
    """One route, mount or host.

    Attributes:
        route: the framework's object. path: its template, those of mounts around it in front.
        guard: what decides in front of it; None for a mount that states nothing.
        children: the routes of a mounted application; None for a route, and for what cannot be looked into.
        router: the router `children` belong to, or None.
        required: what FastAPI routers around require of one that is no operation of theirs.
    """

    route: Any
    path: str
    guard: Guard | None
    children: tuple[Node, ...] | None = None
    router: Router | None = None
    required: Policy | None = None

    @property
    def accesses(self) -> tuple[Access, ...]:
        """All that it states, as a whole and method by method."""
        stated = () if self.guard is None else (self.guard.stated, *self.guard.by_method.values())
        return tuple(statement.access for statement in stated if statement.access is not None)

    @property
    def all_stated(self) -> tuple[Access, ...]:
        """The same, with what routers around require."""
        return self.accesses if self.required is None else (*self.accesses, self.required)

    @property
    def shown_path(self) -> str:
        """The path as it is shown to people: of what is mounted, with a star."""
        return f"{self.path.rstrip('/')}/*" if isinstance(self.route, Mount | Host) else self.path

    @property
    def shown(self) -> str:
        """Methods and path, as they are shown to people."""
        return self.shown_with(getattr(self.route, "methods", None) or ())

    def shown_with(self, methods: Collection[str]) -> str:
        """Return the same with only some of the methods."""
        names = shown_methods(methods, is_websocket=isinstance(self.route, WebSocketRoute))
        return f"{','.join(names)} {self.shown_path}"


@dataclass(frozen=True, slots=True)
class Found:
    """The route a request would reach: what is stated for it, mounts around it included, and its path template.

    `required` is what FastAPI routers around require; it is part of `access`, unless nothing is stated.
    """

    access: Access | None
    path: str | None = field(default=None, compare=False)
    required: Access | None = field(default=None, compare=False)


def find(
    nodes: tuple[Node, ...], scope: dict[str, Any], around: Access | None, required: Access | None
) -> Found | None:
    """Return the first full match. `around` is what mounts around these nodes state, `required` what routers do."""
    for node in nodes:
        match, child_scope = node.route.matches(scope)
        if match is not Match.FULL:
            continue
        stated = Stated(None) if node.guard is None else node.guard.stated_for(scope)
        if stated is None:
            return None
        if _leaves_options_alone(node.guard, stated, scope):
            return None
        access = add_up(around, stated.access)
        needed = add_up(required, node.required)
        whole = None if access is None else add_up(needed, access)
        if node.children is None:
            return Found(whole, node.path, needed)
        inner = find(node.children, {**scope, **child_scope}, access, needed)
        return Found(whole, node.path) if inner is None and isinstance(whole, Public) else inner
    return None


def _leaves_options_alone(guard: Guard | None, stated: Stated, scope: dict[str, Any]) -> bool:
    """Tell whether a class-based endpoint, guarded as a whole, has no method for OPTIONS: then a preflight may pass."""
    if guard is None or not guard.by_method or isinstance(stated.access, Public):
        return False
    return scope.get("method") == "OPTIONS" and "OPTIONS" not in guard.by_method
