"""The published keys: which can be used, which are skipped and why, and how long they are kept.

Sources: RFC 7517 sections 4 and 5, RFC 9111 section 5.2.2, RFC 9110 section 8.8.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..._jose import UnusableKey, VerificationKey, parse_jwk
from ...issuers import TrustedIssuer
from ...keys import BrokenJWKS, KeySettings, parse_jwks
from ...keys.freshness import read_lifetime
from ...keys.jwks import parse_jwks_document
from ..failures import FAILURES
from ..harmless import json_text
from .answers import Answers, Look
from .findings import Finding, Where, advice, note, ok, problem

__all__ = ["check_keys"]

TOPIC, CACHE = "keys", "key cache"
NOT_MODIFIED = 304
MAX_SHOWN = 20
HARMLESS = frozenset({"not for signatures", "not for verification"})


async def check_keys(trusted: TrustedIssuer, uri: str, answers: Answers) -> tuple[tuple[Finding, ...], Look]:
    """Fetch the keys and look at each."""
    look = await answers.look(uri)
    if look.failure is not None:
        return (_on_failure(look),), look
    findings = [*_on_document(look, trusted.settings.algorithms)]
    findings += await _on_caching(look, answers, trusted.key_settings or KeySettings())
    return tuple(findings), look


def _on_failure(look: Look) -> Finding:
    what = f"The keys are unavailable: {look.fault}."
    if look.status is None:
        return problem(TOPIC, what, "Correct the address, or let this machine ask it.", Where.MACHINE)
    return problem(TOPIC, what, "Let it answer 200 there, with its keys.", Where.SERVER)


# --- the document -----------------------------------------------------------------------------------------------------


def _on_document(look: Look, algorithms: frozenset[str]) -> Iterator[Finding]:
    body = b"" if look.reply.response is None else look.reply.response.body
    document = look.document or {}
    published = document.get("keys")
    jwks = published if isinstance(published, list) else []
    keys = [_Key.of(jwk, algorithms) for jwk in jwks]
    try:
        usable = parse_jwks(body, algorithms).key_ids
    except BrokenJWKS as broken:
        fault = FAILURES[str(broken)].removeprefix("its ")
        yield problem(TOPIC, f"The {fault}.", "Publish usable keys.", Where.SERVER)
    else:
        yield from _on_usable(keys, usable)
    yield from _on_twins(keys)
    for key in keys[:MAX_SHOWN]:
        yield from key.findings()


def _on_usable(keys: Sequence[_Key], usable: Collection[str]) -> Iterator[Finding]:
    if not keys:
        yield problem(
            TOPIC,
            "It publishes no key at all, so every token is refused.",
            "Publish the keys it signs with.",
            Where.SERVER,
        )
        return
    described = [key.described(key.verifies) for key in keys if key.verifies is not None and key.kid in {None, *usable}]
    word = "1 key is" if len(keys) == 1 else f"{len(keys)} keys are"
    more = "" if len(described) <= MAX_SHOWN else f" and {len(described) - MAX_SHOWN} more"
    yield ok(TOPIC, f"{word} published; usable: {', '.join(described[:MAX_SHOWN])}{more}.")


def _on_twins(keys: Sequence[_Key]) -> Iterator[Finding]:
    seen = dict.fromkeys(  # one key may well be listed twice
        (key.kid, key.verifies.algorithm, key.verifies.fingerprint)
        for key in keys
        if key.kid is not None and key.verifies is not None
    )
    for (kid, algorithm), count in Counter((kid, algorithm) for kid, algorithm, _ in seen).items():
        if count > 1:
            yield problem(
                TOPIC,
                f"{count} keys for {algorithm} are called {json_text(kid)}; nobody can say which is meant, so all are "
                "skipped.",
                "Give every key an id (kid) of its own.",
                Where.SERVER,
            )


@dataclass(frozen=True, slots=True)
class _Key:
    """One published key. `verifies`: as it can be used; None, and `fault` why not."""

    jwk: Mapping[str, object]
    verifies: VerificationKey | None
    fault: str = ""

    @classmethod
    def of(cls, jwk: object, algorithms: frozenset[str]) -> _Key:
        members = jwk if isinstance(jwk, dict) else {}
        try:
            keys = parse_jwks_document({"keys": [jwk]}, algorithms)
        except BrokenJWKS:
            return cls(members, None, _fault_of(jwk))
        return cls(members, next(iter(keys.by_algorithm.values()))[0])

    @property
    def kid(self) -> str | None:
        kid = self.jwk.get("kid")
        return kid if isinstance(kid, str) else None

    @property
    def name(self) -> str:
        return "A key without an id" if self.kid is None else f"Key {json_text(self.kid)}"

    def described(self, key: VerificationKey) -> str:
        size = getattr(key.material, "key_size", None)
        name = "one without an id" if self.kid is None else json_text(self.kid)
        return f"{name} ({key.algorithm}{'' if size is None else f', {size} bits'})"

    def findings(self) -> Iterator[Finding]:
        if self.verifies is None:
            yield self._on_fault()
            return
        if self.kid is None:
            yield advice(
                TOPIC, "A key has no id (kid), so no token can name it.", "Give every key an id (kid).", Where.SERVER
            )
        if "alg" not in self.jwk and self.jwk.get("kty") == "RSA":
            yield advice(
                TOPIC,
                f"{self.name} does not say its algorithm (alg), and is taken to be for {self.verifies.algorithm}.",
                "State alg in the published keys, or the one algorithm that is used in algorithms=[…].",
                Where.SERVER,
            )

    def _on_fault(self) -> Finding:
        what = f"{self.name} is skipped: {self.fault}."
        if self.fault in HARMLESS:
            return note(TOPIC, what)
        if self.fault == "private or symmetric":
            return problem(
                TOPIC,
                f"{what} A secret that everybody can read proves nothing.",
                "Withdraw it now, replace it, and publish public keys only.",
                Where.SERVER,
            )
        return advice(TOPIC, what, "If tokens for this API are signed with it, mend or replace it.", Where.SERVER)


def _fault_of(jwk: object) -> str:
    try:
        key = parse_jwk(jwk)
    except UnusableKey as unusable:
        return str(unusable)
    return f"it is for {key.algorithm}, which these settings do not allow (dialects=, algorithms=)"


# --- how long it is kept ----------------------------------------------------------------------------------------------


async def _on_caching(look: Look, answers: Answers, settings: KeySettings) -> list[Finding]:
    lifetime = read_lifetime(look.headers, settings)
    said = look.headers.get("cache-control")
    says = "does not say for how long" if said is None else f"says {json_text(said)}"
    kept = settings.lifetime if lifetime is None else lifetime
    findings = [ok(CACHE, f"The keys are kept for {kept:g} seconds; the server {says}.")]
    etag = look.headers.get("etag")
    if etag is None:
        return [*findings, note(CACHE, "They come without an ETag, so each refresh fetches them whole.")]
    again = await answers.look(look.url, etag=etag)
    is_revalidated = again.failure is None and again.status == NOT_MODIFIED
    word = "answers 304 while they are the same" if is_revalidated else "sends them whole all the same"
    return [*findings, ok(CACHE, f"They come with an ETag, and the server {word}.")]
