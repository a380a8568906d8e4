"""A JWKS document as a set of keys, each bound to one algorithm. Source: RFC 7517 section 5."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .._jose import UnusableKey, VerificationKey, parse_jwk
from .._json import JSONFault, parse_json
from ..errors import Code, InvalidToken, Reason

__all__ = ["BrokenJWKS", "KeySet", "parse_jwks", "parse_jwks_document"]

MAX_KEYS = 100


class BrokenJWKS(ValueError):
    """A document that is no usable JWKS; it never replaces a good one. The message is one word for logs."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one document, found by key id and algorithm in constant time."""

    by_id: Mapping[tuple[str, str], VerificationKey]
    by_algorithm: Mapping[str, tuple[VerificationKey, ...]]

    @classmethod
    def of(cls, keys: Iterable[VerificationKey]) -> KeySet:
        """Index keys. Two different ones of one id and algorithm are both dropped: nobody can say which is meant."""
        keys = sorted(set(keys), key=lambda key: key.fingerprint)  # the order in a document says nothing
        seen = Counter((key.kid, key.algorithm) for key in keys if key.kid is not None)
        kept = [key for key in keys if key.kid is None or seen[key.kid, key.algorithm] == 1]
        by_algorithm: dict[str, tuple[VerificationKey, ...]] = {}
        for key in kept:
            by_algorithm[key.algorithm] = (*by_algorithm.get(key.algorithm, ()), key)
        by_id = {(key.kid, key.algorithm): key for key in kept if key.kid is not None}
        return cls(by_id, by_algorithm)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys that have one, sorted."""
        return tuple(sorted({kid for kid, _ in self.by_id}))

    def keeping(self, old: KeySet) -> KeySet:
        """Return this set with the very keys of an older one where they are equal, so that `is` tells what changed."""
        known = {key: key for keys in old.by_algorithm.values() for key in keys}
        return KeySet.of(known.get(key, key) for keys in self.by_algorithm.values() for key in keys)

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key of this id and algorithm; without an id, the only key of the algorithm.

        Raises:
            InvalidToken: the token names no key and several fit.
        """
        if kid is not None:
            return self.by_id.get((kid, algorithm))
        fitting = self.by_algorithm.get(algorithm, ())
        if len(fitting) > 1:
            raise InvalidToken(Code.UNKNOWN_KEY, Reason.KEY_AMBIGUOUS)
        return fitting[0] if fitting else None


def parse_jwks(data: bytes, algorithms: frozenset[str], *, max_keys: int = MAX_KEYS) -> KeySet:
    """Parse the text of a JWKS for an issuer that may use `algorithms`.

    Raises:
        BrokenJWKS: no strict JSON, no JWKS, too many keys, or keys of which none is usable.
    """
    try:
        document = parse_json(data)
    except JSONFault:
        raise BrokenJWKS("not_json") from None
    return parse_jwks_document(document, algorithms, max_keys=max_keys)


def parse_jwks_document(document: object, algorithms: frozenset[str], *, max_keys: int = MAX_KEYS) -> KeySet:
    """Read a JWKS that is already JSON. An unusable key is skipped; an empty set is valid and withdraws all keys.

    Raises:
        BrokenJWKS: as `parse_jwks`.
    """
    jwks = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(jwks, list):
        raise BrokenJWKS("not_a_jwks")
    if len(jwks) > max_keys:
        raise BrokenJWKS("too_many_keys")
    rsa = sorted(name for name in algorithms if name.startswith(("RS", "PS")))
    rsa_algorithm = rsa[0] if len(rsa) == 1 else "RS256"
    keys = []
    for jwk in jwks:
        try:
            key = parse_jwk(jwk, rsa_algorithm)
        except UnusableKey:
            continue
        if key.algorithm in algorithms:
            keys.append(key)
    key_set = KeySet.of(keys)
    if jwks and not key_set.by_algorithm:  # duplicates that dropped each other count as unusable, too
        raise BrokenJWKS("no_usable_key")
    return key_set
