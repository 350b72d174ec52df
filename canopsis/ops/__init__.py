"""Running a site: its files, its configuration, supervisord, and the way to its API."""
