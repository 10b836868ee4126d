"""IndexFile: a hash table on disk, header, slots and entries · depth

A file holds a header, slots, and entries. A key's slot has the number of the newest entry whose key fell into
it; each entry has the number of the one before it in the same slot:

    begin time 8 | end time 8 | begin physical 8 | end physical 8 | used slots 4 | next entry 4
    slots  4 each
    entries  20 each: key hash 4 | physical offset 8 | seconds since begin time 4 | previous entry 4

What always holds: entries are numbered from 1, and 0 ends a chain; so a chain runs from the newest entry to
the oldest. Nothing is moved or sorted: a new key is one entry at the end and one slot.

Real: org.apache.rocketmq.store.index.IndexFile (equivalent)
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mq.runtime.disk import PAGE_BYTES, Disk, File

HEADER = struct.Struct(">qqqqii")
ENTRY = struct.Struct(">iqii")
SLOT_BYTES = 4
PAGE_SLOTS = PAGE_BYTES // SLOT_BYTES
MAX_SECONDS = 0x7FFFFFFF


class IndexEntry(NamedTuple):
    """One key of one message."""

    key_hash: int
    physical_offset: int
    seconds: int
    previous: int


class IndexFile:
    """One file. Slots are read by page and kept; entries and changed pages wait until `write`."""

    def __init__(self, disk: Disk, path: str, slots: int, entries: int) -> None:
        self.disk = disk
        self.path = path
        self.slots = slots
        self.entries = entries
        self.begin_timestamp_ms = self.end_timestamp_ms = 0
        self.begin_physical_offset = self.end_physical_offset = 0
        self.used_slots = 0
        self.count = 1  # the number of the next entry
        self.is_dirty = self.is_unsynced = False
        self._pages: dict[int, array[int]] = {}
        self._dirty_pages: dict[int, None] = {}
        self._tail = bytearray()  # entries that no file has yet
        self._tail_count = 1  # the number of the first of them
        self._file: File | None = None

    @property
    def length_bytes(self) -> int:
        """420,000,040 with the real numbers, nearly all of them a hole."""
        return HEADER.size + SLOT_BYTES * self.slots + ENTRY.size * self.entries

    @property
    def is_full(self) -> bool:
        """Whether no further key fits."""
        return self.count >= self.entries

    @property
    def waiting_bytes(self) -> int:
        """Entries that are in memory only."""
        return len(self._tail)

    def load(self) -> None:
        """Take the header from disk."""
        header = self._open().read_at(0, HEADER.size).ljust(HEADER.size, b"\0")
        (
            self.begin_timestamp_ms,
            self.end_timestamp_ms,
            self.begin_physical_offset,
            self.end_physical_offset,
            self.used_slots,
            count,
        ) = HEADER.unpack(header)
        self.count = self._tail_count = max(count, 1)

    def follow(self, previous: "IndexFile") -> None:
        """Begin where a full file ended, as RocketMQ does."""
        self.begin_physical_offset = self.end_physical_offset = previous.end_physical_offset
        self.begin_timestamp_ms = self.end_timestamp_ms = previous.end_timestamp_ms
        self.is_dirty = True

    def put(self, key_hash: int, physical_offset: int, store_timestamp_ms: int) -> None:
        """Add a key. The file must not be full."""
        slot, number = key_hash % self.slots, self.count
        page_number = slot // PAGE_SLOTS
        page, at = self._pages.get(page_number) or self._page(page_number), slot % PAGE_SLOTS
        previous = page[at]
        if not 0 < previous < number:
            previous = 0
            self.used_slots += 1
        seconds = seconds_since(self.begin_timestamp_ms, store_timestamp_ms)
        self._tail += ENTRY.pack(key_hash, physical_offset, seconds, previous)
        page[at] = number
        self._dirty_pages[page_number] = None
        if number == 1:
            self.begin_physical_offset, self.begin_timestamp_ms = physical_offset, store_timestamp_ms
        self.count = number + 1
        self.end_physical_offset, self.end_timestamp_ms = physical_offset, store_timestamp_ms
        self.is_dirty = True

    def put_all(self, entries: Iterable[tuple[int, int, int]]) -> None:
        """`put` for each (key hash, physical offset, store time), as many as there is room for.

        What `put` looks up for each key is kept at hand. Raises OSError: then no key was added.
        """
        slots, pages, dirty_pages, pack = self.slots, self._pages, self._dirty_pages, ENTRY.pack
        number, used_slots, begin_ms = self.count, 0, self.begin_timestamp_ms
        physical_offset = stored_ms = seconds_of_ms = seconds = -1
        packed: list[bytes] = []
        for key_hash, physical_offset, stored_ms in entries:
            slot = key_hash % slots
            page_number, at = slot // PAGE_SLOTS, slot % PAGE_SLOTS
            page = pages.get(page_number) or self._page(page_number)
            previous = page[at]
            if not 0 < previous < number:
                previous = 0
                used_slots += 1
            if stored_ms != seconds_of_ms:  # most entries of a write share their time
                seconds, seconds_of_ms = seconds_since(begin_ms, stored_ms), stored_ms
            if number == 1:
                self.begin_physical_offset, self.begin_timestamp_ms = physical_offset, stored_ms
                begin_ms, seconds_of_ms = stored_ms, -1
            packed.append(pack(key_hash, physical_offset, seconds, previous))
            page[at] = number
            dirty_pages[page_number] = None
            number += 1
        if packed:
            self._tail += b"".join(packed)
            self.count, self.used_slots = number, self.used_slots + used_slots
            self.end_physical_offset, self.end_timestamp_ms = physical_offset, stored_ms
            self.is_dirty = True

    def chain(self, key_hash: int) -> Iterator[IndexEntry]:
        """The entries in the key's slot, newest first: also those of other keys."""
        slot = key_hash % self.slots
        number, steps = self._page(slot // PAGE_SLOTS)[slot % PAGE_SLOTS], 0
        while 0 < number < self.count and steps < self.count:
            entry = self.entry(number)
            yield entry
            number, steps = entry.previous if entry.previous != number else 0, steps + 1

    def entry(self, number: int) -> IndexEntry:
        """The entry with this number, 1 to `count - 1`."""
        if number >= self._tail_count:
            return IndexEntry._make(ENTRY.unpack_from(self._tail, (number - self._tail_count) * ENTRY.size))
        data = self._open().read_at(self._entry_position(number), ENTRY.size)
        return IndexEntry._make(ENTRY.unpack(data.ljust(ENTRY.size, b"\0")))

    def is_time_matched(self, begin_ms: int, end_ms: int) -> bool:
        """Whether the two spans of time touch."""
        return begin_ms <= self.end_timestamp_ms and end_ms >= self.begin_timestamp_ms

    def write_entries(self) -> None:
        """Hand the entries that wait to the page cache. On disk, no slot leads to them before `write`.

        Nobody minds: a file that was not closed cleanly is made again. And keys fall into slots at random, so
        in a second they change most of the 20 MB. Raises OSError.
        """
        if self._tail:
            self._open().write_at(self._entry_position(self._tail_count), bytes(self._tail))
            self._tail_count += len(self._tail) // ENTRY.size
            self._tail.clear()

    def write(self) -> None:
        """Hand all that waits to the page cache: entries, then slots, then the header. Raises OSError."""
        self.write_entries()
        file = self._open()
        for number in self._dirty_pages:
            file.write_at(HEADER.size + number * PAGE_BYTES, _big_endian(self._pages[number]))
        self._dirty_pages.clear()
        header = (
            self.begin_timestamp_ms,
            self.end_timestamp_ms,
            self.begin_physical_offset,
            self.end_physical_offset,
            self.used_slots,
            self.count,
        )
        file.write_at(0, HEADER.pack(*header))
        self.is_dirty, self.is_unsynced = False, True

    async def sync(self) -> None:
        """Make durable what was written. Raises OSError."""
        self.is_unsynced = False
        await self._open().sync()

    def release(self) -> None:
        """Give memory and descriptor back: the file is full and written, or the store closes."""
        self._pages.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _entry_position(self, number: int) -> int:
        return HEADER.size + SLOT_BYTES * self.slots + ENTRY.size * number

    def _page(self, number: int) -> "array[int]":
        """A page of slots: 1,024 of them, fewer at the end."""
        page = self._pages.get(number)
        if page is None:
            length = min(PAGE_SLOTS, self.slots - number * PAGE_SLOTS) * SLOT_BYTES
            data = self._open().read_at(HEADER.size + number * PAGE_BYTES, length)
            page = self._pages[number] = _from_big_endian(data.ljust(length, b"\0"))
        return page

    def _open(self) -> File:
        if self._file is None:
            self._file = self.disk.open(self.path, create=True)
            if self._file.length() < self.length_bytes:
                self._file.set_length(self.length_bytes)
        return self._file


def seconds_since(begin_ms: int, store_timestamp_ms: int) -> int:
    """What an entry holds of its time: never below 0, and 0 while the file has no beginning."""
    return max(0, min((store_timestamp_ms - begin_ms) // 1000, MAX_SECONDS)) if begin_ms > 0 else 0


def _big_endian(page: "array[int]") -> bytes:
    if sys.byteorder == "little":
        page = page[:]
        page.byteswap()
    return page.tobytes()


def _from_big_endian(data: bytes) -> "array[int]":
    page = array("i", data)
    if sys.byteorder == "little":
        page.byteswap()
    return page
