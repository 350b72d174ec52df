"""collectd's types.db: the parser, and the table that comes with Canopsis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canopsis.errors import ConfigError
from canopsis.sources.types_db import KINDS, DataSource, default_types, parse_types


def test_a_type_has_data_sources_with_kind_and_bounds() -> None:
    text = "load  shortterm:GAUGE:0:5000, midterm:GAUGE:0:5000\nif_octets\trx:DERIVE:0:U,tx:DERIVE:0:U\n"
    assert parse_types(text) == {
        "load": (DataSource("shortterm", "GAUGE", 0, 5000), DataSource("midterm", "GAUGE", 0, 5000)),
        "if_octets": (DataSource("rx", "DERIVE", 0, None), DataSource("tx", "DERIVE", 0, None)),
    }


def test_comments_and_blank_lines_are_no_types() -> None:
    assert parse_types("\n# a comment\n  \ncpu value:derive:0:U # of a core\n") == {
        "cpu": (DataSource("value", "DERIVE", 0, None),)
    }


def test_a_later_line_replaces_an_earlier_one() -> None:
    assert parse_types("a v:GAUGE:U:U\na w:GAUGE:U:1.5")["a"] == (DataSource("w", "GAUGE", None, 1.5),)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a", 1),
        ("a v:GAUGE:0:U\nb", 2),
        ("a v", 1),
        ("a v:GAUGE:0", 1),
        ("a v:GAUGE:0:1:2", 1),
        ("a :GAUGE:0:U", 1),
        ("a v:HISTOGRAM:0:U", 1),
        ("a v:GAUGE:x:U", 1),
        ("a v:GAUGE:0:", 1),
    ],
)
def test_a_line_that_is_none_is_named(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"types\.db line {line}:"):
        parse_types(text)


@given(st.text(alphabet="ab:,U01# \t\nGAUGE", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        types = parse_types(text)
    except ConfigError:
        return
    assert all(sources for sources in types.values())


def test_the_table_that_comes_along_has_all_types() -> None:
    types = default_types()
    assert len(types) > 350
    assert types is default_types()


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("load", [("shortterm", "GAUGE"), ("midterm", "GAUGE"), ("longterm", "GAUGE")]),
        ("cpu", [("value", "DERIVE")]),
        ("memory", [("value", "GAUGE")]),
        ("if_octets", [("rx", "DERIVE"), ("tx", "DERIVE")]),
        ("disk_ops", [("read", "DERIVE"), ("write", "DERIVE")]),
        ("df", [("used", "GAUGE"), ("free", "GAUGE")]),
        ("counter", [("value", "COUNTER")]),
        ("absolute", [("value", "ABSOLUTE")]),
        ("temperature", [("value", "GAUGE")]),
        ("percent", [("value", "GAUGE")]),
    ],
)
def test_well_known_types_are_there(name: str, sources: list[tuple[str, str]]) -> None:
    assert [(source.name, source.kind) for source in default_types()[name]] == sources


def test_every_type_of_the_table_is_well_formed() -> None:
    for name, sources in default_types().items():
        assert name.isprintable()
        assert "-" not in name
        assert len({source.name for source in sources}) == len(sources)
        for source in sources:
            assert source.kind in KINDS
            assert source.min is None or source.max is None or source.min < source.max
