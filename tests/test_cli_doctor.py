"""`authz doctor`: against servers that are well and ill in every way, over a faked network and a real loopback one."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from authz_middleware import TrustedIssuer, keys
from authz_middleware.cli.demo.servers import listen, serving, url_of
from authz_middleware.cli.doctor.answers import MAX_REQUESTS, Answers
from authz_middleware.cli.doctor.examination import Report, examine
from authz_middleware.cli.doctor.findings import Finding, Level, Where
from authz_middleware.cli.doctor.page import document_of, page_of
from authz_middleware.cli.failures import FAILURES
from authz_middleware.keys import Fetched, KeySettings
from authz_middleware.testing import LocalIssuer, SigningKey

from . import commands
from .commands import Shown
from .helpers import ISSUER, NOW
from .test_cli_terminal import TRICKS, is_harmless, lines

ISS = "https://login.example/"
API = "https://api.example/"
OIDC = "https://login.example/.well-known/openid-configuration"
OAUTH = "https://login.example/.well-known/oauth-authorization-server"
JWKS = "https://login.example/keys"
RSA = SigningKey(kid="rsa")
EC = SigningKey("ES256", kid="ec")
METADATA = {
    "issuer": ISS,
    "jwks_uri": JWKS,
    "authorization_endpoint": "https://login.example/authorize",
    "token_endpoint": "https://login.example/token",
    "userinfo_endpoint": "https://login.example/userinfo",
    "scopes_supported": ["openid", "read:orders"],
    "grant_types_supported": ["authorization_code"],
    "code_challenge_methods_supported": ["S256"],
}


@dataclass
class Server:
    """A `Fetch` that answers as it is told. `asked` lists the requests."""

    answers: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        self.asked.append((url, headers))
        answer = self.answers.get(url, 404)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, int):
            return Fetched(answer, dict(self.headers), b"")
        if "etag" in self.headers and headers.get("If-None-Match") == self.headers["etag"]:
            return Fetched(304, dict(self.headers), b"")
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return Fetched(200, dict(self.headers), body)


def well(**changes: Any) -> dict[str, Any]:
    """Return the answers of a server that is well; `metadata` members replace the usual ones, None removes one."""
    metadata = {name: value for name, value in {**METADATA, **changes}.items() if value is not None}
    return {OIDC: metadata, JWKS: {"keys": [RSA.jwk(), EC.jwk()]}}


def examined(server: Server, **options: Any) -> list[Finding]:
    """Return what is found at a server, with settings that leave nothing unsaid."""
    options = {"issuer": ISS, "audience": API, "rbac_enforced": True, **options}
    trusted = TrustedIssuer(fetch=server, **options)
    return list(asyncio.run(examine((trusted,), lambda: NOW)).findings)


WELL = {Level.OK, Level.NOTE}


def about(topic: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.topic == topic]


def said(findings: list[Finding], level: Level) -> str:
    return " ".join(f"{finding.what} {finding.change or ''}" for finding in findings if finding.level is level)


# --- a server that is well --------------------------------------------------------------------------------------------


def test_at_a_server_that_is_well_there_is_nothing_to_change() -> None:
    server = Server(well(), {"date": format_datetime(datetime.fromtimestamp(NOW, UTC)), "etag": '"1"'})
    findings = examined(server)
    assert {finding.level for finding in findings} <= WELL
    assert {finding.topic for finding in findings} == {
        "discovery",
        "issuer",
        "keys",
        "key cache",
        "clock",
        "metadata",
        "audience",
        "dialects",
        "RBAC",
    }
    assert 'usable: "rsa" (RS256, 2048 bits), "ec" (ES256, 256 bits).' in said(about("keys", findings), Level.OK)


def test_it_takes_a_handful_of_requests_and_each_url_is_asked_once() -> None:
    server = Server(well(), {"etag": '"1"'})
    examined(server)
    assert [url for url, _ in server.asked] == [OIDC, OAUTH, JWKS, JWKS]
    assert [headers.get("If-None-Match") for _, headers in server.asked] == [None, None, None, '"1"']


def test_every_finding_that_is_not_well_says_what_to_change_and_where() -> None:
    for finding in EVERY_KIND:
        assert finding.what.endswith(".")
        assert (finding.change is None) is (finding.where is None) is (finding.level in WELL)
        assert finding.change is None or finding.change.endswith((".", "…"))


# --- discovery --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "ok"),
    [
        ({}, f"OpenID Connect, at {OIDC}: it is there. "),
        ({OAUTH: METADATA}, f"RFC 8414, at {OAUTH}: it is there."),
        ({OIDC: 404, OAUTH: METADATA}, f"OpenID Connect, at {OIDC}: it answers 404; one form is enough."),
        ({OAUTH: 500}, f"RFC 8414, at {OAUTH}: it answers 500; one form is enough."),
    ],
)
def test_one_form_of_metadata_is_enough(answers: dict[str, Any], ok: str) -> None:
    findings = about("discovery", examined(Server({**well(), **answers})))
    assert {finding.level for finding in findings} <= WELL
    assert ok in said(findings, Level.OK) + said(findings, Level.NOTE)


@pytest.mark.parametrize("status", [301, 302, 403, 410, 500])
def test_only_a_plain_404_leads_to_the_second_form(status: int) -> None:
    findings = about("discovery", examined(Server({**well(), OIDC: status, OAUTH: METADATA})))
    words = said(findings, Level.PROBLEM)
    assert f"it answers {status}" in words
    assert "Only a plain 404 leads on to the other form." in words
    assert ("a redirect, and those are not followed" in words) is (status < 400)
    assert [finding.where for finding in findings if finding.level is Level.PROBLEM] == [Where.SERVER]


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (404, "it answers 404"),
        (301, "it answers 301, a redirect, and those are not followed"),
        (b"<html>", "its answer is no JSON object"),
        (b"[]", "its answer is no JSON object"),
        (b"{}" + b" " * 600_000, "its answer is larger than any such document"),
        (chained(httpx.ConnectError(""), ssl.SSLCertVerificationError()), "its TLS certificate is not accepted"),
        (chained(httpx.ConnectError(""), socket.gaierror()), "this machine does not know its host"),
        (httpx.ConnectError("refused"), "it cannot be reached from this machine"),
        (chained(httpx.ReadError(""), OSError()), "it cannot be reached from this machine"),
        (httpx.RemoteProtocolError("odd"), "its answer is no HTTP"),
        (ValueError("odd"), "it was asked in vain: fetch= raised ValueError"),
        (asyncio.CancelledError(), "it was not asked to the end: something in fetch= was cancelled"),
        (304, "it answers that nothing has changed (304), which nobody has asked"),
    ],
)
def test_without_metadata_one_is_told_why(answer: Any, words: str) -> None:
    findings = examined(Server({OIDC: answer, OAUTH: answer}))
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    assert len(problems) == 1
    assert problems[0].what.startswith(f"There is no metadata. {OIDC}: {words}")
    assert problems[0].where is Where.APPLICATION
    assert about("keys", findings) == []


def test_causes_that_go_in_a_circle_come_to_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert "fetch= raised ValueError" in said(examined(Server({OIDC: one, OAUTH: one})), Level.PROBLEM)


async def fetches_nothing(url: str, headers: Mapping[str, str]) -> Any:
    return None


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        (lambda url, headers: Fetched(200, {}, b"{}"), "it was not asked: fetch= is no async function"),
        (fetches_nothing, "it was asked in vain: fetch= returns no Fetched"),
    ],
)
def test_a_fetch_that_is_none_is_named(fetch: Any, words: str) -> None:
    assert f"{OIDC}: {words}; {OAUTH}: {words}." in said(examined(fetch), Level.PROBLEM)


def test_every_word_for_a_failure_has_its_sentence() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(keys.__file__).parent.glob("*.py")]
    words = set(re.findall(r'(?:FetchFailed|BrokenJWKS)\("(\w+)"', "".join(sources)))
    assert set(FAILURES) == words | {"too_many_requests"}
    assert all(re.match("its? ", sentence) and not sentence.endswith(".") for sentence in FAILURES.values())


class Hanging(Server):
    """A server that never answers."""

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        self.asked.append((url, headers))
        await asyncio.Event().wait()
        raise AssertionError


def test_a_server_that_hangs_is_given_up_and_not_asked_again() -> None:
    server = Hanging()
    findings = examined(server, key_settings=KeySettings(fetch_seconds=0.1))
    assert f"{OIDC}: it does not answer in time; {OAUTH}: it does not answer in time." in said(findings, Level.PROBLEM)
    assert [url for url, _ in server.asked] == [OIDC, OAUTH]
    assert about("clock", findings) == []


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("https://login.example", "It differs from what you wrote in the slash at the end alone, and that counts."),
        ("https://other.example/", f"You wrote {ISS}."),
        (None, "It calls itself null"),
        (1, "It calls itself 1"),
    ],
)
def test_an_issuer_is_compared_to_the_letter(stated: Any, words: str) -> None:
    answers = {**well(), OIDC: {**METADATA, "issuer": stated}}
    findings = examined(Server(answers))
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    assert [finding.topic for finding in problems] == ["issuer"]
    assert words in problems[0].what
    assert json.dumps(stated) in problems[0].what
    assert about("metadata", findings) == []


def test_two_forms_that_call_the_issuer_differently() -> None:
    other = {**METADATA, "issuer": "https://login.example"}
    findings = examined(Server({**well(), OAUTH: other}))
    assert [finding.level for finding in about("issuer", findings)] == [Level.PROBLEM]
    assert about("keys", findings)


@pytest.mark.parametrize("uri", [None, "http://login.example/keys", "/keys", 1])
def test_an_address_of_keys_that_cannot_be_fetched(uri: Any) -> None:
    findings = examined(Server(well(jwks_uri=uri)))
    assert "names no address of keys (jwks_uri) that may be fetched" in said(
        about("discovery", findings), Level.PROBLEM
    )


def test_keys_on_another_host() -> None:
    elsewhere = "https://keys.example/keys"
    server = Server({**well(jwks_uri=elsewhere), elsewhere: {"keys": [RSA.jwk()]}})
    assert "allowed_hosts=" in said(about("discovery", examined(server)), Level.ADVICE)
    limited = examined(server, key_settings=KeySettings(allowed_hosts={"login.example"}))
    assert "on a host that key_settings= does not allow" in said(about("discovery", limited), Level.PROBLEM)


def test_a_named_address_of_keys_makes_metadata_unnecessary() -> None:
    findings = examined(Server({JWKS: {"keys": [RSA.jwk()]}}), jwks_uri=JWKS)
    assert {finding.level for finding in findings} <= WELL
    assert "There is no metadata, and jwks_uri= makes it unnecessary." in said(findings, Level.NOTE)
    assert f"The application names the address of the keys: {JWKS}." in said(findings, Level.OK)


def test_metadata_that_is_broken_in_another_way_is_a_problem_all_the_same() -> None:
    """The second form is there and right, but the first one is no JSON and answers 200, so it is never asked for."""
    findings = examined(Server({OIDC: b"{", OAUTH: METADATA}))
    assert said(about("discovery", findings), Level.PROBLEM)


# --- keys -------------------------------------------------------------------------------------------------------------


def with_keys(*keys: Any, **options: Any) -> list[Finding]:
    return about("keys", examined(Server({**well(), JWKS: {"keys": list(keys)}}), **options))


def without(jwk: dict[str, object], *names: str, **changes: Any) -> dict[str, object]:
    return {name: value for name, value in {**jwk, **changes}.items() if name not in names}


SMALL = {"kty": "RSA", "kid": "small", "n": "u" * 171, "e": "AQAB"}


@pytest.mark.parametrize(
    ("key", "level", "words"),
    [
        (without(RSA.jwk(), "kid"), Level.ADVICE, "A key has no id (kid), so no token can name it."),
        (without(EC.jwk(), "alg"), Level.OK, "usable"),
        (
            without(RSA.jwk(), "alg", kid="x"),
            Level.ADVICE,
            'Key "x" does not say its algorithm (alg), and is taken to be for RS256.',
        ),
        (without(RSA.jwk(), kid="x", use="enc"), Level.NOTE, 'Key "x" is skipped: not for signatures.'),
        (without(RSA.jwk(), kid="x", key_ops=["encrypt"]), Level.NOTE, 'Key "x" is skipped: not for verification.'),
        (SMALL, Level.ADVICE, 'Key "small" is skipped: RSA key of a size that is too small or too large.'),
        (without(RSA.jwk(), kid="x", n="!"), Level.ADVICE, 'Key "x" is skipped: broken.'),
        ({"kty": "oct", "kid": "x", "k": "AAAA"}, Level.PROBLEM, "A secret that everybody can read proves nothing."),
        (without(RSA.jwk(), kid="x", d="AQAB"), Level.PROBLEM, 'Key "x" is skipped: private or symmetric.'),
        ({"kty": "OKP", "crv": "X25519", "x": "AA", "kid": 1}, Level.ADVICE, "A key without an id is skipped"),
        ("no key", Level.ADVICE, "skipped: not an object."),
    ],
)
def test_each_key_is_looked_at(key: Any, level: Level, words: str) -> None:
    findings = with_keys(SigningKey("EdDSA", kid="good").jwk(), key)
    assert words in said(findings, level)
    assert {finding.level for finding in findings} <= WELL | {level}
    assert '"good" (EdDSA)' in said(findings, Level.OK)


def test_a_key_for_an_algorithm_that_is_not_allowed_is_skipped() -> None:
    findings = with_keys(RSA.jwk(), EC.jwk(), algorithms=["RS256"])
    assert 'Key "ec" is skipped: it is for ES256, which these settings do not allow' in said(findings, Level.ADVICE)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"keys": []}, "It publishes no key at all, so every token is refused."),
        ({"keys": [EC.jwk() | {"use": "enc"}]}, "The key document holds no key that can be used."),
        ({"keys": {}}, "The key document holds no list of keys."),
        ([], "The key document holds no list of keys."),
        (b"{", "The key document is no strict JSON."),
        ({"keys": [RSA.jwk()] * 101}, "The key document holds too many keys."),
        (404, "The keys are unavailable: it answers 404."),
        (
            302,
            "The keys are unavailable: it answers 302, a redirect, and those are not followed. Let it answer 200 there",
        ),
        (304, "The keys are unavailable: it answers that nothing has changed (304), which nobody has asked."),
    ],
)
def test_a_key_document_that_is_no_use(document: Any, words: str) -> None:
    findings = about("keys", examined(Server({**well(), JWKS: document})))
    assert words in said(findings, Level.PROBLEM)
    assert {finding.where for finding in findings if finding.level is Level.PROBLEM} == {Where.SERVER}


def test_keys_that_cannot_be_reached_are_this_machine_s_to_mend() -> None:
    findings = about("keys", examined(Server({**well(), JWKS: OSError()})))
    assert "it cannot be reached from this machine. Correct the address" in said(findings, Level.PROBLEM)
    assert [finding.where for finding in findings] == [Where.MACHINE]


def test_every_twin_is_counted() -> None:
    twins = [SigningKey("ES256", kid="twin").jwk() for _ in range(20)]
    findings = with_keys(EC.jwk(), *twins, *twins)
    assert '20 keys for ES256 are called "twin"' in said(findings, Level.PROBLEM)
    assert said(findings, Level.OK).startswith('41 keys are published; usable: "ec" (ES256, 256 bits).')
    assert not said(with_keys(EC.jwk(), EC.jwk()), Level.PROBLEM)


def test_two_keys_of_one_name() -> None:
    findings = with_keys(EC.jwk(), SigningKey(kid="twin").jwk(), SigningKey(kid="twin").jwk())
    assert '2 keys for RS256 are called "twin"; nobody can say which is meant' in said(findings, Level.PROBLEM)
    of_two_algorithms = with_keys(SigningKey(kid="twin").jwk(), SigningKey("ES256", kid="twin").jwk())
    assert said(of_two_algorithms, Level.PROBLEM) == ""


def test_of_many_keys_some_are_described() -> None:
    findings = with_keys(*(SigningKey("EdDSA", kid=f"k{number}").jwk() for number in range(30)))
    assert said(findings, Level.OK).count("(EdDSA)") == 20
    assert "30 keys are published" in said(findings, Level.OK)
    assert " and 10 more." in said(findings, Level.OK)
    skipped = with_keys(RSA.jwk(), *(without(EC.jwk(), kid=f"k{number}", use="enc") for number in range(30)))
    assert said(skipped, Level.NOTE).count("is skipped: not for signatures.") == 19


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "kept for 600 seconds; the server does not say for how long. They come without an ETag"),
        ({"cache-control": "max-age=15"}, 'kept for 60 seconds; the server says "max-age=15".'),
        ({"cache-control": "no-store"}, 'kept for 60 seconds; the server says "no-store".'),
        ({"cache-control": "public, max-age=86400"}, "kept for 3600 seconds"),
        ({"etag": '"1"'}, "They come with an ETag, and the server answers 304 while they are the same."),
    ],
)
def test_how_long_keys_are_kept(headers: dict[str, str], words: str) -> None:
    findings = about("key cache", examined(Server(well(), headers)))
    assert {finding.level for finding in findings} <= WELL
    assert words in joined_words(findings)


def joined_words(findings: list[Finding]) -> str:
    return " ".join(finding.what for finding in findings)


def test_an_etag_that_is_good_for_nothing() -> None:
    class Forgetful(Server):
        async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
            return await super().__call__(url, {name: v for name, v in headers.items() if name != "If-None-Match"})

    findings = about("key cache", examined(Forgetful(well(), {"etag": '"1"'})))
    assert "the server sends them whole all the same" in joined_words(findings)


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "age", "level", "words"),
    [
        (0, None, Level.OK, "agree"),
        (-5, None, Level.OK, "agree"),
        (-100, "100", Level.OK, "agree"),
        (20, None, Level.ADVICE, "20 seconds ahead of this machine's; 30 are forgiven (leeway=)"),
        (-29, None, Level.ADVICE, "29 seconds behind this machine's"),
        (31, None, Level.PROBLEM, "31 seconds ahead of"),
        (-3600, None, Level.PROBLEM, "3600 seconds behind"),
    ],
)
def test_clocks_are_compared(ahead: int, age: str | None, level: Level, words: str) -> None:
    headers = {"date": format_datetime(datetime.fromtimestamp(NOW + ahead, UTC))} | ({"age": age} if age else {})
    findings = about("clock", examined(Server(well(), headers)))
    assert [finding.level for finding in findings] == [level]
    assert words in findings[0].what
    assert findings[0].where is (None if level is Level.OK else Where.MACHINE)


@pytest.mark.parametrize("age", ["", "x", "nan", "inf", "1e999", "-100", "1.5", "٣", "9" * 10, "9" * 400])
def test_an_age_that_is_no_number_of_seconds_counts_for_nothing(age: str) -> None:
    headers = {"date": format_datetime(datetime.fromtimestamp(NOW + 20, UTC)), "age": age}
    assert "20 seconds ahead of" in about("clock", examined(Server(well(), headers)))[0].what


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_a_server_that_does_not_say_the_time(headers: dict[str, str]) -> None:
    assert joined_words(about("clock", examined(Server(well(), headers)))) == "The server does not say what time it is."


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"token_endpoint": None}, Level.NOTE, "It states no token_endpoint."),
        ({"token_endpoint": "http://login.example/token"}, Level.PROBLEM, "Its token_endpoint is no https URL"),
        ({"authorization_endpoint": 1}, Level.PROBLEM, "Its authorization_endpoint is no https URL: 1."),
        ({"scopes_supported": None}, Level.NOTE, "It states no scopes (scopes_supported)."),
        ({"scopes_supported": [f"s{n}" for n in range(25)]}, Level.OK, "s19 and 5 more."),
        ({"scopes_supported": "openid"}, Level.NOTE, "It states no scopes (scopes_supported)."),
        ({"grant_types_supported": ["password", 1]}, Level.OK, "(grant_types_supported): password."),
        ({"code_challenge_methods_supported": None}, Level.ADVICE, "It states nothing about PKCE"),
        ({"code_challenge_methods_supported": ["plain"]}, Level.ADVICE, "It states only plain"),
        (
            {"dpop_signing_alg_values_supported": ["ES256"], "tls_client_certificate_bound_access_tokens": True},
            Level.ADVICE,
            "(DPoP, mTLS), and such tokens are refused here (proof_required)",
        ),
        ({"resource_indicators_supported": True}, Level.OK, "it states resource_indicators_supported: true."),
        ({"protected_resources": [API]}, Level.OK, "It lists this API among those it serves"),
        ({"protected_resources": ["https://x.example/"]}, Level.ADVICE, f"{API} is not among them"),
    ],
)
def test_what_metadata_says(changes: dict[str, Any], level: Level, words: str) -> None:
    findings = about("metadata", examined(Server(well(**changes))))
    assert words in said(findings, level)
    assert {finding.level for finding in findings} <= WELL | {level}


# --- what the settings leave unsaid -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "topic", "level", "words"),
    [
        ({}, "audience", Level.OK, f"Clients must ask for {API}, to the letter"),
        ({"audience": "https://a.auth0.com/api/v2/"}, "audience", Level.ADVICE, "Auth0's Management API"),
        (
            {"audience": "https://a.auth0.com/userinfo"},
            "audience",
            Level.ADVICE,
            "looks like an API of an authorization",
        ),
        ({"audience": "https://login.example/token"}, "audience", Level.PROBLEM, "the server's own token_endpoint"),
        ({"audience": ISS}, "audience", Level.ADVICE, "The audience is the issuer itself"),
        ({}, "dialects", Level.OK, "Tokens are read as rfc9068, and as nothing else."),
        (
            {"dialects": ["access_token", "access_token_authz"]},
            "dialects",
            Level.ADVICE,
            "any of access_token, access_token_authz",
        ),
        ({"dialects": ["access_token_authz"]}, "clients", Level.ADVICE, "third_party_clients=… (an empty set"),
        ({"dialects": ["access_token_authz"], "third_party_clients": []}, "clients", Level.OK, "is said"),
        ({"dialects": ["access_token_authz"], "first_party_clients": ["x"]}, "clients", Level.OK, "is said"),
        ({"rbac_enforced": None}, "RBAC", Level.ADVICE, "State rbac_enforced=True if it does"),
        ({"rbac_enforced": True}, "RBAC", Level.OK, "only those that were assigned"),
        ({"rbac_enforced": False}, "RBAC", Level.OK, "whatever the client asks for, so none counts"),
    ],
)
def test_what_is_said_and_unsaid(options: dict[str, Any], topic: str, level: Level, words: str) -> None:
    findings = about(topic, examined(Server(well()), **options))
    assert words in said(findings, level)


def test_what_does_not_matter_for_a_dialect_is_not_mentioned() -> None:
    without_permissions = examined(Server(well()))
    with_permissions = examined(Server(well()), dialects=["access_token_authz"], rbac_enforced=None)
    assert about("clients", without_permissions) == []
    assert about("RBAC", with_permissions) == []


@pytest.mark.parametrize(
    ("options", "level", "words"),
    [
        ({"keys": {"keys": [RSA.jwk()]}}, Level.OK, "The application brings the keys itself"),
        ({"keys": ISSUER.keys}, Level.ADVICE, "It is a LocalIssuer, for tests and development"),
        ({"secret": "x" * 32}, Level.ADVICE, "a secret that you share with the issuer (HS256)"),
    ],
)
def test_where_keys_are_given_nothing_is_fetched(options: dict[str, Any], level: Level, words: str) -> None:
    trusted = TrustedIssuer(ISS, API, **options)
    section = asyncio.run(examine((trusted,), lambda: NOW))
    assert section.asked == ()
    assert words in said(list(section.findings), level)


def test_requests_come_to_an_end() -> None:
    """Whatever a server's documents lead to, it is asked a handful of times."""
    server = Server(well())
    answers = Answers(server, lambda: NOW, KeySettings())
    looks = [asyncio.run(answers.look(f"https://login.example/{number}")) for number in range(9)]
    assert len(server.asked) == MAX_REQUESTS
    assert looks[-1].fault == "it was not asked: there have been requests enough"


EVERY_KIND = [
    *examined(Server(well(), {"etag": '"1"', "date": "Mon, 21 Sep 2026 15:13:20 GMT"})),
    *examined(Server({**well(), OIDC: 500, OAUTH: METADATA})),
    *examined(Server()),
    *examined(Server(well(issuer="https://other.example/"))),
    *examined(Server(well(jwks_uri=None, code_challenge_methods_supported=None, token_endpoint="x"))),
    *examined(Server({**well(dpop_signing_alg_values_supported=["ES256"], protected_resources=["x"]), JWKS: 404})),
    *examined(Server({**well(), JWKS: {"keys": [SMALL, RSA.jwk(), RSA.jwk(), without(EC.jwk(), "kid")]}})),
    *examined(Server({**well(), JWKS: {"keys": []}}), rbac_enforced=None, audience=ISS),
    *examined(Server(well()), dialects=["access_token_authz", "access_token"], audience="https://a.auth0.com/api/v2/"),
    *asyncio.run(examine((TrustedIssuer(ISS, API, secret="x" * 32),), lambda: NOW)).findings,
]
"""Findings of every kind, for what must hold for all of them."""


def test_the_samples_are_of_every_level_and_place() -> None:
    assert {finding.level for finding in EVERY_KIND} == set(Level)
    assert {finding.where for finding in EVERY_KIND} == {*Where, None}


# --- a hostile server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes_supported": ["x" * 40_000]},
        {"grant_types_supported": ["x" * 40_000]},
        {"code_challenge_methods_supported": ["x" * 40_000]},
        {"token_endpoint": f"https://login.example/{'x' * 40_000}"},
        {"jwks_uri": f"https://login.example/{'x' * 40_000}"},
    ],
)
def test_no_text_of_a_server_is_shown_without_end(changes: dict[str, Any]) -> None:
    findings = examined(Server(well(**changes)))
    assert max(len(finding.what) for finding in findings) < 1000


def test_a_name_that_looks_like_several_is_quoted() -> None:
    findings = examined(Server(well(scopes_supported=["a, b. PROBLEM", "c"])))
    assert '(scopes_supported): "a, b. PROBLEM", c.' in said(findings, Level.OK)


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_a_hostile_server_plays_no_tricks(trick: str) -> None:
    keys = [without(RSA.jwk(), kid=trick), {"kid": trick, "kty": trick, "use": trick}]
    metadata = {**METADATA, "token_endpoint": trick, "scopes_supported": [trick], "protected_resources": [trick]}
    for issuer in (ISS, trick):
        answers = {OIDC: {**metadata, "issuer": issuer}, JWKS: {"keys": keys}}
        section = asyncio.run(
            examine((TrustedIssuer(ISS, API, fetch=Server(answers, {"cache-control": trick})),), lambda: NOW)
        )
        assert all(is_harmless(line) for line in lines(page_of(Report((section,))), 80))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([ISS, API, JWKS, "S256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [*METADATA, "introspection_endpoint", "dpop_signing_alg_values_supported", "protected_resources", "resource_x"]
)
KEYS = st.dictionaries(st.sampled_from(["kty", "kid", "alg", "use", "key_ops", "crv", "n", "x"]), JSON, max_size=4)
HEADERS = st.dictionaries(
    st.sampled_from(["date", "age", "cache-control", "etag"]),
    st.text(max_size=12) | st.sampled_from(["nan", "Thu, 01 Jan 0001 00:00:00 GMT", "max-age=" + "9" * 400]),
)


@settings(max_examples=100)
@given(
    metadata=st.dictionaries(MEMBERS, JSON, max_size=5).map(lambda changes: {**METADATA, **changes}) | JSON,
    jwks=st.fixed_dictionaries({"keys": st.lists(KEYS.map(lambda key: RSA.jwk() | key) | JSON, max_size=3)}) | JSON,
    headers=HEADERS,
)
@example(metadata={**METADATA, "token_endpoint": {}}, jwks={"keys": []}, headers={"age": "nan"})
def test_any_json_and_any_headers_yield_a_report(metadata: Any, jwks: Any, headers: dict[str, str]) -> None:
    server = Server({OIDC: json.dumps(metadata).encode(), JWKS: json.dumps(jwks).encode()}, headers)
    section = asyncio.run(examine((TrustedIssuer(ISS, API, fetch=server),), lambda: NOW))
    report = Report((section,))
    assert section.findings
    assert all(is_harmless(line) for line in lines(page_of(report), 80))
    assert json.dumps(document_of(report))


# --- the command ------------------------------------------------------------------------------------------------------


Doctor = Callable[..., Shown]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Return what runs the command in this process."""

    def run(*arguments: str) -> Shown:
        return commands.run(capsys, "doctor", *arguments)

    return run


@dataclass
class Loopback:
    """A real server on loopback. `headers` come with every answer; `metadata` may be changed."""

    issuer: LocalIssuer
    metadata: dict[str, Any]
    asked: list[str] = field(default_factory=list)
    redirects: bool = False


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with listen(0) as listening:
        issuer = LocalIssuer(f"{url_of(listening)}/", key=ISSUER.key)
        metadata: dict[str, Any] = {**METADATA, **issuer.metadata()}
        for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
            metadata[name] = issuer.issuer + name
        state = Loopback(issuer, metadata)

        async def answer(request: Request) -> Response:
            state.asked.append(request.url.path)
            if state.redirects:
                return RedirectResponse("/elsewhere")
            if request.url.path.endswith("openid-configuration"):
                return JSONResponse(state.metadata)
            if request.url.path.endswith("jwks.json"):
                return JSONResponse(issuer.jwks(), headers={"ETag": '"1"', "Cache-Control": "max-age=300"})
            return Response(status_code=404)

        with serving(Starlette(routes=[Route("/{path:path}", answer)]), listening):
            yield state


def test_a_real_server_that_is_well(loopback: Loopback, doctor: Doctor) -> None:
    issuer = loopback.issuer.issuer
    shown = doctor(issuer, "--audience", API, "--rbac-enforced")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"{issuer} for {API}\n  ok    discovery")
    assert "The server's clock and this machine's agree." in shown.out
    assert "The keys are kept for 300 seconds" in shown.out
    assert shown.out.endswith(" well, 1 note, 0 pieces of advice, 0 problems.\n")
    assert len(loopback.asked) == 4


def test_a_real_server_that_redirects_is_not_followed(loopback: Loopback, doctor: Doctor) -> None:
    loopback.redirects = True
    shown = doctor(loopback.issuer.issuer, "--audience", API, "--rbac-enforced")
    assert shown.code == 1
    assert "/elsewhere" not in loopback.asked
    assert " 1 problem." in shown.out


def test_a_slash_too_few_is_a_problem(loopback: Loopback, doctor: Doctor) -> None:
    shown = doctor(loopback.issuer.issuer.rstrip("/"), "--audience", API)
    assert shown.code == 1
    assert "  PROBLEM  issuer " in shown.out
    assert "What to change (application): Write the issuer as it calls itself" in " ".join(shown.out.split())


def test_the_preset_s_dialects_are_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server({})
    monkeypatch.setattr("authz_middleware.cli.doctor.examination.as_fetch", lambda *_, **__: server)
    shown = doctor("--auth0", "acme.eu.auth0.com", "--audience", API, "--json")
    assert server.asked[0][0] == "https://acme.eu.auth0.com/.well-known/openid-configuration"
    words = " ".join(finding["what"] for finding in shown.document["sections"][0]["findings"])
    assert "any of access_token, access_token_authz, rfc9068_profile, rfc9068_profile_authz" in words


TEXT_OR_NULL = {"type": ["string", "null"]}


def closed(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object with exactly these members."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMA = closed(
    format={"const": "authz-doctor"},
    version={"const": 1},
    sections={
        "type": "array",
        "items": closed(
            title={"type": "string"},
            requests={"type": "array", "items": {"type": "string"}},
            findings={
                "type": "array",
                "items": closed(
                    level={"enum": list(Level)},
                    topic={"type": "string"},
                    what={"type": "string"},
                    change=TEXT_OR_NULL,
                    where={"enum": [*Where, None]},
                ),
            },
        ),
    },
    problems={"type": "integer"},
)
validate: Any = importlib.import_module("jsonschema").validate  # which comes without types


def test_json_keeps_its_schema(loopback: Loopback, doctor: Doctor) -> None:
    issuer = loopback.issuer.issuer
    well, ill = (
        doctor(issuer, "--audience", API, "--json"),
        doctor(issuer.rstrip("/"), "--audience", API, "--json"),
    )
    assert [shown.code for shown in (well, ill)] == [0, 1]
    for shown in (well, ill):
        validate(shown.document, SCHEMA)
    assert [shown.document["problems"] for shown in (well, ill)] == [0, 1]
    assert len(well.document["sections"][0]["requests"]) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://login.example", "--audience=x"], "issuer must use https; http is for loopback addresses only"),
        (["https://169.254.169.254/", "--audience=x"], "issuer is a link-local or cloud metadata address"),
        (["https://user:pw@a.example/", "--audience=x"], "issuer must not contain credentials or a fragment"),
        (["https://a.example/", "--audience="], "audience"),
        (["--auth0=acme.eu.auth0.com", "--audience=https://acme.eu.auth0.com/api/v2/"], "the Management API"),
        (["https://a.example/", "--audience=https://a.example/userinfo"], "an API of the authorization server itself"),
        (
            ["https://a.example/", "--audience=x", "--dialect=rfc9068", "--dialect=rfc9068_profile"],
            "cannot be told apart",
        ),
    ],
)
def test_with_settings_with_which_nothing_starts_nothing_is_fetched(
    arguments: list[str], words: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz_middleware.cli.doctor.examination.as_fetch", None)
    shown = doctor(*arguments)
    assert (shown.code, shown.out, len(shown.err.splitlines())) == (2, "", 1)
    assert words in shown.err
    assert "pw@" not in shown.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say whom to look at, once: ISSUER with --audience API, --auth0 DOMAIN with it, or --app module:app"),
        (
            [ISS, "--auth0=a", "--audience=x"],
            "say whom to look at, once: ISSUER with --audience API, --auth0 DOMAIN with it, or --app module:app",
        ),
        (["main:app"], "main:app is no URL; write --app main:app"),
        (["localhost:8077"], "ISSUER is a URL; begin with https:// (on this machine, http:// will do)"),
        (
            ["acme.eu.auth0.com", "--audience=x"],
            "ISSUER is a URL; begin with https:// (on this machine, http:// will do)",
        ),
        ([ISS, "--audience=x", "--factory"], "--factory and --app-dir are about an application; add --app module:app"),
        ([ISS], "say what clients ask a token for: add --audience, the identifier of your API"),
        (
            ["--app=main:app", "--audience=x"],
            "with --app the application says all there is about its issuers; leave those arguments out",
        ),
        (["--app=main"], "--app takes module:app, such as main:app for the application `app` in main.py"),
    ],
)
def test_arguments_that_cannot_be_meant_are_one_sentence(arguments: list[str], sentence: str, doctor: Doctor) -> None:
    assert doctor(*arguments) == Shown(2, "", f"authz doctor: {sentence}\n")


# --- an application ---------------------------------------------------------------------------------------------------

APPLICATION = """
    from dataclasses import replace
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Mount
    from authz_middleware import AuthzMiddleware, TrustedIssuer
    from tests.test_cli_doctor import Server, well, ISS, API

    server = Server(well())
    trusted = TrustedIssuer(ISS, API, rbac_enforced=True, fetch=server)
    second = replace(trusted, audience="https://second.example/", rbac_enforced=None)
    static = TrustedIssuer("https://static.example/", API, secret="x" * 32)
    def guarded(*issuers, routes=(), **options):
        return Starlette(routes=routes, middleware=[Middleware(AuthzMiddleware, issuers=issuers, **options)])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Yield what writes main.py into a directory that is the working directory; what it imports is forgotten again."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(code: str) -> None:
        (tmp_path / "main.py").write_text(dedent(APPLICATION) + dedent(code), encoding="utf-8")

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_every_issuer_of_an_application_is_looked_at_once(project: Callable[[str], None], doctor: Doctor) -> None:
    project("app = guarded(trusted, second, static)")
    shown = doctor("--app=main:app", "--json")
    assert shown.code == 0
    assert [section["title"] for section in shown.document["sections"]] == [
        f"{ISS} for {API}, https://second.example/",
        f"https://static.example/ for {API}",
        "main:app, as clients find it",
    ]
    assert [len(section["requests"]) for section in shown.document["sections"]] == [3, 0, 0]
    first = [finding["what"] for finding in shown.document["sections"][0]["findings"]]
    assert len(first) == len(set(first))
    assert sum("Clients must ask for" in what for what in first) == 2


@pytest.mark.parametrize(
    ("resource", "code", "words"),
    [
        (None, 0, "No resource= is given"),
        ("https://api.example/", 0, "Clients find it as https://api.example/, and tokens for that are accepted."),
        ("https://api.example", 1, "Accepted are tokens for https://api.example/."),
    ],
)
def test_a_resource_is_compared_with_the_audiences(
    resource: str | None, code: int, words: str, project: Callable[[str], None], doctor: Doctor
) -> None:
    project(f"app = guarded(trusted, resource={resource!r})")
    shown = doctor("--app=main:app")
    assert shown.code == code
    assert words in " ".join(shown.out.split())


def test_an_application_that_only_reports_is_told(project: Callable[[str], None], doctor: Doctor) -> None:
    project("app = guarded(trusted, enforce=False)")
    shown = doctor("--app=main:app")
    assert shown.code == 0
    assert "advice enforcement The application guards nothing" in " ".join(shown.out.split())
    project("app = guarded(trusted)")
    del sys.modules["main"]
    assert "enforcement" not in doctor("--app=main:app").out


def test_middlewares_that_say_the_same_are_told_once(project: Callable[[str], None], doctor: Doctor) -> None:
    project('app = guarded(trusted, routes=[Mount("/in", app=guarded(trusted))])')
    sections = doctor("--app=main:app", "--json").document["sections"]
    assert len(sections) == 2


def test_an_application_without_a_middleware_is_one_sentence(project: Callable[[str], None], doctor: Doctor) -> None:
    project("app = Starlette()")
    shown = doctor("--app=main:app")
    assert (shown.code, shown.out) == (2, "")
    assert "has no AuthzMiddleware" in shown.err


def test_settings_that_differ_in_leeway_are_held_to_the_shorter() -> None:
    headers = {"date": format_datetime(datetime.fromtimestamp(NOW + 20, UTC))}
    one = TrustedIssuer(ISS, API, fetch=Server(well(), headers))
    section = asyncio.run(examine((one, replace(one, audience="https://b.example/", leeway=10)), lambda: NOW))
    assert [finding.level for finding in about("clock", list(section.findings))] == [Level.PROBLEM]
