"""An input wheel while it is copied: read once, from start to end, hashed on the way."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from vllm_patchkit.errors import WheelError
from vllm_patchkit.terminal import Progress
from vllm_patchkit.wheel.archive import Archive
from vllm_patchkit.wheel.write import Sink

BLOCK_BYTES = 1 << 20
BLOCKS = 4


class HashedSource:
    """One pass over an archive: every byte enters the hash once, wanted ranges go to a sink too.

    A thread hashes a block while it is being written and the next ones are read; hashlib lets go
    of the interpreter meanwhile, so that with a second core the hash costs no time.
    """

    def __init__(self, archive: Archive, bar: Progress) -> None:
        self.archive = archive
        self._bar = bar
        self._digest = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(max_workers=1)
        self._free = deque(memoryview(bytearray(BLOCK_BYTES)) for _ in range(BLOCKS))
        self._hashing: deque[tuple[memoryview, Future[None]]] = deque()
        self._block = memoryview(b"")
        self._start = self._position = 0

    def copy(self, offset: int, length: int, sink: Sink) -> None:
        """Write ``length`` bytes from ``offset`` on to the sink.

        :raises WheelError: the file is shorter than it was.
        """
        if offset < self._position:
            self._copy_again(offset, length, sink)
            return
        self._advance(offset, None)
        self._advance(offset + length, sink)

    def require_sha256(self, expected: str) -> None:
        """Hash what was not wanted, and compare.

        :raises WheelError: it is another file than the one that was asked for.
        """
        self._advance(self.archive.size_bytes, None)
        self._hasher.shutdown()
        found = self._digest.hexdigest()
        if found != expected:
            raise WheelError(
                f"{self.archive.path} is not the pinned wheel: expected sha256 {expected}, "
                f"found {found}",
                hint="fetch it again; a wheel of your own needs a file name of its own, such as "
                "one with a build tag",
            )

    def _advance(self, target: int, sink: Sink | None) -> None:
        while self._position < target:
            if self._position == self._start + len(self._block):
                self._fill()
            stop = min(target, self._start + len(self._block))
            if sink is not None:
                sink.write(self._block[self._position - self._start : stop - self._start])
            self._position = stop

    def _fill(self) -> None:
        """Read the next block, and have it hashed."""
        if not self._free:
            buffer, hashed = self._hashing.popleft()
            hashed.result()
            self._free.append(buffer)
        buffer = self._free.popleft()
        self._start += len(self._block)
        count = self.archive.readinto(self._start, buffer)
        if not count:
            raise WheelError(f"{self.archive.path} became shorter while it was read")
        self._block = buffer[:count]
        self._hashing.append((buffer, self._hasher.submit(self._digest.update, self._block)))
        self._bar.advance(count)

    def _copy_again(self, offset: int, length: int, sink: Sink) -> None:
        """Write a range that was passed already; members can be wanted in another order."""
        for start in range(offset, offset + length, BLOCK_BYTES):
            sink.write(self.archive.pread(start, min(BLOCK_BYTES, offset + length - start)))
