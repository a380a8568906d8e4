"""Fixtures shared by all tests: one issuer with real keys."""

import pytest

from authz_middleware.testing import LocalIssuer


@pytest.fixture(scope="session")
def issuer() -> LocalIssuer:
    return LocalIssuer()
