"""`canopsis prove` over a whole site: its model and the engines agree under fire, and it leaves the site well."""

from __future__ import annotations

import json

from local_site import LocalSite

from canopsis.ops.prove import plan

ROUNDS = 7
"""One for each program that is killed, then one for each that is frozen but the last."""


def test_a_site_is_proved_under_fire(site: LocalSite) -> None:
    arguments = ("--rounds", str(ROUNDS), "--events", "80", "--freeze", "2", "--seed", "5", "--yes", "--json")
    done = site.command("canopsis", "prove", "--strikes", "engines,database,freeze", *arguments)
    assert done.code == 0, done.text
    found = json.loads(done.out)
    assert found["proved"] is True
    struck = [each["strikes"].split(" (")[0] for each in found["rounds"]]
    assert struck[:4] == ["kill engine-cleaner", "kill engine-sender", "kill engine-worker", "kill mongodb"]
    assert [each.rpartition(" ")[0].rpartition(" ")[0] for each in struck[4:]] == [
        "freeze engine-cleaner",
        "freeze engine-sender",
        "freeze engine-worker",
    ]
    assert all(each["events"] >= 80 for each in found["rounds"])
    assert site.listed("alarms", connector=plan.CONNECTOR, state="1,2,3") == []
    site.good("canopsis", "status")


def test_a_site_that_is_not_well_is_left_alone(site: LocalSite) -> None:
    site.good("service", "webserver", "stop")
    try:
        done = site.command("canopsis", "prove", "--yes")
    finally:
        site.good("service", "webserver", "start")
        site.ready()
    assert done.code == 2
    assert "the site is not well, nothing was done" in done.err
    assert "webserver: is STOPPED" in done.err
