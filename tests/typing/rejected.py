"""What an application must not get past a type checker. Never run.

A line that is wrong ends with the error code of mypy and the rule of pyright that must say so; `-`: that one does not.
"""

# ruff: noqa: B018, F841

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import httpx2
from fastapi import Depends, Security
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request

from authz_middleware import (
    AccessToken,
    AccessTokenValidator,
    AuthzMiddleware,
    TrustedIssuer,
    access_token,
    authenticated,
    authorize,
    policy,
    public,
    requires,
    requires_permissions,
    requires_scopes,
)
from authz_middleware.testing import LocalIssuer, as_caller

# --- requirements -----------------------------------------------------------------------------------------------------

requires(["x"])  # arg-type, reportArgumentType
requires(1)  # arg-type, reportArgumentType
requires(requires("x"))  # arg-type, reportArgumentType
requires(scope="x")  # call-arg, reportCallIssue
requires_scopes(policy.scope("x"))  # arg-type, reportArgumentType
requires_permissions(("x", "y"))  # arg-type, reportArgumentType
requires("a") & requires("b")  # operator, reportOperatorIssue
requires("a") | "b"  # operator, reportOperatorIssue
requires("a").access = policy.scope("b")  # misc, reportAttributeAccessIssue
requires("a")()  # call-overload, reportCallIssue
requires("a")(Starlette()).routes  # attr-defined, reportFunctionMemberAccess
authenticated()  # call-overload, reportCallIssue


@requires  # arg-type, reportArgumentType
def forgotten() -> None: ...


@requires("x")
def listed(number: int) -> list[int]:
    return [number]


@authenticated
async def read(number: int) -> str:
    return str(number)


@public
async def events() -> AsyncIterator[str]:
    yield ""


async def calls() -> None:
    listed("no")  # arg-type, reportArgumentType
    listed()  # call-arg, reportCallIssue
    text: str = read(1)  # assignment, reportAssignmentType
    number: int = await read(1)  # assignment, reportAssignmentType
    async for item in events():
        item + 1  # operator, reportOperatorIssue


# --- policies ---------------------------------------------------------------------------------------------------------

policy.scope()  # call-arg, reportCallIssue
policy.scope("a", "b")  # call-arg, reportCallIssue
policy.permission(["a"])  # arg-type, reportArgumentType
policy.scope(b"a")  # arg-type, reportArgumentType
policy.any_of("a").alternatives.append(())  # attr-defined, reportAttributeAccessIssue
not policy.scope("a")  # -, reportGeneralTypeIssues


# --- the token --------------------------------------------------------------------------------------------------------


async def reads(request: Request, token: AccessToken) -> None:
    token.subject = "admin"  # misc, reportAttributeAccessIssue
    token.claims["sub"] = "admin"  # index, reportIndexIssue
    token.grants.effective = frozenset({"admin"})  # misc, reportAttributeAccessIssue
    token.grants.scopes.add("admin")  # attr-defined, reportAttributeAccessIssue
    token.scopes  # attr-defined, reportAttributeAccessIssue
    token.client_id.upper()  # union-attr, reportOptionalMemberAccess
    AccessToken("https://issuer.test/", "admin")  # call-arg, reportCallIssue
    access_token(request).subject  # attr-defined, reportAttributeAccessIssue
    await access_token()  # call-arg, reportCallIssue
    await authorize(request)  # call-arg, reportCallIssue
    await authorize(request, ["read:orders"])  # arg-type, reportArgumentType


async def visit(token: Annotated[AccessToken | None, Depends(access_token)]) -> str:
    return token.subject  # union-attr, reportOptionalMemberAccess


Security("x")  # arg-type, reportArgumentType


# --- issuers and the middleware ---------------------------------------------------------------------------------------

TrustedIssuer("x")  # call-arg, reportCallIssue
TrustedIssuer("https://login.example.com", None)  # arg-type, reportArgumentType
TrustedIssuer("https://login.example.com", "a", scopes=["x"])  # call-arg, reportCallIssue
TrustedIssuer.auth0("acme.eu.auth0.com")  # call-arg, reportCallIssue
TrustedIssuer.auth0("acme.eu.auth0.com", "a", third_party=set())  # call-arg, reportCallIssue
TrustedIssuer.auth0("acme.eu.auth0.com", "a", rbac_enforced="yes")  # arg-type, reportArgumentType
TrustedIssuer("https://login.example.com", "a").audience = "b"  # misc, reportAttributeAccessIssue
TrustedIssuer("https://login.example.com", "a", fetch=httpx.Client())  # arg-type, reportArgumentType
TrustedIssuer("https://login.example.com", "a", fetch=httpx2.Client())  # arg-type, reportArgumentType
TrustedIssuer("https://login.example.com", "a", fetch=httpx.get)  # arg-type, reportArgumentType
TrustedIssuer("https://login.example.com", "a", key_settings={"lifetime": 60})  # arg-type, reportArgumentType
AccessTokenValidator([], revoked=True)  # arg-type, reportArgumentType
AccessTokenValidator("https://login.example.com")  # arg-type, reportArgumentType
AuthzMiddleware(Starlette(), public_paths=["/docs"])  # call-arg, reportCallIssue


Middleware(AuthzMiddleware, issuer=[])  # call-arg, reportCallIssue
Starlette().add_middleware(AuthzMiddleware, issuers="https://login.example.com")  # arg-type, reportArgumentType
Starlette().add_middleware(AuthzMiddleware, issuers=[], on_decision=print, enforce="no")  # arg-type, reportArgumentType


# --- the testing kit --------------------------------------------------------------------------------------------------

LocalIssuer().headers(permissions="read:orders", scope=["openid"])  # arg-type, reportArgumentType
as_caller("read:orders")  # arg-type, reportArgumentType
