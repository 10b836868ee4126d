"""SimTransport: one end of a simulated TCP connection · core

What always holds:
* What one end writes arrives at the other complete and in order, or the connection ends. How it is cut into
  reads is drawn: several writes of one tick arrive as one read, or a read ends in the middle of a frame.
* At most `WINDOW_BYTES` are on their way or unread. More waits in the writer's buffer, and above its
  high-water mark the protocol is told to pause: so a reader that stops is felt by the writer.
* What was written before a process died still arrives (its kernel had it), then a reset. After a loss of
  power nothing arrives, and nobody is told.
* A callback runs in the life of the end that receives it.

Real: asyncio's selector transport over Linux TCP (simplified: see `link` for loss)
"""

import asyncio
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any

from mq.sim.life import WORLD, Life
from mq.sim.trace import FrameNames

if TYPE_CHECKING:
    from mq.sim.link import Link
    from mq.sim.network import Network

WINDOW_BYTES = 128 * 1024
MAX_READ_BYTES = 64 * 1024
HIGH_WATER_BYTES = 64 * 1024
Endpoint = tuple[str, int]


class SimTransport(asyncio.Transport):
    """One end. `link` leads to the other end, `peer`."""

    peer: "SimTransport"

    def __init__(self, network: "Network", life: Life, here: Endpoint, there: Endpoint, cuts: Random) -> None:
        super().__init__({"sockname": here, "peername": there})
        self.life = life
        self.here, self.there = here, there
        self._network = network
        self._link: Link = network.link(here[0], there[0])
        self._cuts = cuts
        self._protocol: asyncio.Protocol = asyncio.Protocol()
        self._buffer: deque[memoryview] = deque()  # written, and the window had no room
        self._buffered_bytes = 0
        self._outgoing: list[memoryview] = []  # in the kernel, leaving at the end of this tick
        self._unread_bytes = 0  # sent, and not yet read by the peer's protocol
        self._inbox = b""
        self._high, self._low = HIGH_WATER_BYTES, HIGH_WATER_BYTES // 4
        self._flush_planned = self._credit_planned = self._read_planned = False
        self._reading_paused = self._writing_paused = False
        self._eof_written = self._fin_sent = self._fin_arrived = self._eof_read = False
        self._closing = self._lost = False
        self.names = FrameNames(min(here[1], there[1]))
        network.ends.setdefault(life, {})[self] = None

    def begin(self, protocol: asyncio.Protocol) -> None:
        """The connection stands."""
        self._protocol = protocol
        protocol.connection_made(self)

    # -- writing ---------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data.obj if isinstance(data, memoryview) else data, bytes):
            raise TypeError(f"{type(data).__name__} written: it leaves later, so it must be immutable bytes")
        if self._eof_written:
            raise RuntimeError("write() after write_eof()")
        self.life.check()
        if self._closing or not data:
            return
        self._buffer.append(memoryview(data))
        self._buffered_bytes += len(data)
        self._fill_window()
        if self._buffered_bytes > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def _fill_window(self) -> None:
        while self._buffer and (room := WINDOW_BYTES - self._unread_bytes) > 0:
            data = self._buffer.popleft()
            if len(data) > room:
                self._buffer.appendleft(data[room:])
                data = data[:room]
            self._outgoing.append(data)
            self._unread_bytes += len(data)
            self._buffered_bytes -= len(data)
        if not self._flush_planned and (self._outgoing or self._eof_written or self._closing):
            self._flush_planned = True
            self._network.loop.call_soon(self.flush, context=WORLD.context)

    def flush(self) -> None:
        """The kernel sends what it has: one chunk for all the writes of a tick."""
        self._flush_planned = False
        if self._outgoing:
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            number = self._network.note_sent(self, data)
            self._link.carry(self.peer, self.peer.arrive, data, number)
        if (self._eof_written or self._closing) and not self._buffer and not self._fin_sent:
            self._fin_sent = True
            self._link.carry(self.peer, self.peer.arrive_fin)

    def credit(self, length: int) -> None:
        """The peer has read `length` bytes: the window moves on, after the way back."""
        if self.peer._link.is_cut:
            self.peer._link.carry(self, self._credited_late, length)
            return
        self._unread_bytes -= length
        if self._buffer and not self._credit_planned:
            self._credit_planned = True
            self.peer._link.carry(self, self._credited)

    def _credited_late(self, length: int) -> None:
        self._unread_bytes -= length
        self._credited()

    def _credited(self) -> None:
        self._credit_planned = False
        self._fill_window()
        if self._writing_paused and self._buffered_bytes <= self._low and not self._lost:
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._closing and not self._buffer:
            self._plan_loss(None)

    def write_eof(self) -> None:
        if not self._eof_written and not self._closing:
            self._eof_written = True
            self._fill_window()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self._buffered_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low

    # -- reading ---------------------------------------------------------------------------------------

    def arrive(self, data: bytes, number: int = 0) -> None:
        """Bytes reach this machine. `number` is theirs in a traced journal."""
        if self._closing:
            self._link.carry_once(self.peer, self.peer.arrive_reset, "written to a closed connection")
            return
        self._inbox = self._inbox + data if self._inbox else data
        self._network.note_chunk(self, len(data), number)
        if not self._read_planned:
            self._read()

    def _read(self) -> None:
        self._read_planned = False
        if self._reading_paused or self._closing:
            return
        if self._inbox:
            length = self._network.draw_read_bytes(self._cuts, min(len(self._inbox), MAX_READ_BYTES))
            self._hand_over(length)
        if self._inbox or self._fin_arrived:
            self._after_read()

    def _after_read(self) -> None:
        if not self._inbox:
            self._end_of_input()
        elif not self._read_planned and not self._reading_paused:
            self._read_planned = True
            self._network.loop.call_soon(self._read, context=self.life.context)

    def _hand_over(self, length: int) -> None:
        data, self._inbox = self._inbox[:length], self._inbox[length:]
        self.peer.credit(length)
        try:
            self._protocol.data_received(data)
        except Exception as error:  # noqa: BLE001  # as in asyncio, the connection pays for it
            self._network.failed(self.life, "data_received", error)
            self._drop(error)

    def arrive_fin(self) -> None:
        """The peer will write no more."""
        self._fin_arrived = True
        if not self._inbox and not self._reading_paused:
            self._end_of_input()

    def _end_of_input(self) -> None:
        if not self._eof_read and not self._closing:
            self._eof_read = True
            if not self._protocol.eof_received():
                self.close()

    def arrive_reset(self, cause: str) -> None:
        """The peer is gone. What had arrived before is still read."""
        while self._inbox and not self._closing and not self._reading_paused:
            self._hand_over(min(len(self._inbox), MAX_READ_BYTES))
        if not self._lost:
            self._network.note_reset(self, cause)
            self._drop(ConnectionResetError(104, f"Connection reset by peer ({cause})"))

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if (self._inbox or self._fin_arrived) and not self._read_planned:
                self._read_planned = True
                self._network.loop.call_soon(self._read, context=self.life.context)

    def is_reading(self) -> bool:
        return not self._reading_paused and not self._closing

    # -- the end ---------------------------------------------------------------------------------------

    def close(self) -> None:
        self.life.check()
        if not self._closing:
            self._closing = True
            self._inbox = b""
            self._fill_window()
            if not self._buffer:
                self._plan_loss(None)

    def abort(self) -> None:
        self._drop(None)

    def is_closing(self) -> bool:
        return self._closing

    def _drop(self, error: Exception | None) -> None:
        self._closing = True
        self._buffer.clear()
        self._buffered_bytes = 0
        self._inbox = b""
        self._fill_window()
        self._plan_loss(error)

    def _plan_loss(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._network.ends.get(self.life, {}).pop(self, None)
            self._network.loop.call_soon(self._protocol.connection_lost, error, context=self.life.context)

    def process_died(self) -> None:
        """The kernel sends what it has, then tells the peer."""
        self.flush()
        self._link.carry_once(self.peer, self.peer.arrive_reset, "process death")

    def machine_is_back(self) -> None:
        """The machine at this end was without power and runs again: it knows nothing of this connection."""
        if self.peer._unread_bytes:
            self._link.carry_once(self.peer, self.peer.arrive_reset, "unknown connection")

    @property
    def is_orphan(self) -> bool:
        """Whether no process holds this end any more."""
        return self._lost or not self.life.alive

    def give_up(self) -> None:
        """What was sent has been sent again so often that nobody can be there: the connection times out."""
        self._fin_sent = True
        self._network.note_reset(self, "no answer")
        self._network.loop.call_soon(
            self._drop, TimeoutError(110, "Connection timed out"), context=self.life.context
        )

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol
