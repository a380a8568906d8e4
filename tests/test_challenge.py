"""`Authorization` in, `WWW-Authenticate` and problem bodies out: byte for byte."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from authz_middleware import authenticated, policy, public, requires
from authz_middleware.challenge import Challenger, is_quotable, read_bearer_token, send_refusal
from authz_middleware.errors import (
    ANSWERS,
    Code,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    KeysUnavailable,
    MissingToken,
    NoPolicy,
    Reason,
    Refused,
    RevocationUnknown,
)
from authz_middleware.testing import LocalIssuer

from .apps import (
    Answer,
    ask,
    bearer,
    endpoint,
    expect_missing,
    expect_opaque,
    expect_refusal,
    http_scope,
    serve,
    starlette_app,
    websocket_scope,
)

INVALID = "The access token "
TABLE: dict[str, tuple[int, str, str | None, str]] = {
    "missing_token": (
        401,
        "Unauthorized",
        None,
        "An access token is needed here; send it as: Authorization: Bearer, one space, the token.",
    ),
    "malformed_header": (
        400,
        "Bad Request",
        "invalid_request",
        "Send exactly one Authorization header: Bearer, one space, the token.",
    ),
    "malformed_token": (401, "Unauthorized", "invalid_token", INVALID + "is not a well-formed signed JWT."),
    "opaque_token": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "is opaque; the client must request a token for the audience of this API.",
    ),
    "encrypted_token": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "is encrypted (JWE); this API accepts signed tokens only.",
    ),
    "id_token": (
        401,
        "Unauthorized",
        "invalid_token",
        "This is an ID token; send an access token issued for this API.",
    ),
    "untrusted_issuer": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "comes from an issuer this API does not trust.",
    ),
    "wrong_audience": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "was issued for another audience than this API.",
    ),
    "wrong_type": (401, "Unauthorized", "invalid_token", INVALID + "is of a type this API does not accept."),
    "wrong_algorithm": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "is signed with an algorithm this API does not accept.",
    ),
    "unknown_key": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "is signed with a key its issuer does not publish.",
    ),
    "bad_signature": (401, "Unauthorized", "invalid_token", "The signature of the access token is not valid."),
    "expired": (401, "Unauthorized", "invalid_token", INVALID + "has expired."),
    "not_yet_valid": (401, "Unauthorized", "invalid_token", INVALID + "is not valid yet."),
    "invalid_claim": (
        401,
        "Unauthorized",
        "invalid_token",
        "A claim of the access token is missing or has the wrong form.",
    ),
    "wrong_tenant": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "belongs to an organization this API does not serve.",
    ),
    "proof_required": (
        401,
        "Unauthorized",
        "invalid_token",
        INVALID + "is bound to a key whose proof this API cannot verify.",
    ),
    "revoked": (401, "Unauthorized", "invalid_token", INVALID + "has been revoked."),
    "insufficient_scope": (
        403,
        "Forbidden",
        "insufficient_scope",
        INVALID + "does not meet the requirements of this route.",
    ),
    "no_policy": (403, "Forbidden", None, "This route states no access policy, so nobody may call it."),
    "keys_unavailable": (
        503,
        "Service Unavailable",
        None,
        "The keys that verify access tokens are unavailable; try again later.",
    ),
    "revocation_unknown": (
        503,
        "Service Unavailable",
        None,
        "Whether the access token was revoked cannot be found out; try again later.",
    ),
}
NO_CHALLENGE = {"no_policy", "keys_unavailable", "revocation_unknown"}


def refusal(code: str) -> Refused:
    """Return a refusal with this code, as it is raised."""
    match code:
        case "missing_token":
            return MissingToken()
        case "malformed_header":
            return InvalidRequest()
        case "insufficient_scope":
            return InsufficientScope([], [])
        case "no_policy":
            return NoPolicy()
        case "keys_unavailable":
            return KeysUnavailable(Reason.NEVER_FETCHED, 7)
        case "revocation_unknown":
            return RevocationUnknown(7)
        case _:
            return InvalidToken(Code(code), Reason.CLAIM_MISSING)


# --- what each code says ----------------------------------------------------------------------------------------------


def test_the_table_of_codes_is_closed() -> None:
    assert {code.value for code in Code} == {code.value for code in ANSWERS} == set(TABLE)


@pytest.mark.parametrize("code", TABLE)
def test_every_code_answers_byte_for_byte(code: str) -> None:
    status, title, error, detail = TABLE[code]
    headers, body = Challenger().response(refusal(code))
    required = ', "required": []' if status == 403 else ""
    text = (
        f'{{"type": "about:blank", "title": "{title}", "status": {status}, "code": "{code}", '
        f'"detail": "{detail}"{required}}}'
    )
    expected = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(text)).encode()),
        (b"cache-control", b"no-store"),
    ]
    challenge = 'Bearer realm="api"' + (f', error="{error}", error_description="{detail}"' if error else "")
    if code not in NO_CHALLENGE:
        expected.append((b"www-authenticate", challenge.encode()))
    if status == 503:
        expected.append((b"retry-after", b"7"))
    assert body == text.encode()
    assert headers == expected


@pytest.mark.parametrize("code", TABLE)
def test_every_sentence_may_stand_in_a_challenge(code: str) -> None:
    assert is_quotable(TABLE[code][3])


def test_parameters_stand_in_one_order() -> None:
    challenger = Challenger("orders", "https://api.test/.well-known/oauth-protected-resource")
    challenge = challenger.challenge(InsufficientScope([["a", "b"]], ["a", "b"]))
    assert challenge == (
        'Bearer realm="orders", error="insufficient_scope", '
        'error_description="The access token does not meet the requirements of this route.", scope="a b", '
        'resource_metadata="https://api.test/.well-known/oauth-protected-resource"'
    )


def test_missing_credentials_carry_no_error_but_the_scope() -> None:
    assert Challenger().challenge(MissingToken(["a"])) == 'Bearer realm="api", scope="a"'


def test_a_fault_of_the_token_names_the_scope_where_the_route_is_known() -> None:
    refused = InvalidToken(Code.EXPIRED, Reason.EXPIRED)
    challenge = Challenger().challenge(refused)
    assert challenge == 'Bearer realm="api", error="invalid_token", error_description="The access token has expired."'
    refused.scope = ("a", "b")
    assert Challenger().challenge(refused) == f'{challenge}, scope="a b"'


def test_missing_grants_are_listed_as_alternatives() -> None:
    body = Challenger().problem(InsufficientScope([["a", "two words"], ["ü"]], ["a"]))
    assert body["required"] == [["a", "two words"], ["ü"]]


@pytest.mark.parametrize("text", ["", 'say "api"', "back\\slash", "ünï", "new\nline", "tab\t", "\x7f"])
def test_what_cannot_stand_between_quotes(text: str) -> None:
    assert not is_quotable(text)


def test_what_can_stand_between_quotes() -> None:
    assert is_quotable("Orders API, v2!")


# --- sending ----------------------------------------------------------------------------------------------------------


def sent(refused: Refused, **scope: object) -> Answer:
    async def app(_scope: object, _receive: object, send: object) -> None:
        await send_refusal(Challenger(), refused, {**http_scope(), **scope}, send)  # type: ignore[arg-type]

    return asyncio.run(serve(app, http_scope()))


def test_an_http_refusal_is_two_messages() -> None:
    answer = sent(NoPolicy())
    assert [message["type"] for message in answer.messages] == ["http.response.start", "http.response.body"]
    assert answer.status == 403
    assert json.loads(answer.body)["code"] == "no_policy"


def test_head_has_the_length_but_not_the_body() -> None:
    full, head = sent(NoPolicy()), sent(NoPolicy(), method="HEAD")
    assert head.headers == full.headers
    assert head.headers["content-length"] == str(len(full.body))
    assert head.body == b""


def test_a_websocket_is_denied_where_the_server_can() -> None:
    answer = sent(MissingToken(), **websocket_scope())
    assert [m["type"] for m in answer.messages] == ["websocket.http.response.start", "websocket.http.response.body"]
    expect_missing(answer)


@pytest.mark.parametrize("extensions", [{}, None, {"tls": {}}])
def test_a_websocket_is_closed_where_the_server_cannot(extensions: object) -> None:
    answer = sent(MissingToken(), **{**websocket_scope(), "extensions": extensions})
    assert answer.messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]


# --- the Authorization header -----------------------------------------------------------------------------------------


def read(*values: bytes, name: bytes = b"authorization") -> str | None:
    return read_bearer_token(http_scope("/", [(name, value) for value in values]), 2000)


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"BEARER abc", b"bEaReR abc"])
def test_the_scheme_is_case_insensitive(value: bytes) -> None:
    assert read(value) == "abc"


def test_the_header_name_is_case_insensitive() -> None:
    assert read(b"Bearer abc", name=b"Authorization") == "abc"


@pytest.mark.parametrize("token", ["a", "a.b.c", "A-Z_0~9+/=", "a=="])
def test_every_token68_is_read(token: str) -> None:
    assert read(b"Bearer " + token.encode()) == token


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Basic am86cHc=",
        b"Basic",
        b"Digest username=jo",
        b"Bearers abc",
        b"XBearer abc",
        "Bëarer abc".encode(),
    ],
)
def test_other_schemes_are_no_credentials_of_ours(value: bytes) -> None:
    assert read(value) is None


@pytest.mark.parametrize(
    "value",
    [b" ", b"\t", b"\xff", b"\xff\xfe", b" Bearer abc", b"\tBearer abc", b"\x00Bearer abc", b"\x00", b'"', b",", b"=a"],
)
def test_no_scheme_at_all_is_an_invalid_request(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(value)
    assert (refused.value.code, refused.value.reason) == (Code.MALFORMED_HEADER, Reason.HEADER_SYNTAX)
    for app in (APP, OPEN):
        answer = ask(app, http_scope("/", [(b"authorization", value)]))
        expect_refusal(answer, 400, "malformed_header", MALFORMED)
    assert ask(OPEN, http_scope("/", [(b"authorization", b"")])).status == 200


def test_no_header_is_no_credentials() -> None:
    assert read() is None


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer  abc",
        b"Bearer\tabc",
        b"Bearer abc ",
        b"Bearer abc\t",
        b"Bearer abc def",
        b"Bearer abc, Basic am86cHc=",
        b"Bearer abc,Bearer def",
        b"Bearer =",
        b"Bearer a=b",
        b"Bearer abc\n",
        b"Bearer abc\r\nX-Evil: 1",
        b"Bearer abc\x00",
        b"Bearer \x00",
        b"Bearer \xc3\xbc",
        b"Bearer ab\xa0c",
        b'Bearer "abc"',
        b"Bearer:abc",
        b"Bearer=abc",
        "Bearer \uff41\uff42".encode(),
    ],
)
def test_ours_but_malformed_is_an_invalid_request(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(value)
    assert (refused.value.code, refused.value.reason) == (Code.MALFORMED_HEADER, Reason.HEADER_SYNTAX)


@pytest.mark.parametrize("second", [b"Bearer abc", b"Basic am86cHc=", b""])
def test_two_headers_are_an_invalid_request(second: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read(b"Bearer abc", second)
    with pytest.raises(InvalidRequest):
        read(second, b"Bearer abc")


def test_two_headers_in_different_case_are_two_headers() -> None:
    with pytest.raises(InvalidRequest):
        read_bearer_token(http_scope("/", [(b"authorization", b"Bearer a"), (b"Authorization", b"Bearer a")]))


@pytest.mark.parametrize("value", [b"DPoP abc", b"dpop", b"DPOP  x"])
def test_dpop_asks_for_a_proof_nobody_can_verify(value: bytes) -> None:
    with pytest.raises(InvalidToken) as refused:
        read(value)
    assert (refused.value.code, refused.value.reason) == (Code.PROOF_REQUIRED, Reason.DPOP_SCHEME)


def test_a_token_may_be_as_long_as_stated() -> None:
    assert read(b"Bearer " + b"a" * 2000) == "a" * 2000
    with pytest.raises(InvalidToken) as refused:
        read(b"Bearer " + b"a" * 2001)
    assert (refused.value.code, refused.value.reason) == (Code.MALFORMED_TOKEN, Reason.TOO_LARGE)


# --- through the whole middleware -------------------------------------------------------------------------------------

APP_ISSUER = LocalIssuer()
APP = starlette_app(APP_ISSUER, Route("/", authenticated(endpoint)))
OPEN = starlette_app(APP_ISSUER, Route("/", public(endpoint)))
MALFORMED = (
    'Bearer realm="api", error="invalid_request", '
    'error_description="Send exactly one Authorization header: Bearer, one space, the token."'
)


def test_a_good_header_is_let_in() -> None:
    assert ask(APP, http_scope("/", [bearer(APP_ISSUER)])).status == 200


@pytest.mark.parametrize("change", [b"x", b" ", b"\x00", b", Basic eA=="])
def test_a_good_header_with_something_behind_is_not(change: bytes) -> None:
    name, value = bearer(APP_ISSUER)
    answer = ask(APP, http_scope("/", [(name, value + change)]))
    assert answer.status == (401 if change == b"x" else 400)


def test_two_good_headers_are_refused() -> None:
    header = bearer(APP_ISSUER)
    expect_refusal(ask(APP, http_scope("/", [header, header])), 400, "malformed_header", MALFORMED)


def test_a_mebibyte_is_refused_unparsed() -> None:
    answer = ask(APP, http_scope("/", [(b"authorization", b"Bearer " + b"a." * 2**19)]))
    challenge = (
        'Bearer realm="api", error="invalid_token", '
        'error_description="The access token is not a well-formed signed JWT."'
    )
    expect_refusal(answer, 401, "malformed_token", challenge)


def test_a_mebibyte_of_scheme_is_no_credentials() -> None:
    expect_missing(ask(APP, http_scope("/", [(b"authorization", b"a" * 2**20)])))


def test_basic_is_asked_for_a_token() -> None:
    expect_missing(ask(APP, http_scope("/", [(b"authorization", b"Basic am86cHc=")])))


def test_the_query_is_not_read() -> None:
    token = APP_ISSUER.token()
    expect_missing(ask(APP, http_scope("/", query_string=f"access_token={token}".encode())))


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/x", "x"),
        ("/both", "x y"),
        ("/either", "x"),
        ("/fewest", "z"),
        ("/role", ""),
        ("/spaced", "x"),
        ("/any", ""),
        ("/open", ""),
        ("/m/inner", "x y"),
        ("/nowhere", ""),
    ],
)
def test_a_bad_token_is_told_the_scope_that_none_is_told(path: str, scope: str) -> None:
    spaced = policy.permission("two words") & "x"
    app = starlette_app(
        APP_ISSUER,
        Route("/x", requires("x")(endpoint)),
        Route("/both", requires("x", "y")(endpoint)),
        Route("/either", requires(policy.any_of("x", "y"))(endpoint)),
        Route("/fewest", requires(policy.scope("x") & policy.scope("y") | policy.scope("z"))(endpoint)),
        Route("/role", requires(policy.role("admin"))(endpoint)),
        Route("/spaced", requires(spaced)(endpoint)),
        Route("/any", authenticated(endpoint)),
        Route("/open", public(endpoint)),
        Mount("/m", app=requires("x")(Starlette(routes=[Route("/inner", requires("y")(endpoint))]))),
    )
    expect_opaque(ask(app, http_scope(path, [(b"authorization", b"Bearer bad")])), scope)
    if path != "/open":
        expect_missing(ask(app, http_scope(path)), scope)
    malformed = ask(app, http_scope(path, [(b"authorization", b"Bearer  bad")]))
    expect_refusal(malformed, 400, "malformed_header", MALFORMED)


ANYTHING = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda tail: b"Bearer " + tail),
    st.from_regex(rb"[Bb]earer [A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){0,5}=*", fullmatch=True),
)


@settings(deadline=None)
@given(st.lists(ANYTHING, min_size=1, max_size=2))
def test_arbitrary_headers_are_refused_and_nothing_of_them_comes_back(values: list[bytes]) -> None:
    answer = ask(APP, http_scope("/", [(b"authorization", value) for value in values]))
    code = answer.json()["code"]
    status, title, error, detail = TABLE[code]
    assert answer.status == status
    assert status in {400, 401}
    # Every byte of the answer follows from the code alone, so none of it can come from the request.
    assert answer.json() == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    challenge = 'Bearer realm="api"' + (f', error="{error}", error_description="{detail}"' if error else "")
    assert answer.headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        "www-authenticate": challenge,
    }
