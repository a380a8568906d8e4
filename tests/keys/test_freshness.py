"""What response headers say about time: Cache-Control, Age, Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_middleware.keys import KeySettings
from authz_middleware.keys.freshness import read_lifetime, read_retry_after

SETTINGS = KeySettings()
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


def lifetime(cache_control: str | None = None, age: str | None = None) -> float | None:
    headers = {"cache-control": cache_control, "age": age}
    return read_lifetime({name: value for name, value in headers.items() if value is not None}, SETTINGS)


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        (None, None),
        ("", None),
        ("public", None),
        ("must-revalidate, private", None),
        ("max-age=900", 900),
        ("public,max-age=900", 900),
        ("public, MAX-AGE=900, must-revalidate", 900),
        ('max-age="900"', 900),
        ("max-age=15", 60),
        ("max-age=0", 60),
        ("max-age=59", 60),
        ("max-age=60", 60),
        ("max-age=61", 61),
        ("max-age=3600", 3600),
        ("max-age=3601", 3600),
        ("max-age=" + "9" * 5000, 3600),
        ("s-maxage=900", None),
        ("x-max-age=900", None),
        ("max-age=-1", 60),
        ("max-age=abc, public", 60),
        ("max-age=", 60),
        ("max-age", 60),
        ("max-age=NaN", 60),
        ("max-age=1.5e3", 60),
        ("max-age=\u0663\u0660\u0660", 60),
        ("max-age=300, max-age=900", 300),
        ('foo="x max-age=3600"', None),
        ('foo="x, no-store, \\", max-age=3600", max-age=900', 900),
        ('max-age="900', 60),
        ("max-age=10000000000", 3600),
        ("max-age=4294967296000", 3600),
        ("s-maxage=100, max-age=900", 900),
        ("no-store", 60),
        ("no-cache", 60),
        ("NO-STORE", 60),
        ("no-cache, no-store, max-age=3600", 60),
        ("max-age=3600, no-cache", 60),
        ("max-age=3600,no-store,private", 60),
        ('no-cache="Set-Cookie", max-age=3600', 60),
        ("no-storage, max-age=900", 900),
        ("x-no-store, max-age=900", 900),
        ("no-cachet=1, max-age=900", 900),
    ],
)
def test_cache_control(cache_control: str | None, seconds: float | None) -> None:
    assert lifetime(cache_control) == seconds


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        ("0", 3000),
        ("1", 2999),
        (" 900 ", 2100),
        ("2940", 60),
        ("2941", 60),
        ("3001", 60),
        ("999999999", 60),
        ("9999999999999", 60),
        ("9" * 5000, 60),
        ("10, 20", 2990),  # the first counts
        (", 20", 3000),
        ("-5", 3000),
        ("1.5", 3000),
        ("", 3000),
        ("soon", 3000),
        ("\u0663", 3000),
    ],
)
def test_what_a_cache_on_the_way_has_used_up_is_gone(age: str, seconds: float) -> None:
    assert lifetime("max-age=3000", age) == seconds


def test_an_age_alone_says_nothing() -> None:
    assert lifetime(None, "100") is None


def test_a_longer_life_is_cut_after_its_age() -> None:
    """7200 seconds of which 1800 are gone: 5400 are left, more than is taken."""
    assert lifetime("max-age=7200", "1800") == 3600
    assert lifetime("max-age=7200", "5400") == 1800


def test_the_bounds_are_the_settings() -> None:
    settings = KeySettings(shortest_lifetime=300, longest_lifetime=900)
    assert read_lifetime({"cache-control": "max-age=10"}, settings) == 300
    assert read_lifetime({"cache-control": "no-store"}, settings) == 300
    assert read_lifetime({"cache-control": "max-age=901"}, settings) == 900


def retry_after(value: str, date: str | None = None) -> float | None:
    return read_retry_after({"retry-after": value} | ({} if date is None else {"date": date}))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("999999999", 999_999_999),
        ("9999999999", 2**31),
        ("9" * 5000, 2**31),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("", None),
        ("soon", None),
        ("\u0663", None),
    ],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after(value, format_datetime(NOON, usegmt=True)) == seconds
    assert retry_after(value) == seconds


@pytest.mark.parametrize("seconds", [0, 1, 90, 86_400])
def test_retry_after_as_a_date_is_compared_with_the_servers_own_clock(seconds: int) -> None:
    then = format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(then, format_datetime(NOON, usegmt=True)) == seconds


@pytest.mark.parametrize(
    "form", ["Mon, 15 Jun 2026 12:01:00 GMT", "Monday, 15-Jun-26 12:01:00 GMT", "Mon Jun 15 12:01:00 2026"]
)
def test_a_date_has_three_forms(form: str) -> None:
    assert retry_after(form, "Mon Jun 15 12:00:00 2026") == 60
    assert retry_after("Sat Jun  6 08:49:37 2026", "Sat, 06 Jun 2026 08:49:00 GMT") == 37


def test_a_date_that_has_passed_is_now() -> None:
    assert retry_after("Mon, 15 Jun 2026 11:59:00 GMT", "Mon, 15 Jun 2026 12:00:00 GMT") == 0


@pytest.mark.parametrize("date", [None, "", "noon", "Mon, 15 Jun 2026 12:00:00 -0000", "12:00"])
def test_a_date_without_a_clock_to_compare_it_with_says_nothing(date: str | None) -> None:
    assert retry_after("Mon, 15 Jun 2026 12:01:00 GMT", date) is None


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 15 Jun 2026 12:01:00",
        "Mon, 15 Jun 2026 12:01:00 -0000",
        "Mon, 99 Jun 2026 12:01:00 GMT",
        "Mon, 15 Jun 99999999999999999999 12:01:00 GMT",
        "Mon, 15 Jun 2026 99:99:99 GMT",
        "Mon, 15 Jun 2026 12:01:00 +99999999999999",
        "2026-06-15T12:01:00Z",
        "tomorrow",
    ],
)
def test_what_is_no_date_says_nothing(value: str) -> None:
    assert retry_after(value, "Mon, 15 Jun 2026 12:00:00 GMT") is None


def test_a_response_that_says_nothing_says_nothing() -> None:
    assert read_retry_after({}) is None
    assert read_retry_after({"date": "Mon, 15 Jun 2026 12:00:00 GMT"}) is None


DATES = "0123456789 ,:+-JunMonGMTZ\x00\u0663"


@given(st.text() | st.text(DATES), st.text() | st.text(DATES), st.text() | st.text(DATES), st.text())
def test_no_header_makes_it_raise(control: str, age: str, retry: str, date: str) -> None:
    headers = {"cache-control": control, "age": age, "retry-after": retry, "date": date}
    seconds = read_lifetime(headers, SETTINGS)
    assert seconds is None or 60 <= seconds <= 3600
    seconds = read_retry_after(headers)
    assert seconds is None or seconds >= 0
