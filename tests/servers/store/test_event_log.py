"""The event log over a real MongoDB: what is found in it and how, while it is put into shape."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Commands, explained, plans, values

from canopsis.core.event import Event, to_document
from canopsis.core.normalise import normalise
from canopsis.engines.eventstore import EventStore
from canopsis.engines.perfdata import Perfdata
from canopsis.errors import InputError
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Batch, Effects
from canopsis.store import event_log, events, former_log, metrics, segments
from canopsis.store.client import Store
from canopsis.store.events import EventQuery
from canopsis.store.query import Page, Paging
from canopsis.store.write import apply

NOW = time.time() // 3600 * 3600 - 1800
"""Half past the hour before: the database drops what is older than a site keeps it."""

HOST = "component:host"


def event(name: str, timestamp: float, **fields: Any) -> Event:
    raw = {"connector": "c", "connector_name": "n", "component": "host", "state": 0, "event_id": name}
    found = normalise(raw | {"timestamp": timestamp} | fields, timestamp + 1e6)
    assert found.timestamp == timestamp
    return found


def log(store: Store, *batch: Event, received: float | None = None) -> None:
    """Store a batch as the engines do."""
    moment = max(each.timestamp for each in batch) if received is None else received
    context = StoreContext(store, moment)
    for engine in (Perfdata(8), EventStore()):
        apply(store, engine.process(Batch(batch), context).write)


def beat(store: Store, engine: Any, now: float) -> list[Effects]:
    """Beat as often as there is something to do; return what each beat did."""
    done: list[Effects] = []
    while not done or done[-1].more:
        done.append(engine.beat(now, StoreContext(store, now)))
        apply(store, done[-1].write)
    return done


def ids(page: Page) -> list[str]:
    return [document["_id"] for document in page.data]


def walk(store: Store, limit: int, between: Callable[[], object] = lambda: None, **query: Any) -> list[str]:
    """Return the ids of all pages of a list."""
    found: list[str] = []
    after, sort = "", query.pop("sort", "")
    while True:
        page = events.listing(store, EventQuery(**query, paging=Paging(0, limit, sort, after=after)))
        found += ids(page)
        assert page.next is None or isinstance(page.next, str)
        if page.next is None:
            return found
        after = page.next
        between()


@pytest.fixture
def history(store: Store) -> Store:
    """A hundred events, ten a batch, over five hosts, a minute apart."""
    made = [
        event(
            f"e{at}",
            NOW - 6000 + 60 * at,
            component=f"host{at % 5}",
            resource="cpu",
            event_type="check" if at % 2 else "log",
            output=f"value {at}",
            **({"state": at % 4} if at % 2 else {"state": None}),
        )
        for at in range(100)
    ]
    for begin in range(0, 100, 10):
        log(store, *made[begin : begin + 10])
    return store


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["e99", "e98", "e97"]),
        ({"event_type": ["log"]}, ["e98", "e96", "e94"]),
        ({"entity_id": "resource:host2/cpu"}, ["e97", "e92", "e87"]),
        ({"component": "host2", "resource": "cpu"}, ["e97", "e92", "e87"]),
        ({"component": "host1", "state": [3]}, ["e91", "e71", "e51"]),
        ({"connector": "c", "resource": "mem"}, []),
        ({"search": "VALUE 49"}, ["e49"]),
        ({"since": NOW - 6000 + 600, "until": NOW - 6000 + 720}, ["e11", "e10"]),
        ({"entity_id": "resource:host0/cpu", "until": NOW - 6000 + 360}, ["e5", "e0"]),
    ],
)
def test_filters(history: Store, filters: dict[str, Any], expected: list[str]) -> None:
    page = events.listing(history, EventQuery(**filters, paging=Paging(limit=3)))
    assert ids(page) == expected
    assert page.exact == (page.next is None)
    assert page.total >= len(expected)


def test_a_limit_of_0_counts(history: Store) -> None:
    page = events.listing(history, EventQuery(event_type=["log"], paging=Paging(limit=0)))
    assert (page.data, page.total, page.exact, page.next) == ([], 50, True, None)


@pytest.mark.parametrize("limit", [1, 3, 10, 99, 100, 1000])
def test_pages_have_every_event_once(history: Store, limit: int) -> None:
    newest_first = [f"e{at}" for at in reversed(range(100))]
    assert walk(history, limit) == newest_first
    assert walk(history, limit, sort="received") == newest_first[::-1]
    of_host = [name for name in newest_first if int(name[1:]) % 5 == 3]
    assert walk(history, limit, entity_id="resource:host3/cpu") == of_host
    assert walk(history, limit, entity_id="resource:host3/cpu", sort="timestamp") == of_host[::-1]


def test_pages_have_every_event_once_while_segments_are_merged(history: Store) -> None:
    newest_first = [f"e{at}" for at in reversed(range(100))]

    def merge() -> None:
        beat(history, EventStore(), NOW + 8000)

    assert walk(history, 7, merge) == newest_first
    assert history.event_log.count_documents({}) == 3, "one an hour"
    assert walk(history, 7) == newest_first
    assert walk(history, 7, sort="received") == newest_first[::-1]
    of_host = [name for name in newest_first if int(name[1:]) % 5 == 3]
    assert walk(history, 7, entity_id="resource:host3/cpu") == of_host


def test_a_search_that_takes_too_long_says_where_to_go_on(history: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SEARCH_SECONDS", 0.0)
    page = events.listing(history, EventQuery(search="value 49"))
    assert (page.data, page.exact) == ([], False)
    assert page.next
    assert walk(history, 5, search="value 49") == ["e49"]
    assert walk(history, 5, entity_id="resource:host4/cpu", search="value 49") == ["e49"]


def test_events_of_an_entity_are_in_order_of_their_own_time(store: Store) -> None:
    times = {"a": NOW - 90, "late": NOW - 4000, "b": NOW - 80, "c": NOW - 80}
    for name, timestamp in times.items():
        log(store, event(name, timestamp), event(f"x{name}", timestamp, component="other"), received=NOW)
    assert walk(store, 1, entity_id=HOST) == ["c", "b", "a", "late"]
    assert walk(store, 1, entity_id=HOST, sort="timestamp") == ["late", "a", "b", "c"]


def test_years_without_an_event_cost_a_few_questions(watched: tuple[Store, Commands]) -> None:
    store, commands = watched
    for name, timestamp in (("new", NOW), ("old", 1_000_000_000.0), ("other", 1_300_000_000.0)):
        log(store, event(name, timestamp, component="x" if name == "other" else "host"), received=NOW)
    commands.sent.clear()
    assert walk(store, 50, entity_id=HOST) == ["new", "old"]
    assert walk(store, 50, entity_id=HOST, sort="timestamp") == ["old", "new"]
    assert walk(store, 50, entity_id="component:nobody") == []
    assert len(commands.sent) < 300


def test_events_by_time_are_those_of_an_entity(store: Store) -> None:
    with pytest.raises(InputError, match="entity_id"):
        events.listing(store, EventQuery(paging=Paging(sort="timestamp")))
    for wrong in ("x", "nan?/a"):
        with pytest.raises(InputError, match="next of a page"):
            events.listing(store, EventQuery(paging=Paging(after=wrong)))


def test_large_events_make_short_pages(store: Store) -> None:
    for at in range(5):
        log(store, event(f"e{at}", NOW + at, extra={"x": "y" * 1_000_000}))
    page = events.listing(store, EventQuery())
    assert (ids(page), page.next is not None) == (["e4", "e3", "e2", "e1"], True)
    newest_first = ["e4", "e3", "e2", "e1", "e0"]
    assert walk(store, 50) == newest_first
    assert walk(store, 50, entity_id=HOST) == newest_first
    assert walk(store, 50, entity_id=HOST, sort="timestamp") == newest_first[::-1]


def test_an_event_is_read_back_as_it_came(store: Store) -> None:
    sent = event("one", NOW, extra={"a.b": 1, "$c": {"": [1, None]}}, output="é\ud83d\ude00"[:1], tags=["t"])
    log(store, sent, received=NOW + 2)
    found = event_log.get(store, "one")
    assert found is not None
    assert found.pop("received").timestamp() == NOW + 2
    assert found == to_document(sent)
    assert found["extra"] == {"a.b": 1, "$c": {"": [1, None]}}


def test_an_event_is_found_by_its_id_whatever_its_time(store: Store) -> None:
    ages = {"new": 0.0, "hours": 7200.0, "month": 30 * 86400.0, "years": 4e8}
    for name, age in ages.items():
        log(store, event(name, NOW - age), received=NOW)
    of_its_time = f"{int((NOW - 50) * 1000):012x}7{'0' * 3}8{'0' * 15}"
    log(store, event(of_its_time, NOW - 9e6), received=NOW)
    assert [event_log.get(store, name) is not None for name in (*ages, of_its_time, "none")] == [True] * 5 + [False]
    assert event_log.get(store, "none") is None
    store.event_log.delete_many({})
    assert event_log.get(store, "new") is None


def test_what_was_stored_is_known_by_id_and_time(store: Store) -> None:
    beginning = NOW - 1800
    log(store, event("a", NOW), event("b", beginning - 5), event("c", NOW, event_type="ack", author="me"))
    named = [("a", NOW + 60), ("b", beginning + 60), ("c", NOW), ("none", NOW), ("a", NOW - 7200)]
    assert set(event_log.contents(store, named[:4])) == {"a", "b", "c"}
    assert event_log.contents(store, named[4:]) == {}, "two hours before it is another's"
    assert event_log.contents(store, [("a", NOW)])["a"][:3] == ("check", HOST, 0)


def test_the_newest_check_of_many_entities(store: Store) -> None:
    for begin in reversed(range(0, 500, 50)):
        log(
            store,
            *(event(f"n{at}", NOW - at, component=f"c{at % 50}") for at in range(begin, begin + 50)),
            received=NOW - begin / 100,
        )
    measures = [event(f"p{at}", NOW, component="c0", event_type="perf", perf_data="a=1", state=None) for at in range(9)]
    for each in (*measures, event("q", NOW, component="measured", event_type="perf", perf_data="a=1", state=None)):
        log(store, each, received=NOW + 1)
    since = {f"component:c{at}": NOW - 600 for at in range(50)} | {"component:measured": NOW, "component:none": 0.0}
    expected = {f"component:c{at}": NOW - at for at in range(50)}
    assert event_log.newest_checks(store, since, NOW) == expected
    assert event_log.newest_checks(store, {"component:c3": NOW - 600}, NOW - 10) == {"component:c3": NOW - 53}


def measured(name: str, timestamp: float, value: float, **fields: Any) -> Event:
    items = [{"metric": "load", "value": value, "unit": "s"}, {"metric": "a.b $c", "value": 1.0}]
    return event(name, timestamp, perf_data_array=items, **fields)


@pytest.fixture
def series(store: Store) -> Store:
    """Two hours of a point each minute of a host, in batches with another one's."""
    for at in range(120):
        moment = NOW - 7200 + 60 * at
        log(store, measured(f"k{at}", moment, float(at)), measured(f"o{at}", moment, -1.0, component="other"))
    return store


def points(store: Store, metric: str = "load", since: float = NOW - 8000) -> list[tuple[float, float]]:
    found = metrics.window(store, HOST, metric, since, NOW + 10)
    assert found is not None
    return found.points


def test_a_window(series: Store) -> None:
    found = metrics.window(series, HOST, "load", NOW - 7200, NOW - 7030)
    assert found == metrics.Series(HOST, "load", "s", [(NOW - 7200, 0.0), (NOW - 7140, 1.0), (NOW - 7080, 2.0)])
    assert [value for _, value in points(series, "a.b $c")] == [1.0] * 120
    assert metrics.window(series, HOST, "none", 0, NOW) is None
    assert metrics.window(series, "component:none", "load", 0, NOW) is None


def test_buckets(series: Store) -> None:
    found = metrics.window(series, HOST, "load", NOW - 7200, NOW, interval=3600.0, aggregate="max")
    assert found is not None
    assert [value for _, value in found.points] == [29.0, 89.0, 119.0]


def test_no_answer_changes_while_hours_are_compacted_and_merged(series: Store) -> None:
    before = points(series)
    assert len(before) == 120
    hourly = Perfdata(8).beat(NOW + 2500, StoreContext(series))
    apply(series, {name: writes for name, writes in hourly.write.items() if name == "metrics_hourly"})
    assert points(series) == before, "a point that stands in both counts once"
    for engine in (Perfdata(8), EventStore()):
        beat(series, engine, NOW + 2500)
        assert points(series) == before
    assert series.metrics_hourly.count_documents({}) == 3 * 4
    assert series.event_log.count_documents({}) == 3
    assert series.event_log.count_documents({"v": {"$ne": b""}}) == 0, "values are kept once"


def test_late_points_join_their_hour(series: Store) -> None:
    beat(series, Perfdata(8), NOW + 2500)
    log(series, measured("late", NOW - 7190, -1.0), received=NOW + 3000)
    assert (NOW - 7190, -1.0) in points(series)
    beat(series, Perfdata(8), NOW + 9000)
    assert (NOW - 7190, -1.0) in points(series)
    assert len(points(series)) == 121


def test_too_many_points_ask_for_an_interval(series: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_POINTS", 100)
    with pytest.raises(InputError, match="interval"):
        points(series)


def test_what_an_earlier_release_stored_moves_into_the_log_while_events_flow(store: Store) -> None:
    old = [event(f"e{at}", NOW - 100 + at) for at in range(30)]
    dates = {each.event_id: segments.pack([each], {}, each.timestamp)[0]["at"] for each in old}
    store[former_log.EVENTS].insert_many([to_document(each) | {"received": dates[each.event_id]} for each in old])
    raw = [{"_id": {"e": HOST, "t": int((NOW - at) * 1000), "k": str(at)}, "v": {"load": float(at)}} for at in range(5)]
    store[former_log.METRICS].insert_many(raw)
    apply(store, {metrics.NAMES: [metrics.name(HOST, "load", "s")]})
    log(store, old[29], event("new", NOW))  # e29 came again
    first = EventStore().beat(NOW, StoreContext(store))
    apply(store, {"event_log": first.write["event_log"]})  # and here the process died
    beat(store, EventStore(), NOW)
    assert sorted(walk(store, 10)) == sorted(["new", *(each.event_id for each in old)])
    assert [value for _, value in points(store)] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert [store[name].count_documents({}) for name in (former_log.EVENTS, former_log.METRICS)] == [0, 0]


READS: dict[str, Callable[[Store], object]] = {
    "newest": lambda db: events.listing(db, EventQuery()),
    "since, of a state": lambda db: events.listing(db, EventQuery(since=NOW - 900, state=[3])),
    "of an entity": lambda db: events.listing(db, EventQuery(entity_id="resource:host1/cpu", since=NOW - 900)),
    "by id": lambda db: event_log.get(db, "e7"),
    "known": lambda db: event_log.contents(db, [(f"e{at}", NOW) for at in range(100)]),
    "newest checks": lambda db: event_log.newest_checks(db, {"resource:host1/cpu": NOW - 900}, NOW),
    "a window": lambda db: metrics.window(db, "resource:host1/cpu", "load", NOW - 100, NOW),
    "not compacted": lambda db: event_log.values_behind(db, 0, segments.position(NOW), 10),
    "not merged": lambda db: event_log.whole_behind(db, 0, segments.position(NOW), 10),
}


@pytest.mark.parametrize("what", sorted(READS))
def test_no_read_goes_over_the_whole_log(history: Store, watched: tuple[Store, Any], what: str) -> None:
    apply(history, {metrics.NAMES: [metrics.name("resource:host1/cpu", "load")]})
    found = explained(watched, READS[what])
    assert found
    for asked, stages in found:
        assert "COLLSCAN" not in stages, asked


def test_ids_that_are_not_there_cost_no_segment_however_many_there_are(watched: tuple[Store, Any]) -> None:
    for number in range(50):
        log(watched[0], *[event(f"e{number}.{at}", NOW - number) for at in range(100)])
    absent = [(f"absent{number}", NOW) for number in range(1000)]
    found = plans(watched, lambda db: event_log.contents(db, absent), "executionStats")
    assert [sum(values(plan, "totalDocsExamined")) for _, plan in found] == [0]
