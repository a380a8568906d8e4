"""What tests of observation share: a hook that remembers, log lines, and a request for every code. Checks raise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router

from authz_middleware import ConfigurationError, authenticated, public, requires
from authz_middleware.errors import Code
from authz_middleware.observe import RequestDecision
from authz_middleware.testing import LocalIssuer

from .apps import Foreign, bare, bearer, endpoint, starlette_app
from .helpers import five_parts

Headers = list[tuple[bytes, bytes]]


@dataclass
class Watch:
    """A hook that remembers what it was told."""

    seen: list[RequestDecision] = field(default_factory=list)

    def __call__(self, decision: RequestDecision) -> None:
        self.seen.append(decision)

    @property
    def only(self) -> RequestDecision:
        """The one decision; another number of them is an error."""
        (decision,) = self.seen
        return decision

    def told(self) -> list[tuple[str, str | None, str]]:
        """Return outcome, route and policy of each decision."""
        return [(outcome_of(decision), decision.route, repr(decision.policy)) for decision in self.seen]


def outcome_of(decision: RequestDecision) -> str:
    """Return the code, or "allowed"."""
    if decision.allowed:
        return "allowed"
    return str(decision.code) if decision.enforced else f"would be {decision.code}"


class Lines(logging.Handler):
    """Keeps what is logged, from DEBUG on."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def at(self, level: int) -> list[str]:
        """Return the messages of one level."""
        return [record.getMessage() for record in self.records if record.levelno == level]


@contextmanager
def logged() -> Iterator[Lines]:
    """Collect what the package logs."""
    log, lines = logging.getLogger("authz_middleware"), Lines()
    level, propagate = log.level, log.propagate
    log.addHandler(lines)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield lines
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
        log.propagate = propagate


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as collected:
        yield collected


# --- a request for every code -----------------------------------------------------------------------------------------


def token(issuer: LocalIssuer, **claims: Any) -> Headers:
    """Return the header with a token that grants x; `claims` replace its claims."""
    return [bearer(issuer, **{"scope": "x", "permissions": ["x"], **claims})]


def raw(text: str) -> Headers:
    """Return the header with any text in the place of a token."""
    return [(b"authorization", b"Bearer " + text.encode())]


def signed(issuer: LocalIssuer, **header: Any) -> Headers:
    """Return the header with a token whose header has some members replaced."""
    return raw(issuer.sign(issuer.claims(permissions=["x"]), **header))


def tampered(issuer: LocalIssuer) -> Headers:
    """Return the header with a token that another key of the same name has signed."""
    impostor = LocalIssuer(issuer.issuer, issuer.audience)
    return raw(impostor.sign(impostor.claims(permissions=["x"]), kid=issuer.key.kid))


@dataclass(frozen=True)
class Case:
    """A request that is refused with `code`, on a route that requires x unless `path` says otherwise."""

    code: Code
    headers: Callable[[LocalIssuer], Headers]
    path: str = "/x/1"
    issuer: bool = False
    """Whether validation came as far as an issuer."""
    dialect: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def route(self) -> str:
        return self.path.replace("1", "{name}")

    @property
    def policy(self) -> str:
        return "'x'" if self.path == "/x/1" else "None"


AUTHZ = "access_token_authz"
CASES = [
    Case(Code.MISSING_TOKEN, lambda _: []),
    Case(Code.MALFORMED_HEADER, lambda _: raw(" two spaces")),
    Case(Code.MALFORMED_TOKEN, lambda _: raw("a.b.c")),
    Case(Code.OPAQUE_TOKEN, lambda _: raw("nothing-to-see")),
    Case(Code.ENCRYPTED_TOKEN, lambda _: raw(five_parts({"alg": "RSA-OAEP", "enc": "A256GCM"}))),
    Case(Code.ID_TOKEN, lambda issuer: token(issuer, aud="first-party-app", nonce="n")),
    Case(Code.UNTRUSTED_ISSUER, lambda issuer: token(issuer, iss="https://stranger.test/")),
    Case(Code.WRONG_AUDIENCE, lambda issuer: token(issuer, aud="https://elsewhere.test/")),
    Case(Code.WRONG_TYPE, lambda issuer: signed(issuer, typ="secevent+jwt"), issuer=True),
    Case(Code.WRONG_ALGORITHM, lambda issuer: signed(issuer, alg="none"), issuer=True),
    Case(Code.UNKNOWN_KEY, lambda issuer: signed(issuer, kid="unknown"), issuer=True),
    Case(Code.BAD_SIGNATURE, tampered, issuer=True),
    Case(Code.EXPIRED, lambda issuer: token(issuer, expires_in=-100), issuer=True, dialect=AUTHZ),
    Case(Code.NOT_YET_VALID, lambda issuer: token(issuer, nbf=2**33), issuer=True, dialect=AUTHZ),
    Case(Code.INVALID_CLAIM, lambda issuer: token(issuer, nbf="soon"), issuer=True, dialect=AUTHZ),
    Case(
        Code.WRONG_TENANT,
        lambda issuer: token(issuer, org_id="org_b"),
        issuer=True,
        dialect=AUTHZ,
        options={"tenants": ["org_a"]},
    ),
    Case(Code.PROOF_REQUIRED, lambda issuer: token(issuer, cnf={"jkt": "k"}), issuer=True, dialect=AUTHZ),
    Case(Code.PROOF_REQUIRED, lambda _: [(b"authorization", b"DPoP token")]),
    Case(Code.REVOKED, lambda issuer: token(issuer, subject="revoked"), issuer=True, dialect=AUTHZ),
    Case(Code.REVOCATION_UNKNOWN, lambda issuer: token(issuer, subject="unknown"), issuer=True, dialect=AUTHZ),
    Case(
        Code.INSUFFICIENT_SCOPE,
        lambda issuer: token(issuer, scope="y", permissions=["y"]),
        issuer=True,
        dialect=AUTHZ,
    ),
    Case(Code.NO_POLICY, token, path="/bare/1", issuer=True, dialect=AUTHZ),
    Case(Code.KEYS_UNAVAILABLE, token, issuer=True, options={"keys": "fail"}),
]


def is_revoked(verified: Any) -> bool:
    """Answer for one subject, and fail for another."""
    if verified.subject == "unknown":
        raise ConnectionError("a detail")
    return bool(verified.subject == "revoked")


class FailingKeys:
    """A key source that cannot be had."""

    async def get(self, kid: str | None, algorithm: str) -> Any:
        raise ConnectionError("a detail")


def options_for(issuer: LocalIssuer, case: Case) -> dict[str, Any]:
    """Return what the middleware is given for one case."""
    options = {**case.options}
    if "keys" in options:
        options["keys"] = FailingKeys()
    trusted = issuer.trusted(third_party_clients=set(), rbac_enforced=True, **options)
    return {"issuers": [trusted], "revoked": is_revoked}


async def named(request: Request) -> Response:
    """Answer like `endpoint`, for routes with a name in their path."""
    return await endpoint(request)


def routes() -> list[Route]:
    """Return a route that requires x, and one that states nothing."""
    return [Route("/x/{name}", requires("x")(named)), Route("/bare/{name}", bare)]


def expect_fault(make: Callable[[], object], says: str) -> None:
    """Raise unless making this is a configuration error that says so."""
    with pytest.raises(ConfigurationError, match=says):
        make()


# --- applications -----------------------------------------------------------------------------------------------------


def watched(issuer: LocalIssuer, *served: BaseRoute, **options: Any) -> tuple[Starlette, Watch]:
    """Return a guarded application, and what it tells."""
    watch = Watch()
    trusted = issuer.trusted(third_party_clients=set(), rbac_enforced=True)
    options = {"issuers": [trusted], "on_decision": watch, **options}
    return starlette_app(issuer, *served, **options), watch


class Methods(HTTPEndpoint):
    @requires("x")
    async def get(self, request: Request) -> Response:
        return await endpoint(request)

    @public
    async def post(self, request: Request) -> Response:
        return await endpoint(request)


@requires("x")
class WholeClass(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return await endpoint(request)


_both = requires("x")(requires("y")(endpoint))


def inner_routes() -> list[BaseRoute]:
    return [Route("/bare", bare), Route("/y", requires("y")(endpoint)), Route("/open", public(endpoint))]


def granting() -> list[BaseRoute]:
    """Return one route of each kind; their guards are made anew for every application."""
    return [
        Route("/x/{name}", requires("x")(endpoint), methods=["GET", "POST"]),
        Route("/both", _both),
        Route("/any", authenticated(endpoint)),
        Route("/open", public(endpoint)),
        Route("/bare", bare),
        Route("/methods", Methods),
        Route("/class", WholeClass),
        Route("/sync", requires("x")(lambda request: PlainTextResponse("sync"))),
        Mount("/covered", app=requires("x")(Starlette(routes=inner_routes()))),
        Mount("/any-covered", app=authenticated(Starlette(routes=[Route("/any", authenticated(endpoint))]))),
        Mount("/open-covered", app=public(Starlette(routes=inner_routes()))),
        Mount("/twice", routes=[Mount("/deep", app=requires("y")(Starlette(routes=[Route("/bare", bare)])))]),
        Mount("/outer", app=requires("x")(Router([Mount("/inner", app=requires("y")(Router([Route("/z", bare)])))]))),
        Mount("/plain", routes=[Route("/x/{name}", requires("x")(endpoint))]),
        Mount("/foreign", app=requires("x")(Foreign())),
        Mount("/foreign-both", app=requires("x")(Router([Mount("/in", app=requires("y")(Foreign()))]))),
        Mount("/foreign-any", app=authenticated(Router([Mount("/in", app=authenticated(Foreign()))]))),
        Host("host.test", app=Router([Route("/h/{name}", requires("x")(endpoint))])),
    ]


def nested(issuer: LocalIssuer) -> tuple[Starlette, Watch, Watch]:
    """Return an application with another in it, each guarded, and what the outer and the inner one tell."""
    outer, inner = Watch(), Watch()
    trusted = issuer.trusted(third_party_clients=set(), rbac_enforced=True)

    def mounted() -> Starlette:
        return starlette_app(issuer, *inner_routes(), issuers=[trusted], on_decision=inner)

    app = starlette_app(
        issuer,
        Mount("/guarded", app=requires("x")(mounted())),
        Mount("/plain", app=mounted()),
        issuers=[trusted],
        on_decision=outer,
    )
    return app, outer, inner
