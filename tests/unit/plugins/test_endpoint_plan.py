"""URLs of clusters that are not ours: what they say, and why some are refused."""

from __future__ import annotations

from urllib.parse import quote

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
        ("b1:5672", "amqp", "begins otherwise than allowed: amqp:// or amqps://"),
        ("http://b1", "amqp", "allowed: amqp:// or amqps://"),
        ("amqp://d1", "mongodb", "allowed: mongodb://"),
        ("mongodb+srv://d1", "mongodb", "allowed: mongodb://"),
        ("amqp://user@b1", "amqp", "a user without a password"),
        ("amqp://b1:0", "amqp", "no port from 1 to 65535 at its host 1"),
        ("amqp://b1:port", "amqp", "no port from 1 to 65535 at its host 1"),
        ("amqp://b0,b1:65536", "amqp", "no port from 1 to 65535 at its host 2"),
        ("amqp://b1,,b2", "amqp", "no name or address as its host 2"),
        ("amqp://:5672", "amqp", "no name or address as its host 1"),
        ("amqp://b1/v?heartbeat=3", "amqp", "an option that is not allowed; allowed: none"),
        ("mongodb://d1/?ssl=true", "mongodb", "allowed; allowed: authSource, replicaSet, tls"),
    ],
)
def test_other_urls_are_refused(url: str, kind: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse(url, kind)
    assert why in str(refused.value)


UNESCAPED = [
    "se/xsecret",
    "se?xsecret",
    "se#xsecret",
    "12#34secret",
    "12?34secret=se",
    "12/34secret",
    "se%xsecret",
    "se%",
    "12%zz34secret",
    "[se]/secret",
    "se cret/xsecret",
    "se\nxsecret",
    "secret/a@se",
    "secret%0A",
    "%20secret",
    "secret%ff",
    "se\u2100xsecret/",
    "se://xsecret/",
]


@pytest.mark.parametrize("password", UNESCAPED)
@pytest.mark.parametrize(("scheme", "kind"), [("amqp", "amqp"), ("amqps", "amqp"), ("mongodb", "mongodb")])
def test_d6_no_part_of_a_password_that_is_not_encoded_is_shown(scheme: str, kind: str, password: str) -> None:
    with pytest.raises(ValueError, match=r"%|line break") as refused:
        parse(f"{scheme}://user:{password}@b1:5672/canopsis", kind)
    assert not any(part in str(refused.value) for part in ("secret", "'se'", "'12'", "b1", "canopsis"))


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:se/xsecret",
        "amqp://xsecret:se@b1:5672?xsecret",
        "amqp://user:hidden@b1:99999",
        "amqp://user:hidden@b1:secret",
        "amqp://user:hidden@b1,/canopsis",
        "user:xsecret://se@b1",
        "xsecret",
    ],
)
def test_d6_nothing_of_a_url_is_quoted(url: str) -> None:
    with pytest.raises(ValueError, match=r"allowed|%") as refused:
        parse(url, "amqp")
    assert not any(each in str(refused.value) for each in ("xsecret", "'se'", "hidden", "99999", "b1"))


@pytest.mark.parametrize(
    "password", ['a"b', "p@ss", ":", "/", "#?", "a b", "%41", "$HOME;", "back\\slash", "é", "12#34"]
)
def test_d6_whatever_is_percent_encoded_is_taken(password: str) -> None:
    found = parse(f"amqp://user:{quote(password, safe='')}@b1", "amqp")
    assert found["password"] == password
