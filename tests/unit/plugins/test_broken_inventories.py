"""Each of our inventories, broken by one change as an operator would, is refused by a message of its own."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_sample_inventories import ROOT, SAMPLES, Filters, read

Tree = dict[str, Any]
Change = Callable[[Path], None]

MANY = 20
SMALL = ("canopsis1", "canopsis2", "canopsis3")
DEFAULT_CHAIN = yaml.safe_load((ROOT / "roles/engines/defaults/main.yml").read_text())["engines_chain"]


def gives(**variables: Any) -> Change:
    """Give variables to every host."""
    return lambda folder: write(folder / "group_vars/canopsis/zz_changed.yml", variables)


def gives_to(host: str, **variables: Any) -> Change:
    """Give variables to one host."""
    return lambda folder: write(folder / f"host_vars/{host}.yml", variables)


def has(group: str, *hosts: str) -> Change:
    """Have a group below canopsis with just these hosts."""
    return lambda folder: rewrite(folder, lambda tiers: tiers | {group: {"hosts": dict.fromkeys(hosts)}})


def lacks(*groups: str, **variables: Any) -> Change:
    """Have no such groups; what a site without them needs is given with it."""

    def change(folder: Path) -> None:
        rewrite(folder, lambda tiers: {name: tier for name, tier in tiers.items() if name not in groups})
        gives(**variables)(folder)

    return change


def renamed(group: str, name: str) -> Change:
    """Have a group under another name."""
    return lambda folder: rewrite(folder, lambda tiers: {name if key == group else key: tiers[key] for key in tiers})


def chain(engine: str, **said: Any) -> Change:
    """Have the default chain with one engine saying something else."""
    return gives(engines_chain=[each | (said if each["name"] == engine else {}) for each in DEFAULT_CHAIN])


def both(*changes: Change) -> Change:
    """Make several changes."""

    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def write(path: Path, variables: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(variables)))


def rewrite(folder: Path, change: Callable[[Tree], Tree]) -> None:
    """Write hosts.yml anew with other tiers below canopsis."""
    tiers = yaml.safe_load((folder / "hosts.yml").read_text())["canopsis"]["children"]
    write(folder / "hosts.yml", {"canopsis": {"children": change(tiers)}})


AMQP = "canopsis_amqp_url"
URL = "canopsis_mongodb_url"
BROKEN: dict[str, tuple[str, Change, tuple[str, str, str]]] = {
    # the groups
    "typo in a group": (
        "small",
        renamed("collectd", "collect"),
        ("unknown group collect", "collectd?", "group collect"),
    ),
    "group of another name": ("large", renamed("webserver", "web"), ("unknown group web", "webserver?", "group web")),
    "group of no tier": ("large", has("rack1", "web3"), ("web3", "in canopsis and in no tier", "group canopsis")),
    "no engines": (
        "small",
        lacks("engines"),
        ("webserver without engines", "a host in group engines", "group engines"),
    ),
    "no brokers": ("small", lacks("rabbitmq"), ("no rabbitmq", "or canopsis_amqp_url", "group rabbitmq")),
    "no database": ("small", lacks("mongodb"), ("no mongodb", "or canopsis_mongodb_url", "group mongodb")),
    "two databases": ("large", has("mongodb", "database1", "database2"), ("2", "an odd number", "group mongodb")),
    "two brokers": ("small", has("rabbitmq", *SMALL[:2]), ("2", "an odd number", "group rabbitmq")),
    # the hosts
    "one address twice": (
        "small",
        gives_to("canopsis2", ansible_host="canopsis1"),
        ("canopsis1, as canopsis1", "an address of its own", "canopsis_address"),
    ),
    "loopback": (
        "large",
        gives_to("web1", canopsis_address="127.0.0.1"),
        ("127.0.0.1", "other hosts reach", "canopsis_address"),
    ),
    "address with a port": (
        "small",
        gives_to("canopsis3", canopsis_address="10.0.0.3:27017"),
        ("'10.0.0.3:27017'", "without a port", "canopsis_address"),
    ),
    "no such address": (
        "small",
        gives_to("canopsis3", canopsis_address="10.0.0.300"),
        ("'10.0.0.300'", "an IPv4 address, without", "canopsis_address"),
    ),
    "reached by IPv6": (
        "large",
        gives_to("web2", ansible_host="fd00::2"),
        ("fd00::2", "in canopsis_address", "canopsis_address"),
    ),
    "all on loopback": (
        "small",
        gives(canopsis_listen="127.0.0.1"),
        ("mongodb on 127", "that other hosts reach", "canopsis_listen"),
    ),
    "broker on loopback": (
        "large",
        gives_to("broker1", rabbitmq_listen="localhost"),
        ("rabbitmq on localhost", "reach rabbitmq by", "rabbitmq_listen"),
    ),
    "all hosts are this one": (
        "small",
        gives(ansible_connection="local"),
        ("canopsis1, canopsis2, canopsis3 are", "ssh", "ansible_connection"),
    ),
    "one node name": (
        "large",
        gives(rabbitmq_nodename="rabbit@broker1"),
        ("broker1, as another", "one of its own", "rabbitmq_nodename"),
    ),
    "addresses and names of brokers": (
        "small",
        has("rabbitmq", "canopsis1", "192.0.2.12", "192.0.2.13"),
        ("with dots on 192.0.2.12, 192.0.2.13, without on canopsis1", "addresses on all hosts", "canopsis_address"),
    ),
    "address of a broker with TLS": (
        "small",
        both(has("rabbitmq", "192.0.2.12"), gives(canopsis_tls=True)),
        ("node name | 192.0.2.12", "such as NAME: {ansible_host: 192.0.2.12}", "canopsis_address"),
    ),
    "host of IPv6 alone": (
        "large",
        has("webserver", "fd00::2"),
        ("fd00::2 | address", "a name or an IPv4", "canopsis_address"),
    ),
    "node name without host": (
        "large",
        gives_to("broker2", rabbitmq_nodename="broker2"),
        ("'broker2'", "a name and a host", "rabbitmq_nodename"),
    ),
    # the clusters of others
    "broker of two owners": (
        "small",
        gives(canopsis_amqp_url="amqp://queues:5672/canopsis"),
        ("hosts in group rabbitmq and", "one of the two", AMQP),
    ),
    "database of two owners": (
        "large",
        gives(canopsis_mongodb_url="mongodb://databases/canopsis"),
        ("hosts in group mongodb and", "one of the two", URL),
    ),
    "URL of another kind": (
        "small",
        lacks("mongodb", canopsis_mongodb_url="http://databases"),
        ("it begins otherwise than", "mongodb://host", URL),
    ),
    "URL with a wrong port": (
        "small",
        lacks("rabbitmq", canopsis_amqp_url="amqp://queues:99999/"),
        ("no port from 1 to 65535", "amqp://host", AMQP),
    ),
    "URL of loopback": (
        "small",
        lacks("rabbitmq", canopsis_amqp_url="amqp://localhost:5672/"),
        ("localhost:5672", "every host of the site reaches", AMQP),
    ),
    # the variables
    "unknown variable": (
        "small",
        gives(webserver_worker=3),
        ("unknown variable webserver_worker", "webserver_workers?", "webserver_worker"),
    ),
    "port too high": ("large", gives(canopsis_web_port=70000), ("70000", "from 1024 to 65535", "canopsis_web_port")),
    "port of root": ("small", gives(canopsis_web_port=443), ("443", "nothing runs as root", "canopsis_web_port")),
    "base too high": ("local", gives(canopsis_port_base=65530), ("65540", "to 65535", "rabbitmq_tools_port")),
    "port of a default": ("small", gives(canopsis_web_port=15672), ("15672 for", "a port each", "canopsis_web_port")),
    "one port twice": (
        "local",
        gives(canopsis_amqp_port="{{ canopsis_web_port }}"),
        ("for canopsis_amqp_port and canopsis_web_port", "a port each", "canopsis_web_port"),
    ),
    "port of a role alone": (
        "large",
        gives(mongodb_port=27018),
        ("mongodb_port is 27018", "canopsis_mongodb_port in its place", "mongodb_port"),
    ),
    "prefix of a role alone": (
        "small",
        gives(engines_prefix="/srv/engines"),
        ("engines_prefix is /srv/engines", "canopsis_prefix in its place", "engines_prefix"),
    ),
    "relative prefix": ("small", gives(canopsis_prefix="canopsis"), ("'canopsis'", "an absolute", "canopsis_prefix")),
    "prefix /": ("small", gives(canopsis_prefix="/"), ("'/'", "only the site lives in", "canopsis_prefix")),
    "prefix of others": ("large", gives(canopsis_prefix="/opt/"), ("'/opt/'", "only the site", "canopsis_prefix")),
    "long prefix": ("local", gives(canopsis_prefix="/" + 90 * "p"), ("ppp", "at most 83 bytes", "canopsis_prefix")),
    "user root": ("small", gives(canopsis_user="root"), ("'root'", "an ordinary user", "canopsis_user")),
    "no name of a user": (
        "large",
        gives(canopsis_user="a user"),
        ("'a user'", "without blanks, colons", "canopsis_user"),
    ),
    "differs": (
        "large",
        gives_to("engine2", canopsis_prefix="/srv/canopsis"),
        ("/ engine2", "one value for all", "canopsis_prefix"),
    ),
    "unknown mode": ("small", gives(rabbitmq_ha_mode="ha"), ("'ha'", "one of quorum, classic", "rabbitmq_ha_mode")),
    "unknown provider": (
        "large",
        gives(webserver_providers=["local", "ldap"]),
        ("['local', 'ldap']", "one of local, authkey", "webserver_providers"),
    ),
    "no partitions": ("small", gives(engines_partitions=0), ("0", "1 or more", "engines_partitions")),
    "partitions no number": (
        "small",
        gives(engines_partitions="eight"),
        ("'eight'", "a whole number", "engines_partitions"),
    ),
    "negative workers": ("large", gives(webserver_workers=-2), ("-2", "1 or more", "webserver_workers")),
    "negative time": ("large", gives(mongodb_stop_seconds=-1), ("-1", "0 or more", "mongodb_stop_seconds")),
    "share of more than all": (
        "large",
        gives(rabbitmq_memory_watermark=30),
        ("30", "from 0.05 to 1", "rabbitmq_memory_watermark"),
    ),
    "no size": (
        "large",
        gives(rabbitmq_disk_free_limit="lots"),
        ("'lots'", "a size such as", "rabbitmq_disk_free_limit"),
    ),
    "archive missing": (
        "large",
        gives(mongodb_source="archive"),
        ("mongodb_source is archive", "mongodb-linux-….tgz", "mongodb_archive"),
    ),
    # the secrets
    "known to all": (
        "small",
        gives(rabbitmq_admin_password="guest"),
        ("another value", "cannot be guessed", "rabbitmq_admin_password"),
    ),
    "no base64": ("small", gives(mongodb_keyfile="a-b-c-d"), ("another value", "of base64", "mongodb_keyfile")),
    "short cookie": (
        "small",
        gives(rabbitmq_erlang_cookie="SHORT"),
        ("another value", "20 to 255 letters", "rabbitmq_erlang_cookie"),
    ),
    "blank at an end": (
        "large",
        gives(rabbitmq_collectd_password="closed "),
        ("another value", "without blanks at its ends", "rabbitmq_collectd_password"),
    ),
    "two lines": (
        "small",
        gives(mongodb_engines_password="first\nsecond"),
        ("another value", "without control characters", "mongodb_engines_password"),
    ),
    "key of blanks": (
        "small",
        gives(webserver_admin_authkey="sixteen or more signs"),
        ("another value", "signs of ASCII", "webserver_admin_authkey"),
    ),
    "each host makes its own": (
        "small",
        gives(environment_secrets_generate=True),
        ("each of 3 hosts", "secrets init", "environment_secrets_generate"),
    ),
    # the chain
    "unknown engine": (
        "large",
        gives(engines_chain=[*DEFAULT_CHAIN, {"name": "alarms"}]),
        ("unknown engine alarms", "alarm", "engines_chain"),
    ),
    "engine after none": ("small", chain("context", next=["alrm"]), ("followed by alrm", "alarm", "engines_chain")),
    "next is no list": ("small", chain("context", next="alarm"), ("next of context", "a list", "engines_chain")),
    "circle": (
        "small",
        chain("eventstore", next=["context"]),
        ("context -> alarm -> notification -> perfdata", "an end", "engines_chain"),
    ),
    "minus one instance": ("large", chain("alarm", instances=-1), ("of alarm: -1", "from 1", "engines_chain")),
    "instances of no process": (
        "large",
        gives(engines_instances={"alarm": 2}),
        ("alarm is an engine", "worker, the process", "engines_instances"),
    ),
    "settings of no engine": (
        "small",
        gives(engines_settings={"alarms": {"beat_interval": "9s"}}),
        ("unknown engine alarms", "alarm", "engines_settings"),
    ),
    "circle by a setting": (
        "large",
        gives(engines_settings={"eventstore": {"next": ["alarm"]}}),
        ("alarm -> notification -> perfdata -> eventstore", "an end", "engines_chain"),
    ),
    "own type is none": (
        "large",
        gives(collectd_types_db=[{"name": "ups", "content": "ups value:GAUGE:0:U\nups_power in:GUAGE:0:U\n"}]),
        ("ups line 2: ups_power in:GUAGE:0:U", "my_type value:GAUGE:0:U", "collectd_types_db"),
    ),
    "instances differ": ("large", chain("alarm", instances=4), ("worker: 1 and 4", "as many", "engines_chain")),
}


def refusals(filters: Filters, folder: Path, case: str) -> list[dict[str, str]]:
    """Return the errors of a sample after the change of ``case``."""
    sample, change, _ = BROKEN[case]
    copy = folder / sample
    shutil.copytree(ROOT / "inventories" / sample, copy)
    change(copy)
    rows = filters["canopsis_inventory_findings"](*read(copy), False)
    return [row for row in rows if row["level"] == "error"]


def message(row: Mapping[str, str]) -> str:
    """Return a finding as its line of the table."""
    return " | ".join((row["host"], row["check"], row["found"], row["needed"], row["variable"]))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_inventory_is_refused_naming_what_is_wrong(filters: Filters, tmp_path: Path, case: str) -> None:
    said = [message(row) for row in refusals(filters, tmp_path, case)]
    words = BROKEN[case][2]
    assert any(all(word in line for word in words) and line.endswith(words[-1]) for line in said), said


def test_each_has_a_message_that_no_other_has(filters: Filters, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    said: dict[str, set[str]] = {}
    for number, case in enumerate(BROKEN):
        said[case] = {message(row) for row in refusals(filters, tmp_path / str(number), case)}
        counts.update(said[case])
    assert [case for case, lines in said.items() if not any(counts[line] == 1 for line in lines)] == []
    assert len(said) >= MANY


def test_every_sample_is_broken_in_some_way() -> None:
    assert {sample for sample, _, _ in BROKEN.values()} == set(SAMPLES)
