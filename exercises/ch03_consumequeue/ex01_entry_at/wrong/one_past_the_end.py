"""One past the end: the queue's end is taken for its last entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, Entry


class ConsumeQueue:
    def entry_at(self, queue_offset: int) -> Entry | None:
        if queue_offset < self.min_queue_offset or queue_offset > self.max_queue_offset:
            return None
        position = queue_offset * ENTRY_BYTES
        if position >= self.tail_position and self.tail:
            return Entry._make(ENTRY.unpack_from(self.tail, position - self.tail_position))
        file = position // self.file_bytes * self.file_bytes
        data = self._open_files.read(self.path(file), position - file, ENTRY_BYTES)
        return Entry._make(ENTRY.unpack(data)) if data else None
