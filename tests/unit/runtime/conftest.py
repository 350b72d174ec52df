"""Servers that the modules of the runtime see."""

from __future__ import annotations

import pytest
from runtime_fakes import Servers


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    return Servers(monkeypatch)
