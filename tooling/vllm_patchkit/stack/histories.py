"""The contents that each file has along a series, as digests. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_patchkit.stack.model import Lock
from vllm_patchkit.stack.modes import content_digest, says_executable

Digest = str | None


@dataclass(frozen=True, slots=True)
class History:
    """The digests that one file has along the series: index ``n`` is after ``n`` patches.

    Where some patch says whether the file is executable, the digests say it too (stack.modes).
    """

    path: str
    digests: tuple[Digest, ...]

    @property
    def with_mode(self) -> bool:
        """Whether a patch says that the file is executable, before it or after it."""
        return any(map(says_executable, set(self.digests)))

    def without_mode(self) -> History:
        """Return the history of the contents alone."""
        return History(self.path, tuple(map(content_digest, self.digests)))

    def prefixes(self, found: Digest) -> frozenset[int]:
        """Return after how many patches the file has this content."""
        return frozenset(n for n, digest in enumerate(self.digests) if digest == found)


def file_histories(lock: Lock) -> tuple[History, ...]:
    """Return the digests along the series of every file that a patch touches, by path."""
    known: dict[str, list[Digest]] = {}
    for number, patch in enumerate(lock.patches):
        for file in patch.files:
            digests = known.setdefault(file.path, [file.before] * (number + 1))
            digests += [digests[-1]] * (number + 1 - len(digests))
            digests.append(file.after)
    for digests in known.values():
        digests += [digests[-1]] * (len(lock.patches) + 1 - len(digests))
    return tuple(History(path, tuple(known[path])) for path in sorted(known))
