"""Git repositories and the two peers that patches are compared with: git apply and GNU patch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "TZ": "UTC",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A Maintainer",
    "GIT_AUTHOR_EMAIL": "maintainer@example.org",
    "GIT_COMMITTER_NAME": "A Maintainer",
    "GIT_COMMITTER_EMAIL": "maintainer@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}
Contents = Mapping[bytes, "bytes | None"]


@dataclass
class Repository:
    """A scratch git repository."""

    root: Path
    commits: int = 0

    @classmethod
    def create(cls, root: Path) -> Repository:
        root.mkdir(parents=True)
        repository = cls(root)
        repository.git("init", "-q", "-b", "main")
        repository.git("config", "core.autocrlf", "false")
        return repository

    def git(self, *words: str | bytes | Path, check: bool = True, data: bytes = b"") -> bytes:
        """Run git here and return its standard output."""
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=ENVIRONMENT, input=data, capture_output=True
        )
        if check and done.returncode:
            raise AssertionError(f"git {words!r}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def commit(self, contents: Contents) -> bytes:
        """Commit these contents over the last ones, without a work tree; return the commit."""
        number = self.commits
        self.commits += 1
        stream = [
            b"commit refs/heads/main\nmark :1\ncommitter A <a@b> %d +0000\ndata 0\n" % number,
            b"from refs/heads/main^0\n" if number else b"",
        ]
        for name, data in contents.items():
            if data is None:
                stream.append(b"D %s\n" % quote(name))
            else:
                stream.append(b"M 100644 inline %s\ndata %d\n" % (quote(name), len(data)))
                stream.append(data + b"\n")
        self.git("fast-import", "--quiet", data=b"".join(stream))
        return self.git("rev-parse", "main").strip()


def quote(name: bytes) -> bytes:
    """Return a name as fast-import takes any: every byte in octal."""
    return b'"' + b"".join(b"\\%03o" % byte for byte in name) + b'"'


def write_contents(root: Path, contents: Contents) -> None:
    """Write files below ``root``; a None removes its file."""
    folder = os.fsencode(root)
    for name, data in contents.items():
        path = os.path.join(folder, name)  # noqa: PTH118 - names are bytes
        if data is None:
            if os.path.exists(path):  # noqa: PTH110
                os.unlink(path)  # noqa: PTH108
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103,PTH120
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(data)


def read_contents(root: Path, names: Iterable[bytes]) -> dict[bytes, bytes | None]:
    """Return what lies below ``root`` under these names."""
    folder = os.fsencode(root)
    result: dict[bytes, bytes | None] = {}
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118
        try:
            with open(path, "rb") as stream:  # noqa: PTH123
                result[name] = stream.read()
        except FileNotFoundError:
            result[name] = None
    return result


def git_apply(root: Path, patch: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``git apply`` on a tree that is no repository."""
    environment = {**ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    return subprocess.run(
        ["git", "apply", *words], cwd=root, env=environment, input=patch, capture_output=True
    )


def gnu_patch(root: Path, patch: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run GNU ``patch -p1`` without fuzz; ``--binary`` keeps it from touching CRs."""
    argv = ["patch", "-p1", "--fuzz=0", "--binary", "--force", "--no-backup-if-mismatch", *words]
    return subprocess.run(argv, cwd=root, env=ENVIRONMENT, input=patch, capture_output=True)
