"""Only one file: every entry is looked for in the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, Entry


class ConsumeQueue:
    def entry_at(self, queue_offset: int) -> Entry | None:
        if not self.min_queue_offset <= queue_offset < self.max_queue_offset:
            return None
        position = queue_offset * ENTRY_BYTES
        if position >= self.tail_position:
            return Entry._make(ENTRY.unpack_from(self.tail, position - self.tail_position))
        data = self._open_files.read(self.path(self.files[0]), position, ENTRY_BYTES)
        return Entry._make(ENTRY.unpack(data))
