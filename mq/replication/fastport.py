"""FastPort: where a slave of 4.9.8 asks for its master's topics · depth

What always holds: two ports below its own, a broker that has a slave answers the same requests as on its own.
RocketMQ has this second port so that urgent requests do not queue behind a full one; of all that a real slave
asks, only the table of topics (21) goes there. It is opened when the first slave comes, so that a broker
alone takes no port that its neighbour may want; a port that is taken is a complaint and nothing more.

Real: org.apache.rocketmq.broker.BrokerController.fastRemotingServer (simplified)
"""

from mq.replication.haservice import HAService
from mq.routing.broker import Broker
from mq.wire.server import RpcServer

BELOW = 2


class FastPort:
    """Of one broker."""

    name = "fast port"

    def __init__(self, broker: Broker, service: HAService) -> None:
        self.broker = broker
        self.server: RpcServer | None = None
        service.slave_joined.append(self.open)

    async def start(self) -> None:
        """Nothing yet: see `open`."""

    async def stop(self) -> None:
        """Close the port."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    def open(self) -> None:
        """A slave has joined."""
        port = self.broker.server.port - BELOW
        if self.server is None and port > 0:
            self.server = RpcServer(self.broker.node)
            self.server.registry = self.broker.server.registry
            self.broker.node.spawn(self._listen(self.server, port), self.name)

    async def _listen(self, server: RpcServer, port: int) -> None:
        try:
            await server.start(port)
        except OSError as error:
            self.broker.node.journal.complain("no fast port", str(error), port=port)
        if self.server is not server:
            server.stop()  # the broker has stopped meanwhile
