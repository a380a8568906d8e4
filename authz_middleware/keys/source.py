"""The protocol of key sources, and the two that need no network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from copy import deepcopy
from os import PathLike, fspath
from pathlib import Path
from typing import Protocol, Self, TypeGuard

from .._jose import ALGORITHMS, VerificationKey, secret_key
from .._json import JSONFault, parse_json
from ..errors import Code, ConfigurationError, InvalidToken, Reason
from .jwks import BrokenJWKS, parse_jwks_document
from .status import KeyState, KeyStatus

__all__ = ["KeySource", "SecretKey", "StaticJWKS", "is_key_source"]


class KeySource(Protocol):
    """Gives the key a token says it was signed with.

    It may also have these methods, each used if it is there:

    `status() -> KeyStatus`, how the keys are, without asking for anything. Without it they count as unknown, and the
    readiness check is not ready.

    `async warm_up() -> bool`, which has keys before the first token needs one, and tells whether there are some that
    can be used. Without it, `status` tells.

    `async aclose() -> None`, which ends what is under way on this event loop.
    """

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return the key with this `kid` (None: the token names none) and algorithm.

        Raises:
            InvalidToken: there is no such key (`unknown_key`).
            KeysUnavailable: it cannot be said whether there is. So says whatever else is raised, and no answer within
                15 seconds.
        """
        ...


def is_key_source(value: object) -> TypeGuard[KeySource]:
    """Tell whether this is an object with an async `get` of two arguments: no class, no dictionary, no HTTP client."""
    get: object = getattr(value, "get", None)
    is_async = inspect.iscoroutinefunction(get) or inspect.iscoroutinefunction(type(get).__call__)
    if isinstance(value, type) or not callable(get) or not is_async:
        return False
    try:
        inspect.signature(get).bind("kid", "RS256")
    except TypeError:
        return False
    return True


class StaticJWKS:
    """A fixed JWKS document, for issuers without an endpoint and for tests. Read at construction, never again.

    Args:
        document: the JWKS.
        algorithms: what the issuer may sign with; keys for anything else are skipped. None: what the `TrustedIssuer`
            says that the source is given to.

    Raises:
        ConfigurationError: the document holds no usable key.
    """

    def __init__(self, document: Mapping[str, object], algorithms: frozenset[str] | None = None) -> None:
        self._document = deepcopy(document) if algorithms is None else None
        try:
            self._keys = parse_jwks_document(document, ALGORITHMS if algorithms is None else algorithms)
        except BrokenJWKS as broken:
            raise ConfigurationError(
                f"keys= holds no usable key ({broken}); pass a JWKS document such as "
                '{"keys": [{"kty": "RSA", "kid": "…", "n": "…", "e": "AQAB"}]} with public keys'
            ) from None

    def bound_to(self, algorithms: frozenset[str]) -> Self:
        """Return the keys of the same document for an issuer that may use these; what was bound stays as it is.

        Raises:
            ConfigurationError: none of them is usable then.
        """
        return self if self._document is None else type(self)(self._document, algorithms)

    @classmethod
    def from_file(cls, path: str | PathLike[str], algorithms: frozenset[str] | None = None) -> Self:
        """Read a JWKS document from a file, now. Who replaces the file restarts the process.

        Raises:
            ConfigurationError: there is no such file, or it holds no usable JWKS.
        """
        try:
            document = parse_json(Path(path).read_bytes())
        except (OSError, JSONFault) as error:
            raise ConfigurationError(
                f"StaticJWKS.from_file: {fspath(path)!r} cannot be read as JSON ({type(error).__name__}); "
                "name a file that holds a JWKS document"
            ) from None
        if not isinstance(document, dict):
            raise ConfigurationError(f"StaticJWKS.from_file: {fspath(path)!r} holds no JWKS document, but other JSON")
        return cls(document, algorithms)

    def status(self) -> KeyStatus:
        """Return that the keys do not age."""
        return KeyStatus(state=KeyState.FRESH, key_ids=self._keys.key_ids)

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return the key, at once."""
        key = self._keys.find(kid, algorithm)
        if key is None:
            raise InvalidToken(Code.UNKNOWN_KEY, Reason.KEY_NOT_PUBLISHED)
        return key


class SecretKey:
    """The HS256 secret an API shares with its issuer. The token's `kid` says nothing: there is one key."""

    def __init__(self, secret: bytes) -> None:
        self._key = secret_key(secret)

    async def get(self, kid: str | None, algorithm: str) -> VerificationKey:  # noqa: ARG002 - the protocol's shape
        """Return the key, at once."""
        return self._key

    def status(self) -> KeyStatus:
        """Return that the secret does not age."""
        return KeyStatus(state=KeyState.FRESH)
