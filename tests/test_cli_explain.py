"""`authz explain`: real tokens of every dialect and for every refusal, hostile ones; no part of one in any output."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from authz_middleware import AccessTokenValidator, TrustedIssuer, cli, policy
from authz_middleware._jose import ALGORITHMS, MAX_TOKEN_BYTES, parse_jwk
from authz_middleware.cli.demo.servers import listen, make_issuer_app, serving, url_of
from authz_middleware.cli.endings import NotUsable
from authz_middleware.cli.explain.examination import Examination, Mode, Trust, examine
from authz_middleware.cli.explain.explanation import Explanation
from authz_middleware.cli.explain.expressions import parse_policy
from authz_middleware.cli.explain.intake import Credential
from authz_middleware.cli.explain.meanings import CLAIM_MEANINGS, HEADER
from authz_middleware.cli.explain.reading import ROWS
from authz_middleware.cli.explain.refusals import Case, change_of, why_of
from authz_middleware.cli.explain.steps import FAILS_AT, STEPS, State, Step, failed_step
from authz_middleware.cli.explain.times import moment, span, utc
from authz_middleware.cli.explain.verdicts import PolicyOutcome, judge
from authz_middleware.dialects import DIALECTS, Dialect
from authz_middleware.errors import Code, InvalidToken, KeysUnavailable, Reason, Refused
from authz_middleware.explanations import EXPLANATIONS, explanation_of
from authz_middleware.policy import AUTHENTICATED, Policy, TokenRequest
from authz_middleware.policy.decision import conclude
from authz_middleware.testing import LocalIssuer, SigningKey
from authz_middleware.token import GrantRule, IssuerTrust

from . import commands
from .commands import Shown
from .helpers import ISSUER, NOW, compact, five_parts, header_of, sign_raw, token_with
from .test_cli_terminal import is_harmless
from .test_dialects import READ as VECTORS
from .test_dialects import dialects_of, sign
from .test_dialects import trust as trust_of_vector
from .test_validator import STEPS as LADDER
from .test_validator import faulty, strict_validator

COMMAND = [sys.executable, "-m", "authz_middleware.cli", "explain"]
TIMEOUT = 60
"""Seconds after which a process that hangs is given up; nothing is measured by it."""
ROOT = Path(__file__).parent.parent


ExplainCommand = Callable[..., Shown]


def joined(text: str) -> str:
    """Return a text without line breaks, for words that may stand on two lines."""
    return " ".join(text.split())


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> ExplainCommand:
    """Return what runs the command in this process, with this on standard input."""

    def run(given: str | bytes, *arguments: str) -> Shown:
        data = given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        return commands.run(capsys, "explain", *arguments)

    return run


@pytest.fixture(scope="module")
def jwks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of the keys of `ISSUER`."""
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps(ISSUER.jwks()), encoding="utf-8")
    return str(path)


@pytest.fixture
def offline(explain: ExplainCommand, jwks: str) -> ExplainCommand:
    """Return what runs the command with `ISSUER` trusted, its keys in a file, at `NOW`; Auth0's dialects by default."""

    def run(given: str | bytes, *arguments: str) -> Shown:
        is_said = any(argument.startswith("--dialect") for argument in arguments)
        dialects = [] if is_said else [f"--dialect={name}" for name in DIALECTS if name != "rfc9068"]
        return explain(
            given,
            f"--issuer={ISSUER.issuer}",
            f"--audience={ISSUER.audience}",
            f"--jwks={jwks}",
            f"--now={NOW}",
            *dialects,
            *arguments,
        )

    return run


TOKEN = ISSUER.token(scope="openid read:orders", permissions=["read:orders", "ship:orders"])
STATES = {"passed", "failed", "not_reached", "not_checked"}


# --- where the token comes from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "{}\n",
        "  \t{}\r\n\n",
        "Bearer {}",
        "bearer  {}\n",
        "BEARER\t{}",
        "Authorization: Bearer {}\r\n",
        "authorization:Bearer {}",
    ],
)
def test_the_token_is_taken_out_of_what_stands_around_it(around: str, offline: ExplainCommand) -> None:
    assert offline(around.format(TOKEN), "--json").document["outcome"] == "accepted"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_token_may_be_encoded_as_shells_do(encoding: str, offline: ExplainCommand) -> None:
    assert offline(f"{TOKEN}\r\n".encode(encoding)).code == 0


def test_a_dash_for_a_file_is_standard_input(offline: ExplainCommand) -> None:
    assert offline(TOKEN, "--file", "-").code == 0


def test_the_header_of_an_encrypted_token_is_shown(explain: ExplainCommand) -> None:
    header = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "their-key"}
    shown = explain(five_parts(header), "--json")
    assert [(m["name"], m["value"], m["meaning"]) for m in shown.document["header"]] == [
        ("alg", "RSA-OAEP-256", "how the key of its encryption is encrypted"),
        ("enc", "A256GCM", "how it is encrypted"),
        ("kid", "their-key", "which key it was encrypted with"),
    ]
    assert no_part_of(five_parts(header), shown)
    for token in ("é.b.c.d.e", "a.b.c.d.e", f"{compact([], {}).partition('.')[0]}.b.c.d.e", "0paque"):
        assert explain(token, "--json").document["header"] == []


def test_the_token_may_stand_in_a_file(offline: ExplainCommand, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"Bearer {TOKEN}\n", encoding="utf-8")
    assert offline("", "--file", str(tmp_path / "token")).code == 0


def test_an_argument_is_a_token_only_if_its_name_says_what_is_lost(offline: ExplainCommand) -> None:
    assert offline("", "--token-in-shell-history", TOKEN).code == 0
    assert offline("", f"--token-in-shell-history=Bearer {TOKEN}").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["--token", "{}"],
        ["--token={}"],
        ["--token-in-shell", "{}"],
        ["--json={}"],
        ["--now", "{}"],
        ["--dialect", "{}"],
        ["--dialect={}"],
        ["--file", "x", "--token-in-shell-history", "{}"],
        ["--file", "{}"],
        ["--jwks", "{}", "--issuer", "https://a.example"],
        ["--app", "{}"],
        ["--app", "main:{}"],
        ["--policy", "{}"],
        ["--policy", "scope('{}')"],
        ["--app", "main:app", "--app-dir", "{}"],
        ["--policy", "scope({})"],
        ["--issuer", "{}", "--audience", "x"],
        ["--auth0", "{}", "--audience", "x"],
        ["--audience", "{}"],
        ["--roles-claim={}", "--jwks", "x"],
        ["--rbac-enforced={}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("token", [TOKEN, "0paque-token_of-a-server.that~has+none/of=these"], ids=["signed", "opaque"])
def test_a_token_in_the_wrong_place_is_a_usage_error_that_does_not_repeat_it(
    arguments: list[str], token: str, explain: ExplainCommand
) -> None:
    shown = explain("", *(argument.format(token) for argument in arguments))
    assert shown.code == 2
    assert shown.out == ""
    assert "authz" in shown.err
    assert no_part_of(token, shown)


@pytest.mark.parametrize("policy", ["{}", "scope('{}')", "'read:orders' | '{}'"])
def test_a_token_in_place_of_a_grant_is_no_policy(policy: str, explain: ExplainCommand) -> None:
    shown = explain(TOKEN, "--policy", policy.format(TOKEN))
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("authz explain: --policy takes a policy, and this looks like a token; ")
    assert no_part_of(TOKEN, shown)


def test_a_token_in_place_of_a_command_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main([TOKEN])
    assert done.value.code == 2
    assert TOKEN[:16] not in capsys.readouterr().err


def test_what_is_short_is_repeated_in_messages(explain: ExplainCommand) -> None:
    assert "invalid choice: 'saml'" in explain("", "--dialect", "saml").err
    assert "pipe the token in" not in explain("", "--dialect", "saml").err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--token-in-shell-history", TOKEN, "--file", "x"], "argument --file: not allowed with argument --token-in-"),
        (["--token-in-shell-histor", TOKEN], "arguments: --token-in-shell-histor (not repeated here); pipe the token"),
        ([f"--token-in-shell-histor={TOKEN}"], "unrecognized arguments: --token-in-shell-histor=(not repeated here)\n"),
        (
            ["--dialect=rfc9068_profile_authz", "--dialect=rfc9068_profil"],
            "rfc9068_profile, rfc9068_profile_authz",
        ),
        ([TOKEN], "unrecognized arguments: (not repeated here); pipe the token in, or pass --file\n"),
        ([f"--now={NOW}", "0paque"], "unrecognized arguments: 0paque; pipe the token in, or pass --file\n"),
        (["token-in-a-file.txt"], "unrecognized arguments: token-in-a-file.txt; write --file token-in-a-file.txt\n"),
    ],
)
def test_a_usage_error_hides_nothing_but_what_may_be_a_token(
    arguments: list[str], words: str, explain: ExplainCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token-in-a-file.txt").touch()
    shown = explain("", *arguments)
    assert shown.code == 2
    assert words in shown.err.replace("'", "")  # around choices, which some versions of Python quote
    assert no_part_of(TOKEN, shown)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "no token was given; pipe it in, or pass --file"),
        (" \n", "no token was given; pipe it in, or pass --file"),
        ("Bearer", "no token was given; pipe it in, or pass --file"),
        ("Authorization: Bearer \n", "no token was given; pipe it in, or pass --file"),
        (f"{TOKEN}\n{TOKEN}", "there is white space in the middle; pass one token, on one line"),
        ("two words", "there is white space in the middle; pass one token, on one line"),
        (f'"{TOKEN}"', "the token stands in quotes; take them off (jq: with -r)"),
        (f"'{TOKEN}'", "the token stands in quotes; take them off (jq: with -r)"),
        (
            json.dumps({"access_token": TOKEN}),
            "that is JSON, such as the answer of a token endpoint; pass the value of access_token alone",
        ),
    ],
)
def test_what_is_no_token_is_one_sentence(given: str, sentence: str, explain: ExplainCommand) -> None:
    assert explain(given) == Shown(2, "", f"authz explain: {sentence}\n")


@pytest.mark.parametrize("option", ["--file", "--jwks"])
@pytest.mark.parametrize(("name", "reason"), [("absent", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_one_sentence(
    option: str, name: str, reason: str, explain: ExplainCommand
) -> None:
    shown = explain(TOKEN, option, name, "--issuer=https://a.example", "--audience=x")
    assert shown == Shown(2, "", f"authz explain: the file of {option} cannot be read: {reason}\n")


def test_a_file_name_with_a_null_is_one_sentence(explain: ExplainCommand) -> None:
    assert explain("", "--file", "a\0b").err == "authz explain: the file of --file cannot be read: ValueError\n"


def test_without_standard_input_one_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert cli.main(["explain"]) == 2
    assert capsys.readouterr().err == "authz explain: there is no standard input; pass --file\n"


def test_standard_input_may_be_any_text_stream(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(TOKEN))
    assert cli.main(["explain"]) == 1
    assert "NOT VERIFIED" in capsys.readouterr().out


def test_a_long_input_is_refused_for_its_size(offline: ExplainCommand) -> None:
    shown = offline("x." * MAX_TOKEN_BYTES * 4, "--json")
    assert (shown.code, shown.document["reason"]) == (1, "too_large")


@pytest.mark.parametrize("has_bytes", [True, False])
def test_input_without_end_is_read_no_further_than_needed(
    has_bytes: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Endless:
        buffer: Endless | None = None

        def isatty(self) -> bool:
            return False

        def read(self, size: int = -1) -> Any:
            if not 0 < size <= 4 * MAX_TOKEN_BYTES:
                raise AssertionError(f"{size} bytes were to be read")
            return b"x" * size if self.buffer is None and has_bytes else "x" * size

    stdin = Endless()
    if has_bytes:
        stdin.buffer = Endless()
    monkeypatch.setattr(sys, "stdin", stdin)
    assert cli.main(["explain", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "too_large"


# --- on a terminal ----------------------------------------------------------------------------------------------------


def run_on_terminal(typed: str, *arguments: str) -> tuple[int, str]:
    """Run the command on a pseudo-terminal, type something, and return exit code and everything that appeared."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (50, 80))
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    environment = {**plain, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
        start_new_session=True,  # a test run's own terminal must not be asked
    )
    os.close(terminal)
    written = bytearray()
    with contextlib.suppress(OSError):  # Linux ends a pseudo-terminal with EIO
        while chunk := os.read(controller, 65536):
            written += chunk
            if typed and b"press Enter: " in written:
                os.write(controller, typed.encode())
                typed = ""
    os.close(controller)
    return process.wait(TIMEOUT), written.decode()


def test_on_a_terminal_the_token_is_asked_for_and_not_shown(jwks: str) -> None:
    trust = [f"--issuer={ISSUER.issuer}", f"--audience={ISSUER.audience}", "--dialect=access_token_authz"]
    code, written = run_on_terminal(f"{TOKEN}\n", *trust, f"--jwks={jwks}", f"--now={NOW}", "--no-third-party-clients")
    assert code == 0
    assert "Paste the token (it is not shown)" in written
    assert "\x1b[1;32mACCEPTED. It grants read:orders, ship:orders." in written
    assert TOKEN[-16:] not in written
    plain = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert max(map(len, plain.splitlines()[1:])) <= 80


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("x" * 4095, "a terminal cuts lines of this length; put the token into a file and pass --file"),
        (None, "no token was given; pipe it in, or pass --file"),
    ],
)
def test_what_a_terminal_cannot_give_is_one_sentence(
    typed: str | None, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def getpass(_: str) -> str:
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", getpass)
    assert cli.main(["explain"]) == 2
    assert capsys.readouterr().err == f"authz explain: {sentence}\n"


# --- what is said of a good token -------------------------------------------------------------------------------------

GOOD = """\
ACCEPTED. It grants read:orders, ship:orders.
  Looked at 2026-09-21 14:13:20 UTC. Trusted is https://issuer.test/, with the keys of a file.

Header
  alg  "RS256"  how it is signed
  kid  "key"    which of the issuer's keys signed it
  typ  "JWT"    what kind of token it says it is

Claims, as the issuer signed them
  iss          "https://issuer.test/"          who issued it
  aud          "https://api.test/"             which APIs it is meant for
  sub          "auth0|jo"                      whom it speaks for: a user
  azp          "first-party-app"               the client it was issued to
  iat          1789999999                      when it was issued: 2026-09-21 14:13:19 UTC, 1 second ago
  exp          1790003600                      when it ends: 2026-09-21 15:13:20 UTC, in 1 hour
  scope        "openid read:orders"            what the client may do (scopes)
  permissions  ["read:orders", "ship:orders"]  what the user may do on this API (permissions)

Dialect: access_token_authz
  -  its type (typ) is "JWT", which this dialect writes
  -  its client is named in azp, where this dialect names it
  -  it carries permissions, as this dialect does
  -  no other dialect is allowed here

Checks, in this order
  passed  It is sent as a bearer token. [RFC 6750 section 2.1]
  passed  It has the form of a signed token, to the letter. [RFC 7515 sections 5.2 and 7.1]
  passed  It comes from an issuer that is trusted (iss). [RFC 8725 section 3.8]
  passed  It is meant for this API (aud). [RFC 8725 section 3.9]
  passed  It is signed in a way this issuer may use (alg). [RFC 8725 section 3.1]
  passed  Its type (typ) is one that an access token may have here. [RFC 8725 section 3.11]
  passed  It asks for nothing unusual (crit). [RFC 7515 section 4.1.11]
  passed  The issuer publishes the key it names (kid). [RFC 7515 section 6]
  passed  The signature holds: nobody has changed it. [RFC 7515 section 5.2]
  passed  It is written in exactly one of the dialects allowed. [RFC 8725 section 3.12]
  passed  It says whom it speaks for and is no ID token. [RFC 9068 sections 2.2 and 4]
  passed  It holds at this moment (exp, nbf, iat). [RFC 7519 sections 4.1.4 to 4.1.6]
  passed  It needs no proof of a key (cnf). [RFC 7800 section 3.1]
  passed  Everything else, the grants above all, has the right form. [RFC 9068 section 2.2.3]

Grants
  counts  read:orders  in scope and permissions
  counts  ship:orders  in permissions
  -       openid       in scope                  asks for identity data, and grants nothing on an API
  Rule (c): The client is your own (first-party). So what its user may do counts (permissions), and what the client was
  granted (scope).

Policy 'ship:orders'
  yes  the policy is met ('ship:orders' is in permissions)
"""


def test_the_whole_page_of_a_good_token(explain: ExplainCommand, tmp_path: Path) -> None:
    issuer = LocalIssuer(key=replace(ISSUER.key, kid="key"), clock=lambda: NOW)
    (tmp_path / "jwks.json").write_text(json.dumps(issuer.jwks()), encoding="utf-8")
    shown = explain(
        issuer.token(scope="openid read:orders", permissions=["read:orders", "ship:orders"]),
        f"--issuer={issuer.issuer}",
        f"--audience={issuer.audience}",
        f"--jwks={tmp_path / 'jwks.json'}",
        f"--now={NOW}",
        "--dialect=access_token_authz",
        "--no-third-party-clients",
        '--policy="ship:orders"',
    )
    assert shown == Shown(0, GOOD, "")


@pytest.mark.parametrize("case", VECTORS)
def test_every_vector_reads_as_the_validator_reads_it(case: dict[str, Any]) -> None:
    token, key = sign(case)
    vector = case["vector"]
    issuers = trust_of_vector(case, key, dialects_of(case)).issuers
    found = examined(token, issuers)
    reading = found.reading
    assert found.accepted == asyncio.run(AccessTokenValidator(issuers, clock=lambda: NOW).validate(token))
    assert reading is not None
    assert reading.is_verified
    assert reading.dialect.name == vector["expected"]["dialect"]
    assert reading.grants.effective == frozenset(vector["expected"]["effective"])
    # The same token under nobody's trust reads the same, as far as no setting is needed for it.
    claimed = examined(token, (), assumed=issuers[0], is_pinned=True).reading
    assert claimed is not None
    assert not claimed.is_verified
    assert claimed.token == found.accepted


def examined(
    token: str,
    issuers: tuple[TrustedIssuer, ...],
    *,
    assumed: TrustedIssuer | None = None,
    is_pinned: bool = True,
    scheme: str = "bearer",
    max_token_bytes: int = 16 * 1024,
) -> Examination:
    """Return what comes of a token at `NOW`."""
    trust = Trust(
        mode=Mode.OFFLINE if issuers else Mode.NONE,
        issuers=issuers,
        assumed=assumed or (issuers[0] if issuers else ISSUER.trusted()),
        is_pinned=is_pinned,
        max_token_bytes=max_token_bytes,
        clock=lambda: NOW,
    )
    return asyncio.run(examine(Credential(token, scheme), trust))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("machine", [False, True])
def test_the_facts_name_what_tells_a_dialect(dialect: str, machine: bool, offline: ExplainCommand) -> None:
    table = DIALECTS[dialect]
    permissions = ["read:orders"] if table.has_permissions else None
    token = ISSUER.token(dialect, scope="read:orders", permissions=permissions, machine=machine)
    document = offline(token, "--dialect", dialect, "--json").document
    assert document["dialect"]["name"] == dialect
    assert document["dialect"]["because"] == [
        f'its type (typ) is "{"JWT" if "jwt" in table.types else "at+jwt"}", which this dialect writes',
        f"its client is named in {table.client_claim}, where this dialect names it",
        "it carries permissions, as this dialect does"
        if table.has_permissions
        else "it carries no permissions, and needs none",
        "no other dialect is allowed here",
    ]
    meanings = {member["name"]: member["meaning"] for member in document["claims"]}
    assert meanings["sub"] == f"whom it speaks for: {'a machine, the client itself' if machine else 'a user'}"
    assert meanings[table.client_claim] == "the client it was issued to"


@pytest.mark.parametrize(
    ("permissions", "dialects", "fact"),
    [
        (None, ["access_token_authz"], "it lacks permissions, which this dialect has"),
        (["x"], ["access_token"], "it carries permissions, which this dialect does not read"),
    ],
)
def test_what_a_dialect_lacks_or_ignores_is_said(
    permissions: list[str] | None, dialects: list[str], fact: str, offline: ExplainCommand
) -> None:
    claims = {**ISSUER.claims("access_token_authz", permissions=permissions)}
    document = offline(ISSUER.sign(claims), *(f"--dialect={name}" for name in dialects), "--json").document
    assert fact in document["dialect"]["because"]


def test_permissions_that_are_ignored_are_said_to_be(offline: ExplainCommand) -> None:
    document = offline(TOKEN, "--dialect=access_token", "--json").document
    meaning = next(member["meaning"] for member in document["claims"] if member["name"] == "permissions")
    assert meaning.endswith("; not read, because dialect access_token does not define it")


def test_claims_that_an_application_names_are_explained() -> None:
    trusted = ISSUER.trusted(
        roles_claims=("realm", "roles"), tenant_claims=("realm", "tenant"), groups_claims="https://acme.example/groups"
    )
    groups: dict[str, Any] = {"https://acme.example/groups": ["staff"]}
    token = ISSUER.token(realm={"roles": ["admin"], "tenant": "t"}, scp="x", cty="own", **groups)
    found = examined(token, (trusted,))
    meanings = {member.name: member.meaning for member in Explanation(examinations=(found,)).claims}
    assert meanings["realm"] == "roles of the user, at roles; the organization it was issued in, at tenant"
    assert meanings["https://acme.example/groups"] == "groups of the user"
    assert meanings["scp"].endswith("; not read, because dialect access_token_authz does not define it")
    assert meanings["cty"] == "the issuer's own; only policy.claim(…) looks at it"


def test_every_meaning_is_a_few_words() -> None:
    for meaning in [*HEADER.values(), *CLAIM_MEANINGS.values()]:
        assert 1 < len(meaning.split()) < 14
        assert meaning[0].islower()
        assert not meaning.endswith(".")


# --- the grants -------------------------------------------------------------------------------------------------------

RULES: dict[GrantRule, tuple[str, dict[str, Any], list[str]]] = {
    GrantRule.NONE_PERMISSIONS_ABSENT: ("access_token_authz", {"permissions": None}, ["--dialect=access_token_authz"]),
    GrantRule.SCOPES: ("access_token", {}, ["--rbac-enforced"]),
    GrantRule.SCOPES_RBAC_UNSTATED: ("rfc9068_profile", {}, []),
    GrantRule.NONE_RBAC_OFF: ("access_token", {}, ["--no-rbac-enforced"]),
    GrantRule.BOTH_THIRD_PARTY: ("access_token_authz", {"client_id": "partner"}, ["--third-party-client=partner"]),
    GrantRule.BOTH_CLIENT_UNSTATED: ("access_token_authz", {}, []),
    GrantRule.BOTH_DELEGATED: ("access_token_authz", {"act": {"sub": "agent"}}, ["--no-third-party-clients"]),
    GrantRule.EITHER: ("rfc9068_profile_authz", {}, ["--first-party-client=first-party-app"]),
}
LETTERS = {
    "0": {GrantRule.NONE_PERMISSIONS_ABSENT},
    "a": {GrantRule.SCOPES, GrantRule.SCOPES_RBAC_UNSTATED, GrantRule.NONE_RBAC_OFF},
    "b": {
        GrantRule.BOTH_THIRD_PARTY,
        GrantRule.BOTH_CLIENT_UNSTATED,
        GrantRule.BOTH_CLIENT_UNNAMED,
        GrantRule.BOTH_DELEGATED,
    },
    "c": {GrantRule.EITHER},
}


def test_every_rule_has_its_letter_and_its_words() -> None:
    assert set(ROWS) == set(GrantRule) == set().union(*LETTERS.values())
    for letter, rules in LETTERS.items():
        for rule in rules:
            assert ROWS[rule].letter == letter
            assert ROWS[rule].why.endswith(".")
    assert set(GrantRule) - set(RULES) == {GrantRule.BOTH_CLIENT_UNNAMED}  # every dialect there is names a client


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_is_shown_for_a_token_that_deserves_it(rule: GrantRule, offline: ExplainCommand) -> None:
    dialect, claims, arguments = RULES[rule]
    options: dict[str, Any] = {"scope": "openid read:orders", **claims}
    if DIALECTS[dialect].has_permissions:
        options = {"permissions": ["read:orders", "ship:orders"], **options}
    token = ISSUER.token(dialect, **options)
    document = offline(token, *arguments, "--json").document
    grants = document["grants"]
    assert (document["outcome"], grants["rule"], grants["row"]) == ("accepted", rule, ROWS[rule].letter)
    assert grants["why"] == ROWS[rule].why
    text = offline(token, *arguments).out
    assert f"Rule ({ROWS[rule].letter}): " in text
    accepted = asyncio.run(AccessTokenValidator([trusted_by(arguments)], clock=lambda: NOW).validate(token))
    assert grants["effective"] == sorted(accepted.grants.effective) == grants["claimed"]
    assert [(v["value"], v["counts"]) for v in grants["values"] if v["counts"]] == [
        (v, True) for v in grants["effective"]
    ]
    assert {(v["value"], source) for v in grants["values"] for source in v["sources"]} == {
        (grant.value, grant.source) for grant in accepted.grants
    }


def trusted_by(arguments: list[str]) -> TrustedIssuer:
    """Return the settings that arguments stand for, written as an application would."""
    options: dict[str, Any] = {}
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        said: dict[str, dict[str, Any]] = {
            "dialect": {"dialects": [value]},
            "rbac-enforced": {"rbac_enforced": True},
            "no-rbac-enforced": {"rbac_enforced": False},
            "third-party-client": {"third_party_clients": [value]},
            "no-third-party-clients": {"third_party_clients": []},
            "first-party-client": {"first_party_clients": [value]},
        }
        options |= said[name]
    return ISSUER.trusted(**options)


@pytest.mark.parametrize(
    ("dialect", "permissions", "words"),
    [
        ("access_token", (), "It belongs to a machine and carries no permissions."),
        ("access_token_authz", ["read:orders"], "It belongs to a machine, and both claims say"),
    ],
)
def test_a_machine_s_rule_is_told_in_its_own_words(
    dialect: str, permissions: Any, words: str, offline: ExplainCommand
) -> None:
    token = ISSUER.token(dialect, scope="read:orders", permissions=permissions, machine=True, client_id="job")
    assert words in offline(token, "--json").document["grants"]["why"]


def test_roles_and_groups_are_listed_and_never_count(offline: ExplainCommand) -> None:
    token = ISSUER.token(roles_of=["admin"], groups_of=["staff"])
    shown = offline(
        token, "--roles-claim=roles_of", "--groups-claim=groups_of", "--policy", 'role("admin") & group("staff")'
    )
    assert shown.code == 0
    assert "-  admin  in roles   a policy asks for it by role(…) or group(…)" in shown.out
    assert "ACCEPTED. It is valid, but it grants nothing." in shown.out


def test_a_token_without_any_grant_says_so(offline: ExplainCommand) -> None:
    assert "  It carries none.\n" in offline(ISSUER.token()).out


# --- every refusal ----------------------------------------------------------------------------------------------------

NO_TOKEN = {Reason.NO_CREDENTIALS, Reason.HEADER_SYNTAX, Reason.GRANT_MISSING, Reason.ROUTE_UNDECORATED}
"""Reasons that are about a request or a policy, never about a token."""


def test_every_reason_a_token_can_meet_has_its_step_and_its_words() -> None:
    assert set(FAILS_AT) == set(Reason) - NO_TOKEN
    assert set(EXPLANATIONS) == {*FAILS_AT, Reason.ROUTE_UNDECORATED}
    assert set(STEPS) == set(Step)
    assert set(FAILS_AT.values()) == set(Step)  # every step can fail


def test_words_are_sentences_without_the_field_s_jargon() -> None:
    jargon = re.compile(r"\b(JWT|JWS|JOSE|JWKS|payload|conformant|RFC|deserializ\w+|MUST)\b")
    for reason in FAILS_AT:
        case = case_of(Refused(Code.INVALID_CLAIM, reason))
        for sentence in (why_of(case), change_of(case)):
            assert sentence[0].isupper()
            assert sentence.endswith(".")
            assert not jargon.search(sentence)
    for rule in STEPS.values():
        assert rule.what.endswith(".")
        assert not jargon.search(rule.what)
        assert not rule.source or re.fullmatch(r"RFC \d{4} sections? \d[\d. andto]*", rule.source)


def case_of(refused: Refused) -> Case:
    """Return a refusal of which nothing more is known."""
    return Case(refused=refused, header={}, claims={}, issuers=(), trusted=None, dialects=(), now=NOW)


@dataclass(frozen=True)
class Bad:
    """A token that is refused: for which reason, and at which step."""

    reason: Reason
    step: Step
    token: str
    arguments: tuple[str, ...] = ()
    words: str = ""

    @property
    def claim(self) -> str | None:
        return self.words.removeprefix("The claim is ").removesuffix(".") if "The claim is" in self.words else None


OTHER = SigningKey(kid="nobody's")
FORGED = SigningKey(kid=ISSUER.key.kid)


def _claims(**claims: Any) -> str:
    return ISSUER.token(**claims)


BAD = [
    Bad(Reason.DPOP_SCHEME, Step.SCHEME, f"DPoP {TOKEN}"),
    Bad(Reason.TOO_LARGE, Step.FORM, _claims(filler="x" * 16_384)),
    Bad(Reason.NOT_THREE_PARTS, Step.FORM, "a.b"),
    Bad(Reason.NOT_CANONICAL_BASE64URL, Step.FORM, TOKEN.replace(".", ". ", 1)),
    Bad(Reason.NOT_UTF8, Step.FORM, compact(header_of(), b"\xff")),
    Bad(Reason.NOT_JSON, Step.FORM, compact(header_of(), b"{]")),
    Bad(Reason.NOT_AN_OBJECT, Step.FORM, compact(header_of(), [])),
    Bad(Reason.DUPLICATE_MEMBER, Step.FORM, compact(header_of(), b'{"a":1,"a":2}')),
    Bad(Reason.TOO_DEEP, Step.FORM, compact(header_of(), b'{"a":' + b"[" * 40 + b"]" * 40 + b"}")),
    Bad(Reason.KID_NOT_USABLE, Step.FORM, compact({"alg": "RS256", "kid": 1}, {})),
    Bad(Reason.OPAQUE, Step.FORM, "0paque", words="The client must name this API when it asks for a token"),
    Bad(Reason.OPAQUE, Step.FORM, five_parts({"alg": "dir", "enc": "A256GCM"}, b"")),
    Bad(Reason.ENCRYPTED, Step.FORM, five_parts({"alg": "RSA-OAEP-256", "enc": "A256GCM"})),
    Bad(Reason.CLAIM_MISSING, Step.ISSUER, _claims(iss=None), words="The claim is iss."),
    Bad(Reason.CLAIM_WRONG_FORM, Step.ISSUER, _claims(iss=1), words="The claim is iss."),
    Bad(
        Reason.ISSUER_NOT_TRUSTED,
        Step.ISSUER,
        _claims(iss="https://evil.example/"),
        words='It says "https://evil.example/"; trusted is "https://issuer.test/".',
    ),
    Bad(
        Reason.ISSUER_NOT_TRUSTED,
        Step.ISSUER,
        _claims(iss="https://issuer.test"),
        words="They differ in the slash at the end alone, and that counts.",
    ),
    Bad(Reason.CLAIM_MISSING, Step.AUDIENCE, _claims(aud=None), words="The claim is aud."),
    Bad(Reason.CLAIM_WRONG_FORM, Step.AUDIENCE, _claims(aud=[1])),
    Bad(
        Reason.AUDIENCE_OF_ISSUER,
        Step.AUDIENCE,
        _claims(aud="https://issuer.test/api/v2/"),
        words='It says "https://issuer.test/api/v2/"; this API is "https://api.test/".',
    ),
    Bad(
        Reason.AUDIENCE_OF_ISSUER,
        Step.AUDIENCE,
        _claims(aud="https://issuer.test/userinfo"),
        words='It says "https://issuer.test/userinfo"; this API is "https://api.test/".',
    ),
    Bad(
        Reason.AUDIENCE_NOT_OURS,
        Step.AUDIENCE,
        _claims(aud=["https://other.example/"]),
        words='It says ["https://other.example/"]; this API is "https://api.test/".',
    ),
    Bad(
        Reason.AUDIENCE_NOT_OURS,
        Step.AUDIENCE,
        _claims(aud="https://api.test"),
        words='this API is "https://api.test/". They differ in the slash at the end alone, and that counts.',
    ),
    Bad(
        Reason.ID_TOKEN_MARK,
        Step.AUDIENCE,
        _claims(aud="first-party-app", nonce="n"),
        words="The token is an ID token: it tells the client who logged in, and lets nobody call an API.",
    ),
    Bad(Reason.ID_TOKEN_MARK, Step.IDENTITY, _claims(nonce="n")),
    Bad(
        Reason.ALGORITHM_NOT_ALLOWED,
        Step.ALGORITHM,
        compact(header_of(alg="none"), ISSUER.claims()),
        words='It says "none"; allowed is PS256 or RS256.',
    ),
    Bad(
        Reason.TYPE_NOT_ALLOWED,
        Step.TYPE,
        sign_raw(header_of(typ="logout+jwt"), ISSUER.claims()),
        words='It says "logout+jwt"; allowed is jwt (access_token)',
    ),
    Bad(Reason.TYPE_NOT_ALLOWED, Step.TYPE, sign_raw(header_of(typ=None), ISSUER.claims()), words="It says nothing"),
    Bad(Reason.CRITICAL_HEADER, Step.CRITICAL, sign_raw(header_of(crit=["x"], x=1), ISSUER.claims())),
    Bad(
        Reason.KEY_NOT_PUBLISHED,
        Step.KEY,
        ISSUER.sign(ISSUER.claims(), key=OTHER),
        words='It names the key "nobody\'s".',
    ),
    Bad(Reason.SIGNATURE_INVALID, Step.SIGNATURE, ISSUER.sign(ISSUER.claims(), key=FORGED)),
    Bad(Reason.CLAIM_WRONG_FORM, Step.DIALECT, token_with({"permissions": None}), words="The claim is permissions."),
    Bad(Reason.CLAIM_MISSING, Step.IDENTITY, _claims(sub=None), words="The claim is sub."),
    Bad(Reason.CLAIM_MISSING, Step.IDENTITY, ISSUER.token("rfc9068_profile", jti=None), words="The claim is jti."),
    Bad(Reason.CLAIM_WRONG_FORM, Step.IDENTITY, _claims(sub=1)),
    Bad(Reason.CLAIM_WRONG_FORM, Step.IDENTITY, _claims(azp=1)),
    Bad(Reason.CLAIM_WRONG_FORM, Step.IDENTITY, token_with({"client_id": ["x"]})),
    Bad(Reason.CLAIM_WRONG_FORM, Step.IDENTITY, _claims(gty=1)),
    Bad(Reason.CLAIM_WRONG_FORM, Step.IDENTITY, _claims(sub_profile=1)),
    Bad(Reason.CLIENTS_DIFFER, Step.IDENTITY, token_with({"client_id": "another"})),
    Bad(Reason.CLAIM_MISSING, Step.TIMES, _claims(exp=None)),
    Bad(Reason.CLAIM_WRONG_FORM, Step.TIMES, _claims(nbf="soon")),
    Bad(
        Reason.EXPIRED,
        Step.TIMES,
        _claims(expires_in=-7200),
        words="The claim exp says 2026-09-21 12:13:20 UTC, 2 hours ago.",
    ),
    Bad(Reason.NOT_BEFORE_IN_FUTURE, Step.TIMES, _claims(nbf=NOW + 300), words="in 5 minutes."),
    Bad(Reason.ISSUED_IN_FUTURE, Step.TIMES, _claims(iat=NOW + 86_400), words="in 1 day."),
    Bad(Reason.CONFIRMATION_CLAIM, Step.BINDING, _claims(cnf={"jkt": "x"})),
    Bad(Reason.CLAIM_WRONG_FORM, Step.GRANTS, token_with({"scope": {}}), words="The claim is scope."),
    Bad(Reason.CLAIM_WRONG_FORM, Step.GRANTS, token_with({"act": "x"})),
    Bad(Reason.CLAIM_WRONG_FORM, Step.GRANTS, token_with({"org_id": 1})),
    Bad(Reason.CLAIM_WRONG_FORM, Step.GRANTS, ISSUER.token("rfc9068_profile", jti=1)),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.step}-{bad.reason}-{bad.words[:20]}")
def test_a_refusal_names_its_step_and_says_what_to_do(bad: Bad, offline: ExplainCommand) -> None:
    shown = offline(bad.token, *bad.arguments, "--json")
    document = shown.document
    assert (shown.code, document["outcome"], document["reason"]) == (1, "refused", bad.reason)
    assert_fails_at(bad.step, document)
    words = explanation_of(bad.reason, bad.claim)
    assert document["why"].startswith(f"{words.what.replace('t', 'T', 1)}.")
    assert document["change"].lower() == f"{words.change}.".lower()
    assert bad.words in f"{document['why']} {document['change']}"
    assert document["grants"] is None or (document["grants"]["effective"], document["grants"]["verified"]) == (
        [],
        False,
    )
    text = offline(bad.token, *bad.arguments).out
    assert text.startswith(f"REFUSED ({document['code']}). ")
    assert "ACCEPTED" not in text
    assert no_part_of(bad.token.removeprefix("DPoP "), shown)


def test_a_token_without_an_audience_is_the_client_s_to_mend(offline: ExplainCommand) -> None:
    document = offline(_claims(aud=None), "--json").document
    assert document["why"] == "The token does not say which API it is for. The claim is aud."
    assert document["change"].startswith("The client must name this API when it asks for a token")
    assert offline(_claims(sub=None), "--json").document["change"].startswith("Set dialects= to what this API is")


def assert_fails_at(step: Step, document: Any) -> None:
    """Check that every step before this one was passed, and none after it was reached."""
    order: list[Step] = [name for name in Step if name not in {Step.REVOCATION, Step.TENANT}]
    at = order.index(step)
    expected = ["passed"] * at + ["failed"] + ["not_reached"] * (len(order) - at - 1)
    assert [(found["step"], found["state"]) for found in document["steps"]] == list(zip(order, expected, strict=True))


OF_THE_LADDER = {
    "size": Step.FORM,
    "shape": Step.FORM,
    "issuer": Step.ISSUER,
    "audience": Step.AUDIENCE,
    "algorithm": Step.ALGORITHM,
    "type": Step.TYPE,
    "critical header": Step.CRITICAL,
    "key": Step.KEY,
    "signature": Step.SIGNATURE,
    "dialect": Step.DIALECT,
    "ID token": Step.IDENTITY,
    "identity": Step.IDENTITY,
    "form of times": Step.TIMES,
    "expiry": Step.TIMES,
    "issue": Step.TIMES,
    "tenant": Step.TENANT,
    "binding": Step.BINDING,
    "grants": Step.GRANTS,
}


@pytest.mark.parametrize("number", range(len(LADDER)), ids=[name for name, *_ in LADDER])
def test_the_steps_are_the_validator_s_in_its_order(number: int) -> None:
    """The validator's own test has a fault for each of its steps; a token with several fails at the first of them."""
    assert list(dict.fromkeys(OF_THE_LADDER.values())) == [
        step for step in Step if step not in {Step.SCHEME, Step.REVOCATION}
    ]
    step = OF_THE_LADDER[LADDER[number][0]]
    for faults in ([LADDER[number]], LADDER[number:]):
        keys = strict_validator(ISSUER.keys)
        found = examined(faulty(faults), keys.issuers, max_token_bytes=keys.max_token_bytes)
        assert [result.step for result in found.steps if result.state is State.FAILED] == [step]


def test_a_tenant_of_the_wrong_form_fails_where_tenants_are_limited() -> None:
    trusted = ISSUER.trusted(tenants=["org_1"])
    found = examined(token_with({"org_id": 1}), (trusted,))
    assert [result.step for result in found.steps if result.state is State.FAILED] == [Step.TENANT]
    refused = examined(_claims(org_id="org_2"), (trusted,))
    assert refused.why == "The token was issued in an organization that is not let in, or in none. Let in is org_1."


def test_a_date_that_a_dialect_requires_is_missed_before_the_times_are_looked_at() -> None:
    table = replace(DIALECTS["access_token_authz"], required_claims=frozenset({"exp"}))
    found = examined(_claims(exp=None), (ISSUER.trusted(dialects=[table]),))
    assert [result.step for result in found.steps if result.state is State.FAILED] == [Step.IDENTITY]


ODD = Dialect(name="odd", types=frozenset({"jwt"}), client_claim="client_id", algorithms=frozenset({"RS256"}))
AS_ODD = replace(ODD, name="as_odd", client_claim="azp")


@pytest.mark.parametrize(
    ("paths", "reason"), [((), Reason.DIALECT_AMBIGUOUS), ((("rights",),), Reason.TYPE_NOT_ALLOWED)]
)
def test_a_token_that_fits_no_single_dialect_fails_at_that_step(paths: Any, reason: Reason) -> None:
    """The second reason is also given for the header's type, which is looked at before the signature."""
    dialects = [replace(table, permissions_claims=paths) for table in (ODD, AS_ODD)]
    found = examined(token_with({"client_id": "first-party-app"}), (ISSUER.trusted(dialects=dialects),))
    assert found.refused is not None
    assert found.refused.reason is reason
    assert [result.step for result in found.steps if result.state is State.FAILED] == [Step.DIALECT]
    assert found.reading is None


def test_a_key_that_is_not_named_among_several() -> None:
    keys = {"keys": [{**SigningKey().jwk(), "kid": name} for name in "ab"]}
    found = examined(sign_raw(header_of(kid=None), ISSUER.claims()), (ISSUER.trusted(keys=keys),))
    assert found.refused is not None
    assert found.refused.reason is Reason.KEY_AMBIGUOUS
    none = examined(sign_raw(header_of(kid=None), ISSUER.claims()), (ISSUER.trusted(keys={"keys": []} | es_key()),))
    assert none.why == "The token was signed with a key that its issuer does not publish. It names no key."


def es_key() -> dict[str, Any]:
    return {"keys": [SigningKey("PS256").jwk()]}


def test_an_audience_that_fits_two_settings() -> None:
    one, other = ISSUER.trusted(), replace(ISSUER.trusted(), audience="https://other.example/")
    found = examined(_claims(aud=[ISSUER.audience, "https://other.example/"]), (one, other))
    assert found.refused is not None
    assert found.refused.reason is Reason.AUDIENCE_AMBIGUOUS
    assert 'this API is "https://api.test/" or "https://other.example/".' in found.why
    assert "differ in the slash" not in found.why
    assert found.trusted is None
    untrusted = examined(_claims(iss="https://evil.example/"), (one, other))
    assert 'trusted is "https://issuer.test/".' in untrusted.why


class FailingKeys:
    """A key source that raises what it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def get(self, kid: str | None, algorithm: str) -> Any:
        raise self.error


@pytest.mark.parametrize("reason", [reason for reason, step in FAILS_AT.items() if step is Step.KEY])
def test_an_outage_is_no_fault_of_the_token(reason: Reason, caplog: pytest.LogCaptureFixture) -> None:
    if reason in {Reason.KEY_NOT_PUBLISHED, Reason.KEY_AMBIGUOUS}:
        error: Exception = InvalidToken(Code.UNKNOWN_KEY, reason)
    elif reason is Reason.KEY_SOURCE_FAILED:
        error = RuntimeError()
    else:
        error = KeysUnavailable(reason, 1)
    found = examined(TOKEN, (ISSUER.trusted(keys=FailingKeys(error)),))
    is_outage = not isinstance(error, InvalidToken)
    assert found.outcome == ("unavailable" if is_outage else "refused")
    assert ("no fault of the token" in found.change) is is_outage
    assert [result.step for result in found.steps if result.state is State.FAILED] == [Step.KEY]


def test_a_key_of_another_algorithm_fails_at_the_key() -> None:
    """The key source is at fault, not the token."""

    class Wrong:
        async def get(self, kid: str | None, algorithm: str) -> Any:
            return parse_jwk(SigningKey("ES256").jwk())

    found = examined(TOKEN, (ISSUER.trusted(keys=Wrong()),))
    assert [result.step for result in found.steps if result.state is State.FAILED] == [Step.KEY]


@pytest.mark.parametrize("reason", [Reason.REVOKED, Reason.REVOCATION_CHECK_FAILED])
def test_a_revoked_token_failed_at_the_last_step(reason: Reason) -> None:
    assert failed_step(InvalidToken(Code.REVOKED, reason), None, has_allowed_type=True) is Step.REVOCATION


@pytest.mark.parametrize("reason", FAILS_AT)
def test_nothing_is_missing_where_nothing_more_is_known(reason: Reason) -> None:
    """A refusal of an application's own key source may carry any reason, at any time."""
    refused = Refused(Code.INVALID_CLAIM, reason)
    words = why_of(case_of(refused))
    assert "None" not in words
    assert "nothing" not in words or reason in {Reason.ALGORITHM_NOT_ALLOWED, Reason.TYPE_NOT_ALLOWED}
    assert failed_step(refused, None, has_allowed_type=False) in Step
    refused.issuer = refused.dialect = "of nobody"
    assert failed_step(refused, ISSUER.trusted(), has_allowed_type=False) in Step


def test_steps_that_are_not_asked_are_not_listed() -> None:
    def steps(token: str, *issuers: TrustedIssuer) -> dict[Step, str]:
        return {result.step: result.rule.what for result in examined(token, issuers).steps}

    limited, secret = ISSUER.trusted(tenants=["org_1"]), ISSUER.trusted(keys=None, secret="x" * 32)
    assert Step.TENANT not in steps(TOKEN, ISSUER.trusted())
    assert Step.TENANT not in steps(TOKEN)
    assert Step.TENANT in steps(_claims(org_id="org_1"), limited)
    assert Step.TENANT in steps(_claims(iss="https://evil.example/"), limited)
    elsewhere = replace(limited, issuer="https://other.test/")
    assert Step.TENANT not in steps(TOKEN, ISSUER.trusted(), elsewhere)
    of_a_key_source = FailingKeys(InvalidToken(Code.WRONG_TENANT, Reason.TENANT_NOT_ALLOWED))
    assert Step.TENANT in steps(TOKEN, ISSUER.trusted(keys=of_a_key_source))
    named, known = "The issuer publishes the key it names (kid).", "The key it was signed with is known."
    assert steps(TOKEN, ISSUER.trusted())[Step.KEY] == steps("0paque", ISSUER.trusted())[Step.KEY] == named
    assert steps(sign_raw(header_of(kid=None), ISSUER.claims()), ISSUER.trusted())[Step.KEY] == known
    assert steps(TOKEN, secret)[Step.KEY] == known


# --- nobody to trust --------------------------------------------------------------------------------------------------


def test_without_anybody_to_trust_nothing_is_called_valid(explain: ExplainCommand) -> None:
    shown = explain(TOKEN, f"--now={NOW}", '--policy="read:orders"')
    assert shown.code == 1
    assert shown.err == ""
    assert shown.out.startswith(
        "NOT VERIFIED. Nobody has checked who wrote this token: everything it says may be made up"
    )
    assert shown.out.count("NOT VERIFIED") == 2
    assert not re.search(r"ACCEPTED|\bcounts {2}|It grants|holds: nobody has changed it\. .*passed", shown.out)
    assert "Claims, as the token says; nobody has verified them" in shown.out
    assert "Grants, if it were accepted; as it is, none of them counts" in shown.out
    assert "would count  read:orders" in shown.out
    assert (
        "  no  The token is not accepted, so no policy is met.\n  If it were accepted: yes, the policy is met"
        in shown.out
    )


def test_without_anybody_to_trust_json_says_so_too(explain: ExplainCommand) -> None:
    document = explain(TOKEN, "--json", '--policy="read:orders"').document
    assert (document["outcome"], document["trust"]) == ("unverified", {"mode": "none", "issuers": []})
    assert document["grants"]["effective"] == []
    assert document["grants"]["claimed"] == ["read:orders"]
    assert not any(value["counts"] for value in document["grants"]["values"])
    assert (document["policy"]["answer"], document["policy"]["claimed"]) == ("refused", "allowed")
    assert [(step["step"], step["state"]) for step in document["steps"]][:3] == [
        ("scheme", "passed"),
        ("form", "passed"),
        ("issuer", "not_checked"),
    ]
    assert {step["state"] for step in document["steps"][2:]} == {"not_checked"}


@pytest.mark.parametrize(
    ("dialect", "permissions", "names"),
    [
        ("rfc9068", (), ["rfc9068_profile", "rfc9068"]),
        ("rfc9068_profile_authz", ["x"], ["rfc9068_profile_authz", "rfc9068"]),
        ("access_token", (), ["access_token"]),
    ],
)
def test_a_dialect_that_is_open_is_said_to_be(
    dialect: str, permissions: Any, names: list[str], explain: ExplainCommand
) -> None:
    token = ISSUER.token(dialect, scope="x", permissions=permissions)
    found = explain(token, "--json").document["dialect"]
    assert [found["name"], *found["others"]] == names
    assert any("say it with --dialect" in fact for fact in found["because"]) is (len(names) > 1)
    assert f"Dialect: {' or '.join(names)}, if it were accepted\n" in explain(token).out
    assert explain(token, "--dialect", dialect, "--json").document["dialect"]["others"] == []


def test_a_token_of_no_dialect_is_still_shown(explain: ExplainCommand) -> None:
    shown = explain(compact({"alg": "RS256"}, {"hello": "world"}), '--policy="x"')
    assert (
        "Dialect: none reads this token The token's type (typ) is not one that the allowed dialects write. It says "
        "nothing; allowed is jwt (access_token) or"
    ) in joined(shown.out)
    assert 'hello  "world"  the issuer\'s own; only policy.claim(…) looks at it' in shown.out
    assert "  no  The token is not accepted, so no policy is met.\n" in shown.out
    assert "If it were accepted" not in shown.out
    assert shown.code == 1


@pytest.mark.parametrize("dialect", ["access_token", "rfc9068"])
@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"nonce": "n"}, "The token is an ID token: it tells the client who logged in, and lets nobody call an API."),
        ({"azp": "one", "client_id": "other"}, "The token names two different clients, in azp and in client_id."),
        ({"scope": 1}, "The token has a claim of a form that cannot be meant. The claim is scope."),
    ],
)
def test_why_no_dialect_reads_a_token_is_said_also_where_nothing_is_verified(
    dialect: str, claims: dict[str, Any], words: str, explain: ExplainCommand
) -> None:
    token = token_with(claims, dialect)
    assert f"Dialect: none reads this token {words}" in joined(explain(token).out)
    assert explain(token, "--json").document["note"] == words


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--audience=x"], "--jwks and --audience need somebody to trust; add --issuer URL, --auth0 DOMAIN or --app"),
        (["--issuer=https://a.example", "--auth0=a"], "--issuer and --auth0 both say whom to trust; give one of them"),
        (["--app=main:app", "--issuer=https://a"], "--app and --issuer both say whom to trust; give one of them"),
        (
            ["--app=main:app", "--no-rbac-enforced"],
            "with --app the application says all there is about its issuers; leave those arguments out",
        ),
        (["--factory"], "--factory and --app-dir are about an application; add --app module:app"),
        (["--app-dir=."], "--factory and --app-dir are about an application; add --app module:app"),
        (["--now=-1"], "--now takes seconds since 1970"),
        (["--now=nan"], "--now takes seconds since 1970"),
        (["--now=inf"], "--now takes seconds since 1970"),
        (
            ["--issuer=https://a.example"],
            "TrustedIssuer: audience is missing; write the identifier of this API, such as https://orders.acme.example/",
        ),
        (
            ["--issuer=a", "--audience=x"],
            "TrustedIssuer: issuer is no https URL; write it with https:// and a host",
        ),
        (
            ["--auth0=https://a/", "--audience=x"],
            "TrustedIssuer.auth0: domain is a bare host name; write acme.eu.auth0.com, without https:// or slashes",
        ),
    ],
)
def test_arguments_that_cannot_be_meant_are_one_sentence(
    arguments: list[str], sentence: str, explain: ExplainCommand
) -> None:
    assert explain(TOKEN, *arguments) == Shown(2, "", f"authz explain: {sentence}\n")


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"keys": [{}]}', " " * 600_000 + "{}"])
def test_a_file_without_keys_is_one_sentence(content: str, explain: ExplainCommand, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(content, encoding="utf-8")
    shown = explain(TOKEN, "--issuer=https://a.example", "--audience=x", f"--jwks={tmp_path / 'jwks.json'}")
    assert (shown.code, shown.out) == (2, "")
    assert "key" in shown.err
    assert len(shown.err.splitlines()) == 1


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "2026-09-21 14:13:20 UTC, now"),
        (0.5, "2026-09-21 14:13:20 UTC, now"),
        (1, "2026-09-21 14:13:21 UTC, in 1 second"),
        (-59, "2026-09-21 14:12:21 UTC, 59 seconds ago"),
        (300, "2026-09-21 14:18:20 UTC, in 5 minutes"),
        (-3 * 3600 - 1, "2026-09-21 11:13:19 UTC, 3 hours ago"),
        (86_400, "2026-09-22 14:13:20 UTC, in 1 day"),
        (-NOW, "1970-01-01 00:00:00 UTC, 56 years ago"),
        (2**53 - NOW, "later than any calendar, in 285616357 years"),
    ],
)
def test_a_moment_in_words(seconds: float, words: str) -> None:
    assert moment(NOW + seconds, NOW) == words


def test_a_span_shorter_than_a_second() -> None:
    assert span(0.2) == "0 seconds"
    assert utc(0.9) == "1970-01-01 00:00:00 UTC"


@pytest.mark.parametrize("value", ["soon", True, None, -1, [], 2**64, 10**400 // 1])
def test_what_is_no_date_is_said_to_be_none(value: object, explain: ExplainCommand) -> None:
    token = compact({"alg": "RS256"}, {"exp": value, "auth_time": NOW})
    exp, auth_time = explain(token, f"--now={NOW}", "--json").document["claims"]
    assert (exp["when"], exp["meaning"]) == (None, "when it ends; but this is no number of seconds")
    assert auth_time["when"] == "2026-09-21 14:13:20 UTC, now"


def test_an_old_token_can_be_looked_at_as_of_then(offline: ExplainCommand) -> None:
    assert offline(TOKEN).code == 0
    assert offline(TOKEN, f"--now={NOW + 86_400}", "--json").document["reason"] == "expired"


# --- online and offline -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loopback() -> Iterator[LocalIssuer]:
    """Yield an issuer whose metadata and keys are served on loopback."""
    with listen(0) as listening:
        issuer = LocalIssuer(f"{url_of(listening)}/", key=ISSUER.key)
        with serving(make_issuer_app(issuer), listening):
            yield issuer


def test_online_the_keys_are_fetched(loopback: LocalIssuer, explain: ExplainCommand) -> None:
    token = loopback.token("rfc9068", scope="read:orders")
    trust = [f"--issuer={loopback.issuer}", f"--audience={loopback.audience}"]
    shown = explain(token, *trust, "--rbac-enforced", "--policy=read:orders")
    assert (shown.code, shown.err) == (0, "")
    assert f"Trusted is {loopback.issuer}, with the keys that are published now." in shown.out
    assert explain(token, *trust, "--json").document["trust"] == {"mode": "online", "issuers": [loopback.issuer]}


def test_an_issuer_that_cannot_be_reached_is_no_fault_of_the_token(explain: ExplainCommand) -> None:
    with listen(0) as listening:
        issuer = LocalIssuer(f"{url_of(listening)}/", key=ISSUER.key)
    shown = explain(issuer.token("rfc9068"), f"--issuer={issuer.issuer}", f"--audience={issuer.audience}")
    assert shown.code == 1
    assert shown.err == ""  # nor what the package logs
    assert shown.out.startswith(
        "CANNOT BE CHECKED (keys_unavailable). The issuer's keys are unavailable. "
        "About the issuer: it cannot be reached"
    )
    assert "authz doctor" in shown.out


def test_offline_and_unverified_nothing_is_fetched(
    offline: ExplainCommand, explain: ExplainCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(f"socket.socket.{name}", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert offline(TOKEN).code == 0
    assert explain(TOKEN).code == 1


def test_an_issuer_that_a_token_names_is_never_asked(loopback: LocalIssuer, explain: ExplainCommand) -> None:
    asked: list[str] = []

    async def note(request: Any) -> JSONResponse:
        asked.append(str(request.url))
        return JSONResponse({})

    with listen(0) as listening:
        evil = url_of(listening)
        with serving(Starlette(routes=[Route("/{path:path}", note)]), listening):
            claims = {**loopback.claims("rfc9068"), "iss": f"{evil}/"}
            token = loopback.sign(claims, typ="at+jwt", jku=f"{evil}/jku", x5u=f"{evil}/x5u")
            assert explain(token).code == 1
            assert explain(token, f"--issuer={loopback.issuer}", f"--audience={loopback.audience}").code == 1
    assert asked == []


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_is_verified(algorithm: str, explain: ExplainCommand, tmp_path: Path) -> None:
    issuer = LocalIssuer(algorithm=algorithm)
    (tmp_path / "jwks.json").write_text(json.dumps(issuer.jwks()), encoding="utf-8")
    trust = [f"--issuer={issuer.issuer}", f"--audience={issuer.audience}", f"--jwks={tmp_path / 'jwks.json'}"]
    token = issuer.token("rfc9068")
    head, body, signature = token.split(".")
    assert explain(token, *trust).code == 0
    forged = f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    assert explain(forged, *trust, "--json").document["reason"] == "signature_invalid"


# --- a policy ---------------------------------------------------------------------------------------------------------

NAMES = st.text(st.sampled_from("abc:/.-_é'\"\\"), min_size=1, max_size=6)
PARAMETERS = NAMES.map(policy.path_param)
ISSUERS = st.none() | st.just(ISSUER.issuer)
SCALARS = st.text(max_size=4) | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, -1.5])


def owns_order(_: Any) -> bool:
    return True


TERMS = st.one_of(
    NAMES.map(policy.scope),
    NAMES.map(policy.permission),
    NAMES.map(policy.any_of),
    st.builds(lambda name, issuer: policy.role(name, issuer=issuer), NAMES, ISSUERS),
    st.builds(lambda name, issuer: policy.group(name, issuer=issuer), NAMES, ISSUERS),
    st.builds(lambda name, issuer: policy.subject(name, issuer=issuer), NAMES | PARAMETERS, ISSUERS),
    st.builds(lambda name, issuer: policy.client(name, issuer=issuer), NAMES | PARAMETERS, ISSUERS),
    (NAMES | PARAMETERS).map(policy.tenant),
    st.builds(
        lambda name, value, issuer: policy.claim(name, equals=value, issuer=issuer),
        NAMES | st.tuples(NAMES, NAMES),
        SCALARS | PARAMETERS,
        ISSUERS,
    ),
    st.builds(lambda name, value: policy.claim(name, contains=value), NAMES, SCALARS | PARAMETERS),
    st.builds(lambda value: policy.claim("org", matches=value), st.sampled_from(["acme-.*", r"\d+", "a'b"])),
    st.sampled_from([policy.machine, policy.user, AUTHENTICATED]),
)
POLICIES = st.recursive(
    TERMS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: policy.any_of(*parts))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: policy.all_of(*parts))
    ),
    max_leaves=6,
)


@given(POLICIES)
def test_the_text_of_a_policy_is_read_as_that_policy(meant: Policy) -> None:
    assert parse_policy(repr(meant)) == meant


def test_a_check_is_known_by_its_name_alone() -> None:
    read = parse_policy(repr(policy.scope("a") & policy.check(owns_order)))
    assert repr(read) == "scope('a') & check(owns_order)"
    assert repr(parse_policy("check(orders.owns)")) == "check(orders.owns)"
    with pytest.raises(NotImplementedError):
        parse_policy("check(f)").terms[0].function(TokenRequest(accepted_token()))  # type: ignore[attr-defined]


def accepted_token(**claims: Any) -> Any:
    return ISSUER.access_token(trusted=ISSUER.trusted(third_party_clients=(), roles_claims="roles_of"), **claims)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("read:orders", policy.any_of("read:orders")),
        (" orders/read.all \n", policy.any_of("orders/read.all")),
        ("machine", policy.machine),
        ("policy.machine", policy.machine),
        ("authenticated", AUTHENTICATED),
        ('policy.scope("a") & policy.any_of("b", "c")', policy.scope("a") & policy.any_of("b", "c")),
        ('"a" | "b" & "c"', policy.any_of("a", policy.all_of("b", "c"))),
        ('all_of("a", role("b"))', policy.all_of("a", policy.role("b"))),
        ('claim(("a", "b"), equals=-1)', policy.claim(("a", "b"), equals=-1)),
    ],
)
def test_a_policy_as_people_write_it(text: str, meant: Policy) -> None:
    assert parse_policy(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "'a' and 'b'",
        "not 'a'",
        "~scope('a')",
        "'a' + 'b'",
        "'a' 'b' |",
        "scope",
        "scope()",
        "scope('a', 'b')",
        "scope('a', x=1)",
        "scope(*['a'])",
        "scope(**{'value': 'a'})",
        "scope(__import__('os').system('true'))",
        "__import__('os')",
        "().__class__",
        "policy.core",
        "policy.policy.scope('a')",
        "policy.check.__globals__",
        "scope.__globals__['os']",
        "other.scope('a')",
        "check(lambda _: True)",
        "check()",
        "check('a')",
        "check(f, seconds=9)",
        "path_param('org')",
        "path_param",
        "claim('a', equals=open('x'))",
        "claim('a', equals=[1])",
        "claim('a', equals=b'1')",
        "claim('a', equals=None)",
        "claim('a', matches='(')",
        "claim('scope', equals='x')",
        "claim('a')",
        "claim(path_param('a'), equals=1)",
        "[scope('a')]",
        "(lambda: scope('a'))()",
        "f'{1}'",
        "True",
        "None",
        "scope('a b')",
        "'openid'",
        "'a'\0",
        "'a'\n'b",
        "(" * 500,
        "x" * 3000,
        "public",
        "\ud800",
    ],
)
def test_what_is_no_policy_is_one_sentence_and_nothing_is_executed(text: str, explain: ExplainCommand) -> None:
    with pytest.raises(NotUsable) as refused:
        parse_policy(text)
    assert str(refused.value).startswith("--policy")
    shown = explain(TOKEN, f"--policy={text}")
    assert (shown.code, shown.out) == (2, "")
    assert len(shown.err.splitlines()) == 1


def test_a_pattern_with_an_odd_escape_does_not_warn() -> None:
    assert parse_policy('claim("org", matches="\\d+")') == policy.claim("org", matches=r"\d+")


@pytest.mark.parametrize(
    ("text", "answer", "code"),
    [
        ('"read:orders" | role("admin")', "allowed", 0),
        ('role("admin")', "allowed", 0),
        ('permission("read:orders") & user', "allowed", 0),
        ('claim("org_id", equals="org_1")', "allowed", 0),
        ('"delete:orders"', "refused", 1),
        ("machine", "refused", 1),
        ('claim("org_id", equals=path_param("org"))', "unknown", 1),
        ("check(owns)", "unknown", 1),
        ('"read:orders" | check(owns)', "allowed", 0),
        ('"delete:orders" & check(owns)', "refused", 1),
        ('subject(path_param("user"), issuer="https://issuer.test/")', "unknown", 1),
    ],
)
def test_one_decision(text: str, answer: str, code: int, offline: ExplainCommand) -> None:
    token = ISSUER.token(permissions=["read:orders"], org_id="org_1", roles_of=["admin"])
    shown = offline(token, "--policy", text, "--roles-claim=roles_of", "--no-third-party-clients", "--json")
    assert (shown.code, shown.document["policy"]["answer"]) == (code, answer)
    assert shown.document["policy"]["policy"] == repr(parse_policy(text))


def test_what_only_a_request_can_tell_is_named(offline: ExplainCommand) -> None:
    text = '("delete:orders" & check(owns)) | (check(other) & tenant(path_param("org"))) | check(third)'
    shown = offline(TOKEN, "--policy", text)
    assert "  depends  only the request can tell whether check(third) holds\n" in shown.out
    document = offline(TOKEN, "--policy", text, "--json").document
    assert document["policy"]["depends_on"] == ["check(third)"]


def test_a_policy_about_an_issuer_that_is_not_trusted_is_one_sentence(offline: ExplainCommand) -> None:
    shown = offline(TOKEN, "--policy", 'role("admin", issuer="https://other.example/")')
    assert (shown.code, shown.out) == (2, "")
    assert "issuer= names none that is trusted here" in shown.err


def test_a_term_about_another_issuer_is_never_open() -> None:
    request = TokenRequest(accepted_token())
    elsewhere = policy.subject(policy.path_param("user"), issuer="https://other.example/")
    assert judge(elsewhere, request).answer is PolicyOutcome.REFUSED
    several = TokenRequest(replace(request.token, trust=IssuerTrust(among_several=True)))
    assert judge(policy.subject(policy.path_param("user")), several).answer is PolicyOutcome.REFUSED


@pytest.mark.parametrize(
    ("asked", "claims", "is_open"),
    [
        (policy.claim("org_id", equals=policy.path_param("x")), {"org_id": "org_1"}, True),
        (policy.claim("org_id", equals=policy.path_param("x")), {}, False),
        (policy.claim("org_id", equals=policy.path_param("x")), {"org_id": None}, False),
        (policy.claim(("a", "b"), equals=policy.path_param("x")), {"a": {"b": 1}}, True),
        (policy.claim(("a", "b"), equals=policy.path_param("x")), {"a": 1}, False),
        (policy.claim(("a", "b"), equals=policy.path_param("x")), {"a": {"b": {}}}, False),
        (policy.claim("orgs", contains=policy.path_param("x")), {"orgs": ["org_1"]}, True),
        (policy.claim("orgs", contains=policy.path_param("x")), {"orgs": []}, False),
        (policy.claim("orgs", contains=policy.path_param("x")), {"orgs": "org_1"}, False),
        (policy.claim("orgs", equals=policy.path_param("x")), {"orgs": ["org_1"]}, False),
        (policy.subject(policy.path_param("x")), {}, True),
        (policy.client(policy.path_param("x")), {}, True),
        (policy.tenant(policy.path_param("x")), {"org_id": "org_1"}, True),
        (policy.tenant(policy.path_param("x")), {}, False),
        (policy.tenant("org_1"), {"org_id": "org_2"}, False),
    ],
    ids=str,
)
def test_what_a_token_does_not_say_no_request_makes_up_for(asked: Policy, claims: Any, is_open: bool) -> None:
    verdict = judge(asked, TokenRequest(accepted_token(**claims)))
    assert verdict.answer is (PolicyOutcome.UNKNOWN if is_open else PolicyOutcome.REFUSED)


@given(POLICIES, st.lists(st.sampled_from(["a", "b", "a:b"]), max_size=3))
def test_an_answer_is_the_decision_wherever_nothing_is_open(asked: Policy, permissions: list[str]) -> None:
    request = TokenRequest(accepted_token(permissions=permissions, roles_of=["a", "b"]))
    verdict = judge(asked, request)
    decision = conclude(asked, request)
    open_terms = frozenset(term for term in asked.terms if term.asks_request)
    if verdict.answer is PolicyOutcome.ALLOWED:
        assert decision.allowed
    if verdict.answer is PolicyOutcome.REFUSED:
        assert not decision.allowed
    if verdict.answer is PolicyOutcome.UNKNOWN:
        assert not decision.allowed
        assert conclude(asked, request, dict.fromkeys(verdict.depends_on, True)).allowed
    if not open_terms:
        assert verdict.answer is (PolicyOutcome.ALLOWED if decision.allowed else PolicyOutcome.REFUSED)


# --- an application ---------------------------------------------------------------------------------------------------

APPLICATION = """
    import json, pathlib
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route, WebSocketRoute
    from authz_middleware import AuthzMiddleware, TrustedIssuer, authenticated, policy, public, requires

    async def page(request): return PlainTextResponse("")
    async def forgotten(request): return PlainTextResponse("")
    async def socket(websocket): ...
    def owns(request): raise AssertionError("a check was run")

    keys = json.loads(pathlib.Path("jwks.json").read_text())
    trusted = TrustedIssuer("https://issuer.test/", "https://api.test/", dialects=["access_token_authz"],
                            first_party_clients=["first-party-app"], keys=keys)
    other = TrustedIssuer("https://other.test/", "https://api.test/")
    routes = [
        Route("/read", requires("read:orders")(page)),
        Route("/ship", requires("ship:orders")(page), methods=["POST"]),
        Route("/delete/{id}", requires("delete:orders")(page), methods=["DELETE"]),
        Route("/mine/{id}", requires(policy.check(owns))(page)),
        Route("/orgs/{org}", requires(policy.claim("org_id", equals=policy.path_param("org"), issuer="https://issuer.test/"))(page)),
        Route("/me", authenticated(page)),
        Route("/health", public(page)),
        Route("/forgotten", forgotten),
        WebSocketRoute("/live", requires("read:orders")(socket)),
    ]
    def guarded(routes=routes, issuers=[trusted], **options):
        return Starlette(routes=routes, middleware=[Middleware(AuthzMiddleware, issuers=issuers, **options)])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Yield what writes main.py into a directory that is the working directory; what it imports is forgotten again."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "jwks.json").write_text(json.dumps(ISSUER.jwks()), encoding="utf-8")

    def write(code: str) -> None:
        (tmp_path / "main.py").write_text(dedent(APPLICATION) + dedent(code), encoding="utf-8")

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


Project = Callable[[str], None]
WHY_NOT = conclude(policy.any_of("delete:orders"), TokenRequest(accepted_token(permissions=["ship:orders"]))).why
"""What the policy's own words are: they are said, not said anew."""
AT_NOW = ("--app=main:app", f"--now={NOW}")


@pytest.mark.parametrize("kid", ["first", "another"])
def test_a_token_of_another_process_and_its_local_issuer(kid: str, project: Project, explain: ExplainCommand) -> None:
    project("""
        from authz_middleware.testing import LocalIssuer, SigningKey
        issuer = LocalIssuer("https://issuer.test/", "https://api.test/", key=SigningKey(kid="first"))
        trusted = issuer.trusted(first_party_clients=["first-party-app"], dialects=["access_token_authz"])
        app = guarded(routes[:1], [trusted])
    """)
    shown = explain(ISSUER.sign(ISSUER.claims(), key=SigningKey(kid=kid)), *AT_NOW)
    assert shown.code == 1
    assert "has new keys in each process; sign a token in this process" in joined(shown.out)
    assert "damaged" not in shown.out


def test_which_routes_a_token_reaches(project: Project, explain: ExplainCommand) -> None:
    project("app = guarded()")
    shown = explain(TOKEN, *AT_NOW)
    assert shown.code == 0
    assert joined(shown.out.partition("Routes of main:app\n")[2]) == joined(
        """
        yes GET /read the policy is met ('read:orders' is in scope and permissions)
        yes POST /ship the policy is met ('ship:orders' is in permissions)
        no DELETE /delete/{id} 403 insufficient_scope: WHY_NOT (it asks for 'delete:orders')
        depends GET /mine/{id} only the request can tell whether check(owns) holds (it asks for check(owns))
        no GET /orgs/{org} 403 insufficient_scope: claim('org_id', equals=path_param('org'),
            issuer='https://issuer.test/') does not hold: the token does not carry this claim
            (it asks for claim('org_id', equals=path_param('org'), issuer='https://issuer.test/'))
        yes GET /me the policy is met
        yes GET /health the route is public
        no GET /forgotten 403 no_policy: the route states no policy
        yes WEBSOCKET /live the policy is met ('read:orders' is in scope and permissions)
        """
    ).replace("WHY_NOT", WHY_NOT)
    assert "Trusted is https://issuer.test/, as main:app does." in joined(shown.out)
    assert "revoked=" not in shown.out


def test_routes_as_json(project: Project, explain: ExplainCommand) -> None:
    project("app = guarded()")
    routes = explain(TOKEN, *AT_NOW, "--json").document["routes"]
    assert routes[2] == {
        "kind": "http",
        "methods": ["DELETE"],
        "path": "/delete/{id}",
        "policy": "'delete:orders'",
        "answer": "refused",
        "why": WHY_NOT,
        "depends_on": [],
        "status": 403,
        "code": "insufficient_scope",
    }
    assert routes[3]["depends_on"] == ["check(owns)"]
    assert explain(TOKEN, "--json").document["routes"] is None


def test_whether_a_token_was_revoked_only_the_application_can_tell(project: Project, explain: ExplainCommand) -> None:
    project(
        """
        def revoked(token): raise AssertionError("the application was asked")
        app = guarded(revoked=revoked)
        """
    )
    shown = explain(TOKEN, *AT_NOW)
    assert shown.code == 0
    assert joined(shown.out).startswith(
        "ACCEPTED, but whether it is revoked was not asked (revoked=). It grants read:orders, ship:orders."
    )
    assert "not checked The application does not call it revoked (revoked=); only the application can tell." in joined(
        shown.out
    )


def test_a_refused_token_reaches_nothing_not_even_what_is_public(project: Project, explain: ExplainCommand) -> None:
    project("app = guarded()")
    shown = explain(TOKEN, "--app=main:app", f"--now={NOW + 86_400}", "--json")
    assert shown.code == 1
    assert {(r["answer"], r["status"], r["code"], r["why"]) for r in shown.document["routes"]} == {
        ("refused", 401, "expired", "the token is refused")
    }


@pytest.mark.parametrize(
    ("code", "path", "answer", "why"),
    [
        ('app = guarded(undecorated="authenticated")', "/forgotten", "allowed", "the policy is met"),
        ("app = guarded(enforce=False)", "/delete/{id}", "allowed", "refusals are only reported, so anybody gets in"),
        ('app = guarded(public_paths=["/forgotten"])', "/forgotten", "allowed", "the route is public"),
        (
            'app = Starlette(routes=[Mount("/in", app=guarded()), Route("/out", forgotten)])',
            "/out",
            "allowed",
            "no AuthzMiddleware stands in front, so anybody gets in",
        ),
        (
            'app = Starlette(routes=[Mount("/in", app=guarded()), Route("/out", requires("x")(page))])',
            "/out",
            "refused",
            "no AuthzMiddleware stands in front, so every call fails",
        ),
        (
            'app = Starlette(routes=[Mount("/in", app=guarded())])',
            "/in/read",
            "allowed",
            "the policy is met ('read:orders' is in scope and permissions)",
        ),
    ],
)
def test_routes_are_judged_as_they_are_guarded(
    code: str, path: str, answer: str, why: str, project: Project, explain: ExplainCommand
) -> None:
    project(code)
    routes = {route["path"]: route for route in explain(TOKEN, *AT_NOW, "--json").document["routes"]}
    assert (routes[path]["answer"], routes[path]["why"]) == (answer, why)


def test_a_route_whose_calls_fail_has_a_status_and_no_code(project: Project, explain: ExplainCommand) -> None:
    project('app = Starlette(routes=[Mount("/in", app=guarded()), Route("/out", requires("x")(page))])')
    assert "no       GET        /out             500: no AuthzMiddleware stands in front" in explain(TOKEN, *AT_NOW).out


def test_middlewares_that_trust_differently_are_told(project: Project, explain: ExplainCommand) -> None:
    inner = "guarded(issuers=[other])"
    project(f'app = guarded([Mount("/in", app={inner}), Route("/out", requires("read:orders")(page))])')
    shown = explain(TOKEN, *AT_NOW)
    assert "This application has middlewares that trust differently: 1 of 2 accept this token." in shown.out
    routes = explain(TOKEN, *AT_NOW, "--json").document["routes"]
    assert {route["answer"] for route in routes} == {"unknown"}


@pytest.mark.parametrize(
    "token", [TOKEN, "0paque", ISSUER.token(expires_in=-60), ISSUER.token(permissions=["read:orders"])]
)
def test_middlewares_that_make_the_same_of_a_token_agree(token: str, project: Project, explain: ExplainCommand) -> None:
    project(
        """
        from dataclasses import replace
        app = guarded([Mount("/in", app=guarded(issuers=[replace(trusted)])), *routes])
        """
    )
    document = explain(token, *AT_NOW, "--json").document
    assert document["note"] is None
    assert "middlewares of this application" not in json.dumps(document["routes"])


def test_an_application_with_several_issuers(project: Project, explain: ExplainCommand) -> None:
    project('app = guarded([Route("/", requires("read:orders")(page))], issuers=[trusted, other])')
    document = explain(TOKEN, *AT_NOW, "--json").document
    assert document["outcome"] == "accepted"
    assert document["trust"] == {"mode": "application", "issuers": ["https://issuer.test/", "https://other.test/"]}
    shown = explain(TOKEN, *AT_NOW, '--policy=role("admin")')
    assert shown.code == 2
    assert "several issuers are trusted, and each may give this name; add issuer=" in shown.err


def test_keys_from_a_file_take_the_place_of_an_application_s(
    project: Project, explain: ExplainCommand, jwks: str
) -> None:
    project(
        """
        from dataclasses import replace
        online = replace(trusted, keys=None, jwks_uri="https://issuer.test/keys")
        shared = TrustedIssuer("https://shared.test/", "https://api.test/", secret="x" * 32)
        app = guarded(issuers=[online, shared])
        """
    )
    assert explain(TOKEN, *AT_NOW, f"--jwks={jwks}").code == 0
    secret = LocalIssuer("https://shared.test/", key=SigningKey("HS256", private=b"x" * 32), clock=lambda: NOW)
    assert explain(secret.token("rfc9068"), *AT_NOW, f"--jwks={jwks}").code == 0


def test_keys_from_a_file_that_no_issuer_can_use_are_one_sentence(
    project: Project, explain: ExplainCommand, tmp_path: Path
) -> None:
    project("app = guarded()")
    (tmp_path / "empty.json").write_text('{"keys": []}', encoding="utf-8")
    shown = explain(TOKEN, *AT_NOW, "--jwks=empty.json")
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("authz explain: TrustedIssuer: keys= holds no key")


def test_keys_from_a_file_say_nothing_where_every_issuer_has_a_secret(
    project: Project, explain: ExplainCommand, jwks: str
) -> None:
    project('app = guarded(issuers=[TrustedIssuer("https://shared.test/", "https://api.test/", secret="x" * 32)])')
    assert explain(TOKEN, *AT_NOW, f"--jwks={jwks}") == Shown(
        2, "", "authz explain: main:app verifies with secret= alone, so --jwks has nothing to say; leave it out\n"
    )


def test_a_dialect_may_be_named_twice(offline: ExplainCommand) -> None:
    assert offline(TOKEN, "--dialect=access_token_authz", "--dialect=access_token_authz").code == 0


def test_an_application_s_limit_of_size_counts(project: Project, explain: ExplainCommand) -> None:
    project("app = guarded(max_token_bytes=300)")
    assert explain(TOKEN, *AT_NOW, "--json").document["reason"] == "too_large"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--app=main"], "--app takes module:app, such as main:app for the application `app` in main.py"),
        (["--app=absent:app"], "there is no module absent in .; say where it is with --app-dir"),
        (
            ["--app=main:bare"],
            "main:bare has no AuthzMiddleware, so it trusts nobody; name the application it is added to",
        ),
        (
            ["--app=main:page"],
            "main:page has no AuthzMiddleware, so it trusts nobody; name the application it is added to",
        ),
        (["--app=main:wrong"], "main:wrong: realm must be printable ASCII without quotes or backslashes"),
        (["--app=main:breaks"], "main:breaks: its middleware cannot be made outside a server (RuntimeError)"),
        (
            ["--app=main:late"],
            "main:late: /late: @requires stands above the route decorator, or guards a copy that this route does not "
            "serve; write it below the route decorator, next to the function",
        ),
    ],
)
def test_an_application_that_cannot_be_used_is_one_sentence(
    arguments: list[str], sentence: str, project: Project, explain: ExplainCommand
) -> None:
    project(
        """
        class Breaks:
            def __init__(self, app): raise RuntimeError
        bare = Starlette()
        wrong = guarded(realm='"')
        breaks = Starlette(middleware=[Middleware(Breaks)])
        async def copied(request): ...
        requires("x")(copied)
        late = guarded([Route("/late", copied)])
        """
    )
    assert explain(TOKEN, *arguments) == Shown(2, "", f"authz explain: {sentence}\n")


def test_an_application_s_own_error_shows_where_it_comes_from(project: Project, explain: ExplainCommand) -> None:
    project("1 / 0")
    shown = explain(TOKEN, "--app=main:app")
    assert shown.code == 2
    assert shown.err.endswith("ZeroDivisionError: division by zero\nauthz explain: importing main failed\n")
    assert no_part_of(TOKEN, shown)


def test_what_an_application_says_no_argument_is_advised_for(
    project: Project, explain: ExplainCommand, offline: ExplainCommand
) -> None:
    project("from dataclasses import replace\napp = guarded(issuers=[replace(trusted, first_party_clients=None)])")
    for token, advised in (
        (TOKEN, "Here --first-party-client or --no-third-party-clients says so."),
        (ISSUER.token("rfc9068", scope="x"), "Here --dialect or --auth0 allows more."),
    ):
        assert advised in joined(offline(token, "--dialect=access_token_authz").out)
        assert "Here --" not in joined(explain(token, *AT_NOW).out)
    rbac = joined(offline(ISSUER.token("access_token", scope="x"), "--dialect=access_token").out)
    assert "state rbac_enforced=True or False. Here --rbac-enforced or --no-rbac-enforced says so." in rbac


# --- JSON -------------------------------------------------------------------------------------------------------------

TEXT = {"type": "string"}
TEXT_OR_NULL = {"type": ["string", "null"]}
TEXTS = {"type": "array", "items": TEXT}


def closed(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object with exactly these members."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


ANSWER = {"enum": list(PolicyOutcome)}
MEMBERS = {"type": "array", "items": closed(name=TEXT, value={}, meaning=TEXT, when=TEXT_OR_NULL)}
SCHEMA = closed(
    format={"const": "authz-explain"},
    version={"const": 1},
    outcome={"enum": ["accepted", "refused", "unavailable", "unverified"]},
    trust=closed(mode={"enum": ["online", "offline", "application", "none"]}, issuers=TEXTS),
    now={"type": "number"},
    code={"enum": [*Code, None]},
    reason={"enum": [*Reason, None]},
    why=TEXT_OR_NULL,
    change=TEXT_OR_NULL,
    note=TEXT_OR_NULL,
    header=MEMBERS,
    claims=MEMBERS,
    dialect=or_null(closed(name=TEXT, others=TEXTS, because=TEXTS, verified={"type": "boolean"})),
    steps={
        "type": "array",
        "items": closed(step={"enum": list(Step)}, state={"enum": list(State)}, what=TEXT, source=TEXT_OR_NULL),
    },
    grants=or_null(
        closed(
            verified={"type": "boolean"},
            effective=TEXTS,
            claimed=TEXTS,
            values={"type": "array", "items": closed(value=TEXT, sources=TEXTS, counts={"type": "boolean"})},
            rule={"enum": list(GrantRule)},
            row={"enum": ["0", "a", "b", "c"]},
            why=TEXT,
        )
    ),
    policy=or_null(closed(policy=TEXT, answer=ANSWER, claimed=ANSWER, why=TEXT, depends_on=TEXTS)),
    routes=or_null(
        {
            "type": "array",
            "items": closed(
                kind=TEXT,
                methods=TEXTS,
                path=TEXT,
                policy=TEXT,
                answer=ANSWER,
                why=TEXT,
                depends_on=TEXTS,
                status={"type": ["integer", "null"]},
                code={"enum": [*Code, None]},
            ),
        }
    ),
)
validate: Any = importlib.import_module("jsonschema").validate  # which comes without types
SAMPLES = [TOKEN, "0paque", ISSUER.token("rfc9068"), *(bad.token for bad in BAD)]


@pytest.mark.parametrize("token", SAMPLES)
def test_json_keeps_its_schema(token: str, offline: ExplainCommand, explain: ExplainCommand, project: Project) -> None:
    project("app = guarded()")
    asked = ["--json", '--policy="read:orders"']
    for shown, is_asked in (
        (offline(token, *asked), True),
        (explain(token, "--json"), False),
        (explain(token, *AT_NOW, *asked), True),
    ):
        assert shown.err == ""
        validate(shown.document, SCHEMA)
        assert (shown.document["policy"] is not None) == is_asked
        if is_asked and shown.document["dialect"] is None:
            assert (shown.document["policy"]["answer"], shown.document["policy"]["claimed"]) == ("refused", "refused")
        assert is_harmless(shown.out.replace("\n", ""))


def test_json_holds_every_value_whole(offline: ExplainCommand) -> None:
    claims: dict[str, Any] = {"long": "x" * 3000, "nested": {"a": [1, None, True, 0.5]}, "text": "größe\u202e"}
    document = offline(ISSUER.token(**claims), "--json").document
    values = {member["name"]: member["value"] for member in document["claims"]}
    assert {name: values[name] for name in claims} == claims


# --- hostile tokens ---------------------------------------------------------------------------------------------------


def no_part_of(token: str, shown: Shown) -> bool:
    """Tell whether an output holds neither a token, nor its signature, nor any long stretch of it."""
    text = re.sub(r"\s", "", shown.out + shown.err)
    pieces = [piece for piece in token.split(".") if len(piece) >= 16]
    stretches = {piece[at : at + 16] for piece in pieces for at in range(0, len(piece) - 15, 4)}
    return not any(stretch in text for stretch in stretches)


def test_what_looks_for_parts_of_a_token_finds_them() -> None:
    head, _, signature = TOKEN.split(".")
    assert no_part_of(TOKEN, Shown(0, "nothing", "nothing"))
    for piece in (TOKEN, head, signature, signature[4:24], signature[-20:], "\n ".join(signature)):
        assert not no_part_of(TOKEN, Shown(0, "", f"see {piece}!"))
        assert not no_part_of(TOKEN, Shown(0, f"see {piece}!", ""))


HOSTILE = "\x1b[2J\x1b]0;t\x07\u202e\u05d0\r\n\x9b31m\u2028[bold red]x[/]" + "a\u0301" * 9


@pytest.mark.parametrize("place", ["name", "value", "scope", "permissions", "header", "issuer", "kid", "nested"])
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_hostile_token_plays_no_tricks(
    place: str, form: list[str], offline: ExplainCommand, explain: ExplainCommand
) -> None:
    claims: dict[str, Any] = {**ISSUER.claims(), "permissions": ["read:orders"]}
    header: dict[str, Any] = header_of()
    match place:
        case "name":
            claims[HOSTILE] = 1
        case "value":
            claims["sub"] = HOSTILE
        case "scope" | "permissions":
            claims |= {"permissions": [HOSTILE], "scope": HOSTILE}
        case "header":
            header |= {HOSTILE: HOSTILE, "typ": HOSTILE}
        case "issuer":
            claims["iss"] = HOSTILE
        case "kid":
            header["kid"] = HOSTILE
        case "nested":
            claims["x"] = {HOSTILE: [[HOSTILE]]}
    token = sign_raw(header, claims)
    for shown in (offline(token, *form, f"--policy=permission({HOSTILE!r})"), explain(token, *form)):
        assert shown.out
        assert is_harmless(shown.out.replace("\n", ""))
        assert "\x1b" not in shown.out + shown.err


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CLAIM_NAMES = st.sampled_from([*ISSUER.claims(), "nbf", "scope", "act", "cnf", "org_id", "nonce"]) | st.text(max_size=8)


@settings(max_examples=60)
@given(
    changes=st.dictionaries(CLAIM_NAMES, JSON, max_size=4),
    header=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "x"]), JSON, max_size=2),
    form=st.sampled_from([[], ["--json"]]),
)
@example(changes={"sub": "x", "scope": "\u202e"}, header={}, form=[])
def test_any_token_is_explained_harmlessly_and_no_part_of_it_gets_out(
    changes: dict[str, Any], header: dict[str, Any], form: list[str], jwks_of_run: str
) -> None:
    token = sign_raw({**header_of(), **header}, {**ISSUER.claims(), **changes})
    trust = [
        f"--issuer={ISSUER.issuer}",
        f"--audience={ISSUER.audience}",
        f"--jwks={jwks_of_run}",
        "--dialect=access_token_authz",
    ]
    for arguments in ([], [*trust, f"--now={NOW}", "--policy=read:orders"]):
        shown = run_quietly(token, *form, *arguments)
        assert shown.code in {0, 1}
        assert is_harmless(shown.out.replace("\n", ""))
        assert shown.err == ""
        assert no_part_of(token, shown)


@pytest.fixture(scope="module")
def jwks_of_run(jwks: str) -> str:
    return jwks


def run_quietly(given: str, *arguments: str) -> Shown:
    """Run the command without pytest's fixtures, many times in one test."""
    stdin, out, err = io.StringIO(given), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        before, sys.stdin = sys.stdin, stdin
        try:
            code = cli.main(["explain", *arguments])
        except SystemExit as exited:
            code = int(exited.code or 0)
        finally:
            sys.stdin = before
    return Shown(code, out.getvalue(), err.getvalue())


@settings(max_examples=80)
@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.lists(st.text("abcXYZ019-_.", min_size=16, max_size=40)).map(".".join)
)
@example("eyJ" + "x" * 40)
@example("a." * 5)
def test_whatever_is_piped_in_is_refused_and_not_repeated(given: str) -> None:
    shown = run_quietly(given)
    assert shown.code in {1, 2}
    assert no_part_of(given, shown)
    assert is_harmless((shown.out + shown.err).replace("\n", ""))


def test_a_token_of_many_claims_is_explained_in_few_lines(offline: ExplainCommand) -> None:
    claims: dict[str, Any] = {"big": "y" * 3000, "permissions": [f"p{number}" for number in range(500)]}
    token = sign_raw(header_of(), claims | ISSUER.claims(permissions=None) | {f"c{number}": 1 for number in range(300)})
    shown = offline(token, "--no-third-party-clients")
    assert shown.code == 0
    assert shown.out.startswith("ACCEPTED. It grants p0, p1, p10, ")
    assert "and 480 more." in joined(shown.out)
    assert "… (3002 characters)" in joined(shown.out)
    assert shown.out.count("more; --json shows all") == 2
    assert len(shown.out.splitlines()) < 300
    document = offline(token, "--no-third-party-clients", "--json").document
    assert len(document["grants"]["effective"]) == 500
    assert len(document["claims"]) > 300


# --- in processes of its own ------------------------------------------------------------------------------------------


def run(given: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


def test_in_a_pipe_there_are_no_colours_and_the_width_is_no_matter() -> None:
    one, other = run(TOKEN, f"--now={NOW}", COLUMNS="20"), run(TOKEN, f"--now={NOW}", COLUMNS="200", FORCE_COLOR="1")
    assert one.stdout == other.stdout
    assert (one.returncode, one.stderr) == (1, "")
    assert "\x1b" not in one.stdout
    assert one.stdout.startswith("NOT VERIFIED.")


@pytest.mark.parametrize("forbidden", ["fastapi", "rich", "uvicorn"])
def test_starlette_is_enough(forbidden: str) -> None:
    program = f"""
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == {forbidden!r}:
                    raise ModuleNotFoundError(name, name=name)
        sys.meta_path.insert(0, Absent())
        sys.path.insert(0, {str(ROOT)!r})
        from authz_middleware.cli import main
        sys.exit(main(["explain"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        input=TOKEN,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("NOT VERIFIED.")


def test_what_the_package_logs_does_not_get_in_between() -> None:
    with listen(0) as listening:
        issuer = LocalIssuer(f"{url_of(listening)}/", key=ISSUER.key)
    done = run(issuer.token("rfc9068"), f"--issuer={issuer.issuer}", f"--audience={issuer.audience}")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("CANNOT BE CHECKED")


def test_an_output_without_unicode_gets_escapes() -> None:
    done = run(ISSUER.token(city="Köln"), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (1, "")
    assert '"K\\xf6ln"' in done.stdout
