"""Protected resource metadata: how a client that was refused finds out where to get a token, and for which scopes.

Source: RFC 9728 sections 1.2 (resource identifier), 2 (metadata), 3 (its URL), 5.1 (`resource_metadata`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from starlette._utils import get_route_path
from starlette.types import Scope, Send

from .errors import ConfigurationError
from .issuers import TrustedIssuer
from .keys import check_url

__all__ = ["METADATA_METHODS", "WELL_KNOWN", "ProtectedResource", "is_mounted"]

WELL_KNOWN = "/.well-known/oauth-protected-resource"
METADATA_METHODS = ("GET", "HEAD", "OPTIONS")
MAX_AGE = 3600
"""Seconds for which clients may keep the metadata."""


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """What this API publishes about itself: its resource identifier, an https URL, and the issuers it trusts."""

    identifier: str
    authorization_servers: tuple[str, ...]

    @classmethod
    def of(cls, identifier: object, issuers: Iterable[TrustedIssuer]) -> ProtectedResource:
        """Return the resource that an application names, with its issuers.

        Raises:
            ConfigurationError: this is no https URL without query and fragment; a loopback address may be http.
        """
        if not isinstance(identifier, str):
            raise ConfigurationError('resource is one URL; write resource="https://api.example.com/"')
        faults = check_url(identifier, "resource")
        if not faults and "?" in identifier:
            faults.append("resource should not contain a query (RFC 9728 section 1.2); write it without")
        if not faults and '"' in identifier:
            faults.append("resource must not contain quotes; percent-encode them")
        if faults:
            raise ConfigurationError(*faults)
        return cls(identifier, tuple(dict.fromkeys(issuer.issuer for issuer in issuers)))

    def url(self, scope: Scope) -> str:
        """Return where the metadata of a request's resource is.

        Section 3 puts it at the root of the host. A mounted application is not reached there: it serves its own below
        its mount, and says so.
        """
        parts = urlsplit(self.identifier)
        mount, within = self._split_at_mount(scope) or ("", self._path)
        return f"{parts.scheme}://{parts.netloc}{mount}{WELL_KNOWN}{within}"

    def is_asked_for(self, scope: Scope) -> bool:
        """Tell whether a request asks for the metadata."""
        if scope["type"] != "http" or WELL_KNOWN not in scope["path"]:
            return False
        return get_route_path(scope) in self.paths(scope)

    def paths(self, scope: Scope) -> tuple[str, ...]:
        """Return the paths that serve the metadata, below the mount that led here; the first is the one that is told.

        Of `scope` only the root path counts.
        """
        _, within = self._split_at_mount(scope) or ("", self._path)
        return (WELL_KNOWN + unquote(within), WELL_KNOWN + unquote(self._path))

    def document(self, scopes: Iterable[str]) -> dict[str, object]:
        """Return the metadata (section 2)."""
        metadata: dict[str, object] = {
            "resource": self.identifier,
            "authorization_servers": list(self.authorization_servers),
            "scopes_supported": sorted(scopes),
            "bearer_methods_supported": ["header"],
        }
        return {name: value for name, value in metadata.items() if value}  # section 3.2: no parameter without values

    async def serve(self, scopes: Iterable[str], scope: Scope, send: Send) -> None:
        """Answer a request for the metadata. Public, to pages of any origin too: it tells what any refusal tells."""
        method = scope["method"]
        headers = [(b"access-control-allow-origin", b"*")]
        status, body = 200, b""
        if method == "OPTIONS":  # a browser asks first, where a client sends headers of its own
            status = 204
            headers += [(b"access-control-allow-methods", b"GET, HEAD"), (b"access-control-allow-headers", b"*")]
        elif method in {"GET", "HEAD"}:
            body = json.dumps(self.document(scopes)).encode()
            headers += [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", f"public, max-age={MAX_AGE}".encode()),
            ]
        else:
            status = 405
            headers += [(b"allow", b"GET, HEAD, OPTIONS"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    @property
    def _path(self) -> str:
        path = urlsplit(self.identifier).path
        return "" if path == "/" else path  # section 3.1: a slash that ends the host is not inserted

    def _split_at_mount(self, scope: Scope) -> tuple[str, str] | None:
        """Return the resource's path in two, that of the mount which led here and the rest; None if it is not below."""
        if not is_mounted(scope):
            return None
        segments = self._path.split("/")
        mount = scope["root_path"].rstrip("/").split("/")
        depth = len(mount)
        if [unquote(segment) for segment in segments[:depth]] != mount:  # servers decode what they hand over
            return None
        return "/".join(segments[:depth]), "".join(f"/{segment}" for segment in segments[depth:])


def is_mounted(scope: Scope) -> bool:
    """Tell whether a mount led here: a prefix that a proxy has stripped is none."""
    root_path = scope.get("root_path", "")
    return bool(root_path != scope.get("app_root_path", root_path))
