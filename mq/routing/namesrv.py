"""NameServer: the route tables behind a port · core

What always holds: every request is answered from the tables alone, at once. A broker whose connection
closes is in no route from that moment; one that falls silent is removed by the scan. Stopping forgets
everything.

What the real system does: the same. What operators ask and change is next door: `kvconfig.py` is a small
table on disk, `namesrvadmin.py` the rest.

Real: org.apache.rocketmq.namesrv.processor.DefaultRequestProcessor (simplified)
"""

from mq.routing.bodies import read_object, write_json
from mq.routing.config import NamesrvConfig
from mq.routing.headers import BrokerHeader, RegisterBrokerReply, TopicHeader, VersionReply
from mq.routing.kvconfig import ORDER_TOPIC_CONFIG, KVConfig
from mq.routing.namesrvadmin import NamesrvAdmin
from mq.routing.periodic import Periodic
from mq.routing.registration import read_registration
from mq.routing.tables import LiveBroker, RouteTables
from mq.routing.topics import DataVersion
from mq.runtime.errors import MQError
from mq.runtime.node import Node
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.headers import encode_header
from mq.wire.rpc import Connection, Request
from mq.wire.server import RpcServer

NO_ROUTE = (  # RocketMQ's words: clients and people look for them
    "No topic route info in name server for the topic: {}\n"
    "See http://rocketmq.apache.org/docs/faq/ for further details."
)


class NameServer:
    """One NameServer. It knows of no other."""

    def __init__(self, node: Node, config: NamesrvConfig | None = None) -> None:
        self.node = node
        self.config = config or NamesrvConfig()
        self.tables = RouteTables(self.config.broker_expiry_ms)
        self.kv = KVConfig(node)
        self.server = RpcServer(node)
        self.server.processors.update(self.kv.processors())
        self.server.processors.update(NamesrvAdmin(self.tables, self.config).processors())
        self.server.processors.update(
            {
                RequestCode.REGISTER_BROKER: self.register_broker,
                RequestCode.UNREGISTER_BROKER: self.unregister_broker,
                RequestCode.GET_ROUTEINFO_BY_TOPIC: self.route_by_topic,
                RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER: self.all_topics,
                RequestCode.QUERY_DATA_VERSION: self.query_data_version,
            }
        )
        self._scan = Periodic(node, "scan", self.config.first_scan_ms, self.config.scan_ms, self.expire)

    @property
    def address(self) -> str:
        """Where it listens: `host:port`."""
        return f"{self.node.address}:{self.server.port or self.config.listen_port}"

    async def start(self) -> None:
        """Listen, knowing of no broker. Raises StoreError when the table of keys cannot be read."""
        self.kv.load()
        await self.server.start(self.config.listen_port)
        self._scan.start()

    async def stop(self) -> None:
        """Answer what has come, then close every connection."""
        self._scan.stop()
        await self.server.drain()

    def register_broker(self, request: Request) -> None:
        """103: the same call is the first word, the heartbeat, and the news of topics."""
        told = read_registration(request)
        is_news = told.address not in self.tables.live
        master = self.tables.register(told, request.connection, self.node.monotonic_ms())
        if self.broker_closed not in request.connection.on_closed:
            request.connection.on_closed.append(self.broker_closed)
        if is_news:
            self.node.journal.record("broker joined", broker=told.broker_name, address=told.address)
        reply = RegisterBrokerReply(master.ha_address or None, master.address or None)
        request.succeed(encode_header(reply), self.kv.namespace_body(ORDER_TOPIC_CONFIG) or b"")

    def unregister_broker(self, request: Request) -> None:
        """104: an orderly goodbye."""
        header = request.header(BrokerHeader)
        gone = self.tables.unregister(header.broker_name, header.broker_id, header.broker_addr)
        self._record([gone] if gone else [], "it said goodbye")
        request.succeed()

    def broker_closed(self, connection: Connection) -> None:
        """The operating system on the other side has told us: that process is gone."""
        self._record(self.tables.closed(connection), "its connection closed")

    def expire(self) -> None:
        """The scan: whoever says nothing for long enough is taken for dead."""
        gone = self.tables.expire(self.node.monotonic_ms())
        self._record(gone, f"silent for {self.tables.broker_expiry_ms / 1000:.0f} s")
        for live in gone:
            if isinstance(live.connection, Connection):
                live.connection.close()

    def route_by_topic(self, request: Request) -> None:
        """105: what this NameServer knows of a topic."""
        topic = request.header(TopicHeader).topic
        route = self.tables.route(topic)
        if route is None:
            raise MQError(NO_ROUTE.format(topic), ResponseCode.TOPIC_NOT_EXIST)
        if self.config.order_message_enable:
            route.order_topic_conf = self.kv.get(ORDER_TOPIC_CONFIG, topic)
        request.succeed(body=route.to_json())

    def all_topics(self, request: Request) -> None:
        """206: the names of all topics."""
        request.succeed(body=write_json({"topicList": self.tables.topic_names()}))

    def query_data_version(self, request: Request) -> None:
        """322: a broker asks whether it must send its topics again. Asking is a sign of life."""
        header = request.header(BrokerHeader)
        asked = DataVersion.from_json(read_object(request.body, "a data version"))
        live = self.tables.live.get(header.broker_addr)
        known = live.version if live is not None else None
        if live is not None and known == asked:
            live.told_ms = self.node.monotonic_ms()
        body = write_json(known.to_json()) if known is not None else b""
        request.succeed(encode_header(VersionReply(known != asked)), body)

    def _record(self, gone: list[LiveBroker], cause: str) -> None:
        for live in gone:
            self.node.journal.record("broker gone", cause, broker=live.broker_name, address=live.address)
