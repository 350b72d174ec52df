"""The servers of a test run: started once, when first asked for."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from servers import MongoDB, RabbitMQ

from canopsis.store.client import Store

# A shell has what it runs in the background ignore Ctrl-C, and our commands would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker; whoever kills it starts it again."""
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")).running() as server:
        yield server


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoDB]:
    """A replica set of one; whoever kills it starts it again."""
    with MongoDB(tmp_path_factory.mktemp("mongodb")).running() as server:
        yield server


@pytest.fixture
def db(mongodb: MongoDB, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty database of the test's own."""
    with mongodb.database(f"t{abs(hash(request.node.nodeid)):x}"[:30]) as store:
        yield store
