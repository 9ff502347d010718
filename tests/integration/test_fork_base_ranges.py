"""base of a release that is not at hand: parts of its wheel where the server gives them, else all.

The server is one of ours on the loopback; how it lies is a parameter. What is right is what the
same command says of the same release with its wheel in the cache.
"""

from __future__ import annotations

import gzip
import re
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.fork_fixtures import home as home
from support.forks import RELEASE_1, ROOT, Git, Said, call, changed, engine_line, put_release
from vllm_patchkit.archive.partial import PartialArchive
from vllm_patchkit.errors import NoRanges
from vllm_patchkit.wheel import download
from vllm_patchkit.wheel.links import Link, choose_wheel, open_release, parse_html, parse_json
from vllm_patchkit.wheel.ranges import RangeReader

ENGINE = f"{ROOT}/engine.py"
# A wheel that is worth taking apart: most of it is nothing that a patch can touch.
BLOB = bytes(range(256)) * 4000
RELEASE_2 = {**changed(RELEASE_1, ENGINE, engine_line(50), "def engine_50(): return 2\n"),
             f"{ROOT}/_C.abi3.so": BLOB}  # fmt: skip
NAME = f"{ROOT}-2.0-py3-none-any.whl"
JSON, HTML = "application/vnd.pypi.simple.v1+json", "text/html"


@dataclass
class Answer:
    """What the server is about to say; a lie changes it."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    wheel: bytes
    url: str = ""
    kind: str = JSON
    lie: Callable[[Answer], None] = lambda answer: None
    sent_bytes: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, wanted: str | None) -> Answer:
        self.asked.append(path)
        if path == "/simple/tiny-llm/":
            return Answer(200, {"Content-Type": self.kind}, page(self.kind))
        if path != f"/files/{NAME}":
            return Answer(404, {}, b"")
        said = part(self.wheel, wanted)
        self.lie(said)
        self.sent_bytes += len(said.body)
        return said


def page(kind: str) -> bytes:
    names = ("tiny_llm-1.9-py3-none-any.whl", "tiny_llm-2.0.tar.gz", NAME)
    if kind == JSON:
        rows = ",".join(f'{{"filename": "{one}", "url": "../../files/{one}"}}' for one in names)
        return f'{{"files": [3, null, {{}}, {rows}]}}'.encode()
    rows = "".join(f'<a href="../../files/{one}">{one}</a>' for one in names)
    return f"<!DOCTYPE html><html><body>{rows}</body></html>".encode()


def part(wheel: bytes, wanted: str | None) -> Answer:
    """Answer as RFC 9110 asks, section 14."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted or "")
    if found is None:
        return Answer(200, {"ETag": '"x"'}, wheel)
    start, end = int(found[1]), min(int(found[2]), len(wheel) - 1)
    where = {"Content-Range": f"bytes {start}-{end}/{len(wheel)}", "ETag": '"x"'}
    return Answer(206, where, wheel[start : end + 1])


@contextmanager
def serve(wheel: bytes) -> Iterator[Site]:
    site = Site(wheel)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            said = site.answer(self.path, self.headers.get("Range"))
            self.send_response(said.status)
            said.headers.setdefault("Content-Length", str(len(said.body)))
            for key, value in said.headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(said.body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    held = put_release(home / "held", "2.0", RELEASE_2)
    with serve(held.read_bytes()) as site:
        for name in ("PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")
        yield site


@pytest.fixture
def whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The whole wheel comes from a folder, without pip; gives how often it was asked for."""
    asked: list[str] = []

    def download_release(name: str, version: str, folder: Path, console: object) -> Path:
        asked.append(f"{name} {version}")
        return Path(shutil.copy(home / "held" / "inputs" / NAME, folder / NAME))

    monkeypatch.setattr(download, "download_release", download_release)
    return asked


def base(capsys: pytest.CaptureFixture[str], home: Path) -> Said:
    git = Git.create(home / "origin", RELEASE_2)
    git.commit(changed(RELEASE_2, ENGINE, engine_line(5), "FIVE = 5\n"), "Five")
    place = home / "fork.diff"
    place.write_bytes(git.run("diff", "base..HEAD"))
    return call(capsys, "base", place, "--distribution", "tiny-llm", "--release", "2.0")


WANTED = [
    "tiny-llm 1.0: of 1 files 1 more fit",
    "tiny-llm 2.0: of 1 files 1 its own",
    "cut from 2.0: all of 1 files are its own",
]


@pytest.mark.parametrize("kind", [JSON, HTML])
def test_only_what_is_needed_is_fetched_and_that_is_said_first(
    kind: str, site: Site, whole: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.kind = kind
    said = base(capsys, home)
    assert said.code == 0, said.err
    assert said.out.splitlines() == WANTED
    assert not whole
    assert site.sent_bytes < 10_000 < len(site.wheel)
    assert re.search(rf"fetch 1 files of {NAME}: 0\.00 of \d\.\d MB", said.err)
    # Nothing of it is kept: it was not compared with anything.
    assert not (home / "cache" / "inputs" / NAME).exists()
    refs = Git(home / "cache" / "git" / "store.git").run("for-each-ref", "--format=%(refname)")
    assert b"/2.0/" not in refs


def no_ranges(answer: Answer) -> None:
    answer.status, answer.headers = 200, {}


def another_range(answer: Answer) -> None:
    text = answer.headers.get("Content-Range", "")
    answer.headers["Content-Range"] = re.sub(r"bytes (\d+)", "bytes 7", text)


def no_content_range(answer: Answer) -> None:
    answer.headers.pop("Content-Range", None)


def no_size(answer: Answer) -> None:
    answer.headers["Content-Range"] = re.sub(r"/.*", "/*", answer.headers["Content-Range"])


def cut_short(answer: Answer) -> None:
    answer.headers["Content-Length"] = str(len(answer.body))
    answer.body = answer.body[:-1]


def shorter_and_says_so(answer: Answer) -> None:
    answer.body = answer.body[:-1]


def more_than_asked(answer: Answer) -> None:
    answer.body += b"x" * 1000


def changes(answer: Answer) -> None:
    answer.headers["ETag"] = f'"{answer.headers["Content-Range"]}"'


def other_bytes(answer: Answer) -> None:
    answer.body = bytes(byte ^ 0xFF for byte in answer.body)


def zipped(answer: Answer) -> None:
    """A proxy that packs whatever is asked for."""
    answer.body = gzip.compress(answer.body)
    answer.headers["Content-Encoding"] = "gzip"


def zipped_whole(answer: Answer) -> None:
    """As many bytes as were asked for, of a packed file."""
    packed = gzip.compress(bytes(range(256)) * 64)
    answer.body = packed[: len(answer.body)].ljust(len(answer.body), b"x")
    answer.headers["Content-Encoding"] = "gzip"


def many_parts(answer: Answer) -> None:
    where = answer.headers.pop("Content-Range", "")
    answer.headers["Content-Type"] = "multipart/byteranges; boundary=X"
    head = f"--X\r\nContent-Range: {where}\r\n\r\n".encode()
    answer.body = head + answer.body + b"\r\n--X--\r\n"


def not_satisfiable(answer: Answer) -> None:
    answer.status, answer.body = 416, b""
    answer.headers["Content-Range"] = "bytes */5"


def too_many_requests(answer: Answer) -> None:
    answer.status, answer.body = 429, b"later"
    answer.headers["Retry-After"] = "3600"


def elsewhere(answer: Answer) -> None:
    """A redirection that never ends."""
    answer.status, answer.body = 302, b""
    answer.headers["Location"] = f"/files/{NAME}"


def forbidden(answer: Answer) -> None:
    answer.status, answer.body = 403, b"no"


LIES = [no_ranges, another_range, no_content_range, no_size, cut_short, shorter_and_says_so,
        more_than_asked, changes, other_bytes, forbidden, zipped, zipped_whole, many_parts,
        not_satisfiable, too_many_requests, elsewhere]  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_server_that_does_not_give_what_was_asked_for_costs_the_whole_wheel(
    lie: Callable[[Answer], None],
    site: Site,
    whole: list[str],
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site.lie = lie
    said = base(capsys, home)
    assert said.code == 0, said.err
    assert said.out.splitlines() == WANTED
    assert "so the whole wheel is fetched" in said.err
    assert whole == ["tiny-llm 2.0"]


def test_a_lie_about_one_member_is_found_where_it_is_read(
    site: Site, whole: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The directory is sound, the file's own bytes are others: its CRC says so."""
    place = site.wheel.index(b"def engine_7()")
    site.wheel = site.wheel[:place] + b"DEF" + site.wheel[place + 3 :]
    said = base(capsys, home)
    assert "does not unpack to what its header says" in said.err
    assert whole == ["tiny-llm 2.0"]
    assert said.out.splitlines() == WANTED


@pytest.mark.parametrize("url", ["{}/nothing", "http://127.0.0.1:9/simple", "file:///no", "x://y"])
def test_an_index_that_lists_nothing_gives_nothing(
    url: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", url.format(site.url))
    with pytest.raises(NoRanges, match="no index that pip is set to lists a wheel"):
        open_release("tiny-llm", "2.0")


def test_without_ranges_pip_fetches_the_whole(
    site: Site, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.lie, site.kind = no_ranges, HTML
    said = base(capsys, home)
    assert said.code == 0, said.err
    assert "fetch the wheel of tiny-llm 2.0 with pip" in said.err
    assert said.out.splitlines() == WANTED
    assert (home / "cache" / "inputs" / NAME).read_bytes() == site.wheel


def test_every_member_is_as_the_whole_archive_has_it(tmp_path: Path) -> None:
    path = put_release(tmp_path, "2.0", RELEASE_2)
    data = path.read_bytes()
    partial = PartialArchive(NAME, len(data), lambda at, count: data[at : at + count])
    with zipfile.ZipFile(path) as whole:
        assert sorted(partial.sizes) == sorted(whole.namelist())
        for name in whole.namelist():
            assert partial.read(name) == whole.read(name)
    assert partial.cost(partial.sizes) < len(data)
    assert partial.get("nothing") is None


def test_pages_of_others() -> None:
    """Hrefs that are relative, quoted, with a base, or no address at all; JSON that is none."""
    html = b'<base href="https://x/y/"><a href="a%2Bb-1-py3-none-any.whl#sha256=0">a</a><a>b</a>'
    html += b'<a href="http://[">c</a><a href="">d</a>'
    found = Link(name="a+b-1-py3-none-any.whl", url="https://x/y/a%2Bb-1-py3-none-any.whl")
    assert parse_html(html) == [found]
    for text in (b"", b"[]", b"3", b'{"files": 3}', b'{"files": [null, [], {"url": 3}]}', b"\xff",
                 b"[" * 100_000):  # fmt: skip
        assert parse_json(text) == []
        parse_html(text)


def test_a_wheel_for_any_machine_is_taken_before_others() -> None:
    names = ("x-1-cp312-cp312-manylinux_2_28_aarch64.whl", "x-1-cp312-cp312-manylinux1_x86_64.whl",
             "x-1.0-py3-none-any.whl", "x-2-py3-none-any.whl", "x-1.tar.gz", "no")  # fmt: skip
    links = [Link(name=name, url=name) for name in names]
    assert choose_wheel(links, "X", "1") == links[2]
    assert choose_wheel(links[:2], "x", "1.0") == links[1]
    assert choose_wheel(links, "y", "1") is None


def test_an_address_of_no_web_server_is_not_opened(tmp_path: Path) -> None:
    for url in (tmp_path.as_uri(), "ftp://127.0.0.1/x", "/etc/passwd", ""):
        with pytest.raises(NoRanges):
            RangeReader(url, "x")
