"""Who listens: listeners.py PORT… prints a line ``PORT PID COMMAND`` for each port that is taken on this host.

Read from /proc alone: a fresh host has neither ss nor lsof. PID is ``-`` for a process of another user.
"""

from __future__ import annotations

import sys
from pathlib import Path

LISTENING = "0A"
PROC = Path("/proc")


def sockets(ports: set[int]) -> dict[str, tuple[int, str]]:
    """Return inode: (port, user id) of every listening socket on one of ``ports``."""
    found = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == LISTENING and port in ports:
                found[fields[9]] = (port, fields[7])
    return found


def holders(inodes: set[str]) -> dict[str, int]:
    """Return inode: pid for the sockets whose process this user may look into."""
    links = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, int] = {}
    for process in PROC.glob("[0-9]*"):
        try:
            for handle in (process / "fd").iterdir():
                inode = links.get(str(handle.readlink()))
                if inode is not None:
                    found.setdefault(inode, int(process.name))
        except OSError:
            continue
    return found


def command(pid: int) -> str:
    """Return the program and command line of ``pid``, as far as they can be read."""
    process = PROC / str(pid)
    try:
        line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return f"{(process / 'exe').readlink()} {line}"
    except OSError:
        return "a process that just ended"


def main(ports: set[int]) -> None:
    """Print the listeners of ``ports``, one line a port."""
    taken = sockets(ports)
    pids = holders(set(taken))
    seen: set[int] = set()
    for inode, (port, user) in sorted(taken.items(), key=lambda item: item[1]):
        if port in seen:
            continue
        seen.add(port)
        pid = pids.get(inode)
        who = command(pid) if pid else f"a process of user id {user}"
        sys.stdout.write(f"{port} {pid or '-'} {who}\n")


if __name__ == "__main__":
    main({int(port) for port in sys.argv[1:]})
