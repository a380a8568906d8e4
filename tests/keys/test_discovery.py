"""Metadata in both forms, and everything that must not be believed in it."""

import json
from typing import Any

import pytest

from authz_middleware.keys import Fetched, FetchFailed, discover_jwks_uri
from authz_middleware.keys.discovery import CodeFlow, discover_code_flow, metadata_urls

from .helpers import ISSUER, JWKS_URL, METADATA_URL, RFC8414_URL, Network, in_loop, json_response

METADATA = {"issuer": ISSUER, "jwks_uri": JWKS_URL}


@pytest.mark.parametrize(
    ("issuer", "oidc", "oauth"),
    [
        (
            "https://as.test",
            "https://as.test/.well-known/openid-configuration",
            "https://as.test/.well-known/oauth-authorization-server",
        ),
        (
            "https://as.test/",
            "https://as.test/.well-known/openid-configuration",
            "https://as.test/.well-known/oauth-authorization-server",
        ),
        (
            "https://as.test/tenant/one",
            "https://as.test/tenant/one/.well-known/openid-configuration",
            "https://as.test/.well-known/oauth-authorization-server/tenant/one",
        ),
        (
            "https://as.test/tenant/one/",
            "https://as.test/tenant/one/.well-known/openid-configuration",
            "https://as.test/.well-known/oauth-authorization-server/tenant/one",
        ),
        (
            "http://127.0.0.1:8080/t",
            "http://127.0.0.1:8080/t/.well-known/openid-configuration",
            "http://127.0.0.1:8080/.well-known/oauth-authorization-server/t",
        ),
        (
            "https://[2001:db8::1]:8443/a%20b/",
            "https://[2001:db8::1]:8443/a%20b/.well-known/openid-configuration",
            "https://[2001:db8::1]:8443/.well-known/oauth-authorization-server/a%20b",
        ),
    ],
)
def test_both_forms_of_the_metadata_url(issuer: str, oidc: str, oauth: str) -> None:
    assert metadata_urls(issuer) == (oidc, oauth)


@in_loop
async def test_the_oidc_form_is_tried_first() -> None:
    network = Network()
    assert await discover_jwks_uri(ISSUER, network) == JWKS_URL
    assert network.calls == [(METADATA_URL, {"Accept": "application/json"})]


@in_loop
async def test_a_plain_404_leads_to_the_other_form() -> None:
    network = Network()
    network.answers = {METADATA_URL: Fetched(404, {}, b"no such page"), RFC8414_URL: json_response(METADATA)}
    assert await discover_jwks_uri(ISSUER, network) == JWKS_URL
    assert network.urls == [METADATA_URL, RFC8414_URL]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Fetched(500, {}, b""), "status"),
        (Fetched(503, {}, b""), "status"),
        (Fetched(401, {}, b""), "status"),
        (Fetched(403, {}, b""), "status"),
        (Fetched(410, {}, b""), "status"),
        (Fetched(302, {"location": RFC8414_URL}, b""), "status"),
        (Fetched(204, {}, b""), "status"),
        (Fetched(304, {}, b""), "bad_metadata"),
        (Fetched(404, {}, b" " * (512 * 1024 + 1)), "too_large"),
        (OSError("down"), "transport"),
        (TimeoutError(), "timeout"),
        (Fetched(200, {}, b"<html>"), "bad_metadata"),
        (json_response({**METADATA, "issuer": "https://evil.test/"}), "bad_metadata"),
    ],
)
@in_loop
async def test_nothing_else_leads_to_the_other_form(answer: Any, kind: str) -> None:
    network = Network()
    network.answers = {METADATA_URL: answer, RFC8414_URL: json_response(METADATA)}
    with pytest.raises(FetchFailed) as failed:
        await discover_jwks_uri(ISSUER, network)
    assert failed.value.kind == kind
    assert network.urls == [METADATA_URL]


@in_loop
async def test_an_issuer_without_metadata_cannot_be_discovered() -> None:
    network = Network()
    network.answers = {METADATA_URL: Fetched(404, {}, b""), RFC8414_URL: Fetched(404, {}, b"")}
    with pytest.raises(FetchFailed) as failed:
        await discover_jwks_uri(ISSUER, network)
    assert (failed.value.kind, failed.value.absent) == ("status", True)


@pytest.mark.parametrize(
    "issuer",
    [
        "https://issuer.test",
        "https://issuer.test//",
        "https://ISSUER.test/",
        "https://issuer.test:443/",
        "http://issuer.test/",
        "https://issuer.test/tenant",
        " https://issuer.test/",
        "https://{tenant}/",
        "",
        None,
        1,
        [ISSUER],
        {"issuer": ISSUER},
    ],
)
@in_loop
async def test_metadata_of_another_issuer_is_refused(issuer: object) -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({**METADATA, "issuer": issuer})
    with pytest.raises(FetchFailed) as failed:
        await discover_jwks_uri(ISSUER, network)
    assert failed.value.kind == "bad_metadata"


@in_loop
async def test_metadata_without_issuer_is_refused() -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({"jwks_uri": JWKS_URL})
    with pytest.raises(FetchFailed) as failed:
        await discover_jwks_uri(ISSUER, network)
    assert failed.value.kind == "bad_metadata"


@pytest.mark.parametrize(
    "jwks_uri",
    [
        None,
        "",
        1,
        [JWKS_URL],
        {"url": JWKS_URL},
        "/jwks.json",
        "//keys.issuer.test/jwks.json",
        "keys.issuer.test/jwks.json",
        "http://keys.issuer.test/jwks.json",
        "http://10.0.0.1/jwks.json",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:9000/keys",
        "http://127.0.0.1/jwks.json",
        "http://[::1]:9000/jwks.json",
        "HTTP://localhost/jwks.json",
        "ftp://keys.issuer.test/jwks.json",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:application/json,{}",
        "https://",
        "https:///jwks.json",
        "https://user@keys.issuer.test/jwks.json",
        "https://user:secret@keys.issuer.test/jwks.json",
        "https://keys.issuer.test\\@evil.test/jwks.json",
        "https://keys.issuer.test/jwks.json#fragment",
        "https://keys.issuer.test/jwks json",
        "https://keys.issuer.test/jwks.json\n",
        "https://[::1/jwks.json",
        "https://keys.issuer.test:99999/jwks.json",
    ],
)
@in_loop
async def test_an_endpoint_nobody_should_fetch_from_is_refused(jwks_uri: object) -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({**METADATA, "jwks_uri": jwks_uri})
    with pytest.raises(FetchFailed) as failed:
        await discover_jwks_uri(ISSUER, network)
    assert failed.value.kind == "bad_url"


@in_loop
async def test_metadata_without_endpoint_is_refused() -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({"issuer": ISSUER})
    with pytest.raises(FetchFailed) as failed:
        await discover_jwks_uri(ISSUER, network)
    assert failed.value.kind == "bad_url"


@pytest.mark.parametrize("jwks_uri", ["https://other-host.test:8443/keys?v=1", "https://localhost:9000/keys"])
@in_loop
async def test_an_endpoint_on_another_host_is_taken(jwks_uri: str) -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({**METADATA, "jwks_uri": jwks_uri})
    assert await discover_jwks_uri(ISSUER, network) == jwks_uri


LOCAL = "http://127.0.0.1:8080"


@pytest.mark.parametrize("jwks_uri", [f"{LOCAL}/keys", "http://localhost:9000/keys", JWKS_URL])
@in_loop
async def test_an_issuer_on_this_machine_may_name_an_endpoint_on_it(jwks_uri: str) -> None:
    network = Network()
    metadata = {"issuer": LOCAL, "jwks_uri": jwks_uri}
    network.answers[f"{LOCAL}/.well-known/openid-configuration"] = json_response(metadata)
    assert await discover_jwks_uri(LOCAL, network) == jwks_uri


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html>",
        b"null",
        b"7",
        b'"https://issuer.test/"',
        json.dumps([METADATA]).encode(),
        json.dumps(METADATA).encode()[:-1],
        json.dumps(METADATA).encode("utf-16"),
        b'{"issuer": "https://evil.test/", ' + json.dumps(METADATA).encode()[1:],
        json.dumps(METADATA).encode()[:-1] + b', "jwks_uri": "https://evil.test/"}',
        json.dumps(METADATA).encode()[:-1] + b', "more": NaN}',
        json.dumps(METADATA).encode()[:-1] + b', "more": ' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
@in_loop
async def test_metadata_that_is_no_strict_json_object_is_refused(body: bytes) -> None:
    network = Network()
    network.answers[METADATA_URL] = Fetched(200, {}, body)
    with pytest.raises(FetchFailed) as failed:
        await discover_jwks_uri(ISSUER, network)
    assert failed.value.kind == "bad_metadata"


# --- the endpoints of the code flow -----------------------------------------------------------------------------------

AUTHORIZE_URL, TOKEN_URL = "https://issuer.test/authorize", "https://issuer.test/oauth/token"
CODE_FLOW = {**METADATA, "authorization_endpoint": AUTHORIZE_URL, "token_endpoint": TOKEN_URL}


@in_loop
async def test_the_endpoints_of_the_code_flow() -> None:
    network = Network()
    network.answers = {METADATA_URL: Fetched(404, {}, b""), RFC8414_URL: json_response(CODE_FLOW)}
    assert await discover_code_flow(ISSUER, network) == CodeFlow(AUTHORIZE_URL, TOKEN_URL)
    assert network.urls == [METADATA_URL, RFC8414_URL]


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize(
    "url",
    [None, "", 1, "/authorize", "javascript:alert(1)", "data:text/html,x", "http://issuer.test/x", "http://127.0.0.1/x",
     "https://issuer.test/x#fragment", "https://user@issuer.test/x", "https://issuer.test/x\n"],
)  # fmt: skip
@in_loop
async def test_an_endpoint_nobody_should_be_sent_to_is_refused(endpoint: str, url: object) -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({**CODE_FLOW, endpoint: url})
    with pytest.raises(FetchFailed) as failed:
        await discover_code_flow(ISSUER, network)
    assert failed.value.kind == "bad_url"


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint"])
@in_loop
async def test_metadata_without_an_endpoint_of_the_code_flow_is_refused(endpoint: str) -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({name: url for name, url in CODE_FLOW.items() if name != endpoint})
    with pytest.raises(FetchFailed) as failed:
        await discover_code_flow(ISSUER, network)
    assert failed.value.kind == "bad_url"


@in_loop
async def test_the_endpoints_of_another_issuer_are_refused() -> None:
    network = Network()
    network.answers[METADATA_URL] = json_response({**CODE_FLOW, "issuer": "https://evil.test/"})
    with pytest.raises(FetchFailed) as failed:
        await discover_code_flow(ISSUER, network)
    assert failed.value.kind == "bad_metadata"
