"""Entities: ids that cannot collide, partitions that do not move, what an event says of whom."""

from __future__ import annotations

from typing import Any

import pytest
from core_samples import NOW, good, names
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.entity import EntityFacts, connector_id, entities_of, entity_id, id_of, partition_of
from canopsis.core.event_types.perf import Perf


@pytest.mark.parametrize(
    ("component", "resource", "expected"),
    [
        ("srv1", None, "component:srv1"),
        ("srv1", "disk", "resource:srv1/disk"),
        ("a/b", None, "component:a%2Fb"),
        ("a/b", "c/d", "resource:a%2Fb/c%2Fd"),
        ("a%2Fb", "/", "resource:a%252Fb/%2F"),
        ("münchen", "µ", "resource:münchen/µ"),
        ("a b", "100%", "resource:a b/100%25"),
    ],
)
def test_ids_quote_what_separates_names(component: str, resource: str | None, expected: str) -> None:
    assert id_of(component, resource) == expected


def test_a_connector_has_an_id_of_its_own() -> None:
    assert connector_id("nagios", "site/1") == "connector:nagios/site%2F1"


@given(names, names, names, names)
def test_two_resources_have_one_id_only_when_they_are_one(a: str, b: str, c: str, d: str) -> None:
    assert (id_of(a, b) == id_of(c, d)) == ((a, b) == (c, d))


@given(names, names)
def test_a_component_is_never_taken_for_a_resource(component: str, resource: str) -> None:
    assert id_of(component) != id_of(component, resource)
    assert "/" not in id_of(component)
    assert id_of(component, resource).count("/") == 1


@pytest.mark.parametrize(("id_", "expected"), [("component:srv1", 1), ("resource:srv1/disk", 2), ("component:a", 3)])
def test_partitions_do_not_move_between_versions(id_: str, expected: int) -> None:
    assert partition_of(id_, 8) == expected


@given(names, st.integers(1, 64))
def test_a_partition_is_one_of_those_there_are(name: str, partitions: int) -> None:
    assert 0 <= partition_of(id_of(name), partitions) < partitions


def test_entities_spread_over_all_partitions() -> None:
    counts = [0] * 8
    for number in range(4000):
        counts[partition_of(id_of(f"srv{number}", "disk"), 8)] += 1
    assert min(counts) > 400


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, "resource:srv1/disk"), ({"resource": None, "source_type": "component"}, "component:srv1")],
)
def test_the_entity_of_an_event(changes: dict[str, Any], expected: str) -> None:
    event = good(**changes)
    assert entity_id(event) == event.entity_id == expected


def test_an_event_of_a_resource_speaks_of_three_entities() -> None:
    speaker = "connector:nagios/nag1"
    assert entities_of(good()) == [
        EntityFacts("resource:srv1/disk", "resource", "disk", "srv1", speaker, ("component:srv1",)),
        EntityFacts("component:srv1", "component", "srv1", "srv1", speaker),
        EntityFacts(speaker, "connector", "nag1", None, speaker),
    ]


def test_an_event_of_a_component_speaks_of_two_entities() -> None:
    facts = entities_of(good(resource=None, source_type=None))
    assert [fact.id for fact in facts] == ["component:srv1", "connector:nagios/nag1"]
    assert all(fact.parents == () for fact in facts)


def test_the_first_entity_is_the_one_the_event_is_about() -> None:
    for event in (good(), good(resource=None, source_type=None)):
        assert entities_of(event)[0].id == event.entity_id


def test_a_struct_that_was_never_normalised_has_an_entity_too() -> None:
    event = Perf(connector="Engine", connector_name="engine", component="h", resource="r", source_type="resource")
    assert entity_id(event) == "resource:h/r"
    event = Perf(connector="Engine", connector_name="engine", component="h", timestamp=NOW)
    assert entity_id(event) == "component:h"
