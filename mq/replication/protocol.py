"""The HA protocol: two streams of numbers and bytes, without a frame · core

What always holds: a slave sends reports of 8 bytes, each the physical offset at which its log ends. A master
sends pushes: where the bytes belong (8), how many they are (4), the bytes. A push without bytes is a
heartbeat. Nothing else is ever said: no name, no version, no checksum, and no word on *which* log it is.

A stream is cut anywhere. Of several reports in one read only the newest matters; every push matters.

Real: org.apache.rocketmq.store.ha.HAConnection, HAService.HAClient (equivalent)
"""

import struct
from collections.abc import Iterator

from mq.runtime.errors import MQError

_REPORT = struct.Struct(">q")
_PUSH = struct.Struct(">qi")
REPORT_BYTES, PUSH_HEAD_BYTES = _REPORT.size, _PUSH.size
MAX_PUSH_BYTES = (4 << 20) - PUSH_HEAD_BYTES  # RocketMQ's slave reads into a buffer of 4 MiB


class HAError(MQError):
    """The other end cannot be followed, or served: the connection ends, and this says why."""


def encode_report(physical_offset: int) -> bytes:
    """What a slave says: its log ends here."""
    return _REPORT.pack(physical_offset)


def encode_push(physical_offset: int, data: bytes = b"") -> bytes:
    """What a master says: these bytes lie here. Without bytes: a heartbeat."""
    return _PUSH.pack(physical_offset, len(data)) + data


class ReportReader:
    """Cuts a slave's stream into reports."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> int | None:
        """The newest whole report so far unread; None when no report has become whole."""
        data = self._rest + data
        whole = len(data) - len(data) % REPORT_BYTES
        self._rest = data[whole:]
        return _REPORT.unpack_from(data, whole - REPORT_BYTES)[0] if whole else None


class PushReader:
    """Cuts a master's stream into pushes."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Every push that has become whole: (physical offset, bytes). Raises HAError when none can be."""
        self._unread += data
        start, available = 0, len(self._unread)
        pushes = []
        while available - start >= PUSH_HEAD_BYTES:
            physical_offset, length = _PUSH.unpack_from(self._unread, start)
            if physical_offset < 0 or not 0 <= length <= MAX_PUSH_BYTES:
                raise HAError(f"a push of {length} bytes for {physical_offset} cannot be")
            begin = start + PUSH_HEAD_BYTES
            if begin + length > available:
                break
            start = begin + length
            pushes.append((physical_offset, bytes(self._unread[begin:start])))
        del self._unread[:start]
        return iter(pushes)
