"""The build system, really run: packages come whole or not at all, cost nothing when current, go without a trace."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from building import CHECKOUT, Builder, change, copy_checkout, leftovers, tree
from local_site import free_ports
from own_wheels import make_wheel

SMALL = ("collectd-libs", "collectd")
SERVERS = ("mongodb", "erlang", "rabbitmq-server", *SMALL)
ALL = (*SERVERS, "canopsis", "controller")
GIVEN = "CANOPSIS_TEST_BUNDLE"
ROOT = os.geteuid() == 0
NOBODY = 65534
PORTS = range(21440, 21446)
NOWHERE = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "0"}


@pytest.fixture(scope="module")
def bundle(scratch: Path, checkout: Path) -> Path:
    """Everything, fetched once from the real sources; or what whoever works on these tests keeps."""
    if given := os.environ.get(GIVEN, ""):
        return Path(given)
    archive = scratch / "bundle.tar"
    Builder(checkout, scratch / "fetched").do("bundle", "--output", str(archive))
    return archive


@pytest.fixture(scope="module")
def folder(scratch: Path, bundle: Path) -> Path:
    """The bundle, unpacked."""
    target = scratch / "unpacked"
    target.mkdir()
    subprocess.run(["tar", "-xf", bundle, "-C", target], check=True)
    return target


@pytest.fixture(scope="module")
def full(scratch: Path, checkout: Path, bundle: Path) -> Builder:
    """A prefix with every package, laid from the bundle with the network cut off where this user can cut it."""
    cut = ("unshare", "-n") if ROOT else ()
    builder = Builder(checkout, scratch / "full", bundle, cut, NOWHERE)
    builder.do("install", *ALL)
    return builder


@pytest.fixture
def small(scratch: Path, folder: Path) -> Iterator[Builder]:
    """A fresh prefix and a checkout of its own, fed from the unpacked bundle."""
    place = Path(tempfile.mkdtemp(dir=scratch))
    place.chmod(0o755)
    yield Builder(copy_checkout(place / "checkout"), place / "prefix", folder)
    shutil.rmtree(place)


def test_every_package_runs_where_it_was_laid(full: Builder) -> None:
    """The servers and commands start by their stable paths, without root and without system packages."""
    assert "db version v6.0.5" in full.tool("opt/mongodb/current/bin/mongod", "--version")
    assert "collectd" in full.tool("opt/collectd/current/sbin/collectd", "-h")
    assert full.tool("opt/controller/current/bin/ansible-playbook", "--version").startswith(
        "ansible-playbook [core 2.19"
    )
    assert "usage: canopsis" in full.tool("bin/canopsis", "--help")
    root = full.tool("opt/erlang/current/bin/erl", "-noshell", "-eval", "io:format(code:root_dir()),halt().")
    assert Path(root) == (full.prefix / "opt/erlang/current").resolve()


def test_plugins_of_collectd_find_their_libraries(full: Builder, tmp_path: Path) -> None:
    """The amqp plugin loads: its libraries come out of the prefix."""
    config = tmp_path / "collectd.conf"
    lib, share = (full.prefix / "opt/collectd/current" / part for part in ("lib/collectd", "share/collectd/types.db"))
    config.write_text(f'BaseDir "{tmp_path}"\nPluginDir "{lib}"\nTypesDB "{share}"\nLoadPlugin amqp\nLoadPlugin cpu\n')
    command: list[str | Path] = [full.prefix / "opt/collectd/current/sbin/collectd", "-C", config, "-T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr.upper()


def test_a_second_run_changes_nothing(full: Builder) -> None:
    """Current packages are left alone, and nothing is written."""
    before, records = tree(full.prefix), (full.prefix / "var/lib/packages/erlang.info").read_text()
    offline = Builder(full.checkout, full.prefix, None, full.before, full.env)
    output = offline.do("install", *ALL)
    assert output.count("current") == len(ALL)
    assert tree(full.prefix) == before
    assert (full.prefix / "var/lib/packages/erlang.info").read_text() == records


def test_list_says_what_is_installed(full: Builder) -> None:
    """``list --json`` names each package with its version and what it needs."""
    rows = {row["name"]: row for row in json.loads(full.do("list", "--json"))}
    assert set(rows) == set(ALL)
    assert all(row["installed"] for row in rows.values())
    assert rows["collectd"]["requires"] == "collectd-libs"
    assert rows["mongodb"]["version"] == full.current("mongodb")
    assert full.current("mongodb") in full.do("list")


def test_the_record_names_every_file(full: Builder) -> None:
    """``.files`` and what lies in opt/ and bin/ are the same set."""
    recorded: set[str] = set()
    for name in ALL:
        lines = (full.prefix / f"var/lib/packages/{name}.files").read_text().splitlines()
        recorded |= {line.rstrip("/") for line in lines if "__pycache__" not in line}
    laid = {path for path in tree(full.prefix) if path.startswith(("opt/", "bin/"))}
    assert laid - {f"opt/{name}" for name in ALL} == recorded


@pytest.mark.parametrize("command", ["canopsis", "service", "hypcontrol", "send-event"])
def test_commands_know_their_prefix_through_links(full: Builder, tmp_path: Path, command: str) -> None:
    """A link to a command from anywhere sets CANOPSIS_PREFIX to the prefix the command belongs to."""
    link = tmp_path / command
    link.symlink_to(full.prefix / "bin" / command)
    trace = subprocess.run(["sh", "-x", link, "--help"], capture_output=True, text=True, check=False).stderr
    assert f"CANOPSIS_PREFIX={full.prefix}" in trace, trace


def test_the_broker_runs_and_leaves_nothing_behind(full: Builder, tmp_path: Path) -> None:
    """The wrapper reads rabbitmq-env.conf, starts broker and port mapper, and ends both."""
    base = free_ports()
    settings, ports = tmp_path / "rabbitmq-env.conf", (base, base + 1, base + 2)
    settings.write_text(
        f"NODENAME=packages@localhost\nNODE_PORT={ports[0]}\nRABBITMQ_DIST_PORT={ports[1]}\nERL_EPMD_PORT={ports[2]}\n"
        f"ERL_EPMD_ADDRESS=127.0.0.1\nMNESIA_BASE={tmp_path}/mnesia\nLOG_BASE={tmp_path}/log\n"
    )
    env = {**os.environ, "RABBITMQ_CONF_ENV_FILE": str(settings)}
    with subprocess.Popen([full.prefix / "bin/rabbitmq-server-wrapper"], env=env, stdout=subprocess.PIPE) as broker:
        ask: list[str | Path] = [full.prefix / "bin/rabbitmqctl", "--timeout", "60", "await_startup"]
        try:
            assert broker.stdout is not None
            for line in broker.stdout:
                if b"completed with" in line:
                    break
            subprocess.run(ask, env=env, check=True, capture_output=True)
        finally:
            broker.terminate()
            assert broker.wait(60) == 0
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, port
    shutil.rmtree(full.prefix / "var/lib/rabbitmq", ignore_errors=True)


def test_remove_leaves_no_trace(small: Builder) -> None:
    """What was there before is what is there after, whatever else lies in the prefix."""
    small.prefix.mkdir()
    (small.prefix / "etc").mkdir()
    (small.prefix / "etc" / "mine").write_text("kept")
    before = tree(small.prefix)
    small.do("install", *SMALL, "erlang")
    removal = Builder(small.checkout, small.prefix)
    assert "absent" in removal.do("remove", "mongodb")
    removal.do("remove", "collectd", "collectd-libs", "erlang")
    assert tree(small.prefix) - {"var"} == before


def test_remove_keeps_what_others_need(small: Builder) -> None:
    """A package that another installed one requires stays, with a word about why."""
    small.do("install", "collectd")
    before = tree(small.prefix)
    removal = Builder(small.checkout, small.prefix)
    assert "collectd needs collectd-libs" in removal.fails("remove", "collectd-libs")
    assert tree(small.prefix) == before


def test_an_update_is_taken_back_and_forward(small: Builder) -> None:
    """The version before stays; ``update --back`` uses it until the next ``update``."""
    small.do("install", *SMALL)
    first = small.current("collectd")
    change(small.checkout, "collectd")
    small.do("update", "collectd")
    second = small.current("collectd")
    assert second != first
    assert small.prefix.joinpath("opt/collectd", first).is_dir()
    small.do("update", "--back", "collectd")
    assert small.current("collectd") == first
    small.do("install", "collectd")
    assert small.current("collectd") == first, "install must not undo what an operator took back"
    small.do("update", "collectd")
    assert small.current("collectd") == second
    assert leftovers(small.prefix) == set()


def test_only_the_version_before_is_kept(small: Builder) -> None:
    """Old versions do not pile up."""
    for number in range(3):
        small.do("install", "collectd-libs")
        change(small.checkout, "collectd-libs", f"# {number}\n")
    small.do("install", "collectd-libs")
    folders = [path for path in (small.prefix / "opt/collectd-libs").iterdir() if not path.is_symlink()]
    assert len(folders) == 2


def test_nothing_to_take_back_is_said(small: Builder) -> None:
    """A package without an earlier version, and one that is not installed, are refused."""
    assert "collectd is not installed" in small.fails("update", "--back", "collectd")
    small.do("install", "collectd-libs")
    assert "no version before" in small.fails("update", "--back", "collectd-libs")


def test_build_prepares_without_using(small: Builder) -> None:
    """``build`` lays a version that only ``install`` switches to."""
    small.do("install", *SMALL)
    first = small.current("collectd")
    change(small.checkout, "collectd")
    assert "built     collectd" in small.do("build", "collectd")
    assert small.current("collectd") == first
    assert "built     collectd" not in small.do("install", "collectd")
    assert small.current("collectd") != first


def test_a_changed_checkout_is_an_update_of_canopsis(small: Builder) -> None:
    """The version of canopsis follows its source: from a bundle too, the checkout beside the script is what runs.

    A package of the site's own comes along into each version.
    """
    make_own_wheel(small.prefix / "etc/packages")
    module = small.checkout / "canopsis" / "errors.py"
    small.do("install", "canopsis")
    assert "A component is counted up to this." in small.tool("bin/canopsis", "config", "explain", "engine:tally.most")
    first = small.current("canopsis")
    module.write_text(module.read_text() + "\nCHANGED = True\n")
    small.do("install", "canopsis")
    second = small.current("canopsis")
    assert second != first
    laid = next((small.prefix / "opt/canopsis/current/lib").rglob("canopsis/errors.py"))
    assert "CHANGED = True" in laid.read_text()
    assert "A component is counted up to this." in small.tool("bin/canopsis", "config", "explain", "engine:tally.most")
    assert "current   canopsis" in small.do("install", "canopsis")


def test_a_missing_file_is_repaired(small: Builder) -> None:
    """Running install again puts back what somebody took away, and leaves what is whole."""
    small.do("install", *SMALL)
    wanted = tree(small.prefix)
    (small.prefix / "opt/collectd/current/share/collectd/types.db").unlink()
    output = small.do("install", *SMALL)
    assert "current   collectd-libs" in output
    assert tree(small.prefix) == wanted
    (small.prefix / "opt/collectd/current").unlink()
    small.do("install", *SMALL)
    assert tree(small.prefix) == wanted


def make_own_wheel(folder: Path) -> None:
    """Make a wheel with the engine that the documentation shows."""
    page = (CHECKOUT / "docs/extending.md").read_text().split("## Add an engine")[1]
    code = page.split("```python\n")[1].split("```")[0]
    make_wheel(folder, "ours", "1.0", code, needs="canopsis", points="[canopsis.engines]\ntally = ours:MANIFEST\n")


def _spoil(source: Path, target: Path, pattern: str) -> tuple[Path, str]:
    """Copy a bundle with one wrong byte in the file that matches ``pattern``; return the copy and the file's name."""
    shutil.copytree(source, target)
    (file,) = target.glob(pattern)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return target, file.name


def test_a_damaged_file_is_refused_and_named(small: Builder, tmp_path: Path) -> None:
    """One wrong byte in a bundle: the error names the file and the bundle, the prefix stays as it was."""
    assert small.source is not None
    damaged, name = _spoil(small.source, tmp_path / "damaged", "collectd-core_*.deb")
    small.do("install", "collectd-libs")
    before = tree(small.prefix)
    output = Builder(small.checkout, small.prefix, damaged).fails("install", "collectd")
    assert f"{name} in {damaged} is damaged: its SHA-256" in output
    assert tree(small.prefix) == before


@pytest.mark.parametrize("verb", ["install", "build", "update"])
def test_a_damaged_file_keeps_out_the_packages_before_it(small: Builder, tmp_path: Path, verb: str) -> None:
    """The last package of a run is damaged, or lacks a file: none is laid, the first neither."""
    assert small.source is not None
    damaged, name = _spoil(small.source, tmp_path / "damaged", "kombu-*.whl")
    first = Builder(small.checkout, small.prefix, damaged)
    assert f"{name} in {damaged} is damaged" in first.fails(verb, "collectd-libs", "canopsis")
    (damaged / name).unlink()
    assert f"{name} is missing in {damaged}" in first.fails(verb, "collectd-libs", "canopsis")
    assert not (small.prefix / "opt").exists()
    assert leftovers(small.prefix) == set()
    first.do(verb, "collectd-libs")


def test_a_wrong_server_is_refused(small: Builder) -> None:
    """A mongod that is not the pinned one is never laid, whatever the wheel around it says."""
    control = small.checkout / "packages/mongodb/control"
    control.write_text(control.read_text().replace("MONGOD_SHA256=2", "MONGOD_SHA256=3"))
    assert "not the pinned one" in small.fails("install", "mongodb")
    assert small.current("mongodb") == ""
    assert leftovers(small.prefix) == set()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_bundle_changes_nothing(small: Builder, bundle: Path, tmp_path: Path, share: float) -> None:
    """An archive that did not arrive whole is refused before anything is laid."""
    part = tmp_path / "part.tar"
    with bundle.open("rb") as source:
        part.write_bytes(source.read(int(bundle.stat().st_size * share)))
    output = Builder(small.checkout, small.prefix, part).fails("install", *SERVERS)
    assert str(part) in output
    assert not (small.prefix / "opt").exists()
    assert leftovers(small.prefix) == set()


def test_a_missing_source_is_named(small: Builder, tmp_path: Path) -> None:
    """--from with nothing, with an empty folder, and with a bundle of another release."""
    assert "no such file" in Builder(small.checkout, small.prefix, tmp_path / "none").fails("install", "collectd")
    assert "holds no packages" in Builder(small.checkout, small.prefix, tmp_path).fails("install", "collectd")
    (tmp_path / "collectd.otheros-1-x86_64.sources").write_text("version 1\n")
    assert "is for otheros-1-x86_64" in Builder(small.checkout, small.prefix, tmp_path).fails("install", "collectd")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_is_repaired_by_the_next(small: Builder, number: signal.Signals) -> None:
    """Killed at any moment: whatever is in use is whole, and the next run ends as an undisturbed one."""
    packages = (*SMALL, "erlang")
    started = time.monotonic()
    small.do("install", *packages)
    took = time.monotonic() - started
    wanted = tree(small.prefix)
    moments = random.Random(int(number))
    hits = 0
    for _ in range(4):
        shutil.rmtree(small.prefix)
        hits += small.killed(number, moments.uniform(0, took), "install", *packages)
        for name in packages:
            version = small.current(name)
            assert not version or (small.prefix / "opt" / name / version / ".package").exists()
        small.do("install", *packages)
        assert tree(small.prefix) == wanted
        assert leftovers(small.prefix) == set()
    assert hits >= 2


def test_a_killed_update_leaves_the_version_before(small: Builder) -> None:
    """While a new version is being laid the old one stays in use."""
    small.do("install", "erlang")
    first = small.current("erlang")
    change(small.checkout, "erlang")
    assert small.killed_while_building("erlang", "update", "erlang")
    assert small.current("erlang") == first
    small.tool("opt/erlang/current/bin/erl", "-noshell", "-eval", "halt().")
    small.do("update", "erlang")
    assert small.current("erlang") != first


def test_a_killed_virtual_environment_is_made_again(small: Builder) -> None:
    """Canopsis is built in place: half an environment is never in use, and goes with the next run."""
    small.do("install", "collectd-libs")
    assert small.killed_while_building("canopsis", "install", "canopsis")
    assert small.current("canopsis") == ""
    small.do("install", "canopsis")
    assert "usage: canopsis" in small.tool("bin/canopsis", "--help")


def test_a_full_disk_changes_nothing(small: Builder) -> None:
    """No room: the run fails, the version before stays, and the space is given back."""
    limited: tuple[str, ...] = ("bash", "-c", 'ulimit -f 4000; trap "" XFSZ; exec "$@"', "limited")
    if ROOT:
        small.prefix.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", small.prefix], check=True)
        limited = ()
    try:
        small.do("install", *SMALL)
        before = tree(small.prefix)
        Builder(small.checkout, small.prefix, small.source, limited).fails("install", "erlang")
        assert tree(small.prefix) == before
        assert leftovers(small.prefix) == set()
    finally:
        if ROOT:
            subprocess.run(["umount", small.prefix], check=True)


def test_an_ordinary_user_needs_no_root(small: Builder, scratch: Path) -> None:
    """Fetch and install from the real sources, without rights, in a folder of one's own."""
    home = Path(tempfile.mkdtemp(dir=scratch))
    builder = Builder(small.checkout, home / "canopsis", None, _as_user(home), {"HOME": str(home)})
    builder.do("install", "collectd")
    assert "collectd" in builder.tool("opt/collectd/current/sbin/collectd", "-h")
    assert {path.name for path in home.iterdir()} == {"canopsis"}
    assert builder.prefix.stat().st_uid == (NOBODY if ROOT else os.geteuid())


def test_fetched_files_are_used_again(small: Builder) -> None:
    """A kept file is not fetched again; a damaged one is."""
    online = Builder(small.checkout, small.prefix)
    online.do("fetch", "collectd")
    assert "fetched" not in online.do("fetch", "collectd")
    (deb,) = (small.prefix / "var/cache/packages").glob("collectd-core_*.deb")
    deb.write_bytes(deb.read_bytes()[:1000])
    assert "fetched   collectd" in online.do("install", "collectd")
    assert deb.stat().st_size > 1000


def test_sources_that_do_not_answer_are_told(small: Builder, tmp_path: Path) -> None:
    """Without apt sources or a package index the error says so, and shows no address."""
    apt = Builder(small.checkout, small.prefix, None, (), {"APT_CONFIG": str(_no_sources(tmp_path))})
    assert "apt sources do not offer" in apt.fails("install", "collectd")
    output = Builder(small.checkout, small.prefix, None, (), NOWHERE).fails("install", "controller")
    assert "controller: pip could not fetch" in output
    assert "127.0.0.1" not in output
    assert not (small.prefix / "opt/controller/current").exists()


THING = """
NAME=thing
VERSION=1
DESCRIPTION="Made by a test"
fetch() {{ fetch_archive {source} {digest}; }}
build() {{ match_files '*.txt'; mkdir "$STAGE/bin"; cp "${{GIVEN[0]}}" "$STAGE/"; link_system {command} bin/tool; }}
install() {{ link_command thing bin/tool; }}
"""


def _thing(builder: Builder, source: str, digest: str, command: str = "true") -> None:
    folder = builder.checkout / "packages" / "thing"
    folder.mkdir(exist_ok=True)
    (folder / "control").write_text(THING.format(source=source, digest=digest, command=command))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a small file on this machine, and its SHA-256."""
    (tmp_path / "thing.txt").write_text("a thing")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/thing.txt", hashlib.sha256(b"a thing").hexdigest()
        server.shutdown()


def test_a_package_comes_out_of_an_archive(small: Builder, served: tuple[str, str], tmp_path: Path) -> None:
    """By URL or by path, with a link to a program of the host; fetched once; gone without a trace."""
    url, digest = served
    online = Builder(small.checkout, small.prefix)
    for number, source in enumerate((url, str(tmp_path / "thing.txt"))):
        _thing(online, source, digest, ("true", "false")[number])
        online.do("install", "thing")
        assert (small.prefix / "opt/thing/current/thing.txt").read_text() == "a thing"
        assert subprocess.run([small.prefix / "bin/thing"], check=False).returncode == number
    online.do("remove", "thing")
    assert tree(small.prefix) == {"var"}


def test_an_archive_with_another_checksum_is_refused(small: Builder, served: tuple[str, str]) -> None:
    """What arrived is not what was meant: nothing is laid, nothing is kept."""
    url, digest = served
    online = Builder(small.checkout, small.prefix)
    _thing(online, url, digest[::-1])
    assert f"is not the file with SHA-256 {digest[::-1]}" in online.fails("install", "thing")
    assert "thing.txt" not in {path.name for path in small.prefix.rglob("*")}
    _thing(online, url + ".gone", digest)
    assert "cannot download" in online.fails("install", "thing")


def test_a_program_the_host_lacks_is_named(small: Builder, served: tuple[str, str]) -> None:
    """Source "system" without the program: the error says which, and where to choose another source."""
    online = Builder(small.checkout, small.prefix)
    _thing(online, *served, command="no-such-program")
    assert "no no-such-program: install it" in online.fails("install", "thing")
    assert not (small.prefix / "opt").exists() or list((small.prefix / "opt").iterdir()) == []


def test_two_runs_at_once_do_not_meet(small: Builder) -> None:
    """Whoever comes second waits, and finds the work done."""
    command = small.command("install", *SMALL, "erlang")
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    assert sum("built     erlang" in output for output in outputs) == 1
    assert leftovers(small.prefix) == set()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("instal",), "unknown verb instal"),
        (("install", "mongo"), "no package mongo; there are: mongodb"),
        (("install", "lib"), "no package lib"),
        (("install", "--form", "x"), "unknown option --form"),
        (("install", "--from"), "--from needs a value"),
        (("update", "--back"), "name the package"),
    ],
)
def test_mistyped_commands_are_told(tmp_path: Path, args: tuple[str, ...], words: str) -> None:
    """Wrong usage: exit code 2, what is wrong, and nothing is made."""
    command: list[str | Path] = [CHECKOUT / "build-install.sh", "--prefix", tmp_path / "none", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_what_a_host_lacks_is_told_at_once(scratch: Path, checkout: Path) -> None:
    """A taken port with its process, a missing Python, no apt sources: in one answer, before anything is built."""
    place = scratch / "lacking"
    place.mkdir()
    tools = place / "bin"
    tools.mkdir()
    for tool in Path("/usr/bin").iterdir():
        if not tool.name.startswith(("python", "pypy")):
            (tools / tool.name).symlink_to(tool)
    env = {"CANOPSIS_PORT_BASE": str(PORTS[0]), "PATH": str(tools), "APT_CONFIG": str(_no_sources(place))}
    lacking = Builder(checkout, place / "site", None, _as_user(place), env)
    with socket.create_server(("127.0.0.1", PORTS[1])):
        output = lacking.fails()
        assert "no apt-get" not in output
        assert "apt has no package sources" in output
        assert "apt-get install python3" in output
        del env["PATH"]
        output = lacking.fails()
    assert f"port {PORTS[1]} is taken by {os.getpid() if not ROOT else '?'} " in output
    assert "CANOPSIS_PORT_BASE=" in output
    assert not (place / "site").exists()


def _no_sources(folder: Path) -> Path:
    config = folder / "apt.conf"
    config.write_text('Dir::Etc::sourcelist "/none"; Dir::Etc::sourceparts "/none";\n')
    return config


def _as_user(folder: Path) -> tuple[str, ...]:
    """Return what runs a command without root's rights in ``folder``: as root the first command makes a user."""
    if not ROOT:
        return ()
    folder.chmod(0o755)
    os.chown(folder, NOBODY, NOBODY)
    return ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
