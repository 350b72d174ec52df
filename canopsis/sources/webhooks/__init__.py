"""The sources that send over HTTP, one module each: a ``SOURCE``. A module that is put here is served."""
