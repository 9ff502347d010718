"""Valid inputs that fuzzing starts from: our own stacks, and archives made here."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

PATCHES = Path(__file__).resolve().parents[2] / "patches"
SMALL_DIFF = b"""diff --git a/vllm/a.py b/vllm/a.py
index 4cb29ea38f70d7c61b2a3a25b02e3bdf44905402..4cb29ea38f70d7c61b2a3a25b02e3bdf44905403 100644
--- a/vllm/a.py
+++ b/vllm/a.py
@@ -1,3 +1,3 @@
 one
-two
+2
 three
diff --git a/vllm/new.py b/vllm/new.py
new file mode 100644
--- /dev/null
+++ b/vllm/new.py
@@ -0,0 +1 @@
+x = 1
\\ No newline at end of file
diff --git a/vllm/b.py b/vllm/c.py
similarity index 100%
rename from vllm/b.py
rename to vllm/c.py
"""
RECORD = b'vllm/a.py,sha256=abc,3\n"vllm/a,b.json",sha256=def,4\nvllm-0.11.0.dist-info/RECORD,,\n'


def seeds(name: str) -> list[bytes]:
    """Return valid inputs for the harness of that name."""
    folders = [folder for folder in sorted(PATCHES.iterdir()) if folder.is_dir()]
    if name == "diff":
        return [SMALL_DIFF, *_small(folders, "*.patch")]
    if name == "record":
        return [RECORD]
    if name == "archive":
        return [make_archive(zipfile.ZIP_STORED), make_archive(zipfile.ZIP_DEFLATED)]
    patterns = {
        "patch": "*.patch",
        "series": "series",
        "metadata": "stack.toml",
        "lock": "lock.json",
    }
    return _small(folders, patterns[name])


def _small(folders: list[Path], pattern: str) -> list[bytes]:
    found = [path.read_bytes() for folder in folders for path in sorted(folder.glob(pattern))]
    return sorted(found, key=len)[:8]


def make_archive(compression: int) -> bytes:
    """Return a small wheel-like archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("vllm/__init__.py", b"")
        archive.writestr("vllm/a,b.json", b"{}" * 50)
        archive.writestr("vllm-0.11.0.dist-info/RECORD", RECORD)
    return buffer.getvalue()
