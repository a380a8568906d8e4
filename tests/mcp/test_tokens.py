"""Our validation as the SDK's `TokenVerifier`: what its token says, and what is no token."""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.auth.provider import AccessToken as SDKAccessToken
from mcp.server.auth.provider import principal_components
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

import authz_middleware.mcp
from authz_middleware import ConfigurationError, TrustedIssuer
from authz_middleware.errors import KeysUnavailable
from authz_middleware.mcp import token_verifier

from .serving import HOSTS, ISSUER, NEEDED, RESOURCE, Unreachable, notes_server, run, trusted


def verify(token: str, *issuers: TrustedIssuer, **options: Any) -> SDKAccessToken | None:
    verifier = token_verifier(issuers or (trusted(),), **options)
    return run(lambda: verifier.verify_token(token))


def verified(*dialect: str, **claims: Any) -> SDKAccessToken:
    token = verify(ISSUER.token(*dialect, **claims))
    assert token is not None
    return token


# --- what the SDK's token says ----------------------------------------------------------------------------------------


def test_the_sdks_token_says_whose_it_is() -> None:
    text = ISSUER.token(
        "rfc9068_profile_authz", subject="auth0|kim", permissions=["b", "a"], act={"sub": "x", "n": [1]}
    )
    token = verify(text)
    assert token is not None
    assert (token.token, token.client_id, token.subject) == (text, "first-party-app", "auth0|kim")
    assert token.resource == RESOURCE
    assert principal_components(token) == ("first-party-app", ISSUER.issuer, "auth0|kim")
    assert token.claims is not None
    assert token.claims["act"] == {"sub": "x", "n": [1]}
    assert json.loads(token.model_dump_json())["claims"] == token.claims


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "openid profile", "permissions": ["b", "a"]}, ["a", "b"]),
        ({"scope": "openid c", "permissions": ["a"]}, ["a", "c"]),
        ({"scope": "a c", "permissions": ["a", "b"], "client_id": "partner-app"}, ["a"]),
        ({"scope": "a", "permissions": [], "client_id": "partner-app"}, []),
        ({"scope": "a", "permissions": ["a", "b"], "act": {"sub": "somebody"}}, ["a"]),
        ({"scope": "b a", "machine": True}, ["a", "b"]),
    ],
    ids=["permissions", "both", "third party", "third party, nothing in both", "delegated", "machine"],
)
def test_its_scopes_are_the_effective_grants(claims: dict[str, Any], scopes: list[str]) -> None:
    assert verified(**claims).scopes == scopes


def test_its_scopes_are_not_what_a_user_merely_asked_for() -> None:
    token = ISSUER.token("rfc9068_profile", scope="read:notes")
    with_rbac, without = (verify(token, trusted(rbac_enforced=is_enforced)) for is_enforced in (True, False))
    assert (with_rbac and with_rbac.scopes, without and without.scopes) == (["read:notes"], [])


def test_its_expiry_is_never_later_than_the_claim() -> None:
    claims = ISSUER.claims()
    expires_at = int(str(claims["exp"]))
    token = verify(ISSUER.sign({**claims, "exp": expires_at + 0.9}))
    assert token is not None
    assert token.expires_at == expires_at


@pytest.mark.parametrize(
    ("aud", "resource", "expected"),
    [
        ([RESOURCE, "https://issuer.test/userinfo"], None, RESOURCE),
        (["https://issuer.test/userinfo", RESOURCE], None, RESOURCE),
        (["https://old.test/mcp", RESOURCE], None, "https://old.test/mcp"),
        (["https://old.test/mcp", RESOURCE], RESOURCE, RESOURCE),
        (["https://old.test/mcp"], RESOURCE, "https://old.test/mcp"),
    ],
)
def test_its_resource_is_the_audience_that_was_accepted(aud: list[str], resource: str | None, expected: str) -> None:
    both = TrustedIssuer(ISSUER.issuer, [RESOURCE, "https://old.test/mcp"], dialects=["rfc9068"], keys=ISSUER.jwks())
    token = verify(ISSUER.token("rfc9068", aud=aud), both, resource=resource)
    assert token is not None
    assert token.resource == expected


def test_neither_the_token_nor_its_claims_are_in_its_repr() -> None:
    token = verified(permissions=["a"], email="jo@example.com")
    shown = f"{token!r} {token} {[token]}"
    assert token.token not in shown
    assert "jo@example.com" not in shown
    assert "first-party-app" in shown


# --- what is no token -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"expires_in": -3600}, "expired"),
        ({"aud": "https://other.test/"}, "wrong_audience"),
        ({"iss": "https://other.test/"}, "untrusted_issuer"),
        ({"cnf": {"jkt": "x"}}, "proof_required"),
        ({"nonce": "n"}, "id_token"),
        ({"jti": 1}, "invalid_claim"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_token_is_none_and_the_log_says_why(
    claims: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = ISSUER.token("rfc9068_profile_authz", permissions=["a"], **claims)
    with caplog.at_level(logging.INFO, "authz_middleware"):
        assert verify(token) is None
    assert f"code={code} " in caplog.text
    assert not any(part in caplog.text for part in token.split("."))
    assert "auth0|jo" not in caplog.text


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    assert verify(text) is None


def test_a_token_that_is_too_long_is_none() -> None:
    token = ISSUER.token(permissions=["a"])
    assert verify(token, max_token_bytes=len(token)) is not None
    assert verify(token, max_token_bytes=len(token) - 1) is None


# --- keys and configuration -------------------------------------------------------------------------------------------


def test_keys_that_cannot_be_had_are_no_fault_of_the_token() -> None:
    with pytest.raises(KeysUnavailable):
        verify(ISSUER.token(), trusted(keys=Unreachable()))


def test_the_sdks_own_application_answers_them_with_500() -> None:
    """As the docstring says. Its other choice would be 401, which makes clients drop their tokens."""
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(ISSUER.issuer), resource_server_url=AnyHttpUrl(RESOURCE), validate_token_resource=True
    )
    verifier = token_verifier([trusted(keys=Unreachable())])
    app = notes_server(auth=auth, token_verifier=verifier).streamable_http_app(transport_security=HOSTS)

    async def test() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, headers=ISSUER.headers(permissions=[NEEDED])) as http:
            return await http.post(RESOURCE)

    answer = run(test)
    assert answer.status_code == 500
    assert "www-authenticate" not in answer.headers


def test_a_verifier_needs_issuers() -> None:
    with pytest.raises(ConfigurationError, match="issuers"):
        token_verifier([])


# --- the extra --------------------------------------------------------------------------------------------------------


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("authz_middleware.mcp.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == "mcp" or name.startswith("mcp.")]:
        monkeypatch.setitem(sys.modules, name, None)
    spec = authz_middleware.mcp.__spec__
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r'pip install "authz_middleware\[mcp\]"'):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_package_does_not_need_the_sdk() -> None:
    code = "import sys, authz_middleware; sys.exit('mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
