"""Conflicts that were resolved once, remembered by git's rerere in the private store.

A work tree gets a copy of what the store knows and gives back what was learned there, so that it
survives the loss of the cache, and the cache survives whatever is done in a work tree.
"""

from __future__ import annotations

import shutil

from vllm_patchkit.fork.store.git import Repository

FOLDER = "rr-cache"
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
    """Copy the resolutions of one repository into another; those that are there stay."""
    known = source.git_dir / FOLDER
    folder = target.git_dir / FOLDER
    folder.mkdir(exist_ok=True)
    for place in known.iterdir() if known.is_dir() else ():
        for path in place.iterdir() if place.is_dir() else ():
            # Without a postimage nothing was resolved yet.
            if (place / path.name.replace("preimage", "postimage")).is_file():
                (folder / place.name).mkdir(exist_ok=True)
                shutil.copyfile(path, folder / place.name / path.name)
