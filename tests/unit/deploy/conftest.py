"""Fixtures: a site's folder made by ``canopsis-deploy init``, and the command itself as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_run import Run

from canopsis.cli import deploy

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small site; the test stands in it."""
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    assert deploy.main(["init", str(tmp_path / "site")]) == 0
    monkeypatch.chdir(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def run() -> Run:
    """Run ``canopsis-deploy`` as its own process; ``path`` is the PATH it sees."""

    def run(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
        code = "import sys; from canopsis.cli.deploy import main; sys.exit(main())"
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path or os.environ["PATH"]}
        environ.pop("ANSIBLE_CONFIG", None)
        argv = [sys.executable, "-c", code, *arguments]
        return subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False)

    return run
