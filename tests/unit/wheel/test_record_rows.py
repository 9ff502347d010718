import csv
import io

import pytest

from support.environments import record_of
from vllm_patchkit.wheel.record import record_row, row_path, update_record

FILES = {"vllm/a.py": b"a\n", "vllm/E=1,N=2.json": b"{}\n", "vllm/b.py": b"b\n"}
OWN = "vllm-0.11.0.dist-info/RECORD"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_changed_rows_are_what_a_csv_writer_would_have_written(line_end: str) -> None:
    """Whatever the installer's line ends, the result is RECORD written anew; commas included."""
    before = record_of(FILES, OWN, line_end=line_end)
    after = {**FILES, "vllm/a.py": b"changed\n", "vllm/E=1,N=2.json": b"{1}\n", "vllm/c,d.py": b""}
    changes = {path: after[path] for path in ("vllm/a.py", "vllm/E=1,N=2.json", "vllm/c,d.py")}

    updated = update_record(before, changes)

    expected = record_of(after, OWN, line_end=line_end).splitlines(keepends=True)
    assert sorted(updated.splitlines(keepends=True)) == sorted(expected)
    assert updated.splitlines()[-1].startswith(OWN.encode())


def test_a_deleted_file_loses_its_row_and_nothing_else_moves() -> None:
    before = record_of(FILES, OWN)
    del_b = {path: content for path, content in FILES.items() if path != "vllm/b.py"}
    assert update_record(before, {"vllm/b.py": None}) == record_of(del_b, OWN)


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
