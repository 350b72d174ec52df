"""What msgspec needs before threads use a struct, and what it does not say of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

STEPS = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
"""The steps of a path in msgspec's errors, ``$.actions[0].type``: a name or an index each."""


def prepare(*types: type[msgspec.Struct]) -> None:
    """Have msgspec build its tables of ``types`` now, once, while one thread runs.

    It builds them when a type is first converted, and lets other threads in while it does: a second thread that
    converts to the same type then reads a table half made, and the process ends with SIGSEGV (msgspec 0.22).
    """
    for each in types:
        msgspec.json.Decoder(each)


def choices(struct: type[msgspec.Struct], path: str) -> list[str]:
    """Return what may stand at ``path`` of ``struct``, where only certain words may."""
    kinds = list(_plain(inspect.type_info(struct)))
    for name, index in STEPS.findall(path):
        kinds = [inner for kind in kinds for inner in (_item(kind) if index else _field(kind, name))]
    return [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]


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
