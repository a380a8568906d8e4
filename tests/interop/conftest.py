"""Fixtures: the authorization server, and applications that trust it, for all tests or for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from .api import pinned_api, served, unpinned_api
from .authorization_server import AuthorizationServer, Caller, is_required, missing_prerequisite

IssueToken = Callable[[Caller, str, str], str]
Serve = Callable[[ASGIApp], httpx.Client]


def require(missing: str | None) -> None:
    """Skip the test for what is missing, or fail it where nothing may be."""
    if missing is not None:
        (pytest.fail if is_required() else pytest.skip)(missing)


@contextmanager
def _started(directory: Path) -> Iterator[AuthorizationServer]:
    require(missing_prerequisite())
    with (directory / "authorization-server.log").open("w") as log:
        server = AuthorizationServer.start(log)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def _client(app: ASGIApp) -> Iterator[httpx.Client]:
    with served(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def authorization_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    """The server all tests share; its keys stay."""
    with _started(tmp_path_factory.mktemp("interop")) as server:
        yield server


@pytest.fixture
def own_authorization_server(tmp_path: Path) -> Iterator[AuthorizationServer]:
    """A server for one test, which may change its keys or end it."""
    with _started(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def issue_token(authorization_server: AuthorizationServer) -> IssueToken:
    """Obtain an access token of the shared server: caller, resource, scope. The same question is asked once."""
    return cache(authorization_server.access_token)


@pytest.fixture(scope="session")
def pinned(authorization_server: AuthorizationServer) -> Iterator[httpx.Client]:
    """A client of the FastAPI application whose audiences are pinned to one dialect each."""
    with _client(pinned_api(authorization_server.issuer)) as client:
        yield client


@pytest.fixture(scope="session")
def unpinned(authorization_server: AuthorizationServer) -> Iterator[httpx.Client]:
    """A client of the Starlette application that takes all of Auth0's dialects."""
    with _client(unpinned_api(authorization_server.issuer)) as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an application for one test and return a client of it."""
    with ExitStack() as running:
        yield lambda app: running.enter_context(_client(app))
