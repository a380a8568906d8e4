"""For tests of guarded applications: an issuer that lives in the process and needs no network. Not for production.

Needs no pytest; `plugin` does, and `attack_suite` when it is called.
"""

from __future__ import annotations

from .attacks import attack_suite
from .attacks.catalogue import Attack
from .caller import as_caller
from .issuer import LocalIssuer
from .routes import route_check
from .signing import SigningKey, encode_segment
from .trust import trust

__all__ = ["Attack", "LocalIssuer", "SigningKey", "as_caller", "attack_suite", "encode_segment", "route_check", "trust"]
