"""Mail headers and file names against the ones that git format-patch writes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.peers import Repository
from vllm_patchkit.stack.message import parse_message
from vllm_patchkit.stack.series import patch_name

WORDS = (
    "Fix", "[Core]", "KV-cache", "füße", "a.b..c", "(parenthesis)", "it's", "50%", "naïve—dash",
    "日本語", "under_score", "trailing.", "-", "--", "...", "x=?UTF-8?q?y?=", "emoji😀", "C++",
    "long" * 12, "a/b\\c", '"quoted"', "<angle>", "#1234", "$HOME", "@you", "comma,", "semi;colon",
)  # fmt: skip
AUTHORS = (
    "Plain Name", "Jürgen Müller", 'Quo "te" Mark', "Last, First", "J. R. Dot", "日本 太郎",
    "O'Neil", "a@sign", "back\\slash", "Very Long Name That Goes On " + "And On " * 12 + "End",
    "Ünï " * 20 + "x",
)  # fmt: skip
TRAILERS = (("Subsystem", "engine"), ("Signed-off-by", "Jürgen M <j@example.org>"))


def make_subject(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))


def fast_import(commits: list[tuple[str, str, str]]) -> bytes:
    """Return a stream of commits that each write one file."""
    stream = []
    for number, (author, subject, body) in enumerate(commits):
        message = f"{subject}\n\n{body}\n".encode()
        stream.append(
            b"commit refs/heads/main\n"
            + f"author {author.replace('<', '').replace('>', '')} <a@example.org> ".encode()
            + b"%d +0530\ncommitter C <c@example.org> %d +0000\n" % (1700000000 + number, number)
            + b"data %d\n%s\n" % (len(message), message)
            + b"M 100644 inline file\ndata 8\n%07d\n\n" % number
        )
    return b"".join(stream)


@pytest.mark.parametrize("options", [["--keep-subject"], ["--numbered"], ["--from=X <x@y.z>"]])
def test_what_git_writes_is_read(options: list[str], tmp_path: Path):
    """Author, date, subject, body and trailers come back; the file's name is the one we make."""
    rng = random.Random(7)
    body = "Prose with ümlaut.\n\n- a list\n\nFrom here on: more.\n\n" + "\n".join(
        f"{key}: {value}" for key, value in TRAILERS
    )
    commits = [("Base Author", "base", "body")]
    commits += [(rng.choice(AUTHORS).strip(), make_subject(rng), body) for _ in range(200)]
    repository = Repository.create(tmp_path / "repository")
    repository.git("fast-import", "--quiet", data=fast_import(commits))

    out = tmp_path / "out"
    repository.git("format-patch", "-q", "--zero-commit", *options, "-o", out, "main~200..main")

    files = sorted(out.iterdir())
    assert len(files) == 200
    for number, (file, (author, subject, _)) in enumerate(zip(files, commits[1:], strict=True), 1):
        message = parse_message(file.read_bytes())
        assert (message.author, message.email) == (author, "a@example.org")
        assert message.subject == subject
        assert message.body == body.partition("\n\nSubsystem")[0]
        assert message.trailers == TRAILERS
        assert message.date.endswith(" +0530")
        assert file.name == patch_name(number, message.subject)
