"""Which certificates are made, what is wrong with given ones, and the order of a change of the authority."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ansible.module_utils.canopsis_certificates import (
    STEPS,
    Asked,
    Leaf,
    Step,
    authority_note,
    blocks,
    missing_names,
    plan,
    problems,
    rotation,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ASKED = Asked(NOW, timedelta(30))
NAMES = ("n1", "10.0.0.1")
GOOD = Leaf(frozenset(NAMES), NOW - timedelta(10), NOW + timedelta(300), "ours")
WANTED = {"n1": NAMES}


def whys(leaf: Leaf | None, asked: Asked = ASKED) -> list[str]:
    """Return why the certificate of the one host is made."""
    return [step.why for step in plan(WANTED, {"n1": leaf}, "ours", asked)]


def test_a_good_certificate_stays() -> None:
    assert whys(GOOD) == []


@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        (None, "there is none"),
        (replace(GOOD, matches=False), "its key is another's"),
        (replace(GOOD, issuer="theirs"), "another authority signed it"),
        (replace(GOOD, issuer=""), "another authority signed it"),
        (replace(GOOD, names=frozenset({"n1"})), "it does not name 10.0.0.1"),
        (replace(GOOD, names=frozenset()), "it does not name n1, 10.0.0.1"),
        (replace(GOOD, ends=NOW - timedelta(1)), "it ends on 2026-02-28"),
        (replace(GOOD, ends=NOW + timedelta(30)), "it ends on 2026-03-31"),
    ],
)
def test_what_is_not_good_is_made_anew(leaf: Leaf | None, why: str) -> None:
    assert whys(leaf) == [why]


def test_the_last_second_before_the_window_is_good() -> None:
    assert whys(replace(GOOD, ends=NOW + timedelta(30, seconds=1))) == []


def test_renewal_makes_all_anew_when_asked_for() -> None:
    assert whys(GOOD, replace(ASKED, renew=True)) == ["renewal was asked for"]


def test_a_new_host_changes_nobody_elses() -> None:
    wanted = {"n1": NAMES, "n2": ("n2",)}
    assert plan(wanted, {"n1": GOOD}, "ours", ASKED) == [Step("n2", "there is none")]


def test_a_rebuilt_host_gets_another_and_nobody_else_does() -> None:
    asked = replace(ASKED, blank=frozenset({"n2"}))
    found = plan({"n1": NAMES, "n2": NAMES}, {"n1": GOOD, "n2": GOOD}, "ours", asked)
    assert found == [Step("n2", "its host is new")]


def test_a_host_that_left_is_not_looked_at() -> None:
    assert plan(WANTED, {"n1": GOOD, "gone": None}, "ours", ASKED) == []


@pytest.mark.parametrize(
    ("names", "asked", "missing"),
    [
        ({"n1"}, ["n1"], []),
        ({"n1"}, ["N1"], []),
        ({"*.example.com"}, ["n1.example.com"], []),
        ({"*.example.com"}, ["n1.sub.example.com"], ["n1.sub.example.com"]),
        ({"*.example.com"}, ["example.com"], ["example.com"]),
        ({"n1"}, ["n2", "n1", "10.0.0.1"], ["n2", "10.0.0.1"]),
    ],
)
def test_missing_names(names: set[str], asked: list[str], missing: list[str]) -> None:
    assert missing_names(replace(GOOD, names=frozenset(names)), asked) == missing


@pytest.mark.parametrize(
    ("leaf", "problem"),
    [
        (replace(GOOD, matches=False), "tls_key is not the key of tls_certificate"),
        (replace(GOOD, begins=NOW + timedelta(1)), "tls_certificate begins on 2026-03-02 only"),
        (replace(GOOD, ends=NOW), "tls_certificate ended on 2026-03-01"),
        (replace(GOOD, names=frozenset({"n1"})), "tls_certificate does not name 10.0.0.1"),
        (replace(GOOD, issuer=""), "the chain in tls_certificate does not end at a certificate in tls_ca_file"),
    ],
)
def test_problems_of_given_certificates(leaf: Leaf, problem: str) -> None:
    assert problems(WANTED, {"n1": leaf}, NOW) == [f"n1: {problem}"]


def test_all_problems_are_told_at_once() -> None:
    bad = replace(GOOD, matches=False, issuer="", ends=NOW)
    found = problems({"n1": NAMES, "n2": NAMES}, {"n1": bad, "n2": bad}, NOW)
    assert len(found) == 6
    assert {line.partition(":")[0] for line in found} == {"n1", "n2"}


def test_a_given_certificate_that_is_good_has_none() -> None:
    assert problems(WANTED, {"n1": GOOD}, NOW) == []


@pytest.mark.parametrize(
    ("step", "authorities", "action"),
    [
        # What there is: the one that signs, the one that will sign, the one that has signed.
        ("", (False, False, False), "create"),
        ("", (True, False, False), ""),
        ("", (True, True, False), ""),
        ("", (True, False, True), ""),
        ("trust", (True, False, False), "add"),
        ("trust", (True, True, False), ""),
        ("sign", (True, True, False), "switch"),
        ("sign", (True, False, True), ""),
        ("retire", (True, False, True), "retire"),
        ("retire", (True, False, False), ""),
    ],
)
def test_steps_of_a_change(step: str, authorities: tuple[bool, bool, bool], action: str) -> None:
    assert rotation(step, *authorities) == action


@pytest.mark.parametrize(
    ("step", "authorities", "advice"),
    [
        *((step, (False, False, False), f"run site.yml without tls_ca_step={step}") for step in STEPS if step),
        ("trust", (True, False, True), "run tls_ca_step=retire first"),
        ("sign", (True, False, False), "run tls_ca_step=trust first"),
        ("retire", (True, True, False), "run tls_ca_step=sign first"),
    ],
)
def test_a_step_that_comes_too_early_is_refused(step: str, authorities: tuple[bool, bool, bool], advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        rotation(step, *authorities)


def test_an_authority_that_lasts_needs_no_word() -> None:
    assert authority_note(NOW + timedelta(1000), ASKED, timedelta(397)) == ""


def test_an_authority_that_ends_before_its_certificates_would_is_told() -> None:
    note = authority_note(NOW + timedelta(396), ASKED, timedelta(397))
    assert note.startswith("the authority ends on 2027-04-01: change it with tls_ca_step=trust")


def test_an_authority_that_ended_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ended on 2026-03-01: remove authority\.pem"):
        authority_note(NOW, ASKED, timedelta(397))


def block(kind: str, text: str = "QQ==") -> str:
    """Return a block of PEM."""
    return f"-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n"


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_keys_and_certificates_of_a_file_are_told_apart(kind: str) -> None:
    text = "subject=n1\n" + block("CERTIFICATE", "b25l") + block(kind) + block("CERTIFICATE", "dHdv")
    assert blocks(text, key=True) == block(kind)
    assert blocks(text, key=False) == block("CERTIFICATE", "b25l") + block("CERTIFICATE", "dHdv")


@pytest.mark.parametrize("text", ["", "no PEM", block("CERTIFICATE REQUEST"), "-----BEGIN CERTIFICATE-----\nQQ=="])
def test_nothing_else_of_a_file_is_taken(text: str) -> None:
    assert blocks(text, key=False) == ""
    assert blocks(text, key=True) == ""
