"""The first entry is taken for entry 0, although retention has deleted files before it."""

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
        number, in_file = divmod(position, self.file_bytes)
        data = self._open_files.read(self.path(self.files[number]), in_file, ENTRY_BYTES)
        return Entry._make(ENTRY.unpack(data))
