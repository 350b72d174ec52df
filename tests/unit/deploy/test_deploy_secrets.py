"""``canopsis-deploy secrets``: makes what is missing, keeps what is there, lists what is wrong; vaults stay shut."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from canopsis.cli import deploy
from canopsis.deploy import vault as vaults
from canopsis.deploy.folder import SECRETS
from canopsis.deploy.home import Site
from canopsis.deploy.secrets import Inventory, Specs, defaults_of, load_planner, missing
from canopsis.deploy.vault import Vault

ROOT = Path(__file__).resolve().parents[3]
PLANNER = load_planner(ROOT)
SAMPLES = ("small", "large")


def checked(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = deploy.main(["secrets", "check", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def values(folder: Path) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load((folder / SECRETS).read_text())
    return found


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_with_made_secrets_is_complete(
    tmp_path: Path, sample: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(["init", str(tmp_path), "--inventory", sample]) == 0
    monkeypatch.chdir(tmp_path)
    code, before = checked(capsys)
    assert (code, before["ok"]) == (1, False)
    assert deploy.main(["secrets", "init"]) == 0
    code, after = checked(capsys)
    assert (code, after["missing"], after["unknown"]) == (0, [], [])
    assert {row["name"] for row in before["missing"]} == set(values(tmp_path))
    assert stat.S_IMODE((tmp_path / SECRETS).stat().st_mode) == 0o600


def test_the_local_site_makes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(["init", str(tmp_path), "--inventory", "local"]) == 0
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / SECRETS).read_bytes()
    assert deploy.main(["secrets", "init"]) == 0
    assert "makes its own" in capsys.readouterr().out
    assert (tmp_path / SECRETS).read_bytes() == before
    code, report = checked(capsys)
    assert (code, report["made_by_hosts"]) == (0, True)
    assert deploy.main(["secrets", "check"]) == 0


def test_what_is_there_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["secrets", "init"]) == 0
    before = values(folder)
    text = (folder / SECRETS).read_text()
    (folder / SECRETS).write_text("\n".join(line for line in text.splitlines() if "cookie" not in line) + "\n")
    capsys.readouterr()
    assert deploy.main(["secrets", "init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == ["rabbitmq_erlang_cookie"]
    after = values(folder)
    assert after.pop("rabbitmq_erlang_cookie") != before.pop("rabbitmq_erlang_cookie")
    assert after == before
    assert deploy.main(["secrets", "init"]) == 0
    assert "made nothing" in capsys.readouterr().out


def test_values_are_never_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["secrets", "init"]) == 0
    assert deploy.main(["secrets", "check"]) == 0
    said = "".join(capsys.readouterr())
    assert [name for name, value in values(folder).items() if value in said] == []


def test_all_that_is_wrong_is_listed_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / SECRETS).write_text('mongodb_keyfil: "x"\nrabbitmq_cookie: "y"\nmongodb_keyfile: ""\n')
    code, report = checked(capsys)
    assert code == 1
    assert report["unknown"] == ["mongodb_keyfil", "rabbitmq_cookie"]
    assert len(report["missing"]) == 12
    assert {tuple(row["hosts"]) for row in report["missing"]} == {("canopsis1", "canopsis2", "canopsis3")}
    assert report["open_to_others"]
    assert deploy.main(["secrets", "check"]) == 1
    out = capsys.readouterr().out
    for part in ("mongodb_keyfil ", "no role has", "missing", "chmod 600", "canopsis-deploy secrets init"):
        assert part in out


def test_a_readable_file_is_closed_by_init(folder: Path) -> None:
    assert deploy.main(["secrets", "init"]) == 0
    (folder / SECRETS).chmod(0o644)
    assert deploy.main(["secrets", "check"]) == 1
    assert deploy.main(["secrets", "init"]) == 0
    assert stat.S_IMODE((folder / SECRETS).stat().st_mode) == 0o600


def test_a_value_that_stands_elsewhere_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "group_vars" / "mongodb.yml").write_text("mongodb_admin_password: mine\n")
    assert deploy.main(["secrets", "init"]) == 0
    assert "mongodb_admin_password" not in values(folder)
    assert checked(capsys)[0] == 0


def test_a_cluster_given_as_a_url_needs_no_passwords_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hosts.yml").write_text(
        "canopsis:\n  vars:\n    canopsis_amqp_url: amqp://u:p@b/v\n    canopsis_mongodb_url: mongodb://u:p@d/c\n"
        "  children:\n    engines: {hosts: {e1: }}\n    webserver: {hosts: {w1: }}\n"
    )
    names = {row["name"] for row in checked(capsys)[1]["missing"]}
    assert names == {"webserver_session_secret", "webserver_admin_login_password", "webserver_admin_authkey"}


def test_a_line_that_is_no_secret_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / SECRETS).write_text('---\na_password: "x"\nb_password: bare\n')
    assert deploy.main(["secrets", "init"]) == 1
    err = capsys.readouterr().err
    assert str(folder / SECRETS) in err
    assert "line 3" in err
    assert (folder / SECRETS).read_text().endswith("bare\n")


def test_an_inventory_that_is_not_there_or_empty_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["secrets", "check", "--inventory", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    (folder / "hosts.yml").write_text("canopsis: {children: {mongodb: }}\n")
    assert deploy.main(["secrets", "init"]) == 1
    assert "has no host" in capsys.readouterr().err
    (folder / "hosts.yml").write_text("canopsis: [\n")
    assert deploy.main(["secrets", "init"]) == 1
    assert "ansible-inventory failed" in capsys.readouterr().err
    assert not (folder / SECRETS).exists()


@pytest.fixture
def password(folder: Path) -> Path:
    path = folder / "password"
    path.write_text("open sesame\n")
    return path


def test_a_new_file_is_encrypted_when_a_vault_is_given(
    folder: Path, password: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(["secrets", "init", "--vault-password-file", str(password)]) == 0
    assert "clear text" not in capsys.readouterr().out
    assert (folder / SECRETS).read_text().startswith(vaults.MAGIC)
    assert stat.S_IMODE((folder / SECRETS).stat().st_mode) == 0o600
    code, report = checked(capsys, "--vault-password-file", str(password))
    assert (code, report["vaulted"]) == (0, True)
    assert deploy.main(["secrets", "check", "--vault-password-file", str(password)]) == 0
    assert "encrypted" in capsys.readouterr().out


def test_a_vault_is_read_and_written_back_with_its_label(folder: Path, password: Path) -> None:
    (folder / SECRETS).write_text('webserver_session_secret: "kept"\n')
    identity = f"prod@{password}"
    subprocess.run(["ansible-vault", "encrypt", "--vault-id", identity, str(folder / SECRETS)], check=True)
    assert deploy.main(["secrets", "init", "--vault-id", identity]) == 0
    assert vaults.label_of(folder / SECRETS) == "prod"
    clear = Vault(Site.find(folder, {}), ("--vault-id", identity)).read(folder / SECRETS)
    assert PLANNER.parse(clear)["webserver_session_secret"] == "kept"
    assert len(PLANNER.parse(clear)) == 12
    assert sorted(path.name for path in (folder / SECRETS).parent.iterdir()) == ["main.yml", "secrets.yml"]


def test_a_vault_without_its_password_is_not_touched(
    folder: Path, password: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(["secrets", "init", "--vault-password-file", str(password)]) == 0
    before = (folder / SECRETS).read_bytes()
    password.write_text("wrong\n")
    for options in ([], ["--vault-password-file", str(password)]):
        assert deploy.main(["secrets", "init", *options]) == 1
        assert "failed" in capsys.readouterr().err
    assert (folder / SECRETS).read_bytes() == before


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secrets.yml"
    vaults.replace(path, "old\n")

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="full"):
        vaults.replace(path, "new\n")
    assert [found.name for found in tmp_path.iterdir()] == ["secrets.yml"]
    assert path.read_text() == "old\n"


def test_the_planner_makes_what_the_roles_declare() -> None:
    specs = Specs.read(Site(ROOT / "ansible.cfg"), ROOT)
    for role, names in specs.secrets.items():
        assert names <= set(PLANNER.needed([role], "", "")), role
    assert {"mongodb_keyfile", "canopsis_url"} - specs.options == {"canopsis_url"}


def test_a_secret_with_a_default_is_given_by_another() -> None:
    assert "smoke_authkey" in defaults_of(ROOT / "roles" / "smoke")
    assert defaults_of(ROOT / "roles" / "none") == frozenset()


def test_a_secret_that_only_a_role_knows_is_missing_too() -> None:
    specs = Specs({"collectd": frozenset({"collectd_token"})}, frozenset())
    inventory = Inventory({"h": {"rabbitmq_collectd_password": "x"}}, {"h": frozenset({"collectd"})})
    assert missing(PLANNER, specs, inventory) == {"collectd_token": ["h"]}
