"""One web server for all tests here, over the servers of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import MongoDB, RabbitMQ
from web import DATABASE, Tap, Web, add_server_user, add_users

from canopsis.store import migrations
from canopsis.store.client import Store


@pytest.fixture(scope="module")
def site_db(mongodb: MongoDB) -> Iterator[Store]:
    """The database of the web server, migrated, with its users and the web server's."""
    with mongodb.database(DATABASE) as db:
        migrations.ensure(db)
        add_users(db)
        add_server_user(db)
        yield db
        db.client.admin.command("dropUser", "webserver")


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, mongodb: MongoDB, site_db: Store
) -> Iterator[Web]:
    """A running web server."""
    assert site_db.name == DATABASE
    server = Web(tmp_path_factory.mktemp("web"))
    server.start(rabbitmq, mongodb)
    yield server
    server.stop()


@pytest.fixture
def tap(rabbitmq: RabbitMQ) -> Iterator[Tap]:
    """What comes to the exchange of events, from now on."""
    found = Tap(rabbitmq)
    found.open()
    yield found
    found.close()
