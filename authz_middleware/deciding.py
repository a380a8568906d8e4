"""Decisions for one request: what policies ask of its caller, which of them were met, and refusals where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import Scope

from .asking import ScopeRequest
from .errors import (
    Code,
    ConfigurationError,
    InsufficientScope,
    InvalidToken,
    MissingToken,
    NoPolicy,
    Reason,
    Refused,
)
from .observation import Observation
from .place import NOWHERE, Place, TokenUse, current_place
from .policy import Access, Decision, Policy, Public
from .policy.core import NOTHING_CHECKED, Answers
from .policy.decision import conclude, suggest
from .policy.running import run_checks, run_checks_now
from .token import AccessToken

__all__ = ["Decisions"]


class Decisions:
    """One request's token, and what has been decided about it.

    Attributes:
        token: the validated token; None for an anonymous caller.
        started: whether the response has begun, after which no refusal can be sent.
        refusal: the latest refusal raised for this request.
    """

    __slots__ = (
        "_closed",
        "_granted",
        "_has_expired",
        "_met",
        "_observation",
        "_scopes",
        "refusal",
        "started",
        "token",
    )

    def __init__(
        self, token: AccessToken | None, observation: Observation | None, has_expired: Callable[[], bool]
    ) -> None:
        self.token = token
        self.started = False
        self.refusal: Refused | None = None
        self._observation = Observation.unheard() if observation is None else observation
        self._has_expired = has_expired
        self._granted = False
        self._met: list[tuple[Access, Mapping[str, Any] | None]] = []
        self._scopes: dict[int, Scope] = {}
        self._closed = False

    @property
    def _place(self) -> Place:
        """Where in the request this runs; of a task or thread that was not handed it, nowhere in particular."""
        place = current_place.get()
        return place if place.context is self else NOWHERE

    @property
    def enforces(self) -> bool:
        """Whether refusals are carried out, or only reported."""
        return self._observation.enforces

    @property
    def scope(self) -> Scope:
        """The ASGI scope of the request, as far in as a decision stood."""
        return self._scopes.get(self._place.depth, {})

    # --- what functions and handlers ask for --------------------------------------------------------------------------

    def enforce(self, access: Access, scope: Scope | None = None) -> None:
        """Grant what a decorator states, or refuse. What was granted once is not decided again, but for a WebSocket.

        `scope` is the ASGI scope of the request as far as it was routed. Nothing is waited for here: an async check
        counts as not met. Where that can be waited for, call `enforce_checked`.

        Raises:
            MissingToken: the caller is anonymous.
            InvalidToken: the token has expired since the answer began.
            InsufficientScope: the policy is not met.
        """
        if not self._holds_still(access, scope) and isinstance(access, Policy):
            self._enforce(access, scope, self._run_checks_now(access, scope))

    async def enforce_checked(self, access: Access, scope: Scope | None = None) -> None:
        """Grant what a decorator states, or refuse; as `enforce`, with its checks run.

        Raises:
            MissingToken: the caller is anonymous.
            InvalidToken: the token has expired since the answer began.
            InsufficientScope: the policy is not met.
        """
        if not self._holds_still(access, scope) and isinstance(access, Policy):
            self._enforce(access, scope, await self._run_checks(access, scope))

    def _holds_still(self, access: Access, scope: Scope | None) -> bool:
        """Tell whether this was met before. Of a connection that stays open, a check has to be asked again."""
        if self.started and isinstance(access, Policy):
            self._check_alive(access)
            if access.has_checks and self._scopes[0]["type"] == "websocket":
                return False
        return self._has_met(access, scope)

    def _enforce(self, policy: Policy, scope: Scope | None, checked: Answers) -> None:
        self._grant(policy, scope, checked)
        self._granted = True
        if not self._has_met(policy, scope):  # a WebSocket may ask for ever
            self._met.append((policy, self._asked_with(policy, scope)))

    def authorize_now(self, policy: Policy, scope: Scope | None = None) -> None:
        """Grant what a handler asks for, or refuse. Not remembered: a connection may ask for ever, each time anew.

        Nothing is waited for: an async check counts as not met.

        Raises:
            MissingToken: the caller is anonymous.
            InvalidToken: the token has expired since.
            InsufficientScope: the policy is not met.
        """
        self._check_alive(policy)
        self._grant(policy, scope, self._run_checks_now(policy, scope))

    async def authorize(self, policy: Policy, scope: Scope | None = None) -> None:
        """Grant what a handler asks for, or refuse; as `authorize_now`, with its checks run.

        Raises:
            MissingToken: the caller is anonymous.
            InvalidToken: the token has expired since.
            InsufficientScope: the policy is not met.
        """
        self._check_alive(policy)
        self._grant(policy, scope, await self._run_checks(policy, scope))

    def _check_alive(self, policy: Policy) -> None:
        """Refuse a token that has expired since it was validated: a WebSocket may stay open longer than that."""
        self._check_open()
        self._observation.tell_pending()
        if self._has_expired():
            self._refuse(InvalidToken(Code.EXPIRED, Reason.EXPIRED), policy)

    def allows(self, policy: Policy) -> bool:
        """Tell whether a policy is met, without refusing or telling anybody. An async check counts as not met."""
        self._check_open()
        request = None if self._has_expired() else self._request(None)
        return request is not None and policy.allows(request, run_checks_now(policy, request))

    # --- deciding -----------------------------------------------------------------------------------------------------

    async def run_checks(self, policy: Policy, scope: Scope) -> Answers:
        """Return what the checks of what a route states answer; nothing if it was met before, and needs no answer."""
        return NOTHING_CHECKED if self._has_met(policy, scope) else await self._run_checks(policy, scope)

    async def _run_checks(self, policy: Policy, scope: Scope | None) -> Answers:
        self._check_open()
        request = self._request(scope)
        return NOTHING_CHECKED if request is None else await run_checks(policy, request)

    def _run_checks_now(self, policy: Policy, scope: Scope | None) -> Answers:
        request = self._request(scope)
        return NOTHING_CHECKED if request is None else run_checks_now(policy, request)

    def _request(self, scope: Scope | None) -> ScopeRequest | None:
        """Return what policies are asked about; None for an anonymous caller."""
        return None if self.token is None else ScopeRequest(self.token, self.scope if scope is None else scope)

    def _grant(self, policy: Policy, scope: Scope | None, checked: Answers) -> None:
        """Grant what is met, and tell; where refusals are carried out, raise what is not."""
        request = self._request(scope)
        if self._is_met(policy, request, checked):
            self._observation.allowed(policy, request, checked)

    def _is_met(
        self, policy: Policy, request: ScopeRequest | None, checked: Answers, *, is_route: bool = False
    ) -> bool:
        """Tell whether a policy is met; where refusals are carried out, it is or this raises.

        `is_route`: a route or mount asks, so that a client is told of all that stands between it and the route.
        """
        self._check_open()
        is_met = request is not None and policy.allows(request, checked)
        if request is None:
            self._refuse(MissingToken(suggest(policy)[1]), policy)
        elif not is_met:
            decision = conclude(policy, request, checked)
            whole = self._observation.whole if is_route else None
            told = conclude(whole, request, checked) if isinstance(whole, Policy) else decision
            told = decision if told.allowed else told
            self._refuse(InsufficientScope(told.required, told.scope), policy, decision)
        self.refusal = None  # a handler has dealt with it
        return is_met

    def _has_met(self, access: Access, scope: Scope | None) -> bool:
        """Tell whether just this was met before. What asks for path parameters counts for these parameters only."""
        self._check_open()
        return any(met is access and then == self._asked_with(access, scope) for met, then in self._met)

    def _asked_with(self, access: Access, scope: Scope | None) -> Mapping[str, Any] | None:
        if isinstance(access, Public) or not access.asks_request:
            return None
        return dict((self.scope if scope is None else scope).get("path_params") or {})

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError(
                "a guarded function was called after its request had ended; call it within the request"
            )

    # --- the token ----------------------------------------------------------------------------------------------------

    def require_token(self) -> AccessToken:
        """Return the token.

        Raises:
            MissingToken: the caller is anonymous. That holds where refusals are only reported, too: there is no token.
        """
        if self.token is None:
            raise self._noted(MissingToken())
        return self.token

    def token_for_parameter(self, access: Access | None = None) -> AccessToken | None:
        """Return the token for a parameter of a handler; None for an anonymous caller where the handler allows for it.

        `access` is what was decided with it: there the token may be missing if nobody takes it as an argument.

        Raises:
            MissingToken: the caller is anonymous, and the handler needs a token.
        """
        may_be_missing = {TokenUse.OPTIONAL} if access is None else {TokenUse.OPTIONAL, TokenUse.NONE}
        return None if self.token is None and self._place.token_use in may_be_missing else self.require_token()

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _refuse(self, refused: Refused, access: Access | None, decision: Decision | None = None) -> None:
        """Raise a refusal; where refusals are only reported, tell of it."""
        if self._observation.enforces:
            raise self._noted(refused, access, decision)
        self._observation.refused(refused, access, decision)

    def _noted(self, refused: Refused, access: Access | None = None, decision: Decision | None = None) -> Refused:
        """Tell of a refusal and remember it: an error handler further in may answer 500 before it has travelled out."""
        self.refusal = refused
        self._observation.refused(refused, access, decision, enforced=True)
        return refused

    def refuse_undecorated(self) -> None:
        """Refuse what states nothing and no route decides for; where refusals are only reported, tell of it.

        Raises:
            MissingToken: the caller is anonymous.
            NoPolicy: nobody may call it, whatever the token.
        """
        self._check_open()
        self._refuse(self._nothing_stated(), None)

    def refusal_of_undecided(self) -> Refused | None:
        """Tell of an answer nobody decided on, and return what to say instead; None where that is only reported."""
        refused = self._nothing_stated()
        self._observation.refused(refused)
        return refused if self._observation.enforces else None

    def _nothing_stated(self) -> Refused:
        """Return the refusal of what nothing is stated about."""
        return MissingToken() if self.token is None else NoPolicy()
