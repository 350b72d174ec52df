"""Fixtures: hosts in scratch prefixes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scratch_host import HYPCONTROL, LISTEN, SUPERVISORD, Host
from servers import free_port

from canopsis.ops import daemon, orphans
from canopsis.ops.prefix import Prefix


@pytest.fixture
def host() -> Iterator[Host]:
    """A prefix with a supervisord.conf and no program yet; nothing of it is left running."""
    folder = Path(tempfile.mkdtemp(prefix="host-"))
    host = Host(Prefix(folder))
    host.write("supervisord.conf", SUPERVISORD)
    host.write("etc/hypcontrol.conf", HYPCONTROL)
    host.prefix.log.mkdir(parents=True)
    host.prefix.run.mkdir(parents=True)
    try:
        yield host
    finally:
        daemon.shutdown(host.prefix, host.say)
        assert orphans.find(host.prefix) == {}
        shutil.rmtree(folder)


@pytest.fixture
def site(host: Host) -> Host:
    """A host with a program for each usual service; the database listens on a port."""
    port = free_port()
    host.program("mongodb", LISTEN.format(port=port))
    host.write("etc/mongodb.conf", f"net:\n  port: {port}\n  bindIp: 127.0.0.1\n")
    for name in ("rabbitmq-server", "webserver", "engine-cleaner", "engine-worker"):
        host.program(name)
    return host
