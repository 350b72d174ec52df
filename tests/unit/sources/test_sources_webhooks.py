"""Sources that send over HTTP: payloads as their senders write them, and the events that they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from canopsis.core.normalise import normalise
from canopsis.errors import InputError, InvalidEvent
from canopsis.sources.webhook import Arrival, moment_of, sources

NOW = 1_796_040_000.0
PAYLOADS = Path(__file__).parent / "payloads"
GOLDEN = sorted(PAYLOADS.glob("*/*.json"))


def mapped(kind: str, payload: Any, labels: str = "") -> list[dict[str, Any]]:
    wanted = tuple(each for each in labels.split(",") if each)
    return list(sources().things[kind].map(payload, Arrival(NOW, wanted)))


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
    assert {"alertmanager", "grafana"} <= set(sources().things)
