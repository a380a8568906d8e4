"""What each member of a token means, in a few words: by the documents that define it, and by the dialect that reads it.

Sources: RFC 7515 section 4.1, RFC 7519 section 4.1, RFC 9068 section 2.2, RFC 8693 section 4, RFC 7800 section 3.1,
OpenID Connect Core section 2, and the tables of dialects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...dialects import ClaimPath, Dialect
from .times import is_date, moment

__all__ = ["Member", "explain_claims", "explain_header"]

HEADER: Mapping[str, str] = MappingProxyType(
    {
        "alg": "how it is signed",
        "typ": "what kind of token it says it is",
        "kid": "which of the issuer's keys signed it",
        "cty": "what kind of content it says it has",
        "crit": "what a reader must understand, or else refuse the token",
        "b64": "whether the claims are encoded; anything but the usual refuses the token",
        "enc": "how it would be encrypted",
        "zip": "how it would be compressed",
        "jku": "where it says its key is; never followed",
        "jwk": "the key it says it was signed with; never used",
        "x5u": "where it says its certificate is; never followed",
        "x5c": "the certificate it says it was signed with; never used",
        "x5t": "the certificate it was signed with, as a digest; not used",
        "x5t#S256": "the certificate it was signed with, as a digest; not used",
    }
)
ENCRYPTED_HEADER: Mapping[str, str] = MappingProxyType(
    {
        **HEADER,
        "alg": "how the key of its encryption is encrypted",
        "kid": "which key it was encrypted with",
        "enc": "how it is encrypted",
        "zip": "how it is compressed",
    }
)

CLAIM_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "iss": "who issued it",
        "sub": "whom it speaks for",
        "aud": "which APIs it is meant for",
        "exp": "when it ends",
        "nbf": "when it begins to hold",
        "iat": "when it was issued",
        "jti": "its own number",
        "azp": "the client it was issued to",
        "client_id": "the client it was issued to",
        "scope": "what the client may do (scopes)",
        "scp": "what the client may do (scopes)",
        "permissions": "what the user may do (permissions)",
        "roles": "the user's roles",
        "groups": "the user's groups",
        "entitlements": "what the user is entitled to",
        "gty": "how the client got it",
        "act": "who acts for the user",
        "may_act": "who could act for the user",
        "cnf": "the key whose proof must come with it",
        "org_id": "the organization it was issued in",
        "org_name": "the name of that organization",
        "auth_time": "when the user logged in",
        "updated_at": "when the user's profile changed",
        "acr": "how well the user was authenticated",
        "amr": "by which means the user was authenticated",
        "sid": "the user's session",
        "nonce": "the client's mark against replay; a mark of ID tokens",
        "at_hash": "a digest of an access token; a mark of ID tokens",
        "c_hash": "a digest of a code; a mark of ID tokens",
        "s_hash": "a digest of a state; a mark of ID tokens",
        "sub_profile": "what kind of subject it speaks for",
        "client_profile": "what kind of client it was issued to",
        "authorization_details": "what in detail was authorized",
        "name": "the user's name",
        "email": "the user's address",
        "email_verified": "whether that address was verified",
    }
)
GRANTS = frozenset({"scope", "scp", "permissions", "roles", "groups", "entitlements"})
"""Claims that look like rights: where a dialect does not read them, that is worth saying."""
DATES = frozenset({"exp", "nbf", "iat", "auth_time", "updated_at"})
UNKNOWN_CLAIM = "the issuer's own; only policy.claim(…) looks at it"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of header or claims: its name, its value, what it means, and when that is if it is a moment."""

    name: str
    value: object
    meaning: str
    when: str | None = None


def explain_header(header: Mapping[str, object], *, is_encrypted: bool = False) -> tuple[Member, ...]:
    """Return the header's members with what they mean."""
    meanings = ENCRYPTED_HEADER if is_encrypted else HEADER
    return tuple(Member(name, value, meanings.get(name, "ignored")) for name, value in header.items())


def explain_claims(
    claims: Mapping[str, object], dialect: Dialect | None, now: float, *, is_machine: bool
) -> tuple[Member, ...]:
    """Return the claims with what they mean to a dialect; None where it is not known which that is."""
    read: dict[str, str] = {}
    for name, meaning in () if dialect is None else _read_by(dialect, is_machine=is_machine):
        read[name] = f"{read[name]}; {meaning}" if name in read else meaning
    return tuple(_claim(name, value, read, dialect, now) for name, value in claims.items())


def _claim(name: str, value: object, read: Mapping[str, str], dialect: Dialect | None, now: float) -> Member:
    meaning = read.get(name) or CLAIM_MEANINGS.get(name, UNKNOWN_CLAIM)
    if name in GRANTS and dialect is not None and name not in read:
        meaning += f"; not read, because dialect {dialect.name} does not define it"
    if name not in DATES:
        return Member(name, value, meaning)
    if not is_date(value):
        return Member(name, value, f"{meaning}; but this is no number of seconds")
    return Member(name, value, meaning, moment(value, now))


def _read_by(dialect: Dialect, *, is_machine: bool) -> Iterator[tuple[str, str]]:
    """Yield the claims whose names a dialect chooses, or where what they mean depends on who calls."""
    who = "the machine" if is_machine else "the user"
    yield dialect.client_claim, CLAIM_MEANINGS["client_id"]
    for name in dialect.other_client_claims:
        yield name, "the client again; must be the same one"
    yield "sub", f"whom it speaks for: {'a machine, the client itself' if is_machine else 'a user'}"
    yield dialect.scope_claim, "what the machine may do (scopes)" if is_machine else CLAIM_MEANINGS["scope"]
    yield from _at(dialect.permissions_claims, f"what {who} may do on this API (permissions)")
    yield from _at(dialect.roles_claims, f"roles of {who}")
    yield from _at(dialect.groups_claims, f"groups of {who}")
    yield from _at(dialect.tenant_claims, CLAIM_MEANINGS["org_id"])


def _at(paths: tuple[ClaimPath, ...], meaning: str) -> Iterator[tuple[str, str]]:
    for name, *inner in paths:
        yield name, f"{meaning}, at {'.'.join(inner)}" if inner else meaning
