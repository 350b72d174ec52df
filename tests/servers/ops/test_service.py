"""One service at a time, over a real supervisord."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scratch_host import LISTEN, WAIT, Host
from servers import free_port

from canopsis.errors import InputError, SiteError
from canopsis.ops import daemon, processes, services
from canopsis.ops.supervisor import Supervisor
from canopsis.ops.wait import until


def test_start_starts_supervisord_and_the_service(host: Host) -> None:
    host.program("collectd")
    (outcome,) = services.start(host.prefix, "collectd", host.say)
    assert outcome.changed
    assert outcome.text.startswith("collectd: running (pid ")
    assert "starting supervisord" in host.said
    (pid,) = host.pids()["collectd"]
    assert f"(pid {pid}," in outcome.text


def test_d5_logs_are_for_the_user_and_the_group(host: Host) -> None:
    script = "import os, signal; open('var/log/own.log', 'w').close(); os.makedirs('var/log/more'); signal.pause()"
    host.program("collectd", script, directory=host.prefix.path)
    before = os.umask(0)
    try:
        services.start(host.prefix, "collectd", host.say)
        assert until((host.prefix.log / "more").is_dir, 20)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in host.prefix.log.iterdir()}
    files = {"supervisord.log", "keeper.log", "collectd.log", "own.log"}
    assert modes == dict.fromkeys(files, 0o640) | {"more": 0o750}


def test_start_twice_changes_nothing(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    before = host.pids(), host.supervisord()
    (again,) = services.start(host.prefix, "collectd", host.say)
    assert not again.changed
    assert again.text.startswith("collectd: already running")
    assert (host.pids(), host.supervisord()) == before


def test_stop_and_stop_again(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    (stopped,) = services.stop(host.prefix, "collectd", host.say)
    assert stopped.changed
    assert host.pids() == {}
    (again,) = services.stop(host.prefix, "collectd", host.say)
    assert again.text == "collectd: already stopped"


def test_stop_without_supervisord_does_not_start_it(host: Host) -> None:
    host.program("collectd")
    (outcome,) = services.stop(host.prefix, "collectd", host.say)
    assert not outcome.changed
    assert not daemon.answers(host.prefix)


def test_restart_gives_a_new_process(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    before = host.pids()["collectd"]
    services.restart(host.prefix, "collectd", host.say)
    after = host.pids()["collectd"]
    assert len(after) == 1
    assert before != after


def test_all_engines_are_one_service(site: Host) -> None:
    outcomes = services.start(site.prefix, "amqp2engines", site.say)
    assert [outcome.program for outcome in outcomes] == ["engine-cleaner", "engine-worker"]
    assert {"engine-cleaner", "engine-worker"} <= site.pids().keys()
    services.stop(site.prefix, "engine-cleaner", site.say)
    assert [state.ok for state in services.status(site.prefix, "amqp2engines")] == [False, True]


def test_no_engine_is_told(host: Host) -> None:
    host.program("collectd")
    with pytest.raises(SiteError, match=r"no engine-\* program in etc/engines/"):
        services.start(host.prefix, "amqp2engines", host.say)


def test_a_failing_program_shows_the_end_of_its_log(host: Host) -> None:
    host.program("webserver", "import sys; print('line one'); sys.exit('no such table: users')", startsecs=10)
    with pytest.raises(SiteError) as caught:
        services.start(host.prefix, "webserver", host.say)
    text = str(caught.value)
    assert "webserver does not come up: " in text
    assert "(3 attempts)" in text
    assert f"log: {host.prefix.log / 'webserver.log'}, which ends with:" in text
    assert "    | no such table: users" in text


def test_a_failing_program_that_supervisord_gives_up(host: Host) -> None:
    host.program("webserver", "raise SystemExit('gone for good')", startsecs=10, startretries=0)
    with pytest.raises(SiteError, match=r"FATAL.*Exited too quickly(.|\n)*gone for good"):
        services.start(host.prefix, "webserver", host.say)


def test_a_failed_program_starts_once_it_is_mended(host: Host) -> None:
    host.program("webserver", "raise SystemExit(1)", startsecs=5)
    with pytest.raises(SiteError):
        services.start(host.prefix, "webserver", host.say)
    host.write("opt/webserver.py", WAIT)
    (outcome,) = services.start(host.prefix, "webserver", host.say)
    assert outcome.changed
    assert len(host.pids()["webserver"]) == 1


def test_a_program_that_ends_by_itself_has_failed(host: Host) -> None:
    host.program("mongodb", "print('nothing to do')", autorestart="false")
    host.write("etc/mongodb.conf", f"port = {free_port()}\n")
    with pytest.raises(SiteError, match=r"mongodb does not come up: EXITED(.|\n)*nothing to do"):
        services.start(host.prefix, "mongodb", host.say)


def test_a_missing_command_is_named(host: Host) -> None:
    host.program("collectd", command="/nowhere/collectd -f", autostart=False)
    with pytest.raises(SiteError, match=r"collectd: supervisord refuses.*/nowhere/collectd"):
        services.start(host.prefix, "collectd", host.say)


def test_a_program_that_runs_but_does_not_answer_is_not_ready(host: Host) -> None:
    port = free_port()
    host.program("mongodb")
    host.write("etc/mongodb.conf", f"net:\n  port: {port}\n")
    with pytest.raises(
        SiteError, match=rf"after 1 s: mongodb does not come up: RUNNING, 127.0.0.1:{port}: Connection refused"
    ):
        services.start(host.prefix, "mongodb", host.say, timeout=1)


def test_readiness_is_awaited(host: Host) -> None:
    gate, port = host.prefix.path / "gate", free_port()
    wait = f"import pathlib, select\nwhile not pathlib.Path({str(gate)!r}).exists(): select.select([], [], [], 0.02)\n"
    host.program("mongodb", wait + LISTEN.format(port=port))
    host.write("etc/mongodb.conf", f"port = {port}\n")
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(services.start, host.prefix, "mongodb", host.say)
        assert until(lambda: daemon.answers(host.prefix), 60)
        assert until(lambda: services.status(host.prefix, "mongodb")[0].ok, 60)
        assert not starting.done()
        gate.touch()
        assert starting.result(60)[0].changed


def test_status_starts_nothing(site: Host) -> None:
    states = services.status(site.prefix)
    assert {state.state for state in states} == {"STOPPED"}
    assert len(states) == 5
    assert not daemon.answers(site.prefix)


def test_status_of_a_killed_program_is_told_until_it_is_back(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    (old,) = host.pids()["collectd"]
    processes.end([old], signal.SIGKILL, 5)
    assert until(lambda: services.status(host.prefix, "collectd")[0].ok and host.pids().get("collectd"), 60)
    assert host.pids()["collectd"] != [old]


def test_an_unknown_service_names_the_nearest(host: Host) -> None:
    host.program("mongodb")
    with pytest.raises(InputError, match=r"service: 'mongo' is refused.*did you mean mongodb\?"):
        services.status(host.prefix, "mongo")


def test_a_new_program_file_is_noticed(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    host.program("webserver", autostart=False)
    assert services.status(host.prefix, "webserver")[0].description == "new, not in effect yet; start it"
    services.start(host.prefix, "webserver", host.say)
    assert host.pids().keys() == {"collectd", "webserver"}


def test_a_changed_file_waits_for_a_restart(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    host.program("collectd", environment="COLOUR=blue")
    (outcome,) = services.start(host.prefix, "collectd", host.say)
    assert outcome.text.endswith("its file has changed: restart it to put that into effect")
    services.restart(host.prefix, "collectd", host.say)
    (pid,) = host.pids()["collectd"]
    assert b"COLOUR=blue" in (processes.PROC / str(pid) / "environ").read_bytes()


def test_a_removed_file_takes_its_stopped_program_away(site: Host) -> None:
    services.start(site.prefix, "amqp2engines", site.say)
    (site.prefix.path / "etc/engines/cleaner.conf").unlink()
    services.restart(site.prefix, "amqp2engines", site.say)
    assert [
        program.name for program in Supervisor(site.prefix.socket).programs() if program.name.startswith("engine-")
    ] == ["engine-worker"]


def test_a_broken_program_file_is_told(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    host.program("webserver", startsecs="soon")
    with pytest.raises(
        SiteError, match=r"supervisord cannot read its configuration: .*'soon' in section 'program:webserver'"
    ):
        services.start(host.prefix, "webserver", host.say)


def test_two_starts_at_once_make_one_supervisord(site: Host) -> None:
    gate = threading.Barrier(4)

    def start(name: str) -> None:
        gate.wait()
        services.start(site.prefix, name, site.say)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, ("mongodb", "webserver", "rabbitmq-server", "webserver")))
    assert len(daemon.all_running(site.prefix)) == 1
    assert site.said.count("starting supervisord") == 1
    assert all(len(pids) == 1 for pids in site.pids().values())


def test_supervisord_that_cannot_start_says_why(host: Host) -> None:
    host.program("collectd", startsecs="soon")
    with pytest.raises(
        SiteError, match=r"supervisord does not come up: .*'soon' in section 'program:collectd'(.|\n)*log: "
    ):
        services.start(host.prefix, "collectd", host.say)


def test_a_missing_supervisord_conf_is_told(host: Host) -> None:
    host.program("collectd")
    host.prefix.supervisord_conf.unlink()
    with pytest.raises(SiteError, match=r"supervisord\.conf is missing: site.yml writes it"):
        services.start(host.prefix, "collectd", host.say)


def test_a_stale_pid_file_and_socket_do_not_matter(host: Host) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    services.stop(host.prefix, "collectd", host.say)
    host.kill_supervisord()
    host.prefix.pid_file.write_text(f"{os.getpid()}\n")
    assert host.prefix.socket.exists()
    services.start(host.prefix, "collectd", host.say)
    assert int(host.prefix.pid_file.read_text()) == host.supervisord()


def test_a_hanging_supervisord_is_told_not_doubled(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    pid = host.supervisord()
    host.prefix.socket.rename(host.prefix.run / "moved.sock")
    monkeypatch.setattr(daemon, "_PATIENCE", 0.3)
    try:
        with pytest.raises(SiteError, match=rf"pid {pid}\) runs but does not answer on .*kill -9 {pid}"):
            services.start(host.prefix, "collectd", host.say)
    finally:
        (host.prefix.run / "moved.sock").rename(host.prefix.socket)


class TestCommand:
    """The command itself, as a process with an exit code."""

    def test_start_status_stop(self, host: Host) -> None:
        host.program("collectd")
        started = host.command("service", "collectd", "start")
        assert (started.returncode, started.stderr) == (0, "")
        assert "collectd: running (pid " in started.stdout
        assert "already running" in host.command("service", "collectd", "start").stdout
        status = host.command("service", "collectd", "status")
        assert status.returncode == 0
        assert "RUNNING" in status.stdout
        assert host.command("service", "collectd", "restart").returncode == 0
        assert host.command("service", "collectd", "stop").returncode == 0
        assert host.command("service", "collectd", "status").returncode == 1

    def test_status_all_as_json(self, site: Host) -> None:
        done = host_status = site.command("service", "--status-all", "--json")
        assert done.returncode == 1
        states = json.loads(host_status.stdout)
        assert [state["program"] for state in states] == [
            "engine-cleaner",
            "engine-worker",
            "mongodb",
            "rabbitmq-server",
            "webserver",
        ]
        assert not any(state["ok"] for state in states)

    def test_a_failure_has_exit_code_1_and_the_log(self, host: Host) -> None:
        host.program("webserver", "raise SystemExit('broken')", startsecs=10, startretries=0)
        done = host.command("service", "webserver", "start")
        assert done.returncode == 1
        assert done.stderr.startswith("error: webserver does not come up")
        assert "| broken" in done.stderr

    def test_wrong_usage_has_exit_code_2(self, host: Host) -> None:
        host.program("webserver")
        assert host.command("service", "webserver").returncode == 2
        assert host.command("service", "webserver", "explode").returncode == 2
        unknown = host.command("service", "web", "start")
        assert unknown.returncode == 2
        assert "did you mean webserver?" in unknown.stderr

    def test_json_of_a_start_is_clean(self, host: Host) -> None:
        host.program("webserver")
        done = host.command("service", "webserver", "start", "--json")
        (outcome,) = json.loads(done.stdout)
        assert outcome["program"] == "webserver"
        assert "starting supervisord" in done.stderr


def test_f5_services_hear_nothing_of_who_types_the_command(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same environment as at boot, for the keeper too."""
    ours = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "PYTHONPATH", "CANOPSIS_PREFIX", "CANOPSIS_AUTOSTART"}
    for name in ("RABBITMQ_NODENAME", "ERL_FLAGS", "PYTHONHASHSEED", "LD_LIBRARY_PATH", "TMPDIR", "https_proxy", "TZ"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PATH", f"/nowhere:{os.environ['PATH']}")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    (pid,), (keeper,) = host.pids()["collectd"], host.keepers()
    for each in (pid, keeper):
        heard = next(found.environment for found in processes.all_processes() if found.pid == each)
        assert {name for name in heard if not name.startswith("SUPERVISOR_")} <= ours
        assert "/nowhere" not in heard["PATH"]
        assert heard["LANG"] == "C.UTF-8"
