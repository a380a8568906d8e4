"""Commands of `authz`, run in this process, and what they have shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from authz_middleware import cli

__all__ = ["Shown", "run"]


@dataclass(frozen=True)
class Shown:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Shown:
    """Run one command."""
    try:
        code = cli.main([*arguments])
    except SystemExit as exited:
        code = int(exited.code or 0)
    captured = capsys.readouterr()
    return Shown(code, captured.out, captured.err)
