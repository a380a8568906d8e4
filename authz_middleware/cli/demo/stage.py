"""The demo from beginning to end: start, introduce, play, show, and with `--serve` leave it running."""

from __future__ import annotations

import io
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import Event

from rich.console import Console
from rich.text import Text

from ...policy import Access, Public
from ..endings import Exit, NotUsable
from ..terminal import is_terminal, writing
from .play import play_all
from .scenarios import SECTIONS, Scenario
from .servers import World, running_world
from .table import make_console, make_table

__all__ = ["perform", "run"]


def run(*, port: int = 0, issuer_port: int = 0, serve: bool = False) -> Exit:
    """Run the demo on standard output and return the exit code.

    Raises:
        NotUsable: a port is taken.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an output without UTF-8 shall get a plainer table, not a traceback
    console = make_console(is_terminal=is_terminal(sys.stdout))
    with ExitStack() as running:
        try:
            world = running.enter_context(running_world(port=port, issuer_port=issuer_port))
        except OSError as error:
            raise NotUsable(f"this machine does not let it listen on loopback: {error.strerror}") from None
        with writing(console.file):
            code = perform(world, console)
            if serve:
                with _until_signalled():
                    _invite(world, console)
                    Event().wait()
        return code


def perform(world: World, console: Console, sections: Sequence[Sequence[Scenario]] = SECTIONS) -> Exit:
    """Play the scenarios, show the table, and return the exit code."""
    _introduce(world, console)
    groups = play_all(world, sections)
    console.print(make_table(groups, console.width))
    if console.color_system is not None:
        console.print(Text.assemble(("green", "green"), ": the grant counts; ", ("dim", "dim"), ": it does not."))
    outcomes = [outcome for group in groups for outcome in group]
    wrong = sum(not outcome.is_expected for outcome in outcomes)
    _conclude(len(outcomes), wrong, console)
    return Exit.BAD if wrong else Exit.GOOD


def _introduce(world: World, console: Console) -> None:
    console.print(Text("Do I check scope or permissions?", "bold"), "Neither: a route names the grant it needs.")
    console.print(
        f"An issuer ({world.issuer.issuer}) and an API ({world.api_url}) run on this machine; each row is one real "
        "request. The API says:"
    )
    console.print()
    for (method, path), access in world.routes.items():
        console.print(Text(f"  {method:<4} {path:<8} {_decorator(access)}", "cyan"))
    console.print()


def _decorator(access: Access | None) -> str:
    return "@public" if isinstance(access, Public) else f"@requires({access!r})".replace("'", '"')


def _conclude(total: int, wrong: int, console: Console) -> None:
    console.print()
    if wrong:
        console.print(Text(f"{wrong} of {total} answers were not the expected ones.", "bold red"))
        return
    console.print(Text(f"All {total} answers were as expected.", "bold green"), "One decorator, four dialects.")
    console.print(
        "Next: `authz demo --serve` leaves both running and prints curl lines to try; README.md leads to your own "
        "first guarded route."
    )


# --- leaving it running -----------------------------------------------------------------------------------------------


def curl_lines(world: World) -> Iterator[tuple[str, str]]:
    """Yield what to try: a few words, and the command. Tokens are good for an hour, or as bad as the words say."""
    for scenario in (scenario for group in SECTIONS for scenario in group if scenario.to_try):
        method, path = scenario.route
        credential = scenario.mint(world.issuer)
        command = ["curl", "-i", *(() if method == "GET" else ("-X", method)), world.api_url + path]
        if credential is not None:
            command += ["-H", f"Authorization: Bearer {credential}"]
        dialect = f" ({scenario.dialect})" if scenario.dialect else ""
        answer = f"{scenario.status} {scenario.code or ''}".rstrip()
        yield f"{scenario.who}: {scenario.carrying}{dialect}, answers {answer}", shlex.join(command)


def _invite(world: World, console: Console) -> None:
    console.print()
    for words, command in curl_lines(world):
        console.print(Text(f"# {words}", "bold"))
        console.print(Text(command), soft_wrap=True)  # one line, whatever the width: it is to be copied
        console.print()
    console.print(f"Issuer {world.issuer.issuer} and API {world.api_url} stay up until Ctrl-C.")
    console.file.flush()


@contextmanager
def _until_signalled() -> Iterator[None]:
    """Let Ctrl-C or a termination end the block, even if the shell that started us has us ignore the former."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
