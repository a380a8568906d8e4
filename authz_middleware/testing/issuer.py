"""`LocalIssuer`: real keys and really signed tokens of every dialect this package has a table for.

Sources: RFC 7515 section 3.1 (compact serialization), RFC 8414 section 2 (metadata).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Unpack

from ..dialects import AUTH0, Dialect
from ..errors import ConfigurationError
from ..issuers import IssuerOptions, TrustedIssuer
from ..keys import KeySource
from ..token import AccessToken
from .claims import check_names, dates, grants, identity, table_of, type_of, without_none
from .published import Availability, LiveKeys, StandInKeys
from .settings import is_for, read_at_once, with_other_keys
from .signatures import taking_arguments_of
from .signing import SYMMETRIC, SigningKey, encode_segment

__all__ = ["LocalIssuer"]

KEY_SOURCING = ("keys", "secret", "jwks_uri", "fetch", "key_settings")
"""The arguments of `TrustedIssuer` that say how keys are had."""


class LocalIssuer:
    """An authorization server's half that signs, in the process: keys, metadata, tokens. Not for production.

    Args:
        issuer: its `iss`, to the letter. audience: the API its tokens are for.
        algorithm: what it signs with; HS256 stands for a secret that it shares with the API.
        key: a key to begin with, instead of a new one of `algorithm`: generating one takes a while.
        clock: epoch seconds.

    Attributes:
        key: what it signs with now.
        published: the keys it publishes.
    """

    def __init__(
        self,
        issuer: str = "https://issuer.test/",
        audience: str = "https://api.test/",
        *,
        algorithm: str = "RS256",
        key: SigningKey | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.clock = clock
        self.key = SigningKey(algorithm) if key is None else key
        self.published = [self.key]
        self._live_keys = LiveKeys(self.jwks)

    def __repr__(self) -> str:
        return f"LocalIssuer({self.issuer!r}, audience={self.audience!r}, algorithm={self.key.algorithm!r})"

    # --- what it publishes --------------------------------------------------------------------------------------------

    def jwks(self) -> dict[str, object]:
        """Return the JWKS document as it is now."""
        return {"keys": [key.jwk() for key in self.published if key.algorithm != SYMMETRIC]}

    def metadata(self) -> dict[str, object]:
        """Return the metadata document."""
        return {"issuer": self.issuer, "jwks_uri": self.issuer.rstrip("/") + "/.well-known/jwks.json"}

    @property
    def keys(self) -> KeySource:
        """A source of the keys it publishes at the moment of asking. `fail` and `hang` concern this one."""
        return self._live_keys

    def trusted(self, **options: Unpack[IssuerOptions]) -> TrustedIssuer:
        """Return settings that trust this issuer and follow its keys, without network; Auth0's dialects by default.

        Takes the keyword arguments of `TrustedIssuer`; where they say how keys are had, the keys are those.

        Raises:
            ConfigurationError: the settings have a fault, or do not accept what this issuer signs with.
        """
        options.setdefault("dialects", AUTH0)
        if any(options.get(name) is not None for name in KEY_SOURCING):
            return TrustedIssuer(self.issuer, self.audience, **options)
        if self.key.algorithm == SYMMETRIC:
            options["secret"] = self.key.private
        else:
            options["keys"] = self.keys
        trusted = TrustedIssuer(self.issuer, self.audience, **options)
        self._check_algorithm(trusted)
        return trusted

    def stand_in_for(self, configured: TrustedIssuer) -> TrustedIssuer:
        """Return the settings an application configured, with this issuer in the place of the configured one.

        The keys are this issuer's. So are `iss` and `aud`, unless the settings name this very pair already.

        Raises:
            ConfigurationError: the settings do not accept what this issuer signs with.
        """
        self._check_algorithm(configured)
        if self.key.algorithm == SYMMETRIC:
            stand_in = with_other_keys(configured, secret=self.key.private)
        else:
            stand_in = with_other_keys(configured, keys=StandInKeys(self._live_keys))
        if is_for(configured, self.issuer, self.audience):
            return stand_in
        return replace(stand_in, issuer=self.issuer, audience=self.audience)

    def _check_algorithm(self, trusted: TrustedIssuer) -> None:
        accepted = trusted.settings.algorithms
        if self.key.algorithm not in accepted:
            choice = "RS256" if "RS256" in accepted else min(accepted)
            raise ConfigurationError(
                f"LocalIssuer signs with {self.key.algorithm}, and the settings for {trusted.issuer} accept "
                f'{", ".join(sorted(accepted))}; write LocalIssuer(…, algorithm="{choice}")'
            )

    # --- what happens to it -------------------------------------------------------------------------------------------

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on, and publish it beside the old ones.

        Raises:
            ConfigurationError: the key is a shared secret, which nobody publishes.
        """
        self._check_publishes("rotate")
        self.key = SigningKey(self.key.algorithm)
        self.published.append(self.key)
        return self.key

    def withdraw(self, key: SigningKey) -> None:
        """Publish a key no longer: tokens that it signed are refused.

        Raises:
            ConfigurationError: the key is not published.
        """
        self._check_publishes("withdraw")
        if key not in self.published:
            raise ConfigurationError("withdraw: this key is not published; write issuer.withdraw(issuer.key)")
        self.published.remove(key)

    def fail(self) -> None:
        """Give no keys until `recover`: every token is answered with 503, also those of keys known before.

        It is the outage as seen by an API that has just started; one that has the keys would go on for a while.
        """
        self._become(Availability.FAILING, "fail")

    def hang(self) -> None:
        """Let whoever needs a key wait until `recover` or `fail`."""
        self._become(Availability.HANGING, "hang")

    def recover(self) -> None:
        """Give keys again, also to those who wait."""
        self._become(Availability.PUBLISHED, "recover")

    def _become(self, availability: Availability, name: str) -> None:
        self._check_publishes(name)
        self._live_keys.become(availability)

    def _check_publishes(self, name: str) -> None:
        if self.key.algorithm == SYMMETRIC:
            raise ConfigurationError(
                f"{name}: an HS256 secret is shared, not published, so nothing can happen to it; make a new LocalIssuer"
            )

    # --- what it issues -----------------------------------------------------------------------------------------------

    def claims(
        self,
        dialect: str | Dialect = "access_token_authz",
        *,
        scope: str | None = None,
        permissions: Collection[str] | None = (),
        subject: str | None = None,
        client_id: str = "first-party-app",
        machine: bool = False,
        expires_in: float = 3600,
        **more: object,
    ) -> dict[str, object]:
        """Return a payload as the dialect writes it.

        Args:
            dialect: a name or a `Dialect` table.
            scope: the scopes, joined by spaces; left out, the token carries none.
            permissions: only where the dialect has them. Left out, a user has none and a machine those in `scope`;
                None leaves out the claim itself, as an API does that does not add permissions.
            subject: the `sub`; left out, one user's, or the client's own.
            client_id: the client the token is issued to.
            machine: whether the token is the client's own.
            expires_in: seconds from now; may be negative.
            more: further claims by their names; None removes one. What is nearly an argument, such as `scopes`, is an
                error.

        Raises:
            ConfigurationError: an argument cannot be meant.
        """
        table = table_of(dialect)
        check_names(more, table)
        return without_none(
            {
                "iss": self.issuer,
                "aud": self.audience,
                **identity(table, subject, client_id, is_machine=machine),
                **dates(self.clock(), expires_in),
                **grants(table, scope, permissions, is_machine=machine),
                **more,
            }
        )

    @taking_arguments_of(claims)
    def token(self, dialect: str | Dialect = "access_token_authz", **arguments: Any) -> str:
        """Return a signed token; arguments as for `claims`."""
        table = table_of(dialect)
        return self.sign(self.claims(table, **arguments), typ=type_of(table))

    @taking_arguments_of(claims)
    def headers(self, dialect: str | Dialect = "access_token_authz", **arguments: Any) -> dict[str, str]:
        """Return request headers that carry a signed token; arguments as for `claims`."""
        return {"Authorization": f"Bearer {self.token(dialect, **arguments)}"}

    def access_token(
        self,
        dialect: str | Dialect = "access_token_authz",
        *,
        scope: str | None = None,
        permissions: Collection[str] | None = (),
        subject: str | None = None,
        client_id: str = "first-party-app",
        machine: bool = False,
        expires_in: float = 3600,
        trusted: TrustedIssuer | None = None,
        **more: object,
    ) -> AccessToken:
        """Return the validated token, as a handler gets it; arguments as for `claims`. Works in and outside a loop.

        Args:
            dialect: as for `claims`, and so is what follows.
            scope: see there.
            permissions: see there.
            subject: see there.
            client_id: see there.
            machine: see there.
            expires_in: see there.
            trusted: the application's own settings, which say what the grants are worth. Left out, the dialect is
                pinned, no client is third-party, and the issuer enforces RBAC.
            more: see there.

        Raises:
            ConfigurationError: no handler would ever get this token, or the keys are unavailable just now.
        """
        table = table_of(dialect)
        token = self.token(
            table,
            scope=scope,
            permissions=permissions,
            subject=subject,
            client_id=client_id,
            machine=machine,
            expires_in=expires_in,
            **more,
        )
        settings = self._plain_trust(table) if trusted is None else self.stand_in_for(trusted)
        return read_at_once(token, settings, self.clock)

    def sign(self, claims: Mapping[str, object] | bytes, *, key: SigningKey | None = None, **header: object) -> str:
        """Sign any payload, an object or raw bytes; `header` members replace the usual ones, None removes one."""
        signer = key or self.key
        members = without_none({"alg": signer.algorithm, "kid": signer.kid, "typ": "JWT", **header})
        head = json.dumps(members).encode()
        body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        message = f"{encode_segment(head)}.{encode_segment(body)}"
        return f"{message}.{encode_segment(signer.sign(message.encode()))}"

    # --- what a handler gets ------------------------------------------------------------------------------------------

    def _plain_trust(self, table: Dialect) -> TrustedIssuer:
        """Return the settings under which every grant counts."""
        return self.trusted(
            dialects=[table], algorithms=[self.key.algorithm], third_party_clients=(), rbac_enforced=True
        )
