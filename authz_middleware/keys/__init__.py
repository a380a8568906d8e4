"""Where verification keys come from, and what keeps them coming: fetch, discovery, JWKS documents, key sources."""

from __future__ import annotations

from .._jose import VerificationKey
from .clients import ClientFetch, HTTPXFetch, as_fetch, is_client
from .discovery import discover_jwks_uri
from .fetch import Fetch, Fetched, FetchFailed
from .jwks import BrokenJWKS, KeySet, parse_jwks
from .remote import RemoteJWKS
from .settings import KeySettings
from .source import KeySource, SecretKey, StaticJWKS, is_key_source
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
    "RemoteJWKS",
    "SecretKey",
    "StaticJWKS",
    "VerificationKey",
    "as_fetch",
    "check_url",
    "discover_jwks_uri",
    "is_client",
    "is_key_source",
    "parse_jwks",
]
