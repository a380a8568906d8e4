"""OpenTelemetry: what a recording span is told, and that nothing is asked of one that is not there."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from authz_middleware import (
    authorize,
    requires,
)
from authz_middleware import observe as observe_module
from authz_middleware.errors import Refused
from authz_middleware.observe import RequestDecision
from authz_middleware.testing import LocalIssuer

from .apps import (
    Answer,
    ask,
    http_scope,
    serve,
)
from .watching import AUTHZ, CASES, Case, Lines, granting, lines, logged, nested, options_for, routes, token, watched

__all__ = ["lines"]  # a fixture

X: dict[str, Any] = {"scope": "x", "permissions": ["x"]}
Y: dict[str, Any] = {"scope": "y", "permissions": ["y"]}


NOTHING = dict.fromkeys(
    ["authz.code", "authz.reason", "authz.policy", "authz.route", "authz.issuer", "authz.dialect"], ""
)


class Traced:
    """A tracer whose spans stay in memory, without touching the process's own."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracer = provider.get_tracer("test")

    def ask(self, app: ASGIApp, scope: Scope) -> tuple[Answer, dict[str, object]]:
        """Serve within a span; return the answer and the span's attributes."""

        async def run() -> Answer:
            with self._tracer.start_as_current_span("request"):
                return await serve(app, scope)

        answer = asyncio.run(run())
        (span,) = self._exporter.get_finished_spans()
        self._exporter.clear()
        assert not span.events
        return answer, dict(span.attributes or {})


def test_a_span_shows_what_was_decided(issuer: LocalIssuer) -> None:
    traced = Traced()
    app, _ = watched(issuer, *granting(), on_decision=None)
    known = {"authz.issuer": issuer.issuer, "authz.dialect": AUTHZ}
    at_x = {"authz.policy": "'x'", "authz.route": "/x/{name}"}
    assert traced.ask(app, http_scope("/x/secret", token(issuer)))[1] == {
        **NOTHING, **known, **at_x, "authz.decision": "allowed"
    }  # fmt: skip
    assert traced.ask(app, http_scope("/x/secret", token(issuer, **Y)))[1] == {
        **NOTHING,
        **known,
        **at_x,
        "authz.decision": "refused",
        "authz.code": "insufficient_scope",
        "authz.reason": "grant_missing",
    }
    assert traced.ask(app, http_scope("/x/secret"))[1] == {
        **NOTHING,
        **at_x,
        "authz.decision": "refused",
        "authz.code": "missing_token",
        "authz.reason": "no_credentials",
    }
    assert traced.ask(app, http_scope("/open"))[1] == {
        **NOTHING,
        "authz.decision": "allowed",
        "authz.policy": "public",
        "authz.route": "/open",
    }
    reporting, _ = watched(issuer, *granting(), on_decision=None, enforce=False)
    answer, attributes = traced.ask(reporting, http_scope("/x/secret"))
    assert answer.status == 200
    assert attributes["authz.decision"] == "would_refuse"
    assert attributes["authz.code"] == "missing_token"


def test_the_last_decision_of_a_span_leaves_nothing_of_the_others(issuer: LocalIssuer) -> None:
    @requires("x")
    async def choosing(request: Request) -> Response:
        with pytest.raises(Refused):
            await authorize(request, "admin")
        await authorize(request, "x")
        return PlainTextResponse("ok")

    app, _ = watched(issuer, Route("/", choosing), on_decision=None)
    _, attributes = Traced().ask(app, http_scope("/", token(issuer)))
    assert attributes["authz.decision"] == "allowed"
    assert (attributes["authz.code"], attributes["authz.reason"]) == ("", "")


def test_a_refusal_further_in_is_what_the_span_shows(issuer: LocalIssuer) -> None:
    app, _, _ = nested(issuer)
    _, attributes = Traced().ask(app, http_scope("/guarded/y", token(issuer)))
    assert (attributes["authz.decision"], attributes["authz.policy"]) == ("refused", "'y'")
    _, attributes = Traced().ask(app, http_scope("/guarded/bare", token(issuer)))
    assert (attributes["authz.code"], attributes["authz.policy"]) == ("no_policy", "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_no_claim_and_no_token_is_in_a_span(issuer: LocalIssuer, case: Case) -> None:
    app, _ = watched(issuer, *routes(), **options_for(issuer, case), on_decision=None)
    headers = case.headers(issuer)
    _, attributes = Traced().ask(app, http_scope(case.path, headers))
    assert attributes["authz.code"] == case.code
    written = repr(attributes)
    for value in ("auth0|jo", "first-party-app", "org_b", 'unknown"', "stranger", "elsewhere", "/1"):
        assert value not in written
    for _, header in headers:
        assert header.decode().split(" ")[-1] not in written


def test_a_span_that_does_not_record_is_left_alone(issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    span = NonRecordingSpan(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(0)))
    app, _ = watched(issuer, *granting(), on_decision=None)
    monkeypatch.setattr(observe_module, "_attributes", None)  # calling it would fail
    with use_span(span), logged() as lines:
        assert ask(app, http_scope("/x/1", token(issuer))).status == 200
        assert ask(app, http_scope("/x/1")).status == 401
    assert not lines.at(logging.ERROR)


def test_a_span_that_fails_changes_no_answer(issuer: LocalIssuer, lines: Lines) -> None:
    class Broken(NonRecordingSpan):
        def is_recording(self) -> bool:
            return True

        def set_attributes(self, attributes: object) -> None:
            raise LookupError("secret")

    app, watch = watched(issuer, *granting())
    with use_span(Broken(SpanContext(1, 1, is_remote=False)), record_exception=False):
        assert ask(app, http_scope("/x/1", token(issuer))).status == 200
        assert ask(app, http_scope("/x/1")).status == 401
    assert lines.at(logging.ERROR) == ["the span failed with LookupError"] * 2
    assert len(watch.seen) == 2


def without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module as it is where OpenTelemetry is not installed, beside the real one."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    spec = importlib.util.spec_from_file_location("authz_middleware._without_opentelemetry", observe_module.__file__)
    if spec is None or spec.loader is None:
        raise ImportError
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_without_opentelemetry_there_is_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    module = without_opentelemetry(monkeypatch)
    assert module.get_current_span is None
    observer = module.Observer()
    assert not observer.sees_allowed
    seen: list[object] = []
    module.Observer(seen.append).tell(RequestDecision(
        allowed=True, enforced=True, code=None, reason=None, method="GET", route="/", policy=None, issuer=None,
        dialect=None, token=None, detail=None,
    ))  # fmt: skip
    assert len(seen) == 1


ALONE = """
import asyncio, sys
sys.modules["opentelemetry"] = sys.modules["opentelemetry.trace"] = None
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from authz_middleware import AuthzMiddleware, requires
from authz_middleware.testing import LocalIssuer
from tests.apps import bearer, http_scope, serve

@requires("x")
async def handler(request):
    return PlainTextResponse("ok")

seen, issuer = [], LocalIssuer()
guard = Middleware(AuthzMiddleware, issuers=[issuer.trusted()], on_decision=seen.append)
app = Starlette(routes=[Route("/", handler)], middleware=[guard])
for headers in ([bearer(issuer, scope="x", permissions=["x"])], []):
    print(asyncio.run(serve(app, http_scope("/", headers))).status, len(seen))
"""


def test_the_package_works_where_opentelemetry_is_not_installed() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True
    )
    assert ran.stdout.split() == ["200", "1", "401", "2"]
