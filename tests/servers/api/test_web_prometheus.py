"""A real Prometheus reads the figures of the web server, and takes the rules that are shipped."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from servers import HOST, Server, eventually, locate
from test_web_alertmanager import an_alarm
from web import Web, key_of

from canopsis.store import alarms
from canopsis.store.client import Store

RULES = Path(__file__).parents[3] / "docs" / "prometheus" / "rules.yml"

_CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: canopsis
    authorization: {{credentials: {key}}}
    static_configs: [{{targets: ["{host}:{web}"]}}]
"""


@dataclass
class Prometheus(Server):
    """A Prometheus that scrapes the web server on port ``web``."""

    web: int = field(kw_only=True)

    def command(self) -> list[str]:
        configuration = self.folder / "prometheus.yml"
        configuration.write_text(_CONFIGURATION.format(rules=RULES, key=key_of("reader"), host=HOST, web=self.web))
        facts: dict[str, object] = {"config.file": configuration, "storage.tsdb.path": self.folder / "data"}
        facts["web.listen-address"] = f"{HOST}:{self.port}"
        return [str(locate("prometheus", "bin/prometheus")), *(f"--{name}={value}" for name, value in facts.items())]

    def answers(self) -> bool:
        try:
            return self.get("/-/ready")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression comes to now."""
        _, body = self.get(f"/api/v1/query?query={quote(expression)}")
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules, and what came of them."""
        groups = json.loads(self.get("/api/v1/rules")[1])["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@pytest.fixture
def prometheus(web: Web, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus of the web server."""
    with Prometheus(tmp_path / "prometheus", web=web.port).running() as server:
        yield server


def test_it_scrapes_and_judges(web: Web, prometheus: Prometheus, site_db: Store) -> None:
    site_db[alarms.COLLECTION].insert_many([an_alarm("a", 2), an_alarm("b", 1)])
    eventually(lambda: prometheus.ask('up{job="canopsis"} == 1'))
    found = prometheus.ask('canopsis_alarms_open{state="critical", acknowledged="false", snoozed="false"}')
    assert [each["value"][1] for each in found] == ["1"]
    assert {each["metric"]["server"] for each in prometheus.ask("canopsis_server_up == 1")} == {
        "mongodb",
        "rabbitmq-server",
    }
    eventually(lambda: {each["health"] for each in prometheus.rules()} == {"ok"})
    assert web.get("/metrics", None).status == 401


def test_the_rules_are_good() -> None:
    command = [str(locate("prometheus", "bin/promtool")), "check", "rules", str(RULES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
