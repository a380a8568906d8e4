"""`trust`: let an application whose issuers are fixed at import trust a local one, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.types import ASGIApp

from ..audit import installed_middlewares
from ..errors import ConfigurationError
from ..issuers import TrustedIssuer
from ..keys import StaticJWKS
from ..middleware import AuthzMiddleware
from ..policy import Policy, Term
from ..routes import RouteMap, find_router
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
    unknown within. Time is the local issuer's clock. Blocks nest: each adds the issuer it names, until it ends.

    Every `AuthzMiddleware` of the application is meant, in mounted applications and around it. Yields the issuer.

    Raises:
        ConfigurationError: there is no `AuthzMiddleware`, or something hides it, which keeps what is behind it under
            another name than `app`; several issuers are configured and none is called like the
            local one; the settings do not accept the algorithm it signs with; or a policy names its issuer, and the
            local one is called otherwise.
    """
    if not isinstance(issuer, LocalIssuer):
        raise ConfigurationError("trust takes a LocalIssuer; write trust(app, LocalIssuer())")
    middlewares = installed_middlewares(app)
    if not middlewares:
        raise ConfigurationError(
            "trust: the application has no AuthzMiddleware; write app.add_middleware(AuthzMiddleware, issuers=[…]). "
            "If it has one, something hides it: a middleware must keep the application behind it as self.app"
        )
    if not all(hasattr(middleware, "validator") for middleware in middlewares):
        raise ConfigurationError(
            "trust: an AuthzMiddleware of this application is misconfigured; start the application to read how"
        )
    block = _block_of(issuer, middlewares)
    within = [_with(middleware.validator, block) for middleware in middlewares]
    try:
        for middleware, validator in zip(middlewares, within, strict=True):
            middleware.validator = validator
        yield issuer
    finally:
        for middleware in middlewares:  # in whatever order blocks end: each takes out what it put in, and no more
            middleware.validator = _without(middleware.validator, block)


@dataclass(frozen=True, slots=True)
class _Block:
    """One block: the settings under which its issuer is trusted, by those an application configured."""

    stand_ins: Mapping[TrustedIssuer, TrustedIssuer]
    clock: Callable[[], float]


class _LocalValidator(AccessTokenValidator):
    """A validator in which local issuers stand in for what an application configured, those of the last block first."""

    def __init__(self, configured: AccessTokenValidator, blocks: tuple[_Block, ...]) -> None:
        stand_ins = {trusted: stand_in for block in blocks for trusted, stand_in in block.stand_ins.items()}
        super().__init__(
            [stand_ins.get(trusted) or with_other_keys(trusted, keys=_NO_KEYS) for trusted in configured.issuers],
            max_token_bytes=configured.max_token_bytes,
            max_cached_tokens=configured.max_cached_tokens,
            max_cached_bytes=configured.max_cached_bytes,
            revoked=configured.revoked,
            clock=blocks[-1].clock,
        )
        self.configured = configured
        self.blocks = blocks


def _configured(validator: AccessTokenValidator) -> AccessTokenValidator:
    return validator.configured if isinstance(validator, _LocalValidator) else validator


def _with(validator: AccessTokenValidator, block: _Block) -> AccessTokenValidator:
    """Return what validates within one more block."""
    blocks = validator.blocks if isinstance(validator, _LocalValidator) else ()
    return _LocalValidator(_configured(validator), (*blocks, block))


def _without(validator: AccessTokenValidator, ended: _Block) -> AccessTokenValidator:
    """Return what validates when a block has ended, which need not be the last one."""
    blocks = validator.blocks if isinstance(validator, _LocalValidator) else ()
    left = tuple(block for block in blocks if block is not ended)
    return _LocalValidator(_configured(validator), left) if left else _configured(validator)


def _block_of(issuer: LocalIssuer, middlewares: Sequence[AuthzMiddleware]) -> _Block:
    """Return the block in which a local issuer stands in for what these middlewares trust.

    Raises:
        ConfigurationError: nobody can say for what, the settings do not accept the algorithm it signs with, or a policy
            names the issuer it would stand in for.
    """
    validators = [_configured(middleware.validator) for middleware in middlewares]
    configured = list(dict.fromkeys(trusted for validator in validators for trusted in validator.issuers))
    places = _places_of(issuer, configured)
    stand_ins = {trusted: issuer.stand_in_for(trusted) for trusted in places}
    for trusted in places:
        if trusted.issuer != issuer.issuer:
            _check_unnamed(trusted, issuer, middlewares)
    return _Block(stand_ins, issuer.clock)


def _check_unnamed(trusted: TrustedIssuer, issuer: LocalIssuer, middlewares: Sequence[AuthzMiddleware]) -> None:
    """Refuse to put an issuer of another name where a policy asks for tokens of this one: nobody would ever meet it.

    Raises:
        ConfigurationError: one does.
    """
    named = [term for term in _terms_of(middlewares) if term.issuer == trusted.issuer]
    if named:
        raise ConfigurationError(
            f"trust: {named[0]!r} asks for a token of that very issuer, and {issuer!r} has another name; write "
            f'LocalIssuer("{trusted.issuer}", audience="{min(trusted.settings.audiences)}")'
        )


def _terms_of(middlewares: Sequence[AuthzMiddleware]) -> Iterator[Term]:
    """Yield what the routes behind these middlewares ask for. Routes at fault are none of our business here."""
    for router in filter(None, (find_router(middleware.app) for middleware in middlewares)):
        with suppress(ConfigurationError):
            for access in RouteMap.of(router, arms=False).statements():
                yield from access.terms if isinstance(access, Policy) else ()


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
