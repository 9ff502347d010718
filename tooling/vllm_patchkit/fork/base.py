"""Upstream releases as commits of the private store."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from vllm_patchkit.archive import zipformat
from vllm_patchkit.archive.entries import Member
from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.diff.paths import path_fault
from vllm_patchkit.errors import CommandFailed, UsageError, WheelError
from vllm_patchkit.fork.store.git import Person, Repository
from vllm_patchkit.fork.store.repository import Change, File, import_commits
from vllm_patchkit.host.files import file_sha256
from vllm_patchkit.host.terminal import Console
from vllm_patchkit.stack.model import Base
from vllm_patchkit.stack.modes import mode_of
from vllm_patchkit.wheel.fetch import fetch_release, keep_wheel
from vllm_patchkit.wheel.metadata import normalize_name
from vllm_patchkit.wheel.pins import WheelInput

COMPILED = (".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".cubin", ".fatbin", ".pyc")
MAX_FILE_BYTES = 16 << 20
DATA_CODE = re.compile(r"([^/]+\.data/(?:purelib|platlib))/.*\.py\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSpec:
    """Which release is meant: from the registry, from a wheel file, or from a git checkout.

    :param revision: with ``checkout``, the tag or commit.
    :param pin: which wheel of the release it has to be; None takes any.
    """

    distribution: str
    version: str
    wheel: Path | None = None
    checkout: Path | None = None
    revision: str | None = None
    pin: WheelInput | None = None

    @classmethod
    def of_base(cls, base: Base) -> BaseSpec:
        """Return the release that a stack names as its base, the very wheel if it says which."""
        pin = WheelInput.of_base(base)
        return cls(distribution=base.distribution, version=base.version, pin=pin)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseTree:
    """A release in the store.

    :param wheel: the file name of the wheel that it was read from, ``""`` if it was none.
    :param sha256: that wheel's digest, ``""`` where it is not known.
    :param root: the one package that it ships, ``""`` if there are several.
    :param date: when it was built, as git writes dates.
    """

    spec: BaseSpec
    commit: str
    root: str
    date: str
    wheel: str = ""
    sha256: str = ""


def parse_base(
    text: str, *, distribution: str | None = None, checkout: Path | None = None
) -> BaseSpec:
    """Return the release that ``vllm==0.11.0``, ``0.11.0`` or ``./x.whl`` names.

    :param distribution: what a bare version is a version of.
    :param checkout: a git repository in which ``text`` is a tag or commit.

    >>> parse_base("vllm==v0.11.0").version
    '0.11.0'
    """
    if checkout is not None:
        return BaseSpec(
            distribution=distribution or "vllm",
            version=str(version_of(text) or text),
            checkout=checkout.absolute(),
            revision=text,
        )
    if text.endswith(".whl"):
        return _parse_wheel_path(Path(text))
    name, separator, version = text.partition("==")
    if not separator:
        name, version = distribution or "", text
    if not name or not version_of(version):
        raise UsageError(
            f"{text!r} does not name a release",
            hint="write DISTRIBUTION==VERSION (vllm==0.11.0), or the path of a wheel",
        )
    # A release's tag is v0.11.0.
    release = version.strip().removeprefix("v")
    return BaseSpec(distribution=normalize_name(name.strip()), version=release)


def version_of(text: str) -> Version | None:
    """Return the version that a text is, None if it is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _parse_wheel_path(path: Path) -> BaseSpec:
    if not path.is_file():
        raise UsageError(f"there is no wheel at {path}")
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise UsageError(f"{path}: {error}") from None
    # It may be remembered, and asked for from another folder.
    return BaseSpec(distribution=name, version=str(version), wheel=path.absolute())


def load_base(store: Repository, spec: BaseSpec, console: Console) -> BaseTree:
    """Return a release's tree in the store, fetched first if it is not there.

    Shared objects and bytecode are left out: no patch can touch them, and they are 95 % of a
    wheel.
    """
    if spec.checkout is not None:
        return _load_checkout(store, spec)
    digest = keep_wheel(spec.wheel, console) if spec.wheel else ""
    ref = _ref_of(spec, digest)
    commit = _find_commit(store, spec, digest)
    if commit is None:
        wheel = spec.wheel or fetch_release(spec.distribution, spec.version, console, spec.pin)
        digest = digest or file_sha256(wheel, console)
        console.note(f"read {wheel.name} into the store")
        commit = _import_wheel(store, spec, wheel, digest)
        for name in {ref, _ref_of(spec, digest)}:
            store.run("update-ref", name, commit)
    return _describe(store, spec, commit)


def find_stored(store: Repository, spec: BaseSpec) -> BaseTree | None:
    """Return a release of a registry if it is in the store already."""
    commit = _find_commit(store, spec, "")
    return None if commit is None else _describe(store, spec, commit)


def _find_commit(store: Repository, spec: BaseSpec, digest: str) -> str | None:
    ref = _ref_of(spec, digest)
    commit = store.resolve(f"{ref}^{{commit}}")
    if commit is None and not (digest or spec.pin):
        commit = _only_source(store, ref)
    return commit


def _ref_of(spec: BaseSpec, source: str) -> str:
    source = source or (spec.pin.sha256 if spec.pin else "registry")
    version = re.sub(r"[^0-9A-Za-z.+]", "-", spec.version)
    return f"refs/bases/{spec.distribution}/{version}/{source}"


def _only_source(store: Repository, ref: str) -> str | None:
    """Return the release from wherever it was read, if that was one place: a wheel file given
    once by its path serves from then on, though no registry has it.
    """
    found = store.text("for-each-ref", "--format=%(objectname)", ref.rpartition("/")[0])
    commits = set(found.split())
    return commits.pop() if len(commits) == 1 else None


def _describe(store: Repository, spec: BaseSpec, commit: str) -> BaseTree:
    date, _, message = store.text("show", "-s", "--date=raw", "--format=%ad%n%B", commit).partition(
        "\n"
    )
    said = dict(re.findall(r"(?m)^(Wheel|Sha256|Root): ?(.*)$", message))
    return BaseTree(
        spec=spec,
        commit=commit,
        root=said.get("Root", ""),
        date=date,
        wheel=said.get("Wheel", "") if "Sha256" in said else "",
        sha256=said.get("Sha256", ""),
    )


def _import_wheel(store: Repository, spec: BaseSpec, wheel: Path, digest: str) -> str:
    with Archive(wheel) as archive:
        members = list(_source_members(archive))
        files = {
            one.name: File(archive.read(one.name), mode_of(executable=one.executable))
            for one in members
        }
        built = max((one.modified for one in members), default=zipformat.EARLIEST)
        if not any(path.endswith(".py") for path in files):
            _refuse_data_folder(archive)
    date = f"{calendar.timegm((*built, 0, 0, 0))} +0000"
    root = find_root(files)
    change = Change(
        author=Person("upstream", "upstream@localhost.invalid", date),
        message=f"{spec}\n\nWheel: {wheel.name}\nSha256: {digest}\nRoot: {root}\n",
        files=files,
    )
    (commit,) = import_commits(store, None, [change])
    return commit


def _refuse_data_folder(archive: Archive) -> None:
    """Say so where a wheel keeps its code in the folder from which installers move it."""
    found = (DATA_CODE.match(member.name) for member in archive.members)
    match = next(filter(None, found), None)
    if match is not None:
        raise WheelError(
            f"{archive.path.name} keeps its code in {match[1]}/, where no patch reaches it",
            hint="build the wheel again with the code at its top, as nearly every wheel has it",
        )


def _source_members(archive: Archive) -> Iterator[Member]:
    for member in archive.members:
        if not is_source(member.name, member.size):
            continue
        fault = path_fault(member.name)
        if fault:
            raise WheelError(f"{archive.path.name}: the member {member.name!r} is refused: {fault}")
        yield member


def is_source(name: str, size_bytes: int) -> bool:
    """Return whether a member of a wheel is a file that a patch can touch."""
    top = name.split("/", 1)[0]
    if name.endswith(("/", *COMPILED)) or size_bytes > MAX_FILE_BYTES:
        return False
    return not top.endswith((".dist-info", ".data", ".libs"))


def find_root(paths: Collection[str]) -> str:
    """Return the one package that holds all of the paths, ``""`` if there are several."""
    tops = Counter(PurePosixPath(path).parts[0] for path in paths if "/" in path)
    loose = any("/" not in path for path in paths)
    return next(iter(tops)) if len(tops) == 1 and not loose else ""


def _load_checkout(store: Repository, spec: BaseSpec) -> BaseTree:
    """Take a tag's tree out of somebody's repository, reading only."""
    assert spec.checkout is not None
    assert spec.revision is not None
    root = spec.distribution.replace("-", "_")
    try:
        store.run(
            "fetch", "--quiet", "--no-tags", "--depth=1", "--update-shallow",
            spec.checkout.resolve().as_uri(), f"+{spec.revision}:refs/patchkit/fetched",
        )  # fmt: skip
    except CommandFailed as failure:
        raise UsageError(
            f"{spec.checkout}: cannot take {spec.revision} from this repository",
            hint=failure.stderr_tail.strip(),
        ) from None
    fetched = "refs/patchkit/fetched^{commit}"
    subtree = store.resolve(f"{fetched}:{root}")
    if subtree is None:
        raise UsageError(f"{spec.checkout}: {spec.revision} has no folder {root}/")
    date = store.text("show", "-s", "--date=raw", "--format=%cd", fetched)
    tree = store.run(
        "mktree", "-z", input_bytes=f"040000 tree {subtree}\t{root}\0".encode()
    ).decode().strip()  # fmt: skip
    author = Person("upstream", "upstream@localhost.invalid", date)
    commit = store.write_commit(tree, [], author, f"{spec}\n\nRoot: {root}\n")
    store.run("update-ref", _ref_of(spec, "checkout"), commit)
    return BaseTree(spec=spec, commit=commit, root=root, date=date)
