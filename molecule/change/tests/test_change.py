"""The life of one host: a dry run, a deployment, small changes that restart only what they touch, and its end."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import plays
import site_hosts as site

CHAIN = [
    {"name": "collectdgw", "process": "cleaner", "next": ["cleaner_events"]},
    {"name": "cleaner_events", "process": "cleaner", "next": ["event_filter"]},
    {"name": "event_filter", "next": ["context"]},
    {"name": "context", "next": ["alarm"]},
    {"name": "alarm", "next": ["perfdata"]},
    {"name": "perfdata", "next": ["eventstore"]},
    {"name": "eventstore"},
]
LETTERS = {"name": "dead_letters", "process": "letters"}
BLANK = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "blank.txt"
"""What was on the host before the site."""


def chain(*engines: dict[str, Any]) -> tuple[str, str]:
    """Return the option that gives the site these engines."""
    return "-e", json.dumps({"engines_chain": engines})


WITH_LETTERS = chain(*CHAIN, LETTERS)


def running(host: Any) -> dict[str, str]:
    """Return the process id of each program."""
    text = host.run(f"{site.AS_USER} {site.CONTROL} status").stdout
    return dict(re.findall(r"^(\S+) +RUNNING +pid (\d+)", text, re.MULTILINE))


def restarted(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the programs that do not run in the same process any more."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def policies(host: Any) -> dict[str, Any]:
    """Return the definition of each policy of the broker, by name."""
    found = site.fingerprint(host)["definitions"]["policies"]
    return {policy["name"]: policy["definition"] for policy in found}


def test_a_dry_run_on_a_blank_host_shows_all_and_touches_nothing(hosts: dict[str, Any]) -> None:
    before = site.listing(hosts["site1"])
    BLANK.write_text("\n".join(sorted(before)))
    output = plays.succeed("site.yml", "--check", "--diff")
    assert plays.changes(output)["site1"] > 10, output
    assert {path for path in site.listing(hosts["site1"]) - before if not path.startswith("root/.ansible")} == set()
    assert hosts["site1"].run("getent passwd canopsis").rc != 0


def test_the_host_becomes_a_site(hosts: dict[str, Any]) -> None:
    plays.succeed("site.yml", *WITH_LETTERS)
    assert set(site.programs(hosts["site1"]).values()) == {"RUNNING"}


def test_an_option_of_one_engine_restarts_its_process_alone(hosts: dict[str, Any]) -> None:
    before = running(hosts["site1"])
    plays.succeed("site.yml", *chain(*CHAIN, LETTERS | {"beat_interval": 30}))
    assert restarted(before, running(hosts["site1"])) == {"engine-letters"}


def test_an_engine_taken_out_leaves_nothing(hosts: dict[str, Any]) -> None:
    before = running(hosts["site1"])
    plays.succeed("site.yml", *chain(*CHAIN))
    assert restarted(before, running(hosts["site1"])) == {"engine-letters"}
    assert "engine-letters" not in site.programs(hosts["site1"])
    assert "letters" not in site.as_user(hosts["site1"], f"{site.CONTROL} avail")
    assert not hosts["site1"].file(f"{site.PREFIX}/etc/engines/letters.conf").exists


def test_a_new_engine_starts_alone(hosts: dict[str, Any]) -> None:
    before = running(hosts["site1"])
    plays.succeed("site.yml", *WITH_LETTERS)
    assert restarted(before, running(hosts["site1"])) == {"engine-letters"}


def test_g10_a_new_process_shows_in_a_dry_run_of_its_tag(hosts: dict[str, Any]) -> None:
    before = running(hosts["site1"])
    two = (*WITH_LETTERS, "-e", json.dumps({"engines_instances": {"letters": 2}}))
    output = plays.succeed("site.yml", "--check", "--diff", "--tags", "engines", *two)
    assert "start engine-letters-2" in output, output
    assert "engine-worker" not in output[output.index("Have the engines running") :].split("TASK")[0]
    assert running(hosts["site1"]) == before
    plays.succeed("site.yml", "--tags", "engines", *two)
    assert restarted(before, running(hosts["site1"])) == {"engine-letters", "engine-letters-2"}
    plays.succeed("site.yml", "--tags", "engines", *WITH_LETTERS)
    assert "engine-letters-2" not in site.programs(hosts["site1"])


def test_a_password_that_drifted_is_the_one_change_of_a_dry_run(hosts: dict[str, Any], secrets: dict[str, Any]) -> None:
    site.as_user(hosts["site1"], f"{site.PREFIX}/bin/rabbitmqctl --silent change_password collectd drifted-by-hand")
    output = plays.succeed("site.yml", "--check", "--diff", *WITH_LETTERS)
    assert plays.changes(output) == {"localhost": 0, "site1": 1}, output
    assert "collectd" in output[output.index("Have the virtual host") :].split("TASK")[0]
    assert secrets["rabbitmq_collectd_password"] not in output and "drifted-by-hand" not in output
    before = running(hosts["site1"])
    assert plays.changes(plays.succeed("site.yml", *WITH_LETTERS))["site1"] == 1
    assert restarted(before, running(hosts["site1"])) == set()


def test_a_tag_does_its_part_and_no_more(hosts: dict[str, Any]) -> None:
    host, file = hosts["site1"], f"{site.PREFIX}/etc/collectd.conf"
    policy = {"name": "short", "pattern": "^short$", "definition": {"max-length": 10}, "apply-to": "queues"}
    asked = ("-e", json.dumps({"rabbitmq_policies": [policy]}), *WITH_LETTERS)
    before = running(host)
    assert host.run(f"echo '# by hand' >> {file}").rc == 0
    assert plays.changes(plays.succeed("site.yml", "--tags", "rabbitmq_policies", *asked))["site1"] == 1
    assert policies(host)["short"] == {"max-length": 10}
    edited = f"{site.PREFIX}/bin/rabbitmqctl --silent set_policy -p canopsis short '^short$' '{{\"max-length\": 99}}'"
    site.as_user(host, edited)
    assert plays.changes(plays.succeed("site.yml", "--tags", "rabbitmq_policies", *asked))["site1"] == 1
    assert policies(host)["short"] == {"max-length": 10}
    assert running(host) == before and host.file(file).contains("# by hand")
    plays.succeed("site.yml", *WITH_LETTERS)
    assert not host.file(file).contains("# by hand")
    assert "short" not in policies(host)


def test_a_new_password_reaches_the_user_and_who_uses_it(hosts: dict[str, Any]) -> None:
    new = ("-e", "mongodb_webserver_password=another-password-of-24-signs", *WITH_LETTERS)
    before = running(hosts["site1"])
    plays.succeed("site.yml", *new)
    assert restarted(before, running(hosts["site1"])) == {"webserver"}
    assert plays.changes(plays.succeed("site.yml", *new)) == {"localhost": 0, "site1": 0}
    assert site.ask(hosts["site1"], "alarms?limit=1")["success"]


def test_what_is_killed_comes_back(hosts: dict[str, Any]) -> None:
    host = hosts["site1"]
    # The newest process of gunicorn is a worker.
    for program in ("bin/gunicorn", "libexec/collectd"):
        host.check_output(f"pkill -9 -u canopsis -n -f {program}")
        site.eventually(lambda: site.health(host, "site1"), "200", 30)
    site.eventually(lambda: set(site.programs(host).values()), {"RUNNING"}, 30)


def test_a_killed_supervisord_comes_back_with_all_it_ran(hosts: dict[str, Any]) -> None:
    host = hosts["site1"]

    def supervisord() -> str:
        return str(host.run(f"cat {site.PREFIX}/var/run/supervisord.pid").stdout)

    before = supervisord()
    host.check_output("pkill -9 -u canopsis -f supervisor.supervisord")
    site.eventually(lambda: supervisord() not in ("", before), True, 60)
    site.eventually(lambda: set(site.programs(host).values()), {"RUNNING"}, 60)
    site.eventually(lambda: site.health(host, "site1"), "200", 30)
    supervised = supervisord()
    plays.succeed("site.yml", *WITH_LETTERS)
    assert supervisord() == supervised


def test_collectd_goes_on_after_the_broker_died(hosts: dict[str, Any]) -> None:
    host = hosts["site1"]
    site.eventually(lambda: site.newest_load(host, "site1") > 0, True)
    host.check_output("pkill -9 -u canopsis beam.smp")
    died = float(host.check_output("date +%s"))
    site.eventually(lambda: site.newest_load(host, "site1") > died, True, 120)


def test_the_end_leaves_what_is_documented(hosts: dict[str, Any]) -> None:
    confirm = ("-e", f"canopsis_confirm_uninstall={site.PREFIX}")
    assert site.PREFIX in plays.refuse("playbooks/uninstall.yml")
    plays.succeed("playbooks/uninstall.yml", *confirm)
    assert hosts["site1"].file(f"{site.PREFIX}/var/lib/mongodb/WiredTiger").exists
    plays.succeed("playbooks/uninstall.yml", *confirm, "-e", "canopsis_purge_data=true")
    before = set(BLANK.read_text().splitlines())
    left = {path for path in site.listing(hosts["site1"]) - before if "/.ansible" not in path}
    assert left <= {"opt/canopsis"}, left
    assert site.fingerprint(hosts["site1"])["processes"] == {}


def test_the_host_becomes_a_site_again_and_no_secret_is_shown(hosts: dict[str, Any], secrets: dict[str, Any]) -> None:
    output = plays.succeed("site.yml", "-vvv", "--diff")
    assert set(site.programs(hosts["site1"]).values()) == {"RUNNING"}
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output, "what modules were given is not in it"
    shown = [name for name, value in site.secrets_of(secrets).items() if value.splitlines()[0] in output]
    assert shown == []
