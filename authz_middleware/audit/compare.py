"""What a change opens: two route tables, compared by who gets in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from typing import cast

from ..policy import Access, Kind, Policy, Public, Term
from ..policy.core import GrantTerm
from ..policy.kinds import issuer_words
from ..token import OIDC_SCOPES
from .entries import RouteEntry
from .layout import aligned, code, markdown
from .sources import show_source
from .table import RouteTable

__all__ = ["Change", "Comparison", "Verdict", "admits_more", "compare"]

FORMAT = "authz-routes-diff"
VERSION = 1
HEADER = ("CHANGE", "METHODS", "PATH", "BEFORE", "NOW", "SOURCE")
OTHER_METHODS = "*"
NOT_THERE = "-"
PARAMETER = re.compile(r"{\w*(:\w+)?}")
"""A path parameter: its name, and its convertor."""


class Verdict(StrEnum):
    """What became of a route."""

    OPENED = "opened"
    """Somebody gets in who did not."""
    ADDED = "added"
    CHANGED = "changed"
    """The same callers get in, and yet it is another case: of being stated, of being carried out, or of the path."""
    CLOSED = "closed"
    """Somebody no longer gets in, and nobody new does."""
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two tables.

    Attributes:
        verdict: what became of the route.
        methods: the HTTP methods concerned, sorted; empty: any other, or none because it is a WebSocket.
        old: the route as it was; None: it is new.
        new: the route as it is; None: it is gone.
    """

    verdict: Verdict
    methods: tuple[str, ...]
    old: RouteEntry | None
    new: RouteEntry | None

    @property
    def entry(self) -> RouteEntry:
        """The route as it is, or was."""
        return replace(cast("RouteEntry", self.new or self.old), methods=self.methods)

    @property
    def danger(self) -> tuple[int, int]:
        """What sorts the most dangerous change first: who newly gets in, then what became of the route."""
        is_gain = self.verdict in {Verdict.OPENED, Verdict.ADDED}
        return (_exposure(self.entry) if is_gain else EXPOSURES, list(Verdict).index(self.verdict))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between two tables, the most dangerous first.

    Says nothing of what neither table shows: the order in which routes of different paths are matched, who the trusted
    issuers are and what their grants are worth, and what the function of a `check` does. That is known by its module
    and name; what it decides is not looked into.
    """

    changes: tuple[Change, ...]

    @property
    def opened(self) -> tuple[Change, ...]:
        """Routes that let in callers whom they did not."""
        return tuple(change for change in self.changes if change.verdict is Verdict.OPENED)

    @property
    def summary(self) -> str:
        """How many routes became what, in one line."""
        count = Counter(change.verdict for change in self.changes)
        return ", ".join(f"{count[verdict]} {verdict}" for verdict in Verdict) if self.changes else "no change"

    def to_text(self) -> str:
        """Return aligned columns for people and pipes, ending with the summary."""
        rows = [_cells(change) for change in self.changes]
        return "\n".join([aligned(HEADER, rows), self.summary] if rows else [self.summary])

    def to_markdown(self) -> str:
        """Return a Markdown table, ending with the summary."""
        if not self.changes:
            return self.summary
        header = tuple(name.capitalize() for name in HEADER)
        return f"{markdown(header, map(_markdown_cells, self.changes))}\n\n{self.summary}"

    def to_json(self) -> str:
        """Return the changes for programs; versioned."""
        changes = [_document(change) for change in self.changes]
        return json.dumps({"format": FORMAT, "version": VERSION, "changes": changes}, indent=2)

    def __str__(self) -> str:
        return self.to_text()


def compare(old: RouteTable, new: RouteTable) -> Comparison:
    """Return what became of each route, found again by kind, method and path template.

    Path parameters may have got other names, or other convertors where none is left with the same: what a change opens
    must not hide behind a new name. Of several routes with the same ones the first is compared with the first: that one
    is served.
    """
    changes = [change for olds, news in _places(old, new) for change in _changes(olds, news)]
    return Comparison(tuple(sorted(changes, key=lambda change: change.danger)))


def admits_more(old: Access | None, new: Access | None) -> bool:
    """Tell whether `new` lets anybody in whom `old` does not. None lets in nobody.

    It does unless each of its alternatives asks for all that some alternative of the old one asks for.
    """
    if new is None or isinstance(old, Public):
        return False
    if old is None or isinstance(new, Public):
        return True
    return not all(any(_asks_for(terms, lesser) for lesser in old.alternatives) for terms in new.alternatives)


# --- finding changes --------------------------------------------------------------------------------------------------


def _places(old: RouteTable, new: RouteTable) -> Iterator[tuple[list[RouteEntry], list[RouteEntry]]]:
    """Yield, for each kind and shape of path, the routes there were and the routes there are."""
    places: dict[tuple[str, str], tuple[list[RouteEntry], list[RouteEntry]]] = {}
    for side, table in enumerate((old, new)):
        for entry in table.entries:
            shape = PARAMETER.sub("{}", entry.path)
            places.setdefault((entry.kind, shape), ([], []))[side].append(entry)
    yield from places.values()


def _changes(olds: Sequence[RouteEntry], news: Sequence[RouteEntry]) -> Iterator[Change]:
    """Yield the changes at one path; methods that share one are told together."""
    methods: dict[tuple[Verdict, int, int], list[str]] = {}
    for method in sorted({name for entry in (*olds, *news) for name in entry.methods or (OTHER_METHODS,)}):
        for before, after in _pairs(olds, news, method):
            verdict = _verdict(olds[before] if before >= 0 else None, news[after] if after >= 0 else None)
            if verdict is not None:
                methods.setdefault((verdict, before, after), []).append(method)
    for (verdict, before, after), names in methods.items():
        shown = () if OTHER_METHODS in names else tuple(names)
        yield Change(verdict, shown, olds[before] if before >= 0 else None, news[after] if after >= 0 else None)


def _pairs(olds: Sequence[RouteEntry], news: Sequence[RouteEntry], method: str) -> Iterator[tuple[int, int]]:
    """Yield which routes to compare for a method: those that match the same paths, then what is left; -1 is none."""
    befores, afters = _serving(olds, method), _serving(news, method)
    for before in tuple(befores):
        matched = _matched(olds[before])
        after = next((i for i in afters if _matched(news[i]) == matched), None)
        if after is not None:
            befores.remove(before)
            afters.remove(after)
            yield before, after
    yield from zip_longest(befores, afters, fillvalue=-1)


def _matched(entry: RouteEntry) -> str:
    """Return the path template without the names of its parameters: what it matches depends on convertors alone."""
    return PARAMETER.sub(r"{\1}", entry.path)


def _serving(entries: Sequence[RouteEntry], method: str) -> list[int]:
    """Return which of these routes serve a method, in the order in which they are matched."""
    return [i for i, entry in enumerate(entries) if not entry.methods or method in entry.methods]


def _verdict(old: RouteEntry | None, new: RouteEntry | None) -> Verdict | None:
    """Return what became of a route; None: nothing."""
    if old is None or new is None:
        return Verdict.ADDED if old is None else Verdict.REMOVED
    if admits_more(old.admits, new.admits):
        return Verdict.OPENED
    if admits_more(new.admits, old.admits):
        return Verdict.CLOSED
    is_same = (old.state, old.protection, old.path) == (new.state, new.protection, new.path)
    return None if is_same else Verdict.CHANGED


def _asks_for(terms: Iterable[Term], lesser: Iterable[Term]) -> bool:
    """Tell whether whoever has all of `terms` has all of `lesser`."""
    return all(any(_implies(term, asked) for term in terms) for asked in lesser)


def _implies(term: Term, asked: Term) -> bool:
    """Tell whether a term holds only where another does.

    `scope` and `permission` narrow what `requires` admits, and an issuer narrows whose tokens are meant.
    """
    narrows = asked.kind is Kind.GRANT and term.kind in {Kind.SCOPE, Kind.PERMISSION}
    is_same = (term.kind, _of_any_issuer(term)) == (asked.kind, _of_any_issuer(asked))
    is_limited = is_same and asked.issuer in {None, term.issuer}
    return is_limited or (narrows and term.value == asked.value and term.value not in OIDC_SCOPES)


def _of_any_issuer(term: Term) -> str:
    """Return what a term asks for, whosever token it is about. But for grants it is kept as it was written."""
    written = f"{issuer_words(term.issuer)})"
    is_written = not isinstance(term, GrantTerm) and term.value.endswith(written)
    return term.value.removesuffix(written) + ")" if is_written else term.value


# --- showing them -----------------------------------------------------------------------------------------------------

EXPOSURES = 5


def _exposure(entry: RouteEntry) -> int:
    """Return how many a route lets in: 0 is anybody without anybody having said so, 4 is nobody."""
    admits = entry.admits
    if admits is None:
        return 4
    if isinstance(admits, Public):
        return 0 if entry.is_open else 1
    return 3 if all(admits.alternatives) else 2


def _cells(change: Change) -> tuple[str, ...]:
    entry = change.entry
    return (
        change.verdict.value,
        ",".join(entry.shown_methods),
        _shown_path(change),
        *_told_apart(change.old, change.new),
        show_source(entry.source),
    )


def _shown_path(change: Change) -> str:
    shown, old = change.entry.shown_path, change.old
    return shown if old is None or old.path == change.entry.path else f"{shown} (was {old.shown_path})"


def _told_apart(old: RouteEntry | None, new: RouteEntry | None) -> tuple[str, str]:
    """Return both in words; where those are the same, with what tells the functions of checks apart."""
    before, now = _words(old), _words(new)
    if before != now:
        return before, now
    return f"{before}{_functions(old)}", f"{now}{_functions(new)}"


def _functions(entry: RouteEntry | None) -> str:
    policy = None if entry is None else entry.admits
    checks = [term.value for term in policy.terms if term.kind is Kind.CHECK] if isinstance(policy, Policy) else []
    return f", by {', '.join(checks)}" if checks else ""


def _words(entry: RouteEntry | None) -> str:
    if entry is None:
        return NOT_THERE
    return f"{entry.label}: {entry.policy}" if entry.label else entry.policy


def _markdown_cells(change: Change) -> tuple[str, ...]:
    _, *others = _cells(change)
    return (f"**{change.verdict}**" if change.verdict is Verdict.OPENED else change.verdict.value, *map(code, others))


def _document(change: Change) -> dict[str, object]:
    return {
        "change": change.verdict.value,
        "kind": change.entry.kind,
        "methods": list(change.methods),
        "path": change.entry.path,
        "path_before": None if change.old is None else change.old.path,
        "before": None if change.old is None else change.old.policy,
        "now": None if change.new is None else change.new.policy,
        "source": show_source(change.entry.source),
    }
