"""The files as the settings of each room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs
from ops_scratch import SECRETS, change, write

from canopsis.api import settings as api_settings
from canopsis.api.resources import SERVICES
from canopsis.engines.alarm import AlarmOptions
from canopsis.engines.chain import default_chain
from canopsis.errors import ConfigError, SiteError
from canopsis.ops import config, settings
from canopsis.ops.model import AMQP, FILES, STORAGE
from canopsis.ops.prefix import Prefix
from canopsis.runtime.settings import EngineSettings
from canopsis.store.settings import Retention, StoreSettings
from canopsis.transport.settings import AmqpSettings


def test_the_brokers_of_a_service(prefix: Prefix) -> None:
    amqp = settings.amqp(prefix, "engines")
    assert amqp.hosts == (("127.0.0.1", 8083), ("broker2", 8083))
    assert (amqp.vhost, amqp.user, amqp.password) == ("canopsis", "engines", "engines-secret")
    assert (amqp.heartbeat, amqp.connect_timeout, amqp.write_timeout, amqp.tls) == (30, 5, 30, False)
    assert settings.amqp(prefix, "webserver").user == "webserver"


def test_the_brokers_with_tls(prefix: Prefix) -> None:
    change(prefix, "amqp.conf", "virtual_host = canopsis", "tls = yes\nca_file = /etc/ca.pem\nheartbeat = 1m")
    amqp = settings.amqp(prefix, "engines")
    assert (amqp.tls, amqp.ca_file, amqp.heartbeat, amqp.vhost) == (True, "/etc/ca.pem", 60, "canopsis")


def test_a_service_without_a_user_is_told(prefix: Prefix) -> None:
    change(prefix, "amqp.conf", "[engines]\nuserid = engines\npassword = engines-secret\n", "")
    with pytest.raises(ConfigError, match=r"etc/amqp.conf: section \[engines\] is missing"):
        settings.amqp(prefix, "engines")
    assert settings.amqp(prefix, "webserver").user == "webserver"


def test_the_database_of_a_service(prefix: Prefix) -> None:
    store = settings.storage(prefix, "webserver")
    assert store.hosts == (("127.0.0.1", 8087),)
    assert (store.replica_set, store.database, store.auth_source) == ("canopsis", "canopsis", "admin")
    assert (store.user, store.password) == ("webserver", "webserver-db-secret")
    assert (store.timeout, store.selection_timeout, store.connect_timeout, store.pool_size) == (10, 5, 3, 20)


def test_secrets_are_not_in_the_text_of_settings(prefix: Prefix) -> None:
    shown = repr((settings.amqp(prefix, "engines"), settings.storage(prefix, "engines")))
    shown += repr((settings.webserver(prefix), config.client(prefix)))
    assert not [secret for secret in SECRETS if secret in shown]


def test_how_long_documents_are_kept(prefix: Prefix) -> None:
    assert settings.retention(prefix) == Retention(events=7 * 86400)
    change(prefix, "storage.conf", "[retention]\nevents = 7d\n", "")
    assert settings.retention(prefix) == Retention()


def test_the_web_application(prefix: Prefix) -> None:
    web = settings.webserver(prefix)
    assert (web.secret, web.debug, web.providers, web.lifetime) == ("session-secret", True, ("authkey",), 3600)
    assert web.services == set(SERVICES) - {"metrics"}


def test_a_web_application_that_says_only_its_secret_has_the_defaults_of_its_room(prefix: Prefix) -> None:
    write(prefix, "webserver.conf", "[session]\nsecret = s\n")
    assert settings.webserver(prefix) == api_settings.WebSettings(secret="s")


def test_files_that_say_only_what_they_must_have_the_defaults_of_their_rooms(prefix: Prefix) -> None:
    write(prefix, "amqp.conf", "[master]\nhosts=a:1\n[engines]\nuserid=u\npassword=p\n")
    write(prefix, "storage.conf", "[master]\nhosts=a:1\n[engines]\nusername=u\npassword=p\n")
    write(prefix, "amqp2engines.conf", "[engine:alarm]\n")
    hosts = (("a", 1),)
    assert settings.amqp(prefix, "engines") == AmqpSettings(hosts=hosts, user="u", password="p")
    assert settings.storage(prefix, "engines") == StoreSettings(hosts=hosts, user="u", password="p")
    assert settings.retention(prefix) == Retention()
    (alarm,) = settings.chain(prefix).engines
    assert alarm == EngineSettings("alarm", options=alarm.options)
    assert alarm.options == structs.asdict(AlarmOptions())


def test_the_chain(prefix: Prefix) -> None:
    chain = settings.chain(prefix)
    assert chain.partitions == 4
    assert [engine.name for engine in chain.engines] == ["cleaner_events", "event_filter", "alarm", "eventstore"]
    cleaner = chain.engine("cleaner_events")
    assert (cleaner.process, cleaner.next, cleaner.beat_interval) == ("cleaner", ("event_filter",), 30)
    alarm = chain.engine("alarm")
    assert (alarm.process, alarm.instances) == ("worker", 1)
    assert alarm.options == {"resolve_delay": 300, "cancel_resolve_delay": 3600, "soft_states": False}
    assert cleaner.options == {}


def test_the_default_chain_of_the_runtime_can_be_written(prefix: Prefix) -> None:
    default = default_chain()
    text = "[engine:{}]\nprocess = {}\nnext = {}\nbeat_interval = {:g}\n"
    sections = [text.format(e.name, e.process, ",".join(e.next), e.beat_interval) for e in default.engines]
    write(prefix, "amqp2engines.conf", "".join(sections))
    chain = settings.chain(prefix)
    assert chain.partitions == default.partitions
    assert [(e.name, e.process, e.next, e.beat_interval) for e in chain.engines] == [
        (e.name, e.process, e.next, e.beat_interval) for e in default.engines
    ]


def test_what_a_process_is_told(prefix: Prefix) -> None:
    told = settings.process(prefix, "worker", 2)
    assert (told.process, told.instance) == ("worker", 2)
    assert (told.amqp.user, told.store.user) == ("engines", "engines")
    assert told.chain == settings.chain(prefix)


def test_the_way_to_the_api(prefix: Prefix) -> None:
    client = config.client(prefix)
    assert (client.urls, client.authkey, client.timeout) == (("http://127.0.0.1:8082",), "client-secret", 30)
    assert client.source == str(prefix.etc("client.conf"))


def test_a_client_conf_of_somebody_else_names_its_owner(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(SiteError, match=r"client.conf is for .* alone \(it holds a key\): run this as"):
        config.client(prefix)


def test_the_sections_of_a_host_keep_their_order(prefix: Prefix) -> None:
    write(prefix, "hypcontrol.conf", "[frontend]\nservices = webserver\n[backend]\nservices = mongodb\n")
    assert config.sections_of_host(prefix) == [
        ("backend", ("mongodb",)),
        ("middleware", ()),
        ("frontend", ("webserver",)),
    ]


def test_the_hosts_of_brokers(prefix: Prefix) -> None:
    assert config.amqp_hosts(prefix) == (("127.0.0.1", 8083), ("broker2", 8083))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_names_what_writes_it(prefix: Prefix, name: str) -> None:
    prefix.etc(name).unlink()
    with pytest.raises(ConfigError, match=f"etc/{name}: missing; site.yml writes it"):
        config.load(prefix, FILES[name])


def test_files_by_name() -> None:
    assert config.file_named("amqp.conf") is AMQP
    with pytest.raises(ConfigError, match=r"store.conf: no such file; files: .*did you mean storage.conf\?"):
        config.file_named("store.conf")


def test_a_problem_in_one_file_does_not_stop_others(prefix: Prefix) -> None:
    change(prefix, "storage.conf", "database = canopsis", "databas = x")
    with pytest.raises(ConfigError, match=r"etc/storage.conf \[master\] databas: unknown key"):
        settings.storage(prefix, "engines")
    assert config.look(prefix, STORAGE).sections["master"]["replica_set"] == "canopsis"
    assert settings.amqp(prefix, "engines").user == "engines"


def test_nothing_heavy_is_loaded_to_control_services() -> None:
    code = (
        "import sys, canopsis.cli.service, canopsis.cli.hypcontrol\n"
        "print(sorted({'pymongo', 'kombu', 'flask', 'amqp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"
