"""A stack's patches carried over to another release, one three-way merge each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from vllm_patchkit.diff.model import FileDiff
from vllm_patchkit.diff.parse import parse_diff
from vllm_patchkit.fork.commits import author_of, commit_message
from vllm_patchkit.fork.rebase.merge import (
    NOBODY,
    Conflict,
    Merged,
    list_conflicts,
    merge_patch,
    settle_for_patch,
    settle_insertions,
    take_fewer,
)
from vllm_patchkit.fork.rebase.outcome import PatchReport, Status
from vllm_patchkit.fork.rebase.style import Style, changed_blobs, format_blobs, restyle_tree
from vllm_patchkit.fork.rebase.untangle import untangle_imports
from vllm_patchkit.fork.rebase.verdict import TELLING_CHARS, HunkVerdict, Text, judge_hunk
from vllm_patchkit.fork.series import Series
from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.stack.model import Patch

DIFF = (
    "diff-tree", "-r", "-p", "--full-index", "--binary", "--find-renames=50%", "--no-ext-diff",
    "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A patch carried: its report, and the tip after it (before it, where it conflicts).

    :param merged: the merge, with the conflicts that are left.
    """

    index: int
    report: PatchReport
    tip: str
    merged: Merged


@dataclass(kw_only=True, slots=True)
class Carrier:
    """Carries patches onto a new base.

    :param series: the old commits, formatted in the new style where that was asked for.
    :param plain: the old commits as they are, where ``series`` is formatted: a file that merges
        with fewer conflicts as it is, is merged so.
    :param keep_going: settle conflicts for the patch and go on, for a survey.
    """

    store: Repository
    patches: Sequence[Patch]
    series: Series
    onto: str
    style: Style | None = None
    plain: Series | None = None
    keep_going: bool = False
    _releases: dict[str, dict[str, str]] = field(default_factory=dict)
    _divergent: frozenset[str] | None = None
    _squeezed: dict[str, Text] = field(default_factory=dict)

    def carry(self, tip: str, first: int = 0) -> Iterator[Step]:
        """Yield a step for each patch from ``first`` on; ends after a conflict, if one stops it."""
        self._find_divergent()
        for index in range(first, len(self.patches)):
            step = self._carry_one(index, tip)
            tip = step.tip
            yield step
            if step.report.status == "conflict" and not self.keep_going:
                return

    def _carry_one(self, index: int, tip: str) -> Step:
        patch = self.patches[index]
        before, after = self.series.parent(index), self.series.commits[index]
        merged = self._merge(before, after, tip)
        if not merged.clean and self.style is not None:
            merged = untangle_imports(self.store, merged, self.style)
        merged, as_written = self._take_plain(index, tip, merged)
        # In its own style, a patch is its own diff.
        own = patch.files if self.style is None else self._diff(before, after)
        written = {diff.path: diff for diff in patch.files if diff.path in as_written}
        own = tuple(written.get(diff.path, diff) for diff in own)
        conflicts = () if merged.clean else list_conflicts(self.store, merged)
        tree = merged.tree
        if not merged.clean:
            tree = settle_for_patch(self.store, merged)
        new_tip = tip
        landed: tuple[FileDiff, ...] = ()
        if tree != self.store.tree_of(tip):
            new_tip = self.store.write_commit(
                tree, [tip], author_of(patch.message), commit_message(patch)
            )
            landed = self._diff(tip, new_tip)
        report = PatchReport(
            patch=patch.name,
            subject=patch.message.subject,
            status=_status(conflicts, own, landed),
            moves=(*_moves(own, landed), *self._explain(as_written)),
            conflicts=conflicts,
            hunks=tuple(self._judge(own, landed, tip, new_tip, merged.clean)),
        )
        stays = conflicts and not self.keep_going
        return Step(index=index, report=report, tip=tip if stays else new_tip, merged=merged)

    def _take_plain(self, index: int, tip: str, merged: Merged) -> tuple[Merged, tuple[str, ...]]:
        """Return the merge with those files merged as they are written that merge better so.

        Also returns their names.
        """
        if merged.clean or self.plain is None or self.style is None:
            return merged, ()
        before, after = self.plain.parent(index), self.plain.commits[index]
        plain = merge_patch(self.store, before=before, after=after, onto=tip)
        return take_fewer(self.store, merged, plain)

    def _explain(self, paths: Sequence[str]) -> Iterator[str]:
        name = self.style.name if self.style else ""
        for path in paths:
            yield f"{path}: merged as it is written, with fewer conflicts than by {name}"

    def _merge(self, before: str, after: str, tip: str) -> Merged:
        """Merge; where the new release is not itself in its style, merge there and come back."""
        if self.style is None or not self._divergent:
            return merge_patch(self.store, before=before, after=after, onto=tip)
        touched = self.store.changes(before, after)
        divergent = [path for path in touched if path in self._divergent]
        if not divergent:
            return merge_patch(self.store, before=before, after=after, onto=tip)
        tree = self.store.tree_of(tip)
        styled = restyle_tree(self.store, self.style, tree, divergent)
        onto = self.store.write_commit(styled, [tip], NOBODY, "style\n")
        merged = merge_patch(self.store, before=before, after=after, onto=onto)
        if not merged.clean:
            return merge_patch(self.store, before=before, after=after, onto=tip)
        back = self.store.write_commit(merged.tree, [onto], NOBODY, "merged\n")
        returned = merge_patch(self.store, before=onto, after=back, onto=tip)
        return returned if returned.clean else settle_insertions(self.store, returned)

    def _find_divergent(self) -> None:
        """Find the stack's files that the new release does not have in its own style."""
        if self.style is None or self._divergent is not None:
            return
        paths = self.store.changes(self.series.base, self.series.tip)
        entries = self.store.list_tree(self.onto, *paths) if paths else {}
        blobs = {entry.blob: path for path, entry in entries.items()}
        formatted = format_blobs(self.store, self.style, blobs.items())
        originals = {blob: self.store.read_blob(blob) for blob in formatted}
        self._divergent = frozenset(blobs[blob] for blob in changed_blobs(formatted, originals))

    def _diff(self, before: str, after: str) -> tuple[FileDiff, ...]:
        return parse_diff(self.store.run(*DIFF, before, after), source="diff")

    def _judge(
        self,
        own: Sequence[FileDiff],
        landed: Sequence[FileDiff],
        tip: str,
        new_tip: str,
        clean: bool,
    ) -> Iterator[HunkVerdict]:
        places = {diff.old_path or diff.path for diff in landed}
        for diff in own:
            if diff.old_path is None or diff.binary:
                continue
            path = diff.old_path
            target = self._text(tip, path)
            renamed = _renamed_to(diff, own, landed) if path not in places else None
            for number, hunk in enumerate(diff.hunks, 1):
                verdict = judge_hunk(
                    hunk,
                    path=path,
                    number=number,
                    target=target,
                    result=self._text(new_tip, path) if clean else None,
                    search=lambda run, path=path: self._search(run, path),  # type: ignore[misc]
                )
                if renamed is not None and verdict.verdict == "still needed":
                    verdict = replace(verdict, verdict="moved to another file", note=renamed)
                yield verdict

    def _text(self, commit: str, path: str) -> Text:
        blob = self.store.find_object(f"{commit}:{path}")
        if blob is None:
            return Text.of(None)
        if blob not in self._squeezed:
            self._squeezed[blob] = Text.of(self.store.read_blob(blob))
        return self._squeezed[blob]

    def _search(self, run: str, path: str) -> str | None:
        """Return the one file that lines moved to, if there is evidence that they did.

        It has them now and had them not; no other file got them; and one of the lines was
        nowhere but in the file that they left, so that it is not what every module begins with.
        """
        new, old = self._release(self.onto), self._release(self.series.base)
        found = [name for name, text in new.items() if name != path and run in text]
        fresh = [name for name in found if run not in old.get(name, "")]
        if len(fresh) != 1:
            return None
        lines = [line for line in run.split("\n") if len(line) >= TELLING_CHARS]
        others = [text for name, text in old.items() if name != path]
        own = any(not any(f"\n{line}\n" in text for text in others) for line in lines)
        return fresh[0] if own else None

    def _release(self, commit: str) -> dict[str, str]:
        if commit not in self._releases:
            entries = self.store.list_tree(commit)
            self._releases[commit] = {
                name: Text.of(self.store.read_blob(entry.blob)).loose
                for name, entry in entries.items()
                if name.endswith(".py")
            }
        return self._releases[commit]


def _status(
    conflicts: Sequence[Conflict], own: Sequence[FileDiff], landed: Sequence[FileDiff]
) -> Status:
    if conflicts:
        return "conflict"
    if not landed:
        return "upstream"
    return "clean" if not _moves(own, landed) else "moved"


def _moves(own: Sequence[FileDiff], landed: Sequence[FileDiff]) -> tuple[str, ...]:
    """Return one line for each file of a patch whose hunks are not where they were."""
    new = {diff.path: diff for diff in landed}
    moves = []
    for diff in own:
        there = new.get(diff.path)
        if there is None:
            other = _renamed_to(diff, own, landed)
            moves.append(f"{diff.path} -> {other}" if other else f"{diff.path}: nothing left to do")
            continue
        old_starts = [hunk.old_start for hunk in diff.hunks]
        new_starts = [hunk.old_start for hunk in there.hunks]
        if len(old_starts) != len(new_starts):
            moves.append(f"{diff.path}: {len(old_starts)} hunks are {len(new_starts)} now")
        elif old_starts != new_starts:
            pairs = zip(old_starts, new_starts, strict=True)
            shifts = ", ".join(f"{after - before:+d}" for before, after in pairs)
            moves.append(f"{diff.path}: hunks moved by {shifts} lines")
    return tuple(moves)


def _renamed_to(diff: FileDiff, own: Sequence[FileDiff], landed: Sequence[FileDiff]) -> str | None:
    """Return the file that git followed an upstream rename to, if that is what happened."""
    known = {item.path for item in own}
    others = [item.path for item in landed if item.path not in known]
    name = diff.path.rpartition("/")[2]
    same = [path for path in others if path.rpartition("/")[2] == name]
    likely = same or others
    return likely[0] if len(likely) == 1 else None
