"""``service`` and ``hypcontrol``: what they say and how they end, over handed-in services."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ops_scratch import write

from canopsis.cli import hypcontrol, service
from canopsis.errors import SiteError
from canopsis.ops import daemon, services
from canopsis.ops.prefix import Prefix
from canopsis.ops.services import Outcome, State

HOST = ("mongodb", "rabbitmq-server", "collectd", "webserver")


def state(program: str, name: str = "RUNNING") -> State:
    return State(program, name, "pid 5", name == "RUNNING", 5)


class FakeHost:
    """Services that do as they are told; ``broken`` ones do not."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.broken: set[str] = set()
        self.calls: list[str] = []

    def start(
        self, _prefix: object, name: str, _say: object, timeout: float = 0, *, fresh: bool = False
    ) -> list[Outcome]:
        assert timeout > 0
        self.calls.append(f"start {name}{' fresh' if fresh else ''}")
        return [self._act(name, up=True)]

    def stop(self, _prefix: object, name: str, _say: object) -> list[Outcome]:
        self.calls.append(f"stop {name}")
        return [self._act(name, up=False)]

    def restart(self, prefix: object, name: str, say: Callable[[str], None], timeout: float = 0) -> list[Outcome]:
        self.stop(prefix, name, say)
        return self.start(prefix, name, say, timeout)

    def status(self, _prefix: object, name: str | None = None) -> list[State]:
        names = [name] if name else sorted(HOST)
        return [state(each, "RUNNING" if each in self.running else "STOPPED") for each in names]

    def _act(self, name: str, *, up: bool) -> Outcome:
        if name in self.broken:
            raise SiteError(f"{name} does not come up: FATAL\n  log: x")
        changed = (name in self.running) != up
        (self.running.add if up else self.running.discard)(name)
        return Outcome(name, f"{name}: {'running' if up else 'stopped'}", changed, 0.5)


@pytest.fixture
def host(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    fake = FakeHost()
    for name in ("start", "stop", "status", "restart"):
        monkeypatch.setattr(services, name, getattr(fake, name))
    monkeypatch.setattr(service, "_VERBS", {"start": fake.start, "restart": fake.restart})
    for name in (*HOST, "engine-worker"):
        write(prefix, f"supervisord.d/{name}.conf", f"[program:{name}]\ncommand=x\n")

    def ensure(_prefix: object, say: Callable[[str], None], *, everything: bool) -> bool:
        assert everything
        fake.calls.append("ensure")
        say("starting supervisord")
        return True

    monkeypatch.setattr(daemon, "ensure", ensure)
    monkeypatch.setattr(daemon, "shutdown", lambda _prefix, _say: fake.calls.append("shutdown"))
    return fake


class TestService:
    def test_start(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        assert service.main(["mongodb", "start"]) == 0
        assert host.calls == ["start mongodb"]
        assert capsys.readouterr().out == "mongodb: running\n"

    def test_stop(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        host.running = {"mongodb"}
        assert service.main(["mongodb", "stop"]) == 0
        assert capsys.readouterr().out == "mongodb: stopped\n"
        assert host.running == set()

    def test_restart(self, host: FakeHost) -> None:
        assert service.main(["mongodb", "restart"]) == 0
        assert host.calls == ["stop mongodb", "start mongodb"]

    @pytest.mark.parametrize("verb", ["start", "stop"])
    def test_as_json(self, host: FakeHost, capsys: pytest.CaptureFixture[str], verb: str) -> None:
        assert service.main(["mongodb", verb, "--json"]) == 0
        (told,) = json.loads(capsys.readouterr().out)
        assert (told["program"], told["changed"], told["seconds"]) == ("mongodb", verb == "start", 0.5)
        assert host.calls == [f"{verb} mongodb"]

    def test_a_failure(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        host.broken = {"mongodb"}
        assert service.main(["mongodb", "start"]) == 1
        assert capsys.readouterr().err == "error: mongodb does not come up: FATAL\n  log: x\n"

    @pytest.mark.parametrize(("running", "code"), [({"mongodb"}, 0), (set(), 1)])
    def test_status(self, host: FakeHost, running: set[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
        host.running = running
        assert service.main(["mongodb", "status"]) == code
        header, line = capsys.readouterr().out.splitlines()
        assert header.split() == ["PROGRAM", "STATE"]
        assert line.split()[:2] == ["mongodb", "RUNNING" if running else "STOPPED"]

    @pytest.mark.parametrize(("running", "code"), [(set(HOST), 0), ({"mongodb"}, 1)])
    def test_status_of_all(
        self, host: FakeHost, running: set[str], code: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        host.running = running
        assert service.main(["--status-all"]) == code
        assert len(capsys.readouterr().out.splitlines()) == 1 + len(HOST)
        assert service.main(["--status-all", "--json"]) == code
        told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        assert {each["program"]: each["ok"] for each in told} == {name: name in running for name in HOST}


class TestHypcontrol:
    def test_start(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        self.without_engines(host)
        assert hypcontrol.main(["start"]) == 0
        assert host.calls[0] == "ensure"
        assert set(host.calls[1:3]) == {"start mongodb fresh", "start rabbitmq-server fresh"}
        assert host.calls[3:] == ["start collectd fresh", "start webserver fresh"]
        assert capsys.readouterr().out.splitlines() == [
            "starting supervisord",
            "Starting backend: mongodb, rabbitmq-server",
            "  OK  mongodb: running",
            "  OK  rabbitmq-server: running",
            "Starting middleware: collectd",
            "  OK  collectd: running",
            "Starting frontend: webserver",
            "  OK  webserver: running",
        ]

    @staticmethod
    def without_engines(_host: FakeHost) -> None:
        prefix = Prefix.find()
        sections = {"backend": "mongodb,rabbitmq-server", "middleware": "collectd", "frontend": "webserver"}
        text = "".join(f"[{name}]\nservices={names}\n" for name, names in sections.items())
        write(prefix, "hypcontrol.conf", text)

    def test_stop(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        self.without_engines(host)
        host.running = set(HOST)
        assert hypcontrol.main(["stop"]) == 0
        assert host.calls[:2] == ["stop webserver", "stop collectd"]
        assert set(host.calls[2:4]) == {"stop mongodb", "stop rabbitmq-server"}
        assert host.calls[4:] == ["shutdown"]
        assert "Stopping backend: rabbitmq-server, mongodb\n" in capsys.readouterr().out

    def test_restart(self, host: FakeHost) -> None:
        self.without_engines(host)
        assert hypcontrol.main(["restart"]) == 0
        assert host.calls.index("shutdown") < host.calls.index("ensure")

    def test_a_failed_section_ends_the_start(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        self.without_engines(host)
        host.broken = {"rabbitmq-server"}
        assert hypcontrol.main(["start"]) == 1
        assert host.running == {"mongodb"}
        out = capsys.readouterr().out
        assert "  KO  rabbitmq-server does not come up: FATAL\n  log: x\n" in out
        assert "middleware" not in out

    def test_a_failed_stop_stops_the_others(self, host: FakeHost) -> None:
        self.without_engines(host)
        host.running, host.broken = set(HOST), {"collectd"}
        assert hypcontrol.main(["stop"]) == 1
        assert host.running == {"collectd"}
        assert host.calls[-1] == "shutdown"

    def test_a_failed_stop_is_not_forgotten_by_a_restart(self, host: FakeHost) -> None:
        write(Prefix.find(), "hypcontrol.conf", "[backend]\nservices=mongodb\n")
        host.running = {"mongodb"}
        stopped = host.stop

        def stop(prefix: object, name: str, say: object) -> list[Outcome]:
            stopped(prefix, name, say)
            raise SiteError("mongodb does not stop")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(services, "stop", stop)
            assert hypcontrol.main(["restart"]) == 1
        assert host.running == {"mongodb"}

    @pytest.mark.parametrize(("missing", "code"), [("", 0), ("collectd", 1)])
    def test_status(self, host: FakeHost, missing: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
        self.without_engines(host)
        host.running = set(HOST) - {missing}
        assert hypcontrol.main(["status"]) == code
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
            "mongodb",
            "rabbitmq-server",
            "collectd",
            "webserver",
        ]
        assert host.calls == []

    def test_status_as_json(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        self.without_engines(host)
        assert hypcontrol.main(["status", "--json"]) == 1
        assert [each["state"] for each in json.loads(capsys.readouterr().out)] == ["STOPPED"] * 4

    def test_a_service_without_a_file(self, host: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
        write(Prefix.find(), "hypcontrol.conf", "[backend]\nservices=mongod\n")
        assert hypcontrol.main(["start"]) == 2
        assert "mongod has no program file" in capsys.readouterr().err
        assert host.calls == []

    @pytest.mark.parametrize("argv", [[], ["explode"], ["start", "stop"]])
    def test_wrong_usage(self, argv: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            hypcontrol.main(argv)
        assert caught.value.code == 2
