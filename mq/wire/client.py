"""RpcClient: one connection to each address, made when it is needed · depth

What always holds: two calls to one address share its connection, also while it is being made. A request that
times out closes the connection, as RocketMQ's client does by default: an answer that comes too late must not
meet a caller who has given up.

Real: org.apache.rocketmq.remoting.netty.NettyRemotingClient (equivalent)
"""

import asyncio

from mq.runtime.node import Node
from mq.wire.command import RemotingCommand
from mq.wire.errors import RequestTimeout, Unreachable
from mq.wire.rpc import Connection, Handler, Processors

CONNECT_TIMEOUT_MS = 3000  # RocketMQ's connectTimeoutMillis
REQUEST_TIMEOUT_MS = 3000


class RpcClient:
    """Connections to peers, by address. `processors[code] = handler` answers what they ask of us."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.registry = Processors()
        self._connections: dict[str, Connection] = {}
        self._attempts: dict[str, asyncio.Task[Connection | Unreachable]] = {}
        self._is_stopped = False

    @property
    def processors(self) -> dict[int, Handler]:
        """Request code -> handler, for requests that come from the server's side."""
        return self.registry.table

    async def connect(self, address: str) -> Connection:
        """The connection to `host:port`. Raises Unreachable, also after `stop`."""
        if self._is_stopped:
            raise Unreachable(f"cannot connect to {address}: this client has stopped")
        connection = self._connections.get(address)
        if connection is not None and connection.is_open:
            return connection
        attempt = self._attempts.get(address)
        if attempt is None:
            attempt = self._attempts[address] = self.node.spawn(self._connect(address), f"connect {address}")
        result = await asyncio.shield(attempt)
        if isinstance(result, Unreachable):
            raise Unreachable(result.remark)
        return result

    async def _connect(self, address: str) -> Connection | Unreachable:
        """The failure is a value, because several may wait for it, or nobody any more."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_MS / 1000):
                connection = await self.node.connect(address, lambda: Connection(self.node, self.registry))
        except (OSError, ValueError, OverflowError) as error:  # no answer: without words; a port above 65,535
            return Unreachable(f"cannot connect to {address}: {str(error) or 'no answer'}")
        finally:
            self._attempts.pop(address, None)
        if self._is_stopped:
            connection.close()
            return Unreachable(f"{address} was reached after the client had stopped")
        self._connections[address] = connection
        connection.on_closed.append(lambda gone: self._forget(address, gone))
        return connection

    def _forget(self, address: str, gone: Connection) -> None:
        if self._connections.get(address) is gone:
            del self._connections[address]

    async def invoke(
        self, address: str, command: RemotingCommand, timeout_ms: float = REQUEST_TIMEOUT_MS
    ) -> RemotingCommand:
        """Ask `address` and wait for its reply, whatever its code. Raises Unreachable or RequestTimeout."""
        connection = await self.connect(address)
        try:
            return await connection.invoke(command, timeout_ms)
        except RequestTimeout as error:
            connection.abort(error.remark)
            raise

    async def invoke_oneway(self, address: str, command: RemotingCommand) -> None:
        """Ask `address` for something without wanting a reply. Raises Unreachable."""
        (await self.connect(address)).invoke_oneway(command)

    def stop(self) -> None:
        """Close every connection, also those that are being made: whoever waits for them gets Unreachable."""
        self._is_stopped = True
        for connection in list(self._connections.values()):
            connection.close()
