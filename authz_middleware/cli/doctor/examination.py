"""One issuer, or all that an application trusts: everything that is looked at, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...issuers import TrustedIssuer
from ...keys import KeySettings, as_fetch
from ..trust import Application
from .answers import Answers
from .discovery import discover
from .findings import Finding, Level
from .keys import check_keys
from .server import check_clock, check_metadata
from .settings import check_enforcement, check_resource, check_settings

__all__ = ["Report", "Section", "examine", "examine_application"]

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Section:
    """What was found about one issuer, or about an application. `asked`: the URLs that were fetched."""

    title: str
    findings: tuple[Finding, ...]
    asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found."""

    sections: tuple[Section, ...]

    @property
    def findings(self) -> Iterator[Finding]:
        """Every finding."""
        for section in self.sections:
            yield from section.findings

    @property
    def has_problem(self) -> bool:
        """Whether something is wrong."""
        return any(finding.level is Level.PROBLEM for finding in self.findings)


async def examine(settings: tuple[TrustedIssuer, ...], clock: Clock) -> Section:
    """Look at one issuer, for one or several settings that share its keys."""
    trusted = settings[0]
    audiences = sorted({audience for one in settings for audience in one.settings.audiences})
    title = f"{trusted.issuer} for {', '.join(audiences)}"
    said = dict.fromkeys(finding for one in settings for finding in check_settings(one))
    if trusted.secret is not None or trusted.keys is not None:
        return Section(title, tuple(said))
    answers = _answers(trusted, clock)
    found = await _look(settings, answers)
    return Section(title, tuple(dict.fromkeys([*found, *said])), tuple(answers.asked))


async def _look(settings: tuple[TrustedIssuer, ...], answers: Answers) -> list[Finding]:
    """Return what is found by asking the server."""
    trusted = settings[0]
    discovered = await discover(trusted, answers)
    findings, looks = list(discovered.findings), list(discovered.looks)
    if discovered.jwks_uri is not None:
        about_keys, look = await check_keys(trusted, discovered.jwks_uri, answers)
        findings += about_keys
        looks.insert(0, look)
    findings += check_clock(looks, min(one.leeway for one in settings))
    for one in settings:
        findings += check_metadata(one, discovered.metadata)
    return findings


def _answers(trusted: TrustedIssuer, clock: Clock) -> Answers:
    limits = trusted.key_settings or KeySettings()
    fetch = as_fetch(trusted.fetch, seconds=limits.fetch_seconds, max_bytes=limits.max_bytes)
    return Answers(fetch, clock, limits)


async def examine_application(application: Application, clock: Clock) -> Report:
    """Look at every issuer that an application trusts, and at what it says about itself."""
    by_keys: dict[object, dict[TrustedIssuer, None]] = {}
    sections = []
    for middleware in application.middlewares:
        for trusted in middleware.validator.issuers:
            by_keys.setdefault(trusted.key_identity, {})[trusted] = None
        about = [
            *check_resource(middleware.resource, middleware.validator.issuers),
            *check_enforcement(enforces=middleware.enforces),
        ]
        sections.append(Section(f"{application.name}, as clients find it", tuple(about)))
    issuers = [await examine(tuple(settings), clock) for settings in by_keys.values()]
    return Report((*issuers, *dict.fromkeys(sections)))
