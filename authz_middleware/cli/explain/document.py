"""An explanation as JSON for programs. Versioned: members are added to a version, none is changed or taken away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .examination import Outcome
from .explanation import Explanation, PolicyAnswer
from .meanings import Member
from .reach import Reach
from .reading import Reading, grant_lines
from .verdicts import Verdict

__all__ = ["document_of"]

VERSION = 1


def document_of(explanation: Explanation) -> dict[str, object]:
    """Return the document. `effective` is empty unless the token was accepted; `claimed` says what it would be."""
    examination = explanation.main
    refused, routes = examination.refused, explanation.routes
    return {
        "format": "authz-explain",
        "version": VERSION,
        "outcome": explanation.outcome,
        "trust": {
            "mode": examination.trust.mode,
            "issuers": list(dict.fromkeys(issuer.issuer for issuer in examination.trust.issuers)),
        },
        "now": examination.now,
        "code": None if refused is None else refused.code,
        "reason": None if refused is None else refused.reason,
        "why": examination.why or None,
        "change": examination.change or None,
        "note": explanation.disagreement or examination.unreadable or None,
        "header": _members(explanation.header),
        "claims": _members(explanation.claims),
        "dialect": _dialect(explanation),
        "steps": [
            {"step": result.step, "state": result.state, "what": result.rule.what, "source": result.rule.source or None}
            for result in examination.steps
        ],
        "grants": None if explanation.reading is None else _grants(explanation.reading),
        "policy": None if explanation.answer is None else _policy(explanation.answer, explanation.outcome),
        "routes": None if routes is None else [_route(reach) for reach in routes],
    }


def _members(members: Iterable[Member]) -> list[dict[str, object]]:
    return [{"name": m.name, "value": m.value, "meaning": m.meaning, "when": m.when} for m in members]


def _dialect(explanation: Explanation) -> dict[str, object] | None:
    reading = explanation.reading
    if reading is None:
        return None
    return {
        "name": reading.dialect.name,
        "others": [dialect.name for dialect in reading.others],
        "because": list(explanation.why_dialect),
        "verified": reading.is_verified,
    }


def _grants(reading: Reading) -> dict[str, object]:
    effective = sorted(reading.grants.effective)
    return {
        "verified": reading.is_verified,
        "effective": effective if reading.is_verified else [],
        "claimed": effective,
        "values": [
            {"value": line.value, "sources": list(line.sources), "counts": line.is_effective and reading.is_verified}
            for line in grant_lines(reading.grants)
        ],
        "rule": reading.grants.rule,
        "row": reading.row.letter,
        "why": reading.why,
    }


def _policy(answer: PolicyAnswer, outcome: Outcome) -> dict[str, object]:
    is_accepted = outcome is Outcome.ACCEPTED
    claimed = _verdict(answer.verdict)
    return {
        "policy": repr(answer.policy),
        "answer": claimed["answer"] if is_accepted else "refused",
        "claimed": claimed["answer"],
        "why": claimed["why"],
        "depends_on": claimed["depends_on"],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"answer": verdict.answer, "why": verdict.why, "depends_on": [repr(term) for term in verdict.depends_on]}


def _route(reach: Reach) -> dict[str, object]:
    entry = reach.entry
    return {
        "kind": entry.kind,
        "methods": list(entry.methods),
        "path": entry.path,
        "policy": entry.policy,
        **_verdict(reach.verdict),
        "status": reach.status,
        "code": reach.code,
    }
