"""One token, put to the validator: what came of it, step by step, and how it reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from ..._jose import DEFAULT_MAX_TOKEN_BYTES, UnverifiedToken, parse
from ...dialects import check_type
from ...errors import Code, InvalidToken, Reason, Refused, Unavailable
from ...issuers import TrustedIssuer
from ...token import AccessToken
from ...validator import AccessTokenValidator
from .intake import Credential
from .reading import Reading, read_claimed, read_verified
from .refusals import Case, facts, words_of
from .steps import Step, StepResult, failed_step, results

__all__ = ["Examination", "Mode", "Outcome", "Trust", "examine"]


class Mode(StrEnum):
    """Where trust comes from."""

    ONLINE = "online"
    OFFLINE = "offline"
    APPLICATION = "application"
    NONE = "none"


class Outcome(StrEnum):
    """What came of a token."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    """It cannot be said: the issuer's keys cannot be had."""
    UNVERIFIED = "unverified"
    """Nobody was named to trust, so nothing was checked but its form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to trust, and in whose name.

    Attributes:
        mode: where that comes from.
        issuers: whom; none where nobody was named.
        assumed: the settings by which a token is read that fell under none.
        is_pinned: whether these say which dialects are allowed.
        asks_revoked: whether an application would ask, last, if a token was revoked. That is not asked here.
        max_token_bytes: longer tokens are refused unparsed.
        clock: epoch seconds.
    """

    mode: Mode
    issuers: tuple[TrustedIssuer, ...]
    assumed: TrustedIssuer
    is_pinned: bool
    asks_revoked: bool = False
    max_token_bytes: int = DEFAULT_MAX_TOKEN_BYTES
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What came of a token under one trust.

    Attributes:
        trust: that trust. now: the moment it was looked at.
        unverified: the token as it was parsed, if it could be.
        accepted: the token as the validator accepted it, if it did. refused: why not.
        trusted: the settings it fell under, if it came that far.
        failure: one word for why the keys were not had.
    """

    trust: Trust
    now: float
    unverified: UnverifiedToken | None
    accepted: AccessToken | None = None
    refused: Refused | None = None
    failure: str | None = None

    @property
    def outcome(self) -> Outcome:
        """What came of it."""
        if self.refused is not None:
            return Outcome.UNAVAILABLE if isinstance(self.refused, Unavailable) else Outcome.REFUSED
        return Outcome.UNVERIFIED if self.accepted is None else Outcome.ACCEPTED

    @property
    def header(self) -> Mapping[str, object]:
        """What its header says; nothing if the token could not be parsed."""
        return {} if self.unverified is None else self.unverified.header

    @property
    def claims(self) -> Mapping[str, object]:
        """What it says, whoever wrote that; nothing if the token could not be parsed."""
        return {} if self.unverified is None else self.unverified.claims

    @property
    def trusted(self) -> TrustedIssuer | None:
        """The settings the token falls under by what it says of its issuer and audience."""
        claims = self.claims
        audience = claims.get("aud")
        values = {value for value in (audience if isinstance(audience, list) else [audience]) if isinstance(value, str)}
        fitting = [i for i in self.trust.issuers if i.issuer == claims.get("iss") and values & i.settings.audiences]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def reading(self) -> Reading | None:
        """How the token reads, accepted or not; None where no dialect fits it."""
        found = self._read()
        return found if isinstance(found, Reading) else None

    @property
    def unreadable(self) -> str:
        """Why no dialect reads the token; empty if one does, or if it could not even be parsed."""
        found = self._read()
        return self._words(found) if isinstance(found, InvalidToken) else ""

    def _read(self) -> Reading | InvalidToken | None:
        trusted = self.trusted
        if self.accepted is not None and trusted is not None:
            return read_verified(self.accepted, trusted)
        if self.unverified is None:
            return None
        return read_claimed(
            self.unverified,
            trusted or self.trust.assumed,
            is_pinned=trusted is not None or self.trust.is_pinned,
            issuers=self.trust.issuers,
        )

    @property
    def steps(self) -> Iterator[StepResult]:
        """Every step of validation and what became of it."""
        until = Step.FORM if self.outcome is Outcome.UNVERIFIED else Step.GRANTS
        for result in results(self._failed_step, until=until):
            if result.step is not Step.REVOCATION or self.trust.asks_revoked:
                yield result

    @property
    def why(self) -> str:
        """Why the token was refused; empty if it was not."""
        return "" if self.refused is None else self._words(self.refused)

    @property
    def change(self) -> str:
        """What to do about a refusal; empty if there was none."""
        return "" if self.refused is None else words_of(self.refused.reason).change

    @property
    def _failed_step(self) -> Step | None:
        if self.refused is None:
            return None
        return failed_step(self.refused, self.trusted, has_allowed_type=self._has_allowed_type())

    def _has_allowed_type(self) -> bool:
        if self.unverified is None or self.trusted is None:
            return False
        try:
            check_type(self.unverified, self.trusted.settings.dialects)
        except InvalidToken:
            return False
        return True

    def _words(self, refused: Refused) -> str:
        """Return what a refusal means for this token."""
        case = Case(
            refused=refused,
            header=self.header,
            claims=self.claims,
            issuers=self.trust.issuers,
            trusted=self.trusted,
            now=self.now,
            failure=self.failure,
        )
        return " ".join(part for part in (words_of(refused.reason).what, facts(case)) if part)


async def examine(credential: Credential, trust: Trust) -> Examination:
    """Put a token to the validator; where nobody is named to trust, to its parser alone."""
    now = trust.clock()
    unverified, malformed = _parsed(credential, trust)
    if malformed is not None or not trust.issuers:
        return Examination(trust=trust, now=now, unverified=unverified, refused=malformed)
    validator = AccessTokenValidator(
        trust.issuers, max_token_bytes=trust.max_token_bytes, max_cached_tokens=0, clock=lambda: now
    )
    try:
        with _silent():
            accepted = await validator.validate(credential.token)
    except Refused as refused:
        failure = _failure(validator, refused)
        return Examination(trust=trust, now=now, unverified=unverified, refused=refused, failure=failure)
    finally:
        await validator.aclose()
    return Examination(trust=trust, now=now, unverified=unverified, accepted=accepted)


def _parsed(credential: Credential, trust: Trust) -> tuple[UnverifiedToken | None, Refused | None]:
    """Return the token for people to look at, and a refusal that needs no issuer."""
    try:
        unverified, refused = parse(credential.token, trust.max_token_bytes), None
    except InvalidToken as malformed:
        unverified, refused = None, malformed
    if credential.scheme == "dpop":
        refused = InvalidToken(Code.PROOF_REQUIRED, Reason.DPOP_SCHEME)
    return unverified, refused


def _failure(validator: AccessTokenValidator, refused: Refused) -> str | None:
    """Return one word for why an issuer's keys could not be had."""
    errors = (status.last_error for issuer, status in validator.status() if issuer == refused.issuer)
    return next((error for error in errors if error is not None), None)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what the package logs from standard error, unless somebody has set logging up: it is said better here."""
    logger, handler = logging.getLogger("authz_middleware"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
