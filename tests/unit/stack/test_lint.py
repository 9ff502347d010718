"""The rules of a good stack: each one broken on purpose, and nothing else found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support.stacks import BASE, DEFAULT_CHANGES, METADATA, Change, make_diff, write_stack
from vllm_patchkit.errors import PatchkitError
from vllm_patchkit.stack.finding import Code, Finding
from vllm_patchkit.stack.folder import StackFiles, make_stack
from vllm_patchkit.stack.lint import check_files, check_stack
from vllm_patchkit.stack.lock import format_lock, make_lock, record_release
from vllm_patchkit.stack.read import read_files

FIRST = "0001-Return-three.patch"
SECOND = "0002-Add-a-model.patch"
THIRD = "0003-Stop-with-four.patch"


@pytest.fixture
def files(tmp_path: Path) -> StackFiles:
    return read_files(write_stack(tmp_path / "tiny"))


def lock_of(files: StackFiles) -> bytes:
    return format_lock(make_lock(make_stack(files), BASE.get))


def edit(files: StackFiles, name: str, old: bytes, new: bytes) -> StackFiles:
    """Return the files with one patch changed."""
    data = files.patches[name]
    assert old in data
    return replace(files, patches={**files.patches, name: data.replace(old, new, 1)})


def lint(files: StackFiles) -> list[Finding]:
    """Lint with a lock that fits; where none can be made, that finding is left out."""
    try:
        return check_files(files, lock_of(files), BASE.get)
    except PatchkitError:
        found = check_files(files, None, BASE.get)
        return [finding for finding in found if finding.code is not Code.LOCK_MISSING]


def codes(findings: list[Finding]) -> list[Code]:
    return [finding.code for finding in findings]


def test_a_good_stack_has_no_findings(files: StackFiles):
    stack = make_stack(files)
    assert check_files(files, lock_of(files), BASE.get) == []
    assert check_stack(stack, make_lock(stack, BASE.get), BASE.get) == []


HEADER_EDITS = [
    (b"From: A Maintainer <maintainer@example.org>\n", b"", Code.HEADER_MISSING, "no From:"),
    (b"From: A Maintainer <m", b"From: <m", Code.HEADER_MISSING, "no From:"),
    (b"Date: Sun, 22 Nov 2026 12:00:00 +0000\n", b"", Code.HEADER_MISSING, "no Date:"),
    (b"Subject: Return three\n", b"", Code.HEADER_MISSING, "no Subject:"),
    (b"Sun, 22 Nov", b"Someday", Code.DATE_INVALID, "is not the date of a mail"),
    (b"Why this is needed.\n\n", b"", Code.BODY_EMPTY, "no body"),
    (b"Subsystem: engine\n", b"", Code.TRAILER_MISSING, "no Subsystem: trailer"),
    (b"Origin: vendor\n", b"", Code.TRAILER_MISSING, "no Origin: trailer"),
    (b"Forwarded: not-needed\n", b"", Code.TRAILER_MISSING, "no Forwarded: trailer"),
    (b"Last-Update: 2026-11-22\n", b"", Code.TRAILER_MISSING, "no Last-Update: trailer"),
    (b"Origin: vendor", b"Origin: somewhere", Code.TRAILER_INVALID, "'somewhere' is not upstream"),
    (b"Forwarded: not-needed", b"Forwarded: maybe", Code.TRAILER_INVALID, "no, not-needed or a"),
    (b"2026-11-22\n", b"2026-13-22\n", Code.TRAILER_INVALID, "a date as YYYY-MM-DD"),
    (b"2026-11-22\n", b"20261122\n", Code.TRAILER_INVALID, "a date as YYYY-MM-DD"),
    (b"by: A Maintainer <maintainer@example.org>", b"by: me", Code.TRAILER_INVALID, "'me' is not"),
    (b"Subsystem: engine", b"Subsystem: brain", Code.SUBSYSTEM_UNKNOWN, "'brain' is not in stack"),
    (b"\n\nWhy", b"\nContent-Transfer-Encoding: base64\n\nWhy", Code.MAIL_ENCODING, "as base64"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "code", "message"), HEADER_EDITS)
def test_header_rules(files: StackFiles, old: bytes, new: bytes, code: Code, message: str):
    findings = lint(edit(files, FIRST, old, new))
    assert codes(findings) == [code]
    assert findings[0].place == FIRST
    assert message in findings[0].message


@pytest.mark.parametrize(
    "origin",
    ["upstream, https://example.org/pull/1", "backport, 0123abc", "vendor", "other, https://x"],
)
def test_origins_of_dep3_pass(files: StackFiles, origin: str):
    edited = edit(files, FIRST, b"Origin: vendor", f"Origin: {origin}".encode())
    assert lint(edited) == []


def with_series(text: str) -> Callable[[StackFiles], StackFiles]:
    return lambda files: replace(files, series=text.encode())


def with_metadata(old: str, new: str) -> Callable[[StackFiles], StackFiles]:
    def change(files: StackFiles) -> StackFiles:
        assert old.encode() in files.metadata
        return replace(files, metadata=files.metadata.replace(old.encode(), new.encode(), 1))

    return change


def renamed(old: str, new: str) -> Callable[[StackFiles], StackFiles]:
    def change(files: StackFiles) -> StackFiles:
        patches = {new if name == old else name: data for name, data in files.patches.items()}
        return replace(
            files,
            patches=patches,
            series=files.series.replace(old.encode(), new.encode()),
            metadata=files.metadata.replace(old[:4].encode(), new[:4].encode()),
        )

    return change


STACK_EDITS = [
    (with_metadata("format = 1", "format = 9"), [Code.METADATA_UNREADABLE]),
    (with_series("not a patch\n"), [Code.SERIES_UNREADABLE]),
    (with_series(f"{FIRST}\n{FIRST}\n{SECOND}\n{THIRD}\n"), [Code.SERIES_INCOMPLETE]),
    (with_series(f"{FIRST}\n{SECOND}\n{THIRD}\n0004-Gone.patch\n"), [Code.SERIES_INCOMPLETE]),
    (renamed(THIRD, "0004-Stop-with-four.patch"), [Code.SERIES_NUMBERING]),
    (renamed(THIRD, "0003-Halt.patch"), [Code.NAME]),
    (with_metadata("version = 1\n", "version = 1\npatch-count = 4\n"), [Code.PATCH_COUNT]),
    (with_metadata('"model"]', '"model", "idle"]'), [Code.SUBSYSTEM_UNCOVERED]),
    (with_metadata('patch = "0003"', 'patch = "0002"'), [Code.PROBE_MISSING]),
    (with_metadata('patch = "0003"', 'patch = "0007"'), [Code.PROBE_MISSING, Code.PROBE_INVALID]),
    (with_metadata('expression = "True"', 'expression = "x = 1"'), [Code.PROBE_INVALID]),
    (with_metadata('imports = ["vllm"]', 'imports = ["os; x"]'), [Code.PROBE_INVALID]),
]


@pytest.mark.parametrize(("change", "expected"), STACK_EDITS)
def test_series_and_metadata_rules(files: StackFiles, change, expected: list[Code]):
    assert codes(lint(change(files))) == expected


def test_a_patch_outside_the_series_is_found(files: StackFiles):
    extra = replace(files, patches={**files.patches, "0009-Extra.patch": b""})
    (finding,) = lint(extra)
    assert (finding.code, finding.place) == (Code.SERIES_INCOMPLETE, "0009-Extra.patch")


def test_a_series_without_its_middle_does_not_apply_in_order(files: StackFiles):
    """Every file that is not there and every number that is off is told."""
    found = codes(lint(replace(files, series=f"{FIRST}\n{THIRD}\n".encode())))
    assert Code.SERIES_INCOMPLETE in found
    assert Code.SERIES_NUMBERING in found


def make_files(tmp_path: Path, tree: dict[str, bytes], metadata: str = METADATA) -> StackFiles:
    """Return a stack of one patch that makes ``tree`` of the base."""
    metadata = metadata.replace('["engine", "model"]', '["engine"]')
    changes = (Change("Change things", tree),)
    return read_files(write_stack(tmp_path / "one", changes, metadata=metadata))


@pytest.mark.parametrize(
    ("path", "content", "code", "message"),
    [
        ("setup.py", b"x = 1\n", Code.OUTSIDE_ROOT, "setup.py: setup.py is outside vllm/"),
        ("vllm/x.py", b"x = 1\r\n", Code.CRLF_ADDED, "line 1 is added with CRLF"),
        ("vllm/x.py", b"x = 1\ny = 2 \n", Code.TRAILING_WHITESPACE_ADDED, "line 2 is added with"),
        ("vllm/x.py", b"x = 1\n\t\n", Code.TRAILING_WHITESPACE_ADDED, "line 2 is added with"),
        ("vllm/_version.py", b"x = 1\n", Code.GENERATED_FILE, "generated at build time"),
        ("vllm/x.py", b"def f(:\n", Code.DOES_NOT_COMPILE, "vllm/x.py: line 1: "),
        ("vllm/x.py", b"return 1\n", Code.DOES_NOT_COMPILE, "'return' outside function"),
    ],
)
def test_content_rules(tmp_path: Path, path: str, content: bytes, code: Code, message: str):
    findings = lint(make_files(tmp_path, {**BASE, path: content}))
    assert codes(findings) == [code]
    assert message in findings[0].message


def test_warnings_of_the_compiler_are_no_findings(tmp_path: Path):
    """An invalid escape sequence in an old docstring is upstream's."""
    assert lint(make_files(tmp_path, {**BASE, "vllm/x.py": b'"\\d"\n'})) == []


def test_only_python_is_compiled(tmp_path: Path):
    assert lint(make_files(tmp_path, {**BASE, "vllm/x.json": b"{\n"})) == []


def test_each_prefix_has_to_compile(tmp_path: Path):
    """A patch that breaks what a later one mends is found."""
    broken = {**BASE, "vllm/engine.py": BASE["vllm/engine.py"] + b"def (\n"}
    changes = (Change("Break it", broken), Change("Mend it", BASE | {"vllm/m.py": b"M = 1\n"}))
    metadata = METADATA.replace('["engine", "model"]', '["engine"]')
    files = read_files(write_stack(tmp_path / "two", changes, metadata=metadata))
    (finding,) = lint(files)
    assert (finding.code, finding.place) == (Code.DOES_NOT_COMPILE, "0001-Break-it.patch")


def with_diff(files: StackFiles, diff: bytes) -> StackFiles:
    """Return the files with the third patch's diff replaced."""
    data = files.patches[THIRD]
    head = data[: data.index(b"diff --git ")]
    return replace(files, patches={**files.patches, THIRD: head + diff})


BEFORE, AFTER = DEFAULT_CHANGES[1].after, DEFAULT_CHANGES[2].after
GOOD_DIFF = make_diff(BEFORE, AFTER)


@pytest.mark.parametrize(
    ("diff", "expected"),
    [
        (b"", [Code.DIFF_EMPTY]),
        (GOOD_DIFF.replace(b"-6,4", b"-6,5"), [Code.DIFF_MALFORMED]),
        (GOOD_DIFF + b"+more\n", [Code.DIFF_MALFORMED]),
        (GOOD_DIFF.replace(b"engine.py", b"../engine.py"), [Code.DIFF_MALFORMED]),
        (GOOD_DIFF.replace(b"100644", b"120000"), [Code.DIFF_MALFORMED]),
        (GOOD_DIFF + b"-- \n2.39.5\n\n", [Code.NOT_CANONICAL]),
        (b"diff --git a/vllm/engine.py b/vllm/engine.py\nold mode 100644\nnew mode 100755\n",
         [Code.MODE_CHANGED]),
        (b"diff --git a/vllm/engine.py b/vllm/engine.py\nold mode 100755\nnew mode 100644\n",
         [Code.MODE_CHANGED]),
        (b"diff --git a/vllm/n b/vllm/n\nnew file mode 100755\n"
         b"index 0000000000000000000000000000000000000000.."
         b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n", [Code.MODE_CHANGED]),
        (b"diff --git a/vllm/x b/vllm/x\nnew file mode 100644\n"
         b"Binary files /dev/null and b/vllm/x differ\n", [Code.BINARY, Code.DOES_NOT_APPLY]),
        (GOOD_DIFF.replace(b"+    return 4\n", b"+    return 4\n\\ No newline at end of file\n")
         , [Code.LINE_END_MISSING, Code.DOES_NOT_APPLY]),
    ],
)  # fmt: skip
def test_diff_rules(files: StackFiles, diff: bytes, expected: list[Code]):
    assert codes(lint(with_diff(files, diff))) == expected


def test_blob_ids_must_be_there_and_full(files: StackFiles):
    """Without full ids nothing proves which bytes a patch was cut from."""
    (index,) = [line for line in GOOD_DIFF.splitlines(keepends=True) if line.startswith(b"index")]
    short = b"index " + index[6:13] + b".." + index[48:55] + b" 100644\n"
    for diff, message in (
        (GOOD_DIFF.replace(index, b""), "no index line"),
        (GOOD_DIFF.replace(index, short), "abbreviated blob ids"),
    ):
        findings = lint(with_diff(files, diff))
        assert codes(findings) == [Code.BLOB_IDS_MISSING]
        assert message in findings[0].message


def test_a_patch_with_an_offset_does_not_apply(files: StackFiles):
    moved = GOOD_DIFF.replace(b"@@ -6,4 +6,4 @@", b"@@ -5,4 +5,4 @@")
    assert moved != GOOD_DIFF
    (finding,) = lint(with_diff(files, moved))
    assert (finding.code, finding.place) == (Code.DOES_NOT_APPLY, THIRD)
    assert "does not match at line 5" in finding.message


def test_every_finding_is_told(files: StackFiles):
    """Patches that cannot be read do not hide what is wrong with the others."""
    damaged = edit(files, FIRST, b"Origin: vendor\n", b"")
    damaged = edit(damaged, SECOND, b"@@ -0,0 +1 @@", b"@@ -0,0 +9 @@")
    damaged = edit(damaged, THIRD, b"Subsystem: engine", b"Subsystem: brain")
    found = codes(check_files(damaged, None, BASE.get))
    assert found == [Code.TRAILER_MISSING, Code.SUBSYSTEM_UNKNOWN, Code.DOES_NOT_APPLY,
                     Code.LOCK_MISSING]  # fmt: skip
    damaged = edit(damaged, SECOND, b"@@ -0,0 +9 @@", b"@@ broken @@")
    found = codes(check_files(damaged, b"{", BASE.get))
    assert found == [Code.DIFF_MALFORMED, Code.TRAILER_MISSING, Code.SUBSYSTEM_UNKNOWN,
                     Code.LOCK_MALFORMED]  # fmt: skip


def test_the_lock_has_to_be_there(files: StackFiles):
    assert codes(check_files(files, None, BASE.get)) == [Code.LOCK_MISSING]
    assert codes(check_files(files, b"{", BASE.get)) == [Code.LOCK_MALFORMED]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: edit(files, FIRST, b"Why this", b"Why that"), f"{FIRST} or what it changes"),
        (with_metadata("version = 1", "version = 2"), "it says version 1, the stack 2"),
        (with_metadata("A stack for tests", "Another"), "it was made of another stack.toml"),
    ],
)
def test_the_lock_has_to_be_up_to_date(files: StackFiles, change, message: str):
    findings = check_files(change(files), lock_of(files), BASE.get)
    assert codes(findings)[0] is Code.LOCK_OUTDATED
    assert findings[0].message.startswith(message)


def test_a_lock_of_more_or_fewer_patches_is_outdated(files: StackFiles):
    stack = make_stack(files)
    longer = make_lock(stack, BASE.get)
    shorter = make_lock(replace(stack, patches=stack.patches[:2]), BASE.get)
    messages = [f.message for f in check_stack(stack, shorter, BASE.get)]
    assert f"it lacks {THIRD}" in messages
    cut = replace(stack, patches=stack.patches[:2])
    messages = [f.message for f in check_stack(cut, longer, BASE.get)]
    assert f"it has {THIRD}, the stack has not" in messages


def test_a_forged_hash_in_the_lock_is_found(files: StackFiles):
    lock = lock_of(files)
    digest = make_lock(make_stack(files), BASE.get).files[0].after
    assert digest is not None
    forged = lock.replace(digest.encode(), b"0" * 64)
    assert Code.LOCK_OUTDATED in codes(check_files(files, forged, BASE.get))


def test_the_parts_of_a_lock_have_to_agree(files: StackFiles):
    """The net effect is that of the patches, and they come in the order of the series."""
    stack = make_stack(files)
    lock = make_lock(stack, BASE.get)
    (finding,) = check_stack(stack, replace(lock, files=lock.files[:1]), BASE.get)
    assert finding.message == "its net effect is not that of its patches"
    first, second, third = lock.patches
    swapped = replace(lock, patches=(second, first, third))
    (finding,) = check_stack(stack, swapped, BASE.get)
    assert finding.message == "its patches are in another order"


def test_released_content_that_changed_asks_for_a_bump(files: StackFiles):
    stack = make_stack(files)
    released = record_release(make_lock(stack, BASE.get))
    assert check_stack(stack, released, BASE.get) == []
    changed = edit(files, FIRST, b"Why this", b"Why that")
    relocked = make_lock(make_stack(changed), BASE.get, previous=released)
    (finding,) = check_files(changed, format_lock(relocked), BASE.get)
    assert finding.code is Code.BUMP_NEEDED
    assert finding.message.startswith("version 1 was released with other content (digest ")
    bumped = with_metadata("version = 1", "version = 2")(changed)
    relocked = make_lock(make_stack(bumped), BASE.get, previous=released)
    assert check_files(bumped, format_lock(relocked), BASE.get) == []


def test_known_hashes_have_to_cover_the_stack(files: StackFiles):
    stack = make_stack(files)
    lock = replace(make_lock(stack, BASE.get), known={"0.10.2": {"vllm/engine.py": "0" * 64}})
    (finding,) = check_stack(stack, lock, BASE.get)
    assert finding.code is Code.KNOWN_INCOMPLETE
    assert "0.10.2 lack 1 files: vllm/model.py" in finding.message
