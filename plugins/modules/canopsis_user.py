#!/usr/bin/python
"""Have a user of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: canopsis_user
short_description: A user of the API by desired state
description:
  - What is right already is not set again. A password is compared with the hash that the database keeps.
  - Runs with the Python of the package canopsis, set by C(ansible_python_interpreter).
options:
  prefix: {description: The prefix of the site., type: path, required: true}
  name: {description: Name of the user., type: str, required: true}
  role: {description: What it may do., type: str, choices: [admin, operator, reader], required: true}
  login_password: {description: Its password; without one a new user has no login., type: str}
  authkey: {description: Its key., type: str, required: true}
  service: {description: The section of storage.conf to use., type: str, default: webserver}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Have the administrator
  canopsis_user:
    prefix: /opt/canopsis
    name: admin
    role: admin
    login_password: "{{ webserver_admin_login_password }}"
    authkey: "{{ webserver_admin_authkey }}"
"""

RETURN = r"""
steps:
  description: What was done.
  type: list
  elements: str
  returned: always
"""

try:
    from canopsis.cli.user import wanted
    from canopsis.errors import CanopsisError, StoreError
    from canopsis.ops import settings
    from canopsis.ops.prefix import Prefix
    from canopsis.store import client, users
    from canopsis.store.users import User

    PROBLEM = ""
except ImportError as error:
    PROBLEM = f"{error}: run this module with the Python of the package canopsis (ansible_python_interpreter)"

KEY_NAME = "main"
ARGUMENTS: dict[str, Any] = {
    "prefix": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "role": {"type": "str", "choices": ["admin", "operator", "reader"], "required": True},
    "login_password": {"type": "str", "no_log": True},
    "authkey": {"type": "str", "required": True, "no_log": True},
    "service": {"type": "str", "default": "webserver"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Compare, save unless in check mode, and return the result."""
    params = module.params
    with client.opened(settings.storage(Prefix(Path(params["prefix"])), params["service"])) as db:
        old = users.get(db, params["name"])
        new = wanted(
            old or User(name=params["name"]),
            role=params["role"],
            password=params["login_password"],
            key=params["authkey"],
            key_name=KEY_NAME,
        )
        changed = new != old
        if changed and not module.check_mode:
            users.save(db, new)
    lines = [f"{'change' if old else 'create'} user {params['name']}"] if changed else []
    return {"changed": changed, "steps": lines, "diff": {"before": "", "after": "".join(f"{line}\n" for line in lines)}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if PROBLEM:
        module.fail_json(msg=PROBLEM)
    try:
        module.exit_json(**run(module))
    except StoreError as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        # What this run would put right may be just what keeps us from looking.
        module.warn(f"the users cannot be compared now: {error}")
        module.exit_json(changed=False, steps=[])
    except CanopsisError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
