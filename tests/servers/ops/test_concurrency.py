"""Several commands at once, and things that die in the middle of one: never two copies, never a traceback."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from scratch_host import SERVICES, Host
from servers import free_port

from canopsis.errors import SiteError
from canopsis.ops import daemon, processes, services, supervisor
from canopsis.ops.wait import until

LATE = """
import pathlib, select, signal
while not pathlib.Path({gate!r}).exists():
    select.select([], [], [], 0.02)
import socket
server = socket.create_server(("127.0.0.1", {port}))
signal.pause()
"""

RELUCTANT = """
import pathlib, select, signal, sys
def leave(*_):
    while not pathlib.Path({gate!r}).exists():
        select.select([], [], [], 0.02)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
pathlib.Path({gate!r}).with_name("ready").touch()
while True:
    signal.pause()
"""

Done = subprocess.CompletedProcess[str]


def at_once(host: Host, *commands: Sequence[str]) -> list[Done]:
    """Run commands at the same time; none may end with a traceback."""
    with ThreadPoolExecutor(len(commands)) as pool:
        running = [pool.submit(host.command, *command, timeout=300) for command in commands]
        return [checked(future) for future in running]


def checked(future: Future[Done]) -> Done:
    done = future.result()
    assert "Traceback" not in done.stderr, done.stderr
    return done


def daemons(host: Host) -> int:
    return len(daemon.all_running(host.prefix))


def copies(host: Host) -> dict[str, int]:
    return {name: len(pids) for name, pids in host.pids().items()}


def test_two_starts_of_the_host(site: Host) -> None:
    results = at_once(site, ("hypcontrol", "start"), ("hypcontrol", "start"))
    assert [done.returncode for done in results] == [0, 0], [done.stdout + done.stderr for done in results]
    assert sum("starting supervisord" in done.stdout for done in results) == 1
    assert daemons(site) == 1
    assert copies(site) == dict.fromkeys(SERVICES, 1)


def test_two_stops_of_the_host(site: Host) -> None:
    assert site.command("hypcontrol", "start").returncode == 0
    results = at_once(site, ("hypcontrol", "stop"), ("hypcontrol", "stop"))
    assert all(done.returncode in (0, 1) for done in results)
    assert daemons(site) == 0
    assert copies(site) == {}


def test_a_start_and_a_stop(site: Host) -> None:
    site.command("hypcontrol", "start")
    results = at_once(site, ("hypcontrol", "stop"), ("hypcontrol", "start"))
    assert all(done.returncode in (0, 1) for done in results)
    assert daemons(site) <= 1
    assert all(number == 1 for number in copies(site).values())
    assert site.command("hypcontrol", "start").returncode == 0
    assert copies(site) == dict.fromkeys(SERVICES, 1)


def test_restarts_of_one_service(site: Host) -> None:
    site.command("service", "webserver", "start")
    results = at_once(site, *[("service", "webserver", "restart")] * 3)
    assert all(done.returncode in (0, 1) for done in results)
    assert site.command("service", "webserver", "start").returncode == 0
    assert copies(site)["webserver"] == 1


def test_different_services_of_a_host_that_is_down(site: Host) -> None:
    names = ("mongodb", "rabbitmq-server", "amqp2engines", "webserver")
    results = at_once(site, *[("service", name, "start") for name in names])
    assert [done.returncode for done in results] == [0, 0, 0, 0], [done.stderr for done in results]
    assert daemons(site) == 1
    assert copies(site) == dict.fromkeys(SERVICES, 1)


def test_recovering_at_once(site: Host) -> None:
    site.command("hypcontrol", "start")
    site.kill_supervisord()
    results = at_once(site, ("hypcontrol", "start"), ("service", "mongodb", "start"), ("service", "--status-all"))
    assert [done.returncode for done in results[:2]] == [0, 0], [done.stdout + done.stderr for done in results]
    assert daemons(site) == 1
    assert copies(site) == dict.fromkeys(SERVICES, 1)


@pytest.fixture
def slow(host: Host) -> Host:
    """A host whose database answers only once the file ``gate`` is there."""
    gate, port = host.prefix.path / "gate", free_port()
    # Not by supervisord itself: that it runs shows that the command has asked for it.
    host.program("mongodb", LATE.format(gate=str(gate), port=port), autostart=False)
    host.write("etc/mongodb.conf", f"port = {port}\n")
    host.write("etc/hypcontrol.conf", "[backend]\nservices = mongodb\n")
    return host


def begun(host: Host, pool: ThreadPoolExecutor, *command: str) -> Future[Done]:
    """Begin a command and wait until the database runs but does not answer yet."""
    future = pool.submit(host.command, *command)
    assert until(lambda: daemon.answers(host.prefix) and services.status(host.prefix, "mongodb")[0].ok, 60)
    assert not future.done()
    return future


def test_supervisord_dies_in_the_middle_of_a_start(slow: Host) -> None:
    with ThreadPoolExecutor(1) as pool:
        starting = begun(slow, pool, "service", "mongodb", "start")
        slow.kill_supervisord()
        done = checked(starting)
    assert done.returncode == 1
    assert "supervisord does not " in done.stderr
    (slow.prefix.path / "gate").touch()
    assert slow.command("service", "mongodb", "start").returncode == 0
    assert copies(slow) == {"mongodb": 1}


def test_a_program_dies_in_the_middle_of_its_start(slow: Host) -> None:
    with ThreadPoolExecutor(1) as pool:
        starting = begun(slow, pool, "service", "mongodb", "start")
        processes.end(slow.pids()["mongodb"], signal.SIGKILL, 10)
        (slow.prefix.path / "gate").touch()
        done = checked(starting)
    assert done.returncode == 0, done.stderr
    assert copies(slow) == {"mongodb": 1}


def test_a_stop_in_the_middle_of_a_start(slow: Host) -> None:
    with ThreadPoolExecutor(1) as pool:
        starting = begun(slow, pool, "service", "mongodb", "start", "--timeout", "20")
        assert slow.command("service", "mongodb", "stop").returncode == 0
        done = checked(starting)
    assert done.returncode == 1
    assert "mongodb does not come up: STOPPED" in done.stderr
    assert copies(slow) == {}


def test_a_whole_host_stopped_in_the_middle_of_a_start(slow: Host) -> None:
    with ThreadPoolExecutor(1) as pool:
        starting = begun(slow, pool, "hypcontrol", "start")
        assert slow.command("hypcontrol", "stop").returncode == 0
        assert checked(starting).returncode == 1
    assert daemons(slow) == 0
    assert copies(slow) == {}


def test_an_interrupted_start_goes_on_by_itself(slow: Host) -> None:
    starting = slow.begin("service", "mongodb", "start")
    assert until(lambda: daemon.answers(slow.prefix) and services.status(slow.prefix, "mongodb")[0].ok, 60)
    starting.send_signal(signal.SIGINT)
    _, errors = starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert errors == "interrupted: run the same again, it goes on from what is there\n"
    (slow.prefix.path / "gate").touch()
    assert slow.command("service", "mongodb", "start").returncode == 0
    assert copies(slow) == {"mongodb": 1}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_any_program_that_is_killed_comes_back_once(site: Host, name: str) -> None:
    site.command("hypcontrol", "start")
    others = {other: pids for other, pids in site.pids().items() if other != name}
    old = site.pids()[name]
    assert processes.end(old, signal.SIGKILL, 10) == []
    assert until(lambda: site.pids().get(name, old) != old, 60)
    assert copies(site) == dict.fromkeys(SERVICES, 1)
    assert {other: pids for other, pids in site.pids().items() if other != name} == others
    assert site.command("hypcontrol", "start").returncode == 0
    assert site.command("hypcontrol", "status").returncode == 0


def test_everything_is_killed_at_once(site: Host) -> None:
    site.command("hypcontrol", "start")
    everything = [*site.keepers(), site.supervisord(), *(pid for pids in site.pids().values() for pid in pids)]
    assert processes.end(everything, signal.SIGKILL, 10) == []
    assert site.command("hypcontrol", "status").returncode == 1
    assert site.command("hypcontrol", "start").returncode == 0
    assert copies(site) == dict.fromkeys(SERVICES, 1)


@pytest.fixture
def leaving(host: Host) -> Host:
    """A host whose supervisord ends, held up by a program that ends once the file ``gate`` is there."""
    host.program("collectd", RELUCTANT.format(gate=str(host.prefix.path / "gate")), stopwaitsecs=60)
    services.start(host.prefix, "collectd", host.say)
    assert until((host.prefix.path / "ready").exists, 60)
    ending = supervisor.Supervisor(host.prefix.socket)
    processes.end(host.keepers(), signal.SIGTERM, 10)
    ending.shutdown()
    assert until(ending.is_ending, 60)
    return host


class TestLeaving:
    """A supervisord that ends refuses every question: commands say so, or wait for its end."""

    def test_status(self, leaving: Host) -> None:
        done = leaving.command("service", "collectd", "status")
        assert (done.returncode, done.stderr) == (1, "")
        assert "ends just now or does not answer" in done.stdout
        (leaving.prefix.path / "gate").touch()

    def test_what_asks_it(self, leaving: Host) -> None:
        with pytest.raises(SiteError, match="ends just now: run this again when it has ended"):
            supervisor.Supervisor(leaving.prefix.socket).programs()
        (leaving.prefix.path / "gate").touch()

    @pytest.mark.parametrize("verb", ["start", "restart"])
    def test_a_start_waits_and_begins_anew(self, leaving: Host, verb: str) -> None:
        code, errors = released(leaving, verb)
        assert code == 0, errors
        assert copies(leaving) == {"collectd": 1}
        assert daemons(leaving) == 1

    def test_a_stop_waits(self, leaving: Host) -> None:
        code, errors = released(leaving, "stop")
        assert code == 0, errors
        assert copies(leaving) == {}


def released(host: Host, verb: str) -> tuple[int, str]:
    """Give a command to a host that leaves; let it go once the command waits. Return its exit code and errors."""
    with host.begin("service", "collectd", verb) as process:
        assert process.stdout.readline().startswith("waiting for supervisord (pid ")
        assert process.poll() is None
        (host.prefix.path / "gate").touch()
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode, errors


@pytest.fixture
def frozen(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host whose supervisord holds its socket and says nothing; nobody waits long for it."""
    host.program("collectd")
    services.start(host.prefix, "collectd", host.say)
    pid = host.supervisord()
    with monkeypatch.context() as patch:
        patch.setattr(daemon, "_PATIENCE", 0.5)
        patch.setattr(supervisor, "_TIMEOUT", 0.2)
        processes.end([pid], signal.SIGSTOP, 0.0)
        yield host
        processes.end([pid], signal.SIGCONT, 0.0)
    assert services.status(host.prefix, "collectd")[0].ok


class TestFrozen:
    """A supervisord that hangs is told; nothing is started beside it, nothing of it is stopped behind its back."""

    def test_it_is_told_in_time(self, frozen: Host) -> None:
        with pytest.raises(SiteError, match=r"supervisord does not answer on .*timed out"):
            supervisor.Supervisor(frozen.prefix.socket).programs()

    def test_status(self, frozen: Host) -> None:
        (state,) = services.status(frozen.prefix, "collectd")
        assert (state.state, state.ok) == ("UNKNOWN", False)
        assert state.description.startswith("supervisord (pid ")

    def test_nothing_is_started_or_stopped(self, frozen: Host) -> None:
        before = frozen.pids()
        for act in (services.start, services.stop):
            with pytest.raises(SiteError, match=r"runs but does not answer on .*; end it with: kill -9"):
                act(frozen.prefix, "collectd", frozen.say)
        with pytest.raises(SiteError, match="runs but does not answer on"):
            daemon.shutdown(frozen.prefix, frozen.say)
        assert frozen.pids() == before
