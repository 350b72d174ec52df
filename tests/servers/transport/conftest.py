"""A fresh queue and connections for each test of the transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from servers import RabbitMQ

from canopsis.transport.connection import Connection, connect
from canopsis.transport.topology import DEAD, declare, site_topology

Connect = Callable[[], Connection]


@pytest.fixture
def link(rabbitmq: RabbitMQ) -> Iterator[Connect]:
    """Give connections that are closed at the end."""
    made: list[Connection] = []

    def again() -> Connection:
        made.append(connect(replace(rabbitmq.settings(), write_timeout=30.0), "test"))
        return made[-1]

    yield again
    for connection in made:
        connection.close()


@pytest.fixture(scope="session")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker to kill: the shared one would have all earlier tests' queues to recover."""
    with RabbitMQ(tmp_path_factory.mktemp("mortal")).running() as server:
        connection = connect(replace(server.settings(), write_timeout=30.0))
        declare(connection, site_topology({"dead_letters": (DEAD, "#")}, ["mortal", "published"], 1))
        connection.close()
        # RabbitMQ 3.10 may not find a quorum queue again that is less than a second old when it is killed.
        server.stop()
        server.start()
        yield server


@pytest.fixture
def engine(link: Connect, request: pytest.FixtureRequest) -> str:
    """Return the name of an engine whose two partition queues are there and empty."""
    name = request.node.name.replace("[", "-").strip("]")
    connection = link()
    declare(connection, site_topology({"dead_letters": (DEAD, "#")}, [name], 2))
    connection.close()
    return name
