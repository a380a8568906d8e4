"""`document(app)`: check the arguments, and see to every FastAPI application that the middleware guards.

Sources: OpenAPI 3.1 (security scheme objects), RFC 6749 section 3 (endpoints).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp

from ..errors import ConfigurationError
from ..keys import check_url
from ..keys.discovery import CodeFlow
from ..policy.decision import is_scope_token
from .documentation import Documentation, DocumentSettings, installed_issuers
from .schema import put_into

__all__ = ["document"]


def document(
    app: Starlette,
    *,
    issuer: str | None = None,
    authorization_endpoint: str | None = None,
    token_endpoint: str | None = None,
    open_id_connect: bool = False,
    bearer: bool = False,
    scopes: Mapping[str, str] | None = None,
) -> None:
    """Make `/openapi.json` say who may call what, from the very policies that are enforced.

    Adds a security scheme, what each operation requires (`a | b` as alternatives), a line about it in each description,
    and the refusals. Of what else policies compare with, such as roles, claims and identities, it says the kind and no
    value: often anybody may read it. Routes may be declared before or after. FastAPI applications mounted in this one
    are documented too, mounts around them counted in. A handler's own `authorize(…)` is not seen: document it with the
    operation.

    While `AuthzMiddleware(enforce=False)` only reports, the document says what is going to be required, and that nobody
    is refused yet: it lists no refusals, and no token as an alternative to the right one.

    The issuer's endpoints are discovered when a document is first asked for, and kept while the process lives. As long
    as they cannot be fetched, the scheme is OpenID Connect, which clients resolve by themselves. An issuer whose
    `keys=` or `secret=` are given is not asked; nor is one whose `fetch=` is an HTTP client, by an export without an
    event loop.

    Args:
        app: the application that has the middleware; call this after `add_middleware`.
        issuer: which authorization server clients are sent to, if several are trusted: a document names one.
        authorization_endpoint: where users are sent; with token_endpoint, nothing is discovered.
        token_endpoint: where clients get tokens.
        open_id_connect: name the issuer's metadata, not its endpoints; nothing is discovered then.
        bearer: name no authorization server at all; people paste a token into Swagger UI that they got elsewhere. The
            document then has no place for what `scopes` describes.
        scopes: a description for each scope. Those that no route's policy names are listed as well, such as `openid`.

    Raises:
        ConfigurationError: the application has no middleware, or an argument is invalid.
    """
    faults = [
        *_application_faults(app),
        *_endpoint_faults(authorization_endpoint, token_endpoint),
        *_choice_faults(authorization_endpoint or token_endpoint, open_id_connect=open_id_connect, bearer=bearer),
        *_scope_faults(scopes),
    ] or _issuer_faults(app, issuer, is_needed=authorization_endpoint is None and not bearer)
    if faults:
        raise ConfigurationError(*(f"document: {fault}" for fault in faults))
    code_flow = CodeFlow(authorization_endpoint, token_endpoint) if authorization_endpoint and token_endpoint else None
    documentation = Documentation(app, DocumentSettings(issuer, code_flow, open_id_connect, bearer, dict(scopes or {})))
    _see_to_all(documentation)
    if app.middleware_stack is None:
        earlier: object = _see_to_all_at_start
        app.user_middleware[:] = [one for one in app.user_middleware if one.cls is not earlier]
        app.add_middleware(_see_to_all_at_start, documentation=documentation)


def _see_to_all(documentation: Documentation) -> None:
    if documentation.is_looking:
        return  # to look at what stands in front, a stack may have to be built, and that leads here once more
    documentation.is_looking = True
    try:
        for application in documentation.applications():
            if isinstance(application, FastAPI):
                put_into(application, documentation)
    finally:
        documentation.is_looking = False


def _see_to_all_at_start(app: ASGIApp, documentation: Documentation) -> ASGIApp:
    """Be no middleware at all: this is only called when the application starts, with all its mounts in place."""
    with suppress(ConfigurationError):  # about the routes: AuthzMiddleware fails the start by it
        _see_to_all(documentation)
    return app


# --- what each argument may be: functions that return faults ----------------------------------------------------------


def _application_faults(app: Starlette) -> Iterator[str]:
    if not isinstance(app, Starlette):
        yield "takes the FastAPI application; write document(app)"
    elif not installed_issuers(app):
        yield (
            "the application has no AuthzMiddleware, or one with a fault; write "
            "app.add_middleware(AuthzMiddleware, issuers=[…]) before. What is mounted in a guarded application is "
            "documented with that one"
        )


def _endpoint_faults(authorization: str | None, token: str | None) -> Iterator[str]:
    if (authorization is None) != (token is None):
        yield "authorization_endpoint and token_endpoint belong together; give both, or neither to discover them"
    for name, url in (("authorization_endpoint", authorization), ("token_endpoint", token)):
        if url is not None:
            yield from check_url(url, name) if isinstance(url, str) else [f"{name} is no URL; write an https URL"]


def _choice_faults(endpoint: str | None, *, open_id_connect: bool, bearer: bool) -> Iterator[str]:
    """Yield that several security schemes were asked for: two on one operation would be alternatives."""
    choices = {"endpoints": endpoint is not None, "open_id_connect=True": open_id_connect, "bearer=True": bearer}
    chosen = [name for name, is_chosen in choices.items() if is_chosen]
    if len(chosen) > 1:
        yield f"{' and '.join(chosen)} contradict each other; give one of them"


def _scope_faults(scopes: Mapping[str, str] | None) -> Iterator[str]:
    if scopes is None:
        return
    if not isinstance(scopes, Mapping) or not all(isinstance(text, str) for text in scopes.values()):
        yield 'scopes maps scopes to descriptions; write scopes={"read:orders": "Read orders"}'
    elif not all(isinstance(scope, str) and scope and is_scope_token(scope) for scope in scopes):
        yield 'scopes describes something that is no scope; write {"read:orders": "Read orders"}'


def _issuer_faults(app: Starlette, issuer: str | None, *, is_needed: bool) -> list[str]:
    trusted = list(dict.fromkeys(one.issuer for one in installed_issuers(app)))
    choice = " or ".join(f"issuer={name!r}" for name in trusted)
    if is_needed and issuer is None and len(trusted) > 1:
        return [f"several authorization servers are trusted, and a document sends clients to one; write {choice}"]
    if issuer is not None and issuer not in trusted:
        return [f"issuer is none that the middleware trusts; write {choice}, or leave it out"]
    return []
