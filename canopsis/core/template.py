"""Templates of users, in the language of Jinja: fuel bounds what one may cost, and it reaches only what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minijinja import Environment, TemplateError

from canopsis.errors import InputError, RuleFailure, shorten

MAX_TEMPLATE = 4000
"""Characters of a template."""

FUEL = 20_000
"""Instructions that one rendering may take."""

_ALLOWED = f"a template of at most {MAX_TEMPLATE} characters"
_TAKEN = "self"
"""A name that no value can have: it is the method's own."""

_SIGNS = ("{{", "{%", "{#")


def _environment() -> Environment:
    # pycompat and format would take a width: a gigabyte for one short text, whatever the fuel.
    environment = Environment(fuel=FUEL, undefined_behavior="strict", debug=False, pycompat=False)
    environment.remove_filter("format")
    return environment


_ENVIRONMENT = _environment()


class Template:
    """A text with places to fill; one without any is itself."""

    __slots__ = ("_fixed", "_text")

    def __init__(self, text: object, path: str) -> None:
        """Raise InputError, which names ``path``, for what is no template."""
        if type(text) is not str or len(text) > MAX_TEMPLATE:
            raise InputError(path, text, _ALLOWED)
        self._text = text
        self._fixed = not any(sign in text for sign in _SIGNS)
        try:
            _ENVIRONMENT.undeclared_variables_in_str(text)
        except (TemplateError, UnicodeError) as error:
            raise InputError(path, text, f"{_ALLOWED} ({_first_line(error)})") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with ``values`` filled in. Raises RuleFailure."""
        if self._fixed:
            return self._text
        try:
            return _ENVIRONMENT.render_str(self._text, **{name: values[name] for name in values if name != _TAKEN})
        except TemplateError as error:
            raise RuleFailure(f"template {shorten(self._text)}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
