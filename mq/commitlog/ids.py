"""UNIQ_KEY: the message id that a client gives before it sends · depth

What always holds: 16 bytes as 32 hex characters: the client's address, a process number, a number of this
instance, milliseconds since the month began, a counter. It stays the same over every retry, so a message that
was stored twice can be recognised.

Real: org.apache.rocketmq.common.message.MessageClientIDSetter (equivalent)
"""

import datetime

from mq.commitlog.hosts import encode_host
from mq.runtime.node import Node

_UTC = datetime.UTC


class UniqKeys:
    """Makes the ids of one client."""

    def __init__(self, node: Node) -> None:
        self.node = node
        instance = node.random.getrandbits(48).to_bytes(6, "big")
        self._prefix = (encode_host(f"{node.address}:0")[:-4] + instance).hex().upper()
        self._counter = 0
        self._month_begins_ms = self._month_ends_ms = 0

    def next(self) -> str:
        """One more id."""
        now_ms = self.node.wall_ms()
        if not self._month_begins_ms <= now_ms < self._month_ends_ms:
            self._month_begins_ms, self._month_ends_ms = _month_around(now_ms)
        self._counter = self._counter + 1 & 0xFFFF
        return f"{self._prefix}{now_ms - self._month_begins_ms & 0xFFFFFFFF:08X}{self._counter:04X}"


def _month_around(now_ms: int) -> tuple[int, int]:
    """When this month began and when the next one does, in ms since 1970 (UTC)."""
    begin = datetime.datetime.fromtimestamp(now_ms / 1000, _UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    end = (begin + datetime.timedelta(days=32)).replace(day=1)
    return int(begin.timestamp() * 1000), int(end.timestamp() * 1000)
