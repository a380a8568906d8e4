"""The order of validation. Nothing is believed before the step that proves it.

size and shape, JWS parse, trusted issuer by exact `iss`, then `aud`; header; key from that issuer; signature; claims;
`cnf`; grants. No key is fetched for an issuer that is not trusted; no grant is read before the signature holds.

Sources: RFC 9068 section 4, RFC 8725 section 3, RFC 7519 section 7.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ._arguments import own_apis
from ._jose import (
    DEFAULT_MAX_TOKEN_BYTES,
    MAX_TOKEN_BYTES,
    UnverifiedToken,
    VerifiedClaims,
    parse,
    verify,
)
from .dialects import Dialect, check_type, looks_like_id_token, read_identity, read_token, select_dialect
from .dialects.readers import read_audience, read_date, read_required_date, read_string, read_tenant
from .errors import Code, ConfigurationError, InvalidToken, KeysUnavailable, Reason, Refused
from .issuers import TrustedIssuer
from .keyring import Keyring
from .keys import KeyStatus
from .revocation import RevocationCheck, Revoked
from .token import AccessToken
from .verified import MAX_CACHED_BYTES, MAX_CACHED_TOKENS, VerifiedToken, VerifiedTokens, digest_of

__all__ = ["AccessTokenValidator"]


class AccessTokenValidator:
    """Validates access tokens of trusted issuers. Needs no web framework.

    Does not check sender-constraining proofs: a token with `cnf` is refused. Whether a token was revoked is asked of
    `revoked` alone.

    Args:
        issuers: whom to trust; two with the same issuer must have disjoint audiences.
        max_token_bytes: longer tokens are refused unparsed; up to 131072.
        max_cached_tokens: how many verified tokens are remembered, so that the next request with one costs little; 0
            switches that off. max_cached_bytes: the length of them all.
        revoked: asked about every token, remembered or not, after it was verified. An async function has five seconds;
            a plain one runs on the event loop, so it must not wait. If it fails, the request is answered 503.
        clock: epoch seconds.

    Raises:
        ConfigurationError: no issuers, two that cannot be told apart, or an argument that is invalid.
    """

    def __init__(
        self,
        issuers: Iterable[TrustedIssuer],
        *,
        max_token_bytes: int = DEFAULT_MAX_TOKEN_BYTES,
        max_cached_tokens: int = MAX_CACHED_TOKENS,
        max_cached_bytes: int = MAX_CACHED_BYTES,
        revoked: Revoked | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuers = _check_issuers(issuers)
        is_whole = isinstance(max_token_bytes, int) and not isinstance(max_token_bytes, bool)
        if not is_whole or not 0 < max_token_bytes <= MAX_TOKEN_BYTES:
            raise ConfigurationError(f"max_token_bytes is a number of bytes from 1 to {MAX_TOKEN_BYTES}")
        if revoked is not None and not callable(revoked):
            raise ConfigurationError("revoked is a function of one AccessToken, plain or async, that returns a bool")
        self.max_token_bytes = max_token_bytes
        self.max_cached_tokens = max_cached_tokens
        self.max_cached_bytes = max_cached_bytes
        self._cache = VerifiedTokens(max_cached_tokens, max_cached_bytes)
        self.revoked = revoked
        self._revocation = None if revoked is None else RevocationCheck(revoked)
        self._clock = clock
        self._keys = Keyring(self.issuers)
        self._by_audience = {(i.issuer, audience): i for i in self.issuers for audience in i.settings.audiences}
        self._trust = {issuer: issuer.trust(self.issuers) for issuer in self.issuers}
        self._by_issuer: dict[str, list[Dialect]] = {}
        for issuer in self.issuers:
            self._by_issuer.setdefault(issuer.issuer, []).extend(issuer.settings.dialects)

    async def warm_up(self) -> tuple[str, ...]:
        """Have every issuer's keys before the first token needs them. Return the issuers whose keys cannot be fetched.

        Raises:
            ConfigurationError: there is no event loop of asyncio, or a source says what is wrong with it.
        """
        return await self._keys.warm_up()

    async def aclose(self) -> None:
        """End what is under way for keys on this event loop. The validator goes on working if it is asked again."""
        await self._keys.aclose()

    def status(self) -> tuple[tuple[str, KeyStatus], ...]:
        """Return how the keys of each issuer are, by issuer."""
        return self._keys.status()

    def has_expired(self, token: AccessToken | None) -> bool:
        """Tell whether a token that was accepted has expired since; for connections that outlive theirs."""
        if token is None:
            return False
        settings = (self._by_audience.get((token.issuer, audience)) for audience in token.audience)
        leeway = max((trusted.leeway for trusted in settings if trusted is not None), default=0.0)
        return self._clock() >= token.expires_at + leeway

    async def validate(self, token: str) -> AccessToken:
        """Return the verified access token. The order is the security argument.

        Raises:
            InvalidToken: the token must not be accepted; `code` says why.
            KeysUnavailable: the issuer's keys could not be fetched.
            RevocationUnknown: whether the token was revoked could not be found out.
        """
        digest = digest_of(token) if self._cache.is_on and len(token) <= self.max_token_bytes else None
        known = None if digest is None else self._cache.get(digest)
        try:
            verified = await self._known_or_verified(token, digest, known)
            if self._revocation is not None:
                await self._revocation.check(verified.token)
                if self._clock() >= verified.expires_at:  # while the answer was waited for
                    raise _expired(verified)
        except InvalidToken:
            if digest is not None and known is not None:
                self._cache.discard(digest)
            raise
        if digest is not None and verified is not known:
            self._cache.put(digest, verified)
        return verified.token

    async def _known_or_verified(self, token: str, digest: bytes | None, known: VerifiedToken | None) -> VerifiedToken:
        if known is not None and digest is not None and await self._still_holds(digest, known):
            return known
        return await self._verify(token)

    async def _verify(self, token: str) -> VerifiedToken:
        unverified = parse(token, self.max_token_bytes)  # RFC 7515 section 5.2
        trusted = self._select_issuer(unverified)  # RFC 8725 sections 3.8, 3.9
        dialect: Dialect | None = None
        try:
            algorithm = _check_header(unverified, trusted)
            key = await self._keys.get(trusted, unverified.kid, algorithm)
            claims = verify(unverified, key)  # RFC 7515 section 5.2
            dialect = select_dialect(unverified, claims, trusted.settings.dialects)
            identity = read_identity(claims, dialect)  # RFC 9068 section 2.2
            _check_times(claims, now=self._clock(), leeway=trusted.leeway)  # RFC 7519 sections 4.1.4 to 4.1.6
            _check_tenant(claims, dialect, trusted.settings.tenants)
            _check_unbound(claims)
            accepted = read_token(
                claims,
                dialect,
                identity,
                trusted.settings.clients,
                rbac_enforced=trusted.rbac_enforced,
                trust=self._trust[trusted],
            )
        except Refused as refused:
            refused.issuer = trusted.issuer  # how far validation came, for whoever operates this
            refused.dialect = None if dialect is None else dialect.name
            raise
        return VerifiedToken(accepted, trusted, unverified.kid, key, accepted.expires_at + trusted.leeway, len(token))

    async def _still_holds(self, digest: bytes, known: VerifiedToken) -> bool:
        """Tell whether all that a remembered token rests on is still so. If not, it is verified anew, or refused there.

        Raises:
            KeysUnavailable: the issuer's keys could not be fetched.
        """
        try:
            key = await self._keys.get(known.trusted, known.kid, known.key.algorithm)
        except InvalidToken:
            key = None
        except KeysUnavailable as unavailable:
            unavailable.issuer, unavailable.dialect = known.trusted.issuer, known.token.dialect
            raise
        if key is not known.key and key != known.key:  # withdrawn, or another one under the same id
            if self._cache.get(digest) is known:  # of all who waited for that, the first looks through the cache
                self._cache.drop(
                    lambda entry: entry.key == known.key and self._keys.is_shared(entry.trusted, known.trusted)
                )
            return False
        return self._clock() < known.expires_at  # after the wait for a key, as where it was verified

    def _select_issuer(self, unverified: UnverifiedToken) -> TrustedIssuer:
        """Return the settings for exactly this `iss` and one of these `aud`. Signs nothing off: both are unverified."""
        unverified_issuer = read_string(unverified.claims, "iss")
        if unverified_issuer not in self._by_issuer:
            raise InvalidToken(Code.UNTRUSTED_ISSUER, Reason.ISSUER_NOT_TRUSTED)
        unverified_audience = read_audience(unverified.claims)
        found = {
            trusted
            for audience in unverified_audience
            if (trusted := self._by_audience.get((unverified_issuer, audience))) is not None
        }
        if len(found) == 1:
            return found.pop()
        if not found and looks_like_id_token(unverified.claims, self._by_issuer[unverified_issuer]):
            raise InvalidToken(Code.ID_TOKEN, Reason.ID_TOKEN_MARK)
        if found:
            raise InvalidToken(Code.WRONG_AUDIENCE, Reason.AUDIENCE_AMBIGUOUS)
        is_issuers_own = bool(unverified_audience) and own_apis(unverified_issuer).issuperset(unverified_audience)
        reason = Reason.AUDIENCE_OF_ISSUER if is_issuers_own else Reason.AUDIENCE_NOT_OURS
        raise InvalidToken(Code.WRONG_AUDIENCE, reason)


def _check_issuers(issuers: Iterable[TrustedIssuer]) -> tuple[TrustedIssuer, ...]:
    if isinstance(issuers, str | bytes | TrustedIssuer) or not isinstance(issuers, Iterable):
        raise ConfigurationError("issuers is a collection; write issuers=[TrustedIssuer(…)], with brackets")
    trusted = tuple(issuers)
    if not trusted or not all(isinstance(issuer, TrustedIssuer) for issuer in trusted):
        raise ConfigurationError("issuers must hold TrustedIssuer objects; write issuers=[TrustedIssuer(…)]")
    seen: set[tuple[str, str]] = set()
    for issuer in trusted:
        pairs = {(issuer.issuer, audience) for audience in issuer.settings.audiences}
        if pairs & seen:
            raise ConfigurationError(
                f"two settings for issuer {issuer.issuer} share an audience; give each audience to one TrustedIssuer"
            )
        seen |= pairs
    return trusted


def _expired(verified: VerifiedToken) -> InvalidToken:
    refused = InvalidToken(Code.EXPIRED, Reason.EXPIRED)
    refused.issuer, refused.dialect = verified.trusted.issuer, verified.token.dialect
    return refused


def _check_header(unverified: UnverifiedToken, trusted: TrustedIssuer) -> str:
    """Return the algorithm of a header this issuer may write. Embedded keys and key URLs are ignored."""
    algorithm = unverified.algorithm
    if algorithm is None or algorithm not in trusted.settings.algorithms:  # RFC 8725 section 3.1
        raise InvalidToken(Code.WRONG_ALGORITHM, Reason.ALGORITHM_NOT_ALLOWED)
    check_type(unverified, trusted.settings.dialects)  # RFC 8725 section 3.11
    if "crit" in unverified.header or "b64" in unverified.header:  # RFC 7515 section 4.1.11, RFC 7797
        raise InvalidToken(Code.MALFORMED_TOKEN, Reason.CRITICAL_HEADER)
    return algorithm


def _check_times(claims: VerifiedClaims, *, now: float, leeway: float) -> None:
    expires_at = read_required_date(claims, "exp")
    issued_at = read_required_date(claims, "iat")
    not_before = read_date(claims, "nbf")
    if now >= expires_at + leeway:
        raise InvalidToken(Code.EXPIRED, Reason.EXPIRED)
    if not_before is not None and now < not_before - leeway:
        raise InvalidToken(Code.NOT_YET_VALID, Reason.NOT_BEFORE_IN_FUTURE)
    if now < issued_at - leeway:
        raise InvalidToken(Code.NOT_YET_VALID, Reason.ISSUED_IN_FUTURE)


def _check_tenant(claims: VerifiedClaims, dialect: Dialect, tenants: frozenset[str] | None) -> None:
    if tenants is not None and read_tenant(claims, dialect.tenant_claims) not in tenants:
        raise InvalidToken(Code.WRONG_TENANT, Reason.TENANT_NOT_ALLOWED)


def _check_unbound(claims: VerifiedClaims) -> None:
    """Refuse a sender-constrained token: no proof of possession is verified yet (RFC 7800, RFC 9449, RFC 8705)."""
    if "cnf" in claims:
        raise InvalidToken(Code.PROOF_REQUIRED, Reason.CONFIRMATION_CLAIM)
