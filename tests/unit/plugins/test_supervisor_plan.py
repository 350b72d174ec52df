"""What supervisord is told: only what changed restarts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from ansible.module_utils.canopsis_supervisor import Files, Plan, plan


def files(added: Iterable[str] = (), changed: Iterable[str] = (), removed: Iterable[str] = ()) -> Files:
    """Return what supervisord says of its files."""
    return Files(frozenset(added), frozenset(changed), frozenset(removed))


UP = {"engine-cleaner": "RUNNING", "engine-worker": "RUNNING"}
BOTH = ["engine-cleaner", "engine-worker"]
CASES = [
    ("nothing to do", BOTH, files(), UP, False, Plan()),
    ("all new", BOTH, files(added=BOTH), {}, False, Plan(start=tuple(BOTH))),
    ("one changed", BOTH, files(changed=["engine-worker"]), UP, False, Plan(replace=("engine-worker",))),
    ("one added", [*BOTH, "engine-x"], files(added=["engine-x"]), UP, False, Plan(start=("engine-x",))),
    ("one gone", BOTH[:1], files(removed=["engine-worker"]), UP, False, Plan(remove=("engine-worker",))),
    ("gone, file still there", BOTH[:1], files(), UP, False, Plan(remove=("engine-worker",))),
    ("a file put right", BOTH, files(), UP, True, Plan(restart=tuple(BOTH))),
    ("put right and one changed", BOTH, files(changed=BOTH[1:]), UP, True, Plan(replace=("engine-worker",))),
    ("put right and one added", [*BOTH, "engine-x"], files(added=["engine-x"]), UP, True, Plan(start=("engine-x",))),
    ("put right and one gone", BOTH[:1], files(removed=BOTH[1:]), UP, True, Plan(remove=("engine-worker",))),
    (
        "one stopped by hand",
        BOTH,
        files(),
        {**UP, "engine-worker": "STOPPED"},
        False,
        Plan(start=("engine-worker",)),
    ),
    ("one given up", BOTH, files(), {**UP, "engine-worker": "FATAL"}, False, Plan(start=("engine-worker",))),
    ("one starting", BOTH, files(), {**UP, "engine-worker": "STARTING"}, False, Plan()),
    (
        "put right, one stopped",
        BOTH,
        files(),
        {**UP, "engine-worker": "EXITED"},
        True,
        Plan(restart=("engine-cleaner",), start=("engine-worker",)),
    ),
    (
        "others are left alone",
        BOTH,
        files(changed=["mongodb"]),
        {**UP, "mongodb": "RUNNING", "collectd": "STOPPED"},
        False,
        Plan(),
    ),
]


@pytest.mark.parametrize(
    ("wanted", "found", "states", "drifted", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_plan(wanted: list[str], found: Files, states: dict[str, str], drifted: bool, expected: Plan) -> None:
    assert plan(wanted, "engine-*", found, states, drifted) == expected


def test_a_program_without_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no program file names engine-x; write etc/supervisord\.d"):
        plan(["engine-x"], "", files(), {}, False)


def test_without_family_nothing_is_taken_out() -> None:
    assert plan(["mongodb"], "", files(), {"mongodb": "RUNNING", "old": "RUNNING"}, False) == Plan()


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_each_program_has_one_step(case: tuple[str, list[str], Files, dict[str, str], bool, Plan]) -> None:
    steps = plan(case[1], "engine-*", case[2], case[3], case[4])
    names = [line.split()[1] for line in steps.lines]
    assert len(names) == len(set(names))


def test_lines_say_what_is_done() -> None:
    assert Plan(("a",), ("b",), ("c",), ("d",)).lines == ["remove a", "replace b", "restart c", "start d"]


HOLDING = [
    ("nothing to do", Plan(), UP, Plan(), ()),
    ("what runs is held", Plan(replace=("engine-worker",)), UP, Plan(), ("engine-worker",)),
    ("what is down is replaced", Plan(replace=("a",)), {"a": "FATAL"}, Plan(replace=("a",)), ()),
    ("restarts are held", Plan(restart=("b", "a")), {"a": "RUNNING", "b": "STARTING"}, Plan(), ("a", "b")),
    (
        "starts and removals go on",
        Plan(("x",), ("a",), (), ("n",)),
        {"a": "RUNNING"},
        Plan(("x",), (), (), ("n",)),
        ("a",),
    ),
]


@pytest.mark.parametrize(
    ("steps", "states", "now", "held"), [case[1:] for case in HOLDING], ids=[case[0] for case in HOLDING]
)
def test_what_runs_can_be_held_for_a_restart_host_by_host(
    steps: Plan, states: dict[str, str], now: Plan, held: tuple[str, ...]
) -> None:
    assert steps.holding(states) == (now, held)


PATHS = ["etc/amqp2engines.conf", "etc/engines/worker.conf", "etc/engines/x.conf", "etc/supervisord.d/collectd.conf"]


def test_g10_files_to_come_are_taken_as_supervisord_would_find_them() -> None:
    found = files().with_written(PATHS, UP)
    assert (found.added, found.changed) == ({"engine-x", "collectd"}, {"engine-worker"})
    assert plan([*BOTH, "engine-x"], "engine-*", found, UP, True) == Plan(
        replace=("engine-worker",), start=("engine-x",)
    )
