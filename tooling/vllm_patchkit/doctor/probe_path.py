"""The module path of the Python that runs this, kept apart from the probe's own imports.

A ``random.py`` in the working directory must be found, and must not be imported by the finder:
from here on ``sys.path`` has the standard library alone, and ``SEEN`` what a user's script sees.
It runs first, needs no import of its own that could be shadowed, and works from Python 3.8 on.
"""

import os  # The interpreter has imported it before any script runs.
import sys

STDLIB = os.path.dirname(os.path.abspath(os.__file__))
SEEN = list(sys.path)
FOLDERS = [os.path.abspath(entry or os.getcwd()) for entry in SEEN]
OWN = ("lib-dynload", ".zip")


def listdir(folder: str) -> "list[str]":
    """Return the sorted names in a folder, none where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


sys.path[:] = [
    entry for entry in SEEN if entry and (os.path.abspath(entry) == STDLIB or entry.endswith(OWN))
]
