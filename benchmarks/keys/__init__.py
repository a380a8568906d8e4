"""What this package and its peers do while an issuer's keys are had, lost and changed.

A loopback server with faults (`server`), a clock that passes when told (`clock`), what is measured (`contenders`,
`peers`), what happens (`scenarios`, on a `world`), and how it is told (`sections`, `page`).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .certificates import make_tls, trusting
from .clock import Clock, InjectedLoop
from .contenders import OURS, OURS_SHORT, Variant
from .page import PAGE, Measured, render, replace_measured
from .sections import SECTIONS, Results, Run, Section
from .server import Server
from .world import Keyring, World

__all__ = ["OURS", "OURS_SHORT", "SECTIONS", "main", "measure"]

BOTH = (OURS, OURS_SHORT)


def main(*, quick: bool, write: bool, only: str | None) -> int:
    """Measure, print the tables, and write them where they are complete."""
    if write and (quick or only):
        sys.stderr.write("only a complete run is written; leave out --quick and --only\n")
        return 2
    try:
        variants, versions = _quick() if quick else _full()
    except ImportError as error:
        sys.stderr.write(f"{error.name} is missing; install the peers: python -m pip install -e '.[bench]'\n")
        return 2
    sections = [section for section in SECTIONS if only is None or only in section.name]
    tables = render(sections, measure(sections, variants, _say), versions)
    print(tables)
    if write:
        PAGE.write_text(replace_measured(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    return 0


def measure(
    sections: Sequence[Section], variants: Callable[[Section], Sequence[Variant]], say: Callable[[str], None]
) -> Measured:
    """Run every scenario of these sections for every variant, each with a new clock and nothing fetched yet."""
    measured: dict[str, list[tuple[Variant, Results]]] = {}
    with tempfile.TemporaryDirectory() as folder, _silence():
        tls, authority = make_tls(Path(folder))
        with trusting(authority), Server(tls) as server:
            keyring = Keyring.make()
            for section in sections:
                measured[section.name] = [
                    (variant, _run_all(section, variant, server, keyring, say)) for variant in variants(section)
                ]
    return measured


def _run_all(
    section: Section, variant: Variant, server: Server, keyring: Keyring, say: Callable[[str], None]
) -> Results:
    began = time.perf_counter()
    results = {name: _run(run, variant, server, keyring) for name, run in section.runs.items()}
    say(f"{section.name}: {variant.label} ({time.perf_counter() - began:.1f} s)")
    return results


def _run(run: Run, variant: Variant, server: Server, keyring: Keyring) -> Any:
    clock = Clock()
    server.begin(clock, cache_control=variant.cache_control, is_paced=variant.moves_time)
    server.publish(keyring.old)

    async def in_world() -> Any:
        with variant.open(server, clock) as api:
            world = World(server, keyring, clock, api, moves_time=variant.moves_time)
            with world.deadline():
                result = await run(world, variant)
            await world.finish()
            return result

    try:
        with asyncio.Runner(loop_factory=lambda: InjectedLoop(clock)) as runner:
            return runner.run(in_world())
    finally:
        server.drop()


def _quick() -> tuple[Callable[[Section], Sequence[Variant]], dict[str, str]]:
    return lambda _section: (OURS,), {}


def _full() -> tuple[Callable[[Section], Sequence[Variant]], dict[str, str]]:
    from . import peers  # noqa: PLC0415 - they are there only with the `bench` extra

    peers.check_installed()

    def variants(section: Section) -> Sequence[Variant]:
        everybody = (*BOTH, *peers.DEFAULTS, *peers.SETTINGS.get(section.name, ()))
        chosen = [variant for variant in everybody if section.concerns(variant)]
        order = list(dict.fromkeys(variant.name for variant in chosen))
        return sorted(chosen, key=lambda variant: order.index(variant.name))

    return variants, peers.versions()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextmanager
def _silence() -> Iterator[None]:
    """Keep every contender's log out of the figures."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
