"""What an application says about an issuer and its own audience, and what it leaves unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from ...issuers import TrustedIssuer
from .findings import Finding, Where, advice, note, ok, problem

__all__ = ["check_enforcement", "check_resource", "check_settings"]

AUDIENCE, CLIENTS, RBAC, DIALECTS, KEYS, RESOURCE, ENFORCEMENT = (
    "audience",
    "clients",
    "RBAC",
    "dialects",
    "keys",
    "resource",
    "enforcement",
)


def check_settings(trusted: TrustedIssuer) -> Iterator[Finding]:
    """Look at the settings alone; nothing is fetched."""
    yield from _on_audience(trusted)
    yield from _on_dialects(trusted)
    yield from _on_clients(trusted)
    yield from _on_rbac(trusted)
    yield from _on_fixed_keys(trusted)


def _on_audience(trusted: TrustedIssuer) -> Iterator[Finding]:
    for audience in sorted(trusted.settings.audiences):
        path = urlsplit(audience).path.rstrip("/")
        if path.endswith(("/api/v2", "/userinfo")) and urlsplit(audience).netloc:
            yield advice(
                AUDIENCE,
                f"{audience} looks like an API of an authorization server (Auth0's Management API, or /userinfo).",
                "If it is one, register your own API there and use its identifier as audience=.",
                Where.APPLICATION,
            )
        elif audience == trusted.issuer:
            yield advice(
                AUDIENCE,
                "The audience is the issuer itself, so tokens that are meant for the server would be taken for yours.",
                "Register your API at the authorization server, and use its identifier as audience=.",
                Where.APPLICATION,
            )
        else:
            yield ok(
                AUDIENCE, f"Clients must ask for {audience}, to the letter (audience= at Auth0, resource= elsewhere)."
            )


def _on_dialects(trusted: TrustedIssuer) -> Iterator[Finding]:
    names = [dialect.name for dialect in trusted.settings.dialects]
    if len(names) == 1:
        yield ok(DIALECTS, f"Tokens are read as {names[0]}, and as nothing else.")
        return
    yield advice(
        DIALECTS,
        f"Tokens may be written in any of {', '.join(names)}, and a user's token without permissions can then only be "
        "read as one of those that have none.",
        "Pin the one that your API is issued: dialects=[…]. `authz explain` tells which one a token is written in.",
        Where.APPLICATION,
    )


def _on_clients(trusted: TrustedIssuer) -> Iterator[Finding]:
    if not any(dialect.has_permissions for dialect in trusted.settings.dialects):
        return
    if trusted.leaves_clients_unsaid:
        yield advice(
            CLIENTS,
            "Which clients are your own is not said, so every user's client counts as somebody else's: what a user may "
            "do counts only where the client asked for it, too.",
            "State third_party_clients=… (an empty set if there are none), or first_party_clients=….",
            Where.APPLICATION,
        )
    else:
        yield ok(CLIENTS, "Which clients are your own is said.")


def _on_rbac(trusted: TrustedIssuer) -> Iterator[Finding]:
    if all(dialect.has_permissions for dialect in trusted.settings.dialects):
        return
    if trusted.leaves_rbac_unsaid:
        yield advice(
            RBAC,
            "In dialects without permissions a user's scopes are believed, and whether the issuer gives a user only "
            "those that were assigned is not said.",
            "State rbac_enforced=True if it does (at Auth0: “Enable RBAC” in the API's settings), False if not.",
            Where.APPLICATION,
        )
    else:
        word = (
            "only those that were assigned" if trusted.rbac_enforced else "whatever the client asks for, so none counts"
        )
        yield ok(RBAC, f"As you say, the issuer gives a user scopes: {word}.")


def _on_fixed_keys(trusted: TrustedIssuer) -> Iterator[Finding]:
    if trusted.secret is not None:
        yield advice(
            KEYS,
            "Tokens are signed with a secret that you share with the issuer (HS256), so whoever reads it here can make "
            "tokens.",
            "Let the API's tokens be signed with RS256, and leave secret= out.",
            Where.SERVER,
        )
    elif trusted.is_local:
        yield advice(
            KEYS,
            "It is a LocalIssuer, for tests and development: its keys live in the application's own process, and "
            "whoever gets at them gets in as anybody.",
            "In production, trust an authorization server.",
            Where.APPLICATION,
        )
    elif trusted.keys is not None:
        yield ok(KEYS, "The application brings the keys itself (keys=); nothing is fetched.")


def check_enforcement(*, enforces: bool) -> Iterator[Finding]:
    """Say where an application only reports."""
    if not enforces:
        yield advice(
            ENFORCEMENT,
            "The application guards nothing: what it would refuse, it only reports (enforce=False).",
            "Remove enforce=False once the reports are as you want them.",
            Where.APPLICATION,
        )


def check_resource(resource: str | None, issuers: Iterable[TrustedIssuer]) -> Iterator[Finding]:
    """Compare the name under which clients find an API (RFC 9728) with the audiences its tokens may have."""
    audiences = {audience for trusted in issuers for audience in trusted.settings.audiences}
    if resource is None:
        yield note(RESOURCE, "No resource= is given, so challenges do not say where to get a token (RFC 9728).")
    elif resource in audiences:
        yield ok(RESOURCE, f"Clients find it as {resource}, and tokens for that are accepted.")
    else:
        listed = ", ".join(sorted(audiences))
        yield problem(
            RESOURCE,
            f"Clients find it as {resource} (resource=) and will ask for a token for that. Accepted are tokens for "
            f"{listed}.",
            "Make resource= and audience= the same, to the letter.",
            Where.APPLICATION,
        )
