"""One patch carried onto another tree by git's three-way merge."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vllm_patchkit.errors import PatchkitError
from vllm_patchkit.fork.store.git import Entry, Person, Repository, git_environment
from vllm_patchkit.host.process import capture

NOBODY = Person("vllm-patchkit", "vllm-patchkit@localhost.invalid", "0 +0000")
CONFLICT = re.compile(
    rb"(?ms)^<{7} [^\n]*\n(?P<ours>.*?)^\|{7}[^\n]*\n(?P<base>.*?)^={7}\r?\n(?P<theirs>.*?)"
    rb"^>{7} [^\n]*(?:\n|\Z)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """One place where upstream and the patch changed the same lines.

    :param kind: git's word for it: ``contents``, ``modify/delete``, ``add/add``, ...
    :param line: where it starts in the new release's file, 1-based; 0 if the whole file is it.
    :param upstream: what the new release (and the patches before) have there.
    :param patch: what the patch wants there.
    """

    path: str
    kind: str
    line: int = 0
    upstream: str = ""
    base: str = ""
    patch: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """A merge's tree, with conflict markers where there are conflicts."""

    tree: str
    stages: dict[str, dict[int, Entry]]
    messages: tuple[tuple[str, str], ...]

    @property
    def clean(self) -> bool:
        """Whether git merged everything."""
        return not self.stages and not any(kind.startswith("CONFLICT") for kind, _ in self.messages)


def merge_patch(store: Repository, *, before: str, after: str, onto: str) -> Merged:
    """Merge the step from commit ``before`` to commit ``after`` into the tree of ``onto``.

    git derives the merge base from history, so ``onto``'s tree is given a commit whose only
    parent is ``before``. (``merge-tree --merge-base`` does the same since git 2.40.)
    """
    tree = store.tree_of(onto)
    ours = store.write_commit(tree, [before], NOBODY, "onto\n")
    argv = ("merge-tree", "--write-tree", "--messages", "-z", ours, after)
    done = store.capture(*argv)
    if done.status > 1:
        raise PatchkitError(f"git merge-tree failed: {done.stderr.decode('utf-8', 'replace')}")
    return parse_merge(done.stdout)


def parse_merge(output: bytes) -> Merged:
    """Return what ``git merge-tree --write-tree --messages -z`` says (its manual, "OUTPUT")."""
    words = output.decode("utf-8", "surrogateescape").split("\0")
    tree, place = words[0], 1
    stages: dict[str, dict[int, Entry]] = {}
    while place < len(words) and words[place]:
        info, path = words[place].split("\t", 1)
        mode, blob, stage = info.split()
        stages.setdefault(path, {})[int(stage)] = Entry(mode, blob)
        place += 1
    place += 1
    messages = []
    while place < len(words) and words[place]:
        count = int(words[place])
        kind, text = words[place + 1 + count : place + 3 + count]
        messages.append((kind, text.strip()))
        place += 3 + count
    return Merged(tree=tree, stages=stages, messages=tuple(messages))


def merge_contents(ours: bytes, base: bytes, theirs: bytes, *words: str) -> tuple[bytes, bool]:
    """Return what ``git merge-file`` makes of three contents, and whether it is clean.

    :param words: further options, such as ``--diff3``.
    """
    with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
        sides = {"ours": ours, "base": base, "theirs": theirs}
        for side, data in sides.items():
            (Path(name) / side).write_bytes(data)
        env = git_environment({"GIT_CEILING_DIRECTORIES": str(Path(name).parent)})
        done = capture(["git", "merge-file", "-p", *words, *sides], cwd=Path(name), env=env)
    return done.stdout, done.status == 0


def list_conflicts(store: Repository, merged: Merged) -> tuple[Conflict, ...]:
    """Return every conflict of a merge, with both sides."""
    entries = store.list_tree(merged.tree, *merged.stages) if merged.stages else {}
    found: list[Conflict] = []
    for path, stages in sorted(merged.stages.items()):
        data = store.read_blob(entries[path].blob) if path in entries else b""
        regions = parse_conflicts(path, data, _kind(stages)) if len(stages) > 1 else []
        found += regions or [Conflict(path=path, kind=_kind(stages))]
    if not merged.clean and not found:
        kind, text = next(item for item in merged.messages if item[0].startswith("CONFLICT"))
        short = kind.removeprefix("CONFLICT (").removesuffix(")")
        found.append(Conflict(path="", kind=short, upstream=text))
    return tuple(found)


def _kind(stages: dict[int, Entry]) -> str:
    if 1 not in stages:
        return "add/add"
    if 2 not in stages:
        return "deleted upstream"
    return "contents" if 3 in stages else "deleted by the patch"


def parse_conflicts(path: str, data: bytes, kind: str = "contents") -> list[Conflict]:
    """Return the conflicts that are marked in a file, in git's diff3 style.

    Lines are counted as if every conflict before had been settled as upstream has it.
    """
    found = []
    line, last = 1, 0
    for match in CONFLICT.finditer(data):
        line += data.count(b"\n", last, match.start())
        sides = {side: match[side].decode("utf-8", "replace") for side in match.groupdict()}
        found.append(
            Conflict(
                path=path,
                kind=kind,
                line=line,
                upstream=sides["ours"],
                base=sides["base"],
                patch=sides["theirs"],
            )
        )
        line += match["ours"].count(b"\n")
        last = match.end()
    return found


def settle_insertions(store: Repository, merged: Merged) -> Merged:
    """Return the merge with those conflicts settled that only insert beside restyled lines.

    For the way back from a common style, where ``base`` and ``ours`` say the same in two styles:
    a side that keeps all of ``base`` and adds lines before or after it adds them to ``ours``.
    """
    stages = dict(merged.stages)
    blobs: dict[str, Entry | None] = {}
    for path, entries in merged.stages.items():
        marked = store.list_tree(merged.tree, path).get(path)
        if marked is None or len(entries) != 3:
            continue
        data = CONFLICT.sub(_insert, store.read_blob(marked.blob))
        if CONFLICT.search(data) is None:
            blobs[path] = Entry(marked.mode, store.write_object("blob", data))
            del stages[path]
    messages = merged.messages if stages else ()
    tree = put_blobs(store, merged.tree, blobs)
    return Merged(tree=tree, stages=stages, messages=messages)


def _insert(conflict: re.Match[bytes]) -> bytes:
    ours, base, theirs = conflict["ours"], conflict["base"], conflict["theirs"]
    if base and theirs.startswith(base):
        return ours + theirs[len(base) :]
    if base and theirs.endswith(base):
        return theirs[: -len(base)] + ours
    return conflict[0]


def take_fewer(store: Repository, merged: Merged, other: Merged) -> tuple[Merged, tuple[str, ...]]:
    """Return a merge with those files of ``other`` that conflict in fewer places, and their names.

    Both are of one patch onto one tree.
    """
    ours, theirs = (Counter(one.path for one in list_conflicts(store, m)) for m in (merged, other))
    entries = store.list_tree(other.tree, *merged.stages) if merged.stages else {}
    paths = tuple(path for path in merged.stages if path in entries and theirs[path] < ours[path])
    stages = {path: entry for path, entry in merged.stages.items() if path not in paths}
    stages |= {path: other.stages[path] for path in paths if path in other.stages}
    tree = put_blobs(store, merged.tree, {path: entries[path] for path in paths})
    messages = merged.messages if stages or not paths else ()
    return Merged(tree=tree, stages=stages, messages=messages), paths


def settle_for_patch(store: Repository, merged: Merged) -> str:
    """Return a tree in which every conflict went the patch's way, so that a survey can go on.

    It is never written to a stack: the patches after a conflict have to be seen against
    something, and this is what their author saw.
    """
    blobs: dict[str, Entry | None] = {}
    for path, stages in merged.stages.items():
        blobs[path] = stages.get(3)
        if {1, 2, 3} <= stages.keys():
            marked = store.list_tree(merged.tree, path)[path]
            data = CONFLICT.sub(lambda found: found["theirs"], store.read_blob(marked.blob))
            blobs[path] = Entry(marked.mode, store.write_object("blob", data))
    return put_blobs(store, merged.tree, blobs)


def replace_files(store: Repository, tree: str, files: dict[str, bytes]) -> str:
    """Return a tree with the content of these (existing) files replaced."""
    entries = store.list_tree(tree, *files) if files else {}
    blobs = {
        path: Entry(entries[path].mode, store.write_object("blob", data))
        for path, data in files.items()
        if path in entries
    }
    return put_blobs(store, tree, blobs)


def put_blobs(store: Repository, tree: str, blobs: Mapping[str, Entry | None]) -> str:
    """Return a tree with these files put in, or taken out (None)."""
    if not blobs:
        return tree
    lines = [
        f"0 {'0' * 40}\t{path}\0" if entry is None else f"{entry.mode} {entry.blob}\t{path}\0"
        for path, entry in blobs.items()
    ]
    with tempfile.TemporaryDirectory(prefix="patchkit-") as name:
        env = {"GIT_INDEX_FILE": str(Path(name) / "index")}
        store.run("read-tree", tree, env=env)
        listed = "".join(lines).encode("utf-8", "surrogateescape")
        store.run("update-index", "-z", "--index-info", input_bytes=listed, env=env)
        return store.run("write-tree", env=env).decode().strip()
