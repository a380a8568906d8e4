"""Find an issuer's endpoints through its metadata: the JWKS, and those a client sends a user to.

Sources: OpenID Connect Discovery section 4, RFC 8414 sections 2, 3 and 3.3.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from .._json import JSONFault, parse_json
from .fetch import Fetch, FetchFailed, check_fetched_url, fetch_document, parse_document
from .settings import KeySettings

__all__ = ["CodeFlow", "JWKSEndpoint", "discover_code_flow", "discover_jwks_uri", "metadata_urls"]

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
    if not settings.allows_host_of(uri):
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


class JWKSEndpoint:
    """Where an issuer's keys are: as configured, or as its metadata says, which is read again now and then.

    Args:
        issuer: the issuer. configured: the endpoint; None finds it.
        fetch: how metadata is fetched. settings: the numbers. clock: monotonic seconds.
    """

    def __init__(
        self, issuer: str, configured: str | None, fetch: Fetch, settings: KeySettings, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._settings = settings
        self._clock = clock
        self._uri = configured
        self._is_configured = configured is not None
        self._read_at = -math.inf
        self._known_until = -math.inf
        self._retry_at = -math.inf  # while metadata cannot be fetched

    async def locate(self) -> str:
        """Return the endpoint. If the metadata cannot be fetched, that is the last known one.

        Raises:
            FetchFailed: there is none yet.
        """
        known = self._uri
        if known is None:
            return await self._discover()
        if self._is_configured or self._clock() < max(self._known_until, self._retry_at):
            return known
        try:  # a server that lets this wait must leave time for asking the endpoint itself
            async with asyncio.timeout(self._settings.fetch_seconds / 2):
                return await self._discover()
        except TimeoutError:
            self._put_off(0)
        except FetchFailed as failure:
            self._put_off(failure.retry_after or 0)
        return known

    def _put_off(self, retry_after: float) -> None:
        """Ask for metadata later: the keys are found without it, and its server may have said when to come back."""
        settings = self._settings
        delay = max(settings.longest_backoff, min(settings.longest_retry_after, retry_after))
        self._retry_at = self._clock() + delay

    def doubt(self, age: float = 0) -> None:
        """Read the metadata again next time if it is that old: perhaps the endpoint has moved."""
        if self._clock() >= self._read_at + age:
            self._known_until = -math.inf

    async def _discover(self) -> str:
        self._uri = uri = await discover_jwks_uri(self._issuer, self._fetch, self._settings)
        self._read_at = self._clock()
        self._known_until = self._read_at + self._settings.discovery_lifetime
        return uri


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
        metadata = await parse_document(parse_json, response.body)
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
