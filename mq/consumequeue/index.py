"""IndexService: find messages by key, through a hash table on disk · depth

A file holds a header, slots, and entries. A key's slot has the number of the newest entry whose key fell into
it; each entry has the number of the one before it in the same slot:

    begin time 8 | end time 8 | begin physical 8 | end physical 8 | used slots 4 | next entry 4
    slots  4 each
    entries  20 each: key hash 4 | physical offset 8 | seconds since begin time 4 | previous entry 4

What always holds:
* Entries are numbered from 1, and 0 ends a chain; so a chain runs from the newest entry to the oldest.
* A file is never moved or sorted: a new key is one entry at the end and one slot. A full file is followed by
  a new one, named by the UTC time at which it was made.
* The file knows hashes, not keys. Who asks gets what has the hash, and compares the keys.

After an unclean end a file may hold slots without their entries. So only full files that ended before the
checkpoint stay; the log makes the others anew. (4.9.8 keeps any file that the checkpoint covers.)

Real: org.apache.rocketmq.store.index.IndexService, IndexFile (equivalent)
"""

import asyncio
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import mul
from typing import NamedTuple

from mq.commitlog.checkpoint import Checkpoint
from mq.commitlog.put import DispatchRequest
from mq.commitlog.record import TRANSACTION_MASK
from mq.commitlog.store import ABORT
from mq.runtime.disk import PAGE_BYTES, Disk, File
from mq.runtime.errors import StoreError
from mq.runtime.node import Node

HEADER = struct.Struct(">qqqqii")
ENTRY = struct.Struct(">iqii")
SLOT_BYTES = 4
PAGE_SLOTS = PAGE_BYTES // SLOT_BYTES
MAX_SECONDS = 0x7FFFFFFF
MAX_WAITING_BYTES = 4 << 20  # ours: entries that wait in memory before they are written
MAX_KNOWN_HEADS, MAX_HEAD_LENGTH = 4096, 256
FIRST_NAME = "made"  # of a file that is there only while the directory is made
POWERS = [31**count for count in range(9)]
FACTORS = [tuple(reversed(POWERS[:count])) for count in range(9)]
NEEDS_NOTHING = (1 << 63) - 1


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
        slot, number, begin_ms = key_hash % self.slots, self.count, self.begin_timestamp_ms
        page_number = slot // PAGE_SLOTS
        page, at = self._pages.get(page_number) or self._page(page_number), slot % PAGE_SLOTS
        previous = page[at]
        if not 0 < previous < number:
            previous = 0
            self.used_slots += 1
        seconds = (store_timestamp_ms - begin_ms) // 1000 if begin_ms > 0 else 0
        if not 0 <= seconds <= MAX_SECONDS:
            seconds = 0 if seconds < 0 else MAX_SECONDS
        self._tail += ENTRY.pack(key_hash, physical_offset, seconds, previous)
        page[at] = number
        self._dirty_pages[page_number] = None
        if number == 1:
            self.begin_physical_offset, self.begin_timestamp_ms = physical_offset, store_timestamp_ms
        self.count = number + 1
        self.end_physical_offset, self.end_timestamp_ms = physical_offset, store_timestamp_ms
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

    def write(self) -> None:
        """Hand what waits to the page cache: entries, then slots, then the header. Raises OSError."""
        file = self._open()
        if self._tail:
            file.write_at(self._entry_position(self._tail_count), bytes(self._tail))
            self._tail_count += len(self._tail) // ENTRY.size
            self._tail.clear()
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


class Found(NamedTuple):
    """The answer to a query: physical offsets in the log's order, and how far the index reaches."""

    physical_offsets: list[int]
    last_update_timestamp_ms: int
    last_update_physical_offset: int


class IndexService:
    """All index files of a broker; a derived store of the log."""

    name = "index"
    directory = "index"

    def __init__(self, node: Node, slots: int = 5_000_000, entries: int = 20_000_000) -> None:
        self.node = node
        self.slots = slots
        self.entries = entries
        self.files: list[IndexFile] = []
        self._recovered_to = 0
        self._dispatched_ms = 0
        self._is_broken = False  # keys are missing, or the disk is in doubt: nothing can be called durable
        self._names_changed = False
        self._hashes: dict[str, int] = {}

    def query(self, topic: str, key: str, max_num: int, begin_ms: int, end_ms: int) -> Found:
        """At most `max_num` messages whose key has this hash, newest first found, in the log's order.

        Times are ms since 1970, both included; entries know them to the second. Other keys with the same
        hash are among them.
        """
        found: list[int] = []
        key_hash = hash_of_key(topic, key)
        for file in reversed(self.files):
            if file.is_time_matched(begin_ms, end_ms):
                for entry in file.chain(key_hash):
                    if len(found) >= max_num:
                        break
                    at_ms = file.begin_timestamp_ms + entry.seconds * 1000
                    if entry.key_hash == key_hash and begin_ms <= at_ms <= end_ms:
                        if entry.physical_offset not in found:  # a message may have one key twice
                            found.append(entry.physical_offset)
                    if at_ms < begin_ms:
                        break
            if file.begin_timestamp_ms < begin_ms or len(found) >= max_num:
                break
        last = self.files[-1] if self.files else None
        return Found(
            sorted(found), last.end_timestamp_ms if last else 0, last.end_physical_offset if last else 0
        )

    # Following the log.

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        """Enter the keys of messages, in the order of the log. A message that is there is passed over.

        When the disk refuses, the index stops here: it may lack keys until the log makes it again.
        """
        if self._is_broken:
            return
        try:
            for request in requests:
                if request.uniq_key or request.keys:
                    self._enter(request)
            if self.files and self.files[-1].waiting_bytes > MAX_WAITING_BYTES:
                self.files[-1].write()
        except OSError as error:
            self._is_broken = True
            self.node.journal.complain("index not written", error=str(error))
        if requests:
            self._dispatched_ms = requests[-1].store_timestamp_ms

    def _enter(self, request: DispatchRequest) -> None:
        if request.sys_flag & TRANSACTION_MASK == TRANSACTION_MASK:
            return  # rolled back
        physical_offset, keys = request.physical_offset, keys_of(request)
        if self.files and physical_offset <= (end := self.files[-1].end_physical_offset):
            if physical_offset < end:
                return
            keys = keys[self._entered(physical_offset) :]  # the last one, perhaps not with all its keys
        for key in keys:
            key_hash = self._hash(request.topic, key)
            self._last_with_room().put(key_hash, physical_offset, request.store_timestamp_ms)

    def _entered(self, physical_offset: int) -> int:
        """How many of the newest entries are this message's."""
        entered = 0
        for file in reversed(self.files):
            for number in range(file.count - 1, 0, -1):
                if file.entry(number).physical_offset != physical_offset:
                    return entered
                entered += 1
        return entered

    def _last_with_room(self) -> IndexFile:
        if self.files and self.files[-1].count < self.entries:
            return self.files[-1]
        name = file_name(self.node.wall_ms())
        if self.files and name <= (last := self.files[-1].path.rpartition("/")[2]):
            name = f"{int(last) + 1:017d}"  # a second one in a millisecond, or the clock was set back
        file = IndexFile(self.node.disk, f"{self.directory}/{name}", self.slots, self.entries)
        if self.files:
            file.follow(self.files[-1])
        self.files.append(file)
        self._names_changed = True
        return file

    def _hash(self, topic: str, key: str) -> int:
        """`hash_of_key`, with the beginning of the text remembered: clients' ids share theirs."""
        head = f"{topic}#{key[:-8]}"
        value = self._hashes.get(head)
        if value is None:
            value = hash_on(0, head)
            if len(self._hashes) >= MAX_KNOWN_HEADS:
                self._hashes.clear()
            if len(head) <= MAX_HEAD_LENGTH:
                self._hashes[head] = value
        return positive(hash_on(value, key[-8:]))

    def rewriting(self, on: bool) -> None:
        """Nothing to do: what may differ was removed."""

    # After a restart.

    def load(self) -> None:
        """Open the files that can be trusted. Raises StoreError for one that is none of ours."""
        disk = self.node.disk
        was_there, is_clean = disk.exists(self.directory), not disk.exists(ABORT)
        checkpoint = Checkpoint(disk)
        checkpoint.load()
        removed = False
        for name in disk.list(self.directory):
            file = self._open(name)
            if file is not None and not removed:
                if is_clean or (file.is_full and file.end_timestamp_ms < checkpoint.times["index"]):
                    self.files.append(file)
                    continue
                removed = True
            self._remove(f"{self.directory}/{name}", file)
        self._recovered_to = NEEDS_NOTHING
        if removed or not was_there:
            self._recovered_to = self.files[-1].end_physical_offset if self.files else 0

    def _open(self, name: str) -> IndexFile | None:
        """The file; None when it holds nothing."""
        file = IndexFile(self.node.disk, f"{self.directory}/{name}", self.slots, self.entries)
        length = self.node.disk.stat(file.path).length_bytes
        if length == 0 or name == FIRST_NAME:
            return None
        if not name.isdecimal() or length != file.length_bytes:
            raise StoreError(f"{file.path} has {length} bytes; index files here have {file.length_bytes}")
        file.load()
        return file

    def _remove(self, path: str, file: IndexFile | None) -> None:
        if file is not None:
            file.release()
        if self.node.disk.exists(path):  # one that was never written has no file yet
            self.node.disk.remove(path)
        self._names_changed = True

    def recovered_to(self) -> int:
        """Where dispatch has to begin for the index.

        Messages without keys leave no trace in it. After a clean end it lacks nothing, and says so.
        """
        return self._recovered_to

    def recover(self, clean: bool, log_end: int) -> None:
        """Nothing to do: what cannot be trusted went in `load`, and what the log lost was not trusted."""

    def truncate(self, physical_offset: int) -> None:
        """The log was cut here: files that know of what lay behind go whole, and the log makes them again."""
        removed = False
        while self.files and self.files[-1].end_physical_offset >= physical_offset:
            file = self.files.pop()
            self._remove(file.path, file)
            removed = True
        if removed:
            self._recovered_to = self.files[-1].end_physical_offset if self.files else 0

    def delete_before(self, physical_offset: int) -> None:
        """Remove files all of whose messages lie below, never the newest."""
        while len(self.files) > 1 and self.files[0].end_physical_offset < physical_offset:
            file = self.files.pop(0)
            self._remove(file.path, file)

    # Making it durable.

    async def flush(self, thorough: bool) -> int | None:
        """Write what is worth it; `thorough`: everything, and sync. Returns as `QueueStore.flush` does."""
        dispatched_ms = self._dispatched_ms
        for file in list(self.files):
            if file.is_dirty and (thorough or file.waiting_bytes >= 2 * PAGE_BYTES):
                file.write()
                await self.node.sleep_ms(0)
        if not thorough or self._is_broken:
            return None
        try:
            await self._sync()
        except OSError:
            self._is_broken = True
            raise
        return dispatched_ms

    async def _sync(self) -> None:
        if not self.node.disk.exists(self.directory):
            self._make_directory()
        await asyncio.gather(*[file.sync() for file in self.files if file.is_unsynced])
        if self._names_changed:
            self._names_changed = False
            await self.node.disk.sync_directory(self.directory)
        for file in self.files[:-1]:
            if not (file.is_dirty or file.is_unsynced):
                file.release()

    def _make_directory(self) -> None:
        """A directory without files says: the log was followed, and no message had a key."""
        path = f"{self.directory}/{FIRST_NAME}"
        self.node.disk.open(path, create=True).close()
        self.node.disk.remove(path)
        self._names_changed = True

    def close(self) -> None:
        """Give the descriptors back."""
        for file in self.files:
            file.release()


def keys_of(request: DispatchRequest) -> list[str]:
    """What a message can be found by: the client's id first, then each of its keys."""
    keys = [key for key in request.keys.split(" ") if key] if " " in request.keys else [request.keys]
    named = keys if keys != [""] else []
    return [request.uniq_key, *named] if request.uniq_key else named


def hash_of_key(topic: str, key: str) -> int:
    """The hash under which a topic's key is stored: 0 to 2**31 - 1."""
    return positive(hash_on(0, f"{topic}#{key}"))


def positive(value: int) -> int:
    """Java's Math.abs of 32 bits, and 0 where that has no answer."""
    return value if value < 1 << 31 else (1 << 32) - value & 0x7FFFFFFF


def hash_on(value: int, text: str) -> int:
    """Java's String.hashCode, begun with `value`, as 32 bits without a sign: eight characters at a time."""
    if text.isascii():
        units: Sequence[int] = text.encode()
    else:
        units = memoryview(text.encode("utf-16", "surrogatepass")).cast("H")[1:].tolist()
    for start in range(0, len(units), 8):
        piece = units[start : start + 8]
        length = len(piece)
        value = value * POWERS[length] + sum(map(mul, piece, FACTORS[length])) & 0xFFFFFFFF
    return value


def file_name(now_ms: int) -> str:
    """`20130109140000000`: UTC to the millisecond."""
    return datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%d%H%M%S") + f"{now_ms % 1000:03d}"
