"""What happens to the keys, and what is counted meanwhile. Each scenario starts with nothing fetched."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from .server import METADATA_PATH, Fault
from .tokens import SigningKey
from .world import Answer, Fetches, World, statuses

UNKNOWN_KEYS = 10_000
UNTHROTTLED_UNKNOWN_KEYS = 500
WAVES_AT_ONCE = 10
ORDINARY_SECONDS = 1000
"""Ordinary traffic before a fault, so that it falls into the middle of everybody's cache lifetime."""
OK = 200
HALF_HOUR = 30 * 60
NEVER = 2 * 3600
"""Seconds after which a scenario stops to wait for something that does not happen."""


@dataclass(frozen=True, slots=True)
class Herd:
    """Concurrent first requests. `work`: the processor time they took, by that of as many once keys are had."""

    requests: int
    fetches: Fetches
    answers: Counter[int]
    work: float


async def cold_herd(world: World, requests: int) -> Herd:
    """Send that many requests at once before anything was fetched, then as many others, twice."""
    with world.counting() as fetches:
        cold, answers = await _timed(world, requests, 0)
        fetched = fetches()
    warm = [(await _timed(world, requests, requests * number))[0] for number in (1, 2)]
    return Herd(requests, fetched, statuses(answers), cold / min(warm))


async def _timed(world: World, requests: int, skip: int) -> tuple[float, list[Answer]]:
    """Return the processor time of the whole process, which others on the machine do not change."""
    tokens = world.good(requests, skip=skip)
    began = time.process_time()
    answers = await world.ask(tokens)
    return time.process_time() - began, answers


@dataclass(frozen=True, slots=True)
class Flood:
    """Requests with unknown keys, and good ones among them."""

    requests: int
    seconds: int
    fetches: Fetches
    answers: Counter[int]
    good: Counter[int]


async def kid_flood(world: World, requests: int, seconds: int) -> Flood:
    """Send unknown keys in waves with a good request each, two minutes after the first fetch.

    There is a wave a second, or, in no seconds, ten one after another while no time passes.
    """
    await world.ask(world.good())
    await world.sleep(120)
    await world.ask(world.good())
    waves = seconds or WAVES_AT_ONCE
    bad: Counter[int] = Counter()
    good: Counter[int] = Counter()
    with world.counting() as fetches:
        for wave in range(waves):
            size = requests // waves
            tokens = [*world.unknown(size, skip=wave * size), *world.good()]
            answers = await world.ask(tokens)
            bad += statuses(answers[:-1])
            good += statuses(answers[-1:])
            await world.sleep(1 if seconds else 0)
        return Flood(requests, seconds, fetches(), bad, good)


@dataclass(frozen=True, slots=True)
class Rotation:
    """How long tokens of a new key were refused after it was published, in seconds, and how many were."""

    seconds: float | None
    refused: Counter[int]


async def rotation(world: World, after: float) -> Rotation:
    """Publish a new key so many seconds after the first fetch, and use it and the old one once a second."""
    await world.ask(world.good())
    await world.sleep(after)
    world.server.publish(world.keyring.old, world.keyring.new[0])
    return await _until_accepted(world, world.keyring.new[0], flood=0)


async def rotation_under_flood(world: World, flood: int = 5) -> list[Rotation]:
    """Publish new keys one after another while so many unknown keys arrive each second."""
    await world.ask(world.good())
    sent = 0
    rotations = []
    for number, key in enumerate(world.keyring.new):
        for _ in range(40 + 7 * number):  # the phase of everybody's throttle differs from rotation to rotation
            await world.sleep(1)
            await world.ask([*world.unknown(flood, skip=sent), *world.good()])
            sent += flood
        world.server.publish(world.keyring.old, *world.keyring.new[: number + 1])
        rotations.append(await _until_accepted(world, key, flood=flood))
    return rotations


async def _until_accepted(world: World, key: SigningKey, flood: int) -> Rotation:
    began = world.clock.now
    refused: Counter[int] = Counter()
    number = 0
    while world.clock.now - began <= NEVER:
        first = 5000 + number * flood % 5000
        *_, new = await world.ask([*world.unknown(flood, skip=first), *world.good(), *world.good(key=key)])
        if new.status == OK:
            return Rotation(world.clock.now - began, refused)
        refused[new.status] += 1
        number += 1
        await world.sleep(1)
    return Rotation(None, refused)


@dataclass(frozen=True, slots=True)
class Outage:
    """Good requests during a fault of hours, and after it.

    Args:
        half_hour: the answers of the first 30 minutes.
        answers: all of them.
        fetches: what the server was asked meanwhile.
        waited: the longest wait of a request that was answered 200. waited_else: that of any other.
        lost: seconds from the beginning of the fault to the first answer other than 200.
        recovery: seconds from the end of the fault to the first 200.
    """

    half_hour: Counter[int]
    answers: Counter[int]
    fetches: Fetches
    waited: float
    waited_else: float
    lost: float | None
    recovery: float


async def outage(world: World, fault: Fault, seconds: float = 2 * 3600, every: float = 30) -> Outage:
    """Let the server fail in the midst of ordinary traffic; send two good requests every so often."""
    await _ordinary_traffic(world)
    answers: list[tuple[float, Answer]] = []
    with world.counting() as fetches:
        began = world.clock.now
        world.server.fault = fault
        while (since := world.clock.now - began) < seconds:
            answers += [(since, answer) for answer in await world.ask(world.good(2))]
            await world.sleep(max(0.0, began + since + every - world.clock.now))
        await world.ask(world.good())
        fetched = fetches()
    return Outage(
        half_hour=statuses(answer for since, answer in answers if since < HALF_HOUR),
        answers=statuses(answer for _, answer in answers),
        fetches=fetched,
        waited=max((answer.waited for _, answer in answers if answer.status == OK), default=0),
        waited_else=max((answer.waited for _, answer in answers if answer.status != OK), default=0),
        lost=next((since for since, answer in answers if answer.status != OK), None),
        recovery=await _recovery(world),
    )


async def metadata_outage(world: World, fault: Fault, seconds: float = 3 * 3600) -> Outage:
    """Let the metadata alone fail, for longer than anybody relies on what it said; the keys can be had."""
    world.server.faulty_paths = frozenset({METADATA_PATH})
    return await outage(world, fault, seconds)


async def _ordinary_traffic(world: World) -> None:
    for _ in range(ORDINARY_SECONDS // 20):
        await world.ask(world.good())
        await world.sleep(20)


async def _recovery(world: World) -> float:
    """Return the seconds from the end of the fault, a second after a request, to the first good answer."""
    await world.sleep(1)
    world.server.fault = Fault.NONE
    world.server.drop()
    began = world.clock.now
    while (await world.ask_one(world.good()[0])).status != OK:
        await world.sleep(1)
    return world.clock.now - began


@dataclass(frozen=True, slots=True)
class ColdFault:
    """Concurrent first requests while the server fails. `has_blocked`: nothing else ran on the event loop."""

    answers: Counter[int]
    longest_wait: float
    fetches: Fetches
    has_blocked: bool


async def cold_fault(world: World, fault: Fault) -> ColdFault:
    """Send ten requests at once before anything was fetched, while the server fails."""
    world.server.fault = fault
    with world.counting() as fetches:
        answers = await world.ask(world.good(10))
        longest = max(answer.waited for answer in answers)
        has_blocked = any(answer.has_blocked for answer in answers)
        return ColdFault(statuses(answers), longest, fetches(), has_blocked)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """How many seconds tokens of a withdrawn key went on working; None: for as long as was measured."""

    seconds: float | None


async def withdrawal(world: World, *, new_key_in_use: bool) -> Withdrawal:
    """Replace the key right after it was fetched, and go on using the old one every five seconds."""
    await world.ask(world.good())
    await world.sleep(1)
    new = world.keyring.new[0]
    world.server.publish(new)
    began = world.clock.now
    while world.clock.now - began <= NEVER:
        others = world.good(key=new) if new_key_in_use else []
        *_, old = await world.ask([*others, *world.good()])
        if old.status != OK:
            return Withdrawal(world.clock.now - began)
        await world.sleep(5)
    return Withdrawal(None)


@dataclass(frozen=True, slots=True)
class Steady:
    """An hour without faults. `waited`: requests that waited for the network, but for the first one."""

    requests: int
    fetches: Fetches
    answers: Counter[int]
    waited: int


async def steady_hour(world: World) -> Steady:
    """Send two good requests every ten seconds; every answer of the server takes a round trip."""
    world.server.fault = Fault.GATED
    answers: list[Answer] = []
    with world.counting() as fetches:
        await world.ask(world.good())
        for _ in range(360):
            answers += await world.ask(world.good(2))
            await world.sleep(10)
        waited = sum(answer.waited > 0 for answer in answers)
        return Steady(len(answers), fetches(), statuses(answers), waited)
