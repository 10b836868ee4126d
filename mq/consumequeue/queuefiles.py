"""QueueFiles: the files of one queue, whatever is in them · depth

What always holds:
* The files have one length and follow one another without a gap. A file is named by the position of its
  first byte, 20 digits, and is sparse: what was never written takes no space.
* None is held open for writing: 50,000 queues would be 50,000 descriptors. Reads go through `OpenFiles`.
* What a sync still has to cover is known: files from `unsynced_from` on, and names if `names_changed`.

A broker may have 50,000 of these, so a queue's fields are slots, its paths are made when they are asked for,
and `files` is a range which all queues with the same files share.

Real: org.apache.rocketmq.store.MappedFileQueue (equivalent, with open, write and close in place of a mapping)
"""

from functools import lru_cache

from mq.consumequeue.openfiles import OpenFiles
from mq.runtime.disk import Disk
from mq.runtime.errors import StoreError

NO_FILES = range(0)


class QueueFiles:
    """The files of `consumequeue/<topic>/<queue id>`, `file_bytes` each."""

    __slots__ = (
        "_open_files", "disk", "file_bytes", "files", "is_damaged", "names_changed", "queue_id", "topic",
        "unsynced_from",
    )  # fmt: skip

    def __init__(
        self, disk: Disk, topic: str, queue_id: int, file_bytes: int, open_files: OpenFiles | None
    ) -> None:
        self.disk = disk
        self.topic = topic
        self.queue_id = queue_id
        self.file_bytes = file_bytes
        self.files = NO_FILES  # the positions at which they begin, ascending
        self.unsynced_from: int | None = None  # the first file that was written since its last sync
        self.names_changed = False  # files came or went since the directory's last sync
        self.is_damaged = False  # files that should be there are not: entries may be missing
        self._open_files = open_files or OpenFiles(disk)

    @property
    def directory(self) -> str:
        """Where the files are."""
        return f"consumequeue/{self.topic}/{self.queue_id}"

    def path(self, file: int) -> str:
        """The file that begins at this position."""
        return f"consumequeue/{self.topic}/{self.queue_id}/{file:020d}"

    def unsynced_paths(self) -> list[str]:
        """The files that were written since they were last synced, and perhaps some between them."""
        begin = self.unsynced_from
        return [self.path(file) for file in self.files if begin is not None and file >= begin]

    def write_in(self, file: int, in_file: int, data: bytearray) -> None:
        """Write at a place of one file, and make the file first if it is the next. Raises OSError."""
        is_new = file not in self.files
        try:
            opened = self.disk.open(self.path(file), create=is_new)
        except FileNotFoundError:  # somebody took it away: a short one tells the next start that entries lack
            opened = self.disk.open(self.path(file), create=True)
        try:
            if is_new:
                opened.set_length(self.file_bytes)
                self._add(file)
            opened.write_at(in_file, data)
        finally:
            opened.close()
        self._wrote(file)

    def set_lengths(self, file: int, *lengths: int) -> None:
        """Give a file one length after the other: what is cut off and given back reads as zeros."""
        opened = self.disk.open(self.path(file))
        for length in lengths:
            opened.set_length(length)
        opened.close()
        self._wrote(file)

    def remove(self, file: int) -> None:
        """Remove the first file, or the last. Raises OSError."""
        self._delete(self.path(file))
        left = self.files[1:] if file == self.files.start else self.files[:-1]
        self.files = positions(left.start, left.stop, left.step)

    def find(self) -> None:
        """Find the files on disk. Raises StoreError for one that is none of ours.

        They end after the first that is short, and before the first that is missing: what lies behind is
        removed, and `is_damaged` says that the log must be asked again.
        """
        is_whole = True
        for name in self.disk.list(self.directory):
            file, length = self._checked(name)
            follows = not self.files or file == self.files.stop
            if not (is_whole and follows):
                self._delete(self.path(file))
                self.is_damaged = True
                continue
            self._add(file)
            if length < self.file_bytes:  # its maker died before it had its length, or while it was cut
                self.set_lengths(file, self.file_bytes)
                is_whole, self.is_damaged = False, length > 0
        self.names_changed = True  # who wrote them may have died before it synced their names

    def _add(self, file: int) -> None:
        first = self.files.start if self.files else file
        self.files = positions(first, file + self.file_bytes, self.file_bytes)
        self.names_changed = True

    def _delete(self, path: str) -> None:
        self._open_files.forget(path)
        self.disk.remove(path)
        self.names_changed = True

    def _wrote(self, file: int) -> None:
        self.unsynced_from = file if self.unsynced_from is None else min(file, self.unsynced_from)

    def _checked(self, name: str) -> tuple[int, int]:
        """The position at which a file begins, and its length. Raises StoreError."""
        path = f"{self.directory}/{name}"
        length = self.disk.stat(path).length_bytes
        if not (len(name) == 20 and name.isdecimal()) or int(name) % self.file_bytes:
            raise StoreError(f"{path} is not the name of a queue file of {self.file_bytes} bytes")
        if length > self.file_bytes:
            raise StoreError(f"{path} has {length} bytes; queue files here have {self.file_bytes}")
        return int(name), length


@lru_cache(maxsize=4096)
def positions(first: int, end: int, file_bytes: int) -> range:
    """Where the files begin that lie between two positions: one object for all queues with the same files."""
    return range(first, end, file_bytes)
