"""Stops at a segment's end: one file is read, and the next one waits for the next call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.commitlog.put import request_of
    from mq.commitlog.reader import LogReader


class Reput:
    def follow(self) -> None:
        segments = self.log.segments
        segment_end = segments.start_of(self.dispatched_to) + segments.segment_bytes
        reader = LogReader(self.log, self.dispatched_to, min(self.confirmed, segment_end), check_crc=False)
        self._hand_on([request_of(message) for message in reader])
        self.dispatched_to = reader.position
