"""What an operator should know when an application starts, said once on the logger `authz_middleware`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Router
from starlette.types import ASGIApp

from .errors import ConfigurationError
from .issuers import TrustedIssuer
from .metadata import ProtectedResource
from .place import TokenUse
from .policy import Access, ClaimTerm, Kind, Policy, Term
from .public_paths import PublicPaths
from .routes import FASTAPI_DOCS, Node, RouteMap, router_of
from .routes.frameworks import wrappers

__all__ = [
    "announce_cors_inside",
    "announce_invisible",
    "announce_issuers",
    "announce_report_only",
    "announce_routes",
    "announce_unclaimed",
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
    if any(term.lacks_issuer(issuer.trust(among_several=len(names) > 1)) for issuer in issuers):
        more = ", or limit every issuer to its own with tenants=" if term.kind is Kind.TENANT else ""
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
    if getattr(issuer.keys, "is_local", False) is True:
        yield (
            "this is a LocalIssuer, for tests and development; its keys live in this process, and whoever gets at them "
            "gets in as anybody: in production, trust an authorization server"
        )
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


def _terms_of(accesses: Iterable[Access]) -> list[Term]:
    return list(dict.fromkeys(term for access in accesses if isinstance(access, Policy) for term in access.terms))


def _is_read(term: Term, argument: str, issuers: Iterable[TrustedIssuer]) -> bool:
    """Tell whether some dialect of an issuer that the term is about has a claim for it, by its table or by argument."""
    return any(getattr(dialect, argument) for issuer in _meant(term, issuers) for dialect in issuer.settings.dialects)


def _meant(term: Term, issuers: Iterable[TrustedIssuer]) -> Iterator[TrustedIssuer]:
    """Yield the issuers whose tokens a term is about."""
    return (issuer for issuer in issuers if term.issuer in {None, issuer.issuer})


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


# --- routes and what stands in front ----------------------------------------------------------------------------------


def announce_invisible(*, enforced: bool) -> None:
    """Say that of the application behind, no routes can be seen."""
    _log.warning(
        "no routes can be seen, so everything but public_paths %s refused; "
        "give the middleware to the application itself: app.add_middleware(AuthzMiddleware, issuers=[…])",
        "is" if enforced else "would be",
    )


def announce_routes(
    route_map: RouteMap, public_paths: PublicPaths, ours: type, *, refused: bool, enforced: bool
) -> None:
    """List routes that state nothing, and those that `public_paths` names in vain. `refused`: the former are.

    `ours`: the class of middleware that decides. Where another one stands further in, that one decides, and lists.
    """
    nodes = () if route_map.around is not None else route_map.nodes
    bare = [node for node, is_asked in _decided_on(nodes, ours) if refused or not is_asked]
    listed = [(node.path, shown) for node in bare for shown in _bare_in(node) if node.path not in public_paths]
    fate = "they are refused" if enforced else "they would be refused"
    if listed:
        _log.warning(
            "routes that state no policy, so %s; write @requires, @authenticated or @public "
            "below the route decorator, or name them in public_paths: %s",
            fate if refused else "any valid token may call them",
            _listing(listed),
        )
    guarded = _named_in_vain(route_map, public_paths)
    if guarded:
        _log.warning(
            "public_paths does not open routes that state who may call them, by themselves or by a mount around "
            "them; take them out of public_paths, or write @public in place of what they state: %s",
            ", ".join(guarded),
        )


def announce_cors_inside(app: ASGIApp) -> None:
    """Say that browsers cannot read a 401, where CORS is dealt with behind the middleware: `app` is what stands there.

    What mounted applications do about CORS is not looked at.
    """
    if _has(CORSMiddleware, app):
        _log.warning(
            "CORSMiddleware stands inside AuthzMiddleware, so that a 401 carries no CORS header, and browsers report a "
            "network error; put it outside: app.add_middleware(CORSMiddleware, …) after "
            "app.add_middleware(AuthzMiddleware, …), or before it in Starlette(middleware=[…])"
        )


def _has(kind: type, app: object) -> bool:
    """Tell whether middleware of this kind stands between an application and its routes, or will."""
    for each in wrappers(app):
        if isinstance(each, kind):
            return True
        if isinstance(each, Starlette):
            return any(isinstance(m.cls, type) and issubclass(m.cls, kind) for m in each.user_middleware)
        if isinstance(each, Router):
            return any(isinstance(one, kind) for one in wrappers(each.middleware_stack))
        if router_of(each) is not None:
            return False
    return False


def _decided_on(nodes: Iterable[Node], ours: type, *, is_asked: bool = False) -> Iterator[tuple[Node, bool]]:
    """Yield routes that no mount around them covers, and that no middleware further in decides about.

    With each, whether routers around it require something (`is_asked`).
    """
    for node in nodes:
        is_asked_here = is_asked or node.required is not None
        if node.children is None:
            yield node, is_asked_here
        elif not node.accesses and not _has(ours, node.route.app):
            yield from _decided_on(node.children, ours, is_asked=is_asked_here)


def _bare_in(node: Node) -> Iterator[str]:
    """Yield methods and path of what states nothing in a route."""
    by_method = {} if node.guard is None else node.guard.by_method
    bare = [name for name, stated in by_method.items() if stated.access is None]
    if bare:
        yield node.shown_with(bare)
    elif not node.accesses:
        yield node.shown


def _named_in_vain(route_map: RouteMap, public_paths: PublicPaths) -> list[str]:
    """Return what is named to the letter and guarded all the same. A tree may well hold guarded routes, too."""
    named = set(public_paths)
    return [
        node.shown
        for node, around in route_map.descend()
        if node.shown_path in named and any(isinstance(access, Policy) for access in (*around, *node.accesses))
    ]


def _listing(routes: Sequence[tuple[str, str]]) -> str:
    """Name the application's own routes, and FastAPI's pages in one."""
    names = [shown for path, shown in routes if path not in FASTAPI_DOCS]
    if any(path in FASTAPI_DOCS for path, _ in routes):
        names.append("FastAPI's documentation pages (FASTAPI_DOCS)")
    return ", ".join(names)
