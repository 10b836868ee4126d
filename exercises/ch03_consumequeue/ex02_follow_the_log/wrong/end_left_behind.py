"""Makes room for the numbers that are missing, and then moves the end on by one from where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.consumequeue.queue import ENTRY


class ConsumeQueue:
    def append(self, queue_offset: int, physical_offset: int, size: int, tags_code: int) -> bool:
        if queue_offset < self.max_queue_offset:
            return False
        if queue_offset > self.max_queue_offset:
            self._skip_to(queue_offset)
        self.tail += ENTRY.pack(physical_offset, size, tags_code)
        self.max_queue_offset += 1
        self.physical_end = physical_offset + size
        return True
