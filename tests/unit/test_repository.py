"""The figures of the house, kept: how code is shaped, what documents point at, that pins agree."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import statistics
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from canopsis.core import perfdata
from canopsis.core.alert import alert_body
from canopsis.core.change import LifecycleRules
from canopsis.core.event import routing_key
from canopsis.core.event_types.check import Check
from canopsis.core.lifecycle import apply
from canopsis.core.normalise import normalise
from canopsis.core.notes import Notes
from canopsis.engines.chain import default_chain

ROOT = Path(__file__).resolve().parents[2]
CODE = ("canopsis", "plugins")
CHECKED = (*CODE, "tests", "benchmarks", "molecule")
TEXTS = (*CHECKED, "docs", "inventories", "packages", "playbooks", "requirements", "roles", ".ci")

LONGEST_MODULE = 500
MEDIAN_FUNCTION = 10
LONG_FUNCTION = 45
RUNNER = "canopsis/runtime/"
"""The one room where anything an engine does wrong is caught."""

# Written in parts, so that this file is not found by its own tests.
UNDONE = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")) + r")\b")
SWALLOWED = re.compile(r"ignore_errors|failed_when:\s*false")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = ("./build-install.sh", "./run-tests.sh")
EVERYWHERE = ("/", "/home", "/mnt", "/opt", "/root", "/srv", "/usr/local/src", "/usr/src", tempfile.gettempdir())
"""Folders that every host has: a text that names one gives nothing away."""
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*patterns: str, rooms: tuple[str, ...] = TEXTS) -> Iterator[Path]:
    """Yield the files of ``rooms`` and of the root that match one of ``patterns``."""
    for pattern in patterns:
        yield from (path for path in sorted(ROOT.glob(pattern)) if path.is_file())
        for room in rooms:
            yield from (path for path in sorted((ROOT / room).rglob(pattern)) if "__pycache__" not in path.parts)


def modules(*rooms: str) -> list[Path]:
    return list(files("*.py", rooms=rooms))


def shown(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(ROOT)}{f':{line}' if line else ''}"


def size(path: Path) -> int:
    return sum(1 for line in path.read_text().splitlines() if line.strip())


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text())))


def functions(*rooms: str) -> Iterator[tuple[Path, Function]]:
    for path in modules(*rooms):
        for node in nodes(path):
            if isinstance(node, Function):
                yield path, node


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def documents() -> list[Path]:
    return list(files("*.md"))


def test_no_module_is_too_long() -> None:
    assert [shown(path) for path in modules(*CHECKED) if size(path) > LONGEST_MODULE] == []


def test_functions_are_short() -> None:
    lengths = sorted(length(node) for _, node in functions(*CODE))
    assert statistics.median(lengths) <= MEDIAN_FUNCTION
    assert lengths[int(len(lengths) * 0.95)] <= LONG_FUNCTION


def test_functions_are_annotated() -> None:
    def bare(node: Function) -> bool:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = [each for each in arguments if each.arg not in ("self", "cls")]
        return node.returns is None or any(each.annotation is None for each in named)

    assert [f"{shown(path, node.lineno)} {node.name}" for path, node in functions(*CODE) if bare(node)] == []


def test_nothing_sleeps() -> None:
    def sleeps(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep", "asyncio.sleep")

    found = [shown(path, node.lineno) for path in modules(*CHECKED) for node in nodes(path) if sleeps(node)]  # type: ignore[attr-defined]
    assert found == []


def test_only_the_runner_catches_everything() -> None:
    def broad(node: ast.AST) -> bool:
        caught = ("Exception", "BaseException")
        return isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in caught)

    found = [shown(path, node.lineno) for path in modules(*CODE) for node in nodes(path) if broad(node)]  # type: ignore[attr-defined]
    assert [place for place in found if not place.startswith(RUNNER)] == []
    code = sum(size(path) for path in modules(*CODE))
    assert len(found) * 1000 <= 0.3 * code


def test_nothing_is_left_undone() -> None:
    found = [
        shown(path, number)
        for path in files("*.py", "*.yml", "*.sh", "control", "*.j2")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNDONE.search(line)
    ]
    assert found == []


def test_no_error_is_swallowed_in_the_roles() -> None:
    found = [
        shown(path, number)
        for path in files("*.yml", rooms=("roles", "playbooks"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if SWALLOWED.search(line)
    ]
    assert found == []


def test_every_role_specifies_its_variables_and_explains_itself() -> None:
    roles = [path for path in sorted((ROOT / "roles").glob("*")) if path.is_dir()]
    assert roles
    for wanted in ("meta/argument_specs.yml", "README.md", "tasks/main.yml"):
        assert [role.name for role in roles if not (role / wanted).is_file()] == [], wanted


@pytest.mark.skipif(str(ROOT.parent) in EVERYWHERE, reason="the checkout lies in a folder that every host has")
def test_no_text_names_the_folder_it_is_developed_in() -> None:
    place = f"{ROOT.parent}/"
    texts = files("*.py", "*.md", "*.yml", "*.sh", "*.cfg", "*.toml", "*.txt", "*.j2", "control")
    assert [shown(path) for path in texts if place in path.read_text()] == []


@pytest.mark.parametrize("document", documents(), ids=shown)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{shown(document)} points at {target}"
        if anchor:
            assert anchor in anchors(path), f"{shown(document)} points at {target}, and there is no such heading"


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as renderers of Markdown make them."""
    titles = re.findall(r"^#+ +(.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_index() -> None:
    docs = ROOT / "docs"
    named = {(docs / target.partition("#")[0]).resolve() for target in LINK.findall((docs / "index.md").read_text())}
    assert [shown(page) for page in sorted(docs.rglob("*.md")) if page.name != "index.md" and page not in named] == []


def test_the_two_commands_of_the_readme_can_be_run() -> None:
    text = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert command in text
        assert os.access(ROOT / command, os.X_OK), f"{command} cannot be run"


def test_the_stages_of_the_readme_are_those_there_are() -> None:
    script = (ROOT / "run-tests.sh").read_text()
    found = re.search(r"STAGES=\(([^)]*)\)", script)
    assert found is not None
    for stage in found[1].split():
        assert f"stage_{stage}()" in script
        assert stage in (ROOT / "CONTRIBUTING.md").read_text()


def pins(name: str) -> dict[str, str]:
    """Return the versions in a requirements file, by normalised name."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    found = [match for line in lines if (match := PIN.match(line))]
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found}


@pytest.mark.parametrize("name", ["runtime.txt", "deploy.txt"])
def test_what_is_tested_is_what_is_installed(name: str) -> None:
    tested = pins("dev.txt")
    wanted = pins(name)
    assert wanted
    assert {package: version for package, version in wanted.items() if tested.get(package) != version} == {}


def test_the_metadata_asks_for_the_pinned_versions() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    wanted = [line for line in metadata["options"]["install_requires"].splitlines() if line]
    pinned = pins("runtime.txt")
    for requirement in wanted:
        match = PIN.match(requirement)
        assert match is not None, f"{requirement} is not pinned"
        assert pinned[match[1].lower()] == match[2]


def test_the_documentation_lists_every_dependency() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    text = (ROOT / "docs" / "dependencies.md").read_text().lower()
    names = [line.partition("==")[0].lower() for line in metadata["options"]["install_requires"].splitlines() if line]
    assert [name for name in names if f"`{name}`" not in text] == []


def blocks(document: str, language: str) -> list[str]:
    """Return the code blocks of a document of ``docs/`` in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)


def test_the_examples_of_events_are_good_ones() -> None:
    examples = [json.loads(block) for block in blocks("event-format.md", "json")]
    event = normalise(examples[0], now=1_795_600_000.0)
    assert isinstance(event, Check)
    assert routing_key(event) == "nagios.poller1.check.resource.web1.disk /"
    assert event.entity_id == "resource:web1/disk %2F"
    notes = Notes()
    metrics = [item.metric for block in blocks("event-format.md", "text") for item in perfdata.parse(block, notes)]
    assert notes.texts() == []
    assert metrics == ["load1", "disk /var", "time"]


def test_the_documented_fields_of_an_alert_are_those_it_has() -> None:
    event = normalise(json.loads(blocks("event-format.md", "json")[0]), now=1_795_600_000.0)
    event.event_id = "9b1d"
    change = apply(event, None, LifecycleRules(60.0, 60.0), event.timestamp)
    assert change is not None
    documented = json.loads(blocks("event-format.md", "json")[-1])
    made = alert_body(change, event)
    assert documented.keys() == made.keys()
    steps = [step for step in made["steps"] if step["type"] == "stateinc"]
    assert [step.keys() for step in documented["steps"]] == [step.keys() for step in steps]


def test_the_documented_engines_are_those_of_the_default_chain() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    documented = dict(re.findall(r"^\| `(\w+)` \| (cleaner|worker|sender) \|", text, re.MULTILINE))
    assert documented == {engine.name: engine.process for engine in default_chain().engines}
