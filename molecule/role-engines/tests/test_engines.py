"""The role engines: the chain runs, and its queues are there."""

from __future__ import annotations

import json
from typing import Any

import site_hosts as site

QUEUES = (
    f"{site.AS_USER} {site.PREFIX}/bin/rabbitmqctl --silent list_queues -p canopsis name consumers --formatter json"
)


def test_every_process_of_the_chain_runs(host: Any) -> None:
    states = site.programs(host)
    assert set(states) == {"mongodb", "rabbitmq-server", "engine-cleaner", "engine-worker", "engine-sender"}
    assert set(states.values()) == {"RUNNING"}


def test_every_queue_has_somebody_who_takes_from_it(host: Any) -> None:
    consumers = {queue["name"]: queue["consumers"] for queue in json.loads(host.check_output(QUEUES))}
    partitions = [f"Engine_event_filter.{number:02}" for number in range(8)]
    wanted = ["Engine_collectdgw", "Engine_cleaner_events", "Engine_dead_letters", *partitions]
    assert sorted(consumers) == sorted(wanted)
    assert [name for name in wanted if not consumers[name]] == []


def test_the_database_has_the_shape_of_this_release(host: Any) -> None:
    done = host.run(f"{site.AS_USER} {site.PREFIX}/bin/canopsis migrate --json")
    assert done.rc == 0, done.stderr
    assert json.loads(done.stdout)["changed"] is False


def test_a_killed_engine_comes_back(host: Any) -> None:
    assert host.run(f"{site.AS_USER} {site.CONTROL} signal KILL engine-worker").rc == 0
    done = host.run(f"{site.AS_USER} {site.PREFIX}/bin/hypcontrol start")
    assert done.rc == 0, done.stdout + done.stderr
    assert site.programs(host)["engine-worker"] == "RUNNING"


def test_the_chain_holds_no_secret_and_is_not_writable_by_others(host: Any) -> None:
    chain = host.file(f"{site.PREFIX}/etc/amqp2engines.conf")
    assert (chain.user, chain.mode) == ("canopsis", 0o644)
    assert "password" not in chain.content_string
