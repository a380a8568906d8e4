"""Find an issuer's endpoints through its metadata: the JWKS, and those a client sends a user to.

Sources: OpenID Connect Discovery section 4, RFC 8414 sections 2, 3 and 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from .._jose import JSONFault, parse_json
from .fetch import Fetch, FetchFailed, check_fetched_url, fetch_document
from .settings import KeySettings
from .urls import host_of

__all__ = ["CodeFlow", "discover_code_flow", "discover_jwks_uri", "metadata_urls"]

DEFAULTS = KeySettings()


@dataclass(frozen=True, slots=True)
class CodeFlow:
    """Where the authorization code flow begins and ends (RFC 6749 sections 3.1 and 3.2)."""

    authorization_endpoint: str
    token_endpoint: str


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Return the OIDC form and the RFC 8414 form of an issuer's metadata URL, in the order they are tried."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oidc = path + "/.well-known/openid-configuration"  # appended: OpenID Connect Discovery section 4
    oauth = "/.well-known/oauth-authorization-server" + path  # inserted: RFC 8414 section 3.1
    return (urlunsplit(parts._replace(path=oidc)), urlunsplit(parts._replace(path=oauth)))


async def discover_jwks_uri(issuer: str, fetch: Fetch, settings: KeySettings = DEFAULTS) -> str:
    """Return the `jwks_uri` of the issuer's metadata. Only a plain 404 of the first form leads to the second.

    Raises:
        FetchFailed: no metadata, broken metadata, metadata of another issuer, or a host that is not allowed.
    """
    uri = _endpoint(await _fetch_metadata(issuer, fetch, settings), "jwks_uri", issuer)
    if settings.allowed_hosts is not None and host_of(uri) not in settings.allowed_hosts:
        raise FetchFailed("host_not_allowed")
    return uri


async def discover_code_flow(issuer: str, fetch: Fetch, settings: KeySettings = DEFAULTS) -> CodeFlow:
    """Return the endpoints of the authorization code flow, by the rules of `discover_jwks_uri`.

    Whether the issuer offers that flow to a client is not checked.

    Raises:
        FetchFailed: as there, or the metadata lacks one of the two.
    """
    metadata = await _fetch_metadata(issuer, fetch, settings)
    return CodeFlow(
        _endpoint(metadata, "authorization_endpoint", issuer), _endpoint(metadata, "token_endpoint", issuer)
    )


async def _fetch_metadata(issuer: str, fetch: Fetch, settings: KeySettings) -> Mapping[str, object]:
    oidc, oauth = metadata_urls(issuer)
    get = partial(fetch_document, fetch, headers={}, seconds=settings.fetch_seconds, max_bytes=settings.max_bytes)
    try:
        response = await get(oidc)
    except FetchFailed as failure:
        if not failure.absent:
            raise
        response = await get(oauth)
    try:
        metadata = parse_json(response.body)
    except JSONFault:
        raise FetchFailed("bad_metadata") from None
    if not isinstance(metadata, dict) or metadata.get("issuer") != issuer:  # RFC 8414 section 3.3: identical
        raise FetchFailed("bad_metadata")
    return metadata


def _endpoint(metadata: Mapping[str, object], name: str, issuer: str) -> str:
    url = check_fetched_url(metadata.get(name), name)
    if urlsplit(issuer).scheme == "https" != urlsplit(url).scheme:
        raise FetchFailed("bad_url")  # metadata from afar must not lead to plain http, not even on this machine
    return url
