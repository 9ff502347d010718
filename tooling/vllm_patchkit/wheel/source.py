"""An input wheel while it is copied: read once, from start to end, hashed on the way."""

from __future__ import annotations

import hashlib
from queue import SimpleQueue
from threading import Thread

from vllm_patchkit.archive.reader import Archive
from vllm_patchkit.archive.writer import Sink
from vllm_patchkit.errors import WheelError
from vllm_patchkit.host.terminal import Progress

BLOCK_BYTES = 1 << 20
BLOCKS = 16


class BlockHasher:
    """Hashes blocks in a thread of its own, in the order given, and then has them to fill again.

    hashlib lets go of the interpreter meanwhile, so that with a second core a hash costs no time
    beside reading and writing.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._filled: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        for _ in range(BLOCKS):
            self._free.put(memoryview(bytearray(BLOCK_BYTES)))
        self._thread = Thread(target=self._hash, daemon=True)
        self._thread.start()

    def take(self) -> memoryview:
        """Return a block that is hashed already, once there is one."""
        return self._free.get()

    def give(self, block: memoryview, count: int) -> None:
        """Have the first ``count`` bytes hashed; they must stay as they are until then."""
        self._filled.put((block, count))

    def hexdigest(self) -> str:
        """Return the hash of all that was given; nothing can be given after that."""
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread once it has hashed what it was given."""
        self._filled.put(None)
        self._thread.join()

    def _hash(self) -> None:
        while (item := self._filled.get()) is not None:
            block, count = item
            self._digest.update(block[:count])
            self._free.put(block)


class HashedSource:
    """One pass over an archive: every byte enters the hash once, wanted ranges go to a sink too."""

    def __init__(self, archive: Archive, bar: Progress) -> None:
        self.archive = archive
        self._bar = bar
        self._hasher = BlockHasher()
        self._block = memoryview(b"")
        self._start = self._position = 0

    def close(self) -> None:
        """Stop hashing, whatever came of it."""
        self._hasher.close()

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
        found = self._hasher.hexdigest()
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
        buffer = self._hasher.take()
        self._start += len(self._block)
        count = self.archive.readinto(self._start, buffer)
        if not count:
            raise WheelError(f"{self.archive.path} became shorter while it was read")
        self._block = buffer[:count]
        self._hasher.give(buffer, count)
        self._bar.advance(count)

    def _copy_again(self, offset: int, length: int, sink: Sink) -> None:
        """Write a range that was passed already; members can be wanted in another order."""
        for start in range(offset, offset + length, BLOCK_BYTES):
            sink.write(self.archive.pread(start, min(BLOCK_BYTES, offset + length - start)))
