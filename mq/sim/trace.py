"""Trace: the names of the frames in a stream of bytes, for a journal that is to be drawn · depth

What always holds: it looks and never touches; bytes that it cannot name are counted. A frame is named when
its header has left, in the chunk in which it ended.
"""

import json

from mq.wire.codes import ResponseCode, request_name
from mq.wire.command import RESPONSE_FLAG

HA_PORT = 10912
MAX_HEADER_BYTES = 1 << 16
BINARY, JSON = 1, 0


class FrameNames:
    """Names what one end of a connection sends. `asked` remembers its questions, to name the answers."""

    def __init__(self, server_port: int) -> None:
        self.asked: dict[int, str] = {}
        self._is_ha = server_port == HA_PORT
        self._buffer = b""
        self._skip = 0  # bytes of a named frame that are still to come

    def feed(self, data: bytes, peer: "FrameNames") -> list[str]:
        """The names of the frames whose headers are complete with these bytes."""
        if self._is_ha:
            return [_ha_name(data)]
        names: list[str] = []
        self._buffer += data
        while True:
            passed = min(self._skip, len(self._buffer))
            self._buffer, self._skip = self._buffer[passed:], self._skip - passed
            if self._skip or len(self._buffer) < 8:
                return names or [f"({len(data)} bytes)"]
            length = int.from_bytes(self._buffer[:4], "big")
            marked = int.from_bytes(self._buffer[4:8], "big")
            header_bytes, kind = marked & 0xFFFFFF, marked >> 24
            if header_bytes > MAX_HEADER_BYTES or len(self._buffer) < 8 + header_bytes:
                return names or [f"({len(data)} bytes)"]
            names.append(self._name(self._buffer[8 : 8 + header_bytes], kind, peer))
            self._skip = 4 + length

    def _name(self, header: bytes, kind: int, peer: "FrameNames") -> str:
        try:
            code, flag, opaque = _binary(header) if kind == BINARY else _json(header)
        except (ValueError, KeyError, TypeError):
            return "?"
        if flag & RESPONSE_FLAG:
            known = code in list(map(int, ResponseCode))
            outcome = ResponseCode(code).name if known else str(code)
            return f"{peer.asked.pop(opaque, '?')}:{outcome}"
        self.asked[opaque] = request_name(code)
        return self.asked[opaque]


def _json(header: bytes) -> tuple[int, int, int]:
    found = json.loads(header)
    return int(found["code"]), int(found.get("flag", 0)), int(found.get("opaque", 0))


def _binary(header: bytes) -> tuple[int, int, int]:
    code = int.from_bytes(header[0:2], "big", signed=True)
    return code, int.from_bytes(header[9:13], "big"), int.from_bytes(header[5:9], "big")


def _ha_name(data: bytes) -> str:
    """The HA protocol has no header: 8 bytes are a slave's report, 12 and more come from the master."""
    if len(data) == 8:
        return f"HA:has-{int.from_bytes(data, 'big')}"
    if len(data) >= 12:
        position, size = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big")
        return f"HA:log-{position}+{size}" if size else f"HA:heartbeat-{position}"
    return f"({len(data)} bytes)"
