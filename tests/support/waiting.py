"""What another process does in its own time."""

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], bool], patience_s: float = 60.0) -> bool:
    """Return whether the condition comes to hold within that time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
