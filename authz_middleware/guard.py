"""`Guard`: the decision in front of an ASGI application, whoever puts it there: a decorator, or the route map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from .binding import context_of, refuse
from .errors import Refused
from .handlers import NothingThere, NothingToConnectTo
from .place import TokenUse
from .policy import Access, Policy
from .policy.core import NOTHING_CHECKED

__all__ = ["Guard", "HandleGuard", "RouterGuard", "Stated"]

HIDDEN = (NothingThere, NothingToConnectTo)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a route states: `access` altogether (None: nothing), `pieces` what its wrappers will ask for again.

    `token_use`: whether its handler, or a dependency of its, takes the token as an argument. `to_check`: the policy, if
    it asks functions of the application's own.
    """

    access: Access | None
    pieces: tuple[Access, ...] = ()
    token_use: TokenUse = TokenUse.NONE
    to_check: Policy | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        has_checks = isinstance(self.access, Policy) and self.access.has_checks
        object.__setattr__(self, "to_check", self.access if has_checks else None)


class Guard:
    """An ASGI application behind a decision. A refusal is answered here, before anything behind it has run.

    `by_method` is what a class-based endpoint states method by method. `covers`: the application behind has routes of
    its own, which this decision covers where they say nothing. `overridden` returns what a route states while the
    application overrides dependencies of its, None while it does not. `required` is what FastAPI routers around require
    of a route of Starlette's; it is part of what the route states, and asked by itself where that is nothing.
    """

    __slots__ = ("app", "by_method", "covers", "overridden", "required", "stated")

    def __init__(
        self,
        app: ASGIApp,
        stated: Stated,
        by_method: Mapping[str, Stated] | None = None,
        *,
        covers: bool = False,
        overridden: Callable[[], Stated | None] | None = None,
        required: Access | None = None,
    ) -> None:
        self.app = app
        self.stated = stated
        self.by_method = by_method or {}
        self.covers = covers
        self.overridden = overridden
        self.required = required

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of the application behind, as `Mount` looks for them."""
        return cast("list[BaseRoute]", getattr(self.app, "routes", []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide, then serve."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        stated = self.stated_for(scope)
        context = context_of(scope)
        if stated is None:
            await (self._answer_405 if context.enforces else self.app)(scope, receive, send)
            return
        try:
            to_check = stated.to_check
            checked = NOTHING_CHECKED if to_check is None else await context.run_checks(to_check, scope)
            with context.enforced_route(
                stated.access,
                stated.pieces,
                scope=scope,
                checked=checked,
                covers=self.covers,
                token_use=stated.token_use,
            ):
                if isinstance(self.required, Policy) and stated.access is None:
                    await context.enforce_around(self.required, scope)
                await self.app(scope, receive, send)
        except Refused as refused:
            await refuse(context, refused, scope, send)
        except (*HIDDEN, ExceptionGroup) as error:
            hidden = _hidden_in(error)
            if hidden is None:
                raise
            if "app" in scope or context.started:
                raise hidden from None  # the application's own handlers answer
            await Router().not_found(scope, receive, send)

    async def _answer_405(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as a route does that lacks the method: within an application, by its own handlers."""
        headers = {"Allow": ", ".join(self.by_method)}
        if "app" in scope:
            raise HTTPException(405, headers=headers)
        await PlainTextResponse("Method Not Allowed", 405, headers)(scope, receive, send)

    @property
    def whole(self) -> Stated:
        """What is stated for every method alike, while the application overrides dependencies or not."""
        overridden = None if self.overridden is None else self.overridden()
        return self.stated if overridden is None else overridden

    def stated_for(self, scope: Scope) -> Stated | None:
        """Return what is stated for this request; None: a class-based endpoint that states nothing lacks the method."""
        if self.overridden is not None and (overridden := self.overridden()) is not None:
            return overridden
        stated = self.by_method.get(scope.get("method", ""), self.stated)
        lacks_method = bool(self.by_method) and stated is self.stated and stated.access is None
        return None if lacks_method else stated


class RouterGuard:
    """A mounted application behind what FastAPI routers around it require.

    Covers nothing: what states nothing further in is refused as it would be without.
    """

    __slots__ = ("app", "required")

    def __init__(self, app: ASGIApp, required: Policy) -> None:
        self.app = app
        self.required = required

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of the application behind, as `Host` looks for them."""
        return cast("list[BaseRoute]", getattr(self.app, "routes", []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, then serve."""
        context = context_of(scope)
        try:
            await context.enforce_around(self.required, scope)
            await self.app(scope, receive, send)
        except Refused as refused:
            await refuse(context, refused, scope, send)


class HandleGuard:
    """The `handle` of a route that serves in a way of its own, behind what is stated where the request came in.

    Such a route exists once, however often it is included. `choose` returns the guard of the inclusion, or None where
    that is not known yet; then `guard` decides, by what the route itself states. `route`: whose `handle` it is; copies
    of a route have it, too.
    """

    __slots__ = ("choose", "guard", "route")

    def __init__(self, route: object, guard: Guard, choose: Callable[[Scope], Guard | None]) -> None:
        self.route = route
        self.guard = guard
        self.choose = choose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide, then serve."""
        guard = self.choose(scope) or self.guard
        await guard(scope, receive, send)


def _hidden_in(error: Exception) -> Exception | None:
    """Return the hidden refusal that an exception is, or that a task group of the handler's has raised and no other."""
    if not isinstance(error, ExceptionGroup):
        return error if isinstance(error, HIDDEN) else None
    members = [_hidden_in(member) for member in error.exceptions]
    return members[0] if all(members) else None
