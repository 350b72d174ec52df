"""One verb a playbook: the command is shown as it can be typed, and its exit code is the true one."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from deploy_run import Run

from canopsis.cli import deploy
from canopsis.deploy.home import Site, locale_for
from canopsis.deploy.playbooks import Playbook, about, call, playbooks

ROOT = Path(__file__).resolve().parents[3]
FOUND = playbooks(ROOT)


def test_every_playbook_is_a_verb() -> None:
    assert set(FOUND) == {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert {"site", "preflight", "health", "mongodb", "rabbitmq", "engines", "webserver", "collectd"} <= set(FOUND)
    assert not {"init", "secrets"} & set(FOUND)


@pytest.mark.parametrize("verb", FOUND)
def test_every_playbook_says_what_it_does(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.match(r"[A-Z].{12,90}$", FOUND[verb].purpose)
    assert deploy.main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert FOUND[verb].about in out
    assert str(FOUND[verb].path) in out


def test_the_help_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb in ("init", "secrets", *FOUND):
        assert re.search(rf"(?m)^  {verb} +\S", out), verb
    assert max(map(len, out.splitlines())) <= 140


@pytest.mark.parametrize(("typed", "says"), [("helth", "did you mean health?"), ("", "verbs: init"), ("x", "no such")])
def test_an_unknown_verb_is_refused(typed: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main([typed] if typed else []) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["init", "secrets"])
def test_own_verbs_have_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        deploy.main([verb, "--help"])
    assert ended.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_the_comment_of_a_file_is_its_beginning_only(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(
        "---\n# Purpose    One thing, and\n#            another. Two.\n# Usage      x\n- name: X\n# three\n"
    )
    assert about(path) == "Purpose    One thing, and\n           another. Two.\nUsage      x"
    assert Playbook("x", path, about(path)).purpose == "One thing, and another"
    assert (
        Playbook("x", path, "Purpose    Looks at\n           every host.\nUsage      y").purpose
        == "Looks at every host"
    )


def test_a_call_can_be_typed_again() -> None:
    made = call(Site(Path("/my site/ansible.cfg")), FOUND["site"], ["-e", "a=b c", "--limit", "n3"])
    words = shlex.split(str(made))
    assert words.pop(0) == "ANSIBLE_CONFIG=/my site/ansible.cfg"
    assert [word for word in words if not word.startswith("LC_ALL=")] == list(made.arguments)
    assert words[-4:] == ["-e", "a=b c", "--limit", "n3"]


@pytest.mark.parametrize(
    "given",
    [
        {"LC_ALL": "C"},
        {"LANG": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "xx_YY.UTF-8"},
        {"LC_CTYPE": "en_US.ISO8859-1"},
        {},
    ],
)
def test_g6_ansible_begins_whatever_the_locale_is(
    folder: Path, run: Run, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "LANGUAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    done = run("site", "--list-hosts", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "locale" not in done.stderr
    assert ("LC_ALL=C.UTF-8 " in done.stderr.splitlines()[0]) == ("LC_ALL" in given)
    assert run("secrets", "init", cwd=folder).returncode == 0


def test_g6_a_locale_of_utf_8_stays() -> None:
    assert locale_for({"LANG": "C.UTF-8"}) == {}
    assert locale_for({"LANG": "C", "LC_ALL": "C.utf8"}) == {}
    assert locale_for({"LANG": "C.UTF-8", "LC_ALL": "C"}) == {"LC_ALL": "C.UTF-8"}


def test_the_shown_command_is_the_one_that_runs(folder: Path, run: Run, tmp_path: Path) -> None:
    done = run("site", "--list-hosts", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "canopsis3" in done.stdout
    shown = next(line for line in done.stderr.splitlines() if line.startswith("ANSIBLE_CONFIG="))
    again = subprocess.run(["sh", "-c", shown], cwd=tmp_path, capture_output=True, text=True, check=True)
    # The order of hosts is not that of the file.
    assert sorted(again.stdout) == sorted(done.stdout)


def test_every_playbook_lists_its_tasks(folder: Path, run: Run) -> None:
    others = [str(playbook.path) for verb, playbook in FOUND.items() if verb != "health"]
    done = run("health", *others, "--list-tasks", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("playbook: ") == len(FOUND)


def test_the_exit_code_is_ansibles(folder: Path, run: Run) -> None:
    (folder / "hosts.yml").write_text("canopsis: [\n")
    done = run("site", "--syntax-check", cwd=folder)
    assert done.returncode == 1, "an inventory that cannot be read"
    assert run("site", "--no-such-option", cwd=folder).returncode == 2


def test_a_folder_that_is_no_site_is_refused(tmp_path: Path, run: Run) -> None:
    done = run("site", cwd=tmp_path)
    assert done.returncode == 2
    assert "canopsis-deploy init DIR" in done.stderr


def test_a_checkout_is_a_site_too(run: Run) -> None:
    done = run("preflight", "-i", "inventories/small", "--list-hosts", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "canopsis1" in done.stdout
