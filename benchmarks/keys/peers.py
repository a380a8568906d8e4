"""The peers, as their documentation shows them in use. They come with the `bench` extra; nothing else imports them.

Their clocks are injected by replacing the name `time` in the modules that keep time, see each `open_` function; the
timeouts of httpx and httpx2 are the event loop's and need no replacing. Tokens outlive every scenario, so no wall clock
decides anything.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import jwt
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from .clock import Clock, injected_into
from .contenders import OK, SHORT_MAX_AGE, Variant
from .server import Fault, Server
from .tokens import AUDIENCE
from .world import ROUND_TRIP, STEP, Api

UNAUTHORIZED, CRASHED, UNAVAILABLE = 401, 500, 503
HANG_REAL_SECONDS = 0.02
"""What a blocking socket really waits where its documented timeout is added to the injected clock."""

DISTRIBUTIONS = ("PyJWT", "auth0-fastapi-api", "auth0-api-python", "fastmcp", "httpx", "httpx2")


def check_installed() -> None:
    """Raise `ImportError` where a peer is missing."""
    for name in ("fastapi_plugin", "auth0_api_python", "fastmcp"):
        _module(name)


def versions() -> dict[str, str]:
    """Return the version of every distribution that takes part."""
    return {name: version(name) for name in DISTRIBUTIONS}


def _module(name: str) -> ModuleType:
    with warnings.catch_warnings():  # theirs, about what they depend on
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


# --- PyJWKClient in a hand-written dependency -------------------------------------------------------------------------


class _TimedClient(jwt.PyJWKClient):
    """PyJWKClient whose blocking reads move the injected clock by what they would have taken."""

    def __init__(self, server: Server, clock: Clock, **settings: Any) -> None:
        super().__init__(server.jwks_uri, **settings)
        self._server = server
        self._clock = clock
        self._documented_timeout = self.timeout

    def fetch_data(self) -> Any:
        fault = self._server.fault
        self.timeout = HANG_REAL_SECONDS if fault is Fault.HANG else self._documented_timeout
        try:
            return super().fetch_data()
        finally:
            self._clock.advance(self._seconds(fault))

    def _seconds(self, fault: Fault) -> float:
        if fault is Fault.HANG:
            return self._documented_timeout
        if fault is Fault.DRIP:  # no read waits longer than its timeout, so the document arrives in the end
            return self._server.sent * STEP
        return ROUND_TRIP if fault is Fault.GATED else 0.0


@contextmanager
def open_pyjwt(
    server: Server, clock: Clock, *, in_threads: bool, tells_outages: bool = False, **settings: Any
) -> Iterator[Api]:
    """A dependency that asks PyJWKClient and decodes; what PyJWT raises is 401, anything else crashes the request."""
    client = _TimedClient(server, clock, **settings)
    check = partial(_check, client, server.issuer, tells_outages=tells_outages)

    async def answer(token: str) -> int:
        return await run_in_threadpool(check, token) if in_threads else check(token)

    modules = (_module(f"jwt.{name}") for name in ("jwks_client", "jwk_set_cache", "api_jwk"))
    with injected_into(clock, *modules):
        yield answer


def _check(client: jwt.PyJWKClient, issuer: str, token: str, *, tells_outages: bool) -> int:
    try:
        key = client.get_signing_key_from_jwt(token)
        jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=issuer)
    except jwt.PyJWKClientConnectionError:
        return UNAVAILABLE if tells_outages else UNAUTHORIZED
    except jwt.PyJWTError:
        return UNAUTHORIZED
    except Exception:  # noqa: BLE001 - whatever a framework would answer 500 for
        return CRASHED
    return OK


# --- auth0-fastapi-api ------------------------------------------------------------------------------------------------


@contextmanager
def open_auth0(server: Server, clock: Clock, **settings: Any) -> Iterator[Api]:
    """`Auth0FastAPI(...).require_auth()`, called as FastAPI calls it, with a request."""
    plugin: Any = _module("fastapi_plugin.fast_api_client")
    domain = urlsplit(server.issuer).netloc
    dependency: Callable[[Request], Any] = plugin.Auth0FastAPI(
        domain=domain, audience=AUDIENCE, **settings
    ).require_auth()

    async def answer(token: str) -> int:
        try:
            await dependency(_request(token))
        except HTTPException as refused:
            return refused.status_code
        return OK

    with injected_into(clock, _module("auth0_api_python.cache"), _module("auth0_api_python.api_client")):
        yield answer


def _request(token: str) -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": "https",
            "server": ("api.test", 443),
            "path": "/",
            "query_string": b"",
            "headers": [(b"host", b"api.test"), (b"authorization", f"Bearer {token}".encode())],
            "app": SimpleNamespace(state=SimpleNamespace()),
        }
    )


# --- fastmcp ----------------------------------------------------------------------------------------------------------


@contextmanager
def open_fastmcp(server: Server, clock: Clock, **settings: Any) -> Iterator[Api]:
    """`JWTVerifier`; its None is 401 in the middleware that fastmcp puts in front of a server."""
    module: Any = _module("fastmcp.server.auth.providers.jwt")
    verifier = module.JWTVerifier(jwks_uri=server.jwks_uri, issuer=server.issuer, audience=AUDIENCE, **settings)

    async def answer(token: str) -> int:
        return UNAUTHORIZED if await verifier.verify_token(token) is None else OK

    with injected_into(clock, module):
        yield answer


# --- the variants -----------------------------------------------------------------------------------------------------

_PYJWT = "PyJWKClient"


def _pyjwt(setting: str, *, is_throttled: bool = True, **settings: Any) -> Variant:
    opened = partial(open_pyjwt, in_threads=True, **settings)
    return Variant(_PYJWT, f"in threads; {setting}", opened, moves_time=False, is_throttled=is_throttled)


def _auth0(setting: str, cache_control: str | None = None, **settings: Any) -> Variant:
    return Variant("auth0-fastapi-api", setting, partial(open_auth0, **settings), cache_control)


PYJWT_DIRECT = Variant(_PYJWT, "called in an async handler", partial(open_pyjwt, in_threads=False), moves_time=False)
PYJWT_THREADS = Variant(_PYJWT, "in threads", partial(open_pyjwt, in_threads=True), moves_time=False)
PYJWT_NO_COOLDOWN = _pyjwt("`cooldown_duration=0`", is_throttled=False, cooldown_duration=0)
PYJWT_KEPT_KEYS = _pyjwt(
    "`cache_keys=True`, `timeout=5`, connection errors answered 503", tells_outages=True, cache_keys=True, timeout=5
)
PYJWT_SHORT = _pyjwt("`lifespan=60`", lifespan=60)
AUTH0 = _auth0("")
AUTH0_SHORT = _auth0("server sends `max-age=15`", SHORT_MAX_AGE)
AUTH0_60 = _auth0("`cache_ttl_seconds=60`", cache_ttl_seconds=60)
AUTH0_7200 = _auth0("`cache_ttl_seconds=7200`", cache_ttl_seconds=7200)
FASTMCP = Variant("fastmcp", "", open_fastmcp)
FASTMCP_NO_INTERVAL = Variant(
    "fastmcp", "`jwks_refresh_interval=0`", partial(open_fastmcp, jwks_refresh_interval=0), is_throttled=False
)
DEFAULTS = (PYJWT_DIRECT, PYJWT_THREADS, AUTH0, AUTH0_SHORT, FASTMCP)

SETTINGS = {
    "flood": (PYJWT_NO_COOLDOWN, FASTMCP_NO_INTERVAL),
    "rotation": (PYJWT_NO_COOLDOWN, AUTH0_60, FASTMCP_NO_INTERVAL),
    "withdrawal": (PYJWT_SHORT, PYJWT_KEPT_KEYS, AUTH0_60),
    **dict.fromkeys(("down", "hang", "drip", "bad"), (PYJWT_KEPT_KEYS, AUTH0_7200)),
}
"""Other documented settings by section: the best ones there, and what the best ones elsewhere cost there."""
