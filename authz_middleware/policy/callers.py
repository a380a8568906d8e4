"""Terms about who calls: a certain subject, client or tenant, a machine or a user.

Sources: RFC 9068 sections 2.2 and 5 (identity).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from ..errors import ConfigurationError
from .claims import PathParam, operand_in
from .core import Kind, Policy, Term
from .kinds import issuer_words
from .request import AccessRequest
from .slips import check_issuer

__all__ = ["CallerTerm", "IdentityTerm", "client", "machine", "subject", "tenant", "user"]


@final
@dataclass(frozen=True, slots=True)
class IdentityTerm(Term):
    """Who calls: a certain subject, client or tenant."""

    kind: Kind
    operand: str | PathParam
    issuer: str | None = None

    def __repr__(self) -> str:
        return f"{self.kind}({self.operand!r}{issuer_words(self.issuer)})"

    @property
    def value(self) -> str:  # type: ignore[override]
        """What the policy's author wrote."""
        return repr(self)

    @property
    def asks_request(self) -> bool:
        """Whether the identity is compared with a path parameter."""
        return isinstance(self.operand, PathParam)

    def holds(self, request: AccessRequest) -> bool:
        """Tell whether the token is this one's."""
        token = request.token
        actual = {Kind.SUBJECT: token.subject, Kind.CLIENT: token.client_id}.get(self.kind, token.tenant)
        wanted = operand_in(request, self.operand)
        return isinstance(wanted, str) and actual == wanted and self.is_about(request)


@final
@dataclass(frozen=True, slots=True)
class CallerTerm(Term):
    """What kind of caller it is: a machine, or a user. What cannot be told is a user."""

    kind: Kind
    issuer: None = field(default=None, init=False)

    def __repr__(self) -> str:
        return self.kind.value

    @property
    def value(self) -> str:  # type: ignore[override]
        """The kind."""
        return self.kind.value

    def holds(self, request: AccessRequest) -> bool:
        """Tell whether the caller is of this kind."""
        return request.token.is_machine is (self.kind is Kind.MACHINE)


machine: Policy = CallerTerm(Kind.MACHINE)
"""The caller is an application that acts for itself."""
user: Policy = CallerTerm(Kind.USER)
"""The caller is a user; so is what cannot be told."""


def subject(value: str | PathParam, *, issuer: str | None = None) -> Policy:
    """Require a certain subject. With several trusted issuers, `issuer` says whose."""
    return _identity(Kind.SUBJECT, value, issuer)


def client(value: str | PathParam, *, issuer: str | None = None) -> Policy:
    """Require the token to have been issued to a certain client. With several issuers, `issuer` says whose."""
    return _identity(Kind.CLIENT, value, issuer)


def tenant(value: str | PathParam, *, issuer: str | None = None) -> Policy:
    """Require a certain tenant (organization), from the dialect's tenant claim.

    With several trusted issuers, `issuer` says whose, or each of them is limited by `TrustedIssuer(tenants=…)`.
    """
    return _identity(Kind.TENANT, value, issuer)


def _identity(kind: Kind, value: object, issuer: object) -> Policy:
    if not isinstance(value, str | PathParam) or not value:
        raise ConfigurationError(f'{kind} takes a string or path_param(…); write {kind}("…")')
    operand = value if isinstance(value, PathParam) else str.__str__(value)
    return IdentityTerm(kind, operand, check_issuer(issuer, kind.value))
