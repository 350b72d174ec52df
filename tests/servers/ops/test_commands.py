"""Every command over a real chain: an event goes in, an alarm comes out, an operator looks at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from full_site import KEY, Site, lay, prepare
from scratch_host import SUPERVISORD, Host
from servers import HOST, MongoDB, RabbitMQ, eventually

from canopsis.ops import daemon, processes
from canopsis.ops.prefix import Prefix
from canopsis.transport.connection import connect
from canopsis.transport.publisher import ConfirmingPublisher

ROOT = Path(__file__).resolve().parents[3]
_MODULE = """
import json, sys
import canopsis_user
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.loads(sys.argv[1])):
    canopsis_user.main()
"""


@pytest.fixture(scope="module")
def full_site(rabbitmq: RabbitMQ, mongodb: MongoDB) -> Iterator[Site]:
    """One site for all tests here."""
    folder = Path(tempfile.mkdtemp(prefix="site-"))
    host = Host(Prefix(folder))
    host.write("supervisord.conf", SUPERVISORD)
    host.prefix.log.mkdir(parents=True)
    host.prefix.run.mkdir(parents=True)
    site = lay(host, rabbitmq, mongodb)
    try:
        prepare(site)
        yield site
    finally:
        daemon.shutdown(host.prefix, host.say)
        shutil.rmtree(folder)


def plugin(state: int, text: str) -> list[str]:
    return ["--", sys.executable, "-c", f"print({text!r}); raise SystemExit({state})"]


def test_the_configuration_is_right(full_site: Site) -> None:
    assert full_site.json("main", "config", "check") == {"good": True, "problems": []}


def test_migrating_and_making_users_again_changes_nothing(full_site: Site) -> None:
    assert full_site.json("main", "migrate")["changed"] is False
    key = str(full_site.host.prefix.path / "key")
    again = full_site.json("main", "user", "ensure", "admin", "--role", "admin", "--authkey-file", key)
    assert again == {"user": "admin", "changed": False}
    assert [user["name"] for user in full_site.json("main", "user", "list")] == ["admin"]


def test_status(full_site: Site) -> None:
    told = full_site.json("main", "status")
    assert told["healthy"]
    assert {program["program"] for program in told["programs"]} == {"engine-cleaner", "engine-worker", "webserver"}
    assert {engine["process"] for engine in told["api"]["engines"]} == {"cleaner", "worker"}
    assert full_site.run("main", "status").endswith("all is well\n")


def test_a_check_opens_an_alarm_and_closes_it(full_site: Site) -> None:
    where = ("check", "--component", "web1", "--resource", "disk")
    said = full_site.run("main", *where, *plugin(2, "DISK CRITICAL - full | /=95%;80;90"))
    assert "web1/disk: CRITICAL - DISK CRITICAL - full" in said
    eventually(lambda: full_site.alarms_of("web1"))
    (alarm,) = full_site.alarms_of("web1")
    assert (alarm["state"], alarm["output"]) == (2, "DISK CRITICAL - full")
    shown = full_site.run("main", "alarms", "--component", "web1")
    assert "CRITICAL  ongoing" in shown
    metrics = "/api/v1/metrics?entity_id=resource:web1/disk"
    eventually(lambda: full_site.json_of_api("GET", metrics)["total"] == 1)
    full_site.run("main", *where, *plugin(0, "DISK OK | /=5%;80;90"))
    eventually(lambda: full_site.alarms_of("web1", "--show", "resolved"))
    assert full_site.alarms_of("web1") == []


def test_an_operator_acknowledges_through_send_event(full_site: Site) -> None:
    full_site.run("send_event", "--component", "web2", "--state", "1", "--output", "slow")
    eventually(lambda: full_site.alarms_of("web2"))
    full_site.run("send_event", "--event-type", "ack", "--component", "web2", "--author", "alice", "--output", "on it")
    eventually(lambda: full_site.alarms_of("web2", "--acked"))
    assert "alice" in full_site.run("main", "alarms", "--component", "web2")


def test_the_api_by_hand(full_site: Site) -> None:
    body = json.dumps({"connector": "c", "connector_name": "n", "event_type": "check", "component": "web3", "state": 1})
    full_site.json_of_api("POST", "/api/v1/events", "--data", body)
    eventually(lambda: full_site.alarms_of("web3"))
    (alarm,) = full_site.alarms_of("web3")
    full_site.json_of_api("POST", f"/api/v1/alarms/{alarm['_id']}/comment", "--data", '{"message": "é"}')
    path = f"/api/v1/alarms/{alarm['_id']}"
    eventually(lambda: any(s["type"] == "comment" for s in full_site.json_of_api("GET", path)["data"][0]["steps"]))


def test_many_events_with_some_refused(full_site: Site) -> None:
    lines = [{"component": f"many{number}", "state": 7 if number % 10 == 0 else 0} for number in range(50)]
    path = full_site.host.write("events.json", "\n".join(map(json.dumps, lines)))
    done = full_site.host.command("send_event", "--json", str(path))
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["index"] for result in results if result["status"] == "refused"] == [0, 10, 20, 30, 40]
    assert all(result["field"] == "state" for result in results if result["status"] == "refused")
    entities = "/api/v1/entities?search=many&limit=100"
    eventually(lambda: full_site.json_of_api("GET", entities)["total"] == 45)


def test_a_dead_letter_is_listed_shown_and_replayed(full_site: Site, rabbitmq: RabbitMQ) -> None:
    connection = connect(rabbitmq.settings())
    publisher = ConfirmingPublisher(connection)
    publisher.send("canopsis.events", "nonsense", b'{"component": ')
    publisher.flush(50)
    connection.close()
    eventually(lambda: full_site.json("main", "dead-letters", "list"))
    (letter,) = full_site.json("main", "dead-letters", "list")
    assert letter["_id"] in full_site.run("main", "dead-letters", "list")
    assert full_site.json("main", "dead-letters", "show", letter["_id"])["body"] == '{"component": '
    assert full_site.run("main", "dead-letters", "replay", letter["_id"]) == f"{letter['_id']}: replayed\n"
    assert full_site.host.command("main", "dead-letters", "show", "nothing").returncode == 1


def test_a_killed_engine_comes_back(full_site: Site) -> None:
    (old,) = full_site.host.pids()["engine-worker"]
    processes.end([old], signal.SIGKILL, 10)
    eventually(lambda: full_site.host.pids().get("engine-worker", [old]) != [old])
    full_site.run("send_event", "--component", "web5", "--state", "2")
    eventually(lambda: full_site.alarms_of("web5"), 60)
    eventually(lambda: full_site.host.command("main", "status").returncode == 0, 60)


def test_a_killed_supervisord_is_recovered_without_a_second_copy(full_site: Site) -> None:
    full_site.host.kill_supervisord()
    told = full_site.json("main", "status", fine=(1,))
    assert any("ORPHAN" in problem and "do: hypcontrol start" in problem for problem in told["problems"])
    full_site.run("hypcontrol", "start")
    cleaner = full_site.host.pids()["engine-cleaner"]
    assert len(cleaner) == 1
    assert len(full_site.host.pids()["engine-worker"]) == 1
    full_site.run("send_event", "--component", "web6", "--state", "2")
    eventually(lambda: full_site.alarms_of("web6"), 60)


@contextmanager
def key_of_commands(site: Site, key: str) -> Iterator[Path]:
    """Have another key in client.conf for a while; give that file."""
    path = site.host.prefix.etc("client.conf")
    good = path.read_text()
    path.write_text(good.replace(KEY, key))
    try:
        yield path
    finally:
        path.write_text(good)


def have_user(site: Site, **wanted: str) -> dict[str, object]:
    """Have a user as the roles do; return what the module says."""
    words = [sys.executable, "-c", _MODULE, json.dumps({"prefix": str(site.host.prefix.path), **wanted})]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins/modules'}"}
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_g4_who_has_the_key_of_a_brokers_host_is_an_operator(full_site: Site) -> None:
    key = 64 * "f"
    wanted = {"name": "commands", "role": "operator", "authkey": key}
    assert [have_user(full_site, **wanted)["changed"] for _ in range(2)] == [True, False]
    (letter, *_) = full_site.json("main", "dead-letters", "list")
    with key_of_commands(full_site, key):
        full_site.run("send_event", "--component", "web7", "--state", "2")
        eventually(lambda: full_site.alarms_of("web7"))
        assert full_site.run("main", "status").endswith("all is well\n")
        done = full_site.host.command("main", "dead-letters", "replay", letter["_id"])
    assert done.returncode == 1
    assert "admin" in done.stdout + done.stderr
    users = {user["name"]: user for user in full_site.json("main", "user", "list")}
    assert (users["commands"]["role"], users["commands"]["password"]) == ("operator", False)


def test_a_wrong_key_names_its_file(full_site: Site) -> None:
    with key_of_commands(full_site, "another-key-that-is-long") as path:
        done = full_site.host.command("main", "alarms")
    assert done.returncode == 1
    assert f"http://{HOST}:{full_site.web_port} refuses the authkey in {path}" in done.stderr


def test_a_stopped_web_server_is_told(full_site: Site) -> None:
    full_site.run("service", "webserver", "stop")
    done = full_site.host.command("main", "alarms")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "see: service webserver status" in done.stderr
    told = full_site.json("main", "status", fine=(3,))
    assert any("do: service webserver start" in problem for problem in told["problems"])
    full_site.run("service", "webserver", "start")
    assert full_site.alarms() is not None
