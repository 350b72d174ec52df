"""Sources that send over HTTP: payloads as their senders write them, and the events that they become."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from canopsis.core.moments import moment_of
from canopsis.core.normalise import normalise
from canopsis.core.rules.kernel import make
from canopsis.core.rules.mapper import KIND
from canopsis.errors import InputError, InvalidEvent
from canopsis.sources.webhook import Arrival, ByRule, sources

ROOT = Path(__file__).parents[3]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the mappers of a file."""
    for document in yaml.safe_load_all(path.read_text()):
        yield {name: value for name, value in document.items() if name != "kind"}


NOW = 1_796_040_000.0
PAYLOADS = Path(__file__).parent / "payloads"
GOLDEN = sorted(PAYLOADS.glob("*/*.json"))


MAPPERS = make(KIND, [each for path in sorted((ROOT / "docs" / "mappers").glob("*.yml")) for each in read(path)], {})


def mapped(kind: str, payload: Any, labels: str = "") -> list[dict[str, Any]]:
    """Return the events of a payload. Raises what stands in place of one; generic payloads meet those of the docs."""
    wanted = tuple(each for each in labels.split(",") if each)
    events = []
    for found in sources().things[kind].map(payload, Arrival(NOW, wanted, "one", MAPPERS)):
        each = found.found if isinstance(found, ByRule) else found
        if isinstance(each, InvalidEvent):
            raise each
        events.append(each)
    return events


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_payload_becomes_these_events(path: Path) -> None:
    golden = json.loads(path.read_text())
    assert mapped(path.parent.name, golden["payload"], golden["labels"]) == golden["events"]


@pytest.mark.parametrize("kind", sources().things)
def test_what_burns_and_what_is_out_are_one_entity(kind: str) -> None:
    found = [json.loads((PAYLOADS / kind / f"{case}.json").read_text()) for case in ("firing", "resolved")]
    who = {"connector": kind, "connector_name": "one"}
    firing, out = (normalise(mapped(kind, each["payload"])[0] | who, NOW) for each in found)
    assert firing.entity_id == out.entity_id
    assert (firing.state > 0, out.state) == (True, 0)  # type: ignore[attr-defined]
    assert out.timestamp > firing.timestamp
    assert firing.warnings == []


@pytest.mark.parametrize("kind", sources().things)
@pytest.mark.parametrize("payload", ["text", 5, None, {}, {"alerts": "none"}, {"alerts": ["text"]}])
def test_a_payload_of_another_kind_is_refused(kind: str, payload: Any) -> None:
    with pytest.raises(InputError):
        mapped(kind, payload)


def test_an_alert_that_says_of_nothing_what_it_is_about_is_refused_as_an_event() -> None:
    golden = json.loads((PAYLOADS / "alertmanager" / "nothing_that_names_it.json").read_text())
    (raw,) = mapped("alertmanager", golden["payload"])
    with pytest.raises(InvalidEvent, match="component"):
        normalise(raw | {"connector": "alertmanager", "connector_name": "one"}, NOW)


@pytest.mark.parametrize(("given", "found"), [("2026-11-30T10:00:00Z", 1796032800.0), ("0001-01-01T00:00:00Z", None)])
def test_times(given: str, found: float | None) -> None:
    assert moment_of(given) == found
    assert [moment_of(each) for each in ("soon", 5, None, "2026-11-30T10:00:00")] == [None] * 4


def test_nothing_of_ours_is_broken() -> None:
    assert sources().broken == {}
    assert {"alertmanager", "generic", "grafana"} <= set(sources().things)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site's own package, installed: the module that the documentation shows, and metadata, are on the path."""
    page = (ROOT / "docs" / "extending.md").read_text().split("## Add a source")[1]
    (tmp_path / "own_source.py").write_text(page.split("```python\n")[1].split("```")[0])
    info = tmp_path / "own_source-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-source\nVersion: 1.0\n")
    points = ("uptimekuma = own_source:SOURCE", "lost = own_source.lost:SOURCE")
    (info / "entry_points.txt").write_text("[canopsis.sources]\n" + "\n".join(points))
    monkeypatch.syspath_prepend(tmp_path)
    sources.cache_clear()
    yield
    sources.cache_clear()


@pytest.mark.usefixtures("package")
def test_a_source_of_an_installed_package_is_one_of_the_site_and_one_that_is_lost_is_named() -> None:
    payload = {"monitor": {"hostname": "web1", "name": "shop"}, "heartbeat": {"status": 0}, "msg": "down"}
    (raw,) = mapped("uptimekuma", payload)
    event = normalise(raw | {"connector": "uptimekuma", "connector_name": "one"}, NOW)
    assert (event.entity_id, event.output) == ("resource:web1/shop", "down")
    assert "own_source.lost:SOURCE of the package own-source" in sources().broken["lost"]


@pytest.mark.usefixtures("package")
def test_the_web_server_says_which_source_it_does_not_serve() -> None:
    code = "import canopsis.api.resources.sources"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *sys.path)))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
    assert "the source lost is not served, for it cannot be loaded: own_source.lost:SOURCE" in done.stderr
