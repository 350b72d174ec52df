"""Dead letters over the real web server, with the rights that the site gives its broker user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from servers import MongoDB, RabbitMQ
from web import Tap, Web, rights_of

from canopsis.store import dead_letters
from canopsis.store.client import Store

LETTER: dict[str, Any] = {
    "engine": "cleaner_events",
    "reason": "state: 7",
    "field": "state",
    "exchange": "canopsis.events",
    "routing_key": "a.b",
    "content_type": "application/json",
    "message_id": "",
    "headers": {},
    "body": b"{}",
    "count": 1,
}
STRANGE = "\ufffd" * 255
USER = "rightful"
RIGHTS = ("configure", "write", "read")
LETTERS: dict[str, dict[str, Any]] = {
    "content-type": {"content_type": STRANGE, "message_id": STRANGE, "routing_key": STRANGE},
    "headers": {
        "headers": {"\\xff" * 255: 1, "large": "x" * 120_000, "bytes": b"\xff", "deep": {"$a.b": [None]}, "": 1.5}
    },
    "gave-up": {
        "exchange": "canopsis.dead",
        "routing_key": "Engine_alarm.00",
        "headers": {"x-death": [{"exchange": ""}]},
    },
    "forged": {"exchange": "canopsis.dead", "headers": {"x-death": [[5]]}},
    "between": {"exchange": "", "routing_key": "Engine_alarm.00"},
    "elsewhere": {"exchange": "no.such.exchange"},
    "collectd": {"exchange": "amq.topic", "routing_key": "collectd"},
    "least": {"exchange": "", "routing_key": "", "headers": None, "content_type": None, "message_id": None},
}


@pytest.fixture(scope="module")
def rightful(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, mongodb: MongoDB, site_db: Store
) -> Iterator[Web]:
    """A web server whose broker user has the rights of a site's."""
    assert site_db.name
    rabbitmq.ctl("add_user", USER, USER)
    rabbitmq.ctl("set_permissions", "-p", "canopsis", USER, *rights_of("webserver").values())
    server = Web(tmp_path_factory.mktemp("web"), user=USER)
    server.start(rabbitmq, mongodb)
    yield server
    server.stop()
    rabbitmq.ctl("delete_user", USER)


@pytest.mark.parametrize("name", LETTERS)
def test_a5_every_letter_is_shown_replayed_mended_and_discarded(
    rightful: Web, tap: Tap, site_db: Store, name: str
) -> None:
    tap.bind("amq.topic", "collectd")
    letter_id = f"a5-{name}"
    site_db["dead_letters"].insert_one(LETTER | LETTERS[name] | {"_id": letter_id, "received": datetime.now(UTC)})
    path = f"/api/v1/dead-letters/{letter_id}"
    assert rightful.get(path).status == 200
    assert rightful.call("POST", f"{path}/replay").status == 202
    assert rightful.call("POST", f"{path}/replay", body={"body": "mended é"}).status == 202
    assert [body for _, body in tap.messages()] == [b"{}", "mended é".encode()]
    [found] = rightful.get(path).json["data"]
    assert (found["replayed_by"], found["replays"], found["mended"]) == ("some-admin", 2, True)
    assert rightful.call("POST", f"{path}/discard", body={"comment": "done with"}).status == 200
    [found] = rightful.get(path).json["data"]
    assert (found["discarded_by"], found["comment"]) == ("some-admin", "done with")
    assert re.match(r"\d{4}-", found["discarded"])
    listed = [each["_id"] for each in rightful.get("/api/v1/dead-letters?discarded=false").json["data"]]
    assert letter_id not in listed


def test_a5_a_letter_that_came_again_meanwhile_is_not_done_with(rightful: Web, tap: Tap, site_db: Store) -> None:
    """Its replay was refused as quickly as it was published."""
    letter = LETTER | {"_id": "a5-again", "received": datetime.now(UTC)}
    site_db["dead_letters"].insert_one(letter)
    assert rightful.call("POST", "/api/v1/dead-letters/a5-again/replay").status == 202
    site_db["dead_letters"].update_one({"_id": "a5-again"}, {"$inc": {"count": 1}, "$unset": {"replayed": ""}})
    assert dead_letters.mark_replayed(site_db, letter, "somebody")
    stored = site_db["dead_letters"].find_one({"_id": "a5-again"})
    assert stored is not None
    assert "replayed" not in stored
    assert stored["replays"] == 2
    assert len(tap.messages()) == 1
