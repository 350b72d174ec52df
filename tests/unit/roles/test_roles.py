"""Roles keep one contract: defaults, specs and README agree; the same verbs; nothing swallowed, no secret given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tables
import yaml

ROOT = tables.ROLES.parent
VERBS = {
    "main",
    "begin",
    "settle",
    "assert",
    "observe",
    "install",
    "sources",
    "wheels",
    "configure",
    "kernel",
    "service",
    "restart",
    "boot",
    "cluster",
    "users",
    "health",
    "expel",
    "recover",
    "remove",
}
EXPECTED = {
    "preflight",
    "environment",
    "supervisor",
    "mongodb",
    "rabbitmq",
    "collectd",
    "engines",
    "webserver",
    "smoke",
    "tls",
}
ORCHESTRATE = {"main", "begin", "settle"}
roles = pytest.mark.parametrize("role", tables.names())


def task_files() -> Iterator[Path]:
    """Every file with tasks or plays."""
    yield from sorted(tables.ROLES.glob("*/tasks/*.yml"))
    yield from sorted((ROOT / "playbooks").glob("*.yml"))


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Every task of a file, those of plays too."""
    for entry in yaml.safe_load(path.read_text()):
        yield from entry.get("tasks", [entry])


def test_the_roles_are_there() -> None:
    assert set(tables.names()) >= EXPECTED


@roles
def test_defaults_and_specs_have_the_same_variables(role: str) -> None:
    given = set(tables.load(role, "defaults/main.yml"))
    optional = {name for name, option in tables.options(role).items() if not option.get("required")}
    required = set(tables.options(role)) - optional
    # A required option may have a default that another variable of the site gives.
    assert given - required == optional


@roles
def test_every_entry_point_has_the_same_options(role: str) -> None:
    specs = tables.load(role, "meta/argument_specs.yml")["argument_specs"]
    assert all(spec["options"] == specs["main"]["options"] for spec in specs.values())
    assert all((tables.ROLES / role / "tasks" / f"{name}.yml").is_file() for name in specs)


@roles
def test_every_option_has_type_and_description(role: str) -> None:
    for name, option in tables.options(role).items():
        assert option["type"], name
        assert option["description"].endswith("."), name


@roles
def test_variables_have_the_prefix_of_their_role(role: str) -> None:
    for name in tables.load(role, "defaults/main.yml"):
        assert name.startswith(f"{role}_")


@roles
def test_the_readme_has_the_table_of_the_specs(role: str) -> None:
    text = (tables.ROLES / role / "README.md").read_text()
    assert text == tables.with_table(role, text), "run: python tests/unit/roles/tables.py"


@roles
def test_secrets_are_required_and_masked(role: str) -> None:
    defaults = tables.load(role, "defaults/main.yml")
    for name, option in tables.options(role).items():
        if re.search(r"(password|cookie|keyfile|secret|authkey)$", name):
            assert option["no_log"], name
            assert option["required"], name
            assert "{{" in defaults.get(name, "{{"), f"{name} has a default secret"


@roles
def test_tasks_are_the_verbs(role: str) -> None:
    found = {path.stem for path in (tables.ROLES / role / "tasks").glob("*.yml")}
    assert "main" in found
    assert found <= VERBS


@roles
def test_orchestrating_files_do_nothing_themselves(role: str) -> None:
    for path in (tables.ROLES / role / "tasks").glob("*.yml"):
        if path.stem in ORCHESTRATE:
            for task in tasks(path):
                assert set(task) - {"tags"} == {"name", "ansible.builtin.import_tasks"}, path


@pytest.mark.parametrize("path", list(task_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_swallowed_and_nobody_waits_blindly(path: Path) -> None:
    text = path.read_text()
    for word in ("ignore_errors", "failed_when: false", "ansible.builtin.pause", "sleep ", "ansible.builtin.shell"):
        assert word not in text
    assert "[0]" not in text, "no host is special by its position"


@pytest.mark.parametrize("path", list(task_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_play_and_task_has_a_name(path: Path) -> None:
    for entry in yaml.safe_load(path.read_text()):
        assert entry["name"]
        assert all(task["name"] for task in entry.get("tasks", []))


def templates() -> list[Path]:
    """Every template."""
    return sorted(tables.ROLES.glob("*/templates/*.j2"))


@pytest.mark.parametrize("path", templates(), ids=lambda path: str(path.relative_to(ROOT)))
def test_templates_say_who_writes_them(path: Path) -> None:
    assert "Written by site.yml" in path.read_text().splitlines()[0]


PROGRAMS = [path for path in templates() if path.name == "program.conf.j2"]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.parts[-3])
def test_programs_are_never_given_up_and_rotate_their_logs(path: Path) -> None:
    keys = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] not in ";{")
    assert keys["autostart"] == "%(ENV_CANOPSIS_AUTOSTART)s"
    assert keys["autorestart"] == "true"
    assert int(keys["startretries"]) >= 100000
    assert {"stopwaitsecs", "killasgroup", "stopasgroup", "startsecs", "stdout_logfile_maxbytes"} <= set(keys)
    assert "CONFIGURATION" in keys["environment"]


def test_five_services_have_programs() -> None:
    assert {path.parts[-3] for path in PROGRAMS} == {"mongodb", "rabbitmq", "collectd", "engines", "webserver"}


def test_there_is_no_group_of_programs() -> None:
    assert not [path for path in templates() if "[group:" in path.read_text()]


def tags(node: Any) -> Iterator[str]:
    """Yield every tag in plays or tasks."""
    if isinstance(node, dict):
        given = node.get("tags", [])
        yield from [given] if isinstance(given, str) else given
    if isinstance(node, (dict, list)):
        for each in node.values() if isinstance(node, dict) else node:
            yield from tags(each)


def test_the_documented_tags_are_those_that_are_there() -> None:
    files = [*sorted((ROOT / "playbooks").glob("*.yml")), *sorted((ROOT / "roles").glob("*/tasks/*.yml"))]
    used = {tag for path in files for tag in tags(yaml.safe_load(path.read_text()))}
    documented = re.findall(r"(?m)^\| `([a-z_]+)` \|", (ROOT / "docs/tags.md").read_text())
    assert sorted(used) == sorted(documented)


PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
playbooks = pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)


def header(path: Path) -> str:
    """Return the comment that a playbook begins with."""
    lines = path.read_text().splitlines()[1:]
    return "\n".join(line for line in lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))])


@playbooks
def test_a_playbook_says_what_it_is_for_and_what_it_never_touches(path: Path) -> None:
    text = header(path)
    for word in ("# Purpose ", "# Usage ", "# Variables ", "# Never "):
        assert word in text, f"{path.name} has no {word}"
    assert path.name in text, "the usage shows the command"


@playbooks
def test_confirmations_and_targets_are_told_in_the_header(path: Path) -> None:
    for name in sorted(set(re.findall(r"canopsis_(?:confirm_\w+|target\w*|purge_data)", path.read_text()))):
        assert name in header(path), name


@playbooks
def test_brokers_and_databases_restart_one_at_a_time(path: Path) -> None:
    for entry in yaml.safe_load(path.read_text()):
        used = [task.get("ansible.builtin.import_role", {}) for task in entry.get("tasks", [])]
        if any(role.get("tasks_from") == "restart" for role in used):
            assert entry["serial"] == 1
            assert entry["any_errors_fatal"] is True


def test_the_site_begins_restarts_and_settles_each_cluster_in_this_order() -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text())
    used = [
        (role["name"], role.get("tasks_from", "main"))
        for entry in plays
        for task in entry.get("tasks", [])
        if (role := task.get("ansible.builtin.import_role"))
    ]
    assert [verb for name, verb in used if name == "mongodb"] == ["begin", "restart", "settle"]
    assert [verb for name, verb in used if name == "rabbitmq"] == ["begin", "cluster", "restart", "settle"]
    assert used[-1][0] == "smoke"


def test_the_default_chain_is_that_of_the_manifests() -> None:
    text = (tables.ROLES / "engines/defaults/main.yml").read_text()
    assert text == tables.with_chain(text), "run: python tests/unit/roles/tables.py"
