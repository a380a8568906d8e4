"""Whatever arrives as token, header, payload or JWKS is good or refused in the ways we name; nothing else happens.

And the rule of grants has the shape it promises: no claim makes more effective than both claims say together.
"""

from __future__ import annotations

import asyncio
import json

from hypothesis import example, given
from hypothesis import strategies as st

from authz_middleware import AccessToken
from authz_middleware._jose import ALGORITHMS
from authz_middleware._json import JSONFault, parse_json
from authz_middleware.dialects import ClientClasses, effective_grants
from authz_middleware.errors import InvalidToken
from authz_middleware.keys import BrokenJWKS, KeySet, parse_jwks
from authz_middleware.testing import encode_segment
from authz_middleware.token import OIDC_SCOPES, GrantRule, GrantSet

from .helpers import DEFAULT, ISSUER, compact, five_parts, header_of, sign_raw

TOKEN = ISSUER.token(scope="openid read", permissions=["read", "write"])


def outcome(token: str) -> AccessToken | None:
    """Return what a token says, or None if it is refused as our refusals go; anything else is a failing test."""
    try:
        return asyncio.run(DEFAULT.validate(token))
    except InvalidToken as refusal:
        if refusal.answer.status != 401:
            raise
        return None


# --- what may arrive ------------------------------------------------------------------------------------------------

# JSON as Python writes it: NaN and Infinity, lone surrogates and huge numbers included.
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
HEADER_NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "cty", "zip"])
CLAIM_NAMES = st.sampled_from([*ISSUER.claims(), "nbf", "jti", "scope", "permissions", "client_id", "act", "cnf"]) | (
    st.sampled_from(["gty", "sub_profile", "org_id", "nonce", "at_hash", "authorization_details", "scp"])
)
SEGMENTS = st.binary(max_size=64).map(encode_segment) | st.text(max_size=16)


@given(st.text())
@example("a.b.c")
@example("....")
@example("\ud800.\ud800.\ud800")
def test_arbitrary_text_is_refused(token: str) -> None:
    assert outcome(token) is None


@given(st.lists(SEGMENTS, max_size=7))
def test_arbitrary_segments_are_refused(segments: list[str]) -> None:
    assert outcome(".".join(segments)) is None


@given(st.binary(), st.binary(), st.binary())
def test_arbitrary_bytes_in_the_right_shape_are_refused(header: bytes, payload: bytes, signature: bytes) -> None:
    assert outcome(compact(header, payload, signature)) is None


@given(st.binary())
def test_arbitrary_bytes_as_header_under_a_good_signature_are_refused(header: bytes) -> None:
    assert outcome(sign_raw(header, ISSUER.claims())) is None


@given(st.binary())
def test_arbitrary_bytes_as_payload_under_a_good_signature_are_refused(payload: bytes) -> None:
    assert outcome(sign_raw(header_of(), payload)) is None


@given(JSON)
def test_arbitrary_json_as_header_under_a_good_signature_is_refused(header: object) -> None:
    assert outcome(sign_raw(json.dumps(header).encode(), ISSUER.claims())) is None


@given(JSON)
def test_arbitrary_json_as_payload_under_a_good_signature_is_refused(payload: object) -> None:
    assert outcome(sign_raw(header_of(), json.dumps(payload).encode())) is None


@given(st.dictionaries(HEADER_NAMES, JSON, max_size=3))
def test_a_header_with_some_arbitrary_members(members: dict[str, object]) -> None:
    usual = header_of()
    token = sign_raw(json.dumps({**usual, **members}).encode(), ISSUER.claims(scope="read"))
    changed = {name for name in members if name in {*usual, "crit", "b64"} and members[name] != usual.get(name)}
    read = outcome(token)
    assert read is None or not changed


@given(st.dictionaries(CLAIM_NAMES, JSON, max_size=3))
def test_a_payload_with_some_arbitrary_claims(members: dict[str, object]) -> None:
    read = outcome(sign_raw(header_of(), json.dumps({**ISSUER.claims(), **members}).encode()))
    if read is not None:
        assert read.issuer == ISSUER.issuer
        assert ISSUER.audience in read.audience
        assert "cnf" not in members
        assert read.grants.effective <= read.grants.scopes | read.grants.permissions


@given(st.dictionaries(st.text(), JSON, max_size=3), st.binary(max_size=4))
def test_five_parts_are_refused(header: dict[str, object], encrypted_key: bytes) -> None:
    assert outcome(five_parts({**header, "enc": "A256GCM"}, encrypted_key)) is None


POSITIONS = st.integers(0, len(TOKEN) - 1)
BASE64URL = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
ANY = BASE64URL | st.characters()


@given(POSITIONS, ANY)
def test_no_character_of_a_token_can_be_replaced(position: int, character: str) -> None:
    mutated = TOKEN[:position] + character + TOKEN[position + 1 :]
    assert mutated == TOKEN or outcome(mutated) is None


@given(POSITIONS, ANY)
def test_no_character_can_be_inserted(position: int, character: str) -> None:
    assert outcome(TOKEN[:position] + character + TOKEN[position:]) is None


@given(POSITIONS)
def test_no_character_can_be_deleted(position: int) -> None:
    assert outcome(TOKEN[:position] + TOKEN[position + 1 :]) is None


@given(POSITIONS)
def test_no_token_can_be_cut_short(position: int) -> None:
    assert outcome(TOKEN[:position]) is None


def test_the_token_that_was_mutated_is_good() -> None:
    assert outcome(TOKEN) is not None


# --- JSON and JWKS --------------------------------------------------------------------------------------------------


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_are_strict_json_or_a_fault(data: bytes) -> None:
    try:
        value = parse_json(data)
    except JSONFault:
        return
    assert value == json.loads(data)


def jwks_or_none(data: bytes) -> KeySet | None:
    try:
        return parse_jwks(data, ALGORITHMS)
    except BrokenJWKS:
        return None


@given(st.binary())
def test_arbitrary_bytes_bring_no_key(data: bytes) -> None:
    keys = jwks_or_none(data)
    assert keys is None or not keys.by_algorithm  # an empty set is one


@given(JSON)
def test_arbitrary_json_is_no_jwks(document: object) -> None:
    assert jwks_or_none(json.dumps(document).encode()) is None


JWK_NAMES = st.sampled_from(["kty", "alg", "use", "key_ops", "kid", "crv", "n", "e", "x", "y", "d", "k", "x5c"])


@given(st.lists(st.dictionaries(JWK_NAMES, JSON, max_size=4), max_size=4))
def test_arbitrary_members_of_keys_break_nothing(jwks: list[dict[str, object]]) -> None:
    changed = [{**ISSUER.key.jwk(), **members} for members in jwks]
    document = json.dumps({"keys": [ISSUER.key.jwk(), *changed]}).encode()
    found = jwks_or_none(document)
    assert found is None or all(key.algorithm in ALGORITHMS for key in found.by_id.values())


# --- grants ---------------------------------------------------------------------------------------------------------

VALUES = st.frozensets(st.sampled_from(["a", "b", "c", "openid", "email", "*"]))
RULES = st.none() | st.sampled_from(
    [GrantRule.BOTH_THIRD_PARTY, GrantRule.BOTH_CLIENT_UNSTATED, GrantRule.BOTH_CLIENT_UNNAMED]
)
CASES = st.fixed_dictionaries(
    {
        "has_permissions": st.booleans(),
        "is_machine": st.booleans(),
        "is_delegated": st.booleans(),
        "restriction": RULES,
        "rbac_enforced": st.none() | st.booleans(),
    }
)


def grants_of(case: dict[str, object], scopes: frozenset[str], permissions: frozenset[str] | None) -> GrantSet:
    held = permissions if case["has_permissions"] else None  # other dialects do not read the claim
    nobody = frozenset[str]()
    return effective_grants(scopes=scopes, permissions=held, roles=nobody, groups=nobody, **case)  # type: ignore[arg-type]


@given(CASES, VALUES, st.none() | VALUES)
def test_nothing_is_effective_that_neither_claim_says(
    case: dict[str, object], scopes: frozenset[str], permissions: frozenset[str] | None
) -> None:
    grants = grants_of(case, scopes, permissions)
    assert grants.effective <= (scopes | (permissions or frozenset())) - OIDC_SCOPES
    assert grants.entitlements <= scopes | (permissions or frozenset())


@given(CASES, VALUES, VALUES)
def test_a_restricted_client_gets_what_both_claims_say(
    case: dict[str, object], scopes: frozenset[str], permissions: frozenset[str]
) -> None:
    grants = grants_of({**case, "has_permissions": True}, scopes, permissions)
    if case["restriction"] is not None or case["is_delegated"]:
        assert grants.effective == (scopes & permissions) - OIDC_SCOPES
        assert grants.effective <= scopes
        assert grants.effective <= permissions


@given(CASES, VALUES, VALUES, VALUES)
def test_more_scopes_never_mean_less(
    case: dict[str, object], scopes: frozenset[str], more: frozenset[str], permissions: frozenset[str]
) -> None:
    assert grants_of(case, scopes, permissions).effective <= grants_of(case, scopes | more, permissions).effective


@given(CASES, VALUES, VALUES, VALUES)
def test_more_permissions_never_mean_less(
    case: dict[str, object], scopes: frozenset[str], permissions: frozenset[str], more: frozenset[str]
) -> None:
    assert grants_of(case, scopes, permissions).effective <= grants_of(case, scopes, permissions | more).effective


CLIENTS = st.sampled_from(["one", "two", "tpc_three"])


@given(CASES, VALUES, VALUES, CLIENTS, st.frozensets(CLIENTS), st.frozensets(CLIENTS))
def test_listing_one_more_third_party_never_widens(
    case: dict[str, object],
    scopes: frozenset[str],
    permissions: frozenset[str],
    client: str,
    listed: frozenset[str],
    more: frozenset[str],
) -> None:
    def effective(third_party: frozenset[str]) -> frozenset[str]:
        classes = ClientClasses(third_party=third_party)
        restriction = classes.restriction(client, ("tpc_",), is_machine=bool(case["is_machine"]))
        return grants_of({**case, "restriction": restriction}, scopes, permissions).effective

    assert effective(listed | more) <= effective(listed)
