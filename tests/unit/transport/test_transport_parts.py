"""Batches, settings, topology: the parts that need no broker."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from amqp.channel import Channel
from hypothesis import given
from hypothesis import strategies as st

from canopsis.errors import TransportError
from canopsis.transport import connection, topology
from canopsis.transport.codec import pack
from canopsis.transport.connection import broker_errors, connect_for_ever
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import (
    ALERTS,
    COLLECTD,
    DEAD,
    DOORS,
    EVENTS,
    Queue,
    queue_arguments,
    queue_name,
    site_topology,
)

numbers = st.lists(st.integers(-(10**9), 10**9))


@given(numbers, st.integers(1, 200))
def test_pack_keeps_everything_in_order(values: list[int], limit: int) -> None:
    messages = list(pack([json.dumps(value).encode() for value in values], limit))
    assert [value for message in messages for value in json.loads(message)] == values


@given(numbers, st.integers(20, 200))
def test_pack_keeps_to_the_limit(values: list[int], limit: int) -> None:
    for message in pack([json.dumps(value).encode() for value in values], limit):
        assert len(message) <= limit + 2


def test_pack_sends_a_big_part_alone() -> None:
    big = b'"' + b"x" * 100 + b'"'
    assert list(pack([b"1", big, b"2"], 50)) == [b"[1]", b"[" + big + b"]", b"[2]"]


def test_pack_of_nothing() -> None:
    assert list(pack([])) == []


def test_password_is_not_shown() -> None:
    assert "hunter2" not in repr(AmqpSettings(password="hunter2"))


def test_tls_is_off_unless_asked_for() -> None:
    assert AmqpSettings(ca_file="/ca.pem").ssl_options() is False


def test_tls_verifies_name_and_chain() -> None:
    options = AmqpSettings(tls=True, ca_file="/ca.pem").ssl_options()
    assert options == {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None, "ca_certs": "/ca.pem"}


def test_tls_with_a_certificate_of_our_own() -> None:
    options = AmqpSettings(tls=True, certificate_file="/c.pem", key_file="/k.pem").ssl_options()
    assert isinstance(options, dict)
    assert (options["certfile"], options["keyfile"]) == ("/c.pem", "/k.pem")


@pytest.mark.parametrize(
    ("partition", "name"), [(None, "Engine_alarm"), (0, "Engine_alarm.00"), (17, "Engine_alarm.17")]
)
def test_queue_names(partition: int | None, name: str) -> None:
    assert queue_name("alarm", partition) == name


RAW = {"cleaner_events": (EVENTS, "#"), "collectdgw": (COLLECTD, "collectd"), "dead_letters": (DEAD, "#")}


def test_topology_of_a_site() -> None:
    found = site_topology(RAW, ["event_filter"], 2)
    assert [queue.name for queue in found.queues] == [
        "Engine_cleaner_events",
        "Engine_collectdgw",
        "Engine_dead_letters",
        "Engine_event_filter.00",
        "Engine_event_filter.01",
    ]
    assert [queue.partition for queue in found.queues] == [False, False, False, True, True]
    assert [queue.ordered for queue in found.queues] == [True, True, False, True, True]
    assert [queue.binding for queue in found.queues[:3]] == [
        ("canopsis.events", "#"),
        ("amq.topic", "collectd"),
        ("canopsis.dead", "#"),
    ]


def test_raw_queue_of_a_later_engine_has_no_binding() -> None:
    assert site_topology({"something": None}, [], 8).queues == (Queue("Engine_something"),)


PLAIN, PARTITION, LAST = Queue("q"), Queue("q.00", partition=True), Queue("d", binding=(DEAD, "#"))


@pytest.mark.parametrize("version", [(3, 8, 0), (3, 9, 29), (3, 10, 8), (3, 13, 0), (4, 0, 5), (4, 3, 0)])
def test_queues_are_quorum_where_the_broker_has_them(version: tuple[int, ...]) -> None:
    for queue in (PLAIN, PARTITION, LAST):
        assert queue_arguments(queue, version)["x-queue-type"] == "quorum"


def test_old_broker_gets_nothing_it_does_not_know() -> None:
    assert queue_arguments(PARTITION, (3, 7, 28)) == {
        "x-single-active-consumer": True,
        "x-dead-letter-exchange": DEAD,
    }


def test_queues_whose_order_counts_have_one_active_consumer() -> None:
    site = site_topology(RAW, ["event_filter"], 1)
    for version in ((3, 7, 28), (3, 10, 8), (4, 0, 5)):
        one = [queue.name for queue in site.queues if queue_arguments(queue, version).get("x-single-active-consumer")]
        assert one == ["Engine_cleaner_events", "Engine_collectdgw", "Engine_event_filter.00"]


@pytest.mark.parametrize("version", [(3, 8, 0), (3, 10, 8), (4, 0, 5)])
def test_too_many_deliveries_end_in_the_dead_letters(version: tuple[int, ...]) -> None:
    arguments = queue_arguments(PLAIN, version)
    assert arguments["x-delivery-limit"] == topology.DELIVERY_LIMIT
    assert arguments["x-dead-letter-exchange"] == DEAD


def test_dead_letters_are_confirmed_since_3_10() -> None:
    assert "x-dead-letter-strategy" not in queue_arguments(PLAIN, (3, 9, 0))
    arguments = queue_arguments(PLAIN, (3, 10, 0))
    assert (arguments["x-dead-letter-strategy"], arguments["x-overflow"]) == ("at-least-once", "reject-publish")


@pytest.mark.parametrize("door", [Queue("q", binding=("canopsis.events", "#")), Queue("q", binding=("amq.topic", "x"))])
def test_a3_no_forged_death_reaches_a_broker_that_dies_of_it(door: Queue) -> None:
    for version in ((3, 8, 0), (3, 10, 8), (3, 13, 7)):
        assert queue_arguments(door, version) == {"x-queue-type": "quorum", "x-single-active-consumer": True}
    assert queue_arguments(door, (4, 0, 5))["x-dead-letter-strategy"] == "at-least-once"
    assert queue_arguments(door, (4, 0, 5))["x-delivery-limit"] == topology.DELIVERY_LIMIT


def test_nothing_drops_from_the_last_stop() -> None:
    assert queue_arguments(LAST, (3, 10, 8)) == {"x-queue-type": "quorum"}
    assert queue_arguments(LAST, (4, 0, 5))["x-delivery-limit"] == -1


def test_classic_queues_have_what_those_know() -> None:
    assert queue_arguments(PARTITION, (3, 10, 8), "classic") == {
        "x-queue-type": "classic",
        "x-single-active-consumer": True,
        "x-dead-letter-exchange": DEAD,
    }
    assert queue_arguments(LAST, (3, 10, 8), "classic") == {"x-queue-type": "classic"}


@pytest.mark.parametrize(
    ("text", "version"), [("3.10.8", (3, 10, 8)), ("4.0.5-rc.1", (4, 0, 5)), ("", ()), ("4.2.0+19.g1", (4, 2))]
)
def test_version(text: str, version: tuple[int, ...]) -> None:
    assert connection._version(text) == version


@pytest.mark.parametrize("error", [OSError("gone"), ConnectionResetError(), TimeoutError("slow")])
def test_broker_errors_have_one_name(error: Exception) -> None:
    with pytest.raises(TransportError, match="publishing"), broker_errors("publishing"):
        raise error


def test_a_connection_that_went_away_under_a_call_is_a_broker_error() -> None:
    """py-amqp gives up a channel of a connection that it has given up before."""
    channel: Any = Channel.__new__(Channel)
    channel.channel_id, channel.connection = 1, SimpleNamespace(channels=None)
    with pytest.raises(TransportError, match="closing: 'NoneType' object has no attribute"), broker_errors("closing"):
        channel.collect()


ROUTES: dict[str, str] = {}
NOTHING: Any = None


@pytest.mark.parametrize("bug", [lambda: ROUTES["bug"], lambda: NOTHING.typo, lambda: Decimal(1).typo])  # type: ignore[attr-defined]
def test_a_bug_is_not_a_broker_error(bug: Callable[[], object]) -> None:
    with pytest.raises((KeyError, AttributeError)), broker_errors("publishing"):
        bug()


class Tries:
    """Takes the place of ``connect``: fails ``failures`` times."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    def __call__(self, _settings: AmqpSettings, _name: str) -> str:
        if self.left:
            self.left -= 1
            raise TransportError("no broker answers")
        return "connected"


class Clock(threading.Event):
    """A stop event whose waits take no time and are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def test_connecting_goes_on_with_longer_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "connect", Tries(12))
    clock, told = Clock(), []
    got: Any = connect_for_ever(AmqpSettings(), clock, on_failure=lambda error, pause: told.append((str(error), pause)))
    assert got == "connected"
    assert len(clock.waits) == 12
    assert [pause for _, pause in told] == clock.waits
    for number, wait in enumerate(clock.waits):
        longest = min(0.2 * 2**number, 15.0)
        assert longest / 2 <= wait <= longest
    assert len(set(clock.waits)) == 12, "waits are spread at random"


def test_connecting_ends_when_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    monkeypatch.setattr(connection, "connect", Tries(10**9))
    assert connect_for_ever(AmqpSettings(), stop, on_failure=lambda *_: stop.set()) is None


def test_a_set_stop_does_not_even_try(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(connection, "connect", lambda *_: pytest.fail("tried"))
    assert connect_for_ever(AmqpSettings(), stop) is None


def test_every_host_is_named_when_none_answers() -> None:
    settings = AmqpSettings(hosts=(("127.0.0.1", 1), ("127.0.0.1", 2)), connect_timeout=1.0)
    with pytest.raises(TransportError) as caught:
        connection.connect(settings)
    assert "127.0.0.1:1: " in str(caught.value)
    assert "127.0.0.1:2: " in str(caught.value)


def test_d8_the_web_server_may_write_to_the_doors_alone() -> None:
    file = Path(__file__).parents[3] / "roles" / "rabbitmq" / "tasks" / "users.yml"
    (task,) = yaml.safe_load(file.read_text())
    (rights,) = [user for user in task["canopsis_rabbitmq"]["users"] if user["name"] == "webserver"]
    others = [ALERTS, DEAD, "amq.default", "amq.direct", "canopsis.eventsX", "canopsisXevents"]
    others += [queue_name("cleaner_events"), queue_name("alarm", 0)]
    assert [name for name in (*DOORS, *others) if re.search(rights["write"], name)] == list(DOORS)
    assert rights.keys() == {"name", "password", "write"}
