"""Fixtures of the commands: a prefix, and an API that is handed in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_fakes import Asked, FakeApi

from canopsis.ops import apiclient
from canopsis.ops.apiclient import Answer
from canopsis.ops.prefix import Prefix

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))

from ops_scratch import make_prefix


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prefix:
    found = make_prefix(tmp_path / "site")
    monkeypatch.setenv("CANOPSIS_PREFIX", str(found.path))
    return found


@pytest.fixture
def api(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """Every command of this test asks this API."""
    assert prefix.path.is_dir()
    fake = FakeApi()

    def call(
        _self: object,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        query: Mapping[str, object] | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        assert content_type == "application/json"
        asked = Asked(method, path, body, {name: value for name, value in (query or {}).items() if value is not None})
        fake.asked.append(asked)
        assert fake.respond is not None
        return fake.respond(asked)

    monkeypatch.setattr(apiclient.Api, "call", call)
    return fake
