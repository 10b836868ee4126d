"""Broker: the shell that every later chapter plugs into · depth

What always holds: one broker owns one store (a lock says so). Services start in the order of the floors and
stop in the reverse. A start that fails half-way undoes what it began, last thing first, and raises. Whether
a NameServer can be reached has no part in whether the broker serves.

The shell knows topics and nothing about messages. A floor's `plug(broker)` registers processors, adds
services and tables, and leaves its part here under its type for the floors above.

Real: org.apache.rocketmq.broker.BrokerController (simplified)
"""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from mq.routing.brokeradmin import BrokerAdmin, check_is_master
from mq.routing.config import MASTER_ID, BrokerConfig
from mq.routing.config import Role as Role
from mq.routing.periodic import Periodic
from mq.routing.registrar import Registrar as Registrar
from mq.routing.topicadmin import TopicAdmin
from mq.routing.topics import TopicConfigs
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError, SettingsError, StoreError
from mq.runtime.node import Node
from mq.runtime.settings import fill
from mq.wire.client import RpcClient
from mq.wire.codes import RequestCode
from mq.wire.server import RpcServer

T = TypeVar("T")

LOCK_PATH = "lock"
FIRST_PERSIST_MS = 10_000

SETTINGS: tuple[type, ...] = (BrokerConfig,)


class Service(Protocol):
    """Something of a floor that begins and ends with the broker.

    One that has `masters_only = True` runs only while the broker is a master.
    """

    name: str

    async def start(self) -> None:
        """Begin. Raises MQError."""

    async def stop(self) -> None:
        """End. Called only after `start` returned."""


class Broker:
    """One broker: a port, a connection to the NameServers, topics, and whatever the floors plug in."""

    def __init__(self, node: Node, properties: Mapping[str, str] | None = None) -> None:
        self.node = node
        self.properties = dict(properties or {})
        self.settings_in_use: dict[type, object] = {}
        self.config = self.settings(BrokerConfig)
        self.role = self.config.broker_role
        self.broker_id = self.config.broker_id
        _check_role(self.role, self.broker_id)
        self.server = RpcServer(node)
        self.outer = RpcClient(node)
        self.topics = TopicConfigs(node, self.config)
        self.registrar = Registrar(
            node, self.config, self.outer, self.topics, lambda: (self.broker_id, self.address)
        )
        self.topics.changed.append(self.registrar.register_soon)
        self.configs: list[ConfigManager] = [self.topics]
        self.services: list[Service] = []
        self.role_changed: list[Callable[[Role], None]] = []
        self.runtime_info: list[Callable[[dict[str, str]], None]] = []  # who adds to the answer to code 28
        self._parts: dict[type, object] = {}
        self._running: list[Service] = []
        self._undo: list[tuple[str, Callable[[], Awaitable[None] | None]]] = []
        self._is_started = False

    @property
    def address(self) -> str:
        """`host:port` as clients are told it."""
        return f"{self.config.broker_ip1 or self.node.address}:{self.server.port or self.config.listen_port}"

    @property
    def is_master(self) -> bool:
        """Whether it takes messages itself."""
        return self.role is not Role.SLAVE

    def settings(self, kind: type[T]) -> T:
        """A floor's own settings, from the one properties file."""
        settings = fill(kind, self.properties)
        self.settings_in_use[kind] = settings
        return settings

    def add(self, part: object) -> None:
        """Leave a floor's part for the floors above. One of each type."""
        if type(part) in self._parts:
            raise ValueError(f"this broker has a {type(part).__name__} already")
        self._parts[type(part)] = part

    def part(self, kind: type[T]) -> T:
        """The part of this type, or of one derived from it. Raises LookupError."""
        for part in self._parts.values():
            if isinstance(part, kind):
                return part
        raise LookupError(f"this broker has no {kind.__name__}: the floor that brings it is not plugged")

    async def start(self) -> None:
        """Lock, load, start, listen, register. Raises MQError; then nothing is left running."""
        if self._undo:
            raise MQError(f"{self.config.broker_name} is running already")
        try:
            await self._start()
        except (
            Exception,
            CancelledError,
        ) as error:  # whatever a floor's start did wrong, the others are undone
            await self._stop()
            if isinstance(error, MQError | CancelledError):
                raise
            raise MQError(f"{self.config.broker_name} did not start: {error}") from error

    async def stop(self) -> None:
        """Say goodbye, close the port, stop services last first, write every table, let go of the store."""
        await self._stop()

    async def become(self, role: Role, broker_id: int) -> None:
        """Take another role while running: services of masters start or stop, then everyone is told."""
        _check_role(role, broker_id)
        self.role, self.broker_id = role, broker_id
        for service in reversed(list(self._running)):
            if not self._fits(service):
                await self._stop_service(service)
        for listener in self.role_changed:
            listener(role)
        if self._undo:
            await self._start_services()
            self.registrar.register_soon()

    async def _start(self) -> None:
        self._lock_store()
        self._began("connections", self.outer.stop)
        for config in self.configs:
            config.load()
        self._began("tables", self._write_tables)
        self._began("services", self._stop_services)
        await self._start_services()
        self._began("port", self.server.drain)
        await self.server.start(self.config.listen_port)
        self._start_persisting()
        self._began("registration", self.registrar.stop)
        await self.registrar.start()
        self._is_started = True
        self.node.journal.record("broker started", broker=self.config.broker_name, address=self.address)

    def _began(self, name: str, undo: Callable[[], Awaitable[None] | None]) -> None:
        self._undo.append((name, undo))

    async def _stop(self) -> None:
        """Undo what was begun, last thing first. What fails there is a complaint; the rest goes on."""
        while self._undo:
            name, undo = self._undo.pop()
            try:
                answer = undo()
                if answer is not None:
                    await answer
            except Exception as error:  # noqa: BLE001 - as above
                what = f"{type(error).__name__}: {error}"
                self.node.journal.complain("not stopped cleanly", step=name, error=what)

    def _lock_store(self) -> None:
        try:
            lock = self.node.disk.lock(LOCK_PATH)
        except BlockingIOError:
            raise StoreError(f"{LOCK_PATH}: another broker has this store open") from None
        self._began("lock", lock.release)

    async def _start_services(self) -> None:
        for service in self.services:
            if service not in self._running and self._fits(service):
                await service.start()
                self._running.append(service)

    async def _stop_services(self) -> None:
        for service in reversed(list(self._running)):
            await self._stop_service(service)

    async def _write_tables(self) -> None:
        if self._is_started:  # a start that failed has changed no table
            self._is_started = False
            for config in self.configs:
                await config.persist()

    async def _stop_service(self, service: Service) -> None:
        self._running.remove(service)
        try:
            await service.stop()
        except Exception as error:  # noqa: BLE001 - one floor's fault must not keep the others from stopping
            what = f"{type(error).__name__}: {error}"
            self.node.journal.complain("not stopped cleanly", service=service.name, error=what)

    def _fits(self, service: Service) -> bool:
        return self.is_master or not getattr(service, "masters_only", False)

    def _start_persisting(self) -> None:
        for config in self.configs:
            if config.period_ms is not None:
                periodic = _persist_each_period(self.node, config, config.period_ms)
                periodic.start()
                self._began(f"persisting {config.path}", periodic.stop)


def _persist_each_period(node: Node, config: ConfigManager, period_ms: int) -> Periodic:
    def persist() -> None:
        config.persist()

    return Periodic(node, f"persist {config.path}", FIRST_PERSIST_MS, period_ms, persist)


def _check_role(role: Role, broker_id: int) -> None:
    if (role is Role.SLAVE) != (broker_id > MASTER_ID):
        raise SettingsError(
            f"brokerRole = {role.name} and brokerId = {broker_id}: a master has id 0, a slave any above"
        )


def plug(broker: Broker) -> None:
    """Chapter 1: topics are created (17) and shown (21), and operators ask (26, 28, 305) and delete (215)."""
    admin = TopicAdmin(broker.topics, broker.registrar, lambda: check_is_master(broker))
    broker.server.processors.update(BrokerAdmin(broker).processors())
    broker.server.processors[RequestCode.UPDATE_AND_CREATE_TOPIC] = admin.create_topic
    broker.server.processors[RequestCode.GET_ALL_TOPIC_CONFIG] = admin.all_topics
