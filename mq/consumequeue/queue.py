"""ConsumeQueue: where the messages of one queue lie in the log · core

A queue is an array. Entry number `queue_offset` is the 20 bytes at position `queue_offset * 20`, and says
where the record begins, how long it is, and the hash of its tag:

    physical offset 8 | size 4 | tags code 8

The array is cut into files of one length. A file is named by the position of its first byte, 20 digits, so
a queue offset alone says which file holds the entry and where in it.

What always holds:
* Entry i points at the record that calls itself number i of this queue, and at no other.
* Entries below `min_queue_offset` point at nothing: the log has let go of their records, or they are fillers.
* `tail` is what no file has yet. It continues the files exactly, and readers see both as one.
* A file has its full length from the first moment. The first entry with size 0 is where the queue ends.

Real: org.apache.rocketmq.store.ConsumeQueue (equivalent, with `tail` in place of mapped memory)
"""

import struct
from bisect import bisect_left
from typing import NamedTuple

from mq.consumequeue.openfiles import OpenFiles
from mq.consumequeue.queuefiles import QueueFiles
from mq.runtime.disk import PAGE_BYTES, Disk

ENTRY = struct.Struct(">qiq")
ENTRY_BYTES = ENTRY.size
FILE_BYTES = 300_000 * ENTRY_BYTES  # RocketMQ's mappedFileSizeConsumeQueue
FILLER_SIZE = 0x7FFFFFFF
FILLER = ENTRY.pack(0, FILLER_SIZE, 0)  # stands where a queue that begins late has no entry


class Entry(NamedTuple):
    """20 bytes, unpacked. `tags_code` is the Java hash of the tag, 0 without one [later: 8: or a time]."""

    physical_offset: int
    size: int
    tags_code: int

    @property
    def physical_end(self) -> int:
        """Where the log goes on behind the record."""
        return self.physical_offset + self.size


FILLER_ENTRY = Entry._make(ENTRY.unpack(FILLER))


class ConsumeQueue(QueueFiles):
    """One queue of one topic: the files of one directory, and the tail that waits to be written."""

    __slots__ = ("__dict__", "max_queue_offset", "min_queue_offset", "physical_end", "tail", "tail_position")

    def __init__(
        self,
        disk: Disk,
        topic: str,
        queue_id: int,
        file_bytes: int = FILE_BYTES,
        open_files: OpenFiles | None = None,
    ) -> None:
        super().__init__(disk, topic, queue_id, file_bytes, open_files)
        self.tail = bytearray()
        self.tail_position = 0  # where the tail goes once it is written
        self.min_queue_offset = 0
        self.max_queue_offset = 0  # what the next entry gets
        self.physical_end = 0  # where the log goes on behind the last record that is entered here

    # Reading.

    def entry_at(self, queue_offset: int) -> Entry | None:
        """The entry with this number; None when it is gone or not there yet."""
        if not self.min_queue_offset <= queue_offset < self.max_queue_offset:
            return None
        position = queue_offset * ENTRY_BYTES
        if position >= self.tail_position:
            return Entry._make(ENTRY.unpack_from(self.tail, position - self.tail_position))
        file = position - position % self.file_bytes  # a file is named by the position of its first byte
        data = self._open_files.read(self.path(file), position - file, ENTRY_BYTES)
        return Entry._make(ENTRY.unpack(data)) if len(data) == ENTRY_BYTES else None

    def read(self, queue_offset: int, max_entries: int) -> bytes:
        """Up to `max_entries` entries that follow one another, as bytes. They end where their file ends.

        Empty when the file is not there, or the queue ends before `queue_offset`.
        """
        position = queue_offset * ENTRY_BYTES
        in_file = position % self.file_bytes
        wanted = min(max_entries * ENTRY_BYTES, self.file_bytes - in_file)
        written = min(wanted, max(self.tail_position - position, 0))
        data = self._open_files.read(self.path(position - in_file), in_file, written) if written else b""
        if len(data) < written:
            return b""
        in_tail = max(position - self.tail_position, 0)
        return data + self.tail[in_tail : in_tail + wanted - written]

    def next_file(self, queue_offset: int) -> int:
        """The queue offset with which the next file begins."""
        per_file = self.file_bytes // ENTRY_BYTES
        return queue_offset - queue_offset % per_file + per_file

    def first_from(self, physical_offset: int) -> int:
        """The queue offset of the first entry whose record lies here or behind, else the queue's end."""
        offsets = range(self.min_queue_offset, self.max_queue_offset)
        if offsets and self._lies_from(offsets.start, physical_offset):
            return offsets.start
        return offsets.start + bisect_left(offsets, True, key=lambda i: self._lies_from(i, physical_offset))

    def _lies_from(self, queue_offset: int, physical_offset: int) -> bool:
        entry = self.entry_at(queue_offset)
        return entry is not None and entry.physical_offset >= physical_offset and entry != FILLER_ENTRY

    # Writing.

    def append(self, queue_offset: int, physical_offset: int, size: int, tags_code: int) -> bool:
        """Enter a record under its own number. False when this number has been entered before."""
        if queue_offset < self.max_queue_offset:
            return False
        if queue_offset > self.max_queue_offset:
            self._skip_to(queue_offset)
        self.tail += ENTRY.pack(physical_offset, size, tags_code)
        self.max_queue_offset = queue_offset + 1
        self.physical_end = physical_offset + size
        return True

    def _skip_to(self, queue_offset: int) -> None:
        """Nobody has the entries in between, so fillers take their place. The queue's ends stay as they are.

        A queue without entries begins here, and its file is filled from its first byte, as RocketMQ does. A
        queue with entries should never get here: its fillers say where the log stood, so that physical
        offsets still ascend; and before it would fill more than a file, it gives its old entries up.
        """
        missing = queue_offset - self.max_queue_offset
        if self.max_queue_offset > self.min_queue_offset and missing * ENTRY_BYTES <= self.file_bytes:
            self.tail += ENTRY.pack(self.physical_end, FILLER_SIZE, 0) * missing
            return
        while self.files:
            self.remove(self.files[-1])
        missing = queue_offset % (self.file_bytes // ENTRY_BYTES)
        self.tail = bytearray(FILLER * missing)
        self.tail_position = (queue_offset - missing) * ENTRY_BYTES
        self.min_queue_offset = queue_offset

    def write_tail(self) -> None:
        """Hand the tail to the page cache: open, write, close. Raises OSError: then what is left stays."""
        while self.tail:
            in_file = self.tail_position % self.file_bytes
            file, piece = self.tail_position - in_file, self.tail[: self.file_bytes - in_file]
            self.write_in(file, in_file, piece)
            del self.tail[: len(piece)]
            self.tail_position += len(piece)

    # Taking away.

    def cut(self, queue_offset: int) -> None:
        """Take away the entries from this number on: the tail, whole files, and the end of the last file."""
        if queue_offset == self.max_queue_offset:
            return
        end = queue_offset * ENTRY_BYTES
        del self.tail[max(end - self.tail_position, 0) :]
        if end < self.tail_position:
            while self.files and self.files[-1] >= end:
                self.remove(self.files[-1])
            if self.files and end < self.files.stop:  # what was cut reads as zeros
                self.set_lengths(self.files[-1], end - self.files[-1], self.file_bytes)
            self.tail_position = end
        self.max_queue_offset = queue_offset
        self.min_queue_offset = min(self.min_queue_offset, queue_offset)
        last = self.entry_at(queue_offset - 1)
        self.physical_end = last.physical_end if last is not None else 0

    def delete_before(self, physical_offset: int) -> None:
        """Remove files all of whose records lie below, never the last; find the first entry that does not."""
        self._find_minimum(physical_offset)
        while len(self.files) > 1 and self.files[1] <= self.min_queue_offset * ENTRY_BYTES:
            self.remove(self.files[0])

    def _find_minimum(self, physical_offset: int) -> None:
        self.min_queue_offset = (self.files[0] if self.files else self.tail_position) // ENTRY_BYTES
        self.min_queue_offset = self.first_from(physical_offset)

    # Opening.

    def load(self) -> None:
        """Find the files and the queue's end. Raises StoreError for a file that is none of ours."""
        self.find()
        while self.files and not (count := self._entries_in(self.files[-1])):
            self.remove(self.files[-1])  # made, and nothing of what was written to it is left
        if self.files:
            self.max_queue_offset = self.files[-1] // ENTRY_BYTES + count
            self.tail_position = self.max_queue_offset * ENTRY_BYTES
            last = self.entry_at(self.max_queue_offset - 1)
            self.physical_end = last.physical_end if last is not None else 0
            self._find_minimum(0)  # steps over the fillers; deletes nothing: who knows yet what is true?

    def _entries_in(self, file: int) -> int:
        """How many entries stand before the first one with size 0, found by halves.

        Of many queues most are short: one look at the first page says whether to search there or beyond.
        """
        path, numbers = self.path(file), range(self.file_bytes // ENTRY_BYTES)
        page = self._open_files.read(path, 0, min(PAGE_BYTES // ENTRY_BYTES, len(numbers)) * ENTRY_BYTES)
        in_page = range(len(page) // ENTRY_BYTES)

        def is_free(number: int) -> bool:
            if number in in_page:
                return not any(page[number * ENTRY_BYTES + 8 : number * ENTRY_BYTES + 12])
            return not any(self._open_files.read(path, number * ENTRY_BYTES, ENTRY_BYTES)[8:12])

        if in_page and is_free(in_page[-1]):
            numbers = in_page
        return bisect_left(numbers, True, key=is_free)
