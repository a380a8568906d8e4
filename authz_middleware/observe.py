"""What an operator sees of decisions: one log line for each refusal, a hook, attributes of the current span.

Nothing here decides. No token text, claim value or library message is ever written: a line names codes, reasons,
what the application itself wrote (route templates, policies, issuers) and dialects.
"""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import ANSWERS, Code, ConfigurationError, Reason, Refused
from .policy import Access, Decision, Policy, decide
from .token import AccessToken

try:
    from opentelemetry.trace import get_current_span
except ImportError:  # an extra of the application's: without it there is no span to write to
    get_current_span = None  # type: ignore[assignment]

__all__ = ["Observation", "Observer", "RequestDecision"]

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "WEBSOCKET"})

_log = logging.getLogger("authz_middleware")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDecision:
    """One decision about one request, as `on_decision` gets it.

    Attributes:
        allowed: whether access was granted.
        enforced: False where the application only reports (`enforce=False`): a refused request was served all the same.
        code: what the client is told; None where access was granted.
        reason: why a request was refused, in more detail; None where access was granted.
        method: the HTTP method; `WEBSOCKET` for a handshake; `OTHER` for what is no method of HTTP's registry.
        route: the template of the route, such as `/orders/{id}`; None where no route matches.
        policy: what was asked; None where the token was refused before a policy was reached or the route states none.
        issuer: the configured issuer; None where the token named none that is trusted.
        dialect: name of the dialect the token was read with, as far as reading came.
        token: the validated token; None for an anonymous caller and for a token that was refused.
        detail: the policy's own answer: which term held by which claim, what is missing; None where none was asked.
    """

    allowed: bool
    enforced: bool
    code: Code | None
    reason: Reason | None
    method: str
    route: str | None
    policy: Access | None
    issuer: str | None
    dialect: str | None
    token: AccessToken | None = field(repr=False)
    detail: Decision | None = field(repr=False)

    @property
    def why(self) -> str:
        """One sentence for people; it names no value of the token."""
        if self.detail is not None:
            return self.detail.why
        return "access is granted" if self.code is None else ANSWERS[self.code].detail


class Observer:
    """Where the decisions of one application go.

    Args:
        on_decision: called with every `RequestDecision`. What it raises is logged by type and changes no answer.
        enforce: whether refusals are carried out; False: only reported.

    Attributes:
        would_refuse: while only reporting, how often each (code, route template) would have been refused.

    Raises:
        ConfigurationError: an argument cannot be meant.
    """

    def __init__(self, on_decision: Callable[[RequestDecision], object] | None = None, *, enforce: bool = True) -> None:
        if on_decision is not None and (not callable(on_decision) or inspect.iscoroutinefunction(on_decision)):
            raise ConfigurationError("on_decision is a plain function of one decision; write def on_decision(decision)")
        if not isinstance(enforce, bool):
            raise ConfigurationError("enforce is True, or False to report only what would be refused")
        self.enforce = enforce
        self.would_refuse: Counter[tuple[str, str | None]] = Counter()
        self._on_decision = on_decision

    @property
    def sees_allowed(self) -> bool:
        """Whether anybody wants to hear that access was granted."""
        return self._on_decision is not None or _recording_span() is not None

    def tell(self, decision: RequestDecision) -> None:
        """Log a refusal, mark the span, call the hook."""
        if not decision.allowed:
            self._log_refusal(decision)
        span = _recording_span()
        if span is not None:
            span.set_attributes(_attributes(decision))
        if self._on_decision is not None:
            try:
                self._on_decision(decision)
            except Exception as error:  # noqa: BLE001 - whoever looks on must not change what is decided
                _log.error("on_decision failed with %s", type(error).__name__)  # its text may hold claims

    def _log_refusal(self, decision: RequestDecision) -> None:
        words = "refused"
        if not self.enforce:
            key = (str(decision.code), decision.route)
            self.would_refuse[key] += 1
            words = f"would refuse ({self.would_refuse[key]})"
        _log.info(
            "%s %s %s: code=%s reason=%s policy=%r issuer=%s dialect=%s",
            words,
            decision.method,
            decision.route or "-",
            decision.code,
            decision.reason,
            decision.policy,
            decision.issuer or "-",
            decision.dialect or "-",
        )


class Destination(Protocol):
    """Where a request leads."""

    @property
    def path(self) -> str | None:
        """The template of its route; None where there is none."""


@dataclass(slots=True)
class Observation:
    """What is told about one request. Where it leads is looked up only if somebody listens.

    `count` is the number of decisions so far. `is_settled`: the token was refused, and yet the request is served; what
    follows from that is not told again.
    """

    observer: Observer
    method: str
    destination: Destination
    token: AccessToken | None = None
    count: int = 0
    is_settled: bool = False

    def allowed(self, policy: Access | None) -> None:
        """Tell that access was granted."""
        self.count += 1
        if not self.is_settled and self.observer.sees_allowed:
            self._tell(policy, None)

    def refused(self, refused: Refused, policy: Access | None = None) -> None:
        """Tell that access was refused, or would have been."""
        self.count += 1
        if not self.is_settled:
            self._tell(policy, refused)

    def _tell(self, policy: Access | None, refused: Refused | None) -> None:
        token = self.token
        read = token if token is not None else refused
        self.observer.tell(
            RequestDecision(
                allowed=refused is None,
                enforced=self.observer.enforce,
                code=None if refused is None else refused.code,
                reason=None if refused is None else refused.reason,
                method=self.method if self.method in KNOWN_METHODS else "OTHER",
                route=self.destination.path,
                policy=policy,
                issuer=None if read is None else read.issuer,
                dialect=None if read is None else read.dialect,
                token=token,
                detail=decide(policy, token) if token is not None and isinstance(policy, Policy) else None,
            )
        )


def _recording_span() -> Any:
    """Return the span that is being recorded, or None."""
    if get_current_span is None:
        return None
    span = get_current_span()
    return span if span.is_recording() else None


def _attributes(decision: RequestDecision) -> dict[str, str]:
    words = {(True, True): "allowed", (True, False): "allowed", (False, True): "refused"}
    attributes = {
        "authz.decision": words.get((decision.allowed, decision.enforced), "would_refuse"),
        "authz.policy": None if decision.policy is None else repr(decision.policy),
        "authz.route": decision.route,
        "authz.code": decision.code,
        "authz.reason": decision.reason,
        "authz.issuer": decision.issuer,
        "authz.dialect": decision.dialect,
    }
    return {name: str(value) for name, value in attributes.items() if value is not None}
