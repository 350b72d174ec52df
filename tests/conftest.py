"""For every stage: its slowest tests, shown at its end."""

from __future__ import annotations

from collections import defaultdict

import pytest

SHOWN = 10


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how long the slowest tests took, what they asked for and left behind included."""
    took: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.nodeid] += report.duration
    if not took:
        return
    terminalreporter.write_sep("=", "slowest tests, in seconds")
    for name, seconds in sorted(took.items(), key=lambda item: -item[1])[:SHOWN]:
        terminalreporter.write_line(f"{seconds:8.2f}  {name}")
