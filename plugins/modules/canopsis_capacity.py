#!/usr/bin/python
"""Find out whether a host can carry its roles."""

from __future__ import annotations

import os
import platform
import pwd
import re
import resource
import shutil
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_capacity import Found, Listener, Needed, as_rows, check
from ansible.module_utils.canopsis_hosts import broker_version

DOCUMENTATION = r"""
---
module: canopsis_capacity
short_description: What a host is, and what of it does not do for its roles
description:
  - Looks at disk, memory, working set, ports, Python, processor and open files. Changes nothing.
  - Says what is to be held against other hosts - names as they resolve, clock, system, release of RabbitMQ.
  - Fails never; what is wrong is returned, so that all hosts can be shown in one table.
options:
  name: {description: Name of the host in the table., type: str, required: true}
  prefix: {description: The prefix of the site., type: path, required: true}
  user: {description: The user of the site., type: str, default: ""}
  data_path: {description: Where MongoDB keeps its data., type: path, required: true}
  roles: {description: Groups that the host is in., type: list, elements: str, default: []}
  disk_gb: {description: Space for the data path - free plus held - in GB., type: float, default: 20.0}
  running_gb: {description: What a database that is there has to have free in GB., type: float, default: 0.0}
  memory_mb: {description: Memory the roles need in MB; 0 computes it., type: int, default: 0}
  login: {description: Who logs in by SSH; empty - whoever called sudo., type: str, default: ""}
  read_share: {description: Share of the data that is read regularly., type: float, default: 0.1}
  ports: {description: Ports that must be free or ours, by the variable that sets each., type: dict, default: {}}
  names: {description: Names to resolve., type: list, elements: str, default: []}
  asked_at: {description: The controller's time in seconds since 1970; returned with seen., type: float, default: 0.0}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Look at the host
  canopsis_capacity:
    name: "{{ inventory_hostname }}"
    prefix: /opt/canopsis
    data_path: /opt/canopsis/var/lib/mongodb
    roles: [mongodb]
    ports: {mongodb_port: 27017}
"""

RETURN = r"""
seen:
  description: names (addresses by name), clock and asked_at (s since 1970), system, broker (its release).
  type: dict
  returned: always
findings:
  description: What is wrong, with host, check, found, needed, variable and level.
  type: list
  elements: dict
  returned: always
ansible_facts:
  description: canopsis_host with memory, nodename, open_files and deployed.
  type: dict
  returned: always
"""

LISTEN = "0A"
PROC = Path("/proc")
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "prefix": {"type": "path", "required": True},
    "user": {"type": "str", "default": ""},
    "data_path": {"type": "path", "required": True},
    "roles": {"type": "list", "elements": "str", "default": []},
    "disk_gb": {"type": "float", "default": 20.0},
    "running_gb": {"type": "float", "default": 0.0},
    "memory_mb": {"type": "int", "default": 0},
    "login": {"type": "str", "default": ""},
    "read_share": {"type": "float", "default": 0.1},
    "ports": {"type": "dict", "default": {}},
    "names": {"type": "list", "elements": "str", "default": []},
    "asked_at": {"type": "float", "default": 0.0},
}


def nearest(path: Path) -> Path:
    """Return ``path`` or its nearest parent that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def mount_of(path: Path) -> str:
    """Return the mount point of ``path``."""
    real = path.resolve()
    return str(next(each for each in (real, *real.parents) if each.is_mount()))


def held(path: Path, prefix: str = "") -> int:
    """Return the bytes on disk of the files below ``path`` whose names begin with ``prefix``."""
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            if name.startswith(prefix):
                size += _blocks(Path(folder) / name)
    return size


def _blocks(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def memory() -> int:
    """Return the memory of the host in bytes, or the limit of its container when that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        path = Path("/sys/fs/cgroup") / name
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdecimal():
            total = min(total, int(text))
    return total


def listeners(ports: set[int], prefix: Path, site_user: str) -> list[Listener]:
    """Return who listens on any of ``ports``."""
    sockets = {}
    for name in ("tcp", "tcp6"):
        table = PROC / "net" / name
        for line in table.read_text().splitlines()[1:] if table.is_file() else []:
            fields = line.split()
            port = int(fields[1].rsplit(":", 1)[1], 16)
            if fields[3] == LISTEN and port in ports:
                sockets[fields[9]] = (port, int(fields[7]))
    owners = _owners(set(sockets)) if sockets else {}
    # One program may listen on one port by two addresses.
    holders = {(port, owners.get(inode), uid) for inode, (port, uid) in sockets.items()}
    found = sorted(holders, key=lambda each: each[0])
    return [_listener(port, _user(uid), pid, prefix, site_user) for port, pid, uid in found]


def _owners(inodes: set[str]) -> dict[str, int]:
    """Return the process that holds each socket, as far as we may look."""
    found: dict[str, int] = {}
    for process in PROC.iterdir():
        if process.name.isdecimal():
            found.update(dict.fromkeys(_sockets(process) & inodes, int(process.name)))
    return found


def _sockets(process: Path) -> set[str]:
    try:
        links = [str(each.readlink()) for each in (process / "fd").iterdir()]
    except OSError:
        return set()
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def _listener(port: int, owner: str, pid: int | None, prefix: Path, site_user: str) -> Listener:
    """Say who listens. In a container even root may not see which process it is: then its user tells."""
    if pid is None:
        return Listener(port, f"a process of {owner}", owner == site_user)
    command, environment = _text(pid, "cmdline"), _text(pid, "environ")
    marks = (f"SUPERVISOR_SERVER_URL=unix://{prefix}/var/run/", f"CANOPSIS_PREFIX={prefix}\0")
    ours = f"{prefix}/" in command or any(mark in environment for mark in marks)
    return Listener(port, f"{command.replace(chr(0), ' ').strip()[:60]} (pid {pid}, {owner})", ours)


def _text(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text(errors="replace")
    except OSError:
        return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def find(params: dict[str, Any]) -> Found:
    """Return the figures of this host."""
    data = Path(params["data_path"])
    status = os.statvfs(nearest(data))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    ports = {int(port) for port in params["ports"].values()}
    return Found(
        name=params["name"],
        memory=memory(),
        free=status.f_bavail * status.f_frsize,
        held=held(data),
        indexes=held(data, "index-"),
        mount=mount_of(nearest(data)),
        open_files=limit if limit != resource.RLIM_INFINITY else 1048576,
        python=sys.version_info[:2],
        machine=platform.machine(),
        listeners=tuple(listeners(ports, Path(params["prefix"]), params["user"])),
        database=(data / "WiredTiger").exists(),
        # Debian's Python has it as a package of its own.
        acl=bool(shutil.which("setfacl")),
        venv=bool(find_spec("venv") and find_spec("ensurepip")),
    )


def resolve(name: str) -> list[str]:
    """Return the addresses of ``name``, none when it is not known."""
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None)})
    except OSError:
        return []


def system() -> str:
    """Return name and version of the distribution, like ``debian 12``."""
    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return f"{found['ID']} {found.get('VERSION_ID', '')}".strip()


def broker(module: AnsibleModule) -> str:
    """Return the release of RabbitMQ that the host has or would get, empty where it gets none."""
    if "rabbitmq" not in module.params["roles"]:
        return ""
    link = Path(module.params["prefix"]) / "opt/rabbitmq-server/current"
    installed = str(link.readlink()) if link.is_symlink() else ""
    apt = module.get_bin_path("apt-cache")
    policy = module.run_command([apt, "policy", "rabbitmq-server"])[1] if apt and not installed else ""
    version: str = broker_version(installed, policy, system())
    return version


def nodes(prefix: Path) -> list[str]:
    """Return the brokers whose data lies below ``prefix``, as far as we may look."""
    try:
        found = [path for path in (prefix / "var/lib/rabbitmq/mnesia").iterdir() if path.is_dir()]
    except OSError:
        return []
    return sorted(path.name for path in found if "@" in path.name and not path.name.endswith("-plugins-expand"))


def known(prefix: Path) -> list[str]:
    """Return the hosts that the configuration of a site below ``prefix`` names, as far as we may look."""
    names: set[str] = set()
    for file in ("storage.conf", "amqp.conf"):
        try:
            text = (prefix / "etc" / file).read_text(errors="replace")
        except OSError:
            continue
        for line in re.findall(r"(?m)^hosts=(.*)$", text):
            names |= {each.rpartition(":")[0] for each in line.split(",")}
    return sorted(names - {""})


def seen(module: AnsibleModule) -> dict[str, Any]:
    """Return what is held against the other hosts."""
    return {
        "names": {name: resolve(name) for name in module.params["names"]},
        "asked_at": module.params["asked_at"],
        "clock": time.time(),
        "system": system(),
        "broker": broker(module),
        "hostname": platform.node(),
        "nodes": nodes(Path(module.params["prefix"])),
        "known": known(Path(module.params["prefix"])),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    found = find(params)
    needed = Needed(
        roles=tuple(params["roles"]),
        disk_gb=params["disk_gb"],
        read_share=params["read_share"],
        data_path=params["data_path"],
        running_gb=params["running_gb"],
        memory_mb=params["memory_mb"],
        login=params["login"] or os.environ.get("SUDO_USER", "root"),
        ports={int(port): variable for variable, port in params["ports"].items()},
    )
    host = {
        "memory": found.memory,
        "nodename": platform.node(),
        "open_files": found.open_files,
        "deployed": (Path(params["prefix"]) / "opt/canopsis/current/bin/python").exists(),
    }
    findings = as_rows(check(found, needed))
    module.exit_json(changed=False, findings=findings, seen=seen(module), ansible_facts={"canopsis_host": host})


if __name__ == "__main__":
    main()
