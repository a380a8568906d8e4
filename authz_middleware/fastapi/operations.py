"""Say in an OpenAPI document who may call each operation. Source: OpenAPI 3.1, security requirement objects.

Everything here changes a document it is given; nothing is fetched, and no application is looked at.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..keys.discovery import CodeFlow, metadata_urls
from ..policy import Policy, Public
from .enforced import METHODS, REFUSED, Enforced, Operations
from .responses import PROBLEM, forbidden, unauthorized, unavailable
from .wording import describe_access, scope_sets, takes_any_token

__all__ = ["Scheme", "add_access"]

MAX_USERS = 3

Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a client gets a token: by the code flow, or, where its endpoints are not known, by OpenID Connect.

    `texts` are descriptions of scopes; those that no policy names are listed as well. `bearer`: the document does not
    say how, only that a token is needed.
    """

    issuer: str
    code_flow: CodeFlow | None
    texts: Mapping[str, str]
    bearer: bool = False

    def definition(self, used: Mapping[str, str]) -> dict[str, object]:
        """Return the security scheme object. `used` are the scopes in use, with descriptions for want of better."""
        about = "An access token (RFC 6750), sent as `Authorization: Bearer …`."
        if self.bearer:
            return {"type": "http", "description": about, "scheme": "bearer", "bearerFormat": "JWT"}
        if self.code_flow is None:
            url, _ = metadata_urls(self.issuer)
            return {"type": "openIdConnect", "description": about, "openIdConnectUrl": url}
        texts = {**used, **self.texts}
        flow = {
            "authorizationUrl": self.code_flow.authorization_endpoint,
            "tokenUrl": self.code_flow.token_endpoint,
            "scopes": {scope: texts[scope] for scope in sorted(texts)},
        }
        return {"type": "oauth2", "description": about, "flows": {"authorizationCode": flow}}


def add_access(document: dict[str, Any], operations: Operations, scheme: Scheme) -> None:
    """Add the scheme, each operation's requirements, and the refusals. What the application documents itself is kept.

    Where refusals are only reported, none is added, and no token is an alternative to the right one. A malformed
    `Authorization` header is answered with 400 whatever is called; that is not listed.
    """
    components = document.setdefault("components", {})
    used = _users_of_scopes(document, operations)
    name = _put(components, "securitySchemes", "AccessToken", scheme.definition(used))
    problem = _reference("schemas", _put(components, "schemas", "AccessProblem", PROBLEM))
    responses = {"Unauthorized": unauthorized(problem), "KeysUnavailable": unavailable(problem)}
    for_all = {
        status: {"$ref": _reference("responses", _put(components, "responses", title, responses[title]))}
        for status, title in (("401", "Unauthorized"), ("503", "KeysUnavailable"))
    }
    inherited = document.get("security", [])
    for path, method, operation in _operations(document):
        enforced = operations.get((path, method), REFUSED)
        _add_description(operation, enforced)
        _add_security(operation, enforced, name, inherited)
        if not enforced.is_reported:
            _add_responses(operation, {**for_all, **_forbidden(enforced, problem)})


def _forbidden(enforced: Enforced, problem: str) -> dict[str, object]:
    """Return the response to a good token that does not suffice, by its status; none where any will do."""
    access = enforced.access
    return {} if isinstance(access, Public) or takes_any_token(access) else {"403": forbidden(access, problem)}


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method.lower() in item:
                yield path, method, item[method.lower()]


def _users_of_scopes(document: Mapping[str, Any], operations: Operations) -> dict[str, str]:
    """Return every scope in use, with a sentence that names the operations that use it."""
    users: dict[str, list[str]] = {}
    for path, method, _ in _operations(document):
        access = operations.get((path, method), REFUSED).access
        scopes = [scope for scopes in scope_sets(access) for scope in scopes] if isinstance(access, Policy) else []
        for scope in dict.fromkeys(scopes):
            users.setdefault(scope, []).append(f"{method} {path}")
    return {scope: _used_by(names) for scope, names in users.items()}


def _used_by(names: list[str]) -> str:
    more = len(names) - MAX_USERS
    return "Used by " + ", ".join(names[:MAX_USERS]) + (f" and {more} more" if more > 0 else "") + "."


def _put(components: dict[str, Any], kind: str, name: str, value: object) -> str:
    """Put a component under a name that the application does not use for something else, and return the name."""
    named = components.setdefault(kind, {})
    while name in named and named[name] != value:
        name += "_"
    named[name] = copy.deepcopy(value)  # the document is the application's, to change as it likes
    return name


def _reference(kind: str, name: str) -> str:
    return f"#/components/{kind}/{name}"


def _add_description(operation: Operation, enforced: Enforced) -> None:
    line = describe_access(enforced.access, is_reported=enforced.is_reported)
    described = operation.get("description", "")
    if line not in described:
        operation["description"] = f"{described}\n\n{line}".strip()


def _add_security(operation: Operation, enforced: Enforced, name: str, inherited: list[dict[str, Any]]) -> None:
    """Require a token beside what the application requires: both are checked, so each alternative names both."""
    access = enforced.access
    stated: list[dict[str, Any]] = operation.get("security", inherited)
    if isinstance(access, Public):
        if not stated:
            operation["security"] = []  # no padlock, and Swagger UI sends no token that might be refused
        return
    sets = [[]] if access is None else scope_sets(access)
    combined = [{**own, name: scopes} for own, scopes in product(stated or [{}], sets)]
    combined += (stated or [{}]) if enforced.is_reported else []
    operation["security"] = [one for index, one in enumerate(combined) if one not in combined[:index]]


def _add_responses(operation: Operation, responses: Mapping[str, object]) -> None:
    """Add responses, unless the application documents that status, its range, or every other one."""
    own = operation.setdefault("responses", {})
    stated = set(own)
    for status in sorted(responses):
        if not {status, f"{status[0]}XX", "default"} & stated:
            own[status] = copy.deepcopy(responses[status])
