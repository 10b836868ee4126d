"""RpcServer: accepts connections and hands requests to processors · depth

What always holds: at most `max_connections` stand at a time, one more is closed with a reason; a connection
that has been silent for `idle_ms` is closed, which is how a server learns of peers that vanished.

Real: org.apache.rocketmq.remoting.netty.NettyRemotingServer (equivalent)
"""

from mq.runtime.node import Listener, Node, Timer
from mq.wire.frame import FRAME_MAX_LENGTH
from mq.wire.rpc import Connection, Handler, Processors, Rejecter

MAX_CONNECTIONS = 10_000
IDLE_MS = 120_000  # RocketMQ's serverChannelMaxIdleTimeSeconds


class RpcServer:
    """One listening port. `processors[code] = handler` is how a floor serves a request code."""

    def __init__(self, node: Node, max_connections: int = MAX_CONNECTIONS, idle_ms: float = IDLE_MS) -> None:
        self.node = node
        self.max_connections = max_connections
        self.idle_ms = idle_ms
        self.frame_max_length = FRAME_MAX_LENGTH
        self.registry = Processors()
        self.connections: dict[int, Connection] = {}  # by a number of our own, so that order means arrival
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
        self._listener = await self.node.listen(port, self._accept)
        self.port = self._listener.port

    def stop(self) -> None:
        """Accept no more, send what is due, close every connection."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.connections.values()):
            connection.close()
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def _accept(self) -> Connection:
        return _ServerConnection(self)

    def joined(self, connection: Connection) -> None:
        """A peer has connected."""
        if len(self.connections) >= self.max_connections:
            connection.abort(f"more than {self.max_connections} connections")
            return
        self._arrivals += 1
        number = self._arrivals
        self.connections[number] = connection
        connection.on_closed.append(lambda _: self.connections.pop(number, None))
        if self._idle_timer is None:
            self._idle_timer = self.node.call_later(self.idle_ms, self._close_idle)

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


class _ServerConnection(Connection):
    def __init__(self, server: RpcServer) -> None:
        super().__init__(server.node, server.registry, server.frame_max_length)
        self._server = server

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._server.joined(self)
