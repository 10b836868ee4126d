"""Disk and File: what a floor may ask of storage · core

What always holds:
* Paths are relative to the node's own root, with `/` between the parts.
* A write is in the page cache when it returns: it survives the death of the process, not of the machine.
* `sync` covers the writes issued before it was called. Syncs of one disk end in the order they began.
* A file's creation, renaming and removal last only after `sync_directory`; its length after its `sync`.
* `close` waits for the syncs that are under way.

The real disk is in `runtime/real.py`, the simulated one in `mq/sim`; one conformance suite runs on both.
"""

from asyncio import Future
from dataclasses import dataclass
from typing import Protocol

PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FileStat:
    """`length_bytes` of the file, and when it was last written, in ms since 1970."""

    length_bytes: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """How much the disk holds and how much of that is taken."""

    total_bytes: int
    used_bytes: int

    @property
    def ratio(self) -> float:
        """Taken share, 0.0 to 1.0: what `diskMaxUsedSpaceRatio` is compared with."""
        return self.used_bytes / self.total_bytes if self.total_bytes else 0.0


class File(Protocol):
    """One open file. Every call may raise `OSError`, with the real world's errno."""

    path: str

    def read_at(self, position: int, length: int) -> bytes:
        """Up to `length` bytes from `position`; fewer at the end of the file."""

    def write_at(self, position: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `position`, or raise. After an error a part of it may have been written."""

    def set_length(self, length_bytes: int) -> None:
        """Cut, or extend with zeros that take no space."""

    def length(self) -> int:
        """The file's length in bytes."""

    def sync(self) -> "Future[None]":
        """Start making the writes so far durable; the future ends when they are, or fails with `OSError`."""

    def close(self) -> None:
        """Give the file back. Writes without a sync stay in the page cache."""


class Lock(Protocol):
    """A held lock on a file; it also falls with the process."""

    def release(self) -> None:
        """Let others have it."""


class Disk(Protocol):
    """One node's storage."""

    def open(self, path: str, create: bool = False) -> File:
        """Open for reading and writing. `create` makes the file and the directories above it.

        Raises FileNotFoundError when it is absent and `create` is not set.
        """

    def exists(self, path: str) -> bool:
        """Whether a file or directory of this name is there."""

    def list(self, directory: str) -> list[str]:
        """Names in a directory, sorted; empty when there is no such directory."""

    def stat(self, path: str) -> FileStat:
        """Length and time of last write. Raises FileNotFoundError."""

    def replace(self, source: str, target: str) -> None:
        """Rename, taking the place of `target` in one step."""

    def remove(self, path: str) -> None:
        """Remove a file, or a directory that is empty."""

    def sync_directory(self, directory: str) -> "Future[None]":
        """Make creations, renamings and removals in it durable, and itself in the directories above it."""

    def usage(self) -> DiskUsage:
        """How full the disk is."""

    def lock(self, path: str) -> Lock:
        """Take an exclusive lock on the file. Raises BlockingIOError when another holds it."""
