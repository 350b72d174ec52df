"""A host that cannot be looked at: what was said, what to do, by which variable."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.canopsis_reach import LONGEST, unseen


def away(text: str) -> dict[str, Any]:
    """Return what Ansible registers of a host that it does not reach."""
    return {"unreachable": True, "changed": False, "msg": f"Failed to connect to the host via ssh: {text}"}


@pytest.mark.parametrize(
    ("said", "needed", "variable"),
    [
        ("jo@192.0.2.1: Permission denied (publickey,password).", "SSH has to let jo in", "ansible_user"),
        ("Received disconnect: Too many authentication failures", "SSH has to let jo in", "ansible_user"),
        ("Host key verification failed.", "its key known here: log in by ssh once", "known_hosts"),
        (
            "Host key for [n1]:22 has changed and you have requested strict checking. Host key verification failed.",
            "made anew: ssh-keygen -R '[n1]:22', then log in",
            "known_hosts",
        ),
        ("ssh: Could not resolve hostname canopsis9: Name or service not known", "controller knows", "ansible_host"),
        ("ssh: connect to host 192.0.2.1 port 22: Connection timed out", "is up and takes SSH", "ansible_host"),
        ("ssh: connect to host 192.0.2.1 port 22: Connection refused", "is up and takes SSH", "ansible_host"),
    ],
)
def test_g1_why_ssh_does_not_get_there_has_its_cure(said: str, needed: str, variable: str) -> None:
    (finding,) = unseen("n1", away(said), "jo")
    assert (finding.host, finding.check, finding.variable) == ("n1", "reach", variable)
    assert needed in finding.needed
    assert finding.found.endswith(said[-40:])


@pytest.mark.parametrize(
    ("result", "needed", "variable"),
    [
        ({"msg": "Missing sudo password"}, "jo has to become root", "ansible_become_method"),
        (
            {"msg": "MODULE FAILURE", "module_stderr": "sudo: a password is required"},
            "NOPASSWD",
            "ansible_become_method",
        ),
        ({"msg": "Timeout (12s) waiting for privilege escalation prompt"}, "NOPASSWD", "ansible_become_method"),
        ({"msg": "Incorrect su password"}, "--ask-become-pass", "ansible_become_method"),
        (
            {"msg": "The module failed to execute.", "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found"},
            "apt-get install python3",
            "ansible_python_interpreter",
        ),
        ({"msg": "No space left on device"}, "Ansible's modules run", "ansible_host"),
        ({}, "Ansible's modules run", "ansible_host"),
    ],
)
def test_g1_a_host_where_nothing_runs_says_what_to_set(result: dict[str, Any], needed: str, variable: str) -> None:
    (finding,) = unseen("n1", result, "jo")
    assert (finding.check, finding.variable) == ("look", variable)
    assert needed in finding.needed


def test_g1_nobody_named_is_told_as_that() -> None:
    (finding,) = unseen("n1", away("Permission denied"), "")
    assert "no ansible_user is set" in finding.needed


def test_g2_a_host_that_was_looked_at_is_no_finding_here() -> None:
    assert unseen("n1", {"findings": []}, "jo") == []


def test_g2_of_much_noise_the_end_is_told() -> None:
    (finding,) = unseen("n1", away("x" * 999 + " refused"), "")
    assert finding.found.endswith("x refused")
    assert len(finding.found) == LONGEST + 2
