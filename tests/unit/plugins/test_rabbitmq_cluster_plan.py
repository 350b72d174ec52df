"""Membership of a RabbitMQ cluster, by tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from ansible.module_utils.canopsis_rabbitmq_cluster import (
    Node,
    Plan,
    Queues,
    force_choice,
    growth,
    plan,
    plan_loss,
    plan_removal,
)

ALL = ("rabbit@a", "rabbit@b", "rabbit@c")
V310, V40 = "3.10.8", "4.0.5"


def blank(name: str, queues: int = 0, version: str = V310) -> Node:
    node = f"rabbit@{name}"
    return Node(node, True, (node,), (node,), "canopsis", queues, version)


def down(name: str) -> Node:
    return Node(f"rabbit@{name}", running=False)


def member(name: str, members: str = "abc", up: str = "", cluster: str = "canopsis") -> Node:
    names = tuple(f"rabbit@{each}" for each in members)
    alive = tuple(f"rabbit@{each}" for each in up or members)
    return Node(f"rabbit@{name}", True, names, alive, cluster, 0, V310)


def lines(*observed: Node, reset: tuple[str, ...] = ()) -> list[str]:
    found = plan("canopsis", observed, reset)
    assert found.refusal == ""
    return [step.text() for step in found.steps]


@pytest.mark.parametrize(
    ("observed", "steps"),
    [
        ([blank("a")], []),
        ([blank("b"), blank("a")], ["join rabbit@b (through rabbit@a)"]),
        (
            [blank("a"), blank("b"), blank("c")],
            ["join rabbit@b (through rabbit@a)", "join rabbit@c (through rabbit@a)"],
        ),
        ([member("a"), member("b"), member("c")], []),
        # The cluster is found wherever it is, also when the first host is the new one.
        ([blank("a"), member("b", "bc"), member("c", "bc")], ["join rabbit@a (through rabbit@b)"]),
        # One host grows to three: the one with queues is the seed.
        ([blank("a"), blank("b", 5)], ["join rabbit@a (through rabbit@b)"]),
        # A wiped host is still listed: it is forgotten before it joins.
        (
            [blank("a"), member("b", up="bc"), member("c", up="bc")],
            ["forget rabbit@a (through rabbit@b)", "join rabbit@a (through rabbit@b)"],
        ),
        # A stopped member is left alone.
        ([down("a"), member("b", up="bc"), member("c", up="bc")], []),
    ],
)
def test_steps(observed: list[Node], steps: list[str]) -> None:
    assert lines(*observed) == steps


def quorum(**held: str) -> Queues:
    """Quorum queues by name, on the nodes whose letters are given."""
    return Queues({("canopsis", name): tuple(f"rabbit@{each}" for each in nodes) for name, nodes in held.items()})


def classic(**held: str) -> Queues:
    return Queues(classic=quorum(**held).quorum)


def texts(found: Plan) -> list[str]:
    return [step.text() for step in found.steps]


WIPED = [blank("a"), member("b", up="bc"), member("c", up="bc")]
GROWN = [member("a"), member("b"), member("c")]


@pytest.mark.parametrize(
    ("observed", "queues", "steps"),
    [
        (GROWN, quorum(one="abc", two="cab"), []),
        # Interrupted after the join: the next run grows what is missing.
        (GROWN, quorum(one="ab", two="abc"), ["grow 1 quorum queues to rabbit@c (through rabbit@a)"]),
        (
            [member("a", "ab"), member("b", "ab")],
            quorum(one="a"),
            ["grow 1 quorum queues to rabbit@b (through rabbit@a)"],
        ),
        # What a wiped node held is gone from it.
        (
            WIPED,
            quorum(one="abc", two="abc"),
            [
                "forget rabbit@a (through rabbit@b)",
                "join rabbit@a (through rabbit@b)",
                "grow 2 quorum queues to rabbit@a (through rabbit@b)",
            ],
        ),
        # A stopped member keeps its replicas: nothing grows in its place.
        ([down("a"), member("b", up="bc"), member("c", up="bc")], quorum(one="abc"), []),
        # A fourth node takes none where three are enough.
        (
            [member("a", "abc"), member("b", "abc"), member("c", "abc"), blank("d")],
            quorum(one="abc"),
            ["join rabbit@d (through rabbit@a)"],
        ),
    ],
)
def test_queues_are_spread(observed: list[Node], queues: Queues, steps: list[str]) -> None:
    assert texts(plan("canopsis", observed, (), queues)) == steps


def test_growth_goes_to_who_holds_least() -> None:
    queues = quorum(one="ab", two="ab", three="ab", four="ab")
    taken = growth(queues, [f"rabbit@{each}" for each in "abcd"])
    assert {node: len(names) for node, names in taken.items()} == {"rabbit@c": 2, "rabbit@d": 2}
    assert growth(Queues(), ["rabbit@a"]) == {}


def test_users_of_its_own_keep_a_node_from_joining() -> None:
    guest = Node("rabbit@a", True, ("rabbit@a",), ("rabbit@a",), "canopsis", 2, V310, ("jane", "joe"))
    observed = [guest, member("b", "bc"), member("c", "bc")]
    assert "rabbit@a (2 queues and users jane, joe)" in plan("canopsis", observed).refusal
    assert lines(*observed, reset=("rabbit@a",)) == ["join rabbit@a (through rabbit@b)"]
    assert lines(blank("0"), guest) == ["join rabbit@0 (through rabbit@a)"]


def test_of_two_clusters_the_one_that_is_given_up_joins() -> None:
    observed = [member("a", "ab"), member("b", "ab"), member("c", "cd"), member("d", "cd")]
    assert lines(*observed, reset=("rabbit@a", "rabbit@b")) == [
        "join rabbit@a (through rabbit@c)",
        "join rabbit@b (through rabbit@c)",
    ]


def test_queues_go_only_when_named() -> None:
    observed = [blank("a", 3), member("b", "bc"), member("c", "bc")]
    refusal = plan("canopsis", observed).refusal
    assert "rabbit@a (3 queues)" in refusal
    assert "rabbitmq_reset_hosts" in refusal
    assert lines(*observed, reset=("rabbit@a",)) == ["join rabbit@a (through rabbit@b)"]


def test_two_with_queues_are_refused_and_the_named_one_gives_way() -> None:
    observed = [blank("a", 3), blank("b", 4)]
    assert "rabbit@b (4 queues)" in plan("canopsis", observed).refusal
    assert lines(*observed, reset=("rabbit@a",)) == ["join rabbit@a (through rabbit@b)"]


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        ([down("a"), down("b")], ["no broker runs", "recover.yml"]),
        ([blank("a"), down("b")], ["rabbit@b", "cannot be reached"]),
        ([member("a"), member("b", cluster="other")], ["rabbit@b", "other", "rabbitmq_cluster_name"]),
        ([member("a", "ab"), member("c", "cd")], ["two clusters", "rabbit@a, rabbit@b", "rabbit@c, rabbit@d"]),
        ([blank("a"), blank("b", version=V40)], ["rabbit@b", V40, V310]),
    ],
)
def test_refusals(observed: list[Node], words: list[str]) -> None:
    found = plan("canopsis", observed)
    assert found.steps == ()
    assert [word for word in words if word not in found.refusal] == []


def test_nodes_of_the_same_series_join() -> None:
    assert lines(blank("a", version="3.12.1"), blank("b", version="3.13.0")) == ["join rabbit@b (through rabbit@a)"]


def test_what_is_left_is_noted() -> None:
    assert plan("canopsis", [member("a"), member("b")]).notes == (
        "rabbit@c is still a member but in no inventory group; it stays until it is removed",
    )
    assert plan("canopsis", [down("a"), member("b", up="bc"), member("c", up="bc")]).notes == (
        "rabbit@a is a member and does not run",
    )


@pytest.mark.parametrize(
    ("up", "target", "steps", "word"),
    [
        ("abc", "rabbit@c", ["expel rabbit@c (through rabbit@a)"], ""),
        ("ab", "rabbit@c", ["expel rabbit@c (through rabbit@a)"], ""),
        ("ac", "rabbit@c", [], "rabbit@b being down"),
        ("abc", "rabbit@d", [], ""),
        ("abc", "rabbit@a", [], "cannot expel itself"),
    ],
)
def test_removal(up: str, target: str, steps: list[str], word: str) -> None:
    found = plan_removal(member("a", up=up), [target])
    assert texts(found) == steps
    assert word in found.refusal
    assert bool(found.refusal) is bool(word)


def test_queues_grow_before_a_node_leaves() -> None:
    found = plan_removal(member("a", "abcd"), ["rabbit@c"], quorum(one="abc", two="abd"))
    assert texts(found) == [
        "grow 1 quorum queues to rabbit@d (through rabbit@a)",
        "shrink rabbit@c (through rabbit@a)",
        "expel rabbit@c (through rabbit@a)",
    ]


def test_several_leave_one_after_the_other() -> None:
    found = plan_removal(member("a", "abcde"), ["rabbit@d", "rabbit@e"], quorum(one="cde"))
    assert texts(found) == [
        "grow 1 quorum queues to rabbit@a (through rabbit@a)",
        "shrink rabbit@d (through rabbit@a)",
        "expel rabbit@d (through rabbit@a)",
        "grow 1 quorum queues to rabbit@b (through rabbit@a)",
        "shrink rabbit@e (through rabbit@a)",
        "expel rabbit@e (through rabbit@a)",
    ]
    everybody = plan_removal(member("a"), ["rabbit@c", "rabbit@b", "rabbit@a"])
    assert "last broker" in everybody.refusal
    assert everybody.steps == ()


def test_a_classic_queue_without_a_copy_keeps_its_node() -> None:
    assert "Engine_x would go with rabbit@c" in plan_removal(member("a"), ["rabbit@c"], classic(Engine_x="c")).refusal
    assert texts(plan_removal(member("a"), ["rabbit@c"], classic(Engine_x="cb"))) == [
        "expel rabbit@c (through rabbit@a)"
    ]
    # It is lost already where its node is gone.
    assert plan_removal(member("a", up="ab"), ["rabbit@c"], classic(Engine_x="c")).refusal == ""


def test_the_last_broker_stays() -> None:
    assert "last broker" in plan_removal(blank("a"), ["rabbit@a"]).refusal


def test_who_is_no_member_is_gone_already() -> None:
    assert plan_removal(member("a", "ab"), ["rabbit@c"]).notes == ("rabbit@c is no member",)


LOSS = [down("a"), member("b", up="b"), down("c")]


@pytest.mark.parametrize(
    ("lost", "queues", "steps", "word"),
    [
        (
            "ac",
            quorum(one="abc", two="b"),
            [
                "drop one, whose copies are lost (through rabbit@b)",
                "forget rabbit@a (through rabbit@b)",
                "forget rabbit@c (through rabbit@b)",
            ],
            "",
        ),
        # The third may come back, and has a majority with the second.
        ("a", quorum(one="abc"), ["forget rabbit@a (through rabbit@b)"], ""),
        ("d", quorum(one="abc"), [], ""),
        ("b", quorum(one="abc"), [], "rabbit@b runs in the cluster"),
    ],
)
def test_what_is_lost_for_good_is_given_up(lost: str, queues: Queues, steps: list[str], word: str) -> None:
    found = plan_loss(LOSS, [f"rabbit@{each}" for each in lost], queues)
    assert texts(found) == steps
    assert word in found.refusal
    assert bool(found.refusal) is bool(word)


def test_queues_that_can_be_kept_are_not_dropped() -> None:
    newer = [replace(node, version="3.12.0" if node.running else "") for node in LOSS]
    assert "force_all_queues_shrink" in plan_loss(newer, ["rabbit@a", "rabbit@c"], quorum(one="abc")).refusal
    assert plan_loss(newer, ["rabbit@a", "rabbit@c"], quorum(one="b")).refusal == ""
    assert "no broker runs" in plan_loss([down("a")], ["rabbit@a"]).refusal


def said(peers: list[str] | None, written: float = 0.0, *, running: bool = False) -> Mapping[str, object]:
    return {"running": running, "peers": peers, "written": written}


@pytest.mark.parametrize(
    ("seen", "node"),
    [
        ({"a": said(["b", "c"]), "b": said(["c"]), "c": said([])}, "c"),
        ({"a": said(["b"], 5.0), "b": said(["a"], 9.0)}, "b"),
        ({"a": said(["b"]), "b": said(["a"])}, "a"),
        ({"a": said([]), "b": said(["a"], running=True)}, ""),
        ({"a": said(None), "b": said(["a", "c"])}, "b"),
        ({"a": said(None)}, ""),
        ({}, ""),
    ],
)
def test_who_boots_without_the_others(seen: dict[str, Mapping[str, object]], node: str) -> None:
    assert force_choice(seen) == node


# --- replicas that RabbitMQ gave up --------------------------------------------------------------

HELD = {("canopsis", "one"): ALL, ("canopsis", "two"): ALL}
SILENT = {("canopsis", "one"): ("rabbit@c",), ("canopsis", "two"): ("rabbit@a", "rabbit@c")}


def test_replicas_that_do_not_run_are_revived_before_anything_else() -> None:
    found = plan("canopsis", [member("a"), member("b"), member("c")], queues=Queues(HELD, silent=SILENT))
    assert [step.text() for step in found.steps] == [
        "revive 1 quorum queues on rabbit@a (through rabbit@a)",
        "revive 2 quorum queues on rabbit@c (through rabbit@a)",
    ]


def test_a_replica_on_a_node_that_is_down_waits_for_its_node() -> None:
    queues = Queues(HELD, silent={("canopsis", "one"): ("rabbit@c",)})
    observed = [member("a", up="ab"), member("b", up="ab"), down("c")]
    assert plan("canopsis", observed, queues=queues).steps == ()


def test_replicas_are_revived_before_a_node_leaves() -> None:
    queues = Queues(HELD, silent={("canopsis", "two"): ("rabbit@a",)})
    actions = [step.action for step in plan_removal(member("a"), ["rabbit@c"], queues).steps]
    assert actions == ["revive", "shrink", "expel"]
