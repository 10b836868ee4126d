"""Twice after a restart: the queue trusts that nobody tells it the same thing again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.consumequeue.queue import ENTRY


class ConsumeQueue:
    def append(self, queue_offset: int, physical_offset: int, size: int, tags_code: int) -> bool:
        if queue_offset > self.max_queue_offset:
            self._skip_to(queue_offset)
        last = getattr(self, "last_told", -1)
        self.last_told = physical_offset
        if physical_offset <= last:
            return False
        self.tail += ENTRY.pack(physical_offset, size, tags_code)
        self.max_queue_offset += 1
        self.physical_end = physical_offset + size
        return True
