"""Counts queue offsets: each record gets the next number, whatever number it says that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.consumequeue.queue import ENTRY


class ConsumeQueue:
    def append(self, queue_offset: int, physical_offset: int, size: int, tags_code: int) -> bool:
        if physical_offset < self.physical_end:
            return False
        self.tail += ENTRY.pack(physical_offset, size, tags_code)
        self.max_queue_offset += 1
        self.physical_end = physical_offset + size
        return True
