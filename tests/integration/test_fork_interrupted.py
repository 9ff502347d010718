"""A rebase that is ended while it goes on: the same command again loses no patch."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import (
    ENGINE,
    RELEASE_1,
    ROOT,
    Ended,
    Git,
    call,
    changed,
    end,
    engine_line,
    make_stack,
    put_release,
    read_patches,
)
from vllm_patchkit.fork.rebase import stopping

FIVE = changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'ours'\n")
FRESH = {**FIVE, f"{ROOT}/fresh.py": b"FRESH = 1\n"}
FORTY = changed(FRESH, ENGINE, engine_line(40), "def engine_40(): return 'ours'\n")
STEPS = [("Five", FIVE), ("Fresh", FRESH), ("Forty", FORTY)]
UPSTREAM = changed(
    changed(RELEASE_1, ENGINE, engine_line(5), "def engine_5(): return 'theirs'\n"),
    ENGINE,
    engine_line(40),
    "def engine_40(): return 'theirs'\n",
)


def resolve(home: Path) -> None:
    """Take both sides of each conflict in engine.py."""
    (place,) = (path for path in (home / "cache" / "work").iterdir() if path.is_dir())
    git = Git(place)
    lines = (place / ENGINE).read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("<<<<<<<", "=======", ">>>>>>>"))]
    assert len(kept) < len(lines), "nothing is in conflict"
    text = "".join(kept)
    for start in range(text.count("||||||| ")):
        del start
        before, _, rest = text.partition("||||||| ")
        text = before + rest.split("\n", 2)[2]
    (place / ENGINE).write_text(text)
    git.run("add", ENGINE)


@pytest.mark.parametrize("place", ["carry_patches", "stop_at_conflict", "_lay_out", "recall"])
def test_a_continue_that_was_ended_loses_no_patch(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Three patches go in, two of them in conflict: three come out, wherever it was ended."""
    put_release(home / "cache", "2.0", UPSTREAM)
    stack = make_stack(capsys, home, STEPS)
    assert call(capsys, "rebase", stack, "--onto", "2.0").code == 1
    resolve(home)

    with monkeypatch.context() as patched:
        patched.setattr(stopping, place, end)
        with pytest.raises(Ended):
            call(capsys, "rebase", stack, "--continue")
    said = call(capsys, "rebase", stack, "--continue")
    if place == "recall":
        # It had stopped at the next conflict already, and says that this one is not resolved.
        assert (said.code, "not resolved yet" in said.err) == (1, True), said.err
    else:
        assert (said.code, "stopped in" in said.err) == (1, True), said.err
    resolve(home)
    said = call(capsys, "rebase", stack, "--continue")
    assert said.code == 0, said.err
    names = ["0001-Five.patch", "0002-Fresh.patch", "0003-Forty.patch"]
    assert list(read_patches(stack)) == names
