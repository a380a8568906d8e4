"""The documents say what the code does: snippets run, output is compared, tables and reference agree with the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from authz_middleware import AuthzMiddleware, TrustedIssuer
from authz_middleware.errors import ANSWERS

from . import reference
from .pages import NEEDS, blocks_of, run_page
from .printed import is_like

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import " in code]
DOCUMENTS = sorted(DOCS.rglob("*.md"))
REFERENCE = [page for page in DOCUMENTS if page.parent.name == "reference"]
TABLES = {"answers.md", "keys.md"}
"""Pages of tables and figures; other tests hold them to the code."""
STORIES = [ROOT / "README.md", *(page for page in DOCUMENTS if page not in REFERENCE and page.name not in TABLES)]
LONGEST = 300
"""Lines of a page that is read in one sitting."""
WIDEST = 120


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_blocks(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# --- the README -------------------------------------------------------------------------------------------------------


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


# --- pages as stories -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", STORIES, ids=name_of)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


def unannounced(page: Path) -> list[str]:
    """Return the places of blocks that are saved in a file, or at its end, unannounced: readers do not see titles."""
    saved = [(block, f"end of `{block.title}`" if block.appends else f"`{block.title}`") for block in blocks_of(page)]
    return [block.place for block, said in saved if block.title and said not in " ".join(block.lead.split())]


@pytest.mark.parametrize("page", STORIES, ids=name_of)
def test_a_page_says_where_its_files_go(page: Path) -> None:
    assert unannounced(page) == []


def test_few_blocks_are_not_run() -> None:
    marked = [name_of(page) for page in STORIES for block in blocks_of(page) if not block.may_run]
    assert marked == ["README.md", "docs/tutorial.md"]  # what they install needs the network


def test_few_blocks_need_what_is_not_installed_here() -> None:
    needed = [
        (page.stem, block.code.partition("\n")[0].removeprefix(NEEDS))
        for page in STORIES
        for block in blocks_of(page)
        if block.code.startswith(NEEDS)
    ]
    assert needed == [
        ("from-auth0-fastapi-api", "auth0-fastapi-api"),
        ("from-auth0-fastapi-api", "auth0-fastapi-api"),
        ("from-fastapi-azure-auth", "fastapi-azure-auth"),
        ("from-fastapi-azure-auth", "fastapi-azure-auth"),
        ("operations", "opentelemetry-sdk"),
    ]


@pytest.mark.parametrize("page", STORIES[1:], ids=name_of)
def test_a_page_is_read_in_one_sitting(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("page", STORIES, ids=name_of)
def test_prose_is_wrapped(page: Path) -> None:
    lines = without_blocks(page).splitlines()
    assert [line for line in lines if len(line) > WIDEST and not line.startswith("|")] == []


# --- how pages are run: what must fail --------------------------------------------------------------------------------

FENCE = "```"


def write(folder: Path, *blocks: str) -> Path:
    """Write a page of blocks, each given by its first line, without backticks, and its code."""
    page = folder / "page.md"
    page.write_text("\n\n".join(f"{FENCE}{block}\n{FENCE}" for block in blocks), encoding="utf-8")
    return page


@pytest.mark.parametrize(
    "blocks",
    [
        ["python\nprint(1)", "text\n2"],
        ["python\nprint(1)"],
        ["python\nx = 1", "text\n1"],
        ["text\n1"],
        ["python\nassert False"],
        ["python\nraise SystemExit"],
        ["yaml\nx: 1"],
        ['python title="app.py"\ndef'],
        ['python title="app.py"\nx = 1', 'diff title="app.py"\n-y = 1'],
        ["python untitled\nx = 1"],
        ["console\n$ rm -r /"],
        ["console\n$ authz nonsense\n…"],
        ["console\n$ authz --version\nauthz 0.0.0"],
        ["console\n$ curl localhost:8000/"],
        ["console\n$ TOKEN=eyJ…"],
        ['python title="hello.py"\nprint("hello")', "console\n$ python hello.py"],
        ['python title="test_x.py"\ndef test_x(): assert 0', "console\n$ python -m pytest -q\n…"],
        ['python not-run="it is broken"\ndef'],
    ],
    ids=lambda blocks: blocks[-1].replace("\n", " "),
)
def test_a_page_that_lies_fails(blocks: list[str], tmp_path: Path) -> None:
    page = write(tmp_path, *blocks)
    with pytest.raises((AssertionError, SyntaxError, SystemExit)):
        run_page(page, tmp_path)


@pytest.mark.parametrize(
    ("lead", "attribute", "announced"),
    [
        ("Save this as `app.py`:", "title", True),
        ("At the end\nof `app.py`:", "append", True),
        ("In `app.py`:", "append", False),
        ("`app.py`:\n\nOr rather:", "title", False),
        ("Save this:", "title", False),
    ],
)
def test_a_file_is_named_right_before_it(lead: str, attribute: str, announced: bool, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f'{lead}\n\n{FENCE}python {attribute}="app.py"\nx = 1\n{FENCE}\n', encoding="utf-8")
    assert (unannounced(page) == []) is announced


def test_a_page_that_does_not_lie_passes(tmp_path: Path) -> None:
    app = "from starlette.applications import Starlette\napp = Starlette()\nprint('started')"
    page = write(
        tmp_path,
        "python\nprint(1)\nprint(2)",
        "text\n…\n2",
        f'python title="app.py"\n{app}',
        'python append="app.py"\ny = 1',
        'diff title="app.py"\n-y = 1\n+y = 2',
        "python\nimport app\nassert app.y == 2",
        "text\nstarted",
        "console\n$ uvicorn app:app\n…\n$ WORD=star…",
        "console\n$ curl -i localhost:8000/$WORD\nHTTP/1.1 404 Not Found\n…\n\nNot Found",
        "console\n$ authz --version > version.txt\n$ authz nonsense\n…\n$ echo $?\n2",
        'python not-run="it would fail"\nraise SystemExit',
        "python\n# needs: no-such-distribution\nraise SystemExit",
        "text\nnot compared either",
    )
    run_page(page, tmp_path)


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        ("a…z", "abcz", True),
        ("a…z", "ab\ncz", False),
        ("a\n…\nz", "a\nz", True),
        ("a\n…\nz", "a\nb\nc\nz\n", True),
        ("a\n…", "b\na", False),
        ("a.c", "abc", False),
        ("a", "a b", False),
    ],
)
def test_an_ellipsis_stands_for_what_may_differ(shown: str, printed: str, alike: bool) -> None:
    assert is_like(shown, printed) is alike


# --- reference and links ----------------------------------------------------------------------------------------------

WRITE_ANEW = "run `python -m tests.reference` to write the reference pages anew"


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.file)
def test_a_reference_page_is_made_from_the_code(page: reference.Page) -> None:
    assert (DOCS / "reference" / page.file).read_text(encoding="utf-8") == reference.rendered(page), WRITE_ANEW


def test_the_page_about_the_command_line_is_made_from_the_code() -> None:
    page = DOCS / "reference" / "command-line.md"
    assert page.read_text(encoding="utf-8") == reference.command_line(), WRITE_ANEW


def test_there_are_no_other_reference_pages() -> None:
    assert {page.name for page in REFERENCE} == {"command-line.md", *(page.file for page in reference.PAGES)}


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.file)
def test_the_reference_says_something_about_every_name(page: reference.Page) -> None:
    text = reference.rendered(page)
    for name, entry in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        without_signature = re.sub(r"```text\n.*?```", "", entry, flags=re.DOTALL)
        assert without_signature.strip(), name


def headings_of(page: Path) -> set[str]:
    """Return the anchors of a page, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "SECURITY.md", *DOCUMENTS], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings_of(target), link


def test_the_index_names_every_page() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)\)", index.read_text(encoding="utf-8"))}
    assert {page for page in DOCUMENTS if page != index} <= linked
