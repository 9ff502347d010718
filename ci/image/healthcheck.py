"""Exit 0 if the container's server answers ``/health``, 1 if it does not.

Where to ask is read off the server's own command line (``--uds``, ``--port``, ``--host``), so that
the check needs no second setting. Runs in the image, with the standard library only.
"""

import contextlib
import http.client
import socket
import sys
from pathlib import Path

TIMEOUT_S = 4.0
ANY_ADDRESS = ("", "0.0.0.0", "::")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def read_options(arguments: "list[str]") -> "dict[str, str]":
    """Return the server's ``--uds``, ``--port`` and ``--host``, those that were given."""
    found = {}
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name not in ("--uds", "--port", "--host"):
            continue
        if not equals:
            value = arguments[index + 1] if index + 1 < len(arguments) else ""
        found[name[2:]] = value
    return found


def is_healthy(options: "dict[str, str]") -> bool:
    """Return whether ``/health`` answers 200."""
    if "uds" in options:
        connection = UnixConnection(options["uds"], TIMEOUT_S)
    else:
        host = options.get("host", "")
        address = "127.0.0.1" if host in ANY_ADDRESS else host
        connection = http.client.HTTPConnection(
            address, int(options.get("port", "8000")), timeout=TIMEOUT_S
        )
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK


if __name__ == "__main__":
    words = Path("/proc/1/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    try:
        sys.exit(0 if is_healthy(read_options(words)) else 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit(f"unhealthy: {error}")
