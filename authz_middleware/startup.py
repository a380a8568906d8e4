"""What an operator should know when an application starts, said once on the logger `authz_middleware`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from .errors import ConfigurationError
from .issuers import TrustedIssuer
from .metadata import ProtectedResource
from .policy import Access, Policy
from .routes import FASTAPI_DOCS

__all__ = [
    "announce_invisible",
    "announce_issuers",
    "announce_report_only",
    "announce_unguarded",
    "check_policies",
]

_log = logging.getLogger("authz_middleware")


def announce_issuers(issuers: Iterable[TrustedIssuer], resource: ProtectedResource | None) -> None:
    """Say what was left unsaid about each issuer, and that no token can be had for the resource if none can."""
    audiences: set[str] = set()
    for issuer in issuers:
        audiences |= issuer.settings.audiences
        for advice in _advice_on(issuer):
            _log.warning("issuer %s: %s", issuer.issuer, advice)
    if resource is not None and resource.identifier not in audiences:
        _log.warning(
            "resource %s is no audience of any issuer here; clients that ask for a token for it "
            "(RFC 8707) get one that is refused",
            resource.identifier,
        )


def check_policies(accesses: Iterable[Access], issuers: Iterable[TrustedIssuer]) -> None:
    """Refuse policies that cannot be meant with the issuers that are trusted here.

    Raises:
        ConfigurationError: a name that several issuers could give does not say whose it is, or names none of them.
    """
    trusted = {issuer.issuer for issuer in issuers}
    terms = dict.fromkeys(term for access in accesses if isinstance(access, Policy) for term in access.terms)
    unsaid = [term for term in terms if term.needs_issuer and term.issuer is None and len(trusted) > 1]
    foreign = [term for term in terms if term.issuer is not None and term.issuer not in trusted]
    faults = [f"{term!r}: several issuers are trusted, and each may give this name; add issuer=…" for term in unsaid]
    faults += [f"{term!r}: issuer= names none that is trusted here; write its `iss` to the letter" for term in foreign]
    if faults:
        raise ConfigurationError(*faults)


def announce_report_only() -> None:
    """Say that nothing is refused."""
    _log.warning(
        "REPORT ONLY (enforce=False): NOTHING IS REFUSED. Every request is served, whatever its "
        "token; what would be refused is logged at INFO. Remove enforce=False to guard this application"
    )


def announce_invisible(*, enforced: bool) -> None:
    """Say that of the application behind, no routes can be seen."""
    _log.warning(
        "no routes can be seen, so everything but public_paths %s refused; "
        "give the middleware to the application itself: app.add_middleware(AuthzMiddleware, issuers=[…])",
        "is" if enforced else "would be",
    )


def announce_unguarded(routes: Sequence[tuple[str, str]], *, refused: bool, enforced: bool) -> None:
    """List routes that state nothing, as (path, methods)."""
    fate = "they are refused" if enforced else "they would be refused"
    _log.warning(
        "routes that state no policy, so %s; write @requires, @authenticated or @public "
        "below the route decorator, or name them in public_paths: %s",
        fate if refused else "any valid token may call them",
        _listing(routes),
    )


def _advice_on(issuer: TrustedIssuer) -> Iterator[str]:
    """Yield what an application left unsaid about an issuer, and what follows from that."""
    dialects = issuer.settings.dialects
    is_said = issuer.third_party_clients is not None or issuer.first_party_clients is not None
    if any(d.has_permissions for d in dialects) and not is_said:
        yield (
            "every user's client counts as third-party; name those that are in third_party_clients= "
            "(an empty set: none), or the others in first_party_clients="
        )
    if not all(d.has_permissions for d in dialects) and issuer.rbac_enforced is None:
        yield (
            "in dialects without permissions a user's scope is believed; state rbac_enforced=True if the issuer "
            "limits it to what the user was assigned, rbac_enforced=False if not"
        )


def _listing(routes: Sequence[tuple[str, str]]) -> str:
    """Name the application's own routes, and FastAPI's pages in one."""
    names = [f"{methods or 'any'} {path}" for path, methods in routes if path not in FASTAPI_DOCS]
    if any(path in FASTAPI_DOCS for path, _ in routes):
        names.append("FastAPI's documentation pages (FASTAPI_DOCS)")
    return ", ".join(names)
