"""A real Alertmanager sends to us, and ``amtool`` reads from us as from one."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from servers import HOST, Server, eventually, locate
from web import Tap, Web, key_of

from canopsis.core.alarm import Alarm, Snoozed
from canopsis.store import alarms
from canopsis.store.client import Store

_CONFIGURATION = """
route: {{receiver: canopsis, group_wait: 0s, group_interval: 1s, repeat_interval: 1h, group_by: ['...']}}
receivers:
  - name: canopsis
    webhook_configs:
      - url: {url}
        http_config: {{authorization: {{credentials: {key}}}}}
"""


@dataclass
class Alertmanager(Server):
    """An Alertmanager that sends to ``url``."""

    url: str = field(kw_only=True)

    def command(self) -> list[str]:
        configuration = self.folder / "alertmanager.yml"
        configuration.write_text(_CONFIGURATION.format(url=self.url, key=key_of("operator")))
        program = locate("alertmanager", "bin/alertmanager")
        facts = {"config.file": configuration, "storage.path": self.folder / "data", "cluster.listen-address": ""}
        facts["web.listen-address"] = f"{HOST}:{self.port}"
        flags = [f"--{name}={value}" for name, value in facts.items()]
        return ["sh", "-c", 'cd "$0" && exec "$@"', str(program.parents[1] / "share"), str(program), *flags]

    def answers(self) -> bool:
        try:
            return self.call("GET", "/-/ready") == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: object = None) -> int:
        """Send a request; return the status of its answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture
def alertmanager(web: Web, tmp_path: Path) -> Iterator[Alertmanager]:
    """An Alertmanager whose only receiver is the web server."""
    url = f"http://{HOST}:{web.port}/api/v1/sources/alertmanager/am1"
    with Alertmanager(tmp_path / "alertmanager", url=url).running() as server:
        yield server


def alert(ends: float | None = None) -> dict[str, Any]:
    labels = {"alertname": "DiskFull", "instance": "web1:9100", "severity": "warning"}
    found: dict[str, Any] = {"labels": labels, "annotations": {"summary": "/var is full"}}
    return found | ({"endsAt": datetime.fromtimestamp(ends, UTC).isoformat()} if ends else {})


def test_alerts_arrive_burning_and_out(alertmanager: Alertmanager, tap: Tap) -> None:
    got: list[dict[str, Any]] = []

    def states() -> list[int]:
        got.extend(tap.events())
        return [each["state"] for each in got]

    assert alertmanager.call("POST", "/api/v2/alerts", [alert()]) == 200
    eventually(lambda: states() == [1])
    assert alertmanager.call("POST", "/api/v2/alerts", [alert(time.time())]) == 200
    eventually(lambda: states() == [1, 0])
    assert {(each["connector"], each["connector_name"], each["component"], each["resource"]) for each in got} == {
        ("alertmanager", "am1", "web1:9100", "DiskFull")
    }
    assert got[0]["extra"]["fingerprint"] == got[1]["extra"]["fingerprint"]


def test_what_prometheus_posts_itself_is_taken(web: Web, tap: Tap) -> None:
    answer = web.post("/api/v1/sources/alertmanager/prom1/api/v2/alerts", [alert(time.time() + 300)])
    assert answer.status == 202
    (event,) = tap.events()
    assert (event["connector_name"], event["state"]) == ("prom1", 1)


def test_a_kind_that_is_not_there_is_named(web: Web) -> None:
    answer = web.post("/api/v1/sources/alertmanger/one", {"alerts": []})
    assert (answer.status, answer.json["field"]) == (404, "kind")
    assert "alertmanager" in answer.json["detail"]


def amtool(web: Web, folder: Path, *words: str) -> Any:
    """Return what ``amtool`` says of the web server, as JSON."""
    configuration = folder / "http.yml"
    configuration.write_text(f"authorization: {{credentials: {key_of('reader')}}}\n")
    command = [str(locate("alertmanager", "bin/amtool")), f"--http.config.file={configuration}"]
    command += [f"--alertmanager.url=http://{HOST}:{web.port}", "-o", "json", *words]
    done = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"HOME": str(folder)}, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def an_alarm(name: str, state: int, **facts: Any) -> dict[str, Any]:
    made = Alarm(
        id=name,
        entity_id=f"component:{name}",
        source_type="component",
        connector="nagios",
        connector_name="central",
        component=name,
        state=state,
        status=1,
        output=f"{name} is wrong",
        created=time.time() - 60,
        updated=time.time() - 60,
        last_event=time.time(),
        **facts,
    )
    found = msgspec.to_builtins(made)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def three(site_db: Store) -> Iterator[None]:
    """Three open alarms, one of them snoozed."""
    snooze = Snoozed("ann", "lunch", time.time(), time.time() + 600)
    found = [an_alarm("a", 2), an_alarm("b", 1, tags=["team:ops"]), an_alarm("c", 2, snooze=snooze)]
    site_db[alarms.COLLECTION].insert_many(found)
    yield
    site_db[alarms.COLLECTION].delete_many({})


@pytest.mark.usefixtures("three")
class TestAmtool:
    def test_open_alarms_are_alerts(self, web: Web, tmp_path: Path) -> None:
        found = amtool(web, tmp_path, "alert", "query")
        assert {each["labels"]["alertname"]: each["labels"]["severity"] for each in found} == {
            "a": "critical",
            "b": "warning",
        }
        assert {each["annotations"]["summary"] for each in found} == {"a is wrong", "b is wrong"}
        assert {each["status"]["state"] for each in found} == {"active"}

    def test_matchers(self, web: Web, tmp_path: Path) -> None:
        def names(*matchers: str) -> list[str]:
            return [each["labels"]["alertname"] for each in amtool(web, tmp_path, "alert", "query", *matchers)]

        assert names("severity=critical") == ["a"]
        assert names("severity!=critical") == ["b"]
        assert names("alertname=~a|x") == ["a"]
        assert names("team=ops", "alertname!~a.*") == ["b"]

    def test_snoozed_alarms_are_silenced(self, web: Web, tmp_path: Path) -> None:
        (silenced,) = amtool(web, tmp_path, "alert", "query", "--silenced")
        assert (silenced["labels"]["alertname"], silenced["status"]["state"]) == ("c", "suppressed")
        (silence,) = amtool(web, tmp_path, "silence", "query")
        assert (silence["createdBy"], silence["comment"]) == ("ann", "lunch")
        assert amtool(web, tmp_path, "silence", "query", "alertname=a") == []
        assert len(amtool(web, tmp_path, "silence", "query", "alertname=c")) == 1

    def test_a_matcher_that_is_none_is_named(self, web: Web) -> None:
        answer = web.get("/api/v2/alerts?filter=severity")
        assert (answer.status, answer.json["field"]) == (400, "filter")
        assert web.get("/api/v2/alerts?filter=a%3D~%22(%22").status == 400
