#!/usr/bin/python
"""Make users, permissions and policies of RabbitMQ what they are to be."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_rabbitmq import (
    Request,
    ha_policies,
    ha_refusal,
    plan_permissions,
    plan_policies,
    plan_users,
    plan_vhost,
    unmirror_refusal,
)

DOCUMENTATION = r"""
---
module: canopsis_rabbitmq
short_description: Virtual host, users, permissions and policies by desired state
description:
  - Speaks to the management API on this host. Waits until the broker answers.
  - A password is compared with the salted hash that the broker keeps, so nothing is set that is right already.
  - An administrator whose password is another is set through rabbitmqctl, which gets it on standard input.
options:
  url: {description: The management API., type: str, required: true}
  vhost: {description: The virtual host of the site., type: str, required: true}
  admin_user: {description: Name of the administrator., type: str, default: admin}
  admin_password: {description: Its password., type: str, required: true}
  seed_password: {description: Password that a new broker gives its administrator., type: str, required: true}
  control: {description: The command rabbitmqctl of this site., type: path, required: true}
  users:
    description: Users there must be.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      password: {description: Password., type: str, required: true}
      tags: {description: Tags., type: str, default: ''}
      configure: {description: What it may declare., type: str, default: ^$}
      write: {description: What it may write to., type: str, default: ^$}
      read: {description: What it may read from., type: str, default: ^$}
  absent: {description: Users that must not be., type: list, elements: str, default: [guest]}
  policies: {description: Policies; others of the virtual host are deleted., type: list, elements: dict, default: []}
  ha_mode:
    description: How queues are kept on several nodes; classic adds the policy that mirrors them.
    type: str
    choices: [quorum, classic]
    default: quorum
  nodes: {description: How many nodes the cluster has., type: int, default: 1}
  tls_ca: {description: CA certificates for an https URL; empty means those of the host., type: str, default: ''}
  timeout: {description: Seconds to wait for the broker., type: float, default: 90}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Have the users
  canopsis_rabbitmq:
    url: http://127.0.0.1:15672
    vhost: canopsis
    admin_password: "{{ rabbitmq_admin_password }}"
    seed_password: "{{ rabbitmq_seed_password }}"
    control: /opt/canopsis/bin/rabbitmqctl
"""

RETURN = r"""
steps:
  description: What was done.
  type: list
  elements: str
  returned: always
"""

UNAUTHORIZED = 401
_USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "tags": {"type": "str", "default": ""},
    "configure": {"type": "str", "default": "^$"},
    "write": {"type": "str", "default": "^$"},
    "read": {"type": "str", "default": "^$"},
}
ARGUMENTS: dict[str, Any] = {
    "url": {"type": "str", "required": True},
    "vhost": {"type": "str", "required": True},
    "admin_user": {"type": "str", "default": "admin"},
    "admin_password": {"type": "str", "required": True, "no_log": True},
    "seed_password": {"type": "str", "required": True, "no_log": True},
    "control": {"type": "path", "required": True},
    "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
    "absent": {"type": "list", "elements": "str", "default": ["guest"]},
    "policies": {"type": "list", "elements": "dict", "default": []},
    "ha_mode": {"type": "str", "choices": ["quorum", "classic"], "default": "quorum"},
    "nodes": {"type": "int", "default": 1},
    "tls_ca": {"type": "str", "default": ""},
    "timeout": {"type": "float", "default": 90},
}


class RefusedError(Exception):
    """The broker refuses or does not answer; the text says why and what to do."""


class Broker:
    """The management API of one broker, as its administrator."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.password = params["admin_password"]

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever the answer is
        """Return the answer to one request. Raises urllib's errors."""
        request = urllib.request.Request(f"{self.params['url']}/api{path}", method=method)  # noqa: S310 - a URL of the inventory
        login = f"{self.params['admin_user']}:{self.password}"
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.params["tls_ca"]:
            trusted = ssl.create_default_context(cafile=self.params["tls_ca"])
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        opener = urllib.request.build_opener(*handlers)
        with opener.open(request, data=data, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def status(self) -> int:
        """Return the HTTP status of a first request, 0 when nobody answers."""
        try:
            self.call("GET", "/users")
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0
        return 200

    def wait(self) -> int:
        """Wait until the broker answers; return the status. Raises RefusedError."""
        pause, deadline = threading.Event(), time.monotonic() + self.params["timeout"]
        while (status := self.status()) in (0, 404, 500, 503):
            if time.monotonic() >= deadline:
                raise RefusedError(f"{self.params['url']} does not answer (status {status}); see var/log/rabbitmq/")
            pause.wait(0.2)
        return status

    def ensure_admin(self, *, check_mode: bool) -> list[str]:
        """Be the administrator: as wanted, as a new broker has it, or by rabbitmqctl."""
        if self.wait() != UNAUTHORIZED:
            return []
        self.password = self.params["seed_password"]
        if self.status() == UNAUTHORIZED:
            self.password = self.params["admin_password"]
            if not check_mode:
                self._reset()
            return [f"set the password of user {self.params['admin_user']} by rabbitmqctl"]
        return []

    def _reset(self) -> None:
        user = self.params["admin_user"]
        known = self._control("list_users", "--quiet", "--no-table-headers")
        if user not in [line.split("\t")[0] for line in known.splitlines()]:
            self._control("add_user", user, given=self.password)
            self._control("set_user_tags", user, "administrator")
        else:
            self._control("change_password", user, given=self.password)
            self._control("set_user_tags", user, "administrator")
        if self.wait() == UNAUTHORIZED:
            raise RefusedError(f"the broker still refuses {user}; see var/log/rabbitmq/")

    def _control(self, *arguments: str, given: str = "") -> str:
        command = [self.params["control"], *arguments]
        text = given + "\n" if given else None
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RefusedError(f"rabbitmqctl {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _check_mode(self) -> None:
        mode, version = self.params["ha_mode"], self.call("GET", "/overview")["rabbitmq_version"]
        policies, queues = (
            [row for row in self.call("GET", path) if row["vhost"] == self.params["vhost"]]
            for path in ("/policies", "/queues?columns=name,vhost,type")
        )
        refusal = ha_refusal(mode, version) or unmirror_refusal(mode, version, policies, queues)
        if refusal:
            raise RefusedError(refusal)

    def requests(self) -> list[Request]:
        """Return what has to be asked of the broker."""
        params = self.params
        self._check_mode()
        policies = [*ha_policies(params["ha_mode"], params["nodes"]), *params["policies"]]
        admin = {"name": params["admin_user"], "password": params["admin_password"], "tags": "administrator"}
        everything = {"name": params["admin_user"], "configure": ".*", "write": ".*", "read": ".*"}
        users = [admin, *({key: user[key] for key in ("name", "password", "tags")} for user in params["users"])]
        return [
            *plan_vhost(self.call("GET", "/vhosts"), params["vhost"]),
            *plan_users(self.call("GET", "/users"), users[1:], params["absent"]),
            *plan_permissions(self.call("GET", "/permissions"), params["vhost"], [everything, *params["users"]]),
            *plan_policies(self.call("GET", "/policies"), params["vhost"], policies),
            *plan_users(self.call("GET", "/users"), users[:1], []),
        ]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plan, act unless in check mode, and return the result. Raises RefusedError."""
    broker = Broker(module.params)
    lines = broker.ensure_admin(check_mode=module.check_mode)
    # In check mode an administrator whose password is to change cannot look further.
    requests = broker.requests() if module.check_mode is False or not lines else []
    for request in requests if not module.check_mode else ():
        broker.call(request.method, request.path, dict(request.body))
    lines += [request.says for request in requests]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in lines)}
    return {"changed": bool(lines), "steps": lines, "diff": diff}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except urllib.error.HTTPError as error:
        module.fail_json(
            msg=f"the broker refuses {error.url}: {error.code} {error.read().decode(errors='replace')[:300]}"
        )
    except (RefusedError, OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"broker at {module.params['url']}: {error}")


if __name__ == "__main__":
    main()
