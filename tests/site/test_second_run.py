"""The first command again: it changes nothing and restarts nothing."""

from __future__ import annotations

import re

from local_site import LocalSite

_RECAP = re.compile(r"^\S+\s*:\s*ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def test_a_second_run_changes_and_restarts_nothing(site: LocalSite) -> None:
    site.ready()
    before = {name: program.pid for name, program in site.programs().items()}
    files = fingerprints(site)
    done = site.build()
    assert {name: program.pid for name, program in site.programs().items()} == before
    assert fingerprints(site) == files
    recaps = _RECAP.findall(done.text) or _RECAP.findall(log_of(site))
    assert recaps, "no recap of ansible-playbook was found"
    assert set(recaps) == {("0", "0", "0")}, recaps


def fingerprints(site: LocalSite) -> dict[str, tuple[int, int]]:
    """Return mode and time of change of every file that configures the site."""
    files = [site.prefix.supervisord_conf, *site.prefix.path.joinpath("etc").rglob("*")]
    return {str(file): (file.stat().st_mode, file.stat().st_mtime_ns) for file in files if file.is_file()}


def log_of(site: LocalSite) -> str:
    """Return what the last run wrote to its log."""
    logs = sorted(site.prefix.log.glob("build-install*.log"), key=lambda log: log.stat().st_mtime)
    return logs[-1].read_text(errors="replace") if logs else ""


def test_f1_the_run_tells_its_url_its_tour_and_what_starts_it_at_boot(site: LocalSite) -> None:
    said = site.build().text
    assert f"http://127.0.0.1:{site.port}" in said
    for word in ("canopsis check", "canopsis alarms"):
        assert word in said, f"the tour does not name `{word}`"
    assert f"(crontab -l 2>/dev/null; echo '@reboot {site.prefix.path}/bin/hypcontrol start') | crontab -\n" in said
