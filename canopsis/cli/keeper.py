"""What brings a killed supervisord back: ``python -m canopsis.cli.keeper PREFIX``, started beside supervisord."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from canopsis.ops import keeper
from canopsis.ops.prefix import Prefix

_LOG = logging.getLogger(__name__)


def main() -> None:
    """Keep the supervisord of the prefix that is named."""
    (path,) = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    keeper.keep(Prefix(Path(path)), _LOG.warning)


if __name__ == "__main__":
    main()
