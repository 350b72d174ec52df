"""Proof under fire: events are sent while a site is struck, and what became of each is held against a plain model.

``plan`` says what is sent, ``model`` what must come of it, ``compare`` what differs: all three are pure, and know
nothing of the engines' own life cycle. ``sender``, ``strikes`` and ``observe`` touch the site: over its public API, and
by signals.
"""
