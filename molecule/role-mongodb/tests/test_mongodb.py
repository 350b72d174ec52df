"""The role mongodb: a replica set with its users, closed to everybody else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import site_hosts as site

SCRIPT = """
import json, sys, urllib.parse
from pymongo import MongoClient
from pymongo.errors import OperationFailure
name, secret, code = sys.argv[1:]
login = f'{name}:{urllib.parse.quote(secret, safe="")}@' if name else ''
client = MongoClient(f'mongodb://{login}127.0.0.1:27017/?directConnection=true')
try:
    print(json.dumps(eval(code, {'client': client}), default=str))
except OperationFailure as error:
    print(json.dumps(f'refused: {error.code}'))
"""
UNAUTHORIZED, WRONG_PASSWORD = "refused: 13", "refused: 18"


def ask(host: Any, name: str, secret: str, code: str) -> Any:
    """Return the value of an expression with ``client``, logged in as ``name``; why not when it is refused."""
    done = host.run(f"{site.PYTHON} - %s %s %s <<'END'\n{SCRIPT}END\n", name, secret, code)
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_primary_of_its_set(host: Any, place: site.Place) -> None:
    assert site.members(host, place.variables["mongodb_admin_password"]) == {"site1:27017": "PRIMARY"}
    assert site.programs(host) == {"mongodb": "RUNNING"}


@pytest.mark.parametrize(
    ("name", "secret", "refusal"),
    [("", "", UNAUTHORIZED), ("admin", "wrong", WRONG_PASSWORD), ("engines", "", WRONG_PASSWORD)],
)
def test_strangers_are_refused(host: Any, name: str, secret: str, refusal: str) -> None:
    if name and not secret:
        secret = "guessed"  # noqa: S105 - what a stranger tries
    assert ask(host, name, secret, "client.admin.command('listDatabases')") == refusal


@pytest.mark.parametrize("user", ["engines", "webserver"])
def test_a_service_writes_its_database_and_no_other(host: Any, place: site.Place, user: str) -> None:
    secret = place.variables[f"mongodb_{user}_password"]
    assert ask(host, user, secret, "client.canopsis.trial.insert_one({'_id': 1}).acknowledged") is True
    assert ask(host, user, secret, "client.canopsis.trial.drop()") is None
    assert ask(host, user, secret, "client.other.trial.insert_one({'_id': 1}).acknowledged") == UNAUTHORIZED
    assert ask(host, user, secret, "client.admin.command('usersInfo')") == UNAUTHORIZED


def test_it_runs_as_the_user_of_the_site(host: Any) -> None:
    assert host.process.get(comm="mongod").user == "canopsis"


@pytest.mark.parametrize(("path", "mode"), [("etc/mongodb.key", 0o400), ("var/lib/mongodb", 0o750)])
def test_its_key_and_its_data_are_its_own(host: Any, path: str, mode: int) -> None:
    file = host.file(f"{site.PREFIX}/{path}")
    assert (file.user, file.mode) == ("canopsis", mode)
