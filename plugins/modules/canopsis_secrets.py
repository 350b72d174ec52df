#!/usr/bin/python
"""Make the secrets that a site lacks."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_secrets import complete, missing, parse, render

DOCUMENTATION = r"""
---
module: canopsis_secrets
short_description: Make missing secrets once, and keep them
description:
  - Adds a random value for each name that the file does not have, and never changes one that is there.
  - Values are never shown.
options:
  path:
    description: The file, mode 0600, YAML.
    type: path
    required: true
  names:
    description: Which secrets there must be, each with its kind (password, keyfile, cookie).
    type: dict
    required: true
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Make the secrets of this site
  canopsis_secrets:
    path: /opt/canopsis/etc/secrets.yml
    names: {mongodb_keyfile: keyfile, mongodb_admin_password: password}
"""

RETURN = r"""
added:
  description: Names of the secrets that were made.
  type: list
  elements: str
  returned: always
"""

MODE = 0o600
ARGUMENTS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "names": {"type": "dict", "required": True, "no_log": False},
}


def save(path: Path, text: str) -> None:
    """Put a file that only its owner can read in the place of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Complete the file unless in check mode, and return the result."""
    path, names = Path(module.params["path"]), module.params["names"]
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    secrets = parse(text)
    added = missing(secrets, names)
    wider = path.exists() and stat.S_IMODE(path.stat().st_mode) != MODE
    if added and not module.check_mode:
        save(path, render(complete(secrets, names, os.urandom)))
    elif wider and not module.check_mode:
        path.chmod(MODE)
    return {"changed": bool(added or wider), "added": added}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (ValueError, OSError) as error:
        module.fail_json(msg=f"{module.params['path']}: {error}; put the file right or restore it from a copy")


if __name__ == "__main__":
    main()
