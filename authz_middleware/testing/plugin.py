"""Fixtures for pytest. Load them in the topmost conftest.py: `pytest_plugins = ["authz_middleware.testing.plugin"]`.

There is no entry point: it would import the package in every run of every project in whose environment it is
installed, and before coverage is measured. PYTEST_DONT_REWRITE: nothing is asserted here.
"""

from __future__ import annotations

import pytest

from .issuer import LocalIssuer
from .signing import SigningKey

__all__ = ["local_issuer", "local_signing_key"]


@pytest.fixture(scope="session")
def local_signing_key() -> SigningKey:
    """A key to sign with, made once: pass it to an issuer of your own, `LocalIssuer(…, key=local_signing_key)`."""
    return SigningKey()


@pytest.fixture
def local_issuer(local_signing_key: SigningKey) -> LocalIssuer:
    """An issuer of this test's own, which it may rotate, fail and hang. Override it to give it your issuer's name."""
    return LocalIssuer(key=local_signing_key)
