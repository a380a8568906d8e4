"""What one request knows about its caller: the only object enforcement believes.

The middleware puts one `RequestContext` into the ASGI scope and into a context variable. Nothing else is ever asked:
neither `request.user`, nor a foreign `request.auth`, nor a header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Scope

from .asking import ScopeRequest
from .challenge import Challenger
from .deciding import Decisions
from .errors import Refused
from .observation import Observation
from .owing import Owing
from .place import Place, TokenUse, current_place
from .policy import PUBLIC, Access, Policy
from .policy.core import NOTHING_CHECKED, Answers
from .token import AccessToken

__all__ = ["RequestContext"]


class RequestContext(Decisions):
    """The decisions of one request on its way through mounts and routes, and out.

    Attributes:
        challenger: how this application words refusals.
        map_new_routes: guards routes that have changed while this request was under way.
        owing: the decisions a handler has asked for and not had yet.
    """

    __slots__ = (
        "_depth",
        "_held",
        "_inner",
        "_public_path",
        "_undecorated",
        "challenger",
        "map_new_routes",
        "owing",
    )

    def __init__(
        self,
        token: AccessToken | None,
        challenger: Challenger,
        *,
        undecorated: Access | None = None,
        public_path: str | None = None,
        observation: Observation | None = None,
        has_expired: Callable[[], bool] = lambda: False,
        map_new_routes: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(token, observation, has_expired)
        self.challenger = challenger
        self.map_new_routes = map_new_routes
        self.owing = Owing()
        self._undecorated = undecorated
        self._public_path = public_path
        self._inner: RequestContext | None = None
        self._held: Answers = NOTHING_CHECKED  # by which mounts and routes granted access, for whoever listens
        self._depth = 0
        if public_path is not None:
            self._granted = True
            self._observation.pend(PUBLIC, None)

    @property
    def decided(self) -> bool:
        """Whether access was granted, by a policy, `@public` or a public path. Without it no answer may leave."""
        inner = self._inner
        return self._granted or (inner is not None and (inner.decided or not inner.enforces))

    # --- the answer ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Note that the answer begins: from here on no refusal can be sent."""
        self.started = True
        self._observation.tell_pending()

    def check_settled(self, *, has_begun: bool) -> None:
        """See to it that an answer may begin, or more of it leave.

        Raises:
            ConfigurationError: a handler has asked for a decision and not awaited it.
        """
        if self._observation.enforces:
            self.owing.check(has_begun=has_begun)

    def answered(self, refused: Refused) -> None:
        """Note that a refusal is being answered, which the application may have raised by itself."""
        self._observation.answered(refused)

    # --- routes and mounts --------------------------------------------------------------------------------------------

    @contextmanager
    def enforced_route(
        self,
        access: Access | None,
        pieces: tuple[Access, ...] = (),
        *,
        scope: Scope,
        checked: Answers = NOTHING_CHECKED,
        covers: bool = False,
        token_use: TokenUse = TokenUse.NONE,
    ) -> Iterator[None]:
        """Decide for a route or mount: `access` is all that it states, `pieces` what its wrappers will ask for again.

        `checked` is what its checks answered, see `run_checks`. A route that states nothing is covered by a mount
        around it that did, or by `public_paths`; else it is refused, or open to any valid token where the application
        says so. `covers` makes this decision such a cover, for what runs within; a route covers nothing, so that what
        it dispatches to elsewhere must state something itself.
        """
        cover = self._place.cover
        request = self._request(scope)
        is_new = access is None or not self._has_met(access, scope)
        granted = self._decide_route(access, scope, request, checked) if is_new else access
        if granted is not None and is_new:
            self._note_held(granted, request, checked)
            tell = self._observation.pend if covers else self._observation.allowed
            tell(granted, request, self._held, is_covered=cover is not None)
        self._met += [(piece, self._asked_with(piece, scope)) for piece in pieces]
        self._granted = True
        covering = None if not covers else cover if access is None else (access, granted is not None)
        self._depth += 1
        place = Place(self, self._depth, covering, token_use)
        self._scopes[place.depth] = scope
        reset = current_place.set(place)
        try:
            yield
        finally:
            current_place.reset(reset)
            self._scopes.pop(place.depth, None)
            if covers:
                self._observation.tell_pending()

    def _decide_route(
        self, access: Access | None, scope: Scope, request: ScopeRequest | None, checked: Answers
    ) -> Access | None:
        """Return what granted access; None: nothing did, which is only so where refusals are reported and no more."""
        cover = self._place.cover
        if access is None and cover is not None:
            return cover[0] if cover[1] else None
        if access is None and scope.get("path", "") == self._public_path:
            return PUBLIC
        access = self._undecorated if access is None else access
        if isinstance(access, Policy):
            return access if self._is_met(access, request, checked, is_route=True) else None
        if access is None:
            self.refuse_undecorated()
        self._check_open()
        return access

    async def enforce_around(self, policy: Policy, scope: Scope) -> None:
        """Ask what routers around require, unless `public_paths` opens this, where nothing is stated. Grants nothing.

        Raises:
            MissingToken: the caller is anonymous.
            InsufficientScope: the policy is not met.
        """
        if scope.get("path", "") == self._public_path and self._observation.whole is None:
            return
        checked = await self._run_checks(policy, scope)
        request = self._request(scope)
        if self._is_met(policy, request, checked, is_route=True):
            self._note_held(policy, request, checked)
            self._observation.widen()

    def _note_held(self, access: Access, request: ScopeRequest | None, checked: Answers) -> None:
        """Remember which terms hold here: further in, path parameters of the same names may say something else."""
        if request is not None and isinstance(access, Policy) and self._observation.wants_detail:
            held = (term for term in access.terms if checked.get(term) or term.holds(request))
            self._held = {**self._held, **dict.fromkeys(held, True)}

    def arrive(self, scope: Scope) -> None:
        """Note the scope of the request as it comes in."""
        self._scopes[0] = scope

    def hand_over(self, inner: RequestContext) -> None:
        """Leave the decision to a middleware further in, which validates anew."""
        self._inner = inner

    def tell_pending(self) -> None:
        """Tell what a mount granted, before somebody further in tells anything."""
        self._observation.tell_pending()

    def close(self) -> None:
        """End the request: whoever still holds this object can no longer use it, and keeps nothing else alive."""
        self._closed = True
        self._observation.end()
        self.refusal = None  # its traceback leads back here
        self._scopes.clear()
        self._met = []

    @property
    def is_open(self) -> bool:
        """Whether the request is still being served."""
        return not self._closed
