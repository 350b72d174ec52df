"""Ways to tell people and other programs of alarms: one module a kind, with its ``NOTIFIER``."""
