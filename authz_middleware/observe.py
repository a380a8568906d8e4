"""What an operator sees of decisions: one log line for each refusal, a hook, attributes of the current span.

Nothing here decides. No token text, claim value or library message is ever written: a line names codes, reasons,
what the application itself wrote (route templates, policies, issuers) and dialects.

Where OpenTelemetry records a span, each decision sets these string attributes of it, the empty string where there is
nothing to say, so that a later decision leaves nothing of an earlier one behind: `authz.decision` (`allowed`, `refused`
or `would_refuse`), `authz.code`, `authz.reason`, `authz.policy`, `authz.route`, `authz.issuer`, `authz.dialect`. They
are named by their subject, as OpenTelemetry advises; its conventions have no names for these.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._locks import new_lock
from .errors import Code, ConfigurationError, Reason
from .explanations import explain_refusal
from .policy import Access, Decision
from .token import AccessToken

try:
    from opentelemetry.trace import get_current_span
except ImportError:  # an extra of the application's: without it there is no span to write to
    get_current_span = None  # type: ignore[assignment]

__all__ = ["Observer", "RequestDecision"]

_log = logging.getLogger("authz_middleware")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDecision:
    """One decision about one request, as `on_decision` gets it.

    Attributes:
        allowed: whether access was granted.
        enforced: False where the application only reports (`enforce=False`): a refused request was served all the same.
        code: what the client is told; None where access was granted.
        reason: why a request was refused, in more detail; None where access was granted.
        method: the HTTP method; `WEBSOCKET` for a handshake; `OTHER` for a method that is not in common use.
        route: the template of the route, such as `/orders/{id}`; None where no route matches.
        policy: what was asked: what the route states, with the mounts around it, or what `authorize` was given; where
            one of these refused, that one. None where nothing is stated.
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
        return "access is granted" if self.code is None else explain_refusal(self.code, self.reason)


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
        if on_decision is not None and not _is_plain(on_decision):
            raise ConfigurationError("on_decision is a plain function of one decision; write def on_decision(decision)")
        if not isinstance(enforce, bool):
            raise ConfigurationError("enforce is True, or False to report only what would be refused")
        self.enforce = enforce
        self.would_refuse: Counter[tuple[str, str | None]] = Counter()
        self._counting = new_lock()  # sync handlers are refused in threads
        self._on_decision = on_decision

    @property
    def wants_detail(self) -> bool:
        """Whether anybody reads why a policy is met or not."""
        return self._on_decision is not None

    @property
    def sees_allowed(self) -> bool:
        """Whether anybody wants to hear that access was granted."""
        return self._on_decision is not None or _recording_span() is not None

    def tell(self, decision: RequestDecision) -> None:
        """Log a refusal, mark the span, call the hook. Whoever looks on does not change what is decided."""
        if not decision.allowed:
            self._log_refusal(decision)
        _call("the span", _mark_span, decision)
        if self._on_decision is not None:
            _call("on_decision", self._on_decision, decision)

    def _log_refusal(self, decision: RequestDecision) -> None:
        words = "refused" if decision.enforced else f"would refuse ({self._count(decision)})"
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

    def _count(self, decision: RequestDecision) -> int:
        key = (str(decision.code), decision.route)
        with self._counting:
            self.would_refuse[key] += 1
            return self.would_refuse[key]


def _is_plain(hook: object) -> bool:
    """Tell whether a hook does its work when it is called with one argument."""
    if isinstance(hook, type) or not callable(hook):
        return False
    function: Callable[..., object] = hook
    while isinstance(function, functools.partial):
        function = function.func
    postpones = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    if any(test(part) for test in postpones for part in (function, type(function).__call__)):
        return False
    return _takes_one(hook)


def _takes_one(hook: Callable[..., object]) -> bool:
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # what is written in C need not show one
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _call(name: str, listener: Callable[[RequestDecision], object], decision: RequestDecision) -> None:
    try:
        answer = listener(decision)
    except Exception as error:  # noqa: BLE001 - whoever looks on must not change what is decided
        _log.error("%s failed with %s", name, type(error).__name__)  # its text may hold claims
        return
    if inspect.iscoroutine(answer):
        answer.close()
        _log.error("%s returned a coroutine, which nobody awaits; write a plain function", name)


def _mark_span(decision: RequestDecision) -> None:
    span = _recording_span()
    if span is not None:
        span.set_attributes(_attributes(decision))


def _recording_span() -> Any:
    """Return the span that is being recorded, or None."""
    if get_current_span is None:
        return None
    span = get_current_span()
    return span if span.is_recording() else None


def _attributes(decision: RequestDecision) -> dict[str, str]:
    outcome = "allowed" if decision.allowed else "refused" if decision.enforced else "would_refuse"
    attributes = {
        "authz.decision": outcome,
        "authz.code": decision.code,
        "authz.reason": decision.reason,
        "authz.policy": None if decision.policy is None else repr(decision.policy),
        "authz.route": decision.route,
        "authz.issuer": decision.issuer,
        "authz.dialect": decision.dialect,
    }
    return {name: "" if value is None else str(value) for name, value in attributes.items()}
