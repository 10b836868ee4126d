"""HEART_BEAT and UNREGISTER_CLIENT, and the two tables of groups, on the broker · depth

What always holds: a connection that closes leaves every group at once; every 10 s those that have been
silent for 120 s are dropped and closed. A consumer's first heartbeat makes its group and its %RETRY% topic,
so that its route is there before it is asked for.

Real: org.apache.rocketmq.broker.processor.ClientManageProcessor (equivalent)
"""

from dataclasses import dataclass

from mq.clients.connections import Connections
from mq.clients.groups import SubscriptionGroupConfig, SubscriptionGroupManager
from mq.clients.heartbeat import decode_heartbeat
from mq.clients.manager import ClientChannel, ConsumerManager, ProducerManager
from mq.routing.bodies import read_object, write_json
from mq.routing.broker import Broker
from mq.routing.brokeradmin import check_is_master
from mq.routing.topics import RETRY_TOPIC_PREFIX
from mq.runtime.node import Timer
from mq.wire.codes import RequestCode
from mq.wire.headers import wire_name
from mq.wire.rpc import Connection, Request

SCAN_MS = 10_000


@dataclass(frozen=True)
class ClientsConfig:
    """What this floor takes from the properties file."""

    auto_create_subscription_group: bool = True


SETTINGS: tuple[type, ...] = (ClientsConfig,)


@dataclass(frozen=True, slots=True)
class UnregisterClientHeader:
    """The header of UNREGISTER_CLIENT. C++ clients send an empty text for the group that is not meant."""

    client_id: str = wire_name("clientID")
    producer_group: str | None = None
    consumer_group: str | None = None


class ClientHousekeeping:
    """Feeds the tables; a service of the broker."""

    name = "clients"

    def __init__(self, broker: Broker) -> None:
        config = broker.settings(ClientsConfig)
        self.broker = broker
        self.node = broker.node
        self.producers = ProducerManager()
        self.consumers = ConsumerManager()
        self.groups = SubscriptionGroupManager(broker.node, config.auto_create_subscription_group)
        self._watched: dict[Connection, None] = {}
        self._scan: Timer | None = None

    async def start(self) -> None:
        """Begin to scan."""
        self._scan = self.node.call_later(SCAN_MS, self._scan_silent)

    async def stop(self) -> None:
        """Scan no more."""
        if self._scan is not None:
            self._scan.cancel()

    def heartbeat(self, request: Request) -> None:
        """Code 34: who this client is. The reply carries no fields."""
        beat = decode_heartbeat(request.body)
        self._watch(request.connection)
        for data in beat.consumers:
            config = self._prepare(data.group)
            notify = config is None or config.notify_consumer_ids_changed_enable
            self.consumers.register(data, *self._member(beat.client_id, request), notify)
        for group in beat.producer_groups:
            self.producers.register(group, *self._member(beat.client_id, request))
        request.succeed()

    def unregister(self, request: Request) -> None:
        """Code 35: this client leaves a group. Its reply carries `extFields`, and nothing in them."""
        header = request.header(UnregisterClientHeader)
        if header.producer_group:
            self.producers.unregister(header.producer_group, request.connection)
        if header.consumer_group:
            config = self.groups.table.get(header.consumer_group)
            notify = config is None or config.notify_consumer_ids_changed_enable
            self.consumers.unregister(header.consumer_group, request.connection, notify)
        request.succeed({})

    def update_group(self, request: Request) -> None:
        """Code 200: an operator creates or changes a group."""
        told = read_object(request.body, "the subscription group")
        self.groups.put(SubscriptionGroupConfig.from_json(told))
        request.succeed()

    def all_groups(self, request: Request) -> None:
        """Code 201: the whole table, which is what a slave copies."""
        request.succeed(body=write_json(self.groups.to_json()))

    def _prepare(self, group: str) -> SubscriptionGroupConfig | None:
        """The group's config, with its %RETRY% topic made; None when it must not exist (pulls get 26)."""
        config = self.groups.find(group)
        if config is not None:
            self.broker.topics.create_retry_topic(RETRY_TOPIC_PREFIX + group, config.retry_queue_nums)
        return config

    def _member(self, client_id: str, request: Request) -> tuple[ClientChannel, float]:
        command, now_ms = request.command, self.node.monotonic_ms()
        return ClientChannel(client_id, request.connection, command.language, command.version, now_ms), now_ms

    def _watch(self, connection: Connection) -> None:
        if connection not in self._watched:
            self._watched[connection] = None
            connection.on_closed.append(self._closed)

    def _closed(self, connection: Connection) -> None:
        self._watched.pop(connection, None)
        self.producers.connection_closed(connection)
        self.consumers.connection_closed(connection)

    def _scan_silent(self) -> None:
        now_ms = self.node.monotonic_ms()
        for connection in [*self.producers.expire(now_ms), *self.consumers.expire(now_ms)]:
            connection.abort("no heartbeat for 120 s")
        self._scan = self.node.call_later(SCAN_MS, self._scan_silent)


def plug(broker: Broker) -> None:
    """Add this floor: codes 34, 35, 200 and 201, and for operators 203, 204 and 207."""
    clients = ClientHousekeeping(broker)
    connections = Connections(
        clients.producers, clients.consumers, clients.groups, lambda: check_is_master(broker)
    )
    broker.server.processors.update(connections.processors())
    for part in (clients, clients.producers, clients.consumers, clients.groups, connections):
        broker.add(part)
    broker.configs.append(clients.groups)
    broker.services.append(clients)
    processors = broker.server.processors
    processors[RequestCode.HEART_BEAT] = clients.heartbeat
    processors[RequestCode.UNREGISTER_CLIENT] = clients.unregister
    processors[RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP] = clients.update_group
    processors[RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG] = clients.all_groups
