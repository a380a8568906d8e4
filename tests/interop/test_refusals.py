"""What the server issues that is no good access token for this API is refused, each by its code."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from authz_middleware import AccessToken, AccessTokenValidator, TrustedIssuer
from authz_middleware.errors import Code, InvalidToken, Reason
from authz_middleware.testing import encode_segment

from .answers import refusal, seen
from .api import PINNED, TOKEN_ROUTE
from .authorization_server import RESOURCES, AuthorizationServer, Caller
from .conftest import IssueToken

pytestmark = pytest.mark.interop

MACHINE = Caller("machine")
USER = Caller("app", "auth0|jo")
RESOURCE = f"{RESOURCES}rfc9068/ES256"
SCOPE = "read:orders"


def _answer(api: httpx.Client, token: str, scheme: str = "Bearer") -> object:
    return seen(api.get(TOKEN_ROUTE, headers={"Authorization": f"{scheme} {token}"}))


# --- other kinds of token, other audiences, other issuers -------------------------------------------------------------


def test_id_token(pinned: httpx.Client, authorization_server: AuthorizationServer) -> None:
    token = authorization_server.id_token(USER, RESOURCE)
    assert _answer(pinned, token) == refusal(Code.ID_TOKEN)


def test_id_token_where_the_api_was_given_the_client_id_as_audience(authorization_server: AuthorizationServer) -> None:
    trusted = TrustedIssuer(authorization_server.issuer, USER.client_id, dialects=["access_token"])
    with pytest.raises(InvalidToken) as refused:
        _validate(authorization_server.id_token(USER, RESOURCE), trusted)
    assert (refused.value.code, refused.value.reason) == (Code.WRONG_TYPE, Reason.TYPE_NOT_ALLOWED)


def test_opaque_token_of_a_resource(pinned: httpx.Client, issue_token: IssueToken) -> None:
    token = issue_token(USER, f"{RESOURCES}opaque/none", f"openid {SCOPE}")
    assert _answer(pinned, token) == refusal(Code.OPAQUE_TOKEN)


def test_opaque_token_of_a_client_that_named_no_resource(
    pinned: httpx.Client, authorization_server: AuthorizationServer
) -> None:
    token = authorization_server.access_token(USER, None, "openid profile")
    assert _answer(pinned, token) == refusal(Code.OPAQUE_TOKEN)


@pytest.mark.parametrize("dialect", ["rfc9068", "access_token_authz"])
@pytest.mark.parametrize("caller", [MACHINE, USER], ids=["machine", "user"])
def test_token_for_another_audience(
    dialect: str, caller: Caller, pinned: httpx.Client, issue_token: IssueToken
) -> None:
    token = issue_token(
        caller, f"{RESOURCES}{dialect}/RS256/another", SCOPE if caller is MACHINE else f"openid {SCOPE}"
    )
    assert _answer(pinned, token) == refusal(Code.WRONG_AUDIENCE)


def test_token_of_an_issuer_nobody_trusts(pinned: httpx.Client, own_authorization_server: AuthorizationServer) -> None:
    token = own_authorization_server.access_token(MACHINE, RESOURCE, SCOPE)
    assert _answer(pinned, token) == refusal(Code.UNTRUSTED_ISSUER)


def test_no_token(pinned: httpx.Client) -> None:
    assert seen(pinned.get(TOKEN_ROUTE)) == refusal(Code.MISSING_TOKEN)
    assert seen(pinned.get("/orders")) == refusal(Code.MISSING_TOKEN, scope=SCOPE)


@pytest.mark.parametrize("scheme", ["Bearer", "DPoP"])
def test_token_bound_to_a_key(scheme: str, pinned: httpx.Client, authorization_server: AuthorizationServer) -> None:
    token = authorization_server.dpop_bound_token(MACHINE, RESOURCE, SCOPE)
    assert _answer(pinned, token, scheme) == refusal(Code.PROOF_REQUIRED)


# --- tampering --------------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], object]


def _with_header(token: str, change: Change) -> str:
    head, rest = token.split(".", 1)
    return f"{_changed(head, change)}.{rest}"


def _with_claims(token: str, change: Change) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{_changed(body, change)}.{signature}"


def _with_signature(token: str, change: Callable[[bytes], bytes]) -> str:
    signed, signature = token.rsplit(".", 1)
    return f"{signed}.{encode_segment(change(_decode(signature)))}"


def _changed(segment: str, change: Change) -> str:
    members = json.loads(_decode(segment))
    change(members)
    return encode_segment(json.dumps(members).encode())


def _decode(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


TAMPERED: dict[str, tuple[Callable[[str], str], Code]] = {
    "scope widened": (lambda t: _with_claims(t, lambda c: c.update(scope="write:orders")), Code.BAD_SIGNATURE),
    "permissions added": (lambda t: _with_claims(t, lambda c: c.update(permissions=["*"])), Code.BAD_SIGNATURE),
    "subject changed": (lambda t: _with_claims(t, lambda c: c.update(sub="auth0|root")), Code.BAD_SIGNATURE),
    "lifetime extended": (lambda t: _with_claims(t, lambda c: c.update(exp=c["exp"] + 1)), Code.BAD_SIGNATURE),
    "payload written anew": (lambda t: _with_claims(t, lambda _: None), Code.BAD_SIGNATURE),
    "header written anew": (lambda t: _with_header(t, lambda _: None), Code.BAD_SIGNATURE),
    "first bit of the signature": (
        lambda t: _with_signature(t, lambda s: bytes([s[0] ^ 0x80]) + s[1:]), Code.BAD_SIGNATURE,
    ),
    "last bit of the signature": (
        lambda t: _with_signature(t, lambda s: s[:-1] + bytes([s[-1] ^ 1])), Code.BAD_SIGNATURE,
    ),
    "signature shortened": (lambda t: _with_signature(t, lambda s: s[:-1]), Code.BAD_SIGNATURE),
    "signature lengthened": (lambda t: _with_signature(t, lambda s: s + b"\0"), Code.BAD_SIGNATURE),
    "signature all zero": (lambda t: _with_signature(t, lambda s: bytes(len(s))), Code.BAD_SIGNATURE),
    "signature removed": (lambda t: _with_signature(t, lambda _: b""), Code.BAD_SIGNATURE),
    "no algorithm": (lambda t: _with_header(t, lambda h: h.update(alg="none")), Code.WRONG_ALGORITHM),
    "secret algorithm": (lambda t: _with_header(t, lambda h: h.update(alg="HS256")), Code.WRONG_ALGORITHM),
    "unlisted algorithm": (lambda t: _with_header(t, lambda h: h.update(alg="ES512")), Code.WRONG_ALGORITHM),
    "key of another name": (lambda t: _with_header(t, lambda h: h.update(kid="another")), Code.UNKNOWN_KEY),
    "critical header": (lambda t: _with_header(t, lambda h: h.update(crit=["exp"])), Code.MALFORMED_TOKEN),
    "type of a logout token": (lambda t: _with_header(t, lambda h: h.update(typ="logout+jwt")), Code.WRONG_TYPE),
    "issuer with a slash": (lambda t: _with_claims(t, lambda c: c.update(iss=c["iss"] + "/")), Code.UNTRUSTED_ISSUER),
    "audience changed": (lambda t: _with_claims(t, lambda c: c.update(aud="https://other.test/")), Code.WRONG_AUDIENCE),
    "fourth part": (lambda t: t + ".e30", Code.MALFORMED_TOKEN),
    "padded": (lambda t: t + "=", Code.MALFORMED_TOKEN),
}  # fmt: skip


@pytest.mark.parametrize("change", TAMPERED)
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"])
def test_tampered_token(algorithm: str, change: str, pinned: httpx.Client, issue_token: IssueToken) -> None:
    tamper, code = TAMPERED[change]
    token = issue_token(MACHINE, f"{RESOURCES}rfc9068/{algorithm}", SCOPE)
    assert _answer(pinned, tamper(token)) == refusal(code)


@pytest.mark.parametrize("other", ["PS256", "ES256", "EdDSA"])
def test_token_that_names_the_audience_of_another_algorithm(
    other: str, pinned: httpx.Client, issue_token: IssueToken
) -> None:
    token = issue_token(MACHINE, f"{RESOURCES}rfc9068/RS256", SCOPE)
    redirected = _with_claims(token, lambda claims: claims.update(aud=f"{RESOURCES}rfc9068/{other}"))
    assert ("rfc9068", other) in PINNED
    assert _answer(pinned, redirected) == refusal(Code.WRONG_ALGORITHM)


# --- one token, other settings: without any web framework -------------------------------------------------------------


def _validate(token: str, *issuers: TrustedIssuer, clock_offset: float = 0) -> AccessToken:
    validator = AccessTokenValidator(issuers, clock=lambda: time.time() + clock_offset)
    return asyncio.run(validator.validate(token))


def test_valid_token_without_a_framework(authorization_server: AuthorizationServer, issue_token: IssueToken) -> None:
    issuer = authorization_server.issuer
    discovered = TrustedIssuer(issuer, RESOURCE)
    given = TrustedIssuer(issuer, RESOURCE, jwks_uri=f"{issuer}/jwks")
    token = issue_token(MACHINE, RESOURCE, SCOPE)
    assert SCOPE in _validate(token, discovered).grants
    assert _validate(token, discovered) == _validate(token, given)


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        pytest.param({"dialects": ["access_token"], "algorithms": ["ES256"]}, Code.WRONG_TYPE, Reason.TYPE_NOT_ALLOWED,
                     id="dialect"),
        pytest.param({"algorithms": ["RS256"]}, Code.WRONG_ALGORITHM, Reason.ALGORITHM_NOT_ALLOWED, id="algorithm"),
        pytest.param({"tenants": ["org_a"], "tenant_claims": "org_id"}, Code.WRONG_TENANT, Reason.TENANT_NOT_ALLOWED,
                     id="tenant"),
        pytest.param({"audience": f"{RESOURCE}/"}, Code.WRONG_AUDIENCE, Reason.AUDIENCE_NOT_OURS, id="audience"),
        pytest.param({"clock_offset": 3600 + 31}, Code.EXPIRED, Reason.EXPIRED, id="too late"),
        pytest.param({"clock_offset": -3600}, Code.NOT_YET_VALID, Reason.ISSUED_IN_FUTURE, id="too early"),
    ],
)  # fmt: skip
def test_one_other_setting_refuses_the_same_token(
    options: dict[str, Any],
    code: Code,
    reason: Reason,
    authorization_server: AuthorizationServer,
    issue_token: IssueToken,
) -> None:
    arguments = {"audience": RESOURCE, **options}
    offset = arguments.pop("clock_offset", 0)
    trusted = TrustedIssuer(authorization_server.issuer, **arguments)
    with pytest.raises(InvalidToken) as refused:
        _validate(issue_token(MACHINE, RESOURCE, SCOPE), trusted, clock_offset=offset)
    assert (refused.value.code, refused.value.reason) == (code, reason)


def test_issuer_written_with_a_slash_the_server_does_not_write(
    authorization_server: AuthorizationServer, issue_token: IssueToken
) -> None:
    trusted = TrustedIssuer(authorization_server.issuer + "/", RESOURCE)
    with pytest.raises(InvalidToken) as refused:
        _validate(issue_token(MACHINE, RESOURCE, SCOPE), trusted)
    assert (refused.value.code, refused.value.reason) == (Code.UNTRUSTED_ISSUER, Reason.ISSUER_NOT_TRUSTED)
