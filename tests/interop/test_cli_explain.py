"""`authz explain` and `authz doctor` with tokens and documents that somebody else's server wrote."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from authz_middleware import cli

from .authorization_server import RESOURCES, AuthorizationServer, Caller
from .conftest import IssueToken

pytestmark = pytest.mark.interop

USER = Caller("app", "auth0|jo")
USER_OF_PARTNER = Caller("partner", "auth0|jo")
MACHINE = Caller("machine")
READ, SHIP = "read:orders", "ship:orders"
STANDARD, AUTH0 = f"{RESOURCES}rfc9068/ES256", f"{RESOURCES}access_token_authz/RS256"

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command in this process: with this on standard input, it returns code and output."""

    def run(given: str, command: str, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        code = cli.main([command, *arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        assert not given or given.rsplit(".", 1)[1] not in captured.out
        return code, captured.out

    return run


@pytest.fixture
def explained(run: Run, authorization_server: AuthorizationServer) -> Callable[..., tuple[int, Any]]:
    """Return what explains a token for a resource, online, as JSON."""

    def explain(token: str, resource: str, *arguments: str) -> tuple[int, Any]:
        trust = ["--issuer", authorization_server.issuer, "--audience", resource]
        code, text = run(token, "explain", *trust, *arguments)
        assert text.startswith(("ACCEPTED", "REFUSED"))
        code_again, document = run(token, "explain", *trust, *arguments, "--json")
        assert code_again == code
        return code, json.loads(document)

    return explain


def test_a_user_s_token(explained: Callable[..., tuple[int, Any]], issue_token: IssueToken) -> None:
    token = issue_token(USER, STANDARD, f"openid {READ}")
    code, document = explained(token, STANDARD, "--rbac-enforced", "--policy", READ)
    assert (code, document["outcome"], document["dialect"]["name"]) == (0, "accepted", "rfc9068")
    assert {step["state"] for step in document["steps"]} == {"passed"}
    assert (document["grants"]["effective"], document["grants"]["row"]) == ([READ], "a")
    meanings = {member["name"]: member["meaning"] for member in document["claims"]}
    assert meanings["client_id"] == "the client it was issued to"
    assert meanings["sub"] == "whom it speaks for: a user"


def test_a_third_party_s_token_of_auth0_s_shape(
    explained: Callable[..., tuple[int, Any]], issue_token: IssueToken
) -> None:
    token = issue_token(USER_OF_PARTNER, AUTH0, f"openid {READ}")
    arguments = ["--dialect=access_token_authz", "--third-party-client=partner", f'--policy="{SHIP}"']
    code, document = explained(token, AUTH0, *arguments)
    assert (code, document["outcome"], document["policy"]["answer"]) == (1, "accepted", "refused")
    assert (document["grants"]["effective"], document["grants"]["row"]) == ([READ], "b")
    assert "third-party" in document["policy"]["why"]
    first_party = explained(
        token, AUTH0, "--dialect=access_token_authz", "--no-third-party-clients", f"--policy={SHIP}"
    )
    assert (first_party[0], first_party[1]["policy"]["answer"]) == (0, "allowed")


def test_a_machine_s_token(explained: Callable[..., tuple[int, Any]], issue_token: IssueToken) -> None:
    token = issue_token(MACHINE, AUTH0, READ)
    arguments = ["--dialect=access_token_authz", f'--policy=permission("{READ}") & machine']
    code, document = explained(token, AUTH0, *arguments)
    assert (code, document["grants"]["row"]) == (0, "c")
    assert document["grants"]["why"].startswith("It belongs to a machine")


def test_a_token_for_another_api(explained: Callable[..., tuple[int, Any]], issue_token: IssueToken) -> None:
    code, document = explained(issue_token(MACHINE, AUTH0, READ), STANDARD)
    assert (code, document["code"]) == (1, "wrong_audience")
    assert [step["step"] for step in document["steps"] if step["state"] == "failed"] == ["audience"]


def test_what_nobody_verifies_is_called_so(run: Run, issue_token: IssueToken) -> None:
    code, text = run(issue_token(USER, STANDARD, f"openid {READ}"), "explain")
    assert code == 1
    assert text.startswith("NOT VERIFIED.")


def test_the_doctor_finds_the_server_well(run: Run, authorization_server: AuthorizationServer) -> None:
    arguments = [authorization_server.issuer, "--audience", STANDARD, "--rbac-enforced", "--json"]
    code, output = run("", "doctor", *arguments)
    section = json.loads(output)["sections"][0]
    levels = {(finding["topic"], finding["level"]) for finding in section["findings"]}
    assert code == 0
    assert {("discovery", "ok"), ("issuer", "ok"), ("keys", "ok"), ("clock", "ok")} <= levels
    assert not any(level == "problem" for _, level in levels)
    assert len(section["requests"]) <= 5


def test_the_doctor_finds_a_slash_too_many(run: Run, authorization_server: AuthorizationServer) -> None:
    code, output = run("", "doctor", authorization_server.issuer + "/", "--audience", STANDARD)
    assert code == 1
    assert "PROBLEM  issuer" in output
