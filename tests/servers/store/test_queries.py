"""Reading from a real MongoDB: what each filter finds, and that no list reads a whole collection."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from conftest import EXPLAINED, examined, explained, stages
from msgspec.structs import replace

from canopsis.errors import InputError
from canopsis.store import alarms, dead_letters, entities, metrics, notifications, query
from canopsis.store.alarms import AlarmQuery
from canopsis.store.client import Store
from canopsis.store.dead_letters import DeadLetterQuery
from canopsis.store.entities import EntityQuery
from canopsis.store.operations import Document
from canopsis.store.query import Page, Paging
from canopsis.store.write import apply

START = datetime(2026, 1, 1, tzinfo=UTC)


def alarm(number: int, **fields: Any) -> Document:
    """Return an alarm: even ones open, every fourth of them acknowledged, states 0 to 3 in turn."""
    ack = {"author": "ann", "message": "mine", "t": 1.0} if number % 8 == 0 else None
    closed = {} if number % 2 == 0 else {"open": False, "resolved": 2000.0 + number}
    return {
        "_id": f"a{number:03d}",
        "rev": 1,
        "open": True,
        "entity_id": f"resource:host{number}/cpu",
        "source_type": "resource",
        "connector": "nagios" if number < 50 else "zabbix",
        "connector_name": "n1",
        "component": f"host{number}",
        "resource": "cpu",
        "state": number % 4,
        "status": 4 if number == 6 else 1,
        "output": f"Load is {number} (HIGH)",
        "created": 1000.0 + number,
        "updated": 1000.0 + number,
        "last_event": 1000.0 + number,
        "resolved": None,
        "ack": ack,
        "tags": ["db"] if number == 4 else [],
        "steps": [{"type": "stateinc", "t": 1.0, "author": "n", "message": "m", "value": 1, "e": "e1"}],
    } | closed | fields  # fmt: skip


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a count end at its limit, never at its time."""
    monkeypatch.setattr(query, "COUNT_SECONDS", 60.0)


@pytest.fixture
def filled(store: Store) -> Store:
    store.alarms.insert_many([alarm(number) for number in range(100)])
    return store


def ids(page: Page) -> list[Any]:
    return [document["_id"] for document in page.data]


def test_open_alarms_latest_first(filled: Store) -> None:
    page = alarms.listing(filled, AlarmQuery())
    assert page.total == 50
    assert page.exact
    assert ids(page) == [f"a{number:03d}" for number in range(98, -2, -2)]


def test_resolved_alarms_latest_resolved_first(filled: Store) -> None:
    page = alarms.listing(filled, AlarmQuery(show="resolved", paging=Paging(limit=3)))
    assert (page.total, ids(page)) == (50, ["a099", "a097", "a095"])


def test_all_alarms(filled: Store) -> None:
    assert alarms.listing(filled, AlarmQuery(show="all")).total == 100


def test_steps_are_not_in_lists(filled: Store) -> None:
    assert "steps" not in alarms.listing(filled, AlarmQuery(paging=Paging(limit=1))).data[0]
    found = alarms.get(filled, "a001")
    assert found is not None
    assert len(found["steps"]) == 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"state": [2], "paging": Paging(limit=2)}, ["a098", "a094"]),
        ({"status": [4]}, ["a006"]),
        ({"connector": "nagios", "paging": Paging(limit=1)}, ["a048"]),
        ({"connector_name": "n2"}, []),
        ({"component": "host10"}, ["a010"]),
        ({"component": "host11"}, []),
        ({"component": "host11", "show": "all"}, ["a011"]),
        ({"resource": "cpu", "paging": Paging(limit=1)}, ["a098"]),
        ({"entity_id": "resource:host12/cpu"}, ["a012"]),
        ({"acked": True, "paging": Paging(limit=2)}, ["a096", "a088"]),
        ({"acked": False, "paging": Paging(limit=2)}, ["a098", "a094"]),
        ({"tag": "db"}, ["a004"]),
        ({"since": 1010.0, "until": 1014.0}, ["a012", "a010"]),
        ({"search": "host4 high", "paging": Paging(limit=2)}, ["a048", "a046"]),
        ({"search": "(high) 88"}, ["a088"]),
        ({"search": ".*"}, []),
        ({"search": "DB"}, ["a004"]),
    ],
)
def test_alarm_filters(filled: Store, filters: dict[str, Any], expected: list[str]) -> None:
    assert ids(alarms.listing(filled, AlarmQuery(**filters))) == expected


SORTS: dict[alarms.Show, tuple[str, ...]] = {
    "open": ("created", "state", "component"),
    "resolved": ("created", "resolved", "component"),
    "all": ("created", "component"),
}
ORDERS = [(show, sign + name) for show, names in SORTS.items() for name in names for sign in ("", "-")]


def paged(db: Store, query: AlarmQuery) -> list[Page]:
    """Return all pages of a list, following ``next``."""
    found = [alarms.listing(db, query)]
    while found[-1].next is not None:
        after = str(found[-1].next)
        found.append(alarms.listing(db, replace(query, paging=dataclasses.replace(query.paging, after=after))))
    return found


@pytest.mark.parametrize(("show", "sort"), ORDERS)
def test_every_sort_pages_through_everything_once(filled: Store, show: alarms.Show, sort: str) -> None:
    filled.alarms.update_many({"state": {"$gt": 1}}, {"$set": {"resource": None, "created": 5.0, "updated": 5.0}})
    pages = paged(filled, AlarmQuery(show=show, paging=Paging(limit=7, sort=sort)))
    assert {len(page.data) for page in pages[:-1]} == {7}
    found = [document for page in pages for document in page.data]
    assert len({document["_id"] for document in found}) == len(found) == (100 if show == "all" else 50)
    values = [document[sort.lstrip("-")] for document in found]
    assert values == sorted(values, key=lambda value: (value is not None, value), reverse=sort.startswith("-"))


def test_what_comes_and_goes_between_two_pages_neither_repeats_nor_hides_the_others(filled: Store) -> None:
    first = alarms.listing(filled, AlarmQuery(paging=Paging(limit=10)))
    filled.alarms.delete_many({"_id": {"$in": ids(first)}})
    filled.alarms.insert_one(alarm(200))
    second = alarms.listing(filled, AlarmQuery(paging=Paging(limit=10, after=str(first.next))))
    assert ids(second) == [f"a{number:03d}" for number in range(78, 58, -2)]


@pytest.mark.parametrize("sort", ["updated", "state", "last_event"])
def test_an_order_that_a_list_does_not_have_is_refused(store: Store, sort: str) -> None:
    with pytest.raises(InputError, match=f"sort: '{sort}' is refused; allowed: component, created, resolved"):
        alarms.listing(store, AlarmQuery(show="resolved", paging=Paging(sort=sort)))


def test_a_place_in_another_order_is_refused(filled: Store) -> None:
    page = alarms.listing(filled, AlarmQuery(paging=Paging(limit=10, sort="state")))
    for after in (str(page.next), "x", "bm9uZQ", "WzFd"):
        with pytest.raises(InputError, match=r"after: .* the next of a page of this list in the order created"):
            alarms.listing(filled, AlarmQuery(paging=Paging(sort="created", after=after)))


def test_sort_by_anything_else_is_refused(filled: Store) -> None:
    with pytest.raises(InputError, match="sort"):
        alarms.listing(filled, AlarmQuery(paging=Paging(sort="steps")))


def test_limit_zero_counts(filled: Store) -> None:
    page = alarms.listing(filled, AlarmQuery(state=[2], paging=Paging(limit=0)))
    assert (page.total, page.data) == (25, [])


def test_totals_beyond_the_limit_say_so(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "COUNT_LIMIT", 10)
    page = alarms.listing(filled, AlarmQuery(paging=Paging(limit=5)))
    assert (page.total, page.exact, len(page.data)) == (10, False, 5)


def test_a_slow_count_is_given_up(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "COUNT_SECONDS", 0.00001)
    page = alarms.listing(filled, AlarmQuery(paging=Paging(limit=5)))
    assert (page.total, page.exact, len(page.data)) == (6, False, 5)


def test_open_alarms_of_entities(filled: Store) -> None:
    found = alarms.open_alarms(filled, [f"resource:host{number}/cpu" for number in (2, 3, 4)] + ["component:none"])
    assert sorted(found) == ["resource:host2/cpu", "resource:host4/cpu"]
    assert found["resource:host2/cpu"].id == "a002"
    assert found["resource:host2/cpu"].steps[0].e == "e1"


def test_how_alarms_stand_is_read_without_their_steps_and_texts(filled: Store) -> None:
    (found,) = alarms.standing(filled, ["a002", "none"])
    (whole,) = alarms.by_ids(filled, ["a002"])
    assert whole.steps
    assert whole.output
    assert found == replace(whole, steps=[], written_by=[], output="", long_output="", initial_output="")


def test_due_alarms(filled: Store) -> None:
    filled.alarms.update_many({"_id": {"$in": ["a004", "a006"]}}, {"$set": {"wake_at": 1009.0}})
    filled.alarms.update_one({"_id": "a002"}, {"$set": {"wake_at": 1008.0}})
    filled.alarms.update_one({"_id": "a008"}, {"$set": {"wake_at": 1010.0}})
    assert [alarm.id for alarm in alarms.due(filled, 1009.0)] == ["a002", "a004", "a006"]
    assert [alarm.id for alarm in alarms.due(filled, 1009.0, limit=1)] == ["a002"]
    assert alarms.due(filled, 0.0) == []


def test_what_is_due_is_found_by_its_time_alone(watched: tuple[Store, Any]) -> None:
    store, commands = watched
    store.alarms.insert_many([alarm(number, wake_at=1000.0 + number if number % 2 else None) for number in range(600)])
    commands.sent.clear()
    assert len(alarms.due(store, 1009.0)) == 5
    (command,) = [command for command in commands.sent if command["command"] == "find"]
    asked = {"find": command["find"]} | {k: command[k] for k in EXPLAINED if k in command}
    plan = store.command("explain", asked, verbosity="executionStats")
    assert "by_wake_at" in str(plan["queryPlanner"]["winningPlan"])
    assert "SORT" not in set(stages(plan["queryPlanner"]))
    assert (plan["executionStats"]["nReturned"], plan["executionStats"]["totalDocsExamined"]) == (5, 5)
    assert plan["executionStats"]["totalKeysExamined"] <= 6


def test_alarms_that_may_be_timed_wrong(filled: Store) -> None:
    filled.alarms.delete_many({"_id": {"$nin": ["a000", "a002", "a004", "a006"]}})
    filled.alarms.update_many({}, {"$set": {"open": True, "state": 2, "cancel": None}, "$unset": {"wake_at": ""}})
    filled.alarms.update_one({"_id": "a000"}, {"$set": {"wake_at": 5.0}})
    filled.alarms.update_one({"_id": "a002"}, {"$set": {"state": 0, "wake_at": None}})
    filled.alarms.update_one({"_id": "a004"}, {"$set": {"cancel": {"author": "a", "message": "", "t": 1.0}}})
    assert sorted(alarm.id for alarm in alarms.perhaps_mistimed(filled)) == ["a000", "a002", "a004"]


def test_count_of_open_alarms(filled: Store) -> None:
    filled.alarms.update_one({"_id": "a002"}, {"$set": {"snooze": {"author": "ann"}}})
    found = {(each.state, each.acknowledged, each.snoozed): each.count for each in alarms.standing_by_state(filled)}
    assert found == {(0, True, False): 13, (0, False, False): 12, (2, False, False): 24, (2, False, True): 1}


PART = {"component": "h1", "parents": ["component:h1"]}


@pytest.fixture
def things(store: Store) -> Store:
    documents = [
        {"_id": "component:h1", "type": "component", "name": "h1", "connectors": ["c/n"], "parents": []},
        {"_id": "resource:h1/cpu", "type": "resource", "name": "cpu", **PART, "connectors": ["c/n"]},
        {"_id": "resource:h1/mem", "type": "resource", "name": "mem", **PART, "connectors": ["d/n"]},
        {"_id": "connector:c/n", "type": "connector", "name": "n", "connectors": [], "parents": []},
    ]  # fmt: skip
    store.entities.insert_many(documents)
    return store


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["component:h1", "connector:c/n", "resource:h1/cpu", "resource:h1/mem"]),
        ({"type": "resource"}, ["resource:h1/cpu", "resource:h1/mem"]),
        ({"name": "cpu"}, ["resource:h1/cpu"]),
        ({"component": "h1", "connector": "d/n"}, ["resource:h1/mem"]),
        ({"parent": "component:h1", "paging": Paging(sort="-name")}, ["resource:h1/mem", "resource:h1/cpu"]),
        ({"search": "h1 CP"}, ["resource:h1/cpu"]),
    ],
)
def test_entity_filters(things: Store, filters: dict[str, Any], expected: list[str]) -> None:
    assert ids(entities.listing(things, EntityQuery(**filters))) == expected


def test_known_entities(things: Store) -> None:
    assert sorted(entities.known(things, ["component:h1", "component:h2"])) == ["component:h1"]
    assert entities.get(things, "connector:c/n") is not None
    assert entities.get(things, "connector:d/n") is None


def letter(number: int, **fields: Any) -> Document:
    return {
        "_id": f"d{number}",
        "engine": "cleaner_events" if number % 2 else "alarm",
        "reason": "not JSON",
        "field": "",
        "received": START + timedelta(days=3650, seconds=number),
        "body": b"\xff\x00",
    } | fields  # fmt: skip


def test_dead_letters(store: Store) -> None:
    store.dead_letters.insert_many(
        [letter(number) for number in range(6)] + [letter(9, field="state", reason="state: 7 is refused")]
    )
    assert ids(dead_letters.listing(store, DeadLetterQuery(engine="alarm"))) == ["d4", "d2", "d0"]
    assert ids(dead_letters.listing(store, DeadLetterQuery(field="state"))) == ["d9"]
    assert ids(dead_letters.listing(store, DeadLetterQuery(search="7 refused"))) == ["d9"]
    assert "body" not in dead_letters.listing(store, DeadLetterQuery()).data[0]
    found = dead_letters.get(store, "d1")
    assert found is not None
    assert found["body"] == b"\xff\x00"


def test_dead_letter_is_replayed(store: Store) -> None:
    store.dead_letters.insert_many([letter(1), letter(2)])
    assert dead_letters.mark_replayed(store, {"_id": "d1"}, "ann")
    assert dead_letters.mark_replayed(store, {"_id": "d1"}, "bob")
    assert not dead_letters.mark_replayed(store, {"_id": "d7"}, "ann")
    found = dead_letters.get(store, "d1")
    assert found is not None
    assert (found["replayed_by"], found["replays"]) == ("bob", 2)
    assert isinstance(found["replayed"], datetime)
    assert ids(dead_letters.listing(store, DeadLetterQuery(replayed=True))) == ["d1"]
    assert ids(dead_letters.listing(store, DeadLetterQuery(replayed=False))) == ["d2"]


NOW = datetime.now(UTC).timestamp() // 3600 * 3600
HOST = "component:h"


@pytest.fixture
def named(store: Store) -> Store:
    known = [(HOST, "load", "s"), (HOST, "a.b $c", None), ("component:i", "load", "s"), ("component:i", "a.b $c", None)]
    apply(store, {"metric_names": [metrics.name(*each) for each in known]})
    return store


def test_names(named: Store) -> None:
    page = metrics.names(named, metrics.MetricQuery())
    assert page.total == 4
    page = metrics.names(named, metrics.MetricQuery(entity_id=HOST))
    assert page.data == [{"_id": {"e": HOST, "m": "a.b $c"}, "u": None}, {"_id": {"e": HOST, "m": "load"}, "u": "s"}]
    page = metrics.names(named, metrics.MetricQuery(search="i LOAD"))
    assert [found["_id"]["e"] for found in page.data] == ["component:i"]


def test_d2_fields_that_no_list_shows_are_not_weighed(store: Store) -> None:
    store.dead_letters.insert_many(letter(n) | {"body": b"x" * 3_000_000} for n in range(3))
    page = dead_letters.listing(store, DeadLetterQuery())
    assert (len(page.data), page.next) == (3, None)


def test_d2_nothing_is_read_that_weighs_too_much(watched: tuple[Store, Any]) -> None:
    store, commands = watched
    store.dead_letters.insert_one(letter(1) | {"body": b"x" * 3_000_000})

    def refuse(size: int) -> None:
        raise MemoryError(size)

    for read in (
        lambda: dead_letters.listing(store, DeadLetterQuery(paging=Paging(weigh=refuse))),
        lambda: dead_letters.get(store, "d1", refuse),
    ):
        commands.sent.clear()
        with pytest.raises(MemoryError):
            read()
        assert len(commands.names()) == 1


def test_d2_points_that_become_few_are_not_kept(store: Store) -> None:
    hours, end = 20, int(NOW * 1000)
    points = {str(offset): 1.0 for offset in range(0, metrics.HOUR_MS, 500)}
    store.metrics_hourly.insert_many(
        {"_id": {"e": HOST, "m": "load", "h": end - n * metrics.HOUR_MS}, "p": points, "at": datetime.now(UTC)}
        for n in range(hours)
    )
    apply(store, {"metric_names": [metrics.name(HOST, "load")]})
    tracemalloc.start()
    try:
        since = NOW - hours * 3600
        series = metrics.window(store, HOST, "load", since, NOW + 3600, interval=3600.0, aggregate="count")
        with pytest.raises(InputError, match="interval"):
            metrics.window(store, HOST, "load", since, NOW + 3600)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert series is not None
    assert sum(value for _, value in series.points) == hours * 7200
    assert peak < 16 << 20


Call = Callable[[Store], object]

INDEXED: dict[str, Call] = {
    "open alarms": lambda db: alarms.listing(db, AlarmQuery()),
    "resolved alarms": lambda db: alarms.listing(db, AlarmQuery(show="resolved")),
    "all alarms": lambda db: alarms.listing(db, AlarmQuery(show="all", paging=Paging(limit=5))),
    "open alarms of a state": lambda db: alarms.listing(db, AlarmQuery(state=[2], paging=Paging(limit=5))),
    "alarms of an entity": lambda db: alarms.listing(db, AlarmQuery(show="all", entity_id="component:h")),
    "alarms of a component": lambda db: alarms.listing(db, AlarmQuery(component="h", search="x")),
    "open alarms of entities": lambda db: alarms.open_alarms(db, ["component:h"]),
    "due alarms": lambda db: alarms.due(db, 1.0),
    "perhaps mistimed alarms": alarms.perhaps_mistimed,
    "count of open alarms": alarms.standing_by_state,
    "count of notifications that wait": notifications.count_waiting,
    "entities": lambda db: entities.listing(db, EntityQuery()),
    "entities of a type": lambda db: entities.listing(db, EntityQuery(type="resource", paging=Paging(sort="name"))),
    "entities of a component": lambda db: entities.listing(db, EntityQuery(component="h")),
    "children": lambda db: entities.listing(db, EntityQuery(parent="component:h")),
    "known entities": lambda db: entities.known(db, ["a", "b"]),
    "dead letters": lambda db: dead_letters.listing(db, DeadLetterQuery()),
    "dead letters of an engine": lambda db: dead_letters.listing(db, DeadLetterQuery(engine="alarm")),
    "names": lambda db: metrics.names(db, metrics.MetricQuery()),
    "names of an entity": lambda db: metrics.names(db, metrics.MetricQuery(entity_id=HOST)),
}
"""Every read that the API or the engines do often, by what it is for."""

SORTS_FEW = {"entities of a component", "children", "alarms of a component"}
"""Those that may sort in memory: what they sort is small."""


@pytest.mark.parametrize("what", sorted(INDEXED))
def test_no_read_goes_over_a_whole_collection(watched: tuple[Store, Any], what: str) -> None:
    fill_some(watched[0])
    found = explained(watched, INDEXED[what])
    assert found, f"{what} read nothing: {watched[1].names()}"
    for asked, plan in found:
        assert "COLLSCAN" not in plan, f"{what}: {asked}"
        assert plan & {"IXSCAN", "IDHACK", "EOF", "COUNT_SCAN"}, f"{what}: {plan}"
        if what not in SORTS_FEW:
            assert "SORT" not in plan, f"{what} sorts in memory: {asked}"


@pytest.mark.parametrize(("show", "sort"), [order for order in ORDERS if not order[1].endswith("state")])
def test_a_page_of_alarms_reads_what_it_shows_whatever_came_before(
    watched: tuple[Store, Any], monkeypatch: pytest.MonkeyPatch, show: alarms.Show, sort: str
) -> None:
    monkeypatch.setattr(query, "COUNT_LIMIT", 10)
    watched[0].alarms.insert_many([alarm(number) for number in range(600)])
    pages = paged(watched[0], AlarmQuery(show=show, paging=Paging(limit=100, sort=sort)))
    for page in pages[:-1]:
        following = AlarmQuery(show=show, paging=Paging(limit=10, sort=sort, after=str(page.next)))
        assert sum(examined(watched, partial(alarms.listing, query=following))) <= 60


def fill_some(store: Store) -> None:
    """Put enough into each collection for the planner to choose as it would on a site."""
    store.alarms.insert_many([alarm(number) for number in range(60)])
    store.dead_letters.insert_many([letter(number) for number in range(20)])
    names = [metrics.name(f"component:{letter}", "load") for letter in "fghij"] + [metrics.name(HOST, "load")]
    apply(store, {"metric_names": names[:5]})
    store.entities.insert_many(
        [{"_id": f"e{n}", "type": "resource", "name": f"n{n}", "component": "h"} for n in range(20)]
    )


@pytest.mark.parametrize(
    ("what", "budget"),
    [
        ("open alarms", ["find", "aggregate"]),
        ("open alarms of entities", ["find"]),
        ("known entities", ["find"]),
        ("alarms of an entity", ["find", "aggregate"]),
    ],
)
def test_budget_of_commands(watched: tuple[Store, Any], what: str, budget: list[str]) -> None:
    store, commands = watched
    fill_some(store)
    commands.sent.clear()
    INDEXED[what](store)
    assert len(commands.names()) <= len(budget)
    assert all(name in budget for name in commands.names())
