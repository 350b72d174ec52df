"""Run a command until it succeeds: until.py SECONDS COMMAND… Exit code 1 and its last words when it never did."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

PAUSE = 0.5


def main(seconds: float, command: list[str]) -> int:
    """Return 0 as soon as ``command`` does, 1 after ``seconds``."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return 0
        if time.monotonic() > end:
            sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
            return 1
        pause.wait(PAUSE)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
