"""The role collectd: what it measures arrives at the broker."""

from __future__ import annotations

from typing import Any

import plays
import site_hosts as site

LISTEN = """
import sys
from kombu import Connection, Exchange, Queue
login = {'userid': 'engines', 'password': sys.argv[1], 'virtual_host': 'canopsis'}
with Connection('127.0.0.1', **login) as broker:
    topic = Exchange('amq.topic', 'topic', passive=True)
    queue = Queue('Engine_trial', topic, routing_key='collectd', auto_delete=True)
    seen = []
    with broker.Consumer(queue, callbacks=[lambda body, message: (seen.append(message), message.ack())], accept=None):
        while not seen:
            broker.drain_events(timeout=40)
print(seen[0].content_type, bytes(seen[0].body).decode())
"""


def test_both_programs_run(host: Any) -> None:
    assert site.programs(host) == {"rabbitmq-server": "RUNNING", "collectd": "RUNNING"}
    assert host.process.get(comm="collectd").user == "canopsis"


def test_a_measurement_arrives(host: Any, place: site.Place) -> None:
    secret = place.variables["rabbitmq_engines_password"]
    done = host.run(f"{site.PYTHON} - %s <<'END'\n{LISTEN}END\n", secret)
    assert done.rc == 0, done.stderr
    assert done.stdout.startswith(f"text/collectd PUTVAL {place.name}/"), done.stdout


def test_only_its_user_reads_its_password(host: Any) -> None:
    configuration = host.file(f"{site.PREFIX}/etc/collectd.conf")
    assert (configuration.user, configuration.mode) == ("canopsis", 0o640)
    assert host.file(f"{site.PREFIX}/etc/collectd.d").mode == 0o750


def test_a_stray_drop_in_is_taken_away(host: Any) -> None:
    stray = f"{site.PREFIX}/etc/collectd.d/stray.conf"
    assert host.run(f"{site.AS_USER} touch {stray}").rc == 0
    plays.succeed("molecule/role-collectd/converge.yml")
    assert not host.file(stray).exists
    assert set(site.programs(host).values()) == {"RUNNING"}
