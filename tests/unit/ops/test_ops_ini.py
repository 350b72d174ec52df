"""One file against its model: every problem at once, each naming file, section, key and what is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from canopsis.errors import ConfigError
from canopsis.ops import ini, kinds
from canopsis.ops.model import CLIENT, File, Key, Section

MODEL = File(
    "sample.conf",
    "A sample.",
    (
        Section(
            "master",
            "First.",
            (
                Key("hosts", kinds.hosts(), None, "Where."),
                Key("size", kinds.integer(1, 9), "3", "How much."),
                Key("password", kinds.word(), "x", "A secret.", secret=True),
            ),
        ),
        Section("extra", "Second.", (Key("on", kinds.boolean(), "true", "Whether."),), required=False),
        Section("user", "Third.", (Key("name", kinds.word(), None, "Who."),), required=False),
        Section("engine:", "Many.", (Key("next", kinds.names(), "", "What follows."),), required=False),
    ),
)

GOOD = "[master]\nhosts = a:1\n"


def read(tmp_path: Path, text: str | bytes) -> ini.Values:
    path = tmp_path / "sample.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ini.read(path, MODEL, "etc/sample.conf")


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    return [str(problem) for problem in read(tmp_path, text).problems]


def test_values_and_defaults(tmp_path: Path) -> None:
    values = read(tmp_path, GOOD)
    assert values.problems == []
    assert values.sections == {"master": {"hosts": (("a", 1),), "size": 3, "password": "x"}, "extra": {"on": True}}
    assert values.given == {("master", "hosts")}


def test_sections_of_a_pattern(tmp_path: Path) -> None:
    values = read(tmp_path, GOOD + "[engine:one]\nnext = a,b\n[engine:two]\n")
    assert values.sections["engine:one"] == {"next": ("a", "b")}
    assert values.sections["engine:two"] == {"next": ()}


def test_a_section_that_may_be_absent_has_no_values_when_it_must_give_some(tmp_path: Path) -> None:
    values = read(tmp_path, GOOD)
    assert "user" not in values.sections
    with pytest.raises(ConfigError, match=r"etc/sample.conf: section \[user\] is missing; `canopsis config sample"):
        values.section("user", "etc/sample.conf")
    assert values.section("extra", "etc/sample.conf") == {"on": True}


def test_comments_and_signs_in_values_are_kept_apart(tmp_path: Path) -> None:
    values = read(tmp_path, "# one\n; two\n[master]\nhosts = a:1\npassword = %(x)s;#=\n")
    assert values.sections["master"]["password"] == "%(x)s;#="


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = "[master]\nhosts = nowhere\nsize = 10\nsise = 2\n[extras]\non = 1\n[engine:x]\nnext = a,a\n"
    assert problems(tmp_path, text) == [
        "etc/sample.conf [master] sise: unknown key; allowed keys: hosts, password, size; did you mean size?",
        "etc/sample.conf [master] hosts: 'nowhere' is refused; allowed: HOST:PORT, several separated by commas; "
        "an IPv6 address in [ ]",
        "etc/sample.conf [master] size: '10' is refused; allowed: a whole number from 1 to 9",
        "etc/sample.conf [extras]: unknown section; "
        "allowed sections: engine:NAME, extra, master, user; did you mean extra?",
        "etc/sample.conf [engine:x] next: 'a,a' is refused; "
        "allowed: names of letters, digits, _ . and -, each once, separated by commas",
    ]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path, "[master]\nsize = 2\n") == [
        "etc/sample.conf [master] hosts: missing; "
        "allowed: HOST:PORT, several separated by commas; an IPv6 address in [ ]"
    ]
    assert problems(tmp_path, "") == ["etc/sample.conf [master]: section missing; it must give hosts"]
    assert problems(tmp_path, GOOD + "[user]\n") == [
        "etc/sample.conf [user] name: missing; allowed: one line of text, not empty"
    ]


def test_a_refused_secret_is_not_shown(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, GOOD + "password =\n")
    assert problem == "etc/sample.conf [master] password: the value is refused; allowed: one line of text, not empty"


@pytest.mark.parametrize("value", ["amqp://user:hunter2@b1:5672", "user:hunter2@b1", "hunter2@b1:5672"])
def test_d6_a_password_in_a_place_that_has_none_is_not_shown(tmp_path: Path, value: str) -> None:
    (problem,) = problems(tmp_path, f"[master]\nhosts = {value}\n")
    assert "the value is refused" in problem
    assert "hunter2" not in problem


def test_d6_the_url_of_the_api_has_no_password(tmp_path: Path) -> None:
    path = tmp_path / "client.conf"
    path.write_text("[api]\nurl=https://user:hunter2@host:8082\nauthkey=abc\n")
    (problem,) = map(str, ini.read(path, CLIENT, "etc/client.conf").problems)
    assert "no user and password" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hosts = hunter2\n", "line 1 comes before any [section]"),
        ("[master]\nhunter2\nhosts = a:1\n", "not KEY=VALUE: line 2"),
        ("[master]\nhosts = a:1\nhosts = hunter2\n", "line 3: [master] hosts stands here a second time"),
        ("[master]\nhosts = a:1\n[master]\n", "line 3: [master] stands here a second time"),
        (b"[master]\nhosts = \xff\n", "byte 17 is not UTF-8"),
    ],
)
def test_a_file_that_is_no_ini_names_the_line_and_shows_nothing_of_it(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    assert problems(tmp_path, text) == [f"etc/sample.conf: {problem}"]


@pytest.mark.parametrize(
    "text", ["[", "[]\n", "[master", "= x\n", "\x00", "[master]\n = 1\n", "[engine:]\n", "\ufeff[master]\n"]
)
def test_strange_files_are_problems_not_crashes(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    values = ini.read(tmp_path / "none.conf", MODEL, "etc/none.conf")
    assert list(map(str, values.problems)) == ["etc/none.conf: missing; site.yml writes it"]
    with pytest.raises(ConfigError, match=r"etc/none\.conf: missing"):
        ini.demand(values)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    values = ini.read(tmp_path, MODEL, "etc/sample.conf")
    assert str(values.problems[0]).startswith("etc/sample.conf: cannot be read: ")


def test_demand_names_all_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        ini.demand(read(tmp_path, "[master]\nhosts = x\nsize = y\n"))
    assert len(str(caught.value).splitlines()) == 2
    good = read(tmp_path, GOOD)
    assert ini.demand(good) is good


def test_names_keep_their_case(tmp_path: Path) -> None:
    (problem, *_) = problems(tmp_path, "[master]\nHosts = a:1\n")
    assert "Hosts: unknown key" in problem


@pytest.mark.parametrize(
    ("name", "allowed", "text"),
    [
        ("partition", ["partitions", "next"], "keys: next, partitions; did you mean partitions?"),
        ("zzz", ["partitions", "next"], "keys: next, partitions"),
        ("zzz", [], "keys: none"),
    ],
)
def test_nearest(name: str, allowed: list[str], text: str) -> None:
    assert ini.nearest(name, allowed, what="keys") == text


def test_nearest_without_a_word_before() -> None:
    assert ini.nearest("mongo", ["mongodb", "web"]) == "mongodb, web; did you mean mongodb?"


def test_root_reads_what_others_may_not(tmp_path: Path) -> None:
    path = tmp_path / "sample.conf"
    path.write_text(GOOD)
    path.chmod(0)
    values = ini.read(path, MODEL, "etc/sample.conf")
    assert [str(p) for p in values.problems] == (
        [] if os.geteuid() == 0 else ["etc/sample.conf: cannot be read: Permission denied"]
    )
