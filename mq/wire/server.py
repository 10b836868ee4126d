"""RpcServer: accepts connections and hands requests to processors · depth

What always holds: at most `max_connections` stand at a time, one more is closed with a reason; a connection
that has been silent for `idle_ms` is closed, which is how a server learns of peers that vanished. Together
they hold at most about `max_bytes_held` bytes of frames that have not come to their end and of answers that
have not left: beyond it the connection that holds most is closed, until the rest fits.

Who is drained takes no new connection and no new request, and closes when what it has received is answered,
or `DRAIN_TIMEOUT_MS` later.

What the real system does: nothing bounds the bytes, and a stop waits for nobody.

Real: org.apache.rocketmq.remoting.netty.NettyRemotingServer (different: as said)
"""

import asyncio
from collections.abc import Callable

from mq.runtime.node import Listener, Node, Timer
from mq.wire.frame import FRAME_MAX_LENGTH
from mq.wire.rpc import Connection, Handler, Processors, Rejecter

MAX_CONNECTIONS = 10_000
MAX_BYTES_HELD = 256 << 20  # ours: sixteen of the longest frames
IDLE_MS = 120_000  # RocketMQ's serverChannelMaxIdleTimeSeconds
DRAIN_TIMEOUT_MS = 3_000  # ours: as long as a client waits for an answer


class RpcServer:
    """One listening port. `processors[code] = handler` is how a floor serves a request code.

    `on_drain` is for floors that hold requests back: they may answer them when the server is about to stop.
    """

    def __init__(
        self,
        node: Node,
        max_connections: int = MAX_CONNECTIONS,
        idle_ms: float = IDLE_MS,
        max_bytes_held: int = MAX_BYTES_HELD,
    ) -> None:
        self.node = node
        self.max_connections = max_connections
        self.idle_ms = idle_ms
        self.max_bytes_held = max_bytes_held
        self.frame_max_length = FRAME_MAX_LENGTH
        self.registry = Processors()
        self.connections: dict[int, ServerConnection] = {}  # by a number of our own: order means arrival
        self.on_drain: list[Callable[[], None]] = []
        self.bytes_held = 0  # as last looked at, connection by connection
        self.is_draining = False
        self.port = 0
        self._arrivals = 0
        self._listener: Listener | None = None
        self._idle_timer: Timer | None = None

    @property
    def processors(self) -> dict[int, Handler]:
        """Request code -> handler."""
        return self.registry.table

    def reject(self, code: int, rejecter: Rejecter) -> None:
        """Ask `rejecter` before the processor of `code` runs."""
        self.registry.reject.setdefault(code, []).append(rejecter)

    async def start(self, port: int) -> None:
        """Listen; `self.port` then holds the port, which matters when 0 was asked for."""
        self.is_draining = False
        self._listener = await self.node.listen(port, self._accept)
        self.port = self._listener.port

    async def drain(self, timeout_ms: float = DRAIN_TIMEOUT_MS) -> None:
        """Stop, but first let everything be answered that was received, for at most `timeout_ms`.

        What a peer sends from now on is read and dropped: closing a connection with bytes that were not
        read would cost it the answers that are on their way.
        """
        self.is_draining = True
        self._close_port()
        for release in self.on_drain:
            release()
        waits = [each.all_answered() for each in self.connections.values() if each.unanswered]
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await asyncio.gather(*waits)
        except TimeoutError:
            left = sum(each.unanswered for each in self.connections.values())
            self.node.journal.complain("stopped with requests unanswered", requests=left)
        self.stop()

    def stop(self) -> None:
        """Accept no more, send what is due, close every connection."""
        self._close_port()
        for connection in list(self.connections.values()):
            connection.close()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _close_port(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def _accept(self) -> Connection:
        return ServerConnection(self)

    def joined(self, connection: "ServerConnection") -> None:
        """A peer has connected."""
        if self.is_draining:
            connection.abort("this server is stopping")
            return
        if len(self.connections) >= self.max_connections:
            connection.abort(f"more than {self.max_connections} connections")
            return
        self._arrivals += 1
        number = self._arrivals
        self.connections[number] = connection
        connection.on_closed.append(lambda _: self._left(number))
        if self._idle_timer is None:
            self._idle_timer = self.node.call_later(self.idle_ms, self._close_idle)

    def _left(self, number: int) -> None:
        connection = self.connections.pop(number, None)
        if connection is not None:
            self.bytes_held -= connection.counted
            connection.counted = 0

    def count(self, connection: "ServerConnection") -> None:
        """Look at what a connection holds, and make room when all together is too much."""
        held = connection.bytes_held
        self.bytes_held += held - connection.counted
        connection.counted = held
        if self.bytes_held > self.max_bytes_held:
            self._make_room()

    def _make_room(self) -> None:
        """Some may have sent since they were looked at: count them all, then close whoever holds most."""
        for each in self.connections.values():
            each.counted = each.bytes_held
        self.bytes_held = sum(each.counted for each in self.connections.values())
        while self.bytes_held > self.max_bytes_held:
            most = max(self.connections.values(), key=lambda each: each.counted)
            self.bytes_held -= most.counted
            reason = f"all connections hold more than {self.max_bytes_held} bytes, this one {most.counted}"
            most.counted = 0
            most.abort(reason)

    def _close_idle(self) -> None:
        now = self.node.monotonic_ms()
        for connection in list(self.connections.values()):
            if now - connection.last_read_ms >= self.idle_ms:
                connection.abort(f"silent for {self.idle_ms / 1000:.0f} s")
        # The next connection to fall silent for too long does so this far from now at the earliest.
        last_reads = [each.last_read_ms for each in self.connections.values() if each.is_open]
        self._idle_timer = None
        if last_reads:
            delay_ms = max(min(last_reads) + self.idle_ms - now, 1.0)
            self._idle_timer = self.node.call_later(delay_ms, self._close_idle)


class ServerConnection(Connection):
    """One peer of a server. What it holds is looked at once for each read and batch, never for each frame."""

    def __init__(self, server: RpcServer) -> None:
        super().__init__(server.node, server.registry, server.frame_max_length)
        self.counted = 0  # what the server has counted for it
        self._server = server

    @property
    def bytes_held(self) -> int:
        """The beginning of a frame whose end has not come, and answers that have not left."""
        transport = self._transport
        if transport is None or not self.is_open:
            return 0
        return len(self._unread) + transport.get_write_buffer_size()

    def all_answered(self) -> "asyncio.Future[None]":
        """Done when nothing that was received waits for its answer, or nobody is left to get it."""
        future: asyncio.Future[None] = self.node.future()

        def look() -> None:
            if not (future.done() or (self.unanswered and self.is_open)):
                future.set_result(None)

        self.when_answered = look
        self.on_closed.append(lambda _: look())
        return future

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        if self._server.is_draining:
            return
        super().data_received(data)
        self._server.count(self)

    def end_of_batch(self) -> None:
        super().end_of_batch()
        self._server.count(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._server.count(self)
