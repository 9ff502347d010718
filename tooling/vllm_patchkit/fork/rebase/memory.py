"""Conflicts that were resolved once, remembered by git's rerere in the private store.

A work tree gets a copy of what the store knows and gives back what was learned there, so that it
survives the loss of the cache, and the cache survives whatever is done in a work tree.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from vllm_patchkit.fork.store.git import Repository
from vllm_patchkit.host.files import replace_file

FOLDER = "rr-cache"
MARKED = re.compile(rb"(?m)^<{7}( |\r?$)")
OFF = ("-c", "rerere.enabled=false")
# For one command, not in the work tree's settings, where a person may have set it as well.
RERERE = ("-c", "rerere.enabled=true", "-c", "rerere.autoUpdate=true", "rerere")


def recall(store: Repository, repository: Repository) -> bool:
    """Settle the conflicts of a work tree that were resolved before; return whether all were."""
    _copy(store, repository)
    repository.run(*RERERE)
    return not repository.run("diff", "--name-only", "--diff-filter=U")


def learn(store: Repository, repository: Repository) -> None:
    """Keep what has been resolved in a work tree, even if it is given up."""
    if (repository.git_dir / FOLDER).is_dir():
        repository.capture(*RERERE)
        _copy(repository, store)


def _copy(source: Repository, target: Repository) -> None:
    """Copy the resolutions of one repository into another; those that are there stay.

    A pair of images that is damaged is none: it is passed over, and replaced by a sound one.
    """
    folder = target.git_dir / FOLDER
    _make_folder(folder)
    for after in sorted((source.git_dir / FOLDER).glob("*/postimage*")):
        before = after.with_name(after.name.replace("postimage", "preimage"))
        place = folder / after.parent.name
        if _is_sound(before, after) and not _is_sound(place / before.name, place / after.name):
            _make_folder(place)
            # The second one makes it a resolution, so it comes last.
            for image in (before, after):
                _put(place / image.name, image.read_bytes())


def _is_sound(before: Path, after: Path) -> bool:
    """Return whether the one image has a conflict, and the other is it resolved."""
    try:
        conflict, resolved = before.read_bytes(), after.read_bytes()
    except OSError:
        return False
    return bool(MARKED.search(conflict) and resolved and not MARKED.search(resolved))


def _make_folder(place: Path) -> None:
    if not place.is_dir():
        place.unlink(missing_ok=True)
        place.mkdir()


def _put(place: Path, data: bytes) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    replace_file(place, data)
