"""What the demo plays: who calls with which token, and the answer that is right. Data and the making of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any

from ...dialects import DIALECTS
from ...testing import LocalIssuer, SigningKey
from .servers import PARTNER

__all__ = ["SECTIONS", "Scenario"]

READ, CREATE = "read:orders", "create:orders"
LIST, ADD, HEALTH = ("GET", "/orders"), ("POST", "/orders"), ("GET", "/healthz")
JO, PARTNERS_JO, JOB, NOBODY = "Jo, our own app", "Jo, a partner's app", "nightly job", "anybody"
HOUR = 3600

Mint = Callable[[LocalIssuer], str | None]


@dataclass(frozen=True)
class Scenario:
    """One request and its right answer.

    Attributes:
        who: who calls, through which client.
        carrying: the token in a few words.
        dialect: the dialect the token is written in; None where it is no access token of ours.
        mint: makes the token; None stands for a request without one.
        route: method and path.
        status: the status expected. code: the code of the problem body expected, None for a success.
        to_try: whether `--serve` prints a curl line for it.
    """

    who: str
    carrying: str
    dialect: str | None
    mint: Mint
    route: tuple[str, str]
    status: int
    code: str | None = None
    to_try: bool = False


def _token(dialect: str, **claims: Any) -> Mint:
    return lambda issuer: issuer.token(dialect, **claims)


def _jo(dialect: str, *permissions: str, scope: str = "openid profile", **claims: Any) -> Mint:
    """Return the maker of a token for a user of the application's own client, the rights where the dialect has them."""
    if DIALECTS[dialect].has_permissions:
        return _token(dialect, scope=scope, permissions=permissions, **claims)
    return _token(dialect, scope=" ".join((scope, *permissions)), **claims)


def _partner(dialect: str) -> Mint:
    """Return the maker of a token for a user who may do more than the partner's application was granted."""
    permissions = [READ, CREATE] if DIALECTS[dialect].has_permissions else None
    return _token(dialect, client_id=PARTNER, scope=f"openid {READ}", permissions=permissions)


def _job(dialect: str) -> Mint:
    return _token(
        dialect, client_id="nightly-job", machine=True, scope=READ
    )  # which permissions repeat, if there are any


def _tampered(issuer: LocalIssuer) -> str:
    """Return a token whose holder has written a permission into it."""
    head, _, signature = issuer.token("access_token_authz", permissions=[READ]).split(".")
    _, payload, _ = issuer.token("access_token_authz", permissions=[READ, CREATE]).split(".")
    return f"{head}.{payload}.{signature}"


def _rotated(issuer: LocalIssuer) -> str:
    issuer.rotate()
    return issuer.token("access_token_authz", permissions=[READ])


def _foreign_key(issuer: LocalIssuer) -> str:
    return issuer.sign(issuer.claims("access_token_authz", permissions=[READ]), key=SigningKey(kid="unpublished"))


def _id_token(issuer: LocalIssuer) -> str:
    return issuer.token("access_token", aud="first-party-app", azp=None, nonce=token_urlsafe(8))


def _opaque(_: LocalIssuer) -> str:
    return token_urlsafe(24)


def _nothing(_: LocalIssuer) -> None:
    return None


_DIALECTS = ("access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz")
_AUTHZ = "access_token_authz"
_EXPIRED = _jo(_AUTHZ, READ, expires_in=-HOUR)

SECTIONS: tuple[tuple[Scenario, ...], ...] = (
    tuple(Scenario(JO, "valid token", dialect, _jo(dialect, READ), LIST, 200, to_try=True) for dialect in _DIALECTS),
    tuple(
        Scenario(JOB, "machine token", dialect, _job(dialect), LIST, 200, to_try=dialect == _AUTHZ)
        for dialect in _DIALECTS
    ),
    (
        Scenario(JO, "may create, too", _AUTHZ, _jo(_AUTHZ, READ, CREATE), ADD, 201),
        Scenario(JO, "missing grant", _AUTHZ, _jo(_AUTHZ, READ), ADD, 403, "insufficient_scope", to_try=True),
        *(
            Scenario(PARTNERS_JO, "within its grants", dialect, _partner(dialect), LIST, 200)
            for dialect in ("rfc9068_profile", _AUTHZ)
        ),
        *(
            Scenario(
                PARTNERS_JO,
                "beyond its grants",
                dialect,
                _partner(dialect),
                ADD,
                403,
                "insufficient_scope",
                to_try=dialect == _AUTHZ,
            )
            for dialect in _DIALECTS
        ),
    ),
    (
        Scenario(JO, "expired", _AUTHZ, _EXPIRED, LIST, 401, "expired", to_try=True),
        Scenario(
            JO, "wrong audience", _AUTHZ, _jo(_AUTHZ, READ, aud="https://other.example/"), LIST, 401, "wrong_audience"
        ),
        Scenario(JO, "tampered", _AUTHZ, _tampered, ADD, 401, "bad_signature", to_try=True),
        Scenario(JO, "key just rotated", _AUTHZ, _rotated, LIST, 200),
        Scenario("an impostor", "signed with own key", _AUTHZ, _foreign_key, LIST, 401, "unknown_key"),
        Scenario(JO, "ID token", None, _id_token, LIST, 401, "id_token", to_try=True),
        Scenario(JO, "opaque token", None, _opaque, LIST, 401, "opaque_token"),
    ),
    (
        Scenario(NOBODY, "no token", None, _nothing, LIST, 401, "missing_token", to_try=True),
        Scenario(NOBODY, "no token", None, _nothing, HEALTH, 200, to_try=True),
        Scenario(JO, "expired", _AUTHZ, _EXPIRED, HEALTH, 401, "expired"),
    ),
)
"""Every request of the demo, in groups: one right in four dialects, machines, third parties, bad tokens, no token."""
