"""The request as policies are asked about it: its token, and what its ASGI scope says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from .token import AccessToken

__all__ = ["ScopeRequest"]


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """An `AccessRequest` of a request that is being served. Its scope holds the raw token, so no `repr` shows it."""

    token: AccessToken
    scope: Scope = field(repr=False)

    @property
    def path_params(self) -> Mapping[str, Any]:
        """The parameters of the path, as far as it was routed. Read-only: the handler gets what the router found."""
        return MappingProxyType(self.scope.get("path_params") or {})

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        return Headers(scope=self.scope) if "headers" in self.scope else Headers()
