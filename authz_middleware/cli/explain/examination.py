"""One token, put to the validator: what came of it, step by step, and how it reads."""

from __future__ import annotations

import logging
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from ..._jose import DEFAULT_MAX_TOKEN_BYTES, UnverifiedToken, parse
from ..._json import parse_json
from ...dialects import AUTH0, RFC9068, Dialect, check_type
from ...errors import Code, InvalidToken, Reason, Refused, Unavailable
from ...issuers import TrustedIssuer
from ...token import AccessToken
from ...validator import AccessTokenValidator
from .intake import Credential
from .reading import Reading, read_claimed, read_verified
from .refusals import Case, change_of, why_of
from .steps import KEY_NOT_NAMED, State, Step, StepResult, failed_step, results

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
    """It cannot be said: the issuer's keys are unavailable."""
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
        header: what its header says; nothing if that cannot be read.
        unverified: the token as it was parsed, if it could be.
        accepted: the token as the validator accepted it, if it did. refused: why not.
        trusted: the settings the token falls under by what it says of its issuer and audience, if those of one issuer.
        found: how it reads, accepted or not; or why no dialect reads it; None if it could not even be parsed.
        failure: one word for why the keys were not had.
    """

    trust: Trust
    now: float
    header: Mapping[str, object]
    unverified: UnverifiedToken | None
    accepted: AccessToken | None
    refused: Refused | None
    trusted: TrustedIssuer | None
    found: Reading | InvalidToken | None
    failure: str | None

    @property
    def outcome(self) -> Outcome:
        """What came of it."""
        if self.refused is not None:
            return Outcome.UNAVAILABLE if isinstance(self.refused, Unavailable) else Outcome.REFUSED
        return Outcome.UNVERIFIED if self.accepted is None else Outcome.ACCEPTED

    @property
    def claims(self) -> Mapping[str, object]:
        """What it says, whoever wrote that; nothing if the token could not be parsed."""
        return {} if self.unverified is None else self.unverified.claims

    @property
    def allowed_dialects(self) -> tuple[Dialect, ...]:
        """The dialects that are allowed; none where nobody has said."""
        settings = self.trusted or (self.trust.assumed if self.trust.is_pinned else None)
        return () if settings is None else settings.settings.dialects

    @property
    def reading(self) -> Reading | None:
        """How the token reads; None where no dialect fits it."""
        return self.found if isinstance(self.found, Reading) else None

    @property
    def unreadable(self) -> str:
        """Why no dialect reads the token; empty if one does, or if it could not even be parsed."""
        return why_of(self._case(self.found)) if isinstance(self.found, InvalidToken) else ""

    @property
    def steps(self) -> Iterator[StepResult]:
        """Every step of validation that is asked here, and what became of it."""
        until = Step.FORM if self.outcome is Outcome.UNVERIFIED else Step.GRANTS
        for result in results(self._failed_step, until=until):
            if result.step is Step.KEY and not self._names_key:
                yield replace(result, rule=KEY_NOT_NAMED)
            elif result.state is State.FAILED or self._asks(result.step):
                yield result

    def _asks(self, step: Step) -> bool:
        """Tell whether a step is one here: two of them are only where an application asks for them."""
        settings = self.trust.issuers if self.trusted is None else (self.trusted,)
        is_limited = any(issuer.settings.tenants is not None for issuer in settings)
        return {Step.TENANT: is_limited, Step.REVOCATION: self.trust.asks_revoked}.get(step, True)

    @property
    def _names_key(self) -> bool:
        has_secret = self.trusted is not None and self.trusted.secret is not None
        return self.unverified is None or ("kid" in self.header and not has_secret)

    @property
    def why(self) -> str:
        """Why the token was refused; empty if it was not."""
        return "" if self.refused is None else why_of(self._case(self.refused))

    @property
    def change(self) -> str:
        """What to do about a refusal; empty if there was none."""
        return "" if self.refused is None else change_of(self._case(self.refused))

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

    def _case(self, refused: Refused) -> Case:
        return Case(
            refused=refused,
            header=self.header,
            claims=self.claims,
            issuers=self.trust.issuers,
            trusted=self.trusted,
            dialects=self.allowed_dialects or (*AUTH0, RFC9068),
            now=self.now,
            failure=self.failure,
        )


async def examine(credential: Credential, trust: Trust) -> Examination:
    """Put a token to the validator; where nobody is named to trust, to its parser alone."""
    now = trust.clock()
    unverified, refused = _parsed(credential, trust)
    accepted, failure = None, None
    if refused is None and trust.issuers:
        accepted, refused, failure = await _validated(credential.token, trust, now)
    trusted = None if unverified is None else _settings_of(unverified, trust.issuers)
    return Examination(
        trust=trust,
        now=now,
        header=_encrypted_header(credential.token, refused) if unverified is None else unverified.header,
        unverified=unverified,
        accepted=accepted,
        refused=refused,
        trusted=trusted,
        found=None if unverified is None else _read(unverified, accepted, trusted, trust),
        failure=failure,
    )


def _parsed(credential: Credential, trust: Trust) -> tuple[UnverifiedToken | None, Refused | None]:
    """Return the token for people to look at, and a refusal that needs no issuer."""
    try:
        unverified, refused = parse(credential.token, trust.max_token_bytes), None
    except InvalidToken as malformed:
        unverified, refused = None, malformed
    if credential.scheme == "dpop":
        refused = InvalidToken(Code.PROOF_REQUIRED, Reason.DPOP_SCHEME)
    return unverified, refused


async def _validated(token: str, trust: Trust, now: float) -> tuple[AccessToken | None, Refused | None, str | None]:
    """Return the token as it was accepted, or the refusal, and one word for why its keys could not be had."""
    validator = AccessTokenValidator(
        trust.issuers, max_token_bytes=trust.max_token_bytes, max_cached_tokens=0, clock=lambda: now
    )
    try:
        with _silent():
            return await validator.validate(token), None, None
    except Refused as refused:
        errors = (status.last_error for issuer, status in validator.status() if issuer == refused.issuer)
        return None, refused, next((error for error in errors if error is not None), None)
    finally:
        await validator.aclose()


def _settings_of(unverified: UnverifiedToken, issuers: Iterable[TrustedIssuer]) -> TrustedIssuer | None:
    """Return the settings a token falls under, if those of one issuer fit and no others do."""
    audience = unverified.claims.get("aud")
    values = {value for value in (audience if isinstance(audience, list) else [audience]) if isinstance(value, str)}
    fitting = [i for i in issuers if i.issuer == unverified.claims.get("iss") and values & i.settings.audiences]
    return fitting[0] if len(fitting) == 1 else None


def _read(
    unverified: UnverifiedToken, accepted: AccessToken | None, trusted: TrustedIssuer | None, trust: Trust
) -> Reading | InvalidToken:
    if accepted is not None and trusted is not None:
        return read_verified(accepted, trusted)
    return read_claimed(
        unverified,
        trusted or trust.assumed,
        is_pinned=trusted is not None or trust.is_pinned,
        issuers=trust.issuers,
    )


def _encrypted_header(token: str, refused: Refused | None) -> Mapping[str, object]:
    """Return the header of an encrypted token, which is not encrypted (RFC 7516 section 3); nothing of any other."""
    if refused is None or refused.reason not in {Reason.ENCRYPTED, Reason.OPAQUE}:
        return {}
    head = token.partition(".")[0]
    try:
        header = parse_json(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what the package logs from standard error, unless somebody has set logging up: it is said better here."""
    logger, handler = logging.getLogger("authz_middleware"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
