"""The reference pages, made from the code: signatures, and what the docstrings say.

`python -m tests.reference` writes them anew; `test_docs.py` compares them with what is in `docs/reference`.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import EnumType
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from authz_middleware import cli

__all__ = ["FOLDER", "PAGES", "Page", "command_line", "names_of", "parameters_of", "rendered"]

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
WIDTH = 100
MADE = "<!-- Made from the code by `python -m tests.reference`; edit the docstrings, not this page. -->"
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$", re.MULTILINE)
NAMES = re.compile(r"(?:^|(?<=\. ))(?:\w+, )*\w+(?=: )")
"""What an item of a section is about: at its beginning, and after a sentence."""
TITLES = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises"}


@dataclass(frozen=True)
class Page:
    """One page: what is documented, and what is said above it.

    `names`: left out, all that the module exports. `first`: those that stand before the others, and the classes after
    all. `left_out`: exports that no application needs.
    """

    file: str
    title: str
    module: str
    intro: str
    names: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


PAGES = (
    Page(
        "api.md",
        "authz_middleware",
        "authz_middleware",
        "What an application needs: the middleware, whom to trust, and what routes state. "
        "How the parts work together is shown in the [tutorial](../tutorial.md). "
        "What an `AccessToken` holds in `grants` is on the page [token](token.md).",
    ),
    Page(
        "token.md",
        "authz_middleware.token",
        "authz_middleware.token",
        "What a validated token says. What of it counts is explained in "
        "[scope versus permission](../explanation/scope-versus-permission.md).",
    ),
    Page(
        "policy.md",
        "authz_middleware.policy",
        "authz_middleware.policy",
        "Policies as values. Write `policy.scope`, `policy.permission`, `policy.role`, `policy.any_of`, and compose "
        "with `&` and `|`; `policy.decide` tells what a policy makes of a caller, and why. What applications use comes "
        "first. From `AUTHENTICATED` on, the names are for whoever builds on policies: the OpenAPI document and the "
        "route table use them. How to write policies is shown in [policies](../how-to/policies.md).",
        first=(
            *("scope", "permission", "role", "group", "claim", "subject", "client", "tenant", "machine", "user"),
            *("check", "path_param", "any_of", "all_of", "decide", "TokenRequest", "AccessRequest", "Decision"),
        ),
        left_out=("NOTHING_CHECKED",),
    ),
    Page(
        "errors.md",
        "authz_middleware.errors",
        "authz_middleware.errors",
        "Every refusal, and the mistake of an application. The sentences on the wire are in "
        "[answers.md](../answers.md).",
    ),
    Page(
        "fastapi.md",
        "authz_middleware.fastapi",
        "authz_middleware.fastapi",
        "For FastAPI applications; needs the extra `fastapi`. See [OpenAPI and Swagger UI](../how-to/openapi.md).",
    ),
    Page(
        "mcp.md",
        "authz_middleware.mcp",
        "authz_middleware.mcp",
        "For MCP servers built with the Python SDK; needs the extra `mcp`. See "
        "[guard an MCP server](../how-to/mcp.md).",
    ),
    Page(
        "testing.md",
        "authz_middleware.testing",
        "authz_middleware.testing",
        "For tests and development. See [testing](../how-to/testing.md). The fixtures `local_issuer` and "
        '`local_signing_key` come with `pytest_plugins = ["authz_middleware.testing.plugin"]`.',
    ),
    Page(
        "audit.md",
        "authz_middleware.audit",
        "authz_middleware.audit",
        "The route table. See [operations](../how-to/operations.md), and [`authz routes`](command-line.md).",
    ),
    Page(
        "dialects.md",
        "authz_middleware.dialects",
        "authz_middleware.dialects",
        "The table of a dialect, for a provider that this package has none for. "
        "[An example](../how-to/from-fastapi-azure-auth.md).",
        ("Dialect",),
    ),
    Page(
        "keys.md",
        "authz_middleware.keys",
        "authz_middleware.keys",
        "What can be passed as `TrustedIssuer(keys=…)`, `fetch=…` and `key_settings=…`.",
        (
            "KeySource",
            "VerificationKey",
            "StaticJWKS",
            "RemoteJWKS",
            "KeyStatus",
            "KeyState",
            "Fetch",
            "Fetched",
            "FetchFailed",
            "KeySettings",
        ),
    ),
    Page(
        "observe.md",
        "authz_middleware.observe",
        "authz_middleware.observe",
        "What `AuthzMiddleware(on_decision=…)` is called with. See [operations](../how-to/operations.md).",
        ("RequestDecision",),
    ),
    Page(
        "readiness.md",
        "authz_middleware.readiness",
        "authz_middleware.readiness",
        "A ready-made readiness check. See [operations](../how-to/operations.md#ready-and-warm).",
        ("readiness",),
    ),
)


def names_of(page: Page) -> tuple[str, ...]:
    """Return what a page documents."""
    module = import_module(page.module)
    if page.names or not page.first:
        return page.names or tuple(module.__all__)
    others = [name for name in module.__all__ if name not in {*page.first, *page.left_out}]
    return (*page.first, *sorted(others, key=lambda name: inspect.isclass(getattr(module, name))))


def rendered(page: Page) -> str:
    """Return a page as it should be."""
    module = import_module(page.module)
    parts = [MADE, f"# {page.title}", page.intro]
    documented = frozenset(getattr(module, name) for name in names_of(page) if inspect.isclass(getattr(module, name)))
    for name in names_of(page):
        parts += [f"## {name}", *_entry(module, name, documented)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _entry(module: ModuleType, name: str, documented: frozenset[type]) -> Iterator[str]:
    value = getattr(module, name)
    if inspect.ismodule(value):
        yield f"The module [{value.__name__}]({name}.md)."
    elif isinstance(value, EnumType):
        yield from _documented(inspect.getdoc(value) or "")
        yield "\n".join(f"* `{member}`" for member in map(str, value))  # all of ours are strings
    elif inspect.isclass(value):
        yield from _class_entry(name, value, documented)
    elif inspect.isroutine(value):
        yield _signature(name, value)
        yield from _documented(inspect.getdoc(value) or "")
    else:
        yield _assigned_doc(module, name)


def _class_entry(name: str, value: type, documented: frozenset[type]) -> Iterator[str]:
    if parameters_of(value):
        yield _signature(name, value)
    yield from _documented(inspect.getdoc(value) or "")
    bases = [base for base in value.__mro__[1:] if base in documented]
    if bases:
        yield f"Inherits from [{bases[0].__name__}](#{bases[0].__name__.lower()})."
    for method, function in _methods_of(value, bases):
        yield f"### {name}.{method}"
        if isinstance(function, property):
            yield from _documented(inspect.getdoc(function) or "")
        else:
            yield _signature(method, getattr(value, method))
            yield from _documented(inspect.getdoc(function) or "")


def _methods_of(value: type, bases: list[type]) -> Iterator[tuple[str, Any]]:
    """Yield what a class of ours defines for its users, inherited or not; but for what its `bases` on the page have."""
    seen = {name for base in bases for name in dir(base)}
    for owner in value.__mro__:
        if not owner.__module__.startswith("authz_middleware"):
            continue
        for name, member in vars(owner).items():
            inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if name.startswith("_") or name in seen or not (inspect.isfunction(inner) or isinstance(inner, property)):
                continue
            seen.add(name)
            if inspect.getdoc(inner):
                yield name, inner


# --- signatures -------------------------------------------------------------------------------------------------------


def parameters_of(value: Any) -> list[inspect.Parameter]:
    """Return the parameters that somebody who calls this gives; none for what nobody calls."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return []
    plain = inspect.isclass(value) and value.__init__ in {object.__init__, Exception.__init__, ValueError.__init__}
    return [] if plain or getattr(value, "_is_protocol", False) else [p for p in parameters if p.name != "self"]


def _signature(name: str, value: Any) -> str:
    """Return a call as a block, on as many lines as it needs."""
    words = [_parameter(parameter) for parameter in parameters_of(value)]
    for index, parameter in enumerate(parameters_of(value)):
        if parameter.kind is parameter.KEYWORD_ONLY:
            if not any(p.kind is p.VAR_POSITIONAL for p in parameters_of(value)):
                words.insert(index, "*")
            break
    result = getattr(inspect.signature(value), "return_annotation", inspect.Signature.empty)
    arrow = "" if result is inspect.Signature.empty or inspect.isclass(value) else f" -> {_annotation(result)}"
    prefix = "async " if inspect.iscoroutinefunction(value) else ""
    line = f"{prefix}{name}({', '.join(words)}){arrow}"
    if len(line) > WIDTH:
        line = f"{prefix}{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){arrow}"
    return f"```text\n{line}\n```"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = (
        "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    )
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {_default(parameter.default)}"
    return text


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return str(text).replace("typing.", "")


def _default(value: Any) -> str:
    if isinstance(value, frozenset) and value:
        return f"frozenset({{{', '.join(sorted(map(repr, value)))}}})"
    return f"{value.__module__}.{value.__qualname__}" if inspect.isroutine(value) else repr(value)


# --- docstrings -------------------------------------------------------------------------------------------------------


def _documented(text: str) -> Iterator[str]:
    """Yield a docstring as Markdown: paragraphs, and each section as a list."""
    head, *sections = SECTION.split(text)
    if head.strip():
        yield head.strip()
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        items = _items(body)
        if items:
            yield f"**{TITLES.get(title, title)}**"
            yield "\n".join(f"* {item}" for item in items)


def _items(body: str) -> list[str]:
    """Return the items of a section: one for each line that is not a continuation."""
    items: list[str] = []
    for line in textwrap.dedent(body).strip().splitlines():
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        elif line.strip():
            items.append(line.strip())
    return [NAMES.sub(lambda match: re.sub(r"\w+", r"`\g<0>`", match[0]), item) for item in items]


def _assigned_doc(module: ModuleType, name: str) -> str:
    """Return the string below an assignment: what documents a constant. It may stand in the module it comes from."""
    value = getattr(module, name)
    for source in (module, *(m for key, m in sorted(sys.modules.items()) if key.startswith("authz_middleware."))):
        if getattr(source, name, None) is not value or source.__file__ is None:
            continue
        body = ast.parse(Path(source.__file__).read_text(encoding="utf-8")).body
        for statement, following in pairwise(body):
            targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
            is_it = any(isinstance(target, ast.Name) and target.id == name for target in targets)
            if is_it and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                return inspect.cleandoc(str(following.value.value))
    # What Python says about a type of its own says nothing about the value.
    return (inspect.getdoc(value) or "") if type(value).__module__.startswith("authz_middleware") else ""


# --- the command line -------------------------------------------------------------------------------------------------


def command_line() -> str:
    """Return the page about `authz`."""
    parts = [
        MADE,
        "# The command line",
        "`authz` comes with the package; `python -m authz_middleware.cli` is the same. Every command says more with "
        "`--help`.",
    ]
    for name, parser in _commands().items():
        parts += [f"## authz {name}", (parser.description or "").strip(), _options(parser)]
        if parser.epilog:
            parts.append(parser.epilog.strip())
    return "\n\n".join(part for part in parts if part) + "\n"


def _commands() -> dict[str, argparse.ArgumentParser]:
    actions = cli._make_parser()._actions
    return next(dict(a.choices or {}) for a in actions if isinstance(a, argparse._SubParsersAction))


def _options(parser: argparse.ArgumentParser) -> str:
    rows = ["| argument | |", "|---|---|"]
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if action.option_strings and action.nargs != 0:
            names += f" {action.metavar or action.dest.upper()}"
        rows.append(f"| `{names}` | {(action.help or '').replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        (FOLDER / page.file).write_text(rendered(page), encoding="utf-8")
    (FOLDER / "command-line.md").write_text(command_line(), encoding="utf-8")


if __name__ == "__main__":
    main()
