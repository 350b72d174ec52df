"""A whole host: started and stopped in order, and recovered after a killed supervisord."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from scratch_host import LISTEN, SERVICES, WAIT, Host
from servers import free_port

from canopsis.errors import ConfigError
from canopsis.ops import daemon, orphans, programs, services, site
from canopsis.ops.wait import until

STAMP = """
import pathlib, signal, sys, time
def note(what):
    with open({log!r}, "a") as file:
        file.write(f"{{what}} {name}\\n")
def end(*_):
    note("end")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
note("begin")
while True:
    signal.pause()
"""

DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""

QUIT = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
# supervisord is dead when the signal comes: nothing can be printed to it.
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(open(__file__ + ".quit", "w").close()))
print("up", flush=True)
signal.pause()
"""

PARENT = f"""
import signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", {WAIT!r}], start_new_session=True)
signal.pause()
"""


def stamped(host: Host) -> Path:
    """Give every program of ``host`` a code that notes its begin and its end; return the notes.

    Each counts as running after a second only, or a section would not wait for the one before.
    """
    log = host.prefix.path / "notes"
    for name in SERVICES:
        host.program(name, STAMP.format(log=str(log), name=name), autostart=False, startsecs=1)
    (host.prefix.path / "etc/mongodb.conf").unlink()
    return log


def notes(log: Path, what: str) -> list[str]:
    return [line.split()[1] for line in log.read_text().splitlines() if line.startswith(what)]


def test_start_runs_everything(site: Host) -> None:
    assert site_start(site)
    assert site.pids().keys() == SERVICES
    assert [line for line in site.said if line.startswith("Starting ")] == [
        "Starting backend: mongodb, rabbitmq-server",
        "Starting middleware: amqp2engines",
        "Starting frontend: webserver",
    ]


def site_start(host: Host) -> bool:
    return site.start(host.prefix, host.say)


def test_start_twice_leaves_everything_alone(site: Host) -> None:
    assert site_start(site)
    before = site.pids(), site.supervisord()
    site.said.clear()
    assert site_start(site)
    assert (site.pids(), site.supervisord()) == before
    assert sum("already running" in line for line in site.said) == len(SERVICES)


def test_stop_ends_everything_and_supervisord(site: Host) -> None:
    site_start(site)
    assert stop(site)
    assert site.pids() == {}
    assert not daemon.answers(site.prefix)
    site.said.clear()
    assert stop(site)
    assert sum("already stopped" in line for line in site.said) == len(SERVICES)


def stop(host: Host) -> bool:
    return site.stop(host.prefix, host.say)


def test_sections_start_in_order_and_stop_in_reverse(site: Host) -> None:
    log = stamped(site)
    assert site_start(site)
    assert until(lambda: log.exists() and len(notes(log, "begin")) == len(SERVICES), 60)
    told = (site.prefix.log / "supervisord.log").read_text()
    begun = re.findall(r"(?:spawned: '|success: )([^' ]+)", told)
    sections = [{"mongodb", "rabbitmq-server"}, {"engine-cleaner", "engine-worker"}, {"webserver"}]
    assert [set(part) for part in (begun[:4], begun[4:8], begun[8:])] == sections, told
    assert stop(site)
    ended = notes(log, "end")
    assert ended[0] == "webserver"
    assert set(ended[3:]) == {"mongodb", "rabbitmq-server"}


def test_a_failed_section_ends_the_start(site: Host) -> None:
    site.program("rabbitmq-server", "raise SystemExit('port taken')", startsecs=10, startretries=0, autostart=False)
    for name in ("webserver", "engine-cleaner", "engine-worker"):
        site.program(name, autostart=False)
    assert not site_start(site)
    assert any(line.startswith("  OK  mongodb: ") for line in site.said)
    (failure,) = [line for line in site.said if line.startswith("  KO  ")]
    assert "rabbitmq-server does not come up" in failure
    assert "| port taken" in failure
    assert site.pids().keys() == {"mongodb"}


def test_a_service_without_a_program_file_is_refused_before_anything_starts(site: Host) -> None:
    site.write("etc/hypcontrol.conf", "[backend]\nservices = mongodb\n[frontend]\nservices = webservr\n")
    with pytest.raises(
        ConfigError, match=r"\[frontend\] services: webservr has no program file.*did you mean webserver\?"
    ):
        site_start(site)
    assert not daemon.answers(site.prefix)


def test_a_host_names_only_its_own_services(site: Host) -> None:
    site.write("etc/hypcontrol.conf", "[backend]\nservices = mongodb\n")
    for name in SERVICES - {"mongodb"}:
        site.program(name, autostart=False)
    assert site_start(site)
    assert site.pids().keys() == {"mongodb"}


class TestKilledSupervisord:
    """kill -9 of supervisord leaves its programs running; nothing may ever run twice."""

    def test_start_recovers_without_a_second_copy(self, site: Host) -> None:
        site_start(site)
        before, old = site.pids(), site.supervisord()
        site.kill_supervisord()
        assert site.pids() == before
        assert site_start(site)
        after = site.pids()
        assert site.supervisord() != old
        assert after.keys() == SERVICES
        assert all(len(pids) == 1 for pids in after.values())
        assert not {pid for pids in before.values() for pid in pids} & {pid for pids in after.values() for pid in pids}

    def test_the_database_ends_cleanly_and_after_the_others(self, site: Host) -> None:
        log = stamped(site)
        site_start(site)
        assert until(lambda: log.exists() and len(notes(log, "begin")) == len(SERVICES), 60)
        site.kill_supervisord()
        site_start(site)
        ended = notes(log, "end")
        assert set(ended[:3]) == {"engine-cleaner", "engine-worker", "webserver"}
        assert set(ended[3:]) == {"mongodb", "rabbitmq-server"}

    def test_status_tells_what_was_left(self, site: Host) -> None:
        site_start(site)
        site.kill_supervisord()
        assert {state.state for state in services.status(site.prefix)} == {"ORPHAN"}
        assert not any(state.ok for state in services.status(site.prefix))

    def test_stop_ends_what_was_left(self, site: Host) -> None:
        site_start(site)
        site.kill_supervisord()
        assert services.stop(site.prefix, "webserver", site.say)[0].changed
        assert site.pids().keys() == SERVICES - {"webserver"}
        assert stop(site)
        assert site.pids() == {}

    def test_one_that_ignores_its_signal_is_killed(self, host: Host) -> None:
        host.program("collectd", DEAF, stopwaitsecs=1)
        services.start(host.prefix, "collectd", host.say)
        assert until(lambda: "up" in (host.prefix.log / "collectd.log").read_text(), 60)
        old = host.pids()["collectd"]
        host.kill_supervisord()
        services.start(host.prefix, "collectd", host.say)
        assert host.pids()["collectd"] != old
        assert len(host.pids()["collectd"]) == 1

    def test_the_stop_signal_of_the_file_is_used(self, host: Host) -> None:
        # supervisord is dead when the signal comes, so the program may not write to it.
        host.program("collectd", QUIT, stopsignal="QUIT")
        services.start(host.prefix, "collectd", host.say)
        assert until(lambda: "up" in (host.prefix.log / "collectd.log").read_text(), 60)
        host.kill_supervisord()
        assert orphans.end(host.prefix, programs.read_all(host.prefix), host.say) == ["collectd"]
        assert (host.prefix.path / "opt/collectd.py.quit").exists()

    def test_what_a_program_had_started_goes_too(self, host: Host) -> None:
        host.program("rabbitmq-server", PARENT)
        services.start(host.prefix, "rabbitmq-server", host.say)
        assert until(lambda: len(host.pids().get("rabbitmq-server", [])) == 2, 60)
        host.kill_supervisord()
        heads = orphans.heads(orphans.find(host.prefix))
        assert len(heads) == 1
        services.start(host.prefix, "rabbitmq-server", host.say)
        assert until(lambda: len(host.pids().get("rabbitmq-server", [])) == 2, 60)

    def test_other_sites_are_left_alone(self, host: Host, site: Host) -> None:
        assert host is site
        other = Host(type(host.prefix)(Path(f"{host.prefix.path}-other")))
        shutil.copytree(host.prefix.path, other.prefix.path)
        try:
            port = free_port()
            other.program("mongodb", LISTEN.format(port=port))
            other.write("etc/mongodb.conf", f"port = {port}\n")
            site_start(host)
            site_start(other)
            kept = other.pids()
            host.kill_supervisord()
            assert site_start(host)
            assert other.pids() == kept
        finally:
            daemon.shutdown(other.prefix, other.say)
            shutil.rmtree(other.prefix.path)


class TestCommand:
    """The command itself, as a process with an exit code."""

    def test_a_day_of_a_host(self, site: Host) -> None:
        assert site.command("hypcontrol", "status").returncode == 1
        assert site.command("hypcontrol", "start").returncode == 0
        assert site.command("hypcontrol", "start").returncode == 0
        status = site.command("hypcontrol", "status", "--json")
        assert status.returncode == 0
        assert {state["program"] for state in json.loads(status.stdout)} == SERVICES
        before = site.pids()
        restarted = site.command("hypcontrol", "restart")
        assert restarted.returncode == 0
        assert restarted.stdout.index("Stopping frontend") < restarted.stdout.index("Starting backend")
        assert site.pids().keys() == before.keys()
        assert site.pids() != before
        assert site.command("hypcontrol", "stop").returncode == 0
        assert site.command("hypcontrol", "stop").returncode == 0
        assert site.command("hypcontrol", "status").returncode == 1

    def test_kill_and_recover(self, site: Host) -> None:
        site.command("hypcontrol", "start")
        site.kill_supervisord()
        done = site.command("hypcontrol", "start")
        assert done.returncode == 0, done.stderr
        assert "left behind by an earlier supervisord: engine-cleaner, engine-worker, mongodb" in done.stdout
        assert all(len(pids) == 1 for pids in site.pids().values())

    def test_a_failure_has_exit_code_1(self, host: Host) -> None:
        host.write("etc/hypcontrol.conf", "[frontend]\nservices = webserver\n")
        host.program("webserver", "raise SystemExit('broken')", startsecs=10, startretries=0)
        done = host.command("hypcontrol", "start")
        assert done.returncode == 1
        assert "  KO  webserver does not come up" in done.stdout

    def test_wrong_usage_and_configuration_have_exit_code_2(self, site: Host) -> None:
        assert site.command("hypcontrol").returncode == 2
        assert site.command("hypcontrol", "explode").returncode == 2
        site.write("etc/hypcontrol.conf", "[backend]\nservice = mongodb\n")
        done = site.command("hypcontrol", "start")
        assert done.returncode == 2
        assert done.stderr == (
            "error: etc/hypcontrol.conf [backend] service: unknown key; "
            "allowed keys: services; did you mean services?\n"
        )
