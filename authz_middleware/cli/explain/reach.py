"""Which routes of an application a token reaches, and why not the others. Nothing is called: the route table tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...audit import Protection, RouteEntry
from ...errors import ANSWERS, Code, Refused
from ...policy import Policy, Public, TokenRequest
from ...token import AccessToken
from .verdicts import PolicyOutcome, Verdict, judge

__all__ = ["Reach", "Standing", "reached"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the middlewares of an application make of a token.

    Attributes:
        token: as they accepted it; None if they refused it, or do not agree.
        refused: why they refused it.
    """

    token: AccessToken | None
    refused: Refused | None


@dataclass(frozen=True, slots=True)
class Reach:
    """A route and whether the token gets there. `status` and `code` are those of the answer if it does not."""

    entry: RouteEntry
    verdict: Verdict
    status: int | None = None
    code: str | None = None


def reached(entries: Iterable[RouteEntry], standing: Standing) -> Iterator[Reach]:
    """Yield every route, in the order of the table."""
    for entry in entries:
        yield _open(entry) or _refused(entry, standing) or _decided(entry, standing)


def _open(entry: RouteEntry) -> Reach | None:
    """Return the answer where no token is looked at."""
    if entry.protection is Protection.ABSENT and entry.admits is None:
        return Reach(
            entry, Verdict(PolicyOutcome.REFUSED, "no AuthzMiddleware stands in front, so every call fails"), 500
        )
    if entry.protection is Protection.ENFORCED or not isinstance(entry.admits, Public):
        return None
    why = (
        "no AuthzMiddleware stands in front" if entry.protection is Protection.ABSENT else "refusals are only reported"
    )
    return Reach(entry, Verdict(PolicyOutcome.ALLOWED, f"{why}, so anybody gets in"))


def _refused(entry: RouteEntry, standing: Standing) -> Reach | None:
    """Return the answer where the token itself is refused: on public routes, too."""
    refused = standing.refused
    if refused is None:
        return None
    return _by_code(entry, Verdict(PolicyOutcome.REFUSED, "the token is refused"), refused.code)


def _decided(entry: RouteEntry, standing: Standing) -> Reach:
    if standing.token is None:
        return Reach(
            entry, Verdict(PolicyOutcome.UNKNOWN, "the middlewares of this application do not agree on the token")
        )
    if entry.admits is None:
        return _by_code(entry, Verdict(PolicyOutcome.REFUSED, "the route states no policy"), Code.NO_POLICY)
    if isinstance(entry.admits, Public):
        return Reach(entry, Verdict(PolicyOutcome.ALLOWED, "the route is public"))
    return _by_policy(entry, entry.admits, standing.token)


def _by_policy(entry: RouteEntry, policy: Policy, token: AccessToken) -> Reach:
    verdict = judge(policy, TokenRequest(token))
    if verdict.answer is PolicyOutcome.REFUSED:
        return _by_code(entry, verdict, Code.INSUFFICIENT_SCOPE)
    return Reach(entry, verdict)


def _by_code(entry: RouteEntry, verdict: Verdict, code: Code) -> Reach:
    return Reach(entry, verdict, ANSWERS[code].status, code.value)
