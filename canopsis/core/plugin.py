"""The output of a monitoring plugin: ``text | perf data``, then long text, ``|``, and more perf data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PluginOutput:
    """The parts of a plugin's output; ``perf_data`` is one string, not parsed."""

    output: str
    long_output: str
    perf_data: str


def parse_output(text: str) -> PluginOutput:
    """Return the parts of ``text``. Every text has them: nothing is raised.

    The first line is output up to a ``|``, perf data after it. Further lines are long output up to
    the next ``|``, after which all is perf data.
    """
    first, _, more = text.replace("\r\n", "\n").strip("\n").partition("\n")
    output, _, perf = first.partition("|")
    long_output, _, long_perf = more.partition("|")
    perf_data = " ".join(f"{perf} {long_perf}".split("\n"))
    return PluginOutput(output.strip(), long_output.strip(), perf_data.strip())
