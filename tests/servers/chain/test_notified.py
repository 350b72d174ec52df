"""From an event to a webhook: told once, in order, and in the end, whatever dies or is away meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chain_processes import with_options
from conftest import Site
from feeding import Feed, check
from logged import logged
from receiver import Receiver
from servers import eventually, free_port
from test_chain import GROUPINGS, Grouping

from canopsis.core.rules.notification import KIND
from canopsis.engines import notification_sender
from canopsis.engines.chain import default_chain
from canopsis.store import notifications, rules
from canopsis.store.operations import Document
from canopsis.store.rules import Change

PATTERN = {"connector": "test"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def save(site: Site, url: str, name: str = "r", **fields: Any) -> None:
    settings = {"url": url, "timeout": 2} | fields.pop("settings", {})
    rule = {"id": name, "pattern": PATTERN, "on": ["opened", "resolve"], "notifier": "webhook", "settings": settings}
    assert rules.put(site.db, Change(KIND.name, rule | fields)) is not None


def stored(site: Site, **condition: Any) -> list[Document]:
    return list(site.db[notifications.COLLECTION].find(condition, sort=[("order", 1)]))


@GROUPINGS
def test_an_alarm_is_told_once_and_so_is_its_end(
    site: Site, feed: Feed, receiver: Receiver, grouping: Grouping
) -> None:
    chain = with_options(default_chain(partitions=4, beat_interval=1.0), "alarm", resolve_delay=0.0)
    site.configure(grouping(chain))
    save(site, receiver.url, pattern=PATTERN | {"state": 2}, settings={"headers": {"X-Key": "s3cret"}})
    save(site, receiver.url, "minor", pattern=PATTERN | {"state": 1}, on=["opened", "stateinc", "resolve"])
    site.start()
    feed.events([check("web", 2, event_id="one"), check("web", 2, event_id="one"), check("db", 1, event_id="two")])
    eventually(lambda: len(receiver.bodies) == 2)
    feed.events([check("web", 0, event_id="three"), check("db", 0)])
    eventually(lambda: len(receiver.bodies) == 4)
    told = {(each["rule"], each["component"], *each["happened"]) for each in receiver.bodies}
    assert told == {
        ("r", "web", "opened"),
        ("r", "web", "resolve"),
        ("minor", "db", "opened", "stateinc"),
        ("minor", "db", "resolve"),
    }
    assert receiver.headers[0].items() >= {"Content-Type": "application/json"}.items()
    assert any(each.get("X-Key") == "s3cret" for each in receiver.headers)
    eventually(lambda: len(stored(site, state="sent", receipt="200 OK: thank you", attempts=1)) == 4)
    assert logged(site.db, _id="one")[0]["trail"][-1] == {
        "engine": "notification",
        "what": "told",
        "rule": "r",
        "reason": "opened",
    }


def test_what_a_receiver_cannot_take_now_is_sent_again_and_what_it_refuses_is_not(
    site: Site, feed: Feed, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_sender, "FIRST_PAUSE", 0.2)
    receiver.statuses += [500, 0, 400]
    save(site, receiver.url, settings={"timeout": 0.5})
    site.run_in_thread("cleaner")
    site.run_in_thread("worker")
    site.run_in_thread("sender")
    site.await_running()
    feed.events([check("web", 2)])
    eventually(lambda: stored(site, state="failed"))
    (found,) = stored(site)
    assert (found["attempts"], found["reason"], receiver.bodies) == (3, "400 Bad Request: thank you", [])
    assert notifications.retry(site.db, found["_id"], "ann", found["queued"])
    eventually(lambda: stored(site, state="sent", attempts=1, retried_by="ann"))
    assert len(receiver.bodies) == 1
    save(site, f"http://127.0.0.1:{free_port()}/", "nobody")
    feed.events([check("db", 2)])
    eventually(lambda: stored(site, rule="nobody", state="waiting", reason={"$regex": "Connection refused"}))


def test_nothing_is_lost_though_processes_die(site: Site, feed: Feed, receiver: Receiver) -> None:
    save(site, receiver.url)
    site.start()
    names = [f"host{number}" for number in range(60)]
    for at in range(0, 60, 10):
        feed.events([check(name, 2) for name in names[at : at + 10]])
        eventually(lambda at=at: len(stored(site)) > at)  # type: ignore[misc]
        for process in ("worker", "sender"):
            site.chain.processes[process].kill()
            site.chain.add(process)
    eventually(lambda: {each["component"] for each in receiver.bodies} == set(names), 200)
    assert len(stored(site)) == 60


def test_what_a_sender_had_in_hand_when_it_died_is_sent_by_the_next_one(
    site: Site, feed: Feed, receiver: Receiver
) -> None:
    receiver.statuses.append(0)
    save(site, receiver.url, settings={"timeout": 30})
    site.start()
    feed.events([check("web", 2), check("web", 2, event_id="again", output="still")])
    # One that dies between its claim and its request would leave the silence to the next one.
    eventually(lambda: not receiver.statuses)
    site.chain.processes["sender"].kill()
    site.chain.add("sender")
    (found,) = stored(site)
    # Its time passes.
    site.db[notifications.COLLECTION].update_one({"_id": found["_id"]}, {"$set": {"wake_at": found["order"]}})
    eventually(lambda: stored(site, state="sent", attempts=2))
    assert [each["component"] for each in receiver.bodies] == ["web"]
