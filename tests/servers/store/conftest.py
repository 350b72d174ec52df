"""A migrated database for each test of the store, and a record of the commands it was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from servers import MongoDB

from canopsis.store import migrations
from canopsis.store.client import Store


class Commands(monitoring.CommandListener):
    """Keeps the commands that a client sends."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append(dict(event.command) | {"command": event.command_name})

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing is kept of answers."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing is kept of failures."""

    def names(self) -> list[str]:
        """Return the names of the commands, without those of the connection itself."""
        return [command["command"] for command in self.sent if command["command"] not in ("hello", "endSessions")]


@pytest.fixture
def store(db: Store) -> Store:
    """An empty database in the shape of this release."""
    migrations.ensure(db)
    return db


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoDB]:
    """A database server to kill: the shared one would make all earlier tests' databases again at its start."""
    with MongoDB(tmp_path_factory.mktemp("mortal")).running() as server:
        yield server


@pytest.fixture
def mortal_store(mortal: MongoDB) -> Iterator[Store]:
    """An empty database of that server."""
    with mortal.database("mortal") as empty:
        migrations.ensure(empty)
        yield empty


@pytest.fixture
def watched(store: Store, mongodb: MongoDB) -> Iterator[tuple[Store, Commands]]:
    """The same database by a client whose commands are kept."""
    commands = Commands()
    options = {"replicaSet": "canopsis", "event_listeners": [commands], "tz_aware": True}
    with MongoClient("127.0.0.1", mongodb.port, **options) as client:
        client.admin.command("ping")
        commands.sent.clear()
        yield client[store.name], commands


EXPLAINED = ("filter", "sort", "limit", "skip", "projection", "pipeline", "cursor", "hint")


def explained(
    watched: tuple[Store, Commands], read: Callable[[Store], object]
) -> list[tuple[dict[str, Any], set[str]]]:
    """Do a read; return each of its commands that reads, and the stages of the plan that the server has for it."""
    return [(asked, set(stages(plan))) for asked, plan in plans(watched, read, "queryPlanner")]


def examined(watched: tuple[Store, Commands], read: Callable[[Store], object]) -> list[int]:
    """Do a read; return for each of its commands how many keys of an index the server looks at."""
    found = plans(watched, read, "executionStats")
    return [sum(values(plan, "totalKeysExamined")) for _, plan in found]


def plans(
    watched: tuple[Store, Commands], read: Callable[[Store], object], verbosity: str
) -> list[tuple[dict[str, Any], Any]]:
    """Do a read; return each of its commands that reads, and what the server says of it."""
    store, commands = watched
    commands.sent.clear()
    read(store)
    found = []
    for command in [command for command in commands.sent if command["command"] in ("find", "aggregate")]:
        asked = {command["command"]: command[command["command"]]} | {k: command[k] for k in EXPLAINED if k in command}
        found.append((asked, store.command("explain", asked, verbosity=verbosity)))
    return found


def values(plan: Any, name: str) -> Iterator[int]:
    """Yield the values that stand under ``name`` anywhere in a plan."""
    if isinstance(plan, dict):
        yield from ([plan[name]] if name in plan else [])
        for part in plan.values():
            yield from values(part, name)
    elif isinstance(plan, list):
        for part in plan:
            yield from values(part, name)


def stages(plan: Any) -> Iterator[str]:
    """Yield the names of all stages of a plan."""
    if isinstance(plan, dict):
        if isinstance(plan.get("stage"), str):
            yield plan["stage"]
        for key, value in plan.items():
            if key != "rejectedPlans":
                yield from stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from stages(value)
