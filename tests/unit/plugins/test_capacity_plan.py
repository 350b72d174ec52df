"""Whether a host can carry its roles, by tables of figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.canopsis_capacity import (
    GB,
    MB,
    Finding,
    Found,
    Listener,
    Needed,
    as_rows,
    cache_gb,
    check,
    memory_ask,
    table,
    working_set,
)

ALL = ("mongodb", "rabbitmq", "engines", "webserver", "collectd")
GOOD = Found(
    name="n1",
    memory=8 * GB,
    free=100 * GB,
    held=0,
    indexes=0,
    mount="/",
    open_files=65536,
    python=(3, 11),
    machine="x86_64",
)
WANTED = Needed(roles=ALL, disk_gb=20, read_share=0.1, data_path="/data", ports={8082: "canopsis_web_port"})


def test_a_good_host_has_no_finding() -> None:
    assert check(GOOD, WANTED) == []


def test_g1_who_is_not_root_needs_setfacl_to_become_the_site_s_user() -> None:
    bare = replace(GOOD, acl=False)
    assert check(bare, WANTED) == []
    assert check(GOOD, replace(WANTED, login="debian")) == []
    (finding,) = check(bare, replace(WANTED, login="debian"))
    assert (finding.check, finding.variable) == ("acl", "ansible_user")
    assert "apt-get install acl" in finding.needed


@pytest.mark.parametrize(
    ("free_gb", "held_gb", "floor", "passes"),
    [
        (20, 0, 20, True),
        (19, 0, 20, False),
        (6, 15, 20, True),
        (4, 15, 20, False),
        (0, 20, 20, True),
        (19.99, 0, 20, False),
        (2, 0, 2, True),
        (1.9, 0, 2, False),
        (0, 0, 0, True),
    ],
)
def test_free_space_counts_with_what_the_data_path_holds(
    free_gb: float, held_gb: float, floor: float, passes: bool
) -> None:
    found = replace(GOOD, free=int(free_gb * GB), held=int(held_gb * GB))
    findings = check(found, replace(WANTED, disk_gb=floor, read_share=0.0))
    assert [f.variable for f in findings] == ([] if passes else ["preflight_disk_gb"])


@pytest.mark.parametrize(
    ("free_gb", "held_gb", "variables"),
    [
        (6, 15, []),
        (5, 0.3, []),
        (4.9, 15, ["preflight_disk_running_gb"]),
        (0, 100, ["preflight_disk_running_gb"]),
    ],
)
def test_a_database_that_is_there_has_a_lower_floor(free_gb: float, held_gb: float, variables: list[str]) -> None:
    found = replace(GOOD, free=int(free_gb * GB), held=int(held_gb * GB), database=True)
    findings = check(found, replace(WANTED, running_gb=5, read_share=0.0))
    assert [f.variable for f in findings] == variables


def test_the_disk_finding_says_mount_have_and_need() -> None:
    (finding,) = check(replace(GOOD, free=19 * GB, mount="/srv"), WANTED)
    assert finding == Finding(
        "n1", "disk of /data", "19.0 GB free and 0.0 GB in use by it on /srv", "20 GB", "preflight_disk_gb"
    )


def test_a_host_without_mongodb_needs_no_disk_and_any_processor() -> None:
    found = replace(GOOD, free=0, machine="aarch64")
    assert check(found, replace(WANTED, roles=("engines", "webserver"))) == []


@pytest.mark.parametrize(
    ("roles", "megabytes"),
    [((), 200), (("mongodb",), 584), (("rabbitmq", "collectd"), 530), (ALL, 1364), (("unknown",), 200)],
)
def test_roles_ask_for_memory(roles: tuple[str, ...], megabytes: int) -> None:
    assert memory_ask(roles) == megabytes


@pytest.mark.parametrize(
    ("memory_mb", "given_mb", "passes"),
    [(1364, 0, True), (1363, 0, False), (4000, 8000, False), (500, 400, True)],
)
def test_memory_is_computed_or_given(memory_mb: int, given_mb: int, passes: bool) -> None:
    findings = check(replace(GOOD, memory=memory_mb * MB), replace(WANTED, memory_mb=given_mb))
    assert [f.variable for f in findings] == ([] if passes else ["preflight_memory_mb"])


@pytest.mark.parametrize(
    ("held", "indexes", "share", "expected"),
    [(10 * GB, 1 * GB, 1 / 9, 2 * GB), (0, 0, 0.1, 0), (5 * GB, 5 * GB, 0.5, 5 * GB), (1 * GB, 2 * GB, 0.5, 2 * GB)],
)
def test_the_working_set_is_indexes_and_a_share_of_the_data(
    held: int, indexes: int, share: float, expected: int
) -> None:
    assert working_set(held, indexes, share) == pytest.approx(expected, abs=2)


def test_a_working_set_larger_than_memory_warns_and_does_not_refuse() -> None:
    found = replace(GOOD, held=50 * GB, indexes=9 * GB)
    (finding,) = check(found, WANTED)
    assert finding.level == "warning"
    assert finding.variable == "preflight_read_share"
    assert finding.needed.startswith("13.1 GB")


@pytest.mark.parametrize(
    ("listener", "refused"),
    [
        (Listener(8082, "nginx (pid 7, root)", False), True),
        (Listener(8082, "gunicorn (pid 8, canopsis)", True), False),
        (Listener(9999, "other", False), False),
    ],
)
def test_a_port_is_free_or_ours(listener: Listener, refused: bool) -> None:
    findings = check(replace(GOOD, listeners=(listener,)), WANTED)
    assert [(f.check, f.variable) for f in findings] == ([("port 8082", "canopsis_web_port")] if refused else [])
    assert all("nginx" in f.found for f in findings)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"python": (3, 9)}, "Python"),
        ({"venv": False}, "Python"),
        ({"machine": "aarch64"}, "processor"),
        ({"open_files": 1024}, "open files"),
    ],
)
def test_the_system_is_looked_at(changes: dict[str, Any], what: str) -> None:
    assert [f.check for f in check(replace(GOOD, **changes), WANTED)] == [what]


def test_everything_wrong_is_found_at_once() -> None:
    bad = replace(
        GOOD,
        free=0,
        memory=100 * MB,
        python=(3, 9),
        open_files=10,
        machine="arm",
        listeners=(Listener(8082, "x", False),),
    )
    assert len(check(bad, WANTED)) == 6


@pytest.mark.parametrize(
    ("memory_gb", "roles", "most", "expected"),
    [
        (1, ALL, 0.0, 0.25),
        (2, ALL, 0.0, 0.5),
        (8, ALL, 0.0, 3.5),
        (8, ("mongodb",), 0.0, 3.75),
        (8, ALL, 1.0, 1.0),
        (0.5, ALL, 1.0, 0.25),
    ],
)
def test_the_cache_is_half_of_what_the_others_leave(
    memory_gb: float, roles: tuple[str, ...], most: float, expected: float
) -> None:
    assert cache_gb(int(memory_gb * GB), roles, most) == expected


def test_the_table_shows_errors_first_and_every_column() -> None:
    rows = as_rows(
        [
            Finding("a", "working set", "1 GB", "2 GB", "preflight_read_share", "warning"),
            Finding("b", "port 1", "taken by x", "a free port", "canopsis_web_port"),
        ]
    )
    lines = table(rows).splitlines()
    assert lines[0].split() == ["HOST", "CHECK", "FOUND", "NEEDED", "VARIABLE"]
    assert lines[1].startswith("b ")
    assert "canopsis_web_port" in lines[1]
    assert lines[2].endswith("warning")
    assert lines[0].index("VARIABLE") == lines[1].index("canopsis_web_port") == lines[2].index("preflight_read_share")


def test_hosts_of_which_the_same_is_said_share_a_line() -> None:
    rows = as_rows(Finding(host, "secret", "no value", "a value", name) for host in "cab" for name in ("one", "two"))
    rows += as_rows([Finding("a", "secret", "no value", "a value", "one", "warning")])
    assert [line.split("secret")[0].strip() for line in table(rows).splitlines()[1:]] == ["a, b, c", "a, b, c", "a"]
