"""`trust`: let an application whose issuers are fixed at import trust a local one, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from starlette.types import ASGIApp

from ..audit import installed_middlewares
from ..errors import ConfigurationError
from ..issuers import TrustedIssuer
from ..keys import StaticJWKS
from ..validator import AccessTokenValidator
from .issuer import LocalIssuer
from .settings import is_for, with_other_keys

__all__ = ["trust"]

_NO_KEYS = StaticJWKS({"keys": []})


@contextmanager
def trust(app: ASGIApp, issuer: LocalIssuer) -> Iterator[LocalIssuer]:
    """Let an application trust a local issuer within, in the place of the one it configured, and without network.

    The settings stay as the application wrote them (dialects, client classes, tenants, …); only keys change. Where the
    local issuer's `iss` and audience are configured, it stands in for that issuer. An application that configured one
    issuer only trusts the local one in its place, whatever the two are called. The keys of all other issuers are
    unknown within. Time is the local issuer's clock. Blocks nest: each adds the issuer it names.

    Every `AuthzMiddleware` of the application is meant, in mounted applications and around it. Yields the issuer.

    Raises:
        ConfigurationError: there is no `AuthzMiddleware`; several issuers are configured and none is called like the
            local one; or the settings do not accept the algorithm it signs with.
    """
    if not isinstance(issuer, LocalIssuer):
        raise ConfigurationError("trust takes a LocalIssuer; write trust(app, LocalIssuer())")
    middlewares = installed_middlewares(app)
    if not middlewares:
        raise ConfigurationError(
            "trust: the application has no AuthzMiddleware; write app.add_middleware(AuthzMiddleware, issuers=[…])"
        )
    if not all(hasattr(middleware, "validator") for middleware in middlewares):
        raise ConfigurationError(
            "trust: an AuthzMiddleware of this application is misconfigured; start the application to read how"
        )
    before = [middleware.validator for middleware in middlewares]
    within = _validators(before, issuer)
    try:
        for middleware, validator in zip(middlewares, within, strict=True):
            middleware.validator = validator
        yield issuer
    finally:
        for middleware, validator in zip(middlewares, before, strict=True):
            middleware.validator = validator


class _LocalValidator(AccessTokenValidator):
    """A validator in which local issuers stand in for what an application configured: `places` says for which."""

    def __init__(
        self, configured: AccessTokenValidator, places: Mapping[TrustedIssuer, LocalIssuer], clock: Callable[[], float]
    ) -> None:
        issuers = [
            places[trusted].stand_in_for(trusted) if trusted in places else with_other_keys(trusted, keys=_NO_KEYS)
            for trusted in configured.issuers
        ]
        super().__init__(issuers, max_token_bytes=configured.max_token_bytes, revoked=configured.revoked, clock=clock)
        self.configured = configured
        self.places = places


def _validators(before: Sequence[AccessTokenValidator], issuer: LocalIssuer) -> list[AccessTokenValidator]:
    """Return what validates within, in place of each validator that did before."""
    configured = [v.configured if isinstance(v, _LocalValidator) else v for v in before]
    taken = [v.places if isinstance(v, _LocalValidator) else {} for v in before]
    trusted = list(dict.fromkeys(trusted for validator in configured for trusted in validator.issuers))
    place = dict.fromkeys(_places_of(issuer, trusted), issuer)
    return [
        _LocalValidator(validator, {**places, **place}, issuer.clock)
        for validator, places in zip(configured, taken, strict=True)
    ]


def _places_of(issuer: LocalIssuer, configured: Sequence[TrustedIssuer]) -> Sequence[TrustedIssuer]:
    """Return the settings a local issuer stands in for.

    What middlewares of one application trust is looked at together: what one of them was never meant to accept, it
    does not accept within either.

    Raises:
        ConfigurationError: nobody can say which are meant.
    """
    named = [trusted for trusted in configured if is_for(trusted, issuer.issuer, issuer.audience)]
    if named:
        return named
    if len({(trusted.issuer, trusted.settings.audiences) for trusted in configured}) == 1:
        return configured
    listing = "; ".join(
        f"{trusted.issuer} for {', '.join(sorted(trusted.settings.audiences))}" for trusted in configured
    )
    first = configured[0]
    raise ConfigurationError(
        f"trust: {issuer!r} is none of the issuers this application trusts ({listing}); name the one it stands in for: "
        f'LocalIssuer("{first.issuer}", audience="{min(first.settings.audiences)}")'
    )
