#!/usr/bin/python
"""Pack the sources on the controller, unpack them on a host."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_source import digest, pack, unpack, unpacked

DOCUMENTATION = r"""
---
module: canopsis_source
short_description: The sources that a host builds its packages from
description:
  - With O(source) packs them into O(archive); without it unpacks O(archive) into O(folder) unless that was done.
options:
  archive: {description: The archive., type: path, required: true}
  source: {description: The checkout to pack., type: path}
  folder: {description: Where to unpack., type: path}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Unpack the sources
  canopsis_source:
    archive: /opt/canopsis/var/lib/source.tar
    folder: /opt/canopsis/var/lib/source
"""

RETURN = r"""
digest:
  description: SHA-256 of the archive.
  type: str
  returned: always
"""

ARGUMENTS: dict[str, Any] = {
    "archive": {"type": "path", "required": True},
    "source": {"type": "path"},
    "folder": {"type": "path"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Pack or unpack and return the result. Packing changes nothing of a site."""
    archive = Path(module.params["archive"])
    if module.params["source"]:
        content = pack(Path(module.params["source"]))
        archive.parent.mkdir(parents=True, exist_ok=True)
        new = archive.with_name(f"{archive.name}.{os.getpid()}")
        new.write_bytes(content)
        new.replace(archive)
        return {"changed": False, "digest": digest(content)}
    folder = Path(module.params["folder"])
    if module.check_mode and not archive.exists():
        return {"changed": True, "digest": ""}
    content = archive.read_bytes()
    changed = not unpacked(folder, content)
    if changed and not module.check_mode:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unpack(folder, content)
    return {"changed": changed, "digest": digest(content)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_one_of=[("source", "folder")],
        mutually_exclusive=[("source", "folder")],
    )
    try:
        module.exit_json(**run(module))
    except (OSError, ValueError, tarfile.TarError) as error:
        module.fail_json(msg=f"{module.params['archive']}: {error}")


if __name__ == "__main__":
    main()
