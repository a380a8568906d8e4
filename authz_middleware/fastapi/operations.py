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
from ..policy import Access, Policy, Public
from .responses import PROBLEM, forbidden, unauthorized, unavailable
from .wording import describe_access, scope_sets, takes_any_token

__all__ = ["Accesses", "Scheme", "add_access"]

Accesses = Mapping[tuple[str, str], Access | None]
"""What is enforced for each operation, by path template and method; what is missing here is refused."""

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
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


def add_access(document: dict[str, Any], accesses: Accesses, scheme: Scheme) -> None:
    """Add the scheme, each operation's requirements, and the refusals. What the application documents itself is kept.

    A malformed `Authorization` header is answered with 400 whatever is called; that is not listed.
    """
    components = document.setdefault("components", {})
    used = _users_of_scopes(document, accesses)
    name = _put(components, "securitySchemes", "AccessToken", scheme.definition(used))
    problem = _reference("schemas", _put(components, "schemas", "AccessProblem", PROBLEM))
    for_all = {
        "401": _reference("responses", _put(components, "responses", "Unauthorized", unauthorized(problem))),
        "503": _reference("responses", _put(components, "responses", "KeysUnavailable", unavailable(problem))),
    }
    inherited = document.get("security", [])
    for path, method, operation in _operations(document):
        access = accesses.get((path, method))
        _add_description(operation, access)
        _add_security(operation, access, name, inherited)
        responses: dict[str, object] = {status: {"$ref": reference} for status, reference in for_all.items()}
        if not isinstance(access, Public) and not takes_any_token(access):
            responses["403"] = forbidden(access, problem)
        _add_responses(operation, responses)


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def _users_of_scopes(document: Mapping[str, Any], accesses: Accesses) -> dict[str, str]:
    """Return every scope in use, with a sentence that names the operations that use it."""
    users: dict[str, list[str]] = {}
    for path, method, _ in _operations(document):
        access = accesses.get((path, method))
        scopes = [scope for scopes in scope_sets(access) for scope in scopes] if isinstance(access, Policy) else []
        for scope in dict.fromkeys(scopes):
            users.setdefault(scope, []).append(f"{method} {path}")
    return {scope: _used_by(operations) for scope, operations in users.items()}


def _used_by(operations: list[str]) -> str:
    more = len(operations) - MAX_USERS
    return "Used by " + ", ".join(operations[:MAX_USERS]) + (f" and {more} more" if more > 0 else "") + "."


def _put(components: dict[str, Any], kind: str, name: str, value: object) -> str:
    """Put a component under a name that the application does not use for something else, and return the name."""
    named = components.setdefault(kind, {})
    while name in named and named[name] != value:
        name += "_"
    named[name] = copy.deepcopy(value)  # the document is the application's, to change as it likes
    return name


def _reference(kind: str, name: str) -> str:
    return f"#/components/{kind}/{name}"


def _add_description(operation: Operation, access: Access | None) -> None:
    line = describe_access(access)
    described = operation.get("description", "")
    if line not in described:
        operation["description"] = f"{described}\n\n{line}".strip()


def _add_security(operation: Operation, access: Access | None, name: str, inherited: list[dict[str, Any]]) -> None:
    """Require a token beside what the application requires: both are checked, so each alternative names both."""
    stated: list[dict[str, Any]] = operation.get("security", inherited)
    if isinstance(access, Public):
        if not stated:
            operation["security"] = []  # no padlock, and Swagger UI sends no token that might be refused
        return
    sets = [[]] if access is None else scope_sets(access)
    combined = [{**own, name: scopes} for own, scopes in product(stated or [{}], sets)]
    operation["security"] = [one for index, one in enumerate(combined) if one not in combined[:index]]


def _add_responses(operation: Operation, responses: Mapping[str, object]) -> None:
    """Add responses, unless the application documents that status, its range, or every other one."""
    own = operation.setdefault("responses", {})
    stated = set(own)
    for status in sorted(responses):
        if not {status, f"{status[0]}XX", "default"} & stated:
            own[status] = copy.deepcopy(responses[status])
