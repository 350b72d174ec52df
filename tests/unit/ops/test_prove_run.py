"""The plan, the sending, the strikes and whole rounds, over a site in memory and processes of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from prove_fakes import FakeSite, doubled, entity_of, with_steps

from canopsis.errors import InputError, SiteError
from canopsis.ops.apiclient import Answer, Api
from canopsis.ops.processes import PROC, await_end, end
from canopsis.ops.prove import bulk, plan, report, run, strikes
from canopsis.ops.prove.acts import ACTS
from canopsis.ops.prove.bulk import Asked
from canopsis.ops.prove.compare import Differences
from canopsis.ops.prove.model import Entity
from canopsis.ops.prove.plan import Bulk, Script, Turn
from canopsis.ops.prove.run import Options, Proof, Round, Site
from canopsis.ops.prove.sender import CLOCKS_APART, Sender, caller
from canopsis.ops.prove.strikes import Command, Freeze, Kill, Strike
from canopsis.ops.supervisor import Program
from canopsis.ops.wait import until

NOW = 1_800_000_000.0
AWAY = SiteError("no API")
BUSY = Answer(503, "Service Unavailable", b"{}")


# --- the plan


def test_a_seed_makes_the_same_plan() -> None:
    assert plan.scripts(Random(1), "p", 60, 6) == plan.scripts(Random(1), "p", 60, 6)
    assert plan.scripts(Random(1), "p", 60, 6) != plan.scripts(Random(2), "p", 60, 6)


@pytest.mark.parametrize("seed", range(20))
def test_scripts_are_what_they_are_said_to_be(seed: int) -> None:
    found = plan.scripts(Random(seed), "p", 203, 10)
    turns = [turn for script in found for turn in script.turns]
    assert 203 <= len(turns) <= 203 + len(found)
    assert len({script.entity_id for script in found}) == 10
    new = [turn.event["event_id"] for turn in turns if turn.how != "again"]
    assert len(set(new)) == len(new)
    for script in found:
        assert script.turns[0].event["state"] != plan.OK
        assert script.turns[0].how == "new"
        assert {entity_of(turn.event) for turn in (*script.turns, script.closing)} == {script.entity_id}
        assert script.closing.event["event_id"] not in new


def test_a_plan_has_everything_in_it() -> None:
    turns = [turn for script in plan.scripts(Random(1), "p", 1000, 25) for turn in script.turns]
    assert {turn.how for turn in turns} == {"new", "late", "again"}
    assert {turn.event["event_type"] for turn in turns} == {"check", *ACTS}
    assert {turn.event["connector"] for turn in turns} == {plan.CONNECTOR}


def test_each_sender_has_entities_of_its_own_and_sends_their_turns_in_order() -> None:
    found = plan.scripts(Random(1), "p", 100, 10)
    lanes = plan.lanes(Random(1), "p", found, 3)
    owners = [{place.script for request in lane for place in places(request)} for lane in lanes]
    assert sorted(index for owner in owners for index in owner) == list(range(10))
    for lane in lanes:
        assert all(len({each.script for each in places(request)}) == len(places(request)) for request in lane)
        for script in owners[lanes.index(lane)]:
            turns = [place.turn for request in lane for place in places(request) if place.script == script]
            assert turns == list(range(len(found[script].turns)))
    assert {len(places(request)) for lane in lanes for request in lane} >= {1, 2, 3}
    bulks = [(lane, request) for lane in range(3) for request in lanes[lane] if isinstance(request, Bulk)]
    assert [set(request.scripts) for _, request in bulks] == [owners[lane] for lane, _ in bulks]
    assert len({request.task_id for _, request in bulks}) == len(bulks) == 6
    seeds = [plan.lanes(Random(seed), "p", found, 3) for seed in range(20)]
    actions = {each.action for made in seeds for lane in made for each in lane if isinstance(each, Bulk)}
    assert actions == ACTS.keys()


def places(request: plan.Request) -> list[plan.Place]:
    return [] if isinstance(request, Bulk) else request


# --- sending


def turn(number: int, how: plan.How = "new") -> Turn:
    source = {"connector": "c", "connector_name": "n", "component": "a", "state": 1, "output": "o"}
    return Turn({"event_type": "check", "event_id": f"e{number}", **source}, how)


def sender(site: FakeSite, *turns: Turn, patience: float = 5.0) -> Sender:
    script = Script("component:a", turns, turn(99))
    return Sender([script], site.call, threading.Event(), patience=patience, now=lambda: NOW)


def test_times_rise_but_for_late_checks_and_repeats() -> None:
    site = FakeSite()
    turns = [turn(1), turn(2), turn(3, "late"), turn(1, "again"), turn(4)]
    sending = sender(site, *turns)
    for each in turns:
        sending.send([(0, each)])
    first, second, late, again, last = [events[0]["timestamp"] for events in site.posts]
    assert late < first - 30
    assert again == first == NOW - CLOCKS_APART
    assert first < second < last
    assert [event["event_id"] for event in sending.tally.accepted[0]] == ["e1", "e2", "e3", "e1", "e4"]


@pytest.mark.parametrize("lies", [False, True])
def test_what_is_not_accepted_is_sent_again_as_it_was(lies: bool) -> None:
    site = FakeSite([AWAY, BUSY, AWAY], lies=lies)
    sending = sender(site)
    sending.send([(0, turn(1))])
    assert len(site.posts) == 4
    assert all(events == site.posts[0] for events in site.posts)
    assert (sending.tally.retries, sending.tally.sent, sending.tally.refused) == (3, 1, [])
    assert sending.tally.outage > 0
    assert len(site.entities["component:a"].steps) == 2


def test_of_an_answer_for_each_only_what_is_left_is_sent_again() -> None:
    told = [{"event_id": "e1", "status": "accepted"}, {"event_id": "e2", "status": "refused"}]
    site = FakeSite([Answer(207, "Multi-Status", json.dumps({"data": told}).encode())])
    sending = sender(site)
    sending.send([(0, turn(1)), (0, turn(2))])
    assert sending.tally.sent == 1
    assert sending.tally.refused == ["event e2 was refused: 207 Multi-Status"]


def test_a_refusal_is_kept_and_ends_the_retries() -> None:
    site = FakeSite([Answer(400, "Bad Request", b'{"detail": "no"}')])
    sending = sender(site)
    sending.send([(0, turn(1))])
    assert len(site.posts) == 1
    assert sending.tally.refused == ["event e1 was refused: 400 Bad Request: no"]


def test_a_fault_of_the_api_is_told_and_the_event_is_sent_again() -> None:
    site = FakeSite([Answer(500, "Internal Server Error", b"{}")])
    sending = sender(site)
    sending.send([(0, turn(1))])
    assert sending.tally.sent == 1
    assert sending.tally.refused == ["the API answered 500 Internal Server Error"]


def test_patience_ends() -> None:
    with pytest.raises(SiteError, match="nothing was accepted for 0 s, event e1 first"):
        sender(FakeSite([AWAY] * 9), patience=0.0).send([(0, turn(1))])


def test_a_stop_ends_the_waiting() -> None:
    site, stop = FakeSite([AWAY] * 9), threading.Event()
    stop.set()
    sending = Sender([], site.call, stop, patience=60.0)
    with pytest.raises(SiteError, match="stopped"):
        sending.send([(0, turn(1))])


def test_what_was_begun_is_closed_once() -> None:
    site = FakeSite()
    sending = sender(site, turn(1))
    sending.close(threading.Event())
    assert site.posts == []
    sending.send([(0, turn(1))])
    for _ in range(2):
        sending.close(threading.Event())
    assert [events[0]["event_id"] for events in site.posts] == ["e1", "e99"]


def test_the_next_address_is_asked_where_one_does_not_answer() -> None:
    here, there = FakeSite([AWAY]), FakeSite()
    call = caller([here, there])  # type: ignore[list-item] # what it uses of an Api
    events = ("POST", "/api/v1/events", json.dumps([turn(1).event | {"timestamp": 1.0}]).encode())
    with pytest.raises(SiteError):
        call(*events)
    assert call(*events).status == call(*events).status == 202
    assert (len(here.posts), len(there.posts)) == (1, 2)


# --- actions on many alarms

BULK = Bulk("t1", "ack", {"message": "known"}, (0, 1))


def many(site: FakeSite) -> Sender:
    """Return a sender of two entities; one of them has an open alarm."""
    scripts = [Script("component:a", (), turn(99)), Script("component:b", (), turn(98))]
    sending = Sender(scripts, site.call, threading.Event(), patience=5.0, now=lambda: NOW)
    sending.send([(0, turn(1))])
    return sending


def test_an_action_on_many_alarms_is_for_those_that_are_open() -> None:
    site = FakeSite()
    sending = many(site)
    sending.act(BULK)
    (asked,) = sending.tally.asked
    assert (asked.ids, asked.author) == ({0: "component:a#0"}, "me")
    _, event = sending.tally.accepted[0]
    assert (event["event_type"], event["event_id"], event["output"]) == ("ack", "t1.0", "known")
    assert site.entities["component:a"].steps[-1][1].type == "ack"
    assert not bulk.of_task(site.call, asked)
    site.tasks["t1"]["pending"] = 1
    assert bulk.of_task(site.call, asked).wrong == 1


def test_with_none_open_nothing_is_asked() -> None:
    site = FakeSite()
    sending = many(site)
    sending.act(Bulk("t1", "ack", {}, (1,)))
    assert (sending.tally.asked, site.tasks) == ([], {})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(503, "Service Unavailable", b"{}"), []),
        (Answer(429, "Too Many Requests", b"{}"), []),
        (Answer(422, "Unprocessable", b"{}"), ["task t1 was refused: 422 Unprocessable"]),
    ],
)
def test_an_action_on_many_alarms_is_asked_for_until_it_is_accepted(answer: Answer, told: list[str]) -> None:
    site = FakeSite()
    sending = many(site)
    site.task_answers = [answer]
    sending.act(BULK)
    assert sending.tally.refused == told
    assert ("t1" in site.tasks) == (not told)
    assert sending.tally.retries == (not told)


def test_an_event_of_the_api_has_the_time_that_the_log_has() -> None:
    asked = Asked(Bulk("t1", "snooze", {"duration": 2.5}, (0, 1)), {0: "a", 1: "b"}, "me", {"b"})
    (first, second) = [event for _, event in asked.events()]
    assert (first["duration"], first["output"], first["author"]) == (2.5, "", "me")
    both = [{"_id": "t1.0", "timestamp": 5.0}, {"_id": "t1.1", "timestamp": 6.0}]
    assert [each["timestamp"] for each in bulk.complete([first, second], both)] == [5.0, 6.0]
    assert [each["timestamp"] for each in bulk.complete([first, second], both[:1])] == [5.0]
    assert [each["timestamp"] for each in bulk.complete([first, second], [])] == [None]


# --- strikes


class FakeSupervisor:
    """Knows programs by the process they are."""

    def __init__(self, **pids: int) -> None:
        self._pids = {name.replace("_", "-"): pid for name, pid in pids.items()}

    def program(self, name: str) -> Program:
        pid = self._pids[name]
        return Program(name, name, "RUNNING" if pid else "BACKOFF", pid=pid)

    def programs(self) -> list[Program]:
        return [self.program(name) for name in self._pids]


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[str]]:
    """A process with a child, which it names."""
    script = "sleep 600 & echo $!; wait"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as found:
        yield found
        end(strikes.tree_of(found.pid), signal.SIGKILL, 10)


def state_of(pid: int) -> str:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]


def child_of(found: subprocess.Popen[str]) -> int:
    assert found.stdout is not None
    return int(found.stdout.readline())


def test_a_program_is_killed_with_all_that_it_started(victim: subprocess.Popen[str]) -> None:
    child = child_of(victim)
    strike = Kill("mongodb", FakeSupervisor(mongodb=victim.pid))  # type: ignore[arg-type]
    assert strike.begin()
    strike.end()
    assert victim.wait(10) == -9
    assert await_end(child, 10)


def test_a_program_is_frozen_and_thawed_with_all_that_it_started(victim: subprocess.Popen[str]) -> None:
    pids = (victim.pid, child_of(victim))
    strike = Freeze("mongodb", FakeSupervisor(mongodb=victim.pid))  # type: ignore[arg-type]
    for _ in range(2):
        assert strike.begin()
        assert until(lambda: [state_of(pid) for pid in pids] == ["T", "T"], 10)
        strike.end()
        assert until(lambda: [state_of(pid) for pid in pids] == ["S", "S"], 10)
    strike.end()


def test_what_is_frozen_is_thawed_when_we_are_killed(victim: subprocess.Popen[str]) -> None:
    """Another process freezes it, with a guard of a second, and kills itself."""
    code = (
        "import os, signal; from canopsis.ops.prove import strikes; strikes._THAW_AFTER = 1.0\n"
        "class S:\n"
        f"    def program(self, name): return type('P', (), {{'state': 'RUNNING', 'pid': {victim.pid}}})\n"
        "strikes.Freeze('x', S()).begin(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    child_of(victim)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=False)
    assert done.returncode == -9
    assert until(lambda: state_of(victim.pid) == "S", 20)


@pytest.mark.parametrize("kind", [Kill, Freeze])
def test_what_does_not_run_cannot_be_struck(kind: type[Kill] | type[Freeze]) -> None:
    strike = kind("mongodb", FakeSupervisor(mongodb=0))  # type: ignore[arg-type]
    assert not strike.begin()
    strike.end()


def test_a_command_strikes_and_another_takes_it_back(tmp_path: Path) -> None:
    struck = tmp_path / "struck"
    strike = Command("h2", f"touch {struck}", f"rm {struck}")
    strike.end()
    assert strike.begin()
    assert struck.exists()
    strike.end()
    strike.end()
    assert not struck.exists()
    with pytest.raises(SiteError, match=r"h2: ended with 3: echo no; exit 3\nno"):
        Command("h2", "echo no; exit 3", "true").begin()


def names(kinds: str, **pids: int) -> list[str]:
    return [each.name for each in strikes.of_programs(kinds.split(","), FakeSupervisor(**pids))]  # type: ignore[arg-type]


def test_strikes_are_those_of_the_programs_of_this_host() -> None:
    here = {"engine_worker": 1, "engine_cleaner": 2, "mongodb": 3, "collectd": 4}
    assert names("engines", **here) == ["kill engine-cleaner", "kill engine-worker"]
    assert names("webserver,database,freeze", **here) == ["kill mongodb", "freeze mongodb"]
    assert names("freeze", **here) == ["freeze engine-cleaner", "freeze engine-worker", "freeze mongodb"]
    assert names("broker", **here) == []
    with pytest.raises(InputError, match="engines, webserver, broker, database, freeze"):
        names("disks", **here)


def test_each_strike_has_a_round_of_its_own_before_they_come_at_random() -> None:
    found: list[Strike] = [Command(name, "true", "true") for name in "abc"]
    alone = [strikes.volleys(Random(1), found, number, 4.0) for number in range(3)]
    assert [[each.name for each in volley.strikes] for (volley,) in alone] == [["a"], ["b"], ["c"]]
    later = [volley for number in range(3, 60) for volley in strikes.volleys(Random(number), found, number, 4.0)]
    assert {len(volley.strikes) for volley in later} == {1, 2}
    assert all(0 <= volley.lasting <= 4 for volley in later)


# --- whole rounds


class Recorded:
    """A strike that only notes what is done."""

    lasts = True

    def __init__(self, name: str, fails: bool = False) -> None:
        self.name, self.fails, self.notes = name, fails, list[str]()

    def begin(self) -> bool:
        self.notes.append("begin")
        if self.fails:
            raise SiteError("cannot strike")
        return True

    def end(self) -> None:
        self.notes.append("end")


OPTIONS = Options("p", rounds=2, events=60, entities=5, rate=10_000.0, freeze=0.02, patience=0.3, seed=1)


def proof(site: FakeSite, strike: Recorded, options: Options = OPTIONS, problems: tuple[str, ...] = ()) -> Proof:
    apis: list[Api] = [site]  # type: ignore[list-item] # what a proof uses of an Api
    return Proof(Site(lambda: apis, lambda: problems), [strike], options, lambda _line: None)


def test_a_site_that_does_what_it_must_is_proved() -> None:
    site, strike = FakeSite([BUSY, AWAY], lies=True), Recorded("cut")
    found = proof(site, strike)
    rounds = list(found.rounds())
    assert [each.proved for each in rounds] == [True, True]
    assert rounds[0].strikes.startswith("cut ")
    assert sum(each.retries for each in rounds) == 2
    accepted = sum(map(len, site.posts)) - sum(map(len, site.unanswered))
    by_tasks = sum(task["total"] for task in site.tasks.values())
    assert by_tasks
    assert sum(each.events for each in rounds) == accepted + by_tasks
    assert not found.again()
    assert found.end() == []
    assert {entity.alarms[-1].state for entity in site.entities.values()} == {0}
    assert strike.notes[:2] == ["begin", "end"]


def lost(entity: Entity) -> Entity:
    return with_steps(entity, lambda steps: steps[:-1]) if entity.alarms else entity


def swapped(entity: Entity) -> Entity:
    return with_steps(entity, lambda steps: [steps[1], steps[0], *steps[2:]]) if entity.alarms else entity


@pytest.mark.parametrize(("spoil", "count"), [(lost, "lost"), (doubled, "doubled"), (swapped, "disordered")])
def test_a_site_that_does_not_is_found_out(spoil: object, count: str) -> None:
    found = proof(FakeSite(spoil=spoil), Recorded("cut"))  # type: ignore[arg-type]
    first = next(found.rounds())
    assert getattr(first.differences, count) == 5
    assert not first.proved


def test_what_can_no_longer_become_right_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_IN_VAIN", 0.05)
    site, begin = FakeSite(spoil=doubled), time.monotonic()
    found = proof(site, Recorded("cut"), Options("p", 1, 20, 2, 10_000.0, 0.02, 600.0))
    assert next(found.rounds()).differences.doubled == 2
    assert time.monotonic() - begin < 300


def test_what_is_read_while_it_changes_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_IN_VAIN", 600.0)
    shown = [doubled, lost, swapped]

    def spoil(entity: Entity) -> Entity:
        return shown.pop()(entity) if shown else entity

    site = FakeSite(spoil=spoil)
    (found,) = proof(site, Recorded("cut"), Options("p", 1, 20, 2, 10_000.0, 0.02, 600.0)).rounds()
    assert found.proved
    assert shown == []


def test_a_site_that_forgets_later_is_found_out() -> None:
    site = FakeSite()
    found = proof(
        site, Recorded("cut"), Options("p", rounds=1, events=20, entities=2, rate=10_000.0, freeze=0.02, patience=0.2)
    )
    assert all(each.proved for each in found.rounds())
    logged = sum(map(len, site.log.values()))
    site.log.clear()
    assert found.again().lost == logged


def test_an_outage_without_end_is_wrong() -> None:
    site = FakeSite([AWAY] * 10_000)
    (found,) = proof(site, Recorded("cut"), Options("p", 1, 20, 2, 10_000.0, 0.02, 0.2)).rounds()
    assert found.differences.wrong >= 1
    assert any("nothing was accepted" in text for text in found.differences.texts)


def test_a_strike_that_fails_is_taken_back_and_what_was_begun_is_closed() -> None:
    site, strike = FakeSite(), Recorded("cut", fails=True)
    found = proof(site, strike, Options("p", rounds=1, events=80, entities=4, rate=1.0, freeze=0.02, patience=5.0))
    with pytest.raises(SiteError, match="cannot strike"):
        next(found.rounds())
    assert strike.notes == ["begin", "end"]
    assert found.end() == []
    assert {entity.alarms[-1].state for entity in site.entities.values() if entity.alarms} == {0}


def test_alarms_can_be_kept() -> None:
    site = FakeSite()
    found = proof(site, Recorded("cut"), Options("p", 1, 60, 5, 10_000.0, 0.02, 5.0, keep=True))
    assert all(each.proved for each in found.rounds())
    assert found.end() == []
    assert {entity.alarms[-1].state for entity in site.entities.values()} != {0}


def test_a_site_that_does_not_recover_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_REMEMBERED", 0.0)
    found = proof(FakeSite(), Recorded("cut"), problems=("mongodb is FATAL",))
    assert found.end() == ["mongodb is FATAL"]


# --- the report


ROUND = Round(3, "kill mongodb", 100, 7, 2.25, 5.5, Differences(lost=1, texts=("event x is lost",)))


def test_the_table_and_the_data() -> None:
    lines = [report.HEADER, report.row(ROUND), report.total([ROUND, ROUND], Differences(wrong=2))]
    line, below = lines[1].splitlines()
    assert below.strip() == "event x is lost"
    assert line.split() == ["3", "100", "7", "2.2", "1", "0", "0", "0", "5.5", "kill", "mongodb"]
    assert lines[2].split() == ["all", "200", "14", "2.2", "2", "0", "0", "2", "11.0"]
    assert lines[0].index("STRIKES") == line.index("kill")
    assert "  event x is lost" in report.verdict([ROUND], ["event x is lost"])
    assert report.verdict([ROUND], []).startswith("proved: 100 events in 1 rounds")
    data = json.loads(json.dumps(report.facts([ROUND], Differences(), ["event x is lost"], 4)))
    assert (data["proved"], data["seed"], data["rounds"][0]["differences"]["lost"]) == (False, 4, 1)
