"""The test run itself: what it leaves about its stages, what it shows, and what it asks for before it begins."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import last_run
import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = "from canopsis.core import ONE\n\n\ndef test_scratch():\n    assert ONE == 1\n"
SETTINGS = """
[tool.importlinter]
root_package = "canopsis"
[[tool.importlinter.contracts]]
name = "one"
type = "layers"
layers = ["canopsis.core"]
"""
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTEST_", "CANOPSIS_"))}
NAME = ("-c", "user.name=t", "-c", "user.email=t@localhost")


class Scratch:
    """A small checkout with the script, one test and the Python environment of this run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("run-tests.sh", "tests/conftest.py", "tests/last_run.py"):
            self.put(name, (ROOT / name).read_text())
        (folder / "run-tests.sh").chmod(0o755)
        self.put("tests/unit/test_scratch.py", GOOD)
        self.put("canopsis/__init__.py", "")
        self.put("canopsis/core/__init__.py", "ONE = 1\n")
        self.put("pyproject.toml", SETTINGS)
        self.put(".gitignore", "log/\n.venv/\n__pycache__/\n.pytest_cache/\n.import_linter_cache/\n")
        self.put("requirements/dev.txt", "")
        said = subprocess.run(["python3", "--version"], capture_output=True, check=True).stdout
        self.put(".venv/complete", f"{hashlib.sha256(said).hexdigest()}  -\n")
        (folder / ".venv/bin").symlink_to(Path(sys.prefix) / "bin")

    def put(self, name: str, content: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(content)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *NAME, *arguments], cwd=self.folder, env=ENVIRON, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def commit(self) -> str:
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "one")
        return self.git("rev-parse", "HEAD")

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "run-tests.sh"), *arguments]
        return subprocess.run(command, env=ENVIRON | environ, capture_output=True, text=True, check=False)

    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "log/tests/last.json").read_text())
        return found

    def results(self) -> dict[str, str]:
        return {name: stage["result"] for name, stage in self.last()["stages"].items()}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def test_stages_of_one_clean_commit_gather(scratch: Scratch) -> None:
    commit = scratch.commit()
    done = scratch.run("unit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests/unit/test_scratch.py::test_scratch" in done.stdout.partition("slowest tests, in seconds")[2]
    first = scratch.last()
    assert (first["commit"], first["dirty"], scratch.results()) == (commit, False, {"unit": "ok"})
    assert isinstance(first["stages"]["unit"]["seconds"], int)
    scratch.run("layers")
    assert scratch.results() == {"unit": "ok", "layers": "ok"}
    assert scratch.last()["stages"]["unit"] == first["stages"]["unit"]


def test_some_tests_of_a_stage_say_nothing_about_it(scratch: Scratch) -> None:
    scratch.commit()
    scratch.run("unit")
    before = scratch.last()
    assert scratch.run("unit", "-k", "nothing").returncode != 0
    assert scratch.run("tests/unit/test_scratch.py").returncode == 0
    assert scratch.last() == before


def test_a_failure_and_another_commit_begin_anew(scratch: Scratch) -> None:
    scratch.commit()
    scratch.run("layers")
    scratch.put("tests/unit/test_scratch.py", GOOD.replace("== 1", "== 2"))
    assert scratch.run("unit").returncode == 1
    assert (scratch.last()["dirty"], scratch.results()) == (True, {"unit": "failed"})
    commit = scratch.commit()
    scratch.run("layers")
    assert (scratch.last()["commit"], scratch.last()["dirty"]) == (commit, False)
    assert scratch.results() == {"layers": "ok"}


def test_a_tree_that_changes_under_the_run_is_no_commits() -> None:
    begun = last_run.begun({}, "a", False, ("unit",))
    assert last_run.ended(begun, "a", False, "unit", good=True, seconds=1)["dirty"] is False
    assert last_run.ended(begun, "b", False, "unit", good=True, seconds=1)["dirty"] is True
    assert last_run.ended(begun, "a", True, "unit", good=True, seconds=1)["dirty"] is True


def test_a_stage_that_runs_again_is_not_told_from_the_run_before() -> None:
    last = {"commit": "a", "dirty": False, "stages": {"unit": {"result": "ok", "seconds": 1}, "site": {}}}
    assert last_run.begun(last, "a", False, ("unit",))["stages"] == {"site": {}}


def test_f8_a_checkout_without_a_repository_is_tested(scratch: Scratch) -> None:
    done = scratch.run("unit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert scratch.last()["commit"] is None
    assert scratch.results() == {"unit": "ok"}


def _tools_without(tmp_path: Path, *missing: str) -> str:
    """Return a PATH of all commands of this host but those."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin"):
        for command in Path(folder).glob("*"):
            if command.name not in missing and not (tools / command.name).exists():
                (tools / command.name).symlink_to(command)
    return str(tools)


def test_f8_git_is_asked_for_before_anything_runs(scratch: Scratch, tmp_path: Path) -> None:
    done = scratch.run("unit", PATH=_tools_without(tmp_path, "git", "apt-get"))
    assert done.returncode == 1
    assert "CANNOT RUN: git lists the files of the checkout" in done.stderr
    assert "=== unit" not in done.stdout
    assert shutil.which("git"), "this host has git: it was hidden"


AS_USER = ["unshare", "--user", "--map-user=1000"] if os.geteuid() == 0 else []


@pytest.mark.skipif(
    bool(AS_USER) and subprocess.run([*AS_USER, "true"], capture_output=True, check=False).returncode != 0,
    reason="root cannot become somebody else here (unshare --user)",
)
def test_f8_a_user_is_told_at_once_all_that_is_missing(scratch: Scratch, tmp_path: Path) -> None:
    environment = ENVIRON | {"PATH": _tools_without(tmp_path, "git", "python3")}
    command = [*AS_USER, "./run-tests.sh", "unit"]
    done = subprocess.run(command, cwd=scratch.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CANNOT RUN: git lists the files of the checkout; there is no python3" in done.stderr
    assert done.stderr.endswith("apt-get install --no-install-recommends git python3-venv\n")
    assert "=== unit" not in done.stdout
