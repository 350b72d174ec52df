"""When a killed supervisord is brought back, and when it is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from canopsis.errors import SiteError
from canopsis.ops import daemon, keeper, processes
from canopsis.ops.prefix import Prefix
from canopsis.ops.processes import Process

NOBODY = 2**22 + 1
"""A process id beyond the largest there can be."""

OURS = Process(NOBODY, 1, NOBODY, NOBODY, ("supervisord",))


@pytest.fixture
def starts(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the next tries to start give: ``up``, or ``stopped`` (up, then ended in order), or an error."""
    given: list[str] = []

    def ensure(_prefix: Prefix, _say: Callable[[str], None], *, everything: bool) -> bool:
        assert everything, "what ran is wanted again"
        outcome = given.pop(0)
        if outcome == "stopped":
            prefix.pid_file.unlink()
        elif outcome != "up":
            raise SiteError(outcome)
        return True

    prefix.run.mkdir(parents=True, exist_ok=True)
    prefix.pid_file.write_text(str(OURS.pid))
    monkeypatch.setattr(daemon, "ensure", ensure)
    monkeypatch.setattr(daemon, "running", lambda _prefix: OURS)
    monkeypatch.setattr(daemon, "answers", lambda _prefix: False)
    return given


def kept(prefix: Prefix) -> list[str]:
    said: list[str] = []
    keeper.keep(prefix, said.append, pause=0.0)
    return said


def test_nothing_runs(prefix: Prefix, starts: list[str]) -> None:
    prefix.pid_file.unlink()
    assert (kept(prefix), starts) == ([], [])


def test_it_ends_in_order(prefix: Prefix, starts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "await_end", lambda _pid, _timeout: prefix.pid_file.unlink() or True)
    assert (kept(prefix), starts) == ([], [])


def test_each_kill_is_a_start(prefix: Prefix, starts: list[str]) -> None:
    starts += ["up", "up", "stopped"]
    assert len(kept(prefix)) == 3
    assert starts == []


def test_what_does_not_come_up_is_tried_again(prefix: Prefix, starts: list[str]) -> None:
    starts += ["no room on the disk", "no room on the disk", "stopped"]
    killed, *errors = kept(prefix)
    assert "was killed" in killed
    assert errors == ["no room on the disk"] * 2


def test_one_that_lives_on_is_waited_for(prefix: Prefix, starts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([False, False, True])
    monkeypatch.setattr(processes, "await_end", lambda _pid, _timeout: next(ends))
    starts += ["stopped"]
    assert len(kept(prefix)) == 1
    assert list(ends) == []


def test_one_that_did_not_live_long_has_to_wait(prefix: Prefix, starts: list[str]) -> None:
    said: list[str] = []
    starts += ["stopped"]
    before = keeper.time.monotonic()
    keeper.keep(prefix, said.append, pause=0.2)
    assert keeper.time.monotonic() - before >= 0.2
