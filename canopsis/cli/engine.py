"""``canopsis engine run``: one engine process, as supervisord starts it."""

from __future__ import annotations

from collections.abc import Sequence

from canopsis.cli.common import command, own_prefix, parser
from canopsis.engines.registry import REGISTRY
from canopsis.errors import ConfigError
from canopsis.ops import settings
from canopsis.ops.ini import nearest
from canopsis.runtime import process

EXAMPLES = """
canopsis engine run worker
canopsis engine run worker --instance 2
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis engine``; return the exit code of the process."""
    parse = parser("canopsis engine", "Run the engines of one process until SIGTERM.", EXAMPLES)
    parse.add_argument("verb", choices=("run",), metavar="run")
    parse.add_argument("process", metavar="PROCESS", help="a process= of etc/amqp2engines.conf")
    parse.add_argument("--instance", type=int, default=1, metavar="N", help="which instance on this host (%(default)s)")
    args = parse.parse_args(argv)
    told = settings.process(own_prefix(), args.process, args.instance)
    known = told.chain.processes()
    if args.process not in known:
        hint = nearest(args.process, known, what="processes")
        raise ConfigError(f"etc/amqp2engines.conf: no engine has process={args.process}; {hint}")
    return process.main(told, REGISTRY)
