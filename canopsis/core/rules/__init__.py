"""Rules: declared once a kind, found by an index, tried before they are saved."""
