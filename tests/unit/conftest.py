"""Ansible's plugins can be found, once for all unit tests."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader

# Without it Ansible finds no lookup, and a variable that needs one passes as one that is not given.
init_plugin_loader()
