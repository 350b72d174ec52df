"""Membership and users of the replica set: what was observed, what is wanted, what follows."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible.module_utils.canopsis_replica_set import (
    Account,
    Member,
    Step,
    actor,
    plan,
    plan_accounts,
    plan_expulsion,
    plan_recovery,
)

NAMES = ("a:1", "b:1", "c:1")


def blank(address: str) -> Member:
    """Return a member in no set."""
    return Member(address)


def away(address: str) -> Member:
    """Return a member that cannot be reached."""
    return Member(address, reachable=False)


def member(address: str, config: tuple[str, ...] = NAMES, state: str = "SECONDARY", set_id: str = "id") -> Member:
    """Return a member of the set called canopsis."""
    return Member(address, True, "canopsis", set_id, config, state, state == "PRIMARY")


def grown(primary: str, *addresses: str) -> list[Step]:
    """Return the steps that bring ``addresses`` in, one vote at a time."""
    return [Step(verb, address, primary) for address in addresses for verb in ("add", "vote")]


STEPS = [
    ("one host", [blank("a:1")], [Step("initiate", "a:1")]),
    ("three hosts", [blank("c:1"), blank("a:1"), blank("b:1")], [Step("initiate", "a:1"), *grown("a:1", "b:1", "c:1")]),
    ("one, done", [member("a:1", ("a:1",), "PRIMARY")], []),
    ("three, done", [member("a:1"), member("b:1", state="PRIMARY"), member("c:1")], []),
    (
        "a new one",
        [member("b:1", ("a:1", "b:1"), "PRIMARY"), member("a:1", ("a:1", "b:1")), blank("c:1")],
        grown("b:1", "c:1"),
    ),
    (
        "the first alphabetically is new",
        [blank("a:1"), member("b:1", ("b:1", "c:1"), "PRIMARY"), member("c:1", ("b:1", "c:1"))],
        grown("b:1", "a:1"),
    ),
    (
        "a wiped member that the set still lists",
        [blank("a:1"), member("b:1", state="PRIMARY"), member("c:1")],
        [Step("await", "a:1")],
    ),
    (
        "a member in its initial sync",
        [member("a:1", state="OTHER", set_id=""), member("b:1", state="PRIMARY"), member("c:1")],
        [Step("await", "a:1")],
    ),
    ("a member is away", [away("a:1"), member("b:1", state="PRIMARY"), member("c:1")], []),
    ("a new one is away", [away("d:1"), member("a:1", ("a:1",), "PRIMARY")], []),
    (
        "two at once are added one after the other",
        [member("a:1", ("a:1",), "PRIMARY"), blank("c:1"), blank("b:1")],
        grown("a:1", "b:1", "c:1"),
    ),
    ("interrupted after it was initiated", [blank("a:1"), member("b:1", ("b:1",), "PRIMARY")], grown("b:1", "a:1")),
    (
        "interrupted before the vote",
        [
            replace(member("a:1", ("a:1", "b:1"), "PRIMARY"), voteless=("b:1",)),
            member("b:1", ("a:1", "b:1")),
            blank("c:1"),
        ],
        [Step("vote", "b:1", "a:1"), *grown("a:1", "c:1")],
    ),
    (
        "no vote yet and in its initial sync",
        [replace(member("a:1", state="PRIMARY"), voteless=("b:1",)), member("b:1", state="OTHER"), member("c:1")],
        [Step("vote", "b:1", "a:1")],
    ),
    (
        "no vote yet and away",
        [replace(member("a:1", state="PRIMARY"), voteless=("b:1",)), away("b:1"), member("c:1")],
        [],
    ),
    (
        "the primary is in no group",
        [replace(member("a:1", ("a:1", "b:1"), "PRIMARY"), wanted=False), member("b:1", ("a:1", "b:1")), blank("c:1")],
        grown("a:1", "c:1"),
    ),
    (
        "one removed earlier comes back with its old data",
        [member("a:1", ("a:1",), "PRIMARY"), replace(blank("b:1"), holds=True)],
        grown("a:1", "b:1"),
    ),
]


@pytest.mark.parametrize(("observed", "expected"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_steps(observed: list[Member], expected: list[Step]) -> None:
    found = plan("canopsis", observed)
    assert (list(found.steps), found.refusal) == (expected, "")


@pytest.mark.parametrize(("observed", "expected"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_the_order_of_the_hosts_does_not_matter(observed: list[Member], expected: list[Step]) -> None:
    for order in itertools.permutations(observed):
        assert list(plan("canopsis", order).steps) == expected


REFUSALS = [
    ("another set", [Member("a:1", True, "other", "x", ("a:1",), "PRIMARY", True)], "mongodb_replica_set"),
    (
        "two sets of the same name",
        [member("a:1", ("a:1",), "PRIMARY", "x"), member("b:1", ("b:1",), "PRIMARY", "y")],
        "two different sets",
    ),
    ("no set, one away", [blank("a:1"), away("b:1"), blank("c:1")], "b:1 cannot be reached"),
    ("no primary", [member("a:1", ("a:1", "b:1")), away("b:1"), blank("c:1")], "1 of 2 members are well"),
    ("no primary, nothing new", [member("a:1"), away("b:1"), away("c:1")], "playbooks/recover.yml"),
    (
        "two sets that nobody may read",
        [member("a:1", ("a:1",), "PRIMARY", ""), member("b:1", ("b:1",), "PRIMARY", "")],
        "two different sets",
    ),
    ("the address changed", [replace(member("new:1", ("a:1",), "PRIMARY"), known_as="a:1")], "knows new:1 as a:1"),
    ("users and no set", [blank("a:1"), replace(blank("b:1"), holds=True)], "b:1 has a site's users but no set"),
]


@pytest.mark.parametrize(("observed", "why"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refusals_say_why_and_do_nothing(observed: list[Member], why: str) -> None:
    found = plan("canopsis", observed)
    assert why in found.refusal
    assert found.steps == ()


def test_a_member_of_no_group_is_reported_and_stays() -> None:
    found = plan("canopsis", [member("a:1", state="PRIMARY"), member("b:1")])
    assert found.steps == ()
    assert len(found.notes) == 1
    assert found.notes[0].startswith("c:1 is still a member but in no inventory group")


def test_counts_and_absences_are_noted() -> None:
    assert "an even number" in plan("canopsis", [member("a:1", ("a:1",), "PRIMARY"), blank("b:1")]).notes[0]
    notes = plan("canopsis", [member("a:1", state="PRIMARY"), member("b:1"), away("c:1"), away("d:1")]).notes
    assert notes == ("c:1 does not answer; it is left as it is", "d:1 does not answer; the next run adds it")


def test_a_new_set_begins_here() -> None:
    steps = plan("canopsis", [blank("a:1"), blank("b:1")], "b:1").steps
    assert steps == (Step("initiate", "b:1"), *grown("b:1", "a:1"))


def test_more_than_seven_have_no_vote() -> None:
    names = [f"{letter}:1" for letter in "abcdefghi"]
    steps = plan("canopsis", [blank(name) for name in names]).steps
    assert sum(step.action == "add" for step in steps) == 8
    assert sum(step.action == "vote" for step in steps) == 6
    full = [replace(member(name, tuple(names), "SECONDARY"), voteless=("h:1", "i:1")) for name in names]
    full[0] = replace(full[0], state="PRIMARY", writable=True)
    assert plan("canopsis", full).steps == ()


@pytest.mark.parametrize(
    ("observed", "actors", "expected"),
    [
        ([member("a:1"), member("b:1", state="PRIMARY")], ["a:1", "b:1"], "b:1"),
        ([member("a:1"), member("b:1", state="PRIMARY")], ["a:1"], "a:1"),
        ([blank("b:1"), blank("a:1")], ["b:1", "a:1"], "a:1"),
    ],
)
def test_one_host_acts(observed: list[Member], actors: list[str], expected: str) -> None:
    assert actor(observed, actors) == expected


LED = [member("a:1", state="PRIMARY"), member("b:1"), member("c:1")]
FIVE = ("a:1", "b:1", "c:1", "d:1", "e:1")


@pytest.mark.parametrize(
    ("expelled", "observed", "expected"),
    [
        (["c:1"], LED, [Step("remove", "c:1")]),
        (["a:1"], LED, [Step("step down", "a:1"), Step("remove", "a:1")]),
        (["x:1"], LED, []),
        (["c:1"], [member("a:1", state="PRIMARY"), member("b:1"), away("c:1")], [Step("remove", "c:1")]),
        (
            ["a:1", "b:1", "c:1"],
            [
                member("a:1", FIVE, "PRIMARY"),
                member("b:1", FIVE),
                away("c:1"),
                member("d:1", FIVE),
                member("e:1", FIVE),
            ],
            [Step("remove", "c:1"), Step("remove", "b:1"), Step("step down", "a:1"), Step("remove", "a:1")],
        ),
    ],
)
def test_members_are_expelled(expelled: list[str], observed: list[Member], expected: list[Step]) -> None:
    found = plan_expulsion(expelled, observed)
    assert (list(found.steps), found.refusal) == (expected, "")


@pytest.mark.parametrize(
    ("expelled", "observed", "why"),
    [
        (["a:1"], [member("a:1", ("a:1",), "PRIMARY")], "last member with a vote"),
        (["a:1"], [replace(member("a:1", ("a:1", "b:1"), "PRIMARY"), voteless=("b:1",)), member("b:1")], "last member"),
        (["b:1"], [member("a:1", state="PRIMARY"), member("b:1"), away("c:1")], "only 1 of 2 votes are well"),
        (["b:1"], [member("a:1", state="PRIMARY"), member("b:1"), member("c:1", state="OTHER")], "bring back c:1"),
        (["c:1"], [member("a:1"), away("b:1"), away("c:1")], "playbooks/recover.yml"),
    ],
)
def test_the_unsafe_is_not_expelled(expelled: list[str], observed: list[Member], why: str) -> None:
    found = plan_expulsion(expelled, observed)
    assert why in found.refusal
    assert found.steps == ()


def test_the_newest_survivor_goes_on() -> None:
    old = replace(member("a:1", FIVE), newest=(3, 100, 9))
    new = replace(member("b:1", FIVE), newest=(4, 90, 1))
    found = plan_recovery([old, new, away("c:1"), away("d:1"), away("e:1")])
    assert found.steps == (Step("force", "b:1", members=("a:1", "b:1")),)
    assert [note.split(" is")[0] for note in found.notes] == ["c:1", "d:1", "e:1"]


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        ([blank("a:1"), away("b:1")], "no member of a set answers"),
        ([member("a:1"), member("b:1"), away("c:1")], "a majority elects by itself"),
        ([member("a:1", state="PRIMARY"), away("b:1"), away("c:1")], "a:1 has not stepped down yet"),
        ([member("a:1", state="OTHER"), away("b:1"), away("c:1")], "has its data whole"),
        ([member("a:1", ("a:1",), set_id="x"), member("b:1", ("b:1",), set_id="y")], "two different sets"),
    ],
)
def test_what_is_no_lost_majority_is_not_recovered(observed: list[Member], why: str) -> None:
    found = plan_recovery(observed)
    assert why in found.refusal
    assert found.steps == ()


def test_a_set_with_a_primary_needs_no_recovery() -> None:
    found = plan_recovery(LED)
    assert (found.steps, found.refusal) == ((), "")
    assert "nothing to recover" in found.notes[0]


def test_steps_read_well() -> None:
    assert Step("force", "a:1", members=("a:1", "b:1")).text() == "force a:1 with a:1, b:1"
    assert Step("initiate", "a:1").text() == "initiate a:1"
    assert Step("add", "b:1", "a:1").text() == "add b:1 (through a:1)"


ENGINES = Account("engines", ("readWrite@canopsis",))
WEB = Account("webserver", ("readWrite@canopsis", "read@local"))


@pytest.mark.parametrize(
    ("present", "refused", "expected"),
    [
        ([], [], [("create", "engines"), ("create", "webserver")]),
        ([ENGINES, WEB], [], []),
        ([ENGINES, WEB], ["engines"], [("password", "engines")]),
        ([ENGINES, Account("webserver", ("read@local", "readWrite@canopsis"))], [], []),
        ([ENGINES, Account("webserver", ("root@admin",))], [], [("roles", "webserver")]),
        ([ENGINES, Account("webserver", ())], ["webserver"], [("password", "webserver"), ("roles", "webserver")]),
        ([ENGINES, WEB, Account("admin", ("root@admin",))], [], []),
        ([], ["engines"], [("create", "engines"), ("create", "webserver")]),
    ],
)
def test_accounts(present: list[Account], refused: list[str], expected: list[tuple[str, str]]) -> None:
    assert plan_accounts([ENGINES, WEB], present, refused) == expected
