"""Find an issuer's JWKS through its metadata.

Sources: OpenID Connect Discovery section 4, RFC 8414 sections 3 and 3.3.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from .._jose import JSONFault, parse_json
from .fetch import Fetch, FetchFailed, check_fetched_url, fetch_document

__all__ = ["discover_jwks_uri", "metadata_urls"]


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Return the OIDC form and the RFC 8414 form of an issuer's metadata URL, in the order they are tried."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oidc = path + "/.well-known/openid-configuration"  # appended: OpenID Connect Discovery section 4
    oauth = "/.well-known/oauth-authorization-server" + path  # inserted: RFC 8414 section 3.1
    return (urlunsplit(parts._replace(path=oidc)), urlunsplit(parts._replace(path=oauth)))


async def discover_jwks_uri(issuer: str, fetch: Fetch) -> str:
    """Return the `jwks_uri` of the issuer's metadata. Only a plain 404 of the first form leads to the second.

    Raises:
        FetchFailed: no metadata, broken metadata, or metadata of another issuer.
    """
    oidc, oauth = metadata_urls(issuer)
    try:
        response = await fetch_document(fetch, oidc, {})
    except FetchFailed as failure:
        if not failure.absent:
            raise
        response = await fetch_document(fetch, oauth, {})
    try:
        metadata = parse_json(response.body)
    except JSONFault:
        raise FetchFailed("bad_metadata") from None
    if not isinstance(metadata, dict) or metadata.get("issuer") != issuer:  # RFC 8414 section 3.3: identical
        raise FetchFailed("bad_metadata")
    uri = check_fetched_url(metadata.get("jwks_uri"), "jwks_uri")
    if urlsplit(issuer).scheme == "https" != urlsplit(uri).scheme:
        raise FetchFailed("bad_url")  # metadata from afar must not lead to plain http, not even on this machine
    return uri
