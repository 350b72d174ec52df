"""RabbitMQ 4 cannot mirror classic queues: no policy asks for it, and who does is refused before any change."""

from __future__ import annotations

import re
from typing import Any

import plays
import site_hosts as site


def test_no_policy_mirrors(host: Any) -> None:
    found = site.fingerprint(host)["definitions"]
    assert found["queues"], "nothing was seen"
    assert "ha-" not in str(found["policies"])


def test_mirrors_are_refused_on_all_hosts_before_any_change(hosts: dict[str, Any]) -> None:
    before = {name: site.fingerprint(host) for name, host in hosts.items()}
    refusal = plays.refuse("site.yml", "-e", "rabbitmq_ha_mode=classic")
    assert "Nothing was changed." in refusal and "rabbitmq_ha_mode" in refusal, refusal
    assert re.search(r"changed=[1-9]", refusal) is None
    assert [site.difference(before[name], site.fingerprint(host)) for name, host in hosts.items()] == [[], [], []]
