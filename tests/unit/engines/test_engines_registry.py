"""One declaration an engine: what is made of it, and a site's own engine from an installed package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from engines_fakes import FakeContext, event

from canopsis.engines import registry
from canopsis.engines.chain import default_chain
from canopsis.errors import ConfigError
from canopsis.ops.model import keys_of_options
from canopsis.runtime.contract import Batch, Effects, Engine
from canopsis.runtime.manifest import Manifest, Options, Place, about, count, paths, placed, seconds

ROOT = Path(__file__).parents[3]
CHAIN = """
[engine:cleaner_events]
process = cleaner
next = tally
[engine:tally]
most = {most}
next = {next}
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A site's own package, installed: the module that the documentation shows, and metadata, are on the path."""
    page = (ROOT / "docs" / "extending.md").read_text().split("## Add an engine")[1]
    (tmp_path / "ours.py").write_text(page.split("```python\n")[1].split("```")[0] + "\nNOTHING = 3\n")
    info = tmp_path / "ours-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
    install_points(tmp_path, "tally = ours:MANIFEST")
    return tmp_path


def install_points(package: Path, *points: str) -> None:
    (package / "ours-1.0.dist-info" / "entry_points.txt").write_text("[canopsis.engines]\n" + "\n".join(points))


def canopsis(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a site with this package: its etc/ is there."""
    path = f"{ROOT}:{package}"
    environment = {"PYTHONPATH": path, "CANOPSIS_PREFIX": str(package)}
    code = "import sys; from canopsis.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def write_chain(package: Path, **given: object) -> None:
    etc = package / "etc"
    etc.mkdir(exist_ok=True)
    (etc / "hypcontrol.conf").write_text("[frontend]\nservices = webserver-of-another\n")
    (etc / "amqp2engines.conf").write_text(CHAIN.format(**({"most": 5, "next": ""} | given)))


def test_an_engine_of_an_installed_package_is_one_of_the_site(package: Path) -> None:
    write_chain(package)
    done = canopsis(package, "config", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "A component is counted up to this." in canopsis(package, "config", "explain", "engine:tally.most").stdout
    write_chain(package, most=1001)
    assert (
        "[engine:tally] most: '1001' is refused; allowed: a whole number from 1 to 1000"
        in canopsis(package, "config", "check").stderr
    )


def test_a_package_that_cannot_be_loaded_says_why_and_holds_nothing_up(package: Path) -> None:
    broken = ("none = ours:NOTHING", "lost = ours.lost:MANIFEST", "alarm = ours:MANIFEST", "count = ours:MANIFEST")
    install_points(package, "tally = ours:MANIFEST", *broken)
    write_chain(package, next="lost,none,count\n[engine:lost]\n[engine:none]\n[engine:count]")
    said = canopsis(package, "config", "check").stderr
    assert "[engine:lost]: the engine lost cannot be loaded; needed: ours.lost:MANIFEST of the package ours" in said
    assert "ours:NOTHING of the package ours is a int, not a Manifest" in said
    assert "ours:MANIFEST of the package ours is called tally: its entry point needs that name, not count" in said
    assert "own packages [canopsis.engines] alarm (ours:MANIFEST of the package ours): it cannot be loaded" in said
    assert len(said.splitlines()) == 4
    told = json.loads(canopsis(package, "config", "check", "--json").stdout)["problems"]
    (own,) = (each for each in told if each["file"] == "own packages")
    assert (own["section"], own["key"].split()[0]) == ("canopsis.engines", "alarm")


class Everything(Options, frozen=True):
    """One option of each kind."""

    delay: Annotated[float, seconds(0, 60, "A delay.")] = 30.0
    most: Annotated[int, count(1, 9, "A count.")] = 3
    exact: Annotated[bool, about("A switch.")] = True
    title: Annotated[str, about("A text.")] = "a"
    mode: Annotated[Literal["fast", "slow"], about("A choice.")] = "slow"
    files: Annotated[tuple[str, ...], paths("Files.")] = ()
    names: Annotated[tuple[str, ...], about("Names.")] = ("a", "b")


def test_options_are_keys_of_the_section() -> None:
    keys = {key.name: key for key in keys_of_options(Everything)}
    assert {name: (key.kind.name, key.default) for name, key in keys.items()} == {
        "delay": ("time", "30s"),
        "most": ("number", "3"),
        "exact": ("switch", "true"),
        "title": ("text", "a"),
        "mode": ("word", "slow"),
        "files": ("files", ""),
        "names": ("list", "a,b"),
    }
    read = {name: key.kind.read(key.default or "") for name, key in keys.items()}
    assert Manifest("x", lambda _options, _partitions: Engine(), options=Everything).read(read) == Everything()


def test_options_of_a_wrong_type_are_refused() -> None:
    manifest = Manifest("x", lambda _options, _partitions: Engine(), options=Everything)
    with pytest.raises(ConfigError, match=r"options of the engine x: .*`\$\.most`"):
        manifest.engine({"most": 12}, 8)


def test_an_engine_writes_only_what_it_needs() -> None:
    engine = Manifest("idle", lambda _options, _partitions: Engine()).engine({}, 8)
    engine.forget(None)
    one = event()
    assert engine.name == "idle"
    assert engine.process(Batch([one]), FakeContext()) == Effects(forward=[one])
    assert engine.beat(0.0, FakeContext()) == Effects()


def names(*manifests: tuple[str, Place]) -> list[tuple[str, tuple[str, ...]]]:
    made = [Manifest(name, lambda _options, _partitions: Engine(), place=place) for name, place in manifests]
    return [(manifest.name, following) for manifest, following in placed(made)]


def test_a_new_engine_finds_its_place_by_itself() -> None:
    line = [("b", Place()), ("a", Place(after=("b",))), ("c", Place(after=("a",))), ("gw", Place(next=("b",)))]
    assert names(*line) == [("gw", ("b",)), ("b", ("a",)), ("a", ("c",)), ("c", ())]
    between = ("z", Place(after=("b", "gone"), before=("a",)))
    assert names(*line, between)[1:] == [("b", ("z",)), ("z", ("a",)), ("a", ("c",)), ("c", ())]


def test_places_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="contradict each other: "):
        names(("a", Place(after=("b",))), ("b", Place(after=("a",))))


def test_every_engine_of_ours_has_a_place() -> None:
    assert {engine.name for engine in default_chain().engines} == set(registry.own())
    default_chain().check(registry.registry())
