"""The manifest of requirements and the tests agree, in both directions."""

import ast
from pathlib import Path

import pytest

from .requirements import REQUIREMENTS, Requirement

TESTS = Path(__file__).parent
ABOUT_STANDARDS = {
    "test_challenge",
    "test_dialects",
    "test_effective_grants",
    "test_jose",
    "test_validator",
    "keys/test_discovery",
    "keys/test_fetch",
    "keys/test_jwks",
    "interop/test_refusals",
}


def functions_of(module: str) -> set[str]:
    tree = ast.parse((TESTS / f"{module}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.id)
def test_a_requirement_is_tested(requirement: Requirement) -> None:
    assert requirement.tests
    for name in requirement.tests:
        module, _, function = name.partition("::")
        assert function in functions_of(module), name


def test_ids_are_unique() -> None:
    assert len({requirement.id for requirement in REQUIREMENTS}) == len(REQUIREMENTS)


def test_every_module_about_standards_is_named() -> None:
    named = {name.partition("::")[0] for requirement in REQUIREMENTS for name in requirement.tests}
    assert named >= ABOUT_STANDARDS
