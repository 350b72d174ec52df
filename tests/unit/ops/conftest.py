"""Fixtures: the prefix of a full host."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_scratch import make_prefix

from canopsis.ops.prefix import Prefix


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    return make_prefix(tmp_path / "site")
