"""The commands: one module each, with ``main(argv) -> exit code``.

Exit codes are 0 for done or healthy, 1 for not done or unhealthy, 2 for wrong usage or configuration.
"""
