"""The two ways to serve a guarded MCP server, and the two modes of the SDK's client: each test that asks sees all."""

from __future__ import annotations

import pytest

from .serving import ERAS, SERVES, Serve


@pytest.fixture(params=SERVES, ids=lambda serve: serve.__name__)
def serve(request: pytest.FixtureRequest) -> Serve:
    function: Serve = request.param
    return function


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)
