"""A prefix with the files of a full host, for tests that read them."""

from __future__ import annotations

from pathlib import Path

from canopsis.ops.prefix import Prefix

FILES = {
    "amqp.conf": """
[master]
hosts = 127.0.0.1:8083,broker2:8083
virtual_host = canopsis
[engines]
userid = engines
password = engines-secret
[webserver]
userid = webserver
password = webserver-secret
""",
    "storage.conf": """
[master]
hosts = 127.0.0.1:8087
replica_set = canopsis
database = canopsis
[engines]
username = engines
password = engines-db-secret
[webserver]
username = webserver
password = webserver-db-secret
[retention]
events = 7d
""",
    "client.conf": """
[api]
url = http://127.0.0.1:8082
authkey = client-secret
""",
    "webserver.conf": """
[server]
debug = true
[auth]
providers = authkey
[session]
secret = session-secret
lifetime = 1h
[webservices]
metrics = 0
""",
    "hypcontrol.conf": """
[backend]
services = mongodb,rabbitmq-server
[middleware]
services = amqp2engines,collectd
[frontend]
services = webserver
""",
    "amqp2engines.conf": """
[chain]
partitions = 4
[engine:cleaner_events]
process = cleaner
next = event_filter
beat_interval = 30
[engine:event_filter]
next = alarm
[engine:alarm]
next = eventstore
resolve_delay = 5m
[engine:eventstore]
""",
}

MODES = {"amqp.conf": 0o640, "storage.conf": 0o640, "client.conf": 0o600, "webserver.conf": 0o640}

ENGINES = ("alarm", "cleaner_events", "context", "event_filter", "eventstore", "perfdata")

SECRETS = (
    "engines-secret",
    "webserver-secret",
    "engines-db-secret",
    "webserver-db-secret",
    "client-secret",
    "session-secret",
)


def make_prefix(folder: Path) -> Prefix:
    """Return a prefix in ``folder`` with every configuration file of a full host."""
    prefix = Prefix(folder)
    prefix.etc("").mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        write(prefix, name, text)
    return prefix


def write(prefix: Prefix, name: str, text: str) -> Path:
    """Write one file of ``etc/`` with the mode that the roles give it."""
    path = prefix.etc(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(MODES.get(name, 0o644))
    return path


def change(prefix: Prefix, name: str, old: str, new: str) -> None:
    """Replace ``old`` by ``new`` in one file of ``etc/``."""
    text = prefix.etc(name).read_text()
    assert old in text
    write(prefix, name, text.replace(old, new))
