"""Everything `authz explain` has to say about one token, before anybody decides how it looks."""

from __future__ import annotations

from dataclasses import dataclass

from ...policy import Policy, TokenRequest
from ..trust import Application
from .examination import Examination, Outcome
from .meanings import Member, explain_claims, explain_header
from .reach import Reach, Standing, reached
from .reading import Reading, why_dialect
from .verdicts import PolicyOutcome, Verdict, judge

__all__ = ["Explanation", "PolicyAnswer"]


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """The answer to the one policy that was asked, by what the token says; whether that counts, its outcome says."""

    policy: Policy
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What there is to say.

    Attributes:
        examinations: one for each middleware of an application that trusts differently, the outermost first; without
            an application, one.
        policy: the policy that was asked, if one was.
        application: the application, if there is one.
    """

    examinations: tuple[Examination, ...]
    policy: Policy | None = None
    application: Application | None = None

    @property
    def main(self) -> Examination:
        """The examination that is shown in full."""
        return self.examinations[0]

    @property
    def outcome(self) -> Outcome:
        """What came of the token, at the outermost middleware if there are several."""
        return self.main.outcome

    @property
    def reading(self) -> Reading | None:
        """How the token reads."""
        return self.main.reading

    @property
    def header(self) -> tuple[Member, ...]:
        """The header's members; none if the token could not be parsed."""
        return explain_header(self.main.header, is_encrypted=self.main.unverified is None)

    @property
    def claims(self) -> tuple[Member, ...]:
        """The claims; none if the token could not be parsed."""
        reading = self.reading
        dialect = None if reading is None else reading.dialect
        is_machine = reading is not None and reading.token.is_machine
        return explain_claims(self.main.claims, dialect, self.main.now, is_machine=is_machine)

    @property
    def why_dialect(self) -> tuple[str, ...]:
        """The facts that tell the dialect; none where no dialect fits."""
        reading = self.reading
        return () if reading is None else tuple(why_dialect(reading, self.main.header, self.main.allowed_dialects))

    @property
    def answer(self) -> PolicyAnswer | None:
        """The answer to the policy, by what the token says; None where none was asked."""
        if self.policy is None:
            return None
        if self.reading is None:
            return PolicyAnswer(self.policy, Verdict(PolicyOutcome.REFUSED, "no dialect reads this token"))
        return PolicyAnswer(self.policy, judge(self.policy, TokenRequest(self.reading.token)))

    @property
    def routes(self) -> tuple[Reach, ...] | None:
        """Which routes the token reaches; None without an application."""
        if self.application is None:
            return None
        return tuple(reached(self.application.routes().entries, self._standing))

    @property
    def disagreement(self) -> str:
        """Why the routes cannot be told; empty if they can."""
        if self._agrees:
            return ""
        accepted = sum(examination.accepted is not None for examination in self.examinations)
        return (
            f"This application has middlewares that trust differently: {accepted} of {len(self.examinations)} accept "
            "this token. Which of them stands before a route is not told here; shown is what the outermost one says."
        )

    @property
    def is_good(self) -> bool:
        """Whether the token is accepted and, if a policy was asked, meets it."""
        if self.outcome is not Outcome.ACCEPTED:
            return False
        answer = self.answer
        return self.policy is None or (answer is not None and answer.verdict.answer is PolicyOutcome.ALLOWED)

    @property
    def _agrees(self) -> bool:
        first, *others = self.examinations
        return all(_is_same(first, other) for other in others)

    @property
    def _standing(self) -> Standing:
        if not self._agrees:
            return Standing(None, None)
        return Standing(self.main.accepted, self.main.refused)


def _is_same(one: Examination, other: Examination) -> bool:
    """Tell whether two middlewares make the same of a token."""
    if one.refused is not None and other.refused is not None:
        return (one.refused.code, one.refused.reason) == (other.refused.code, other.refused.reason)
    return one.accepted is not None and one.accepted == other.accepted
