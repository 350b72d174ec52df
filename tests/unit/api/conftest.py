"""An application over fakes."""

from __future__ import annotations

import pytest
from api_fakes import Api


@pytest.fixture
def api() -> Api:
    """An application over fakes, with every web service on."""
    return Api()
