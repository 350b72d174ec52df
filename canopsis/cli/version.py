"""``canopsis version``."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata

from canopsis import __version__
from canopsis.cli.common import DONE, command, parser, say, show_json

EXAMPLES = """
canopsis version
canopsis version --json
"""

PARTS = ("kombu", "pymongo", "Flask", "gunicorn", "supervisor", "msgspec")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis version``; return its exit code."""
    parse = parser("canopsis version", "Show the version of Canopsis and of its parts.", EXAMPLES)
    parse.add_argument("--json", action="store_true", help="print JSON")
    args = parse.parse_args(argv)
    versions = {"canopsis": __version__, "python": platform.python_version()} | {n: metadata.version(n) for n in PARTS}
    if args.json:
        show_json(versions)
    else:
        say("\n".join(f"{name:<12}{version}" for name, version in versions.items()))
    return DONE
