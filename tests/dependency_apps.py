"""FastAPI applications that state their requirements at chosen levels, for the tests of dependencies."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request, Security
from starlette.routing import Mount
from starlette.types import ASGIApp

from authz_middleware import AuthzMiddleware
from authz_middleware.decorators import Requirement
from authz_middleware.testing import LocalIssuer

from .apps import Calls

LEVELS = ("application", "include", "router", "route", "nested", "class", "generator", "parameter", "decorator")
"""Where a requirement may stand, in the order in which they add up."""
PATH = "/in/own/1"
MALFORMED: dict[str, Any] = {"content": b"{not json"}


def guarded(issuer: LocalIssuer, dependencies: Any = None, **options: Any) -> FastAPI:
    """Return an empty FastAPI application behind the middleware."""
    options.setdefault("issuers", [issuer.trusted(third_party_clients=set())])
    app = FastAPI(dependencies=dependencies)
    app.add_middleware(AuthzMiddleware, **options)
    return app


def holding(issuer: LocalIssuer, *permissions: str, **claims: Any) -> dict[str, str]:
    """Return the headers of a caller who holds these grants and no other."""
    return issuer.headers(permissions=list(permissions), **claims)


def nothing() -> None:
    """Be a dependency that gives and states nothing."""


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Be a decorator that states nothing."""
    return function


class Placed:
    """An application with one operation, `POST /in/own/{number}`, that states requirements at these levels.

    Beside them stand a body, and a dependency that runs first of all and answers 404 for number 0. `calls`: what ran.
    """

    def __init__(self, issuer: LocalIssuer, stated: Mapping[str, Requirement], **options: Any) -> None:
        self.calls = Calls()
        self._stated = stated
        self.app = guarded(issuer, [Depends(self.absent), *self._at("application")], **options)
        self.router = APIRouter(prefix="/own", dependencies=self._at("router"))
        self.router.post("/{number}", dependencies=self._at("route"))(self._operation())
        self.app.include_router(self.router, prefix="/in", dependencies=self._at("include"))

    def mounted_in(self, issuer: LocalIssuer, around: Callable[[ASGIApp], ASGIApp]) -> FastAPI:
        """Return another application that this one is mounted in, behind a requirement around it."""
        outer, inner = guarded(issuer), FastAPI(dependencies=self._at("application"))
        inner.include_router(self.router, prefix="/in", dependencies=self._at("include"))
        outer.router.routes.append(Mount("/outer", app=around(inner)))
        return outer

    def absent(self, request: Request) -> None:
        self.calls.note("absent")
        if request.path_params["number"] == "0":
            raise HTTPException(404, "no such number")

    def _at(self, level: str) -> list[Any]:
        return [Security(self._stated[level])] if level in self._stated else []

    def _operation(self) -> Callable[..., Any]:
        at = {level: self._stated.get(level, nothing) for level in LEVELS}
        decorator: Callable[[Any], Any] = self._stated.get("decorator", plain)
        calls = self.calls

        async def nested(_: Annotated[object, Security(at["nested"])]) -> None:
            calls.note("nested")

        class Needed:
            def __init__(self, _: Annotated[object, Security(at["class"])]) -> None:
                calls.note("class")

        def generator(_: Annotated[object, Security(at["generator"])]) -> Iterator[None]:
            calls.note("generator")
            yield

        async def operation(
            number: int,
            value: Annotated[dict[str, int], Body()],
            one: Annotated[None, Depends(nested)],
            two: Annotated[Needed, Depends()],
            three: Annotated[None, Depends(generator)],
            token: Annotated[Any, Security(at["parameter"])],
        ) -> str:
            calls.note("operation")
            return "none" if token is None else str(token.subject)

        guarded_operation: Callable[..., Any] = decorator(operation)
        return guarded_operation
