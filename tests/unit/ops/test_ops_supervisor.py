"""supervisord spoken to, with a handed-in answer for each call."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import pytest
from supervisor.xmlrpc import Faults

from canopsis.errors import SiteError
from canopsis.ops import supervisor as module
from canopsis.ops.supervisor import DOWN, UP, Program, Reread, Supervisor

INFO: dict[str, Any] = {
    "name": "web",
    "group": "web",
    "statename": "RUNNING",
    "state": 20,
    "description": "pid 5, uptime 0:00:02",
    "pid": 5,
    "start": 100,
    "stop": 0,
    "now": 102,
    "spawnerr": "",
    "exitstatus": 0,
    "logfile": "/log/web.log",
    "stdout_logfile": "/log/web.log",
    "stderr_logfile": "",
}


class FakeProxy:
    """Stands where the XML-RPC proxy is: each method answers or raises what it was given."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.calls: list[tuple[object, ...]] = []
        self.closed = 0

    @property
    def supervisor(self) -> FakeProxy:
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def method(*params: object) -> Any:
            self.calls.append((name, *params))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method

    def __call__(self, attribute: str) -> Callable[[], None]:
        assert attribute == "close"
        self.closed += 1
        return lambda: None


def speaking(**answers: Any) -> tuple[Supervisor, FakeProxy]:
    found = Supervisor(Path("/site/var/run/supervisor.sock"))
    proxy = FakeProxy(answers)
    found._proxy = proxy  # type: ignore[assignment]
    return found, proxy


def test_programs() -> None:
    spoken, _ = speaking(getAllProcessInfo=[INFO, INFO | {"name": "a", "group": "b", "stderr_logfile": "/log/err"}])
    first, second = spoken.programs()
    assert first == Program(
        "web", "web", "RUNNING", "pid 5, uptime 0:00:02", 5, start=100, now=102, logs=("/log/web.log",)
    )
    assert (first.full_name, second.full_name) == ("web", "b:a")
    assert second.logs == ("/log/web.log", "/log/err")
    assert (first.error_log, second.error_log) == ("", "/log/err")


def test_a_program_that_is_gone_is_unknown() -> None:
    spoken, _ = speaking(getProcessInfo=Fault(Faults.BAD_NAME, "BAD_NAME: web"))
    assert spoken.program("web").state == "UNKNOWN"


def test_another_fault_is_not_swallowed() -> None:
    spoken, _ = speaking(getProcessInfo=Fault(Faults.FAILED, "FAILED"))
    with pytest.raises(Fault):
        spoken.program("web")


def test_answers() -> None:
    spoken, _ = speaking(getState={"statecode": 1, "statename": "RUNNING"})
    assert spoken.answers()
    assert not spoken.is_ending()


ENDING = Fault(Faults.SHUTDOWN_STATE, "SHUTDOWN_STATE")


def test_one_that_ends_does_not_answer() -> None:
    spoken, _ = speaking(getState=ENDING)
    assert not spoken.answers()
    assert spoken.is_ending()


@pytest.mark.parametrize("error", [Fault(Faults.FAILED, "FAILED"), ConnectionRefusedError(111, "Connection refused")])
def test_another_refusal_is_not_an_end(error: Exception) -> None:
    spoken, _ = speaking(getState=error)
    assert not spoken.is_ending()


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("getAllProcessInfo", Supervisor.programs),
        ("getProcessInfo", lambda spoken: spoken.program("web")),
        ("startProcess", lambda spoken: spoken.start("web")),
        ("stopProcess", lambda spoken: spoken.stop("web")),
        ("reloadConfig", Supervisor.reread),
        ("addProcessGroup", lambda spoken: spoken.add("web")),
    ],
)
def test_what_is_asked_of_one_that_ends(method: str, call: Callable[[Supervisor], object]) -> None:
    spoken, _ = speaking(**{method: ENDING})
    with pytest.raises(SiteError, match=r"supervisord on /site/var/run/supervisor.sock ends just now: run this again"):
        call(spoken)


@pytest.mark.parametrize("answer", [True, ENDING])
def test_the_end_is_asked_for(answer: object) -> None:
    spoken, proxy = speaking(shutdown=answer)
    spoken.shutdown()
    assert proxy.calls == [("shutdown",)]


def test_an_end_that_is_refused() -> None:
    spoken, _ = speaking(shutdown=Fault(Faults.FAILED, "FAILED"))
    with pytest.raises(SiteError, match=r"supervisor\.sock refuses to end: FAILED"):
        spoken.shutdown()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError("timed out"),
        http.client.RemoteDisconnected("gone"),
    ],
)
def test_no_answer_names_the_socket_and_begins_anew(error: Exception) -> None:
    spoken, proxy = speaking(getPID=error, getState=error)
    with pytest.raises(SiteError, match=r"supervisord does not answer on /site/var/run/supervisor.sock \(.*\)"):
        spoken.pid()
    assert proxy.closed == 1
    assert not spoken.answers()


def test_pid() -> None:
    spoken, _ = speaking(getPID=42)
    assert spoken.pid() == 42


def test_start_and_stop_do_not_wait() -> None:
    spoken, proxy = speaking(startProcess=True, stopProcess=True)
    spoken.start("web")
    spoken.stop("web")
    assert proxy.calls == [("startProcess", "web", False), ("stopProcess", "web", False)]


@pytest.mark.parametrize("fault", [Faults.ALREADY_STARTED, Faults.SPAWN_ERROR, Faults.ABNORMAL_TERMINATION])
def test_a_start_that_is_told_by_the_state_later(fault: int) -> None:
    spoken, proxy = speaking(startProcess=Fault(fault, "X"))
    spoken.start("web")
    assert len(proxy.calls) == 1


@pytest.mark.parametrize("fault", [Faults.NO_FILE, Faults.NOT_EXECUTABLE, Faults.BAD_NAME])
def test_a_start_that_cannot_be(fault: int) -> None:
    spoken, _ = speaking(startProcess=Fault(fault, "NO_FILE: /nowhere"))
    with pytest.raises(SiteError, match="web: supervisord refuses: NO_FILE: /nowhere"):
        spoken.start("web")


@pytest.mark.parametrize("fault", [Faults.NOT_RUNNING, Faults.BAD_NAME])
def test_a_stop_of_what_is_down(fault: int) -> None:
    spoken, proxy = speaking(stopProcess=Fault(fault, "X"))
    spoken.stop("web")
    assert len(proxy.calls) == 1


def test_reread() -> None:
    spoken, _ = speaking(reloadConfig=[[["a"], ["b", "c"], []]])
    assert spoken.reread() == Reread(frozenset("a"), frozenset("bc"), frozenset())


def test_reread_of_a_wrong_file() -> None:
    spoken, _ = speaking(reloadConfig=Fault(Faults.CANT_REREAD, "CANT_REREAD: bad startsecs in web.conf"))
    with pytest.raises(SiteError, match="supervisord cannot read its configuration: CANT_REREAD: bad startsecs"):
        spoken.reread()


@pytest.mark.parametrize(
    ("method", "fine", "call"),
    [
        ("addProcessGroup", Faults.ALREADY_ADDED, lambda spoken: spoken.add("web")),
        ("removeProcessGroup", Faults.BAD_NAME, lambda spoken: spoken.remove("web")),
    ],
)
def test_what_is_so_already_is_fine(method: str, fine: int, call: Callable[[Supervisor], None]) -> None:
    spoken, proxy = speaking(**{method: True})
    call(spoken)
    assert proxy.calls[0][0] == method
    call(speaking(**{method: Fault(fine, "X")})[0])
    with pytest.raises(SiteError, match=rf"supervisord refuses {method}.*: STILL_RUNNING"):
        call(speaking(**{method: Fault(Faults.STILL_RUNNING, "STILL_RUNNING: web")})[0])


def test_wait() -> None:
    states = iter(["STOPPING", "STOPPING", "STOPPED", "STOPPED"])
    spoken, _ = speaking()
    spoken.program = lambda name: Program(name, name, next(states))  # type: ignore[method-assign]
    assert spoken.wait("web", DOWN, 10).state == "STOPPED"


def test_wait_gives_up() -> None:
    spoken, _ = speaking(getProcessInfo=INFO)
    assert spoken.wait("web", DOWN, 0).state == "RUNNING"


def test_a_state_is_up_or_down_or_on_its_way() -> None:
    known = {name for name, value in vars(module.Faults).items() if isinstance(value, int)}
    assert known
    assert not UP & DOWN
    assert {"STOPPING"} | UP | DOWN == {
        "STOPPED",
        "STARTING",
        "RUNNING",
        "BACKOFF",
        "STOPPING",
        "EXITED",
        "FATAL",
        "UNKNOWN",
    }
