"""Dates, messages and paths on their way into git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vllm_patchkit.digest import blob_id
from vllm_patchkit.errors import PatchFormatError
from vllm_patchkit.fork.commits import commit_message
from vllm_patchkit.fork.store.git import (
    git_environment,
    open_repository,
    parse_mail_date,
    quote_path,
)
from vllm_patchkit.stack.folder import make_patch

DIFF = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("Thu, 1 Jan 1970 00:00:00 +0000", "0 +0000"),
        ("Thu, 1 Jan 1970 05:30:00 +0530", "0 +0530"),
        ("Wed, 31 Dec 1969 16:00:01 -0800", "1 -0800"),
        ("Sat, 29 Feb 2020 23:59:59 -0000", "1583020799 -0000"),
    ],
)
def test_date_keeps_its_zone(text: str, date: str) -> None:
    assert parse_mail_date(text) == date


def test_what_is_no_date_is_an_error() -> None:
    with pytest.raises(PatchFormatError, match="not a mail date"):
        parse_mail_date("yesterday")


@pytest.mark.parametrize(
    "body",
    ["Body.", "Body.\n\n  indented\n\ntwice", "Body.\n\nKey: value\nOther: long\n  folded", ""],
)
def test_message_is_kept_as_it_is(body: str) -> None:
    mail = f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: A <a@b.c>\nDate: x\nSubject: [X] y\n\n"
    patch = make_patch("0001-X-y.patch", f"{mail}{body}\n\n{DIFF}".encode())
    assert commit_message(patch) == (f"[X] y\n\n{body}\n" if body else "[X] y\n")


def test_path_is_quoted_for_fast_import() -> None:
    assert quote_path('a b"c\\d\n\xe9') == b'"a b\\"c\\\\d\\n\xc3\xa9"'


def test_environment_of_git_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    env = git_environment()
    assert "GIT_DIR" not in env
    assert "GIT_EXTERNAL_DIFF" not in env
    assert env["GIT_CONFIG_GLOBAL"] == "/dev/null"


def test_many_objects_cost_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebase of 500 patches writes a thousand objects and reads as many."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path], check=True)
    started = []
    begin = subprocess.Popen.__init__

    def count(self: subprocess.Popen[bytes], *args: object, **words: object) -> None:
        started.append(args)
        begin(self, *args, **words)  # type: ignore[call-overload]

    with open_repository(tmp_path) as repository:
        repository.read_blob(repository.write_object("blob", b"first"))
        monkeypatch.setattr(subprocess.Popen, "__init__", count)
        for number in range(50):
            data = b"%d" % number
            blob = repository.write_object("blob", data)
            assert (blob, repository.read_blob(blob)) == (blob_id(data), data)
    assert started == []
