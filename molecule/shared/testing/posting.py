"""Events posted through the API of a site's hosts while something happens to the site."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from site_hosts import AUTHORITIES, ask, eventually

POSTER = Path(__file__).with_name("poster.py")
SIZE = 50
FOR_EVER = 100_000


@dataclass(frozen=True)
class Posting:
    """A batch of events of the connector ``run`` each ``every`` seconds, from ``host`` to ``through`` in turn."""

    host: Any
    run: str
    key: str
    through: Sequence[str]
    every: float
    batches: int = FOR_EVER

    def during(self, work: Callable[[], object]) -> dict[str, Any]:
        """Do the work meanwhile; return what was sent, what hosts refused, the longest time until one took a batch.

        An endless posting ends with the work, another when it is through. Raises AssertionError when no host takes a
        batch within a minute.
        """
        with ThreadPoolExecutor(1) as pool:
            posting = pool.submit(self._post)
            try:
                work()
            finally:
                if self.batches == FOR_EVER:
                    self.host.check_output(f"touch {self._enough}")
            return posting.result()

    def becomes_visible(self, host: Any, sent: int) -> None:
        """Wait until ``host`` knows each event that was sent, and no more; AssertionError after three minutes."""
        eventually(lambda: ask(host, f"events?connector={self.run}&limit=0")["total"], sent, 180)

    @property
    def _enough(self) -> str:
        return f"/run/{self.run}.enough"

    def _post(self) -> dict[str, Any]:
        authorities = AUTHORITIES if self.host.file(AUTHORITIES).exists else "-"
        given = (self.run, self.key, self.batches, SIZE, self.every, self._enough, authorities, *self.through)
        words = " ".join(map(str, given))
        done = self.host.run(f"python3 - {words} <<'END-OF-SCRIPT'\n{POSTER.read_text()}\nEND-OF-SCRIPT\n")
        assert done.rc == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found
