#!/usr/bin/python
"""Have the kernel as MongoDB wants it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_kernel import SYSCTL_FILE, TMPFILES_FILE, boot_files, lacking, reason_to_skip, wanted

DOCUMENTATION = r"""
---
module: canopsis_kernel
short_description: Kernel settings that MongoDB wants
description:
  - Huge pages, swapping and memory maps by the version of MongoDB, now and after a boot.
  - Leaves the kernel alone in a container and without root, and says so in RV(reason).
options:
  version: {description: Version of MongoDB., type: str, default: "6"}
  managed: {description: Whether the kernel may be changed., type: bool, default: true}
  state:
    description: V(absent) removes the files; the kernel keeps its values until the next boot.
    type: str
    default: present
    choices: [present, absent]
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Have the kernel as MongoDB wants it
  canopsis_kernel:
    version: 6.0.5
"""

RETURN = r"""
reason:
  description: Why the kernel was left alone; empty when it was not.
  type: str
  returned: always
"""

ARGUMENTS: dict[str, Any] = {
    "version": {"type": "str", "default": "6"},
    "managed": {"type": "bool", "default": True},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
}
MARKS = ("run/systemd/container", ".dockerenv", "run/.containerenv")


def in_container(root: Path) -> bool:
    """Whether the host is a container."""
    return any((root / mark).exists() for mark in MARKS)


def texts(root: Path, paths: list[str]) -> dict[str, str]:
    """Return the text of each of ``paths`` that is there, below ``root``."""
    files = {path: root / path.lstrip("/") for path in paths}
    return {path: file.read_text() for path, file in files.items() if file.is_file()}


def differences(params: dict[str, Any], root: Path) -> dict[str, str]:
    """Return the files below ``root`` that are to be written, or (with '') removed."""
    if params["state"] == "absent":
        return dict.fromkeys(texts(root, [SYSCTL_FILE, TMPFILES_FILE]), "")
    files = boot_files(params["version"])
    present = texts(root, list(files))
    values: dict[str, str] = lacking(params["version"], texts(root, list(wanted(params["version"]))))
    return values | {path: content for path, content in files.items() if present.get(path) != content}


def write(root: Path, changes: dict[str, str]) -> None:
    """Write or remove each file of ``changes``."""
    for path, content in changes.items():
        file = root / path.lstrip("/")
        if content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        else:
            file.unlink()


def run(params: dict[str, Any], *, check_mode: bool, root: Path = Path("/")) -> dict[str, Any]:
    """Do what differs and return the result."""
    reason = reason_to_skip(managed=params["managed"], root=os.geteuid() == 0, container=in_container(root))
    changes = {} if reason else differences(params, root)
    if not check_mode:
        write(root, changes)
    after = "".join(f"{path}: {content.strip() or 'absent'}\n" for path, content in changes.items())
    return {"changed": bool(changes), "reason": reason, "diff": {"before": "", "after": after}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**run(module.params, check_mode=module.check_mode))
    except OSError as error:
        module.fail_json(msg=f"{error}; set mongodb_manage_kernel to false to leave the kernel of this host alone")


if __name__ == "__main__":
    main()
