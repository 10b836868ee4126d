"""RouteCache: what a client remembers of routes · core

What always holds: `find` asks a NameServer only for a topic that it does not know yet. A route that is
known stays known until a newer one is told: no NameServer, or one that has forgotten the topic, takes it
away. So a client outlives every NameServer, and may for up to one poll hold an address that is dead.

A client sticks to one NameServer, drawn at random, and goes to the next when that one does not answer.

Real: org.apache.rocketmq.client.impl.factory.MQClientInstance (equivalent)
"""

import asyncio
from collections.abc import Callable
from random import Random

from mq.routing.config import MASTER_ID
from mq.routing.headers import TopicHeader
from mq.routing.route import TopicRouteData
from mq.runtime.errors import MQError
from mq.wire.client import RpcClient
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import RequestTimeout, Unreachable
from mq.wire.headers import encode_header
from mq.wire.rpc import expect_success

MAX_ROUTES = 10_000  # topics that one client remembers; beyond it the oldest goes
ROUTE_TIMEOUT_MS = 3_000


class NameServerChoice:
    """Which NameServer to ask: a random one first, then always the same, the next when it fails."""

    def __init__(self, addresses: list[str], random: Random) -> None:
        self.addresses = addresses
        self._index = random.randrange(len(addresses)) if addresses else 0

    @property
    def current(self) -> str:
        """The one to ask. Raises MQError when none is configured."""
        if not self.addresses:
            raise MQError("no NameServer is configured: give namesrvAddr = host:port;host:port")
        return self.addresses[self._index]

    def failed(self, address: str) -> None:
        """It did not answer. Whoever says so of another than the current one comes too late."""
        if self.addresses and address == self.addresses[self._index]:
            self._index = (self._index + 1) % len(self.addresses)


class RouteCache:
    """Routes by topic, and from them the addresses of brokers."""

    def __init__(self, rpc: RpcClient, name_servers: NameServerChoice) -> None:
        self.rpc = rpc
        self.name_servers = name_servers
        self.changed: list[Callable[[str], None]] = []
        self._routes: dict[str, TopicRouteData] = {}
        self._addresses: dict[str, dict[int, str]] = {}
        self._asking = asyncio.Lock()  # two producers that meet a new topic ask once

    def cached(self, topic: str) -> TopicRouteData | None:
        """What is remembered; nobody is asked."""
        return self._routes.get(topic)

    def topics(self) -> list[str]:
        """Every topic that is remembered."""
        return list(self._routes)

    def broker_address(self, broker_name: str, broker_id: int = MASTER_ID) -> str | None:
        """`host:port` of a broker, from whatever route names it. None: no route does."""
        return self._addresses.get(broker_name, {}).get(broker_id)

    def find_broker_in_subscribe(self, broker_name: str, broker_id: int = MASTER_ID) -> str | None:
        """Whom to read from: the broker of this id, else a slave, else whoever has the name."""
        addresses = self._addresses.get(broker_name, {})
        if broker_id != MASTER_ID and broker_id not in addresses:
            broker_id += 1
        return addresses.get(broker_id) or next(iter(addresses.values()), None)

    def broker_addresses(self) -> dict[str, dict[int, str]]:
        """Every broker of every remembered route: its addresses by broker id."""
        return self._addresses

    async def find(self, topic: str) -> TopicRouteData:
        """The topic's route. Raises MQError: code 17 when the NameServer does not know it either."""
        async with self._asking:
            return self._routes.get(topic) or self.learn(topic, await self._ask(topic))

    async def refresh(self, topic: str) -> bool:
        """Ask again; whether the route has changed. Raises MQError, and then what was known stays known."""
        async with self._asking:
            before, route = self._routes.get(topic), await self._ask(topic)
            self.learn(topic, route)
            return route != before

    def learn(self, topic: str, route: TopicRouteData) -> TopicRouteData:
        """Remember a route, and tell who listens when it differs from what was known."""
        before = self._routes.pop(topic, None)
        self._routes[topic] = route  # at the end: what was told last is believed most
        if len(self._routes) > MAX_ROUTES:
            del self._routes[next(iter(self._routes))]
        if route != before:
            every = [broker for each in self._routes.values() for broker in each.brokers]
            self._addresses = {broker.broker_name: broker.addresses for broker in every}
            for listener in self.changed:
                listener(topic)
        return route

    async def _ask(self, topic: str) -> TopicRouteData:
        fields = encode_header(TopicHeader(topic))
        return TopicRouteData.from_json((await self.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, fields)).body)

    async def ask(self, code: int, fields: dict[str, str]) -> RemotingCommand:
        """Ask the chosen NameServer, and the others in turn when it is away. Raises MQError."""
        for _ in self.name_servers.addresses[1:]:
            try:
                return await self._ask_current(code, fields)
            except (Unreachable, RequestTimeout):
                continue
        return await self._ask_current(code, fields)

    async def _ask_current(self, code: int, fields: dict[str, str]) -> RemotingCommand:
        address = self.name_servers.current
        try:
            answer = await self.rpc.invoke(address, RemotingCommand(code, dict(fields)), ROUTE_TIMEOUT_MS)
        except (Unreachable, RequestTimeout):
            self.name_servers.failed(address)
            raise
        return expect_success(answer)
