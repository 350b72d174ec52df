"""``canopsis engine``: one engine process, as supervisord starts it; a host that will not come back."""

from __future__ import annotations

from collections.abc import Sequence

from canopsis.cli.common import DONE, command, own_prefix, parser, say
from canopsis.engines import registry
from canopsis.errors import ConfigError, InputError
from canopsis.ops import settings
from canopsis.ops.ini import nearest
from canopsis.ops.prefix import Prefix
from canopsis.runtime import process
from canopsis.store import client, leases

EXAMPLES = """
canopsis engine run worker
canopsis engine run worker --instance 2
canopsis engine forget host3     its engine processes are gone for good: status misses them no more
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis engine``; return the exit code of the process."""
    parse = parser("canopsis engine", "Run the engines of one process until SIGTERM, or forget a host.", EXAMPLES)
    parse.add_argument("verb", choices=("run", "forget"), metavar="run|forget")
    parse.add_argument("name", metavar="PROCESS|HOST", help="a process= of etc/amqp2engines.conf; a host of the site")
    parse.add_argument("--instance", type=int, default=1, metavar="N", help="which instance on this host (%(default)s)")
    args = parse.parse_args(argv)
    if args.verb == "forget":
        return _forget(own_prefix(), args.name)
    told = settings.process(own_prefix(), args.name, args.instance)
    known = told.chain.processes()
    if args.name not in known:
        hint = nearest(args.name, known, what="processes")
        raise ConfigError(f"etc/amqp2engines.conf: no engine has process={args.name}; {hint}")
    found = registry.found()
    return process.main(told, found.things, found.broken)


def _forget(prefix: Prefix, host: str) -> int:
    with client.opened(settings.storage(prefix, "engines")) as db:
        known = sorted({str(found["host"]) for found in leases.all_instances(db)})
        count = leases.forget_host(db, host)
    if not count:
        raise InputError("HOST", host, nearest(host, known, what="hosts of engine processes"))
    say(f"{host}: {count} engine processes forgotten; one that still runs comes back by itself")
    return DONE
