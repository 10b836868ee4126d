"""ClientInstance: what all producers and consumers of one process share · depth

What always holds: one connection to each broker, one route cache, one heartbeat for all participants.
Routes are asked for again each 30 s; a broker that has lost its name is forgotten with the last route that
names it.

Real: org.apache.rocketmq.client.impl.factory.MQClientInstance (simplified)
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from mq.routing.bodies import as_list, read_object, write_json
from mq.routing.config import MASTER_ID, split_addresses
from mq.routing.headers import CreateTopicHeader, UnregisterClientHeader
from mq.routing.periodic import Periodic
from mq.routing.route import MessageQueue as MessageQueue
from mq.routing.route import TopicRouteData
from mq.routing.route import publish_queues as publish_queues
from mq.routing.route import subscribe_queues as subscribe_queues
from mq.routing.routecache import NameServerChoice
from mq.routing.routecache import RouteCache as RouteCache
from mq.routing.topics import AUTO_CREATE_TOPIC, TopicConfig
from mq.runtime.errors import MQError
from mq.runtime.node import Node
from mq.wire.client import RpcClient
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.headers import encode_header
from mq.wire.rpc import expect_success

POLL_FIRST_MS, POLL_PERIOD_MS = 10, 30_000  # RocketMQ's pollNameServerInterval
HEARTBEAT_FIRST_MS, HEARTBEAT_PERIOD_MS = 1_000, 30_000  # RocketMQ's heartbeatBrokerInterval
HEARTBEAT_TIMEOUT_MS = 3_000
CREATE_TOPIC_TIMEOUT_MS = 5_000


class Participant:
    """A producer or consumer, as the instance sees it."""

    def topics(self) -> Iterable[str]:
        """The topics whose routes it needs."""
        return ()

    def heartbeat(self, data: dict[str, Any]) -> None:
        """Add its entry to `data["producerDataSet"]` or `data["consumerDataSet"]`."""

    def route_changed(self, topic: str) -> None:
        """A route has changed, or is known for the first time."""

    async def start(self) -> None:
        """Begin. Raises MQError."""

    async def stop(self) -> None:
        """End."""


class ClientInstance:
    """One client process: a name, connections, routes, and who takes part."""

    def __init__(self, node: Node, namesrv_addr: str, client_id: str | None = None) -> None:
        self.node = node
        self.client_id = client_id or f"{node.address}@{node.random.getrandbits(48):012x}"
        self.rpc = RpcClient(node)
        self.routes = RouteCache(self.rpc, NameServerChoice(split_addresses(namesrv_addr), node.random))
        self.routes.changed.append(self._route_changed)
        self.participants: list[Participant] = []
        self._poll = Periodic(node, "poll routes", POLL_FIRST_MS, POLL_PERIOD_MS, self.poll)
        self._heartbeat = Periodic(node, "heartbeat", HEARTBEAT_FIRST_MS, HEARTBEAT_PERIOD_MS, self.heartbeat)
        self._extra_heartbeat: asyncio.Task[None] | None = None
        self._is_wanted = False
        self._is_running = False

    async def start(self) -> None:
        """Begin to poll and to beat, and start everyone who takes part."""
        self._is_running = True
        self._poll.start()
        self._heartbeat.start()
        for participant in list(self.participants):
            await participant.start()

    async def stop(self) -> None:
        """Stop everyone, last first, then close every connection."""
        self._is_running = False
        for participant in reversed(list(self.participants)):
            await participant.stop()
        self._poll.stop()
        self._heartbeat.stop()
        if self._extra_heartbeat is not None:
            self._extra_heartbeat.cancel()
        self.rpc.stop()

    async def add(self, participant: Participant) -> None:
        """Take part from now on; started at once when the instance runs."""
        self.participants.append(participant)
        if self._is_running:
            await participant.start()

    async def poll(self) -> None:
        """Ask for every route again. What a NameServer does not know, or cannot say, stays as it is."""
        wanted = [topic for participant in self.participants for topic in participant.topics()]
        for topic in dict.fromkeys([*wanted, *self.routes.topics()]):
            try:
                await self.routes.refresh(topic)
            except MQError as error:
                why = error.remark.partition("\n")[0]
                self.node.journal.record("route not refreshed", why, topic=topic)

    def heartbeat_data(self) -> dict[str, Any]:
        """RocketMQ's HeartbeatData."""
        data: dict[str, Any] = {"clientID": self.client_id, "consumerDataSet": [], "producerDataSet": []}
        for participant in self.participants:
            participant.heartbeat(data)
        return data

    async def heartbeat(self) -> None:
        """Tell every broker of every route who is here: masters, and slaves too when somebody consumes."""
        data = self.heartbeat_data()
        if data["consumerDataSet"] or data["producerDataSet"]:
            addresses = self._addresses(with_slaves=bool(data["consumerDataSet"]))
            body = write_json(data)
            await asyncio.gather(
                *[self._try(at, RemotingCommand(RequestCode.HEART_BEAT, body=body)) for at in addresses]
            )

    def heartbeat_soon(self) -> None:
        """A heartbeat out of turn: somebody joined, or subscribes to something else. Never two at a time."""
        self._is_wanted = True
        if self._is_running and (self._extra_heartbeat is None or self._extra_heartbeat.done()):
            self._extra_heartbeat = self.node.spawn(self._beat_while_wanted(), "heartbeat soon")

    async def unregister(self, producer_group: str | None = None, consumer_group: str | None = None) -> None:
        """Tell every broker that a member of a group leaves (35). Who cannot be reached finds out alone."""
        fields = encode_header(UnregisterClientHeader(self.client_id, producer_group, consumer_group))
        commands = [
            (at, RemotingCommand(RequestCode.UNREGISTER_CLIENT, dict(fields))) for at in self._addresses(True)
        ]
        await asyncio.gather(*[self._try(at, command) for at, command in commands])

    async def _beat_while_wanted(self) -> None:
        while self._is_wanted:
            self._is_wanted = False
            await self.heartbeat()

    async def _try(self, address: str, command: RemotingCommand) -> None:
        try:
            expect_success(await self.rpc.invoke(address, command, HEARTBEAT_TIMEOUT_MS))
        except MQError as error:
            self.node.journal.record("broker not told", error.remark, address=address, code=int(command.code))

    def _addresses(self, with_slaves: bool) -> list[str]:
        return list(dict.fromkeys(self._walk_addresses(with_slaves)))

    def _walk_addresses(self, with_slaves: bool) -> Iterator[str]:
        for addresses in self.routes.broker_addresses().values():
            for broker_id, address in addresses.items():
                if with_slaves or broker_id == MASTER_ID:
                    yield address

    def _route_changed(self, topic: str) -> None:
        for participant in list(self.participants):
            participant.route_changed(topic)


async def find_or_default(
    routes: RouteCache, topic: str, default_topic: str, queue_nums: int
) -> TopicRouteData:
    """As `routes.find`; for a topic that nobody knows, its template's route with at most `queue_nums` queues.

    A producer's first send then goes to a broker that will create the topic. Polls ask for the topic itself,
    so the borrowed route stays only until the real one is told. Raises MQError.
    """
    try:
        return await routes.find(topic)
    except MQError as error:
        if error.response_code != ResponseCode.TOPIC_NOT_EXIST:
            raise
    template = await routes.find(default_topic)
    return routes.cached(topic) or routes.learn(topic, _at_most(template, queue_nums))


def _at_most(route: TopicRouteData, queue_nums: int) -> TopicRouteData:
    queues = []
    for queue in route.queues:
        count = min(queue.read_queue_nums, queue_nums)
        queues.append(replace(queue, read_queue_nums=count, write_queue_nums=count))
    return TopicRouteData(queues, route.brokers)


async def list_topics(instance: ClientInstance) -> list[str]:
    """The names of all topics that the chosen NameServer knows (206). Raises MQError."""
    answer = await instance.routes.ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER, {})
    names = as_list(read_object(answer.body, "a list of topics").get("topicList"), "topicList")
    return [name for name in names if isinstance(name, str)]


async def create_topic(
    asker: ClientInstance | RpcClient,
    broker_address: str,
    config: TopicConfig,
    default_topic: str = AUTO_CREATE_TOPIC,
) -> None:
    """Create or change a topic on one broker (17). Raises MQError with the broker's sentence."""
    rpc = asker.rpc if isinstance(asker, ClientInstance) else asker
    header = CreateTopicHeader(
        config.topic_name,
        default_topic,
        config.read_queue_nums,
        config.write_queue_nums,
        config.perm,
        config.topic_filter_type,
        config.topic_sys_flag,
        config.order,
    )
    command = RemotingCommand(RequestCode.UPDATE_AND_CREATE_TOPIC, encode_header(header))
    expect_success(await rpc.invoke(broker_address, command, CREATE_TOPIC_TIMEOUT_MS))
