"""Fill in the *Authorize* dialog of FastAPI's Swagger UI page. Source: Swagger UI, OAuth 2.0 configuration."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import FastAPI

from .._arguments import collection_faults
from ..errors import ConfigurationError
from ..policy.decision import is_scope_token

__all__ = ["swagger_ui"]


def swagger_ui(
    app: FastAPI,
    *,
    client_id: str,
    scopes: Collection[str] = (),
    audience: str | None = None,
    resource: str | None = None,
) -> None:
    """Fill in what a person would have to type into *Authorize*: the client, the scopes, the API. Always with PKCE.

    The client must be public, like every program in a browser: there is no argument for a secret, because the page
    would publish it. At the authorization server, register the page's redirect URI, such as
    `https://api.example.com/docs/oauth2-redirect`, and allow the page's origin (CORS) at the token endpoint.

    Swagger UI puts `audience` or `resource` into the query of both requests, also of that to the token endpoint, whose
    parameters belong into the body (RFC 6749 section 3.2). So the authorization server must remember the resource from
    the authorization request. Replaces `app.swagger_ui_init_oauth`.

    Args:
        app: the application with the page.
        client_id: a public client.
        scopes: those to check in advance; others, such as `openid`, are asked for as well.
        audience: this API's identifier, where the authorization server takes it so (Auth0).
        resource: this API's identifier by RFC 8707.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    faults = [
        *_text_faults("client_id", client_id, "write the id of a public client"),
        *_scope_faults(scopes),
        *_target_faults(audience, resource),
    ]
    if faults:
        raise ConfigurationError(*(f"swagger_ui: {fault}" for fault in faults))
    target = {name: value for name, value in (("audience", audience), ("resource", resource)) if value is not None}
    app.swagger_ui_init_oauth = {
        "clientId": client_id,
        "scopes": " ".join(scopes),
        "usePkceWithAuthorizationCodeGrant": True,
        "additionalQueryStringParams": target,
    }


def _text_faults(name: str, value: object, advice: str) -> list[str]:
    return [] if isinstance(value, str) and value else [f"{name} is missing; {advice}"]


def _scope_faults(scopes: Collection[str]) -> list[str]:
    faults = collection_faults("scopes", scopes)
    if not faults and not all(is_scope_token(scope) for scope in scopes):
        faults.append('scopes holds something that is no scope; write scopes=["openid", "read:orders"]')
    return faults


def _target_faults(audience: str | None, resource: str | None) -> list[str]:
    if audience is not None and resource is not None:
        return ["audience and resource say the same in two ways; give the one your authorization server takes"]
    faults = []
    if audience is not None:
        faults += _text_faults("audience", audience, "write this API's identifier, or leave audience out")
    if resource is not None and not _is_resource(resource):  # RFC 8707 section 2
        faults.append("resource is an absolute URI without fragment; write this API's identifier, or leave it out")
    return faults


def _is_resource(resource: object) -> bool:
    return isinstance(resource, str) and bool(urlsplit(resource).scheme) and "#" not in resource
