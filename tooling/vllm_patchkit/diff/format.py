"""Values to diff text, as ``git diff`` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vllm_patchkit.diff.model import FileDiff, Hunk
from vllm_patchkit.diff.names import encode_name, quote_name

NO_NEWLINE = b"\\ No newline at end of file\n"


def format_diff(files: Iterable[FileDiff]) -> bytes:
    """Return the text of ``files``; the inverse of ``parse_diff`` on git's own output.

    :raises ValueError: a reversed copy, which no diff can say.
    """
    return b"".join(map(format_file, files))


def format_file(diff: FileDiff) -> bytes:
    """Return the text of one file diff."""
    if diff.copied and diff.new_path is None:
        raise ValueError(f"the reverse of a copy has no text: {diff.path}")
    parts = [*_format_header(diff)]
    if diff.binary:
        parts.append(diff.payload)
    elif diff.hunks:
        parts.extend(_format_marks(diff))
        parts.extend(map(format_hunk, diff.hunks))
    return b"".join(parts)


def _format_header(diff: FileDiff) -> Iterator[bytes]:
    old = encode_name(diff.old_path if diff.old_path is not None else diff.path)
    new = encode_name(diff.path)
    yield b"diff --git %s %s\n" % (quote_name(b"a/" + old), quote_name(b"b/" + new))
    same_mode = diff.old_mode == diff.new_mode
    if diff.old_path is None:
        yield b"new file mode %s\n" % _ascii(diff.new_mode or "100644")
    elif diff.new_path is None:
        yield b"deleted file mode %s\n" % _ascii(diff.old_mode or "100644")
    elif not same_mode:
        yield b"old mode %s\nnew mode %s\n" % (_ascii(diff.old_mode), _ascii(diff.new_mode))
    if diff.similarity is not None:
        yield b"similarity index %d%%\n" % diff.similarity
    if diff.dissimilarity is not None:
        yield b"dissimilarity index %d%%\n" % diff.dissimilarity
    if diff.renamed or diff.copied:
        verb = b"rename" if diff.renamed else b"copy"
        yield b"%s from %s\n%s to %s\n" % (verb, quote_name(old), verb, quote_name(new))
    if diff.old_blob is not None and diff.new_blob is not None:
        mode = b" " + _ascii(diff.new_mode) if same_mode and diff.new_mode else b""
        yield b"index %s..%s%s\n" % (_ascii(diff.old_blob), _ascii(diff.new_blob), mode)


def _format_marks(diff: FileDiff) -> Iterator[bytes]:
    for mark, prefix, path in ((b"---", b"a/", diff.old_path), (b"+++", b"b/", diff.new_path)):
        name = b"/dev/null" if path is None else quote_name(prefix + encode_name(path))
        # A tab ends a name with a space in it, so that GNU patch reads it whole.
        yield b"%s %s%s\n" % (mark, name, b"\t" if b" " in name else b"")


def format_hunk(hunk: Hunk) -> bytes:
    """Return the text of one hunk."""
    old = _format_range(hunk.old_start, hunk.old_count)
    new = _format_range(hunk.new_start, hunk.new_count)
    section = b" " + hunk.section if hunk.section else b""
    parts = [b"@@ -%s +%s @@%s\n" % (old, new, section)]
    for line in hunk.lines:
        parts.append(line.op.encode() + line.content)
        if not line.content.endswith(b"\n"):
            parts.append(b"\n" + NO_NEWLINE)
    return b"".join(parts)


def _format_range(start: int, count: int) -> bytes:
    return b"%d" % start if count == 1 else b"%d,%d" % (start, count)


def _ascii(text: str | None) -> bytes:
    return (text or "").encode("ascii")
