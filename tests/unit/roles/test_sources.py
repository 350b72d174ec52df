"""Where the sources that hosts build from are packed on the controller."""

from __future__ import annotations

from pathlib import Path

import tables
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar


def archive(playbooks: str) -> Path:
    """Return where a run of ``playbooks`` packs the sources."""
    loader = DataLoader()
    defaults = loader.load_from_file(str(tables.ROLES / "environment/defaults/main.yml"), trusted_as_template=True)
    return Path(
        str(
            Templar(loader, variables={**defaults, "playbook_dir": playbooks}).template(defaults["environment_archive"])
        )
    )


def test_runs_of_two_checkouts_do_not_take_each_others_sources() -> None:
    assert archive("/first/playbooks") != archive("/second/playbooks")
    assert archive("/first/playbooks") == archive("/first")


def test_it_is_outside_the_checkout() -> None:
    found = archive("/first/playbooks")
    assert found.is_absolute()
    assert not found.is_relative_to("/first")
