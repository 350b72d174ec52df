#!/usr/bin/python
"""Make a replica set of MongoDB and its users what they are to be."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_mongodb import ERRORS, PROBLEM, RefusedError, ReplicaSet, words
from ansible.module_utils.canopsis_replica_set import (
    Member,
    Plan,
    Step,
    actor,
    leads_a_minority,
    plan,
    plan_expulsion,
    plan_recovery,
)
from ansible.module_utils.canopsis_wait import await_true

DOCUMENTATION = r"""
---
module: canopsis_replica_set
short_description: A replica set and its users by desired state
description:
  - Observes every member, plans, then acts or refuses with the reason. No member is special by its position.
  - Run it on every host with a member, one after the other. One of them acts, the host of the primary when it is
    among O(actors), because the first administrator is made through the localhost exception.
  - Passwords are proven by a login, never read or shown.
  - Runs with the Python of the package canopsis, set by C(ansible_python_interpreter).
options:
  name: {description: Name of the replica set., type: str, required: true}
  members: {description: Addresses host:port of all wanted members., type: list, elements: str, required: true}
  address: {description: Address host:port by which the others reach the member here., type: str, required: true}
  local: {description: Address host:port of the same member for this host itself., type: str, required: true}
  admin_user: {description: Name of the administrator., type: str, default: admin}
  admin_password: {description: Its password., type: str, required: true}
  users:
    description: Users there must be.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      password: {description: Password., type: str, required: true}
      roles: {description: Roles as role@database., type: list, elements: str, required: true}
  actors: {description: Addresses of the hosts of this run., type: list, elements: str, default: []}
  expelled:
    description: Members to take out of the set; nothing else is done then.
    type: list
    elements: str
    default: []
  recover:
    description: Go on without the members that do not answer, when they were the majority; nothing else is done then.
    type: bool
    default: false
  tls_ca: {description: File with the trusted CAs; empty for no TLS., type: str, default: ""}
  timeout: {description: Seconds to wait for a member or a primary., type: float, default: 60}
  sync_timeout: {description: Seconds that an initial sync may take., type: float, default: 3600}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Form the replica set
  canopsis_replica_set:
    name: canopsis
    members: ["127.0.0.1:27017"]
    address: 127.0.0.1:27017
    local: 127.0.0.1:27017
    admin_password: "{{ mongodb_admin_password }}"
"""

RETURN = r"""
steps:
  description: What was done.
  type: list
  elements: str
  returned: always
notes:
  description: What was found and left as it is.
  type: list
  elements: str
  returned: always
"""

_USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "roles": {"type": "list", "elements": "str", "required": True},
}
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "members": {"type": "list", "elements": "str", "required": True},
    "address": {"type": "str", "required": True},
    "local": {"type": "str", "required": True},
    "admin_user": {"type": "str", "default": "admin"},
    "admin_password": {"type": "str", "required": True, "no_log": True},
    "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
    "actors": {"type": "list", "elements": "str", "default": []},
    "expelled": {"type": "list", "elements": "str", "default": []},
    "recover": {"type": "bool", "default": False},
    "tls_ca": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 60},
    "sync_timeout": {"type": "float", "default": 3600},
}


def run(params: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """Plan, act unless in check mode, and return the result. Raises RefusedError."""
    site = ReplicaSet(params)
    # What was asked for by name is done through whichever member answers.
    anywhere = bool(params["expelled"]) or params["recover"]
    try:
        if anywhere or await_true(lambda: bool(site.hello(params["local"])), 2 if check_mode else params["timeout"]):
            return _run(site, check_mode=check_mode)
    finally:
        site.close()
    if check_mode:
        return _result([], (f"{params['local']} does not answer, so nothing is known of its set",))
    raise RefusedError(f"{params['local']} does not answer; see var/log/mongodb.log")


def _run(site: ReplicaSet, *, check_mode: bool) -> dict[str, Any]:
    if site.params["recover"]:
        return _follow(site, plan_recovery(_settled(site)), check_mode=check_mode)
    if site.params["expelled"]:
        return _follow(site, plan_expulsion(site.params["expelled"], site.observed()), check_mode=check_mode)
    return _keep(site, check_mode=check_mode)


def _settled(site: ReplicaSet) -> list[Member]:
    """Return the members as they are once a primary that lost its majority has stepped down."""
    found: list[Member] = []

    def steady() -> bool:
        found[:] = site.observed()
        return not leads_a_minority(found)

    await_true(steady, site.params["timeout"])
    return found


def _follow(site: ReplicaSet, wanted: Plan, *, check_mode: bool) -> dict[str, Any]:
    """Do the steps of a plan, or refuse with its reason."""
    if wanted.refusal:
        raise RefusedError(wanted.refusal)
    for step in wanted.steps if not check_mode else ():
        site.apply(step)
    return _result([step.text() for step in wanted.steps if step.changes], wanted.notes)


def _keep(site: ReplicaSet, *, check_mode: bool) -> dict[str, Any]:
    """Have the set and its users, when it is the turn of the host here."""
    here, actors = site.params["address"], site.params["actors"] or [site.params["address"]]
    observed = site.observed()
    wanted = plan(site.params["name"], observed, here)
    if wanted.refusal:
        raise RefusedError(wanted.refusal)
    if actor(observed, actors) != here:
        return _result([], ())
    if check_mode and any(step.action == "initiate" for step in wanted.steps):
        return _result([step.text() for step in wanted.steps] + _all_users(site.params), wanted.notes)
    lines, notes = _act(site, wanted, actors, check_mode=check_mode)
    return _result(lines, notes)


def _all_users(params: dict[str, Any]) -> list[str]:
    return [f"create user {name}" for name in (params["admin_user"], *(user["name"] for user in params["users"]))]


def _act(site: ReplicaSet, wanted: Plan, actors: list[str], *, check_mode: bool) -> tuple[list[str], tuple[str, ...]]:
    """Initiate, make the administrator (a set takes new members from nobody else), add, then the users."""
    lines = []
    for step in wanted.steps:
        if step.action == "initiate":
            site.apply(step)
            lines.append(step.text())
    primary = site.primary()
    made = site.ensure_admin(primary, check_mode=check_mode)
    if made and check_mode:
        return [step.text() for step in wanted.steps if step.changes] + _all_users(site.params), wanted.notes
    if made:
        # Only the administrator sees who has no vote yet.
        wanted = plan(site.params["name"], site.observed(), site.params["address"])
    lines += made + [step.text() for step in wanted.steps if step.changes]
    for step in _mine(wanted, actors) if not check_mode else ():
        site.apply(step)
    return lines + site.ensure_users(check_mode=check_mode), wanted.notes


def _mine(wanted: Plan, actors: list[str]) -> list[Step]:
    """Return the steps without the waits for hosts that are not in this run."""
    return [step for step in wanted.steps if step.changes or step.address in actors]


def _result(lines: list[str], notes: tuple[str, ...]) -> dict[str, Any]:
    diff = {"before": "", "after": "".join(f"{line}\n" for line in lines)}
    return {"changed": bool(lines), "steps": lines, "notes": list(notes), "diff": diff}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if PROBLEM:
        module.fail_json(msg=PROBLEM)
    try:
        module.exit_json(**run(module.params, check_mode=module.check_mode))
    except (RefusedError, *ERRORS) as error:
        module.fail_json(msg=f"replica set {module.params['name']}: {words(error)}")


if __name__ == "__main__":
    main()
