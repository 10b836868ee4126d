"""IndexService: find messages by key, through a hash table on disk · depth

What always holds:
* A file is never moved or sorted: a new key is one entry at the end and one slot. A full file is followed by
  a new one, named by the UTC time at which it was made.
* The index knows hashes, not keys. Who asks gets what has the hash, and compares the keys.

After an unclean end a file may hold slots without their entries. So only full files that ended before the
checkpoint stay; the log makes the others anew. (4.9.8 keeps any file that the checkpoint covers.)

Real: org.apache.rocketmq.store.index.IndexService (equivalent)
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from mq.commitlog.checkpoint import Checkpoint
from mq.commitlog.put import DispatchRequest
from mq.commitlog.store import ABORT
from mq.consumequeue.fastindex import KeyHashes, NewEntry
from mq.consumequeue.fastindex import keys_of as keys_of
from mq.consumequeue.indexfile import IndexFile
from mq.consumequeue.keyhash import hash_of_key as hash_of_key
from mq.consumequeue.keyhash import hash_on as hash_on
from mq.consumequeue.keyhash import positive as positive
from mq.runtime.disk import PAGE_BYTES
from mq.runtime.errors import StoreError
from mq.runtime.node import Node

MAX_WAITING_BYTES = 4 << 20  # ours: entries that wait in memory before they are written
FIRST_NAME = "made"  # of a file that is there only while the directory is made
NEEDS_NOTHING = (1 << 63) - 1


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
        self._hashes = KeyHashes()

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
            fresh = 0
            if self.files:
                while fresh < len(requests) and self._knows(requests[fresh].physical_offset):
                    self._enter_the_rest(requests[fresh])
                    fresh += 1
            self._put(self._hashes.entries_of(requests[fresh:] if fresh else requests))
            if self.files and self.files[-1].waiting_bytes > MAX_WAITING_BYTES:
                self.files[-1].write_entries()
        except OSError as error:
            self._is_broken = True
            self.node.journal.complain("index not written", error=str(error))
        if requests:
            self._dispatched_ms = requests[-1].store_timestamp_ms

    def _knows(self, physical_offset: int) -> bool:
        """Whether this message, or one behind it, was the last to be entered."""
        return physical_offset <= self.files[-1].end_physical_offset

    def _enter_the_rest(self, request: DispatchRequest) -> None:
        """Of the last message, perhaps not all keys are there; of those before it, all are."""
        if request.physical_offset == self.files[-1].end_physical_offset:
            self._put(self._hashes.entries_of([request])[self._entered(request.physical_offset) :])

    def _put(self, entries: list[NewEntry]) -> None:
        """Add keys, and files when one is full. Raises OSError."""
        while entries:
            file = self._last_with_room()
            room = self.entries - file.count
            file.put_all(entries[:room] if len(entries) > room else entries)
            entries = entries[room:]

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
            if file.is_dirty and thorough:
                file.write()
                await self.node.sleep_ms(0)
            elif file.waiting_bytes >= 2 * PAGE_BYTES:
                file.write_entries()
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


def file_name(now_ms: int) -> str:
    """`20130109140000000`: UTC to the millisecond."""
    return datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%d%H%M%S") + f"{now_ms % 1000:03d}"
