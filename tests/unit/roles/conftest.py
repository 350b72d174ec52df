"""Lets the tests of this folder find the tables, and module_utils where Ansible has them."""

from __future__ import annotations

import sys
from pathlib import Path

import plugin_loader  # noqa: F401 - importing it lets Ansible find them

sys.path.insert(0, str(Path(__file__).parent))
