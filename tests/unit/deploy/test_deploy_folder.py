"""``canopsis-deploy init``: a folder of the operator's own, renewed without losing what they wrote."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from canopsis.cli import deploy
from canopsis.deploy import folder as folders
from canopsis.deploy.home import PACKAGE, Site, find_home, find_program
from canopsis.errors import ConfigError, InputError, SiteError

ROOT = Path(__file__).resolve().parents[3]


def read(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((path / "ansible.cfg").read_text())
    return parser["defaults"]


def test_the_samples_are_there() -> None:
    assert folders.samples(ROOT) == ["large", "local", "small"]


@pytest.mark.parametrize("sample", ["small", "large", "local"])
def test_a_sample_is_laid_whole(tmp_path: Path, sample: str) -> None:
    laid = folders.init(ROOT, tmp_path / "a" / "site", sample)
    assert {"hosts.yml", "group_vars/canopsis/main.yml", "ansible.cfg"} <= set(laid.wrote)
    assert laid.kept == []
    for name in ("hosts.yml", "group_vars/canopsis/main.yml"):
        assert (tmp_path / "a" / "site" / name).read_bytes() == (ROOT / "inventories" / sample / name).read_bytes()


@pytest.mark.parametrize("sample", ["small", "large"])
def test_g1_a_sample_says_who_logs_in(tmp_path: Path, sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["init", str(tmp_path / "a"), "--inventory", sample]) == 0
    assert "SSH:  as root" in capsys.readouterr().out
    assert "\nansible_user: root\n" in (tmp_path / "a" / folders.VARIABLES).read_text()
    assert deploy.main(["init", str(tmp_path / "b"), "--inventory", sample, "--user", "debian"]) == 0
    assert "SSH:  as debian" in capsys.readouterr().out
    assert folders.logs_in_as(tmp_path / "b") == "debian"


def test_g1_a_user_that_cannot_be_put_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a name of a user"):
        folders.init(ROOT, tmp_path / "a", "small", "a user")
    with pytest.raises(InputError, match="without SSH"):
        folders.init(ROOT, tmp_path / "a", "local", "debian")
    assert not (tmp_path / "a").exists()
    folders.init(ROOT, tmp_path / "a", "small")
    with pytest.raises(InputError, match="set ansible_user in"):
        folders.init(ROOT, tmp_path / "a", "small", "debian")
    assert folders.logs_in_as(tmp_path / "a") == "root"


def test_only_the_local_sample_brings_its_file_of_secrets(tmp_path: Path) -> None:
    assert str(folders.SECRETS) in folders.init(ROOT, tmp_path / "local", "local").wrote
    assert str(folders.SECRETS) not in folders.init(ROOT, tmp_path / "small", "small").wrote


def test_secrets_made_in_a_checkout_stay_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    sample = home / "inventories" / "small"
    (sample / "group_vars" / "canopsis").mkdir(parents=True)
    (sample / "hosts.yml").write_text("canopsis:\n")
    (sample / folders.SECRETS).write_text('a_password: "x"\n')
    (home / "ansible.cfg").write_text("[defaults]\nroles_path = roles\n")
    assert folders.init(home, tmp_path / "site", "small").wrote == ["hosts.yml", "ansible.cfg"]


def test_the_configuration_finds_everything(folder: Path) -> None:
    found = read(folder)
    assert found["inventory"] == "hosts.yml"
    for key, path in folders.PATHS.items():
        assert Path(found[key]) == ROOT / path
        assert Path(found[key]).is_dir()
    assert found["inject_facts_as_vars"] == "False"


def test_a_second_init_keeps_hosts_variables_and_settings(folder: Path, tmp_path: Path) -> None:
    (folder / "hosts.yml").write_text("canopsis: {hosts: {mine: }}\n")
    config = folder / "ansible.cfg"
    config.write_text(config.read_text().replace("forks = 20", "forks = 3").replace(str(ROOT), "/elsewhere"))
    (folder / "group_vars/canopsis/main.yml").unlink()
    laid = folders.init(ROOT, folder, "large")
    assert laid.kept == ["hosts.yml"]
    assert laid.wrote == ["ansible.cfg"]
    assert (folder / "hosts.yml").read_text() == "canopsis: {hosts: {mine: }}\n"
    assert read(folder)["forks"] == "3"
    assert Path(read(folder)["roles_path"]) == ROOT / "roles"
    assert config.read_text().count(folders.MARK) == 1
    assert tmp_path / "site" == folder


def test_an_unknown_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="large, local, small"):
        folders.init(ROOT, tmp_path / "site", "huge")
    assert not (tmp_path / "site").exists()


def test_a_foreign_configuration_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    with pytest.raises(SiteError, match="choose an empty folder"):
        folders.init(ROOT, tmp_path, "small")
    assert [path.name for path in tmp_path.iterdir()] == ["ansible.cfg"]


def test_a_colon_in_the_path_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "a:b"
    (home / "inventories" / "small").mkdir(parents=True)
    (home / "inventories" / "small" / "hosts.yml").write_text("")
    with pytest.raises(SiteError, match="colon"):
        folders.init(home, tmp_path / "site", "small")


def test_the_home_is_the_checkout_or_inside_the_package(tmp_path: Path) -> None:
    assert find_home() == ROOT == PACKAGE.parent
    share = tmp_path / "lib" / "canopsis" / "deploy" / "share"
    (share / "roles").mkdir(parents=True)
    (share / "playbooks").mkdir()
    (share / "playbooks" / "site.yml").write_text("")
    assert find_home(tmp_path / "lib" / "canopsis") == share


def test_a_package_on_a_host_says_where_to_deploy_from(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="from the controller"):
        find_home(tmp_path / "canopsis")


def test_without_ansible_it_is_said_how_to_get_it() -> None:
    with pytest.raises(SiteError, match=r"pip install 'canopsis\[deploy\]'"):
        find_program("ansible-nonsense", {"PATH": "/nowhere"})


def test_the_site_is_the_folder_or_what_the_variable_names(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = hosts.yml\n")
    assert Site.find(tmp_path, {}).inventory() == tmp_path / "hosts.yml"
    assert Site.find(Path("/"), {"ANSIBLE_CONFIG": str(tmp_path)}).config == tmp_path / "ansible.cfg"
    assert Site.find(Path("/"), {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}).config == tmp_path / "ansible.cfg"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[defaults]\n", "inventory is missing"),
        ("roles_path = x\n", "cannot be read"),
        ("[defaults]\ninventory = a\ninventory = b\n", "cannot be read"),
    ],
)
def test_a_broken_configuration_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "ansible.cfg").write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        Site.find(tmp_path, {}).inventory()
    assert str(tmp_path / "ansible.cfg") in str(caught.value)


def test_without_a_configuration_init_is_advised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="canopsis-deploy init DIR"):
        Site.find(tmp_path, {})


@pytest.mark.parametrize("roles", ["", "roles_path = /elsewhere/roles\n"])
def test_roles_of_another_canopsis_are_refused(tmp_path: Path, roles: str) -> None:
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\n{roles}")
    with pytest.raises(ConfigError, match="canopsis-deploy init"):
        Site.find(tmp_path, {}).check(ROOT)


def test_roles_may_stand_beside_others(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\nroles_path = mine:{ROOT}/roles\n")
    site = Site.find(tmp_path, {})
    site.check(ROOT)
    assert site.paths("roles_path") == [tmp_path / "mine", ROOT / "roles"]


def test_init_tells_what_it_did_and_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["init", str(tmp_path / "x"), "--inventory", "large"]) == 0
    out = capsys.readouterr().out
    assert f"wrote  {tmp_path}/x/hosts.yml" in out
    assert "canopsis-deploy secrets init" in out
    assert deploy.main(["init", str(tmp_path / "x")]) == 0
    assert f"kept   {tmp_path}/x/hosts.yml" in capsys.readouterr().out
    assert deploy.main(["init", str(tmp_path / "y"), "--inventory", "huge"]) == 2
    assert "small" in capsys.readouterr().err
