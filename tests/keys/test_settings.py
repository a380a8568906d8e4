"""`KeySettings`: every number has a name and a range, and numbers that contradict each other are refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import httpx
import pytest

from authz_middleware.errors import ConfigurationError
from authz_middleware.keys import KeySettings, RemoteJWKS
from authz_middleware.keys.settings import RANGES, WHOLE


def fault(**change: Any) -> str:
    """Return the only fault of the defaults with a change."""
    with pytest.raises(ConfigurationError) as caught:
        KeySettings(**change)
    (only,) = caught.value.faults
    return only.removeprefix("KeySettings: ")


def test_the_defaults_are_the_numbers_of_the_promises() -> None:
    """DESIGN section 5, number by number."""
    settings = KeySettings()
    assert (settings.lifetime, settings.shortest_lifetime, settings.longest_lifetime) == (600, 60, 3600)
    assert (settings.refresh_ahead, settings.refresh_spread) == (0.8, 0.1)
    assert (settings.unknown_key_burst, settings.unknown_key_interval, settings.max_absent) == (2, 15, 1024)
    assert settings.max_waiting == 256
    assert settings.outage_tolerance == 3600
    assert (settings.shortest_backoff, settings.longest_backoff) == (1, 30)
    assert settings.backoff_spread > 0
    assert (settings.fetch_seconds, settings.max_bytes, settings.max_keys) == (5, 512 * 1024, 100)
    assert settings.allowed_hosts is None


def test_every_number_has_a_range() -> None:
    assert {field.name for field in fields(KeySettings)} == {*RANGES, "allowed_hosts"}
    assert set(RANGES) > WHOLE


FREE: dict[str, dict[str, Any]] = {
    # what must move with a number that goes to an end of its range
    "lifetime": {"shortest_lifetime": 1, "longest_lifetime": 86_400, "fetch_seconds": 1},
    "shortest_lifetime": {"lifetime": 86_400, "longest_lifetime": 86_400, "fetch_seconds": 1, "outage_tolerance": 0},
    "longest_lifetime": {"lifetime": 1, "shortest_lifetime": 1, "fetch_seconds": 1},
    "refresh_ahead": {"refresh_spread": 0},
    "refresh_spread": {"refresh_ahead": 0.5},
    "shortest_backoff": {"longest_backoff": 600},
    "longest_backoff": {"shortest_backoff": 0.1},
}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("end", [0, 1])
def test_numbers_at_the_ends_of_their_range(name: str, end: int) -> None:
    value = RANGES[name][end]
    if (name, end) == ("refresh_spread", 1):
        value = 0.49  # a half of the lifetime both ways would refresh at its very begin
    assert getattr(KeySettings(**{**FREE.get(name, {}), name: value}), name) == value


@pytest.mark.parametrize("name", RANGES)
def test_numbers_beyond_their_range(name: str) -> None:
    least, most = RANGES[name]
    kind = "a whole number" if name in WHOLE else "a number"
    expected = f"{name} is {kind} from {least:g} to {most:g}"
    for value in (least - 1, least - 0.001, most + 1, most * 1.001, -1, 10**400, float("nan"), float("inf")):
        assert fault(**{name: value}) == expected


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [None, "60", True, False, [60], 60j, b"60"])
def test_what_is_no_number(name: str, value: Any) -> None:
    assert fault(**{name: value}).startswith(f"{name} is a ")


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_is_no_whole_number(name: str) -> None:
    assert fault(**{name: 2000.0}).startswith(f"{name} is a whole number from ")


LIFETIMES = "lifetime lies between shortest_lifetime and longest_lifetime; widen the bounds or move it"
AHEAD = "refresh_ahead give or take refresh_spread must lie within the lifetime, 0 to 1; lower the spread"
BACKOFF = "shortest_backoff is above longest_backoff; swap them"
TOLERANCE = "outage_tolerance is below shortest_lifetime, so it would say nothing; lower that one, or write 0"
FETCH = "a fetch may take longer than the shortest_lifetime it brings; lower fetch_seconds"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lifetime": 59}, LIFETIMES),
        ({"lifetime": 3601}, LIFETIMES),
        ({"shortest_lifetime": 601}, LIFETIMES),
        ({"longest_lifetime": 599}, LIFETIMES),
        ({"shortest_lifetime": 900, "longest_lifetime": 300}, LIFETIMES),
        ({"refresh_ahead": 0.99}, AHEAD),
        ({"outage_tolerance": 59.9}, TOLERANCE),
        ({"outage_tolerance": 1}, TOLERANCE),
        ({"refresh_ahead": 0.1}, AHEAD),
        ({"refresh_ahead": 0.95}, AHEAD),
        ({"refresh_spread": 0.3}, AHEAD),
        ({"refresh_ahead": 0.5, "refresh_spread": 0.5}, AHEAD),
        ({"shortest_backoff": 31}, BACKOFF),
        ({"longest_backoff": 0.5}, BACKOFF),
        ({"shortest_lifetime": 4, "lifetime": 4}, FETCH),
        ({"fetch_seconds": 60, "shortest_lifetime": 59}, FETCH),
    ],
)
def test_numbers_that_contradict_each_other(change: dict[str, Any], says: str) -> None:
    assert fault(**change) == says


@pytest.mark.parametrize(
    "change",
    [
        {"lifetime": 60},
        {"lifetime": 3600},
        {"shortest_lifetime": 60, "lifetime": 60, "longest_lifetime": 60},
        {"refresh_ahead": 0.99, "refresh_spread": 0.0},
        {"outage_tolerance": 60},
        {"refresh_ahead": 0.9},
        {"shortest_backoff": 30},
        {"fetch_seconds": 60},
        {"outage_tolerance": 0},
        {"max_absent": 0},
        {"longest_retry_after": 0},
    ],
)
def test_numbers_at_the_edge_of_a_contradiction(change: dict[str, Any]) -> None:
    assert {name: getattr(KeySettings(**change), name) for name in change} == change


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        KeySettings(lifetime=0, max_keys=0, shortest_backoff=50, allowed_hosts="issuer.test")
    assert [fault.split()[1] for fault in caught.value.faults] == ["lifetime", "max_keys", "allowed_hosts"]
    with pytest.raises(ConfigurationError) as caught:
        KeySettings(lifetime=1, shortest_backoff=50)
    assert caught.value.faults == (f"KeySettings: {LIFETIMES}", f"KeySettings: {BACKOFF}")


def test_settings_are_values() -> None:
    settings = KeySettings(allowed_hosts=["b.test", "a.test"])
    assert settings == KeySettings(allowed_hosts={"a.test", "b.test"})
    assert len({settings, replace(settings), KeySettings()}) == 2
    with pytest.raises(FrozenInstanceError):
        settings.lifetime = 1  # type: ignore[misc]  # that is the test


def test_a_list_given_is_no_list_kept() -> None:
    hosts = ["a.test"]
    settings = KeySettings(allowed_hosts=hosts)
    hosts.append("evil.test")
    assert settings.allowed_hosts == {"a.test"}


COLLECTION = 'allowed_hosts is a collection of hosts; write allowed_hosts={"acme.eu.auth0.com"}'
BARE = (
    "allowed_hosts holds whole bare hosts, with a port where it is not the usual one; write "
    '"acme.eu.auth0.com" or "localhost:8443", without https://, slashes or wildcards'
)


@pytest.mark.parametrize("hosts", ["issuer.test", b"issuer.test", 5, {"issuer.test": 1}, [], set(), True])
def test_allowed_hosts_are_a_collection(hosts: Any) -> None:
    assert fault(allowed_hosts=hosts) == COLLECTION


@pytest.mark.parametrize(
    "host",
    [
        "",
        None,
        5,
        b"issuer.test",
        "https://issuer.test",
        "https://issuer.test/",
        "issuer.test/",
        "issuer.test/keys",
        "/issuer.test",
        "issuer.test?",
        "issuer.test#",
        "*.issuer.test",
        "*",
        "me@issuer.test",
        "issuer.test:https",
        "issuer.test:99999",
        "issuer.test ",
        "issuer\\test",
        "caf\u00e9.test",
        "[::1",
        "169.254.169.254",
        "metadata.google.internal",
    ],
)
def test_an_allowed_host_is_bare_and_whole(host: Any) -> None:
    assert fault(allowed_hosts=["keys.test", host]) == BARE


@pytest.mark.parametrize(
    ("host", "url", "is_allowed"),
    [
        ("keys.test", "https://keys.test/jwks.json", True),
        ("KEYS.test", "https://keys.TEST/jwks.json", True),
        ("keys.test", "https://keys.test:443/", True),
        ("keys.test:443", "https://keys.test/", True),
        ("keys.test:8443", "https://keys.test:8443/", True),
        ("keys.test", "https://keys.test:8443/", False),
        ("keys.test:8443", "https://keys.test/", False),
        ("keys.test", "https://evil.keys.test/", False),
        ("keys.test", "https://keys.test.evil.test/", False),
        ("keys.test", "https://evil.test/keys.test", False),
        ("keys.test", "https://evil.test/?keys.test", False),
        ("keys.test", "https://test/", False),
        ("[2001:db8::1]", "https://[2001:db8::1]/", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443/", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1:8443]/", False),
        ("localhost:8080", "http://localhost:8080/", True),
    ],
)
def test_a_host_is_compared_whole(host: str, url: str, is_allowed: bool) -> None:
    assert KeySettings(allowed_hosts=[host]).allows_host_of(url) is is_allowed
    assert KeySettings().allows_host_of(url)


@pytest.mark.parametrize(
    ("issuer", "options", "says"),
    [
        ("http://issuer.test/", {}, "RemoteJWKS: issuer must use https"),
        ("https://issuer.test/", {"jwks_uri": "http://issuer.test/jwks"}, "RemoteJWKS: jwks_uri must use https"),
        ("https://issuer.test/", {"jwks_uri": "https://169.254.169.254/jwks"}, "RemoteJWKS: jwks_uri is a link-local"),
        (
            "https://issuer.test/",
            {"jwks_uri": "https://keys.test/jwks", "settings": KeySettings(allowed_hosts={"issuer.test"})},
            "RemoteJWKS: jwks_uri is on a host that allowed_hosts= does not list; add it there",
        ),
        ("https://issuer.test/", {"fetch": 123}, "RemoteJWKS: fetch= takes an httpx.AsyncClient"),
        ("https://issuer.test/", {"fetch": httpx.Client()}, "RemoteJWKS: fetch= takes an httpx.AsyncClient"),
        ("https://issuer.test/", {"algorithms": frozenset()}, "RemoteJWKS: algorithms must be some of ES256, ES384"),
        ("https://issuer.test/", {"algorithms": frozenset({"es256"})}, "RemoteJWKS: algorithms must be some of"),
        ("https://issuer.test/", {"algorithms": frozenset({"HS256"})}, "RemoteJWKS: algorithms must be some of"),
    ],
)
def test_a_source_made_by_hand_fetches_from_nowhere_else_either(issuer: str, options: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        RemoteJWKS(issuer, **{"algorithms": frozenset({"RS256"}), **options})
    assert refused.value.faults[0].startswith(says)
