"""The server's clock, and what its metadata says about getting tokens.

Sources: RFC 9110 section 6.6.1 (Date), RFC 9111 section 5.1 (Age), RFC 8414 section 2, RFC 7636, RFC 9449 section 5.1,
RFC 8705 section 3.3, RFC 9728 section 4 (`protected_resources`), RFC 8707.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from ...issuers import TrustedIssuer
from ...keys import check_url
from ..harmless import json_text, name_text
from .answers import Look
from .findings import Finding, Where, advice, listed, note, ok, problem

__all__ = ["check_clock", "check_metadata"]

CLOCK, TOPIC, AUDIENCE = "clock", "metadata", "audience"
NOTICEABLE = 5
"""Seconds of difference that a slow network explains."""
MAX_DIGITS = 10
ENDPOINTS = ("authorization_endpoint", "token_endpoint")
OWN_ENDPOINTS = ("userinfo_endpoint", "token_endpoint", "introspection_endpoint", "jwks_uri")


# --- the clock --------------------------------------------------------------------------------------------------------


def check_clock(looks: Iterable[Look], leeway: float) -> Iterator[Finding]:
    """Compare the server's clock with this machine's, by the first response that says the time."""
    answered = [look for look in looks if look.status is not None]
    difference = next((found for look in answered if (found := _ahead(look)) is not None), None)
    if not answered:
        return
    if difference is None:
        yield note(CLOCK, "The server does not say what time it is.")
        return
    seconds = abs(round(difference))
    side = "ahead of" if difference > 0 else "behind"
    if seconds <= NOTICEABLE:
        yield ok(CLOCK, "The server's clock and this machine's agree.")
        return
    what = f"The server's clock is {seconds} seconds {side} this machine's; {leeway:g} are forgiven (leeway=)."
    change = "Set both by a time server (NTP)."
    yield (problem if seconds > leeway else advice)(CLOCK, what, change, Where.MACHINE)


def _ahead(look: Look) -> float | None:
    """Return by how many seconds the server's clock is ahead. A cache on the way says how old its answer is."""
    try:
        said: datetime = parsedate_to_datetime(look.headers["date"])
        return said.timestamp() + _age(look) - look.reply.at
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _age(look: Look) -> int:
    """Return an `Age` in whole seconds; 0 where it is none, or longer than any cache keeps anything."""
    age = look.headers.get("age", "")
    is_number = age.isascii() and age.isdigit() and len(age) < MAX_DIGITS  # RFC 9111 section 1.2.2
    return int(age) if is_number else 0


# --- the metadata -----------------------------------------------------------------------------------------------------


def check_metadata(trusted: TrustedIssuer, metadata: Mapping[str, object]) -> Iterator[Finding]:
    """Look at what the server says about itself."""
    if not metadata:
        return
    yield from _on_endpoints(metadata)
    yield from _on_audience(trusted, metadata)
    yield from _on_lists(metadata)
    yield from _on_pkce(metadata)
    yield from _on_binding(metadata)
    yield from _on_resources(trusted, metadata)


def _on_endpoints(metadata: Mapping[str, object]) -> Iterator[Finding]:
    for name in ENDPOINTS:
        url = metadata.get(name)
        if url is None:
            yield note(TOPIC, f"It states no {name}.")
        elif not isinstance(url, str) or check_url(url, name):
            yield problem(TOPIC, f"Its {name} is no https URL: {json_text(url)}.", "Correct it.", Where.SERVER)
        else:
            yield ok(TOPIC, f"Its {name} is {name_text(url)}.")


def _on_audience(trusted: TrustedIssuer, metadata: Mapping[str, object]) -> Iterator[Finding]:
    """Warn of an audience that is the server's own: such tokens are for the server, whoever holds them."""
    for name in OWN_ENDPOINTS:
        if any(metadata.get(name) == audience for audience in trusted.settings.audiences):  # it may be no string
            yield problem(
                AUDIENCE,
                f"The audience is the server's own {name}; a token for that is not for your API.",
                "Register your API at the authorization server, and use its identifier as audience=.",
                Where.APPLICATION,
            )


def _on_lists(metadata: Mapping[str, object]) -> Iterator[Finding]:
    for name, word in (("scopes_supported", "scopes"), ("grant_types_supported", "ways to get a token")):
        values = _strings(metadata.get(name))
        if not values:
            yield note(TOPIC, f"It states no {word} ({name}).")
            continue
        yield ok(TOPIC, f"The {word} it states ({name}): {listed(values)}.")


def _on_pkce(metadata: Mapping[str, object]) -> Iterator[Finding]:
    methods = _strings(metadata.get("code_challenge_methods_supported"))
    if "S256" in methods:
        yield ok(TOPIC, "It supports PKCE with S256.")
        return
    said = f"only {listed(methods)}" if methods else "nothing about PKCE"
    yield advice(
        TOPIC,
        f"It states {said} (code_challenge_methods_supported); clients that need S256, such as MCP's, will not go on.",
        "Switch PKCE with S256 on, and let the metadata say so.",
        Where.SERVER,
    )


def _on_binding(metadata: Mapping[str, object]) -> Iterator[Finding]:
    ways = ["DPoP"] if _strings(metadata.get("dpop_signing_alg_values_supported")) else []
    ways += ["mTLS"] if metadata.get("tls_client_certificate_bound_access_tokens") is True else []
    if ways:
        yield advice(
            TOPIC,
            f"It can bind tokens to a key of the client ({', '.join(ways)}), and such tokens are refused here "
            "(proof_required).",
            "Leave that off for this API, and for its clients.",
            Where.SERVER,
        )


def _on_resources(trusted: TrustedIssuer, metadata: Mapping[str, object]) -> Iterator[Finding]:
    for name, value in metadata.items():
        if "resource" in name and name != "protected_resources":
            yield ok(TOPIC, f"About asking for one API (RFC 8707) it states {name_text(name)}: {json_text(value)}.")
    resources = _strings(metadata.get("protected_resources"))
    if not resources:
        return
    missing = sorted(trusted.settings.audiences - set(resources))
    if missing:
        yield advice(
            TOPIC,
            f"It lists the APIs it serves (protected_resources), and {', '.join(missing)} is not among them.",
            "Register the API there, or correct audience=.",
            Where.SERVER,
        )
    else:
        yield ok(TOPIC, "It lists this API among those it serves (protected_resources).")


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
