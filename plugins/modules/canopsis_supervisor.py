#!/usr/bin/python
"""Put program files of supervisord into effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_supervisor import Files, Plan, plan

DOCUMENTATION = r"""
---
module: canopsis_supervisor
short_description: Programs of supervisord by desired state
description:
  - Starts supervisord where it does not run. Adds, changes and takes out programs by name; only what changed restarts.
  - Waits until each program has run for its startsecs and, where its port can be asked, answers.
  - Runs with the Python of the package canopsis, set by C(ansible_python_interpreter).
options:
  prefix: {description: The prefix of the site., type: path, required: true}
  programs: {description: Names of the programs that must run., type: list, elements: str, default: []}
  family: {description: Pattern of names; programs of it that are not listed are taken out., type: str, default: ''}
  drifted: {description: A file of these programs was put right in this run., type: bool, default: false}
  written:
    description: >-
      Paths that canopsis_files wrote, relative to the prefix. A dry run has written none, and takes their programs as
      supervisord would find them.
    type: list
    elements: str
    default: []
  hold:
    description: Leave alone what runs; held names what would restart, for a task that does it host by host.
    type: bool
    default: false
  wait: {description: Wait until the programs run and answer., type: bool, default: true}
  timeout: {description: Seconds a program may take., type: float, default: 120}
  state: {description: Whether programs run or are taken out., type: str, choices: [started, absent], default: started}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Start MongoDB
  canopsis_supervisor:
    prefix: /opt/canopsis
    programs: [mongodb]
  vars:
    ansible_python_interpreter: /opt/canopsis/opt/canopsis/current/bin/python
"""

RETURN = r"""
held:
  description: Programs that run and were left as they are although their files changed.
  type: list
  elements: str
  returned: always
steps:
  description: What was done.
  type: list
  elements: str
  returned: always
"""

try:
    from canopsis.errors import CanopsisError
    from canopsis.ops import daemon, services
    from canopsis.ops.prefix import Prefix
    from canopsis.ops.supervisor import DOWN, Supervisor

    PROBLEM = ""
except ImportError as error:
    PROBLEM = f"{error}: run this module with the Python of the package canopsis (ansible_python_interpreter)"

LONGEST_STOP = 300.0
ARGUMENTS: dict[str, Any] = {
    "prefix": {"type": "path", "required": True},
    "programs": {"type": "list", "elements": "str", "default": []},
    "family": {"type": "str", "default": ""},
    "drifted": {"type": "bool", "default": False},
    "written": {"type": "list", "elements": "str", "default": []},
    "hold": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "float", "default": 120},
    "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
}
Say = Callable[[str], None]


class Site:
    """The programs of one prefix."""

    def __init__(self, prefix: Path, say: Say) -> None:
        self.prefix = Prefix(prefix)
        self.say = say
        self.supervisor = Supervisor(self.prefix.socket)

    def up(self) -> bool:
        """Whether supervisord answers."""
        return daemon.answers(self.prefix)

    def plan(self, params: dict[str, Any], *, unwritten: Sequence[str] = ()) -> tuple[Plan, tuple[str, ...]]:
        """Return what has to be done, and which programs are held back from it; ``unwritten`` are files to come."""
        states = {program.name: program.state for program in self.supervisor.programs()}
        if params["state"] == "absent":
            # Its files are not asked: an interrupted removal may have deleted them.
            return Plan(remove=tuple(name for name in params["programs"] if name in states)), ()
        reread = self.supervisor.reread()
        files = Files(reread.added, reread.changed, reread.removed).with_written(unwritten, states)
        steps = plan(params["programs"], params["family"], files, states, params["drifted"])
        return steps.holding(states) if params["hold"] else (steps, ())

    def apply(self, steps: Plan) -> None:
        """Stop what has to stop, all at once, then put files into effect and start."""
        self._stop((*steps.remove, *steps.replace, *steps.restart))
        for name in (*steps.remove, *steps.replace):
            self.supervisor.remove(name)
        for name in (*steps.replace, *steps.start):
            self.supervisor.add(name)
        for name in (*steps.replace, *steps.restart, *steps.start):
            self.supervisor.start(name)

    def _stop(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.supervisor.stop(name)
        for name in names:
            program = self.supervisor.wait(name, DOWN, LONGEST_STOP)
            if program.state not in DOWN:
                raise ValueError(f"{name} is {program.state} {LONGEST_STOP:g} s after its stop; see {program.logs}")

    def await_ready(self, names: list[str], timeout: float) -> None:
        """Wait until ``names`` run and answer. Raises SiteError with the end of the log of one that does not."""
        for name in names:
            services.start(self.prefix, name, self.say, timeout)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plan, apply unless in check mode, wait, and return the result."""
    params = module.params
    site = Site(Path(params["prefix"]), module.log)
    started = not site.up()
    if started and (module.check_mode or params["state"] == "absent"):
        return _result([] if params["state"] == "absent" else _all_new(params["programs"]))
    if started:
        daemon.ensure(site.prefix, site.say, everything=False)
    steps, held = site.plan(params, unwritten=params["written"] if module.check_mode else ())
    if not module.check_mode:
        site.apply(steps)
        if params["wait"] and params["state"] == "started":
            site.await_ready([name for name in params["programs"] if name not in held], params["timeout"])
    return _result((["start supervisord"] if started else []) + steps.lines, held)


def _all_new(programs: list[str]) -> list[str]:
    return ["start supervisord", *(f"start {name}" for name in programs)]


def _result(lines: list[str], held: tuple[str, ...] = ()) -> dict[str, Any]:
    after = "".join(f"{line}\n" for line in lines)
    return {"changed": bool(lines), "steps": lines, "held": list(held), "diff": {"before": "", "after": after}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if PROBLEM:
        module.fail_json(msg=PROBLEM)
    try:
        module.exit_json(**run(module))
    except (CanopsisError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
