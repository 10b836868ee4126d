"""FrameProtocol: a stream of bytes in, whole frames out · core

What always holds: a frame is passed on exactly once and whole, however the network cut the stream. A
length that is negative or above the limit closes this connection, with one reason in the journal, and
harms nobody else. Replies leave in the order in which they were written, many to one system call.

A network read may hold hundreds of frames. `end_of_batch` is called after each `BATCH_FRAMES` of them and at
the end of the read, *before* the replies leave: whoever collects writes can do them at once there.

RocketMQ, Kafka and ZooKeeper all put an int32 length before each frame; what a frame means is the
subclass's business.

Real: org.apache.rocketmq.remoting.netty.NettyDecoder (equivalent)
"""

import asyncio
import struct

from mq.runtime.node import Node
from mq.wire.errors import FrameError

FRAME_MAX_LENGTH = 16 << 20  # RocketMQ's com.rocketmq.remoting.frameMaxLength
BATCH_FRAMES = 64  # replies wait for at most so many frames: a client with a window of 64 is kept busy
BATCH_BYTES = 64 << 10

_LENGTH = struct.Struct(">i")


class FrameProtocol(asyncio.Protocol):
    """One connection's framing. Subclasses give `frame_received`, and may extend the two below it."""

    def __init__(self, node: Node, frame_max_length: int = FRAME_MAX_LENGTH) -> None:
        self.node = node
        self.frame_max_length = frame_max_length
        self.peer = self.local = ""
        self.is_open = False
        self.last_read_ms = 0.0
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()  # the beginning of a frame whose end has not come
        self._needed = 0  # how long `_unread` must be before looking at it again pays
        self._unsent: list[bytes] = []
        self._flush_is_due = False

    def frame_received(self, payload: bytes) -> None:
        """One frame, without its length. A FrameError that it raises closes the connection."""
        raise NotImplementedError

    def end_of_batch(self) -> None:
        """Some frames have been passed on; their replies have not left yet."""

    def closed(self) -> None:
        """The connection is gone."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.peer = _address(transport.get_extra_info("peername"))
        self.local = _address(transport.get_extra_info("sockname"))
        self.is_open = True
        self.last_read_ms = self.node.monotonic_ms()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self.is_open = False
            self.closed()

    def data_received(self, data: bytes) -> None:
        self.last_read_ms = self.node.monotonic_ms()
        if self._unread:
            self._unread += data
            if len(self._unread) < self._needed:
                return  # else a large frame in small pieces would be copied once for each piece
            data = bytes(self._unread)
            self._unread.clear()
        self._flush_is_due = True  # corks `write` until the batch ends
        try:
            consumed = self._pass_on(data)
        except FrameError as error:
            self._end_batch()
            self.abort(error.remark)
            return
        self._end_batch()
        if consumed < len(data):
            self._unread += data[consumed:]

    def pause_writing(self) -> None:
        """The peer does not read its replies: stop reading its requests until it does."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    # What the rest of this floor calls.

    def write(self, frame: bytes) -> None:
        """Send a frame, with others of the same round. Dropped when the connection is gone."""
        self._unsent.append(frame)
        if not self._flush_is_due:
            self._flush_is_due = True
            self.node.call_soon(self._flush)

    def close(self) -> None:
        """Send what was written, then close. Nothing is written or invoked on it from now on."""
        if self._transport is not None:
            self._flush()
            self.is_open = False
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close now, and say why: the one line that an operator gets to read.

        What a peer that does not read has left in the buffer is given up: it would hold the connection.
        """
        if self._transport is None:
            return
        if self.is_open:
            self.node.journal.complain("connection closed", peer=self.peer, reason=reason)
        self.close()
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def _pass_on(self, data: bytes) -> int:
        """Every whole frame in `data`; returns how many bytes they took."""
        self._needed = 4
        start, available, batch_end, in_batch = 0, len(data), BATCH_BYTES, 0
        while available - start >= 4:
            (length,) = _LENGTH.unpack_from(data, start)
            if not 0 <= length <= self.frame_max_length:
                raise FrameError(f"frame length {length}; 0 to {self.frame_max_length} are allowed")
            end = start + 4 + length
            if end > available:
                self._needed = end - start
                break
            self.frame_received(data[start + 4 : end])
            start = end
            in_batch += 1
            if in_batch == BATCH_FRAMES or end > batch_end:
                self._end_batch()
                self._flush_is_due, in_batch, batch_end = True, 0, end + BATCH_BYTES
        return start

    def _end_batch(self) -> None:
        self.end_of_batch()
        self._flush()

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))


def _address(name: object) -> str:
    """`("127.0.0.1", 9876)` -> `127.0.0.1:9876`; IPv6 in brackets."""
    if not isinstance(name, tuple) or len(name) < 2:
        return str(name)
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
