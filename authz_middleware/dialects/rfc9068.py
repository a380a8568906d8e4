"""The standard profile for JWT access tokens, read strictly. Source: RFC 9068 section 2."""

from __future__ import annotations

from .model import Dialect

__all__ = ["RFC9068"]

RFC9068 = Dialect(
    name="rfc9068",
    types=frozenset({"at+jwt"}),  # section 2.1
    client_claim="client_id",  # section 2.2
    other_client_claims=("azp",),
    required_claims=frozenset({"jti"}),
    machine_subject_suffixes=("",),  # section 2.2: without a resource owner, `sub` identifies the client
)
