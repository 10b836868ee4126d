"""Goes on at the confirmed offset, which may lie inside a record, where no reader finds the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.commitlog.put import request_of
    from mq.commitlog.reader import LogReader


class Reput:
    def follow(self) -> None:
        reader = LogReader(self.log, self.dispatched_to, self.confirmed, check_crc=False)
        requests = [request_of(message) for message in reader]
        self._hand_on(requests)
        self.dispatched_to = self.confirmed
