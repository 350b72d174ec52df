"""Events as real sources send them. All names are of a small stock: new entities are no leak, and cost memory."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Event = dict[str, Any]

START = 1_750_000_000
"""The time of the first event. Each has a time of its own, so that no two are the same by chance."""

_RESOURCES = ("disk /", "disk /var", "load", "http", "eth0", "C:\\", "mémoire", "journal")


def mark_of(number: int, index: int) -> str:
    """Return what an event is found by: its id, the end of its output, and a field of its own."""
    return f"mark-{number:06}-{index}"


def event(rng: Random, mark: str, moment: float) -> Event:
    """Return a good event of one of the sources, with ``mark`` in it. ``moment`` is its time."""
    made = rng.choice(_SOURCES)(rng)
    made["component"] = f"host{rng.randrange(200)}"
    made["output"] = f"{made.get('output', 'all is well')} [{mark}]"
    made |= {"event_id": mark, "marker": mark}
    if rng.random() < 0.8:
        made["timestamp"] = moment
    return made


def _nagios(rng: Random) -> Event:
    used = rng.randrange(100)
    return {
        "event_type": "check",
        "connector": "nagios",
        "connector_name": f"poller{rng.randrange(4)}",
        "source_type": "resource",
        "resource": rng.choice(_RESOURCES),
        "state": rng.randrange(4),
        "state_type": rng.choice((0, 1, "soft", "hard")),
        "output": f"DISK - free space: / {100 - used} MB ({100 - used}% inode=99%):",
        "perf_data": f"/={used}MB;80;90;0;100 'time taken'=0.{used}s;;;0 users=U",
    }


def _icinga_host(rng: Random) -> Event:
    return {
        "connector": "icinga2",
        "connector_name": "master",
        "state": str(rng.randrange(4)),
        "output": "PING OK - Packet loss = 0%, RTA = 0.80 ms",
        "long_output": "line one\nline two\n" * rng.randrange(20),
        "perf_data": "rta=0.80ms;3000;5000;0 pl=0%;80;100;0",
    }


def _alertmanager(rng: Random) -> Event:
    return {
        "connector": "prometheus",
        "connector_name": "alertmanager",
        "event_type": "check",
        "resource": rng.choice(("HighLoad", "InstanceDown")),
        "state": rng.choice((0, 2)),
        "output": "instance is down",
        "tags": ["team:ops", "env:prod", f"rack {rng.randrange(9)}"],
        "labels": {"alertname": "InstanceDown", "app.kubernetes.io/name": "web", "$ref": "#/a"},
        "fingerprint": f"{rng.getrandbits(64):016x}",
    }


def _zabbix(rng: Random) -> Event:
    return {
        "connector": "zabbix",
        "connector_name": "server",
        "resource": rng.choice(_RESOURCES),
        "state": rng.randrange(4),
        "state_scale": rng.choice(("severity", "nagios", "ok,warning,critical,critical")),
        "output": "Zu wenig Speicherplatz — 用量过高",
    }


def _syslog(rng: Random) -> Event:
    return {
        "event_type": "log",
        "connector": "syslog",
        "connector_name": "relay",
        "level": rng.choice(("err", "warning", "info")),
        "output": f"<{rng.randrange(192)}>kernel: Out of memory: killed process 4711",
    }


def _values(rng: Random) -> Event:
    item = {"metric": "if_octets", "value": rng.randrange(1 << 40), "unit": "B", "type": "COUNTER", "warn": "10:20"}
    others = [{"metric": f"core{core}", "value": f"{rng.random():.4f}", "min": 0, "max": 1} for core in range(8)]
    return {
        "event_type": "perf",
        "connector": "script",
        "connector_name": "me",
        "resource": rng.choice(_RESOURCES),
        "perf_data_array": [item, *others],
    }


def _operator(rng: Random) -> Event:
    return {
        "event_type": rng.choice(("ack", "ackremove", "cancel", "uncancel", "comment")),
        "connector": "nagios",
        "connector_name": "poller1",
        "resource": rng.choice(_RESOURCES),
        "author": "Zoë O'Brien",
        "output": "ticket 4711",
    }


_SOURCES: tuple[Callable[[Random], Event], ...] = (
    _nagios,
    _nagios,
    _icinga_host,
    _alertmanager,
    _zabbix,
    _syslog,
    _values,
    _operator,
)
