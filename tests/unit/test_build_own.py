"""A site's own packages: wheels in ``etc/packages``, laid into each environment of Canopsis without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from own_wheels import make_wheel

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("common", "files", "distribution", "python", "package")
LAY = "STAGE=$PREFIX/stage WORK=$PREFIX TOOLS=$PYTHON; load_package canopsis; lay_own_packages"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A prefix whose environment of Canopsis has one package: what Canopsis brings."""
    venv.create(tmp_path / "stage", with_pip=False, symlinks=True)
    (site,) = (tmp_path / "stage/lib").glob("python3*/site-packages")
    info = site / "brought-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    return tmp_path


def bash(prefix: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with the functions of build-install.sh."""
    parts = "".join(f". {ROOT}/packages/lib/{part}.sh\n" for part in PARTS)
    argv = ["bash", "-c", f"set -euo pipefail\nshopt -s inherit_errexit\n{parts}{script}"]
    env = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "PREFIX": str(prefix), "HERE": str(ROOT)}
    return subprocess.run(argv, env=env | {"PYTHON_VERSION": "3.11"}, capture_output=True, text=True, check=False)


def recipe(prefix: Path) -> str:
    """Return what decides whether the environment that is in use will do."""
    done = bash(prefix, 'load_recipe canopsis; printf "%s" "$RECIPE"')
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_packages_are_laid_with_what_they_need(prefix: Path) -> None:
    own = prefix / "etc/packages"
    make_wheel(own, "ours", "1.0", "X = 7", needs="theirs", points="[canopsis.engines]\ntally = ours:X\n")
    make_wheel(own, "theirs", "1.0", needs="brought")
    done = bash(prefix, LAY)
    assert (done.returncode, done.stderr) == (0, "")
    code = "import theirs; from importlib.metadata import entry_points as e; print([p.load() for p in e(name='tally')])"
    said = subprocess.run([prefix / "stage/bin/python", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[7]\n"


def test_a_site_without_own_packages(prefix: Path) -> None:
    done = bash(prefix, LAY)
    assert (done.returncode, done.stderr) == (0, "")


def broken(own: Path) -> Path:
    path = make_wheel(own, "ours", "1.0")
    path.write_bytes(path.read_bytes()[:100])
    return path


def of_another_python(own: Path) -> Path:
    return make_wheel(own, "ours", "1.0").rename(own / "ours-1.0-cp27-none-any.whl")


def twice(own: Path) -> Path:
    make_wheel(own, "ours", "1.0")
    return make_wheel(own, "ours", "2.0")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (broken, "invalid"),
        (lambda own: make_wheel(own, "ours", "1.0", needs="brought, theirs"), "theirs"),
        (of_another_python, "is not a supported wheel on this platform"),
        (lambda own: make_wheel(own, "ours", "1.0", needs="nowhere>3"), "No matching distribution found for nowhere>3"),
        (lambda own: make_wheel(own, "ours", "1.0", needs="brought>1"), "The user requested (constraint) brought==1.0"),
        (lambda own: make_wheel(own, "brought", "2.0"), "The user requested (constraint) brought==1.0"),
        (twice, "The user requested (constraint) ours==1.0"),
    ],
)
def test_a_wheel_that_cannot_be_installed_is_named(prefix: Path, make: Callable[[Path], Path], why: str) -> None:
    wheel = make(prefix / "etc/packages")
    done = bash(prefix, LAY)
    assert done.returncode == 1
    assert f"canopsis: {wheel} cannot be installed: " in done.stderr
    assert why in done.stderr
    assert "or delete it" in done.stderr
    assert "Traceback" not in done.stderr
    assert "return " not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_set_of_wheels_makes_another_environment(prefix: Path) -> None:
    found = [recipe(prefix)]
    for code in ("X = 1", "X = 2"):
        wheel = make_wheel(prefix / "etc/packages", "ours", "1.0", code)
        found += [recipe(prefix)]
    assert len(set(found)) == 3
    wheel.unlink()
    assert recipe(prefix) == found[0]


@pytest.mark.parametrize("name", ["ours-1.0.tar.gz", "ours.whl/"])
def test_what_is_no_wheel_is_named_before_anything_is_built(prefix: Path, name: str) -> None:
    path = prefix / "etc/packages" / name
    path.parent.mkdir(parents=True)
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_text("")
    done = bash(prefix, "load_recipe canopsis; echo built")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"canopsis: {path} is no wheel: only files named *.whl may be there. Move it away" in done.stderr
