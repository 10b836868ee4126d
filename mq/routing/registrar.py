"""Registrar: the broker's side of routing: say who you are, to everyone, again and again · depth

What always holds: each NameServer is told by itself, so one that is dead or silent delays no other. A
change is told at once; changes while a telling runs are told together when it ends. Everything is told each
time, so a NameServer that missed ten changes knows all after one telling.

What the real system does: after a change it sends that one topic alone.

Real: org.apache.rocketmq.broker.out.BrokerOuterAPI.registerBrokerAll (simplified)
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from mq.routing.bodies import as_object, read_object
from mq.routing.config import BrokerConfig, split_addresses
from mq.routing.headers import BrokerHeader, RegisterBrokerHeader
from mq.routing.periodic import Periodic
from mq.routing.registration import checksum, registration_body
from mq.routing.route import PERM_READ, PERM_WRITE
from mq.routing.topics import TopicConfigs
from mq.runtime.errors import MQError
from mq.runtime.node import Node
from mq.wire.client import RpcClient
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.headers import encode_header
from mq.wire.rpc import expect_success

REGISTER_TIMEOUT_MS = 6_000
UNREGISTER_TIMEOUT_MS = 3_000
SECOND_REGISTRATION_MS = 10_000  # after the first; from then on the period counts


class Registrar:
    """Tells every NameServer. `contribute` may change the header's fields before they leave, `answered` sees
    the fields of each answer: that is how a slave learns of its master."""

    def __init__(
        self,
        node: Node,
        config: BrokerConfig,
        outer: RpcClient,
        topics: TopicConfigs,
        identity: Callable[[], tuple[int, str]],
    ) -> None:
        self.node = node
        self.config = config
        self.outer = outer
        self.topics = topics
        self.identity = identity  # broker id and address, which are known only once the broker listens
        self.contribute: list[Callable[[dict[str, str]], None]] = []
        self.answered: list[Callable[[dict[str, str]], None]] = []
        self.links = [NameServerLink(self, address) for address in split_addresses(config.namesrv_addr)]
        period_ms = config.register_period_ms
        self._periodic = Periodic(node, "register", SECOND_REGISTRATION_MS, period_ms, self.register_soon)
        self._running = False

    async def start(self) -> None:
        """The first registration, awaited; then one each period. A NameServer that is away stops nothing."""
        self._running = True
        self._periodic.start()
        self.register_soon()
        await self.told()

    def register_soon(self) -> None:
        """Tell every NameServer; nobody waits for it."""
        if self._running:
            for link in self.links:
                link.tell()

    async def told(self) -> None:
        """Wait until each NameServer has answered, or failed to, what it is being told now."""
        await asyncio.gather(*[link.told() for link in self.links])

    async def stop(self) -> None:
        """Say goodbye to every NameServer that can be reached."""
        if self._running:
            self._running = False
            self._periodic.stop()
            await asyncio.gather(*[link.say_goodbye() for link in self.links])

    def registration(self) -> RemotingCommand:
        """All that is told: who we are in the header, our topics in the body."""
        broker_id, address = self.identity()
        table = self.topics.table
        if self.config.broker_permission != PERM_READ | PERM_WRITE:
            table = {name: replace(each, perm=self.config.broker_permission) for name, each in table.items()}
        compressed = self.config.compressed_register
        body = registration_body(self.topics.data_version, table, compressed)
        header = RegisterBrokerHeader(
            broker_id=broker_id,
            body_crc32=checksum(body),
            cluster_name=self.config.broker_cluster_name,
            broker_addr=address,
            ha_server_addr="",  # required by 4.9.8; whoever copies to slaves fills it in
            compressed=compressed,
            broker_name=self.config.broker_name,
        )
        fields = encode_header(header)
        for change in self.contribute:
            change(fields)
        return RemotingCommand(RequestCode.REGISTER_BROKER, fields, body)

    def hear_order_config(self, body: bytes) -> None:
        """What a NameServer says of ordered topics; an empty body says nothing. Raises BodyError."""
        if body:
            table = as_object(read_object(body, "the answer to a registration").get("table"), "table")
            self.topics.set_ordered(table)

    def goodbye(self) -> RemotingCommand:
        """What is told last."""
        broker_id, address = self.identity()
        header = BrokerHeader(broker_id, self.config.broker_cluster_name, address, self.config.broker_name)
        return RemotingCommand(RequestCode.UNREGISTER_BROKER, encode_header(header))


class NameServerLink:
    """What goes to one NameServer: never two registrations at a time, never one forgotten."""

    def __init__(self, registrar: Registrar, address: str) -> None:
        self.registrar = registrar
        self.address = address
        self.is_reached = True  # so that the first failure of a row is a complaint, and the others are not
        self._is_news = False
        self._telling: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Register here; when a registration is under way, once more after it."""
        self._is_news = True
        if self._telling is None or self._telling.done():
            self._telling = self.registrar.node.spawn(self._tell(), f"register at {self.address}")

    async def told(self) -> None:
        """Wait for the registration that is under way; whoever stops waiting does not stop it."""
        if self._telling is not None:
            await asyncio.shield(self._telling)

    async def say_goodbye(self) -> None:
        """Unregister here, after the registration that may be under way."""
        self._is_news = False
        await self.told()
        await self._ask(self.registrar.goodbye(), UNREGISTER_TIMEOUT_MS)

    async def _tell(self) -> None:
        while self._is_news:
            self._is_news = False
            answer = await self._ask(self.registrar.registration(), REGISTER_TIMEOUT_MS)
            if answer is not None:
                for listener in self.registrar.answered:
                    listener(answer.ext_fields or {})
                self._hear(answer.body)

    def _hear(self, body: bytes) -> None:
        try:
            self.registrar.hear_order_config(body)
        except MQError as error:
            self.registrar.node.journal.complain("answer not read", error.remark, namesrv=self.address)

    async def _ask(self, command: RemotingCommand, timeout_ms: float) -> RemotingCommand | None:
        try:
            answer = expect_success(await self.registrar.outer.invoke(self.address, command, timeout_ms))
        except MQError as error:
            if self.is_reached:
                self.registrar.node.journal.complain("not registered", error.remark, namesrv=self.address)
            self.is_reached = False
            return None
        self.is_reached = True
        return answer
