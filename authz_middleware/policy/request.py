"""What policies are asked about: who calls, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..token import AccessToken

__all__ = ["AccessRequest", "TokenRequest"]


class AccessRequest(Protocol):
    """What a policy is asked about: who calls, and with what. The function of a `check` gets this."""

    @property
    def token(self) -> AccessToken:
        """The validated token."""
        ...

    @property
    def path_params(self) -> Mapping[str, Any]:
        """The parameters of the route's path, as its convertors read them."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers. The client writes them: none proves anything."""
        ...


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """An `AccessRequest` made by hand: to try a policy on a token, without an application around it."""

    token: AccessToken
    path_params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
