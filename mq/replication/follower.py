"""Follower: a slave looks for its master, connects, and connects again · depth

What always holds: there is at most one connection, and only while this broker is a slave that knows a
master, and its own disk has not failed: to go on reporting what is in doubt there would deceive. A
connection that served its purpose is made again at once when it breaks; one that did not, or that could not
be made, after 5 s. Bytes that are no record, where one must begin, end it for good: the two logs are not one,
and more of the same would only hide it.

Real: org.apache.rocketmq.store.ha.HAService.HAClient (different: 4.9.8 stores what its reader cannot read)
"""

import asyncio
from typing import cast

from mq.commitlog.store import MessageStore
from mq.replication.config import HaConfig
from mq.replication.haclient import HAClient
from mq.replication.haservice import HAService
from mq.replication.parted import why_no_record
from mq.replication.protocol import HAError
from mq.routing.broker import Broker, Role
from mq.runtime.errors import MQError, StoreError
from mq.runtime.node import Timer

RECONNECT_MS = 5_000


class Follower:
    """The slave's side of one broker; at rest while it is a master."""

    name = "follower"

    def __init__(self, broker: Broker, store: MessageStore, config: HaConfig, service: HAService) -> None:
        self.broker = broker
        self.node = broker.node
        self.store = store
        self.config = config
        self.service = service
        self.master_address = config.ha_master_address  # its HA port
        self.has_diverged = False
        self._end: MasterEnd | None = None
        self._news = asyncio.Event()
        self._run: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a connection to the master stands."""
        return self._end is not None

    @property
    def has_failed(self) -> bool:
        """Whether a sync of our log has failed: until a restart, nobody knows what it holds."""
        return self.store.flusher.has_failed

    def wants(self, address: str) -> bool:
        """Whether the master at this HA address is to be followed now."""
        is_slave = self._run is not None and self.broker.role is Role.SLAVE
        return is_slave and address == self.master_address != "" and not self.has_failed

    def begun(self, end: "MasterEnd") -> None:
        """A connection stands; what was true when it was asked for need not be true any more."""
        self._end = end
        if not self.wants(end.address):
            self._let_go("nobody wants it any more")

    async def start(self) -> None:
        """Begin to look."""
        self._run = self.node.spawn(self._follow(), "follow the master")

    async def stop(self) -> None:
        """Let go."""
        if self._run is not None:
            self._run.cancel()
            self._run = None
        self._let_go("this broker stops")

    def learn(self, fields: dict[str, str]) -> None:
        """What a NameServer answered to our registration."""
        told = fields.get("haServerAddr", "")
        if told and told != self.master_address and not self.config.ha_master_address:
            if self.broker.role is Role.SLAVE:
                self.node.journal.record("master found", address=told)
            self.master_address = told
            self._let_go("the master has another address")
            self._news.set()

    def role_changed(self, role: Role) -> None:
        """A master follows nobody; a new slave looks at once."""
        if role is not Role.SLAVE:
            self._let_go("it is a master now")
        self._news.set()

    def taken(self) -> None:
        """Bytes have come: pass them on to our own slaves. Raises HAError when they cannot be a log."""
        self.service.wake()
        at = self.store.reput.dispatched_to
        if at < self.store.reput.confirmed and (found := why_no_record(self.store.log, at)):
            self.has_diverged = True
            raise HAError(
                f"at {at} a record must begin, and there is none ({found}): this log and its master's have "
                "parted, or their segments are of two sizes. Stop this slave, remove its store, and let it "
                "begin again"
            )

    async def _follow(self) -> None:
        while not self.has_diverged:
            self._news.clear()
            if self.wants(self.master_address):
                if await self._one_connection():
                    continue
                await self._pause()
            else:
                await self._news.wait()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(RECONNECT_MS / 1000):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _one_connection(self) -> bool:
        """From connect to close; whether the next one may follow at once."""
        address = self.master_address
        try:
            async with asyncio.timeout(RECONNECT_MS / 1000):
                end = await self.node.connect(address, lambda: MasterEnd(self, address))
        except (OSError, ValueError, OverflowError) as error:  # no answer; no port; no port up to 65,535
            self.node.journal.record("master not reached", str(error) or "no answer", address=address)
            return False
        if not end.over.done():
            self.node.journal.record("following", address=address, has=self.store.max_physical_offset)
        await end.over
        self._end = None
        return end.has_followed

    def _let_go(self, cause: str) -> None:
        end, self._end = self._end, None
        if end is not None:
            end.close(cause)


class MasterEnd(asyncio.Protocol):
    """The slave's end of one connection. `over` is done when it is."""

    def __init__(self, follower: Follower, address: str) -> None:
        self.follower = follower
        self.address = address
        self.node = follower.node
        self.over: asyncio.Future[None] = self.node.future()
        self._client = HAClient(follower.store, follower.config, self.node.monotonic_ms())
        self._transport: asyncio.Transport | None = None
        self._timer: Timer | None = None

    @property
    def has_followed(self) -> bool:
        """Whether the master has said anything that fits."""
        return self._client.has_followed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.follower.begun(self)
        if self._transport is not None:
            self._send(self._client.report(self.node.monotonic_ms()))
            self._look_again()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            if self.follower.has_failed:
                raise StoreError("the disk failed: what this copy holds is in doubt until a restart")
            report = self._client.received(data, self.node.monotonic_ms())
            self.follower.taken()
        except (MQError, OSError) as error:
            self.node.journal.complain("not following", str(error))
            self.close("what came cannot be taken")
            return
        self._send(report)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close("its connection closed")

    def close(self, cause: str) -> None:
        """End it."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        transport.abort()
        self.node.journal.record("master left", cause)
        if not self.over.done():
            self.over.set_result(None)

    def _send(self, report: bytes) -> None:
        if report and self._transport is not None:
            self._transport.write(report)

    def _look_again(self) -> None:
        delay_ms = max(self._client.due_ms - self.node.monotonic_ms(), 1)
        self._timer = self.node.call_later(delay_ms, self._look)

    def _look(self) -> None:
        now_ms = self.node.monotonic_ms()
        try:
            self._client.check(now_ms)
        except HAError as error:
            self.close(error.remark)
            return
        self._send(self._client.report(now_ms))
        self._look_again()
