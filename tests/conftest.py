"""What all tests share: one issuer with real keys, and patience with slow machines."""

import pytest
from hypothesis import HealthCheck, settings

from authz_middleware.testing import LocalIssuer

# No property depends on how fast the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def issuer() -> LocalIssuer:
    return LocalIssuer()
