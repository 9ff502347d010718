import subprocess
from pathlib import Path

import pytest

from vllm_patchkit.diff.compute import describe_edits, format_edits

TEN = b"".join(b"line %d\n" % n for n in range(10))
PAIRS = {
    "changed.py": (TEN, TEN.replace(b"line 4\n", b"LINE 4\nline 4b\n")),
    "two places.py": (TEN * 3, b"top\n" + TEN * 3 + b"no end"),
    "deleted.py": (b"gone\n", None),
    "put-back.py": (None, b"back\n"),
    "emptied.py": (b"x\n", b""),
    "end.py": (b"a\nb", b"a\nb\n"),
}


@pytest.mark.parametrize("peer", [["git", "apply"], ["patch", "-p1", "-s"]], ids=["git", "patch"])
def test_the_peers_turn_the_old_content_into_the_new(tmp_path: Path, peer: list[str]) -> None:
    for name, (before, _) in PAIRS.items():
        if before is not None:
            (tmp_path / name).write_bytes(before)

    subprocess.run(peer, cwd=tmp_path, input=format_edits(PAIRS), check=True, timeout=600)

    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {name: after for name, (_, after) in PAIRS.items() if after is not None}


def test_places_are_lines_of_the_edited_file() -> None:
    assert describe_edits("a.py", *PAIRS["changed.py"]) == "a.py: edited at line 5-6"
    assert describe_edits("a.py", *PAIRS["two places.py"]) == "a.py: edited at line 1, 32"
    assert describe_edits("a.py", b"x\n", None) == "a.py: it was deleted"
    assert describe_edits("a.py", None, b"x\n") == "a.py: it was put back"
