"""The local issuer: what it writes in each dialect, what it publishes at each moment, what it says about slips."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from authz_middleware import AccessToken, AccessTokenValidator, ConfigurationError, TrustedIssuer
from authz_middleware._jose import ALGORITHMS
from authz_middleware.dialects import AUTH0, DIALECTS, RFC9068, Dialect
from authz_middleware.errors import InvalidToken, KeysUnavailable
from authz_middleware.keys import RemoteJWKS, SecretKey
from authz_middleware.testing import LocalIssuer, SigningKey
from authz_middleware.token import GrantRule
from tests.helpers import NOW, accepted, refused
from tests.keys.helpers import at_once, in_loop, settle
from tests.testing.apps import no_network

KEY = SigningKey()
EC_KEY = SigningKey("ES256")
WITH_PERMISSIONS = [name for name, table in DIALECTS.items() if table.has_permissions]


def local(**options: Any) -> LocalIssuer:
    return LocalIssuer(**{"key": KEY, "clock": lambda: NOW, **options})


def validator(issuer: LocalIssuer, **options: Any) -> AccessTokenValidator:
    trusted = issuer.trusted(**{"third_party_clients": (), "rbac_enforced": True, **options})
    return AccessTokenValidator([trusted], clock=issuer.clock)


# --- what it writes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("machine", [False, True])
def test_a_token_with_nothing_but_defaults_is_read_as_the_dialect_it_was_written_in(
    dialect: str, machine: bool
) -> None:
    """Also where all dialects that the type leaves are accepted."""
    issuer = local()
    allowed = [RFC9068] if dialect == "rfc9068" else AUTH0
    token = accepted(issuer.token(dialect, machine=machine), validator(issuer, dialects=allowed))
    assert (token.dialect, token.is_machine) == (dialect, machine)
    assert token.grants.effective == frozenset()
    assert token.grants.rule is (GrantRule.EITHER if dialect in WITH_PERMISSIONS else GrantRule.SCOPES)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_machine_has_its_scopes_in_every_dialect(dialect: str) -> None:
    token = local().access_token(dialect, machine=True, client_id="nightly-job", scope="read:orders write:orders")
    assert token.is_machine
    assert token.client_id == "nightly-job"
    assert token.grants.effective == {"read:orders", "write:orders"}
    has_permissions = DIALECTS[dialect].has_permissions
    assert token.grants.permissions == (token.grants.scopes if has_permissions else frozenset())


def test_what_is_said_about_permissions_is_written() -> None:
    issuer = local()
    assert issuer.claims()["permissions"] == []
    assert issuer.claims(permissions=("a", "b c"))["permissions"] == ["a", "b c"]
    assert "permissions" not in issuer.claims(permissions=None)
    assert issuer.claims(machine=True, scope="a b")["permissions"] == ["a", "b"]
    assert issuer.claims(machine=True, scope="a", permissions=[])["permissions"] == []
    assert "permissions" not in issuer.claims(machine=True, scope="a", permissions=None)
    for none in ((), None):
        assert "permissions" not in issuer.claims("access_token", permissions=none)


@pytest.mark.parametrize("make", [LocalIssuer.claims, LocalIssuer.token, LocalIssuer.headers, LocalIssuer.access_token])
def test_permissions_are_not_dropped_where_the_dialect_has_none(make: Any) -> None:
    with pytest.raises(ConfigurationError) as fault:
        make(local(), "rfc9068", permissions=["a"])
    assert str(fault.value) == "rfc9068 has no permissions; write scope=…, or name another dialect"


def test_a_dialect_of_the_applications_own_is_written_by_its_table() -> None:
    mine = Dialect(
        name="mine",
        types=frozenset({"mine+jwt"}),
        client_claim="cid",
        scope_claim="scp",
        permissions_claims=(("https://api.test/access", "rights"),),
        required_claims=frozenset({"jti"}),
        machine_grant_type="robot",
        machine_subject_suffixes=("!",),
    )
    token = local().access_token(mine, scope="read", permissions=["write"], client_id="shop")
    assert token.client_id == "shop"
    assert token.token_id
    assert token.grants.scopes == {"read"}
    assert token.grants.permissions == {"write"}
    machine = local().access_token(mine, machine=True, client_id="job")
    assert (machine.subject, machine.claims["gty"], machine.is_machine) == ("job!", "robot", True)


def test_headers_take_every_argument_by_its_name() -> None:
    issuer = local()
    headers = issuer.headers(
        dialect="rfc9068_profile_authz", scope="openid", permissions=["read:orders"], expires_in=60, subject="auth0|kim"
    )
    assert list(headers) == ["Authorization"]
    token = accepted(headers["Authorization"].removeprefix("Bearer "), validator(issuer))
    assert (token.dialect, token.subject, token.expires_at) == ("rfc9068_profile_authz", "auth0|kim", NOW + 60)
    assert token.grants.scopes == {"openid"}
    assert token.grants.permissions == {"read:orders"}


def test_further_claims_go_in_and_none_takes_one_out() -> None:
    claims = local().claims(org_id="org_1", azp=None)
    assert claims["org_id"] == "org_1"
    assert "azp" not in claims
    assert local().claims(machine=True, subject="agt_1")["sub"] == "agt_1"


def test_all_that_make_a_token_take_the_same_arguments() -> None:
    parameters = dict(inspect.signature(LocalIssuer.claims).parameters)
    for method in (LocalIssuer.token, LocalIssuer.headers):
        assert dict(inspect.signature(method).parameters) == parameters
    own = dict(inspect.signature(LocalIssuer.access_token).parameters)
    assert own.pop("trusted").default is None
    assert own == parameters


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("permission", "permissions"),
        ("permisions", "permissions"),
        ("scopes", "scope"),
        ("subjects", "subject"),
        ("clientid", "client_id"),
        ("machines", "machine"),
        ("is_machine", "machine"),
        ("expire_in", "expires_in"),
        ("expires", "expires_in"),
        ("dialects", "dialect"),
        ("audience", "aud"),
        ("issuer", "iss"),
    ],
)
def test_what_is_nearly_an_argument_becomes_no_claim(name: str, meant: str) -> None:
    claims: dict[str, Any] = {name: ["read:orders"]}
    issuer = local()
    for make in (issuer.claims, issuer.token, issuer.headers, issuer.access_token):
        with pytest.raises(ConfigurationError) as told:
            make(**claims)
        assert str(told.value) == (
            f"{name}= is no argument, and would become a claim of that name; write {meant}=…, or, if you mean such a "
            f'claim, issuer.sign({{**issuer.claims(…), "{name}": …}})'
        )


@pytest.mark.parametrize(
    "name", ["roles", "role", "groups", "scp", "sub", "sub_profile", "client", "azp", "act", "machine_id", "gty", "aud"]
)
def test_claims_of_other_names_are_claims(name: str) -> None:
    claims: dict[str, Any] = {name: "x"}
    assert local().claims(**claims)[name] == "x"


def test_a_claim_that_the_dialect_reads_is_one_whatever_it_is_called() -> None:
    own = replace(DIALECTS["rfc9068"], name="own", scope_claim="scopes", permissions_claims=(("permission",),))
    claims: dict[str, Any] = {"scopes": "a", "permission": ["b"]}
    assert local().claims(own, **claims).items() >= claims.items()


@pytest.mark.parametrize("expires_in", [3600, 1, 0, -1, -86400, 0.5])
def test_every_token_was_issued_before_it_expires(expires_in: float) -> None:
    claims: dict[str, Any] = local().claims(expires_in=expires_in)
    assert claims["iat"] < claims["exp"] == NOW + int(expires_in)
    assert claims["iat"] < NOW


def test_one_string_is_not_several_and_several_are_not_one() -> None:
    for slip in ({"permissions": "read:orders"}, {"scope": ["read:orders"]}):
        arguments: dict[str, Any] = slip
        with pytest.raises(ConfigurationError, match="scope= is one space-joined string"):
            local().headers(**arguments)


# --- the algorithms ---------------------------------------------------------------------------------------------------


def test_an_issuer_with_a_shared_secret_is_trusted_by_it() -> None:
    issuer = local(key=None, algorithm="HS256")
    trusted = issuer.trusted(third_party_clients=())
    assert isinstance(trusted.key_source(), SecretKey)
    assert accepted(issuer.token(), AccessTokenValidator([trusted], clock=lambda: NOW)).subject == "auth0|jo"
    assert issuer.access_token(permissions=["x"]).grants.effective == {"x"}
    other = local(key=None, algorithm="HS256")
    assert refused(other.token(), AccessTokenValidator([trusted], clock=lambda: NOW))[0] == "bad_signature"


def test_a_shared_secret_is_nowhere_published() -> None:
    issuer = local(key=None, algorithm="HS256")
    assert issuer.jwks() == {"keys": []}
    assert issuer.key.private.hex() not in repr(issuer) + repr(issuer.key) + repr(issuer.trusted())
    with pytest.raises(ConfigurationError, match="never published"):
        issuer.key.jwk()


@pytest.mark.parametrize("what", ["rotate", "fail", "hang", "recover", "withdraw"])
def test_nothing_happens_to_a_shared_secret(what: str) -> None:
    issuer = local(key=None, algorithm="HS256")
    arguments = [issuer.key] if what == "withdraw" else []
    with pytest.raises(ConfigurationError, match=f"{what}: .*make a new LocalIssuer"):
        getattr(issuer, what)(*arguments)


@pytest.mark.parametrize("algorithm", ["none", "HS512", "rs256", "RS255", ""])
def test_an_algorithm_nobody_signs_with_is_said_at_once(algorithm: str) -> None:
    with pytest.raises(ConfigurationError, match="write one of ES256, ES384, ES512, EdDSA, HS256, PS256"):
        LocalIssuer(algorithm=algorithm)


def test_settings_that_do_not_accept_its_algorithm_say_which_to_choose() -> None:
    with pytest.raises(ConfigurationError) as caught:
        local(key=EC_KEY).trusted()
    assert "signs with ES256, and the settings for https://issuer.test/ accept PS256, RS256; write" in str(caught.value)
    assert 'LocalIssuer(…, algorithm="RS256")' in str(caught.value)
    with pytest.raises(ConfigurationError, match='algorithm="ES384"'):
        local(key=EC_KEY).trusted(algorithms=["ES512", "ES384"])


@pytest.mark.parametrize("algorithm", sorted({*ALGORITHMS, "HS256"}))
def test_a_handler_gets_tokens_of_every_algorithm(algorithm: str) -> None:
    assert local(key=None, algorithm=algorithm).access_token("rfc9068", scope="a").grants.effective == {"a"}


def test_a_key_given_is_the_key_it_signs_with() -> None:
    issuer = local(key=EC_KEY)
    assert issuer.key is EC_KEY
    assert issuer.published == [EC_KEY]
    assert repr(issuer) == "LocalIssuer('https://issuer.test/', audience='https://api.test/', algorithm='ES256')"


def test_where_the_settings_say_how_keys_are_had_those_are_the_keys() -> None:
    issuer = local()
    own = LocalIssuer(key=EC_KEY).keys
    assert issuer.trusted(keys=own).key_source() is own
    assert issuer.trusted().key_source() is issuer.keys
    discovered = issuer.trusted(fetch=no_network).key_source()
    assert isinstance(discovered, RemoteJWKS)
    assert issuer.metadata() == {"issuer": issuer.issuer, "jwks_uri": "https://issuer.test/.well-known/jwks.json"}


# --- live keys --------------------------------------------------------------------------------------------------------


def test_settings_follow_the_keys_that_are_published() -> None:
    issuer = local()
    by = validator(issuer)
    old, old_token = issuer.key, issuer.token()
    issuer.rotate()
    assert accepted(issuer.token(), by).subject == accepted(old_token, by).subject
    issuer.withdraw(old)
    assert refused(old_token, by) == ("unknown_key", "key_not_published")
    assert accepted(issuer.token(), by).subject == "auth0|jo"
    issuer.withdraw(issuer.key)
    assert refused(issuer.token(), by) == ("unknown_key", "key_not_published")
    assert issuer.trusted().issuer == issuer.issuer


def test_a_key_that_is_not_published_cannot_be_withdrawn() -> None:
    issuer = local()
    with pytest.raises(ConfigurationError, match=r"write issuer\.withdraw"):
        issuer.withdraw(EC_KEY)
    assert issuer.published == [KEY]


def test_an_issuer_that_fails_gives_no_keys_until_it_recovers() -> None:
    issuer = local()
    by, token = validator(issuer), issuer.token()
    assert accepted(token, by).subject == "auth0|jo"
    issuer.fail()
    assert refused(token, by) == ("keys_unavailable", "key_source_failed")
    issuer.recover()
    assert accepted(token, by).subject == "auth0|jo"


def test_keys_that_neither_fail_nor_hang_never_wait() -> None:
    issuer = local()
    assert at_once(issuer.keys.get(KEY.kid, "RS256")).kid == KEY.kid
    issuer.fail()
    with pytest.raises(KeysUnavailable):
        at_once(issuer.keys.get(KEY.kid, "RS256"))


@in_loop
async def test_who_asks_while_it_hangs_waits_until_it_recovers() -> None:
    issuer = local()
    issuer.hang()
    requests = [asyncio.create_task(validator(issuer).validate(issuer.token())) for _ in range(3)]
    await settle()
    assert not any(request.done() for request in requests)
    issuer.hang()  # again: they wait on
    await settle()
    assert not any(request.done() for request in requests)
    issuer.recover()
    assert {token.subject for token in await asyncio.gather(*requests)} == {"auth0|jo"}


@in_loop
async def test_who_waits_sees_what_is_published_afterwards() -> None:
    issuer = local()
    by, token = validator(issuer), issuer.token()
    issuer.hang()
    failed, withdrawn = (asyncio.create_task(by.validate(token)) for _ in range(2))
    await settle()
    issuer.fail()
    with pytest.raises(KeysUnavailable):
        await failed
    with pytest.raises(KeysUnavailable):
        await withdrawn
    issuer.hang()
    withdrawn = asyncio.create_task(by.validate(token))
    await settle()
    issuer.withdraw(issuer.key)
    issuer.recover()
    with pytest.raises(InvalidToken, match="unknown_key"):
        await withdrawn


@in_loop
async def test_who_is_let_go_and_finds_it_hanging_again_waits_again() -> None:
    issuer = local()
    issuer.hang()
    request = asyncio.create_task(validator(issuer).validate(issuer.token()))
    await settle()
    issuer.recover()
    issuer.hang()
    await settle()
    assert not request.done()
    issuer.recover()
    assert (await request).subject == "auth0|jo"


def test_a_request_that_gives_up_leaves_nothing_behind() -> None:
    issuer = local()
    live = issuer._live_keys

    async def give_up() -> None:
        request = asyncio.create_task(validator(issuer).validate(issuer.token()))
        await settle()
        assert len(live._waiting) == 1
        request.cancel()
        await asyncio.wait({request})
        assert request.cancelled()

    issuer.hang()
    asyncio.run(give_up())
    assert not live._waiting
    issuer.recover()


@in_loop
async def test_a_request_that_gives_up_while_it_is_let_go_disturbs_nobody() -> None:
    issuer = local()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    issuer.hang()
    leaving, staying = (asyncio.create_task(validator(issuer).validate(issuer.token())) for _ in range(2))
    await settle()
    issuer.recover()
    leaving.cancel()
    assert (await staying).subject == "auth0|jo"
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    assert faults == []


def test_loops_in_other_threads_wait_and_are_let_go() -> None:
    issuer = local()
    by, token = validator(issuer), issuer.token()
    subjects: list[str] = []
    waiting = threading.Semaphore(0)

    async def request() -> None:
        task = asyncio.create_task(by.validate(token))
        await settle()
        waiting.release()
        subjects.append((await task).subject)

    issuer.hang()
    threads = [threading.Thread(target=asyncio.run, args=(request(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=10)
    assert subjects == []
    issuer.recover()
    for thread in threads:
        thread.join(10)
    assert subjects == 3 * ["auth0|jo"]
    assert not issuer._live_keys._waiting


def test_a_loop_that_was_closed_while_it_waited_does_not_hinder_recovery() -> None:
    issuer = local()
    issuer.hang()
    loop = asyncio.new_event_loop()
    request = loop.create_task(validator(issuer).validate(issuer.token()))
    loop.run_until_complete(settle())
    loop.close()
    issuer.recover()
    assert not issuer._live_keys._waiting
    assert accepted(issuer.token(), validator(issuer)).subject == "auth0|jo"
    request._log_destroy_pending = False  # type: ignore[attr-defined]  # it is what this test is about
    coroutine: Any = request.get_coro()
    coroutine.close()


# --- what a handler gets ----------------------------------------------------------------------------------------------


def test_a_validated_token_is_had_outside_a_loop_and_inside_one() -> None:
    issuer = local()
    outside = issuer.access_token(permissions=["read:orders"], subject="auth0|kim")
    assert (outside.issuer, outside.audience) == (issuer.issuer, (issuer.audience,))

    async def handler() -> object:
        return issuer.access_token(permissions=["read:orders"], subject="auth0|kim")

    assert asyncio.run(handler()) == outside
    assert "read:orders" in outside.grants


def test_without_settings_everything_a_token_says_counts() -> None:
    token = local().access_token("access_token", scope="read:orders")
    assert token.grants.effective == token.grants.entitlements == {"read:orders"}
    both = local().access_token(scope="a", permissions=["b"], client_id="anybody")
    assert both.grants.effective == {"a", "b"}
    none = local().access_token(permissions=None, scope="a")
    assert (none.dialect, none.grants.rule) == ("access_token_authz", GrantRule.NONE_PERMISSIONS_ABSENT)


def test_the_applications_settings_say_what_grants_are_worth() -> None:
    orders = TrustedIssuer.auth0("acme.eu.auth0.com", "https://orders.acme.example/", third_party_clients={"partner"})
    issuer = local()
    partner = issuer.access_token(scope="a", permissions=["a", "b"], client_id="partner", trusted=orders)
    own = issuer.access_token(scope="a", permissions=["a", "b"], client_id="shop", trusted=orders)
    assert partner.grants.effective == {"a"}
    assert own.grants.effective == {"a", "b"}
    with pytest.raises(ConfigurationError, match="wrong_tenant, tenant_not_allowed"):
        issuer.access_token(trusted=replace(orders, tenants=["org_1"]))


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"expires_in": -60}, "expired, expired"),
        ({"aud": "https://another-api.example/"}, "wrong_audience, audience_not_ours"),
        ({"scope": "a", "permissions": [1]}, "invalid_claim, claim_wrong_form"),
        ({"cnf": {"jkt": "x"}}, "proof_required, confirmation_claim"),
    ],
)
def test_claims_of_which_no_handler_hears_are_said_to_be_that(claims: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"refused \\({says}\\), so no handler gets it") as caught:
        local().access_token(**claims)
    assert isinstance(caught.value.__cause__, InvalidToken)


def test_a_withdrawn_key_signs_no_token_for_a_handler() -> None:
    issuer = local()
    issuer.withdraw(issuer.key)
    with pytest.raises(ConfigurationError, match="unknown_key, key_not_published"):
        issuer.access_token()


@pytest.mark.parametrize("what", ["hang", "fail"])
def test_while_the_keys_cannot_be_had_no_handler_gets_a_token(what: str) -> None:
    issuer = local()

    async def handler() -> AccessToken:
        return issuer.access_token()

    getattr(issuer, what)()
    asks: list[Callable[[], AccessToken]] = [issuer.access_token, lambda: asyncio.run(handler())]
    for ask in asks:
        with pytest.raises(ConfigurationError, match=r"are unavailable just now, .*; call issuer\.recover\(\) first"):
            ask()
    assert not issuer._live_keys._waiting
    issuer.recover()
    assert issuer.access_token() == asyncio.run(handler())
