"""Starting and stopping services over a supervisord that is handed in: what is asked of it, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from ops_scratch import write

from canopsis.errors import InputError, SiteError
from canopsis.ops import daemon, orphans, services
from canopsis.ops.prefix import Prefix
from canopsis.ops.supervisor import Program, Reread


@dataclass
class FakeSupervisor:
    """Programs that go where they are sent: by way of ``STARTING`` or ``STOPPING``, one look each."""

    found: dict[str, Program] = field(default_factory=dict)
    difference: Reread = field(default_factory=Reread)
    stuck: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def has(self, name: str, state: str, pid: int = 7) -> None:
        self.found[name] = Program(
            name, name, state, f"{name} was told so", pid if state == "RUNNING" else 0, start=100, now=200
        )

    def programs(self) -> list[Program]:
        before = list(self.found.values())
        for name in list(self.found):
            self._step(name)
        return before

    def program(self, name: str) -> Program:
        before = self.found[name]
        self._step(name)
        return before

    def wait(self, name: str, states: frozenset[str], timeout: float) -> Program:
        assert timeout > 0
        for _ in range(3):
            if self.found[name].state in states:
                break
            self._step(name)
        return self.found[name]

    def start(self, name: str) -> None:
        self.calls.append(f"start {name}")
        self.found.setdefault(name, Program(name, name, "STOPPED"))
        if self.found[name].state in ("RUNNING", "STARTING"):
            return  # as supervisord says: ALREADY_STARTED
        self.found[name] = replace(self.found[name], state="STARTING", pid=8)

    def stop(self, name: str) -> None:
        self.calls.append(f"stop {name}")
        self.found[name] = replace(self.found[name], state="STOPPING")

    def reread(self) -> Reread:
        self.calls.append("reread")
        return self.difference

    def add(self, name: str) -> None:
        self.calls.append(f"add {name}")
        self.found[name] = Program(name, name, "STOPPED")

    def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")
        del self.found[name]

    def _step(self, name: str) -> None:
        follows = {"STARTING": "RUNNING", "STOPPING": "STOPPED"}
        state = self.found[name].state
        if name not in self.stuck:
            self.found[name] = replace(self.found[name], state=follows.get(state, state))


@pytest.fixture
def spoken(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisor]:
    """supervisord runs; there are a few program files."""
    fake = FakeSupervisor()
    for name in ("collectd", "engine-cleaner", "engine-worker"):
        write(prefix, f"supervisord.d/{name}.conf", f"[program:{name}]\ncommand=x\nstopwaitsecs=3\n")
    monkeypatch.setattr(services, "Supervisor", lambda _path: fake)
    monkeypatch.setattr(daemon, "ensure", lambda _prefix, _say, everything: everything)
    monkeypatch.setattr(daemon, "answers", lambda _prefix: True)
    yield fake


class TestStart:
    def test_one_that_is_down(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "STOPPED")
        (outcome,) = services.start(prefix, "collectd", print)
        assert outcome.changed
        assert spoken.calls == ["reread", "start collectd"]

    def test_one_that_runs_is_left_alone(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "RUNNING")
        (outcome,) = services.start(prefix, "collectd", print)
        assert (outcome.text, outcome.changed) == ("collectd: already running (pid 7)", False)
        assert spoken.calls == ["reread"]

    def test_one_that_a_fresh_supervisord_started_is_not_already_running(
        self, prefix: Prefix, spoken: FakeSupervisor
    ) -> None:
        spoken.has("collectd", "RUNNING")
        (outcome,) = services.start(prefix, "collectd", print, fresh=True)
        assert outcome.changed
        assert outcome.text.startswith("collectd: running (pid 7, ")

    def test_one_that_waits_for_its_next_attempt_is_tried_at_once(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "BACKOFF")
        services.start(prefix, "collectd", print)
        assert spoken.calls == ["reread", "stop collectd", "start collectd"]

    def test_one_that_is_stopping_is_waited_for(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "STOPPING")
        spoken.stuck = set()
        (outcome,) = services.start(prefix, "collectd", print)
        assert outcome.changed
        assert spoken.calls == ["reread", "start collectd"]

    def test_only_those_of_a_service_that_are_down(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("engine-cleaner", "RUNNING")
        spoken.has("engine-worker", "EXITED")
        outcomes = services.start(prefix, "amqp2engines", print)
        assert [(outcome.program, outcome.changed) for outcome in outcomes] == [
            ("engine-cleaner", False),
            ("engine-worker", True),
        ]
        assert spoken.calls == ["reread", "start engine-worker"]

    def test_one_that_does_not_come_up_in_time(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "STOPPED")
        spoken.stuck = {"collectd"}
        with pytest.raises(SiteError, match=r"after 0\.1 s: collectd does not come up: STARTING"):
            services.start(prefix, "collectd", print, timeout=0.1)

    def test_waiting_is_told(self, prefix: Prefix, spoken: FakeSupervisor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(services, "_REPORT_EVERY", 0.05)
        spoken.has("collectd", "STOPPED")
        spoken.stuck = {"collectd"}
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if len(said) == 2:
                spoken.stuck = set()

        services.start(prefix, "collectd", say, timeout=60)
        assert len(said) >= 2
        assert said[0].startswith("still waiting for collectd (")

    def test_one_that_vanishes(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        with pytest.raises(SiteError, match="collectd does not come up: UNKNOWN, no longer known to supervisord"):
            spoken.has("collectd", "STOPPED")
            spoken.start = lambda name: spoken.found.pop(name, None)  # type: ignore[method-assign,assignment]
            services.start(prefix, "collectd", print)

    def test_an_unknown_one(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        with pytest.raises(InputError, match=r"did you mean collectd\?"):
            services.start(prefix, "colectd", print)
        assert spoken.calls == []


class TestFiles:
    """Program files that are not the ones in effect."""

    def test_a_new_one_is_added(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.difference = Reread(added=frozenset({"collectd", "engine-worker"}))
        services.start(prefix, "collectd", print)
        assert spoken.calls == ["reread", "add collectd", "start collectd"]

    @pytest.mark.parametrize("state", ["STOPPED", "EXITED", "FATAL"])
    def test_a_changed_one_that_is_down_is_replaced(self, prefix: Prefix, spoken: FakeSupervisor, state: str) -> None:
        spoken.has("collectd", state)
        spoken.difference = Reread(changed=frozenset({"collectd"}))
        services.start(prefix, "collectd", print)
        assert spoken.calls == ["reread", "remove collectd", "add collectd", "start collectd"]

    def test_a_changed_one_that_runs_is_told(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "RUNNING")
        spoken.difference = Reread(changed=frozenset({"collectd"}))
        (outcome,) = services.start(prefix, "collectd", print)
        assert outcome.text.endswith("its file has changed: restart it to put that into effect")
        assert spoken.calls == ["reread"]

    def test_others_are_not_touched(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "STOPPED")
        spoken.has("engine-worker", "STOPPED")
        spoken.difference = Reread(changed=frozenset({"engine-worker"}))
        services.start(prefix, "collectd", print)
        assert spoken.calls == ["reread", "start collectd"]

    @pytest.mark.parametrize(("state", "removed"), [("STOPPED", True), ("FATAL", True), ("RUNNING", False)])
    def test_a_removed_one_goes_once_it_is_down(
        self, prefix: Prefix, spoken: FakeSupervisor, state: str, removed: bool
    ) -> None:
        spoken.has("collectd", "RUNNING")
        spoken.has("engine-old", state)
        spoken.difference = Reread(removed=frozenset({"engine-old"}))
        services.start(prefix, "collectd", print)
        assert ("remove engine-old" in spoken.calls) is removed


class TestStop:
    def test_one_that_runs(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "RUNNING")
        (outcome,) = services.stop(prefix, "collectd", print)
        assert outcome.changed
        assert outcome.text.startswith("collectd: stopped (")
        assert spoken.calls == ["stop collectd"]

    @pytest.mark.parametrize("state", ["STOPPED", "EXITED", "FATAL"])
    def test_one_that_is_down(self, prefix: Prefix, spoken: FakeSupervisor, state: str) -> None:
        spoken.has("collectd", state)
        (outcome,) = services.stop(prefix, "collectd", print)
        assert (outcome.text, outcome.changed) == ("collectd: already stopped", False)
        assert spoken.calls == []

    def test_one_that_was_killed_just_now_is_stopped_when_it_is_back(
        self, prefix: Prefix, spoken: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """supervisord refuses to stop what has EXITED, and starts it again a moment later."""
        spoken.has("collectd", "EXITED")
        gone = replace(spoken.found["collectd"], stop=spoken.found["collectd"].now)
        looks, programs = [[gone], [gone]], spoken.programs
        spoken.has("collectd", "RUNNING")
        monkeypatch.setattr(spoken, "programs", lambda: looks.pop() if looks else programs())
        assert services.stop(prefix, "collectd", print)[0].changed
        assert spoken.calls == ["stop collectd"]

    def test_one_that_another_command_starts_again_has_been_stopped(
        self, prefix: Prefix, spoken: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spoken.has("collectd", "RUNNING", pid=7)
        monkeypatch.setattr(spoken, "stop", lambda name: spoken.has(name, "RUNNING", pid=9))
        assert services.stop(prefix, "collectd", print)[0].changed

    @pytest.mark.parametrize("state", ["STARTING", "BACKOFF"])
    def test_one_that_is_on_its_way_up(self, prefix: Prefix, spoken: FakeSupervisor, state: str) -> None:
        spoken.has("collectd", state)
        spoken.stuck = set()
        assert services.stop(prefix, "collectd", print)[0].changed
        assert spoken.calls == ["stop collectd"]

    def test_all_are_asked_before_any_is_waited_for(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("engine-cleaner", "RUNNING")
        spoken.has("engine-worker", "RUNNING")
        assert [outcome.changed for outcome in services.stop(prefix, "amqp2engines", print)] == [True, True]
        assert spoken.calls == ["stop engine-cleaner", "stop engine-worker"]

    def test_one_without_a_file_any_more(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("engine-old", "RUNNING")
        spoken.has("engine-worker", "STOPPED")
        outcomes = services.stop(prefix, "amqp2engines", print)
        assert {outcome.program: outcome.changed for outcome in outcomes} == {
            "engine-cleaner": False,
            "engine-old": True,
            "engine-worker": False,
        }

    def test_one_that_does_not_stop(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "RUNNING")
        spoken.stuck = {"collectd"}
        with pytest.raises(SiteError, match="collectd does not stop: STOPPING, pid 7"):
            services.stop(prefix, "collectd", print)

    def test_without_supervisord_what_it_left_is_ended(
        self, prefix: Prefix, spoken: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(daemon, "answers", lambda _prefix: False)
        monkeypatch.setattr(daemon, "settle", lambda _prefix, _say: None)
        monkeypatch.setattr(
            orphans, "end", lambda _prefix, _files, _say, only: [n for n in only if n == "engine-worker"]
        )
        outcomes = services.stop(prefix, "amqp2engines", print)
        assert [(outcome.program, outcome.changed) for outcome in outcomes] == [
            ("engine-cleaner", False),
            ("engine-worker", True),
        ]
        assert spoken.calls == []


class TestRestart:
    def test_it_stops_then_puts_files_into_effect_then_starts(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "RUNNING")
        spoken.difference = Reread(changed=frozenset({"collectd"}))
        said: list[str] = []
        (outcome,) = services.restart(prefix, "collectd", said.append)
        assert outcome.changed
        assert spoken.calls == ["stop collectd", "reread", "remove collectd", "add collectd", "start collectd"]
        assert said[0].startswith("collectd: stopped (")

    def test_one_that_is_down_is_started(self, prefix: Prefix, spoken: FakeSupervisor) -> None:
        spoken.has("collectd", "FATAL")
        assert services.restart(prefix, "collectd", print)[0].changed
        assert spoken.calls == ["reread", "start collectd"]


def test_status(prefix: Prefix, spoken: FakeSupervisor) -> None:
    spoken.has("collectd", "RUNNING")
    spoken.found["engine-worker"] = Program(
        "engine-worker", "engine-worker", "BACKOFF", "x", error="Exited too quickly"
    )
    states = {state.program: state for state in services.status(prefix)}
    assert (states["collectd"].ok, states["collectd"].pid) == (True, 7)
    assert (states["engine-worker"].ok, states["engine-worker"].description) == (False, "Exited too quickly")
    assert states["engine-cleaner"].description == "new, not in effect yet; start it"
    assert [state.program for state in services.status(prefix, "amqp2engines")] == ["engine-cleaner", "engine-worker"]
