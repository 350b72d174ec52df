"""What all commands share: parsers, errors as exit codes, output."""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from canopsis.errors import CanopsisError, ConfigError, InputError
from canopsis.ops.prefix import Prefix, become_owner

DONE = 0
NOT_DONE = 1
USAGE = 2

Main = Callable[[Sequence[str] | None], int]


def parser(prog: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return a parser whose help ends with ``examples``, one a line."""
    epilog = "examples:\n" + "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())
    return argparse.ArgumentParser(
        prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def command(main: Main) -> Main:
    """Turn the errors of ``main``, and Ctrl-C, into a line on standard error and an exit code."""
    return _guarded(main, "interrupted")


def command_that_goes_on(main: Main) -> Main:
    """Like ``command``, for one that looks at what is there first and does the rest."""
    return _guarded(main, "interrupted: run the same again, it goes on from what is there")


def _guarded(main: Main, interrupted: str) -> Main:
    @functools.wraps(main)
    def guarded(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except CanopsisError as error:
            complain(str(error))
            return USAGE if isinstance(error, ConfigError | InputError) else NOT_DONE
        except KeyboardInterrupt:
            murmur(interrupted)
            return 128 + signal.SIGINT
        except BrokenPipeError:
            # The reader went away (a pager, head): nothing more can be said to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    return guarded


def own_prefix() -> Prefix:
    """Return the prefix, having become its owner. Raises SiteError when that cannot be."""
    prefix = Prefix.find()
    become_owner(prefix)
    return prefix


def say(line: str) -> None:
    """Show a line at once."""
    print(line, flush=True)


def murmur(line: str) -> None:
    """Show a line of progress beside the output that a program reads."""
    print(line, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Show an error."""
    print(f"error: {text}", file=sys.stderr, flush=True)


def show_json(data: object, *, lines: bool = False) -> None:
    """Print ``data`` as JSON for a program to read, on one line with ``lines``."""
    say(json.dumps(data, indent=None if lines else 2, ensure_ascii=False))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as aligned columns under ``header``; the last column is not padded."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    widths[-1] = 0
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
