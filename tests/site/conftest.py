"""The site of a test run: built once, when first asked for, and taken away at the end."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import copy_checkout
from local_site import LocalSite, free_ports

from canopsis.ops.prefix import Prefix

# A shell has what it runs in the background ignore Ctrl-C, and our commands would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

GIVEN = "CANOPSIS_TEST_SITE"
"""A site that is there already, for whoever works on these tests: it is used as it is and stays."""


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Iterator[LocalSite]:
    """A site that is ready; a test that breaks a part of it leaves it ready."""
    if given := os.environ.get(GIVEN):
        found = LocalSite.at(Path(given))
        found.ready()
        yield found
        return
    # A short path: those of unix sockets end at 107 bytes.
    with tempfile.TemporaryDirectory(prefix="canopsis-site-") as folder:
        found = LocalSite(Prefix(Path(folder)), free_ports())
        try:
            found.build()
            found.ready()
            yield found
        finally:
            try:
                if request.session.testsfailed or sys.exc_info()[0]:
                    found.keep_logs()
            finally:
                found.remove()


@pytest.fixture
def steady(site: LocalSite) -> Iterator[LocalSite]:
    """The site, whose engines the test must not bring to an end."""
    before = site.engines()
    yield site
    assert site.engines() == before, "an engine was started again"


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder that every user may enter: other users build in it too."""
    folder = Path(tempfile.mkdtemp(prefix="canopsis-packages-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def checkout(scratch: Path) -> Path:
    """A checkout that stays as it is, and that every user can read."""
    return copy_checkout(scratch / "checkout")
