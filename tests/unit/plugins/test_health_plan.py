"""What is wrong with a site, by what its parts say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.canopsis_health import Report, Wanted, check

WANTED = Wanted(("a:27017", "b:27017", "c:27017"), ("rabbit@a", "rabbit@b", "rabbit@c"))
NODES = list(WANTED.nodes)
CLUSTER = {"running_nodes": NODES, "disk_nodes": NODES, "partitions": {}, "alarms": []}
MEMBERS = {"a:27017": "primary", "b:27017": "secondary", "c:27017": "secondary"}
QUEUE = {"name": "Engine_alarm", "type": "quorum", "members": NODES, "online": NODES}
GOOD = Report({"healthy": True, "problems": []}, MEMBERS, CLUSTER, [QUEUE])


def found(report: Report, wanted: Wanted = WANTED) -> list[tuple[str, str, str]]:
    """Return host, check and what was found, as host a says it."""
    return [(each.host, each.check, each.found) for each in check({"a": report}, wanted)]


def test_a_good_site_has_no_finding() -> None:
    assert check(dict.fromkeys("abc", GOOD), WANTED) == []


def test_a_host_with_engines_alone_is_asked_for_its_services_only() -> None:
    assert check({"a": Report({"problems": []})}, Wanted()) == []


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (Report(silent="timed out"), [("a", "host", "timed out")]),
        (
            replace(GOOD, status={"problems": ["engine-worker is FATAL", "x"]}),
            [("a", "services", "engine-worker is FATAL"), ("a", "services", "x")],
        ),
        (
            replace(GOOD, members={**MEMBERS, "c:27017": "no answer: refused"}),
            [("c:27017", "member of the replica set", "no answer: refused")],
        ),
        (
            replace(GOOD, members=dict.fromkeys(MEMBERS, "secondary")),
            [("mongodb", "replica set", "0 primaries")],
        ),
        (
            replace(GOOD, members={"a:27017": "primary", "b:27017": "secondary"}),
            [("c:27017", "member of the replica set", "not asked")],
        ),
        (
            replace(GOOD, cluster={**CLUSTER, "running_nodes": NODES[:2]}),
            [("rabbit@c", "broker", "does not run")],
        ),
        (
            replace(GOOD, cluster={**CLUSTER, "running_nodes": NODES[:2], "disk_nodes": NODES[:2]}),
            [("rabbit@c", "broker", "no member of the cluster")],
        ),
        (
            replace(
                GOOD, cluster={**CLUSTER, "running_nodes": [*NODES, "rabbit@d"], "disk_nodes": [*NODES, "rabbit@d"]}
            ),
            [("rabbit@d", "broker", "a member that no group names")],
        ),
        (
            replace(GOOD, cluster={**CLUSTER, "partitions": {"rabbit@a": ["rabbit@b"]}}),
            [("rabbitmq", "cluster", "it is split")],
        ),
        (
            replace(GOOD, cluster={**CLUSTER, "alarms": [{"node": "rabbit@a", "type": "disk"}]}),
            [("rabbitmq", "cluster", "alarm disk on rabbit@a: publishers are held")],
        ),
        (
            replace(GOOD, queues=[{**QUEUE, "online": NODES[:1]}]),
            [("rabbitmq", "queue Engine_alarm", "replicas online: rabbit@a")],
        ),
        (
            replace(GOOD, queues=[{**QUEUE, "online": []}]),
            [("rabbitmq", "queue Engine_alarm", "replicas online: nowhere")],
        ),
        (replace(GOOD, queues=[{**QUEUE, "type": "classic", "online": []}]), []),
    ],
)
def test_what_is_wrong_is_told(report: Report, expected: list[tuple[str, str, str]]) -> None:
    assert found(report) == expected


def test_what_several_hosts_say_stands_once() -> None:
    broken = replace(GOOD, cluster={**CLUSTER, "running_nodes": NODES[:2]})
    (finding,) = check({"a": broken, "b": broken}, WANTED)
    assert finding.variable == "var/log/rabbitmq/ there"


def test_one_broker_needs_one_replica() -> None:
    wanted = Wanted((), ("rabbit@a",))
    cluster = {"running_nodes": ["rabbit@a"], "disk_nodes": ["rabbit@a"]}
    assert found(Report({"problems": []}, None, cluster, [{**QUEUE, "online": ["rabbit@a"]}]), wanted) == []


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"health_status": {"unreachable": True, "msg": "no route"}}, ["no route"]),
        ({"health_status": {"rc": 2, "stderr": "no such file"}}, ["no such file"]),
        ({}, ["its services are not known"]),
        ({"health_status": {"rc": 1, "stdout": '{"problems": ["webserver is STOPPED"]}'}}, ["webserver is STOPPED"]),
        ({"health_status": {"rc": 0, "stdout": '{"problems": []}'}}, []),
        (
            {
                "health_status": {"rc": 0, "stdout": '{"problems": []}'},
                "health_broker": {
                    "results": [
                        {"rc": 0, "stdout": 'warning\\n{"running_nodes": [], "disk_nodes": ["rabbit@a"]}'},
                        {"rc": 0, "stdout": "[]"},
                    ]
                },
            },
            ["does not run"],
        ),
        (
            {
                "health_status": {"rc": 0, "stdout": '{"problems": []}'},
                "health_broker": {"results": [{"rc": 69, "stdout": ""}, {"rc": 69, "stdout": ""}]},
            },
            [],
        ),
    ],
)
def test_answers_are_read_as_they_were_registered(
    filters: dict[str, Callable[..., Any]], known: dict[str, Any], expected: list[str]
) -> None:
    rows = filters["canopsis_health_findings"](["a"], {"a": known}, {"members": [], "nodes": ["rabbit@a"]})
    assert [row["found"] for row in rows] == expected
