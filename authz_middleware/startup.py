"""What an operator should know when an application starts, said once on the logger `authz_middleware`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence

from .errors import ConfigurationError
from .issuers import TrustedIssuer
from .metadata import ProtectedResource
from .place import TokenUse
from .policy import Access, Kind, Policy, Term
from .policy.claims import ClaimTerm
from .routes import Node, RouteMap

__all__ = [
    "announce_issuers",
    "announce_report_only",
    "announce_unclaimed",
    "check_metadata",
    "check_policies",
]

CLAIMED = {Kind.ROLE: "roles_claims", Kind.GROUP: "groups_claims"}
"""What no token carries before an application names its claims, and the argument that does."""

_log = logging.getLogger("authz_middleware")


# --- issuers and policies ---------------------------------------------------------------------------------------------


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


def announce_unclaimed(accesses: Iterable[Access], issuers: Sequence[TrustedIssuer]) -> None:
    """Name roles and groups that nobody can ever have, because no claim was named to read them from."""
    terms = _terms_of(accesses)
    for kind, argument in CLAIMED.items():
        unread = [term for term in terms if term.kind is kind and not _is_read(term, argument, issuers)]
        if unread:
            _log.warning(
                "nobody ever has %s: no claim is read for it; name the claim, such as "
                'TrustedIssuer(…, %s="https://acme.example/%ss")',
                ", ".join(map(repr, unread)),
                argument,
                kind,
            )


def check_policies(accesses: Iterable[Access], issuers: Sequence[TrustedIssuer]) -> None:
    """Refuse policies that cannot be meant with the issuers that are trusted here.

    Raises:
        ConfigurationError: a name that several issuers could give does not say whose it is, or names none of them; a
            claim that carries grants is read as if every value there counted.
    """
    faults = [fault for term in _terms_of(accesses) for fault in _term_faults(term, issuers)]
    if faults:
        raise ConfigurationError(*faults)


def _term_faults(term: Term, issuers: Sequence[TrustedIssuer]) -> Iterator[str]:
    names = {issuer.issuer for issuer in issuers}
    if any(term.lacks_issuer(issuer.trust(issuers)) for issuer in issuers):
        more = ", or limit every issuer to tenants of its own with tenants=" if term.kind is Kind.TENANT else ""
        yield f"{term!r}: several issuers are trusted, and each may give this name; add issuer=…{more}"
    if term.issuer is not None and term.issuer not in names:
        yield f"{term!r}: issuer= names none that is trusted here; write its `iss` to the letter"
    dialects = [dialect for issuer in _meant(term, issuers) for dialect in issuer.settings.dialects]
    if isinstance(term, ClaimTerm) and any(term.path in dialect.grant_claims for dialect in dialects):
        yield (
            f"{term!r} reads a claim that carries grants, and not every value there counts; write requires(…), "
            "policy.permission(…), policy.role(…) or policy.group(…)"
        )


def _advice_on(issuer: TrustedIssuer) -> Iterator[str]:
    """Yield what an application left unsaid about an issuer, and what follows from that."""
    if issuer.is_local:
        yield (
            "this is a LocalIssuer, for tests and development; its keys live in this process, and whoever gets at them "
            "gets in as anybody: in production, trust an authorization server"
        )
    if issuer.leaves_clients_unsaid:
        yield (
            "every user's client counts as third-party; name those that are in third_party_clients= "
            "(an empty set: none), or the others in first_party_clients="
        )
    if issuer.leaves_rbac_unsaid:
        yield (
            "in dialects without permissions a user's scope is believed; state rbac_enforced=True if the issuer "
            "limits it to what the user was assigned, rbac_enforced=False if not"
        )


def _terms_of(accesses: Iterable[Access]) -> list[Term]:
    return list(dict.fromkeys(term for access in accesses if isinstance(access, Policy) for term in access.terms))


def _is_read(term: Term, argument: str, issuers: Iterable[TrustedIssuer]) -> bool:
    """Tell whether some dialect of an issuer that the term is about has a claim for it, by its table or by argument."""
    return any(getattr(dialect, argument) for issuer in _meant(term, issuers) for dialect in issuer.settings.dialects)


def _meant(term: Term, issuers: Iterable[TrustedIssuer]) -> Iterator[TrustedIssuer]:
    """Yield the issuers whose tokens a term is about."""
    return (issuer for issuer in issuers if term.issuer in {None, issuer.issuer})


def check_metadata(route_map: RouteMap, paths: Collection[str]) -> None:
    """Refuse routes where the metadata of `resource=` is served: nobody would ever reach them.

    Raises:
        ConfigurationError: there is one.
    """
    shadowed = [node.path for node, _ in route_map.descend() if node.children is None and node.path in paths]
    if shadowed:
        raise ConfigurationError(
            f"{shadowed[0]}: AuthzMiddleware(resource=…) serves its metadata there, so that nobody reaches this route; "
            "remove one of the two"
        )


# --- only reporting ---------------------------------------------------------------------------------------------------


def announce_report_only(route_map: RouteMap | None) -> None:
    """Say that nothing is refused, what is all the same, and how to see what would be."""
    _log.warning(
        "REPORT ONLY (enforce=False): NOTHING IS REFUSED. Every request is served, whatever its "
        "token; what would be refused is logged at INFO. Remove enforce=False to guard this application"
    )
    needing = [] if route_map is None else [node.shown for node, _ in route_map.descend() if _needs_token(node)]
    if needing:
        _log.warning(
            "REPORT ONLY: where no valid token comes, these routes answer 401 all the same, because what they call "
            "takes it as a value; until you enforce, write a decorator, or AccessToken | None: %s",
            ", ".join(needing),
        )
    if not (_log.isEnabledFor(logging.INFO) and _log.hasHandlers()):
        _log.warning(
            "REPORT ONLY: lines at INFO are hidden here; to see what would be refused, write logging.basicConfig() "
            'and logging.getLogger("authz_middleware").setLevel(logging.INFO)'
        )


def _needs_token(node: Node) -> bool:
    return node.guard is not None and node.guard.stated.token_use is TokenUse.REQUIRED
