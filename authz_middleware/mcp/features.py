"""What an MCP server offers: its tools, resources, templates and prompts, and what each states about who may use it.

The SDK keeps them under names of its own, which only `catalogue_of` knows.

Sources: the MCP specification, "Tools", "Resources", "Prompts" and "Completion".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..decorators import decorated_too_late, stated_access
from ..errors import ConfigurationError
from ..policy import Access

__all__ = ["Catalogue", "Feature", "Kind", "catalogue_of", "features"]

Kind = Literal["tool", "resource", "template", "prompt", "method"]
"""What a feature is. `method`: a handler of a low-level `Server`, which knows no tools but one function for all."""

DECIDED = ("tools/call", "resources/read", "prompts/get", "completion/complete")
"""The methods that use a feature. The others tell what there is, or manage the connection."""
COMPLETE = "completion/complete"
REGISTRIES = ("_tool_manager", "_resource_manager", "_prompt_manager", "_lowlevel_server")
"""Where an `MCPServer` keeps what it offers. Private names: where one changes, no server is served."""
PLACES: dict[Kind, str] = {
    "tool": "below @server.tool()",
    "resource": "below @server.resource(…)",
    "template": "below @server.resource(…)",
    "prompt": "below @server.prompt()",
    "method": "below @server.completion(), or before Server(…) is given the function",
}
"""Where a decorator must stand."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing a caller may use, and what it states.

    Attributes:
        kind: `tool`, `resource`, `template`, `prompt`, or `method`: a handler of a low-level `Server`.
        name: of a tool or prompt; the URI of a resource, the URI template of a template, the name of a method.
        access: what its function was decorated with; None: nothing.
    """

    kind: Kind
    name: str
    access: Access | None

    @property
    def is_unguarded(self) -> bool:
        """Whether somebody should look at it: nothing is stated."""
        return self.access is None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {'states nothing' if self.access is None else repr(self.access)}"

    __repr__ = __str__  # short: it is read in failed assertions


def features(server: object) -> tuple[Feature, ...]:
    """Return every tool, resource, template and prompt of an MCP server, each with what it states.

    Of a server of the lower level: the handlers that use them.

    Raises:
        ConfigurationError: a decorator stands where it guards nothing; every such place is listed. Or this is no MCP
            server of a kind that is known here.
    """
    return catalogue_of(server).features()


class Catalogue(Protocol):
    """What a server offers, as it is now: tools may come and go."""

    def features(self) -> tuple[Feature, ...]:
        """Return all of it."""
        ...

    def used_by(self, method: str, params: Mapping[str, Any]) -> tuple[Feature, ...]:
        """Return what a message uses. Nothing: what the message names does not exist, or it only looks around."""
        ...


def catalogue_of(server: Any) -> Catalogue:
    """Return what a server offers.

    Raises:
        ConfigurationError: it is not known how this kind of server keeps that.
    """
    if callable(getattr(server, "get_request_handler", None)):
        return _Handlers(server)
    try:
        tools, resources, prompts, low_level = (getattr(server, name) for name in REGISTRIES)
    except AttributeError:
        raise ConfigurationError(
            f"what a {type(server).__name__} offers cannot be listed, so it cannot be guarded; pass the MCPServer, or "
            "the low-level Server, of the MCP SDK 2.3"
        ) from None
    return _Registered(tools, resources, prompts, _Handlers(low_level))


# --- servers with tools -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Registered:
    """What an `MCPServer` offers: the SDK's own three registries, which it looks names up in."""

    tools: Any
    resources: Any
    prompts: Any
    handlers: _Handlers

    def features(self) -> tuple[Feature, ...]:
        offered = list(self._all())
        faults = [fault for each in offered for fault in _faults_of(*each)]
        if faults:
            raise ConfigurationError(*faults)
        found = (_feature(*each) for each in offered)
        return tuple(feature for feature in found if feature.kind != "method" or feature.access is not None)

    def _all(self) -> Iterator[tuple[Kind, str, object]]:
        for tool in self.tools.list_tools():
            yield "tool", tool.name, tool.fn
        for resource in self.resources.list_resources():
            yield "resource", str(resource.uri), _function_of(resource)
        for template in self.resources.list_templates():
            yield "template", template.uri_template, _as_given(template.fn)
        for prompt in self.prompts.list_prompts():
            yield "prompt", prompt.name, _as_given(prompt.fn)
        yield "method", COMPLETE, self.handlers.completion()

    def used_by(self, method: str, params: Mapping[str, Any]) -> tuple[Feature, ...]:
        match method:
            case "tools/call":
                return tuple(self._tool(params.get("name")))
            case "resources/read":
                return tuple(self._resource(params.get("uri")))
            case "prompts/get":
                return tuple(self._prompt(params.get("name")))
            case "completion/complete" if self.handlers.completion() is not None:
                return tuple(self._completion(params.get("ref")))
        return ()

    def _tool(self, name: object) -> Iterator[Feature]:
        tool = self.tools.get_tool(name) if isinstance(name, str) else None
        if tool is not None:
            yield _feature("tool", tool.name, tool.fn)

    def _prompt(self, name: object) -> Iterator[Feature]:
        prompt = self.prompts.get_prompt(name) if isinstance(name, str) else None
        if prompt is not None:
            yield _feature("prompt", prompt.name, _as_given(prompt.fn))

    def _resource(self, uri: object) -> Iterator[Feature]:
        """Yield the resource of this URI, or the first template that it matches: the order of the SDK."""
        for resource in self.resources.list_resources():
            if str(resource.uri) == uri:
                yield _feature("resource", str(resource.uri), _function_of(resource))
                return
        for template in self.resources.list_templates() if isinstance(uri, str) else ():
            if template.parsed_template.match(uri) is not None:
                yield self._template(template)
                return

    def _completion(self, ref: object) -> Iterator[Feature]:
        """Yield what arguments are completed for, and the function that does it, if it states something itself.

        A client names a prompt or a resource. One that puts both in may get either from the SDK: so both are decided.
        """
        own = _feature("method", COMPLETE, self.handlers.completion())
        named = ref if isinstance(ref, Mapping) else {}
        meant = [*self._prompt(named.get("name")), *self._completed_resource(named.get("uri"))]
        yield from meant
        if own.access is not None or not meant:
            yield own

    def _completed_resource(self, uri: object) -> Iterator[Feature]:
        templates = [template for template in self.resources.list_templates() if template.uri_template == uri]
        yield from map(self._template, templates) if templates else self._resource(uri)

    def _template(self, template: Any) -> Feature:
        return _feature("template", template.uri_template, _as_given(template.fn))


def _as_given(function: Any) -> object:
    """Return a function as the SDK was given it: pydantic's wrapper, which the SDK adds, keeps it by this name."""
    return getattr(function, "raw_function", function)


def _function_of(resource: Any) -> object:
    """Return what reads a resource: the function it was made from, or the method of a class of the application's."""
    function = getattr(resource, "fn", None)
    return resource.read if function is None else _as_given(function)


def _feature(kind: Kind, name: str, function: object) -> Feature:
    """Return a feature with what its function states.

    Raises:
        ConfigurationError: it was decorated after the SDK got it.
    """
    faults = list(_faults_of(kind, name, function))
    if faults:
        raise ConfigurationError(*faults)
    return Feature(kind, name, stated_access(function))


def _faults_of(kind: Kind, name: str, function: object) -> Iterator[str]:
    late = decorated_too_late(function)
    if late is not None:
        yield (
            f"{kind} {name}: @{late} stands above the SDK's decorator, or guards a copy that the server does not call; "
            f"write it {PLACES[kind]}, next to the function"
        )


# --- servers of the lower level ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Handlers:
    """What a low-level `Server` offers: one handler for each method, which does all the telling apart."""

    server: Any

    def features(self) -> tuple[Feature, ...]:
        return tuple(feature for method in DECIDED for feature in self.used_by(method, {}))

    def used_by(self, method: str, params: Mapping[str, Any]) -> tuple[Feature, ...]:  # noqa: ARG002 - all one to it
        handler = self._handler(method) if method in DECIDED else None
        return () if handler is None else (_feature("method", method, handler),)

    def completion(self) -> object:
        """Return the function behind `@server.completion()`, which the SDK hides in a closure."""
        handler = self._handler(COMPLETE)
        cells = getattr(handler, "__closure__", None) or ()
        return next((cell.cell_contents for cell in cells if callable(cell.cell_contents)), handler)

    def _handler(self, method: str) -> Any:
        entry = self.server.get_request_handler(method)
        return None if entry is None else entry.handler
