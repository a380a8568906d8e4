"""An explanation as a page for people. What is not verified says so, above and below what it concerns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from ...errors import Reason
from ...policy import Policy
from ...token import GrantRule
from ..harmless import json_text, name_text
from ..terminal import Cell, Page, Style
from .examination import Examination, Mode, Outcome
from .explanation import Explanation
from .meanings import Member
from .reach import Reach
from .reading import GrantLine, Reading, grant_lines
from .steps import State, StepResult
from .times import utc
from .verdicts import PolicyOutcome

__all__ = ["page_of"]

MAX_ROWS, MAX_NAMED = 100, 20
MARKS = {
    State.PASSED: Cell("passed", Style.GOOD),
    State.FAILED: Cell("FAILED", Style.STRONG_BAD),
    State.NOT_REACHED: Cell("not reached", Style.FAINT),
    State.NOT_CHECKED: Cell("not checked", Style.CAREFUL),
}
ANSWERS = {
    PolicyOutcome.ALLOWED: Cell("yes", Style.GOOD),
    PolicyOutcome.REFUSED: Cell("no", Style.BAD),
    PolicyOutcome.UNKNOWN: Cell("depends", Style.CAREFUL),
}
KEYS = {
    Mode.ONLINE: ", with the keys that are published now",
    Mode.OFFLINE: ", with the keys of a file",
    Mode.APPLICATION: "",
}
ALLOW_MORE = "Here --dialect or --auth0 allows more."
SAY_HERE: Mapping[GrantRule, str] = MappingProxyType(
    {
        GrantRule.SCOPES_RBAC_UNSTATED: "Here --rbac-enforced or --no-rbac-enforced says so.",
        GrantRule.BOTH_CLIENT_UNSTATED: "Here --first-party-client or --no-third-party-clients says so.",
    }
)
"""Which arguments say what a setting would; not of an application, which says it itself."""
UNVERIFIED = (
    "NOT VERIFIED. Nobody has checked who wrote this token: everything it says may be made up, and nothing here says "
    "that it is valid."
)
HOW_TO_VERIFY = (
    "To have it checked, say whom you trust: --auth0 DOMAIN --audience API, or --issuer URL --audience API, or "
    "--app module:app. With --jwks FILE that works offline."
)


def page_of(explanation: Explanation) -> Page:
    """Return the page."""
    page = Page()
    examination = explanation.main
    _add_verdict(page, explanation)
    _add_members(page, "Header", explanation.header)
    _add_members(page, f"Claims, {_standing(examination)}", explanation.claims)
    _add_dialect(page, explanation)
    page.title("Checks, in this order")
    page.table(_step_row(result) for result in examination.steps)
    _add_grants(page, examination)
    _add_policy(page, explanation)
    _add_routes(page, explanation)
    if explanation.outcome is Outcome.UNVERIFIED:
        page.title(UNVERIFIED, Style.STRONG_BAD)
        page.line(HOW_TO_VERIFY)
    return page


def _add_verdict(page: Page, explanation: Explanation) -> None:
    examination = explanation.main
    match explanation.outcome:
        case Outcome.ACCEPTED:
            unasked = ", but whether it is revoked was not asked (revoked=)" if examination.trust.asks_revoked else ""
            page.line(f"ACCEPTED{unasked}. {_effect(explanation.reading)}", Style.STRONG_GOOD)
        case Outcome.UNVERIFIED:
            page.line(UNVERIFIED, Style.STRONG_BAD)
        case outcome:
            word = "REFUSED" if outcome is Outcome.REFUSED else "CANNOT BE CHECKED"
            code = "" if examination.refused is None else f" ({examination.refused.code})"
            page.line(f"{word}{code}. {examination.why}", Style.STRONG_BAD)
            page.text(f"What to do: {' '.join(_changes(examination))}")
    page.text(f"Looked at {utc(examination.now)}. {_trust(explanation)}", Style.FAINT)
    if explanation.disagreement:
        page.text(explanation.disagreement, Style.CAREFUL)


def _changes(examination: Examination) -> Iterator[str]:
    yield examination.change
    refused = examination.refused
    if _takes_arguments(examination) and refused is not None and refused.reason is Reason.TYPE_NOT_ALLOWED:
        yield ALLOW_MORE


def _takes_arguments(examination: Examination) -> bool:
    return examination.trust.mode is not Mode.APPLICATION


def _effect(reading: Reading | None) -> str:
    grants = [] if reading is None else sorted(reading.grants.effective)
    more = f" and {len(grants) - MAX_NAMED} more" if len(grants) > MAX_NAMED else ""
    named = ", ".join(map(name_text, grants[:MAX_NAMED]))
    return f"It grants {named}{more}." if grants else "It is valid, but it grants nothing."


def _trust(explanation: Explanation) -> str:
    trust = explanation.main.trust
    if trust.mode is Mode.NONE:
        return "Nobody was named to trust."
    whom = " and ".join(dict.fromkeys(issuer.issuer for issuer in trust.issuers))
    name = "" if explanation.application is None else f", as {explanation.application.name} does"
    return f"Trusted is {whom}{name}{KEYS[trust.mode]}."


def _standing(examination: Examination) -> str:
    """Say what the claims are worth."""
    if any(result.step == "signature" and result.state is State.PASSED for result in examination.steps):
        return "as the issuer signed them"
    return "as the token says; nobody has verified them"


def _add_members(page: Page, title: str, members: Sequence[Member]) -> None:
    rows = [
        (Cell(name_text(m.name), Style.TITLE), Cell(json_text(m.value)), Cell(_meaning(m), Style.FAINT))
        for m in members[:MAX_ROWS]
    ]
    if rows:
        page.title(title)
        page.table(rows)
        _add_rest(page, members)


def _add_rest(page: Page, rows: Sequence[object]) -> None:
    """Say how much of a hostile token's abundance is not shown."""
    if len(rows) > MAX_ROWS:
        page.text(f"… and {len(rows) - MAX_ROWS} more; --json shows all", Style.FAINT)


def _meaning(member: Member) -> str:
    return member.meaning if member.when is None else f"{member.meaning}: {member.when}"


def _add_dialect(page: Page, explanation: Explanation) -> None:
    reading = explanation.reading
    if explanation.main.unverified is None:
        return
    if reading is None:
        page.title("Dialect: none reads this token")
        page.text(explanation.main.unreadable)
        return
    names = " or ".join(dialect.name for dialect in (reading.dialect, *reading.others))
    page.title(f"Dialect: {names}{'' if reading.is_verified else ', if it were accepted'}")
    page.table([(Cell("-"), Cell(fact)) for fact in explanation.why_dialect])


def _step_row(result: StepResult) -> tuple[Cell, ...]:
    style = Style.PLAIN if result.state in {State.PASSED, State.FAILED} else Style.FAINT
    source = f" [{result.rule.source}]" if result.rule.source else ""
    return (MARKS[result.state], Cell(result.rule.what + source, style))


# --- what it is good for ----------------------------------------------------------------------------------------------


def _add_grants(page: Page, examination: Examination) -> None:
    reading = examination.reading
    if reading is None:
        return
    lines = list(grant_lines(reading.grants))
    page.title("Grants" if reading.is_verified else "Grants, if it were accepted; as it is, none of them counts")
    page.table(_grant_row(line, reading) for line in lines[:MAX_ROWS])
    _add_rest(page, lines)
    if not lines:
        page.text("It carries none.")
    here = SAY_HERE.get(reading.grants.rule, "") if _takes_arguments(examination) else ""
    page.text(f"Rule ({reading.row.letter}): {reading.why} {here}".rstrip())


def _grant_row(line: GrantLine, reading: Reading) -> tuple[Cell, ...]:
    if not line.is_effective:
        mark = Cell("-", Style.FAINT)
    else:
        mark = Cell("counts", Style.GOOD) if reading.is_verified else Cell("would count", Style.CAREFUL)
    return (
        mark,
        Cell(name_text(line.value)),
        Cell(f"in {' and '.join(source.claim for source in line.sources)}"),
        Cell(line.note, Style.FAINT),
    )


def _add_policy(page: Page, explanation: Explanation) -> None:
    if explanation.answer is None:
        return
    page.title(f"Policy {explanation.answer.policy!r}")
    verdict = explanation.answer.verdict
    if explanation.outcome is Outcome.ACCEPTED:
        page.table([(ANSWERS[verdict.answer], Cell(verdict.why))])
        return
    page.table([(Cell("no", Style.BAD), Cell("The token is not accepted, so no policy is met."))])
    if explanation.reading is not None:
        page.text(f"If it were accepted: {ANSWERS[verdict.answer].text}, {verdict.why}", Style.FAINT)


def _add_routes(page: Page, explanation: Explanation) -> None:
    routes = explanation.routes
    if explanation.application is not None and routes is not None:
        page.title(f"Routes of {explanation.application.name}")
        page.table(_route_row(reach) for reach in routes)


def _route_row(reach: Reach) -> tuple[Cell, ...]:
    entry = reach.entry
    return (
        ANSWERS[reach.verdict.answer],
        Cell(",".join(entry.shown_methods)),
        Cell(entry.shown_path),
        Cell(
            " ".join(_answer_words(reach)),
            Style.FAINT if reach.verdict.answer is PolicyOutcome.ALLOWED else Style.PLAIN,
        ),
    )


def _answer_words(reach: Reach) -> Iterator[str]:
    if reach.status is not None:
        yield f"{reach.status} {reach.code}:" if reach.code else f"{reach.status}:"
    yield reach.verdict.why
    if reach.verdict.answer is not PolicyOutcome.ALLOWED and isinstance(reach.entry.admits, Policy):
        yield f"(it asks for {reach.entry.admits!r})"
