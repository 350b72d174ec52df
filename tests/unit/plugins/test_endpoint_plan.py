"""URLs of clusters that are not ours: what they say, and why some are refused."""

from __future__ import annotations

import pytest
from ansible.module_utils.canopsis_endpoint import parse


def parts(*hosts: str, user: str = "", password: str = "", name: str = "", tls: bool = False) -> dict[str, object]:
    """Return what parse says of a URL without options."""
    return {"hosts": list(hosts), "user": user, "password": password, "name": name, "tls": tls, "options": {}}


@pytest.mark.parametrize(
    ("url", "kind", "expected"),
    [
        ("amqp://b1", "amqp", parts("b1:5672")),
        ("amqp://b1,b2:5673/site", "amqp", parts("b1:5672", "b2:5673", name="site")),
        ("amqps://b1/a%2Fb", "amqp", parts("b1:5671", name="a/b", tls=True)),
        ("amqp://u:p%40s@b1", "amqp", parts("b1:5672", user="u", password="p@s")),
        ("mongodb://d1,d2,d3/canopsis", "mongodb", parts("d1:27017", "d2:27017", "d3:27017", name="canopsis")),
    ],
)
def test_a_url_says_where_and_who(url: str, kind: str, expected: dict[str, object]) -> None:
    assert parse(url, kind) == expected


def test_the_options_of_mongodb() -> None:
    found = parse("mongodb://d1/db?replicaSet=rs&authSource=people&tls=true", "mongodb")
    assert found["options"] == {"replicaSet": "rs", "authSource": "people", "tls": "true"}
    assert found["tls"] is True


@pytest.mark.parametrize(
    ("url", "kind", "why"),
    [
        ("b1:5672", "amqp", "begins with 'no scheme'"),
        ("http://b1", "amqp", "allowed: amqp:// or amqps://"),
        ("amqp://d1", "mongodb", "allowed: mongodb://"),
        ("mongodb+srv://d1", "mongodb", "begins with 'mongodb"),
        ("amqp://user@b1", "amqp", "a user without a password"),
        ("amqp://b1:0", "amqp", "gives b1 the port '0'"),
        ("amqp://b1:port", "amqp", "gives b1 the port 'port'"),
        ("amqp://b1:65536", "amqp", "allowed: 1 to 65535"),
        ("amqp://b1,,b2", "amqp", "names a host ''"),
        ("amqp://:5672", "amqp", "names a host ''"),
        ("amqp://b1/v?heartbeat=3", "amqp", "has the option heartbeat; allowed: none"),
        ("mongodb://d1/?ssl=true", "mongodb", "has the option ssl; allowed: authSource, replicaSet, tls"),
    ],
)
def test_other_urls_are_refused(url: str, kind: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse(url, kind)
    assert why in str(refused.value)


def test_a_refusal_never_has_the_password() -> None:
    with pytest.raises(ValueError, match=r"port") as refused:
        parse("amqp://user:hidden@b1:99999", "amqp")
    assert "hidden" not in str(refused.value)
