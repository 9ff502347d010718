"""RECORD is written as the standard library reads it, and its lies are found."""

from __future__ import annotations

import csv
import io

import pytest

from support.environments import COMMA, record_of
from vllm_patchkit.wheel.record import (
    RecordRow,
    check_rows,
    format_record,
    parse_record,
    record_row,
    row_path,
    update_record,
)

OWN = "vllm-1.dist-info/RECORD"
FILES = {"vllm/a.py": b"a", COMMA: b"{}", 'vllm/quo"ted.py': b"", "vllm/ä.py": b"x" * 999}
ROWS = [RecordRow.of(path, data) for path, data in FILES.items()]


def test_what_is_written_is_what_csv_reads() -> None:
    """The oracle is the standard library's reader, on a file of awkward paths."""
    table = list(csv.reader(io.StringIO(format_record(ROWS, OWN).decode())))
    assert [row[0] for row in table] == [*FILES, OWN]
    assert [int(row[2]) for row in table[:-1]] == [len(data) for data in FILES.values()]
    assert table[-1] == [OWN, "", ""]


def test_rows_are_those_of_the_support_code() -> None:
    assert sorted(format_record(ROWS, OWN).splitlines()) == sorted(
        record_of(FILES, OWN).splitlines()
    )


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_parse_reads_either_line_end(line_end: str) -> None:
    rows, flaws = parse_record(record_of(FILES, OWN, line_end=line_end), OWN)
    assert not flaws
    assert rows == {row.path: row for row in ROWS}


HASH = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
BAD_ROWS = {
    "two-fields": (f"a,{HASH}", "2 fields instead of 3"),
    "unquoted-comma": (f"a,b.py,{HASH},0", "4 fields instead of 3"),
    "no-hash": ("a,,0", "no sha256"),
    "md5": ("a,md5=rL0Y20zC-Fzt72VPzMSk2A,0", "no sha256"),
    "padded": (f"a,{HASH}=,0", "no sha256"),
    "standard-alphabet": (f"a,{HASH.replace('-', '+').replace('_', '/')},0", "no sha256"),
    "no-size": (f"a,{HASH},", "no size"),
    "negative-size": (f"a,{HASH},-1", "no size"),
    "unicode-digit": (f"a,{HASH},\u0663", "no size"),
    "twice": (f"a,{HASH},0\na,{HASH},0", "more than once"),
    "its-own-hash": (f"{OWN},{HASH},0", "cannot hold its own hash"),
    "open-quote": ('"a', "no CSV file"),
}


@pytest.mark.parametrize(("text", "fault"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_malformed_row_is_a_flaw(text: str, fault: str) -> None:
    _, flaws = parse_record(f"{text}\n".encode(), OWN)
    assert [fault in str(flaw) for flaw in flaws] == [True]
    assert "[record]" in str(flaws[0])


def test_a_record_that_is_not_utf8_is_a_flaw() -> None:
    assert "no CSV file in UTF-8" in str(parse_record(b"\xff", OWN)[1])


def test_every_disagreement_with_the_members_is_a_flaw() -> None:
    rows = {row.path: row for row in ROWS}
    sizes = {path: len(data) for path, data in FILES.items()}
    assert not list(check_rows(rows, sizes))
    del sizes["vllm/a.py"]
    sizes["vllm/new.py"] = 1
    sizes[COMMA] = 3
    texts = [flaw.text for flaw in check_rows(rows, sizes)]
    assert len(texts) == 3
    assert "lists 'vllm/a.py', which is not in the wheel" in texts[0]
    assert "does not list 'vllm/new.py'" in texts[1]
    assert f"gives {COMMA!r} 2 bytes; it has 3" in texts[2]


# What an installer wrote, of which single rows change.
INSTALLED = {"vllm/a.py": b"a\n", "vllm/E=1,N=2.json": b"{}\n", "vllm/b.py": b"b\n"}
INSTALLED_RECORD = "vllm-0.11.0.dist-info/RECORD"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_changed_rows_are_what_a_csv_writer_would_have_written(line_end: str) -> None:
    """Whatever the installer's line ends, the result is RECORD written anew; commas included."""
    before = record_of(INSTALLED, INSTALLED_RECORD, line_end=line_end)
    after = {
        **INSTALLED,
        "vllm/a.py": b"changed\n",
        "vllm/E=1,N=2.json": b"{1}\n",
        "vllm/c,d.py": b"",
    }
    changes = {path: after[path] for path in ("vllm/a.py", "vllm/E=1,N=2.json", "vllm/c,d.py")}

    updated = update_record(before, changes)

    expected = record_of(after, INSTALLED_RECORD, line_end=line_end).splitlines(keepends=True)
    assert sorted(updated.splitlines(keepends=True)) == sorted(expected)
    assert updated.splitlines()[-1].startswith(INSTALLED_RECORD.encode())


def test_a_deleted_file_loses_its_row_and_nothing_else_moves() -> None:
    before = record_of(INSTALLED, INSTALLED_RECORD)
    del_b = {path: content for path, content in INSTALLED.items() if path != "vllm/b.py"}
    assert update_record(before, {"vllm/b.py": None}) == record_of(del_b, INSTALLED_RECORD)


def test_rows_of_others_keep_their_bytes() -> None:
    """Signed hashes, sizes left out and odd quoting are not ours to normalise."""
    odd = b'"vllm/x.py",sha512=abc,\r\nvllm/__pycache__/a.cpython-312.pyc,,\r\n'
    assert update_record(odd, {"vllm/y.py": b""}).startswith(odd)


def test_a_last_row_without_a_line_end_gets_one_before_a_row_is_added() -> None:
    updated = update_record(b"vllm/a.py,,", {"vllm/b.py": b""})
    assert updated.splitlines()[0] == b"vllm/a.py,,"
    assert len(updated.splitlines()) == 2


def test_an_absolute_or_outside_row_is_left_alone() -> None:
    before = b"../../../bin/vllm,sha256=x,1\n/etc/vllm.conf,,\n"
    assert update_record(before, {"vllm/a.py": None}) == before


@pytest.mark.parametrize(
    "path", ["plain.py", "a,b.py", 'quo"te.py', 'a",b.py', '"', ",", 'x""y,.py', "utf\u00e9.py"]
)
def test_a_row_reads_back_by_us_and_by_csv(path: str) -> None:
    row = record_row(path, b"content")
    assert row_path(row + b"\r\n") == path
    assert next(csv.reader(io.StringIO(row.decode())))[0] == path
