"""What shows when hosts are held side by side."""

from __future__ import annotations

import pytest
from ansible.module_utils.canopsis_hosts import Limits, Seen, broker_version, check, offset

LIMITS = Limits(clock_seconds=5, systems=("debian 12", "debian 13"))


def site(*brokers: str, **changes: object) -> dict[str, Seen]:
    """Return good hosts n1, n2, …; ``changes`` are fields of n1."""
    names = {f"n{number}": (f"10.0.0.{number}",) for number in range(1, len(brokers) + 1)}
    found = {name: Seen(names, 0.0, "debian 12", broker) for name, broker in zip(names, brokers, strict=True)}
    if changes:
        values: dict[str, object] = {"names": names, "offset": 0.0, "system": "debian 12", "broker": brokers[0]}
        found["n1"] = Seen(**{**values, **changes})  # type: ignore[arg-type]
    return found


def found(seen: dict[str, Seen], limits: Limits = LIMITS) -> list[tuple[str, str, str]]:
    """Return host, check and variable of each finding."""
    return [(each.host, each.check, each.variable) for each in check(seen, limits)]


def test_good_hosts_have_no_finding() -> None:
    assert found(site("3.10", "3.10", "3.10")) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"n1": ("127.0.1.1",), "n2": ("10.0.0.2",)}, []),
        ({"n1": ("10.0.0.1", "fd00::1"), "n2": ("10.0.0.2",)}, []),
        ({"n1": ("10.0.0.1",), "n2": ()}, [("n1", "name n2", "canopsis_address or /etc/hosts")]),
        ({"n1": ("10.0.0.1",), "n2": ("10.9.9.9",)}, [("inventory", "name n2", "canopsis_address or /etc/hosts")]),
    ],
)
def test_names_are_the_same_everywhere(names: dict[str, tuple[str, ...]], expected: list[tuple[str, str, str]]) -> None:
    assert found(site("3.10", "3.10", names=names)) == expected


@pytest.mark.parametrize(
    ("before", "clock", "after", "seconds"),
    [(100, 100.5, 101, 0), (100, 99, 101, 1), (100, 111, 101, 10), (100, 100, 100, 0)],
)
def test_a_clock_is_off_when_it_shows_a_time_that_was_not(
    before: float, clock: float, after: float, seconds: float
) -> None:
    assert offset(before, clock, after) == seconds


@pytest.mark.parametrize(("seconds", "refused"), [(0.0, False), (5.0, False), (5.1, True), (3600.0, True)])
def test_clocks_agree(seconds: float, refused: bool) -> None:
    expected = [("n1", "clock", "preflight_clock_seconds")] if refused else []
    assert found(site("3.10", "3.10", offset=seconds)) == expected


@pytest.mark.parametrize(
    ("system", "refused"), [("debian 13", False), ("debian 11", True), ("ubuntu 22.04", True), ("", True)]
)
def test_systems(system: str, refused: bool) -> None:
    expected = [("n1", "system", "preflight_systems")] if refused else []
    assert found(site("3.10", system=system)) == expected


def test_without_systems_any_does() -> None:
    assert found(site("3.10", system="gentoo"), Limits()) == []


@pytest.mark.parametrize(
    ("brokers", "refused"),
    [
        (("3.10", "3.10"), False),
        (("3.10", ""), False),
        (("3.10", "4.0"), True),
        (("3.10", "3.12", "3.10"), True),
    ],
)
def test_brokers_of_one_cluster_are_of_one_release(brokers: tuple[str, ...], refused: bool) -> None:
    expected = [("inventory", "RabbitMQ", "group rabbitmq")] if refused else []
    assert found(site(*brokers)) == expected


@pytest.mark.parametrize(
    ("brokers", "have", "out", "kept"),
    [
        (("3.10", "3.10", "4.0"), "3.10 on n1, 3.10 on n2, 4.0 on n3", "take n3 out", "RabbitMQ 3.10 there"),
        (("3.10", "4.0", "4.0"), "3.10 on n1, 4.0 on n2, 4.0 on n3", "take n1 out", "RabbitMQ 4.0 there"),
        (("4.0", "3.10"), "4.0 on n1, 3.10 on n2", "take n1 out", "RabbitMQ 3.10 there"),
        (("3.9", "3.10"), "3.9 on n1, 3.10 on n2", "take n2 out", "RabbitMQ 3.9 there"),
        (("3.10", "4.0", "4.1", ""), "3.10 on n1, 4.0 on n2, 4.1 on n3", "take n2 and n3 out", "RabbitMQ 3.10 there"),
    ],
)
def test_it_is_said_which_broker_to_take_out(brokers: tuple[str, ...], have: str, out: str, kept: str) -> None:
    (finding,) = check(site(*brokers), LIMITS)
    assert finding.found == have
    assert out in finding.needed and finding.needed.endswith(kept)


@pytest.mark.parametrize(("broker", "refused"), [("3.10", False), ("3.13", False), ("4.0", True), ("", False)])
def test_mirrored_queues_end_with_3_13(broker: str, refused: bool) -> None:
    expected = [("n1", "RabbitMQ", "rabbitmq_ha_mode")] if refused else []
    assert found(site(broker), Limits(mirrored=True)) == expected


@pytest.mark.parametrize(
    ("installed", "policy", "system", "version"),
    [
        ("3.10.8-1.1+deb12u1-abc", "  Candidate: 4.0.5-1", "debian 12", "3.10"),
        ("", "rabbitmq-server:\n  Installed: (none)\n  Candidate: 4.0.5-1\n", "debian 12", "4.0"),
        ("", "  Candidate: 1:4.1.2-1", "debian 13", "4.1"),
        ("", "  Candidate: (none)", "debian 12", "3.10"),
        ("", "", "debian 13", "4.0"),
        ("", "", "ubuntu 22.04", ""),
    ],
)
def test_the_release_a_host_has_or_would_get(installed: str, policy: str, system: str, version: str) -> None:
    assert broker_version(installed, policy, system) == version


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"n1": ("10.0.0.1",), "n2": ("fd00::2",)}, [("n1", "name n2", "canopsis_address or /etc/hosts")]),
        ({"n1": ("::1",), "n2": ("10.0.0.2",)}, [("n1", "name n1", "canopsis_address or /etc/hosts")]),
        ({"n1": ("10.0.0.1", "fd00::1"), "n2": ("10.0.0.2", "fd00::9")}, []),
    ],
)
def test_g9_a_name_of_ipv6_alone_leads_to_no_server(
    names: dict[str, tuple[str, ...]], expected: list[tuple[str, str, str]]
) -> None:
    assert found(site("3.10", "3.10", names=names)) == expected


def test_g9_an_address_that_two_hosts_share_by_ipv6_alone_is_none() -> None:
    seen = {
        "n1": Seen({"n2": ("10.0.0.1", "fd00::2")}, system="debian 12"),
        "n2": Seen({"n2": ("10.0.0.9", "fd00::2")}, system="debian 12"),
    }
    assert found(seen) == [("inventory", "name n2", "canopsis_address or /etc/hosts")]


def test_g9_hosts_of_one_hostname_are_refused() -> None:
    seen = {
        name: Seen(system="debian 12", hostname=own) for name, own in zip("abc", ("debian", "c", "debian"), strict=True)
    }
    assert found(seen) == [("a", "hostname", "name of the host"), ("c", "hostname", "name of the host")]
    assert "as c" in check(seen, LIMITS)[0].found


@pytest.mark.parametrize(
    ("own", "listens", "refused"),
    [
        (("127.0.1.1",), ("192.0.2.11",), True),
        (("127.0.1.1",), ("127.0.0.1", "192.0.2.11"), True),
        (("127.0.1.1",), ("0.0.0.0",), False),  # noqa: S104
        (("127.0.1.1",), ("::",), False),
        (("127.0.1.1", "192.0.2.11"), ("192.0.2.11",), False),
        (("127.0.0.1",), ("127.0.0.1",), False),
        (("192.0.2.11",), ("192.0.2.11",), False),
        (("127.0.1.1",), (), False),
        ((), ("192.0.2.11",), False),
    ],
)
def test_g9_a_host_whose_name_leads_it_where_nobody_listens_is_refused(
    own: tuple[str, ...], listens: tuple[str, ...], refused: bool
) -> None:
    limits = Limits(addresses={"n1": "n1"}, listens={"n1": listens})
    checks = [each.variable for each in check({"n1": Seen({"n1": own} if own else {})}, limits)]
    assert checks == (["canopsis_listen or /etc/hosts"] if refused else [])


@pytest.mark.parametrize(
    ("held", "refused"),
    [
        ((), False),
        (("rabbit@Canopsis1",), False),
        (("rabbit@old", "rabbit@Canopsis1"), False),
        (("rabbit@canopsis1",), True),
    ],
)
def test_g7_a_broker_that_would_begin_anew_is_refused(held: tuple[str, ...], refused: bool) -> None:
    limits = Limits(nodes={"n1": "rabbit@Canopsis1", "unseen": "rabbit@unseen"})
    told = check({"n1": Seen(nodes=held)}, limits)
    assert [each.check for each in told] == (["node name"] if refused else [])
    assert not told or told[0].found == "rabbit@Canopsis1, and the data here is of rabbit@canopsis1"


@pytest.mark.parametrize(
    ("address", "known", "refused"),
    [
        ("Canopsis1", ("canopsis1", "canopsis2"), True),
        ("canopsis1", ("Canopsis1",), True),
        ("canopsis1", ("canopsis1",), False),
        ("canopsis9", ("canopsis1",), False),
        ("canopsis1", (), False),
    ],
)
def test_g7_a_name_in_other_letters_than_the_running_site_has_is_refused(
    address: str, known: tuple[str, ...], refused: bool
) -> None:
    told = check({"n1": Seen(known=known), "n2": Seen(known=known)}, Limits(addresses={"n1": address}))
    assert [(each.host, each.check) for each in told] == ([("inventory", "name")] if refused else [])
