"""Is the issuer found, does it call itself what the application calls it, and where does it say its keys are?

Sources: OpenID Connect Discovery section 4, RFC 8414 section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from ...issuers import TrustedIssuer
from ...keys import FetchFailed, KeySettings, discover_jwks_uri
from ...keys.discovery import metadata_urls
from ..harmless import json_text, name_text
from .answers import Answers, Look
from .findings import Finding, Where, advice, note, ok, problem

__all__ = ["discover"]

TOPIC, SPELLING = "discovery", "issuer"
FORMS = ("OpenID Connect", "RFC 8414")
NOT_FOUND = 404
FAULTS: Mapping[str, tuple[str, str, Where]] = MappingProxyType(
    {
        "bad_url": (
            "Its metadata names no address of keys (jwks_uri) that may be fetched: an https URL.",
            "Publish one, or name the address in jwks_uri=.",
            Where.SERVER,
        ),
        "host_not_allowed": (
            "Its keys are on a host that key_settings= does not allow.",
            "Add the host to allowed_hosts=, if it is the issuer's.",
            Where.APPLICATION,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Discovered:
    """What discovery brought: findings, metadata, the address of the keys, and the responses that were had."""

    findings: tuple[Finding, ...]
    metadata: Mapping[str, object] = field(default_factory=dict)
    jwks_uri: str | None = None
    looks: tuple[Look, ...] = ()


async def discover(trusted: TrustedIssuer, answers: Answers) -> Discovered:
    """Ask for both forms of metadata, and find the keys as the application will."""
    looks = tuple([await answers.look(url) for url in metadata_urls(trusted.issuer)])
    documents = [look.document for look in looks if look.document is not None]
    findings = [*_on_forms(looks), *_on_spelling(trusted.issuer, documents)]
    if not documents:
        findings += _on_absence(looks, is_needed=trusted.jwks_uri is None)
    uri, found = await _locate(trusted, answers)
    matching = [document for document in documents if document.get("issuer") == trusted.issuer]
    return Discovered((*findings, *found), next(iter(matching), {}), uri, looks)


def _on_forms(looks: tuple[Look, ...]) -> Iterator[Finding]:
    """Yield how each form is answered, if one is."""
    if all(look.document is None for look in looks):
        return
    for form, look in zip(FORMS, looks, strict=True):
        where = f"Metadata in the form of {form}, at {look.url}"
        if look.document is not None:
            yield ok(TOPIC, f"{where}: it is there.")
        elif look.status == NOT_FOUND or look is not looks[0]:
            yield note(TOPIC, f"{where}: {look.fault}; one form is enough.")
        else:
            yield problem(
                TOPIC,
                f"{where}: {look.fault}. Only a plain 404 leads on to the other form.",
                "Let it answer 404, or name the address of the keys in jwks_uri=.",
                Where.SERVER,
            )


def _on_absence(looks: tuple[Look, ...], *, is_needed: bool) -> Iterator[Finding]:
    faults = "; ".join(f"{look.url}: {look.fault}" for look in looks)
    if not is_needed:
        yield note(TOPIC, f"There is no metadata, and jwks_uri= makes it unnecessary. {faults}.")
        return
    yield problem(
        TOPIC,
        f"There is no metadata. {faults}.",
        "Correct the issuer, or let this machine reach it; where a server has no metadata, set jwks_uri=.",
        Where.APPLICATION,
    )


def _on_spelling(issuer: str, documents: list[Mapping[str, object]]) -> Iterator[Finding]:
    stated = [document.get("issuer") for document in documents]
    if not stated:
        return
    others = [name for name in stated if name != issuer]
    if not others:
        yield ok(SPELLING, f"It calls itself {issuer}, to the letter as you do.")
        return
    name = others[0]
    if isinstance(name, str) and name.rstrip("/") == issuer.rstrip("/"):
        what = "It differs from what you wrote in the slash at the end alone, and that counts."
    else:
        what = f"You wrote {issuer}."
    yield problem(
        SPELLING,
        f"It calls itself {json_text(name)}, and that is what its tokens say. {what}",
        "Write the issuer as it calls itself, if it is the one you mean.",
        Where.APPLICATION,
    )


async def _locate(trusted: TrustedIssuer, answers: Answers) -> tuple[str | None, list[Finding]]:
    """Find the address of the keys as the application does."""
    if trusted.jwks_uri is not None:
        return trusted.jwks_uri, [ok(TOPIC, f"The application names the address of the keys: {trusted.jwks_uri}.")]
    try:
        uri = await discover_jwks_uri(trusted.issuer, answers, trusted.key_settings or KeySettings())
    except FetchFailed as failure:
        fault = FAULTS.get(failure.kind)
        return None, [] if fault is None else [problem(TOPIC, *fault)]
    return uri, [ok(TOPIC, f"Its keys are at {name_text(uri)}."), *_on_host(trusted.issuer, uri)]


def _on_host(issuer: str, uri: str) -> Iterator[Finding]:
    if urlsplit(issuer).netloc != urlsplit(uri).netloc:
        yield advice(
            TOPIC,
            "Its keys are on another host than its metadata.",
            "If that is meant, pin it: key_settings=KeySettings(allowed_hosts={…}).",
            Where.APPLICATION,
        )
