"""Where verification keys come from, and what keeps them coming: fetch, discovery, JWKS documents, key sources."""

from __future__ import annotations

from .clients import ClientFetch, HTTPXFetch, as_fetch, is_client
from .discovery import discover_jwks_uri
from .fetch import Fetch, Fetched, FetchFailed
from .jwks import BrokenJWKS, KeySet, parse_jwks
from .remote import RemoteJWKS
from .settings import KeySettings
from .source import KeySource, ManagedKeySource, ReportingKeySource, SecretKey, StaticJWKS
from .status import KeyState, KeyStatus
from .urls import check_url

__all__ = [
    "BrokenJWKS",
    "ClientFetch",
    "Fetch",
    "FetchFailed",
    "Fetched",
    "HTTPXFetch",
    "KeySet",
    "KeySettings",
    "KeySource",
    "KeyState",
    "KeyStatus",
    "ManagedKeySource",
    "RemoteJWKS",
    "ReportingKeySource",
    "SecretKey",
    "StaticJWKS",
    "as_fetch",
    "check_url",
    "discover_jwks_uri",
    "is_client",
    "parse_jwks",
]
