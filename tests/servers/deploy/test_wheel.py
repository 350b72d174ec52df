"""The wheel of setup.cfg: installed alone, it deploys like the checkout it was made of."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import stat
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHARE = "canopsis/deploy/share/"
PARTS = set(re.findall(r'^    "([^"]+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE))
# With the checkout in its path pip would find Canopsis installed.
ENVIRON = {name: value for name, value in os.environ.items() if name not in ("ANSIBLE_CONFIG", "PYTHONPATH")}
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def tracked() -> list[str]:
    """Return the files of the checkout that are, or would be, in a commit."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in said.splitlines() if (ROOT / name).is_file()]


def copy(folder: Path) -> Path:
    """Return a copy of the checkout, with secrets that somebody made in it."""
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "inventories/small/group_vars/canopsis/secrets.yml").write_text('mongodb_keyfile: "of another site"\n')
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
    subprocess.run(argv, cwd=copy(folder / "source"), check=True)
    return next(folder.glob("canopsis-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    argv = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*argv, str(wheel)], env=ENVIRON, check=True)
    return folder


@pytest.fixture(scope="module")
def deploy(installed: Path) -> Command:
    """Run the installed ``canopsis-deploy``; without ``path`` Ansible's programs are those of the tests."""

    def run(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
        own = {**ENVIRON, "PATH": path or f"{Path(sys.executable).parent}:{ENVIRON['PATH']}"}
        argv = [str(installed / "bin" / "canopsis-deploy"), *arguments]
        return subprocess.run(argv, cwd=cwd, env=own, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def share(installed: Path) -> Path:
    """Where the installed wheel has its roles."""
    return next(installed.glob("lib/python*/site-packages")) / SHARE


def test_it_carries_every_file_that_a_deployment_needs(wheel: Path) -> None:
    wanted = {name for name in tracked() if name.split("/")[0] in PARTS}
    carried = {name.removeprefix(SHARE) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(SHARE)}
    assert carried == wanted
    assert {"site.yml", "roles", "playbooks", "plugins", "packages", "inventories", "requirements"} <= PARTS


def test_secrets_of_the_checkout_stay_out(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = [archive.read(name) for name in archive.namelist() if name.endswith("secrets.yml")]
    assert len(texts) == 1
    assert b"of another site" not in texts[0]


def test_scripts_can_be_run(share: Path) -> None:
    for name in tracked():
        if name.split("/")[0] in PARTS:
            wanted = bool((ROOT / name).stat().st_mode & stat.S_IXUSR)
            assert bool((share / name).stat().st_mode & stat.S_IXUSR) == wanted, name


def test_hosts_build_from_the_same_bytes(installed: Path, share: Path) -> None:
    source = f"import sys; sys.path.insert(0, {str(share / 'plugins/module_utils')!r}); import canopsis_source as s\n"
    source += "from pathlib import Path; print(s.digest(s.pack(Path(sys.argv[1]))))"
    python = installed / "bin" / "python"
    folders = (share, ROOT)
    argvs = [[str(python), "-c", source, str(folder)] for folder in folders]
    digests = [subprocess.run(argv, capture_output=True, text=True, check=True).stdout for argv in argvs]
    assert digests[0] == digests[1]


def test_the_extra_is_pinned_as_the_controllers_requirements() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extra = parser["options.extras_require"]["deploy"].split()
    pins = re.findall(r"(?m)^(\S+==\S+)", (ROOT / "requirements" / "deploy.txt").read_text())
    assert extra
    assert set(extra) <= set(pins)


def test_without_ansible_it_says_how_to_get_it(deploy: Command, tmp_path: Path) -> None:
    assert deploy("init", ".", cwd=tmp_path, path="/nowhere").returncode == 0
    for arguments in (["site"], ["secrets", "init"], ["secrets", "check"]):
        done = deploy(*arguments, cwd=tmp_path, path="/nowhere")
        assert done.returncode == 1
        assert "pip install 'canopsis[deploy]'" in done.stderr


@pytest.mark.parametrize("sample", ["small", "large", "local"])
def test_a_site_can_be_made_from_an_empty_folder(deploy: Command, tmp_path: Path, sample: str) -> None:
    assert deploy("init", ".", "--inventory", sample, cwd=tmp_path).returncode == 0
    assert "of another site" not in "".join(path.read_text() for path in tmp_path.rglob("*.yml"))
    for arguments in (["secrets", "init"], ["secrets", "check"], ["site", "--syntax-check"]):
        done = deploy(*arguments, cwd=tmp_path)
        assert done.returncode == 0, (arguments, done.stderr)
    listed = deploy("site", "--list-tasks", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "Install the packages" in listed.stdout


def test_the_roles_find_what_hosts_build_from(deploy: Command, share: Path, tmp_path: Path) -> None:
    """What role environment computes in a play of an installed wheel, also for a user who could read a checkout."""
    assert deploy("init", ".", "--inventory", "local", cwd=tmp_path).returncode == 0
    shown = "[environment_source, environment_bring, environment_build]"
    play = share / "playbooks" / "show.yml"
    play.write_text(
        "- hosts: canopsis\n  tasks:\n    - ansible.builtin.include_vars: ../roles/environment/defaults/main.yml\n"
        f'    - ansible.builtin.debug: {{msg: "{{{{ {shown} | to_json }}}}"}}\n'
    )
    done = deploy("show", "-e", "ansible_become=false", cwd=tmp_path)
    play.unlink()
    assert done.returncode == 0, done.stderr + done.stdout
    said = done.stdout.replace("\\", "")
    assert str(share).rstrip("/") in said
    assert "true" in said.lower()
    assert "/var/lib/source/build-install.sh" in said
