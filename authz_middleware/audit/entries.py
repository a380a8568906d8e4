"""One line of the route table: a route, what it states, and who gets in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from starlette.applications import Starlette

from ..policy import Access, Public
from ..routes import shown_methods
from .layout import printable
from .sources import Source, show_source

__all__ = ["Kind", "Protection", "RouteEntry", "State"]

Kind = Literal["http", "websocket", "application", "route", "page", "path"]
"""What an entry is of.

`application`: mounted, and not to be looked into. `route`: of a class that serves in a way of its own, which may be any
method and a WebSocket. `page`: served where no route matches. `path`: opened by `public_paths` where no route is known,
or the metadata that `AuthzMiddleware(resource=…)` serves.
"""


class Protection(StrEnum):
    """Whether what a route states is carried out."""

    ENFORCED = "enforced"
    REPORTED = "reported"
    """`AuthzMiddleware(enforce=False)`: refusals are only reported."""
    ABSENT = "absent"
    """No `AuthzMiddleware` stands in front."""


class State(StrEnum):
    """What there is to know about a route at a glance."""

    GUARDED = "guarded"
    """Certain grants are needed."""
    AUTHENTICATED = "authenticated"
    """Any valid token will do."""
    PUBLIC = "public"
    """No token is needed."""
    UNGUARDED = "unguarded"
    """Somebody should look at it: nothing is stated, or nobody enforces what is."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RouteEntry:
    """One line of the table.

    Attributes:
        kind: see `Kind`.
        methods: the HTTP methods, sorted; empty: any, or none because it is a WebSocket.
        path: the whole path template as it was written, those of mounts in front.
        access: what is stated in sum, mounts, dependencies and `public_paths` included; None: nothing.
        admits: who gets in: whoever meets this policy, anybody (`PUBLIC`), or nobody (None).
        protection: whether what is stated is carried out.
        is_public_path: whether it is public only because `public_paths` names it.
        source: file and line of the endpoint, as `(file, line)`; None where there is none.
        recorded: who may call it, in the words of a table that was kept: a policy cannot be told from its alternatives
            as it was written. None: it is said anew.
        undecorated: what the middleware in front does where nothing is stated; None: it refuses.
        application: the Starlette or FastAPI application the route belongs to; None where a bare router serves it.
        local_path: the path template within that application.
        route: the framework's object; the middleware, of what that serves itself.
    """

    kind: Kind
    methods: tuple[str, ...]
    path: str
    access: Access | None
    admits: Access | None
    protection: Protection
    is_public_path: bool = False
    source: Source | None = None
    recorded: str | None = field(default=None, compare=False)
    undecorated: Access | None = field(default=None, compare=False)
    application: Starlette | None = field(default=None, compare=False)
    local_path: str = field(default="", compare=False)
    route: Any = field(default=None, compare=False)

    @property
    def state(self) -> State:
        """What there is to know at a glance."""
        if self.access is None or self.protection is Protection.ABSENT:
            return State.UNGUARDED
        if isinstance(self.access, Public):
            return State.PUBLIC
        if self.protection is Protection.REPORTED:
            return State.UNGUARDED
        return State.GUARDED if all(self.access.alternatives) else State.AUTHENTICATED

    @property
    def is_unguarded(self) -> bool:
        """Whether somebody should look at it: nothing is stated, or nobody enforces what is."""
        return self.state is State.UNGUARDED

    @property
    def is_open(self) -> bool:
        """Whether anybody gets in without anybody having said so."""
        return self.is_unguarded and isinstance(self.admits, Public)

    @property
    def label(self) -> str:
        """What must not be overlooked; empty where all is well."""
        if not self.is_unguarded:
            return ""
        return "UNGUARDED, OPEN TO ANYBODY" if self.is_open else "UNGUARDED"

    @property
    def policy(self) -> str:
        """Who may call it, in words."""
        if self.recorded is not None:
            return self.recorded
        if not self.is_unguarded:
            return f"{_words(self.access)}, by public_paths" if self.is_public_path else _words(self.access)
        stated = "states nothing" if self.access is None else f"states {_words(self.access)}"
        return f"{stated}, {self._shortcoming()}"

    def _shortcoming(self) -> str:
        """Say why it is unguarded, and what follows from that."""
        who = _who(self.admits)
        if self.protection is Protection.REPORTED:
            return f"only reported (enforce=False), so {who}"
        if self.protection is Protection.ABSENT:
            return f"no AuthzMiddleware in front, so {'every call fails' if self.admits is None else who}"
        return f"so {who}"

    @property
    def shown_methods(self) -> tuple[str, ...]:
        """The methods to show: HEAD goes without saying where there is GET."""
        return shown_methods(self.methods, is_websocket=self.kind == "websocket")

    @property
    def shown_path(self) -> str:
        """The path to show: of what serves a tree, with a star."""
        return f"{self.path.rstrip('/')}/*" if self.serves_tree else self.path

    @property
    def serves_tree(self) -> bool:
        """Whether it serves every path below its own."""
        return self.kind in {"application", "page"}

    def __repr__(self) -> str:
        # Short: in a failed assertion pytest shows 240 characters of it all.
        what = self.label or self.policy
        return printable(f"<{','.join(self.shown_methods)} {self.shown_path} {show_source(self.source)} {what}>")


def _words(access: Access | None) -> str:
    if access is None or isinstance(access, Public):
        return repr(access)
    return repr(access) if all(access.alternatives) else "any valid token"


def _who(admits: Access | None) -> str:
    if admits is None:
        return "it is refused"
    if isinstance(admits, Public):
        return "anybody gets in"
    return f"whoever meets {admits!r} gets in" if all(admits.alternatives) else "any valid token gets in"
