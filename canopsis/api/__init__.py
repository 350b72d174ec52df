"""The REST API: a Flask application, run by gunicorn."""

from canopsis.api.app import create_app

__all__ = ["create_app"]
