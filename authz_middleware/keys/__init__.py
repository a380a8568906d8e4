"""Where verification keys come from, and what keeps them coming: fetch, discovery, JWKS documents, key sources."""

from __future__ import annotations

from .discovery import discover_jwks_uri
from .fetch import Fetch, Fetched, FetchFailed, HTTPXFetch, check_url
from .jwks import BrokenJWKS, KeySet, parse_jwks
from .remote import RemoteJWKS
from .source import KeySource, SecretKey, StaticJWKS

__all__ = [
    "BrokenJWKS",
    "Fetch",
    "FetchFailed",
    "Fetched",
    "HTTPXFetch",
    "KeySet",
    "KeySource",
    "RemoteJWKS",
    "SecretKey",
    "StaticJWKS",
    "check_url",
    "discover_jwks_uri",
    "parse_jwks",
]
