"""What an operator should know about routes when an application starts, said once on the logger `authz_middleware`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import PARAM_REGEX, Router
from starlette.types import ASGIApp

from .metadata import ProtectedResource
from .policy import Access, PathParam, Policy, Public, Term
from .policy.claims import ClaimTerm
from .public_paths import PublicPaths
from .routes import FASTAPI_DOCS, Node, RouteMap, router_of
from .routes.frameworks import fields_of, wrappers

__all__ = [
    "announce_cors_inside",
    "announce_hidden_metadata",
    "announce_invisible",
    "announce_path_params",
    "announce_routes",
]

_log = logging.getLogger("authz_middleware")


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


def announce_hidden_metadata(route_map: RouteMap, public_paths: PublicPaths, ours: type) -> None:
    """Name metadata of mounted applications that clients are sent to and that is not let out here."""
    for node, around in route_map.descend():
        stated = (*around, *node.accesses)
        for identifier in _resources_of(node, ours) if not any(isinstance(one, Public) for one in stated) else ():
            path = node.path + identifier.paths({"root_path": node.path, "app_root_path": ""})[0]
            is_guarded = any(isinstance(one, Policy) for one in stated)
            if "{" not in path and (is_guarded or path not in public_paths):
                _log.warning(
                    "resource %s: callers of %s who are refused are sent to its metadata, which is answered with 401 "
                    "here; %sname it in public_paths of the outer AuthzMiddleware: %s",
                    identifier.identifier,
                    node.shown_path,
                    "take the policy from the mount to the routes in it, and " if is_guarded else "",
                    path,
                )


def announce_path_params(route_map: RouteMap, given: Collection[str]) -> None:
    """Name policies that ask for a path parameter which no route of theirs has, so that nobody ever meets them.

    And those that compare a claim with text, where a handler reads the parameter as a number. `given` are the
    parameters of mounts around.
    """
    asking: dict[Term, tuple[str, list[Node]]] = {}
    for node, around in route_map.descend():
        for term, name in _compared(node.all_stated):
            asking.setdefault(term, (name, []))[1].append(node)
        compared = [
            (term, name) for term, name in _compared((*around, *node.all_stated)) if isinstance(term, ClaimTerm)
        ]
        numbers = _numbers_of(node) if compared else {}
        for term, name in compared:
            if name in numbers:
                _log.warning(
                    "%r compares with text, although the handler of %s reads a number; where the claim is one, write "
                    "{%s:%s} in the path",
                    *(term, node.shown, name, numbers[name]),
                )
    for term, (name, nodes) in asking.items():
        if name not in given and not any(name in _parameters_of(node) for node in nodes):
            _log.warning(
                "nobody ever meets %r: no path parameter is called %r where it is stated: %s",
                *(term, name, ", ".join(dict.fromkeys(node.shown for node in nodes))),
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


def _compared(accesses: Iterable[Access]) -> Iterator[tuple[Term, str]]:
    """Yield every term that is compared with a path parameter, and the parameter's name."""
    for access in accesses:
        for term in access.terms if isinstance(access, Policy) else ():
            operand = getattr(term, "operand", None)
            if isinstance(operand, PathParam):
                yield term, operand.name


def _parameters_of(node: Node) -> Mapping[str, str]:
    """Return the path parameters of a node by name, those of mounts around it too, each with its convertor or ""."""
    return dict(PARAM_REGEX.findall(node.path))


def _numbers_of(node: Node) -> Mapping[str, str]:
    """Return path parameters without a convertor that a handler reads as a number, each with the convertor to write."""
    texts = {name for name, convertor in _parameters_of(node).items() if not convertor}
    kinds = {name: kind for name, kind in fields_of(node.route) if name in texts and isinstance(kind, type)}
    numbers = {name: kind for name, kind in kinds.items() if issubclass(kind, int | float)}
    return {name: "int" if issubclass(kind, int) else "float" for name, kind in numbers.items()}


def _has(kind: type, app: object) -> bool:
    """Tell whether middleware of this kind stands between an application and its routes, or will."""
    return any(True for _ in _between(kind, app))


def _between(kind: type, app: object) -> Iterator[object]:
    """Yield middleware of a kind that stands between an application and its routes; or as what it was added."""
    for each in wrappers(app):
        if isinstance(each, kind):
            yield each
        if isinstance(each, Starlette):
            yield from (m for m in each.user_middleware if isinstance(m.cls, type) and issubclass(m.cls, kind))
            return
        if isinstance(each, Router):
            yield from (one for one in wrappers(each.middleware_stack) if isinstance(one, kind))
            return
        if router_of(each) is not None:
            return


def _resources_of(node: Node, ours: type) -> Iterator[ProtectedResource]:
    """Yield what mounted applications with a middleware of ours publish about themselves."""
    for one in _between(ours, node.route.app) if node.children is not None else ():
        identifier = one.kwargs.get("resource") if isinstance(one, Middleware) else getattr(one, "resource", None)
        if isinstance(identifier, str):
            yield ProtectedResource(identifier, ())


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
