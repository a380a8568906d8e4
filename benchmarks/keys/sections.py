"""The tables of `docs/keys.md`: which scenarios each is made of, and what its cells say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import scenarios
from .cells import NONE, counts, duration, fetched, kinds, share, times, wait
from .contenders import OK, Variant
from .scenarios import ColdFault, Flood, Herd, Outage, Rotation, Steady, Withdrawal
from .server import RETRY_AFTER, Fault
from .world import World

Run = Callable[[World, Variant], Awaitable[Any]]
Results = Mapping[str, Any]
BAD_ANSWERS = (Fault.ERROR, Fault.LIMITED, Fault.GARBAGE, Fault.EMPTY)


@dataclass(frozen=True, slots=True)
class Section:
    """A table. `cells` turns a variant's results, by scenario, into the cells after its name."""

    name: str
    title: str
    text: str
    runs: Mapping[str, Run]
    columns: tuple[str, ...]
    cells: Callable[[Variant, Results], list[str]]
    only: tuple[str, ...] = ()
    """Names of the contenders it concerns; none: all."""
    depends_on_headers: bool = True

    def concerns(self, variant: Variant) -> bool:
        has_headers = variant.cache_control is not None
        return (not self.only or variant.name in self.only) and (self.depends_on_headers or not has_headers)


# --- the tables -------------------------------------------------------------------------------------------------------


def _herd_cells(variant: Variant, results: Results) -> list[str]:
    herds: list[Herd] = [results["200"], results["1000"]]
    return [text for herd in herds for text in (fetched(variant, herd.fetches), counts(herd.answers), times(herd.work))]


async def _flood(world: World, variant: Variant, seconds: int) -> Flood:
    requests = scenarios.UNKNOWN_KEYS if variant.is_throttled else scenarios.UNTHROTTLED_UNKNOWN_KEYS
    return await scenarios.kid_flood(world, requests, seconds)


def _flood_cells(variant: Variant, results: Results) -> list[str]:
    at_once: Flood = results["at once"]
    paced: Flood = results["over 100 s"]
    return [
        f"{at_once.requests:,}",
        fetched(variant, at_once.fetches),
        counts(at_once.answers),
        fetched(variant, paced.fetches),
        counts(paced.answers),
        share(at_once.good + paced.good),
    ]


def _rotation_cells(_variant: Variant, results: Results) -> list[str]:
    flooded: list[Rotation] = results["under a flood"]
    single: list[Rotation] = [results["quiet"], results["early"]]
    worst = max((r.seconds for r in flooded if r.seconds is not None), default=None)
    if any(rotation.seconds is None for rotation in flooded):
        worst = None
    refused = sum((rotation.refused for rotation in [*single, *flooded]), Counter[int]())
    return [*(_at_once(rotation.seconds) for rotation in single), _at_once(worst), kinds(refused)]


def _at_once(seconds: float | None) -> str:
    return "at once" if seconds == 0 else duration(seconds)


def _outage_cells(variant: Variant, outage: Outage) -> list[str]:
    return [
        share(outage.half_hour),
        share(outage.answers),
        kinds(outage.answers, but=OK),
        "never" if outage.lost is None else duration(outage.lost),
        _waits(variant, outage),
        fetched(variant, outage.fetches),
        _at_once(outage.recovery),
    ]


def _waits(variant: Variant, outage: Outage) -> str:
    right = wait(variant, outage.waited) if outage.answers[OK] else NONE
    return f"{right} / {wait(variant, outage.waited_else) if outage.lost is not None else NONE}"


def _fault_cells(variant: Variant, results: Results) -> list[str]:
    cold: ColdFault = results["cold"]
    waited = wait(variant, cold.longest_wait) + (", loop blocked" if cold.has_blocked else "")
    return [kinds(cold.answers), waited, fetched(variant, cold.fetches), *_outage_cells(variant, results["warm"])]


def _bad_cells(variant: Variant, results: Results) -> list[str]:
    return [_bad_cell(variant, results[f"cold {fault}"], results[f"warm {fault}"]) for fault in BAD_ANSWERS]


def _bad_cell(variant: Variant, cold: ColdFault, warm: Outage) -> str:
    return (
        f"cold {kinds(cold.answers)}; {share(warm.answers)} right, else {kinds(warm.answers, but=OK)}; "
        f"{fetched(variant, warm.fetches)} fetches"
    )


def _withdrawal_cells(_variant: Variant, results: Results) -> list[str]:
    withdrawals: list[Withdrawal] = [results["new key unused"], results["new key in use"]]
    return [duration(withdrawal.seconds) for withdrawal in withdrawals]


def _steady_cells(variant: Variant, results: Results) -> list[str]:
    steady: Steady = results["hour"]
    return [
        fetched(variant, steady.fetches),
        f"{steady.fetches.not_modified:,}",
        f"{steady.waited:,} of {steady.requests:,}",
        share(steady.answers),
    ]


_OUTAGE_COLUMNS = (
    "right, first 30 min",
    "right, 2 h",
    "else answered",
    "first wrong after",
    "longest wait: right / else",
    "fetches",
    "right again after",
)


async def _cold(world: World, _variant: Variant, fault: Fault) -> ColdFault:
    return await scenarios.cold_fault(world, fault)


async def _warm(world: World, _variant: Variant, fault: Fault, every: float = 30) -> Outage:
    return await scenarios.outage(world, fault, every=every)


def _fault(name: str, title: str, text: str, fault: Fault) -> Section:
    return Section(
        name,
        title,
        text,
        {
            "cold": partial(_cold, fault=fault),
            "warm": partial(_warm, fault=fault),
        },
        ("cold: 10 answered", "cold: longest wait", "cold: fetches", *_OUTAGE_COLUMNS),
        _fault_cells,
    )


SECTIONS = (
    Section(
        "herd",
        "Cold herd",
        "Concurrent first requests with different good tokens. *Fetches* are discovery + JWKS, or JWKS alone where the "
        "endpoint is configured. *Work*: the processor time until all were answered, the server's included, "
        "divided by that of as many other requests right after, in the same run.",
        {
            "warm-up": lambda world, _variant: scenarios.cold_herd(world, 10),  # imports count for nobody
            "200": lambda world, _variant: scenarios.cold_herd(world, 200),
            "1000": lambda world, _variant: scenarios.cold_herd(world, 1000),
        },
        ("200: fetches", "200: answers", "200: work", "1,000: fetches", "1,000: answers", "1,000: work"),
        _herd_cells,
        depends_on_headers=False,
    ),
    Section(
        "flood",
        "Flood of unknown keys",
        "Requests that each name another key nobody publishes, while the keys are known and two minutes after they "
        "were fetched: a tenth after the other while no time passes, or a hundredth each second; one good request with "
        "each part.",
        {"at once": partial(_flood, seconds=0), "over 100 s": partial(_flood, seconds=100)},
        (
            "requests",
            "at once: fetches",
            "at once: answers",
            "over 100 s: fetches",
            "over 100 s: answers",
            "good requests right",
        ),
        _flood_cells,
    ),
    Section(
        "rotation",
        "Rotation",
        "How long tokens of a new key are refused after it was published, with one request a second: two minutes after "
        "the latest fetch, one second after it, and while five unknown keys a second arrive (the longest of three).",
        {
            "quiet": lambda world, _variant: scenarios.rotation(world, 120),
            "early": lambda world, _variant: scenarios.rotation(world, 1),
            "under a flood": lambda world, _variant: scenarios.rotation_under_flood(world),
        },
        ("accepted, quiet", "accepted, 1 s after a fetch", "accepted, under a flood", "until then"),
        _rotation_cells,
    ),
    Section(
        "down",
        "Server down",
        "Every connection is closed unanswered for two hours, after 1,000 s of ordinary traffic; two good requests "
        "every 30 seconds. *Right*: answered 200. *Fetches* count attempts. *Right again*: from the end of the fault, "
        "a second after a request.",
        {"warm": partial(_warm, fault=Fault.CLOSE)},
        _OUTAGE_COLUMNS,
        lambda variant, results: _outage_cells(variant, results["warm"]),
    ),
    _fault("hang", "Server hangs", "It accepts requests and never answers, for two hours.", Fault.HANG),
    _fault("drip", "Server drips", "It sends one byte a second, for two hours.", Fault.DRIP),
    Section(
        "bad",
        "Server answers, but badly",
        f"For two hours each: 500; 429 with `Retry-After: {RETRY_AFTER}`; 200 with an HTML page, as a captive portal "
        "answers; 200 with `{}`. Two good requests every minute. A cell says what first requests are answered, which "
        "part of the good requests is answered 200 once the keys were had, what the others are answered, and how often "
        "the server was asked.",
        {
            **{f"cold {fault}": partial(_cold, fault=fault) for fault in BAD_ANSWERS},
            **{f"warm {fault}": partial(_warm, fault=fault, every=60) for fault in BAD_ANSWERS},
        },
        tuple(fault.value for fault in BAD_ANSWERS),
        _bad_cells,
    ),
    Section(
        "metadata",
        "Metadata alone hangs",
        "Discovery never answers for three hours, while the keys can be had.",
        {"warm": lambda world, _variant: scenarios.metadata_outage(world, Fault.HANG)},
        (_OUTAGE_COLUMNS[0], "right, 3 h", *_OUTAGE_COLUMNS[2:]),
        lambda variant, results: _outage_cells(variant, results["warm"]),
        only=("authz_middleware", "auth0-fastapi-api"),
    ),
    Section(
        "withdrawal",
        "Withdrawal",
        "How long tokens of a withdrawn key go on working, one every five seconds: while nobody uses the new key, and "
        "while its tokens are in use.",
        {
            "new key unused": lambda world, _variant: scenarios.withdrawal(world, new_key_in_use=False),
            "new key in use": lambda world, _variant: scenarios.withdrawal(world, new_key_in_use=True),
        },
        ("works, new key unused", "works, new key in use"),
        _withdrawal_cells,
    ),
    Section(
        "steady",
        "An hour of nothing special",
        "Two good requests every ten seconds; every answer of the server takes a round trip. *Waited*: requests that "
        "took longer than none, but for the first.",
        {"hour": lambda world, _variant: scenarios.steady_hour(world)},
        ("fetches", "answered 304", "waited", "right"),
        _steady_cells,
    ),
)
