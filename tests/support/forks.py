"""A small package in three releases, patches for it in every layout, and git as the oracle.

The releases are wheels in a cache of the test's own, so that nothing is fetched. Whatever a test
expects of a diff or a merge comes from git run here, beside the toolkit.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.cli import main
from vllm_patchkit.fork.folder import replace_folder

DISTRIBUTION = "tiny-llm"
ROOT = "tiny_llm"
AUTHOR = "Ada Lovelace <ada@example.org>"
ENGINE, REQUEST, SAMPLER = f"{ROOT}/engine.py", f"{ROOT}/v1/request.py", f"{ROOT}/v1/sampler.py"
Tree = Mapping[str, bytes]


def numbered(name: str, count: int, **changed: str) -> bytes:
    """Return a module of ``count`` one-line functions; ``f7="..."`` replaces the line of f7."""
    lines = [
        changed.get(f"f{index}", f"def {name}_{index}(): return {index}") for index in range(count)
    ]
    return ("\n".join(lines) + "\n").encode()


RELEASE_1: dict[str, bytes] = {
    f"{ROOT}/__init__.py": b'"""A tiny engine."""\n',
    ENGINE: numbered("engine", 60),
    f"{ROOT}/v1/__init__.py": b"",
    REQUEST: numbered("request", 40),
    SAMPLER: numbered("sampler", 40),
    f"{ROOT}/data/windows.txt": b"".join(b"line %d\r\n" % number for number in range(20)),
    f"{ROOT}/data/latin.py": b"# -*- coding: latin-1 -*-\nNAME = 'caf\xe9'\n"
    + numbered("latin", 12),
    f"{ROOT}/data/a name.py": numbered("spaced", 12),
}


def changed(tree: Tree, path: str, old: str, new: str) -> dict[str, bytes]:
    """Return the tree with the one place that says ``old`` in a file saying ``new``."""
    data = tree[path]
    assert data.count(old.encode("latin-1")) == 1, (path, old)
    return {**tree, path: data.replace(old.encode("latin-1"), new.encode("latin-1"))}


class Ended(BaseException):
    """Stands in for SIGKILL: nothing in the toolkit catches it."""


def end(*_: object, **__: object) -> None:
    """Stand in for a function at whose beginning the process is ended."""
    raise Ended


def exchange_and_end(folder: Path, files: Tree) -> None:
    """Stand in for ``replace_folder``: do its work, then end as if interrupted."""
    replace_folder(folder, files)
    raise KeyboardInterrupt


def engine_line(number: int) -> str:
    """Return the line of a function of ``engine.py``, line end included."""
    return f"def engine_{number}(): return {number}\n"


def make_executable(file: Path) -> None:
    """Let everybody execute a file."""
    file.chmod(0o755)


def put_release(cache: Path, version: str, tree: Tree, *, executable: Sequence[str] = ()) -> Path:
    """Write a wheel of the package to the cache's folder of wheels and return its path."""
    folder = cache / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{ROOT}-{version}-py3-none-any.whl"
    info = f"{ROOT}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = {**dict(sorted(tree.items())), f"{info}/METADATA": metadata.encode(),
               f"{info}/WHEEL": tag.encode()}  # fmt: skip
    record = "".join(_record_line(path, data) for path, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in members.items():
            member = zipfile.ZipInfo(path, (2025, 10, 3, 12, 0, 0))
            member.external_attr = (0o755 if path in executable else 0o644) << 16
            archive.writestr(member, data)
    return wheel


def _record_line(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(data)}\n"


def write_tree(folder: Path, tree: Tree) -> Path:
    """Write a tree's files below a folder."""
    for path, data in tree.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


@dataclass(frozen=True)
class Git:
    """A repository of the test's own: what the toolkit must agree with."""

    folder: Path

    def run(self, *words: str | Path, data: bytes | None = None, check: bool = True) -> bytes:
        """Run git there, with a fixed identity and without the machine's configuration."""
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada Lovelace",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+0530",
            "GIT_COMMITTER_NAME": "Test",
            "GIT_COMMITTER_EMAIL": "test@example.org",
            "GIT_COMMITTER_DATE": "2026-01-02T03:04:05+0000",
            "GIT_EDITOR": "true",
        }
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=env, input=data, capture_output=True, check=False
        )
        assert not check or not done.returncode, (words, done.stderr.decode())
        return done.stdout

    @classmethod
    def create(cls, folder: Path, tree: Tree) -> Git:
        """Return a repository with one commit, the tree."""
        folder.mkdir(parents=True, exist_ok=True)
        git = cls(folder)
        git.run("init", "--quiet", "--initial-branch=main")
        git.commit(tree, "base")
        git.run("tag", "base")
        return git

    def commit(self, tree: Tree, message: str) -> None:
        """Commit a whole tree."""
        for file in sorted(self.folder.rglob("*")):
            if file.is_file() and ".git" not in file.relative_to(self.folder).parts:
                file.unlink()
        write_tree(self.folder, tree)
        self.run("add", "--all", "--force")
        self.run("commit", "--quiet", "-m", message)

    def mailbox(self, since: str = "base") -> bytes:
        """Return the commits as ``git format-patch`` writes them."""
        return self.run("format-patch", "--stdout", f"{since}..HEAD")


@dataclass(frozen=True)
class Said:
    """What a command ended with and said."""

    code: int
    out: str
    err: str


def call(capsys: object, *words: str | Path) -> Said:
    """Run the command line in this process."""
    code = main([str(word) for word in words])
    said = capsys.readouterr()  # type: ignore[attr-defined]
    return Said(int(code), said.out, said.err)


def make_stack(
    capsys: object, folder: Path, steps: Sequence[tuple[str, Tree]], *, name: str = "fork"
) -> Path:
    """Return the folder of a stack imported from commits (message, whole tree) on RELEASE_1."""
    git = Git.create(folder / "origin", RELEASE_1)
    for message, tree in steps:
        git.commit(tree, message)
    mailbox = folder / "origin.mbox"
    mailbox.write_bytes(git.mailbox())
    said = call(
        capsys, "import", mailbox, "--base", f"{DISTRIBUTION}==1.0", "--name", name,
        "--into", folder / "patches",
    )  # fmt: skip
    assert said.code == 0, said.err
    return folder / "patches" / name


def read_patches(folder: Path) -> dict[str, bytes]:
    """Return the patch files of a stack, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.patch"))}
