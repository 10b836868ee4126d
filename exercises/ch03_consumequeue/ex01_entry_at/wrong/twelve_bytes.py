"""Twelve bytes to an entry: physical offset and size, and the tag's hash forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, Entry


class ConsumeQueue:
    def entry_at(self, queue_offset: int) -> Entry | None:
        if not self.min_queue_offset <= queue_offset < self.max_queue_offset:
            return None
        position = queue_offset * 12
        if position >= self.tail_position:
            return Entry._make(ENTRY.unpack_from(self.tail, position - self.tail_position))
        file = position // self.file_bytes * self.file_bytes
        data = self._open_files.read(self.path(file), position - file, ENTRY_BYTES)
        return Entry._make(ENTRY.unpack(data)) if data else None
