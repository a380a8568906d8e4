"""The documents say what the code does: snippets run, tables agree."""

import inspect
import re
from pathlib import Path

import pytest

from authz_middleware import AuthzMiddleware, TrustedIssuer
from authz_middleware.errors import ANSWERS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import " in code]


def test_the_readme_has_snippets() -> None:
    assert len(SNIPPETS) >= 4


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_readme_snippet_runs(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "snippet"})


def test_the_answers_page_is_the_closed_table() -> None:
    page = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (?:`(\w+)`|none) \| (.*) \|$", page, re.MULTILINE)
    expected = [(code.value, str(answer.status), answer.error or "", answer.detail) for code, answer in ANSWERS.items()]
    assert rows == expected


@pytest.mark.parametrize("configured", [TrustedIssuer, AuthzMiddleware])
def test_the_readme_lists_every_argument(configured: type) -> None:
    arguments = set(inspect.signature(configured).parameters) - {"app", "issuers", "issuer", "audience"}
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", README, re.MULTILINE)
    listed = {name for row in rows for name in row.split(", ")}
    assert {f"`{name}`" for name in arguments} <= listed
