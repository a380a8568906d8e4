"""A last look at the routes, right before they are matched."""

from __future__ import annotations

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..binding import outer_context

__all__ = ["CurrentRoutes", "keep_current"]


class CurrentRoutes:
    """What a router serves with, behind a look at whether its routes have changed since they were guarded.

    A route may be added while a request waits in a middleware in front: FastAPI then makes its router's other routes
    anew, without their guards. From here to the route nothing waits.
    """

    __slots__ = ("app",)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look, then serve."""
        if (context := outer_context(scope)) is not None:
            context.map_new_routes()
        await self.app(scope, receive, send)


def keep_current(router: Router) -> None:
    """Put that look in front of a router, once."""
    if not isinstance(router.middleware_stack, CurrentRoutes):
        router.middleware_stack = CurrentRoutes(router.middleware_stack)
