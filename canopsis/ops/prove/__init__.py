"""Proof under fire: events are sent while a site is struck, and what became of each is held against a plain model.

``plan`` says what is sent, ``model`` and ``acts`` what must come of it, ``explain`` what the site did by itself
meanwhile, ``compare`` what differs: these are pure, and know nothing of the engines' own life cycle. ``sender``,
``bulk``, ``strikes`` and ``observe`` touch the site: over its public API, and by signals.
"""
