"""An application's settings, used with keys that live in the process: other keys put in, a token read at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import ConfigurationError, KeysUnavailable, Refused
from ..issuers import TrustedIssuer
from ..keys import KeySource
from ..token import AccessToken
from ..validator import AccessTokenValidator

__all__ = ["is_for", "read_at_once", "with_other_keys"]


def is_for(trusted: TrustedIssuer, issuer: str, audience: str) -> bool:
    """Tell whether settings name exactly this issuer, and this audience among theirs."""
    return trusted.issuer == issuer and audience in trusted.settings.audiences


def with_other_keys(
    trusted: TrustedIssuer, *, keys: KeySource | None = None, secret: bytes | None = None
) -> TrustedIssuer:
    """Return settings with these keys, and nothing left of how the configured ones are had."""
    algorithms = trusted.algorithms if trusted.secret is None else None  # a secret's are no other key's
    return replace(
        trusted, keys=keys, secret=secret, algorithms=algorithms, jwks_uri=None, fetch=None, key_settings=None
    )


def read_at_once(token: str, trusted: TrustedIssuer, clock: Callable[[], float]) -> AccessToken:
    """Validate a token without an event loop's help: keys in the process never wait, unless they hang.

    Raises:
        ConfigurationError: it is refused, or would have to wait.
    """
    validation = AccessTokenValidator([trusted], clock=clock).validate(token)
    try:
        validation.send(None)
    except StopIteration as validated:
        result: AccessToken = validated.value
        return result
    except KeysUnavailable as unavailable:
        raise _without_keys() from unavailable
    except Refused as refused:
        raise ConfigurationError(
            f"access_token: a token with these claims is refused ({refused.code}, {refused.reason}), so no handler "
            "gets it; mend the claims, or send the signed string, issuer.token(…), to see the refusal"
        ) from refused
    finally:
        validation.close()
    raise _without_keys()


def _without_keys() -> ConfigurationError:
    return ConfigurationError(
        "access_token: the keys of this issuer are unavailable just now, so no handler gets a token; "
        "call issuer.recover() first, or make the token before"
    )
