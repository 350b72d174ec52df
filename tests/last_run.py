"""What came of the last whole run of each stage over one commit: log/tests/last.json.

``last_run.py begin STAGE…`` before they run, ``last_run.py end STAGE STATUS SECONDS`` after each. Stages of one clean
commit gather in the file; another commit, or a tree that differs from its commit, begins a new one.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE = Path("log/tests/last.json")
Run = dict[str, Any]
"""``commit`` (none where there is no repository), ``dirty``, and by stage its ``result`` and ``seconds``."""


def main(verb: str, *rest: str) -> None:
    """Note that stages begin, or how one ended."""
    with _locked():
        if verb == "begin":
            write(begun(read(), *tree(), rest))
        else:
            stage, status, seconds = rest
            write(ended(read(), *tree(), stage, good=status == "0", seconds=int(seconds)))


def begun(last: Run, commit: str | None, dirty: bool, stages: tuple[str, ...]) -> Run:
    """Return the run without what is about to be found out anew."""
    same = commit is not None and last.get("commit") == commit and not dirty and last.get("dirty") is False
    kept = {name: found for name, found in last["stages"].items() if name not in stages} if same else {}
    return {"commit": commit, "dirty": dirty, "stages": kept}


def ended(last: Run, commit: str | None, dirty: bool, stage: str, *, good: bool, seconds: int) -> Run:
    """Return the run with one stage more; a tree that changed under it was no commit's."""
    found = {"result": "ok" if good else "failed", "seconds": seconds}
    changed = dirty or commit != last.get("commit")
    stages = last.get("stages", {}) | {stage: found}
    return {"commit": last.get("commit"), "dirty": changed or last.get("dirty", True), "stages": stages}


def tree() -> tuple[str | None, bool]:
    """Return the commit of the checkout, and whether its files differ from it."""
    commit = _git("rev-parse", "--verify", "--quiet", "HEAD")
    return commit or None, not commit or bool(_git("status", "--porcelain"))


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def read() -> Run:
    """Return the file's content; of a file that cannot be read: nothing."""
    try:
        found = json.loads(FILE.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("stages"), dict) else {}


def write(run: Run) -> None:
    """Put ``run`` in place, whole."""
    new = FILE.with_suffix(".new")
    new.write_text(json.dumps(run, indent=2) + "\n")
    new.replace(FILE)


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the file: two lanes of stages end side by side."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main(*sys.argv[1:])
