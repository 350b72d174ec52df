"""What a rule of type ``enrich`` does to an event, action by action. One declaration an action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from canopsis.core import regex
from canopsis.core.rules.draft import EventDraft, Target
from canopsis.core.rules.table import Tables
from canopsis.core.template import Template
from canopsis.errors import InputError, RuleFailure, shorten

Do = Callable[[EventDraft], None]
"""Changes a draft; raises RuleFailure."""

_SOURCES = "the path of a field, such as output or extra.name"


class _Action(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """An action: its fields, and ``ready``.

    ``ready`` returns what it does, and raises InputError for what cannot be, naming what stands under ``where``.
    """


class Set(_Action, tag="set"):
    """``field`` becomes ``value``."""

    field: str
    value: Any

    def ready(self, where: str, tables: Tables) -> Do:  # noqa: ARG002 - the declaration's
        """Return what it does."""
        target, value = Target(self.field, f"{where}.field"), self.value
        return lambda draft: draft.write(target, value)


class Append(_Action, tag="append"):
    """``value`` is added to the list ``field``, unless it is there."""

    field: str
    value: Any

    def ready(self, where: str, tables: Tables) -> Do:  # noqa: ARG002 - the declaration's
        """Return what it does."""
        target, value = Target(self.field, f"{where}.field"), self.value

        def do(draft: EventDraft) -> None:
            found = _list_at(draft, target)
            draft.write(target, found if value in found else [*found, value])

        return do


class Remove(_Action, tag="remove"):
    """``field`` goes, or ``value`` of the list that it is; where there is none nothing happens."""

    field: str
    value: Any = None

    def ready(self, where: str, tables: Tables) -> Do:  # noqa: ARG002 - the declaration's
        """Return what it does."""
        target, value = Target(self.field, f"{where}.field"), self.value
        if value is None:
            return lambda draft: draft.remove(target)
        return lambda draft: draft.write(target, [item for item in _list_at(draft, target) if item != value])


def _list_at(draft: EventDraft, target: Target) -> list[Any]:
    try:
        found = draft.read(target.path)
    except RuleFailure:
        return []
    if not isinstance(found, list):
        raise RuleFailure(f"{target.path}: {shorten(found)} is not a list")
    return found


class Copy(_Action, tag="copy", rename={"source": "from"}):
    """``field`` becomes what the field ``from`` is."""

    source: str
    field: str

    def ready(self, where: str, tables: Tables) -> Do:  # noqa: ARG002 - the declaration's
        """Return what it does."""
        source, target = _source(self.source, where), Target(self.field, f"{where}.field")
        return lambda draft: draft.write(target, draft.read(source))


def _source(path: str, where: str) -> str:
    if not all(path.split(".")):
        raise InputError(f"{where}.from", path, _SOURCES)
    return path


class Fill(_Action, tag="template"):
    """``field`` becomes the text that ``template`` makes."""

    field: str
    template: str

    def ready(self, where: str, tables: Tables) -> Do:  # noqa: ARG002 - the declaration's
        """Return what it does."""
        target, template = Target(self.field, f"{where}.field"), Template(self.template, f"{where}.template")
        return lambda draft: draft.write(target, template.render(draft.values()))


class Search(_Action, tag="regex", rename={"source": "from"}):
    """Each named group of ``regex``, found in ``from``, becomes the field of its name, or that in ``fields``."""

    source: str
    regex: str
    fields: dict[str, str] = {}

    def ready(self, where: str, tables: Tables) -> Do:  # noqa: ARG002 - the declaration's
        """Return what it does."""
        source, compiled = _source(self.source, where), regex.compile(self.regex, f"{where}.regex")
        if not compiled.names:
            raise InputError(f"{where}.regex", self.regex, "at least one named group, (?P<name>…)")
        unknown = sorted(self.fields.keys() - set(compiled.names))
        if unknown:
            raise InputError(f"{where}.fields", unknown[0], f"names of groups: {', '.join(compiled.names)}")
        targets = {name: Target(self.fields.get(name, name), f"{where}.fields.{name}") for name in compiled.names}
        return lambda draft: _keep_groups(draft, source, compiled, targets)


def _keep_groups(draft: EventDraft, source: str, compiled: regex.Regex, targets: dict[str, Target]) -> None:
    value = draft.read(source)
    groups = compiled.groups(value) if isinstance(value, str) else None
    if groups is None:
        raise RuleFailure(f"{source}: {shorten(value)} does not match {shorten(compiled.text)}")
    for name, text in groups.items():
        draft.write(targets[name], text)


class Tags(_Action, tag="tags"):
    """Tags that are added, each a template, and tags that go."""

    add: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    remove: Annotated[list[str], msgspec.Meta(max_length=100)] = []

    def ready(self, where: str, tables: Tables) -> Do:  # noqa: ARG002 - the declaration's
        """Return what it does."""
        if not self.add and not self.remove:
            raise InputError(where, "neither", "add or remove, or both")
        added = [Template(text, f"{where}.add[{place}]") for place, text in enumerate(self.add)]
        target, gone = Target("tags", where), list(self.remove)

        def do(draft: EventDraft) -> None:
            values = draft.values()
            kept = [tag for tag in _list_at(draft, target) if tag not in gone]
            draft.write(target, [*kept, *(template.render(values) for template in added)])

        return do


class Lookup(_Action, tag="lookup"):
    """The row of ``table`` whose key the template ``key`` makes: each of ``fields`` (column: field) is set from it.

    Without such a row, or column, the rule fails, unless it is ``optional``.
    """

    table: str
    key: str
    fields: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    optional: bool = False

    def ready(self, where: str, tables: Tables) -> Do:
        """Return what it does. A table that is not there yet fails when the rule is used."""
        key = Template(self.key, f"{where}.key")
        targets = {column: Target(field, f"{where}.fields.{column}") for column, field in self.fields.items()}
        rows = tables.get(self.table)

        def do(draft: EventDraft) -> None:
            if rows is None:
                raise RuleFailure(f"there is no table {self.table}")
            wanted = key.render(draft.values())
            row = rows.get(wanted, {})
            for column, target in targets.items():
                if column in row:
                    draft.write(target, row[column])
                elif not self.optional:
                    raise RuleFailure(f"table {self.table} has no {column} for {shorten(wanted)}")

        return do


Action = Set | Append | Remove | Copy | Fill | Search | Tags | Lookup
