"""``hypcontrol``: everything this host runs."""

from __future__ import annotations

from collections.abc import Sequence

from canopsis.cli import service
from canopsis.cli.common import DONE, NOT_DONE, command_that_goes_on, own_prefix, parser, say
from canopsis.ops import services, site

EXAMPLES = """
hypcontrol start      backend, middleware, frontend of etc/hypcontrol.conf; those that run are left alone
hypcontrol status     exit code 0: everything runs; 1: something does not
hypcontrol stop       everything in reverse, then supervisord
"""


@command_that_goes_on
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``hypcontrol``; return its exit code."""
    parse = parser("hypcontrol", "Start, stop or look at everything this host runs.", EXAMPLES)
    parse.add_argument("verb", choices=("start", "stop", "restart", "status"), metavar="start|stop|restart|status")
    parse.add_argument(
        "--timeout", type=float, default=services.START_TIMEOUT, help="seconds one start may take (%(default)g)"
    )
    parse.add_argument("--json", action="store_true", help="print the status as JSON")
    args = parse.parse_args(argv)
    prefix = own_prefix()
    if args.verb == "status":
        names = [name for step in site.steps_of_host(prefix) for name in step.services]
        return service.show([state for name in names for state in services.status(prefix, name)], as_json=args.json)
    good = site.stop(prefix, say) if args.verb in ("stop", "restart") else True
    if args.verb in ("start", "restart"):
        good = site.start(prefix, say, args.timeout) and good
    return DONE if good else NOT_DONE
