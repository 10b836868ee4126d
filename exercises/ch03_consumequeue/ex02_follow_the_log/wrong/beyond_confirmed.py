"""Shows what was never synced: the walk goes to the log's end, and nobody was asked how far it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.commitlog.put import request_of
    from mq.commitlog.reader import LogReader


class Reput:
    def follow(self) -> None:
        reader = LogReader(self.log, self.dispatched_to, self.log.written_to, check_crc=False)
        self._hand_on([request_of(message) for message in reader])
        self.dispatched_to = reader.position
