"""A report as a page for people, and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ...audit.layout import plural
from ..terminal import Cell, Page, Style
from .examination import Report
from .findings import Finding, Level

__all__ = ["document_of", "page_of"]

VERSION = 1
MARKS: Mapping[Level, Cell] = MappingProxyType(
    {
        Level.OK: Cell("ok", Style.GOOD),
        Level.NOTE: Cell("note", Style.FAINT),
        Level.ADVICE: Cell("advice", Style.CAREFUL),
        Level.PROBLEM: Cell("PROBLEM", Style.STRONG_BAD),
    }
)


def page_of(report: Report) -> Page:
    """Return the page."""
    page = Page()
    for section in report.sections:
        page.title(section.title)
        page.table(row for finding in section.findings for row in _rows(finding))
    count = Counter(finding.level for finding in report.findings)
    advice = f"{plural(count[Level.ADVICE], 'piece')} of advice"
    page.title(
        f"{count[Level.OK]} well, {plural(count[Level.NOTE], 'note')}, {advice}, "
        f"{plural(count[Level.PROBLEM], 'problem')}.",
        Style.STRONG_BAD if report.has_problem else Style.STRONG_GOOD,
    )
    return page


def _rows(finding: Finding) -> Iterator[tuple[Cell, ...]]:
    yield (MARKS[finding.level], Cell(finding.topic, Style.TITLE), Cell(finding.what))
    if finding.change is not None and finding.where is not None:
        yield (Cell(""), Cell(""), Cell(f"What to change ({finding.where}): {finding.change}", Style.CAREFUL))


def document_of(report: Report) -> dict[str, object]:
    """Return the document. Versioned: members are added to a version, none is changed or taken away."""
    return {
        "format": "authz-doctor",
        "version": VERSION,
        "sections": [
            {
                "title": section.title,
                "requests": list(section.asked),
                "findings": [
                    {
                        "level": finding.level,
                        "topic": finding.topic,
                        "what": finding.what,
                        "change": finding.change,
                        "where": finding.where,
                    }
                    for finding in section.findings
                ],
            }
            for section in report.sections
        ],
        "problems": sum(finding.level is Level.PROBLEM for finding in report.findings),
    }
