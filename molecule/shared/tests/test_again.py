"""A second run changed nothing: no file, no process, no definition."""

from __future__ import annotations

import json
from typing import Any

import site_hosts as site


def test_a_second_run_changed_nothing(host: Any, place: site.Place) -> None:
    before = json.loads(site.kept(place.name).read_text())
    assert site.difference(before, site.fingerprint(host)) == []
    assert len(before["files"]) > 100, "the fingerprint saw nothing"
    supervised = host.file(f"{site.PREFIX}/supervisord.conf").exists
    assert bool(before["processes"]) == supervised, "the fingerprint saw no process"
