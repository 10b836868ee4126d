"""Segments: a sequence of files of one size that reads as one long file · core

What always holds: a file's name is the position of its first byte, 20 digits. Every file has the full
length from its first moment, sparse, so that a position alone says which file holds it and where. Nothing
crosses the end of a file. Only the last file is written.

Real: org.apache.rocketmq.store.MappedFileQueue (equivalent, without mmap: on a full disk it is a signal)
"""

from collections import OrderedDict

from mq.runtime.disk import Disk, File

MAX_OPEN_FILES = 64  # descriptors of one sequence; the least recently used is closed


class Segments:
    """The files of one directory, `segment_bytes` each."""

    def __init__(self, disk: Disk, directory: str, segment_bytes: int) -> None:
        self.disk = disk
        self.directory = directory
        self.segment_bytes = segment_bytes
        self.starts: list[int] = []
        self._open: OrderedDict[int, File] = OrderedDict()
        self.directory_is_dirty = False

    def path(self, start: int) -> str:
        """The file that begins at this position."""
        return f"{self.directory}/{start:020d}"

    @property
    def first(self) -> int:
        """The lowest position that is still there."""
        return self.starts[0] if self.starts else 0

    @property
    def capacity_end(self) -> int:
        """The position behind the last file's last byte."""
        return self.starts[-1] + self.segment_bytes if self.starts else 0

    def add(self, first: int = 0) -> int:
        """Make the next file, all zeros; returns its first position. Raises OSError.

        `first` is where a sequence without files begins.
        """
        start = self.capacity_end if self.starts else first
        file = self.disk.open(self.path(start), create=True)
        file.set_length(self.segment_bytes)
        self.starts.append(start)
        self._open[start] = file
        self.directory_is_dirty = True
        return start

    def start_of(self, position: int) -> int:
        """Where the file that holds `position` begins."""
        return self.first + (position - self.first) // self.segment_bytes * self.segment_bytes

    def read(self, position: int, length: int) -> bytes:
        """Up to `length` bytes, not beyond the file's end; empty when the position is not there."""
        if not self.first <= position < self.capacity_end:
            return b""
        start = self.start_of(position)
        return self._file(start).read_at(position - start, min(length, start + self.segment_bytes - position))

    def write(self, position: int, data: bytes | bytearray) -> None:
        """Write inside one file. Raises OSError."""
        start = self.start_of(position)
        self._file(start).write_at(position - start, data)

    async def sync(self, position: int, end: int) -> None:
        """Make what lies between the two durable, earlier files first. Raises OSError."""
        if self.directory_is_dirty:
            self.directory_is_dirty = False
            await self.disk.sync_directory(self.directory)
        for start in [
            start for start in self.starts if position < start + self.segment_bytes and start < end
        ]:
            if start >= self.first:  # else it was deleted meanwhile
                await self._file(start).sync()

    def cut(self, position: int) -> None:
        """Forget everything from `position` on: later files go, the rest of this one becomes zeros.

        The first file stays even when it is empty: its name is where the log goes on.
        """
        while len(self.starts) > 1 and self.starts[-1] >= position:
            self._close(start := self.starts.pop())
            self.disk.remove(self.path(start))
            self.directory_is_dirty = True
        if position < self.capacity_end:
            file = self._file(self.starts[-1])
            file.set_length(position - self.starts[-1])
            file.set_length(self.segment_bytes)

    def delete_first(self) -> None:
        """Remove the oldest file. Raises OSError: then it is still there."""
        self._close(self.first)
        self.disk.remove(self.path(self.first))
        del self.starts[0]
        self.directory_is_dirty = True

    def close(self) -> None:
        """Close every file."""
        for start in list(self._open):
            self._close(start)

    def _file(self, start: int) -> File:
        file = self._open.get(start)
        if file is None:
            file = self._open[start] = self.disk.open(self.path(start))
            if len(self._open) > MAX_OPEN_FILES:
                self._close(next(iter(self._open)))
        self._open.move_to_end(start)
        return file

    def _close(self, start: int) -> None:
        file = self._open.pop(start, None)
        if file is not None:
            file.close()
