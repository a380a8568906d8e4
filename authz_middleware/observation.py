"""What is told about one request: each decision once, and while refusals are only reported, the first of them."""

from __future__ import annotations

from typing import Protocol

from .errors import Refused
from .observe import Observer, RequestDecision
from .policy import Access, AccessRequest, Decision, Policy
from .policy.core import NOTHING_CHECKED, Answers
from .policy.decision import conclude
from .token import AccessToken

__all__ = ["Destination", "Observation"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""The methods of RFC 9110 section 9, PATCH (RFC 5789) and QUERY. What else a client may write is told as OTHER."""


class Destination(Protocol):
    """Where a request leads."""

    @property
    def path(self) -> str | None:
        """The template of its route; None where there is none."""

    @property
    def access(self) -> Access | None:
        """What the route states, with the mounts around it; None where that is nothing, or there is no route."""


class _Nowhere:
    path: str | None = None
    access: Access | None = None


NOWHERE = _Nowhere()
SILENT = Observer()


class Observation:
    """Tells one request's decisions to an observer. Where the request leads is looked up only if somebody listens.

    Args:
        observer: who is told.
        method: of the request; None for a WebSocket.
        destination: where it leads.
        token: the validated token; None for an anonymous caller.
    """

    __slots__ = (
        "_destination",
        "_is_around",
        "_is_ended",
        "_is_settled",
        "_latest",
        "_method",
        "_observer",
        "_pending",
        "_token",
    )

    def __init__(
        self, observer: Observer, method: str | None, destination: Destination, token: AccessToken | None
    ) -> None:
        self._observer = observer
        self._method = method
        self._destination = destination
        self._token = token
        self._pending: tuple[Access, AccessRequest | None, Answers, bool] | None = None
        self._latest: Refused | None = None
        self._is_around = False
        self._is_settled = False
        self._is_ended = False

    @classmethod
    def unheard(cls) -> Observation:
        """Return one of a request that nobody listens to, and whose refusals are carried out."""
        unheard = cls(SILENT, None, NOWHERE, None)
        unheard.end()
        return unheard

    @property
    def enforces(self) -> bool:
        """Whether refusals are carried out."""
        return self._observer.enforce

    @property
    def wants_detail(self) -> bool:
        """Whether anybody will read why a policy is met."""
        return not self._is_settled and self._observer.wants_detail

    @property
    def whole(self) -> Access | None:
        """What the route and the mounts around it state, as far as it is known where the request leads."""
        return self._destination.access

    def allowed(
        self,
        access: Access,
        request: AccessRequest | None,
        held: Answers = NOTHING_CHECKED,
        *,
        is_covered: bool = False,
    ) -> None:
        """Tell that access was granted: to whom (None: to the anonymous), and by which terms, besides those still met.

        `is_covered`: mounts around have stated something, too.
        """
        self._pending = None
        if not self._is_settled and self._observer.sees_allowed:
            whole = self._destination.access if is_covered or self._is_around else None
            told = access if whole is None else whole
            self._tell(told, None, self._explained(told, request, held), enforced=self.enforces)

    def widen(self) -> None:
        """Note that routers around have required something, too."""
        self._is_around = True

    def pend(
        self,
        access: Access,
        request: AccessRequest | None,
        held: Answers = NOTHING_CHECKED,
        *,
        is_covered: bool = False,
    ) -> None:
        """Tell later that access was granted here, unless something further in decides."""
        self._pending = (access, request, held, is_covered)

    def tell_pending(self) -> None:
        """Tell what was to be told later."""
        if self._pending is not None:
            access, request, held, is_covered = self._pending
            self.allowed(access, request, held, is_covered=is_covered)

    def refused(
        self,
        refused: Refused,
        access: Access | None = None,
        detail: Decision | None = None,
        *,
        enforced: bool | None = None,
    ) -> None:
        """Tell that access was refused, or would have been. What follows from the latter is told if it is carried out.

        `detail` is the answer of the policy that refused. `enforced`: what is refused whatever the observer says; by
        default, what it says.
        """
        self._pending = None
        self._latest = refused
        enforced = self.enforces if enforced is None else enforced
        if not self._is_ended and (enforced or not self._is_settled):
            self._is_settled = not enforced
            self._tell(access, refused, detail, enforced=enforced)

    def answered(self, refused: Refused) -> None:
        """Tell of a refusal that is being answered, unless it was told when it was raised."""
        if refused is not self._latest:
            self.refused(refused, enforced=True)

    def end(self) -> None:
        """Tell nothing any more, and keep nothing of the request alive."""
        self._is_settled = self._is_ended = True
        self._destination, self._token = NOWHERE, None
        self._pending = self._latest = None

    def _explained(self, access: Access, request: AccessRequest | None, held: Answers) -> Decision | None:
        """Return a policy's own answer, if somebody reads it."""
        if request is None or not isinstance(access, Policy) or not self.wants_detail:
            return None
        return conclude(access, request, held)

    def _tell(self, policy: Access | None, refused: Refused | None, detail: Decision | None, *, enforced: bool) -> None:
        token = self._token
        read = token if token is not None else refused
        self._observer.tell(
            RequestDecision(
                allowed=refused is None,
                enforced=enforced,
                code=None if refused is None else refused.code,
                reason=None if refused is None else refused.reason,
                method=_told_method(self._method),
                route=self._destination.path,
                policy=policy,
                issuer=None if read is None else read.issuer,
                dialect=None if read is None else read.dialect,
                token=token,
                detail=detail,
            )
        )


def _told_method(method: str | None) -> str:
    if method is None:
        return "WEBSOCKET"
    return method if method in METHODS else "OTHER"
