"""The steps of validation in the validator's order, and at which of them each refusal falls.

Nothing is validated here. The validator decides, and its refusal says how far it came: every step before the one that
failed was passed, none after it was reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from ...dialects import Dialect
from ...errors import InvalidToken, Reason, Refused
from ...issuers import TrustedIssuer

__all__ = ["FAILS_AT", "KEY_NOT_NAMED", "STEPS", "State", "Step", "StepResult", "failed_step", "results"]


class Step(StrEnum):
    """One step of validation, in the validator's order."""

    SCHEME = "scheme"
    FORM = "form"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    ALGORITHM = "algorithm"
    TYPE = "type"
    CRITICAL = "critical"
    KEY = "key"
    SIGNATURE = "signature"
    DIALECT = "dialect"
    IDENTITY = "identity"
    TIMES = "times"
    TENANT = "tenant"
    BINDING = "binding"
    GRANTS = "grants"
    REVOCATION = "revocation"


class State(StrEnum):
    """What became of a step."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for a token that passes a step, and the document that asks for it; empty: none does, it is ours."""

    what: str
    source: str = ""


STEPS: Mapping[Step, Rule] = MappingProxyType(
    {
        Step.SCHEME: Rule("It is sent as a bearer token.", "RFC 6750 section 2.1"),
        Step.FORM: Rule("It has the form of a signed token, to the letter.", "RFC 7515 sections 5.2 and 7.1"),
        Step.ISSUER: Rule("It comes from an issuer that is trusted (iss).", "RFC 8725 section 3.8"),
        Step.AUDIENCE: Rule("It is meant for this API (aud).", "RFC 8725 section 3.9"),
        Step.ALGORITHM: Rule("It is signed in a way this issuer may use (alg).", "RFC 8725 section 3.1"),
        Step.TYPE: Rule("Its type (typ) is one that an access token may have here.", "RFC 8725 section 3.11"),
        Step.CRITICAL: Rule("It asks for nothing unusual (crit).", "RFC 7515 section 4.1.11"),
        Step.KEY: Rule("The issuer publishes the key it names (kid).", "RFC 7515 section 6"),
        Step.SIGNATURE: Rule("The signature holds: nobody has changed it.", "RFC 7515 section 5.2"),
        Step.DIALECT: Rule("It is written in exactly one of the dialects allowed.", "RFC 8725 section 3.12"),
        Step.IDENTITY: Rule("It says whom it speaks for and is no ID token.", "RFC 9068 sections 2.2 and 4"),
        Step.TIMES: Rule("It holds at this moment (exp, nbf, iat).", "RFC 7519 sections 4.1.4 to 4.1.6"),
        Step.TENANT: Rule("Its organization is let in (tenants=)."),
        Step.BINDING: Rule("It needs no proof of a key (cnf).", "RFC 7800 section 3.1"),
        Step.GRANTS: Rule("Everything else, the grants above all, has the right form.", "RFC 9068 section 2.2.3"),
        Step.REVOCATION: Rule("The application does not call it revoked (revoked=); only the application can tell."),
    }
)

KEY_NOT_NAMED = Rule("The key it was signed with is known.", "RFC 7515 section 6")
"""The same step for a token that names no key, or is verified with a secret."""

FAILS_AT: Mapping[Reason, Step] = MappingProxyType(
    {
        Reason.DPOP_SCHEME: Step.SCHEME,
        Reason.TOO_LARGE: Step.FORM,
        Reason.NOT_THREE_PARTS: Step.FORM,
        Reason.NOT_CANONICAL_BASE64URL: Step.FORM,
        Reason.NOT_UTF8: Step.FORM,
        Reason.NOT_JSON: Step.FORM,
        Reason.NOT_AN_OBJECT: Step.FORM,
        Reason.DUPLICATE_MEMBER: Step.FORM,
        Reason.TOO_DEEP: Step.FORM,
        Reason.KID_NOT_USABLE: Step.FORM,
        Reason.OPAQUE: Step.FORM,
        Reason.ENCRYPTED: Step.FORM,
        Reason.ISSUER_NOT_TRUSTED: Step.ISSUER,
        Reason.AUDIENCE_NOT_OURS: Step.AUDIENCE,
        Reason.AUDIENCE_OF_ISSUER: Step.AUDIENCE,
        Reason.AUDIENCE_AMBIGUOUS: Step.AUDIENCE,
        Reason.ALGORITHM_NOT_ALLOWED: Step.ALGORITHM,
        Reason.TYPE_NOT_ALLOWED: Step.TYPE,
        Reason.CRITICAL_HEADER: Step.CRITICAL,
        Reason.KEY_NOT_PUBLISHED: Step.KEY,
        Reason.KEY_AMBIGUOUS: Step.KEY,
        Reason.KEY_SOURCE_FAILED: Step.KEY,
        Reason.NEVER_FETCHED: Step.KEY,
        Reason.TOO_LONG_WITHOUT_CONTACT: Step.KEY,
        Reason.UNKNOWN_KEY_AND_FETCH_FAILED: Step.KEY,
        Reason.TOO_MANY_WAITING: Step.KEY,
        Reason.SIGNATURE_INVALID: Step.SIGNATURE,
        Reason.DIALECT_AMBIGUOUS: Step.DIALECT,
        Reason.ID_TOKEN_MARK: Step.IDENTITY,
        Reason.CLIENTS_DIFFER: Step.IDENTITY,
        Reason.EXPIRED: Step.TIMES,
        Reason.NOT_BEFORE_IN_FUTURE: Step.TIMES,
        Reason.ISSUED_IN_FUTURE: Step.TIMES,
        Reason.TENANT_NOT_ALLOWED: Step.TENANT,
        Reason.CONFIRMATION_CLAIM: Step.BINDING,
        Reason.CLAIM_MISSING: Step.IDENTITY,
        Reason.CLAIM_WRONG_FORM: Step.GRANTS,
        Reason.REVOKED: Step.REVOCATION,
        Reason.REVOCATION_CHECK_FAILED: Step.REVOCATION,
    }
)
"""Where each reason falls. Those that several steps can give are told apart by `failed_step`."""
READ_TWICE = frozenset({Reason.CLAIM_MISSING, Reason.CLAIM_WRONG_FORM, Reason.ID_TOKEN_MARK, Reason.TYPE_NOT_ALLOWED})
DATES = frozenset({"exp", "iat", "nbf"})


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step, what became of it, and what it asks."""

    step: Step
    state: State
    rule: Rule


def failed_step(refused: Refused, trusted: TrustedIssuer | None, *, has_allowed_type: bool) -> Step:
    """Return the step at which a token was refused.

    Args:
        refused: the validator's refusal: it names the claim, and the issuer and the dialect as far as it came.
        trusted: the settings the token fell under.
        has_allowed_type: whether its header `typ` is one of theirs.
    """
    if refused.reason not in READ_TWICE:
        return FAILS_AT[refused.reason]
    claim = refused.claim if isinstance(refused, InvalidToken) else None
    if refused.issuer is None:  # `iss` and `aud` are read first, to find the settings
        return Step.ISSUER if claim == "iss" else Step.AUDIENCE
    if refused.dialect is None:  # a claim, or the lack of it, decides between dialects
        return Step.DIALECT if has_allowed_type else Step.TYPE
    dialect = next((d for d in trusted.settings.dialects if d.name == refused.dialect), None) if trusted else None
    if refused.reason is Reason.CLAIM_MISSING:
        return _step_that_misses(claim, dialect)
    if refused.reason is Reason.CLAIM_WRONG_FORM and trusted is not None and dialect is not None:
        return _step_that_reads(claim, dialect, trusted)
    return FAILS_AT[refused.reason]


def _step_that_misses(claim: str | None, dialect: Dialect | None) -> Step:
    is_required_first = dialect is not None and claim in dialect.required_claims
    return Step.TIMES if claim in DATES and not is_required_first else Step.IDENTITY


def _step_that_reads(claim: str | None, dialect: Dialect, trusted: TrustedIssuer) -> Step:
    names = {"sub", dialect.client_claim, *dialect.other_client_claims}
    names |= {"gty"} if dialect.machine_grant_type else set()
    names |= {"sub_profile"} if dialect.machine_profiles else set()
    if claim in names:
        return Step.IDENTITY
    if claim in DATES:
        return Step.TIMES
    tenants = {name for path in dialect.tenant_claims for name in (path[0], path[-1])}
    return Step.TENANT if trusted.tenants is not None and claim in tenants else Step.GRANTS


def results(failed: Step | None, *, until: Step | None = None) -> Iterator[StepResult]:
    """Yield every step and what became of it.

    Args:
        failed: the step that failed, if one did.
        until: the last step that was checked at all; None: the last one.
    """
    state = State.PASSED
    for step in Step:
        if step is failed:
            yield StepResult(step, State.FAILED, STEPS[step])
            state = State.NOT_REACHED
            continue
        yield StepResult(step, state, STEPS[step])
        if step is until:
            state = State.NOT_CHECKED
