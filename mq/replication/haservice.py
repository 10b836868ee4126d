"""HAService: the port to which slaves connect, and the sends that wait for them · depth

What always holds: a slave is sent bytes only while it takes them: a slow one holds up nobody, and nothing is
read ahead for it; after 1 MiB, others have their turn, so that a fast one holds up nobody either. A write to
the log wakes every connection once, in the turn of the loop after the one in which it was made. A connection
ends with one line in the journal that says why.

It listens whatever the broker's role is, as the real one does: a slave may have a slave.

Real: org.apache.rocketmq.store.ha.HAService (equivalent, without threads)
"""

import asyncio
from collections.abc import Callable
from typing import cast

from mq.commitlog.put import AppendResult, PutStatus
from mq.commitlog.store import MessageStore
from mq.replication.config import NEXT_PORT, HaConfig
from mq.replication.grouptransfer import GroupTransfer, Waiter
from mq.replication.haconnection import HAConnection, Outgoing
from mq.replication.protocol import HAError, ReportReader
from mq.routing.broker import Broker, Role
from mq.runtime.node import Listener, Timer

PUSHES_A_TURN = 32  # to one slave, until the loop has looked after everybody else: 1 MiB by default
MAX_CONNECTIONS = 256  # ours; 4.9.8 has no limit


class HAService:
    """Of one broker: its slaves, and who waits for them."""

    name = "replication"

    def __init__(self, broker: Broker, store: MessageStore, config: HaConfig) -> None:
        self.broker = broker
        self.node = broker.node
        self.store = store
        self.config = config
        self.transfer = GroupTransfer(config)
        self.outgoing: Outgoing | None = None  # once the store is open
        self.slaves: dict[int, SlaveEnd] = {}  # by a number of our own, so that order means arrival
        self.slave_joined: list[Callable[[], None]] = []
        self._arrivals = 0
        self._is_open = False
        self._listener: Listener | None = None
        self._wake_is_due = False
        self._expiry: Timer | None = None
        self._waiting: tuple[Waiter, asyncio.Future[PutStatus]] | None = None

    @property
    def address(self) -> str:
        """Where slaves connect: `host:port`."""
        host = self.config.broker_ip2 or self.broker.config.broker_ip1 or self.node.address
        return f"{host}:{self._listener.port if self._listener is not None else self._port()}"

    def _port(self) -> int:
        if self.config.ha_listen_port != NEXT_PORT:
            return self.config.ha_listen_port
        own = self.broker.config.listen_port
        return own + 1 if own else 0

    async def start(self) -> None:
        """Listen for slaves. The store is open by now."""
        self.outgoing = Outgoing(self.store, self.store.config.mapped_file_size_commit_log)
        self._is_open = True
        self._listener = await self.node.listen(self._port(), lambda: SlaveEnd(self))

    async def stop(self) -> None:
        """Close the port and every connection. Who still waits for a slave is told that none has answered."""
        self._is_open = False
        if self._listener is not None:
            self._listener.close()
        for slave in list(self.slaves.values()):
            slave.close()
        self.transfer.expire(float("inf"))
        if self._expiry is not None:
            self._expiry.cancel()

    def role_changed(self, role: Role) -> None:
        """What was copied until now is our own past: other slaves may have it, too."""
        if self.outgoing is not None:
            self.outgoing.sent_to = max(self.outgoing.sent_to, self.store.max_physical_offset)

    # Sends that wait.

    def acknowledge(self, result: AppendResult) -> "asyncio.Future[PutStatus] | None":
        """What a put has to wait for. Called after each write, so it also wakes the connections."""
        self.wake()
        if self.broker.role is not Role.SYNC_MASTER or not result.wait_store_ok:
            return None
        end = self.store.max_physical_offset  # of the write in which it was
        if not self.transfer.is_slave_ok(end):
            return self._settled(PutStatus.SLAVE_NOT_AVAILABLE)
        return self._wait(end) if end > self.transfer.acked_to else None

    def _settled(self, status: PutStatus) -> "asyncio.Future[PutStatus]":
        future: asyncio.Future[PutStatus] = self.node.future()
        future.set_result(status)
        return future

    def _wait(self, end: int) -> "asyncio.Future[PutStatus]":
        """One future for all that were in one write."""
        waiter = self.transfer.wait(end, self.node.monotonic_ms())
        if self._waiting is None or self._waiting[0] is not waiter:
            future: asyncio.Future[PutStatus] = self.node.future()
            waiter.told.append(future.set_result)
            self._waiting = waiter, future
            self._arm_expiry()
        return self._waiting[1]

    def _arm_expiry(self) -> None:
        due_ms = self.transfer.due_ms
        if self._expiry is None and due_ms is not None:
            self._expiry = self.node.call_later(max(due_ms - self.node.monotonic_ms(), 0), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self.transfer.expire(self.node.monotonic_ms())
        self._arm_expiry()

    # Slaves.

    def wake(self) -> None:
        """The log has grown: every slave is sent what it lacks, in the next turn of the loop."""
        if self.slaves and not self._wake_is_due:
            self._wake_is_due = True
            self.node.call_soon(self._push_to_all)

    def _push_to_all(self) -> None:
        self._wake_is_due = False
        for slave in list(self.slaves.values()):
            slave.push()

    def why_not(self) -> str:
        """Why nobody can connect now; empty when somebody can."""
        if not self._is_open:
            return "this broker stops"  # its port is closed, and this one was on its way
        return f"{MAX_CONNECTIONS} connections stand" if len(self.slaves) >= MAX_CONNECTIONS else ""

    def connected(self, slave: "SlaveEnd") -> int:
        """Somebody has connected, and said nothing yet. Returns a number for it."""
        self._arrivals += 1
        self.slaves[self._arrivals] = slave
        return self._arrivals

    def reported(self, end: int) -> None:
        """A slave's log ends here."""
        self.count()
        self.transfer.acked(end)

    def left(self, number: int) -> None:
        """Its connection is gone."""
        self.slaves.pop(number, None)
        self.count()

    def count(self) -> None:
        """Who has reported is a slave. (4.9.8 counts every connection.)"""
        self.transfer.slaves = sum(slave.has_reported for slave in self.slaves.values())


class SlaveEnd(asyncio.Protocol):
    """The master's end of one connection."""

    def __init__(self, service: HAService) -> None:
        self.service = service
        self.node = service.node
        self.peer = ""
        self._reports = ReportReader()
        self._connection: HAConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: Timer | None = None
        self._is_paused = False
        self._has_more = False
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, port = transport.get_extra_info("peername")[:2]
        self.peer = f"{host}:{port}"
        if cause := self.service.why_not():
            self.node.journal.complain("slave refused", cause, slave=self.peer)
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = cast(asyncio.Transport, transport)
        assert self.service.outgoing is not None
        now_ms = self.node.monotonic_ms()
        self._connection = HAConnection(self.service.outgoing, self.service.config, now_ms)
        self._number = self.service.connected(self)
        self._look_again()

    def data_received(self, data: bytes) -> None:
        newest = self._reports.feed(data)
        if newest is None or self._connection is None:
            return
        is_first = not self.has_reported
        try:
            self._connection.reported(newest, self.node.monotonic_ms())
        except HAError as error:
            self._refuse(error)
            return
        if is_first:
            begin = self._connection.next_offset
            self.node.journal.record("slave joined", slave=self.peer, has=newest, begin=begin)
            for listener in self.service.slave_joined:
                listener()
            self._look_again()  # from now on it has to hear from us
        self.service.reported(newest)
        self.push()

    @property
    def has_reported(self) -> bool:
        """Whether it has said how much it has, and that was believed."""
        return self._connection is not None and self._connection.ack_offset >= 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("its connection closed")

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.push()
        self._look_again()

    def push(self) -> None:
        """Send what the slave lacks, until it has enough to take in, or others must have their turn."""
        for _ in range(PUSHES_A_TURN):
            if not self._push_once():
                return
        if not self._has_more:
            self._has_more = True
            self.node.call_soon(self._push_on)

    def _push_on(self) -> None:
        self._has_more = False
        self.push()

    def _push_once(self) -> bool:
        """Whether there may be more to send now."""
        if self._transport is None or self._connection is None or self._is_paused:
            return False
        if self._transport.is_closing():
            return False  # what is written now goes nowhere; `connection_lost` is on its way
        try:
            data = self._connection.next_push(self.node.monotonic_ms())
        except HAError as error:
            self._refuse(error)
            return False
        except OSError as error:
            # It may try again; a connection that cannot be served must not pass for one that has all.
            self.node.journal.complain("log not read for a slave", error=str(error), slave=self.peer)
            self._end("our log could not be read")
            return False
        if data:
            self._transport.write(data)
        return bool(data)

    def close(self) -> None:
        """We stop."""
        self._end("this broker stops")

    def _refuse(self, error: HAError) -> None:
        self.node.journal.complain("slave refused", error.remark, slave=self.peer)
        self._end("it was refused")

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        connection = self._connection
        if connection is not None:
            # Who takes nothing is sent no heartbeat; the next look is when it takes something again.
            due_ms = connection.silent_ms if self._is_paused else connection.due_ms
            self._timer = self.node.call_later(max(due_ms - self.node.monotonic_ms(), 1), self._look)

    def _look(self) -> None:
        """Is it still there? Does it have to hear from us?"""
        if self._connection is None:
            return
        try:
            self._connection.check(self.node.monotonic_ms())
        except HAError as error:
            self._end(error.remark)
            return
        self.push()
        self._look_again()

    def _end(self, cause: str) -> None:
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._connection = None
        transport.abort()  # what it has not taken in is of no use: it will say where to go on
        self.service.left(self._number)
        self.node.journal.record("slave left", cause, slave=self.peer)
