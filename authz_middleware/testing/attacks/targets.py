"""What is attacked: every route of an application as requests that reach it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from starlette.convertors import CONVERTOR_TYPES
from starlette.types import Scope

from ...audit import RouteEntry
from ...errors import ConfigurationError
from ...middleware import AuthzMiddleware
from ...policy import AUTHENTICATED, Access, Kind, Policy, Public, TokenRequest
from ...policy.core import GrantTerm
from ...token import AccessToken
from .wire import Attempt, make_scope

__all__ = ["Target", "targets_of"]

_PARAMETER = re.compile(r"{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?}")
SAMPLES = ("authz-attack", "730313", "7303.13", "00000000-0000-4000-8000-000000730313", "2001-02-03", "a", "1", "en")
"""Values to fill path parameters with, unlikely to be the path of another route; the first that fits is taken."""
ANY_METHOD = ("GET", "POST")
"""What is sent to a route that takes every method."""


@dataclass(frozen=True, slots=True)
class Target:
    """One request, but for what it carries.

    Attributes:
        kind: the ASGI type of the connection. method: empty for a WebSocket.
        path: with values in the place of parameters. host: None: any.
        path_params: those values, as the application gets them.
        route: the path template, to name it. access: what the route states.
    """

    kind: Literal["http", "websocket"]
    method: str
    path: str
    host: str | None
    route: str
    access: Access | None
    path_params: Mapping[str, object] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.method or 'WebSocket'} {self.route}"

    @property
    def is_public(self) -> bool:
        """Whether it answers callers without credentials."""
        return isinstance(self.access, Public)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The grants that the route asks for; empty: none in particular."""
        if not isinstance(self.access, Policy):
            return ()
        return tuple(dict.fromkeys(term.value for term in self.access.terms if isinstance(term, GrantTerm)))

    def may_admit(self, token: AccessToken) -> bool:
        """Tell whether a token gets in by what is no grant, if the application's own checks all say yes.

        Grants are not asked for: an attack carries none of those wanted, and who asked would believe what is attacked.
        """
        policy = self.access if isinstance(self.access, Policy) else AUTHENTICATED
        request = TokenRequest(token, self.path_params)
        return any(
            all(not isinstance(term, GrantTerm) and (term.kind is Kind.CHECK or term.holds(request)) for term in terms)
            for terms in policy.alternatives
        )

    def scope(self, base_url: str, attempt: Attempt) -> Scope:
        """Return the ASGI scope of an attempt on this target."""
        url = urlsplit(base_url)
        where = f"{url.scheme}://{self.host or url.netloc}{quote(self.path)}"
        return make_scope(self.kind, self.method, where, attempt)


def targets_of(entries: Iterable[RouteEntry], values: Mapping[str, object]) -> Iterator[Target]:
    """Yield the requests that reach these routes, `values` in the place of path parameters of these names.

    Raises:
        ConfigurationError: no value is known that fits a parameter.
    """
    for entry in entries:
        if isinstance(entry.route, AuthzMiddleware):
            continue  # its metadata, which it serves to anybody, whatever the credentials
        path, params = _fill(_template_of(entry), values)
        host, slash, rest = path.partition("/")
        for kind, method in _requests(entry):
            yield Target(kind, method, slash + rest, host or None, entry.path, entry.access, params)


def _template_of(entry: RouteEntry) -> str:
    """Return the template of a path that leads to an entry; of a tree, something in it."""
    return f"{entry.path.rstrip('/')}/{SAMPLES[0]}" if entry.kind == "application" else entry.path


def _requests(entry: RouteEntry) -> Iterator[tuple[Literal["http", "websocket"], str]]:
    if entry.kind == "websocket":
        yield "websocket", ""
        return
    for method in entry.methods or ANY_METHOD:
        yield "http", method
    if entry.kind == "application":
        yield "websocket", ""


def _fill(template: str, values: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """Return a template with values in the place of its parameters, and the parameters as the application gets them."""
    params: dict[str, object] = {}

    def fill(parameter: re.Match[str]) -> str:
        name, convertor = parameter[1], CONVERTOR_TYPES[parameter[2] or "str"]
        value = _value(template, name, convertor.regex, values)
        params[name] = convertor.convert(value)
        return value

    return _PARAMETER.sub(fill, template), params


def _value(template: str, name: str, pattern: str, values: Mapping[str, object]) -> str:
    """Return a value for one path parameter that its convertor takes: the one given, wherever that fits."""
    given = [str(values[name])] if name in values else []
    for value in [*given, *SAMPLES]:
        if re.fullmatch(pattern, value):
            return value
    raise ConfigurationError(
        f"attack_suite: no value is known for {{{name}}} of {template}; "
        f'write attack_suite(…, path_values={{"{name}": "…"}})'
    )
