"""The model told to people: nothing is missing, nothing secret is shown, the page is fresh."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_scratch import SECRETS

from canopsis.errors import ConfigError
from canopsis.ops import config, explain, ini
from canopsis.ops.model import FILES, Key, engine_options
from canopsis.ops.prefix import Prefix

ROOT = Path(__file__).parents[3]


def test_the_reference_page_is_fresh() -> None:
    page = ROOT / "docs" / "configuration.md"
    hint = "make it again: canopsis config explain --markdown > docs/configuration.md"
    assert page.read_text() == explain.reference().rstrip() + "\n", hint


def test_the_reference_page_has_every_key() -> None:
    page = explain.reference()
    for entry in explain.entries():
        assert f"| `{entry.key.name}` | {entry.key.doc} |" in page
    assert page.count("\n| `") == len(list(explain.entries()))


@pytest.mark.parametrize("file", FILES.values(), ids=list(FILES))
def test_a_sample_reads_without_a_problem_once_secrets_are_given(tmp_path: Path, file: object) -> None:
    assert isinstance(file, type(FILES["amqp.conf"]))
    text = explain.sample(file).replace("hosts = CHANGE-ME", "hosts = a:1").replace("engine:NAME", "engine:alarm")
    path = tmp_path / file.name
    path.write_text(text)
    values = ini.read(path, file, file.name)
    assert [str(problem) for problem in values.problems] == []


@pytest.mark.parametrize("file", FILES.values(), ids=list(FILES))
def test_every_default_is_allowed(file: object) -> None:
    assert isinstance(file, type(FILES["amqp.conf"]))
    keys: list[Key] = [key for section in file.sections for key in section.keys]
    keys += [key for options in engine_options().values() for key in options]
    for key in keys:
        if key.default is not None:
            key.kind.read(key.default)


def test_every_key_is_explained() -> None:
    for entry in explain.entries():
        assert entry.key.doc.endswith("."), entry
        assert "|" not in entry.key.doc
        assert "|" not in entry.key.kind.allowed
        assert entry.key.since


def test_secrets_are_marked() -> None:
    secret = {entry.key.name for entry in explain.entries() if entry.key.secret}
    assert secret == {"password", "authkey", "secret"}
    for entry in explain.entries():
        assert entry.key.secret == (entry.key.name in secret)


@pytest.mark.parametrize("name", FILES)
def test_effective_values_mask_secrets(prefix: Prefix, name: str) -> None:
    shown = str(explain.effective(config.load(prefix, FILES[name])))
    assert not [secret for secret in SECRETS if secret in shown]


def test_effective_values_say_where_they_come_from(prefix: Prefix) -> None:
    shown = explain.effective(config.load(prefix, FILES["amqp2engines.conf"]))
    assert shown["chain"]["partitions"] == {"value": "4", "from": "file"}
    assert shown["engine:alarm"]["resolve_delay"] == {"value": "5m", "from": "file"}
    assert shown["engine:alarm"]["cancel_resolve_delay"] == {"value": "1h", "from": "default"}
    assert shown["engine:cleaner_events"]["beat_interval"] == {"value": "30s", "from": "file"}
    master = explain.effective(config.load(prefix, FILES["amqp.conf"]))["master"]
    assert master["hosts"]["value"] == "127.0.0.1:8083,broker2:8083"
    assert master["tls"] == {"value": "false", "from": "default"}


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ("partitions", ["amqp2engines.conf [chain]"]),
        ("chain.partitions", ["amqp2engines.conf [chain]"]),
        ("resolve_delay", ["amqp2engines.conf [engine:alarm]"]),
        ("engine:alarm.resolve_delay", ["amqp2engines.conf [engine:alarm]"]),
        ("engine:alarm.next", ["amqp2engines.conf [engine:NAME]"]),
        ("authkey", ["client.conf [api]"]),
        ("hosts", ["amqp.conf [master]", "storage.conf [master]"]),
        ("storage.conf:master.hosts", ["storage.conf [master]"]),
        ("services", ["hypcontrol.conf [backend]", "hypcontrol.conf [middleware]", "hypcontrol.conf [frontend]"]),
        ("session", ["webserver.conf [session]"] * 2),
    ],
)
def test_find(wanted: str, places: list[str]) -> None:
    assert [f"{entry.file.name} [{entry.section}]" for entry in explain.find(wanted)] == places


def test_find_a_whole_file() -> None:
    assert {entry.file.name for entry in explain.find("client.conf")} == {"client.conf"}
    assert len(explain.find("client.conf")) == 4


def test_find_what_is_not_there() -> None:
    with pytest.raises(
        ConfigError, match=r"partition: no such key, section or file; keys: .*; did you mean partitions\?"
    ):
        explain.find("partition")


def test_explain() -> None:
    (entry,) = explain.find("partitions")
    assert explain.explain(entry).splitlines() == [
        "partitions   etc/amqp2engines.conf [chain]",
        "  Queues that entities are spread over; fixed when a site is made.",
        "  allowed: a whole number from 1 to 256",
        "  default: 8",
        "  since:   1.0",
    ]
    (secret,) = explain.find("authkey")
    assert "default: none, must be given" in explain.explain(secret)
    assert explain.explain(secret).endswith("(a secret)")


def test_facts_are_for_programs() -> None:
    (entry,) = explain.find("authkey")
    facts = entry.facts()
    assert (facts["file"], facts["section"], facts["key"]) == ("client.conf", "api", "authkey")
    assert (facts["required"], facts["secret"], facts["default"]) == (True, True, None)
