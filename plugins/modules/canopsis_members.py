#!/usr/bin/python
"""Wait until the members of a replica set are well."""

from __future__ import annotations

import threading
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: canopsis_members
short_description: Wait until every other member of a replica set is primary or secondary
description:
  - A gate before a member is stopped, so that never more than one is away. Needs no credentials.
  - Runs with the Python of the package canopsis, set by C(ansible_python_interpreter).
options:
  members: {description: All members as host:port., type: list, elements: str, required: true}
  own: {description: The member that is going to be stopped; it need not be well., type: str, default: ""}
  tls_ca: {description: Trusted certificates; empty connects in plain., type: str, default: ""}
  timeout: {description: Seconds that the members may take., type: float, default: 120}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Wait for the other members
  canopsis_members:
    members: ["a:27017", "b:27017", "c:27017"]
    own: a:27017
"""

RETURN = r"""
states:
  description: State by member.
  type: dict
  returned: always
"""

try:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    PROBLEM = ""
except ImportError as error:
    PROBLEM = f"{error}: run this module with the Python of the package canopsis (ansible_python_interpreter)"

ARGUMENTS: dict[str, Any] = {
    "members": {"type": "list", "elements": "str", "required": True},
    "own": {"type": "str", "default": ""},
    "tls_ca": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 120},
}
WELL = ("primary", "secondary", "not initiated")
ANSWER_MS = 3000


def state_of(hello: dict[str, Any]) -> str:
    """Return what a member says of itself."""
    if hello.get("isWritablePrimary"):
        return "primary"
    if hello.get("isreplicaset"):
        return "not initiated"
    return "secondary" if hello.get("secondary") else "neither primary nor secondary"


def ask(member: str, tls_ca: str) -> str:
    """Return the state of ``member``, or why it does not answer."""
    options: dict[str, Any] = {"tls": True, "tlsCAFile": tls_ca} if tls_ca else {}
    try:
        with MongoClient(member, directConnection=True, serverSelectionTimeoutMS=ANSWER_MS, **options) as client:
            return state_of(client.admin.command("hello"))
    except PyMongoError as error:
        # What follows is the driver's own state, of no use to whoever reads a table.
        return f"no answer: {str(error).partition(' (configured timeouts')[0]}"[:200]


def await_well(members: list[str], tls_ca: str, timeout: float) -> dict[str, str]:
    """Return the states of ``members`` when all are well, or after ``timeout`` seconds."""
    pause, deadline = threading.Event(), time.monotonic() + timeout
    while True:
        states = {member: ask(member, tls_ca) for member in members}
        if all(state in WELL for state in states.values()) or time.monotonic() >= deadline:
            return states
        pause.wait(0.5)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if PROBLEM:
        module.fail_json(msg=PROBLEM)
    params = module.params
    others = [member for member in params["members"] if member != params["own"]]
    states = await_well(others, params["tls_ca"], 0.0 if module.check_mode else params["timeout"])
    away = [f"{member} ({state})" for member, state in states.items() if state not in WELL]
    if away and not module.check_mode:
        module.fail_json(
            msg=f"{params['own'] or 'a member'} is not stopped: {', '.join(away)}; bring these back first, "
            "see var/log/mongodb.log there",
            states=states,
        )
    module.exit_json(changed=False, states=states)


if __name__ == "__main__":
    main()
