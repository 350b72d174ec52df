"""The REST API: a Flask application, run by gunicorn. Importing this loads nothing of it."""
