"""Prints, on a host, what a second run of site.yml must not change: files, processes and definitions, as JSON.

Plain Python of the host, no package: `python3 - PREFIX < fingerprint.py` as root.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

MANAGED = ("bin", "etc", "opt", "supervisord.conf")
OUTSIDE = ("/etc/systemd/system", "/etc/passwd", "/etc/group")
DEFINITIONS = ("vhosts", "users", "permissions", "policies", "exchanges", "queues", "bindings")


def describe(path: Path) -> str:
    """Return mode, owner and the SHA-256 of a file, or where a link points."""
    status = path.lstat()
    what = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
    if path.is_symlink():
        return f"{what} -> {path.readlink()}"
    return f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else what


def files(roots: list[Path]) -> dict[str, str]:
    """Return each path below ``roots`` with its description; Python's caches are not managed."""
    found = [path for root in roots for path in [root, *root.rglob("*")] if path.exists() or path.is_symlink()]
    return {str(path): describe(path) for path in found if "__pycache__" not in path.parts and not path.is_socket()}


def process(folder: Path, prefix: str) -> tuple[str, str] | None:
    """Return pid with name, and start time in ticks since boot, of a process of ``prefix``; None for any other."""
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        status = (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The broker asks df for its disk every few seconds.
    looks = Path(command.partition(" ")[0]).name == "df"
    mine = f"{prefix}/" in command and int(folder.name) != os.getpid() and not looks
    return (f"{folder.name} {command[:80]}", status[19]) if mine else None


def processes(prefix: str) -> dict[str, str]:
    """Return the start time of each process of ``prefix``."""
    found = [process(folder, prefix) for folder in Path("/proc").glob("[0-9]*")]
    return dict(each for each in found if each)


def definitions(prefix: str) -> dict[str, list[object]]:
    """Return the broker's definitions, or nothing where there is no broker."""
    control = Path(prefix, "bin/rabbitmqctl")
    if not control.exists():
        return {}
    user = pwd.getpwuid(control.lstat().st_uid).pw_name
    command = ["runuser", "-u", user, "--", str(control), "--silent", "export_definitions", "-"]
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    return {name: sorted(found.get(name, []), key=json.dumps) for name in DEFINITIONS}


def main() -> None:
    """Print the fingerprint."""
    prefix = sys.argv[1]
    roots = [Path(prefix, name) for name in MANAGED] + [Path(path) for path in OUTSIDE]
    found = {"processes": processes(prefix), "files": files(roots), "definitions": definitions(prefix)}
    sys.stdout.write(json.dumps(found))


main()
