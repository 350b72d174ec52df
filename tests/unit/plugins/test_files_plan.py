"""Configuration files: what is written, what is left alone, what is shown."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.canopsis_files import Found, Plan, Wanted, differences, inside, octal, plan, wanted_of

A = Wanted("etc/a.conf", "one\n", 0o644)


@pytest.mark.parametrize(
    ("found", "written", "chmodded"),
    [
        (Found(None), ["etc/a.conf"], []),
        (Found("one\n", 0o644), [], []),
        (Found("two\n", 0o644), ["etc/a.conf"], []),
        (Found("one\n", 0o600), [], ["etc/a.conf"]),
        (Found("two\n", 0o600), ["etc/a.conf"], []),
        (Found("", 0o644), ["etc/a.conf"], []),
    ],
)
def test_only_what_differs_is_touched(found: Found, written: list[str], chmodded: list[str]) -> None:
    steps = plan([A], {A.path: found}, [], [])
    assert [w.path for w in steps.write] == written
    assert [w.path for w in steps.chmod] == chmodded
    assert steps.paths == written + chmodded


@pytest.mark.parametrize(
    ("prune", "present", "removed"),
    [
        (["etc/*.conf"], ["etc/a.conf", "etc/b.conf"], ("etc/b.conf",)),
        (["etc/*.conf"], ["etc/a.conf"], ()),
        ([], ["etc/b.conf"], ()),
        (["etc/engines/*.conf"], ["etc/b.conf", "etc/engines/x.conf"], ("etc/engines/x.conf",)),
    ],
)
def test_pruning_takes_what_nobody_wants(prune: list[str], present: list[str], removed: tuple[str, ...]) -> None:
    assert plan([A], {A.path: Found("one\n", 0o644)}, prune, present).remove == removed


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "etc/../../x", ""])
def test_a_path_outside_the_prefix_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="inside the prefix"):
        inside(path)


@pytest.mark.parametrize(("mode", "number"), [("0644", 0o644), ("600", 0o600), ("0400", 0o400)])
def test_modes_are_octal(mode: str, number: int) -> None:
    assert octal(mode) == number


@pytest.mark.parametrize("mode", ["", "9", "u=rw", "0o644", "00644", "0689"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="octal digits"):
        octal(mode)


@pytest.mark.parametrize(
    ("content", "secret"),
    [("a", "b"), (None, None)],
)
def test_a_file_has_one_content(content: str | None, secret: str | None) -> None:
    with pytest.raises(ValueError, match=r"etc/a: give either"):
        wanted_of([{"path": "etc/a", "mode": "0600", "content": content, "secret_content": secret}])


def test_texts_end_with_one_newline() -> None:
    (wanted,) = wanted_of([{"path": "etc/a", "mode": "0600", "content": "x\n\n", "secret_content": None}])
    assert wanted == Wanted("etc/a", "x\n", 0o600)


def test_differences_of_secret_files_show_no_text() -> None:
    steps = Plan(write=(Wanted("etc/s", "topsecret\n", 0o600, True),))
    (shown,) = differences(steps, {"etc/s": Found("oldsecret\n", 0o600)})
    assert "secret" not in shown["before"] + shown["after"]
    assert shown["before"] != shown["after"]


def test_differences_of_plain_files_show_both_texts_modes_and_removals() -> None:
    b = Wanted("etc/b", "x\n", 0o644)
    steps = Plan(write=(A,), chmod=(b,), remove=("etc/old",))
    shown = differences(steps, {A.path: Found("zero\n"), b.path: Found("x\n", 0o600)})
    assert [(d["before"], d["after"]) for d in shown] == [
        ("zero\n", "one\n"),
        ("mode 0600\n", "mode 0644\n"),
        ("(present)\n", ""),
    ]


class Module:
    """As much of AnsibleModule as the module's run() needs."""

    def __init__(self, root: Path, *, check_mode: bool = False, **params: Any) -> None:
        self.check_mode = check_mode
        self.params = {"root": str(root), "directories": [], "files": [], "prune": [], **params}


FILES = [
    {"path": "etc/a.conf", "mode": "0644", "content": "one", "secret_content": None},
    {"path": "etc/key", "mode": "0400", "content": None, "secret_content": "s3cret"},
]


def test_run_writes_once_and_then_changes_nothing(module_of: Callable[[str], ModuleType], tmp_path: Path) -> None:
    run = module_of("canopsis_files").run
    wanted: dict[str, Any] = {"files": FILES, "directories": [{"path": "var/run", "mode": "0750"}]}
    first = run(Module(tmp_path, **wanted))
    assert first["changed"]
    assert (tmp_path / "etc/key").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "var/run").stat().st_mode & 0o777 == 0o750
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = run(Module(tmp_path, **wanted))
    assert not second["changed"]
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_check_mode_tells_and_writes_nothing(module_of: Callable[[str], ModuleType], tmp_path: Path) -> None:
    result = module_of("canopsis_files").run(Module(tmp_path, check_mode=True, files=FILES))
    assert result["paths"] == ["etc/a.conf", "etc/key"]
    assert list(tmp_path.iterdir()) == []


def test_run_replaces_a_read_only_file_and_prunes(module_of: Callable[[str], ModuleType], tmp_path: Path) -> None:
    run = module_of("canopsis_files").run
    run(Module(tmp_path, files=FILES))
    (tmp_path / "etc/old.conf").write_text("x")
    changed = [{**FILES[1], "secret_content": "other"}, FILES[0]]
    result = run(Module(tmp_path, files=changed, prune=["etc/*.conf"]))
    assert result["paths"] == ["etc/key", "etc/old.conf"]
    assert (tmp_path / "etc/key").read_text() == "other\n"
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["a.conf", "key"]


def test_a_path_that_cannot_be_made_is_told_with_its_folder(
    module_of: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    files = module_of("canopsis_files")
    (tmp_path / "var").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="Not a directory") as caught:
        files.make_directories(tmp_path, [("var/cache", 0o755)])
    assert files.told(caught.value, str(tmp_path)) == (
        f"{tmp_path}/var/cache: Not a directory; look at owner and mode of it and of {tmp_path}/var"
    )


def test_a_full_disk_is_told_with_the_prefix(module_of: Callable[[str], ModuleType]) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    assert module_of("canopsis_files").told(error, "/site") == "/site: No space left on device"
