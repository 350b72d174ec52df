"""The role smoke: says that a site works, and of one that does not, what and where to look."""

from __future__ import annotations

import json
from typing import Any

import plays
import site_hosts as site

SMOKE = "molecule/role-smoke/smoke.yml"
ALARMS = f"{site.AS_USER} {site.PREFIX}/bin/canopsis alarms --show all --component canopsis-smoke --json"
SERVICE = f"{site.AS_USER} {site.PREFIX}/bin/service amqp2engines"


def alarms(host: Any) -> list[dict[str, Any]]:
    """Return the alarms that trying the site left."""
    found: list[dict[str, Any]] = json.loads(host.check_output(ALARMS))
    return found


def test_its_alarm_was_opened_and_closed(host: Any) -> None:
    found = alarms(host)
    assert found and {alarm["state"] for alarm in found} == {0}


def test_a_site_without_engines_fails_with_the_place_to_look(host: Any) -> None:
    assert host.run(f"{SERVICE} stop").rc == 0
    said = plays.refuse(SMOKE, "-e", "smoke_timeout=3")
    assert host.run(f"{SERVICE} start").rc == 0
    assert "sent through http://site1:8082 is not seen" in said and "bin/canopsis status" in said, said


def test_with_engines_it_passes_again_and_changes_nothing(host: Any) -> None:
    assert plays.changes(plays.succeed(SMOKE)) == {"site1": 0}
    assert {alarm["state"] for alarm in alarms(host)} == {0}
