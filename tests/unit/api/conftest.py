"""An application over fakes; hypothesis without a clock, for the machine may be busy."""

from __future__ import annotations

import pytest
from api_fakes import Api
from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit", deadline=None, database=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")


@pytest.fixture
def api() -> Api:
    """An application over fakes, with every web service on."""
    return Api()
