#!/usr/bin/python
"""Write the configuration files of a role in one step."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_files import Found, Plan, Wanted, differences, inside, octal, plan, wanted_of

DOCUMENTATION = r"""
---
module: canopsis_files
short_description: Folders and configuration files below a prefix, in one step
description:
  - Compares everything that is wanted with what is there, then writes only what differs.
  - A file is replaced whole, so a reader sees the old one or the new one.
options:
  root:
    description: The prefix. All paths are relative to it.
    type: path
    required: true
  directories:
    description: Folders that must exist.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Path relative to the prefix., type: str, required: true}
      mode: {description: Octal mode in quotes., type: str, required: true}
  files:
    description: Files that must have this content and mode.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Path relative to the prefix., type: str, required: true}
      mode: {description: Octal mode in quotes., type: str, required: true}
      content: {description: The text. Shown with --diff., type: str}
      secret_content: {description: The text of a file with secrets. Never shown., type: str}
  prune:
    description: Patterns of files that are removed unless they are among the wanted ones.
    type: list
    elements: str
    default: []
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Write the program file
  canopsis_files:
    root: /opt/canopsis
    files:
      - path: etc/supervisord.d/mongodb.conf
        mode: "0644"
        content: "{{ lookup('ansible.builtin.template', 'program.conf.j2') }}"
"""

RETURN = r"""
paths:
  description: What was changed, relative to the prefix.
  type: list
  elements: str
  returned: always
"""

_FILE = {
    "path": {"type": "str", "required": True},
    "mode": {"type": "str", "required": True},
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
}
_DIRECTORY = {"path": {"type": "str", "required": True}, "mode": {"type": "str", "required": True}}
ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "directories": {"type": "list", "elements": "dict", "default": [], "options": _DIRECTORY},
    "files": {"type": "list", "elements": "dict", "default": [], "options": _FILE},
    "prune": {"type": "list", "elements": "str", "default": []},
}


def observe(root: Path, wanted: Wanted) -> Found:
    """Return the file as it is now."""
    path = root / wanted.path
    try:
        return Found(path.read_bytes().decode("utf-8", "replace"), stat.S_IMODE(path.stat().st_mode))
    except FileNotFoundError:
        return Found(None)


def missing_directories(root: Path, directories: list[dict[str, str]]) -> list[tuple[str, int]]:
    """Return the folders that are not there or have another mode."""
    wanted = [(inside(each["path"]), octal(each["mode"])) for each in directories]
    return [(path, mode) for path, mode in wanted if not _has_mode(root / path, mode)]


def _has_mode(path: Path, mode: int) -> bool:
    return path.is_dir() and stat.S_IMODE(path.stat().st_mode) == mode


def make_directories(root: Path, directories: list[tuple[str, int]]) -> None:
    """Make folders and set their modes."""
    for path, mode in directories:
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path).chmod(mode)


def apply(root: Path, steps: Plan) -> None:
    """Write, set modes and remove as planned."""
    for wanted in steps.write:
        replace(root / wanted.path, wanted)
    for wanted in steps.chmod:
        (root / wanted.path).chmod(wanted.mode)
    for path in steps.remove:
        (root / path).unlink(missing_ok=True)


def replace(path: Path, wanted: Wanted) -> None:
    """Put a new file in the place of ``path`` in one step; its mode is set before it has content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), wanted.mode)
            file.write(wanted.content.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def run(module: AnsibleModule) -> dict[str, Any]:
    """Compare, apply unless in check mode, and return the result."""
    root = Path(module.params["root"])
    wanted = wanted_of(module.params["files"])
    found = {file.path: observe(root, file) for file in wanted}
    present = [str(path.relative_to(root)) for pattern in module.params["prune"] for path in root.glob(pattern)]
    folders = missing_directories(root, module.params["directories"])
    steps = plan(wanted, found, module.params["prune"], present)
    if not module.check_mode:
        make_directories(root, folders)
        apply(root, steps)
    changed = [path for path, _ in folders] + steps.paths
    shown = [{"before_header": p, "after_header": p, "before": "", "after": f"folder {m:04o}\n"} for p, m in folders]
    return {"changed": bool(changed), "paths": changed, "diff": shown + differences(steps, found)}


def told(error: OSError, root: str) -> str:
    """Return what to tell of a path below ``root`` that cannot be written; a full disk does not say which."""
    if error.filename is None:
        return f"{root}: {error.strerror}"
    return f"{error.filename}: {error.strerror}; look at owner and mode of it and of {Path(error.filename).parent}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=told(error, module.params["root"]))


if __name__ == "__main__":
    main()
