"""Canopsis: events of every monitoring tool in, alarms with a life cycle out."""

__version__ = "0.1.0"
