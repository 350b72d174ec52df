"""Verdicts about programs on their way up, their logs, and the plan of a whole host."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from ops_scratch import write

from canopsis.errors import ConfigError, SiteError
from canopsis.ops import probes, services, site
from canopsis.ops.prefix import Prefix
from canopsis.ops.programs import ProgramFile
from canopsis.ops.services import Outcome, Watch
from canopsis.ops.site import Result, Step
from canopsis.ops.supervisor import Program

RUNNING = Program("web", "web", "RUNNING", "pid 5, uptime 0:00:02", pid=5, start=100, now=102)
SECTIONS = [("backend", ("mongodb", "rabbitmq-server")), ("middleware", ()), ("frontend", ("webserver",))]
KNOWN = ["amqp2engines", "mongodb", "rabbitmq-server", "webserver"]


@pytest.fixture
def watch(prefix: Prefix) -> Watch:
    prefix.log.mkdir(parents=True)
    file = ProgramFile("web", prefix.etc("supervisord.d/web.conf"), "gunicorn")
    return Watch(prefix, file, was_running=False, stale=False)


class TestVerdict:
    def test_running_without_a_probe_is_ready(self, watch: Watch) -> None:
        assert watch.verdict(RUNNING, None)

    def test_running_waits_for_its_probe(self, watch: Watch) -> None:
        assert not watch.verdict(RUNNING, lambda: "127.0.0.1:1: Connection refused")
        assert watch.missing == "127.0.0.1:1: Connection refused"
        assert watch.verdict(RUNNING, lambda: "")

    @pytest.mark.parametrize("state", ["STARTING", "STOPPED", "STOPPING"])
    def test_on_its_way(self, watch: Watch, state: str) -> None:
        assert not watch.verdict(replace(RUNNING, state=state), None)
        assert watch.missing == f"it is {state}"

    @pytest.mark.parametrize("state", ["FATAL", "UNKNOWN"])
    def test_given_up(self, watch: Watch, state: str) -> None:
        with pytest.raises(SiteError, match=f"web does not come up: {state}, why not"):
            watch.verdict(replace(RUNNING, state=state, error="why not"), None)

    def test_three_attempts_are_enough(self, watch: Watch) -> None:
        for start in (100, 100, 101, 101):
            assert not watch.verdict(replace(RUNNING, state="BACKOFF", start=start), None)
        with pytest.raises(SiteError, match=r"BACKOFF \(3 attempts\)"):
            watch.verdict(replace(RUNNING, state="BACKOFF", start=103), None)

    def test_a_program_that_runs_for_a_moment_again_and_again_has_failed(self, watch: Watch) -> None:
        for start in (100, 101, 102):
            assert not watch.verdict(replace(RUNNING, start=start), lambda: "port closed")
        with pytest.raises(SiteError, match=r"RUNNING \(4 attempts\), port closed"):
            watch.verdict(replace(RUNNING, start=103), lambda: "port closed")

    def test_exited_for_a_moment_may_come_back(self, watch: Watch) -> None:
        exited = replace(RUNNING, state="EXITED", stop=101, now=101)
        assert not watch.verdict(exited, None)
        assert watch.verdict(RUNNING, None)

    def test_exited_for_good(self, watch: Watch) -> None:
        with pytest.raises(SiteError, match="EXITED"):
            watch.verdict(replace(RUNNING, state="EXITED", stop=100, now=102), None)


class TestOutcome:
    def test_started(self, watch: Watch) -> None:
        assert watch.outcome(RUNNING, 1.234) == Outcome("web", "web: running (pid 5, 1.2 s)", True, 1.234)

    def test_already_running(self, watch: Watch) -> None:
        watch.was_running = True
        assert watch.outcome(RUNNING, 0.1) == Outcome("web", "web: already running (pid 5)", False)

    def test_a_changed_file_is_told(self, watch: Watch) -> None:
        watch.was_running = watch.stale = True
        assert watch.outcome(RUNNING, 0).text == (
            "web: already running (pid 5); its file has changed: restart it to put that into effect"
        )


class TestFailure:
    def test_without_a_log_the_command_is_named(self, watch: Watch) -> None:
        assert watch.failure(replace(RUNNING, state="FATAL", error="no such file")) == (
            "web does not come up: FATAL, no such file\n"
            "  it has written no log; its command is in etc/supervisord.d/web.conf"
        )

    def test_with_the_end_of_the_log(self, watch: Watch) -> None:
        log = watch.prefix.log / "web.log"
        log.write_text("".join(f"line {number}\n" for number in range(100)))
        lines = watch.failure(replace(RUNNING, state="FATAL", error="gone")).splitlines()
        assert lines[:2] == ["web does not come up: FATAL, gone", f"  log: {log}, which ends with:"]
        assert lines[2:] == [f"    | line {number}" for number in range(85, 100)]

    def test_a_program_that_runs_but_is_not_ready_says_what_is_missing(self, watch: Watch) -> None:
        watch.missing = "port closed"
        assert watch.failure(RUNNING).startswith("web does not come up: RUNNING, port closed")


class TestLogs:
    def test_the_newest_of_all_logs(self, watch: Watch) -> None:
        out, err, own = (watch.prefix.log / name for name in ("out.log", "err.log", "web.log"))
        program = replace(RUNNING, logs=(str(out), str(err)))
        assert services.newest_log(watch.prefix, watch.file, program) is None
        for age, path in enumerate((own, err, out)):
            path.write_text("x")
            os.utime(path, (1000 - age, 1000 - age))
        assert services.newest_log(watch.prefix, watch.file, program) == own
        os.utime(err, (2000, 2000))
        assert services.newest_log(watch.prefix, watch.file, program) == err

    def test_the_log_of_errors_goes_before_a_newer_one_when_this_start_wrote_to_it(self, watch: Watch) -> None:
        access, errors = watch.prefix.log / "web-access.log", watch.prefix.log / "web-errors.log"
        program = replace(RUNNING, start=1000, logs=(str(access), str(errors)), error_log=str(errors))
        for path, moment in ((access, 1050), (errors, 1001)):
            path.write_text("x")
            os.utime(path, (moment, moment))
        assert services.newest_log(watch.prefix, watch.file, program) == errors
        os.utime(errors, (900, 900))
        assert services.newest_log(watch.prefix, watch.file, program) == access

    def test_an_empty_log_says_nothing(self, watch: Watch) -> None:
        (watch.prefix.log / "web.log").touch()
        assert services.newest_log(watch.prefix, watch.file, RUNNING) is None

    def test_tail_of_a_large_binary_file(self, watch: Watch) -> None:
        path = watch.prefix.log / "big.log"
        path.write_bytes(b"\xff" * 100_000 + b"\n" + "é".encode() * 400 + b"\nlast\n")
        lines = services.tail(path, 2)
        assert lines == ["é" * 299 + "…", "last"]

    def test_tail_of_a_short_file(self, watch: Watch) -> None:
        path = watch.prefix.log / "short.log"
        path.write_text("one\ntwo")
        assert services.tail(path) == ["one", "two"]


class TestPlan:
    def test_sections_in_order_without_empty_ones(self) -> None:
        steps = site.plan(SECTIONS, KNOWN)
        assert steps == [Step("backend", ("mongodb", "rabbitmq-server")), Step("frontend", ("webserver",))]

    def test_backwards(self) -> None:
        steps = site.plan(SECTIONS, KNOWN)
        assert site.backwards(steps) == [
            Step("frontend", ("webserver",)),
            Step("backend", ("rabbitmq-server", "mongodb")),
        ]
        assert site.backwards(site.backwards(steps)) == steps

    def test_nothing_to_run(self) -> None:
        with pytest.raises(ConfigError, match=r"etc/hypcontrol.conf names no service: this host runs nothing"):
            site.plan([("backend", ())], KNOWN)

    def test_an_unknown_service(self) -> None:
        with pytest.raises(
            ConfigError, match=r"\[backend\] services: mongod has no program file; .*did you mean mongodb\?"
        ):
            site.plan([("backend", ("mongod",))], KNOWN)

    def test_results_keep_their_order_and_errors_stay_with_their_service(self) -> None:
        def work(service: str) -> list[Outcome]:
            if service == "b":
                raise SiteError("b is broken")
            return [Outcome(service, f"{service}: done", True)]

        results = list(site.run(Step("backend", ("a", "b", "c")), work))
        assert [result.service for result in results] == ["a", "b", "c"]
        assert results[1] == Result("b", error="b is broken")
        assert results[2].outcomes[0].text == "c: done"


class TestStatus:
    def test_without_supervisord_nothing_is_started(self, prefix: Prefix) -> None:
        write(prefix, "supervisord.d/mongodb.conf", "[program:mongodb]\ncommand=x\n")
        write(prefix, "engines/worker.conf", "[program:engine-worker]\ncommand=x\n")
        states = services.status(prefix)
        assert [(s.program, s.state, s.ok) for s in states] == [
            ("engine-worker", "STOPPED", False),
            ("mongodb", "STOPPED", False),
        ]
        assert [s.program for s in services.status(prefix, "amqp2engines")] == ["engine-worker"]
        assert services.known(prefix) == ["amqp2engines", "mongodb"]


class TestProbes:
    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("net:\n  port: 8087\n  bindIp: 127.0.0.1\n", "127.0.0.1:8087"),
            ("net:\n  bindIp: 0.0.0.0\n  port: 8087 # ours\n", "127.0.0.1:8087"),
            ("net:\n  bindIp: '127.0.0.1,10.0.0.1'\n  port: 8087\n", "127.0.0.1:8087"),
            ("net:\n  bindIp: localhost\n  port: 8087\n", "127.0.0.1:8087"),
            ("bind_ip = 127.0.0.1\nport = 8087\n", "127.0.0.1:8087"),
        ],
    )
    def test_mongodb(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch, text: str, where: str) -> None:
        write(prefix, "mongodb.conf", text)
        asked: list[tuple[str, int]] = []

        def connect(address: tuple[str, int], timeout: float) -> None:
            asked.append(address)
            assert timeout > 0
            raise ConnectionRefusedError(111, "Connection refused")

        monkeypatch.setattr(probes.socket, "create_connection", connect)
        probe = probes.probe_of(prefix, ProgramFile("mongodb", prefix.path))
        assert probe is not None
        assert probe() == f"{where}: Connection refused"
        assert asked == [("127.0.0.1", 8087)]

    def test_mongodb_without_a_port(self, prefix: Prefix) -> None:
        assert probes.probe_of(prefix, ProgramFile("mongodb", prefix.path)) is None

    def test_the_broker_of_this_host(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probes, "is_here", lambda host: host == "broker2")
        monkeypatch.setattr(probes, "_port", lambda host, port: lambda: f"{host} {port}")
        probe = probes.probe_of(prefix, ProgramFile("rabbitmq-server", prefix.path))
        assert probe is not None
        assert probe() == "broker2 8083"

    def test_no_broker_of_the_site_is_this_host(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probes, "is_here", lambda _host: False)
        assert probes.probe_of(prefix, ProgramFile("rabbitmq-server", prefix.path)) is None

    def test_a_broker_host_without_amqp_conf(self, prefix: Prefix) -> None:
        prefix.etc("amqp.conf").unlink()
        assert probes.probe_of(prefix, ProgramFile("rabbitmq-server", prefix.path)) is None

    @pytest.mark.parametrize(
        ("command", "asks"),
        [
            ("gunicorn -b 127.0.0.1:8082 app", ("healthz", "127.0.0.1", 8082, None)),
            ("gunicorn --bind=10.0.0.1:80 app", ("healthz", "10.0.0.1", 80, None)),
            ("gunicorn --bind [::1]:8082 app", ("healthz", "::1", 8082, None)),
            ("gunicorn --certfile x -b 1.2.3.4:443 app", ("healthz", "1.2.3.4", 443, Path("x"))),
        ],
    )
    def test_the_web_server(
        self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch, command: str, asks: tuple[object, ...]
    ) -> None:
        monkeypatch.setattr(probes, "_healthz", lambda *where: ("healthz", *where))
        assert probes.probe_of(prefix, ProgramFile("webserver", prefix.path, command)) == asks

    def test_a_web_server_on_a_socket_file(self, prefix: Prefix) -> None:
        assert probes.probe_of(prefix, ProgramFile("webserver", prefix.path, "gunicorn -b unix:x.sock app")) is None

    def test_others_have_none(self, prefix: Prefix) -> None:
        assert probes.probe_of(prefix, ProgramFile("collectd", prefix.path)) is None

    @pytest.mark.parametrize(
        ("host", "here"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.1", False), ("no.invalid", False)]
    )
    def test_is_here(self, host: str, here: bool) -> None:
        assert probes.is_here(host) is here
