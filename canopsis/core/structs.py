"""What msgspec needs before threads use a struct, and what it does not say of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect

STEPS = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
"""The steps of a path in msgspec's errors, ``$.actions[0].type``: a name or an index each."""

_OWN = re.compile(r"Object (contains unknown|missing required) field `(.*)`")


def prepare(*types: type[msgspec.Struct]) -> None:
    """Have msgspec build its tables of ``types`` now, once, while one thread runs.

    It builds them when a type is first converted, and lets other threads in while it does: a second thread that
    converts to the same type then reads a table half made, and the process ends with SIGSEGV (msgspec 0.22).
    """
    for each in types:
        msgspec.json.Decoder(each)


def refusal(error: msgspec.ValidationError, document: object, struct: type[msgspec.Struct]) -> tuple[str, object, str]:
    """Return which field is wrong (none: the whole), what was given and what is allowed.

    msgspec says it in its text alone: ``what - at `$.path```, where *what* may name a field that is missing or unknown.
    """
    what, _, path = str(error).partition(" - at `$")
    # Of a key of an object msgspec tells nothing but ``[...]``.
    path = path.partition("[...]")[0].rstrip("`")
    own = _OWN.fullmatch(what)
    whole, path = path, f"{path}.{own[2]}" if own else path
    if own and own[1] == "contains unknown":
        allowed = "the fields " + ", ".join(_names(struct, whole))
    else:
        allowed = _said(struct, path) or ", ".join(choices(struct, path)) or what[:1].lower() + what[1:]
    return path.lstrip("."), _value_at(document, path), allowed


def _value_at(document: object, path: str) -> object:
    value: Any = document
    for name, index in STEPS.findall(path):
        value = value[int(index)] if index else value.get(name)
    return value


def choices(struct: type[msgspec.Struct], path: str) -> list[str]:
    """Return what may stand at ``path`` of ``struct``, where only certain words may."""
    kinds = _kinds_at(struct, STEPS.findall(path))
    return [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]


def _kinds_at(struct: type[msgspec.Struct], steps: Sequence[tuple[str, str]]) -> list[inspect.Type]:
    kinds = list(_plain(inspect.type_info(struct)))
    for name, index in steps:
        kinds = [inner for kind in kinds for inner in (_item(kind) if index else _field(kind, name))]
    return kinds


def _names(struct: type[msgspec.Struct], path: str) -> dict[str, None]:
    """Return the names of the fields of what may stand at ``path``."""
    kinds = _kinds_at(struct, STEPS.findall(path))
    return {each.encode_name: None for kind in kinds if isinstance(kind, inspect.StructType) for each in kind.fields}


def _said(struct: type[msgspec.Struct], path: str) -> str:
    """Return what the field at ``path`` says of itself: ``allowed`` of the extra of its ``msgspec.Meta``."""
    *before, (last, _) = STEPS.findall(path) or [("", "")]
    for kind in _kinds_at(struct, before):
        for each in kind.fields if isinstance(kind, inspect.StructType) else ():
            if each.encode_name == last and isinstance(each.type, inspect.Metadata):
                return str((each.type.extra or {}).get("allowed", ""))
    return ""


def _plain(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the types that ``kind`` may be, without what is said about them."""
    if isinstance(kind, inspect.Metadata):
        yield from _plain(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _plain(each)
    else:
        yield kind


def _item(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.ListType):
        yield from _plain(kind.item_type)


def _field(kind: inspect.Type, name: str) -> Iterator[inspect.Type]:
    if not isinstance(kind, inspect.StructType):
        return
    if name == kind.tag_field:
        tag: Any = kind.tag
        yield inspect.LiteralType((tag,))
    for field in kind.fields:
        if field.encode_name == name:
            yield from _plain(field.type)
