"""The pytest plugin, in a run of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

CONFTEST = 'pytest_plugins = ["authz_middleware.testing.plugin"]'


OPTIONS = ["-W", "error", "-W", "ignore:assertions not in test modules", "-p", "no:cacheprovider", "-p", "no:cov"]


def run(pytester: pytest.Pytester, tests: str, conftest: str = CONFTEST) -> pytest.RunResult:
    pytester.makeconftest(conftest)
    pytester.makepyfile(tests)
    return pytester.runpytest_inprocess(*OPTIONS)


def test_each_test_has_an_issuer_of_its_own_and_all_share_a_key(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        seen = []

        def test_one(local_issuer, local_signing_key):
            assert local_issuer.key is local_signing_key
            local_issuer.rotate()
            local_issuer.withdraw(local_signing_key)
            local_issuer.fail()
            seen.append((local_issuer, local_signing_key))

        def test_another(local_issuer):
            (other, key), = seen
            assert local_issuer is not other
            assert local_issuer.published == [key]
            assert local_issuer.access_token(permissions=["read:orders"])
        """,
    )
    result.assert_outcomes(passed=2)


def test_that_it_was_imported_before_is_no_reason_for_a_warning(pytester: pytest.Pytester) -> None:
    imported = importlib.import_module("authz_middleware.testing.plugin")
    result = run(pytester, "def test_nothing(local_issuer): pass")
    result.assert_outcomes(passed=1)
    assert imported.__all__ == ["local_issuer", "local_signing_key"]


def test_an_application_is_tested_with_it(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from starlette.testclient import TestClient
        from authz_middleware.testing import attack_suite, trust
        from tests.testing.apps import fastapi_app

        app = fastapi_app()
        test_attacks = attack_suite(app)

        @pytest.fixture
        def client(local_issuer):
            with trust(app, local_issuer), TestClient(app) as client:
                yield client

        def test_orders(client, local_issuer):
            headers = local_issuer.headers(permissions=["read:orders"])
            assert client.get("/orders/1", headers=headers).json() == 1
            assert client.get("/orders/1", headers=local_issuer.headers()).status_code == 403
        """,
    )
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] > 60


def test_the_issuer_is_renamed_by_a_fixture_of_that_name(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        "def test_name(local_issuer): assert local_issuer.issuer == 'https://acme.eu.auth0.com/'",
        CONFTEST
        + """
import pytest
from authz_middleware.testing import LocalIssuer

@pytest.fixture
def local_issuer(local_signing_key):
    return LocalIssuer("https://acme.eu.auth0.com/", "https://orders.acme.example/", key=local_signing_key)
""",
    )
    result.assert_outcomes(passed=1)


def test_the_fixtures_say_what_they_are(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    result = pytester.runpytest_inprocess("--fixtures", *OPTIONS)
    result.stdout.fnmatch_lines(
        ["local_signing_key*", "*A key to sign with*", "local_issuer*", "*An issuer of this test*"]
    )


def test_the_kit_itself_needs_no_pytest() -> None:
    code = "import sys, authz_middleware.testing; sys.exit('pytest' in sys.modules or 'trio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_plugin_there_are_no_fixtures(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_nothing(local_issuer): pass", "")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'local_issuer' not found*"])
