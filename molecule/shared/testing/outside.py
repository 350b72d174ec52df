"""What is done to a host from outside, by root of this machine: its way out is cut and counted, it gets a file system.

``init`` is the host's first process as this machine sees it. All of it goes with the host.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GB = 1024**3
FIREWALLS = ("iptables", "ip6tables")
ELSEWHERE = "elsewhere"
NODE = "/dev/disk-for-a-test"


def run(*command: str) -> str:
    """Return what a command of this machine prints. Raises AssertionError with its errors."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def enter(init: int, namespace: str, *command: str) -> str:
    """Return what a command prints in a namespace (net or mount) of a host."""
    return run("nsenter", "--target", str(init), f"--{namespace}", "--", *command)


# --- the way out --------------------------------------------------------------------------------


def rules(firewall: str, friends: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rules by which answers and what goes to ``friends`` leave, and anything else is refused and counted."""
    yield ("--new-chain", ELSEWHERE)
    # Reset, a connection is tried once; any other refusal makes the host send its first packet again.
    yield ("--append", ELSEWHERE, "--protocol", "tcp", "--jump", "REJECT", "--reject-with", "tcp-reset")
    yield ("--append", ELSEWHERE, "--jump", "REJECT")
    yield ("--append", "OUTPUT", "--out-interface", "lo", "--jump", "ACCEPT")
    yield ("--append", "OUTPUT", "--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "--jump", "ACCEPT")
    if firewall == "iptables":
        yield from (("--append", "OUTPUT", "--destination", friend, "--jump", "ACCEPT") for friend in friends)
    else:
        # Neighbours are found by it, as by ARP.
        yield ("--append", "OUTPUT", "--protocol", "ipv6-icmp", "--jump", "ACCEPT")
    yield ("--append", "OUTPUT", "--jump", ELSEWHERE)


def cut(init: int, friends: Iterable[str]) -> None:
    """Let a host begin connections to the addresses ``friends`` alone; name servers are none of them."""
    for firewall in FIREWALLS:
        for rule in rules(firewall, friends):
            enter(init, "net", firewall, "--wait", *rule)


def tried(init: int) -> int:
    """Return how many packets of a host were refused since its way out was cut."""
    listing = ("--wait", "--verbose", "--exact", "--numeric", "--list", ELSEWHERE)
    shown = (enter(init, "net", each, *listing).splitlines()[2:] for each in FIREWALLS)
    return sum(int(line.split()[0]) for lines in shown for line in lines)


# --- cut off from its neighbours ----------------------------------------------------------------


def between(change: str, strangers: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield the rules by which nothing goes to ``strangers`` or comes from them, and nobody is told."""
    for address in strangers:
        yield (change, "OUTPUT", "--destination", address, "--jump", "DROP")
        yield (change, "INPUT", "--source", address, "--jump", "DROP")


@contextmanager
def apart(init: int, strangers: Iterable[str]) -> Iterator[None]:
    """Keep a host apart from the addresses ``strangers``: packets vanish, as behind a broken switch."""
    strangers = tuple(strangers)
    for rule in between("--append", strangers):
        enter(init, "net", "iptables", "--wait", *rule)
    try:
        yield
    finally:
        for rule in between("--delete", strangers):
            enter(init, "net", "iptables", "--wait", *rule)


# --- file systems -------------------------------------------------------------------------------


def mount(init: int, size_gb: int, place: str) -> None:
    """Mount an empty file system of ``size_gb`` at ``place`` of a host; of this machine's disk it takes a few MB."""
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(size_gb * GB)
        run("mkfs.ext4", "-q", "-m", "0", "-N", "200000", image.name)
        device = run("losetup", "--find", "--show", image.name).strip()
        try:
            mount_device(init, Path(device).stat().st_rdev, place)
        finally:
            # While it is mounted, this only says that it goes with its last user.
            run("losetup", "--detach", device)


def mount_device(init: int, number: int, place: str) -> None:
    """Mount a device of this machine, which the host does not see, at ``place`` of the host."""
    enter(init, "mount", "mkdir", "-p", place)
    enter(init, "mount", "mknod", NODE, "b", str(os.major(number)), str(os.minor(number)))
    enter(init, "mount", "mount", NODE, place)
    enter(init, "mount", "rm", NODE)


def reserve(host: Any, path: str, size_gb: float) -> None:
    """Have a file of this size whose blocks are taken, though nothing was written to them."""
    host.check_output(f"mkdir -p $(dirname {path}) && rm -f {path} && fallocate -l {int(size_gb * GB)} {path}")


def free(host: Any, place: str) -> float:
    """Return the GB that an ordinary user may still use at ``place``."""
    blocks, size = host.check_output(f"stat --file-system --format '%a %S' {place}").split()
    return int(blocks) * int(size) / GB


def leave(host: Any, place: str, free_gb: float) -> None:
    """Fill the file system mounted at ``place`` up to ``free_gb``, beside what else is there."""
    ballast = f"{place}/ballast"
    host.check_output(f"rm -f {ballast}")
    reserve(host, ballast, free(host, place) - free_gb)
    left = free(host, place)
    assert abs(left - free_gb) < 0.01, left
