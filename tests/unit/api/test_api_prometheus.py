"""What Prometheus is told, over handed-in servers, and the rules and the dashboard that are shipped with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_fakes import Api
from prometheus_client.parser import text_string_to_metric_families
from test_api_status import CHAIN, LIVING, working

from canopsis import __version__
from canopsis.api import readiness
from canopsis.api.resources.prometheus import FIGURES
from canopsis.core.health import Process
from canopsis.store.alarms import Standing

DOCS = Path(__file__).parents[3] / "docs"
LABELS = {figure.metric: figure.labels for figure in FIGURES}

Samples = dict[tuple[str, ...], float]


def samples(text: str) -> dict[str, Samples]:
    """Return the values of each metric by the values of its labels, in their order."""
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels[name] for name in LABELS[sample.name])] = sample.value
    return found


def scraped(api: Api) -> dict[str, Samples]:
    return samples(api.get("/metrics", "reader").text)


class TestFigures:
    def test_a_site_in_which_all_is_well(self) -> None:
        api = working()
        counters = {"alarm": {"in": 9, "forwarded": 6, "dropped": 2, "dead": 1, "seconds": 0.5}}
        api.database.living[1] |= {"counters": counters, "sources": [{"source": "nagios/n1", "late": 3}]}
        api.database.standing = [Standing(2, acknowledged=True, snoozed=False, count=4)]
        api.database.unsent, api.database.letters, api.broker.waiting["Engine_alarm.00"] = 7, (5, "bad"), 12
        found = scraped(api)
        assert found.keys() == LABELS.keys()
        assert found["canopsis_build_info"] == {(__version__,): 1}
        assert found["canopsis_server_up"] == {("mongodb",): 1, ("rabbitmq-server",): 1}
        assert found["canopsis_problems"] == {("down",): 0, ("degraded",): 0, ("starting",): 0}
        assert found["canopsis_instance_up"][("worker", LIVING["_id"])] == 1
        assert found["canopsis_partitions_unread"] == {("worker",): 0}
        assert found["canopsis_engine_events_in_total"] == {(LIVING["_id"], "alarm"): 9}
        outcomes = {labels[2]: value for labels, value in found["canopsis_engine_events_total"].items()}
        assert outcomes == {"forwarded": 6, "dropped": 2, "dead": 1}
        assert found["canopsis_engine_seconds_total"] == {(LIVING["_id"], "alarm"): 0.5}
        assert found["canopsis_source_events_total"] == {("nagios/n1", "late"): 3}
        assert found["canopsis_queue_messages"][("Engine_alarm.00",)] == 12
        assert found["canopsis_queue_consumers"][("Engine_alarm.00",)] == 1
        assert found["canopsis_alarms_open"][("critical", "true", "false")] == 4
        assert sum(found["canopsis_alarms_open"].values()) == 4
        assert (found["canopsis_dead_letters_recent"], found["canopsis_notifications_waiting"]) == ({(): 5}, {(): 7})

    def test_partitions_that_nobody_works_on(self) -> None:
        api = working(chain=(*CHAIN[:1], Process("worker", ("Engine_alarm.00",), 4)))
        assert scraped(api)["canopsis_partitions_unread"] == {("worker",): 3}

    def test_while_the_database_is_away_what_is_not_known_is_not_there(self) -> None:
        api = working()
        key = api.database.users
        api.database.away = "no primary"
        assert api.get("/metrics", "reader").status_code == 503, "nobody can be known by a key"
        api.database.away, api.database.users = "", key
        api.broker.away = "Connection refused"
        found = scraped(api)
        assert found["canopsis_server_up"] == {("mongodb",): 1, ("rabbitmq-server",): 0}
        assert "canopsis_queue_messages" not in found

    def test_open_alarms_are_counted_at_most_every_ten_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        api = working()
        scraped(api)
        api.database.unsent = 3
        assert scraped(api)["canopsis_notifications_waiting"] == {(): 0}
        monkeypatch.setattr(readiness, "COUNTED", 0.0)
        assert scraped(api)["canopsis_notifications_waiting"] == {(): 3}

    def test_who_may_not_read_gets_nothing(self) -> None:
        assert working().get("/metrics", None).status_code == 401
        off = working(services=frozenset())
        assert off.get("/metrics", "reader").status_code == 404


class TestShipped:
    """What stands in ``docs/prometheus`` names metrics that there are."""

    def test_the_page_tells_each_metric(self) -> None:
        text = (DOCS / "prometheus.md").read_text()
        for figure in FIGURES:
            labels = ", ".join(f"`{each}`" for each in figure.labels)
            assert f"| `{figure.metric}` | {figure.kind} | {labels} | {figure.tells} |" in text

    @pytest.mark.parametrize("name", ["rules.yml", "dashboard.json"])
    def test_each_expression(self, name: str) -> None:
        text = (DOCS / "prometheus" / name).read_text()
        found = set(re.findall(r"\bcanopsis_[a-z_]+", "\n".join(_expressions(yaml.safe_load(text)))))
        assert found
        assert found <= LABELS.keys()

    def test_the_dashboard_is_json(self) -> None:
        found = json.loads((DOCS / "prometheus" / "dashboard.json").read_text())
        assert found["uid"] == "canopsis"
        assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])


def _expressions(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["expr"]] if "expr" in found else []
        return own + [each for value in found.values() for each in _expressions(value)]
    return [each for value in found for each in _expressions(value)] if isinstance(found, list) else []
