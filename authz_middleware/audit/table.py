"""The route table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..policy import Public
from . import snapshot
from .entries import Protection, RouteEntry, State
from .layout import aligned, code, markdown, plural
from .sources import show_source

__all__ = ["RouteTable"]

HEADER = ("METHODS", "PATH", "POLICY", "SOURCE")


@dataclass(frozen=True, slots=True, repr=False)
class RouteTable:
    """Every route of an application, in the order in which they are matched."""

    entries: tuple[RouteEntry, ...]

    @classmethod
    def from_json(cls, text: str | bytes) -> RouteTable:
        """Return a table as `to_json` wrote it. The objects of the application are not in it.

        Raises:
            ConfigurationError: it is no such table, or of another version.
        """
        return cls(snapshot.read(text))

    @property
    def unguarded(self) -> tuple[RouteEntry, ...]:
        """Routes that state nothing, and those nobody guards. Empty is what you want."""
        return tuple(entry for entry in self.entries if entry.is_unguarded)

    @property
    def summary(self) -> str:
        """How many routes there are of which kind, in one line."""
        count = Counter(entry.state for entry in self.entries)
        is_open = sum(entry.is_open for entry in self.entries)
        return (
            f"{plural(len(self.entries), 'route')}: {count[State.GUARDED]} guarded, "
            f"{count[State.AUTHENTICATED]} any valid token, {count[State.PUBLIC]} public, "
            f"{count[State.UNGUARDED]} unguarded" + (f", {is_open} of them OPEN TO ANYBODY" if is_open else "")
        )

    def to_text(self) -> str:
        """Return aligned columns for people and pipes, ending with the summary."""
        rows = [_cells(entry) for entry in self.entries]
        return "\n".join([aligned(HEADER, rows), *self._alarms(), self.summary])

    def to_markdown(self) -> str:
        """Return a Markdown table, ending with the summary."""
        header = tuple(name.capitalize() for name in HEADER)
        table = markdown(header, (_markdown_cells(entry) for entry in self.entries))
        return "\n\n".join([table, *(f"**{alarm}**" for alarm in self._alarms()), self.summary])

    def to_json(self) -> str:
        """Return the table for programs and for `from_json`: versioned, in the order of matching, no absolute paths."""
        return snapshot.write(self.entries)

    def _alarms(self) -> list[str]:
        """Return what concerns the whole table and must not be overlooked."""
        protections = {entry.protection for entry in self.entries}
        if protections == {Protection.ABSENT}:
            return [
                "NOTHING IS GUARDED HERE: there is no AuthzMiddleware; "
                "write app.add_middleware(AuthzMiddleware, issuers=[...])"
            ]
        if protections == {Protection.REPORTED} and all(isinstance(entry.admits, Public) for entry in self.entries):
            return ["NOTHING IS GUARDED HERE: AuthzMiddleware(enforce=False) only reports; remove enforce=False"]
        return []

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<RouteTable: {self.summary}>"


def _cells(entry: RouteEntry) -> tuple[str, ...]:
    policy = f"{entry.label}: {entry.policy}" if entry.label else entry.policy
    return (",".join(entry.shown_methods), entry.shown_path, policy, show_source(entry.source))


def _markdown_cells(entry: RouteEntry) -> tuple[str, ...]:
    methods, path, _, source = map(code, _cells(entry))
    policy = f"**{entry.label}**: {code(entry.policy)}" if entry.label else code(entry.policy)
    return (methods, path, policy, source)
