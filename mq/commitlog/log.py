"""CommitLog: append records, read them back, say how far it is safe · core

What always holds:
* Records lie one behind the other in the order in which they were appended; `end` is where the next begins.
* A record never crosses a segment's end: a BLANK mark of 8 bytes says "go on in the next file".
* `written_to <= end` is what the page cache has and a dead process leaves behind; `synced_to <= written_to`
  is what a dead machine leaves behind. Nothing beyond `written_to` is shown to anybody.

`append` collects; `write_out` hands everything collected to the page cache, one call for each file, and one
such call serves all the messages of a network read.

Real: org.apache.rocketmq.store.CommitLog (equivalent)
"""

from mq.commitlog.record import BLANK_BYTES, BLANK_MAGIC
from mq.commitlog.segments import Segments
from mq.runtime.disk import PAGE_BYTES


class CommitLog:
    """The log over its segments. All positions are physical offsets: bytes since the first record ever."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        self.end = self.written_to = self.synced_to = 0
        self.last_store_timestamp_ms = 0  # of the newest record that is written
        self.synced_store_timestamp_ms = 0  # of the newest record that is synced
        self._collected: list[tuple[int, bytearray]] = []  # (position, bytes), one for each file concerned

    @property
    def min_offset(self) -> int:
        """Where the oldest segment begins."""
        return self.segments.first

    @property
    def dirty_pages(self) -> int:
        """Whole pages that are written and not synced: RocketMQ's measure for a flush that pays."""
        return (self.written_to - self.synced_to) // PAGE_BYTES

    def place_for(self, size: int) -> int:
        """The physical offset at which a record of `size` bytes goes; opens the next segment when it must.

        Raises OSError when that segment cannot be made: then nothing has changed.
        """
        if self.end >= self.segments.capacity_end:
            self.segments.add()
        segment_end = self.segments.start_of(self.end) + self.segments.segment_bytes
        if self.end + size + BLANK_BYTES > segment_end:
            if segment_end == self.segments.capacity_end:
                self.segments.add()
            room = segment_end - self.end
            self._collect(self.end, room.to_bytes(4, "big") + BLANK_MAGIC.to_bytes(4, "big"))
            self.end = segment_end
        return self.end

    def append(self, record: bytes) -> int:
        """Collect a record that was encoded for `place_for(len(record))`; returns its physical offset."""
        physical_offset = self.end
        self._collect(physical_offset, record)
        self.end = physical_offset + len(record)
        return physical_offset

    def write_out(self, store_timestamp_ms: int) -> None:
        """Hand what was collected to the page cache. Raises OSError: then `abandon` must follow."""
        collected, self._collected = self._collected, []
        for position, data in collected:
            self.segments.write(position, data)
        self.written_to = self.end
        self.last_store_timestamp_ms = store_timestamp_ms

    def abandon(self) -> None:
        """Forget what was collected and not written, or written in part: else recovery might find it.

        Raises OSError when the disk refuses even that.
        """
        self._collected.clear()
        self.end = self.written_to
        self.segments.cut(self.end)

    def read(self, physical_offset: int, length: int) -> bytes:
        """Up to `length` written bytes of one segment; empty when they are gone or not there yet."""
        length = min(length, self.written_to - physical_offset)
        if physical_offset < 0 or length <= 0:
            return b""
        return self.segments.read(physical_offset, length)

    async def sync(self) -> None:
        """Make everything written so far durable. Raises OSError."""
        target, timestamp_ms = self.written_to, self.last_store_timestamp_ms
        await self.segments.sync(self.synced_to, target)
        self.synced_to = max(self.synced_to, target)
        self.synced_store_timestamp_ms = max(self.synced_store_timestamp_ms, timestamp_ms)

    def resume(self, end: int) -> None:
        """After recovery: cut what lies behind `end` and go on from there."""
        self.segments.cut(end)
        self.end = self.written_to = end

    def _collect(self, position: int, data: bytes) -> None:
        if self._collected:
            begin, collected = self._collected[-1]
            if begin + len(collected) == position and position != self.segments.start_of(position):
                collected += data
                return
        self._collected.append((position, bytearray(data)))
