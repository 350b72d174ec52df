"""The chain with what an inventory changes of it: one engine, one process, without a copy of the whole."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.canopsis_chain import changed, wrong_instances, wrong_settings

CHAIN: list[dict[str, Any]] = [
    {"name": "cleaner_events", "process": "cleaner", "next": ["alarm"]},
    {"name": "alarm", "next": ["eventstore"], "options": {"resolve_delay": "60s", "cancel_resolve_delay": "1h"}},
    {"name": "eventstore"},
]


def test_g11_instances_of_one_process_need_no_copy_of_the_chain() -> None:
    made = changed(CHAIN, {"worker": 3}, {})
    assert [engine.get("instances", 1) for engine in made] == [1, 3, 3]
    assert [{**engine, "instances": None} for engine in made[1:]] == [{**e, "instances": None} for e in CHAIN[1:]]


def test_g11_one_option_of_one_engine_leaves_its_others() -> None:
    made = changed(CHAIN, {}, {"alarm": {"beat_interval": "9s", "options": {"resolve_delay": "5m"}}})
    assert made[1]["options"] == {"resolve_delay": "5m", "cancel_resolve_delay": "1h"}
    assert (made[1]["beat_interval"], made[1]["next"]) == ("9s", ["eventstore"])
    assert [made[0], made[2]] == [CHAIN[0], CHAIN[2]]


def test_g11_an_engine_may_move_to_a_process_of_its_own() -> None:
    made = changed(CHAIN, {"store": 2}, {"eventstore": {"process": "store"}})
    assert [engine.get("instances", 1) for engine in made] == [1, 1, 2]


def test_g11_nothing_changed_is_the_chain_itself() -> None:
    assert changed(CHAIN, {}, {}) == CHAIN


@pytest.mark.parametrize(
    ("instances", "found", "needed"),
    [
        ({"workers": 2}, "unknown process workers", "worker"),
        ({"zzz": 2}, "unknown process zzz", "one of cleaner, worker"),
        ({"alarm": 2}, "alarm is an engine", "worker, the process that it runs in"),
        ({"worker": 0}, "instances of process worker: 0", "a whole number from 1"),
        ({"worker": True}, "instances of process worker: True", "a whole number from 1"),
        ({"worker": "two"}, "instances of process worker: 'two'", "a whole number from 1"),
    ],
)
def test_g11_wrong_instances_are_told(instances: dict[str, Any], found: str, needed: str) -> None:
    assert wrong_instances(instances, CHAIN) == [(found, needed)]


@pytest.mark.parametrize(
    ("settings", "found", "needed"),
    [
        ({"alarms": {}}, "unknown engine alarms", "alarm"),
        ({"zzz": {}}, "unknown engine zzz", "one of alarm, cleaner_events, eventstore"),
        ({"alarm": 3}, "alarm: 3", "a dictionary of what differs, its options a dictionary too"),
        (
            {"alarm": {"options": []}},
            "alarm: {'options': []}",
            "a dictionary of what differs, its options a dictionary too",
        ),
        (
            {"alarm": {"instances": 2, "resolve_delay": "5m"}},
            "alarm has instances, resolve_delay",
            "process, next, beat_interval, options; instances in engines_instances, by process",
        ),
    ],
)
def test_g11_wrong_settings_are_told(settings: dict[str, Any], found: str, needed: str) -> None:
    assert wrong_settings(settings, CHAIN) == [(found, needed)]
