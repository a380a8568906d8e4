"""`authz routes`: as a newcomer types it, in processes of its own; and piece by piece, in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from authz_middleware import cli

from .helpers import ISSUER

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "authz_middleware.cli", "routes"]
TIMEOUT = 60
"""Seconds after which a process that hangs is given up; nothing is measured by it."""

GUARDED = """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route
    from authz_middleware import AuthzMiddleware, TrustedIssuer, authenticated, public, requires

    async def orders(request): return PlainTextResponse("orders")
    async def healthz(request): return PlainTextResponse("ok")
    async def forgotten(request): return PlainTextResponse("forgotten")

    issuers = [TrustedIssuer("https://login.example.com", "https://orders.example.com")]
    guarded = [Middleware(AuthzMiddleware, issuers=issuers)]
    good = [Route("/orders", requires("read:orders")(orders)), Route("/healthz", public(healthz))]
"""
GOOD = GUARDED + "    app = Starlette(routes=good, middleware=guarded)\n"
BAD = GUARDED + '    app = Starlette(routes=[*good, Route("/forgotten", forgotten)], middleware=guarded)\n'
OPEN = GUARDED + '    app = Starlette(routes=[Route("/forgotten", forgotten)])\n'
FACTORY = GUARDED + "    def make_app(): return Starlette(routes=good, middleware=guarded)\n"
GOOD_TABLE = """\
METHODS  PATH      POLICY         SOURCE
GET      /orders   'read:orders'  main.py:8
GET      /healthz  public         main.py:9
2 routes: 1 guarded, 0 any valid token, 1 public, 0 unguarded
"""

Write = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Yield what writes a module into a directory that is the working directory; what it imports is forgotten again."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(code: str, name: str = "main.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(code), encoding="utf-8")
        return path

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


# --- in a process of its own ------------------------------------------------------------------------------------------


def test_the_table_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = run("examples.fastapi_app:app", "--fail-on-unguarded")
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows, summary = done.stdout.splitlines()
    assert header.split() == ["METHODS", "PATH", "POLICY", "SOURCE"]
    assert [" ".join(row.split()[:-1]) for row in rows] == [
        "GET /openapi.json public, by public_paths",
        "GET /docs public, by public_paths",
        "GET /docs/oauth2-redirect public, by public_paths",
        "GET /redoc public, by public_paths",
        "GET /healthz public",
        "GET /me any valid token",
        "GET /orders 'read:orders'",
        "GET /orders/{number} 'read:orders'",
        "DELETE /orders/{number} permission('delete:orders')",
        "WEBSOCKET /orders/events 'read:orders'",
    ]
    assert all(row.split()[-1].startswith("examples/fastapi_app.py:") for row in rows[4:])
    assert all(row.split()[-1].startswith("fastapi/applications.py:") for row in rows[:4])
    assert summary == "10 routes: 4 guarded, 1 any valid token, 5 public, 0 unguarded"


def test_the_width_of_a_terminal_is_no_matter(project: Write) -> None:
    project(GOOD)
    assert run("main:app", COLUMNS="20").stdout == run("main:app", COLUMNS="400").stdout == GOOD_TABLE


def test_json_is_the_same_in_every_process(project: Write) -> None:
    many = ", ".join(
        f'Route("/r{i}", forgotten, methods={{"GET", "PUT", "POST", "PATCH", "DELETE"}})' for i in range(9)
    )
    project(
        GUARDED + f'    paths = {{f"/p{{i}}" for i in range(9)}}\n    app = Starlette(routes=[{many}],'
        " middleware=[Middleware(AuthzMiddleware, issuers=issuers, public_paths=paths)])\n"
    )
    one, other = (run("main:app", "--json", PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert one.stdout == other.stdout
    assert len(json.loads(one.stdout)["routes"]) == 18


@pytest.mark.parametrize("forbidden", ["fastapi", "rich", "uvicorn"])
def test_starlette_is_enough(project: Write, forbidden: str) -> None:
    project(GOOD)
    program = f"""
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == {forbidden!r}:
                    raise ModuleNotFoundError(name, name=name)
        sys.meta_path.insert(0, Absent())
        sys.path.insert(0, {str(ROOT)!r})
        from authz_middleware.cli import main
        sys.exit(main(["routes", "main:app"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, GOOD_TABLE, "")


def test_looking_needs_no_network(project: Write) -> None:
    project(
        """
    import socket
    def refuse(*args, **kwargs): raise RuntimeError("the network was used")
    socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
        """
        + GOOD
    )
    assert run("main:app").stdout == GOOD_TABLE.replace(":8\n", ":12\n").replace(":9\n", ":13\n")


def test_a_reader_that_has_seen_enough_is_no_error(project: Write) -> None:
    many = ", ".join(f'Route("/{"x" * 500}{i}", forgotten)' for i in range(400))
    project(GUARDED + f"    app = Starlette(routes=[{many}], middleware=guarded)\n")
    errors = Path("errors")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with errors.open("wb") as stderr:
        process = subprocess.Popen([*COMMAND, "main:app"], stdout=subprocess.PIPE, stderr=stderr, env=environment)
    if process.stdout is None:
        raise RuntimeError("no pipe")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(TIMEOUT) == 0
    assert errors.read_bytes() == b""


def test_an_output_without_unicode_gets_escapes(project: Write) -> None:
    project(GUARDED + '    app = Starlette(routes=[Route("/größe", forgotten)], middleware=guarded)\n')
    done = run("main:app", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert "/gr\\xf6\\xdfe" in done.stdout


# --- tables and exit codes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [GOOD, BAD, OPEN])
def test_without_being_asked_nothing_fails(project: Write, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    project(code)
    assert cli.main(["routes", "main:app"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert (captured.out == GOOD_TABLE) == (code == GOOD)


def test_where_nothing_is_unguarded_nothing_fails(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    project(GOOD)
    assert cli.main(["routes", "main:app", "--fail-on-unguarded"]) == 0
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_gone_does_not_hide_what_is_unguarded(
    project: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project(BAD)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(["routes", "main:app", "--fail-on-unguarded"]) == 1
        monkeypatch.undo()
    assert "1 route is unguarded" in capsys.readouterr().err


def test_what_is_unguarded_fails_where_it_must(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    project(BAD)
    assert cli.main(["routes", "main:app", "--fail-on-unguarded"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "authz routes: 1 route is unguarded; it is in the table above\n"
    assert captured.out.splitlines()[-1] == "3 routes: 1 guarded, 0 any valid token, 1 public, 1 unguarded"


def test_what_anybody_may_call_fails_where_it_must(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    project(OPEN)
    assert cli.main(["routes", "main:app", "--fail-on-unguarded", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "authz routes: 1 route is unguarded; it is in the table above\n"
    assert json.loads(captured.out)["routes"][0]["admits"] == "public"


def test_markdown(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    project(GOOD)
    assert cli.main(["routes", "main:app", "--markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "| `GET` | `/orders` | `'read:orders'` | `main.py:8` |"


def test_one_form_at_a_time(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["routes", "main:app", "--markdown", "--json"])
    assert done.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["{}"], ["main:{}"], ["main:app", "--diff", "{}"]], ids=" ".join)
def test_what_looks_like_a_token_is_not_repeated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    token = ISSUER.token()
    assert cli.main(["routes", *(argument.format(token) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert "(not repeated here)" in error
    assert not any(part in error for part in token.split("."))


def test_an_option_that_was_mistyped_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["routes", "main:app", "--fail-on-unguardedd"])
    assert done.value.code == 2
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: --fail-on-unguardedd\n")


# --- where the application is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["make_app", "Holder.make", "Application"])
def test_a_factory_is_called(project: Write, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    project(
        FACTORY
        + """
    class Holder:
        make = staticmethod(make_app)
    class Application(Starlette):
        def __init__(self): super().__init__(routes=good, middleware=guarded)
    """
    )
    assert cli.main(["routes", f"main:{name}", "--factory"]) == 0
    assert capsys.readouterr().out == GOOD_TABLE


def test_the_module_is_looked_for_where_it_is_said(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    project("from .views import app", "src/shop/__init__.py")
    project(GOOD, "src/shop/views.py")
    assert cli.main(["routes", "shop:app", "--app-dir", "src"]) == 0
    assert "  src/shop/views.py:8\n" in capsys.readouterr().out
    assert cli.main(["routes", "shop.views:app", "--app-dir", str(Path("src").resolve())]) == 0
    assert "  src/shop/views.py:8\n" in capsys.readouterr().out


def test_what_the_application_prints_does_not_get_into_the_table(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    project(FACTORY.replace("make_app():", "make_app(): print('made');") + "    print('imported')\n")
    assert cli.main(["routes", "main:make_app", "--factory", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "imported\nmade\n"
    assert len(json.loads(captured.out)["routes"]) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["main"], "'main' is no module:app; write main:app for the application `app` in main.py"),
        (["main:"], "'main:' is no module:app; write main:app for the application `app` in main.py"),
        ([":app"], "':app' is no module:app; write main:app for the application `app` in main.py"),
        (["main.py"], "'main.py' is no module:app; write main:app for the application `app` in main.py"),
        (["src/main:app"], "'src/main:app' is no module:app; write main:app for the application `app` in main.py"),
        ([".main:app"], "'.main:app' is no module:app; write main:app for the application `app` in main.py"),
        (["absent:app"], "there is no module absent in .; say where it is with --app-dir"),
        (["main.sub:app"], "there is no module main.sub in .; say where it is with --app-dir"),
        (["main:app", "--app-dir", "absent"], "there is no directory of the name that --app-dir says"),
        (["main:absent"], "the module main has no absent; write the name of the application"),
        (["main:app.absent"], "the module main has no app.absent; write the name of the application"),
        (["main:orders"], "main:orders is a function, no Starlette or FastAPI application; "
                          "if it returns the application, add --factory"),
        (["main:Starlette"], "main:Starlette is a type, no Starlette or FastAPI application; "
                             "if it returns the application, add --factory"),
        (["main:issuers"], "main:issuers is a list, no Starlette or FastAPI application"),
        (["main:issuers", "--factory"], "main:issuers is a list and cannot be called; leave --factory out"),
        (["main:none", "--factory"], "main:none is a NoneType, no Starlette or FastAPI application"),
        (["main:later", "--factory"], "main:later is a coroutine function; --factory takes a plain one"),
        (["main:late"], "main:late: /late: @requires stands above the route decorator, or guards a copy that this "
                        "route does not serve; write it below the route decorator, next to the function"),
        (["main:wrong"], "main:wrong: realm must be printable ASCII without quotes or backslashes"),
        (["main:app", "--fail-on-opened"],
         "--fail-on-opened needs something to compare with; add --diff OLD.JSON"),
        (["main:app", "--diff", "absent.json"], "--diff absent.json cannot be read: No such file or directory"),
        (["main:app", "--diff", "."], "--diff . cannot be read: Is a directory"),
        (["main:app", "--diff", "main.py"], "--diff main.py: this is no table of `authz routes --json`"),
        (["main:app", "--diff", "newer.json"],
         "--diff newer.json: the table is of version 9, this is version 1; write it anew"),
    ],
)  # fmt: skip
def test_an_error_is_one_sentence(
    project: Write, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project(
        GOOD
        + """
    def none(): return None
    async def later(): return app
    requires("x")(forgotten)
    late = Starlette(routes=[Route("/late", forgotten)])
    wrong = Starlette(middleware=[Middleware(AuthzMiddleware, issuers=issuers, realm='"')])
    """
    )
    project('{"format": "authz-routes", "version": 9}', "newer.json")
    assert cli.main(["routes", *arguments]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"authz routes: {sentence}\n")


@pytest.mark.parametrize(
    ("code", "last", "shown"),
    [
        ("def f():\n    return 1 / 0\nf()", "ZeroDivisionError: division by zero", 'main.py", line 2, in f'),
        ("import absent_too", "ModuleNotFoundError: No module named 'absent_too'", 'main.py", line 1, in <module>'),
        ("import main.absent", "No module named 'main.absent'; 'main' is not a package", 'main.py", line 1, in'),
        ("def f(:", "SyntaxError: invalid syntax", 'main.py", line 1'),
        ("raise SystemExit(0)", "SystemExit: 0", 'main.py", line 1, in <module>'),
        ("import sys\nsys.exit()", "SystemExit", 'main.py", line 2, in <module>'),
        (
            "from authz_middleware import requires\nrequires()",
            'requires() is empty and would decide nothing; write requires("read:orders")',
            'main.py", line 2, in <module>',
        ),
    ],
)
def test_an_exception_of_the_application_shows_where_it_comes_from(
    project: Write, code: str, last: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project(code)
    assert cli.main(["routes", "main:app", "--fail-on-unguarded"]) == 2
    captured = capsys.readouterr()
    *trace, exception, sentence = captured.err.splitlines()
    assert exception.endswith(last)
    assert sentence == "authz routes: importing main failed"
    assert shown in "\n".join(trace)
    assert "authz_middleware/cli" not in captured.err
    assert "importlib" not in captured.err
    assert captured.out == ""


def test_an_exception_of_a_factory_shows_where_it_comes_from(
    project: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    project("def make_app():\n    raise LookupError('no database')\ndef more(argument): pass")
    assert cli.main(["routes", "main:make_app", "--factory"]) == 2
    error = capsys.readouterr().err
    assert 'main.py", line 2, in make_app' in error
    assert error.endswith("LookupError: no database\nauthz routes: calling main:make_app failed\n")
    assert "authz_middleware/cli" not in error
    assert cli.main(["routes", "main:more", "--factory"]) == 2
    error = capsys.readouterr().err
    assert "TypeError: more() missing 1 required positional argument: 'argument'" in error


def test_an_interruption_while_importing_is_one(project: Write) -> None:
    project("raise KeyboardInterrupt")
    assert cli.main(["routes", "main:app"]) == 130


# --- what a change opens ----------------------------------------------------------------------------------------------


@pytest.fixture
def changed(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Leave the table of an application in old.json, and change the application."""
    project(GOOD, "before.py")
    assert cli.main(["routes", "before:app", "--json"]) == 0
    Path("old.json").write_text(capsys.readouterr().out, encoding="utf-8")
    routes = 'Route("/orders", authenticated(orders)), Route("/healthz", forgotten), Route("/forgotten", forgotten)'
    project(GUARDED + f"    app = Starlette(routes=[{routes}], middleware=guarded)\n")


@pytest.mark.usefixtures("changed")
def test_a_diff_names_what_is_opened_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["routes", "main:app", "--diff", "old.json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    unguarded = "UNGUARDED: states nothing, so it is refused"
    assert captured.out.splitlines() == [
        f"CHANGE  METHODS  PATH        BEFORE         {'NOW':{len(unguarded)}}  SOURCE",
        f"opened  GET      /orders     'read:orders'  {'any valid token':{len(unguarded)}}  main.py:8",
        f"added   GET      /forgotten  -              {unguarded}  main.py:10",
        f"closed  GET      /healthz    public         {unguarded}  main.py:10",
        "1 opened, 1 added, 0 changed, 1 closed, 0 removed",
    ]


@pytest.mark.usefixtures("changed")
def test_a_diff_in_other_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["routes", "main:app", "--diff", "old.json", "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [(change["change"], change["path"]) for change in changes] == [
        ("opened", "/orders"),
        ("added", "/forgotten"),
        ("closed", "/healthz"),
    ]
    assert cli.main(["routes", "main:app", "--diff", "old.json", "--markdown", "--fail-on-unguarded"]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[2].startswith("| **opened** | `GET` | `/orders` |")
    assert captured.err == "authz routes: 2 routes are unguarded; they are in the table without --diff\n"


@pytest.mark.usefixtures("changed")
def test_a_diff_of_the_same_application_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["routes", "before:app", "--diff", "old.json"]) == 0
    assert capsys.readouterr().out == "no change\n"


@pytest.mark.usefixtures("changed")
def test_what_is_opened_fails_where_it_must(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["routes", "main:app", "--diff", "old.json", "--fail-on-opened"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "authz routes: 1 route was opened; it is in the table above\n"
    assert captured.out.splitlines()[-1] == "1 opened, 1 added, 0 changed, 1 closed, 0 removed"


@pytest.mark.usefixtures("changed")
def test_what_is_opened_and_what_is_unguarded_are_named_both(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["routes", "main:app", "--diff", "old.json", "--json", "--fail-on-opened", "--fail-on-unguarded"]
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    unguarded, opened = captured.err.splitlines()
    assert unguarded == "authz routes: 2 routes are unguarded; they are in the table without --diff"
    assert opened == "authz routes: 1 route was opened; it is in the table above"
    assert len(json.loads(captured.out)["changes"]) == 3


def test_what_is_added_or_closed_is_not_opened(project: Write, capsys: pytest.CaptureFixture[str]) -> None:
    project(BAD, "before.py")
    assert cli.main(["routes", "before:app", "--json"]) == 0
    Path("old.json").write_text(capsys.readouterr().out, encoding="utf-8")
    routes = 'Route("/orders", requires("read:orders", "x")(orders)), Route("/new", public(healthz))'
    project(GUARDED + f"    app = Starlette(routes=[{routes}], middleware=guarded)\n")
    assert cli.main(["routes", "main:app", "--diff", "old.json", "--fail-on-opened"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines()[-1] == "0 opened, 1 added, 0 changed, 1 closed, 2 removed"
