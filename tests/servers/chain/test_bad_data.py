"""One bad event, one bad document: it becomes a dead letter, and everything around it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from conftest import Site
from feeding import Feed, check
from servers import eventually

from canopsis.engines.perfdata import Perfdata
from canopsis.engines.registry import REGISTRY
from canopsis.runtime.contract import Batch, Context, Effects, EngineKind, Registry
from canopsis.store.operations import Insert


class Clumsy(Perfdata):
    """Raises for one component, and writes what BSON cannot hold for another."""

    def process(self, batch: Batch, ctx: Context) -> Effects:
        if any(event.component == "poison" for event in batch.events):
            raise ZeroDivisionError("a bug")
        effects = super().process(batch, ctx)
        for event in batch.events:
            if event.component == "unwritable":
                effects.write.setdefault("metrics", []).append(Insert({"_id": event.event_id, "huge": 1 << 70}))
            if event.component == "refused":
                effects.write.setdefault("metrics", []).append(Insert({"_id": [event.event_id]}))
        return effects


def make(_options: Mapping[str, object], partitions: int) -> Clumsy:
    return Clumsy(partitions)


CLUMSY: Registry = {**REGISTRY, "perfdata": EngineKind("events", make)}


def start(site: Site) -> None:
    for process in site.chain.settings.processes():
        site.run_in_thread(process, CLUMSY)
    site.await_running()


def test_poison_event_is_isolated(site: Site, feed: Feed) -> None:
    events = [check(f"good{number}", 2, event_id=f"good-{number}") for number in range(100)]
    events[37] = check("poison", 2, event_id="poison-1")
    events[80] = check("poison", 2, event_id="poison-2")
    feed.events(events, size=25)
    start(site)
    site.await_count(98, connector="test")
    eventually(lambda: site.db["dead_letters"].count_documents({}) == 2)
    letter = site.db["dead_letters"].find_one({"reason": {"$regex": "a bug"}})
    assert letter is not None
    assert letter["engine"] == "perfdata"
    assert "ZeroDivisionError" in letter["reason"]
    assert json.loads(letter["body"])["component"] == "poison"
    assert site.db["alarms"].count_documents({}) == 99, "the two poisoned events are of one entity"

    def balanced() -> bool:
        tally = site.counters()["perfdata"]
        return tally["dead"] == 2 and tally["in"] == tally["forwarded"] + 2 >= 100

    eventually(balanced)


def test_unwritable_document_is_isolated(site: Site, feed: Feed) -> None:
    feed.events([check(name, 2) for name in ("first", "unwritable", "refused", "last")], size=4)
    start(site)
    site.await_count(4, connector="test")
    eventually(lambda: site.db["dead_letters"].count_documents({}) == 2)
    reasons = [found["reason"] for found in site.db["dead_letters"].find()]
    assert all("cannot hold" in reason for reason in reasons)
    assert site.db["alarms"].count_documents({"open": True}) == 4
    feed.events([check(name, 0) for name in ("first", "unwritable2", "last")], size=3)
    site.await_count(7, connector="test")
    assert site.db["alarms"].count_documents({"state": 2}) == 2


def test_chain_of_other_partitions_than_the_default_runs(site: Site, feed: Feed) -> None:
    site.configure(replace(site.chain.settings, partitions=2))
    start(site)
    feed.events([check(f"c{number}", 1) for number in range(20)], size=20)
    site.await_count(20, connector="test")


def bad(**fields: object) -> bytes:
    return json.dumps(check("bad", 0) | fields).encode()


def nested(depth: int) -> bytes:
    return bad(extra={"deep": None}).replace(b"null", b"[" * depth + b"]" * depth)


BAD: dict[str, tuple[bytes, str]] = {
    "empty body": (b"", "body"),
    "not JSON": (b"PUTVAL x", "body"),
    "half of JSON": (b'{"component": "x"', "body"),
    "no object": (b"42", "body"),
    "empty array": (b"[]", "body"),
    "array of arrays": (b"[[]]", "[0]"),
    "bad UTF-8": (b'{"component": "\xff"}', "body"),
    "NaN": (bad(value=float("nan")), "body"),
    "state 7": (bad(state=7), "state"),
    "state abc": (bad(state="abc"), "state"),
    "no state": (bad(state=None), "state"),
    "no component": (bad(component=None), "component"),
    "empty component": (bad(component=""), "component"),
    "NUL in a name": (bad(component="a\0b"), "component"),
    "control character in a name": (bad(component="a\nb"), "component"),
    "number for a name": (bad(connector=5), "connector"),
    "300 bytes of key": (bad(component="c" * 300), "component"),
    "keys too long together": (bad(component="c" * 120, connector="d" * 120, connector_name="e" * 120), "routing_key"),
    "unknown event type": (bad(event_type="party"), "event_type"),
    "list for an event type": (bad(event_type=[1]), "event_type"),
    "resource without one": (bad(source_type="resource"), "resource"),
    "year 0": (bad(timestamp=-62e9), "timestamp"),
    "year 9999": (bad(timestamp=253e9), "timestamp"),
    "text for a timestamp": (bad(timestamp="soon"), "timestamp"),
    "key with $": (bad(**{"$where": "1"}), "extra"),
    "key with .": (bad(**{"a.b": 1}), "extra"),
    "500 deep": (nested(500), ""),
    "2 MB": (bad(long_output="x" * (2 << 20)), "long_output"),
    "broken perf data": (bad(perf_data="time=;;;"), "perf_data"),
    "list for perf data": (bad(perf_data=[1]), "perf_data"),
    "perf data without a value": (bad(perf_data_array=[{"metric": "m"}]), "perf_data_array"),
    "text for a value": (bad(perf_data_array=[{"metric": "m", "value": "x"}]), "perf_data_array"),
    "id with a space": (bad(event_id="a b"), "event_id"),
}


def test_every_kind_of_bad_event_is_a_dead_letter_that_names_its_field(site: Site, feed: Feed) -> None:
    site.start()
    pids = {name: process.pid for name, process in site.chain.processes.items()}
    feed.send([body for body, _ in BAD.values()])
    feed.events([check("good", 0, event_id="one"), check("good", 0, event_id="one")], size=2)
    eventually(lambda: site.db["dead_letters"].count_documents({}) >= len(BAD))
    letters = {found["body"]: found for found in site.db["dead_letters"].find()}
    assert len(letters) == len(BAD)
    for name, (body, field) in BAD.items():
        assert letters[body]["field"].startswith(field), f"{name}: {letters[body]['field']}"
        assert letters[body]["reason"], name
    site.await_count(1, connector="test")
    assert {name: process.pid for name, process in site.chain.processes.items()} == pids
    assert all(process.is_running() for process in site.chain.processes.values())
