"""One bad event, one bad document: it becomes a dead letter, and everything around it goes on."""

from __future__ import annotations

import json
from dataclasses import replace

from conftest import Site
from feeding import Feed, check
from logged import logged
from servers import eventually

from canopsis.engines.perfdata import Perfdata
from canopsis.engines.registry import registry
from canopsis.runtime.contract import Batch, Context, Effects
from canopsis.runtime.manifest import Registry
from canopsis.store import event_log, events, metrics
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


def make(_options: object, partitions: int) -> Clumsy:
    return Clumsy(partitions)


CLUMSY: Registry = {**registry(), "perfdata": replace(registry()["perfdata"], make=make)}


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
    "NaN": (bad(state=float("nan")), "state"),
    "bad UTF-8": (b'{"component": "\xff",}', "body"),
    "state 7": (bad(state=7), "state"),
    "state abc": (bad(state="abc"), "state"),
    "no state": (bad(state=None), "state"),
    "no component": (bad(component=None), "component"),
    "empty component": (bad(component=""), "component"),
    "NUL in a name": (bad(component="a\0b"), "component"),
    "control character in a name": (bad(component="a\nb"), "component"),
    "300 bytes of key": (bad(component="c" * 300), "component"),
    "keys too long together": (bad(component="c" * 120, connector="d" * 120, connector_name="e" * 120), "routing_key"),
    "unknown event type": (bad(event_type="party"), "event_type"),
    "list for an event type": (bad(event_type=[1]), "event_type"),
    "resource without one": (bad(source_type="resource"), "resource"),
}


MENDED: dict[str, tuple[bytes, str]] = {
    "number for a name": (bad(connector=5), "connector"),
    "year 0": (bad(timestamp=-62e9), "timestamp"),
    "year 9999": (bad(component="later", timestamp=253e9), "timestamp"),
    "text for a timestamp": (bad(timestamp="soon"), "timestamp"),
    "500 deep": (nested(500), "deep"),
    "broken perf data": (bad(perf_data="time=;;;"), "perf_data"),
    "list for perf data": (bad(perf_data=[1]), "perf_data"),
    "perf data without a value": (bad(perf_data_array=[{"metric": "m"}]), "perf_data_array"),
    "text for a value": (bad(perf_data_array=[{"metric": "m", "value": "x"}]), "perf_data_array"),
    "id with a space": (bad(event_id="a b"), "event_id"),
    "byte that is not UTF-8": (bad(output="caf#").replace(b"#", b"\xe9"), "output"),
    "half of a pair": (bad(output="#").replace(b"#", b"\\ud800"), "output"),
    "NaN": (bad(perf_data_array=[{"metric": "m", "value": float("nan")}]), "perf_data_array[0].value"),
    "2 MB": (bad(more="x" * (2 << 20)), "more"),
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


def test_b6_no_check_is_lost_for_its_decoration(site: Site, feed: Feed) -> None:
    site.start()
    bodies = [
        json.dumps(json.loads(body, strict=False) | {"component": f"mended-{place}", "state": 2}).encode()
        if name not in {"byte that is not UTF-8", "half of a pair"}
        else body.replace(b'"bad"', f'"mended-{place}"'.encode())
        for place, (name, (body, _)) in enumerate(MENDED.items())
    ]
    feed.send(bodies)

    def mended() -> bool:
        return len([each for each in logged(site.db) if each["component"].startswith("mended-")]) == len(MENDED)

    eventually(mended)
    for place, (name, (_, field)) in enumerate(MENDED.items()):
        [found] = logged(site.db, component=f"mended-{place}")
        assert found["warnings"][0].startswith(field), name
    assert site.db["dead_letters"].count_documents({}) == 0


def test_b7_labels_with_dots_are_read_back_as_sent(site: Site, feed: Feed) -> None:
    site.start()
    labels = {"app.kubernetes.io/name": "web", "$ref": [{"a.b": {"": 1}}], "100%": 1}
    perf = "app.kubernetes.io/cpu=5 $rate=1 100%=2"
    feed.events(
        [check("labelled", 2, event_id="one", labels=labels, perf_data=perf, **{"x.y": 1, "$where": 2})], size=1
    )
    site.await_count(1, connector="test")
    expected = {"labels": labels, "x.y": 1, "$where": 2}
    assert event_log.get(site.db, "one")["extra"] == expected
    assert [each["extra"] for each in events.listing(site.db, events.EventQuery(component="labelled")).data] == [
        expected
    ]
    entity = "component:labelled"
    for name, value in (("app.kubernetes.io/cpu", 5.0), ("$rate", 1.0), ("100%", 2.0)):
        eventually(lambda name=name: metrics.window(site.db, entity, name, 0, 4e9))
        assert [point[1] for point in metrics.window(site.db, entity, name, 0, 4e9).points] == [value]
    assert site.db["alarms"].count_documents({"component": "labelled", "state": 2}) == 1


def test_b6_events_are_counted_by_source_for_all_to_see(site: Site, feed: Feed) -> None:
    site.start()
    feed.events([check("counted", 2, tags=5), check("counted", 2, perf_data="a=x"), check("counted", 9)], size=3)
    source = "test/chain"

    def counted() -> bool:
        living = site.db["leases"].find({"sources": {"$exists": True}})
        return {"source": source, "warnings": 2, "refused": 1} in [one for each in living for one in each["sources"]]

    eventually(counted)

    def told() -> bool:
        found = logged(site.db, resource=f"source {source}")
        return any(item["metric"] == "cps_warnings" for each in found for item in each["perf_data_array"])

    eventually(told)
