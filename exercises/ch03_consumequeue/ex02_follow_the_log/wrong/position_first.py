"""The place first: it moves on before the records are handed over, as if nobody could refuse them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mq.commitlog.put import request_of
    from mq.commitlog.reader import LogReader


class Reput:
    def follow(self) -> None:
        reader = LogReader(self.log, self.dispatched_to, self.confirmed, check_crc=False)
        requests = [request_of(message) for message in reader]
        self.dispatched_to = reader.position
        self._hand_on(requests)
