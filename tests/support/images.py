"""A patched wheel that makes an image in seconds; its ``vllm serve`` is a stand-in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from support.wheels import make_wheel

SERVER = '''\
"""Answers /health and says who it is, until SIGTERM."""
import json, os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from vllm.patched import WORD

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"word": WORD, "uid": os.getuid(), "pid": os.getpid()}).encode()
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

def main():
    port = int(sys.argv[sys.argv.index("--port") + 1]) if "--port" in sys.argv else 8000
    server = ThreadingHTTPServer(("", port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving", sys.argv[1:], flush=True)
    server.serve_forever()
    print("stopped", flush=True)
'''


def make_patched_wheel(folder: Path, word: str = "first", *, label: str = "tiny.1.cpu") -> Path:
    """Write a wheel ``0.11.0+<label>`` whose one patched file holds ``word``.

    Another word is another patch: same base files, other patched file and dist-info.
    """
    patched = f"WORD = {word!r}\n".encode()
    tree = {
        "vllm/__init__.py": b"",
        "vllm/server.py": SERVER.encode(),
        "vllm/untouched.py": b"ANSWER = 42\n",
        "vllm/patched.py": patched,
    }
    version = f"0.11.0+{label}"
    applied = {
        "format": 1,
        "stack": "tiny",
        "version": 1,
        "label": label,
        "digest": hashlib.sha256(patched).hexdigest(),
        "base": "vllm 0.11.0",
        "patches": [{"name": "0001-word.patch", "sha256": "0" * 64}],
        "files": [
            {
                "path": "vllm/patched.py",
                "before": None,
                "after": hashlib.sha256(patched).hexdigest(),
            }
        ],
        "tool": "0.1.0",
    }
    info = {
        "METADATA": f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n".encode(),
        "entry_points.txt": b"[console_scripts]\nvllm = vllm.server:main\n",
        "vllm_patchkit/tiny/applied.json": json.dumps(applied).encode(),
        "sboms/vllm.cdx.json": b"{}\n",
    }
    return make_wheel(folder, tree, version=version, info=info)


LAYERS = [f"sha256:{hashlib.sha256(bytes([number])).hexdigest()}" for number in range(7)]


def inspected(**changes: Any) -> dict[str, Any]:
    """What an engine says of an image: two layers of the base and the Dockerfile's own."""
    return {
        "Id": "sha256:" + "1" * 64,
        "Architecture": "amd64",
        "Os": "linux",
        "Created": "2026-11-22T12:00:00Z",
        "Container": "2" * 64,
        "DockerVersion": "20.10",
        "ContainerConfig": {"Hostname": "3" * 12},
        "Config": {
            "Hostname": "",
            "Image": "sha256:" + "4" * 64,
            "User": "10001:10001",
            "Env": ["PATH=/opt/vllm/bin"],
            "Entrypoint": ["tini", "--", "vllm", "serve"],
            "Cmd": None,
            "Labels": {"org.opencontainers.image.version": "0.11.0+tiny.1"},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 15_000_000_000},
        },
        "RootFS": {"Type": "layers", "Layers": LAYERS},
        **changes,
    }
