"""The table as JSON, and back. Reading believes nothing: the file may be old, foreign or broken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast, final, get_args

from ..errors import ConfigurationError
from ..policy import AUTHENTICATED, PUBLIC, Access, AccessRequest, AnyOf, Policy, Public, Term, all_of
from ..policy import Kind as TermKind
from ..policy.core import GRANT_KINDS, join, make_term
from .entries import Kind, Protection, RouteEntry
from .sources import Source, shown_file

__all__ = ["read", "write"]

FORMAT = "authz-routes"
VERSION = 1

T = TypeVar("T")


def write(entries: Iterable[RouteEntry]) -> str:
    """Return entries as JSON."""
    document = {"format": FORMAT, "version": VERSION, "routes": [_route(entry) for entry in entries]}
    return json.dumps(document, indent=2)


def read(text: str | bytes) -> tuple[RouteEntry, ...]:
    """Return the entries of a table that `write` wrote.

    Raises:
        ConfigurationError: it is none, or of another version.
    """
    try:
        document = _typed(json.loads(text), dict)
        is_ours = document.get("format") == FORMAT
        version = document.get("version")
        if is_ours and version == VERSION:
            return tuple(_entry(_typed(route, dict)) for route in _typed(document["routes"], list))
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours, version = False, None
    if is_ours:
        raise ConfigurationError(f"the table is of version {version!r}, this is version {VERSION}; write it anew")
    raise ConfigurationError("this is no table of `authz routes --json`")


def _route(entry: RouteEntry) -> dict[str, object]:
    """Return what is kept of an entry. `state` and `policy` are for readers, and decide nothing."""
    source = entry.source
    return {
        "kind": entry.kind,
        "methods": list(entry.methods),
        "path": entry.path,
        "state": entry.state.value,
        "policy": entry.policy,
        "access": _access(entry.access),
        "admits": _access(entry.admits),
        "protection": entry.protection.value,
        "is_public_path": entry.is_public_path,
        "source": None if source is None else {"file": shown_file(source[0]), "line": source[1]},
    }


def _access(access: Access | None) -> object:
    """Return the alternatives, each a list of terms; or "public"; or null."""
    if access is None:
        return None
    if isinstance(access, Public):
        return "public"
    return [[_term(term) for term in terms] for terms in access.alternatives]


def _term(term: Term) -> dict[str, object]:
    """Return what tells terms apart: of claims, callers and checks, the text their author wrote."""
    kept: dict[str, object] = {"kind": term.kind.value, "value": term.value}
    return kept if term.issuer is None else {**kept, "issuer": term.issuer}


def _entry(route: dict[str, Any]) -> RouteEntry:
    kind: Any = _typed(route["kind"], str)
    if kind not in get_args(Kind):
        raise ValueError(kind)
    return RouteEntry(
        kind=cast("Kind", kind),
        methods=tuple(_typed(method, str) for method in _typed(route["methods"], list)),
        path=_typed(route["path"], str),
        access=_read_access(route["access"]),
        admits=_read_access(route["admits"]),
        protection=Protection(route["protection"]),
        is_public_path=_typed(route["is_public_path"], bool),
        source=_read_source(route["source"]),
        recorded=_typed(route["policy"], str),
    )


def _read_source(source: object) -> Source | None:
    if source is None:
        return None
    read = _typed(source, dict)
    return _typed(read["file"], str), _typed(read["line"], int)


def _read_access(access: object) -> Access | None:
    if access is None:
        return None
    if access == "public":
        return PUBLIC
    return join(AnyOf, [_read_terms(terms) for terms in _typed(access, list)])


@final
@dataclass(frozen=True, slots=True)
class RecordedTerm(Term):
    """A term of a kind that cannot be made from its text: good for comparing, and met by nobody."""

    kind: TermKind
    value: str
    issuer: str | None

    def __repr__(self) -> str:
        return f"check({self.value.partition(':')[2]})" if self.kind is TermKind.CHECK else self.value

    def holds(self, request: AccessRequest) -> bool:  # noqa: ARG002 - the shape of every term
        """Tell that nobody meets it."""
        return False


def _read_terms(terms: object) -> Policy:
    read = [_read_term(_typed(term, dict)) for term in _typed(terms, list)]
    return all_of(*read) if read else AUTHENTICATED


def _read_term(term: dict[str, Any]) -> Term:
    kind, value, issuer = TermKind(term["kind"]), term["value"], term.get("issuer")
    if kind in GRANT_KINDS or kind in {TermKind.ROLE, TermKind.GROUP}:
        return make_term(kind, value, "the table", issuer)
    return RecordedTerm(kind, _typed(value, str), None if issuer is None else _typed(issuer, str))


def _typed(value: object, expected: type[T]) -> T:
    """Return a value of exactly this type: to JSON, true is no number.

    Raises:
        TypeError: it is of another one.
    """
    if type(value) is not expected:
        raise TypeError
    return value
