"""What `docs/keys.md` says is measured by code that is run here, for this package alone. Counts, never times."""

import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest

from benchmarks.keys import OURS, OURS_SHORT, SECTIONS, measure
from benchmarks.keys.cells import duration, share
from benchmarks.keys.page import BEGIN, END, PAGE, render, replace_measured
from benchmarks.keys.sections import BAD_ANSWERS


@pytest.fixture(scope="module")
def measured() -> Any:
    """Return every section's rows; this package twice where the server's headers matter most."""
    return measure(
        SECTIONS, lambda section: (OURS, OURS_SHORT) if section.name == "steady" else (OURS,), lambda _line: None
    )


@pytest.fixture
def ours(measured: Any) -> Any:
    """Return the results of this package by section and scenario."""
    return {name: rows[0][1] for name, rows in measured.items()}


@pytest.mark.parametrize("size", ["200", "1000"])
def test_a_cold_herd_costs_one_discovery_and_one_fetch(ours: Any, size: str) -> None:
    herd = ours["herd"][size]
    assert (herd.fetches.discovery, herd.fetches.jwks) == (1, 1)
    assert herd.answers == Counter({200: int(size)})


def test_a_flood_at_once_costs_the_burst(ours: Any) -> None:
    flood = ours["flood"]["at once"]
    assert (flood.fetches.discovery, flood.fetches.jwks) == (1, 2)  # metadata was older than a minute
    assert flood.answers[200] == 0
    assert flood.answers.total() == 10_000
    assert flood.good == Counter({200: 10})


def test_a_flood_of_100_seconds_costs_what_the_bucket_allows(ours: Any) -> None:
    flood = ours["flood"]["over 100 s"]
    assert flood.fetches.discovery <= 1 + 100 // 60
    assert flood.fetches.jwks <= 2 + 100 // 15
    assert flood.answers[200] == 0
    assert flood.good == Counter({200: 100})


@pytest.mark.parametrize("moment", ["quiet", "early"])
def test_the_first_token_of_a_new_key_is_accepted(ours: Any, moment: str) -> None:
    assert ours["rotation"][moment].seconds == 0


def test_under_a_flood_a_new_key_is_accepted_within_15_seconds(ours: Any) -> None:
    assert [rotation.seconds <= 15 for rotation in ours["rotation"]["under a flood"]] == [True] * 3


def _outages(ours: Any) -> Iterator[Any]:
    yield from (ours[name]["warm"] for name in ("down", "hang", "drip"))
    yield from (ours["bad"][f"warm {fault}"] for fault in BAD_ANSWERS)


def test_known_keys_work_for_an_hour_without_contact_and_do_not_wait(ours: Any) -> None:
    for outage in _outages(ours):
        assert set(outage.half_hour) == {200}
        assert 3600 - 600 < outage.lost <= 3600
        assert outage.waited == 0


def test_metadata_that_cannot_be_had_costs_nothing_while_the_keys_can(ours: Any) -> None:
    outage = ours["metadata"]["warm"]
    assert set(outage.answers) == {200}
    assert outage.waited == 0


def test_after_an_hour_without_contact_the_answer_is_503_and_nothing_else(ours: Any) -> None:
    for outage in _outages(ours):
        assert set(outage.answers) == {200, 503}
        assert outage.waited_else <= 5


def test_failed_fetches_are_shared_and_back_off(ours: Any) -> None:
    for outage in _outages(ours):
        assert outage.fetches.jwks <= 7200 / 30 + 6  # one attempt each 30 s, more at the beginning


def test_a_server_that_says_when_to_come_back_is_not_asked_before(ours: Any) -> None:
    assert ours["bad"]["warm 429"].fetches.jwks <= 7200 / 120 + 1


def test_a_server_that_is_back_is_noticed_within_the_longest_backoff(ours: Any) -> None:
    assert ours["down"]["warm"].recovery <= 30


def test_a_cold_start_in_a_fault_is_one_attempt_of_five_seconds(ours: Any) -> None:
    colds = [ours["hang"]["cold"], ours["drip"]["cold"], *(ours["bad"][f"cold {fault}"] for fault in BAD_ANSWERS)]
    for cold in colds:
        assert cold.answers == Counter({503: 10})
        assert (cold.fetches.discovery, cold.fetches.jwks) == (1, 0)
        assert cold.longest_wait <= 5
        assert not cold.has_blocked


def test_a_withdrawn_key_stops_at_the_next_refresh(ours: Any) -> None:
    withdrawals = ours["withdrawal"]
    assert withdrawals["new key unused"].seconds <= 600 * 0.9 + 5
    assert withdrawals["new key in use"].seconds <= 5


def test_an_hour_of_traffic_is_revalidated_in_the_background(ours: Any) -> None:
    steady = ours["steady"]["hour"]
    assert steady.waited == 0
    assert steady.fetches.discovery == 1
    assert steady.fetches.jwks <= 1 + 3600 / (600 * 0.7)
    assert steady.fetches.not_modified == steady.fetches.jwks - 1


def test_a_max_age_of_15_seconds_does_not_make_it_ask_four_times_a_minute(measured: Any) -> None:
    ((_, short),) = measured["steady"][1:]
    assert short["hour"].fetches.jwks <= 1 + 3600 / (60 * 0.7)


def test_the_page_has_a_table_for_every_section_that_was_measured(measured: Any) -> None:
    tables = render(SECTIONS, measured, {"PyJWT": "0"})
    assert re.findall("^### (.*)$", tables, re.MULTILINE) == [section.title for section in SECTIONS]
    assert f"authz_middleware {version('authz_middleware')}, PyJWT 0." in tables
    for section in SECTIONS:
        header = next(line for line in tables.splitlines() if line.startswith("| | " + section.columns[0]))
        assert header.count("|") == len(section.columns) + 2


def test_only_the_measured_part_of_the_page_is_replaced() -> None:
    assert replace_measured(f"before\n{BEGIN}\nold\n{END}\nafter", "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter"
    page = PAGE.read_text(encoding="utf-8")
    assert replace_measured(page, "x").partition(BEGIN)[0] == page.partition(BEGIN)[0]


@pytest.mark.parametrize("page", ["nothing", f"{END} {BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_the_two_marks_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        replace_measured(page, "new")


def test_nothing_is_rounded_to_all_or_nothing() -> None:
    assert share(Counter({200: 999, 401: 1})) == "99.9%"
    assert share(Counter({200: 1, 401: 999})) == "0.1%"
    assert share(Counter({200: 7})) == "100%"
    assert share(Counter({401: 7})) == "0%"


def test_seconds_are_written_as_a_person_would() -> None:
    assert [duration(seconds) for seconds in (0, 29, 300, 3600, None)] == [
        "0 s",
        "29 s",
        "5 min",
        "1 h",
        "not within 2 h",
    ]
