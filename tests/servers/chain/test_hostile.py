"""Whatever a message holds, the chain goes on, and the message is answered for."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

from conftest import Site
from feeding import Feed, check
from hostile import EXPIRATION, HEADERS, MODE, Raw, long, nested, pair, send, short, with_headers
from logged import logged
from servers import eventually

from canopsis.runtime.trials import MOST_DEATHS, RETURNED
from canopsis.transport.connection import connect
from canopsis.transport.consumer import Consumer
from canopsis.transport.topology import DEAD, EVENTS

MORTAL = Path(__file__).with_name("mortal_process.py")
GOOD = json.dumps(check("good", 2, event_id="good")).encode()
BAD = json.dumps(check("bad", 7)).encode()

KINDS = {
    "a time long before time": pair(b"timestamp_in_ms", b"l" + struct.pack(">q", -(2**62))),
    "a time beyond the calendar": pair(b"when", b"T" + struct.pack(">Q", 2**63)),
    "a name that is not UTF-8": pair(b"\xff\xfe", b"t\x01"),
    "tables 3,000 deep": pair(b"deep", nested(3000)),
    "a number beyond 64 bits": pair(b"scale", b"D" + struct.pack(">Bi", 255, 1)),
    "a name with a dollar and a dot": pair(b"$where.a", b"F" + long(pair(b"$set", b"t\x01"))),
    "a text that is not UTF-8": pair(b"text", b"S" + long(b"\xff" * 300)),
    "headers as large as a frame": pair(b"large", b"S" + long(b"x" * 120_000)),
}


def letters(site: Site) -> int:
    return sum(found["count"] for found in site.db["dead_letters"].find({}, {"count": 1}))


def pids(site: Site) -> dict[str, int]:
    assert all(process.is_running() for process in site.chain.processes.values())
    return {name: process.pid for name, process in site.chain.processes.items()}


def test_a1_hostile_headers_stop_nothing(site: Site, feed: Feed) -> None:
    site.start()
    before = pids(site)
    for number, headers in enumerate(KINDS.values()):
        bad = json.dumps(check(f"bad-{number:x}-x", 7)).encode()
        good = json.dumps(check("good", 2, event_id=f"good-{number}")).encode()
        send(site.broker.settings(), EVENTS, [with_headers(bad, headers), with_headers(good, headers)])
    feed.events([check("after", 0, event_id="after")])
    site.await_count(len(KINDS) + 1, connector="test")
    eventually(lambda: letters(site) == len(KINDS))
    assert pids(site) == before
    for found in site.db["dead_letters"].find():
        assert found["field"] == "state"
        assert found["headers"]
        assert abs(found["received"].timestamp() - time.time()) < 600


def test_a1_hostile_headers_in_the_dead_queue_stop_nothing(site: Site) -> None:
    site.start()
    before = pids(site)
    for headers in KINDS.values():
        send(site.broker.settings(), DEAD, [with_headers(GOOD, headers)])
    send(site.broker.settings(), DEAD, [with_headers(GOOD, pair(b"x-death", b"A" + long(b"F" + long(b""))))])
    eventually(lambda: letters(site) == len(KINDS) + 1)
    assert pids(site) == before


def test_a1_a_message_that_ends_its_process_is_put_aside(site: Site, feed: Feed) -> None:
    events = [check(f"c{number}", 1, event_id=f"e{number}") for number in range(40)]
    feed.events(events[:20])
    feed.send([b"KILLER"])
    feed.events(events[20:])
    site.chain.add("worker")
    mortal = site.chain.add("cleaner", program=MORTAL)
    deaths = 0

    def put_aside() -> bool:
        nonlocal deaths
        if not mortal.is_running():
            deaths += 1
            mortal.start()
        return site.db["dead_letters"].count_documents({"body": b"KILLER"}) == 1

    eventually(put_aside, 120)
    assert deaths == RETURNED + MOST_DEATHS
    letter = site.db["dead_letters"].find_one({"body": b"KILLER"})
    assert letter is not None
    assert "processes die of it" in letter["reason"]
    assert (letter["engine"], letter["exchange"]) == ("cleaner_events", EVENTS)
    site.await_count(40, connector="test")
    eventually(lambda: site.db["trials"].count_documents({}) == 0)
    assert mortal.is_running()


def test_a1_messages_of_a_process_that_was_killed_often_are_not_put_aside(site: Site, feed: Feed) -> None:
    feed.events([check(f"c{number}", 1, event_id=f"e{number}") for number in range(60)])
    site.chain.add("worker")
    for _ in range(RETURNED + MOST_DEATHS + 1):
        link = connect(site.broker.settings(), "victim")
        consumer = Consumer(link)
        consumer.add("Engine_cleaner_events")
        assert consumer.gather(60, 10)
        link.drop()
    site.chain.add("cleaner")
    site.await_count(60, connector="test")
    assert letters(site) == 0
    eventually(lambda: site.db["trials"].count_documents({}) == 0)


def test_a2_a_forged_time_of_receipt_reaches_no_event(site: Site) -> None:
    site.start()
    hours = (24 * 3652, -24 * 3652, 5, -5)
    for number, off in enumerate(hours):
        stamp = pair(b"timestamp_in_ms", b"l" + struct.pack(">q", int((time.time() + off * 3600) * 1000)))
        event = check("forged", 2, event_id=f"forged-{number}")
        del event["timestamp"]
        send(site.broker.settings(), EVENTS, [with_headers(json.dumps(event).encode(), stamp)])
    site.await_count(len(hours), connector="test")
    for found in logged(site.db, connector="test"):
        assert abs(found["timestamp"] - time.time()) < 600


def test_a2_one_bad_document_of_an_earlier_release_does_not_stop_the_others(site: Site) -> None:
    hour = int(time.time()) // 3600 * 3600 - 7200
    bad: list[dict[str, Any]] = [
        {"_id": {"e": "component:a", "t": -4_611_686_018_427_388, "k": "x"}, "v": {"m": 1.0}},
        {"_id": {"e": "component:a", "t": -(2**62), "k": "y"}, "v": {"m": 1.0}},
        {"_id": {"e": "component:a", "t": "soon", "k": "z"}, "v": {"m": 1.0}},
        {"_id": "component:a", "v": {"m": 1.0}},
        {"_id": {"e": "component:b", "t": hour * 1000, "k": "w"}},
    ]
    good = {"_id": {"e": "component:c", "t": hour * 1000, "k": "v"}, "v": {"m": 1.0}}
    site.db["metrics"].insert_many([*bad, good])
    site.start()
    eventually(lambda: site.db["metrics_hourly"].count_documents({"_id.e": "component:c"}) == 1)
    eventually(lambda: site.db["metrics"].count_documents({}) == 0)
    eventually(lambda: site.db["dead_letters"].count_documents({"engine": "eventstore"}) == 5)


def expiring(body: bytes, key: str, *headers: bytes) -> Raw:
    return Raw(body, {HEADERS: long(b"".join(headers)), MODE: b"\x02", EXPIRATION: short(b"1")}, key)


def test_a3_a_forged_death_of_a_message_that_expires_stops_nothing(site: Site, feed: Feed) -> None:
    forged = [b"F" + long(b""), b"l" + struct.pack(">q", 1), b"S" + long(b"x")] * 3
    for door in ("Engine_cleaner_events", "Engine_collectdgw"):
        for item in forged:
            send(site.broker.settings(), "", [expiring(b"forged", door, pair(b"x-death", b"A" + long(item)))])
    # A node has one supervisor for what all its queues give up: those of the partitions still do.
    send(site.broker.settings(), "", [expiring(b"partition", "Engine_event_filter.00")])
    feed.events([check("after", 0, event_id="after")])
    site.start()
    eventually(lambda: site.db["dead_letters"].count_documents({"body": b"partition"}) == 1)
    site.await_count(1, connector="test")


def test_e3_a_sender_of_one_bad_value_makes_one_letter(site: Site, feed: Feed) -> None:
    lines = [f"PUTVAL h1/cpu-0/cpu-user interval=10 {1_700_000_000 + 10 * n}:bad".encode() for n in range(50)]
    events = [json.dumps(check("loud", 7, timestamp=time.time() - n, output=f"{n}")).encode() for n in range(50)]
    feed.send(lines, "amq.topic", "collectd")
    feed.send(events)
    site.start()
    eventually(lambda: letters(site) == 100)
    found = list(site.db["dead_letters"].find())
    assert sorted((letter["engine"], letter["count"]) for letter in found) == [
        ("cleaner_events", 50),
        ("collectdgw", 50),
    ]
    assert all(letter["first"] <= letter["last"] == letter["received"] for letter in found)
