"""A folder of wheels that a build on this machine installs from, instead of a package index.

Copying the folder into the build would cost its size three times: in the context, in the engine's
copy of it, and in a layer. Served on the loopback address, which a build with ``network_mode=host``
sees, it costs nothing. pip checks every file against the lock, whoever serves it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 47811
"""The same port every time: it is part of a build argument, and so of the engine's cache key."""


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the build's own progress is on the terminal."""


@contextmanager
def serve_wheelhouse(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a folder while the block runs; yield the build arguments that point pip at it."""
    handler = partial(_QuietHandler, directory=str(folder))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", PORT), handler)
    except OSError:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        yield {"PIP_FIND_LINKS": address, "PIP_NO_INDEX": "1"}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
