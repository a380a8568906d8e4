"""A finding: what was looked at, how it is, what to change and where."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from ..harmless import name_text

__all__ = ["Finding", "Level", "Where", "advice", "listed", "note", "ok", "problem"]

MAX_LISTED = 20


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    NOTE = "note"
    """Nothing to change, and worth knowing: something is not there, or not said."""
    ADVICE = "advice"
    """It works, and could be said more clearly or be safer."""
    PROBLEM = "problem"
    """Tokens will be refused, or should be."""


class Where(StrEnum):
    """Who can change it."""

    APPLICATION = "application"
    SERVER = "authorization server"
    MACHINE = "this machine"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `what` is a sentence; `change` says what to do and `where`, if there is something to do."""

    level: Level
    topic: str
    what: str
    change: str | None = None
    where: Where | None = None


def listed(names: Collection[str]) -> str:
    """Return names that a server has written, each harmless and none without end; of many, some."""
    shown = ", ".join(map(name_text, islice(names, MAX_LISTED)))
    return shown if len(names) <= MAX_LISTED else f"{shown} and {len(names) - MAX_LISTED} more"


def ok(topic: str, what: str) -> Finding:
    """Return that something is well."""
    return Finding(Level.OK, topic, what)


def note(topic: str, what: str) -> Finding:
    """Return something that is not there, and need not be."""
    return Finding(Level.NOTE, topic, what)


def advice(topic: str, what: str, change: str, where: Where) -> Finding:
    """Return something that could be better."""
    return Finding(Level.ADVICE, topic, what, change, where)


def problem(topic: str, what: str, change: str, where: Where) -> Finding:
    """Return something that is wrong."""
    return Finding(Level.PROBLEM, topic, what, change, where)
