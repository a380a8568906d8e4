"""For tests of guarded applications: an issuer that lives in the process and needs no network. Not for production."""

from __future__ import annotations

from .issuer import LocalIssuer
from .signing import SigningKey, encode_segment

__all__ = ["LocalIssuer", "SigningKey", "encode_segment"]
