"""The chain as configuration: order, processes, queues, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from runtime_fakes import registry_of

from canopsis.engines.chain import default_chain
from canopsis.errors import ConfigError
from canopsis.runtime.settings import ChainSettings, EngineSettings, ProcessSettings
from canopsis.store.settings import StoreSettings
from canopsis.transport.settings import AmqpSettings

REGISTRY = registry_of(
    cleaner_events="raw",
    collectdgw="raw",
    dead_letters="raw",
    event_filter="events",
    context="events",
    alarm="events",
    notification="events",
    notification_sender="events",
    perfdata="events",
    eventstore="events",
)


def chain(*engines: EngineSettings, partitions: int = 2) -> ChainSettings:
    return ChainSettings(engines, partitions)


def engine(name: str, *following: str, **fields: Any) -> EngineSettings:
    return EngineSettings(name, next=following, **fields)


def test_default_chain_is_two_hops() -> None:
    default = default_chain()
    default.check(REGISTRY)
    assert default.processes() == ("cleaner", "sender", "worker")
    assert default.entries("sender", REGISTRY) == ()
    assert [one.name for one in default.of_process("worker")] == [
        "event_filter",
        "context",
        "alarm",
        "notification",
        "perfdata",
        "eventstore",
    ]
    assert set(default.entries("cleaner", REGISTRY)) == {"cleaner_events", "collectdgw", "dead_letters"}
    assert default.entries("worker", REGISTRY) == ("event_filter",)


def test_what_moves_events_has_queues_where_events_come_by_partition() -> None:
    kinds = registry_of(cleaner_events="raw", first="events", mover="events")
    registry = {**kinds, "mover": replace(kinds["mover"], moves=True)}
    cleaner = engine("cleaner_events", "first", process="cleaner")
    apart = chain(cleaner, engine("first", "mover"), engine("mover"))
    assert apart.entries("worker", registry) == ("first", "mover")
    together = chain(cleaner, engine("first", "mover", process="cleaner"), engine("mover", process="cleaner"))
    assert together.entries("cleaner", registry) == ("cleaner_events",)


def test_default_chain_has_a_queue_for_each_way_in() -> None:
    queues = {queue.name: queue for queue in default_chain(partitions=3).topology(REGISTRY).queues}
    assert set(queues) == {
        "Engine_cleaner_events",
        "Engine_collectdgw",
        "Engine_dead_letters",
        *(f"Engine_event_filter.0{number}" for number in range(3)),
    }
    assert queues["Engine_cleaner_events"].binding == ("canopsis.events", "#")
    assert queues["Engine_event_filter.00"].partition


def test_an_engine_in_a_process_of_its_own_gets_queues() -> None:
    default = default_chain(partitions=2)
    alone = replace(
        default, engines=tuple(replace(one, process="alarm") if one.name == "alarm" else one for one in default.engines)
    )
    assert alone.entries("alarm", REGISTRY) == ("alarm",)
    assert set(alone.entries("worker", REGISTRY)) == {"event_filter", "notification"}
    names = {queue.name for queue in alone.topology(REGISTRY).queues}
    assert {"Engine_alarm.00", "Engine_alarm.01", "Engine_notification.01"} <= names
    assert "Engine_eventstore.00" not in names


def test_order_follows_next_and_not_the_file() -> None:
    shuffled = chain(engine("perfdata"), engine("context", "alarm", "perfdata"), engine("alarm", "perfdata"))
    assert [one.name for one in shuffled.ordered()] == ["context", "alarm", "perfdata"]


def test_circle_is_refused_with_its_way() -> None:
    with pytest.raises(ConfigError, match="circle") as refused:
        chain(engine("alarm", "context"), engine("context", "alarm")).check(REGISTRY)
    assert "alarm" in str(refused.value)
    assert "context" in str(refused.value)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (chain(engine("nobody")), r"\[engine:nobody\]: unknown engine nobody; needed: one of alarm, "),
        (
            chain(engine("alarm", "perfdata")),
            r"\[engine:alarm\] next: alarm is followed by perfdata, which is not there",
        ),
        (chain(engine("alarm"), engine("alarm")), "alarm stands 2 times; needed: once"),
        (
            chain(engine("alarm", instances=2), engine("context", instances=1)),
            r"\[engine:context\] instances: instances of process worker: 1 and 2",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_name(broken: ChainSettings, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        broken.check(REGISTRY)


def test_instances_are_those_of_the_process() -> None:
    made = chain(engine("alarm", instances=3), engine("context", process="other"))
    assert (made.instances("worker"), made.instances("other")) == (3, 1)
    assert made.engine("alarm").instances == 3
    with pytest.raises(KeyError):
        made.engine("perfdata")


def test_fan_out_reaches_every_follower() -> None:
    made = chain(engine("context", "alarm", "perfdata"), engine("alarm"), engine("perfdata", process="p"))
    made.check(REGISTRY)
    assert made.entries("p", REGISTRY) == ("perfdata",)


def test_process_settings_hide_passwords_and_travel_as_json() -> None:
    told = ProcessSettings("worker", default_chain(), AmqpSettings(password="hush"), StoreSettings(password="hush"), 2)
    assert "hush" not in repr(told)
    assert msgspec.json.decode(msgspec.json.encode(told), type=ProcessSettings) == told
