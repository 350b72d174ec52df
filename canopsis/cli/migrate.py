"""``canopsis migrate``: the database in this release's shape."""

from __future__ import annotations

from collections.abc import Sequence

from canopsis.cli.common import DONE, command_that_goes_on, own_prefix, parser, say, show_json
from canopsis.ops import settings
from canopsis.store import client, migrations

EXAMPLES = """
canopsis migrate           collections, indexes, times to live, changes of documents; a second run changes nothing
canopsis migrate --json    {"changed": false, "version": 1, "changes": []}
"""


@command_that_goes_on
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis migrate``; return its exit code."""
    parse = parser("canopsis migrate", "Bring the database to this release's shape.", EXAMPLES)
    parse.add_argument("--json", action="store_true", help="print JSON")
    args = parse.parse_args(argv)
    prefix = own_prefix()
    with client.opened(settings.storage(prefix, "engines")) as db:
        changes = migrations.ensure(db, settings.retention(prefix))
    if args.json:
        show_json({"changed": bool(changes), "version": migrations.VERSION, "changes": changes})
    else:
        say("\n".join([*changes, "changed"]) if changes else f"unchanged (version {migrations.VERSION})")
    return DONE
